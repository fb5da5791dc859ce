"""Pipelines from text to text, which transformers 5 no longer has, and one that continues a text."""

import os
from collections.abc import Iterator
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    GenerationConfig,
    Pipeline,
    TextGenerationPipeline,
)
from transformers.pipelines import PIPELINE_REGISTRY
from transformers.pipelines.text_generation import ReturnType
from transformers.utils import logging

from .inputs_lstm import check_count
from .tokenization_lstm import find_target_tokenizer

logger = logging.get_logger(__name__)


class LstmText2TextPipeline(Pipeline):
    """
    Writes a text for each text with an encoder–decoder, for instance [`LstmForConditionalGeneration`].

    It decodes as the model's `generation_config` says, unless the pipeline or a call is given arguments of `generate`.
    Without any limit of the output's length, 256 new tokens are the limit.

    Example:

    ```python
    >>> from transformers import pipeline
    >>> import hf_lstm

    >>> translate = pipeline("lstm-translation", model="path/to/model")
    >>> translate(["Ein Hund läuft.", "Zwei Hunde spielen."], batch_size=2, num_beams=5)
    [{'translation_text': 'a dog runs.'}, {'translation_text': 'two dogs are playing.'}]
    ```
    """

    _load_processor = False
    _load_image_processor = False
    _load_video_processor = False
    _load_feature_extractor = False
    _load_tokenizer = True
    _pipeline_calls_generate = True
    _default_generation_config = GenerationConfig(max_new_tokens=256)

    task_name = "lstm-text2text"
    output_name = "generated"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["task"] = kwargs.get("task") or self.task_name
        super().__init__(*args, **kwargs)
        if self.tokenizer is None:
            raise ValueError(f"The pipeline {self.task!r} needs a tokenizer: give it as `tokenizer`.")
        if not (self.model.can_generate() and self.model.config.is_encoder_decoder):
            raise ValueError(
                f"The pipeline {self.task!r} needs an encoder–decoder that generates, such as "
                f"LstmForConditionalGeneration, not {type(self.model).__name__}."
            )
        self._has_warned_of_length = False

    def _sanitize_parameters(
        self,
        truncation: bool | str | None = None,
        max_source_length: int | None = None,
        return_text: bool | None = None,
        return_tensors: bool | None = None,
        clean_up_tokenization_spaces: bool | None = None,
        **generate_kwargs: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if max_source_length is not None:
            check_count("max_source_length", max_source_length)
        preprocess = _drop_none(truncation=truncation, max_source_length=max_source_length)
        postprocess = _drop_none(
            return_text=return_text,
            return_tensors=return_tensors,
            clean_up_tokenization_spaces=clean_up_tokenization_spaces,
        )
        # What the pipeline was made with holds beside what a call is given.
        returned = getattr(self, "_postprocess_params", {}) | postprocess
        if returned.get("return_text") is False and not returned.get("return_tensors"):
            raise ValueError("return_text=False leaves nothing to return: set return_tensors=True for the token ids.")
        return preprocess, generate_kwargs, postprocess

    def __call__(self, inputs: Any, **kwargs: Any) -> list[Any] | Iterator[Any]:
        """
        Writes a text for each input.

        Args:
            inputs (`str`, `list[str]`, generator or dataset of `str`):
                The texts. A dataset's column is read through transformers' `KeyDataset`.
            batch_size (`int`, *optional*, defaults to 1):
                How many texts run at a time.
            truncation (`bool`, *optional*, defaults to `False`):
                Whether texts are cut to `max_source_length`.
            max_source_length (`int`, *optional*):
                Number of tokens to which `truncation=True` cuts; the tokenizer's `model_max_length` when `None`.
            return_text (`bool`, *optional*):
                Whether the texts are returned; by default, unless `return_tensors` is set.
            return_tensors (`bool`, *optional*, defaults to `False`):
                Whether the token ids are returned.
            clean_up_tokenization_spaces (`bool`, *optional*):
                Whether spaces before punctuation are removed, as the tokenizer says when `None`.
            kwargs:
                All else goes to the model's `generate`, such as `num_beams` or `max_new_tokens`.

        Returns:
            `list` or iterator: One dictionary for each text, with `translation_text` (or `summary_text`,
            `generated_text`), and `translation_token_ids` if asked for. With `num_return_sequences` above 1 there is a
            list of dictionaries for each text of a list. Generators and datasets give such a list for each text, one
            after the other.

        Raises:
            TypeError: If a text is not a string.
            ValueError: If a text is empty: without any token, or white space only.
        """
        if isinstance(inputs, list) and not inputs:
            return []
        results = super().__call__(inputs, **kwargs)
        if isinstance(inputs, list) and all(len(result) == 1 for result in results):
            return [result[0] for result in results]
        return results

    def preprocess(
        self, text: str, truncation: bool | str = False, max_source_length: int | None = None
    ) -> dict[str, torch.Tensor]:
        """Encodes one text, with the prefix that the model's configuration sets."""
        if not isinstance(text, str):
            raise TypeError(
                f"The pipeline {self.task!r} got {text!r} ({type(text).__name__}) but reads strings: give a string, a "
                "list of strings, or a dataset's column through `KeyDataset`."
            )
        encoding = self.tokenizer(
            (self.prefix or "") + text,
            truncation=truncation,
            max_length=max_source_length,
            return_token_type_ids=False,
            verbose=False,
        )
        num_tokens = len(encoding["input_ids"])
        if not text.strip() or num_tokens == 0:
            raise ValueError(f"The pipeline {self.task!r} got the empty text {text!r}: leave out what has no tokens.")
        self._warn_of_length(num_tokens, max_source_length)
        return {name: torch.tensor([values]) for name, values in encoding.items()}

    def _warn_of_length(self, num_tokens: int, max_source_length: int | None) -> None:
        """Warns once of a text that is longer than its limit, which `truncation` would have cut."""
        limit = max_source_length or self.tokenizer.model_max_length
        if num_tokens > limit and not self._has_warned_of_length:
            self._has_warned_of_length = True
            logger.warning(
                f"A text has {num_tokens} tokens, more than the limit of {limit}, and is read as a whole: set "
                "truncation=True to cut such texts. This is said once."
            )

    def _forward(self, model_inputs: dict[str, torch.Tensor], **generate_kwargs: Any) -> dict[str, torch.Tensor]:
        # Stop strings and an assistant's tokens are compared with what is generated: the target of two vocabularies.
        helpers = {
            "tokenizer": find_target_tokenizer(self.tokenizer),
            "assistant_model": self.assistant_model,
            "assistant_tokenizer": self.assistant_tokenizer,
        }
        generate_kwargs = {**helpers, **self._prepare_generate_kwargs(generate_kwargs)}
        output = self.model.generate(**model_inputs, **generate_kwargs)
        sequences = output if isinstance(output, torch.Tensor) else output.sequences
        batch_size = len(model_inputs["input_ids"])
        return {"token_ids": sequences.reshape(batch_size, -1, sequences.shape[-1])}

    def postprocess(
        self,
        model_outputs: dict[str, torch.Tensor],
        return_text: bool | None = None,
        return_tensors: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> list[dict[str, Any]]:
        """Returns a dictionary for each sequence that was generated for one text."""
        results = []
        for token_ids in model_outputs["token_ids"][0]:
            result: dict[str, Any] = {}
            if return_tensors:
                result[f"{self.output_name}_token_ids"] = token_ids
            if return_text or not return_tensors:
                result[f"{self.output_name}_text"] = self.tokenizer.decode(
                    token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=clean_up_tokenization_spaces
                )
            results.append(result)
        return results

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """Saves the model, the tokenizer and this pipeline's code, named in the model's configuration."""
        # Named here, for a pipeline that was loaded with a model's own code was never registered.
        self._registered_impl = {self.task_name: {"impl": type(self), "pt": (AutoModelForSeq2SeqLM,)}}
        super().save_pretrained(save_directory, **kwargs)


class LstmTranslationPipeline(LstmText2TextPipeline):
    """Translates texts: [`LstmText2TextPipeline`] whose results are named `translation_text`."""

    task_name = "lstm-translation"
    output_name = "translation"


class LstmSummarizationPipeline(LstmText2TextPipeline):
    """Summarises texts: [`LstmText2TextPipeline`] whose results are named `summary_text`."""

    task_name = "lstm-summarization"
    output_name = "summary"


class LstmTextGenerationPipeline(TextGenerationPipeline):
    """
    Continues texts with a language model: [`TextGenerationPipeline`] with the space between a prompt and what follows.

    transformers decodes the new tokens by themselves. Tokenizers that join words by spaces, or take off the one before
    the first word, then write none in front of them.

    Example:

    ```python
    >>> from transformers import pipeline
    >>> import hf_lstm

    >>> continue_text = pipeline("lstm-text-generation", model="path/to/model")
    >>> continue_text("a man is", max_new_tokens=2)
    [{'generated_text': 'a man is reading .'}]
    ```
    """

    task_name = "lstm-text-generation"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["task"] = kwargs.get("task") or self.task_name
        super().__init__(*args, **kwargs)

    def postprocess(
        self, model_outputs: dict[str, Any], return_type: ReturnType = ReturnType.FULL_TEXT, **kwargs: Any
    ) -> list[dict[str, Any]]:
        """Returns a dictionary for each sequence that was generated for one prompt."""
        records = super().postprocess(model_outputs, return_type, **kwargs)
        if return_type == ReturnType.TENSORS or model_outputs["input_ids"] is None:
            return records
        begun = _begun_text(model_outputs["prompt_text"], kwargs.get("continue_final_message"))
        if not begun or begun[-1].isspace():
            return records
        start = len(begun) if return_type == ReturnType.FULL_TEXT else 0
        num_read = model_outputs["input_ids"].shape[-1]
        clean_up = kwargs.get("clean_up_tokenization_spaces")
        for record, token_ids in zip(records, model_outputs["generated_sequence"][0].tolist()):
            if not self._loses_space(token_ids[:num_read], token_ids[num_read:], clean_up):
                continue
            text = record["generated_text"]
            if isinstance(text, str):
                record["generated_text"] = _insert_space(text, start)
            else:
                text[-1]["content"] = _insert_space(text[-1]["content"], start)
        return records

    def _loses_space(self, prompt: list[int], new: list[int], clean_up: bool | None) -> bool:
        """Tells whether tokens that are decoded together have a space between them which they lose one by one."""
        parts = (prompt + new, prompt, new)
        whole, before, after = (self.tokenizer.decode(part, clean_up_tokenization_spaces=clean_up) for part in parts)
        return bool(whole == f"{before} {after}")

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """Saves the model, the tokenizer and this pipeline's code, named in the model's configuration."""
        self._registered_impl = {self.task_name: {"impl": type(self), "pt": (AutoModelForCausalLM,)}}
        super().save_pretrained(save_directory, **kwargs)


def _drop_none(**arguments: Any) -> dict[str, Any]:
    """Returns the arguments that are given."""
    return {name: value for name, value in arguments.items() if value is not None}


def _begun_text(prompt: Any, is_continued: bool | None) -> str:
    """Returns the text that is continued: the prompt, the last message of a chat, or none where a message is new."""
    if isinstance(prompt, str):
        return prompt
    last = prompt.messages[-1]
    if is_continued is None:  # then transformers goes by the role, too
        is_continued = last["role"] == "assistant"
    if not is_continued:
        return ""
    content = last["content"]
    # Of a message in parts, the last text is continued.
    return content if isinstance(content, str) else next((p["text"] for p in reversed(content) if "text" in p), "")


def _insert_space(text: str, start: int) -> str:
    """Puts a space where the new text starts, unless there is none."""
    return text if len(text) == start else f"{text[:start]} {text[start:]}"


# The pipelines with the auto classes of their models.
_PIPELINES: tuple[tuple[Any, Any], ...] = (
    (LstmText2TextPipeline, AutoModelForSeq2SeqLM),
    (LstmTranslationPipeline, AutoModelForSeq2SeqLM),
    (LstmSummarizationPipeline, AutoModelForSeq2SeqLM),
    (LstmTextGenerationPipeline, AutoModelForCausalLM),
)


def register_pipelines() -> None:
    """Makes the pipelines known to `transformers.pipeline` by their tasks' names."""
    for pipeline_class, model_class in _PIPELINES:
        if pipeline_class.task_name not in PIPELINE_REGISTRY.get_supported_tasks():
            PIPELINE_REGISTRY.register_pipeline(
                pipeline_class.task_name, pipeline_class=pipeline_class, pt_model=model_class
            )
