"""The demonstration, in two parts on built-in data: a classifier of languages, and an encoder–decoder for dates."""

import argparse
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..data.checks import check_bounds
from ..data.cldr import LANGUAGES
from .demo_dates import NUM_DATES, NUM_DATES_EPOCHS, DatesPart, run_dates
from .demo_languages import NUM_LANGUAGES_EPOCHS, LanguagesPart, run_languages

PARTS = ("languages", "dates")
DATES_FOLDER = "dates"


@dataclass
class DemoResult:
    """
    What the demonstration leaves behind.

    Args:
        languages (`LanguagesPart`, *optional*): The classifier that tells languages apart, if that part ran.
        dates (`DatesPart`, *optional*): The encoder–decoder that reads dates, if that part ran.
        minutes (`float`): How long everything took.
    """

    languages: LanguagesPart | None
    dates: DatesPart | None
    minutes: float

    def summary(self) -> str:
        """Writes the figures and predictions of the parts for reading."""
        parts = [part.summary() for part in (self.languages, self.dates) if part is not None]
        return "\n\n".join([*parts, f"The demonstration took {self.minutes:.1f} minutes."])


def main(args: Sequence[str] | None = None) -> DemoResult:
    """
    Trains, evaluates, saves and reloads a model in each part, on the built-in data.

    The classifier is left in the output folder itself, the encoder–decoder in its folder `dates`.

    Args:
        args (`Sequence[str]`, *optional*): Flags; those of the process by default.

    Returns:
        `DemoResult`: The figures and a few predictions.

    Raises:
        InputError: If a flag's value cannot be used.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("hf_lstm").setLevel(logging.INFO)
    started = time.perf_counter()
    options = _parse(args)
    output_dir = Path(options.output_dir)
    check_bounds(options, {"max_train_samples": 1})
    limit, epochs = options.max_train_samples, options.num_train_epochs
    languages, dates = None, None
    if "languages" in options.parts:
        num_epochs = NUM_LANGUAGES_EPOCHS if epochs is None else epochs
        languages = run_languages(output_dir, options.languages, num_epochs, limit)
    if "dates" in options.parts:
        num_epochs = NUM_DATES_EPOCHS if epochs is None else epochs
        num_samples = NUM_DATES if limit is None else min(limit, NUM_DATES)
        dates = run_dates(output_dir / DATES_FOLDER, options.languages, num_epochs, num_samples)
    return DemoResult(languages, dates, (time.perf_counter() - started) / 60)


def _parse(args: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Train and try two models on built-in data: one tells the languages of names apart, the other "
        "turns dates in many languages into ISO 8601."
    )
    parser.add_argument("--output_dir", default="demo_output", help="folder for the models and their reports")
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to train; everything by default"
    )
    parser.add_argument(
        "--num_train_epochs",
        type=float,
        help="passes over the training data of each part; by default "
        f"{NUM_LANGUAGES_EPOCHS:g} over the names and {NUM_DATES_EPOCHS:g} over the dates",
    )
    parser.add_argument("--max_train_samples", type=int, help="train on this many names and dates at most")
    parser.add_argument(
        "--languages", nargs="+", default=list(LANGUAGES), metavar="LANGUAGE", help="languages of the names and dates"
    )
    return parser.parse_args(args)
