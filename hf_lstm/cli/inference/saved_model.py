"""Saved models that a command runs: finding out what they are, loading them, and telling them apart."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from transformers import AutoTokenizer, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from ...data.checks import InputError, describe_error, listing
from ...data.labels import REGRESSION
from ...data.tokenization import check_padding_token
from ...models.configuration_lstm import LstmConfig
from ...models.modeling_lstm import LstmForCausalLM, LstmForSequenceClassification, LstmForTokenClassification
from ...models.modeling_lstm_seq2seq import LstmForConditionalGeneration
from ...models.tokenization_lstm import find_target_tokenizer
from ...training.checkpoints import check_model_folder, check_no_adapter

CLASSIFIER, SEQ2SEQ, CAUSAL, TOKENS = "classifier", "seq2seq", "causal", "tokens"
_CLASSES: dict[str, type[PreTrainedModel]] = {
    CLASSIFIER: LstmForSequenceClassification,
    SEQ2SEQ: LstmForConditionalGeneration,
    CAUSAL: LstmForCausalLM,
    TOKENS: LstmForTokenClassification,
}
# The tokenizers of models that read texts of any length have such a number in place of a limit.
_NO_LIMIT = 10**6


@dataclass
class SavedModel:
    """
    A model that was loaded to be used.

    Args:
        name (`str`): The folder, or the name on the Hub.
        kind (`str`): `"classifier"`, `"seq2seq"`, `"causal"` or `"tokens"`.
        model (`PreTrainedModel`): The model, in evaluation mode and on its device.
        tokenizer (`PreTrainedTokenizerBase`): Its tokenizer.
    """

    name: str
    kind: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    def fingerprint(self) -> str:
        """
        Computes a hash of the weights, the configuration, the way of generating and the tokenizer.

        It is another for another model.
        """
        digest = hashlib.sha256()
        for name, weight in sorted(self.model.state_dict().items()):
            digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
            digest.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        configs = [self.model.config, *([self.model.generation_config] if self.model.can_generate() else [])]
        for config in configs:
            values = {
                key: value
                for key, value in config.to_dict().items()
                if key not in ("_name_or_path", "transformers_version")
            }
            digest.update(json.dumps(values, sort_keys=True, default=str).encode())
        for tokenizer in (self.tokenizer, find_target_tokenizer(self.tokenizer)):
            digest.update(tokenizer.backend_tokenizer.to_str().encode())
        return digest.hexdigest()

    def reading_limit(self, max_length: int | None) -> int | None:
        """Returns how many tokens of a text are read: as the user says, or what the tokenizer is made for."""
        limit = self.tokenizer.model_max_length
        return max_length or (limit if limit < _NO_LIMIT else None)


def load_saved_model(
    name: str, command: str, kinds: Sequence[str], revision: str | None = None, device: str | None = None
) -> SavedModel:
    """
    Loads a model of this package with its tokenizer.

    Args:
        name (`str`): A folder, or a name on the Hub.
        command (`str`): Who asks, for messages.
        kinds (`Sequence[str]`): The kinds of model that the command can run.
        revision (`str`, *optional*): Branch, tag or commit on the Hub.
        device (`str`, *optional*):
            Where to run; an accelerator by default, if there is one. Each process of `torchrun` takes its own.

    Raises:
        InputError: If there is no such model, it is of another kind, or its files are damaged or do not fit together.
    """
    if Path(name).is_file():
        raise InputError(f"{name!r} is a file, but must be the folder of a saved model, such as my_model.")
    place = _find_device(device)
    options: dict[str, Any] = {"revision": revision or "main"}
    kind = _find_kind(name, command, kinds, options)
    try:
        if kind == CLASSIFIER:
            _check_labels(name, LstmConfig.from_pretrained(name, **options))
        # Weights in the older format of torch are pickles, which this package never saves.
        model, info = _CLASSES[kind].from_pretrained(name, output_loading_info=True, use_safetensors=True, **options)
    except InputError:
        raise
    except Exception as error:  # a damaged file may fail anywhere in the libraries below
        raise InputError(f"The model {name!r} cannot be loaded: {describe_error(error)}") from error
    missing = sorted(map(str, info["missing_keys"]))
    if missing:
        raise InputError(f"The weights of {name!r} are not whole: {listing(missing, 5)} is missing. Save it again.")
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False, **options)
    except Exception as error:
        raise InputError(f"The model {name!r} has no tokenizer that can be loaded: {describe_error(error)}") from error
    check_padding_token(tokenizer)
    limit = tokenizer.model_max_length
    # What stands in place of a limit may be a float, such as 1e30.
    if not (isinstance(limit, int) or (isinstance(limit, float) and limit >= _NO_LIMIT)):
        raise InputError(
            f"The tokenizer of {name!r} has the `model_max_length` {limit!r}, which must be a whole number. Mend "
            "tokenizer_config.json."
        )
    _check_token_ids(name, model)
    known = getattr(model.config, "source_vocab_size", model.config.vocab_size)
    if len(tokenizer) > known:
        raise InputError(f"The tokenizer of {name!r} has {len(tokenizer)} tokens, but the model knows only {known}.")
    return SavedModel(name, kind, model.eval().to(place), tokenizer)


def _find_kind(name: str, command: str, kinds: Sequence[str], options: dict[str, Any]) -> str:
    try:
        values, _ = PreTrainedConfig.get_config_dict(name, **options)
        architecture = next(iter(values.get("architectures") or ()), None)
    except Exception as error:
        raise InputError(f"The model {name!r} cannot be loaded: {describe_error(error)}") from error
    kind = next((kind for kind, model_class in _CLASSES.items() if model_class.__name__ == architecture), None)
    if kind is None or kind not in kinds:
        wanted = " or ".join(_CLASSES[kind].__name__ for kind in kinds)
        hint = " `hf-lstm generate` continues texts with it." if kind == CAUSAL else ""
        raise InputError(
            f"The model {name!r} is of the class {architecture!r}, but `hf-lstm {command}` needs {wanted}.{hint}"
        )
    if Path(name).is_dir():
        check_model_folder(name, _CLASSES[kind].config_class.model_type)
    else:
        check_no_adapter(name, **options)
    return kind


def _check_labels(name: str, config: LstmConfig) -> None:
    """Makes sure that commands can show what a classifier says."""
    if config.problem_type == REGRESSION and config.num_labels != 1:
        raise InputError(
            f"The model {name!r} is a regression of {config.num_labels} numbers, but commands know regressions of one "
            "only. Call the model's `predict` with top_k=None in Python."
        )
    names = list(config.id2label.values())
    repeated = sorted({label for label in names if names.count(label) > 1})
    if repeated:
        raise InputError(
            f"The model {name!r} gives several classes the label {repeated[0]!r}, so that results could not tell them "
            "apart. Give each its own name under `id2label` in config.json."
        )


def _check_token_ids(name: str, model: PreTrainedModel) -> None:
    """Makes sure that what starts, ends and pads a generated text are ids of the vocabulary."""
    size = model.config.vocab_size
    for key in ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"):
        value = getattr(model.generation_config, key, None) if model.can_generate() else None
        ids = value if isinstance(value, list) else [value]
        if any(token_id is not None and (type(token_id) is not int or not 0 <= token_id < size) for token_id in ids):
            raise InputError(
                f"The model {name!r} has {value!r} as `{key}` in its generation_config.json, which must be a token id "
                f"below {size}, a list of such, or null. Mend it, or save the model again."
            )


def _find_device(name: str | None) -> torch.device:
    """Finds where this process runs, and connects it to the others of `torchrun`, if there are any."""
    device = _read_device(name)
    state = PartialState(cpu=device.type == "cpu")
    return state.device if state.num_processes > 1 and device.index is None else device


def _read_device(name: str | None) -> torch.device:
    if name is None:
        device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return torch.device("cpu" if device is None else device.type)
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device is {name!r}, which cannot be used: {error} Try cpu.") from error
    return device
