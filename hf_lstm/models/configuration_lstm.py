"""Configurations of the LSTM models: of the encoder with its heads, and of the encoder–decoder."""

from collections.abc import Iterable
from dataclasses import field
from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from huggingface_hub.errors import StrictDataclassFieldValidationError
from transformers import PreTrainedConfig
from transformers.utils.versions import require_version

# These files travel with the weights, so that they may meet any version of transformers.
require_version("transformers>=5.24", "Install it with `pip install 'transformers>=5.24,<6'`.")

CLASSIFIER_POOLINGS = ("last", "mean", "max", "concat", "attention")
ATTENTION_TYPES = ("luong_dot", "luong_general", "bahdanau", "multi_head", "none")
BRIDGE_TYPES = ("linear", "copy", "zero")
# What `LstmSeq2SeqConfig` says of both sides, and `LstmConfig` by the same names of an encoder alone.
ENCODER_FIELDS = (
    "residual_connections",
    "layer_norm",
    "layer_norm_eps",
    "embedding_dropout",
    "input_dropout",
    "hidden_dropout",
    "weight_dropout",
    "initializer_range",
    "forget_gate_bias",
    "pad_token_id",
    "bos_token_id",
    "eos_token_id",
)
# Far more than can be trained; a damaged or hostile configuration would keep a processor busy with building layers.
MAX_LAYERS = 1000
MAX_SIZE = 2**31 - 1  # as far as the kernels count
LARGEST = 1e38  # of 32-bit floating-point numbers, about


def check_sizes(config: PreTrainedConfig, names: Iterable[str]) -> None:
    """Raises a `ValueError` for a size that no tensor can have; one that is `None` passes."""
    for name in names:
        size = getattr(config, name)
        if size is not None and not 1 <= size <= MAX_SIZE:
            rule = "at least 1" if size < 1 else f"at most {MAX_SIZE}"
            raise ValueError(f"`{name}` is {size}, but must be {rule}.")


def check_layers(config: PreTrainedConfig, names: Iterable[str]) -> None:
    """Raises a `ValueError` for more layers than a model can have."""
    for name in names:
        if getattr(config, name) > MAX_LAYERS:
            raise ValueError(f"`{name}` is {getattr(config, name)}, but must be at most {MAX_LAYERS}.")


def check_initial_weights(config: PreTrainedConfig) -> None:
    """Raises a `ValueError` for settings of the initial weights or of the layer norm that are no usable numbers."""
    for name in ("initializer_range", "layer_norm_eps", "forget_gate_bias"):
        value, least = getattr(config, name), -LARGEST if name == "forget_gate_bias" else 0
        if not least <= value <= LARGEST:
            rule = f"must be at least {least:g} and at most {LARGEST:g}"
            raise ValueError(f"`{name}` is {value}, but {rule}. Leave it out for the default.")


def check_halves(config: PreTrainedConfig, names: Iterable[str], switch: str) -> None:
    """Raises a `ValueError` for a width that cannot be shared by two directions."""
    for name in names:
        size = getattr(config, name)
        if getattr(config, switch) and size is not None and size % 2:
            raise ValueError(
                f"`{name}` is {size}, but must be even when `{switch}`: each direction gives half of it. "
                f"Try {size + 1}."
            )


def check_dropouts(config: PreTrainedConfig, names: Iterable[str]) -> None:
    """Raises a `ValueError` for a dropout that is no probability below 1."""
    for name in (f"{name}_dropout" for name in names):
        if not 0 <= getattr(config, name) < 1:
            raise ValueError(
                f"`{name}` is {getattr(config, name)}, but is a probability: at least 0 and below 1. Try 0.5."
            )


def check_residual_connections(config: PreTrainedConfig, widths: list[int], where: str) -> None:
    """Raises a `ValueError` if residual connections are asked for where no layer can have one."""
    if config.residual_connections and not any(a == b for a, b in zip(widths, widths[1:])):
        raise ValueError(
            f"`residual_connections` is True, but no layer's output is as wide as its input: the widths{where} are "
            f"{widths}. Make two neighbours equal, or turn it off."
        )


def check_choice(config: PreTrainedConfig, name: str, choices: tuple[str, ...]) -> None:
    """Raises a `ValueError` for a value that is none of the choices."""
    if getattr(config, name) not in choices:
        raise ValueError(f"`{name}` is {getattr(config, name)!r}, but must be one of {list(choices)}.")


def check_token_ids(config: PreTrainedConfig, names: Iterable[str], sizes: Iterable[str]) -> None:
    """Raises a `ValueError` for a special token which one of the vocabularies does not hold."""
    for name in names:
        token_id = getattr(config, name)
        for size in sizes:
            if token_id is not None and not 0 <= token_id < getattr(config, size):
                raise ValueError(
                    f"`{name}` is {token_id}, but must be a token id below `{size}` "
                    f"({getattr(config, size)}), or None."
                )


def check_kind(config: PreTrainedConfig, is_encoder_decoder: bool) -> None:
    """Raises a `ValueError` if transformers would take a model with one part for one with two, or the reverse."""
    if config.is_encoder_decoder != is_encoder_decoder:
        raise ValueError(
            f"`is_encoder_decoder` is {config.is_encoder_decoder}, but always {is_encoder_decoder} for "
            f"`model_type` {config.model_type!r}. Leave it out."
        )


def field_error(name: str, message: str) -> StrictDataclassFieldValidationError:
    """Returns what to raise for a field that must be right before the rules are checked."""
    cause = ValueError(message)
    error = StrictDataclassFieldValidationError(name, cause)
    error.__cause__ = cause
    return error


def is_automatic(label2id: dict[str, Any] | None) -> bool:
    """Tells whether the names of labels are missing, or those that transformers gives by itself."""
    return all(name == f"LABEL_{number}" for name, number in (label2id or {}).items())


class SavedPipelines(dict[str, Any]):
    """
    Holds the pipelines in a checkpoint's own files, by task.

    transformers takes them from there, and asks for trust in that code, unless they do not seem to be there: a task
    that is registered already is served by the installed code.
    """

    def __contains__(self, task: object) -> bool:
        from transformers.pipelines import PIPELINE_REGISTRY

        return super().__contains__(task) and task not in PIPELINE_REGISTRY.supported_tasks


class OwnArchitecture:
    """
    Refuses the saved fields of another architecture, whose weights would be left out with a warning only, and those
    that would make transformers fetch and run code.
    """

    model_type: str
    attribute_map: dict[str, str]
    dtype: Any

    def __setattr__(self, name: str, value: Any) -> None:
        # By its own name, by which its type is checked.
        super().__setattr__(type(self).attribute_map.get(name, name), value)

    def __post_init__(self, **kwargs: Any) -> None:
        for dtype in (self.dtype, kwargs.get("torch_dtype")):
            if isinstance(dtype, str) and not isinstance(getattr(torch, dtype, None), torch.dtype):
                raise field_error("dtype", f"`dtype` is {dtype!r}, but must be a type of torch, such as 'float32'.")
        super().__post_init__(**kwargs)  # type: ignore[misc]
        pipelines = getattr(self, "custom_pipelines", None)
        if pipelines is not None:
            if not isinstance(pipelines, dict):
                raise field_error(
                    "custom_pipelines", f"`custom_pipelines` is {pipelines!r}, but must name pipelines by their tasks."
                )
            self.custom_pipelines: dict[str, Any] = SavedPipelines(pipelines)

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """
        Builds the configuration from its saved fields.

        Raises:
            ValueError: If they describe another architecture.
            huggingface_hub.errors.StrictDataclassError: If they, or the changes in `kwargs`, break a rule.
        """
        model_type = config_dict.get("model_type", cls.model_type)
        if model_type != cls.model_type:
            raise ValueError(
                f"`model_type` of the checkpoint is {model_type!r}, but this class loads {cls.model_type!r} only. "
                "Load it with the class of its own architecture, or with the auto classes."
            )
        config = super().from_dict(config_dict, **kwargs)  # type: ignore[misc]
        (config[0] if isinstance(config, tuple) else config).validate()
        return config

    def validate_kernels(self) -> None:
        """Raises a `ValueError` where a kernel of attention is named, which transformers may fetch from the Hub."""
        kernel = getattr(self, "_attn_implementation", None)
        if kernel not in (None, "eager", "sdpa"):
            raise ValueError(
                f"`attn_implementation` is {kernel!r}, for which transformers may run code from the Hub, but LSTMs "
                "have no use for it: leave it out, and remove it from config.json."
            )


@strict
class LstmConfig(OwnArchitecture, PreTrainedConfig):
    """
    Describes an LSTM encoder or language model and its heads.

    Args:
        vocab_size (`int`, defaults to 30000):
            Number of different tokens; every id in `input_ids` is smaller.
        embedding_size (`int`, defaults to 256):
            Width of the token embeddings.
        embedding_rank (`int`, *optional*):
            Width of the table of token embeddings where it is smaller than `embedding_size`, to which a linear map
            then brings them (factorised embeddings, https://huggingface.co/papers/1909.11942, section 3.1). `None` for
            a table of full width.
        hidden_size (`int`, defaults to 512):
            Width of each layer's output. A bidirectional layer gives each direction half of it: it must be even then.
        num_hidden_layers (`int`, defaults to 1):
            Number of LSTM layers.
        last_hidden_size (`int`, *optional*):
            Width of the last layer's output, `hidden_size` when `None`.
            AWD-LSTM (https://huggingface.co/papers/1708.02182) has 400 here beside a `hidden_size` of 1150.
        bidirectional (`bool`, defaults to `False`):
            Whether each layer reads the sequence in both directions.
        residual_connections (`bool`, defaults to `False`):
            Whether a layer's input is added to its output, in every layer whose input and output are equally wide.
        layer_norm (`bool`, defaults to `False`):
            Whether each layer's output (after the residual connection) is layer-normalised.
        layer_norm_eps (`float`, defaults to 1e-5):
            Added to the variance inside the layer normalisation.
        embedding_dropout (`float`, defaults to 0.0):
            Probability that all occurrences of a token in the batch lose their embedding (AWD-LSTM, section 4.3).
        input_dropout (`float`, defaults to 0.0):
            Locked dropout on the embeddings: one mask for all positions of a sequence (AWD-LSTM, section 4.2).
        hidden_dropout (`float`, defaults to 0.0):
            Locked dropout between the layers.
        weight_dropout (`float`, defaults to 0.0):
            DropConnect on the hidden-to-hidden weights (AWD-LSTM, section 2).
        output_dropout (`float`, defaults to 0.0):
            Locked dropout on the last layer's output.
        classifier_dropout (`float`, defaults to 0.0):
            Dropout on the features which a classification head reads.
        classifier_pooling (`str`, defaults to `"max"`):
            How a sequence becomes one vector: `"last"` (forward state after the last token beside the reverse state
            at the first), `"mean"`, `"max"`, `"concat"` (last, max and mean side by side, as in ULMFiT,
            https://huggingface.co/papers/1801.06146, section 3.3) or `"attention"` (learned weights,
            https://aclanthology.org/P16-2034, equations 9 to 11).
        classifier_shortcut (`bool`, defaults to `False`):
            Whether the classifier also reads the mean of the embeddings, past the LSTM layers. With n-grams, this
            contains fastText's classifier (https://aclanthology.org/E17-2068).
        ngram_orders (`list[int]`, defaults to `[]`):
            Lengths of the token n-grams, 2 or more, whose embeddings are added to the token's embedding. They are
            computed from `input_ids` inside the model, over real tokens only, and end at the token they are added to.
        ngram_buckets (`int`, defaults to 100000):
            Number of embeddings which all n-grams share through hashing.
        ngram_dropout (`float`, defaults to 0.0):
            Probability with which a single n-gram's embedding is left out.
        classifier_ngram_orders (`list[int]`, defaults to `[]`):
            Lengths of the token n-grams, 1 or more, which a linear classifier reads beside the LSTM. The sequence
            classifier's logits are then the mean of both (https://huggingface.co/papers/1606.07792, figure 1, but each
            side has a loss of its own).
        classifier_ngram_buckets (`int`, defaults to 262144):
            Number of weights per label which all these n-grams share through hashing.
        classifier_ngram_dropout (`float`, defaults to 0.0):
            Probability with which the linear classifier misses an n-gram in training.
        initializer_range (`float`, defaults to 0.1):
            Standard deviation of the normal distribution that token embeddings start from.
        forget_gate_bias (`float`, defaults to 1.0):
            Initial bias of the forget gates (https://proceedings.mlr.press/v37/jozefowicz15, section 2.2).
        use_cache (`bool`, defaults to `True`):
            Whether the model returns its recurrent state outside of training.
        pad_token_id (`int`, *optional*, defaults to 0):
            Token that fills shorter sequences of a batch.
        bos_token_id (`int`, *optional*, defaults to 2):
            Token that starts a sequence.
        eos_token_id (`int` or `list[int]`, *optional*, defaults to 3):
            Token that ends a sequence.
        tie_word_embeddings (`bool`, defaults to `False`):
            Whether the language-model head reuses the table of token embeddings. It then projects to the table's width
            first where the last layer is of another one.
        adaptive_softmax_cutoffs (`list[int]`, defaults to `[]`):
            Token ids, rising, at which clusters of rarer tokens start: the language-model head then is an adaptive
            softmax (https://huggingface.co/papers/1609.04309). It wants ids sorted by falling frequency, as those of
            words are in an `LstmTokenizer`. An ordinary head when empty.
        adaptive_softmax_div_value (`float`, defaults to 4.0):
            How many times fewer features each such cluster has than the one before it.

    Raises:
        huggingface_hub.errors.StrictDataclassError: If a value is of the wrong type or breaks one of these rules.

    Example:

    ```python
    >>> from hf_lstm import LstmConfig, LstmModel

    >>> config = LstmConfig(vocab_size=1000, hidden_size=128, num_hidden_layers=2, bidirectional=True)
    >>> model = LstmModel(config)
    ```
    """

    model_type = "hf_lstm"
    keys_to_ignore_at_inference = ["cache"]

    vocab_size: int = 30000
    embedding_size: int = 256
    embedding_rank: int | None = None
    hidden_size: int = 512
    num_hidden_layers: int = 1
    last_hidden_size: int | None = None
    bidirectional: bool = False
    residual_connections: bool = False
    layer_norm: bool = False
    layer_norm_eps: float | int = 1e-5
    embedding_dropout: float | int = 0.0
    input_dropout: float | int = 0.0
    hidden_dropout: float | int = 0.0
    weight_dropout: float | int = 0.0
    output_dropout: float | int = 0.0
    classifier_dropout: float | int = 0.0
    classifier_pooling: str = "max"
    classifier_shortcut: bool = False
    ngram_orders: list[int] = field(default_factory=list)
    ngram_buckets: int = 100_000
    ngram_dropout: float | int = 0.0
    classifier_ngram_orders: list[int] = field(default_factory=list)
    classifier_ngram_buckets: int = 262_144
    classifier_ngram_dropout: float | int = 0.0
    initializer_range: float | int = 0.1
    forget_gate_bias: float | int = 1.0
    use_cache: bool = True
    pad_token_id: int | None = 0
    bos_token_id: int | None = 2
    eos_token_id: int | list[int] | None = 3
    tie_word_embeddings: bool = False
    adaptive_softmax_cutoffs: list[int] = field(default_factory=list)
    adaptive_softmax_div_value: float | int = 4.0

    def __post_init__(self, **kwargs: Any) -> None:
        for key in self.id2label or ():
            if not str(key).isdecimal():
                raise field_error("id2label", f"`id2label` has the key {key!r}, but keys are numbers from 0 on.")
        super().__post_init__(**kwargs)
        numbers: Any = getattr(self, "label2id", None)
        if is_automatic(numbers):
            numbers = {name: number for number, name in (self.id2label or {}).items()}
        elif all(str(number).isdecimal() for number in numbers.values()):  # text in JSON of others
            numbers = {name: int(number) for name, number in numbers.items()}
        self.label2id: dict[str, int] = numbers

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """
        Builds the configuration from its saved fields; labels that are given take the place of both saved maps.

        Raises:
            ValueError: If they describe another architecture.
            huggingface_hub.errors.StrictDataclassError: If they, or the changes in `kwargs`, break a rule.
        """
        if kwargs.get("id2label") is not None:
            labels = {"id2label": kwargs.pop("id2label"), "label2id": kwargs.pop("label2id", None)}
            config_dict = {**config_dict, **labels}
        return super().from_dict(config_dict, **kwargs)

    @property
    def embedding_table_size(self) -> int:
        """Width of the table of token embeddings, before a linear map where they are factorised."""
        return self.embedding_size if self.embedding_rank is None else self.embedding_rank

    @property
    def layer_sizes(self) -> list[int]:
        """Widths along the model: of the embeddings, then of each layer's output."""
        last = self.hidden_size if self.last_hidden_size is None else self.last_hidden_size
        return [self.embedding_size] + [self.hidden_size] * (self.num_hidden_layers - 1) + [last]

    def validate_architecture(self) -> None:
        """Raises a `ValueError` that names the value and the rule for a model that cannot be built."""
        check_kind(self, is_encoder_decoder=False)
        check_sizes(self, ("vocab_size", "embedding_size", "hidden_size", "num_hidden_layers", "last_hidden_size"))
        check_sizes(self, ("embedding_rank", "ngram_buckets", "classifier_ngram_buckets", "num_labels"))
        check_layers(self, ("num_hidden_layers",))
        check_initial_weights(self)
        check_halves(self, ("hidden_size", "last_hidden_size"), "bidirectional")
        check_residual_connections(self, self.layer_sizes, "")
        check_dropouts(self, ("embedding", "input", "hidden", "weight", "output", "classifier"))
        check_dropouts(self, ("ngram", "classifier_ngram"))
        check_choice(self, "classifier_pooling", CLASSIFIER_POOLINGS)
        for name, least in (("ngram_orders", 2), ("classifier_ngram_orders", 1)):
            orders = getattr(self, name)
            if any(order < least for order in orders) or len(set(orders)) < len(orders):
                raise ValueError(
                    f"`{name}` is {orders}, but must hold different lengths of {least} or more, such as "
                    f"{[least, least + 1]}."
                )
        check_token_ids(self, ("pad_token_id",), ("vocab_size",))
        if self.embedding_rank is not None and self.embedding_rank >= self.embedding_size:
            raise ValueError(
                f"`embedding_rank` is {self.embedding_rank}, but must be smaller than `embedding_size` "
                f"({self.embedding_size}): a factorised table of that width saves nothing. Take None for one table."
            )
        if self.adaptive_softmax_cutoffs:
            self._validate_adaptive_softmax()

    def validate_labels(self) -> None:
        """Raises a `ValueError` for labels that are not numbered from 0 on, or two maps that contradict each other."""
        names, numbers = self.id2label or {}, self.label2id or {}
        if set(names) != set(range(len(names))):
            raise ValueError(
                f"`id2label` has the keys {list(names)}, but must have a number for each of the {len(names)} labels, "
                f"from 0 to {len(names) - 1}."
            )
        if is_automatic(numbers):  # as where `id2label` alone was set later
            return
        # Several labels may have one name, which then is the number of one of them.
        if set(numbers) != set(names.values()) or any(names.get(number) != name for name, number in numbers.items()):
            raise ValueError(
                f"`label2id` is {numbers}, but must be the reverse of `id2label`, which is {names}: leave it out, "
                "or correct it."
            )

    def _validate_adaptive_softmax(self) -> None:
        cutoffs, div_value = self.adaptive_softmax_cutoffs, self.adaptive_softmax_div_value
        if any(a >= b for a, b in zip([0, *cutoffs], [*cutoffs, self.vocab_size])):
            raise ValueError(
                f"`adaptive_softmax_cutoffs` is {cutoffs}, but must hold rising token ids above 0 and below "
                f"`vocab_size` ({self.vocab_size}): the first id of each cluster."
            )
        smallest: float = self.layer_sizes[-1]
        for _ in cutoffs if div_value >= 1 else ():  # one by one, for a power may be larger than any number
            smallest /= div_value
        if not 1 <= div_value <= LARGEST or smallest < 1:
            raise ValueError(
                f"`adaptive_softmax_div_value` is {div_value}, but must be at least 1 and leave each of the "
                f"{len(cutoffs)} clusters one of the last layer's {self.layer_sizes[-1]} features: each has that many "
                "times fewer than the one before. Take a smaller one, or fewer `adaptive_softmax_cutoffs`."
            )
        if self.tie_word_embeddings:
            raise ValueError(
                f"`tie_word_embeddings` is True, but with `adaptive_softmax_cutoffs` ({cutoffs}) the head has a table "
                "of another width for each cluster: set it to False, or the cutoffs to []."
            )


@strict
class LstmSeq2SeqConfig(OwnArchitecture, PreTrainedConfig):
    """
    Describes an LSTM encoder–decoder, which reads one sequence and writes another.

    Args:
        vocab_size (`int`, defaults to 30000):
            Number of different target tokens, which the decoder reads and writes.
        encoder_vocab_size (`int`, *optional*):
            Number of different source tokens; source and target share one vocabulary when `None`.
        encoder_embedding_size (`int`, defaults to 256):
            Width of the source embeddings.
        decoder_embedding_size (`int`, defaults to 256):
            Width of the target embeddings.
        encoder_hidden_size (`int`, defaults to 512):
            Width of each encoder layer's output. A bidirectional layer gives each direction half of it.
        decoder_hidden_size (`int`, defaults to 512):
            Width of each decoder layer's output.
        encoder_layers (`int`, defaults to 1):
            Number of encoder layers.
        decoder_layers (`int`, defaults to 1):
            Number of decoder layers.
        encoder_bidirectional (`bool`, defaults to `True`):
            Whether the encoder's layers read the source in both directions.
        residual_connections (`bool`, defaults to `False`):
            Whether a layer's input is added to its output, in every layer whose input and output are equally wide.
        layer_norm (`bool`, defaults to `False`):
            Whether each layer's output (after the residual connection) is layer-normalised.
        layer_norm_eps (`float`, defaults to 1e-5):
            Added to the variance inside the layer normalisation.
        attention_type (`str`, defaults to `"luong_dot"`):
            How the decoder looks at the encoder's outputs: `"luong_dot"` or `"luong_general"`
            (https://aclanthology.org/D15-1166, equation 8), `"bahdanau"` (additive,
            https://huggingface.co/papers/1409.0473, appendix A.1.2), `"multi_head"` (scaled dot products,
            https://huggingface.co/papers/1706.03762, section 3.2.2) or `"none"`: it sees the encoder's last states
            only (https://huggingface.co/papers/1409.3215).
        num_attention_heads (`int`, defaults to 4):
            Number of heads of `"multi_head"` attention, which divides `decoder_hidden_size`.
        attention_dropout (`float`, defaults to 0.0):
            Dropout on the attention weights.
        input_feeding (`bool`, defaults to `False`):
            Whether the decoder reads its last attentional vector beside each token
            (https://aclanthology.org/D15-1166, section 3.3). Without it, training runs all of the decoder's steps in
            one call, which is several times faster.
        copy_attention (`bool`, defaults to `False`):
            Whether source tokens can be copied, by the attention weights, into the output
            (https://huggingface.co/papers/1704.04368, section 2.2): for names, numbers and rare words in summaries.
            Needs one vocabulary.
        bridge_type (`str`, defaults to `"linear"`):
            How the decoder's states start from the encoder's last ones: `"linear"` (a learned map for each layer),
            `"copy"` (as they are, both directions side by side, which needs equal widths and depths) or `"zero"`.
        embedding_dropout (`float`, defaults to 0.0):
            Probability that all occurrences of a token in the batch lose their embedding
            (https://huggingface.co/papers/1708.02182, section 4.3).
        input_dropout (`float`, defaults to 0.0):
            Locked dropout on the source and the target embeddings.
        hidden_dropout (`float`, defaults to 0.0):
            Locked dropout between the layers.
        weight_dropout (`float`, defaults to 0.0):
            DropConnect on the hidden-to-hidden weights.
        output_dropout (`float`, defaults to 0.0):
            Locked dropout on what the output layer reads.
        initializer_range (`float`, defaults to 0.3):
            Standard deviation of the normal distribution that token embeddings start from. With much smaller ones the
            states are so alike at first that dot products attend to everything evenly, and training stalls there.
        forget_gate_bias (`float`, defaults to 1.0):
            Initial bias of the forget gates.
        use_cache (`bool`, defaults to `True`):
            Whether the decoder returns its recurrent state outside of training.
        pad_token_id (`int`, *optional*, defaults to 0):
            Token that fills shorter sequences of a batch.
        bos_token_id (`int`, *optional*, defaults to 2):
            Token that starts a sequence.
        eos_token_id (`int` or `list[int]`, *optional*, defaults to 3):
            Token that ends a sequence.
        decoder_start_token_id (`int`, *optional*, defaults to 2):
            Token that the decoder reads first.
        share_embeddings (`bool`, defaults to `True`):
            Whether source and target tokens have the same embeddings; needs one vocabulary and equal widths.
        tie_word_embeddings (`bool`, defaults to `True`):
            Whether the output layer reuses the target embeddings (https://huggingface.co/papers/1608.05859). With
            `share_embeddings` one table serves all three places.
        prefix (`str`, *optional*):
            What pipelines, `predict` and commands put before every source, as was done in training.

    Raises:
        huggingface_hub.errors.StrictDataclassError: If a value is of the wrong type or breaks one of these rules.

    Example:

    ```python
    >>> from hf_lstm import LstmForConditionalGeneration, LstmSeq2SeqConfig

    >>> config = LstmSeq2SeqConfig(vocab_size=8000, encoder_layers=2)
    >>> model = LstmForConditionalGeneration(config)
    ```
    """

    model_type = "hf_lstm_seq2seq"
    keys_to_ignore_at_inference = ["cache"]
    attribute_map = {
        "num_hidden_layers": "encoder_layers",
        "hidden_size": "decoder_hidden_size",
        "embedding_size": "decoder_embedding_size",
    }

    vocab_size: int = 30000
    encoder_vocab_size: int | None = None
    encoder_embedding_size: int = 256
    decoder_embedding_size: int = 256
    encoder_hidden_size: int = 512
    decoder_hidden_size: int = 512
    encoder_layers: int = 1
    decoder_layers: int = 1
    encoder_bidirectional: bool = True
    residual_connections: bool = False
    layer_norm: bool = False
    layer_norm_eps: float | int = 1e-5
    attention_type: str = "luong_dot"
    num_attention_heads: int = 4
    attention_dropout: float | int = 0.0
    input_feeding: bool = False
    copy_attention: bool = False
    bridge_type: str = "linear"
    embedding_dropout: float | int = 0.0
    input_dropout: float | int = 0.0
    hidden_dropout: float | int = 0.0
    weight_dropout: float | int = 0.0
    output_dropout: float | int = 0.0
    initializer_range: float | int = 0.3
    forget_gate_bias: float | int = 1.0
    use_cache: bool = True
    is_encoder_decoder: bool = True
    pad_token_id: int | None = 0
    bos_token_id: int | None = 2
    eos_token_id: int | list[int] | None = 3
    decoder_start_token_id: int | None = 2
    share_embeddings: bool = True
    tie_word_embeddings: bool = True
    prefix: str | None = None

    @property
    def source_vocab_size(self) -> int:
        """Number of tokens which the encoder reads."""
        return self.vocab_size if self.encoder_vocab_size is None else self.encoder_vocab_size

    @property
    def decoder_output_size(self) -> int:
        """Width of what the output layer reads: that of the target embeddings where it reuses them."""
        return self.decoder_embedding_size if self.tie_word_embeddings else self.decoder_hidden_size

    @property
    def encoder_layer_sizes(self) -> list[int]:
        """Widths along the encoder: of the source embeddings, then of each layer's output."""
        return [self.encoder_embedding_size] + [self.encoder_hidden_size] * self.encoder_layers

    @property
    def decoder_layer_sizes(self) -> list[int]:
        """Widths along the decoder: of what its first layer reads, then of each layer's output."""
        fed_size = self.decoder_output_size if self.input_feeding else 0
        return [self.decoder_embedding_size + fed_size] + [self.decoder_hidden_size] * self.decoder_layers

    def encoder_config(self) -> LstmConfig:
        """Returns the encoder's configuration, with which it can be saved and used by itself."""
        fields = {name: getattr(self, name) for name in ENCODER_FIELDS}
        # Only the decoder's layers may be wide enough for them.
        widths = self.encoder_layer_sizes
        fields["residual_connections"] &= any(a == b for a, b in zip(widths, widths[1:]))
        return LstmConfig(
            vocab_size=self.source_vocab_size,
            embedding_size=self.encoder_embedding_size,
            hidden_size=self.encoder_hidden_size,
            num_hidden_layers=self.encoder_layers,
            bidirectional=self.encoder_bidirectional,
            **fields,
        )

    def validate_architecture(self) -> None:
        """Raises a `ValueError` that names the value and the rule for a model that cannot be built."""
        check_kind(self, is_encoder_decoder=True)
        sides = ("embedding_size", "hidden_size", "layers")
        check_sizes(self, [f"{side}_{name}" for side in ("encoder", "decoder") for name in sides])
        check_sizes(self, ("vocab_size", "encoder_vocab_size", "num_attention_heads"))
        check_layers(self, ("encoder_layers", "decoder_layers"))
        check_initial_weights(self)
        check_halves(self, ("encoder_hidden_size",), "encoder_bidirectional")
        check_dropouts(self, ("embedding", "input", "hidden", "weight", "output", "attention"))
        check_choice(self, "attention_type", ATTENTION_TYPES)
        check_choice(self, "bridge_type", BRIDGE_TYPES)
        special = ("pad_token_id", "bos_token_id", "decoder_start_token_id")
        check_token_ids(self, special, ("vocab_size",))
        check_token_ids(self, ("pad_token_id",), ("source_vocab_size",))
        all_widths = [*self.encoder_layer_sizes, 0, *self.decoder_layer_sizes]
        check_residual_connections(self, all_widths, " of the encoder and, after the 0, of the decoder")
        self._validate_attention()
        self._validate_copying()
        self._validate_bridge()
        self._validate_embeddings()

    def _validate_attention(self) -> None:
        if self.attention_type == "luong_dot" and self.encoder_hidden_size != self.decoder_hidden_size:
            raise ValueError(
                f"`attention_type` 'luong_dot' multiplies the states of both sides, but `encoder_hidden_size` is "
                f"{self.encoder_hidden_size} and `decoder_hidden_size` {self.decoder_hidden_size}. Make them equal, "
                "or take 'luong_general'."
            )
        if self.attention_type == "multi_head" and self.decoder_hidden_size % self.num_attention_heads:
            raise ValueError(
                f"`num_attention_heads` is {self.num_attention_heads}, but must divide `decoder_hidden_size` "
                f"({self.decoder_hidden_size})."
            )
        if self.input_feeding and self.attention_type == "none":
            raise ValueError(
                "`input_feeding` feeds what attention gives, but `attention_type` is 'none': turn it off."
            )
        if self.input_feeding and self.weight_dropout:
            raise ValueError(
                f"`weight_dropout` is {self.weight_dropout}, but drops the same weights at all steps, which "
                "`input_feeding` runs one by one: set one of them to 0 or False."
            )

    def _validate_copying(self) -> None:
        if self.copy_attention and self.attention_type == "none":
            raise ValueError(
                "`copy_attention` copies what attention looks at, but `attention_type` is 'none': turn it off."
            )
        if self.copy_attention and self.encoder_vocab_size is not None:
            raise ValueError(
                f"`copy_attention` copies source tokens into the target, which needs one vocabulary, but "
                f"`encoder_vocab_size` is {self.encoder_vocab_size} and not None: train one tokenizer for both sides, "
                "or turn it off."
            )

    def _validate_bridge(self) -> None:
        encoder = (self.encoder_hidden_size, self.encoder_layers)
        decoder = (self.decoder_hidden_size, self.decoder_layers)
        if self.bridge_type == "copy" and encoder != decoder:
            raise ValueError(
                f"`bridge_type` 'copy' hands on the encoder's states as they are, but `encoder_hidden_size` and "
                f"`encoder_layers` are {encoder}, `decoder_hidden_size` and `decoder_layers` {decoder}. Make them "
                "equal, or take 'linear'."
            )
        if self.bridge_type == "zero" and self.attention_type == "none":
            raise ValueError(
                "`bridge_type` is 'zero' and `attention_type` 'none', so that the decoder would know nothing of the "
                "source. Change one of them."
            )

    def _validate_embeddings(self) -> None:
        sizes = (self.encoder_embedding_size, self.decoder_embedding_size)
        if self.share_embeddings and (self.encoder_vocab_size is not None or sizes[0] != sizes[1]):
            raise ValueError(
                f"`share_embeddings` needs one vocabulary and equal widths, but `encoder_vocab_size` is "
                f"{self.encoder_vocab_size} (None for one vocabulary), `encoder_embedding_size` {sizes[0]} and "
                f"`decoder_embedding_size` {sizes[1]}. Set it to False, or make these fit."
            )


LstmConfig.register_for_auto_class()
LstmSeq2SeqConfig.register_for_auto_class()
