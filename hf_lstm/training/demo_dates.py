"""The demonstration's second part: dates as thirty languages write them, turned into ISO 8601 letter by letter."""

import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, pipeline

from ..data.cldr import LANGUAGES
from ..data.cldr_dates import load_dates
from .demo_part import DemoPart, pick_evenly, write_csv
from .seq2seq_arguments import LstmSeq2SeqTrainingArguments, Seq2SeqDataArguments, Seq2SeqModelArguments
from .tasks.seq2seq import run

NUM_EXAMPLES = 8
NUM_DATES_EPOCHS = 5.0
NUM_DATES = 24_000


class DatesPart(DemoPart):
    """
    The encoder–decoder, with the shares of dates that it gets right to the letter among its `metrics`.

    They are `test_exact_match`, and by whether training had the format, `test_exact_match_seen_formats` and
    `test_exact_match_new_formats`, each with the number of dates (`num_test_seen_formats`, `num_test_new_formats`).
    A prediction has `source`, `target`, `language`, `format` and `prediction`.
    """

    def summary(self) -> str:
        """Writes the figures and predictions for reading."""
        metrics = self.metrics
        lines = [
            "Which day is it?",
            f"Dates right to the letter, of {metrics['num_test_samples']} on days that training never had:",
            f"  all                               {100 * metrics['test_exact_match']:.2f} %",
        ]
        for kind, name in {"seen": "in formats that training had", "new": "in formats that it never had"}.items():
            if f"test_exact_match_{kind}_formats" in metrics:
                share, number = metrics[f"test_exact_match_{kind}_formats"], metrics[f"num_test_{kind}_formats"]
                lines.append(f"  {name:<32}  {100 * share:.2f} % of {number}")
        lines.append("Predictions of the model, saved and loaded again through the auto classes:")
        for row in self.predictions:
            remark = "" if row["prediction"] == row["target"] else f"  (is {row['target']})"
            lines.append(f"  {row['prediction']:<12} {row['language']:<12} {row['source']}{remark}")
        lines.append(f"Took {metrics['demo_minutes']:.1f} minutes. Model, report and model card: {self.output_dir}")
        lines.append(f"Where the model looks while it writes: {self.output_dir / 'attention_1.png'} and others")
        return "\n".join(lines)


def run_dates(
    output_dir: Path,
    languages: Sequence[str] = tuple(LANGUAGES),
    num_train_epochs: float = NUM_DATES_EPOCHS,
    num_train_samples: int = NUM_DATES,
) -> DatesPart:
    """
    Trains, evaluates, saves and reloads an encoder–decoder that reads dates.

    Args:
        output_dir (`Path`): Folder for the model and its report.
        languages (`Sequence[str]`, defaults to all of `LANGUAGES`): The languages to read.
        num_train_epochs (`float`, defaults to 5): Passes over the training data.
        num_train_samples (`int`, defaults to 24000): Train on this many dates.

    Returns:
        `DatesPart`: The figures and a few predictions, which are in the folder's report as well.

    Raises:
        ImportError: If babel is not installed.
        InputError: If a language is not one of `LANGUAGES`.
    """
    started = time.perf_counter()
    # At least one date of each language is drawn.
    data = load_dates(languages, num_train=max(num_train_samples, len(languages)))
    data["train"] = data["train"].select(range(num_train_samples))
    data_arguments = Seq2SeqDataArguments(
        task="text2text",
        **write_csv(data, output_dir / "data", "cldr_dates"),
        max_target_length=16,
        # Validation soon has every date right; its loss still tells epochs apart.
        metric_name="loss",
        languages=[LANGUAGES[language] for language in languages],
    )
    result = run(_model_arguments(), data_arguments, _training_arguments(output_dir, num_train_epochs))
    scores = score_by_format(data["test"], result.predictions["test"])
    rows = pick_dates(data["test"])
    texts = rewrite(output_dir, [row["source"] for row in rows])
    predictions = [row | {"prediction": text} for row, text in zip(rows, texts, strict=True)]
    metrics = result.metrics | scores | {"demo_minutes": round((time.perf_counter() - started) / 60, 2)}
    part = DatesPart(output_dir, metrics, predictions)
    part.add_to_report()
    return part


def score_by_format(dataset: Dataset, predictions: Sequence[str]) -> dict[str, float]:
    """
    Computes the share of exact matches on the formats that training had, and on those that it never had.

    Args:
        dataset (`Dataset`): Data with columns `target` and `seen_format`.
        predictions (`Sequence[str]`): What the model makes of each row.

    Returns:
        `dict[str, float]`: `test_exact_match_seen_formats`, `num_test_seen_formats`, and the same with `new`; without
        rows of a kind, neither of its two.
    """
    hits: dict[str, list[bool]] = defaultdict(list)
    for target, is_seen, text in zip(dataset["target"][:], dataset["seen_format"][:], predictions, strict=True):
        hits["seen" if is_seen else "new"].append(text == target)
    scores: dict[str, float] = {}
    for kind, found in hits.items():
        scores[f"test_exact_match_{kind}_formats"] = sum(found) / len(found)
        scores[f"num_test_{kind}_formats"] = len(found)
    return scores


def pick_dates(dataset: Dataset, num_examples: int = NUM_EXAMPLES) -> list[dict[str, str]]:
    """
    Picks dates of different languages, always the same ones and without a look at how well they are read.

    Where a language has dates in a format that training never had, its date is one of them.

    Args:
        dataset (`Dataset`): Data with columns `source`, `target`, `language`, `format` and `seen_format`.
        num_examples (`int`, defaults to 8): How many; no more than there are languages.

    Returns:
        `list[dict[str, str]]`: `source`, `target`, `language` and `format` of each.
    """
    rows_by_language: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in sorted(dataset.to_list(), key=lambda row: (row["seen_format"], row["source"])):
        rows_by_language[row["language"]].append(row)
    picked = []
    for language in pick_evenly(sorted(rows_by_language), num_examples):
        rows = rows_by_language[language]
        rows = [row for row in rows if row["seen_format"] == rows[0]["seen_format"]]
        picked.append({name: value for name, value in rows[len(rows) // 2].items() if name != "seen_format"})
    return picked


def rewrite(model_dir: Path, texts: Sequence[str]) -> list[str]:
    """
    Turns texts into others by a saved model, as its user would.

    Args:
        model_dir (`Path`): The model's folder.
        texts (`Sequence[str]`): The texts.

    Returns:
        `list[str]`: What the model writes for each.
    """
    model = AutoModelForSeq2SeqLM.from_pretrained(model_dir)
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    read_dates = pipeline("lstm-text2text", model=model, tokenizer=tokenizer, device="cpu")
    return [found["generated_text"] for found in read_dates(list(texts))]


def _model_arguments() -> Seq2SeqModelArguments:
    # Dates are written in the letters of many languages, but ISO 8601 in eleven signs: two vocabularies.
    return Seq2SeqModelArguments(
        shared_vocabulary=False,
        tokenizer_algorithm="char",
        target_tokenizer_algorithm="char",
        encoder_embedding_size=64,
        decoder_embedding_size=64,
        encoder_hidden_size=128,
        decoder_hidden_size=128,
        tie_word_embeddings=False,
        attention_type="luong_dot",
        # Embeddings that differ more at the start: the decoder finds much sooner where to look.
        initializer_range=0.3,
        input_dropout=0.0,
        output_dropout=0.0,
    )


def _training_arguments(output_dir: Path, num_train_epochs: float) -> LstmSeq2SeqTrainingArguments:
    return LstmSeq2SeqTrainingArguments(
        output_dir=str(output_dir),
        num_train_epochs=num_train_epochs,
        per_device_train_batch_size=64,
        per_device_eval_batch_size=256,
        learning_rate=3e-3,
        # There is one right answer.
        label_smoothing_factor=0.0,
        restart=True,
    )
