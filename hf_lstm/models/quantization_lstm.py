"""
Int8 weights for serving on CPUs, where a product with few rows takes as long as reading the weights does.

The kernel is that of oneDNN which torch's own compiler puts into quantised models. It takes plain int8 tensors, unlike
the operators of `torch.ao`, which are on their way out; and it is called once a product, unlike the eager code of
torchao, which costs more time than int8 saves at these sizes. Processors without VNNI take FBGEMM's for as long as
torch has it: oneDNN lays out weights in each call there, which takes longer than a product with few rows.
"""

import platform
import warnings
from dataclasses import dataclass
from threading import Lock
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.quantizers.auto import (
    AUTO_QUANTIZATION_CONFIG_MAPPING,
    AUTO_QUANTIZER_MAPPING,
    register_quantization_config,
    register_quantizer,
)
from transformers.quantizers.base import HfQuantizer
from transformers.utils import logging
from transformers.utils.quantization_config import QuantizationConfigMixin

from .prepacking_lstm import has_operator, is_x86

logger = logging.get_logger(__name__)

METHOD = "hf_lstm_int8"
_LEVELS, _SHIFT = 127, 128  # of inputs; the shift makes them unsigned, which the kernel is fast for
# Without VNNI, products are summed in pairs in 16 bits, where 2 * 255 * 64 fits and 2 * 255 * 127 does not. Fewer
# levels of the inputs instead made 1.4 times the error in the logits of a translator.
_WEIGHT_LEVELS = 127 if torch.cpu._is_vnni_supported() else 64
_SMALLEST = 1e-20  # scales of rows without any larger number


class _OnednnMatrix:
    """
    A matrix of int8 numbers, with a scale for each output, as oneDNN's kernel reads it.

    Args:
        values (`torch.Tensor` of shape `(output_size, input_size)`): The numbers, in int8.
        scales (`torch.Tensor` of shape `(output_size,)`): What each row of them is to be multiplied by.
    """

    def __init__(self, values: torch.Tensor, scales: torch.Tensor):
        self._packed = torch.ops.onednn.qlinear_prepack(values, None)
        self._output_size, self._scales = len(values), scales
        self._zero_points = torch.zeros(len(values), dtype=torch.int32)

    def values(self) -> torch.Tensor:
        """Returns the numbers."""
        return self._packed.to_dense().t().contiguous()

    def multiply(self, inputs: torch.Tensor) -> torch.Tensor:
        """Rounds rows of numbers from -127 to 127, `(..., input_size)`, and multiplies them; they are overwritten."""
        shape = (*inputs.shape[:-1], self._output_size)
        # Conversion cuts the fraction off; with a half added to it, it rounds.
        shifted = inputs.add_(_SHIFT + 0.5).to(torch.uint8)
        matrix, no_bias, output_scale = (self._packed, self._scales, self._zero_points), None, (1.0, 0, torch.float32)
        products = torch.ops.onednn.qlinear_pointwise(
            shifted, 1.0, _SHIFT, *matrix, no_bias, *output_scale, "none", [], ""
        )
        return products.view(shape)  # it has lost its axes where there are no rows


_settings_lock = Lock()  # those of warnings and of torch belong to all threads


class _FbgemmMatrix:
    """What `_OnednnMatrix` is, for FBGEMM's kernel."""

    def __init__(self, values: torch.Tensor, scales: torch.Tensor):
        zero_points = torch.zeros(len(values), dtype=torch.long)
        with _settings_lock, warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".* are deprecated and will be removed")
            matrix = torch._make_per_channel_quantized_tensor(values, scales.double(), zero_points, 0)
            engine = torch.backends.quantized.engine
            try:
                torch.backends.quantized.engine = "fbgemm"
                self._packed = torch.ops.quantized.linear_prepack(matrix, None)
            finally:
                torch.backends.quantized.engine = engine

    def values(self) -> torch.Tensor:
        """Returns the numbers."""
        return torch.ops.quantized.linear_unpack(self._packed)[0].int_repr()

    def multiply(self, inputs: torch.Tensor) -> torch.Tensor:
        """Rounds rows of numbers from -127 to 127, `(..., input_size)`, and multiplies them."""
        if inputs.dim() == 1:
            return self.multiply(inputs.unsqueeze(0))[0]
        return torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(inputs, 1.0, _SHIFT, self._packed)


def _find_matrix_class() -> type[_OnednnMatrix] | type[_FbgemmMatrix]:
    """Returns the kernel that is faster on this processor."""
    names = ("linear_prepack", "linear_unpack", "linear_with_input_q_dq_qweight_dq_output_fp32")
    has_fbgemm = (
        "fbgemm" in torch.backends.quantized.supported_engines
        and hasattr(torch, "_make_per_channel_quantized_tensor")
        and all(has_operator(f"quantized::{name}") for name in names)
    )
    return _FbgemmMatrix if has_fbgemm and not torch.cpu._is_vnni_supported() else _OnednnMatrix


class Int8Weight:
    """
    A matrix in int8, with a scale for each output, that multiplies rows of numbers.

    Each row is rounded to 8 bits with a scale of its own, so that what is computed for a row does not depend on the
    others in its batch. Sums are exact.

    Args:
        weight (`torch.Tensor` of shape `(output_size, input_size)`): The matrix.
        bias (`torch.Tensor` of shape `(output_size,)`, *optional*): Added to each product; it is not rounded.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None):
        weight = weight.detach().float()
        self._round(weight)
        self.bias = weight.new_zeros(len(weight)) if bias is None else bias.detach().float()

    def _round(self, weight: torch.Tensor) -> None:
        self.scales = weight.abs().amax(dim=1).clamp(min=_SMALLEST) / _WEIGHT_LEVELS
        values = torch.round(weight / self.scales.unsqueeze(1)).to(torch.int8)
        self.matrix = _find_matrix_class()(values, self.scales)

    def __getstate__(self) -> dict[str, Any]:
        # torch cannot store packed matrices.
        return vars(self) | {"matrix": self.matrix.values()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        values, scales = state["matrix"], state["scales"]
        vars(self).update(state | {"matrix": _find_matrix_class()(values, scales)})
        if values.numel() and values.abs().max() > _WEIGHT_LEVELS:
            # Of a processor with VNNI: here, sums of such large numbers would overflow.
            self._round(values * scales.unsqueeze(1))

    def __deepcopy__(self, memo: dict[int, Any]) -> "Int8Weight":
        return self  # torch cannot copy packed matrices, and nothing changes them

    def rounded(self) -> torch.Tensor:
        """Returns the matrix that the int8 numbers stand for, `(output_size, input_size)`."""
        return self.matrix.values() * self.scales.unsqueeze(1)

    def multiply(self, inputs: torch.Tensor) -> torch.Tensor:
        """
        Multiplies rows by the matrix, and adds the bias.

        Args:
            inputs (`torch.Tensor` of shape `(..., input_size)`): The rows.

        Returns:
            `torch.Tensor` of shape `(..., output_size)`, in float32.

        Raises:
            ValueError: If `inputs` are not on the CPU.
        """
        if torch.compiler.is_compiling():  # not always: leaving the graph takes as long as a small product
            return self._multiply_outside_of_graphs(inputs)
        return self._multiply(inputs)

    def _multiply(self, inputs: torch.Tensor) -> torch.Tensor:
        if inputs.device.type != "cpu":
            raise ValueError(
                f"A model in int8 runs on the CPU, but its input is on {inputs.device}: load it without "
                "`quantization_config` for other devices."
            )
        inputs = inputs.float()
        scales = inputs.abs().amax(dim=-1, keepdim=True).clamp_(min=_SMALLEST).div_(_LEVELS)
        products = self.matrix.multiply(inputs / scales)
        # In place, for memory that is new in each step costs more than what is written to it.
        return products.mul_(scales).add_(self.bias)

    @torch.compiler.disable
    def _multiply_outside_of_graphs(self, inputs: torch.Tensor) -> torch.Tensor:
        return self._multiply(inputs)

    def lstm_cell(
        self, inputs: torch.Tensor, hidden: torch.Tensor, cell: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Does what `torch.lstm_cell` does, if this matrix holds both of an LSTM layer's side by side.

        Args:
            inputs (`torch.Tensor` of shape `(batch_size, input_size)`): The input.
            hidden (`torch.Tensor` of shape `(batch_size, size)`): The hidden state before.
            cell (`torch.Tensor` of shape `(batch_size, size)`): The cell state before.

        Returns:
            The new hidden state in the type of `inputs`, and the new cell state in float32.
        """
        gates = self.multiply(torch.cat([inputs, hidden], dim=1)).chunk(4, dim=1)
        input_gate, forget_gate, candidate, output_gate = gates
        kept = forget_gate.sigmoid_().mul_(cell)
        cell = kept.addcmul_(input_gate.sigmoid_(), candidate.tanh_())
        return (output_gate.sigmoid_() * cell.tanh()).to(inputs.dtype), cell


class Int8Linear(nn.Module):
    """
    Takes the place of a linear layer.

    Args:
        linear (`nn.Linear`): The layer.
    """

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.int8_weight = Int8Weight(linear.weight, linear.bias)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """`hidden_states` are of shape `(..., in_features)`."""
        return self.int8_weight.multiply(hidden_states).to(hidden_states.dtype)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}"


@dataclass
class LstmInt8Config(QuantizationConfigMixin):
    """
    Asks `from_pretrained` for int8 weights, which it makes of the ordinary ones.

    Args:
        min_weights (`int`, defaults to 2**18):
            Matrices with fewer numbers stay as they are: the processor has them at hand, and rounding their input
            would take longer than is saved.
    """

    min_weights: int = 2**18
    quant_method: str = METHOD

    def __post_init__(self) -> None:
        is_whole = isinstance(self.min_weights, int) and not isinstance(self.min_weights, bool)
        if not is_whole or self.min_weights < 0:
            raise ValueError(
                f"`min_weights` is {self.min_weights!r}, but must be an integer from 0 on: 0 for int8 everywhere."
            )


class LstmInt8Quantizer(HfQuantizer):
    """Turns the weights of a loaded model into int8, as `LstmInt8Config` says."""

    def validate_environment(self, *args: Any, device_map: Any = None, **kwargs: Any) -> None:
        """
        Raises:
            ValueError: If the model is to be loaded onto another device than the CPU.
            ImportError: If the processor or this build of torch has no kernel.
        """
        devices = device_map.values() if isinstance(device_map, dict) else [device_map or "cpu"]
        others = [device for device in devices if str(device) not in ("cpu", "auto")]
        if others:
            raise ValueError(f"`device_map` is {device_map!r}, but int8 is for the CPU: leave `device_map` out.")
        is_known = is_x86()
        if not is_known or not torch.backends.mkldnn.is_available():
            raise ImportError(
                f"int8 needs an x86 processor and torch with oneDNN, but this is {platform.machine()}, oneDNN "
                f"{torch.backends.mkldnn.is_available()}: load the model without `quantization_config`."
            )

    def _process_model_after_weight_loading(self, model: Any, **kwargs: Any) -> Any:
        quantize_weights(model, self.quantization_config.min_weights)
        return model

    def is_serializable(self, *args: Any, **kwargs: Any) -> bool:
        return False

    @property
    def is_trainable(self) -> bool:
        return False


@torch.no_grad()
def quantize_weights(model: Any, min_weights: int) -> None:
    """
    Turns the large matrices of a model into int8, in place.

    Args:
        model (`nn.Module`): The model.
        min_weights (`int`): Matrices with fewer numbers stay as they are.
    """
    model.requires_grad_(False)
    num_quantized = 0
    for module in list(model.modules()):
        if isinstance(module, PreTrainedModel):
            module.is_int8 = True  # read by `check_is_not_int8`
        # By its method and not by its class, of which a checkpoint may have brought its own copy.
        if hasattr(module, "quantize_weights") and module.weights_per_direction() >= min_weights:
            module.quantize_weights()
            num_quantized += 1
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear) and child.weight.numel() >= min_weights:
                setattr(module, name, Int8Linear(child).eval())
                num_quantized += 1
    if not num_quantized:
        logger.warning(
            f"No matrix of the model has {min_weights} numbers or more, so nothing is in int8. Load the model with "
            "`dtype=torch.bfloat16` instead."
        )


def check_is_not_int8(model: Any, purpose: str) -> None:
    """
    Raises a `ValueError` for a model in int8.

    Args:
        model (`PreTrainedModel`): The model.
        purpose (`str`): What is to be done with it, after "cannot be".
    """
    if getattr(model, "is_int8", False):
        raise ValueError(f"A model in int8 cannot be {purpose}: load it without `quantization_config` for that.")


def forget_int8(config: PreTrainedConfig) -> None:
    """
    Removes from a configuration what asks for int8.

    Args:
        config (`PreTrainedConfig`): The configuration of a model that is not in int8.
    """
    given = getattr(config, "quantization_config", None)
    method = given.get("quant_method") if isinstance(given, dict) else getattr(given, "quant_method", None)
    if method == METHOD:
        del config.quantization_config


# A checkpoint's own copy of this file may have been there first; both do the same.
if METHOD not in AUTO_QUANTIZER_MAPPING:
    register_quantizer(METHOD)(LstmInt8Quantizer)
if METHOD not in AUTO_QUANTIZATION_CONFIG_MAPPING:
    register_quantization_config(METHOD)(LstmInt8Config)
