"""Saves tiny models with random weights, to be used by commands."""

from pathlib import Path

import torch
from transformers import AutoTokenizer

from hf_lstm import (
    LstmConfig,
    LstmForCausalLM,
    LstmForConditionalGeneration,
    LstmForSequenceClassification,
    LstmSeq2SeqConfig,
    LstmSeq2SeqTokenizer,
    LstmTokenizer,
)
from tests.models.factories import randomize

TEXTS = ["a dog ran home", "the cat sat", "a bird sang a long song", "the film was dull", "rain fell"]
TARGETS = ["Ein Hund", "Die Katze", "Das Lied", "Der Film", "Regen"]


def make_decisive(model: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Fills a model with large random weights, so that its answers depend on the text."""
    randomize(model, seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.mul_(0 if name.endswith(("classifier.bias", "lm_head.bias")) else 3)
    return model


def make_tokenizer(texts: list[str] = TEXTS, **options: object) -> LstmTokenizer:
    return LstmTokenizer.train_from_iterator(texts, min_frequency=1, show_progress=False, **options)


def save_classifier(folder: Path, seed: int = 8, **config: object) -> Path:
    tokenizer = make_tokenizer(model_max_length=11)
    labels = {"id2label": {0: "bad", 1: "fair", 2: "good"}, "label2id": {"bad": 0, "fair": 1, "good": 2}}
    fields = {"embedding_size": 5, "hidden_size": 6, "problem_type": "single_label_classification"} | labels | config
    if fields["problem_type"] == "regression":
        fields |= {"id2label": {0: "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    model = LstmForSequenceClassification(LstmConfig(vocab_size=len(tokenizer), **fields))
    make_decisive(model, seed).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_translator(folder: Path, seed: int = 1, same_vocabulary: bool = False, **changes: object) -> Path:
    tokenizer = LstmSeq2SeqTokenizer.from_tokenizers(
        make_tokenizer(add_eos=True),
        make_tokenizer(TEXTS if same_vocabulary else TARGETS, lowercase=False, add_eos=True),
    )
    sizes = {"encoder_embedding_size": 5, "decoder_embedding_size": 7, "encoder_hidden_size": 6}
    fields = {"decoder_hidden_size": 8, "attention_type": "luong_general", "share_embeddings": False} | sizes | changes
    size = len(tokenizer.target_tokenizer)
    model = LstmForConditionalGeneration(
        LstmSeq2SeqConfig(vocab_size=size, encoder_vocab_size=len(tokenizer), **fields)
    )
    model.generation_config.max_length = 9
    make_decisive(model, seed).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_language_model(folder: Path) -> Path:
    """Saves a language model whose tokenizer puts an end token after each text."""
    tokenizer = make_tokenizer(add_eos=True)
    model = LstmForCausalLM(LstmConfig(vocab_size=len(tokenizer), embedding_size=5, hidden_size=6))
    make_decisive(model, seed=1).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def load(model_class: type, folder: Path) -> tuple:
    """Loads a model and its tokenizer."""
    return model_class.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
