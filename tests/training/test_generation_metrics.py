import builtins
import json

import numpy as np
import pytest
import sacrebleu
from rouge_score.rouge_scorer import RougeScorer
from transformers import EvalPrediction

from hf_lstm import LstmTokenizer
from hf_lstm.data.checks import InputError
from hf_lstm.models.tokenization_lstm import LstmSeq2SeqTokenizer
from hf_lstm.training.generation_metrics import (
    BLEU_TOKENIZERS,
    Bleu,
    Chrf,
    ExactMatch,
    Rouge,
    RougeTokenizer,
    bleu_signatures,
    choose_bleu_tokenize,
    generation_metrics,
    score_texts,
    token_accuracy,
)

PREDICTIONS = ["The cats sat on the mat.", "A dog runs in the green park", "Nothing alike"]
REFERENCES = ["the cat was sitting on the mat.", "A dog is running in the green park", "Two men play chess"]
SECOND = ["The cats sat on a mat!", "The dog runs", "One man plays chess"]
CHINESE, CHINESE_REFERENCES = ["我爱北京天安门。", "今天天气很好"], ["我爱北京。", "今天天气不好"]


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    def refuse(*args, **kwargs):
        raise ConnectionError("no network")

    monkeypatch.setattr("socket.socket.connect", refuse)


@pytest.fixture(scope="module")
def tokenizer():
    corpus = ["one two three four five six", "seven"]
    return LstmTokenizer.train_from_iterator(corpus, min_frequency=1, add_eos=True, show_progress=False)


def as_batch(tokenizer, predictions, labels):
    """Writes texts as `generate` and the collator do: start token and padding here, -100 there."""
    rows = [[tokenizer.bos_token_id, *tokenizer(text)["input_ids"]] for text in predictions]
    targets = [tokenizer(text)["input_ids"] for text in labels]
    generated = [row + [tokenizer.pad_token_id] * (9 - len(row)) for row in rows]
    generated[0][-1] = -100  # Trainer pads batches of different lengths by it
    return EvalPrediction(np.array(generated), np.array([row + [-100] * (7 - len(row)) for row in targets]))


@pytest.mark.parametrize("lowercase", [False, True])
def test_bleu_equals_sacrebleu(lowercase):
    result = Bleu(lowercase=lowercase).compute(predictions=PREDICTIONS, references=REFERENCES)
    right = sacrebleu.corpus_bleu(PREDICTIONS, [REFERENCES], lowercase=lowercase)
    assert result["bleu"] == pytest.approx(right.score) and 5 < result["bleu"] < 95
    assert result["signature"] == (
        f"nrefs:1|case:{'lc' if lowercase else 'mixed'}|eff:no|tok:13a|smooth:exp|version:{sacrebleu.__version__}"
    )


@pytest.mark.parametrize("tokenize", BLEU_TOKENIZERS)
def test_bleu_of_each_tokenizer_works_offline(tokenize):
    result = Bleu(tokenize).compute(predictions=CHINESE, references=CHINESE_REFERENCES)
    right = sacrebleu.corpus_bleu(CHINESE, [CHINESE_REFERENCES], tokenize=tokenize)
    assert result["bleu"] == pytest.approx(right.score)
    assert f"tok:{tokenize}|" in result["signature"]


def test_zh_tokenizer_counts_characters():
    zh, words = (Bleu(t).compute(predictions=CHINESE, references=CHINESE_REFERENCES)["bleu"] for t in ("zh", "13a"))
    assert zh > 30 and words == 0


def test_bleu_tokenizer_that_needs_a_download_raises():
    with pytest.raises(InputError, match="`bleu_tokenize` is 'spm', but must be one of '13a', 'zh'.*need downloads"):
        Bleu("spm")
    with pytest.raises(InputError, match="Did you mean 'char'"):
        Bleu("chars")


def test_chrf_equals_sacrebleu():
    result = Chrf().compute(predictions=PREDICTIONS, references=REFERENCES)
    assert result["chrf"] == pytest.approx(sacrebleu.corpus_chrf(PREDICTIONS, [REFERENCES]).score)
    assert "nc:6|nw:0" in result["signature"]
    plus = Chrf(word_order=2, lowercase=True).compute(predictions=PREDICTIONS, references=REFERENCES)["chrf"]
    lower = [[text.lower() for text in texts] for texts in (PREDICTIONS, REFERENCES)]
    assert plus == pytest.approx(sacrebleu.corpus_chrf(lower[0], [lower[1]], word_order=2).score)


@pytest.mark.parametrize("metric_class", [Bleu, Chrf])
def test_several_references_count_for_sacrebleu(metric_class):
    key = metric_class.__name__.lower()
    references = [[first, second] for first, second in zip(REFERENCES, SECOND)]
    result = metric_class().compute(predictions=PREDICTIONS, references=references)
    right = getattr(sacrebleu, f"corpus_{key}")(PREDICTIONS, [REFERENCES, SECOND])
    assert result[key] == pytest.approx(right.score)
    assert result["signature"].startswith("nrefs:2|")


@pytest.mark.parametrize("metric_class", [Bleu, Chrf])
def test_number_of_references_may_differ_between_rows(metric_class):
    references = [REFERENCES[0], [REFERENCES[1], PREDICTIONS[1]], REFERENCES[2]]
    result = metric_class().compute(predictions=PREDICTIONS, references=references)
    assert result["signature"].startswith("nrefs:var|")
    single = metric_class().compute(predictions=PREDICTIONS, references=REFERENCES)
    key = metric_class.__name__.lower()
    assert result[key] > single[key]


@pytest.mark.parametrize("use_stemmer", [True, False])
def test_rouge_of_english_equals_rouge_score(use_stemmer):
    result = Rouge(use_stemmer).compute(predictions=PREDICTIONS, references=REFERENCES)
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=use_stemmer)
    for name in ("rouge1", "rouge2", "rougeL"):
        right = np.mean([scorer.score(r, p)[name].fmeasure for r, p in zip(REFERENCES, PREDICTIONS)])
        assert result[name] == pytest.approx(100 * right) and result[name] > 0
    assert set(result) == {"rouge1", "rouge2", "rougeL"}


def test_stemmer_makes_endings_alike():
    pair = {"predictions": ["running dogs"], "references": ["runs dog"]}
    assert Rouge().compute(**pair)["rouge1"] == pytest.approx(100)
    assert Rouge(use_stemmer=False).compute(**pair)["rouge1"] == 0


def test_rouge_of_chinese_counts_characters():
    result = Rouge().compute(predictions=["今天天气好"], references=["今天，天气不好"])
    # Characters 今天天气好 against 今天天气不好: 5 of 5 and 6; pairs 今天 天天 天气 of 4 and 5.
    assert result["rouge1"] == pytest.approx(100 * 2 * 5 / 11)
    assert result["rouge2"] == pytest.approx(100 * 2 * 3 / 9)
    assert result["rougeL"] == pytest.approx(100 * 2 * 5 / 11)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("NBA季后赛2024年！", ["nba", "季", "后", "赛", "2024", "年"]),
        ("Größe über_mut", ["größe", "über", "mut"]),
        ("Привет, мир", ["привет", "мир"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("ひらガナー・本", ["ひ", "ら", "ガ", "ナ", "ー", "本"]),
        ("Running, don't: 3,5", ["run", "don", "t", "3", "5"]),
        ("…!", []),
    ],
)
def test_rouge_tokenizer_keeps_words_whole_and_cuts_characters(text, tokens):
    assert RougeTokenizer().tokenize(text) == tokens


def test_rouge_takes_the_best_of_several_references():
    result = Rouge().compute(predictions=["a b c"], references=[["x y z", "a b d"]])
    assert result["rouge1"] == pytest.approx(200 / 3)


def test_exact_match_ignores_white_space_and_on_request_case():
    pair = {"predictions": [" 2024-05-01", "May", "x", ""], "references": ["2024-05-01\n", "may", ["y", "x"], "z"]}
    assert ExactMatch().compute(**pair)["exact_match"] == 0.5
    assert ExactMatch(lowercase=True).compute(**pair)["exact_match"] == 0.75


def test_batches_add_up():
    metric = ExactMatch()
    metric.add_batch(predictions=["a", "b"], references=["a", ["c", "d"]])
    metric.add(prediction="e", reference="e")
    assert metric.compute()["exact_match"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("metric_class", [Bleu, Chrf, Rouge])
def test_empty_texts_score_zero(metric_class):
    result = metric_class().compute(predictions=["", "a"], references=["b", ""])
    assert {value for value in result.values() if not isinstance(value, str)} == {0.0}


@pytest.mark.parametrize("reference", [None, [], ["a", None], 3])
def test_reference_that_is_no_text_raises(reference):
    with pytest.raises(ValueError, match="The reference in row 1 is .*must be a string or a list"):
        Bleu().compute(predictions=["a", "b"], references=["a", reference])


def test_no_predictions_raise():
    with pytest.raises(ValueError, match="Rouge needs one prediction at least"):
        Rouge().compute(predictions=[], references=[])


def test_unequal_numbers_raise():
    with pytest.raises(ValueError, match="number of predictions .2. and references .1."):
        Bleu().compute(predictions=["a", "b"], references=["a"])


def test_token_accuracy_counts_positions_of_labels():
    labels = np.array([[5, 6, 3, -100], [7, 3, -100, -100], [8, 9, 4, 3]])
    predictions = [[5, 7, 3, 1, 2], [3, 7], [8, 9]]
    assert token_accuracy(predictions, labels) == pytest.approx(4 / 9)
    assert token_accuracy([[-100]], [[-100]]) == 0
    with pytest.raises(ValueError, match="3 predictions but 1 labels"):
        token_accuracy(predictions, labels[:1])


@pytest.mark.parametrize(
    ("references", "expected"),
    [
        (["北京 NBA"], "zh"),
        (["これは本です"], "char"),
        (["ロシア・フランス"], "char"),
        (["日本政府は来年度予算案を閣議決定した"], "char"),
        (
            ["他喜欢说「かわいい」这个词", "可是我听不懂他说的其他日语，所以我们平常还是用中文聊天", "今天天气很好"],
            "zh",
        ),
        (["约翰・史密斯"], "zh"),
        ([["我爱", "你们"], ["北京"]], "zh"),
        (["an English text that mentions 北京"], "13a"),
        (["ภาษาไทยไม่เว้นวรรค"], "13a"),
        (["고양이가"], "13a"),
        (["12"], "13a"),
        (["我爱北京天安门今天の"], "char"),
        (["我爱北京天安门今天好の"], "zh"),
    ],
)
def test_bleu_tokenizer_follows_the_references(references, expected):
    assert choose_bleu_tokenize(references) == expected


def test_signatures_say_what_was_computed():
    assert bleu_signatures(["chrf", "bleu"], ["我爱你"])["bleu"].startswith("nrefs:1|case:mixed|eff:no|tok:zh|")
    found = bleu_signatures(["bleu_lowercase", "bleu"], [["a", "b"], ["c", "d"]])
    assert found["bleu"].startswith("nrefs:2|case:mixed|") and "tok:13a|" in found["bleu"]
    assert found["bleu_lowercase"].startswith("nrefs:2|case:lc|")
    assert "tok:char|" in bleu_signatures(["bleu"], ["a"], "char")["bleu"]
    assert bleu_signatures(["chrf"], ["a"]) == {}


@pytest.mark.parametrize(
    ("task", "best", "names"),
    [
        ("translation", "bleu", {"bleu", "chrf", "bleu_lowercase"}),
        ("summarization", "rougeL", {"rouge1", "rouge2", "rougeL"}),
        ("text2text", "exact_match", {"exact_match", "chrf"}),
        ("autoencode", "exact_match", {"exact_match", "token_accuracy", "bleu"}),
    ],
)
def test_each_task_has_its_metrics_as_plain_floats(tokenizer, task, best, names):
    compute, chosen, greater = generation_metrics(task, tokenizer)
    scores = compute(as_batch(tokenizer, ["one two three four", "five"], ["one two three four", "six"]))

    assert (chosen, greater) == (best, True)
    assert set(scores) == names | {"generated_length"}
    assert all(type(value) is float for value in scores.values())
    json.dumps(scores)


def test_generated_ids_compare_with_labels_despite_start_token_and_padding(tokenizer):
    compute, _, _ = generation_metrics("autoencode", tokenizer)
    batch = as_batch(tokenizer, ["one two three four", "five six", ""], ["one two three four", "five", "seven"])
    scores = compute(batch)

    assert scores["exact_match"] == pytest.approx(1 / 3)
    # one two three four </s> | five, but six for </s> | </s> for seven, and nothing for the next </s>
    assert scores["token_accuracy"] == pytest.approx(6 / 9)
    assert scores["generated_length"] == pytest.approx((5 + 3 + 1) / 3)
    right = sacrebleu.corpus_bleu(["one two three four", "five six", ""], [["one two three four", "five", "seven"]])
    assert scores["bleu"] == pytest.approx(right.score) and 0 < scores["bleu"] < 100


def test_models_that_start_with_the_end_token_compare_alike(tokenizer):
    compute, _, _ = generation_metrics("autoencode", tokenizer)
    batch = as_batch(tokenizer, ["one two", "five", ""], ["one two", "five", ""])
    batch.predictions[:, 0] = tokenizer.eos_token_id
    scores = compute(batch)
    assert scores["token_accuracy"] == scores["exact_match"] == 1
    assert scores["generated_length"] == pytest.approx((3 + 2 + 1) / 3)


def test_predictions_may_come_as_the_first_of_a_tuple(tokenizer):
    compute, _, _ = generation_metrics("text2text", tokenizer)
    batch = as_batch(tokenizer, ["one"], ["one"])
    assert compute(EvalPrediction((batch.predictions, None), batch.label_ids))["exact_match"] == 1


def test_target_vocabulary_decodes_predictions_and_labels(tokenizer):
    target = LstmTokenizer.train_from_iterator(["x y z w"], min_frequency=1, add_eos=True, show_progress=False)
    both = LstmSeq2SeqTokenizer.from_tokenizers(tokenizer, target)
    scores = generation_metrics("translation", both)[0](as_batch(target, ["x y z w"], ["x y w z"]))
    assert scores["bleu"] == pytest.approx(sacrebleu.corpus_bleu(["x y z w"], [["x y w z"]]).score)


def test_bleu_of_case_differs_from_bleu_without():
    names = ("bleu_lowercase", "bleu")
    scores = score_texts(names, ["The Cat Sat Down Here"], ["The cat sat down here"])
    assert list(scores) == list(names)
    assert scores["bleu_lowercase"] == pytest.approx(100) and scores["bleu"] < 50


def test_chinese_translations_get_the_zh_tokenizer_by_themselves():
    chinese = LstmTokenizer.train_from_iterator(
        ["我爱北京天安门"], algorithm="char", min_frequency=1, add_eos=True, show_progress=False
    )
    batch = as_batch(chinese, ["我爱北京天"], ["我爱北京"])
    scores, by_words = (
        generation_metrics("translation", chinese, bleu_tokenize=tokenize)[0](batch) for tokenize in (None, "13a")
    )
    assert scores["bleu"] == pytest.approx(sacrebleu.corpus_bleu(["我爱北京天"], [["我爱北京"]], tokenize="zh").score)
    assert by_words["bleu"] == 0


@pytest.mark.parametrize(("name", "greater"), [("loss", False), ("chrf", True), ("token_accuracy", True)])
def test_chosen_metric_picks_the_checkpoint_and_is_reported(tokenizer, name, greater):
    compute, best, is_greater = generation_metrics("text2text", tokenizer, metric_name=name)
    assert (best, is_greater) == (name, greater)
    scores = compute(as_batch(tokenizer, ["one two"], ["one three"]))
    assert set(scores) == {"exact_match", "chrf", "generated_length"} | ({name} - {"loss"})


def test_misspelt_names_raise_with_the_nearest(tokenizer):
    with pytest.raises(InputError, match="There is no metric 'rogueL'.*Did you mean 'rougeL'"):
        generation_metrics("summarization", tokenizer, metric_name="rogueL")
    with pytest.raises(InputError, match="`task` is 'summarisation'.*Did you mean 'summarization'"):
        generation_metrics("summarisation", tokenizer)
    with pytest.raises(InputError, match="`bleu_tokenize` is '13b'"):
        generation_metrics("summarization", tokenizer, bleu_tokenize="13b")
    with pytest.raises(InputError, match="no score of texts named 'token_accuracy'"):
        score_texts(["token_accuracy"], ["a"], ["a"])


@pytest.mark.parametrize("predictions", [np.zeros((2, 5, 13), dtype=np.float32), np.zeros((2, 5))])
def test_logits_raise(tokenizer, predictions):
    compute, _, _ = generation_metrics("translation", tokenizer)
    with pytest.raises(ValueError, match="Set `predict_with_generate=True`"):
        compute(EvalPrediction(predictions, np.zeros((2, 5), dtype=int)))


def test_tokenizer_without_padding_raises():
    bare = LstmTokenizer.train_from_iterator(["one"], min_frequency=1, show_progress=False)
    bare.pad_token = None
    with pytest.raises(InputError, match="has no padding token"):
        generation_metrics("translation", bare)


@pytest.mark.parametrize(("package", "task"), [("sacrebleu", "translation"), ("rouge_score", "summarization")])
def test_missing_package_is_said_before_training(monkeypatch, tokenizer, package, task):
    original = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.partition(".")[0] == package:
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=f"need.*{package}.*pip install 'hf_lstm\\[train\\]'"):
        generation_metrics(task, tokenizer)


def test_padding_of_predictions_is_no_hit():
    assert token_accuracy([[5, -100]], [[5, -100]]) == 1


def test_signs_of_scripts_without_spaces_are_tokens_for_rouge():
    assert RougeTokenizer().tokenize("น้ำ!") == ["น", "้", "ำ"]


def test_call_of_bleu_overrides_its_settings():
    rows = {"predictions": ["A cat"], "references": ["a cat"]}
    metric = Bleu(tokenize="char", lowercase=True)
    assert "case:lc|eff:no|tok:char|" in metric.compute(**rows)["signature"]
    assert "case:mixed|eff:no|tok:13a|" in metric.compute(**rows, tokenize="13a", lowercase=False)["signature"]
