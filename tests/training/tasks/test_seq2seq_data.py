import gzip
import json
import logging

import pytest
from datasets import Dataset, DatasetDict

from hf_lstm.data.checks import InputError
from hf_lstm.training.seq2seq_arguments import Seq2SeqDataArguments
from hf_lstm.training.tasks.seq2seq_data import Seq2SeqData, load_seq2seq_data

SOURCES = [f"source {number}" for number in range(20)]
TARGETS = [f"target {number}" for number in range(20)]


@pytest.fixture
def files(tmp_path):
    (tmp_path / "train.de").write_text("\n".join(SOURCES) + "\n")
    (tmp_path / "train.en.gz").write_bytes(gzip.compress("\n".join(TARGETS).encode()))
    rows = [{"source": source, "target": target} for source, target in zip(SOURCES, TARGETS)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:7]))
    (tmp_path / "new.txt").write_text("a\n\nb\n")
    return tmp_path


@pytest.fixture
def load(tmp_path):
    def load_with(do_train=True, **values):
        values = {name: str(value) if name.endswith("_file") else value for name, value in values.items()}
        return load_seq2seq_data(Seq2SeqDataArguments(cache_dir=str(tmp_path / "cache"), **values), do_train)

    return load_with


def test_line_files_and_files_with_columns_go_together(files, load):
    data = load(
        train_file=files / "train.de",
        train_target_file=files / "train.en.gz",
        validation_file=files / "pairs.jsonl",
        predict_file=files / "new.txt",
    )
    assert data.train.to_dict() == {"source": SOURCES, "target": TARGETS}
    assert data.validation.to_dict() == {"source": SOURCES[:7], "target": TARGETS[:7]}
    assert data.test is None and data.predict.to_dict() == {"source": ["a", "", "b"]}
    assert list(data.splits()) == ["train", "validation", "predict"]


@pytest.mark.parametrize("method", ["random", "md5"])
def test_validation_rows_are_split_off_and_stay_pairs(files, load, method):
    data = load(
        train_file=files / "train.de",
        train_target_file=files / "train.en.gz",
        validation_split_percentage=30,
        validation_split_method=method,
    )
    rows = [set(zip(split["source"], split["target"], strict=True)) for split in (data.train, data.validation)]
    assert rows[0] | rows[1] == set(zip(SOURCES, TARGETS)) and not rows[0] & rows[1]
    assert len(rows[1]) == 6 if method == "random" else 1 <= len(rows[1]) <= 12


def test_validation_share_of_zero_keeps_all_rows_for_training(files, load):
    data = load(train_file=files / "pairs.jsonl", validation_split_percentage=0)
    assert len(data.train) == 7 and data.validation is None


def test_limits_draw_rows_by_seed_and_the_first_ones_to_predict(files, load):
    values = {
        "train_file": files / "train.de",
        "train_target_file": files / "train.en.gz",
        "test_file": files / "pairs.jsonl",
        "validation_file": files / "pairs.jsonl",
        "predict_file": files / "new.txt",
        "max_train_samples": 9,
        "max_eval_samples": 3,
        "max_predict_samples": 2,
    }
    data = load(**values)
    assert {name: len(split) for name, split in data.splits().items()} == {
        "train": 9,
        "validation": 3,
        "test": 3,
        "predict": 2,
    }
    assert data.predict["source"][:] == ["a", ""]
    assert data.train["source"][:] not in (SOURCES[:9], load(**values, sample_seed=3).train["source"][:])
    assert data.train["source"][:] == load(**values).train["source"][:]
    assert [row["source"].removeprefix("source ") for row in data.train] == (
        [row["target"].removeprefix("target ") for row in data.train]
    )


def test_without_training_there_is_no_training_data(files, load):
    data = load(do_train=False, train_file=files / "pairs.jsonl", test_file=files / "pairs.jsonl")
    assert list(data.splits()) == ["test"]


def test_autoencoder_reproduces_lines_and_ignores_targets(files, load):
    data = load(
        task="autoencode",
        train_file=files / "train.de",
        validation_file=files / "pairs.jsonl",
        predict_file=files / "new.txt",
    )
    for split, expected in ((data.train, SOURCES), (data.validation, SOURCES[:7]), (data.predict, ["a", "", "b"])):
        assert split.to_dict() == {"source": expected, "target": expected}


def test_empty_pairs_are_left_out_of_training_alone(load, tmp_path, caplog):
    rows = [{"source": "a", "target": "b"}, {"source": "", "target": "b"}, {"source": "a", "target": None}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = load(train_file=tmp_path / "rows.jsonl", validation_file=tmp_path / "rows.jsonl")
    assert (len(data.train), len(data.validation)) == (1, 3)
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert [message.split(" of the ")[1].split(" data")[0] for message in warnings] == ["train", "validation"]


def test_data_set_of_the_hub_has_its_splits(load, tmp_path):
    pairs = [{"translation": {"de": source, "en": target}} for source, target in zip(SOURCES, TARGETS)]
    splits = {"train": pairs[:9], "dev": pairs[9:13], "test": pairs[13:]}
    folder = tmp_path / "hub"
    folder.mkdir()
    for name, rows in DatasetDict({name: Dataset.from_list(rows) for name, rows in splits.items()}).items():
        rows.to_json(folder / f"{name}.jsonl")
    data = load(
        dataset_name=str(folder),
        source_lang="en",
        target_lang="de",
        validation_split_name="validation",
        remove_splits=["test"],
    )
    assert data.train.to_dict() == {"source": TARGETS[:9], "target": SOURCES[:9]}
    assert data.validation["source"][:] == TARGETS[9:13] and data.test is None


def test_no_training_data_is_an_error(files, load):
    with pytest.raises(InputError, match="There is no training data. Pass --train_file"):
        load(test_file=files / "pairs.jsonl")


def test_line_file_without_targets_is_an_error(files, load):
    with pytest.raises(InputError, match=r"no targets\. Pass the targets, .* as --validation_target_file"):
        load(train_file=files / "pairs.jsonl", validation_file=files / "train.de")


def test_splits_that_are_not_there_are_not_listed():
    assert Seq2SeqData().splits() == {}
