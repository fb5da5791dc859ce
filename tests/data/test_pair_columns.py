import json

import pytest
from datasets import Dataset, Features, Translation, Value

from hf_lstm.data.checks import InputError
from hf_lstm.data.pairs import load_pairs


@pytest.fixture
def cache(tmp_path):
    return str(tmp_path / "cache")


def write_json(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def translations(*rows):
    return Dataset.from_dict({"id": [str(i) for i in range(len(rows))], "translation": list(rows)})


@pytest.mark.parametrize("feature", ["struct", "translation", "json", "json of unequal rows"])
def test_translation_column_gives_both_languages(tmp_path, cache, feature):
    rows = [{"translation": {"de": "ein", "en": "one", "fr": "un"}}, {"translation": {"de": "zwei", "en": "two"}}]
    if feature == "struct":
        dataset = Dataset.from_list(rows)
    elif feature == "translation":
        full = [{**row["translation"], "fr": "x"} for row in rows]
        features = Features({"translation": Translation(["de", "en", "fr"])})
        dataset = Dataset.from_dict({"translation": full}, features=features)
    else:
        if feature == "json":
            rows[1]["translation"]["fr"] = "deux"
        dataset = write_json(tmp_path / "a.jsonl", rows)
    pairs = load_pairs(dataset, "train", source_lang="en", target_lang="de", cache_dir=cache)
    assert pairs.to_dict() == {"source": ["one", "two"], "target": ["ein", "zwei"]}


def test_missing_language_raises_with_the_nearest():
    dataset = translations({"de": "ein", "en_XX": "one"})
    with pytest.raises(InputError, match="has no language 'en_xx', only 'de', 'en_XX'.*'en_XX'.*--target_lang"):
        load_pairs(dataset, "test", source_lang="de", target_lang="en_xx")
    with pytest.raises(InputError, match="holds 'de', 'en_XX'. Say which one is the source with --source_lang"):
        load_pairs(dataset, "test")
    with pytest.raises(InputError, match="Say which one is the target with --target_lang"):
        load_pairs(dataset, "test", source_lang="de")


def test_translation_of_another_form_raises(tmp_path, cache):
    path = write_json(tmp_path / "a.jsonl", [{"translation": {"de": "a"}}, {"translation": {"en": "a"}}])
    path.write_text(path.read_text() + '{"translation": ["b", 3]}\n')
    with pytest.raises(InputError, match=r"column 'translation' of the train data holds .* must hold a text for each"):
        load_pairs(path, "train", source_lang="de", target_lang="en", cache_dir=cache)
    with pytest.raises(
        InputError, match=r"The target in column 'translation', language 'en' is \['b'\], but must be a"
    ):
        load_pairs(translations({"de": "a", "en": ["b"]}), "train", source_lang="de", target_lang="en")


def test_translation_to_predict_may_lack_the_target():
    dataset = translations({"de": "ein"}, {"de": "zwei"})
    for target in (None, "en"):
        pairs = load_pairs(dataset, "predict", source_lang="de", target_lang=target, needs_target=False)
        assert pairs.to_dict() == {"source": ["ein", "zwei"]}


def test_columns_called_by_the_languages_follow_the_direction():
    dataset = Dataset.from_dict({"en": ["one", "two"], "zh": ["一", "二"]})
    pairs = load_pairs(dataset, "train", source_lang="zh", target_lang="en")
    assert pairs.to_dict() == {"source": ["一", "二"], "target": ["one", "two"]}
    with pytest.raises(InputError, match="has no column 'zho', only 'en', 'zh'. Did you mean 'zh'.*--target_lang"):
        load_pairs(dataset, "train", source_lang="en", target_lang="zho")
    with pytest.raises(InputError, match="say which one is the target with --target_lang"):
        load_pairs(dataset, "train", source_lang="en")
    sources = load_pairs(
        dataset.remove_columns("zh"), "predict", source_lang="en", target_lang="zh", needs_target=False
    )
    assert sources.to_dict() == {"source": ["one", "two"]}


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (("id", "summary", "document"), ("document", "summary")),
        (("highlights", "article", "id"), ("article", "highlights")),
        (("label", "text", "label_text"), ("text", "label_text")),
        (("summary", "text", "label_text"), ("text", "summary")),
        (("question", "reply"), ("question", "reply")),
        (("target", "source", "text", "summary"), ("source", "target")),
    ],
)
def test_usual_columns_are_found(columns, expected):
    dataset = Dataset.from_dict({name: [f"a {name}", f"b {name}"] for name in columns})
    source, target = expected
    assert load_pairs(dataset, "train").to_dict() == {
        "source": [f"a {source}", f"b {source}"],
        "target": [f"a {target}", f"b {target}"],
    }


def test_only_two_columns_of_text_are_taken_in_their_order():
    dataset = Dataset.from_dict({"id": [1, 2], "q": ["a", "b"], "r": ["c", "d"], "tags": [["x"], ["y"]]})
    assert load_pairs(dataset, "train").to_dict() == {"source": ["a", "b"], "target": ["c", "d"]}


def test_text_column_called_translation_is_a_plain_column():
    dataset = Dataset.from_dict({"original": ["a"], "translation": ["b"]})
    assert load_pairs(dataset, "train").to_dict() == {"source": ["a"], "target": ["b"]}


def test_unclear_columns_raise_with_the_flags():
    dataset = Dataset.from_dict({"q": ["a"], "r": ["b"], "s": ["c"]})
    for needs_target in (True, False):
        with pytest.raises(InputError, match="not clear which columns .*'q', 'r', 's'.*--source_column_name and --"):
            load_pairs(dataset, "train", needs_target=needs_target)
    with pytest.raises(InputError, match="not clear which column of the train data goes with 'q'.*--target_column_na"):
        load_pairs(dataset, "train", source_column="q")
    with pytest.raises(InputError, match="not clear which column of the train data goes with 'r'.*--source_column_na"):
        load_pairs(dataset, "train", target_column="r")


def test_named_columns_come_first():
    dataset = Dataset.from_dict({"source": ["a"], "target": ["b"], "n": [7], "translation": [{"de": "x", "en": "y"}]})
    pairs = load_pairs(dataset, "train", source_column="n", target_column="source")
    assert pairs.to_dict() == {"source": ["7"], "target": ["a"]}


def test_one_named_column_finds_its_partner():
    three = Dataset.from_dict({"title": ["a"], "text": ["b"], "summary": ["c"]})
    assert load_pairs(three, "train", target_column="title").to_dict() == {"source": ["b"], "target": ["a"]}
    assert load_pairs(three, "train", source_column="text").to_dict() == {"source": ["b"], "target": ["c"]}
    two = Dataset.from_dict({"q": ["a"], "r": ["b"]})
    assert load_pairs(two, "train", source_column="r").to_dict() == {"source": ["b"], "target": ["a"]}


def test_wrong_column_raises_with_the_nearest_name():
    dataset = Dataset.from_dict({"german": ["a"], "english": ["b"]})
    with pytest.raises(InputError, match="has no column 'germna', .*Did you mean 'german'.*--source_column_name"):
        load_pairs(dataset, "train", source_column="germna", target_column="english")
    with pytest.raises(InputError, match="has no column 'englisch', .*Did you mean 'english'.*--target_column_name"):
        load_pairs(dataset, "test", source_column="german", target_column="englisch")
    with pytest.raises(
        InputError, match="column 'german' of the train data is both source.*autoencode to a program that"
    ):
        load_pairs(dataset, "train", source_column="german", target_column="german")


def test_column_of_lists_is_no_text():
    dataset = Dataset.from_dict({"source": [["a"]], "target": ["b"]})
    with pytest.raises(InputError, match="column 'source' of the train data is of type .*--source_column_name"):
        load_pairs(dataset, "train")


def test_column_of_bytes_is_no_text():
    dataset = Dataset.from_dict({"source": ["a"], "target": [b"b\xff"]})
    with pytest.raises(InputError, match="column 'target' of the train data is of type .*--target_column_name"):
        load_pairs(dataset, "train")
    with pytest.raises(InputError, match=r"The target in column 'translation', language 'en' is b'b', but must be a"):
        load_pairs(translations({"de": "a", "en": b"b"}), "train", source_lang="de", target_lang="en")


def test_texts_to_predict_may_lack_the_named_target():
    dataset = Dataset.from_dict({"q": ["a"], "r": ["b"], "s": ["c"]})
    pairs = load_pairs(dataset, "predict", source_column="r", target_column="t", needs_target=False)
    assert pairs.to_dict() == {"source": ["b"]}


def test_column_called_by_the_target_language_alone_is_not_guessed_to_be_the_target():
    dataset = Dataset.from_dict({"en": ["a dog"], "deu": ["ein Hund"]})
    with pytest.raises(InputError, match="'de'"):
        load_pairs(dataset, "train", source_lang="de", target_lang="en")


def test_usual_partner_of_a_named_column_comes_before_the_only_other_text():
    dataset = Dataset.from_dict({"question": ["one and one?"], "answer": [2], "note": ["easy"]})
    pairs = load_pairs(dataset, "train", source_column="question")
    assert pairs.to_dict() == {"source": ["one and one?"], "target": ["2"]}


def test_named_target_to_predict_needs_a_clear_source():
    dataset = Dataset.from_dict({"a": ["one"], "b": ["two"], "c": ["three"]})
    with pytest.raises(InputError, match="--source_column_name"):
        load_pairs(dataset, "predict", target_column="c", needs_target=False)


@pytest.mark.parametrize(
    "columns", [{"de": ["ein Hund"], "en": ["a dog"]}, {"translation": [{"de": "ein Hund", "en": "a dog"}]}]
)
def test_target_language_to_predict_is_kept_where_it_exists(columns):
    dataset = Dataset.from_dict(columns)
    pairs = load_pairs(dataset, "predict", source_lang="de", target_lang="en", needs_target=False)
    assert pairs.to_dict() == {"source": ["ein Hund"], "target": ["a dog"]}


def test_long_strings_are_texts_too():
    features = Features({"question": Value("large_string"), "reply": Value("large_string")})
    pairs = load_pairs(Dataset.from_dict({"question": ["one"], "reply": ["two"]}, features=features), "train")
    assert pairs.to_list() == [{"source": "one", "target": "two"}]
