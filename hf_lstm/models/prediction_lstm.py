"""Reading many texts: tokenised together, in batches of similar lengths, with the results in the texts' order."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase
from transformers.utils.logging import tqdm

from .inputs_lstm import check_count
from .prepacking_lstm import fixed_parameters

# Tokens of a batch, padding included, whatever its number of texts may be.
MAX_BATCH_TOKENS = 32768
# Texts that are tokenised, sorted and read together, so that memory does not grow with the number of texts.
_PIECE_SIZE = 16384
# The tokenizers of models that read texts of any length have a larger number in place of a limit.
_NO_LIMIT = 10**6
# Where a tokenizer cuts is a setting of its own, which each call changes: one thread at a time may call it.
_tokenizing = threading.Lock()


def sorted_batches(lengths: Sequence[int], batch_size: int, max_tokens: int) -> Iterator[list[int]]:
    """
    Yields row numbers in batches, the longest rows first, so that what does not fit into memory fails at once.

    Args:
        lengths (`Sequence[int]`): Tokens of each row.
        batch_size (`int`): Rows of a batch at most; fewer if they are long.
        max_tokens (`int`): Tokens of a batch at most, with padding; a longer row is a batch by itself.
    """
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        # The first row is the longest one, and the others are padded to it.
        if batch and (len(batch) == batch_size or (len(batch) + 1) * lengths[batch[0]] > max_tokens):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def read_sorted(
    token_ids: Sequence[Sequence[int]],
    read: Callable[[dict[str, torch.Tensor]], Sequence[Any]],
    pad_token_id: int,
    batch_size: int,
    device: torch.device | None = None,
    progress: Callable[[int], Any] = lambda count: None,
) -> list[Any]:
    """
    Reads sequences of tokens in batches of similar lengths.

    Args:
        token_ids (`Sequence[Sequence[int]]`): The tokens of each sequence.
        read (`Callable`): Takes `input_ids` and `attention_mask` of shape `(batch_size, sequence_length)`, padded on
            the right, by name, and returns something for each row.
        pad_token_id (`int`): Stands at padding.
        batch_size (`int`): Sequences of a batch at most.
        device (`torch.device`, *optional*): Where the tensors are to be.
        progress (`Callable`, *optional*): Called with the number of sequences after each batch.

    Returns:
        `list[Any]`: What was returned for each sequence, in their order.
    """
    results: list[Any] = [None] * len(token_ids)
    for rows in sorted_batches([len(ids) for ids in token_ids], batch_size, MAX_BATCH_TOKENS):
        batch = pad_right([token_ids[row] for row in rows], pad_token_id)
        with torch.inference_mode():
            outputs = read({name: tensor.to(device) for name, tensor in batch.items()})
        for row, output in zip(rows, outputs, strict=True):
            results[row] = output
        progress(len(rows))
    return results


def pad_right(token_ids: Sequence[Sequence[int]], pad_token_id: int) -> dict[str, torch.Tensor]:
    """Returns `input_ids` and `attention_mask` of shape `(batch_size, length of the longest sequence)`."""
    lengths = torch.tensor([len(ids) for ids in token_ids])
    mask = torch.arange(int(lengths.max())) < lengths.unsqueeze(1)
    input_ids = torch.full(mask.shape, pad_token_id)
    input_ids[mask] = torch.tensor([token for ids in token_ids for token in ids], dtype=torch.long)
    return {"input_ids": input_ids, "attention_mask": mask.long()}


def predict_texts(
    model: Any,
    texts: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    read: Callable[[dict[str, torch.Tensor]], Sequence[Any]],
    text_pairs: Sequence[str] | None = None,
    batch_size: int = 64,
    max_length: int | None = None,
    progress_bar: bool = False,
    prefix: str = "",
) -> list[Any]:
    """
    Tokenises texts and reads them in batches of similar lengths, outside of training.

    Args:
        model (`PreTrainedModel`): The model, whose mode and device count.
        texts (`Sequence[str]`): The texts.
        tokenizer (`PreTrainedTokenizerBase`): The model's tokenizer.
        read (`Callable`): As for `read_sorted`.
        text_pairs (`Sequence[str]`, *optional*): The second text of each pair.
        batch_size (`int`, defaults to 64): Texts of a batch at most.
        max_length (`int`, *optional*): Tokens of a text that are read; by default what the tokenizer is made for.
        progress_bar (`bool`, defaults to `False`): Whether to show how many texts are done.
        prefix (`str`, defaults to `""`): Stands before each text.

    Raises:
        ValueError: If `texts` or `text_pairs` is no list of texts, the pairs are not as many, `batch_size` or
            `max_length` is no whole number of at least 1, or too few tokens for those that the tokenizer adds, or the
            tokenizer has no padding token.
    """
    texts = read_texts(texts, "texts")
    text_pairs = None if text_pairs is None else read_texts(text_pairs, "text_pairs")
    _check_sizes(len(texts), text_pairs, batch_size, max_length)
    if tokenizer.pad_token_id is None:
        raise ValueError("The tokenizer has no padding token, which batches need: set its `pad_token`.")
    options: dict[str, Any] = {}
    if max_length is not None or tokenizer.model_max_length < _NO_LIMIT:
        limit = tokenizer.model_max_length if max_length is None else max_length
        _check_room(limit, tokenizer.num_special_tokens_to_add(pair=text_pairs is not None))
        options = {"truncation": True, "max_length": limit}
    results: list[Any] = []
    # A single batch gains nothing by it.
    fixed = fixed_parameters(model) if len(texts) > batch_size else nullcontext()
    with evaluation_mode(model), fixed, tqdm(total=len(texts), unit=" texts", disable=not progress_bar) as bar:
        for start in range(0, len(texts), _PIECE_SIZE):
            piece = slice(start, start + _PIECE_SIZE)
            pairs = None if text_pairs is None else text_pairs[piece]
            prefixed = [prefix + text for text in texts[piece]]
            with _tokenizing:
                encoded = tokenizer(prefixed, pairs, return_attention_mask=False, **options)
            pad_token_id, device = tokenizer.pad_token_id, model.device
            results += read_sorted(encoded["input_ids"], read, pad_token_id, batch_size, device, bar.update)
    return results


# Models that are read by `predict`, by how many threads, and the mode that each of their modules was in before.
_readers: dict[torch.nn.Module, tuple[int, list[tuple[torch.nn.Module, bool]]]] = {}
_changing_mode = threading.Lock()


@contextmanager
def evaluation_mode(model: torch.nn.Module) -> Iterator[None]:
    """Within it, a model is in evaluation mode; the last of several threads puts each module's mode back."""
    with _changing_mode:
        num_readers, modes = _readers.get(model) or (0, _find_modes(model))
        if num_readers == 0 and modes:
            model.eval()
        _readers[model] = (num_readers + 1, modes)
    try:
        yield
    finally:
        with _changing_mode:
            num_readers, modes = _readers.pop(model)
            if num_readers > 1:
                _readers[model] = (num_readers - 1, modes)
            else:
                # From the outside in, for each sets the modules in it, too.
                for module, was_training in modes:
                    module.train(was_training)


def _find_modes(model: torch.nn.Module) -> list[tuple[torch.nn.Module, bool]]:
    """Returns whether each module is in training; nothing where none is, which leaves nothing to put back."""
    modes = [(module, module.training) for module in model.modules()]
    return modes if any(was_training for _, was_training in modes) else []


def read_texts(texts: Sequence[str], name: str) -> list[str]:
    """
    Returns texts as a list.

    Args:
        texts (`Sequence[str]`): The texts, in any sequence, such as a column of a dataset.
        name (`str`): What they are called in messages.

    Raises:
        ValueError: If they are a single text, no sequence, or hold what is no text.
    """
    if isinstance(texts, str):
        raise ValueError(f"`{name}` is a single text, but must be a list of texts: give [text].")
    if texts is None or isinstance(texts, (Mapping, Set)):
        raise ValueError(f"`{name}` is of type {type(texts).__name__}, but must be a list of texts.")
    texts = list(texts)
    wrong = [text for text in texts if not isinstance(text, str)][:1]
    if wrong:
        raise ValueError(f"`{name}` holds {wrong[0]!r} of type {type(wrong[0]).__name__}, but must hold texts only.")
    return texts


def _check_sizes(num_texts: int, text_pairs: list[str] | None, batch_size: int, max_length: int | None) -> None:
    if text_pairs is not None and len(text_pairs) != num_texts:
        raise ValueError(f"There are {len(text_pairs)} `text_pairs` for {num_texts} `texts`: give one for each.")
    check_count("batch_size", batch_size)
    if max_length is not None:
        check_count("max_length", max_length)


def _check_room(max_length: int, num_added: int) -> None:
    if max_length <= num_added:
        raise ValueError(
            f"`max_length` is {max_length}, but must be at least {num_added + 1}: it counts the {num_added} special "
            "tokens that the tokenizer adds."
        )
