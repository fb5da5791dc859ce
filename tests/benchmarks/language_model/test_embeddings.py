import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.language_model import embeddings
from benchmarks.language_model.embeddings import Learner, count_targets, cut, main, make_variants

FIELDS = {"vocab_size": 29, "embedding_size": 5, "hidden_size": 6}


def write_texts(path: Path, number: int) -> Path:
    words = [f"word{place % 13} word{place % 7} film {place % 3}." for place in range(number)]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in words), encoding="utf-8")
    return path


def run(folder: Path, *more: str) -> dict[str, dict[str, float]]:
    files = ["--train_file", str(write_texts(folder / "train.jsonl", 200))]
    files += ["--dev_file", str(write_texts(folder / "dev.jsonl", 20)), "--output", str(folder / "runs")]
    sizes = ["--embedding_size", "6", "--hidden_size", "8", "--ranks", "2", "3", "--cutoffs", "7"]
    return main([*files, *sizes, "--batch_size", "3", "--sequence_length", "5", *more])


def test_all_variants_are_measured_on_the_same_number_of_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # A process of its own would cost each variant the seconds that imports take.
    monkeypatch.setattr(embeddings, "measure_memory_apart", lambda *arguments: 12.0)
    figures = run(tmp_path, "--num_tokens", "240")
    assert list(figures) == list(make_variants([2, 3], [7]))
    assert figures["plain"]["ratio"] == 1.0
    assert figures["plain"]["tokens_in_equal_time"] == 240
    assert all(row["tokens_in_equal_time"] >= 240 and row["perplexity"] > 1 for row in figures.values())
    assert figures["rank 2, tied"]["parameters"] < figures["rank 2"]["parameters"] < figures["plain"]["parameters"]
    results = json.loads((tmp_path / "runs" / "results.json").read_text(encoding="utf-8"))
    assert results["figures"] == figures
    assert results["corpus"]["vocab_size"] < 40
    assert "| adaptive softmax, rank 2 | " in capsys.readouterr().out


def test_more_tokens_than_the_text_has_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "measure_memory_apart", lambda *arguments: 12.0)
    with pytest.raises(SystemExit, match="--num_tokens asks for 8333 steps, but the text has"):
        run(tmp_path, "--num_tokens", "100000")


def test_text_is_cut_into_whole_batches() -> None:
    batches = cut(torch.arange(3 * 4 * 2 + 5), 3, 4)
    assert [batch.shape for batch in batches] == [(3, 4)] * 2
    assert batches[1][0].tolist() == [12, 13, 14, 15]
    assert count_targets(batches[0]) == 9


@pytest.mark.parametrize("fields", [{}, {"adaptive_softmax_cutoffs": [7]}])
def test_perplexity_is_that_of_the_whole_distribution(fields: dict[str, Any]) -> None:
    learner = Learner(FIELDS | fields, 0.01)
    batches = [torch.randint(4, 29, (3, 5)) for _ in range(2)]
    learner.learn(batches)
    assert learner.num_tokens == 24
    tokens = torch.cat(batches)
    with torch.no_grad():
        scores = learner.model(tokens).logits.log_softmax(dim=-1)
    chosen = scores[:, :-1].gather(2, tokens[:, 1:, None])
    assert learner.perplexity(batches) == pytest.approx(math.exp(-chosen.mean()), rel=1e-5)
    assert learner.model.training


def test_memory_is_that_of_the_process_beyond_its_start() -> None:
    batch = torch.randint(4, 29, (3, 5))
    fields = FIELDS | {"vocab_size": 400_000}
    assert embeddings.measure_memory(fields, batch, 0.01) > 400_000 * 11 * 4 * 4 / 2**20 / 2
