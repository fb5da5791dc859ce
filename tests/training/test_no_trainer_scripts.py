"""The custom loops: each trains, resumes exactly, and comes to the same on two processes as on one."""

import importlib.util
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState
from datasets import Dataset
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
)

from hf_lstm import LstmTokenizer
from hf_lstm.data.checks import InputError
from hf_lstm.data.labels import SINGLE_LABEL, LabelScheme
from hf_lstm.training.checkpoints import record_file_sizes
from tests.distributed.launch import TORCHRUN, WORKERS
from tests.security.payloads import write_pickles

REPOSITORY = Path(__file__).parents[2]
WORDS = ["warm", "dull", "funny", "long", "film", "and", "a"]


@dataclass(frozen=True)
class Script:
    """A script, what its models are loaded by, its data, and its smallest arguments."""

    name: str
    auto_class: type
    write_data: Callable[[Path], str]
    arguments: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        return REPOSITORY / "scripts" / f"train_{self.name}_no_trainer.py"

    def load(self) -> ModuleType:
        spec = importlib.util.spec_from_file_location(self.path.stem, self.path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module

    def flags(self, folder: Path, output_dir: Path, *flags: str) -> list[str]:
        data = self.write_data(folder)
        common = ["--output_dir", str(output_dir), "--cpu", "--embedding_size=5", "--hidden_size=6"]
        quick = ["--num_train_epochs=2", "--min_frequency=1", "--per_device_eval_batch_size=4"]
        return ["--train_file", data, *common, *quick, *self.arguments, *flags]

    def run(self, folder: Path, output_dir: Path, *flags: str) -> dict[str, Any]:
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        return self.load().main(self.flags(folder, output_dir, *flags))


def make_sentences(number: int) -> list[list[str]]:
    return [[WORDS[(row + place * place) % 7] for place in range(1 + row % 5)] for row in range(number)]


def write_texts(folder: Path) -> str:
    rows = [f"{' '.join(words)},{'good' if len(words) % 2 else 'bad'}" for words in make_sentences(31)]
    (folder / "texts.csv").write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return str(folder / "texts.csv")


def write_tagged(folder: Path) -> str:
    rows = [
        {"tokens": words, "tags": ["DET" if word == "a" else "X" for word in words]} for words in make_sentences(31)
    ]
    (folder / "tagged.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    return str(folder / "tagged.jsonl")


def write_lines(folder: Path) -> str:
    (folder / "lines.txt").write_text("\n".join(map(" ".join, make_sentences(61))) + "\n", encoding="utf-8")
    return str(folder / "lines.txt")


def write_pairs(folder: Path) -> str:
    rows = [{"source": " ".join(words), "target": " ".join(words[::-1])} for words in make_sentences(31)]
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    return str(folder / "pairs.jsonl")


CLASSIFICATION = Script("sequence_classification", AutoModelForSequenceClassification, write_texts)
TAGGING = Script("token_classification", AutoModelForTokenClassification, write_tagged)
LANGUAGE_MODEL = Script("language_model", AutoModelForCausalLM, write_lines, ("--bptt_length=4",))
SEQ2SEQ = Script("seq2seq", AutoModelForSeq2SeqLM, write_pairs, ("--vocab_size=290", "--max_target_length=7"))
SCRIPTS = [pytest.param(script, id=script.name) for script in (CLASSIFICATION, TAGGING, LANGUAGE_MODEL, SEQ2SEQ)]
# 28 training rows: a last step of fewer rows, and steps of two batches of which the last is not whole.
STEPS = ("--per_device_train_batch_size=3", "--gradient_accumulation_steps=2")


@pytest.mark.parametrize("script", SCRIPTS)
def test_resumed_run_equals_an_undisturbed_one_to_the_bit(script: Script, tmp_path: Path) -> None:
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    results = script.run(tmp_path, whole, *STEPS, "--checkpointing_steps=3", "--save_total_limit=99")
    # The third step is within the first epoch.
    checkpoint = whole / "checkpoint-3"
    assert results["num_steps"] > 6
    assert script.run(tmp_path, resumed, *STEPS, "--resume_from_checkpoint", str(checkpoint)) == results
    weights, again = load_file(whole / "model.safetensors"), load_file(resumed / "model.safetensors")
    assert weights.keys() == again.keys()
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    started = load_file(checkpoint / "model.safetensors")
    assert not any(torch.equal(started[name], again[name]) for name in again if name in started)
    check_output(script, whole, results)


def check_output(script: Script, output_dir: Path, results: dict[str, Any]) -> None:
    assert json.loads((output_dir / "all_results.json").read_text(encoding="utf-8")) == results
    assert results["num_processes"] == 1
    assert 0 < results["eval_loss"] < 10
    model = script.auto_class.from_pretrained(output_dir).eval()
    tokenizer = AutoTokenizer.from_pretrained(output_dir)
    batch = tokenizer(["a warm film", "dull"], padding=True, return_tensors="pt")
    if script is SEQ2SEQ:
        assert model.generate(**batch).shape[1] <= 8
    else:
        assert model(**batch).logits.isfinite().all()
    assert model.config.vocab_size == len(tokenizer)
    if script is LANGUAGE_MODEL:
        assert tokenizer.eos_token_id not in batch["input_ids"]  # or else it would not go on with a prompt


def test_checkpoints_and_evaluations_do_not_change_a_run(tmp_path: Path) -> None:
    with_checkpoints, without = tmp_path / "with", tmp_path / "without"
    first = CLASSIFICATION.run(tmp_path, with_checkpoints, "--checkpointing_steps=1", "--max_train_steps=2")
    second = CLASSIFICATION.run(tmp_path, without, "--max_train_steps=2")
    assert first == second
    assert [path.name for path in with_checkpoints.glob("checkpoint-*")]


def test_run_resumes_from_its_last_step(tmp_path: Path) -> None:
    flags = ("--per_device_train_batch_size=14", "--checkpointing_steps=2")
    results = CLASSIFICATION.run(tmp_path, tmp_path / "output", *flags)
    assert results["num_steps"] == 4
    (tmp_path / "output" / "model.safetensors").unlink()
    assert CLASSIFICATION.run(tmp_path, tmp_path / "output", *flags, "--resume_from_checkpoint=last") == results
    assert (tmp_path / "output" / "model.safetensors").exists()


@pytest.mark.parametrize("script", SCRIPTS)
def test_resuming_runs_no_code_of_a_checkpoint(script: Script, tmp_path: Path) -> None:
    flags = ("--checkpointing_steps=1", "--max_train_steps=1")
    script.run(tmp_path, tmp_path / "output", *flags)
    checkpoint, mark = tmp_path / "output" / "checkpoint-1", tmp_path / "executed"
    assert not list(checkpoint.glob("custom_checkpoint_*"))
    write_pickles(checkpoint, ("custom_checkpoint_0.pkl",), mark)
    with pytest.raises(InputError, match="holds 'custom_checkpoint_0.pkl', but must hold no"):
        script.run(tmp_path, tmp_path / "output", *flags, "--resume_from_checkpoint=last")
    assert not mark.exists()


def test_states_of_a_checkpoint_are_read_as_plain_data(tmp_path: Path) -> None:
    flags, mark = ("--checkpointing_steps=1", "--max_train_steps=1"), tmp_path / "executed"
    LANGUAGE_MODEL.run(tmp_path, tmp_path / "output", *flags)
    for name in ("optimizer.bin", "scheduler.bin", "streams_0.bin", "random_states_0.pkl", "pytorch_model.bin"):
        checkpoint = shutil.copytree(tmp_path / "output" / "checkpoint-1", tmp_path / name)
        write_pickles(checkpoint, (name,), mark)
        problem = f"{name} holds no plain data"
        if name == "pytorch_model.bin":
            (checkpoint / "model.safetensors").unlink()
            problem = "it has no .safetensors file"
        record_file_sizes(checkpoint)  # as whoever changes a file would
        with pytest.raises(InputError, match=f"is not a whole checkpoint of a custom loop: {problem}"):
            LANGUAGE_MODEL.run(tmp_path, tmp_path / "resumed", *flags, "--resume_from_checkpoint", str(checkpoint))
    assert not mark.exists()


@pytest.mark.parametrize("script", [script for script in SCRIPTS if script.id != "language_model"])
def test_accumulated_batches_come_to_the_same_as_large_ones(script: Script, tmp_path: Path) -> None:
    large = script.run(tmp_path, tmp_path / "large", "--dropout=0", "--per_device_train_batch_size=6")
    small = script.run(tmp_path, tmp_path / "small", "--dropout=0", *STEPS)
    assert small == pytest.approx(large, abs=1e-5)


@pytest.mark.parametrize("script", SCRIPTS)
def test_gradient_is_not_clipped_at_a_norm_of_0(script: Script, tmp_path: Path) -> None:
    steps = "--max_train_steps=2"
    none = script.run(tmp_path, tmp_path / "none", steps, "--max_grad_norm=0")
    assert none == script.run(tmp_path, tmp_path / "large", steps, "--max_grad_norm=1e9")


def test_model_computes_in_bfloat16_and_is_saved_in_float32(tmp_path: Path) -> None:
    results = LANGUAGE_MODEL.run(tmp_path, tmp_path / "output", *STEPS, "--mixed_precision=bf16")
    check_output(LANGUAGE_MODEL, tmp_path / "output", results)
    assert {weight.dtype for weight in load_file(tmp_path / "output" / "model.safetensors").values()} == {torch.float}


def test_language_model_learns_from_beyond_a_piece(tmp_path: Path) -> None:
    """Pieces are two letters long, so that only the carried state tells the first one's successor."""
    (tmp_path / "lines.txt").write_text("\n".join(["aabb" * 40] * 10) + "\n", encoding="utf-8")
    script = Script("language_model", AutoModelForCausalLM, lambda folder: str(folder / "lines.txt"))
    flags = ("--tokenizer_algorithm=char", "--bptt_length=2", "--hidden_size=16", "--learning_rate=0.05")
    more = ("--num_train_epochs=2", "--per_device_train_batch_size=8", "--dropout=0")
    results = script.run(tmp_path, tmp_path / "output", *flags, *more)
    # Without the state, the best is a coin for every other letter: a perplexity of the square root of 2, about 1.41.
    assert results["eval_perplexity"] < 1.2


@pytest.mark.parametrize(("loss", "perplexity"), [(2000.0, math.inf), (math.log(3), 3.0)])
def test_language_model_that_diverged_has_an_infinite_perplexity(monkeypatch, loss: float, perplexity: float) -> None:
    module = LANGUAGE_MODEL.load()
    monkeypatch.setattr(module, "real_batches", lambda accelerator, loader: loader)
    monkeypatch.setattr(module, "compute_loss", lambda *args: torch.tensor(loss, dtype=torch.float64))
    model = SimpleNamespace(eval=lambda: None, make_cache=lambda: None)
    accelerator = SimpleNamespace(device="cpu", unwrap_model=lambda model: model, reduce=lambda value: value)
    results = module.evaluate(accelerator, model, [{"labels": torch.tensor([[-100, 4]])}])
    assert results["eval_perplexity"] == pytest.approx(perplexity)


def communicate(command: list[str], environment: dict[str, str]) -> tuple[str, str]:
    """Runs a command, and leaves none of the processes behind that it has started."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as process:
        try:
            printed, logged = process.communicate(timeout=500)
        finally:
            process.terminate()  # torchrun then ends its own; nothing where it has ended
    assert process.returncode == 0, logged[-3000:]
    return printed, logged


def run_two_processes(script: Script, folder: Path, output_dir: Path, *flags: str) -> tuple[str, str]:
    command = [*TORCHRUN, "--standalone", "--nproc_per_node=2", str(WORKERS / "watch_parting.py"), str(script.path)]
    command += script.flags(folder, output_dir, *flags)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), *sys.path])}
    return communicate(command, environment)


@pytest.mark.slow
@pytest.mark.timeout(600)  # three processes start, and each imports torch
@pytest.mark.parametrize("script", SCRIPTS)
def test_two_processes_come_to_the_same_as_one(script: Script, tmp_path: Path) -> None:
    flags = ("--dropout=0", "--gradient_accumulation_steps=2")
    one = script.run(
        tmp_path, tmp_path / "one", *flags, "--per_device_train_batch_size=6", "--per_device_eval_batch_size=8"
    )
    printed, logged = run_two_processes(script, tmp_path, tmp_path / "two", *flags, "--per_device_train_batch_size=3")
    assert "Processes: 2" in logged
    assert printed.count("Epoch 1") == 1
    two = json.loads((tmp_path / "two" / "all_results.json").read_text(encoding="utf-8"))
    assert two.pop("num_processes") == 2
    assert one.pop("num_processes") == 1
    assert two == pytest.approx(one, abs=1e-5)


@pytest.mark.slow
@pytest.mark.timeout(600)  # six processes start, and each imports torch
def test_two_processes_resume_to_the_same(tmp_path: Path) -> None:
    flags = ("--per_device_train_batch_size=3", "--bptt_length=2")
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    run_two_processes(LANGUAGE_MODEL, tmp_path, whole, *flags, "--checkpointing_steps=3", "--save_total_limit=99")
    checkpoint = whole / "checkpoint-3"
    run_two_processes(LANGUAGE_MODEL, tmp_path, resumed, *flags, "--resume_from_checkpoint", str(checkpoint))
    results = json.loads((whole / "all_results.json").read_text(encoding="utf-8"))
    assert results["num_steps"] > 6
    assert json.loads((resumed / "all_results.json").read_text(encoding="utf-8")) == results
    weights, again = load_file(whole / "model.safetensors"), load_file(resumed / "model.safetensors")
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_row_with_a_tag_missing_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("words,tags\na film,DET NOUN\na dull film,DET NOUN\n", encoding="utf-8")
    script = Script("token_classification", AutoModelForTokenClassification, lambda folder: str(file))
    with pytest.raises(InputError, match="Row 2 of the training data has 3 words but 2 tags"):
        script.run(tmp_path, tmp_path / "output", "--validation_file", str(file))


@pytest.mark.parametrize("word", ["\u3000", "\xa0", ""])
def test_word_of_white_space_is_refused(word: str, tmp_path: Path) -> None:
    file = Path(write_tagged(tmp_path))
    row = {"tokens": ["a", word], "tags": ["DET", "X"]}
    file.write_text(file.read_text(encoding="utf-8") + json.dumps(row) + "\n", encoding="utf-8")
    script = replace(TAGGING, write_data=lambda folder: str(file))
    with pytest.raises(
        InputError, match=r"Row 32 of the training data has .* as its word 2, but a word must hold more"
    ):
        script.run(tmp_path, tmp_path / "output")


def test_sentences_that_are_cut_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    TAGGING.run(tmp_path, tmp_path / "output", "--max_length=2", "--max_train_steps=1")
    assert "sentences of the training data were cut to 2 tokens" in caplog.text


@pytest.mark.parametrize("script", SCRIPTS)
def test_files_of_another_encoding_are_read(script: Script, tmp_path: Path) -> None:
    def write_utf_16(folder: Path) -> str:
        file = Path(script.write_data(folder))
        file.write_text(file.read_text(encoding="utf-8"), encoding="utf-16")
        return str(file)

    other = replace(script, write_data=write_utf_16)
    with pytest.raises(InputError, match="--file_encoding"):
        other.run(tmp_path, tmp_path / "none")
    results = other.run(tmp_path, tmp_path / "other", "--max_train_steps=1", "--file_encoding=utf-16")
    assert results == script.run(tmp_path, tmp_path / "utf-8", "--max_train_steps=1")


def test_cells_hold_several_labels_and_columns_are_joined(tmp_path: Path) -> None:
    rows = [
        f"{' '.join(words)},{words[-1]},{'long;good' if len(words) > 2 else 'bad'}" for words in make_sentences(31)
    ]
    (tmp_path / "rows.csv").write_text("title,body,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    script = replace(CLASSIFICATION, write_data=lambda folder: str(folder / "rows.csv"))
    with pytest.raises(InputError, match="no column 'text'.*--text_column_names"):
        script.run(tmp_path, tmp_path / "none")
    columns, steps = ("--text_column_names", "title", "body"), "--max_train_steps=1"
    with pytest.raises(InputError, match="--label_delimiter"):
        script.run(tmp_path, tmp_path / "none", *columns, "--problem_type=multi_label_classification")
    script.run(tmp_path, tmp_path / "output", *columns, steps, "--label_delimiter=;")
    config = script.auto_class.from_pretrained(tmp_path / "output").config
    assert config.problem_type == "multi_label_classification"
    assert list(config.label2id) == ["bad", "good", "long"]


def test_language_model_reads_the_column_that_it_is_told(tmp_path: Path) -> None:
    rows = [{"body": " ".join(words)} for words in make_sentences(31)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    script = replace(LANGUAGE_MODEL, write_data=lambda folder: str(folder / "rows.jsonl"))
    with pytest.raises(InputError, match="no column 'text'.*--text_column_names"):
        script.run(tmp_path, tmp_path / "none")
    script.run(tmp_path, tmp_path / "output", "--text_column_names=body", "--max_train_steps=1")


def test_pairs_of_a_translation_column_are_read(tmp_path: Path) -> None:
    rows = [{"translation": {"de": " ".join(words), "en": words[0]}} for words in make_sentences(31)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    script = replace(SEQ2SEQ, write_data=lambda folder: str(folder / "rows.jsonl"))
    with pytest.raises(InputError, match="holds 'de', 'en'. Say which one is the source with --source_lang"):
        script.run(tmp_path, tmp_path / "none")
    script.run(tmp_path, tmp_path / "output", "--source_lang=de", "--target_lang=en", "--max_train_steps=1")


def test_row_is_named_by_its_number_in_the_file(tmp_path: Path) -> None:
    texts, tagged = Path(write_texts(tmp_path)), Path(write_tagged(tmp_path))
    texts.write_text(texts.read_text(encoding="utf-8") + "a film,\n", encoding="utf-8")
    tagged.write_text(tagged.read_text(encoding="utf-8") + '{"tokens": ["a"], "tags": []}\n', encoding="utf-8")
    script = Script("sequence_classification", AutoModelForSequenceClassification, lambda folder: str(texts))
    with pytest.raises(InputError, match="1 of 32 rows of the training data have no label.*: rows 32"):
        script.run(tmp_path, tmp_path / "output")
    script = Script("token_classification", AutoModelForTokenClassification, lambda folder: str(tagged))
    with pytest.raises(InputError, match="Row 32 of the training data has 1 words but 0 tags"):
        script.run(tmp_path, tmp_path / "output")


@pytest.mark.parametrize(
    ("script", "label", "labels"),
    [(CLASSIFICATION, "good", "'bad', 'good'"), (TAGGING, "DET", "'DET', 'X'")],
    ids=["sequence_classification", "token_classification"],
)
def test_run_with_other_labels_is_not_resumed(script: Script, label: str, labels: str, tmp_path: Path) -> None:
    def write_other(folder: Path) -> str:
        file = Path(script.write_data(folder))
        file.write_text(file.read_text(encoding="utf-8").replace(label, "New", 1), encoding="utf-8")
        return str(file)

    flags = ("--checkpointing_steps=1", "--max_train_steps=1")
    script.run(tmp_path, tmp_path / "output", *flags)
    other = replace(script, write_data=write_other)
    with pytest.raises(InputError, match=rf"`labels` was \[{labels}\] and is \[.*'New'.*\]. Give the same training"):
        other.run(tmp_path, tmp_path / "output", *flags, "--resume_from_checkpoint=last")


@pytest.mark.parametrize("script", [CLASSIFICATION, TAGGING], ids=lambda script: script.name)
def test_label_may_fall_to_the_validation_data_alone(script: Script, tmp_path: Path) -> None:
    """A label for each row, so that some of those split off are in no row that is left."""
    rows = [{"text": "a film", "label": f"L{row}", "tokens": ["a"], "tags": [f"L{row}"]} for row in range(20)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    script = replace(script, write_data=lambda folder: str(folder / "rows.jsonl"))
    script.run(tmp_path, tmp_path / "output", "--max_train_steps=1")
    assert len(script.auto_class.from_pretrained(tmp_path / "output").config.id2label) == 20


@pytest.mark.parametrize(
    ("words", "tags", "place"), [(["a", None], ["X", "Y"], "word 2"), (["a", "film"], [None, "X"], "tag 1")]
)
def test_word_or_tag_that_is_null_is_refused(words: list[str | None], tags: list[str | None], place: str) -> None:
    rows = Dataset.from_dict({"tokens": [["so"], words], "tags": [["Z"], tags]})
    arguments = SimpleNamespace(word_column_name=None, tag_column_name=None)
    with pytest.raises(InputError, match=f"Row 2 of the training data has null as its {place}. Write a"):
        TAGGING.load().read_rows(rows, "training", arguments)


def test_numbers_among_words_and_tags_become_text() -> None:
    rows = Dataset.from_dict({"tokens": [[7, 8]], "tags": [[0, 1]]})
    arguments = SimpleNamespace(word_column_name=None, tag_column_name=None)
    assert TAGGING.load().read_rows(rows, "training", arguments)[0] == {"words": ["7", "8"], "tags": ["0", "1"]}


def test_words_of_several_tokens_have_their_tag_at_the_first(tmp_path: Path) -> None:
    rows = Dataset.from_dict({"words": [["I", "don't"], ["go", "on"]], "tags": [["X", "Y"], ["Y", "X"]]})
    tokenizer = LstmTokenizer.train_from_iterator(rows["words"], min_frequency=1, show_progress=False)
    scheme = LabelScheme(SINGLE_LABEL, ("X", "Y"))
    tokenized = TAGGING.load().tokenize_words(rows, tokenizer, scheme, "training", 9)
    assert tokenizer.convert_ids_to_tokens(tokenized["input_ids"][0]) == ["i", "do", "n't"]
    assert tokenized["labels"][0] == [0, 1, -100]
    assert tokenized["labels"][1] == [1, 0]
    cut = TAGGING.load().tokenize_words(rows, tokenizer, scheme, "training", 2)
    assert cut["labels"][0] == [0, 1]


def test_unknown_score_is_refused_before_any_data_is_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no score of texts named 'blue'. Did you mean 'bleu'"):
        SEQ2SEQ.run(tmp_path, tmp_path / "output", "--metric_names", "blue")
    assert not (tmp_path / "output").exists()


def test_targets_need_their_sources(tmp_path: Path) -> None:
    targets = write_lines(tmp_path)
    with pytest.raises(InputError, match="--validation_target_file is given without --validation_file"):
        SEQ2SEQ.run(tmp_path, tmp_path / "output", "--validation_target_file", targets)
    with pytest.raises(InputError, match="'no_such.txt' does not exist"):
        SEQ2SEQ.run(tmp_path, tmp_path / "output", "--train_target_file", "no_such.txt")
    assert not (tmp_path / "output").exists()


def test_language_model_needs_texts_to_validate_on(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="`validation_split_percentage` is 0.1, which leaves 61 of 61"):
        LANGUAGE_MODEL.run(tmp_path, tmp_path / "output", "--validation_split_percentage=0.1")
