"""Every head learns one batch by heart: the loss and the gradient vanish, and what was learnt comes back."""

import pytest
import torch

from hf_lstm import (
    LstmConfig,
    LstmForCausalLM,
    LstmForConditionalGeneration,
    LstmForSequenceClassification,
    LstmForTokenClassification,
    LstmSeq2SeqConfig,
)

VOCAB_SIZE = 40
CONFIG = {"vocab_size": VOCAB_SIZE, "embedding_size": 32, "hidden_size": 32, "num_hidden_layers": 2}
SIZES = {f"{side}_{size}": 32 for side in ("encoder", "decoder") for size in ("embedding_size", "hidden_size")}
ATTENTIONS = ["luong_dot", "bahdanau", "multi_head", "none"]


def learn(model, batch: dict[str, torch.Tensor], learning_rate: float = 0.01) -> None:
    """Makes 300 steps of Adam, and checks that the loss and the gradient's norm fall by 90 %."""
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    losses, norms = [], []
    for _ in range(300):
        optimizer.zero_grad()
        loss = model.train()(**batch).loss
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0).item())
        losses.append(loss.item())
        optimizer.step()
    assert losses[-1] < 0.1 * losses[0]
    assert norms[-1] < 0.1 * norms[0]
    model.eval()


def make_tokens(rows: int, length: int) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randint(4, VOCAB_SIZE, (rows, length))


def test_language_model_says_what_it_learnt():
    texts = make_tokens(2, 24)
    texts[:, 0] = torch.tensor([4, 5])
    torch.manual_seed(1)
    model = LstmForCausalLM(LstmConfig(**CONFIG))
    learn(model, {"input_ids": texts, "labels": texts})
    said = model.generate(texts[:, :1], max_new_tokens=23, do_sample=False, eos_token_id=None)
    assert said.tolist() == texts.tolist()


@pytest.mark.parametrize("num_layers", [1, 2])
def test_language_model_learns_as_quickly_as_transformers_wants_it_to(num_layers):
    """The terms of transformers' own test: 300 steps of Adam at 0.001 over a row of tokens that comes again."""
    texts = torch.arange(1, 20).repeat(4)[:64].repeat(2, 1)
    torch.manual_seed(42)
    model = LstmForCausalLM(LstmConfig(vocab_size=99, embedding_size=64, hidden_size=64, num_hidden_layers=num_layers))
    learn(model, {"input_ids": texts, "labels": texts}, learning_rate=0.001)


@pytest.mark.parametrize("attention_type", ATTENTIONS)
def test_encoder_decoder_answers_what_it_learnt(attention_type):
    sources, targets = make_tokens(4, 9), make_tokens(8, 7)[4:]
    mask = torch.ones_like(sources)
    mask[1, 5:] = 0
    torch.manual_seed(1)
    model = LstmForConditionalGeneration(
        LstmSeq2SeqConfig(vocab_size=VOCAB_SIZE, attention_type=attention_type, **SIZES)
    )
    batch = {"input_ids": sources, "attention_mask": mask}
    learn(model, batch | {"labels": targets})
    for beams in (1, 3):
        said = model.generate(**batch, max_new_tokens=7, min_new_tokens=7, num_beams=beams)
        assert said[:, 1:].tolist() == targets.tolist()


@pytest.mark.parametrize("model_class", [LstmForSequenceClassification, LstmForTokenClassification])
def test_classifier_labels_what_it_learnt(model_class):
    texts = make_tokens(6, 9)
    labels = torch.arange(6) % 3
    if model_class is LstmForTokenClassification:
        labels = texts % 3
    torch.manual_seed(1)
    model = model_class(LstmConfig(**CONFIG, bidirectional=True, num_labels=3))
    learn(model, {"input_ids": texts, "labels": labels})
    with torch.no_grad():
        assert model(texts).logits.argmax(dim=-1).tolist() == labels.tolist()
