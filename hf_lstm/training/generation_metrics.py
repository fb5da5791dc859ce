"""Scores of generated text as `evaluate` metrics that need no network."""

import re
import unicodedata
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from itertools import groupby, zip_longest
from typing import Any

import evaluate
import numpy as np
from datasets import Features, Value
from datasets import Sequence as SequenceFeature
from transformers import EvalPrediction, PreTrainedTokenizerBase

from ..data.checks import InputError, listing, nearest_name
from ..data.spaceless import SPACELESS_SCRIPTS
from ..data.tokenization import check_padding_token, choose_algorithm

TASKS = ("translation", "summarization", "text2text", "autoencode")
# sacrebleu's others download a model or need a further package.
BLEU_TOKENIZERS = ("13a", "zh", "char", "intl", "none")
ROUGE_NAMES = ("rouge1", "rouge2", "rougeL")
# The first one picks the best checkpoint.
REPORTED = {
    "translation": ("bleu", "chrf", "bleu_lowercase"),
    "summarization": ("rougeL", "rouge1", "rouge2"),
    "text2text": ("exact_match", "chrf"),
    "autoencode": ("exact_match", "token_accuracy", "bleu"),
}
BLEU_NAMES = ("bleu", "bleu_lowercase")
SCORE_NAMES = (*BLEU_NAMES, "chrf", *ROUGE_NAMES, "exact_match", "token_accuracy")
_IGNORED = -100
# What SPACELESS_SCRIPTS has besides Han and kana.
_OTHER_SPACELESS = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")
_KANA = re.compile("[\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff]")
_KANA_OF_JAPANESE = 0.1  # of the Han and kana together; Chinese quotes a few, and Japanese has half or more


class TextMetric(evaluate.Metric):
    """
    The base of the metrics below, which keep the texts in memory and read nothing from the Hub.

    Each row has one prediction, a string, and as references one string or a list of several.

    Args:
        keep_in_memory (`bool`, *optional*): By default where there is one process.
        kwargs: As for `evaluate.Metric`.
    """

    def __init__(self, keep_in_memory: bool | None = None, **kwargs: Any):
        if keep_in_memory is None:
            keep_in_memory = kwargs.get("num_process", 1) == 1
        super().__init__(keep_in_memory=keep_in_memory, **kwargs)

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=str(type(self).__doc__),
            citation="",
            features=Features({"predictions": Value("string"), "references": SequenceFeature(Value("string"))}),
            inputs_description="predictions: texts. references: for each, the right text or a list of right texts.",
        )

    def add_batch(self, *, predictions: Any = None, references: Any = None, **kwargs: Any) -> None:
        """Adds rows; `references` holds a string or a list of strings for each prediction."""
        if references is not None:
            references = [_as_list(reference, row) for row, reference in enumerate(references)]
        super().add_batch(predictions=predictions, references=references, **kwargs)

    def add(self, *, prediction: Any = None, reference: Any = None, **kwargs: Any) -> None:
        """Adds one row; `reference` is a string or a list of strings."""
        super().add(prediction=prediction, reference=_as_list(reference, 0), **kwargs)

    def _compute(self, predictions: Any, references: Any, **kwargs: Any) -> dict[str, Any]:
        if len(predictions) == 0:
            raise ValueError(f"{type(self).__name__} needs one prediction at least, but got none.")
        return self.score(list(predictions), [list(row) for row in references], **kwargs)

    def score(self, predicted: list[str], expected: list[list[str]]) -> dict[str, Any]:
        """
        Computes the scores.

        Args:
            predicted (`list[str]`): What the model says.
            expected (`list[list[str]]`): For each, the texts that are right.
        """
        raise NotImplementedError


class Bleu(TextMetric):
    """
    The BLEU of a whole corpus, from 0 to 100, as sacrebleu computes it (https://aclanthology.org/W18-6319).

    The result `signature` says with which settings, so that figures can be compared.

    Args:
        tokenize (`str`, defaults to `"13a"`):
            `"13a"` for languages with spaces between words, `"zh"` for Chinese (each Han character is a token),
            `"char"` for Japanese (each character of any script is), `"intl"`, or `"none"` for texts that are cut into
            tokens already.
        lowercase (`bool`, defaults to `False`): Whether case is ignored.
        kwargs: As for `TextMetric`.
    """

    def __init__(self, tokenize: str = "13a", lowercase: bool = False, **kwargs: Any):
        _import_sacrebleu()
        self.tokenize, self.lowercase = _check_bleu_tokenize(tokenize), lowercase
        super().__init__(**kwargs)

    def score(
        self,
        predicted: list[str],
        expected: list[list[str]],
        tokenize: str | None = None,
        lowercase: bool | None = None,
    ) -> dict[str, Any]:
        scorer = _import_sacrebleu().BLEU(
            tokenize=_check_bleu_tokenize(tokenize or self.tokenize),
            lowercase=self.lowercase if lowercase is None else lowercase,
        )
        result = scorer.corpus_score(predicted, _as_streams(expected))
        return {"bleu": float(result.score), "signature": str(scorer.get_signature())}


class Chrf(TextMetric):
    """
    The chrF of a whole corpus, from 0 to 100: the F2 of character n-grams up to 6 (https://aclanthology.org/W15-3049).

    Args:
        word_order (`int`, defaults to 0): 2 counts words and pairs of them too, which is chrF++.
        lowercase (`bool`, defaults to `False`): Whether case is ignored.
        kwargs: As for `TextMetric`.
    """

    def __init__(self, word_order: int = 0, lowercase: bool = False, **kwargs: Any):
        _import_sacrebleu()
        self.word_order, self.lowercase = word_order, lowercase
        super().__init__(**kwargs)

    def score(self, predicted: list[str], expected: list[list[str]]) -> dict[str, Any]:
        scorer = _import_sacrebleu().CHRF(word_order=self.word_order, lowercase=self.lowercase)
        result = scorer.corpus_score(predicted, _as_streams(expected))
        return {"chrf": float(result.score), "signature": str(scorer.get_signature())}


class Rouge(TextMetric):
    """
    The mean F-measure of ROUGE-1, ROUGE-2 and ROUGE-L, from 0 to 100 (https://aclanthology.org/W04-1013).

    English gives rouge_score's own figures. Besides, words of other alphabets count, and each character of Chinese,
    Japanese, Thai, Lao, Burmese or Khmer is a token. Punctuation and case do not count. Of several references the one
    with the highest F-measure does.

    Args:
        use_stemmer (`bool`, defaults to `True`): Whether English endings are cut off before words are compared.
        kwargs: As for `TextMetric`.
    """

    def __init__(self, use_stemmer: bool = True, **kwargs: Any):
        _import_rouge_score()
        self.use_stemmer = use_stemmer
        super().__init__(**kwargs)

    def score(self, predicted: list[str], expected: list[list[str]]) -> dict[str, Any]:
        scorer_class, _ = _import_rouge_score()
        scorer = scorer_class(list(ROUGE_NAMES), tokenizer=RougeTokenizer(self.use_stemmer))
        scores = [scorer.score_multi(references, text) for text, references in zip(predicted, expected, strict=True)]
        return {name: 100 * float(np.mean([score[name].fmeasure for score in scores])) for name in ROUGE_NAMES}


class RougeTokenizer:
    """
    Cuts texts of any script for ROUGE: into words, and into characters where no spaces part the words.

    Args:
        use_stemmer (`bool`, defaults to `True`): Whether English endings are cut off.
    """

    def __init__(self, use_stemmer: bool = True):
        _, tokenizer_class = _import_rouge_score()
        self._english = tokenizer_class(use_stemmer)

    def tokenize(self, text: str) -> list[str]:
        """Cuts a text into lower-cased tokens; runs of letters, marks and digits are words."""
        tokens: list[str] = []
        for kind, characters in groupby(text.lower(), _character_kind):
            if kind == "single":
                tokens.extend(characters)
            elif kind == "word":
                word = "".join(characters)
                tokens.extend(self._english.tokenize(word) if word.isascii() else [word])
        return tokens


class ExactMatch(TextMetric):
    """
    The share of predictions that equal a reference, from 0 to 1; white space around a text does not count.

    Args:
        lowercase (`bool`, defaults to `False`): Whether case is ignored.
        kwargs: As for `TextMetric`.
    """

    def __init__(self, lowercase: bool = False, **kwargs: Any):
        self.lowercase = lowercase
        super().__init__(**kwargs)

    def score(self, predicted: list[str], expected: list[list[str]]) -> dict[str, Any]:
        def clean(text: str) -> str:
            return text.strip().lower() if self.lowercase else text.strip()

        hits = [
            clean(text) in {clean(reference) for reference in references}
            for text, references in zip(predicted, expected, strict=True)
        ]
        return {"exact_match": float(np.mean(hits))}


def token_accuracy(
    predictions: Sequence[Sequence[int]] | np.ndarray,
    labels: Sequence[Sequence[int]] | np.ndarray,
) -> float:
    """
    Computes the share of label tokens that are predicted at their position, 0 where there are none.

    Args:
        predictions (`Sequence[Sequence[int]]` or `np.ndarray` of shape `(batch_size, predicted_length)`):
            Token ids. What a prediction lacks at its end is wrong; what it has beyond the labels does not count.
        labels (`Sequence[Sequence[int]]` or `np.ndarray` of shape `(batch_size, target_length)`):
            The right ids, -100 at positions that do not count.
    """
    if len(predictions) != len(labels):
        raise ValueError(f"There are {len(predictions)} predictions but {len(labels)} labels; each needs its own.")
    hits = total = 0
    for predicted, expected in zip(predictions, labels, strict=True):
        total += sum(int(label) != _IGNORED for label in expected)
        hits += sum(int(token) == int(label) != _IGNORED for token, label in zip(predicted, expected))
    return hits / total if total else 0.0


def choose_bleu_tokenize(references: Sequence[str | Sequence[str]]) -> str:
    """
    Chooses sacreBLEU's tokenizer by the references' letters.

    It is `"13a"` unless at least three tenths of them are Han or kana. Then it is `"zh"` or, where at least a tenth of
    these are kana, `"char"`: to `"zh"` a run of kana is one token.
    """
    texts = [text for row, reference in enumerate(references) for text in _as_list(reference, row)]
    # Other scripts without spaces have no tokenizer of their own in sacrebleu.
    kept = [_OTHER_SPACELESS.sub("x", text) for text in texts]
    if not kept or choose_algorithm(kept) != "char":
        return "13a"
    num_kana, num_letters = (sum(len(kind.findall(text)) for text in kept) for kind in (_KANA, SPACELESS_SCRIPTS))
    return "char" if num_kana >= _KANA_OF_JAPANESE * num_letters else "zh"


def bleu_signatures(
    names: Collection[str], references: Sequence[str | Sequence[str]], tokenize: str | None = None
) -> dict[str, str]:
    """
    Gives sacrebleu's signatures of BLEU scores against these references, which belong beside every figure.

    Args:
        names (`Collection[str]`): What was computed; of `bleu` and `bleu_lowercase`, the signatures are given.
        references (`Sequence`): One string or a list of several for each row.
        tokenize (`str`, *optional*): As for [`Bleu`]; chosen as by [`generation_metrics`] when `None`.

    Returns:
        `dict[str, str]`: Such as `{"bleu": "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0"}`.
    """
    chosen = [name for name in BLEU_NAMES if name in names]
    if not chosen:
        return {}
    tokenize = tokenize or choose_bleu_tokenize(references)
    rows = {
        "predictions": [_as_list(reference, row)[0] for row, reference in enumerate(references)],
        "references": references,
    }
    return {name: str(Bleu(tokenize, name == "bleu_lowercase").compute(**rows)["signature"]) for name in chosen}


def score_texts(
    names: Sequence[str],
    predictions: Sequence[str],
    references: Sequence[str | Sequence[str]],
    bleu_tokenize: str | None = None,
) -> dict[str, float]:
    """
    Scores texts, such as predictions against the references as they were before any tokenizer changed them.

    Args:
        names (`Sequence[str]`): Of `SCORE_NAMES`, without `"token_accuracy"`, which is one of ids.
        predictions (`Sequence[str]`): What the model says.
        references (`Sequence`): One string or a list of several for each prediction.
        bleu_tokenize (`str`, *optional*): As for [`generation_metrics`].

    Returns:
        `dict[str, float]`: The scores in the order of `names`.
    """
    unknown = [name for name in names if name not in SCORE_NAMES or name == "token_accuracy"]
    if unknown:
        raise InputError(
            f"There is no score of texts named {unknown[0]!r}.{nearest_name(unknown[0], SCORE_NAMES)} Take some of "
            f"{listing(SCORE_NAMES[:-1])}."
        )
    rows = {"predictions": predictions, "references": references}
    scores: dict[str, float] = {}
    if set(BLEU_NAMES) & set(names):
        tokenize = bleu_tokenize or choose_bleu_tokenize(references)
        for name in BLEU_NAMES:
            if name in names:
                scores[name] = Bleu(tokenize, lowercase=name == "bleu_lowercase").compute(**rows)["bleu"]
    if "chrf" in names:
        scores["chrf"] = Chrf().compute(**rows)["chrf"]
    if set(ROUGE_NAMES) & set(names):
        scores |= Rouge().compute(**rows)
    if "exact_match" in names:
        scores |= ExactMatch().compute(**rows)
    return {name: scores[name] for name in names}


def generation_metrics(
    task: str, tokenizer: PreTrainedTokenizerBase, *, bleu_tokenize: str | None = None, metric_name: str | None = None
) -> tuple[Callable[[EvalPrediction], dict[str, float]], str, bool]:
    """
    Makes the metrics of a text generator for `Seq2SeqTrainer` with `predict_with_generate=True`.

    Translations get BLEU, chrF and BLEU without case, summaries ROUGE-1, -2 and -L, other pairs the exact match and
    chrF, an autoencoder the exact match, the token accuracy and BLEU; each also `generated_length`, the mean number of
    tokens with `</s>` but without the start token and padding. The references are the labels as the tokenizer decodes
    them, so lower-cased if it does that and without unknown tokens; [`score_texts`] takes the original ones.

    Args:
        task (`str`): `"translation"`, `"summarization"`, `"text2text"` or `"autoencode"`.
        tokenizer (`PreTrainedTokenizerBase`): Decodes generated and label ids.
        bleu_tokenize (`str`, *optional*):
            As for [`Bleu`]. By default `"zh"` for references in Chinese, `"char"` for Japanese, else `"13a"`, as
            [`choose_bleu_tokenize`] says.
        metric_name (`str`, *optional*):
            One of `SCORE_NAMES`, added if the task does not report it, or `"loss"`; it picks the best checkpoint. By
            default BLEU, ROUGE-L or the exact match does.

    Returns:
        `tuple[Callable, str, bool]`: What to pass to Trainer as `compute_metrics`, `metric_for_best_model` and
        `greater_is_better`.

    Raises:
        InputError: If the task, the metric or the tokenizer of BLEU is unknown, or there is no padding token.
        ImportError: If sacrebleu or rouge_score is needed but not installed.
    """
    if task not in TASKS:
        raise InputError(f"`task` is {task!r}, but must be one of {listing(TASKS)}.{nearest_name(task, TASKS)}")
    if bleu_tokenize is not None:
        _check_bleu_tokenize(bleu_tokenize)
    check_padding_token(tokenizer)
    names = list(REPORTED[task])
    best = metric_name or names[0]
    if best not in (*SCORE_NAMES, "loss"):
        known = (*SCORE_NAMES, "loss")
        raise InputError(f"There is no metric {best!r}.{nearest_name(best, known)} Take one of {listing(known)}.")
    if best != "loss" and best not in names:
        names.append(best)
    text_names = [name for name in names if name != "token_accuracy"]
    score_texts(text_names, ["a"], ["a"], bleu_tokenize)  # A missing package is an error now, not after an epoch.

    def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
        generated = _read_ids(prediction.predictions, tokenizer)
        expected = _read_ids(prediction.label_ids, tokenizer)
        texts, references = (tokenizer.batch_decode(ids, skip_special_tokens=True) for ids in (generated, expected))
        scores = score_texts(text_names, texts, references, bleu_tokenize)
        rows = [_content(row, tokenizer) for row in generated]
        if "token_accuracy" in names:
            scores["token_accuracy"] = token_accuracy(rows, [_content(row, tokenizer) for row in expected])
        generated_length = float(np.mean([len(row) for row in rows]))
        return {name: scores[name] for name in names} | {"generated_length": generated_length}

    return compute_metrics, best, best != "loss"


def decode_ids(ids: Any, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """
    Decodes generated or label ids, without special tokens.

    Args:
        ids (`np.ndarray` of shape `(num_rows, length)`): The ids, padded with -100 or the padding token.
        tokenizer (`PreTrainedTokenizerBase`): The tokenizer; of one with two vocabularies, the target's decodes.
    """
    return tokenizer.batch_decode(_read_ids(ids, tokenizer), skip_special_tokens=True)


def _read_ids(ids: Any, tokenizer: PreTrainedTokenizerBase) -> np.ndarray:
    """Puts padding in place of -100 in ids of shape `(batch_size, length)`."""
    array = np.asarray(ids[0] if isinstance(ids, tuple) else ids)
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(
            f"Scores of text need token ids of shape (batch_size, length), but got {array.dtype} numbers of shape "
            f"{array.shape}. Set `predict_with_generate=True`, so that predictions are generated ids, not logits."
        )
    return np.where(array == _IGNORED, tokenizer.pad_token_id, array)


def _content(row: np.ndarray, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """
    Takes padding and the start token off a row of shape `(length,)`, so that generated and label ids compare.

    Some models start with the token that others end with; an empty text keeps its only one, as its end. Beam search
    fills shorter texts with the end token where the padding token is 0.
    """
    kept = [token for token in row.tolist() if token not in (tokenizer.pad_token_id, tokenizer.bos_token_id)]
    if len(kept) > 1 and kept[0] == tokenizer.eos_token_id:
        kept = kept[1:]
    return kept[: kept.index(tokenizer.eos_token_id) + 1] if tokenizer.eos_token_id in kept else kept


@lru_cache(maxsize=1 << 16)
def _character_kind(character: str) -> str:
    if SPACELESS_SCRIPTS.match(character):
        return "single" if unicodedata.category(character)[0] in "LMN" else "none"
    return "word" if unicodedata.category(character)[0] in "LMN" else "none"


def _as_list(reference: Any, row: int) -> list[str]:
    texts = [reference] if isinstance(reference, str) else reference
    if not isinstance(texts, (list, tuple)) or not texts or not all(isinstance(text, str) for text in texts):
        raise ValueError(
            f"The reference in row {row} is {reference!r}, but must be a string or a list of at least one string."
        )
    return list(texts)


def _as_streams(expected: list[list[str]]) -> list[list[str | None]]:
    """Turns references by row into sacrebleu's form: the first of every row, the second of every row, and so on."""
    return [list(stream) for stream in zip_longest(*expected)]


def _check_bleu_tokenize(tokenize: str) -> str:
    if tokenize not in BLEU_TOKENIZERS:
        raise InputError(
            f"`bleu_tokenize` is {tokenize!r}, but must be one of {listing(BLEU_TOKENIZERS)}: sacrebleu's others need "
            f"downloads.{nearest_name(tokenize, BLEU_TOKENIZERS)}"
        )
    return tokenize


def _import_sacrebleu() -> Any:
    try:
        from sacrebleu import metrics
    except ImportError as error:
        raise ImportError(
            "BLEU and chrF need sacrebleu, which is not installed. Run: pip install 'hf_lstm[train]'"
        ) from error
    return metrics


def _import_rouge_score() -> tuple[Any, Any]:
    try:
        from rouge_score.rouge_scorer import RougeScorer  # type: ignore[import-untyped]
        from rouge_score.tokenizers import DefaultTokenizer  # type: ignore[import-untyped]
    except ImportError as error:
        raise ImportError(
            "ROUGE needs rouge_score, which is not installed. Run: pip install 'hf_lstm[train]'"
        ) from error
    return RougeScorer, DefaultTokenizer
