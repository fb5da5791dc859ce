"""Runs of the sequence-to-sequence task that several tests look at."""

import pytest

from hf_lstm import LstmForConditionalGeneration
from hf_lstm.training.seq2seq_trainer import LstmSeq2SeqTrainer
from hf_lstm.training.tasks.seq2seq import main
from tests.training.tasks.seq2seq.factories import TINY, flags, make_pairs, write_json, write_lines


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    for name, num_rows, seed in (("train", 90, 0), ("val", 22, 1), ("test", 17, 2)):
        sources, targets = zip(*make_pairs(num_rows, seed))
        write_lines(folder / f"{name}.de", sources)
        write_lines(folder / f"{name}.en.gz", targets)
        rows = [{"id": row, "source": s, "target": t} for row, (s, t) in enumerate(zip(sources, targets))]
        write_json(folder / f"{name}.jsonl", rows)
    (folder / "new.txt").write_text("a b c\n\nd e\n")
    return folder


@pytest.fixture
def train(tmp_path):
    """Runs the task into a folder of its own; later arguments override the tiny sizes."""

    def run_main(*args, output_dir=tmp_path / "model"):
        own = {"cache_dir": tmp_path / "cache", "output_dir": output_dir}
        return main([*flags(TINY | own), *map(str, args)])

    return run_main


@pytest.fixture(scope="session")
def translator(files, tmp_path_factory):
    """A complete run on line-aligned files, with one vocabulary: its folder and its metrics."""
    folder = tmp_path_factory.mktemp("translator")
    own = {
        "task": "translation",
        "train_file": files / "train.de",
        "train_target_file": files / "train.en.gz",
        "validation_file": files / "val.de",
        "validation_target_file": files / "val.en.gz",
        "test_file": files / "test.de",
        "test_target_file": files / "test.en.gz",
        "predict_file": files / "new.txt",
        "source_lang": "de_DE",
        "target_lang": "en",
        "source_prefix": "turn: ",
        "num_beams": 3,
        "length_penalty": 0.8,
        "no_repeat_ngram_size": 3,
        "num_attention_plots": 2,
        "num_train_epochs": 2,
        "cache_dir": folder / "cache",
        "output_dir": folder / "model",
    }
    num_beams = []
    with pytest.MonkeyPatch.context() as patch:
        generate = LstmForConditionalGeneration.generate

        def note_beams(self, *args, **kwargs):
            num_beams.append(kwargs.get("num_beams"))
            return generate(self, *args, **kwargs)

        patch.setattr(LstmForConditionalGeneration, "generate", note_beams)
        metrics = main(flags(TINY | own))
    return folder / "model", metrics, num_beams


@pytest.fixture
def copy_of_translator(translator, tmp_path):
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in translator[0].iterdir():
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture(scope="session")
def two_vocabularies(files, tmp_path_factory):
    """A run with two vocabularies, on columns: its folder."""
    folder = tmp_path_factory.mktemp("two")
    own = {"train_file": files / "train.jsonl", "cache_dir": folder / "cache", "output_dir": folder / "model"}
    main([*flags(TINY | own), "--no_shared_vocabulary", "--target_vocab_size", "9", "--share_embeddings", "false"])
    return folder / "model"


@pytest.fixture
def no_training(monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("training started")

    monkeypatch.setattr(LstmSeq2SeqTrainer, "train", fail)
