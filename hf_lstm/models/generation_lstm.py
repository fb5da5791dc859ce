"""The loops behind `generate` that go by bare steps, with the tokens and scores of transformers' own loops."""

import copy
import inspect
from collections.abc import Collection
from typing import Any, ClassVar

import torch
from transformers.generation import (
    GenerateBeamDecoderOnlyOutput,
    GenerateBeamEncoderDecoderOutput,
    GenerateDecoderOnlyOutput,
    GenerateEncoderDecoderOutput,
    GenerationConfig,
    GenerationMixin,
    LogitsProcessorList,
    StoppingCriteriaList,
)
from transformers.generation.streamers import BaseStreamer

from .beams_lstm import Beams
from .cache_lstm import LstmCache
from .inputs_lstm import check_unread
from .prepacking_lstm import fixed_parameters
from .stopping_lstm import Limits, StopTextCriteria, check_padding, may_end_apart, simplify_processors


def switch_attentions_off(generation_config: GenerationConfig, model_kwargs: dict[str, Any]) -> None:
    """Keeps `generate` from collecting attentions of a model which has none: its assisted loops would fail."""
    generation_config.output_attentions = False
    model_kwargs.pop("output_attentions", None)


def _refuse_source_tokens(generation_config: GenerationConfig, source_vocab_size: int, vocab_size: int) -> None:
    """Refuses what would look for the source's tokens in the target, where each has a vocabulary of its own."""
    if source_vocab_size == vocab_size:
        return
    for name, off in (("encoder_no_repeat_ngram_size", 0), ("encoder_repetition_penalty", 1.0)):
        value = getattr(generation_config, name)
        if value not in (None, off):
            raise ValueError(
                f"`{name}` is {value}, but must be {off}: it looks for tokens of the source, of which there are "
                f"{source_vocab_size}, in the target, which has {vocab_size}."
            )


def refuse_for_encoder_decoder(
    generation_config: GenerationConfig, model_kwargs: dict[str, Any], source_vocab_size: int, vocab_size: int
) -> None:
    """Refuses what `generate` can do with language models only, or with a single vocabulary."""
    _refuse_source_tokens(generation_config, source_vocab_size, vocab_size)
    if generation_config.guidance_scale not in (None, 1):
        raise ValueError(
            f"`guidance_scale` is {generation_config.guidance_scale}, but must be 1: guidance reads the target once "
            "more without a source, which an encoder–decoder cannot."
        )
    if generation_config.assistant_early_exit is not None:
        raise ValueError(
            f"`assistant_early_exit` is {generation_config.assistant_early_exit}, but an encoder–decoder reads all "
            "of its layers: leave it out, or give a smaller model as `assistant_model`."
        )
    if model_kwargs.get("decoder_inputs_embeds") is not None:
        raise ValueError(
            "`decoder_inputs_embeds` are given, but `generate` goes on from tokens: give `decoder_input_ids`, or call "
            "the model itself."
        )


class LstmGenerationMixin(GenerationMixin):
    """
    Gives a model loops for greedy search, sampling and beam search that advance its state by bare steps.

    They run when only tokens, scores, logits and the state are wanted. Otherwise, and where `forward` must be called
    for its hooks, transformers' own loops run, which call `forward` each time.
    """

    step_arguments: ClassVar[Collection[str]]  # arguments of `forward` that say nothing new after the first token

    def read_token(self, input_ids: torch.Tensor, cache: LstmCache) -> torch.Tensor:
        """
        Does what `forward` does with one token of each sequence, outside of training.

        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, 1)`): The tokens.
            cache (`LstmCache`): The state after those before; it is updated in place.

        Returns:
            `torch.Tensor` of shape `(batch_size, 1, vocab_size)`: Scores of the next tokens.
        """
        raise NotImplementedError

    def _prepare_generation_config(self, *args: Any, **kwargs: Any) -> tuple[GenerationConfig, dict[str, Any]]:
        generation_config, model_kwargs = super()._prepare_generation_config(*args, **kwargs)
        if generation_config.num_beams is not None and generation_config.num_beams < 1:
            raise ValueError(
                f"`num_beams` is {generation_config.num_beams}, but must be at least 1: use 1 for greedy search or "
                "sampling, and for example 5 for beam search."
            )
        return generation_config, model_kwargs

    def _get_stopping_criteria(
        self,
        generation_config: GenerationConfig,
        stopping_criteria: StoppingCriteriaList | None,
        tokenizer: Any = None,
    ) -> StoppingCriteriaList:
        strings = generation_config.stop_strings
        # Without a tokenizer, transformers says that it is missing; but assistants are given none, and need not stop.
        if strings is None or (tokenizer is None and not generation_config.is_assistant):
            return super()._get_stopping_criteria(generation_config, stopping_criteria, tokenizer)
        without = copy.copy(generation_config)
        without.stop_strings = None
        criteria = super()._get_stopping_criteria(without, stopping_criteria, tokenizer)
        if tokenizer is not None:
            criteria.append(StopTextCriteria(strings, tokenizer))
        return criteria

    def _get_candidate_generator(
        self,
        generation_config: GenerationConfig,
        input_ids: torch.Tensor,
        *,
        model_kwargs: dict[str, Any],
        **kwargs: Any,
    ) -> Any:
        # Assisted decoding, too, needs the scores after the last token given.
        name = "decoder_input_ids" if self.config.is_encoder_decoder else "input_ids"
        check_unread(input_ids.shape[1], model_kwargs["cache"].get_seq_length(), name)
        return super()._get_candidate_generator(generation_config, input_ids, model_kwargs=model_kwargs, **kwargs)

    def _read_prompt(
        self, input_ids: torch.Tensor, generation_config: GenerationConfig, model_kwargs: dict[str, Any]
    ) -> tuple[LstmCache, torch.Tensor]:
        """Returns the state after the tokens given, and the scores of at least the next token."""
        outputs = self._prefill(input_ids, generation_config, model_kwargs)
        return outputs.cache, outputs.logits

    def _takes_steps(self) -> bool:
        """Tells whether the parts of the model may be called, as `read_token` does, instead of the model."""
        raise NotImplementedError

    def _goes_by_steps(
        self,
        logits_processor: LogitsProcessorList,
        generation_config: GenerationConfig,
        synced_gpus: bool,
        model_kwargs: dict[str, Any],
    ) -> bool:
        """Tells whether these loops give all that a request wants, and the model may be read by steps."""
        if not self._takes_steps():
            return False
        cache = model_kwargs.get("cache")
        known = (*self.step_arguments, "cache", "use_cache", "tokenizer")  # the latter is for stop strings
        wants_more = (
            synced_gpus,
            generation_config.is_assistant,
            generation_config.output_attentions,
            generation_config.output_hidden_states,
            not model_kwargs["use_cache"],
            cache is not None and not self._steps_from(cache),
            any(value is not None and name not in known for name, value in model_kwargs.items()),
            # A processor that must be given more than tokens and scores: transformers says what is missing.
            any(len(inspect.signature(processor.__call__).parameters) > 2 for processor in logits_processor),
            torch.is_autocast_enabled(self.device.type),
        )
        return not any(wants_more)

    def _steps_from(self, cache: Any) -> bool:
        """Tells whether steps may go on from a state that was handed in."""
        if not isinstance(cache, LstmCache) or cache.is_recording_past(0):
            return False
        return cache.layers[0].dtype in (None, self.dtype)

    def _sample(
        self,
        input_ids: torch.Tensor,
        logits_processor: LogitsProcessorList,
        stopping_criteria: StoppingCriteriaList,
        generation_config: GenerationConfig,
        synced_gpus: bool = False,
        streamer: BaseStreamer | None = None,
        **model_kwargs: Any,
    ) -> GenerateDecoderOnlyOutput | GenerateEncoderDecoderOutput | torch.Tensor:
        if len(input_ids) > 1 and may_end_apart(stopping_criteria):
            check_padding(generation_config.pad_token_id, self.config.vocab_size)
        arguments = (input_ids, logits_processor, stopping_criteria, generation_config)
        with fixed_parameters(self):
            if self._goes_by_steps(logits_processor, generation_config, synced_gpus, model_kwargs):
                return self._sample_by_steps(*arguments, streamer, model_kwargs)
            return super()._sample(*arguments, synced_gpus, streamer, **model_kwargs)

    def _sample_by_steps(
        self,
        input_ids: torch.Tensor,
        logits_processor: LogitsProcessorList,
        stopping_criteria: StoppingCriteriaList,
        generation_config: GenerationConfig,
        streamer: BaseStreamer | None,
        model_kwargs: dict[str, Any],
    ) -> GenerateDecoderOnlyOutput | GenerateEncoderDecoderOutput | torch.Tensor:
        record, limits = _Record(generation_config), Limits.find(stopping_criteria)
        is_filled_up = may_end_apart(stopping_criteria)
        goes_on = torch.ones(len(input_ids), dtype=torch.bool, device=input_ids.device)
        cache, logits = self._read_prompt(input_ids, generation_config, model_kwargs)
        logits = _last_logits(logits, input_ids)
        processors = simplify_processors(logits_processor, logits.shape[1])
        while True:
            scores = logits
            for processor in processors:
                scores = processor(input_ids, scores)
            record.add(scores, logits)
            if generation_config.do_sample:
                tokens = torch.multinomial(scores.softmax(dim=-1), num_samples=1).squeeze(1)
            else:
                tokens = _find_highest(scores)
            if is_filled_up:
                tokens = torch.where(goes_on, tokens, generation_config._pad_token_tensor.to(tokens.device))
            input_ids = torch.cat([input_ids, tokens.unsqueeze(1)], dim=1)
            if limits is None:
                goes_on = goes_on & ~stopping_criteria(input_ids, record.scores).bool()
            else:
                goes_on = goes_on & ~limits.are_reached(tokens, input_ids.shape[1])
            if streamer is not None:
                streamer.put(tokens.cpu())
            if not goes_on.any():
                break
            logits = _last_logits(self.read_token(_to_state(tokens, cache), cache), input_ids)
        if streamer is not None:
            streamer.end()
        if not generation_config.return_dict_in_generate:
            return input_ids
        kind = GenerateEncoderDecoderOutput if self.config.is_encoder_decoder else GenerateDecoderOnlyOutput
        return kind(sequences=input_ids, scores=record.scores, logits=record.logits, cache=cache)

    def _beam_search(
        self,
        input_ids: torch.Tensor,
        logits_processor: LogitsProcessorList,
        stopping_criteria: StoppingCriteriaList,
        generation_config: GenerationConfig,
        synced_gpus: bool = False,
        **model_kwargs: Any,
    ) -> GenerateBeamDecoderOnlyOutput | GenerateBeamEncoderDecoderOutput | torch.Tensor:
        arguments = (input_ids, logits_processor, stopping_criteria, generation_config)
        with fixed_parameters(self):
            by_steps = self._goes_by_steps(logits_processor, generation_config, synced_gpus, model_kwargs)
            if by_steps and not generation_config.low_memory:
                return self._beam_search_by_steps(*arguments, model_kwargs)
            return super()._beam_search(*arguments, synced_gpus, **model_kwargs)

    def _beam_search_by_steps(
        self,
        input_ids: torch.Tensor,
        logits_processor: LogitsProcessorList,
        stopping_criteria: StoppingCriteriaList,
        generation_config: GenerationConfig,
        model_kwargs: dict[str, Any],
    ) -> GenerateBeamDecoderOnlyOutput | GenerateBeamEncoderDecoderOutput | torch.Tensor:
        record, limits, prompt = _Record(generation_config), Limits.find(stopping_criteria), input_ids
        cache, logits = self._read_prompt(input_ids, generation_config, model_kwargs)
        logits = _last_logits(logits, input_ids, record.logits is not None)
        vocab_size, max_new_tokens = logits.shape[1], generation_config.max_length - prompt.shape[1]
        batch_size = len(prompt) // generation_config.num_beams
        beams = Beams(batch_size, vocab_size, generation_config, max_new_tokens, logits.device)
        processors = simplify_processors(logits_processor, vocab_size)
        while True:
            log_probs = logits.log_softmax(dim=-1)
            for processor in processors:
                log_probs = processor(input_ids, log_probs)
            record.add(log_probs, logits)
            scores, candidates = beams.extend(log_probs)
            if limits is None:
                rows, tokens = beams.split(candidates)
                ends = stopping_criteria(torch.cat([input_ids[rows], tokens.unsqueeze(1)], dim=1), record.scores)
                ends = ends.view(candidates.shape)
            else:
                ends = limits.are_reached(candidates % vocab_size, input_ids.shape[1] + 1)
            rows, tokens = beams.split(beams.advance(scores, candidates, ends))
            cache.reorder_cache(rows)
            if not beams.go_on(ends):
                break
            input_ids = torch.cat([input_ids[rows], tokens.unsqueeze(1)], dim=1)
            logits = self.read_token(_to_state(tokens, cache), cache)
            logits = _last_logits(logits, input_ids, record.logits is not None)
        sequences, sequences_scores, beam_indices = _read_beams(beams, prompt, generation_config)
        if not generation_config.return_dict_in_generate:
            return sequences
        kind = GenerateBeamEncoderDecoderOutput if self.config.is_encoder_decoder else GenerateBeamDecoderOnlyOutput
        return kind(
            sequences=sequences,
            sequences_scores=sequences_scores if generation_config.output_scores else None,
            scores=record.scores,
            logits=record.logits,
            beam_indices=beam_indices,
            cache=cache,
        )


class _Record:
    """Collects the scores and logits of each step, where they are asked for."""

    def __init__(self, generation_config: GenerationConfig):
        is_asked = generation_config.return_dict_in_generate
        self.scores: tuple[torch.Tensor, ...] | None = () if is_asked and generation_config.output_scores else None
        self.logits: tuple[torch.Tensor, ...] | None = () if is_asked and generation_config.output_logits else None
        self.copies_scores = generation_config.num_beams > 1  # as transformers does

    def add(self, scores: torch.Tensor, logits: torch.Tensor) -> None:
        if self.scores is not None:
            self.scores += (scores.clone() if self.copies_scores else scores,)
        if self.logits is not None:
            self.logits += (logits,)


def _last_logits(logits: torch.Tensor, input_ids: torch.Tensor, is_kept: bool = True) -> torch.Tensor:
    """
    Returns the scores after the last position in float32.

    Args:
        logits (`torch.Tensor` of shape `(batch_size, num_positions, vocab_size)`): Scores of one or more positions.
        input_ids (`torch.LongTensor`): Tokens, which tell the device.
        is_kept (`bool`, defaults to `True`):
            Whether to return a copy, since a head may give the same memory in each step. Where there are several
            positions it is one in any case, for theirs to be freed.
    """
    copy = is_kept or logits.shape[1] > 1
    return logits[:, -1].to(dtype=torch.float32, device=input_ids.device, copy=copy)


def _find_highest(scores: torch.Tensor) -> torch.Tensor:
    """Returns the token with the highest score of each row: numpy finds it up to eight times as fast as torch."""
    # A processor may have changed device and type.
    is_plain = scores.device.type == "cpu" and scores.dtype == torch.float32
    if not is_plain or torch._C._are_functorch_transforms_active():
        return scores.argmax(dim=-1)
    return torch.from_numpy(scores.numpy(force=True).argmax(axis=-1))


def _to_state(tokens: torch.Tensor, cache: LstmCache) -> torch.Tensor:
    """Returns tokens of shape `(batch_size,)` as a step reads them, where the state is."""
    return tokens.unsqueeze(1).to(cache.layers[0].states()[0].device)


def _read_beams(
    beams: Beams, prompt: torch.Tensor, generation_config: GenerationConfig
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns the best sequences with their prompts, their scores, and the rows that their tokens came from."""
    num_returned, end_ids = generation_config.num_return_sequences, generation_config._eos_token_tensor
    tokens, rows = (tensor[:, :num_returned].flatten(0, 1) for tensor in beams.trace())
    lengths = (rows >= 0).sum(dim=1)
    longest = max(lengths.tolist(), default=0)
    tokens, rows = tokens[:, :longest], rows[:, :longest].int()
    # What transformers fills up with; a padding token of number 0 counts as none there.
    fill = -1 if end_ids is None else int(generation_config._pad_token_tensor or end_ids[0])
    starts = prompt.unflatten(0, beams.scores.shape)[:, :num_returned].flatten(0, 1)
    sequences = torch.cat([starts, tokens.masked_fill(rows < 0, fill)], dim=1)
    return sequences, beams.ended_scores[:, :num_returned].flatten(), rows
