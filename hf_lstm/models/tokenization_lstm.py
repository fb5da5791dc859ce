"""Tokenizer of the LSTM models, trained from a corpus."""

from collections import Counter
from collections.abc import Iterable, Iterator

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers.utils import logging


try:
    from transformers import TokenizersBackend
except ImportError as error:
    raise ImportError(
        "LstmTokenizer needs transformers 5.23 or newer: install it with `pip install 'transformers>=5.23,<6'`."
    ) from error


ALGORITHMS = ("word", "char", "bpe", "unigram", "wordpiece")
NORMALIZATIONS = ("nfkc", None)
# In the order of their ids.
SPECIAL_TOKENS = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
NUM_BYTES = 256

# Scripts that put no space between words; the sound mark of Japanese belongs to no script of its own.
_SPACELESS = r"\p{Han}\p{Hiragana}\p{Katakana}ー\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_LETTER = rf"[\p{{L}}\p{{N}}_&&[^{_SPACELESS}]]"
_SUFFIX = rf"['’](?i:s|m|d|ll|re|ve)(?!{_LETTER})"
_NEGATION = rf"(?i:n['’]t)(?!{_LETTER})"
# Each match is one token. "It isn't O'Hara's" gives It | is | n't | O'Hara | 's, as the Penn Treebank does.
_WORD = "|".join(
    [
        rf"[{_SPACELESS}]\p{{M}}*",
        rf"{_LETTER}(?:{_LETTER}|\p{{M}})*?(?={_NEGATION})",
        _NEGATION,
        _SUFFIX,
        rf"{_LETTER}(?:{_LETTER}|\p{{M}})*(?:['’](?!{_SUFFIX[4:]}){_LETTER}(?:{_LETTER}|\p{{M}})*)*",
        r"(?!\s)\X",
    ]
)
# Spaces that were not there before the words were split, in languages that write Chinese or Latin punctuation.
_ADDED_SPACE = (
    rf"(?<=[{_SPACELESS}，。！？；：、）】》」』”]) (?=[{_SPACELESS}，。！？；：、（）【】《》「」『』“”])"
    rf"| (?=[.,!?;:%)\]}}]|{_NEGATION}|{_SUFFIX})|(?<=[(\[{{]) "
)
# Byte-level pieces take the space before them along, except where a script puts none. The bound on the length keeps
# the training fast on texts without any space.
_BYTE_PIECE = "|".join(
    [
        r"['’](?i:s|t|m|d|ll|re|ve)(?!\p{L})",
        rf" ?[\p{{L}}\p{{M}}&&[^{_SPACELESS}]]{{1,64}}",
        rf"[{_SPACELESS}]{{1,64}}",
        r" ?\p{N}{1,64}",
        r" ?[^\s\p{L}\p{M}\p{N}]{1,64}",
        r"\s{1,64}(?!\S)",
        r"\s",
    ]
)
