from dataclasses import replace

import pytest

from benchmarks.seq2seq.protocols import PROTOCOLS
from benchmarks.seq2seq.scores import Examples, score, score_unseen, signatures

pytest.importorskip("sacrebleu")
pytest.importorskip("rouge_score")


def test_bleu_is_lower_cased_beside_the_one_with_case() -> None:
    examples = Examples(["a"], ["A dog runs over the green grass"])
    figures = score(PROTOCOLS["multi30k_de_en"], ["a DOG runs over the green grass"], examples)
    assert list(figures) == ["bleu_lowercase", "bleu", "chrf"]
    assert figures["bleu_lowercase"] == pytest.approx(100)
    assert figures["bleu"] < 80


def test_chinese_is_scored_by_character() -> None:
    examples = Examples(["a"], ["我们今天去北京"])
    figures = score(PROTOCOLS["tatoeba_en_zh"], ["我们今天去上海"], examples)
    assert 0 < figures["bleu"] < 100
    titles = score(PROTOCOLS["csl_titles"], ["我们今天去上海"], examples)
    assert titles["rouge1"] == pytest.approx(100 * 5 / 7)
    assert titles["rouge2"] == pytest.approx(100 * 4 / 6)


def test_human_subjects_are_scored_alone_and_by_the_nearest() -> None:
    examples = Examples(["a", "b"], ["x", "x"], [["red fox", "blue cow"], ["red cow", "green hen"]])
    figures = score(PROTOCOLS["aeslc"], ["red fox", "green hen"], examples)
    assert figures["rouge1"] == 0
    # The first person's are 100 and 0, the second one's 0 and 100.
    assert figures["each_human_rouge1"] == pytest.approx(50)
    assert figures["nearest_human_rouge1"] == pytest.approx(100)
    assert "each_human_rouge1" not in score(PROTOCOLS["aeslc"], ["x"], Examples(["a"], ["x"]))


def test_unseen_rows_are_those_whose_source_is_not_in_train() -> None:
    protocol = PROTOCOLS["csl_titles"]
    examples = Examples(["One  text", "two", "three"], ["甲乙", "丙丁", "戊己"])
    figures = score_unseen(protocol, ["甲乙", "丙丁", "甲乙"], examples, {"onetext"})
    assert figures["unseen_rows"] == 2
    assert figures["unseen_rouge1"] == pytest.approx(50)
    assert score_unseen(protocol, ["甲乙", "丙丁", "甲乙"], examples, {"four"}) == {}
    assert score_unseen(protocol, ["甲乙", "丙丁", "甲乙"], examples, {"onetext", "two", "three"}) == {}


def test_hypotheses_of_another_number_are_refused() -> None:
    with pytest.raises(ValueError, match="2 hypotheses for the 1 rows"):
        score(PROTOCOLS["aeslc"], ["a", "b"], Examples(["a"], ["x"]))


def test_signatures_tell_case_and_tokenizer() -> None:
    examples = Examples(["a"], ["我们"])
    assert "case:lc" in signatures(PROTOCOLS["multi30k_en_de"], examples)["bleu_lowercase"]
    assert "tok:zh" in signatures(PROTOCOLS["tatoeba_en_zh"], examples)["bleu"]
    assert "nc:6" in signatures(PROTOCOLS["tatoeba_en_zh"], examples)["chrf"]
    assert signatures(replace(PROTOCOLS["aeslc"]), examples) == {}
