"""Saved models, used where the package is not installed: with the code that was saved beside the weights."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerFast
from transformers.dynamic_module_utils import get_relative_import_files

import hf_lstm
from hf_lstm import (
    LstmConfig,
    LstmForCausalLM,
    LstmForConditionalGeneration,
    LstmForSequenceClassification,
    LstmForTokenClassification,
    LstmModel,
    LstmSeq2SeqConfig,
    LstmSeq2SeqModel,
    LstmSeq2SeqTokenizer,
    LstmTokenizer,
    LstmTranslationPipeline,
)
from tests.models.factories import randomize

pytestmark = pytest.mark.timeout(900)  # the program's own start counts, which is slow on a busy computer

PROGRAM = Path(__file__).with_name("remote_program.py")
GERMAN = ["ein hund läuft im gras", "zwei hunde", "der mann liest ein buch vor der tür", "kind"]
ENGLISH = ["a dog runs in the grass", "two dogs are playing", "the man reads a book", "a child is asleep today"]

BASE = {"AutoConfig": "configuration_lstm.LstmConfig", "AutoTokenizer": ["tokenization_lstm.LstmTokenizer", None]}
ENCODER_MAP = BASE | {
    "AutoModel": "modeling_lstm.LstmModel",
    "AutoModelForSequenceClassification": "modeling_lstm.LstmForSequenceClassification",
    "AutoModelForTokenClassification": "modeling_lstm.LstmForTokenClassification",
}
MAP = ENCODER_MAP | {"AutoModelForCausalLM": "modeling_lstm.LstmForCausalLM"}
SEQ2SEQ_MAP = {
    "AutoConfig": "configuration_lstm.LstmSeq2SeqConfig",
    "AutoTokenizer": ["tokenization_lstm.LstmTokenizer", None],
    "AutoModel": "modeling_lstm_seq2seq.LstmSeq2SeqModel",
    "AutoModelForSeq2SeqLM": "modeling_lstm_seq2seq.LstmForConditionalGeneration",
}
TWO_VOCABULARIES_MAP = SEQ2SEQ_MAP | {"AutoTokenizer": ["tokenization_lstm.LstmSeq2SeqTokenizer", None]}
MAPS = {
    "model": MAP,
    "classifier": MAP,
    "bidirectional_classifier": ENCODER_MAP,
    "tagger": MAP,
    "language_model": MAP,
    "language_model_of_many_words": MAP,
    "seq2seq_model": SEQ2SEQ_MAP,
    "summarizer": SEQ2SEQ_MAP,
    "translator": TWO_VOCABULARIES_MAP,
    "encoder": ENCODER_MAP,
}
HEADS = {
    "model": "AutoModel",
    "classifier": "AutoModelForSequenceClassification",
    "bidirectional_classifier": "AutoModelForSequenceClassification",
    "tagger": "AutoModelForTokenClassification",
    "language_model": "AutoModelForCausalLM",
    "language_model_of_many_words": "AutoModelForCausalLM",
    "seq2seq_model": "AutoModel",
    "summarizer": "AutoModelForSeq2SeqLM",
    "translator": "AutoModelForSeq2SeqLM",
    "encoder": "AutoModel",
}
GENERATING = ["language_model", "language_model_of_many_words", "summarizer", "translator"]


def train(corpus: list[str], **arguments: Any) -> LstmTokenizer:
    settings = {"min_frequency": 1, "show_progress": False, "add_eos": True}
    return LstmTokenizer.train_from_iterator(corpus, vocab_size=100, **settings | arguments)


def make_encoder(model_class: type, tokenizer: LstmTokenizer, **fields: Any) -> LstmModel:
    sizes = {"vocab_size": len(tokenizer), "embedding_size": 5, "hidden_size": 6, "num_hidden_layers": 2}
    return randomize(model_class(LstmConfig(**sizes, num_labels=3, **fields))).eval()


def make_seq2seq(model_class: type, tokenizer: LstmTokenizer, **fields: Any) -> LstmSeq2SeqModel:
    target = getattr(tokenizer, "target_tokenizer", tokenizer)
    sizes = {"encoder_hidden_size": 6, "decoder_hidden_size": 8, "attention_type": "luong_general"}
    embeddings = {"encoder_embedding_size": 5, "decoder_embedding_size": 5, "vocab_size": len(target)}
    return randomize(model_class(LstmSeq2SeqConfig(**sizes | embeddings | fields)), seed=39).eval()


def save_all(folder: Path) -> None:
    """Saves one model of every class, each with its tokenizer."""
    tokenizer = train(GERMAN, add_eos=False)
    both = train(GERMAN + ENGLISH)
    ngrams = {"ngram_orders": [2], "ngram_buckets": 7, "classifier_ngram_orders": [1], "classifier_ngram_buckets": 11}
    models = {
        "model": make_encoder(LstmModel, tokenizer),
        "classifier": make_encoder(LstmForSequenceClassification, tokenizer),
        "bidirectional_classifier": make_encoder(
            LstmForSequenceClassification, tokenizer, bidirectional=True, classifier_pooling="attention", **ngrams
        ),
        "tagger": make_encoder(LstmForTokenClassification, tokenizer),
        "language_model": make_encoder(LstmForCausalLM, tokenizer, tie_word_embeddings=True),
        "language_model_of_many_words": make_encoder(
            LstmForCausalLM, tokenizer, embedding_rank=3, adaptive_softmax_cutoffs=[7]
        ),
        "seq2seq_model": make_seq2seq(LstmSeq2SeqModel, both),
        "summarizer": make_seq2seq(LstmForConditionalGeneration, both, copy_attention=True),
    }
    for name, model in models.items():
        model.save_pretrained(folder / name)
        (both if model.config.is_encoder_decoder else tokenizer).save_pretrained(folder / name)
    two = LstmSeq2SeqTokenizer.from_tokenizers(train(GERMAN), train(ENGLISH))
    fields = {"encoder_vocab_size": len(two), "share_embeddings": False, "decoder_embedding_size": 7}
    translator = make_seq2seq(LstmForConditionalGeneration, two, **fields)
    LstmTranslationPipeline(model=translator, tokenizer=two, device="cpu").save_pretrained(folder / "translator")
    translator.get_encoder().save_pretrained(folder / "encoder")
    two.source_tokenizer.save_pretrained(folder / "encoder")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("remote") / "checkpoints"
    save_all(folder)
    return folder


@pytest.fixture(scope="module")
def remote(folder: Path) -> dict[str, Any]:
    """What the program found, in a process that has transformers only."""
    results, home = folder.parent / "results.json", folder.parent / "home"
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "HF_HUB_CACHE")}
    environment |= {"HF_HOME": str(home), "HF_MODULES_CACHE": str(home / "modules"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(PROGRAM), str(folder), str(results)]
    process = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=home)
    assert process.returncode == 0, process.stderr
    return json.loads(results.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def program() -> Any:
    """The program's functions, in this process and so with the installed package."""
    path = list(sys.meta_path)
    from tests.hub import remote_program

    sys.meta_path[:] = path
    return remote_program


def read_config(folder: Path, name: str = "config.json") -> dict[str, Any]:
    return json.loads((folder / name).read_text(encoding="utf-8"))


def assert_same(found: Any, expected: Any) -> None:
    """Compares nested results, whose numbers may differ by rounding."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name in expected:
            assert_same(found[name], expected[name])
    elif isinstance(expected, list) and expected and isinstance(expected[0], (list, dict)):
        assert len(found) == len(expected)
        for pair in zip(found, expected):
            assert_same(*pair)
    elif isinstance(expected, float) or (isinstance(expected, list) and expected and isinstance(expected[0], float)):
        torch.testing.assert_close(torch.tensor(found), torch.tensor(expected))
    else:
        assert found == expected


@pytest.mark.parametrize("name", MAPS)
def test_saved_configuration_names_every_class(name, folder):
    assert read_config(folder / name)["auto_map"] == MAPS[name]
    references = [value[0] if isinstance(value, list) else value for value in MAPS[name].values()]
    for module in {reference.split(".")[0] for reference in references}:
        source = folder / name / f"{module}.py"
        assert source.is_file()
        for needed in get_relative_import_files(source):
            assert Path(needed).is_file(), needed


@pytest.mark.parametrize("name", MAPS)
def test_saved_files_are_complete(name, folder):
    names = {path.name for path in (folder / name).iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"} <= names
    assert ("generation_config.json" in names) == (name in GENERATING)
    for code in ("modeling_lstm_seq2seq.py", "pipelines_lstm.py"):
        assert (code in names) == ("Seq2Seq" in str(MAPS[name]))


def test_package_was_not_imported(remote):
    assert remote["imported"] == []


@pytest.mark.parametrize("name", MAPS)
def test_every_class_is_loaded_where_the_package_is_missing(name, folder, remote, program):
    found = remote["models"][name]
    assert {auto: result["class"] for auto, result in found.items()} == {
        auto: value.split(".")[1] for auto, value in MAPS[name].items() if auto.startswith("AutoModel")
    }
    head = found[HEADS[name]]
    assert head["missing"] == head["unexpected"] == []
    assert ("scores" in head) == (HEADS[name] != "AutoModel")
    assert ("generated" in head) == (name in GENERATING)
    assert_same(found, program.run_all(folder / name))
    for result in found.values():
        assert_same(result["states"], found["AutoModel"]["states"])


@pytest.mark.parametrize("name", GENERATING)
def test_generation_is_the_same_with_and_without_cache(name, remote):
    generated = remote["models"][name][HEADS[name]]["generated"]
    assert generated["greedy"] == generated["no_cache"]
    assert len(set(generated["greedy"])) == 2


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("model", "feature-extraction"),
        ("classifier", "text-classification"),
        ("tagger", "token-classification"),
        ("language_model", "text-generation"),
        ("translator", "lstm-translation"),
    ],
)
def test_pipelines_run_where_the_package_is_missing(name, task, folder, remote, program):
    assert_same(remote["pipelines"][name], program.run_pipeline(task, folder / name))


def test_pipeline_is_found_by_its_saved_name(remote):
    assert remote["named_pipeline"] == remote["pipelines"]["translator"]


@pytest.mark.parametrize("name", MAPS)
def test_model_saved_again_is_complete(name, folder, remote):
    again = folder.parent / "again" / name
    assert_same(remote["again"][name], remote["models"][name])
    settings = "tokenizer_config.json"
    # transformers adds how the tokenizer was loaded.
    expected = read_config(folder / name, settings)
    assert {key: read_config(again, settings).get(key) for key in expected} == expected
    for path in (folder / name).iterdir():
        if path.name != settings:
            assert (again / path.name).read_bytes() == path.read_bytes(), path.name


def test_encoder_saved_where_the_package_is_missing_is_an_ordinary_model(folder, remote):
    found = remote["again"]["encoder_again"]
    assert read_config(folder / "encoder")["architectures"] == ["LstmModel"]
    assert found["AutoModel"]["class"] == "LstmModel"
    assert_same(found, remote["models"]["encoder"])
    assert read_config(folder.parent / "again" / "encoder_again") == read_config(folder / "encoder")


def test_encoder_is_loaded_into_heads_with_new_classifiers_only(remote):
    found = remote["models"]["encoder"]
    for name in ("AutoModelForSequenceClassification", "AutoModelForTokenClassification"):
        assert found[name]["missing"] == ["classifier.bias", "classifier.weight"]
        assert found[name]["unexpected"] == []


def test_model_is_fine_tuned_where_the_package_is_missing(folder, remote, program):
    tuned = remote["fine_tuned"]
    assert tuned["has_changed"]
    assert_same(tuned["saved"]["scores"], tuned["scores"])
    checkpoint = folder.parent / "tuned" / "checkpoint-1"
    assert read_config(checkpoint)["auto_map"] == MAP
    assert_same(program.run_model(checkpoint, HEADS["classifier"]), tuned["saved"])


def test_code_is_refused_without_trust_where_the_package_is_missing(remote):
    assert "trust_remote_code=True" in remote["without_trust"]


@pytest.mark.parametrize("name", MAPS)
def test_installed_classes_need_no_trust(name, folder):
    path = folder / name
    references = read_config(path)["auto_map"]
    for auto, reference in references.items():
        expected = getattr(hf_lstm, (reference[0] if isinstance(reference, list) else reference).split(".")[1])
        assert type(getattr(transformers, auto).from_pretrained(path)) is expected
        assert type(getattr(transformers, auto).from_pretrained(path, trust_remote_code=True)) is expected


def test_configuration_alone_is_saved_with_its_code(tmp_path):
    for config in (LstmConfig(hidden_size=6), LstmSeq2SeqConfig(decoder_layers=2)):
        config.save_pretrained(tmp_path)
        name = type(config).__name__
        assert read_config(tmp_path)["auto_map"] == {"AutoConfig": f"configuration_lstm.{name}"}
        assert (tmp_path / "configuration_lstm.py").is_file()
        assert type(AutoConfig.from_pretrained(tmp_path)) is type(config)


def test_entries_of_others_stay_in_the_map(tmp_path):
    model = make_encoder(LstmModel, train(GERMAN))
    model.config.auto_map = {"AutoModelForMultipleChoice": "theirs.Choice", "AutoModel": "user/repository--a.B"}
    model.save_pretrained(tmp_path)
    assert read_config(tmp_path)["auto_map"] == {"AutoModelForMultipleChoice": "theirs.Choice", **MAP}


def test_entry_of_a_language_model_goes_where_the_model_is_none_any_more(tmp_path):
    tokenizer = train(GERMAN)
    make_encoder(LstmForCausalLM, tokenizer).save_pretrained(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    config.bidirectional = True
    LstmForSequenceClassification(config).save_pretrained(tmp_path / "classifier")
    assert read_config(tmp_path / "classifier")["auto_map"] == ENCODER_MAP


def test_derived_class_is_saved_as_the_class_it_comes_from(tmp_path, monkeypatch):
    """As FSDP does, which gives a model another class and saves it as the one it was."""
    monkeypatch.setattr(LstmForSequenceClassification, "_auto_class", "AutoModelForSequenceClassification")
    derived = type("FSDPLstmForSequenceClassification", (LstmForSequenceClassification,), {"__module__": "torch"})
    model = make_encoder(derived, train(GERMAN))
    model.save_pretrained(tmp_path)
    assert read_config(tmp_path)["auto_map"] == MAP
    assert read_config(tmp_path)["architectures"] == ["LstmForSequenceClassification"]
    assert not (tmp_path / "__init__.py").exists()
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert torch.equal(loaded.classifier.weight, model.classifier.weight)


def test_other_processes_write_no_code(tmp_path):
    make_encoder(LstmModel, train(GERMAN)).save_pretrained(tmp_path, is_main_process=False)
    assert not list(tmp_path.glob("*.py"))
    assert not (tmp_path / "config.json").exists()


def test_another_tokenizer_is_not_taken_for_ours(tmp_path):
    tokenizer = train(GERMAN)
    make_encoder(LstmModel, tokenizer).save_pretrained(tmp_path)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer._tokenizer, unk_token="<unk>").save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert not isinstance(loaded, LstmTokenizer)
    assert loaded("zwei hunde")["input_ids"] == tokenizer("zwei hunde")["input_ids"]
