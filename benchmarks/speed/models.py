"""Our models, as trained by the recipes of the recorded results, or of the same shape with random weights."""

import tempfile
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.speed.texts import labelled_texts, translation_texts
from benchmarks.speed.variants import Setup

BENCHMARKS = Path(__file__).resolve().parents[1]
CLASSIFIER_RECIPE = BENCHMARKS / "accuracy" / "recipes" / "sst2.yaml"
TRANSLATOR_RECIPE = BENCHMARKS / "seq2seq" / "recipes" / "multi30k_en_de.yaml"
DROPOUTS = ("embedding", "input", "hidden", "weight", "output")


class Loaded(NamedTuple):
    """A model with its tokenizer, and where its weights come from."""

    model: Any
    tokenizer: Any
    origin: str


def read_recipe(recipe: Path) -> Any:
    """Returns the model's arguments in a recipe of the training scripts."""
    from hf_lstm.training.arguments import DataArguments, LstmTrainingArguments, ModelArguments
    from hf_lstm.training.parsing import ArgumentReader
    from hf_lstm.training.seq2seq_arguments import (
        LstmSeq2SeqTrainingArguments,
        Seq2SeqDataArguments,
        Seq2SeqModelArguments,
    )

    classification: tuple[type, ...] = (ModelArguments, DataArguments, LstmTrainingArguments)
    generation: tuple[type, ...] = (Seq2SeqModelArguments, Seq2SeqDataArguments, LstmSeq2SeqTrainingArguments)
    reader = ArgumentReader(classification if recipe == CLASSIFIER_RECIPE else generation)
    with tempfile.TemporaryDirectory() as folder:
        return reader.read([str(recipe), f"--output_dir={folder}"])[0]


def train_tokenizer(texts: list[str], arguments: Any) -> Any:
    """Trains the tokenizer that a recipe asks for."""
    from hf_lstm import LstmTokenizer

    return LstmTokenizer.train_from_iterator(
        texts,
        vocab_size=arguments.vocab_size,
        algorithm=arguments.tokenizer_algorithm,
        lowercase=arguments.lowercase,
        show_progress=False,
    )


@cache
def load_classifier(setup: Setup) -> Loaded:
    """Loads the classifier of the setup, or builds one of the recipe's shape with random weights."""
    from transformers import AutoTokenizer

    from hf_lstm import LstmConfig, LstmForSequenceClassification

    if setup.classifier is not None:
        model = LstmForSequenceClassification.from_pretrained(setup.classifier)
        return Loaded(model.eval(), AutoTokenizer.from_pretrained(setup.classifier), "trained weights")
    arguments = read_recipe(CLASSIFIER_RECIPE)
    tokenizer = train_tokenizer(labelled_texts(setup.data).train, arguments)
    values = arguments.config_values()
    if setup.quick:
        values |= {"hidden_size": 16, "embedding_size": 8}
    torch.manual_seed(0)
    model = LstmForSequenceClassification(LstmConfig(**values | {"vocab_size": len(tokenizer)}))
    return Loaded(model.eval(), tokenizer, f"random weights, shape of {CLASSIFIER_RECIPE.name}")


@cache
def load_translator(setup: Setup) -> Loaded:
    """Loads the translator of the setup, or builds one of the recipe's shape with random weights."""
    from transformers import AutoTokenizer

    from hf_lstm import LstmForConditionalGeneration

    if setup.translator is not None:
        model = LstmForConditionalGeneration.from_pretrained(setup.translator)
        return Loaded(model.eval(), AutoTokenizer.from_pretrained(setup.translator), "trained weights")
    arguments = read_recipe(TRANSLATOR_RECIPE)
    tokenizer = train_tokenizer(translation_texts(setup.data).train, arguments)
    return Loaded(
        build_translator(setup, len(tokenizer)), tokenizer, f"random weights, shape of {TRANSLATOR_RECIPE.name}"
    )


def build_translator(setup: Setup, vocab_size: int | None = None) -> Any:
    """
    Builds a translator of the recipe's shape with random weights and without dropout.

    Args:
        setup (`Setup`): What the run is set up with.
        vocab_size (`int`, *optional*): Number of tokens; the recipe's by default.
    """
    from hf_lstm import LstmForConditionalGeneration, LstmSeq2SeqConfig

    arguments = read_recipe(TRANSLATOR_RECIPE)
    values = arguments.config_values() | {f"{name}_dropout": 0.0 for name in DROPOUTS}
    values["vocab_size"] = arguments.vocab_size if vocab_size is None else vocab_size
    if setup.quick:
        values |= {"encoder_hidden_size": 16, "decoder_hidden_size": 16}
        values |= {"encoder_embedding_size": 16, "decoder_embedding_size": 16}
    torch.manual_seed(0)
    return LstmForConditionalGeneration(LstmSeq2SeqConfig(**values)).eval()


def count_parameters(model: Any) -> int:
    """Counts the trained numbers of a PyTorch model: tied ones once, fixed ones such as sinusoids not at all."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
