"""Arguments of training: of the model, of the data, and of the training itself."""

import re
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import torch
from transformers import TrainingArguments

from ..data.checks import InputError
from ..models.configuration_lstm import CLASSIFIER_POOLINGS, LstmConfig


@dataclass
class ModelArguments:
    """
    Which model and which tokenizer to train, or to train on from.

    The fields under their `LstmConfig` names may stay `None`: a new model then takes the task's default, or else the
    configuration's, and a pretrained model keeps what it has.
    """

    model_name_or_path: str | None = field(
        default=None, metadata={"help": "Pretrained model to train on from, a folder or a name on the Hub."}
    )
    model_revision: str | None = field(
        default=None, metadata={"help": "Branch, tag or commit of the pretrained model."}
    )
    tokenizer_name_or_path: str | None = field(
        default=None,
        metadata={
            "help": "Tokenizer to use; by default the pretrained model's, else one is trained on the training texts."
        },
    )

    tokenizer_algorithm: Literal["auto", "word", "char", "bpe", "unigram", "wordpiece"] = field(
        default="auto",
        metadata={
            "help": "How a new tokenizer cuts text. auto: word where words stand between spaces, char for Chinese, "
            "Japanese and other scripts without spaces."
        },
    )
    vocab_size: int = field(default=30000, metadata={"help": "Largest number of tokens of a new tokenizer."})
    min_frequency: int = field(default=2, metadata={"help": "How often a token must occur to enter a new tokenizer."})
    lowercase: bool = field(default=True, metadata={"help": "Whether a new tokenizer ignores case."})
    normalization: Literal["nfkc", "none"] = field(
        default="nfkc", metadata={"help": "Unicode normalisation of a new tokenizer."}
    )
    add_bos: bool = field(default=False, metadata={"help": "Whether a new tokenizer puts <s> before each text."})
    add_eos: bool = field(default=False, metadata={"help": "Whether a new tokenizer puts </s> after each text."})

    embedding_size: int | None = field(default=None, metadata={"help": "Width of the token embeddings."})
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
        default=None, metadata={"help": "Number of embeddings shared by the classifier's n-grams."}
    )
    classifier_ngram_dropout: float | None = field(
        default=None, metadata={"help": "Dropout of single n-grams of the classifier."}
    )
    initializer_range: float | None = field(default=None, metadata={"help": "Bound of the initial embeddings."})
    forget_gate_bias: float | None = field(default=None, metadata={"help": "Initial bias of the forget gates."})

    def config_values(self) -> dict[str, Any]:
        """Returns the `LstmConfig` fields which the user set, but for the tokenizer's `vocab_size`."""
        names = {item.name for item in fields(LstmConfig)} - {"vocab_size"}
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.name in names}
        return {name: value for name, value in values.items() if value is not None}


@dataclass
class DataArguments:
    """Where the texts and labels come from and how they are read."""

    train_file: str | None = field(
        default=None, metadata={"help": "Training data: csv, tsv, json, jsonl or parquet, also gzipped (.csv.gz)."}
    )
    validation_file: str | None = field(
        default=None, metadata={"help": "Validation data; by default split off the training data."}
    )
    test_file: str | None = field(
        default=None, metadata={"help": "Labelled data that is only used for the final score."}
    )
    predict_file: str | None = field(
        default=None,
        metadata={"help": "Texts to label once trained, in the same formats or as txt with one text a line."},
    )
    file_encoding: str = field(
        default="utf-8", metadata={"help": "How text is written in the files, such as gb18030."}
    )

    dataset_name: str | None = field(
        default=None, metadata={"help": "Data set of the Hub or a local folder of one, in place of train_file."}
    )
    dataset_config_name: str | None = field(default=None, metadata={"help": "Configuration of the data set."})
    dataset_revision: str | None = field(default=None, metadata={"help": "Branch, tag or commit of the data set."})
    train_split_name: str | None = field(default=None, metadata={"help": "Split to train on (train)."})
    validation_split_name: str | None = field(default=None, metadata={"help": "Split to validate on (validation)."})
    test_split_name: str | None = field(default=None, metadata={"help": "Split for the final score (test)."})
    remove_splits: list[str] | None = field(default=None, metadata={"help": "Splits of the data set to leave out."})
    cache_dir: str | None = field(default=None, metadata={"help": "Where data sets and models are kept."})

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

    validation_split_percentage: float = field(
        default=10.0, metadata={"help": "Share of the training data to validate on where none is given; 0 for none."}
    )
    validation_split_method: Literal["random", "md5"] = field(
        default="random",
        metadata={"help": "Rows drawn by seed, in equal shares of each label, or by the texts' md5 hash."},
    )
    validation_split_seed: int = field(default=42, metadata={"help": "Seed of the random validation split."})
    max_train_samples: int | None = field(default=None, metadata={"help": "Train on this many rows at most."})
    max_eval_samples: int | None = field(
        default=None, metadata={"help": "Validate and test on this many rows at most."}
    )
    max_predict_samples: int | None = field(default=None, metadata={"help": "Label this many rows at most."})
    sample_seed: int = field(default=42, metadata={"help": "Seed that draws the rows of max_*_samples."})

    max_length: int = field(default=1024, metadata={"help": "Tokens of a text that are read; the rest is cut off."})
    preprocessing_num_workers: int | None = field(default=None, metadata={"help": "Processes that tokenise."})
    overwrite_cache: bool = field(
        default=False, metadata={"help": "Whether to tokenise anew what was tokenised before."}
    )
    metric_name: str | None = field(
        default=None,
        metadata={
            "help": "Metric that picks the best checkpoint: a local one such as f1, or any name of evaluate.load."
        },
    )
    languages: list[str] | None = field(
        default=None, metadata={"help": "Languages of the texts, for the model card, such as en zh."}
    )
    license_name: str | None = field(default=None, metadata={"help": "The model's licence, for the model card."})
    linear_baseline: bool = field(
        default=False,
        metadata={"help": "Whether to score TF-IDF with a linear model on the same data beside the LSTM."},
    )

    def __post_init__(self) -> None:
        if self.dataset_name is not None and self.train_file is not None:
            raise InputError("Both --train_file and --dataset_name are given. Pass one of them for the training data.")
        if not 0 <= self.validation_split_percentage < 100:
            raise InputError(
                f"`validation_split_percentage` is {self.validation_split_percentage}, but must be at least 0 (no "
                "validation) and below 100. Take 10, say."
            )
        for name in ("max_train_samples", "max_eval_samples", "max_predict_samples", "max_length"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"`{name}` is {value}, but must be at least 1.")
        for language in self.languages or ():
            if not re.fullmatch("[a-z]{2,3}|multilingual", language):
                raise InputError(
                    f"`languages` has {language!r}, but must hold ISO 639 codes such as 'en' or 'zh', or "
                    "'multilingual'."
                )


@dataclass
class LstmTrainingArguments(TrainingArguments):
    """
    The arguments of `transformers.TrainingArguments` with defaults that suit LSTMs, and a few more.

    Args:
        class_weights (`list[str]`, *optional*):
            `"balanced"` for weights against the classes' frequency, or a weight for each class in the labels' order.
            Holds `"balanced"` or a `list[float]` once constructed.
        ngram_learning_rate (`float`, *optional*):
            Highest learning rate of the weights of `classifier_ngram_orders`; `learning_rate` by default.
        weight_averaging (`float`, defaults to 0.0):
            Decay of the moving average of the weights that is evaluated and saved; 0 for none.
        word_dropout (`float`, defaults to 0.0):
            Probability with which a token of a training text becomes `<unk>`.
        naive_bayes_start (`bool`, defaults to `True`):
            Whether a new model's n-gram classifier (`classifier_ngram_orders`) starts from the training texts'
            log-count ratios.
        early_stopping_patience (`int`, defaults to 0):
            Evaluations without a better metric after which training stops; 0 to train all epochs.
        restart (`bool`, defaults to `False`):
            Whether to delete the checkpoints in `output_dir` and start anew, where training would resume from the
            last.
    """

    do_train: bool = field(
        default=True, metadata={"help": "Whether to train; --no_do_train to only evaluate or label."}
    )
    per_device_train_batch_size: int = field(default=32, metadata={"help": "Texts of a training batch, per device."})
    per_device_eval_batch_size: int = field(
        default=128, metadata={"help": "Texts of an evaluation batch, per device."}
    )
    learning_rate: float = field(default=1e-3, metadata={"help": "Highest learning rate."})
    num_train_epochs: float = field(default=10.0, metadata={"help": "Passes over the training data."})
    lr_scheduler_type: str = field(default="linear", metadata={"help": "How the learning rate changes."})
    warmup_steps: float = field(
        default=0.05, metadata={"help": "Steps of rising learning rate, or their share below 1."}
    )
    weight_decay: float = field(default=0.01, metadata={"help": "Decoupled weight decay."})
    max_grad_norm: float = field(default=1.0, metadata={"help": "Largest norm of the gradient."})
    optim: str = field(default="adamw_torch_fused", metadata={"help": "Optimizer."})
    eval_strategy: str = field(default="epoch", metadata={"help": "When to evaluate: no, steps or epoch."})
    save_strategy: str = field(
        default="epoch", metadata={"help": "When to save a checkpoint: no, steps, epoch or best."}
    )
    save_total_limit: int | None = field(default=2, metadata={"help": "Checkpoints kept, the best among them."})
    load_best_model_at_end: bool = field(default=True, metadata={"help": "Whether the best checkpoint is the result."})
    logging_steps: float = field(default=50, metadata={"help": "Steps between logged losses."})
    report_to: None | str | list[str] = field(  # noqa: RUF036  # the order that the parser understands
        default="none", metadata={"help": "Trackers to log to, such as tensorboard."}
    )
    label_names: list[str] | None = field(
        default_factory=lambda: ["labels"], metadata={"help": "Columns of the data that hold what is to be predicted."}
    )
    dataloader_pin_memory: bool = field(
        default_factory=torch.accelerator.is_available, metadata={"help": "Whether batches are kept in pinned memory."}
    )
    train_sampling_strategy: str = field(
        default="group_by_length", metadata={"help": "Order of training texts: random, sequential or group_by_length."}
    )

    class_weights: list[str] | None = field(
        default=None, metadata={"help": "balanced, or a weight for each class in the labels' order."}
    )
    ngram_learning_rate: float | None = field(
        default=None, metadata={"help": "Highest learning rate of the n-gram classifier, where it has one of its own."}
    )
    weight_averaging: float = field(
        default=0.0, metadata={"help": "Decay of the weights' moving average; 0 for none."}
    )
    word_dropout: float = field(
        default=0.0, metadata={"help": "Probability with which a token of a training text becomes <unk>."}
    )
    naive_bayes_start: bool = field(
        default=True, metadata={"help": "Whether a new n-gram classifier starts from counts of the training texts."}
    )
    early_stopping_patience: int = field(
        default=0, metadata={"help": "Evaluations without a better metric after which training stops; 0 for never."}
    )
    restart: bool = field(
        default=False,
        metadata={"help": "Whether to delete output_dir's checkpoints where training would resume from them."},
    )

    def __post_init__(self) -> None:
        if self.output_dir is None:
            raise InputError("Pass --output_dir, the folder to write the model, its report and its checkpoints to.")
        for name in ("word_dropout", "weight_averaging"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"`{name}` is {getattr(self, name)}, but must be at least 0 and below 1.")
        self.class_weights = _parse_class_weights(self.class_weights)
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
