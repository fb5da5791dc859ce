"""Configuration of the LSTM models."""

from dataclasses import field
from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig
from transformers.utils.versions import require_version

# These files travel with the weights, so that they may meet any version of transformers.
require_version("transformers>=5.23", "Install it with `pip install 'transformers>=5.23,<6'`.")

CLASSIFIER_POOLINGS = ("last", "mean", "max", "concat", "attention")


@strict
class LstmConfig(PreTrainedConfig):
    """
    Describes an LSTM encoder or language model and its heads.

    Args:
        vocab_size (`int`, defaults to 20000):
            Number of different tokens; every id in `input_ids` is smaller.
        embedding_size (`int`, defaults to 256):
            Width of the token embeddings.
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
            Whether the language-model head reuses the token embeddings. It then projects to `embedding_size` first
            where the last layer is of another width.

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
    keys_to_ignore_at_inference = ["past_key_values"]

    vocab_size: int = 20000
    embedding_size: int = 256
    hidden_size: int = 512
    num_hidden_layers: int = 1
    last_hidden_size: int | None = None
    bidirectional: bool = False
    residual_connections: bool = False
    layer_norm: bool = False
    layer_norm_eps: float = 1e-5
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
    initializer_range: float = 0.1
    forget_gate_bias: float | int = 1.0
    use_cache: bool = True
    pad_token_id: int | None = 0
    bos_token_id: int | None = 2
    eos_token_id: int | list[int] | None = 3
    tie_word_embeddings: bool = False

    @property
    def layer_sizes(self) -> list[int]:
        """Widths along the model: of the embeddings, then of each layer's output."""
        last = self.hidden_size if self.last_hidden_size is None else self.last_hidden_size
        return [self.embedding_size] + [self.hidden_size] * (self.num_hidden_layers - 1) + [last]

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> "LstmConfig":
        """
        Builds the configuration from its saved fields.

        Raises:
            ValueError: If they describe another architecture, whose weights would all be left out with a warning only.
        """
        model_type = config_dict.get("model_type", cls.model_type)
        if model_type != cls.model_type:
            raise ValueError(
                f"`model_type` of the checkpoint is {model_type!r}, but this class loads {cls.model_type!r} only. "
                "Load it with the class of its own architecture, or with the auto classes."
            )
        return super().from_dict(config_dict, **kwargs)

    def validate_architecture(self) -> None:
        """Raises a `ValueError` that names the value and the rule for a model that cannot be built."""
        self._validate_sizes()
        self._validate_dropouts()
        if self.classifier_pooling not in CLASSIFIER_POOLINGS:
            raise ValueError(
                f"`classifier_pooling` is {self.classifier_pooling!r}, but must be one of {list(CLASSIFIER_POOLINGS)}."
            )
        for name, least in (("ngram_orders", 2), ("classifier_ngram_orders", 1)):
            orders = getattr(self, name)
            if any(order < least for order in orders) or len(set(orders)) < len(orders):
                raise ValueError(
                    f"`{name}` is {orders}, but must hold different lengths of {least} or more, such as "
                    f"{[least, least + 1]}."
                )
        if self.pad_token_id is not None and not 0 <= self.pad_token_id < self.vocab_size:
            raise ValueError(
                f"`pad_token_id` is {self.pad_token_id}, but must be a token id below `vocab_size` "
                f"({self.vocab_size}), or None."
            )

    def _validate_sizes(self) -> None:
        sizes = ("vocab_size", "embedding_size", "hidden_size", "num_hidden_layers", "last_hidden_size")
        for name in (*sizes, "ngram_buckets", "classifier_ngram_buckets"):
            size = getattr(self, name)
            if size is not None and size < 1:
                raise ValueError(f"`{name}` is {size}, but must be at least 1.")
        for name in ("hidden_size", "last_hidden_size"):
            size = getattr(self, name)
            if self.bidirectional and size is not None and size % 2:
                raise ValueError(
                    f"`{name}` is {size}, but must be even when `bidirectional`: each direction gives half of it. "
                    f"Take {size + 1}, say."
                )
        widths = self.layer_sizes
        if self.residual_connections and not any(a == b for a, b in zip(widths, widths[1:])):
            raise ValueError(
                f"`residual_connections` is True, but no layer's output is as wide as its input: the widths are "
                f"{widths}. Make two neighbours equal, or turn it off."
            )

    def _validate_dropouts(self) -> None:
        names = ("embedding", "input", "hidden", "weight", "output", "classifier", "ngram", "classifier_ngram")
        for name in (f"{name}_dropout" for name in names):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(
                    f"`{name}` is {getattr(self, name)}, but is a probability: at least 0 and below 1. Take 0.5, say."
                )


__all__ = ["LstmConfig"]
