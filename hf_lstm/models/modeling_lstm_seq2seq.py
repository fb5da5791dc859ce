"""The LSTM encoder–decoder for transformers: it reads one sequence and writes another, looking back at the first."""

import copy
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedTokenizerBase
from transformers.generation import GenerationConfig
from transformers.modeling_outputs import (
    BaseModelOutputWithPastAndCrossAttentions,
    ModelOutput,
    Seq2SeqLMOutput,
    Seq2SeqModelOutput,
)
from transformers.utils.generic import can_return_tuple

from .attention_lstm import LstmAttention, LstmBridge, LstmCopying
from .cache_lstm import EncoderMemory, LstmCache, takes_past_key_values
from .configuration_lstm import LstmSeq2SeqConfig
from .encoder_outputs_lstm import LstmEncoderOutput
from .generation_lstm import LstmGenerationMixin, refuse_for_encoder_decoder, switch_attentions_off
from .inputs_lstm import (
    check_cache,
    check_inputs,
    check_labels,
    check_unread,
    fit_mask,
    look_up_embeddings,
)
from .layers_lstm import LockedDropout, LstmLayer, OutputLayer, are_plain_for_steps
from .losses_lstm import head_token_loss, shift_tokens_right, token_loss
from .modeling_lstm import LstmForCausalLM, LstmModel, LstmPreTrainedModel, make_layers
from .padding_lstm import Padding, find_padding, map_tokens
from .pipelines_lstm import register_pipelines
from .prediction_lstm import predict_texts, read_texts
from .tokenization_lstm import LstmSeq2SeqTokenizer, LstmTokenizer, find_target_tokenizer
from .warm_start_lstm import build_from_parts

LayerStates = list[tuple[torch.Tensor, torch.Tensor]]


class LstmEncoder(LstmModel):
    """
    An `LstmModel` that also hands on its last states.

    Saved by itself, it is an ordinary `LstmModel`, which classifiers and taggers can start from.
    """

    owner_config: LstmSeq2SeqConfig | None = None  # of the encoder–decoder it is part of

    def resize_token_embeddings(self, new_num_tokens: int | None = None, *args: Any, **kwargs: Any) -> nn.Embedding:
        """
        Changes the size of the source vocabulary.

        Raises:
            ValueError: If a decoder shares its embeddings or copies its tokens.
        """
        owner = self.owner_config
        if owner is not None and (owner.share_embeddings or owner.copy_attention) and new_num_tokens is not None:
            field = "share_embeddings" if owner.share_embeddings else "copy_attention"
            raise ValueError(
                f"Source and target share their vocabulary (`{field}`): call `resize_token_embeddings` of the whole "
                "model, which changes both."
            )
        embeddings = super().resize_token_embeddings(new_num_tokens, *args, **kwargs)
        size = embeddings.num_embeddings
        if owner is not None and (owner.encoder_vocab_size is not None or size != owner.vocab_size):
            owner.encoder_vocab_size = size
        return embeddings

    def save_pretrained(self, *args: Any, **kwargs: Any) -> None:
        """Saves it as the `LstmModel` that it is by itself."""
        model = copy.copy(self)
        model.__class__ = LstmModel
        model.save_pretrained(*args, **kwargs)

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> LstmEncoderOutput:
        """
        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, source_length)`, *optional*): The source tokens.
            attention_mask (`torch.Tensor` of shape `(batch_size, source_length)`, *optional*): Non-zero at tokens.
            inputs_embeds (`torch.FloatTensor` of shape `(batch_size, source_length, encoder_embedding_size)`,
                *optional*): Embeddings instead of `input_ids`.
        """
        # A fresh cache collects the last states, also in training.
        kwargs |= {"cache": None, "use_cache": True, "return_dict": True}
        outputs = super().forward(input_ids, attention_mask, inputs_embeds=inputs_embeds, **kwargs)
        layers = outputs.cache.layers
        states = [torch.stack([layer.hidden_state.flatten(1), layer.cell_state.flatten(1)], dim=1) for layer in layers]
        return LstmEncoderOutput(
            last_hidden_state=outputs.last_hidden_state,
            states=torch.stack(states, dim=1),
            hidden_states=outputs.hidden_states,
            input_ids=input_ids,
        )


class LstmSeq2SeqPreTrainedModel(LstmPreTrainedModel):
    """Gives the encoder–decoder models what `LstmPreTrainedModel` gives the others."""

    config_class = LstmSeq2SeqConfig

    def auto_classes(self) -> dict[str, type]:
        """Returns the classes that can load what this model is saved as, by the auto class which finds them."""
        return {
            "AutoConfig": LstmSeq2SeqConfig,
            "AutoTokenizer": LstmTokenizer if self.config.encoder_vocab_size is None else LstmSeq2SeqTokenizer,
            "AutoModel": LstmSeq2SeqModel,
            "AutoModelForSeq2SeqLM": LstmForConditionalGeneration,
        }

    def make_cache(self) -> LstmCache:
        """Returns an empty cache for the decoder."""
        return LstmCache(self.config.decoder_layers + self.config.input_feeding, self.dtype)

    def resize_token_embeddings(self, new_num_tokens: int | None = None, *args: Any, **kwargs: Any) -> nn.Embedding:
        """
        Changes the size of the target vocabulary, and of the source's where they share one.

        The source vocabulary of a model with two is changed by `model.get_encoder().resize_token_embeddings(...)`.
        """
        embeddings = super().resize_token_embeddings(new_num_tokens, *args, **kwargs)
        encoder = getattr(self.base_model, "encoder", None)
        if encoder is not None and self.config.encoder_vocab_size is None:
            if not self.config.share_embeddings:
                LstmModel.resize_token_embeddings(encoder, new_num_tokens, *args, **kwargs)
            encoder.config.vocab_size = encoder.embed_tokens.num_embeddings
        return embeddings


class LstmDecoder(LstmSeq2SeqPreTrainedModel):
    """
    A stack of LSTM layers over target embeddings, which looks up the encoder's outputs after each step.

    Its output is the attentional vector tanh(W [context; hidden]) (https://aclanthology.org/D15-1166, equation 5);
    without attention it is the last layer's output, projected where the output layer reads another width.

    Args:
        config (`LstmSeq2SeqConfig`): Describes the model.
    """

    def __init__(self, config: LstmSeq2SeqConfig):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(
            config.vocab_size, config.decoder_embedding_size, padding_idx=config.pad_token_id
        )
        self.bridge = LstmBridge(config)
        self.layers = make_layers(config, config.decoder_layer_sizes)
        self.attention = None if config.attention_type == "none" else LstmAttention(config)
        context_size = 0 if self.attention is None else self.attention.context_size
        needs_readout = self.attention is not None or config.decoder_output_size != config.decoder_hidden_size
        read_sizes = (context_size + config.decoder_hidden_size, config.decoder_output_size)
        self.readout = nn.Linear(*read_sizes, bias=False) if needs_readout else None
        self.input_dropout = LockedDropout(config.input_dropout)
        self.hidden_dropout = LockedDropout(config.hidden_dropout)
        self.output_dropout = LockedDropout(config.output_dropout)
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embed_tokens

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        self.embed_tokens = value

    @takes_past_key_values
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        encoder_outputs: LstmEncoderOutput | None = None,
        encoder_attention_mask: torch.Tensor | None = None,
        cache: LstmCache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPastAndCrossAttentions:
        """
        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, target_length)`, *optional*): The target tokens.
            attention_mask (`torch.Tensor` of shape `(batch_size, target_length)`, *optional*):
                Non-zero at target tokens. With a cache it may cover the past as well; the end counts.
            encoder_outputs (`LstmEncoderOutput`, *optional*): What the encoder gave; not needed with a cache.
            encoder_attention_mask (`torch.Tensor` of shape `(batch_size, source_length)`, *optional*):
                Non-zero at source tokens.
            cache (`LstmCache`, *optional*): State to go on from; it is updated in place.
            inputs_embeds (`torch.FloatTensor` of shape `(batch_size, target_length, decoder_embedding_size)`,
                *optional*): Embeddings instead of `input_ids`.
            use_cache (`bool`, *optional*): Whether to return the state; by default not in training.
            output_hidden_states (`bool`, *optional*): Whether to return the embeddings and each layer's output.
            output_attentions (`bool`, *optional*): Whether to return the attention weights.

        Raises:
            ValueError: If not exactly one of `input_ids` and `inputs_embeds` is given, a shape does not fit, or the
                state belongs to another source.
        """
        inputs = check_inputs(input_ids, inputs_embeds, self.config.decoder_embedding_size, "decoder_")
        if use_cache is None:
            use_cache = self.config.use_cache and not self.training
        if cache is None and use_cache:
            cache = self.make_cache()
        check_cache(cache, self.state_shapes(), inputs.shape[0])
        attention_mask = fit_mask(attention_mask, inputs, "decoder_attention_mask")
        states, memory = self.start(cache, encoder_outputs, encoder_attention_mask, inputs.shape[0])
        if inputs_embeds is None:
            dropout = self.config.embedding_dropout if self.training else 0.0
            inputs_embeds = look_up_embeddings(self.embed_tokens, inputs, dropout, "decoder_input_ids")
        run = self._run_with_feeding if self.config.input_feeding else self._run_at_once
        output, weights, hidden_states = run(self.input_dropout(inputs_embeds), attention_mask, states, memory, cache)
        wants_weights = self.config.output_attentions if output_attentions is None else output_attentions
        wants_states = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        return BaseModelOutputWithPastAndCrossAttentions(
            last_hidden_state=self.output_dropout(output),
            cache=cache if use_cache else None,
            hidden_states=(inputs_embeds, *hidden_states) if wants_states else None,
            cross_attentions=(weights,) if wants_weights and weights is not None else None,
        )

    def state_shapes(self) -> list[tuple[int, int]]:
        """Returns the number of directions and the width of each state in a cache."""
        fed = [(1, self.config.decoder_output_size)] if self.config.input_feeding else []
        return [(1, size) for size in self.config.decoder_layer_sizes[1:]] + fed

    def step(self, input_ids: torch.Tensor, cache: LstmCache) -> tuple[torch.Tensor, torch.Tensor | None]:
        """
        Does what `forward` does with one token of each sequence, outside of training.

        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, 1)`): The target tokens.
            cache (`LstmCache`): The state after the tokens before, with the source's memory; it is updated in place.

        Returns:
            The output of shape `(batch_size, 1, decoder_output_size)`, and the attention weights if there are any.
        """
        hidden_states = self.embed_tokens(input_ids)[:, 0]
        is_fed, fed = self.config.input_feeding, cache.layers[-1]
        if is_fed:
            hidden_states = torch.cat([hidden_states, fed.states()[0][:, 0].to(hidden_states.dtype)], dim=-1)
        for layer, past in zip(cast(Iterable[LstmLayer], self.layers), cache.layers):
            hidden_states, *state = layer.step(hidden_states, *past.states())
            past.step(*state)
        assert cache.memory is not None
        # Copies, for the state must not change where hooks or a head change what they are given.
        output, weights = self._read_out(hidden_states.unsqueeze(1).clone(), cache.memory)
        if is_fed:
            fed.step(output.clone(), fed.states()[1])
        return output, weights

    def start(
        self,
        cache: LstmCache | None,
        encoder_outputs: LstmEncoderOutput | None,
        encoder_attention_mask: torch.Tensor | None,
        batch_size: int,
    ) -> tuple[LayerStates, EncoderMemory]:
        """
        Returns what the first step goes on from; an empty cache is given it too.

        Args:
            cache (`LstmCache`, *optional*): The state so far, with its memory of the source.
            encoder_outputs (`LstmEncoderOutput`, *optional*): What the encoder gave, for an empty cache or none.
            encoder_attention_mask (`torch.Tensor` of shape `(batch_size, source_length)`, *optional*):
                Non-zero at source tokens.
            batch_size (`int`): Number of targets.

        Returns:
            Each layer's hidden and cell state, and the attention's memory: the cache's, or new ones for this source.

        Raises:
            ValueError: If the source is missing, or not that of the cache, or not as many as the targets.
        """
        if cache is not None and cache.layers[0].hidden_state is not None:
            if cache.memory is None:
                raise ValueError(
                    "`cache` holds states, but nothing of a source: go on from a cache that this model "
                    "returned, or start with an empty one."
                )
            if encoder_outputs is not None:
                _check_same_source(cache.memory, encoder_outputs.last_hidden_state)
            return cast(LayerStates, [(layer.hidden_state, layer.cell_state) for layer in cache.layers]), cache.memory
        if encoder_outputs is None:
            raise ValueError("The decoder knows no source: give `input_ids`, `inputs_embeds` or `encoder_outputs`.")
        source = encoder_outputs.last_hidden_state
        if source is None:
            raise ValueError(
                "`encoder_outputs` holds no `last_hidden_state`, which the decoder attends to: give what "
                "`model.get_encoder()` returns."
            )
        if source.shape[0] != batch_size:
            raise ValueError(
                f"The source has {source.shape[0]} sequences, but the target {batch_size}. Give one target for each "
                "source."
            )
        states = self.bridge(encoder_outputs.states)
        # Without attention, it only tells one source from another.
        memory = EncoderMemory(source, source, source, None)
        if self.attention is not None:
            memory = self.attention.remember(source, fit_mask(encoder_attention_mask, source))
        if self.config.copy_attention:
            memory = memory._replace(token_ids=encoder_outputs.input_ids)
        if self.config.input_feeding:
            # The vector that is fed is stored like one more layer's hidden state; its cell state is empty.
            like = states[0][0]
            states.append((like.new_zeros(batch_size, 1, self.config.decoder_output_size), like[..., :0]))
        if cache is not None:
            cache.memory = memory
            for index, (hidden, cell) in enumerate(states):
                cache.update(hidden.unsqueeze(0), cell.unsqueeze(0), index, 0)
        return states, memory

    def _run_at_once(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None,
        states: LayerStates,
        memory: EncoderMemory,
        cache: LstmCache | None,
    ) -> tuple[torch.Tensor, torch.Tensor | None, list[torch.Tensor]]:
        """Runs all steps of a layer in one call, and attends for all of them together."""
        padding, outputs = find_padding(attention_mask), []
        for index, layer in enumerate(self.layers):
            if index > 0:
                hidden_states = self.hidden_dropout(hidden_states)
            every_step = cache is not None and cache.layers[index].record_past
            hidden_states, *new_states = layer(hidden_states, padding, *states[index], every_step)
            outputs.append(hidden_states)
            if cache is not None:
                cache.update(*new_states, index, hidden_states.shape[1])
        return *self._read_out(hidden_states, memory, padding), outputs

    def _run_with_feeding(
        self,
        inputs: torch.Tensor,
        attention_mask: torch.Tensor | None,
        states: LayerStates,
        memory: EncoderMemory,
        cache: LstmCache | None,
    ) -> tuple[torch.Tensor, torch.Tensor | None, list[torch.Tensor]]:
        """Runs step by step, each step reading the attentional vector of the one before."""
        if inputs.shape[1] == 0:
            inputs = F.pad(inputs, (0, self.config.decoder_output_size))
            return self._run_at_once(inputs, attention_mask, states, memory, cache)
        sizes = self.config.decoder_layer_sizes[1:-1]
        factors = [self.hidden_dropout.draw_mask(inputs, size) for size in sizes]
        steps: list[tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]] = []
        past: list[LayerStates] = []
        for step in range(inputs.shape[1]):
            padding = None if attention_mask is None else _step_padding(attention_mask[:, step])
            *states, (fed, nothing) = states
            hidden_states = torch.cat([inputs[:, step : step + 1], fed.to(inputs.dtype)], dim=-1)
            outputs = []
            for index, layer in enumerate(self.layers):
                if index > 0:
                    hidden_states = hidden_states * factors[index - 1]
                hidden_states, *new_states = layer(hidden_states, padding, *states[index])
                states[index] = (new_states[0][0], new_states[1][0])
                outputs.append(hidden_states)
            vector, weights = self._read_out(hidden_states, memory)
            assert weights is not None
            if padding is not None:
                fed = torch.where(padding.original_mask.unsqueeze(-1), vector, fed)
            states.append((vector if padding is None else fed, nothing))
            steps.append((vector, weights, outputs))
            past.append(list(states))
        if cache is not None:
            for index, layer_states in enumerate(zip(*past)):
                kept = layer_states if cache.layers[index].record_past else layer_states[-1:]
                cache.update(*(torch.stack(side) for side in zip(*kept)), index, inputs.shape[1])
        vectors, all_weights, all_outputs = zip(*steps)
        output = torch.cat(vectors, dim=1)
        if attention_mask is not None:
            output = output.masked_fill(attention_mask.unsqueeze(-1) == 0, 0)
        layer_outputs = [torch.cat(outputs, dim=1) for outputs in zip(*all_outputs)]
        return output, torch.cat(all_weights, dim=2), layer_outputs

    def _read_out(
        self, hidden_states: torch.Tensor, memory: EncoderMemory, padding: Padding | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Returns what the output layer reads, and the attention weights if there are any."""
        readout = self.readout
        if readout is None:
            return hidden_states, None
        if self.attention is None:
            return map_tokens(readout, hidden_states, padding), None
        contexts, weights = self.attention(hidden_states, memory)
        inputs = torch.cat([contexts, hidden_states], dim=-1)
        return map_tokens(lambda tokens: torch.tanh(readout(tokens)), inputs, padding), weights


def _step_padding(is_token: torch.Tensor) -> Padding:
    """Describes the padding of one step from a mask of shape `(batch_size,)`, without a look at its values."""
    mask = is_token.bool().unsqueeze(1)
    return Padding(mask, mask.sum(dim=1), None, None, mask)


def _check_same_source(memory: EncoderMemory, encoder_hidden_states: torch.Tensor | None) -> None:
    """Raises a `ValueError` if a cache was made from other encoder outputs."""
    source = memory.source
    if encoder_hidden_states is None or encoder_hidden_states is source:
        return
    # Not exactly: the same source may have been read in a batch of another size.
    tolerance = torch.finfo(source.dtype).eps ** 0.5
    is_same = source.shape == encoder_hidden_states.shape and torch.allclose(
        source, encoder_hidden_states.to(source), rtol=0, atol=tolerance, equal_nan=True
    )
    if not is_same:
        raise ValueError(
            "`cache` holds the state of another source than `encoder_outputs` or `input_ids`: start with an "
            "empty cache, or give the source that the state belongs to."
        )


class LstmSeq2SeqModel(LstmSeq2SeqPreTrainedModel):
    """
    An LSTM encoder and an LSTM decoder that attends to it, without an output layer.

    Padding may stand on the left, on the right or in between, on both sides; it changes nothing at real tokens.

    Args:
        config (`LstmSeq2SeqConfig`): Describes the model.
    """

    _tied_weights_keys = {"encoder.embed_tokens.weight": "decoder.embed_tokens.weight"}

    def __init__(self, config: LstmSeq2SeqConfig):
        super().__init__(config)
        self.encoder = LstmEncoder(config.encoder_config())
        self.encoder.owner_config = config
        self.decoder = LstmDecoder(config)
        self.post_init()

    def get_expanded_tied_weights_keys(self, all_submodels: bool = False) -> dict[str, str]:
        # transformers ties nothing where `tie_word_embeddings` is off; source and target may still share theirs.
        if all_submodels:
            return super().get_expanded_tied_weights_keys(all_submodels)
        return self._tied_weights_keys.copy() if self.config.share_embeddings else {}

    def get_input_embeddings(self) -> nn.Embedding:
        """Returns the target embeddings, which are also the source's if they share a table."""
        return self.decoder.embed_tokens

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        self.decoder.embed_tokens = value
        if self.config.share_embeddings:
            self.encoder.embed_tokens = value

    @takes_past_key_values
    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        decoder_input_ids: torch.Tensor | None = None,
        decoder_attention_mask: torch.Tensor | None = None,
        encoder_outputs: ModelOutput | tuple[torch.Tensor, ...] | None = None,
        cache: LstmCache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        decoder_inputs_embeds: torch.Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> Seq2SeqModelOutput:
        """
        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, source_length)`, *optional*): The source tokens.
            attention_mask (`torch.Tensor` of shape `(batch_size, source_length)`, *optional*):
                Non-zero at source tokens.
            decoder_input_ids (`torch.LongTensor` of shape `(batch_size, target_length)`, *optional*):
                The target tokens which the decoder reads, each predicting the next.
            decoder_attention_mask (`torch.Tensor` of shape `(batch_size, target_length)`, *optional*):
                Non-zero at target tokens. With a cache it may cover the past as well.
            encoder_outputs (`LstmEncoderOutput` or `tuple`, *optional*):
                What the encoder gave, in place of `input_ids`; of a tuple the first two entries count.
            cache (`LstmCache`, *optional*): The decoder's state to go on from; it is updated in place.
            inputs_embeds (`torch.FloatTensor` of shape `(batch_size, source_length, encoder_embedding_size)`,
                *optional*): Embeddings instead of `input_ids`.
            decoder_inputs_embeds (`torch.FloatTensor` of shape `(batch_size, target_length, decoder_embedding_size)`,
                *optional*): Embeddings instead of `decoder_input_ids`.
            use_cache (`bool`, *optional*): Whether to return the decoder's state; by default not in training.
            kwargs: `output_hidden_states` and `output_attentions` ask for more to be returned. `cross_attentions`
                holds one tensor of shape `(batch_size, num_heads, target_length, source_length)`.
        """
        if kwargs.get("output_hidden_states") is None:
            kwargs["output_hidden_states"] = self.config.output_hidden_states
        has_source = input_ids is not None or inputs_embeds is not None
        source: LstmEncoderOutput | None = None
        if encoder_outputs is not None:
            source = LstmEncoderOutput.read(encoder_outputs, self.config)
        elif has_source:
            source = self.encoder(input_ids, attention_mask, inputs_embeds, **kwargs)
        decoder_outputs = self.decoder(
            decoder_input_ids,
            decoder_attention_mask,
            source,
            attention_mask,
            cache,
            decoder_inputs_embeds,
            use_cache,
            **kwargs,
        )
        known = LstmEncoderOutput() if source is None else source
        return Seq2SeqModelOutput(
            last_hidden_state=decoder_outputs.last_hidden_state,
            cache=decoder_outputs.cache,
            decoder_hidden_states=decoder_outputs.hidden_states,
            cross_attentions=decoder_outputs.cross_attentions,
            encoder_last_hidden_state=known.last_hidden_state,
            encoder_hidden_states=known.hidden_states,
        )


def _copied(
    outputs: Seq2SeqModelOutput,
    encoder_outputs: ModelOutput | tuple[torch.Tensor, ...] | None,
    input_ids: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns how much each target token attends to each source token, and these, for every target token."""
    if encoder_outputs is not None:
        input_ids = encoder_outputs.get("input_ids") if isinstance(encoder_outputs, dict) else None
    cache = outputs.cache
    if input_ids is None and cache is not None and cache.memory is not None:
        input_ids = cache.memory.token_ids
    if input_ids is None:
        raise ValueError(
            "`copy_attention` copies source tokens, but of these only embeddings or states are known: give "
            "`input_ids`, or as `encoder_outputs` what `model.get_encoder()` returned for them."
        )
    assert outputs.cross_attentions is not None
    weights = outputs.cross_attentions[0].mean(dim=1)
    return weights, input_ids.unsqueeze(1).expand(weights.shape)


class LstmForConditionalGeneration(LstmSeq2SeqPreTrainedModel, LstmGenerationMixin):
    """
    An LSTM encoder–decoder that writes text: for translation, summaries and other pairs of sequences.

    Args:
        config (`LstmSeq2SeqConfig`): Describes the model.
    """

    _tied_weights_keys = {"lm_head.weight": "model.decoder.embed_tokens.weight"}
    # Not needed after the first token: the state holds the source, and targets have no padding.
    step_arguments = ("attention_mask", "decoder_attention_mask", "encoder_outputs", "inputs_embeds")

    def __init__(self, config: LstmSeq2SeqConfig):
        super().__init__(config)
        self.model = LstmSeq2SeqModel(config)
        self.lm_head: nn.Linear = OutputLayer(config.decoder_output_size, config.vocab_size)
        self.copying = LstmCopying(config) if config.copy_attention else None
        # By its name, the class would get the loss of language models, which shifts the labels once more.
        self.loss_function = token_loss
        self.post_init()

    def get_output_embeddings(self) -> nn.Linear:
        return self.lm_head

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        self.lm_head = OutputLayer.from_linear(new_embeddings, self.training)

    def prepare_decoder_input_ids_from_labels(self, labels: torch.Tensor) -> torch.Tensor:
        """
        Returns the `decoder_input_ids` that go with labels.

        Args:
            labels (`torch.LongTensor` of shape `(batch_size, target_length)`):
                The tokens to predict; -100 where none is to be learned.

        Returns:
            `torch.LongTensor` of shape `(batch_size, target_length)`: The start token and all labels but the last.

        Raises:
            ValueError: If the labels are of another shape, or the configuration has no token for padding or the start.
        """
        config = self.config
        if labels.dim() != 2:
            raise ValueError(
                f"`labels` is of shape {tuple(labels.shape)}, but must be (batch_size, target_length): of a "
                "single target, give `labels.unsqueeze(0)`."
            )
        if config.pad_token_id is None or config.decoder_start_token_id is None:
            raise ValueError(
                f"`pad_token_id` is {config.pad_token_id} and `decoder_start_token_id` "
                f"{config.decoder_start_token_id}, but labels need both. Set them in the configuration."
            )
        return shift_tokens_right(labels, config.pad_token_id, config.decoder_start_token_id)

    def _prepare_generation_config(self, *args: Any, **kwargs: Any) -> tuple[GenerationConfig, dict[str, Any]]:
        generation_config, model_kwargs = super()._prepare_generation_config(*args, **kwargs)
        sizes = (self.config.source_vocab_size, self.config.vocab_size)
        refuse_for_encoder_decoder(generation_config, model_kwargs, *sizes)
        if model_kwargs.get("encoder_outputs") is not None:
            # Anew, for transformers writes to what it repeats for beams.
            model_kwargs["encoder_outputs"] = LstmEncoderOutput.read(model_kwargs["encoder_outputs"], self.config)
        # A state is read in any number of pieces alike, and transformers would cut the source's mask with the target.
        generation_config.prefill_chunk_size = None
        if self.config.attention_type == "none":
            switch_attentions_off(generation_config, model_kwargs)
        return generation_config, model_kwargs

    @takes_past_key_values
    def prepare_inputs_for_generation(
        self,
        input_ids: torch.Tensor,
        next_sequence_length: int | None = None,
        cache: LstmCache | None = None,
        is_first_iteration: bool | None = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Prepares a step as transformers does; from a state that is handed in, only what it has not read is read."""
        if next_sequence_length is None and cache is not None:
            # `generate` puts the start token before targets without it, so that these are whole sequences.
            past_length = cache.get_seq_length()
            check_unread(input_ids.shape[1], past_length, "decoder_input_ids")
            next_sequence_length = input_ids.shape[1] - past_length
        inputs = super().prepare_inputs_for_generation(
            input_ids,
            next_sequence_length=next_sequence_length,
            cache=cache,
            is_first_iteration=is_first_iteration,
            **kwargs,
        )
        if not is_first_iteration and cache is not None and cache.memory is not None:
            # The state holds all of the source that is looked up: comparing both again would cost more than the step.
            inputs["encoder_outputs"] = None
        return inputs

    @takes_past_key_values
    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        decoder_input_ids: torch.Tensor | None = None,
        decoder_attention_mask: torch.Tensor | None = None,
        encoder_outputs: ModelOutput | tuple[torch.Tensor, ...] | None = None,
        cache: LstmCache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        decoder_inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        use_cache: bool | None = None,
        output_logits: bool | None = None,
        **kwargs: Any,
    ) -> Seq2SeqLMOutput:
        """
        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, source_length)`, *optional*): The source tokens.
            attention_mask (`torch.Tensor` of shape `(batch_size, source_length)`, *optional*):
                Non-zero at source tokens.
            decoder_input_ids (`torch.LongTensor` of shape `(batch_size, target_length)`, *optional*):
                The target tokens which the decoder reads; made from `labels` by default.
            decoder_attention_mask (`torch.Tensor` of shape `(batch_size, target_length)`, *optional*):
                Non-zero at target tokens; made from `labels` where `decoder_input_ids` are.
            encoder_outputs (`LstmEncoderOutput` or `tuple`, *optional*): As for `LstmSeq2SeqModel`.
            cache (`LstmCache`, *optional*): The decoder's state to go on from; it is updated in place.
            inputs_embeds (`torch.FloatTensor` of shape `(batch_size, source_length, encoder_embedding_size)`,
                *optional*): Embeddings instead of `input_ids`.
            decoder_inputs_embeds (`torch.FloatTensor` of shape `(batch_size, target_length, decoder_embedding_size)`,
                *optional*): Embeddings instead of `decoder_input_ids`.
            labels (`torch.LongTensor` of shape `(batch_size, target_length)`, *optional*):
                The tokens to predict, not shifted; -100 where none is to be learned.
            use_cache (`bool`, *optional*): Whether to return the decoder's state.
            output_logits (`bool`, *optional*):
                Whether to compute the scores of all positions, and return them. By default, training with labels
                computes only those that enter the loss, and returns none.
            kwargs: `num_items_in_batch` and `label_smoothing` (probability which is spread evenly over all tokens) go
                to the loss, all else to `LstmSeq2SeqModel`.

        Raises:
            ValueError: If the shapes do not go together.
            IndexError: If a label is not below `vocab_size` (checked on the CPU).
        """
        loss_arguments = {
            name: kwargs.pop(name) for name in ("num_items_in_batch", "label_smoothing") if name in kwargs
        }
        if self.loss_function is token_loss:  # one that somebody put in may take other labels
            check_labels(labels, self.config, "vocab_size")
        if labels is not None and decoder_input_ids is None and decoder_inputs_embeds is None:
            decoder_input_ids = self.prepare_decoder_input_ids_from_labels(labels)
            if decoder_attention_mask is None:
                decoder_attention_mask = labels != -100
        asked = kwargs.get("output_attentions")
        wants_attentions = self.config.output_attentions if asked is None else asked
        kwargs["output_attentions"] = wants_attentions or self.copying is not None
        outputs = self.model(
            input_ids,
            attention_mask,
            decoder_input_ids,
            decoder_attention_mask,
            encoder_outputs,
            cache,
            inputs_embeds,
            decoder_inputs_embeds,
            use_cache,
            return_dict=True,
            **kwargs,
        )
        hidden_states = outputs.last_hidden_state
        if labels is not None and labels.shape != hidden_states.shape[:2]:
            raise ValueError(
                f"`labels` is of shape {tuple(labels.shape)}, but the decoder reads tokens of shape "
                f"{tuple(hidden_states.shape[:2])}: give one label for each of them, -100 where none is to be learned."
            )
        if output_logits is None:
            output_logits = labels is None or not self.training
        copied: tuple[torch.Tensor, ...] = () if self.copying is None else _copied(outputs, encoder_outputs, input_ids)
        loss = None
        if labels is not None and not output_logits:
            logits, loss = None, self._spare_scores(hidden_states, labels, copied, **loss_arguments)
        else:
            logits = self._score(hidden_states, copied)
            if labels is not None:
                loss = self.loss_function(logits, labels, self.config.vocab_size, **loss_arguments)
        return Seq2SeqLMOutput(
            loss=loss,
            logits=logits if output_logits else None,
            cache=outputs.cache,
            decoder_hidden_states=outputs.decoder_hidden_states,
            # Empty and not `None`, because assisted decoding takes what each step gave apart.
            decoder_attentions=() if wants_attentions and outputs.cross_attentions is not None else None,
            cross_attentions=outputs.cross_attentions if wants_attentions else None,
            encoder_last_hidden_state=outputs.encoder_last_hidden_state,
            encoder_hidden_states=outputs.encoder_hidden_states,
        )

    def _score(self, hidden_states: torch.Tensor, copied: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Returns the scores of the next tokens; `copied` holds what `_copied` returns, if any are copied."""
        logits = self.lm_head(hidden_states)
        return logits if self.copying is None else self.copying(hidden_states, logits, *copied)

    def _spare_scores(
        self,
        hidden_states: torch.Tensor,
        labels: torch.Tensor,
        copied: tuple[torch.Tensor, ...],
        **loss_arguments: Any,
    ) -> torch.Tensor:
        """Computes the loss from the positions alone that have a label."""
        is_target = (labels != -100).to(hidden_states.device)
        hidden_states, targets = hidden_states[is_target], labels[is_target.to(labels.device)]
        if self.copying is None and self.loss_function is token_loss:
            return head_token_loss(self.lm_head, hidden_states, targets, **loss_arguments)
        logits = self._score(hidden_states, tuple(tensor[is_target] for tensor in copied))
        return self.loss_function(logits, targets, self.config.vocab_size, **loss_arguments)

    def read_token(self, input_ids: torch.Tensor, cache: LstmCache) -> torch.Tensor:
        hidden_states, weights = self.model.decoder.step(input_ids, cache)
        if self.copying is None:
            return self._score(hidden_states, ())
        assert weights is not None
        weights, token_ids = weights.mean(dim=1), cast(EncoderMemory, cache.memory).token_ids
        assert token_ids is not None
        return self._score(hidden_states, (weights, token_ids.unsqueeze(1).expand(weights.shape)))

    def _read_prompt(
        self, input_ids: torch.Tensor, generation_config: GenerationConfig, model_kwargs: dict[str, Any]
    ) -> tuple[LstmCache, torch.Tensor]:
        cache, given = model_kwargs["cache"], model_kwargs.get("encoder_outputs")
        source = LstmEncoderOutput() if given is None else LstmEncoderOutput.read(given, self.config)
        check_cache(cache, self.model.decoder.state_shapes(), len(input_ids))
        usual = (
            input_ids.shape[1] == 1 and cache.get_seq_length() == 0,  # the start token alone: it is a step, too
            source.last_hidden_state is not None,
            self.copying is None or source.input_ids is not None,
            model_kwargs.get("decoder_attention_mask") is None,
            bool(((input_ids >= 0) & (input_ids < self.config.vocab_size)).all()),  # otherwise `forward` says so
        )
        if not all(usual):
            return super()._read_prompt(input_ids, generation_config, model_kwargs)
        self.model.decoder.start(cache, source, model_kwargs.get("attention_mask"), len(input_ids))
        return cache, self.read_token(input_ids, cache)

    def _takes_steps(self) -> bool:
        decoder = self.model.decoder
        parts = [(self, LstmForConditionalGeneration), (self.model, LstmSeq2SeqModel), (decoder, LstmDecoder)]
        return are_plain_for_steps(decoder, *parts)

    def predict(
        self,
        texts: Sequence[str],
        tokenizer: PreTrainedTokenizerBase,
        batch_size: int = 64,
        max_length: int | None = None,
        progress_bar: bool = False,
        **generation: Any,
    ) -> list[str]:
        """
        Writes a text for each of many texts, in batches of similar lengths; an empty one for white space alone.

        Args:
            texts (`Sequence[str]`): The sources; the configuration's `prefix` is put before each.
            tokenizer (`PreTrainedTokenizerBase`): The model's tokenizer.
            batch_size (`int`, defaults to 64): Texts of a batch at most.
            max_length (`int`, *optional*):
                Tokens of a source that are read; by default what the tokenizer is made for.
            progress_bar (`bool`, defaults to `False`): Whether to show how many texts are done.
            generation: Arguments of `generate`, such as `num_beams`.

        Returns:
            `list[str]`: What was written, in the order of the texts.

        Raises:
            ValueError: If the arguments do not go together, or ask for more than one text for each.
        """
        num_returned = generation.get("num_return_sequences") or 1
        if num_returned != 1:
            raise ValueError(
                f"`num_return_sequences` is {num_returned}, but `predict` gives one text for each: leave it out, or "
                'take `generate` or the pipeline "lstm-text2text".'
            )
        # Whatever the model was saved to return, one sequence of tokens is wanted.
        generation |= {"num_return_sequences": 1, "return_dict_in_generate": False}
        if generation.get("stop_strings") is not None:
            generation["tokenizer"] = find_target_tokenizer(tokenizer)
        texts = read_texts(texts, "texts")
        written = predict_texts(
            self,
            [text for text in texts if text.strip()],
            tokenizer,
            lambda batch: self.generate(**batch, **generation).tolist(),
            batch_size=batch_size,
            max_length=max_length,
            progress_bar=progress_bar,
            prefix=self.config.prefix or "",
        )
        decoded = iter(tokenizer.batch_decode(written, skip_special_tokens=True))
        return [next(decoded) if text.strip() else "" for text in texts]

    @classmethod
    def from_encoder_decoder_pretrained(
        cls,
        encoder: str | Path | LstmModel | None = None,
        decoder: str | Path | LstmForCausalLM | None = None,
        **config_arguments: Any,
    ) -> "LstmForConditionalGeneration":
        """
        Builds a model that starts from a saved encoder, a saved language model, or both.

        What they do not have, such as attention and the bridge, starts at random; so does a side that is not given.
        The decoder reads their `bos_token_id` first, the language model's where there is one.

        Args:
            encoder (`str`, `Path` or `LstmModel`, *optional*): The encoder, or where it was saved.
            decoder (`str`, `Path` or `LstmForCausalLM`, *optional*): The language model, or where it was saved.
            config_arguments: Further fields of `LstmSeq2SeqConfig`.

        Raises:
            ValueError: If none is given, they do not go together, they have what this model has not, or lack weights,
                or are in int8.
        """
        return build_from_parts(cls, encoder, decoder, config_arguments)


# Remote code never imports the package, so pipelines become known here; and so their code is saved with the models.
register_pipelines()
