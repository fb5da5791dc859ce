"""Losses of the heads, which add up over accumulated batches and over processes, and the inputs made from labels."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from .adaptive_softmax_lstm import AdaptiveSoftmax
from .layers_lstm import OutputLayer, are_plain
from .precision_lstm import at_least_float32, wide_dtype


def sequence_classification_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    problem_type: str,
    num_items_in_batch: torch.Tensor | int | None = None,
    class_weights: torch.Tensor | None = None,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """
    Computes the loss of a sequence classifier so that it adds up over accumulated batches and over processes.

    The losses of all labels other than -100 are summed and divided by their number: `num_items_in_batch` where the
    whole batch is spread over several calls, else that of this call. Class weights multiply the summands and leave the
    divisor alone, so that they should average about 1 over the training examples.

    Args:
        logits (`torch.Tensor` of shape `(batch_size, num_labels)`): The scores.
        labels (`torch.Tensor`): Classes of shape `(batch_size,)` for `"single_label_classification"`; zeros and ones
            of shape `(batch_size, num_labels)` for `"multi_label_classification"`; numbers of shape `(batch_size,)` or
            `(batch_size, num_labels)` for `"regression"` (mean squared error).
        problem_type (`str`): One of the three above.
        num_items_in_batch (`torch.Tensor` or `int`, *optional*): Number of labels in the whole batch.
        class_weights (`torch.Tensor` of shape `(num_labels,)`, *optional*): Weight of each class.
        label_smoothing (`float`, defaults to 0.0): Probability that is spread evenly over all classes.

    Raises:
        ValueError: If `problem_type` is unknown, or the arguments do not go together.
    """
    logits, labels = at_least_float32(logits), labels.to(logits.device)
    weights = None if class_weights is None else class_weights.to(logits)
    if problem_type == "single_label_classification":
        flat = logits.view(-1, logits.shape[-1]), labels.view(-1)
        losses = F.cross_entropy(*flat, weights, reduction="none", label_smoothing=label_smoothing)
    elif problem_type == "multi_label_classification":
        targets = labels.to(logits) * (1 - label_smoothing) + label_smoothing / 2
        losses = F.binary_cross_entropy_with_logits(logits, targets, weights, reduction="none")
    elif problem_type == "regression":
        if class_weights is not None or label_smoothing:
            raise ValueError(
                f"`class_weights` ({class_weights}) and `label_smoothing` ({label_smoothing}) are for classification, "
                "not for regression."
            )
        losses = F.mse_loss(logits.view(labels.shape), labels.to(logits), reduction="none")
    else:
        raise ValueError(
            f"`problem_type` is {problem_type!r}, but must be 'single_label_classification', "
            "'multi_label_classification' or 'regression'."
        )
    is_item = (labels != -100).view(losses.shape)
    num_items = is_item.sum() if num_items_in_batch is None else num_items_in_batch
    if torch.is_tensor(num_items):
        num_items = num_items.to(logits.device)
    return losses.masked_fill(~is_item, 0).sum() / num_items


def infer_problem_type(num_labels: int, labels: torch.Tensor) -> str:
    """Guesses the kind of task from the labels, as transformers does."""
    if num_labels == 1:
        return "regression"
    return "multi_label_classification" if labels.is_floating_point() else "single_label_classification"


def shift_tokens_right(labels: torch.Tensor, pad_token_id: int, decoder_start_token_id: int) -> torch.Tensor:
    """
    Returns what a decoder reads to predict `labels`: at each label the one before it, at the first the start token.

    Args:
        labels (`torch.LongTensor` of shape `(batch_size, target_length)`):
            The target tokens. Where they are -100 is padding, wherever it stands.
        pad_token_id (`int`): Stands where there is no label.
        decoder_start_token_id (`int`): Stands at each row's first label.
    """
    if labels.shape[1] == 0:
        return labels
    is_label = labels != -100
    positions = torch.arange(labels.shape[1], device=labels.device)
    latest = torch.where(is_label, positions, -1).cummax(dim=1).values
    previous = F.pad(latest[:, :-1], (1, 0), value=-1)
    shifted = labels.gather(1, previous.clamp(min=0))
    return shifted.masked_fill(previous < 0, decoder_start_token_id).masked_fill(~is_label, pad_token_id)


def token_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    vocab_size: int,
    num_items_in_batch: torch.Tensor | int | None = None,
    label_smoothing: float = 0.0,
    **kwargs: Any,
) -> torch.Tensor:
    """
    Computes the cross-entropy of tokens so that it adds up over accumulated batches and over processes.

    Args:
        logits (`torch.Tensor` of shape `(..., vocab_size)`): The scores.
        labels (`torch.LongTensor` of shape `(...)`): The tokens; -100 where none is to be learned.
        vocab_size (`int`): Number of tokens.
        num_items_in_batch (`torch.Tensor` or `int`, *optional*):
            Number of labels in the whole batch, by which the sum is divided; those of this call when `None`.
        label_smoothing (`float`, defaults to 0.0): Probability that is spread evenly over all tokens.
    """
    flat = at_least_float32(logits).view(-1, vocab_size), labels.to(logits.device).reshape(-1)
    if num_items_in_batch is None:
        return F.cross_entropy(*flat, label_smoothing=label_smoothing)
    if torch.is_tensor(num_items_in_batch):
        num_items_in_batch = num_items_in_batch.to(logits.device)
    return F.cross_entropy(*flat, label_smoothing=label_smoothing, reduction="sum") / num_items_in_batch


# Tokens that are scored at a time, and from how many scores on that pays: measured with 256 to 1,024 features.
_SCORED_TOKENS, _MANY_SCORES = 256, 2_000_000


class _LinearCrossEntropy(torch.autograd.Function):
    """
    Sums the cross-entropy of a linear layer's scores without ever holding those of more than a few tokens.

    Each piece of scores is turned into its gradient while it is at hand, so that the backward pass finds all done.
    """

    @staticmethod
    def forward(
        context: Any,
        inputs: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        targets: torch.Tensor,
        label_smoothing: float,
        dtype: torch.dtype,
    ) -> torch.Tensor:
        tensors = (inputs, weight, bias)
        sum_dtype = wide_dtype(dtype)
        gradients = [
            torch.zeros_like(tensor, dtype=sum_dtype) if is_needed else None
            for tensor, is_needed in zip(tensors, context.needs_input_grad)
        ]
        context.dtypes = [tensor.dtype for tensor in tensors]
        loss = inputs.new_zeros((), dtype=sum_dtype)
        with torch.autocast(inputs.device.type, enabled=False):
            inputs, weight, bias = (tensor.to(dtype) for tensor in tensors)
            for start in range(0, len(inputs), _SCORED_TOKENS):
                piece = slice(start, start + _SCORED_TOKENS)
                rows, target = inputs[piece], targets[piece].unsqueeze(1)
                scores = torch.addmm(bias, rows, weight.t()).to(sum_dtype)
                gradient = scores.softmax(dim=1)
                # The largest probability tells the sum of the exponentials.
                normalizer = scores.amax(dim=1, keepdim=True) - gradient.amax(dim=1, keepdim=True).log()
                expected = scores.gather(1, target) * (1 - label_smoothing)
                if label_smoothing:
                    expected += scores.mean(dim=1, keepdim=True) * label_smoothing
                    gradient -= label_smoothing / scores.shape[1]
                loss += (normalizer - expected).sum()
                gradient.scatter_add_(1, target, gradient.new_full(target.shape, label_smoothing - 1))
                if gradients[2] is not None:
                    gradients[2] += gradient.sum(dim=0)
                gradient = gradient.to(dtype)
                if gradients[0] is not None:
                    gradients[0][piece] = gradient @ weight
                if gradients[1] is not None and dtype == sum_dtype:
                    gradients[1].addmm_(gradient.t(), rows)
                elif gradients[1] is not None:
                    gradients[1] += gradient.t() @ rows
        context.save_for_backward(*gradients)
        return loss

    @staticmethod
    def backward(context: Any, factor: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "This loss has no second derivatives (`create_graph=True`): call the model with `output_logits=True`."
            )
        gradients = [
            None if gradient is None else (gradient * factor).to(dtype)
            for gradient, dtype in zip(context.saved_tensors, context.dtypes)
        ]
        return *gradients, None, None, None


def head_token_loss(
    head: nn.Module,
    hidden_states: torch.Tensor,
    labels: torch.Tensor,
    num_items_in_batch: torch.Tensor | int | None = None,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """
    Computes what `token_loss` does of an output layer's scores, without holding all of them where it can.

    An adaptive softmax needs but a part of them. On a CPU, many scores of a linear layer fit no cache: they are
    computed, turned into their gradient and dropped piece by piece (as https://huggingface.co/papers/2410.10989 does,
    section 3.2).

    Args:
        head (`nn.Module`): The output layer.
        hidden_states (`torch.Tensor` of shape `(num_tokens, input_size)`): What it reads.
        labels (`torch.LongTensor` of shape `(num_tokens,)`): The token to predict from each; -100 is not allowed.
        num_items_in_batch (`torch.Tensor` or `int`, *optional*): As for `token_loss`.
        label_smoothing (`float`, defaults to 0.0): As for `token_loss`; must be 0 for an adaptive softmax.

    Raises:
        ValueError: If label smoothing is asked for of an adaptive softmax.
        RuntimeError: If gradients of the gradients are asked for, where scores are held piece by piece.
    """
    labels = labels.to(hidden_states.device)
    num_items = len(labels) if num_items_in_batch is None else num_items_in_batch
    if torch.is_tensor(num_items):
        num_items = num_items.to(hidden_states.device)
    if isinstance(head, AdaptiveSoftmax):
        if label_smoothing:
            raise ValueError(
                f"`label_smoothing` is {label_smoothing}, but needs the scores of all tokens, which an adaptive "
                "softmax does without: set it to 0, or `adaptive_softmax_cutoffs` to []. With Trainer's "
                "`label_smoothing_factor`, they are computed."
            )
        return head.loss(hidden_states, labels) / num_items
    if torch.compiler.is_compiling() or not isinstance(head, nn.Linear) or not _goes_by_pieces(head, hidden_states):
        logits = head(hidden_states)
        return token_loss(logits, labels, logits.shape[-1], num_items_in_batch, label_smoothing)
    dtype, device = hidden_states.dtype, hidden_states.device
    if torch.is_autocast_enabled(device.type) and dtype != torch.float64:  # which autocast leaves alone
        dtype = torch.get_autocast_dtype(device.type)
    arguments = (hidden_states, head.weight, head.bias, labels, label_smoothing, dtype)
    return _LinearCrossEntropy.apply(*arguments) / num_items


def _goes_by_pieces(head: nn.Linear, hidden_states: torch.Tensor) -> bool:
    """Tells whether the scores of a head are so many that they had better be held piece by piece."""
    # A head that somebody wrapped, hooked or quantized must be called; one that was put in may be an `nn.Linear`.
    kind = OutputLayer if isinstance(head, OutputLayer) else nn.Linear
    if not are_plain((head, kind)) or head.bias is None or hidden_states.device.type != "cpu":
        return False
    # torch.func asks for second derivatives, whether they are wanted or not.
    if torch._C._are_functorch_transforms_active():
        return False
    parameters = (head.weight, head.bias)
    if any(type(parameter) not in (nn.Parameter, torch.Tensor) for parameter in parameters):
        return False
    needs_gradients = any(tensor.requires_grad for tensor in (hidden_states, *parameters))
    num_tokens, vocab_size = len(hidden_states), len(head.weight)
    is_large = num_tokens > max(_SCORED_TOKENS, head.in_features) and num_tokens * vocab_size >= _MANY_SCORES
    return is_large and needs_gradients and torch.is_grad_enabled()


def next_tokens(
    hidden_states: torch.Tensor, labels: torch.Tensor | None, shift_labels: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Chooses the positions of a language model that have a token to predict.

    Args:
        hidden_states (`torch.Tensor` of shape `(batch_size, sequence_length, size)`):
            What the output layer reads, or the scores that it gives.
        labels (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*):
            The tokens, not shifted; -100 where none is to be learned.
        shift_labels (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*):
            The tokens to predict at each position, instead of `labels`.

    Returns:
        The chosen entries of `hidden_states`, `(num_tokens, size)`, and their tokens, `(num_tokens,)`.

    Raises:
        ValueError: If the labels do not fit.
    """
    if shift_labels is None:
        assert labels is not None
        shift_labels = F.pad(labels, (0, 1), value=-100)[..., 1:]
    if shift_labels.shape != hidden_states.shape[:-1]:
        raise ValueError(
            f"The labels are of shape {tuple(shift_labels.shape)}, but positions of shape "
            f"{tuple(hidden_states.shape[:-1])} are kept: give one label for each that `logits_to_keep` leaves."
        )
    targets = shift_labels.to(hidden_states.device)
    is_target = targets != -100
    return hidden_states[is_target], targets[is_target]
