"""Tests of the tokenizer with two vocabularies, and of target texts with one."""

import copy
import json
import os
import pickle
import subprocess
import sys

import datasets
import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import AutoTokenizer, DataCollatorForSeq2Seq, TokenizersBackend

import hf_lstm  # noqa: F401  (registers the tokenizers with AutoTokenizer)
from hf_lstm.models.configuration_lstm import LstmSeq2SeqConfig
from hf_lstm.models.tokenization_lstm import ALGORITHMS, LstmSeq2SeqTokenizer, LstmTokenizer

GERMAN = ["Ein Hund läuft im Gras.", "Zwei Hunde spielen.", "Der Mann liest ein Buch", "ein Kind schläft"]
ENGLISH = ["A dog runs in the grass.", "Two dogs are playing.", "The man reads a book", "a child is asleep today"]


def train(corpus: list[str], algorithm: str = "word", **arguments) -> LstmTokenizer:
    settings = {"vocab_size": 400, "min_frequency": 1, "show_progress": False, **arguments}
    return LstmTokenizer.train_from_iterator(corpus, algorithm=algorithm, **settings)


@pytest.fixture
def german() -> LstmTokenizer:
    return train(GERMAN, add_eos=True, model_max_length=11)


@pytest.fixture
def english() -> LstmTokenizer:
    return train(ENGLISH, add_bos=True, add_eos=True, model_max_length=13)


@pytest.fixture
def tokenizer(german, english) -> LstmSeq2SeqTokenizer:
    return LstmSeq2SeqTokenizer.from_tokenizers(german, english)


def check_sides(tokenizer: LstmSeq2SeqTokenizer, german: LstmTokenizer, english: LstmTokenizer) -> None:
    """Compares what both sides encode and decode with the tokenizers that they were made of."""
    assert tokenizer.get_vocab() == german.get_vocab()
    assert tokenizer.target_tokenizer.get_vocab() == english.get_vocab()
    for source, target in zip(GERMAN, ENGLISH):
        encoding = tokenizer(source, text_target=target)
        assert encoding == {**german(source), "labels": english(target)["input_ids"]}
        assert tokenizer(text_target=target) == english(target)
        assert tokenizer.decode(encoding["labels"]) == english.decode(encoding["labels"])
        assert tokenizer.source_tokenizer.decode(encoding["input_ids"]) == german.decode(encoding["input_ids"])


def test_each_side_encodes_and_decodes_by_itself(tokenizer, german, english):
    assert len(german) != len(english)
    check_sides(tokenizer, german, english)
    assert len(tokenizer) == len(german)
    assert len(tokenizer.target_tokenizer) == len(english)
    batch = tokenizer(GERMAN, text_target=ENGLISH)
    assert batch["input_ids"] == german(GERMAN)["input_ids"]
    assert batch["labels"] == tokenizer(text_target=ENGLISH)["input_ids"] == english(ENGLISH)["input_ids"]
    assert set(batch) == {"input_ids", "attention_mask", "labels"}


def test_decoding_uses_the_target_vocabulary_unless_told(tokenizer, english):
    labels = tokenizer(text_target=ENGLISH)["input_ids"]
    expected = [text.lower() for text in ENGLISH]
    assert tokenizer.batch_decode(labels, skip_special_tokens=True) == expected
    assert tokenizer.decode(labels, skip_special_tokens=True) == expected
    assert tokenizer.decode(torch.tensor(labels[0]), skip_special_tokens=True) == expected[0]
    ids = tokenizer(GERMAN)["input_ids"]
    expected = [text.lower() for text in GERMAN]
    assert tokenizer.source_tokenizer.batch_decode(ids, skip_special_tokens=True) == expected
    assert tokenizer.batch_decode(ids, skip_special_tokens=True, use_source_tokenizer=True) == expected
    assert tokenizer.batch_decode(ids, skip_special_tokens=True) != expected


def test_tokens_of_both_sides_are_available_by_id(tokenizer):
    encoding = tokenizer("Ein Hund", text_target="A dog")
    source = ["ein", "hund", "</s>"]
    assert tokenizer.convert_ids_to_tokens(encoding["input_ids"]) == source
    assert tokenizer.source_tokenizer.convert_ids_to_tokens(encoding["input_ids"]) == source
    assert tokenizer.target_tokenizer.convert_ids_to_tokens(encoding["labels"]) == ["<s>", "a", "dog", "</s>"]
    assert type(tokenizer.source_tokenizer) is type(tokenizer.target_tokenizer) is LstmTokenizer


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_both_vocabularies_are_saved_in_one_folder(algorithm, tmp_path):
    german = train(GERMAN, algorithm, add_bos=True, model_max_length=11)
    english = train(ENGLISH, "char", add_eos=True, lowercase=False, model_max_length=13)
    LstmSeq2SeqTokenizer.from_tokenizers(german, english).save_pretrained(tmp_path)
    assert {"tokenizer.json", "target_tokenizer.json", "tokenizer_config.json"} <= set(os.listdir(tmp_path))
    reloaded = AutoTokenizer.from_pretrained(tmp_path)
    assert type(reloaded) is LstmSeq2SeqTokenizer
    check_sides(reloaded, german, english)
    assert (reloaded.add_bos_token, reloaded.add_eos_token) == (True, False)
    assert (reloaded.target_tokenizer.add_bos_token, reloaded.target_tokenizer.add_eos_token) == (False, True)
    assert (reloaded.model_max_length, reloaded.target_tokenizer.model_max_length) == (11, 13)


@pytest.mark.parametrize("prefix", ["", "first-"])
def test_saving_returns_the_files_of_both_vocabularies(prefix, tokenizer, tmp_path):
    files = tokenizer.save_pretrained(tmp_path, filename_prefix=prefix.removesuffix("-") or None)
    names = {f"{prefix}{name}" for name in ("tokenizer.json", "target_tokenizer.json", "tokenizer_config.json")}
    assert {os.path.basename(file) for file in files} == names <= set(os.listdir(tmp_path))


def test_saving_what_was_loaded_changes_nothing(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path / "once")
    LstmSeq2SeqTokenizer.from_pretrained(tmp_path / "once").save_pretrained(tmp_path / "twice")
    for path in (tmp_path / "once").iterdir():
        saved = (tmp_path / "twice" / path.name).read_text()
        if path.name == "tokenizer_config.json":
            # What transformers adds to every loaded tokenizer.
            added = {"is_local": True, "local_files_only": True}
            assert json.loads(saved) == json.loads(path.read_text()) | added
        else:
            assert saved == path.read_text(), path.name


@pytest.mark.parametrize("shared", [True, False])
def test_class_is_found_beside_the_configuration_of_a_model(shared, tokenizer, german, tmp_path):
    LstmSeq2SeqConfig().save_pretrained(tmp_path)
    (german if shared else tokenizer).save_pretrained(tmp_path)
    reloaded = AutoTokenizer.from_pretrained(tmp_path)
    assert type(reloaded) is (LstmTokenizer if shared else LstmSeq2SeqTokenizer)
    assert reloaded(GERMAN) == german(GERMAN)


def test_changes_to_either_side_are_saved(tokenizer, tmp_path):
    tokenizer.padding_side = "left"
    tokenizer.add_bos_token = True
    tokenizer.add_tokens(["neu"])
    tokenizer.target_tokenizer.truncation_side = "left"
    tokenizer.target_tokenizer.add_bos_token = False
    tokenizer.target_tokenizer.add_tokens(["fresh", "new"])
    tokenizer.save_pretrained(tmp_path)
    reloaded = AutoTokenizer.from_pretrained(tmp_path)
    assert (reloaded.padding_side, reloaded.target_tokenizer.padding_side) == ("left", "right")
    assert (reloaded.truncation_side, reloaded.target_tokenizer.truncation_side) == ("right", "left")
    for given in (tokenizer, reloaded):
        encoding = given("neu", text_target="fresh new")
        assert given.convert_ids_to_tokens(encoding["input_ids"]) == ["<s>", "neu", "</s>"]
        assert given.target_tokenizer.convert_ids_to_tokens(encoding["labels"]) == ["fresh", "new", "</s>"]


def test_arguments_of_from_pretrained_concern_the_source(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    reloaded = AutoTokenizer.from_pretrained(tmp_path, add_bos_token=True, model_max_length=5)
    assert tokenizer.convert_ids_to_tokens(reloaded("ein hund")["input_ids"]) == ["<s>", "ein", "hund", "</s>"]
    assert (reloaded.model_max_length, reloaded.target_tokenizer.model_max_length) == (5, 13)


def test_special_tokens_of_both_sides_are_kept(german, english, tmp_path):
    for side in (german, english):
        side.add_special_tokens({"mask_token": "<mask>", "extra_special_tokens": ["<2en>"]})
    english.split_special_tokens = True
    tokenizer = LstmSeq2SeqTokenizer.from_tokenizers(german, english)
    tokenizer.save_pretrained(tmp_path)
    reloaded = AutoTokenizer.from_pretrained(tmp_path)
    text = "ein <mask> <2en> hund"
    for pair in (tokenizer, reloaded):
        assert pair.mask_token == pair.target_tokenizer.mask_token == "<mask>"
        assert pair.all_special_tokens == german.all_special_tokens
        assert pair.target_tokenizer.all_special_tokens == english.all_special_tokens
        assert not pair.split_special_tokens and pair.target_tokenizer.split_special_tokens
        assert pair(text)["input_ids"] == german(text)["input_ids"]
        assert pair(text_target=text)["input_ids"] == english(text)["input_ids"]
        assert pair.source_tokenizer.decode(german(text)["input_ids"], skip_special_tokens=True) == "ein hund"


def test_both_sides_keep_whether_they_remove_spaces(tmp_path):
    german, english = train(["hund , kind"], "char"), train(["dog , child"], "char")
    german.clean_up_tokenization_spaces = english.clean_up_tokenization_spaces = True
    tokenizer = LstmSeq2SeqTokenizer.from_tokenizers(german, english)
    tokenizer.save_pretrained(tmp_path)
    for pair in (tokenizer, AutoTokenizer.from_pretrained(tmp_path)):
        encoding = pair("hund , kind", text_target="dog , child")
        assert pair.source_tokenizer.decode(encoding["input_ids"]) == "hund, kind"
        assert pair.decode(encoding["labels"]) == "dog, child"


def test_both_sides_are_copies(german, english):
    tokenizer = LstmSeq2SeqTokenizer.from_tokenizers(german, english)
    tokenizer.add_tokens(["neu"])
    tokenizer.target_tokenizer.add_tokens(["new"])
    assert "neu" not in german.get_vocab()
    assert "new" not in english.get_vocab()
    same = LstmSeq2SeqTokenizer.from_tokenizers(german, german)
    same.target_tokenizer.add_eos_token = False
    assert same.add_eos_token is True
    assert same("ein", text_target="ein")["labels"] == same("ein")["input_ids"][:1]


def test_source_alone_is_saved_as_a_tokenizer_of_one_vocabulary(tokenizer, german, tmp_path):
    tokenizer.save_pretrained(tmp_path / "both")
    tokenizer.source_tokenizer.save_pretrained(tmp_path / "source")
    german.save_pretrained(tmp_path / "german")
    assert set(os.listdir(tmp_path / "source")) == set(os.listdir(tmp_path / "german"))
    expected = json.loads((tmp_path / "german" / "tokenizer_config.json").read_text())
    saved = json.loads((tmp_path / "source" / "tokenizer_config.json").read_text())
    assert saved == {**expected, "padding_side": "right", "truncation_side": "right"}
    assert type(AutoTokenizer.from_pretrained(tmp_path / "source")) is LstmTokenizer


def test_saved_tokenizer_loads_where_the_package_is_missing(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path / "checkpoint")
    program = (
        "import sys; sys.modules['hf_lstm'] = None\n"
        "from transformers import AutoTokenizer\n"
        f"path, again = {str(tmp_path / 'checkpoint')!r}, {str(tmp_path / 'again')!r}\n"
        "AutoTokenizer.from_pretrained(path, trust_remote_code=True).save_pretrained(again)\n"
        "tokenizer = AutoTokenizer.from_pretrained(again, trust_remote_code=True)\n"
        "batch = tokenizer('Ein Hund', text_target='A dog')\n"
        "print(type(tokenizer).__name__, dict(batch), tokenizer.decode(batch['labels']))\n"
    )
    environment = {"HF_MODULES_CACHE": str(tmp_path / "modules"), "HF_HUB_OFFLINE": "1", "HOME": str(tmp_path)}
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    expected = tokenizer("Ein Hund", text_target="A dog")
    assert result.stdout.strip() == f"LstmSeq2SeqTokenizer {dict(expected)} <s> a dog </s>", result.stderr


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_copies_and_pickles_hold_both_sides(copied, tokenizer, german, english):
    check_sides(copied(tokenizer), german, english)
    check_sides(copied(copied(tokenizer)), german, english)
    assert copied(tokenizer.source_tokenizer)(GERMAN) == german(GERMAN)


@pytest.mark.parametrize("num_proc", [None, 2])
def test_datasets_are_encoded_with_a_steady_hash(num_proc, tokenizer, english, tmp_path):
    data = datasets.Dataset.from_dict({"de": GERMAN, "en": ENGLISH})

    def encode(rows):
        return tokenizer(rows["de"], text_target=rows["en"], truncation=True)

    before = datasets.fingerprint.Hasher.hash(tokenizer)
    encoded = data.map(encode, batched=True, num_proc=num_proc, cache_file_name=str(tmp_path / "encoded.arrow"))
    assert encoded["labels"][:] == english(ENGLISH)["input_ids"]
    tokenizer(GERMAN[0], text_target=ENGLISH[0])
    assert datasets.fingerprint.Hasher.hash(tokenizer) == before


def test_padding_and_truncation_hold_for_both_sides(tokenizer, german, english):
    batch = tokenizer(GERMAN, text_target=ENGLISH, padding=True, return_tensors="pt")
    assert torch.equal(batch["labels"], english(ENGLISH, padding=True, return_tensors="pt")["input_ids"])
    assert torch.equal(batch["input_ids"], german(GERMAN, padding=True, return_tensors="pt")["input_ids"])
    batch = tokenizer(GERMAN, text_target=ENGLISH, truncation=True, max_length=4)
    assert {len(ids) for ids in batch["input_ids"]} == {len(ids) for ids in batch["labels"]} == {4}
    batch = tokenizer(GERMAN, text_target=ENGLISH, truncation=True, max_length=4, max_target_length=3)
    assert ({len(ids) for ids in batch["input_ids"]}, {len(ids) for ids in batch["labels"]}) == ({4}, {3})
    assert {len(ids) for ids in tokenizer(text_target=ENGLISH, truncation=True, max_target_length=3)["input_ids"]} == {
        3
    }
    long = "hund " * 30
    batch = tokenizer(long, text_target=long, truncation=True)
    assert (len(batch["input_ids"]), len(batch["labels"])) == (11, 13)


def test_collator_of_transformers_pads_both_sides(tokenizer, german, english):
    features = [dict(tokenizer(source, text_target=target)) for source, target in zip(GERMAN, ENGLISH)]
    batch = DataCollatorForSeq2Seq(tokenizer)(features)
    assert torch.equal(batch["input_ids"], german(GERMAN, padding=True, return_tensors="pt")["input_ids"])
    labels = english(ENGLISH, padding=True, return_tensors="pt")
    assert torch.equal(batch["labels"], labels["input_ids"].masked_fill(labels["attention_mask"] == 0, -100))


def test_wrong_target_leaves_the_source_as_it_was(tokenizer, german):
    with pytest.raises(ValueError, match="text input must be of type"):
        tokenizer("Ein Hund", text_target=7)
    assert tokenizer("Ein Hund") == german("Ein Hund")
    assert tokenizer.tokenize("Ein Hund") == ["ein", "hund"]
    with pytest.raises(ValueError, match="`text` or `text_target`"):
        tokenizer()


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize(
    ("vocabulary", "problem"),
    [
        ({"<pad>": 0, "<unk>": 1, "<s>": 2, "a": 3}, "lacks the special token '</s>'.*id 3"),
        ({"<unk>": 0, "<pad>": 1, "<s>": 2, "</s>": 3}, "has '<pad>' under the id 1.*id 0"),
    ],
)
def test_vocabulary_without_a_special_token_is_refused(side, vocabulary, problem, english):
    other = TokenizersBackend(tokenizer_object=Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>")))
    sides = (other, english) if side == "source" else (english, other)
    with pytest.raises(ValueError, match=f"The {side} vocabulary {problem}"):
        LstmSeq2SeqTokenizer.from_tokenizers(*sides)


def test_saved_target_without_a_special_token_is_refused(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    Tokenizer(models.WordLevel({"<pad>": 0, "a": 1}, unk_token="a")).save(str(tmp_path / "target_tokenizer.json"))
    with pytest.raises(ValueError, match="The target vocabulary lacks the special token '<unk>'"):
        LstmSeq2SeqTokenizer.from_pretrained(tmp_path)


def test_target_that_is_left_out_is_warned_of(german, tokenizer, tmp_path, caplog):
    tokenizer.save_pretrained(tmp_path / "both")
    german.save_pretrained(tmp_path / "one")
    LstmSeq2SeqTokenizer.from_pretrained(tmp_path / "both").source_tokenizer.save_pretrained(tmp_path / "source")
    for folder in ("one", "source"):
        LstmTokenizer.from_pretrained(tmp_path / folder)
    assert "second vocabulary" not in caplog.text
    assert LstmTokenizer.from_pretrained(tmp_path / "both")("hund")["input_ids"] == tokenizer("hund")["input_ids"]
    assert "both' has a second vocabulary for targets, which LstmTokenizer does not read" in caplog.text


def test_missing_target_is_named(german, tmp_path):
    german.save_pretrained(tmp_path)
    with pytest.raises(OSError, match="no target_tokenizer.json.*LstmTokenizer"):
        LstmSeq2SeqTokenizer.from_pretrained(tmp_path)
    with pytest.raises(TypeError, match="target tokenizer 'english' must be an LstmTokenizer"):
        LstmSeq2SeqTokenizer.from_tokenizers(german, "english")
    lonely = LstmSeq2SeqTokenizer.train_from_iterator(GERMAN, min_frequency=1, show_progress=False)
    assert lonely.source_tokenizer("Hund") == lonely("Hund")
    for call in (
        lambda: lonely(text_target="dog"),
        lambda: lonely.decode([4]),
        lambda: lonely.save_pretrained(tmp_path),
    ):
        with pytest.raises(ValueError, match="no target vocabulary.*from_tokenizers"):
            call()


def test_one_vocabulary_encodes_targets_as_sources():
    tokenizer = train(GERMAN + ENGLISH, add_eos=True)
    encoding = tokenizer(GERMAN, text_target=ENGLISH, truncation=True, max_length=5, max_target_length=4)
    assert encoding["input_ids"] == tokenizer(GERMAN, truncation=True, max_length=5)["input_ids"]
    assert encoding["labels"] == tokenizer(ENGLISH, truncation=True, max_length=4)["input_ids"]
    assert tokenizer(text_target=ENGLISH) == tokenizer(ENGLISH)


@pytest.mark.parametrize("load", [AutoTokenizer.from_pretrained, LstmTokenizer.from_pretrained])
def test_switch_given_to_from_pretrained_keeps_the_other_switch(load, tmp_path):
    train(GERMAN, add_eos=True).save_pretrained(tmp_path)
    reloaded = load(tmp_path, add_bos_token=True)
    assert reloaded.convert_ids_to_tokens(reloaded("hund")["input_ids"]) == ["<s>", "hund", "</s>"]
    assert (reloaded.add_bos_token, reloaded.add_eos_token) == (True, True)
    reloaded = load(tmp_path, add_eos_token=False)
    assert reloaded.convert_ids_to_tokens(reloaded("hund")["input_ids"]) == ["hund"]
    assert reloaded.add_eos_token is False


def test_switches_are_read_from_a_tokenizer_saved_after_padding(tmp_path):
    tokenizer = train(GERMAN, add_eos=True)
    tokenizer("hund", padding="max_length", max_length=7)
    tokenizer.save_pretrained(tmp_path)
    reloaded = AutoTokenizer.from_pretrained(tmp_path)
    assert reloaded.add_eos_token is True
    reloaded.add_bos_token = True
    assert reloaded("hund")["input_ids"] == [2, tokenizer.get_vocab()["hund"], 3]
