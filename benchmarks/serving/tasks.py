"""What is served: the models' data, how they are scored, and what of their work is timed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.accuracy.single_run import read_examples
from benchmarks.accuracy.single_run import score as score_labels
from benchmarks.common.files import read_lines
from benchmarks.seq2seq.decoding import Decoding, Generator
from benchmarks.seq2seq.protocols import PROTOCOLS
from benchmarks.seq2seq.scores import Examples
from benchmarks.seq2seq.scores import score as score_texts
from hf_lstm import (
    LstmForConditionalGeneration,
    LstmForSequenceClassification,
    LstmInt8Config,
    LstmSeq2SeqTokenizer,
    LstmTokenizer,
)

SERVED = ("float32", "bfloat16", "int8")
BEAMS, MAX_SOURCE_LENGTH = 5, 100
# A minute of one core is enough: rounds take turns, so that more texts would only narrow the spread.
NUM_TIMED = {1: 10, 32: 32, 64: 640}


@dataclass(frozen=True)
class Served:
    """
    A model as it is served.

    Args:
        model (`PreTrainedModel`): The model.
        tokenizer (`PreTrainedTokenizerBase`): Its tokenizer.
    """

    model: Any
    tokenizer: Any


class Classification:
    """
    A classifier's test files.

    Args:
        title (`str`): Name in the tables.
        folder (`str`): Where the data lies below the folder of all data.
        splits (`Sequence[str]`): Names of the files that are scored; the texts of the last one are timed.
    """

    # All matrices of these models are small, and would stay as they are.
    int8 = LstmInt8Config(min_weights=0)

    def __init__(self, title: str, folder: str, splits: Sequence[str]):
        self.title, self.folder, self.splits = title, folder, splits

    def load(self, directory: Path, served: str) -> Served:
        """Loads a trained model in the way that is served."""
        model = LstmForSequenceClassification.from_pretrained(directory, **load_options(served, self.int8))
        return Served(model, LstmTokenizer.from_pretrained(directory))

    def score(self, served: Served, data: Path) -> dict[str, float]:
        """Returns the accuracy on each split in percent."""
        figures = {}
        for split in self.splits:
            texts, labels = read_examples(data / self.folder / f"{split}.jsonl")
            predictions = [row["label"] for row in served.model.predict(texts, served.tokenizer)]
            figures[f"{self.title} {split}, accuracy"] = score_labels(labels, predictions)["accuracy"]
        return figures

    def works(self, data: Path) -> Iterator[tuple[str, Callable[[Served], object]]]:
        """Yields what is timed: its name, and the work."""
        texts, _ = read_examples(data / self.folder / f"{self.splits[-1]}.jsonl")
        for batch_size in (1, 64):
            some = texts[: NUM_TIMED[batch_size]]
            yield f"{self.title}, `predict`, batch {batch_size}", partial(_predict, some, batch_size=batch_size)


class Translation:
    """
    A translator's test file.

    Args:
        title (`str`): Name in the tables.
        stem (`str`): The files' path below the folder of all data, without the languages.
        languages (`tuple[str, str]`): Source and target.
        protocol (`str`): How the translations are scored.
    """

    int8 = LstmInt8Config()

    def __init__(self, title: str, stem: str, languages: tuple[str, str], protocol: str):
        self.title, self.stem, self.languages, self.protocol = title, stem, languages, protocol

    def load(self, directory: Path, served: str) -> Served:
        """Loads a trained model in the way that is served."""
        model = LstmForConditionalGeneration.from_pretrained(directory, **load_options(served, self.int8))
        kind = LstmTokenizer if model.config.encoder_vocab_size is None else LstmSeq2SeqTokenizer
        return Served(model, kind.from_pretrained(directory))

    def read(self, data: Path) -> Examples:
        """Reads the test sentences."""
        sources, targets = (read_lines(data / f"{self.stem}.{language}") for language in self.languages)
        return Examples(sources, targets)

    def score(self, served: Served, data: Path) -> dict[str, float]:
        """Returns BLEU by the protocol."""
        protocol, examples = PROTOCOLS[self.protocol], self.read(data)
        generator = Generator(served.model, served.tokenizer, MAX_SOURCE_LENGTH)
        with torch.inference_mode():
            hypotheses = generator.generate(examples.sources, Decoding(BEAMS))
        return {f"{self.title}, BLEU": score_texts(protocol, hypotheses, examples)[protocol.main]}

    def works(self, data: Path) -> Iterator[tuple[str, Callable[[Served], object]]]:
        """Yields what is timed: its name, and the work."""
        sources = self.read(data).sources
        for batch_size in (1, 32):
            some = sources[: NUM_TIMED[batch_size]]
            for beams in (1, BEAMS):
                search = "greedy" if beams == 1 else f"{beams} beams"
                work = partial(_predict, some, batch_size=batch_size, num_beams=beams, do_sample=False)
                yield f"{self.title}, `generate`, {search}, batch {batch_size}", work


def _predict(texts: Sequence[str], served: Served, **options: Any) -> Any:
    return served.model.predict(texts, served.tokenizer, **options)


TASKS: dict[str, Classification | Translation] = {
    "sst2": Classification("SST-2", "accuracy/sst2", ("dev", "test")),
    "tnews": Classification("TNEWS", "accuracy/tnews", ("test",)),
    "multi30k": Translation("Multi30k en→de test2016", "seq2seq/multi30k/test2016", ("en", "de"), "multi30k_en_de"),
}


def load_options(served: str, int8: LstmInt8Config) -> dict[str, Any]:
    """Returns what `from_pretrained` is given for a way to serve."""
    if served == "int8":
        return {"dtype": torch.float32, "quantization_config": int8}
    return {"dtype": getattr(torch, served)}
