"""Marian's architecture in CTranslate2: the weights are those of the transformer beside it."""

import shutil
from pathlib import Path
from typing import Any

from benchmarks.speed.settings import import_peer


def convert_marian(model: Any, tokens: list[str], folder: Path) -> Path:
    """
    Writes a Marian model of transformers in CTranslate2's format.

    Args:
        model (`MarianMTModel`): The model, whose last token is padding.
        tokens (`list[str]`): The vocabulary without padding.
        folder (`Path`): Where to write it.
    """
    converters = import_peer("ctranslate2.converters.transformers")
    spec = converters.MarianMTLoader().get_model_spec(model)
    spec.register_source_vocabulary(tokens)
    spec.register_target_vocabulary(tokens)
    spec.config.bos_token, spec.config.eos_token, spec.config.unk_token = "<s>", "</s>", "<unk>"
    spec.config.decoder_start_token = "</s>"  # noqa: S105  # not read: Marian starts from a zero embedding
    spec.validate()
    spec.optimize()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    spec.save(str(folder))
    return folder


def translate(
    translator: Any, sentences: list[list[str]], length: int, num_beams: int, **settings: Any
) -> list[list[str]]:
    """
    Translates sentences into exactly `length` tokens each.

    Args:
        translator (`ctranslate2.Translator`): The loaded model.
        sentences (`list[list[str]]`): Their tokens.
        length (`int`): Tokens of each translation.
        num_beams (`int`): Hypotheses that are kept.
        settings: Further arguments of `translate_batch`.
    """
    results = translator.translate_batch(
        sentences, beam_size=num_beams, min_decoding_length=length, max_decoding_length=length, **settings
    )
    return [result.hypotheses[0] for result in results]
