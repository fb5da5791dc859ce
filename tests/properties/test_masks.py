"""Properties of masks: whatever is padded and wherever, a row gives what it gives by itself."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_lstm import LstmForCausalLM, LstmForSequenceClassification, LstmForTokenClassification, LstmModel
from tests.models.factories import VOCAB_SIZE, make_model, make_seq2seq_model

QUICK = settings(max_examples=8, deadline=None, derandomize=True, database=None)
NEAR = {"atol": 1e-5, "rtol": 1e-5}
TOKENS = st.lists(st.integers(4, VOCAB_SIZE - 1), min_size=1, max_size=6)
JUNK = st.integers(0, VOCAB_SIZE - 1)


@st.composite
def batches(draw):
    """Draws rows of tokens with as much padding as fills them up: left, right, or anywhere, of any token."""
    rows = draw(st.lists(TOKENS, min_size=1, max_size=4))
    length = max(map(len, rows)) + draw(st.integers(0, 3))
    input_ids, mask = torch.zeros(2, len(rows), length, dtype=torch.long)
    for number, row in enumerate(rows):
        side = draw(st.sampled_from(["left", "right", "anywhere"]))
        places = {"left": range(length - len(row), length), "right": range(len(row))}.get(side)
        if places is None:
            places = sorted(draw(st.permutations(range(length)))[: len(row)])
        input_ids[number] = draw(JUNK)
        input_ids[number, list(places)] = torch.tensor(row)
        mask[number, list(places)] = 1
    return rows, input_ids, mask


@pytest.fixture(scope="module", params=[False, True], ids=["one way", "both ways"])
def bidirectional(request):
    return request.param


@pytest.mark.parametrize("model_class", [LstmModel, LstmForTokenClassification, LstmForCausalLM])
@QUICK
@given(batch=batches())
def test_padded_tokens_give_what_they_give_unpadded(model_class, batch):
    options = {} if model_class is LstmForCausalLM else {"bidirectional": True, "ngram_orders": [2]}
    model = make_model(model_class, **options)
    rows, input_ids, mask = batch
    with torch.no_grad():
        padded = model(input_ids, attention_mask=mask)[0]
        for number, row in enumerate(rows):
            alone = model(torch.tensor([row]), attention_mask=torch.ones(1, len(row)))[0][0]
            torch.testing.assert_close(padded[number, mask[number].bool()], alone, **NEAR)


@pytest.mark.parametrize("pooling", ["last", "mean", "max", "concat", "attention"])
@QUICK
@given(batch=batches())
def test_padded_texts_are_classified_as_unpadded_ones(pooling, bidirectional, batch):
    options = {"classifier_ngram_orders": [1, 2], "classifier_shortcut": True}
    model = make_model(
        LstmForSequenceClassification, classifier_pooling=pooling, bidirectional=bidirectional, **options
    )
    rows, input_ids, mask = batch
    with torch.no_grad():
        padded = model(input_ids, attention_mask=mask).logits
        for number, row in enumerate(rows):
            torch.testing.assert_close(padded[number], model(torch.tensor([row])).logits[0], **NEAR)


@pytest.mark.parametrize("attention_type", ["luong_general", "bahdanau", "multi_head", "none"])
@QUICK
@given(batch=batches())
def test_padded_sources_are_written_of_as_unpadded_ones(attention_type, batch):
    model = make_seq2seq_model(attention_type=attention_type, encoder_vocab_size=VOCAB_SIZE)
    rows, input_ids, mask = batch
    targets = torch.tensor([[2, 5, 7]])
    with torch.no_grad():
        padded = model(input_ids, attention_mask=mask, decoder_input_ids=targets.expand(len(rows), -1)).logits
        for number, row in enumerate(rows):
            alone = model(torch.tensor([row]), decoder_input_ids=targets).logits[0]
            torch.testing.assert_close(padded[number], alone, **NEAR)
