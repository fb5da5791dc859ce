"""Arguments of training a classifier: of the model, of the data, and of the training itself."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from transformers import PreTrainedConfig

from ..data.checks import InputError, nearest_name
from ..data.outliers import DROPPABLE
from ..data.text_noise import KINDS, MIXED
from ..models.configuration_lstm import CLASSIFIER_POOLINGS, LstmConfig
from .common_arguments import CommonDataArguments, CommonModelArguments, CommonTrainingArguments


@dataclass
class ModelArguments(CommonModelArguments):
    """Which model and which tokenizer to train, with the fields of `LstmConfig` under their own names."""

    config_class: ClassVar[type[PreTrainedConfig]] = LstmConfig

    tokenizer_algorithm: Literal["auto", "word", "char", "bpe", "unigram", "wordpiece"] = field(
        default="auto",
        metadata={
            "help": "How a new tokenizer cuts text. auto: word where words stand between spaces, char for Chinese, "
            "Japanese and other scripts without spaces."
        },
    )
    lowercase: bool = field(default=True, metadata={"help": "Whether a new tokenizer ignores case."})
    add_bos: bool = field(default=False, metadata={"help": "Whether a new tokenizer puts <s> before each text."})
    add_eos: bool = field(default=False, metadata={"help": "Whether a new tokenizer puts </s> after each text."})
    embedding_size: int | None = field(default=None, metadata={"help": "Width of the token embeddings."})
    embedding_rank: int | None = field(
        default=None, metadata={"help": "Width of the table of embeddings, if factorised to be smaller."}
    )
    hidden_size: int | None = field(
        default=None, metadata={"help": "Width of each layer's output, of which each direction gives half."}
    )
    num_hidden_layers: int | None = field(default=None, metadata={"help": "Number of LSTM layers."})
    last_hidden_size: int | None = field(
        default=None, metadata={"help": "Width of the last layer's output, if another."}
    )
    bidirectional: bool | None = field(default=None, metadata={"help": "Whether the layers read in both directions."})
    residual_connections: bool | None = field(
        default=None, metadata={"help": "Whether a layer's input joins its output."}
    )
    layer_norm: bool | None = field(default=None, metadata={"help": "Whether each layer's output is normalised."})
    layer_norm_eps: float | None = field(default=None, metadata={"help": "Added to the variance in layer_norm."})
    embedding_dropout: float | None = field(default=None, metadata={"help": "Dropout of whole word types."})
    input_dropout: float | None = field(default=None, metadata={"help": "Locked dropout on the embeddings."})
    hidden_dropout: float | None = field(default=None, metadata={"help": "Locked dropout between the layers."})
    weight_dropout: float | None = field(
        default=None, metadata={"help": "DropConnect on the hidden-to-hidden weights."}
    )
    output_dropout: float | None = field(default=None, metadata={"help": "Locked dropout on the last layer's output."})
    classifier_dropout: float | None = field(default=None, metadata={"help": "Dropout before the classifier."})
    classifier_pooling: str | None = field(
        default=None, metadata={"help": f"How a text becomes one vector: {', '.join(CLASSIFIER_POOLINGS)}."}
    )
    classifier_shortcut: bool | None = field(
        default=None, metadata={"help": "Whether the classifier also reads the mean embedding."}
    )
    ngram_orders: list[int] | None = field(
        default=None,
        metadata={"help": "Lengths of the n-grams with embeddings, such as 2 3; nothing after it for none."},
    )
    ngram_buckets: int | None = field(default=None, metadata={"help": "Number of embeddings shared by the n-grams."})
    ngram_dropout: float | None = field(default=None, metadata={"help": "Dropout of single n-grams."})
    classifier_ngram_orders: list[int] | None = field(
        default=None, metadata={"help": "Lengths of the n-grams which the classifier reads directly."}
    )
    classifier_ngram_buckets: int | None = field(
        default=None, metadata={"help": "Number of weights per label shared by the classifier's n-grams."}
    )
    classifier_ngram_dropout: float | None = field(
        default=None, metadata={"help": "Dropout of single n-grams of the classifier."}
    )
    initializer_range: float | None = field(
        default=None, metadata={"help": "Standard deviation of the initial embeddings."}
    )
    forget_gate_bias: float | None = field(default=None, metadata={"help": "Initial bias of the forget gates."})


@dataclass
class DataArguments(CommonDataArguments):
    """Where the texts and labels come from and how they are read."""

    least = CommonDataArguments.least | {"max_length": 1}
    text_column_names: list[str] | None = field(
        default=None, metadata={"help": "Columns joined to the text; text or sentence by default."}
    )
    text_column_delimiter: str = field(default=" ", metadata={"help": "Written between joined columns."})
    text_pair_column_name: str | None = field(
        default=None, metadata={"help": "Column of the second text, for pairs such as question and answer."}
    )
    label_column_name: str | None = field(default=None, metadata={"help": "Column of the label; label by default."})
    label_delimiter: str | None = field(
        default=None, metadata={"help": "What separates several labels in one cell, for multi-label data."}
    )
    problem_type: Literal["single_label_classification", "multi_label_classification", "regression"] | None = field(
        default=None, metadata={"help": "By default single-label, or multi-label where labels are lists."}
    )
    max_length: int = field(default=1024, metadata={"help": "Tokens of a text that are read; the rest is cut off."})
    drop_rows: list[str] | None = field(
        default=None,
        metadata={"help": f"Training rows to leave out: {', '.join(DROPPABLE)}. Test rows never are."},
    )
    find_wrong_labels: bool = field(
        default=False,
        metadata={"help": "Whether to look for probably wrong labels with a linear model, which takes a while."},
    )
    linear_baseline: bool = field(
        default=False,
        metadata={"help": "Whether to score TF-IDF with a linear model on the same data beside the LSTM."},
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.label_delimiter == "":
            raise InputError(
                "`label_delimiter` is empty, but must separate labels. Pass ',' or such, or leave it out."
            )
        for kind in self.drop_rows or ():
            if kind not in DROPPABLE:
                raise InputError(
                    f"`drop_rows` has {kind!r}, but may hold {', '.join(DROPPABLE)}.{nearest_name(kind, DROPPABLE)}"
                )


@dataclass
class LstmTrainingArguments(CommonTrainingArguments):
    """
    The arguments of `CommonTrainingArguments` and those of classifiers.

    Args:
        class_weights (`list[str]`, *optional*):
            `"balanced"` for weights against the classes' frequency, or a weight for each class in the labels' order.
            Holds `"balanced"` or a `list[float]` once constructed.
        ngram_learning_rate (`float`, *optional*):
            Highest learning rate of the weights of `classifier_ngram_orders`; `learning_rate` by default.
        naive_bayes_start (`bool`, defaults to `True`):
            Whether a new model's n-gram classifier (`classifier_ngram_orders`) starts from the training texts'
            log-count ratios.
        noise_rate (`float`, defaults to 0.0):
            Highest share of the characters of a training text that are disturbed, differently in each epoch; each
            text's share is drawn between 0 and this.
        noise_kind (`str`, defaults to `"mixed"`): Kind of this noise, as described in `TextNoise`.
    """

    least = CommonTrainingArguments.least | {"ngram_learning_rate": 0}
    shares = (*CommonTrainingArguments.shares, "noise_rate")

    class_weights: list[str] | None = field(
        default=None, metadata={"help": "balanced, or a weight for each class in the labels' order."}
    )
    ngram_learning_rate: float | None = field(
        default=None, metadata={"help": "Highest learning rate of the n-gram classifier, where it has one of its own."}
    )
    naive_bayes_start: bool = field(
        default=True, metadata={"help": "Whether a new n-gram classifier starts from counts of the training texts."}
    )
    noise_rate: float = field(
        default=0.0, metadata={"help": "Highest share of a training text's characters that are disturbed each epoch."}
    )
    noise_kind: str = field(default=MIXED, metadata={"help": f"Kind of the noise: {', '.join(KINDS)}."})

    def __post_init__(self) -> None:
        self.class_weights = _parse_class_weights(self.class_weights)
        if self.noise_kind not in KINDS:
            raise InputError(
                f"`noise_kind` is {self.noise_kind!r}, but must be one of {', '.join(KINDS)}."
                f"{nearest_name(self.noise_kind, KINDS)}"
            )
        super().__post_init__()


def _parse_class_weights(values: Any) -> Any:
    """Turns what flags and files hold into `None`, `"balanced"` or a list of floats."""
    if values is None or values == "balanced" or list(values) == ["balanced"]:
        return None if values is None else "balanced"
    try:
        weights = [float(value) for value in values]
    except (TypeError, ValueError):
        weights = []
    if not weights or not all(0 <= weight < float("inf") for weight in weights) or not any(weights):
        raise InputError(
            f"`class_weights` is {values!r}, but must be 'balanced' or a number of at least 0 for each class, such as "
            "0.5 2.0."
        )
    return weights
