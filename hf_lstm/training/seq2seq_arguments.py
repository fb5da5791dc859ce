"""Arguments of training an encoder–decoder: of the model, of the data, and of the training itself."""

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from transformers import GenerationConfig, PreTrainedConfig, Seq2SeqTrainingArguments

from ..data.checks import InputError
from ..models.configuration_lstm import ATTENTION_TYPES, BRIDGE_TYPES, LstmSeq2SeqConfig
from .common_arguments import CommonDataArguments, CommonModelArguments, CommonTrainingArguments


@dataclass
class Seq2SeqModelArguments(CommonModelArguments):
    """
    Which model and which tokenizers to train, with the fields of `LstmSeq2SeqConfig` under their own names.

    With `shared_vocabulary` source and target share a tokenizer that is trained on both; otherwise each has its own.
    """

    config_class: ClassVar[type[PreTrainedConfig]] = LstmSeq2SeqConfig

    shared_vocabulary: bool = field(
        default=True,
        metadata={"help": "Whether source and target share one vocabulary; --no_shared_vocabulary for two."},
    )
    tokenizer_algorithm: Literal["auto", "word", "char", "bpe", "unigram", "wordpiece"] = field(
        default="auto",
        metadata={"help": "How a new tokenizer cuts text. auto: bpe; char for scripts without spaces."},
    )
    target_tokenizer_algorithm: Literal["auto", "word", "char", "bpe", "unigram", "wordpiece"] = field(
        default="auto", metadata={"help": "The same for the target, where it has a vocabulary of its own."}
    )
    vocab_size: int = field(default=8000, metadata={"help": "Largest number of tokens of a new tokenizer."})
    target_vocab_size: int | None = field(
        default=None, metadata={"help": "The same for the target, where it has a vocabulary of its own; vocab_size."}
    )
    lowercase: bool = field(default=False, metadata={"help": "Whether a new tokenizer ignores case."})

    encoder_embedding_size: int | None = field(default=None, metadata={"help": "Width of the source embeddings."})
    decoder_embedding_size: int | None = field(default=None, metadata={"help": "Width of the target embeddings."})
    encoder_hidden_size: int | None = field(
        default=None, metadata={"help": "Width of each encoder layer's output, of which each direction gives half."}
    )
    decoder_hidden_size: int | None = field(default=None, metadata={"help": "Width of each decoder layer's output."})
    encoder_layers: int | None = field(default=None, metadata={"help": "Number of encoder layers."})
    decoder_layers: int | None = field(default=None, metadata={"help": "Number of decoder layers."})
    encoder_bidirectional: bool | None = field(
        default=None, metadata={"help": "Whether the encoder reads in both directions."}
    )
    residual_connections: bool | None = field(
        default=None, metadata={"help": "Whether a layer's input joins its output."}
    )
    layer_norm: bool | None = field(default=None, metadata={"help": "Whether each layer's output is normalised."})
    layer_norm_eps: float | None = field(default=None, metadata={"help": "Added to the variance in layer_norm."})
    attention_type: str | None = field(
        default=None, metadata={"help": f"How the decoder looks at the source: {', '.join(ATTENTION_TYPES)}."}
    )
    num_attention_heads: int | None = field(default=None, metadata={"help": "Heads of multi_head attention."})
    attention_dropout: float | None = field(default=None, metadata={"help": "Dropout on the attention weights."})
    input_feeding: bool | None = field(
        default=None, metadata={"help": "Whether the decoder reads its last attentional vector; slower to train."}
    )
    copy_attention: bool | None = field(
        default=None, metadata={"help": "Whether source tokens can be copied; needs one vocabulary."}
    )
    bridge_type: str | None = field(
        default=None, metadata={"help": f"How the decoder's states start: {', '.join(BRIDGE_TYPES)}."}
    )
    embedding_dropout: float | None = field(default=None, metadata={"help": "Dropout of whole token types."})
    input_dropout: float | None = field(default=None, metadata={"help": "Locked dropout on the embeddings."})
    hidden_dropout: float | None = field(default=None, metadata={"help": "Locked dropout between the layers."})
    weight_dropout: float | None = field(
        default=None, metadata={"help": "DropConnect on the hidden-to-hidden weights."}
    )
    output_dropout: float | None = field(default=None, metadata={"help": "Locked dropout before the output layer."})
    initializer_range: float | None = field(
        default=None, metadata={"help": "Standard deviation of the initial embeddings."}
    )
    forget_gate_bias: float | None = field(default=None, metadata={"help": "Initial bias of the forget gates."})
    share_embeddings: bool | None = field(
        default=None, metadata={"help": "Whether source and target share embeddings; with one vocabulary they do."}
    )
    tie_word_embeddings: bool | None = field(
        default=None, metadata={"help": "Whether the output layer reuses the target embeddings."}
    )


@dataclass
class Seq2SeqDataArguments(CommonDataArguments):
    """
    Where the pairs of texts come from and how they are read.

    `train_file` and its like hold both sides in columns, or the sources line by line; then `train_target_file` holds
    the targets.
    """

    least = CommonDataArguments.least | {
        "max_source_length": 1,
        "max_target_length": 2,
        "num_beams": 1,
        "no_repeat_ngram_size": 0,
        "noise_shuffle_distance": 0,
        "num_attention_plots": 0,
    }

    task: Literal["translation", "summarization", "text2text", "autoencode"] = field(
        default="text2text",
        metadata={"help": "Chooses metrics and pipeline; autoencode learns to reproduce the source."},
    )
    train_target_file: str | None = field(
        default=None, metadata={"help": "Targets of the training data, one in each line, such as train.en.gz."}
    )
    validation_target_file: str | None = field(
        default=None, metadata={"help": "Targets of the validation data, one in each line."}
    )
    test_target_file: str | None = field(
        default=None, metadata={"help": "Targets of the test data, one in each line."}
    )
    source_column_name: str | None = field(
        default=None, metadata={"help": "Column of the sources; source, text, document or such by default."}
    )
    target_column_name: str | None = field(
        default=None, metadata={"help": "Column of the targets; target, summary or such by default."}
    )
    source_lang: str | None = field(
        default=None, metadata={"help": "Language of the sources: their key in a column `translation`, such as de."}
    )
    target_lang: str | None = field(default=None, metadata={"help": "Language of the targets, such as en."})
    source_prefix: str = field(
        default="", metadata={"help": "Text put before every source; by default the pretrained model's, if any."}
    )
    max_source_length: int = field(
        default=512, metadata={"help": "Tokens of a source that are read; the rest is cut off."}
    )
    max_target_length: int = field(
        default=128, metadata={"help": "Tokens of a target that are learned, and that are generated at most."}
    )
    bleu_tokenize: str | None = field(
        default=None,
        metadata={
            "help": "sacreBLEU's tokenizer: 13a, zh, char …; by default zh for Chinese, char for Japanese, else 13a."
        },
    )
    num_beams: int | None = field(
        default=None,
        metadata={"help": "Beams of generated texts; by default the pretrained model's, or 1: the best next token."},
    )
    length_penalty: float | None = field(
        default=None,
        metadata={"help": "Exponent of the length by which a beam's score is divided; more for longer texts."},
    )
    no_repeat_ngram_size: int | None = field(
        default=None, metadata={"help": "N-grams of this length are not generated twice; 0 to allow it."}
    )
    noise_word_dropout: float = field(
        default=0.0, metadata={"help": "Share of the tokens that autoencoding leaves out of its sources."}
    )
    noise_shuffle_distance: int = field(
        default=0, metadata={"help": "How far autoencoding may move a source's tokens; 0 keeps their order."}
    )
    num_attention_plots: int = field(default=4, metadata={"help": "Attention heat-maps in the report."})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.length_penalty is not None and not math.isfinite(self.length_penalty):
            raise InputError(f"`length_penalty` is {self.length_penalty}, but must be a finite number. Try 1.0.")
        if not 0 <= self.noise_word_dropout < 1:
            raise InputError(
                f"`noise_word_dropout` is {self.noise_word_dropout}, but is a share: at least 0 and below 1."
            )
        if self.task != "autoencode" and (self.noise_word_dropout or self.noise_shuffle_distance):
            raise InputError(
                f"`noise_word_dropout` and `noise_shuffle_distance` are for --task autoencode, but `task` is "
                f"{self.task!r}. Leave them out."
            )
        if self.task == "autoencode" and self.target_column_name is not None:
            raise InputError(
                f"`target_column_name` is {self.target_column_name!r}, but with --task autoencode the source is the "
                "target, too. Leave it out, or name the column to reproduce with --source_column_name."
            )
        if self.source_lang is not None and self.source_lang == self.target_lang:
            raise InputError(f"`source_lang` and `target_lang` are both {self.source_lang!r}, but must differ.")
        for name in ("train", "validation", "test"):
            if getattr(self, f"{name}_target_file") is not None and getattr(self, f"{name}_file") is None:
                raise InputError(f"--{name}_target_file is given without --{name}_file, the file of the sources.")

    def set_generation(self, config: GenerationConfig) -> None:
        """Sets how a model generates texts; of what the user left out, a pretrained model keeps its own."""
        # The start token counts as one.
        config.max_length, config.max_new_tokens = self.max_target_length + 1, None
        for name in ("num_beams", "length_penalty", "no_repeat_ngram_size"):
            if getattr(self, name) is not None:
                setattr(config, name, getattr(self, name))
        config.num_beams = config.num_beams or 1
        config.no_repeat_ngram_size = config.no_repeat_ngram_size or None
        if config.num_beams == 1:
            # What only beams use cannot be saved without them.
            config.length_penalty = config.early_stopping = None


@dataclass
class LstmSeq2SeqTrainingArguments(CommonTrainingArguments, Seq2SeqTrainingArguments):
    """
    The arguments of `transformers.Seq2SeqTrainingArguments` with the defaults and additions of this package.

    Args:
        subword_dropout (`float`, defaults to 0.0):
            Probability with which a piece of a training text, source or target, falls into the two that byte-pair
            encoding merged it from.
    """

    least = CommonTrainingArguments.least | {"generation_num_beams": 1}
    shares = (*CommonTrainingArguments.shares, "subword_dropout")

    per_device_train_batch_size: int = field(default=64, metadata={"help": "Pairs of a training batch, per device."})
    per_device_eval_batch_size: int = field(default=64, metadata={"help": "Pairs of an evaluation batch, per device."})
    learning_rate: float = field(default=3e-3, metadata={"help": "Highest learning rate."})
    lr_scheduler_type: str = field(default="cosine", metadata={"help": "How the learning rate changes."})
    predict_with_generate: bool = field(
        default=True, metadata={"help": "Whether evaluation generates texts; otherwise it computes the loss alone."}
    )
    generation_num_beams: int | None = field(
        default=1, metadata={"help": "Beams of evaluations while training; the end takes num_beams."}
    )
    label_smoothing_factor: float = field(
        default=0.1, metadata={"help": "Probability that the training loss spreads evenly over all tokens."}
    )
    subword_dropout: float = field(
        default=0.0, metadata={"help": "Probability with which a training text's piece falls into its two parts."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.generation_max_length is not None:
            raise InputError(
                f"`generation_max_length` is {self.generation_max_length}, but the length of generated texts is saved "
                "with the model: pass --max_target_length instead."
            )
