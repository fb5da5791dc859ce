"""Tiny configurations, models and batches, whose sizes all differ so that a swapped axis fails."""

import torch
from torch import nn

from hf_lstm.models.configuration_lstm import LstmConfig, LstmSeq2SeqConfig
from hf_lstm.models.modeling_lstm import (
    LstmForCausalLM,
    LstmForSequenceClassification,
    LstmForTokenClassification,
    LstmModel,
)
from hf_lstm.models.modeling_lstm_seq2seq import LstmForConditionalGeneration

VOCAB_SIZE, EMBEDDING_SIZE, HIDDEN_SIZE = 29, 5, 6
HEADS = [LstmForSequenceClassification, LstmForTokenClassification, LstmForCausalLM]
MODELS = [LstmModel, *HEADS]

# Rows of 7: full, right padding, left padding, holes, a single token, no token.
MASK = torch.tensor(
    [
        [1, 1, 1, 1, 1, 1, 1],
        [1, 1, 1, 1, 0, 0, 0],
        [0, 0, 1, 1, 1, 1, 1],
        [0, 1, 0, 1, 1, 0, 1],
        [0, 0, 0, 1, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0],
    ]
)


# Two clusters of rarer tokens, of 3 and 2 features.
ADAPTIVE = {"adaptive_softmax_cutoffs": [7, 17], "adaptive_softmax_div_value": 1.7}


def make_config(**overrides) -> LstmConfig:
    """Returns a configuration of tiny sizes."""
    fields = {
        "vocab_size": VOCAB_SIZE,
        "embedding_size": EMBEDDING_SIZE,
        "hidden_size": HIDDEN_SIZE,
        "num_hidden_layers": 2,
        "num_labels": 4,
        "ngram_buckets": 31,
        "classifier_ngram_buckets": 37,
    }
    return LstmConfig(**fields | overrides)


def randomize(model: nn.Module, seed: int = 0) -> nn.Module:
    """Fills every parameter with random numbers: none may be zero by its initialisation."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
    return model


def make_model(model_class: type[nn.Module] = LstmModel, seed: int = 0, **overrides) -> nn.Module:
    """Returns a model in evaluation mode with random parameters."""
    return randomize(model_class(make_config(**overrides)), seed).eval()


def make_talkative_model(seed: int = 1, **overrides) -> LstmForCausalLM:
    """Returns a language model whose large weights make each next token depend on all before."""
    model = make_model(LstmForCausalLM, seed, **{"embedding_size": 13, "hidden_size": 14} | overrides)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
        model.lm_head.bias.zero_()
    return model


def make_input_ids(batch_size: int = len(MASK), sequence_length: int = MASK.shape[1], seed: int = 0) -> torch.Tensor:
    """Returns tokens other than the special ones."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(4, VOCAB_SIZE, (batch_size, sequence_length), generator=generator)


def make_states(model: LstmModel, batch_size: int, seed: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Returns each layer's hidden and cell state, which require gradients, filled with random numbers."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(batch_size, len(layer.suffixes), layer.size) for layer in model.layers]
    return [
        tuple(torch.randn(shape, generator=generator).mul_(0.5).requires_grad_() for _ in range(2)) for shape in shapes
    ]


def make_labels(model: nn.Module, input_ids: torch.Tensor) -> torch.Tensor:
    """Returns labels that fit the head."""
    if isinstance(model, LstmForCausalLM):
        return input_ids
    if isinstance(model, LstmForTokenClassification):
        return input_ids % model.num_labels
    return torch.arange(len(input_ids)) % model.num_labels


ATTENTION_TYPES = ["luong_dot", "luong_general", "bahdanau", "multi_head", "none"]
# The decoder's two ways to run: all steps at once, or step by step with input feeding.
RUNS = [
    {"attention_type": kind, "input_feeding": feeding}
    for kind in ATTENTION_TYPES
    for feeding in ([False] if kind == "none" else [False, True])
]
# A run whose source must be given as tokens.
COPYING = {"attention_type": "multi_head", "copy_attention": True}
TARGET_VOCAB_SIZE = 23

# Rows of 5, beside the sources of `MASK`: full, left padding, right padding, holes, a single token, one more.
TARGET_MASK = torch.tensor(
    [
        [1, 1, 1, 1, 1],
        [0, 0, 1, 1, 1],
        [1, 1, 1, 0, 0],
        [1, 0, 1, 1, 0],
        [0, 0, 0, 1, 0],
        [0, 1, 1, 1, 1],
    ]
)


def make_seq2seq_config(**overrides) -> LstmSeq2SeqConfig:
    """Returns a configuration of tiny sizes, equal only where the fields given ask for it."""
    fields = {
        "vocab_size": TARGET_VOCAB_SIZE,
        "encoder_embedding_size": 5,
        "decoder_embedding_size": 7,
        "encoder_hidden_size": 6,
        "decoder_hidden_size": 8,
        "encoder_layers": 2,
        "decoder_layers": 3,
        "attention_type": "luong_general",
        "num_attention_heads": 2,
        "share_embeddings": False,
    }
    if overrides.get("attention_type") == "luong_dot":
        fields["encoder_hidden_size"] = fields["decoder_hidden_size"]
    if overrides.get("share_embeddings"):
        fields["encoder_embedding_size"] = fields["decoder_embedding_size"]
    return LstmSeq2SeqConfig(**fields | overrides)


def make_seq2seq_model(seed: int = 0, **overrides) -> LstmForConditionalGeneration:
    """Returns an encoder–decoder in evaluation mode with random parameters."""
    return randomize(LstmForConditionalGeneration(make_seq2seq_config(**overrides)), seed).eval()


def make_talkative_seq2seq_model(seed: int = 1, **overrides) -> LstmForConditionalGeneration:
    """Returns an encoder–decoder whose large weights make each next token depend on the source and all before it."""
    sizes = {"decoder_hidden_size": 16, "encoder_hidden_size": 14, "decoder_embedding_size": 13}
    if overrides.get("share_embeddings"):
        sizes["encoder_embedding_size"] = sizes["decoder_embedding_size"]
    model = make_seq2seq_model(seed, **{"eos_token_id": None} | sizes | overrides)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
        model.lm_head.bias.zero_()
        model.lm_head.bias[:4] = -1000.0
    return model


def make_source(batch_size: int = len(MASK), length: int = MASK.shape[1], seed: int = 0) -> torch.Tensor:
    """Returns source tokens other than the special ones."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(4, TARGET_VOCAB_SIZE, (batch_size, length), generator=generator)


def make_target(batch_size: int = len(MASK), length: int = TARGET_MASK.shape[1], seed: int = 7) -> torch.Tensor:
    """Returns target tokens other than the special ones."""
    return make_source(batch_size, length, seed)


EVERYTHING = {"return_dict_in_generate": True, "output_scores": True, "output_logits": True}


def check_same_results(ours, theirs) -> None:
    """Asserts that two results of `generate`, asked for `EVERYTHING`, are the same to the last bit."""
    assert type(ours) is type(theirs)
    assert ours.keys() == theirs.keys()
    for name in ("sequences", "sequences_scores", "beam_indices"):
        if name in ours:
            assert ours[name].dtype == theirs[name].dtype
            assert torch.equal(ours[name], theirs[name]), name
    for name in ("scores", "logits"):
        assert all(torch.equal(*pair) for pair in zip(ours[name], theirs[name], strict=True)), name
    for layer, other in zip(ours.cache.layers, theirs.cache.layers, strict=True):
        assert torch.equal(layer.hidden_state, other.hidden_state)
        assert torch.equal(layer.cell_state, other.cell_state)
        assert layer.get_seq_length() == other.get_seq_length()
