"""What an encoder tells the decoder of the source, and the check of what is given in its place."""

from dataclasses import dataclass

import torch
from transformers.modeling_outputs import ModelOutput

from .configuration_lstm import LstmSeq2SeqConfig
from .inputs_lstm import check_input_ids


@dataclass
class LstmEncoderOutput(ModelOutput):
    """
    What the encoder tells the decoder of the source.

    Args:
        last_hidden_state (`torch.Tensor` of shape `(batch_size, source_length, encoder_hidden_size)`):
            The last layer's output.
        states (`torch.Tensor` of shape `(batch_size, encoder_layers, 2, encoder_hidden_size)`):
            Hidden and cell state of each layer after the last token, both directions side by side.
        hidden_states (`tuple[torch.Tensor]`, *optional*): The embeddings, then each layer's output.
        attentions (`tuple[torch.Tensor]`, *optional*): Always `None`: the encoder has no attention.
        input_ids (`torch.LongTensor` of shape `(batch_size, source_length)`, *optional*):
            The source tokens, which a decoder with `copy_attention` copies.
    """

    last_hidden_state: torch.Tensor | None = None
    states: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
    input_ids: torch.Tensor | None = None

    @classmethod
    def read(cls, outputs: ModelOutput | tuple[torch.Tensor, ...], config: LstmSeq2SeqConfig) -> "LstmEncoderOutput":
        """
        Brings outputs that are a tuple or of another class into a new object of this one, and checks them.

        Args:
            outputs (`ModelOutput` or `tuple`): What the encoder gave; of a tuple the first two entries count.
            config (`LstmSeq2SeqConfig`): Describes the model.

        Raises:
            ValueError: If a shape does not fit.
            IndexError: If a source token to copy is not below the size of the vocabulary (checked on the CPU).
        """
        if isinstance(outputs, dict):
            names = ("last_hidden_state", "states", "hidden_states", "input_ids")
            read = cls(**{name: outputs.get(name) for name in names})
        else:
            read = cls(*(*outputs, None, None)[:2])
        read._check(config)
        return read

    def _check(self, config: LstmSeq2SeqConfig) -> None:
        last_hidden_state, states, input_ids = self.last_hidden_state, self.states, self.input_ids
        give = "give what `model.get_encoder()` returns."
        shape = (config.encoder_layers, 2, config.encoder_hidden_size)
        given = tuple(states.shape) if torch.is_tensor(states) else None
        if given is None or given[1:] != shape:
            raise ValueError(
                f"`encoder_outputs` holds states of shape {given}, but the decoder starts from the last states of "
                f"each layer, (batch_size, {', '.join(map(str, shape))}): {give}"
            )
        if last_hidden_state is None:
            return
        found = tuple(last_hidden_state.shape)
        if len(found) != 3 or (found[0], found[2]) != (given[0], shape[2]):
            raise ValueError(
                f"`encoder_outputs` holds a `last_hidden_state` of shape {found}, but beside states of {given[0]} "
                f"sequences it must be ({given[0]}, source_length, {shape[2]}): {give}"
            )
        if input_ids is not None and config.copy_attention:
            if input_ids.shape != last_hidden_state.shape[:2]:
                raise ValueError(
                    f"`encoder_outputs` holds `input_ids` of shape {tuple(input_ids.shape)}, but a "
                    f"`last_hidden_state` of {found}, which is one vector for each token: {give}"
                )
            check_input_ids(input_ids, config.vocab_size, "encoder_outputs.input_ids")
