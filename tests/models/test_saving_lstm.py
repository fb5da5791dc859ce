"""What is saved of an LSTM and comes back: in parts, in folders, in other precisions, and into other heads."""

import json
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from hf_lstm import (
    LstmConfig,
    LstmForCausalLM,
    LstmForSequenceClassification,
    LstmForTokenClassification,
    LstmModel,
)
from tests.models.factories import (
    HEADS,
    MASK,
    MODELS,
    make_input_ids,
    make_model,
    make_seq2seq_model,
    make_source,
    make_target,
)

AUTO_CLASSES = {
    LstmModel: AutoModel,
    LstmForSequenceClassification: AutoModelForSequenceClassification,
    LstmForTokenClassification: AutoModelForTokenClassification,
    LstmForCausalLM: AutoModelForCausalLM,
}
# The options that each class's own parameters depend on.
FIELDS = {LstmForSequenceClassification: {"classifier_pooling": "attention", "classifier_ngram_orders": [1, 2]}}
PARTS = {
    LstmModel: (),
    LstmForSequenceClassification: ("pooler.", "classifier.", "ngram_classifier."),
    LstmForTokenClassification: ("classifier.",),
    LstmForCausalLM: ("lm_head.",),
}


def make(model_class: type[LstmModel]) -> LstmModel:
    return make_model(model_class, layer_norm=True, **FIELDS.get(model_class, {}))


def assert_equal_weights(ours: torch.nn.Module, theirs: torch.nn.Module) -> None:
    left, right = ours.state_dict(), theirs.state_dict()
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        assert torch.equal(tensor, right[name]), name


def assert_same_output(ours: LstmModel, theirs: LstmModel) -> None:
    for expected, found in zip(
        ours(make_input_ids(), MASK).to_tuple(), theirs(make_input_ids(), MASK).to_tuple(), strict=True
    ):
        if isinstance(expected, torch.Tensor):
            assert torch.equal(found, expected)


@pytest.mark.parametrize("model_class", MODELS)
def test_saved_in_shards(tmp_path, model_class):
    model = make(model_class)
    model.save_pretrained(tmp_path, max_shard_size=1000)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    shards = set(index["weight_map"].values())
    assert len(shards) > 2
    assert {path.name for path in tmp_path.glob("*.safetensors")} == shards
    loaded = AUTO_CLASSES[model_class].from_pretrained(tmp_path)
    assert type(loaded) is model_class
    assert_equal_weights(loaded, model)
    assert_same_output(model, loaded)


def test_saved_whole_after_shards_leaves_none_of_them(tmp_path):
    make(LstmModel).save_pretrained(tmp_path, max_shard_size=1000)
    model = make_model(LstmModel, seed=1)
    model.save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.glob("*.safetensors")] == ["model.safetensors"]
    assert_equal_weights(AutoModel.from_pretrained(tmp_path), model)


@pytest.mark.parametrize("model_class", MODELS)
def test_saved_in_a_subfolder(tmp_path, model_class):
    model = make(model_class)
    model.save_pretrained(tmp_path / "part" / "model")
    loaded = AUTO_CLASSES[model_class].from_pretrained(tmp_path, subfolder="part/model")
    assert_equal_weights(loaded, model)


def test_saved_beside_a_variant(tmp_path):
    model, variant = make_model(LstmModel), make_model(LstmModel, seed=1)
    model.save_pretrained(tmp_path)
    variant.save_pretrained(tmp_path, variant="better")
    assert (tmp_path / "model.better.safetensors").is_file()
    assert_equal_weights(AutoModel.from_pretrained(tmp_path), model)
    assert_equal_weights(AutoModel.from_pretrained(tmp_path, variant="better"), variant)


@pytest.mark.parametrize(
    ("fields", "is_language_model"), [({}, True), ({"bidirectional": True}, False), ({"ngram_orders": [2]}, False)]
)
def test_configuration_names_language_models_for_what_can_be_one(tmp_path, fields, is_language_model):
    make_model(LstmModel, **fields).save_pretrained(tmp_path)
    names = json.loads((tmp_path / "config.json").read_text())["auto_map"]
    assert ("AutoModelForCausalLM" in names) == is_language_model


def test_process_that_is_not_the_main_one_writes_no_code(tmp_path):
    make(LstmModel).save_pretrained(tmp_path, is_main_process=False)
    assert not list(tmp_path.glob("*.py"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_precision_is_that_of_the_file_or_the_one_asked_for(tmp_path, dtype):
    model = make(LstmForCausalLM).to(dtype)
    model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == str(dtype).removeprefix("torch.")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, dtype="auto")
    assert {parameter.dtype for parameter in loaded.parameters()} == {dtype}
    assert_equal_weights(loaded, model)
    single = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    assert {parameter.dtype for parameter in single.parameters()} == {torch.float32}


@pytest.mark.parametrize("arguments", [{"device_map": "cpu"}, {"device_map": "auto"}, {"low_cpu_mem_usage": True}])
@pytest.mark.parametrize("model_class", MODELS)
def test_loaded_onto_devices(tmp_path, model_class, arguments):
    model = make(model_class)
    model.save_pretrained(tmp_path)
    loaded = AUTO_CLASSES[model_class].from_pretrained(tmp_path, **arguments).to("cpu")
    assert not loaded.training
    assert_equal_weights(loaded, model)
    assert_same_output(model, loaded)


@pytest.mark.parametrize("model_class", [LstmForSequenceClassification, LstmForTokenClassification])
def test_other_number_of_labels_makes_a_new_classifier_only(tmp_path, model_class):
    model = make(model_class)
    model.save_pretrained(tmp_path)
    auto_class = AUTO_CLASSES[model_class]
    with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
        auto_class.from_pretrained(tmp_path, num_labels=7)
    loaded, info = auto_class.from_pretrained(
        tmp_path, num_labels=7, ignore_mismatched_sizes=True, output_loading_info=True
    )
    assert loaded.classifier.out_features == loaded.config.num_labels == 7
    assert {name.split(".")[0] for name, *_ in info["mismatched_keys"]} <= {"classifier", "ngram_classifier"}
    assert not info["missing_keys"]
    assert_equal_weights(loaded.model, model.model)
    labels = make_input_ids() % 7 if model_class is LstmForTokenClassification else torch.arange(6)
    result = loaded.train()(make_input_ids(), MASK, labels=labels)
    assert result.logits.shape[-1] == 7
    assert result.loss.isfinite()


@pytest.mark.parametrize("target", MODELS)
@pytest.mark.parametrize("source", MODELS)
def test_layers_are_loaded_into_every_other_head(tmp_path, source, target):
    model = make(source)
    model.save_pretrained(tmp_path)
    loaded, info = AUTO_CLASSES[target].from_pretrained(tmp_path, output_loading_info=True, **FIELDS.get(target, {}))
    assert_equal_weights(loaded.base_model, model.base_model)
    kept = () if source is target else PARTS[source]
    new = () if source is target else PARTS[target]
    assert all(name.startswith(new) for name in info["missing_keys"])
    assert all(name.startswith(kept) for name in info["unexpected_keys"])
    for name, parameter in loaded.named_parameters():
        assert parameter.isfinite().all(), name


@pytest.mark.parametrize("model_class", HEADS)
def test_layers_come_back_from_a_head_that_was_trained_on(tmp_path, model_class):
    """From the encoder into a head, and from the head back into the encoder."""
    make(LstmModel).save_pretrained(tmp_path / "encoder")
    head = model_class.from_pretrained(tmp_path / "encoder", **FIELDS.get(model_class, {}))
    with torch.no_grad():
        for parameter in head.base_model.parameters():
            parameter.add_(0.5)
    head.save_pretrained(tmp_path / "head")
    assert_equal_weights(LstmModel.from_pretrained(tmp_path / "head"), head.base_model)


def forget_fields(folder: Path, names: list[str]) -> None:
    """Makes a configuration look as if it had been saved before these fields existed."""
    path = folder / "config.json"
    fields = json.loads(path.read_text())
    assert set(names) <= set(fields)
    path.write_text(json.dumps({name: value for name, value in fields.items() if name not in names}))


def test_older_configuration_without_newer_fields(tmp_path):
    model = make_model(LstmForSequenceClassification, classifier_pooling="max")
    model.save_pretrained(tmp_path)
    newer = [name for name in LstmConfig().to_dict() if name.startswith(("ngram", "classifier_", "layer_norm"))]
    assert len(newer) >= 10
    forget_fields(tmp_path, [*newer, "residual_connections", "last_hidden_size", "auto_map"])
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert_equal_weights(loaded, model)
    assert_same_output(model, loaded)
    assert loaded.config.ngram_orders == []


def test_older_encoder_decoder_without_newer_fields(tmp_path):
    model = make_seq2seq_model()
    model.save_pretrained(tmp_path)
    forget_fields(tmp_path, ["copy_attention", "layer_norm", "layer_norm_eps", "attention_dropout", "auto_map"])
    loaded = AutoModelForSeq2SeqLM.from_pretrained(tmp_path)
    assert_equal_weights(loaded, model)
    assert torch.equal(
        loaded(make_source(), MASK, make_target()).logits, model(make_source(), MASK, make_target()).logits
    )


def test_newer_configuration_with_unknown_fields(tmp_path):
    """A field that this version does not know is kept, and does not stop the weights from loading."""
    model = make(LstmModel)
    model.config.field_of_the_future = 3
    model.save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path)
    assert loaded.config.field_of_the_future == 3
    assert_equal_weights(loaded, model)
