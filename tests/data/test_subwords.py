import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from hf_lstm import LstmTokenizer
from hf_lstm.data.checks import InputError
from hf_lstm.data.subwords import SubwordDropout

WORDS = ["lower", "lowest", "newer", "newest", "wider", "天气好", "天气"]


@pytest.fixture(scope="module")
def tokenizer():
    return LstmTokenizer.train_from_iterator(
        WORDS * 5, algorithm="bpe", vocab_size=300, min_frequency=1, add_eos=True, show_progress=False
    )


def test_pieces_fall_apart_but_the_text_stays(tokenizer):
    dropout = SubwordDropout(tokenizer, 0.5)
    ids = tokenizer("lowest newer 天气好 wider").input_ids
    torch.manual_seed(1)
    found = {tuple(dropout(ids)) for _ in range(40)}
    assert len(found) > 20
    assert {tokenizer.decode(pieces) for pieces in found} == {tokenizer.decode(ids)}
    assert all(pieces[-1] == tokenizer.eos_token_id for pieces in found)


def test_probability_says_how_often_and_how_far(tokenizer):
    (whole,) = set(tokenizer("lowest", add_special_tokens=False).input_ids)
    assert SubwordDropout(tokenizer, 0.0)([whole] * 9) == [whole] * 9
    torch.manual_seed(2)
    kept = SubwordDropout(tokenizer, 0.2)([whole] * 4000).count(whole)
    assert kept / 4000 == pytest.approx(0.8, abs=0.03)
    letters = [len(tokenizer.convert_ids_to_tokens(token)) for token in SubwordDropout(tokenizer, 0.999)([whole] * 99)]
    assert sum(letters) / len(letters) < 1.1


def test_merges_are_undone_from_the_last_to_the_first():
    vocabulary = {token: number for number, token in enumerate(["<unk>", "a", "b", "c", "ab", "abc", "bc"])}
    backend = Tokenizer(models.BPE(vocabulary, [("a", "b"), ("ab", "c"), ("b", "c")], unk_token="<unk>"))
    dropout = SubwordDropout(PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>"), 0.5)
    torch.manual_seed(3)
    found = {tuple(dropout([5])) for _ in range(50)}
    assert found == {(5,), (4, 3), (1, 2, 3)}
    assert dropout([0, 1]) == [0, 1]
    assert dropout([]) == []


def test_same_state_gives_the_same_pieces(tokenizer):
    dropout = SubwordDropout(tokenizer, 0.4)
    ids = tokenizer("newest lower").input_ids
    torch.manual_seed(4)
    first = [dropout(ids) for _ in range(5)]
    torch.manual_seed(4)
    assert [dropout(ids) for _ in range(5)] == first


@pytest.mark.parametrize("algorithm", ["word", "char", "unigram"])
def test_other_tokenizers_are_refused(algorithm):
    tokenizer = LstmTokenizer.train_from_iterator(WORDS, algorithm=algorithm, min_frequency=1, show_progress=False)
    with pytest.raises(InputError, match=r"`subword_dropout` is 0.1.*--tokenizer_algorithm=bpe, or set"):
        SubwordDropout(tokenizer, 0.1)


@pytest.mark.parametrize("probability", [1.0, -0.5])
def test_probability_out_of_its_range_raises(tokenizer, probability):
    with pytest.raises(InputError, match=f"`subword_dropout` is {probability}"):
        SubwordDropout(tokenizer, probability)
