import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hf_lstm.data.checks import InputError
from hf_lstm.data.streams import ExampleStream
from hf_lstm.training.arguments import DataArguments, LstmTrainingArguments
from hf_lstm.training.checkpoints import FILE_SIZES_NAME
from hf_lstm.training.tasks import seq2seq, sequence_classification
from hf_lstm.training.tasks.streaming import check_streaming

SCRIPT = Path(__file__).parents[3] / "scripts" / "train_sequence_classification.py"
WORDS = {"food": ["soup", "bread", "rice"], "sport": ["ball", "goal"]}
STREAM = ["--streaming", "--shuffle_buffer_size", "20", "--per_device_train_batch_size", "4", "--use_cpu"]
CLASSIFIER = ["--embedding_size", "6", "--hidden_size", "10", "--classifier_ngram_buckets", "64"]
SIZES = {"encoder_embedding_size": 6, "decoder_embedding_size": 6, "encoder_hidden_size": 8, "decoder_hidden_size": 8}
TRANSLATOR = [part for name, size in SIZES.items() for part in (f"--{name}", str(size))]
SAVED = ["--max_steps", "14", "--save_steps", "5", "--save_total_limit", "9", "--disable_tqdm", "true"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    generator = random.Random(0)
    for name, num_rows in {"train-0": 31, "train-1": 29, "validation": 9}.items():
        with (folder / f"{name}.jsonl").open("w") as file:
            for _ in range(num_rows):
                label = generator.choice(sorted(WORDS))
                words = generator.choices([*WORDS[label], "the", "a"], k=generator.randint(3, 9))
                row = {"text": " ".join(words), "label": label, "target": " ".join(reversed(words))}
                file.write(json.dumps(row) + "\n")
    return folder


def files(folder):
    return ["--train_file", str(folder / "train-*.jsonl"), "--validation_file", str(folder / "validation.jsonl")]


def classify(folder, output_dir, *args):
    return sequence_classification.main([*files(folder), *STREAM, *CLASSIFIER, "--output_dir", str(output_dir), *args])


def remove_after(output_dir, step):
    """Leaves what a run that was killed after its checkpoint would."""
    (output_dir / "model.safetensors").unlink()
    for path in output_dir.glob("checkpoint-*"):
        if int(path.name.removeprefix("checkpoint-")) > step:
            path.rename(path.with_name(f"removed-{path.name}"))


def assert_same_weights(path, other):
    weights, others = load_file(path / "model.safetensors"), load_file(other / "model.safetensors")
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[name], others[name]) for name in weights)


@pytest.fixture(scope="module")
def streamed(folder, tmp_path_factory):
    output_dir = tmp_path_factory.mktemp("streamed")
    return output_dir, classify(folder, output_dir, *SAVED, "--stream_sample_size", "25")


def test_stream_is_trained_on_for_as_many_steps_as_asked(streamed):
    output_dir, metrics = streamed
    state = json.loads((output_dir / "trainer_state.json").read_text())
    assert state["global_step"] == 14 and state["epoch"] == 1
    assert [entry["step"] for entry in state["log_history"] if "eval_loss" in entry] == [5, 10, 14]
    assert metrics["num_sampled_rows"] == 25 and "num_train_samples" not in metrics
    assert "max_steps" in (output_dir / "README.md").read_text()


def test_resumed_stream_gives_the_same_weights(folder, streamed, tmp_path):
    classify(folder, tmp_path, *SAVED, "--stream_sample_size", "25")
    remove_after(tmp_path, 5)
    classify(folder, tmp_path, *SAVED, "--stream_sample_size", "25", "--dataloader_num_workers", "1")
    assert_same_weights(tmp_path, streamed[0])
    assert json.loads((tmp_path / "trainer_state.json").read_text())["epoch"] == 1


def test_resumed_stream_of_pairs_gives_the_same_weights_and_reads_no_earlier_pass(folder, tmp_path, monkeypatch):
    args = [*files(folder), *STREAM, *TRANSLATOR, *SAVED, "--no_predict_with_generate", "--output_dir", str(tmp_path)]
    args += ["--source_column_name", "text", "--target_column_name", "target", "--gradient_accumulation_steps", "2"]
    args += ["--num_attention_plots", "0"]
    seq2seq.main(args)
    undisturbed = load_file(tmp_path / "model.safetensors")
    remove_after(tmp_path, 10)
    starts, read = [], ExampleStream.__iter__
    monkeypatch.setattr(ExampleStream, "__iter__", lambda stream: starts.append(stream.start) or read(stream))
    seq2seq.main(args)
    assert [start.passes for start in starts] == [1]
    resumed = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(undisturbed[name], resumed[name]) for name in undisturbed)


def test_checkpoint_without_a_place_is_refused(folder, streamed, tmp_path):
    checkpoint = streamed[0] / "checkpoint-5"
    args = ["--max_steps", "9", "--stream_sample_size", "25", "--resume_from_checkpoint", str(checkpoint)]
    place = checkpoint / "stream_place_0.json"
    hidden = place.rename(tmp_path / place.name)
    sizes = (checkpoint / FILE_SIZES_NAME).rename(tmp_path / FILE_SIZES_NAME)  # as other trainers save
    try:
        with pytest.raises(InputError, match=r"has no stream_place_0.json, the place in the stream"):
            classify(folder, tmp_path / "model", *args)
    finally:
        hidden.rename(place)
        sizes.rename(checkpoint / FILE_SIZES_NAME)


def test_label_that_the_first_rows_lack_is_named(folder, tmp_path):
    rows = [{"text": f"a{row % 3} b", "label": "xy"[row % 2]} for row in range(30)] + [{"text": "a b", "label": "z"}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    args = ["--train_file", str(tmp_path / "rows.jsonl"), "--validation_split_percentage", "0", *STREAM, *CLASSIFIER]
    with pytest.raises(
        InputError, match=r"current window of streamed training data has labels that are absent .* 'z' \(1 rows\)"
    ):
        sequence_classification.main(
            [*args, "--max_steps", "9", "--stream_sample_size", "30", "--output_dir", str(tmp_path / "model")]
        )


def test_nothing_is_split_off_a_stream(folder, tmp_path):
    args = ["--train_file", str(folder / "train-0.jsonl"), *STREAM, "--output_dir", str(tmp_path)]
    with pytest.raises(InputError, match="`validation_split_percentage` is 10.0, but nothing is split off a stream"):
        sequence_classification.main([*args, "--max_steps", "9"])


@pytest.mark.parametrize(
    ("data", "training", "message"),
    [
        ({}, {}, "`max_steps` is -1, but --streaming trains on data without end"),
        ({"max_train_samples": 7}, {"max_steps": 5}, "`max_train_samples` is 7"),
        ({"linear_baseline": True}, {"max_steps": 5}, "`linear_baseline` is True"),
        ({}, {"max_steps": 5, "class_weights": ["balanced"]}, "`class_weights` is 'balanced'"),
    ],
)
def test_what_does_not_suit_a_stream_is_refused_at_once(data, training, message, tmp_path):
    arguments = LstmTrainingArguments(output_dir=str(tmp_path), use_cpu=True, **training)
    with pytest.raises(InputError, match=message):
        check_streaming(DataArguments(streaming=True, **data), arguments)


def test_several_workers_for_one_stream_are_refused(folder, tmp_path):
    with pytest.raises(InputError, match="`dataloader_num_workers` is 2, but one process reads a stream"):
        classify(folder, tmp_path, "--max_steps", "3", "--dataloader_num_workers", "2")


@pytest.mark.slow
def test_two_resumed_ranks_give_the_same_weights(folder, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(SCRIPT)]
    command += [*files(folder), *STREAM, *CLASSIFIER, *SAVED, "--ddp_backend", "gloo"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for name in ("undisturbed", "resumed"):
        subprocess.run([*command, "--output_dir", str(tmp_path / name)], check=True, env=environment)
    assert (tmp_path / "resumed" / "checkpoint-5" / "stream_place_1.json").exists()
    remove_after(tmp_path / "resumed", 5)
    subprocess.run([*command, "--output_dir", str(tmp_path / "resumed")], check=True, env=environment)
    assert_same_weights(tmp_path / "resumed", tmp_path / "undisturbed")
