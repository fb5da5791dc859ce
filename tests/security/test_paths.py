"""Paths in model folders do not lead out of them."""

import json
from types import SimpleNamespace

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import StrictDataclassError

from hf_lstm import LstmConfig, LstmForSequenceClassification, LstmSeq2SeqConfig
from hf_lstm.cli.main import main as run_cli
from hf_lstm.data.checks import InputError
from hf_lstm.training.arguments import ModelArguments
from hf_lstm.training.checkpoints import check_model_folder
from hf_lstm.training.tasks.common import load_trained_config
from tests.cli.saved_models import save_classifier


@pytest.fixture
def model(tmp_path):
    return save_classifier(tmp_path / "model")


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize("place", ["../elsewhere.safetensors", "{}/elsewhere.safetensors", "sub/../../x.safetensors"])
def test_weights_outside_of_the_folder_are_refused(model, place):
    (model / "model.safetensors").rename(model.parent / "elsewhere.safetensors")
    index = {"metadata": {}, "weight_map": {"classifier.weight": place.format(model.parent)}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match="must be files beside it"):
        check_model_folder(model, "hf_lstm")
    assert run_cli(["predict", str(model)]) == 1


@pytest.mark.parametrize("content", ["[]", "[" * 100_000, '{"weight_map": [1]}', '{"weight_map": {"a": 1}}', "{"])
def test_damaged_list_of_weights_is_an_error(model, content):
    (model / "model.safetensors.index.json").write_text(content)
    with pytest.raises(InputError, match="index.json' cannot be"):
        check_model_folder(model, "hf_lstm")


def test_weights_file_named_by_the_configuration_stays_in_the_folder(model, capsys):
    (model / "model.safetensors").rename(model.parent / "elsewhere.safetensors")
    (model / "other.safetensors").write_bytes((model.parent / "elsewhere.safetensors").read_bytes())
    change(model / "config.json", transformers_weights="../elsewhere.safetensors")
    assert run_cli(["predict", str(model)]) == 1
    assert "must reference a file inside the model directory" in capsys.readouterr().err


def test_tokenizer_file_named_by_the_configuration_is_not_read(model, tmp_path, capsys):
    other = save_classifier(tmp_path / "other")
    (model / "tokenizer.json").unlink()
    change(model / "tokenizer_config.json", tokenizer_file=str(other / "tokenizer.json"))
    assert run_cli(["predict", str(model)]) == 1
    assert "no tokenizer that can be loaded" in capsys.readouterr().err


def test_adapter_that_names_another_model_is_refused(model, tmp_path):
    other = save_classifier(tmp_path / "other")
    adapter = {"base_model_name_or_path": str(other), "peft_type": "LORA"}
    (model / "adapter_config.json").write_text(json.dumps(adapter))
    with pytest.raises(InputError, match="holds an adapter"):
        check_model_folder(model, "hf_lstm")


def test_adapter_on_the_hub_that_names_another_model_is_refused(hub, model, tmp_path, capsys):
    api, other = HfApi(), save_classifier(tmp_path / "other", seed=3)
    adapter = {"base_model_name_or_path": "alice/other", "peft_type": "LORA", "target_modules": ["classifier"]}
    (model / "adapter_config.json").write_text(json.dumps(adapter))
    for name, folder in (("alice/model", model), ("alice/other", other)):
        api.create_repo(name)
        api.upload_folder(repo_id=name, folder_path=folder)
    texts = tmp_path / "new.txt"
    texts.write_text("a dog ran\n")
    assert run_cli(["predict", "alice/model", "--input", str(texts)]) == 1
    assert "'alice/model' holds an adapter" in capsys.readouterr().err
    arguments = ModelArguments(model_name_or_path="alice/model")
    with pytest.raises(InputError, match="'alice/model' holds an adapter"):
        load_trained_config(LstmConfig, arguments, None)


@pytest.mark.parametrize("name", ["attn_implementation", "_attn_implementation"])
@pytest.mark.parametrize("value", ["somebody/kernel", {"": "somebody/kernel"}, "flash_attention_2"])
def test_kernel_named_by_the_configuration_is_refused(model, name, value):
    change(model / "config.json", **{name: value})
    message = "`attn_implementation` is '(somebody/kernel|flash_attention_2)', for which transformers may run code"
    with pytest.raises(StrictDataclassError, match=message):
        LstmForSequenceClassification.from_pretrained(model)
    with pytest.raises(InputError, match=message):
        load_trained_config(LstmConfig, ModelArguments(model_name_or_path=str(model)), None)


@pytest.mark.parametrize("config_class", [LstmConfig, LstmSeq2SeqConfig])
def test_kernel_given_to_a_configuration_or_to_loading_is_refused(model, config_class):
    with pytest.raises(StrictDataclassError, match="'somebody/kernel', for which"):
        config_class(attn_implementation="somebody/kernel")
    with pytest.raises(StrictDataclassError, match="'somebody/kernel', for which"):
        LstmForSequenceClassification.from_pretrained(model, attn_implementation="somebody/kernel")
    for harmless in ("eager", "sdpa", None):
        assert config_class(attn_implementation=harmless)._attn_implementation == harmless


@pytest.mark.parametrize("name", ["notes.txt", "folder"])
def test_link_out_of_the_folder_is_not_uploaded(model, tmp_path, capsys, name):
    secret = tmp_path / "elsewhere"
    secret.mkdir()
    (secret / "token").write_text("hf_secret")
    (model / name).symlink_to(secret / "token" if name.endswith(".txt") else secret)
    assert run_cli(["push", str(model), "user/model"]) == 1
    assert f"{name}' leads out of the folder" in capsys.readouterr().err


def test_link_within_the_folder_is_uploaded(model, monkeypatch):
    (model / "copy.txt").symlink_to(model / "config.json")
    sent = []
    created = SimpleNamespace(repo_id="user/model")
    monkeypatch.setattr("huggingface_hub.HfApi.create_repo", lambda *args, **kwargs: created)
    monkeypatch.setattr(
        "huggingface_hub.HfApi.upload_folder",
        lambda self, **kwargs: sent.append(kwargs) or type("Commit", (), {"pr_url": None, "commit_url": "url"}),
    )
    assert run_cli(["push", str(model), "user/model"]) == 0
    assert len(sent) == 1
