"""Prediction and generation spread over two processes, beside the same in one, which alone reads and writes files."""

import json
from pathlib import Path

import pytest

from hf_lstm.cli.inference.processes import _other_seed
from hf_lstm.cli.inference.resumption import SETTINGS_SUFFIX
from hf_lstm.cli.main import main
from tests.cli.saved_models import TEXTS, save_classifier, save_language_model, save_translator
from tests.distributed.launch import WORKERS, launch

ROWS = [f"{text} {word}".strip() for word in ("", "cat", "a dog") for text in TEXTS]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    save = {"classifier": save_classifier, "translator": save_translator, "language_model": save_language_model}
    return {name: save_one(folder / name) for name, save_one in save.items()}


def run_alone(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


def test_two_processes_give_every_result_in_order(models, tmp_path, capsys):
    (tmp_path / "new.txt").write_text("\n".join(ROWS) + "\n")
    (tmp_path / "output").mkdir()
    given = ("--input", tmp_path / "new.txt", "--disable_tqdm")
    predictions = {
        "classifier": ("predict", models["classifier"], *given, "--max_length", 3),
        "translator": ("predict", models["translator"], *given, "--num_beams", 2, "--max_new_tokens", 5),
    }
    sampling = ("--do_sample", "--seed", 3, "--max_new_tokens", 4)
    generation = ("generate", models["language_model"], *ROWS, *sampling)
    expected = {name: run_alone(capsys, *arguments) for name, arguments in predictions.items()}
    written = run_alone(capsys, *generation, "--no_stream")

    outputs = {name: tmp_path / "output" / f"{name}.jsonl" for name in predictions}
    # An earlier run was killed while it wrote the sixth line.
    run_alone(capsys, *predictions["classifier"], "--output", outputs["classifier"])
    outputs["classifier"].write_text("".join(expected["classifier"].splitlines(keepends=True)[:6])[:-5])
    commands = [[*arguments, "--output", outputs[name]] for name, arguments in predictions.items()]
    commands = [["cli", [str(argument) for argument in command]] for command in [*commands, generation]]
    (tmp_path / "commands.json").write_text(json.dumps(commands))
    printed = launch(WORKERS / "run_commands.py", tmp_path, 2)

    for name, output in outputs.items():
        found, wanted = (
            [json.loads(line) for line in text.splitlines()] for text in (output.read_text(), expected[name])
        )
        assert [row.keys() for row in found] == [row.keys() for row in wanted]
        for found_row, row in zip(found, wanted, strict=True):
            scores = found_row.pop("scores", {}), row.pop("scores", {})
            assert scores[0] == pytest.approx(scores[1], abs=2e-6)
            assert {**found_row, "score": 0} == {**row, "score": 0}
        assert output.with_name(output.name + SETTINGS_SUFFIX).exists()
    assert (tmp_path / "2.txt").read_text() == written and len(set(written.splitlines())) > 5
    assert f"12 of {len(ROWS)} texts were cut to 3 tokens" in printed and printed.count("were cut") == 1


def test_processes_draw_different_numbers_and_an_error_in_one_ends_all():
    launch(WORKERS / "share_work.py")


def test_no_two_of_many_processes_draw_alike_at_near_seeds():
    seeds = [_other_seed(seed, rank) for seed in range(9) for rank in range(1, 5)]
    assert len({*seeds, *range(9)}) == len(seeds) + 9
