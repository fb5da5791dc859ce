"""Properties of tokenizers: every text is encoded and decoded, or is an error that says what is wrong with it."""

import sys
import tempfile
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from hf_lstm import LstmSeq2SeqTokenizer, LstmTokenizer
from hf_lstm.models.tokenization_lstm import ALGORITHMS

QUICK = settings(max_examples=12, deadline=None, derandomize=True, database=None)
PRIVATE, SURROGATE, UNASSIGNED = "Co", "Cs", "Cn"
PAGE = 128  # blocks of Unicode begin at multiples of 16
# Texts of any characters, of each of the categories too, and of what is in no valid text.
TEXTS = st.text(max_size=30) | st.text(st.characters(codec="utf-8"), max_size=30)
CONTROL = st.text(st.characters(categories=["Cc", "Cf", "Zl", "Zp", "Mn"]), min_size=1, max_size=20)
HALVES = st.text(st.characters(categories=["Cs"]), min_size=1, max_size=3)
SENTENCES = ["a dog ran home, isn't it?", "1,000.5 中文 ภาษาไทย", "naïve café 👩‍👧"]


def train(algorithm, texts=SENTENCES, **options):
    return LstmTokenizer.train_from_iterator(
        texts, **{"algorithm": algorithm, "min_frequency": 1, "show_progress": False, "vocab_size": 400} | options
    )


@pytest.fixture(scope="module")
def tokenizers():
    return {algorithm: train(algorithm) for algorithm in ALGORITHMS}


def assigned_pages():
    """Yields all assigned characters but those of private use, in texts of a few blocks at most."""
    for start in range(0, sys.maxunicode + 1, PAGE):
        characters = map(chr, range(start, start + PAGE))
        page = "".join(c for c in characters if unicodedata.category(c) not in (PRIVATE, SURROGATE, UNASSIGNED))
        if page:
            yield page
    yield "\ue000\U000f0000\U0010fffd"


PAGES = list(assigned_pages())


def is_known(tokenizer, ids):
    return all(0 <= token_id < len(tokenizer) for token_id in ids)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_block_of_unicode_is_encoded_and_decoded(tokenizers, algorithm):
    tokenizer = tokenizers[algorithm]
    rows = tokenizer(PAGES)["input_ids"]
    assert all(is_known(tokenizer, ids) for ids in rows)
    assert len(tokenizer.batch_decode(rows)) == len(PAGES)


def test_bytes_give_back_every_block_of_unicode():
    tokenizer = train("bpe", lowercase=False, normalization=None)
    assert tokenizer.batch_decode(tokenizer(PAGES)["input_ids"], skip_special_tokens=True) == PAGES


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@QUICK
@given(text=TEXTS | CONTROL, pair=TEXTS)
@example(text="", pair="")
@example(text="\x00", pair="\ufeff\uffff")
@example(text="e" + "\u0301" * 3000, pair="'" * 3000)
@example(text="n't" * 1000, pair="<s></s><pad><unk>")
def test_any_text_is_encoded_and_decoded(tokenizers, algorithm, text, pair):
    tokenizer = tokenizers[algorithm]
    ids = tokenizer(text, pair, truncation=True, max_length=4000)["input_ids"]
    assert is_known(tokenizer, ids)
    assert isinstance(tokenizer.decode(ids), str)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@settings(QUICK, max_examples=5)
@given(texts=st.lists(TEXTS | CONTROL, min_size=1, max_size=4))
def test_any_texts_train_a_tokenizer_that_comes_back_or_are_an_error(algorithm, texts):
    try:
        tokenizer = train(algorithm, texts)
    except ValueError as error:
        assert str(error).startswith(("The corpus is empty", "No "))  # noqa: PT017  # not every corpus is too poor
        return
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        again = AutoTokenizer.from_pretrained(folder)
    assert again(texts)["input_ids"] == tokenizer(texts)["input_ids"]
    assert again.batch_decode(again(texts)["input_ids"]) == tokenizer.batch_decode(tokenizer(texts)["input_ids"])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@settings(QUICK, max_examples=5)
@given(before=TEXTS, half=HALVES, after=TEXTS)
def test_half_a_surrogate_pair_is_an_error_that_shows_it(tokenizers, algorithm, before, half, after):
    tokenizer, text = tokenizers[algorithm], before + half + after
    for encode in (tokenizer, tokenizer.encode, tokenizer.tokenize, lambda text: tokenizer(["a", text])):
        with pytest.raises(ValueError, match=f"half of a surrogate pair at character {len(before)}"):
            encode(text)
    with pytest.raises(ValueError, match="half of a surrogate pair"):
        tokenizer("a", text)
    with pytest.raises(ValueError, match="half of a surrogate pair"):
        train(algorithm, ["a", text])


def test_halves_are_mended_as_the_error_says():
    joined = "\ud83d\udc36 \ud83d".encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert joined == "🐶 \ufffd"


def test_half_a_surrogate_pair_in_a_target_is_an_error(tokenizers):
    tokenizer = LstmSeq2SeqTokenizer.from_tokenizers(tokenizers["word"], tokenizers["char"])
    with pytest.raises(ValueError, match="half of a surrogate pair"):
        tokenizer("a", text_target="\ud800")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("piece", ["a", "1", "中", "'", "\u0301", " ", "1,", "an'", "👨‍👩‍👧"])
def test_very_long_text_is_encoded_and_decoded(tokenizers, algorithm, piece):
    text = piece * (20_000 // len(piece))
    ids = tokenizers[algorithm](text)["input_ids"]
    assert is_known(tokenizers[algorithm], ids)
    assert isinstance(tokenizers[algorithm].decode(ids), str)
