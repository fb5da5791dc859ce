"""Single steps of `generate`: when they may call the parts of a model, and not the model with all its checks."""

from collections.abc import Collection
from typing import Any, TypeGuard

import torch
from torch import nn
from transformers import GenerationConfig

from .cache_lstm import LstmCache


def is_plain(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Tells whether calling the parts of a module is the same as calling it: it is of this class and has no hooks."""
    hooks = (module._forward_hooks, module._forward_pre_hooks)
    return type(module) is kind and not any(hooks) and not hasattr(module, "_hf_hook")


def may_step(cache: LstmCache | None, arguments: dict[str, Any], needless: Collection[str]) -> TypeGuard[LstmCache]:
    """
    Tells whether a model outside of training may read its next token by a step.

    Args:
        cache (`LstmCache`, *optional*): The state after the tokens before.
        arguments (`dict[str, Any]`): What else the call is given.
        needless (`Collection[str]`): Those of `arguments` that say nothing new once the first token is written.
    """
    if not isinstance(cache, LstmCache) or cache.layers[0].hidden_state is None or cache.layers[0].record_past:
        return False
    if torch.is_autocast_enabled(cache.layers[0].hidden_state.device.type):
        return False
    return all(value is None or name in needless for name, value in arguments.items())


def make_step(name: str, input_ids: torch.Tensor, cache: LstmCache) -> dict[str, Any]:
    """
    Returns the arguments of `forward` for a step.

    Args:
        name (`str`): What the model calls its tokens.
        input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): The tokens, of which the last is read.
        cache (`LstmCache`): The state after those before it.
    """
    return {name: input_ids[:, -1:].to(cache.layers[0].states()[0].device), "past_key_values": cache, "is_step": True}


def switch_attentions_off(generation_config: GenerationConfig, model_kwargs: dict[str, Any]) -> None:
    """Keeps `generate` from collecting attentions of a model which has none: its assisted loops would fail."""
    generation_config.output_attentions = False
    model_kwargs.pop("output_attentions", None)


__all__ = ["is_plain", "make_step", "may_step", "switch_attentions_off"]
