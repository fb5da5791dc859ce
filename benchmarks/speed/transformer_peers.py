"""Transformers of the sizes that people use, with random weights: speed does not depend on what weights say."""

from typing import Any, NamedTuple

import torch

from benchmarks.speed.variants import Setup

BERT_VOCAB_SIZE = 30_522


class BertSize(NamedTuple):
    """Layers, width and attention heads of a BERT; the feed-forward layers are four times as wide."""

    layers: int
    width: int
    heads: int


BERT_SIZES = {"bert-tiny": BertSize(2, 128, 2), "bert-mini": BertSize(4, 256, 4), "DistilBERT": BertSize(6, 768, 12)}


def make_bert_classifier(name: str, setup: Setup, precision: str = "fp32", attention: str = "sdpa") -> Any:
    """
    Builds a classifier of two labels.

    Args:
        name (`str`): One of `BERT_SIZES`.
        setup (`Setup`): What the run is set up with.
        precision (`str`): `"fp32"` or `"bf16"`.
        attention (`str`): The implementation that transformers uses.
    """
    from transformers import BertConfig, BertForSequenceClassification, DistilBertConfig
    from transformers import DistilBertForSequenceClassification as DistilBertClassifier

    size = BertSize(1, 16, 2) if setup.quick else BERT_SIZES[name]
    torch.manual_seed(0)
    if name == "DistilBERT":
        config = DistilBertConfig(
            n_layers=size.layers, dim=size.width, n_heads=size.heads, hidden_dim=4 * size.width, num_labels=2
        )
        model: Any = DistilBertClassifier._from_config(config, attn_implementation=attention)
    else:
        config = BertConfig(
            num_hidden_layers=size.layers,
            hidden_size=size.width,
            num_attention_heads=size.heads,
            intermediate_size=4 * size.width,
            num_labels=2,
        )
        model = BertForSequenceClassification._from_config(config, attn_implementation=attention)
    return model.eval().to(torch.bfloat16 if precision == "bf16" else torch.float32)


def make_bert_tokenizer(texts: list[str]) -> Any:
    """Trains word pieces as BERT has them, on the texts that ours is trained on."""
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertTokenizer

    pieces = BertWordPieceTokenizer()
    pieces.train_from_iterator(texts, vocab_size=BERT_VOCAB_SIZE, show_progress=False)
    tokenizer = BertTokenizer(vocab=pieces.get_vocab(), model_max_length=512)
    # DistilBERT takes no segment numbers; BERT does without them.
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    return tokenizer


def make_marian(vocab_size: int, setup: Setup, longest: int = 512) -> Any:
    """
    Builds a translator as large as those of Marian: six layers on each side, 512 wide.

    Args:
        vocab_size (`int`): Number of tokens besides padding, which comes last as in Marian's vocabularies.
        setup (`Setup`): What the run is set up with.
        longest (`int`): Number of positions.
    """
    from transformers import MarianConfig, MarianMTModel

    layers, width, heads = (1, 16, 2) if setup.quick else (6, 512, 8)
    config = MarianConfig(
        vocab_size=vocab_size + 1,
        d_model=width,
        encoder_layers=layers,
        decoder_layers=layers,
        encoder_attention_heads=heads,
        decoder_attention_heads=heads,
        encoder_ffn_dim=4 * width,
        decoder_ffn_dim=4 * width,
        activation_function="swish",
        scale_embedding=True,
        max_position_embeddings=longest,
        pad_token_id=vocab_size,
        decoder_start_token_id=vocab_size,
        eos_token_id=3,
        forced_eos_token_id=None,
        init_std=0.05,
        dropout=0.0,
    )
    torch.manual_seed(0)
    model = MarianMTModel._from_config(config, attn_implementation="sdpa")
    # Padding, which starts a target, is never written.
    model.final_logits_bias[0, vocab_size] = -1e9
    return model.eval()


def make_t5(vocab_size: int, setup: Setup) -> Any:
    """Builds a model as large as T5-small: six layers on each side, 512 wide, with `vocab_size` tokens."""
    from transformers import T5Config, T5ForConditionalGeneration

    layers, width, heads = (1, 16, 2) if setup.quick else (6, 512, 8)
    config = T5Config(
        vocab_size=vocab_size,
        d_model=width,
        d_kv=width // heads,
        num_layers=layers,
        num_heads=heads,
        d_ff=4 * width,
        pad_token_id=0,
        decoder_start_token_id=0,
        dropout_rate=0.0,
    )
    torch.manual_seed(0)
    return T5ForConditionalGeneration(config).eval()
