"""Turns the bytes of a fuzzer into choices, and choices into damage to files."""

import copy
import json
from collections.abc import Sequence
from typing import Any

MAX_DEPTH = 6
# What stands where something else belongs: other types, borders of numbers, names that lead elsewhere, odd characters.
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1, 2, 3, 7, 2**31, 2**63, 10**30, -0.5, 0.5, 1e308, float("nan"), float("inf")),
    *("", "x", "7", "../../elsewhere", "/etc/hostname", "\ud800", "\x00", "x" * 10_000, "hf_lstm", "bert", "float16"),
    *("max", "attention", "multi_head", "none", "copy", "regression", "multi_label_classification", "LstmTokenizer"),
    *([], [0], [2, 2], ["x"], [None], [[]], {}, {"x": 1}, {"0": "x"}, {"type": "x"}, [{"x": []}]),
)
# Names that files of transformers know besides those that are there.
ODD_NAMES = (
    *(
        "auto_map",
        "transformers_weights",
        "quantization_config",
        "torch_dtype",
        "dtype",
        "architectures",
        "sub_configs",
    ),
    *("model_type", "tokenizer_class", "tokenizer_file", "added_tokens_decoder", "extra_special_tokens", "id2label"),
    *("chat_template", "attn_implementation", "_attn_implementation", "prefix", "problem_type", "custom_pipelines"),
    *(
        "num_labels",
        "label2id",
        "max_length",
        "max_new_tokens",
        "num_beams",
        "do_sample",
        "eos_token_id",
        "text_config",
    ),
    *("model_max_length", "padding_side", "truncation_side", "target_settings", "add_bos_token", "normalizer", "x"),
)


class Choices:
    """
    Reads choices from bytes, each time the next ones; from their end on, the first of everything.

    Args:
        data (`bytes`): What a fuzzer made.
    """

    def __init__(self, data: bytes):
        self._data = data
        self._position = 0

    def number(self, below: int) -> int:
        """Returns a number from 0 on."""
        size = 1 if below <= 256 else 4
        taken = self._data[self._position : self._position + size]
        self._position += size
        return int.from_bytes(taken, "little") % below

    def pick(self, values: Sequence[Any]) -> Any:
        """Returns one of some values, as a copy."""
        return copy.deepcopy(values[self.number(len(values))])

    def rest(self) -> bytes:
        """Returns what is left."""
        return self._data[self._position :]


def damage_json(content: bytes, choices: Choices) -> bytes:
    """Changes, removes or adds up to three values of a JSON file, or breaks its text."""
    if choices.number(8) == 7:
        return damage_bytes(content, choices)
    values = json.loads(content)
    for _ in range(1 + choices.number(3)):
        values = _damage_value(values, choices, 0)
    return json.dumps(values).encode()


def damage_bytes(content: bytes, choices: Choices) -> bytes:
    """Cuts a file, or replaces some of its bytes, which may be the first eight, or all of it."""
    kind = choices.number(5)
    place = choices.number(max(1, len(content)))
    if kind == 0:
        return content[:place]
    if kind == 1:
        return choices.rest()
    if kind == 2:
        return choices.pick((b"[]", b"null", b"7", b'"x"', b"{}", b"[" * 100_000, b"\xff\xfe", b"\xef\xbb\xbf{}"))
    place = place if kind == 3 else choices.number(8)
    new = choices.rest()[:8] or b"\xff"
    return content[:place] + new + content[place + len(new) :]


def _damage_value(value: Any, choices: Choices, depth: int) -> Any:
    """Changes a value, or one within it."""
    is_nested = isinstance(value, (dict, list)) and value and depth < MAX_DEPTH
    # Mostly further down, so that one field is odd in a file that is otherwise whole.
    if not is_nested or (depth > 1 and choices.number(8) == 0):
        return choices.pick(ODD_VALUES)
    key = choices.pick(list(value) if isinstance(value, dict) else range(len(value)))
    kind = choices.number(8)
    if kind == 0:
        del value[key]
    elif kind == 1 and isinstance(value, dict):
        value[choices.pick(ODD_NAMES)] = choices.pick(ODD_VALUES)
    elif kind == 2 and isinstance(value, dict):
        value[choices.pick(list(value))] = copy.deepcopy(value[key])
    else:
        value[key] = _damage_value(value[key], choices, depth + 1)
    return value
