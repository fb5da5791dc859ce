"""Scores of hypotheses against the test rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from benchmarks.seq2seq.protocols import Protocol


@dataclass
class Examples:
    """
    The rows of one split.

    Args:
        sources (`list[str]`): What is given to the model.
        targets (`list[str]`): What it should say.
        humans (`list[list[str]]`, *optional*): For each row, what other people said.
    """

    sources: list[str]
    targets: list[str]
    humans: list[list[str]] | None = None


def comparable(text: str) -> str:
    """Writes a text without what does not make another text of it: case and white space."""
    return "".join(text.lower().split())


def score(protocol: Protocol, hypotheses: Sequence[str], examples: Examples) -> dict[str, float]:
    """
    Scores hypotheses against the targets and, separately, against what other people said.

    Args:
        protocol (`Protocol`): Which figures.
        hypotheses (`Sequence[str]`): One for each row.
        examples (`Examples`): The rows.

    Returns:
        `dict[str, float]`: The figures; those against each other person's texts alone, averaged, begin with
        `each_human_`, and those against the nearest of them, for each measure, with `nearest_human_`.
    """
    from hf_lstm.training.generation_metrics import score_texts

    check_lengths(hypotheses, examples)
    figures = score_texts(protocol.figures, hypotheses, examples.targets, protocol.bleu_tokenize)
    if protocol.humans and examples.humans is not None:
        by_person = [
            score_texts(protocol.figures, hypotheses, texts, protocol.bleu_tokenize)
            for texts in zip(*examples.humans, strict=True)
        ]
        nearest = score_texts(protocol.figures, hypotheses, examples.humans, protocol.bleu_tokenize)
        figures |= {f"each_human_{name}": mean(scores[name] for scores in by_person) for name in protocol.figures}
        figures |= {f"nearest_human_{name}": nearest[name] for name in protocol.figures}
    return figures


def score_unseen(
    protocol: Protocol, hypotheses: Sequence[str], examples: Examples, known_sources: set[str]
) -> dict[str, float]:
    """
    Scores the rows whose source is not in the training data, case and white space aside, if there are others.

    Args:
        protocol (`Protocol`): Which figures.
        hypotheses (`Sequence[str]`): One for each row.
        examples (`Examples`): The rows.
        known_sources (`set[str]`): The sources of the training data, as `comparable` writes them.

    Returns:
        `dict[str, float]`: The figures, whose names begin with `unseen_`, and `unseen_rows`; empty if all are unseen.
    """
    check_lengths(hypotheses, examples)
    kept = [row for row, source in enumerate(examples.sources) if comparable(source) not in known_sources]
    if len(kept) == len(examples.sources) or not kept:
        return {}
    part = Examples([examples.sources[row] for row in kept], [examples.targets[row] for row in kept])
    figures = score(protocol, [hypotheses[row] for row in kept], part)
    return {"unseen_rows": len(kept)} | {f"unseen_{name}": value for name, value in figures.items()}


def check_lengths(hypotheses: Sequence[str], examples: Examples) -> None:
    """Raises if there is not one hypothesis for each row."""
    if len(hypotheses) != len(examples.targets):
        raise ValueError(f"There are {len(hypotheses)} hypotheses for the {len(examples.targets)} rows.")


def signatures(protocol: Protocol, examples: Examples) -> dict[str, str]:
    """Returns sacreBLEU's signature of each figure that has one."""
    from hf_lstm.training.generation_metrics import Chrf, bleu_signatures

    found = bleu_signatures(protocol.figures, examples.targets, protocol.bleu_tokenize)
    if "chrf" in protocol.figures:
        result = Chrf().compute(predictions=examples.targets, references=examples.targets)
        found["chrf"] = result["signature"]
    return found
