"""`torch.export`: exported programs hold for any batch, and refuse lengths that they were not made for."""

import pytest
import torch
from torch.export import Dim, export

from hf_lstm import LstmForCausalLM, LstmSeq2SeqModel
from tests.models.factories import (
    COPYING,
    MASK,
    MODELS,
    TARGET_MASK,
    make_input_ids,
    make_model,
    make_seq2seq_config,
    make_seq2seq_model,
    make_source,
    make_target,
    randomize,
)

BATCH = Dim("batch", min=1, max=64)
SEQ2SEQ = [{}, {"input_feeding": True}, {"attention_type": "none", "tie_word_embeddings": False}, COPYING]


def make(kind) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    """Returns a model and its inputs; `kind` is a class, or the fields of an encoder–decoder with its head."""
    if isinstance(kind, dict):
        model = make_seq2seq_model(decoder_layers=1, **kind)
    elif kind is LstmSeq2SeqModel:
        model = randomize(LstmSeq2SeqModel(make_seq2seq_config(decoder_layers=1))).eval()
    else:
        model = make_model(kind, bidirectional=kind is not LstmForCausalLM)
        return model, {"input_ids": make_input_ids(), "attention_mask": MASK}
    source = {"input_ids": make_source(), "attention_mask": MASK}
    return model, source | {"decoder_input_ids": make_target(), "decoder_attention_mask": TARGET_MASK}


def result(model, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.no_grad():
        return model(**inputs)[0]


def export_model(model, inputs, dynamic_shapes=None):
    # A state is no tensor, so that a program cannot return it.
    model.config.use_cache = False
    with torch.no_grad():
        return export(model, (), inputs, dynamic_shapes=dynamic_shapes).module()


@pytest.mark.parametrize("has_mask", [False, True])
@pytest.mark.parametrize("kind", [*MODELS, LstmSeq2SeqModel, *SEQ2SEQ], ids=str)
def test_exported_program_holds_for_any_batch(kind, has_mask):
    model, inputs = make(kind)
    if not has_mask:
        inputs = {name: tensor for name, tensor in inputs.items() if not name.endswith("mask")}
    program = export_model(model, inputs, {name: {0: BATCH} for name in inputs})
    torch.testing.assert_close(result(program, inputs), result(model, inputs))
    for rows in ([4], [3, 1, 5], [0, 1, 2, 3, 4, 5, 0, 2]):
        other = {
            name: tensor[rows] if name.endswith("mask") else tensor[rows].flip(1) for name, tensor in inputs.items()
        }
        torch.testing.assert_close(result(program, other), result(model, other))


@pytest.mark.parametrize("name", ["input_ids", "decoder_input_ids"])
def test_lengths_never_traced_are_refused(name):
    """The export unrolls an LSTM over its steps; a program of another length would be another program."""
    model, inputs = make({})
    inputs = {key: tensor for key, tensor in inputs.items() if not key.endswith("mask")}
    shapes = {key: {1: Dim("length", min=1, max=64)} if key == name else None for key in inputs}
    with pytest.raises(Exception, match=r"(?s)length.*specialized it to be a constant"):
        export_model(model, inputs, shapes)

    shapes = {key: {1: Dim.AUTO} if key == name else None for key in inputs}
    program = export_model(model, inputs, shapes)
    longer = {key: torch.cat([tensor, tensor], dim=1) if key == name else tensor for key, tensor in inputs.items()}
    with pytest.raises(AssertionError, match=rf"{name}.size\(\)\[1\] == {inputs[name].shape[1]}"):
        result(program, longer)


@pytest.mark.parametrize("kind", [MODELS[1], {}], ids=str)
def test_exported_program_is_saved_and_loaded(kind, tmp_path):
    model, inputs = make(kind)
    model.config.use_cache = False
    with torch.no_grad():
        torch.export.save(export(model, (), inputs), tmp_path / "model.pt2")
    program = torch.export.load(tmp_path / "model.pt2").module()
    torch.testing.assert_close(result(program, inputs), result(model, inputs))
