"""LSTM models for transformers: the encoder, and its heads for classification, tagging and language modelling."""

import os
from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional as F
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase, initialization
from transformers.dynamic_module_utils import custom_object_save
from transformers.loss.loss_utils import ForCausalLMLoss, ForTokenClassification
from transformers.modeling_outputs import (
    BaseModelOutputWithPast,
    CausalLMOutputWithPast,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils.generic import can_return_tuple
from transformers.utils.output_capturing import capture_outputs

from .adaptive_softmax_lstm import AdaptiveSoftmax
from .cache_lstm import LstmCache, takes_past_key_values
from .chunks_lstm import LongTextClassification
from .configuration_lstm import LstmConfig
from .generation_lstm import LstmGenerationMixin, switch_attentions_off
from .inputs_lstm import (
    check_cache,
    check_count,
    check_inputs,
    check_labels,
    check_unread,
    fit_mask,
    look_up_embeddings,
)
from .layers_lstm import LockedDropout, LstmLayer, OutputLayer, are_plain_for_steps
from .losses_lstm import head_token_loss, infer_problem_type, next_tokens, sequence_classification_loss, token_loss
from .ngrams_lstm import NgramClassifier, hash_ngrams
from .padding_lstm import Padding, find_padding, from_front, to_front
from .pooling_lstm import LstmPooler, pool_mean
from .prediction_lstm import predict_texts
from .quantization_lstm import check_is_not_int8, forget_int8
from .tokenization_lstm import LstmTokenizer


def make_layers(config: Any, sizes: list[int], bidirectional: bool = False) -> nn.ModuleList:
    """
    Builds a stack of LSTM layers.

    Args:
        config (`LstmConfig` or `LstmSeq2SeqConfig`): Describes what all layers have in common.
        sizes (`list[int]`): Widths of the input and of each layer's output.
        bidirectional (`bool`, defaults to `False`): Whether the layers read in both directions.
    """
    return nn.ModuleList(
        LstmLayer(
            input_size,
            output_size,
            bidirectional=bidirectional,
            weight_dropout=config.weight_dropout,
            residual=config.residual_connections,
            layer_norm_eps=config.layer_norm_eps if config.layer_norm else None,
        )
        for input_size, output_size in zip(sizes, sizes[1:])
    )


class LstmPreTrainedModel(PreTrainedModel):
    """Gives the LSTM models their weight initialisation, loading, saving and recurrent cache."""

    config_class = LstmConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["LstmLayer"]
    _can_record_outputs = {"hidden_states": LstmLayer}
    _is_stateful = False

    def __init__(self, config: Any, *args: Any, **kwargs: Any):
        expected = type(self).config_class
        # By its name and not by its class, of which a checkpoint may have brought its own copy.
        if getattr(config, "model_type", None) != expected.model_type:
            raise ValueError(
                f"`config` is of the class {type(config).__name__}, but {type(self).__name__} is built from "
                f"{expected.__name__}: give one of these, or build the model that goes with it."
            )
        config.validate()  # again, for fields may have been set since it was made
        super().__init__(config, *args, **kwargs)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # A registration is for one class: what is derived from it, as FSDP does, is saved as `auto_classes` says.
        cls._auto_class = None

    def resize_token_embeddings(self, *args: Any, **kwargs: Any) -> nn.Embedding:
        """
        Changes the number of tokens, as `PreTrainedModel` does.

        Raises:
            ValueError: If the model is in int8.
        """
        check_is_not_int8(self, "resized")
        return super().resize_token_embeddings(*args, **kwargs)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, LstmLayer):
            self._init_layer(module)
        elif isinstance(module, nn.Embedding):
            if module is getattr(self.base_model, "embed_ngrams", None):
                # An n-gram that was never seen in training must not change the result.
                initialization.zeros_(module.weight)
            else:
                initialization.normal_(module.weight, std=self.config.initializer_range)
                # A slice does not know whether its parameter was loaded from a checkpoint; the parameter does.
                if module.padding_idx is not None and not getattr(module.weight, "_is_hf_initialized", False):
                    initialization.zeros_(module.weight[module.padding_idx])
        elif isinstance(module, NgramClassifier):
            initialization.zeros_(module.weight)
            initialization.zeros_(module.bias)
        elif isinstance(module, nn.Linear) and module is getattr(self.base_model, "embed_projection", None):
            # Keeps the standard deviation of the table it reads.
            initialization.normal_(module.weight, std=module.in_features**-0.5)
        elif isinstance(module, nn.Linear):
            initialization.xavier_uniform_(module.weight, gain=self._output_gain(module))
            if module.bias is not None:
                initialization.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            initialization.ones_(module.weight)
            initialization.zeros_(module.bias)

    def _output_gain(self, module: nn.Module) -> float:
        """Returns how much larger than others a linear map starts."""
        return 1.0

    def _init_layer(self, layer: LstmLayer) -> None:
        """Starts as `nn.LSTM` does, uniformly within 1 / sqrt(size), but with a bias that opens the forget gates."""
        bound = layer.size**-0.5
        for suffix in layer.suffixes:
            initialization.uniform_(getattr(layer, f"weight_ih{suffix}"), -bound, bound)
            initialization.uniform_(getattr(layer, f"weight_hh{suffix}"), -bound, bound)
            bias_ih = getattr(layer, f"bias_ih{suffix}")
            # Whole tensors only: a slice does not know that its parameter was loaded from a checkpoint.
            forget_bias = torch.zeros_like(bias_ih)
            forget_bias[layer.size : 2 * layer.size] = float(self.config.forget_gate_bias)
            initialization.copy_(bias_ih, forget_bias)
            initialization.zeros_(getattr(layer, f"bias_hh{suffix}"))

    def make_cache(self) -> LstmCache:
        """Returns an empty cache for this model."""
        return LstmCache(self.config.num_hidden_layers, self.dtype)

    def auto_classes(self) -> dict[str, type]:
        """Returns the classes that can load what this model is saved as, by the auto class which finds them."""
        classes: dict[str, type] = {
            "AutoConfig": LstmConfig,
            "AutoTokenizer": LstmTokenizer,
            "AutoModel": LstmModel,
            "AutoModelForSequenceClassification": LstmForSequenceClassification,
            "AutoModelForTokenClassification": LstmForTokenClassification,
        }
        if not self.config.bidirectional and not self.config.ngram_orders:
            classes["AutoModelForCausalLM"] = LstmForCausalLM
        return classes

    def warn_if_padding_and_no_attention_mask(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None
    ) -> None:
        if input_ids.numel() > 0:  # transformers looks at a first and a last token
            super().warn_if_padding_and_no_attention_mask(input_ids, attention_mask)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        check_is_not_int8(self, "saved")  # its weights in int8 would not be among them
        return super().state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        check_is_not_int8(self, "given other weights")  # its own in int8 are not among them
        return super().load_state_dict(*args, **kwargs)

    def train(self, mode: bool = True) -> "LstmPreTrainedModel":
        if mode:
            check_is_not_int8(self, "trained")
        return super().train(mode)

    def save_pretrained(
        self, save_directory: str | os.PathLike, is_main_process: bool = True, *args: Any, **kwargs: Any
    ) -> None:
        """
        Saves the model with its code, so that every auto class that can load it does so where this package is missing.

        The configuration's `auto_map` names the classes; what others have put there stays.

        Args:
            save_directory (`str` or `os.PathLike`): The folder, which is made where it does not exist.
            is_main_process (`bool`, defaults to `True`): Whether this process writes what all processes share.
            args: As for `PreTrainedModel`.
            kwargs: As for `PreTrainedModel`.

        Raises:
            ValueError: If the model is in int8.
        """
        check_is_not_int8(self, "saved")
        forget_int8(self.config)  # it may be that of a model in int8, which this one is not
        classes = self.auto_classes()
        names: dict[str, Any] = {auto: f"{c.__module__.split('.')[-1]}.{c.__name__}" for auto, c in classes.items()}
        # Tokenizers are named in pairs: one that is written in Python, and one of the library `tokenizers`.
        names["AutoTokenizer"] = [names["AutoTokenizer"], None]
        given = getattr(self.config, "auto_map", None) or {}
        # Not those of this file: a language model is none any more once `bidirectional` is switched on.
        own = [auto for auto, name in given.items() if str(name).split("--")[-1].startswith("modeling_lstm.")]
        self.config.auto_map = {auto: name for auto, name in given.items() if auto not in own} | names
        if is_main_process:
            os.makedirs(save_directory, exist_ok=True)
            custom_object_save(classes["AutoModel"], save_directory)
        super().save_pretrained(save_directory, is_main_process, *args, **kwargs)

    def _get_files_timestamps(self, working_dir: str | os.PathLike) -> dict[str, float]:
        # Only what is newer than these is pushed, but the code was written just before.
        times = super()._get_files_timestamps(working_dir)
        return {name: time for name, time in times.items() if not name.endswith(".py")}

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False

    def _prepare_cache_for_generation(
        self, generation_config: GenerationConfig, model_kwargs: dict[str, Any], *args: Any, **kwargs: Any
    ) -> None:
        super()._prepare_cache_for_generation(generation_config, model_kwargs, *args, **kwargs)
        if model_kwargs.get("cache") is None and generation_config.use_cache is not False:
            model_kwargs["cache"] = self.make_cache()
            if generation_config.is_assistant:
                model_kwargs["cache"].activate_past_recording()


class LstmModel(LstmPreTrainedModel):
    """
    A stack of LSTM layers over token embeddings.

    Padding may stand on the left, on the right or in between; it changes nothing at real tokens. The output is zero at
    padding, before layer norm.

    Args:
        config (`LstmConfig`): Describes the model.
    """

    def __init__(self, config: LstmConfig):
        super().__init__(config)
        table_size = config.embedding_table_size
        self.embed_tokens = nn.Embedding(config.vocab_size, table_size, padding_idx=config.pad_token_id)
        is_factorised = config.embedding_rank is not None
        self.embed_projection = nn.Linear(table_size, config.embedding_size, bias=False) if is_factorised else None
        self.embed_ngrams = nn.Embedding(config.ngram_buckets, config.embedding_size) if config.ngram_orders else None
        self.layers = make_layers(config, config.layer_sizes, config.bidirectional)
        self.input_dropout = LockedDropout(config.input_dropout)
        self.hidden_dropout = LockedDropout(config.hidden_dropout)
        self.output_dropout = LockedDropout(config.output_dropout)
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embed_tokens

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        self.embed_tokens = value

    def embed(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """
        Returns the embeddings the first layer reads: those of the tokens, plus those of the n-grams ending there.

        With `embedding_rank`, what `get_input_embeddings` gives is narrower, and brought to `embedding_size` here.

        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): The tokens.
            attention_mask (`torch.Tensor` of shape `(batch_size, sequence_length)`, *optional*): Non-zero at tokens.

        Returns:
            `torch.Tensor` of shape `(batch_size, sequence_length, embedding_size)`.

        Raises:
            IndexError: If a token id is not below the size of the vocabulary (checked on the CPU).
        """
        dropout = self.config.embedding_dropout if self.training else 0.0
        embeddings = look_up_embeddings(self.embed_tokens, input_ids, dropout)
        if self.embed_projection is not None:
            embeddings = self.embed_projection(embeddings)
        if self.embed_ngrams is not None:
            embeddings = embeddings + self._embed_ngrams(input_ids, find_padding(attention_mask))
        return embeddings

    def _embed_ngrams(self, input_ids: torch.Tensor, padding: Padding | None) -> torch.Tensor:
        assert self.embed_ngrams is not None
        tokens = to_front(input_ids, padding)
        total = torch.zeros((), device=tokens.device, dtype=self.embed_ngrams.weight.dtype)
        for order in self.config.ngram_orders:
            embeddings = self.embed_ngrams(hash_ngrams(tokens, order, self.config.ngram_buckets))
            if self.training and self.config.ngram_dropout:
                kept = F.dropout(embeddings.new_ones(*embeddings.shape[:2], 1), self.config.ngram_dropout)
                embeddings = embeddings * kept
            total = total + embeddings
        return from_front(total, padding)

    @takes_past_key_values
    @capture_outputs
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        cache: LstmCache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """
        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*): The tokens.
            attention_mask (`torch.Tensor` of shape `(batch_size, sequence_length)`, *optional*):
                Non-zero at tokens, zero at padding. With a cache it may cover the past as well; the end counts.
            cache (`LstmCache`, *optional*): State to start from; it is updated in place.
            inputs_embeds (`torch.FloatTensor` of shape `(batch_size, sequence_length, embedding_size)`, *optional*):
                Embeddings instead of `input_ids`, as `embed` returns them; no n-grams are added.
            use_cache (`bool`, *optional*):
                Whether to return the state; by default the configuration decides, and training does not.

        Raises:
            ValueError: If not exactly one of `input_ids` and `inputs_embeds` is given, the embeddings or the mask do
                not fit, or the state of earlier tokens meets n-grams, which would need these tokens.
        """
        inputs = check_inputs(input_ids, inputs_embeds, self.config.embedding_size)
        check_cache(cache, self.state_shapes(), inputs.shape[0])
        past_length = 0 if cache is None else cache.get_seq_length()
        if past_length > 0 and self.embed_ngrams is not None and input_ids is not None:
            raise ValueError(
                f"`cache` holds the state after {past_length} tokens, but not the "
                f"tokens, which `ngram_orders` {self.config.ngram_orders} would need. Run the whole sequence at once."
            )
        if attention_mask is None and input_ids is not None and cache is None:
            self.warn_if_padding_and_no_attention_mask(input_ids, attention_mask)
        if use_cache is None:
            use_cache = self.config.use_cache and not self.training
        if cache is None and use_cache:
            cache = self.make_cache()
        attention_mask = fit_mask(attention_mask, inputs)
        if inputs_embeds is None:
            inputs_embeds = self.embed(inputs, attention_mask)
        padding = find_padding(attention_mask)
        hidden_states = self._run_layers(self.input_dropout(inputs_embeds), padding, cache)
        return BaseModelOutputWithPast(
            last_hidden_state=self.output_dropout(hidden_states),
            cache=cache if use_cache else None,
        )

    def state_shapes(self) -> list[tuple[int, int]]:
        """Returns the number of directions and the width of each layer's state."""
        num_directions = 2 if self.config.bidirectional else 1
        return [(num_directions, size // num_directions) for size in self.config.layer_sizes[1:]]

    def _run_layers(
        self, hidden_states: torch.Tensor, padding: Padding | None, cache: LstmCache | None
    ) -> torch.Tensor:
        sequence_length = hidden_states.shape[1]
        # An assistant that exits early is this model with a lower number in its configuration.
        for index, layer in zip(range(self.config.num_hidden_layers), self.layers):
            if index > 0:
                hidden_states = self.hidden_dropout(hidden_states)
            if cache is None:
                hidden_states, _, _ = layer(hidden_states, padding)
                continue
            past = cache.layers[index]
            state = (past.hidden_state, past.cell_state)
            hidden_states, *states = layer(hidden_states, padding, *state, past.record_past)
            cache.update(*states, index, sequence_length)
        return hidden_states

    def step(self, input_ids: torch.Tensor, cache: LstmCache) -> torch.Tensor:
        """
        Does what `forward` does with one token of each sequence, outside of training.

        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, 1)`): The tokens.
            cache (`LstmCache`): The state after the tokens before; it is updated in place.

        Returns:
            `torch.Tensor` of shape `(batch_size, 1, size)`: The last layer's output.
        """
        hidden_states = self.embed_tokens(input_ids)
        if self.embed_projection is not None:
            hidden_states = self.embed_projection(hidden_states)
        hidden_states = hidden_states[:, 0]
        for layer, past in zip(cast(Iterable[LstmLayer], self.layers), cache.layers):
            hidden_states, *state = layer.step(hidden_states, *past.states())
            past.step(*state)
        return hidden_states.unsqueeze(1).clone()  # the state must not change where a hook or head changes this

    @classmethod
    def from_torch(cls, lstm: nn.LSTM, embedding: nn.Embedding | None = None, **config_arguments: Any) -> "LstmModel":
        """
        Builds a model with the weights of `nn.LSTM`, whose results it then gives exactly.

        Args:
            lstm (`torch.nn.LSTM`): The layers. Their dropout is not taken over: pass `hidden_dropout` if wanted.
            embedding (`torch.nn.Embedding`, *optional*):
                The token embeddings; fresh ones when `None`. Its `padding_idx` becomes the `pad_token_id`, unless
                one is given.
            config_arguments: Further fields of `LstmConfig`.

        Raises:
            ValueError: If the layers use `proj_size`, `embedding` is of another width than they read, or to be
                factorised, or a field contradicts them.
        """
        if lstm.proj_size:
            raise ValueError(f"`lstm.proj_size` is {lstm.proj_size}, but only layers without projection are known.")
        if embedding is not None:
            if embedding.embedding_dim != lstm.input_size:
                raise ValueError(
                    f"`embedding` is {embedding.embedding_dim} wide, but `lstm` reads {lstm.input_size} features."
                )
            if config_arguments.get("embedding_rank") is not None:
                raise ValueError(
                    f"`embedding_rank` is {config_arguments['embedding_rank']}, but `embedding` is one table of full "
                    "width: leave one of them out."
                )
            config_arguments = {"pad_token_id": embedding.padding_idx} | config_arguments
        fields = {
            "embedding_size": lstm.input_size,
            "hidden_size": lstm.hidden_size * (2 if lstm.bidirectional else 1),
            "num_hidden_layers": lstm.num_layers,
            "last_hidden_size": None,
            "bidirectional": lstm.bidirectional,
        } | ({} if embedding is None else {"vocab_size": embedding.num_embeddings})
        for name, value in fields.items():
            if config_arguments.get(name, value) != value:
                raise ValueError(
                    f"`{name}` is {config_arguments[name]}, but must be {value} as `lstm` and `embedding` are: leave "
                    "it out."
                )
        config = LstmConfig(**config_arguments | fields)
        model = cls(config).to(lstm.weight_ih_l0)
        with torch.no_grad():
            if embedding is not None:
                model.embed_tokens.weight.copy_(embedding.weight)
            for theirs, ours in model._match_parameters(lstm):
                ours.copy_(theirs) if theirs is not None else ours.zero_()
        return model

    def to_torch(self) -> nn.LSTM:
        """
        Returns an `nn.LSTM` (`batch_first=True`) with copies of the layers' weights.

        Raises:
            ValueError: If it has what `nn.LSTM` has not: layer norm, residuals or a last layer of another width.
        """
        sizes = set(self.config.layer_sizes[1:])
        if self.config.layer_norm or any(layer.residual for layer in self.layers) or len(sizes) > 1:
            raise ValueError(
                f"`nn.LSTM` has no layer norm ({self.config.layer_norm}), no residual connections "
                f"({self.config.residual_connections}) and layers of one width ({sorted(sizes)})."
            )
        lstm = nn.LSTM(
            self.config.embedding_size,
            self.layers[0].size,
            self.config.num_hidden_layers,
            batch_first=True,
            bidirectional=self.config.bidirectional,
        ).to(device=self.device, dtype=self.dtype)
        with torch.no_grad():
            for theirs, ours in self._match_parameters(lstm):
                assert theirs is not None
                theirs.copy_(ours)
        return lstm

    def _match_parameters(self, lstm: nn.LSTM) -> list[tuple[torch.Tensor | None, torch.Tensor]]:
        """Pairs the parameters of `lstm`, `None` for a bias it lacks, with those of the layers."""
        return [
            (getattr(lstm, name.replace("_l0", f"_l{index}"), None), parameter)
            for index, layer in enumerate(self.layers)
            for name, parameter in layer.named_parameters()
            if "_l0" in name
        ]


class LstmForSequenceClassification(LstmPreTrainedModel, LongTextClassification):
    """
    An LSTM that classifies whole sequences, gives them several labels, or predicts numbers.

    Two sequences are classified together by joining them with a separator, as `LstmTokenizer` does for pairs.

    Args:
        config (`LstmConfig`): Describes the model; `num_labels` and `problem_type` tell what is predicted.
    """

    def __init__(self, config: LstmConfig):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.model = LstmModel(config)
        self.pooler = LstmPooler(config.classifier_pooling, config.layer_sizes[-1], config.bidirectional)
        self.dropout = nn.Dropout(config.classifier_dropout)
        shortcut_size = config.embedding_size if config.classifier_shortcut else 0
        self.classifier = nn.Linear(self.pooler.output_size + shortcut_size, config.num_labels)
        self.ngram_classifier = (
            NgramClassifier(
                config.classifier_ngram_orders,
                config.classifier_ngram_buckets,
                config.num_labels,
                config.classifier_ngram_dropout,
            )
            if config.classifier_ngram_orders
            else None
        )
        self.post_init()

    @takes_past_key_values
    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        class_weights: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> SequenceClassifierOutput:
        """
        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*): The tokens.
            attention_mask (`torch.Tensor` of shape `(batch_size, sequence_length)`, *optional*): Non-zero at tokens.
            inputs_embeds (`torch.FloatTensor` of shape `(batch_size, sequence_length, embedding_size)`, *optional*):
                Embeddings instead of `input_ids`.
            labels (`torch.Tensor`, *optional*): As for `sequence_classification_loss`.
            class_weights (`torch.Tensor` of shape `(num_labels,)`, *optional*): Weight of each class in the loss.
            kwargs: `num_items_in_batch` and `label_smoothing` (probability which is spread evenly over all classes)
                go to the loss, all else to `LstmModel`.

        Raises:
            ValueError: If `inputs_embeds` are given to a model that also reads n-grams, which need `input_ids`, or
                `cache` to one that looks at more of a text than its last state.
            IndexError: If a class is not below `num_labels` (checked on the CPU).
        """
        num_items_in_batch = kwargs.pop("num_items_in_batch", None)
        # Not an argument by name: Trainer takes each that holds "label" for a column of labels.
        label_smoothing = kwargs.pop("label_smoothing", 0.0)
        inputs = check_inputs(input_ids, inputs_embeds, self.config.embedding_size)
        attention_mask = fit_mask(attention_mask, inputs)
        if kwargs.get("cache") is not None:
            check_cache(kwargs["cache"], self.model.state_shapes(), inputs.shape[0])
            self._check_past(kwargs["cache"].get_seq_length(), attention_mask)
        branches = []
        if self.ngram_classifier is not None:
            if input_ids is None:
                raise ValueError("`classifier_ngram_orders` needs `input_ids`, but only `inputs_embeds` are given.")
            branches.append(self.ngram_classifier(input_ids, attention_mask))
        if inputs_embeds is None and input_ids is not None and self.config.classifier_shortcut:
            self.model.warn_if_padding_and_no_attention_mask(input_ids, attention_mask)
            inputs_embeds, input_ids = self.model.embed(input_ids, attention_mask), None
        arguments = kwargs | {"use_cache": False, "return_dict": True}
        outputs = self.model(input_ids, attention_mask, inputs_embeds=inputs_embeds, **arguments)
        features = self.pooler(outputs.last_hidden_state, attention_mask)
        if self.config.classifier_shortcut and inputs_embeds is not None:
            features = torch.cat([features, pool_mean(inputs_embeds, attention_mask)], dim=-1)
        branches.append(self.classifier(self.dropout(features)))
        loss = None
        if labels is not None:
            if self.config.problem_type is None:
                # Kept in the configuration, so that pipelines know how to turn scores into probabilities.
                self.config.problem_type = infer_problem_type(self.num_labels, labels)
            if self.config.problem_type == "single_label_classification":
                check_labels(labels, self.config, "num_labels")
            loss_arguments = (self.config.problem_type, num_items_in_batch, class_weights, label_smoothing)
            # Each branch learns from its own errors: trained on their mean, the faster one would starve the other.
            losses = [sequence_classification_loss(logits, labels, *loss_arguments) for logits in branches]
            loss = torch.stack(losses).mean()
        logits = torch.stack(branches).mean(dim=0)
        return SequenceClassifierOutput(loss=loss, logits=logits, hidden_states=outputs.hidden_states)

    def _check_past(self, num_read: int, attention_mask: torch.Tensor | None) -> None:
        """Raises a `ValueError` for the state after tokens which the classifier would have to see."""
        if num_read == 0:
            return
        reads_state_alone = self.config.classifier_pooling == "last" and not self.config.bidirectional
        if not reads_state_alone or self.config.classifier_shortcut or self.ngram_classifier is not None:
            raise ValueError(
                f"`cache` holds the state after {num_read} tokens, but this classifier looks at every token "
                "of a text, unless `classifier_pooling` is 'last', without `bidirectional`, `classifier_shortcut` and "
                "`classifier_ngram_orders`. Give it the whole text: `classify_in_chunks` reads long ones."
            )
        if attention_mask is None or torch.compiler.is_compiling():
            return
        if not (attention_mask != 0).any(dim=1).all():
            raise ValueError(
                f"`attention_mask` has a row without any token after the {num_read} that `cache` has read, "
                "so that there is no output to classify. Leave such rows out of the batch."
            )

    def predict(
        self,
        texts: Sequence[str],
        tokenizer: PreTrainedTokenizerBase,
        text_pairs: Sequence[str] | None = None,
        top_k: int | None = 1,
        batch_size: int = 64,
        max_length: int | None = None,
        progress_bar: bool = False,
    ) -> list[Any]:
        """
        Classifies many texts, as the pipeline "text-classification" does, but in batches of similar lengths, and
        each batch by `classify`.

        Args:
            texts (`Sequence[str]`): The texts.
            tokenizer (`PreTrainedTokenizerBase`): The model's tokenizer.
            text_pairs (`Sequence[str]`, *optional*): The second text of each pair.
            top_k (`int`, *optional*, defaults to 1): The number of labels wanted for each text; `None` for all.
            batch_size (`int`, defaults to 64): Texts of a batch at most.
            max_length (`int`, *optional*): Tokens of a text that are read; by default what the tokenizer is made for.
            progress_bar (`bool`, defaults to `False`): Whether to show how many texts are done.

        Returns:
            `list`: For each text, in their order, a `label` with its `score`; or a list of these, the best first,
            where `top_k` is not 1. The score is a probability, the predicted number itself for regression.

        Raises:
            ValueError: If the arguments do not go together.
        """
        if top_k is not None:
            check_count("top_k", top_k)
        arguments = (text_pairs, batch_size, max_length, progress_bar)
        logits = predict_texts(self, texts, tokenizer, lambda batch: self.classify(**batch).tolist(), *arguments)
        if not logits:
            return []
        scores = torch.tensor(logits)
        if self.config.problem_type == "multi_label_classification" or (
            self.num_labels == 1 and self.config.problem_type != "regression"
        ):
            scores = scores.sigmoid()
        elif self.config.problem_type != "regression":
            scores = scores.softmax(dim=-1)
        best, labels = scores.topk(self.num_labels if top_k is None else min(top_k, self.num_labels))
        names = self.config.id2label
        rows = [
            [{"label": names[label], "score": score} for label, score in zip(*row)]
            for row in zip(labels.tolist(), best.tolist())
        ]
        return [row[0] for row in rows] if top_k == 1 else rows


class LstmForTokenClassification(LstmPreTrainedModel):
    """
    An LSTM that gives each token a label, such as its part of speech or the named entity it belongs to.

    Args:
        config (`LstmConfig`): Describes the model; `num_labels` is the number of tags.
    """

    def __init__(self, config: LstmConfig):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.model = LstmModel(config)
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.layer_sizes[-1], config.num_labels)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> TokenClassifierOutput:
        """
        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*): The tokens.
            attention_mask (`torch.Tensor` of shape `(batch_size, sequence_length)`, *optional*): Non-zero at tokens.
            inputs_embeds (`torch.FloatTensor` of shape `(batch_size, sequence_length, embedding_size)`, *optional*):
                Embeddings instead of `input_ids`.
            labels (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*):
                Tag of each token; -100 where none is to be learned.
            kwargs: `num_items_in_batch` goes to the loss, all else to `LstmModel`.

        Raises:
            IndexError: If a tag is not below `num_labels` (checked on the CPU).
        """
        num_items_in_batch = kwargs.pop("num_items_in_batch", None)
        if self.loss_function is ForTokenClassification:  # one that somebody put in may take other labels
            check_labels(labels, self.config, "num_labels")
        arguments = kwargs | {"use_cache": False, "return_dict": True}
        outputs = self.model(input_ids, attention_mask, inputs_embeds=inputs_embeds, **arguments)
        logits = self.classifier(self.dropout(outputs.last_hidden_state))
        loss = None
        if labels is not None:
            loss = self.loss_function(logits, labels, self.config, num_items_in_batch=num_items_in_batch)
        return TokenClassifierOutput(loss=loss, logits=logits, hidden_states=outputs.hidden_states)


class LstmForCausalLM(LstmPreTrainedModel, LstmGenerationMixin):
    """
    An LSTM language model.

    With `tie_word_embeddings`, the head reuses the token embeddings (https://huggingface.co/papers/1608.05859); where
    the last layer is not as wide as their table, a projection stands between. With `adaptive_softmax_cutoffs`, the
    head is an adaptive softmax: its logits are log-probabilities, and training computes only those the loss needs.

    Args:
        config (`LstmConfig`): Describes the model.

    Raises:
        ValueError: If the model would see the tokens it must predict (`bidirectional`), or would need tokens which
            its state does not hold (`ngram_orders`).
    """

    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}
    step_arguments = ("attention_mask", "inputs_embeds", "logits_to_keep")

    def __init__(self, config: LstmConfig):
        super().__init__(config)
        if config.bidirectional:
            raise ValueError("`bidirectional` is True, but a language model reads forwards only: set it to False.")
        if config.ngram_orders:
            raise ValueError(
                f"`ngram_orders` is {config.ngram_orders}, but a language model generates from its state alone, which "
                "holds no n-grams: set it to []."
            )
        self.model = LstmModel(config)
        size = config.layer_sizes[-1]
        table_size = config.embedding_table_size
        needs_projection = config.tie_word_embeddings and size != table_size
        self.lm_projection = nn.Linear(size, table_size, bias=False) if needs_projection else None
        self.lm_head: nn.Linear | AdaptiveSoftmax
        if config.adaptive_softmax_cutoffs:
            cutoffs, div_value = config.adaptive_softmax_cutoffs, config.adaptive_softmax_div_value
            self.lm_head = AdaptiveSoftmax(size, config.vocab_size, cutoffs, div_value)
        else:
            self.lm_head = OutputLayer(table_size if needs_projection else size, config.vocab_size)
        self.post_init()

    def get_output_embeddings(self) -> nn.Linear | None:
        """Returns the output layer; `None` for an adaptive softmax, which has several."""
        return None if isinstance(self.lm_head, AdaptiveSoftmax) else self.lm_head

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        self.lm_head = OutputLayer.from_linear(new_embeddings, self.training)

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None, mean_resizing: bool = True
    ) -> nn.Embedding:
        """
        Changes the number of tokens.

        Args:
            new_num_tokens (`int`, *optional*): As for `PreTrainedModel`.
            pad_to_multiple_of (`int`, *optional*): As for `PreTrainedModel`.
            mean_resizing (`bool`, defaults to `True`): As for `PreTrainedModel`.

        Raises:
            ValueError: If the head is an adaptive softmax, whose last cluster would grow or shrink.
        """
        is_kept = new_num_tokens in (None, self.config.vocab_size) and pad_to_multiple_of is None
        if isinstance(self.lm_head, AdaptiveSoftmax) and not is_kept:
            raise ValueError(
                f"`adaptive_softmax_cutoffs` is {self.config.adaptive_softmax_cutoffs}, and the clusters of an "
                f"adaptive softmax cannot be resized (to {new_num_tokens}): build the model with another `vocab_size`."
            )
        return super().resize_token_embeddings(new_num_tokens, pad_to_multiple_of, mean_resizing)

    def _output_gain(self, module: nn.Module) -> float:
        # What an LSTM puts out at first is far smaller than the 1 that the usual start is made for.
        return 3.0 if module is self.lm_head else 1.0

    def _project(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Returns what the output layer reads, from the last layer's output."""
        return hidden_states if self.lm_projection is None else self.lm_projection(hidden_states)

    def _compute_loss(
        self, hidden_states: torch.Tensor, logits: torch.Tensor | None, labels: torch.Tensor | None, **arguments: Any
    ) -> torch.Tensor:
        """Computes the loss from the scores, or from what the head reads where they are not there or not needed."""
        if logits is None or isinstance(self.lm_head, AdaptiveSoftmax):
            chosen = next_tokens(hidden_states, labels, arguments.pop("shift_labels", None))
            return head_token_loss(self.lm_head, *chosen, **arguments)
        # The usual loss knows no smoothing.
        if self.loss_function is ForCausalLMLoss and arguments.get("label_smoothing"):
            chosen = next_tokens(logits, labels, arguments.pop("shift_labels", None))
            return token_loss(*chosen, self.config.vocab_size, **arguments)
        return self.loss_function(logits, labels, self.config.vocab_size, **arguments)

    def _takes_steps(self) -> bool:
        return are_plain_for_steps(self.model, (self, LstmForCausalLM), (self.model, LstmModel))

    def read_token(self, input_ids: torch.Tensor, cache: LstmCache) -> torch.Tensor:
        return self.lm_head(self._project(self.model.step(input_ids, cache)))

    def _prepare_generation_config(self, *args: Any, **kwargs: Any) -> tuple[GenerationConfig, dict[str, Any]]:
        generation_config, model_kwargs = super()._prepare_generation_config(*args, **kwargs)
        switch_attentions_off(generation_config, model_kwargs)
        depth, widths = generation_config.assistant_early_exit, self.config.layer_sizes[1:]
        if depth is not None and (depth < 1 or (depth != len(widths) and len(set(widths)) > 1)):
            raise ValueError(
                f"`assistant_early_exit` is {depth}, but must be from 1 to {len(widths)}, the number of a layer "
                f"that is as wide as the last one, which the head reads: the layers are {widths} wide."
            )
        return generation_config, model_kwargs

    def _prefill(
        self, input_ids: torch.Tensor, generation_config: GenerationConfig, model_kwargs: dict[str, Any], **kwargs: Any
    ) -> Any:
        embeddings, mask, cache = (model_kwargs.get(name) for name in ("inputs_embeds", "attention_mask", "cache"))
        length = input_ids.shape[1] if embeddings is None else embeddings.shape[1]
        mask_length = getattr(generation_config, "_mask_length", None) if mask is None else mask.shape[1]
        # A longer mask says that the tokens are new ones only.
        if cache is not None and (embeddings is not None or mask_length == length):
            check_unread(length, cache.get_seq_length(), "input_ids" if embeddings is None else "inputs_embeds")
        return super()._prefill(input_ids, generation_config, model_kwargs, **kwargs)

    @takes_past_key_values
    def prepare_inputs_for_generation(
        self,
        input_ids: torch.Tensor,
        next_sequence_length: int | None = None,
        cache: LstmCache | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        is_first_iteration: bool | None = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Prepares a step as transformers does; from a state that is handed in, only what it has not read is read."""
        is_prompt = is_first_iteration and next_sequence_length is None and inputs_embeds is None
        if is_prompt and isinstance(cache, LstmCache) and cache.is_recording_past(0):
            # Assisted decoding, which alone records the past, would feed all tokens again.
            next_sequence_length = input_ids.shape[1] - cache.get_seq_length()
        return super().prepare_inputs_for_generation(
            input_ids,
            next_sequence_length=next_sequence_length,
            cache=cache,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            is_first_iteration=is_first_iteration,
            **kwargs,
        )

    @takes_past_key_values
    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        cache: LstmCache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        output_logits: bool | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """
        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*): The tokens.
            attention_mask (`torch.Tensor` of shape `(batch_size, sequence_length)`, *optional*):
                Non-zero at tokens. With a cache it may cover the past as well.
            cache (`LstmCache`, *optional*): State to start from; it is updated in place.
            inputs_embeds (`torch.FloatTensor` of shape `(batch_size, sequence_length, embedding_size)`, *optional*):
                Embeddings instead of `input_ids`.
            labels (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*):
                The tokens to predict, not shifted: `input_ids`, with -100 where nothing is to be learned.
            use_cache (`bool`, *optional*): Whether to return the state.
            logits_to_keep (`int` or `torch.Tensor`, defaults to 0):
                Number of last positions, or their indices, to compute scores for; 0 for all.
            output_logits (`bool`, *optional*):
                Whether to return the scores. By default, only training an adaptive softmax with labels returns none,
                for its loss needs but a part of them. An ordinary head learns faster and in less memory without.
            kwargs: `num_items_in_batch`, `shift_labels` and `label_smoothing` (probability which is spread evenly over
                all tokens) go to the loss, all else to `LstmModel`.

        Raises:
            ValueError: If the shapes do not go together.
            IndexError: If a label is not below `vocab_size` (checked on the CPU).
        """
        names = ("num_items_in_batch", "shift_labels", "label_smoothing")
        loss_arguments = {name: kwargs.pop(name) for name in names if name in kwargs}
        if self.loss_function is ForCausalLMLoss:  # one that somebody put in may take other labels
            check_labels(labels, self.config, "vocab_size")
            check_labels(loss_arguments.get("shift_labels"), self.config, "vocab_size", "shift_labels")
        arguments = kwargs | {"return_dict": True}
        outputs = self.model(input_ids, attention_mask, cache, inputs_embeds, use_cache, **arguments)
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        hidden_states = self._project(outputs.last_hidden_state[:, kept])
        has_labels = labels is not None or loss_arguments.get("shift_labels") is not None
        is_adaptive = isinstance(self.lm_head, AdaptiveSoftmax)
        if output_logits is None:
            output_logits = not (is_adaptive and has_labels and self.training)
        # A loss that somebody put in is given all scores.
        needs_logits = has_labels and not is_adaptive and self.loss_function is not ForCausalLMLoss
        logits = self.lm_head(hidden_states) if output_logits or needs_logits else None
        loss = self._compute_loss(hidden_states, logits, labels, **loss_arguments) if has_labels else None
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits if output_logits else None,
            cache=outputs.cache,
            hidden_states=outputs.hidden_states,
        )


# Remote code never imports the package, so the models enter transformers' tables here.
# Trainer's label smoothing shifts the labels only of models named in this table, which `register` does not extend.
MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[LstmConfig.model_type] = LstmForCausalLM.__name__
