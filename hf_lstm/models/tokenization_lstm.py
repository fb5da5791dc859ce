"""Tokenizers of the LSTM models: one vocabulary trained from a corpus, or two side by side."""

import copy
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sized
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

try:
    from transformers import BatchEncoding, TokenizersBackend
    from transformers.utils import logging
except ImportError as error:
    raise ImportError(
        "LstmTokenizer needs transformers 5.24 or newer: install it with `pip install 'transformers>=5.24,<6'`."
    ) from error

logger = logging.get_logger(__name__)

ALGORITHMS = ("word", "char", "bpe", "unigram", "wordpiece")
NORMALIZATIONS = ("nfkc", None)
# In the order of their ids.
SPECIAL_TOKENS = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}

MAX_WORD_LENGTH = 100  # characters; longer words are unknown to word pieces

# Scripts that put no space between words; the sound mark of Japanese belongs to no script of its own.
_SPACELESS = r"\p{Han}\p{Hiragana}\p{Katakana}ー\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_LETTER = rf"[\p{{L}}\p{{N}}_&&[^{_SPACELESS}]]"
_LETTERS = rf"{_LETTER}(?:{_LETTER}|\p{{M}})*"
_SUFFIX = rf"(?i:s|m|d|ll|re|ve)(?!{_LETTER})"
_NEGATION = rf"(?i:n['’]t)(?!{_LETTER})"
_FLAG_LETTER = r"[\x{1F1E6}-\x{1F1FF}]"
# Each match is one token: "It isn't O'Hara's 1,000.5" gives It | is | n't | O'Hara | 's | 1,000.5, as in the Penn
# Treebank, so that such corpora and raw text share a vocabulary.
_WORD = "|".join(
    [
        rf"[{_SPACELESS}]\p{{M}}*",
        r"\p{N}+(?:[.,]\p{N}+)+",
        rf"{_LETTERS}?(?={_NEGATION})",
        _NEGATION,
        rf"['’]{_SUFFIX}",
        rf"{_LETTERS}(?:['’](?!{_SUFFIX}){_LETTERS})*",
        # Flags, of two such letters each: at every one of a run, \X would look back to the first.
        rf"{_FLAG_LETTER}{{1,2}}(?:(?!{_FLAG_LETTER})\Y[\s\S])*",
        r"(?!\s)\X",
    ]
)
# The spaces which joining words by spaces adds to a text: between Chinese characters, around punctuation.
_WIDE = rf"{_SPACELESS}，。！？；：、（）【】《》「」『』"
_ADDED_SPACE = "|".join(
    [
        rf"(?<=[{_WIDE}]) (?=[{_WIDE}])",
        r"(?<=[(\[{]) ",
        rf" (?=[.,!?;:%)\]}}…，。！？；：、）】》」』]|{_NEGATION}|['’]{_SUFFIX})",
    ]
)
# Byte-level pieces take the space before them along, except in scripts that put none. The bound on the length keeps
# training and encoding fast on texts without any space.
_BYTE_PIECE = "|".join(
    [
        r"['’](?i:s|t|m|d|ll|re|ve)(?!\p{L})",
        rf"[{_SPACELESS}]{{1,64}}",
        rf" ?[\p{{L}}\p{{M}}&&[^{_SPACELESS}]]{{1,64}}",
        r" ?\p{N}{1,64}",
        r" ?[^\s\p{L}\p{M}\p{N}]{1,64}",
        r"\s",
    ]
)
# SentencePiece's "▁" marks the start of a word; punctuation is never part of one.
_UNIGRAM_PIECE = r"▁?[^▁\p{L}\p{M}\p{N}]"


class LstmTokenizer(TokenizersBackend):
    """
    Turns text into token ids, with a vocabulary trained by [`~LstmTokenizer.train_from_iterator`].

    The ids 0 to 3 belong to `<pad>`, `<unk>`, `<s>` and `</s>`. A pair of texts is joined by `</s>`.
    """

    # There is no `__init__` on purpose: transformers rebuilds a tokenizer class that has one without its
    # pre-tokenizer, which changes the ids of a saved tokenizer.
    vocab_files_names = {"tokenizer_file": "tokenizer.json"}
    model_input_names = ["input_ids", "attention_mask"]
    padding_side = "right"

    @classmethod
    def train_from_iterator(
        cls,
        iterator: Iterable[str] | Iterable[list[str]],
        vocab_size: int = 30000,
        algorithm: str = "word",
        lowercase: bool = True,
        normalization: str | None = "nfkc",
        min_frequency: int = 2,
        add_bos: bool = False,
        add_eos: bool = False,
        model_max_length: int | None = None,
        show_progress: bool = True,
        length: int | None = None,
    ) -> "LstmTokenizer":
        """
        Trains a tokenizer on texts.

        Args:
            iterator (iterable of `str` or of `list[str]`):
                The texts, one by one or in batches. `"unigram"` holds all of them in memory.
            vocab_size (`int`, defaults to 30000):
                Largest number of tokens, the four special ones included.
            algorithm (`str`, defaults to `"word"`):
                `"word"` (words and punctuation marks; a character of Chinese, Japanese or Thai is a token by
                itself), `"char"` (every character, spaces too), `"bpe"` (byte-level: nothing is unknown and decoding
                gives the text back, with a space more after a special token within it), `"unigram"` (SentencePiece's
                model; finds words in Chinese) or `"wordpiece"` (parts of the words that `"word"` finds).
            lowercase (`bool`, defaults to `True`):
                Whether texts are lower-cased.
            normalization (`str`, *optional*, defaults to `"nfkc"`):
                `"nfkc"` unifies the forms in which Unicode writes the same character; `None` changes nothing.
            min_frequency (`int`, defaults to 2):
                How often a word (`"word"`), a character (`"char"`, `"unigram"`, `"wordpiece"`) or a pair to be merged
                (`"bpe"`, `"wordpiece"`) must occur to enter the vocabulary.
            add_bos (`bool`, defaults to `False`):
                Whether `<s>` is put before every text.
            add_eos (`bool`, defaults to `False`):
                Whether `</s>` is put after every text.
            model_max_length (`int`, *optional*):
                Number of tokens to which `truncation=True` cuts; no limit when `None`.
            show_progress (`bool`, defaults to `True`):
                Whether progress bars are shown.
            length (`int`, *optional*):
                Number of texts, for the progress bar; known by itself when the iterator has a length.

        Returns:
            [`LstmTokenizer`]: The trained tokenizer.

        Raises:
            ValueError: If an argument is out of its range, or nothing can be learnt from the texts.
            TypeError: If a text is not a string.
        """
        _check_arguments(vocab_size, algorithm, normalization, min_frequency, model_max_length)
        backend = _build_backend(algorithm)
        backend.normalizer = _build_normalizer(algorithm, lowercase, normalization)
        corpus: Iterable[str] = _read_texts(iterator)
        length = len(iterator) if length is None and isinstance(iterator, Sized) else length
        trainer = _build_trainer(algorithm, vocab_size, min_frequency, show_progress)
        # Room is left for longer pieces than characters, and for both forms that a character has as a word piece.
        max_characters = (vocab_size - len(SPECIAL_TOKENS)) // 2
        if algorithm == "unigram":
            _train_unigram(backend, corpus, trainer, max_characters, min_frequency)
        elif algorithm == "wordpiece":
            _train_wordpiece(backend, corpus, trainer, max_characters, min_frequency)
        else:
            backend.train_from_iterator(corpus, trainer=trainer, length=length)
        if backend.get_vocab_size() == len(SPECIAL_TOKENS):
            unit = "word" if algorithm == "word" else "character"
            raise ValueError(
                f"No {unit} occurs min_frequency={min_frequency} times in the texts, so that the vocabulary would be "
                "empty: lower `min_frequency` or give more texts."
            )
        optional_arguments: dict[str, Any] = {} if model_max_length is None else {"model_max_length": model_max_length}
        return cls(
            tokenizer_object=backend,
            add_bos_token=add_bos,
            add_eos_token=add_eos,
            **SPECIAL_TOKENS,
            **optional_arguments,
        )

    def update_post_processor(self) -> None:
        """Sets which special tokens surround a text, and joins the texts of a pair by `</s>`; none that is missing."""
        has_bos, has_eos = self.bos_token is not None, self.eos_token is not None
        # Not by the properties, whose setters come here.
        self._add_bos_token, self._add_eos_token = self.add_bos_token and has_bos, self.add_eos_token and has_eos
        start = [f"{self.bos_token}:0"] if self.add_bos_token else []
        end = [f"{self.eos_token}:0"] if self.add_eos_token else []
        separator = [f"{self.eos_token}:0"] if has_eos else []
        known = [(self.bos_token, self.bos_token_id)] * has_bos + [(self.eos_token, self.eos_token_id)] * has_eos
        template = processors.TemplateProcessing(
            single=[*start, "$A:0", *end],
            pair=[*start, "$A:0", *separator, "$B:0", *end],
            special_tokens=known,
        )
        if "ByteLevel" in repr(self._tokenizer.pre_tokenizer):
            # Leaves the space before a word out of its offsets, but not the first letter, before which one is put.
            trim = processors.ByteLevel(add_prefix_space=True, trim_offsets=True)
            self._tokenizer.post_processor = processors.Sequence([trim, template])
        else:
            self._tokenizer.post_processor = template

    def _encode_plus(self, text: Any, text_pair: Any = None, **kwargs: Any) -> BatchEncoding:
        if text_pair == "" and isinstance(text, str):
            # transformers leaves an empty second text out, but not of a batch.
            encoding = self._encode_plus([text], [text_pair], **kwargs)
            is_nested = kwargs.get("return_tensors") is None and not kwargs.get("return_overflowing_tokens")
            first = {name: rows[0] for name, rows in encoding.items()} if is_nested else encoding.data
            return BatchEncoding(first, encoding.encodings)
        try:
            return super()._encode_plus(text, text_pair, **kwargs)
        except TypeError:
            _check_characters([text, text_pair])
            raise

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Joins tokens; pieces of words keep the space before the first one, as in GPT-2's tokenizer."""
        if type(self.backend_tokenizer.model).__name__ not in ("BPE", "Unigram"):
            return super().convert_tokens_to_string(tokens)
        # Decoders take it off the first token of all.
        return super().convert_tokens_to_string(["a", *tokens])[1:]

    @classmethod
    def _from_pretrained(cls, *args: Any, **kwargs: Any) -> "LstmTokenizer":
        # Set only after the saved post-processor is read: transformers would put the one given in place of both.
        given = {name: kwargs.pop(name) for name in ("add_bos_token", "add_eos_token") if name in kwargs}
        tokenizer = super()._from_pretrained(*args, **kwargs)
        if "target_settings" in tokenizer.init_kwargs and "target_tokenizer_file" not in cls.vocab_files_names:
            logger.warning(
                f"{tokenizer.name_or_path!r} has a second vocabulary for targets, which {cls.__name__} does not read: "
                "load both with LstmSeq2SeqTokenizer or AutoTokenizer, if you decode what a model writes."
            )
        tokenizer._read_switches()
        for name, value in given.items():
            setattr(tokenizer, name, value)
        return tokenizer

    def _read_switches(self) -> None:
        """Sets the two switches from the post-processor that they made: transformers saves only that."""
        encoding = self._tokenizer.encode("")  # with padding, if it was saved after a call that pads
        surrounding = [token_id for token_id, is_token in zip(encoding.ids, encoding.attention_mask) if is_token]
        self._add_bos_token = surrounding[:1] == [self.bos_token_id]
        self._add_eos_token = surrounding[-1:] == [self.eos_token_id]


class LstmSeq2SeqTokenizer(LstmTokenizer):
    """
    Holds a source and a target vocabulary: two trained tokenizers side by side, saved in one folder.

    It is the tokenizer of the source, but its `target_tokenizer` encodes `text_target=...` and decodes what a model
    generates. So `len(tokenizer)`, `convert_ids_to_tokens`, `add_tokens`, `padding_side` or `add_eos_token` are the
    source's; `tokenizer.target_tokenizer` has the target's.
    """

    vocab_files_names = {"tokenizer_file": "tokenizer.json", "target_tokenizer_file": "target_tokenizer.json"}
    _target_tokenizer: LstmTokenizer | None = None

    @classmethod
    def from_tokenizers(cls, source: LstmTokenizer, target: LstmTokenizer) -> "LstmSeq2SeqTokenizer":
        """
        Puts copies of two tokenizers side by side.

        Args:
            source ([`LstmTokenizer`]): The tokenizer of what the encoder reads.
            target ([`LstmTokenizer`]): The tokenizer of what the decoder writes.

        Raises:
            ValueError: If a vocabulary lacks a special token, or has it under another id than [`LstmTokenizer`] does.
            TypeError: If one of the two is not a tokenizer.
        """
        for side, given in (("source", source), ("target", target)):
            if not isinstance(given, TokenizersBackend):
                raise TypeError(f"The {side} tokenizer {given!r} must be an LstmTokenizer: load or train one first.")
            _check_special_tokens(side, given._tokenizer)
        tokenizer = cls(tokenizer_object=source._tokenizer, **_read_settings(source), **SPECIAL_TOKENS)
        tokenizer._read_switches()
        tokenizer._target_tokenizer = copy.deepcopy(target)
        return tokenizer

    @property
    def target_tokenizer(self) -> LstmTokenizer:
        """[`LstmTokenizer`]: The tokenizer of the target; what is changed on it is saved with this one."""
        if self._target_tokenizer is None:
            raise ValueError(
                "There is no target vocabulary: use `from_tokenizers`, or LstmTokenizer if one is enough."
            )
        return self._target_tokenizer

    @property
    def source_tokenizer(self) -> LstmTokenizer:
        """[`LstmTokenizer`]: The source alone, to decode or to save it; it shares this tokenizer's vocabulary."""
        source = LstmTokenizer.__new__(LstmTokenizer)
        source.__dict__.update(self.__dict__)
        source.__dict__.pop("_target_tokenizer", None)
        source.init_kwargs = {key: value for key, value in self.init_kwargs.items() if key != "target_settings"}
        return source

    def __call__(
        self,
        text: Any = None,
        text_pair: Any = None,
        text_target: Any = None,
        text_pair_target: Any = None,
        **kwargs: Any,
    ) -> BatchEncoding:
        """
        Encodes texts as every tokenizer of transformers does, `text_target` with the vocabulary of the target.

        The ids of the target are `labels` beside a source, and `input_ids` without one. `max_target_length` replaces
        `max_length` for the target; without either, each side is cut to its own `model_max_length`.
        """
        max_target_length = kwargs.pop("max_target_length", None)
        if text_target is None:
            return super().__call__(text, text_pair, **kwargs)
        limit = {} if max_target_length is None else {"max_length": max_target_length}
        target = self.target_tokenizer(text_target, text_pair_target, **kwargs | limit)
        if text is None:
            return target
        encoding = super().__call__(text, text_pair, **kwargs)
        encoding["labels"] = target["input_ids"]
        return encoding

    def _decode(self, *args: Any, use_source_tokenizer: bool = False, **kwargs: Any) -> str:
        decode = super()._decode if use_source_tokenizer else self.target_tokenizer._decode
        return decode(*args, **kwargs)

    def save_pretrained(self, save_directory: str | os.PathLike, *args: Any, **kwargs: Any) -> tuple[str, ...]:
        """Saves both vocabularies, as `tokenizer.json` and `target_tokenizer.json`, and the settings of both."""
        self.init_kwargs["target_settings"] = _read_settings(self.target_tokenizer)
        return super().save_pretrained(save_directory, *args, **kwargs)

    def _save_pretrained(self, save_directory: str | os.PathLike, *args: Any, **kwargs: Any) -> tuple[str, ...]:
        file_names = super()._save_pretrained(save_directory, *args, **kwargs)
        target_file = file_names[-1].removesuffix("tokenizer.json") + "target_tokenizer.json"
        self.target_tokenizer._tokenizer.save(target_file)
        return (*file_names, target_file)

    @classmethod
    def _from_pretrained(cls, files: dict[str, str], *args: Any, **kwargs: Any) -> "LstmSeq2SeqTokenizer":
        target_file = files.get("target_tokenizer_file")
        if target_file is None:
            raise OSError(f"{args[0]!r} has no target_tokenizer.json: load one vocabulary with LstmTokenizer.")
        backend = Tokenizer.from_file(target_file)
        _check_special_tokens("target", backend)
        tokenizer = super()._from_pretrained(files, *args, **kwargs)
        settings = tokenizer.init_kwargs.get("target_settings", {})
        tokenizer._target_tokenizer = LstmTokenizer(tokenizer_object=backend, **settings, **SPECIAL_TOKENS)
        tokenizer._target_tokenizer._read_switches()
        return tokenizer


def find_target_tokenizer(tokenizer: Any) -> Any:
    """Returns what encodes targets and decodes what is generated: the target's tokenizer, or the only one there is."""
    return getattr(tokenizer, "target_tokenizer", tokenizer)


def _read_settings(tokenizer: LstmTokenizer) -> dict[str, Any]:
    """Returns what a tokenizer keeps besides its vocabulary and its post-processor."""
    settings = {name: getattr(tokenizer, name) for name in ("model_max_length", "padding_side", "truncation_side")}
    settings |= {
        name: str(token) for name, token in tokenizer.special_tokens_map.items() if name not in SPECIAL_TOKENS
    }
    if tokenizer.extra_special_tokens:
        settings["extra_special_tokens"] = [str(token) for token in tokenizer.extra_special_tokens]
    switches = ("split_special_tokens", "clean_up_tokenization_spaces")
    return settings | {name: True for name in switches if getattr(tokenizer, name)}


def _check_special_tokens(side: str, backend: Tokenizer) -> None:
    for token_id, token in enumerate(SPECIAL_TOKENS.values()):
        found = backend.token_to_id(token)
        if found != token_id:
            problem = f"lacks the special token {token!r}" if found is None else f"has {token!r} under the id {found}"
            raise ValueError(f"The {side} vocabulary {problem}, which must have the id {token_id}: train it again.")


def _check_arguments(
    vocab_size: int, algorithm: str, normalization: str | None, min_frequency: int, model_max_length: int | None
) -> None:
    if algorithm not in ALGORITHMS:
        raise ValueError(f"Unknown algorithm {algorithm!r}: choose one of {', '.join(map(repr, ALGORITHMS))}.")
    if normalization not in NORMALIZATIONS:
        raise ValueError(f"Unknown normalization {normalization!r}: choose 'nfkc' or None.")
    # Byte-level BPE cannot do without a token for each byte, word pieces without one to start and one to go on, nor
    # unigram without the mark of a word's start and one character.
    smallest = len(SPECIAL_TOKENS) + {"bpe": 256, "wordpiece": 2, "unigram": 2}.get(algorithm, 1)
    if vocab_size < smallest:
        raise ValueError(
            f"vocab_size={vocab_size} is too small for algorithm {algorithm!r}, which needs at least {smallest}: "
            f"raise `vocab_size`."
        )
    if min_frequency < 1:
        raise ValueError(f"min_frequency={min_frequency} must be 1 (keep all) or more.")
    if model_max_length is not None and model_max_length < 1:
        raise ValueError(f"model_max_length={model_max_length} must be 1 or more, or None for no limit.")


def _read_texts(iterator: Iterable[str] | Iterable[list[str]]) -> Iterator[str]:
    """Yields the texts one by one; raises when one is not a string, or at the end when all were empty."""
    if isinstance(iterator, str):
        raise TypeError(f"The texts to train on are one string ({iterator[:40]!r}): give a list of strings.")
    if isinstance(iterator, Mapping):
        raise TypeError(f"The texts to train on are a {type(iterator).__name__}: give a list of strings.")
    num_texts, has_content = 0, False
    for item in iterator:
        for text in [item] if isinstance(item, str) or not isinstance(item, (list, tuple)) else item:
            if not isinstance(text, str):
                raise TypeError(
                    f"Text number {num_texts} is {text!r} ({type(text).__name__}) but must be a string: drop such "
                    "rows or convert them with str()."
                )
            if not text.isascii():
                _check_characters(text)
            num_texts += 1
            has_content = has_content or bool(text.strip())
            yield text
    if not has_content:
        raise ValueError(
            f"The corpus is empty: {num_texts} texts, none with anything but white space. A tokenizer needs text to "
            "be trained on."
        )


def _check_characters(texts: Any) -> None:
    """Raises a `ValueError` for a text, alone or in lists, with half of a surrogate pair, which nothing can encode."""
    if isinstance(texts, (list, tuple)):
        for text in texts:
            _check_characters(text)
    elif isinstance(texts, str):
        try:
            texts.encode("utf-8")
        except UnicodeEncodeError as error:
            place = error.start
            raise ValueError(
                f"The text {texts[max(0, place - 20) : place + 20]!r} has half of a surrogate pair at character "
                f"{place}, which is no character. Join the halves, and replace those without a partner: "
                "text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')."
            ) from None


def _build_normalizer(algorithm: str, lowercase: bool, normalization: str | None) -> normalizers.Normalizer:
    steps: list[normalizers.Normalizer] = []
    if normalization == "nfkc":
        steps.append(normalizers.NFKC())
    if lowercase:
        steps.append(normalizers.Lowercase())
    if algorithm == "bpe":
        # A word is the same token at the start of a text as after a space. The decoder takes the space off again.
        steps.append(normalizers.Prepend(" "))
    return normalizers.Sequence(steps)


def _build_backend(algorithm: str) -> Tokenizer:
    """Builds the untrained `tokenizers.Tokenizer` of an algorithm: its model, pre-tokenizer and decoder."""
    unknown = SPECIAL_TOKENS["unk_token"]
    words = pre_tokenizers.Split(Regex(_WORD), behavior="removed", invert=True)
    tidy = [decoders.Fuse(), decoders.Replace(Regex(_ADDED_SPACE), "")]
    if algorithm == "word":
        backend = Tokenizer(models.WordLevel(unk_token=unknown))
        backend.pre_tokenizer = words
        # No word starts with the prefix: the decoder only joins the words by spaces.
        backend.decoder = decoders.Sequence([decoders.WordPiece(prefix="\0", cleanup=False), *tidy])
    elif algorithm == "wordpiece":
        backend = Tokenizer(models.WordPiece(unk_token=unknown))
        backend.pre_tokenizer = words
        backend.decoder = decoders.Sequence([decoders.WordPiece(prefix="##", cleanup=False), *tidy])
    elif algorithm == "char":
        backend = Tokenizer(models.WordLevel(unk_token=unknown))
        backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"(?m)."), behavior="isolated")
        backend.decoder = decoders.Fuse()
    elif algorithm == "bpe":
        backend = Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(_BYTE_PIECE), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        backend.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    else:
        backend = Tokenizer(models.Unigram())
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.WhitespaceSplit(),
                pre_tokenizers.Metaspace(prepend_scheme="always"),
                pre_tokenizers.Split(Regex(_UNIGRAM_PIECE), behavior="isolated"),
            ]
        )
        backend.decoder = decoders.Metaspace(prepend_scheme="always")
    return backend


def _build_trainer(algorithm: str, vocab_size: int, min_frequency: int, show_progress: bool) -> Any:
    arguments: dict[str, Any] = {
        "vocab_size": vocab_size,
        "show_progress": show_progress,
        "special_tokens": list(SPECIAL_TOKENS.values()),
    }
    if algorithm == "unigram":
        return trainers.UnigramTrainer(unk_token=SPECIAL_TOKENS["unk_token"], **arguments)
    arguments["min_frequency"] = min_frequency
    if algorithm == "bpe":
        return trainers.BpeTrainer(initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **arguments)
    if algorithm == "wordpiece":
        return trainers.WordPieceTrainer(**arguments)
    return trainers.WordLevelTrainer(**arguments)


def _train_unigram(
    backend: Tokenizer, corpus: Iterable[str], trainer: Any, max_characters: int, min_frequency: int
) -> None:
    """
    Trains a unigram model in which at most `max_characters` tokens are single characters, in one fixed order.

    The trainer fails where there are more characters than tokens, and orders tokens of one score by chance.
    """
    texts = [backend.normalizer.normalize_str(text) for text in corpus]
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    # White space is no token; four separators are, which only Python takes for white space.
    spaces = {character for character in counts if character.isspace() and character not in "\x1c\x1d\x1e\x1f"}
    visible = Counter({character: count for character, count in counts.items() if character not in spaces})
    rare = set(counts) - set(_pick_characters(visible, max_characters, min_frequency))
    to_space = dict.fromkeys(map(ord, rare), " ")
    # A text without any space is learnt in parts, because the trainer is slow on long ones.
    texts = [re.sub(r"(\S{1000})", r"\1 ", text.translate(to_space)) for text in texts]
    backend.train_from_iterator(texts, trainer=trainer, length=len(texts))
    pieces = [(piece, round(score, 6)) for piece, score in json.loads(backend.to_str())["model"]["vocab"]]
    learnt = sorted(pieces[len(SPECIAL_TOKENS) :], key=lambda entry: (-entry[1], entry[0]))
    learnt = _order_added_characters(_keep_likeliest(learnt, trainer.vocab_size - len(SPECIAL_TOKENS)), counts)
    unknown_id = list(SPECIAL_TOKENS).index("unk_token")
    backend.model = models.Unigram([*pieces[: len(SPECIAL_TOKENS)], *learnt], unknown_id, False)


def _keep_likeliest(learnt: list[tuple[str, float]], most: int) -> list[tuple[str, float]]:
    """Keeps all characters and the likeliest longer pieces, of which the trainer learns too many for a tiny size."""
    longer = [piece for piece, _ in learnt if len(piece) > 1]
    kept = set(longer[: most - (len(learnt) - len(longer))])
    return [(piece, score) for piece, score in learnt if len(piece) == 1 or piece in kept]


def _order_added_characters(learnt: list[tuple[str, float]], counts: Counter[str]) -> list[tuple[str, float]]:
    """
    Orders the characters at the end, which the trainer did not learn but must keep, by their frequency.

    The trainer gives them falling scores, each 0.0001 below the last, by chance.
    """
    step, start = 1e-4, len(learnt) - 1
    while start > 0 and len(learnt[start - 1][0]) == 1 and learnt[start - 1][1] - learnt[start][1] < 1.1 * step:
        start -= 1
    added = sorted((piece for piece, _ in learnt[start:]), key=lambda piece: (-counts[piece], piece))
    return learnt[:start] + [(piece, score) for piece, (_, score) in zip(added, learnt[start:])]


def _train_wordpiece(
    backend: Tokenizer, corpus: Iterable[str], trainer: Any, max_characters: int, min_frequency: int
) -> None:
    """
    Trains word pieces over at most `max_characters` characters, in the same way each time.

    The trainer numbers characters by chance and breaks ties by these numbers. Here a draft tokenizer gets them as
    special tokens, in one fixed order, so that the trainer is left with the merging.
    """
    words: Counter[str] = Counter()
    for text in corpus:
        text = backend.normalizer.normalize_str(text)
        words.update(word for word, _ in backend.pre_tokenizer.pre_tokenize_str(text))
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            counts[character] += count
    characters = _pick_characters(counts, max_characters, min_frequency)
    # Longer words are unknown to the model anyway.
    known = set(characters)
    learnable = {word: count for word, count in words.items() if len(word) <= MAX_WORD_LENGTH and known >= set(word)}
    continuing = sorted({f"##{character}" for word in learnable for character in word[1:]})
    trainer.special_tokens = [*SPECIAL_TOKENS.values(), *characters, *continuing]
    trainer.initial_alphabet = characters
    trainer.limit_alphabet = len(characters)
    draft = Tokenizer(models.WordPiece())
    draft.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    draft.train_from_iterator((f"{word} " * count for word, count in learnable.items()), trainer)
    backend.model = models.WordPiece(
        draft.get_vocab(), unk_token=SPECIAL_TOKENS["unk_token"], max_input_chars_per_word=MAX_WORD_LENGTH
    )


def _pick_characters(counts: Counter[str], max_characters: int, min_frequency: int) -> list[str]:
    """Picks the most frequent characters; those that are equally frequent, in one fixed order."""
    ranked = sorted(counts, key=lambda character: (-counts[character], character))
    return [character for character in ranked[:max_characters] if counts[character] >= min_frequency]


LstmTokenizer.register_for_auto_class("AutoTokenizer")
