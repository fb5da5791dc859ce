"""The training tasks in two processes, beside the same in one: scores, predictions, and who writes."""

import csv
import json
from pathlib import Path

import pytest

from hf_lstm.training.tasks import seq2seq, sequence_classification
from tests.distributed.launch import ACCELERATE, REPOSITORY, TORCHRUN, WORKERS, finish, start

WORDS = ["great", "dull", "film", "story", "music", "a", "the", "long"]
ROWS = [[WORDS[(3 * row + step * row) % 8] for step in range(1 + row % 5)] for row in range(53)]
COMMON = ["--num_train_epochs", "2", "--learning_rate", "0.01", "--disable_tqdm", "true", "--use_cpu", "true"]
STATIC_CLASSIFIER = ["--embedding_size", "6", "--hidden_size", "6", "--classifier_ngram_orders"]
STATIC_CLASSIFIER += [f"--{name}=0" for name in ("input_dropout", "classifier_dropout")]
STATIC_TRANSLATOR = [
    f"--{side}_{size}=6" for side in ("encoder", "decoder") for size in ("embedding_size", "hidden_size")
]
STATIC_TRANSLATOR += [f"--{name}=0" for name in ("input_dropout", "output_dropout", "embedding_dropout")]
STATIC_TRANSLATOR += ["--max_target_length=8", "--num_attention_plots=1", "--share_embeddings=false"]
FSDP = REPOSITORY / "configs" / "accelerate" / "fsdp.yaml"
LAUNCHERS: dict[str, list[object]] = {
    "whole": [*TORCHRUN, "--standalone", "--nproc_per_node", 2],
    "split": [*ACCELERATE, "--config_file", FSDP, "--main_process_port", 0],
}


@pytest.fixture
def commands(tmp_path: Path) -> dict[str, list[str]]:
    """Arguments of each task, except for the batch size and the output folder."""
    texts = [" ".join(row) for row in ROWS]
    labels = ["good" if "great" in row else "bad" for row in ROWS]
    (tmp_path / "train.csv").write_text("text,label\n" + "".join(f"{t},{n}\n" for t, n in zip(texts, labels)))
    (tmp_path / "train.de").write_text("\n".join(texts) + "\n")
    (tmp_path / "train.en").write_text("\n".join(" ".join(reversed(row)) for row in ROWS) + "\n")
    (tmp_path / "new.txt").write_text("\n".join(texts[::-2]) + "\n")
    given = [*COMMON, "--predict_file", str(tmp_path / "new.txt"), "--cache_dir", str(tmp_path / "cache")]
    pairs = ["--train_file", str(tmp_path / "train.de"), "--train_target_file", str(tmp_path / "train.en")]
    return {
        "classification": [*given, *STATIC_CLASSIFIER, "--train_file", str(tmp_path / "train.csv")],
        "seq2seq": [*given, *STATIC_TRANSLATOR, "--task", "translation", *pairs],
    }


def batches(size: int) -> list[str]:
    return [f"--per_device_{kind}_batch_size={size}" for kind in ("train", "eval")]


def read_predictions(folder: Path, task: str) -> list[object]:
    if task == "seq2seq":
        return [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    with (folder / "predictions.csv").open() as file:
        return list(csv.reader(file))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("weights", LAUNCHERS)
def test_two_processes_train_score_and_predict_as_one_and_only_the_first_writes(weights, commands, tmp_path):
    folder = tmp_path / "output"
    folder.mkdir()
    mains = {"classification": sequence_classification.main, "seq2seq": seq2seq.main}
    for task, main in mains.items():
        main([*commands[task], *batches(16), "--output_dir", str(tmp_path / "alone" / task)])
    shared = [[task, [*commands[task], *batches(8), "--output_dir", str(folder / task)]] for task in mains]
    (tmp_path / "commands.json").write_text(json.dumps(shared))
    finish(start([*LAUNCHERS[weights], WORKERS / "run_commands.py", tmp_path, 2]))

    for task in mains:
        alone = tmp_path / "alone" / task
        expected, found = (json.loads((path / "metrics.json").read_text()) for path in (alone, folder / task))
        assert found["metrics"].keys() == expected["metrics"].keys()
        for name in ("train_loss", "eval_loss"):
            assert found["metrics"][name] == pytest.approx(expected["metrics"][name], abs=1e-5)
        assert read_predictions(folder / task, task) == read_predictions(alone, task)
        names = {path.name for path in alone.iterdir()}
        assert {path.name for path in (folder / task).iterdir()} == names >= {"model.safetensors", "README.md"}
