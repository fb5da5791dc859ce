"""Models, tokenizers and data sets that go to the Hub and come back, also where the connection fails."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset, load_dataset
from httpx2 import NetworkError, RemoteProtocolError
from huggingface_hub import HfApi, constants, hf_hub_download
from huggingface_hub.errors import BadRequestError, HfHubHTTPError, RepositoryNotFoundError
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from hf_lstm import LstmConfig, LstmForCausalLM, LstmForSequenceClassification, LstmModel, LstmTokenizer
from hf_lstm.training.arguments import LstmTrainingArguments
from hf_lstm.training.trainer import LstmTrainer
from tests.hub.loopback import Fault, LoopbackHub, Repository
from tests.models.factories import make_input_ids, make_model, randomize

TEXTS = ["zwei hunde", "ein hund läuft im gras", "der mann liest ein buch"]
WEIGHTS = "model.safetensors"
SOURCES = {"configuration_lstm.py", "layers_lstm.py", "modeling_lstm.py", "tokenization_lstm.py"}


def make_tokenizer() -> LstmTokenizer:
    return LstmTokenizer.train_from_iterator(TEXTS, vocab_size=50, min_frequency=1, show_progress=False)


def make_head(model_class: type, tokenizer: LstmTokenizer, seed: int = 0):
    config = LstmConfig(vocab_size=len(tokenizer), embedding_size=5, hidden_size=6, num_labels=3)
    return randomize(model_class(config), seed).eval()


def find(hub: LoopbackHub, name: str) -> Repository:
    return hub.repositories["model", name]


def assert_same_weights(ours: torch.nn.Module, theirs: torch.nn.Module) -> None:
    left, right = ours.state_dict(), theirs.state_dict()
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        assert torch.equal(tensor, right[name]), name


@pytest.fixture
def no_waiting(monkeypatch):
    """Lets the client try again at once."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


def test_pushed_model_and_tokenizer_come_back(hub):
    tokenizer = make_tokenizer()
    model = make_head(LstmForSequenceClassification, tokenizer)
    model.push_to_hub("alice/classifier")
    tokenizer.push_to_hub("alice/classifier")
    assert {"README.md", "config.json", WEIGHTS, "tokenizer.json", *SOURCES} <= set(
        find(hub, "alice/classifier").refs["main"].files
    )
    loaded = AutoModelForSequenceClassification.from_pretrained("alice/classifier")
    assert type(loaded) is LstmForSequenceClassification
    assert_same_weights(loaded, model)
    again = AutoTokenizer.from_pretrained("alice/classifier")
    assert type(again) is LstmTokenizer
    assert again(TEXTS)["input_ids"] == tokenizer(TEXTS)["input_ids"]


@pytest.mark.timeout(900)  # another Python is started, which is slow on a busy computer
def test_pushed_model_comes_back_where_the_package_is_missing(hub, tmp_path):
    tokenizer = make_tokenizer()
    model = make_head(LstmForCausalLM, tokenizer)
    model.push_to_hub("alice/language_model")
    tokenizer.push_to_hub("alice/language_model")
    program = (
        f"import json, sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from remote_program import run_model\n"
        "found = run_model('alice/language_model', 'AutoModelForCausalLM', trust_remote_code=True)\n"
        "print(json.dumps(found))\n"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path), "HF_TOKEN": "hf_bob"}
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert (found["class"], found["missing"]) == ("LstmForCausalLM", [])
    batch = tokenizer(TEXTS[:2], padding=True, padding_side="left", return_tensors="pt")
    assert found["input_ids"] == batch["input_ids"].tolist()
    torch.testing.assert_close(torch.tensor(found["scores"]), model(**batch).logits)


def test_saving_pushes_the_code_too(hub, tmp_path):
    model = make_model(LstmModel)
    model.save_pretrained(tmp_path / "saved", push_to_hub=True, repo_id="alice/saved")
    assert set(find(hub, "alice/saved").refs["main"].files) >= SOURCES | {"config.json", WEIGHTS}
    assert_same_weights(AutoModel.from_pretrained("alice/saved"), model)


class WaitForPush(TrainerCallback):
    """Lets no step overwrite what is being pushed."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        if self.trainer.push_in_progress is not None:
            self.trainer.push_in_progress.wait_until_done()


@pytest.mark.parametrize("strategy", ["every_save", "checkpoint"])
def test_trainer_pushes_at_every_save(hub, tmp_path, strategy):
    tokenizer = make_tokenizer()
    model = make_head(LstmForSequenceClassification, tokenizer)
    rows = [{**tokenizer(text), "labels": label} for label, text in enumerate(TEXTS)]
    name = f"alice/trained_{strategy}"
    arguments = TrainingArguments(
        tmp_path / "trained",
        max_steps=2,
        save_steps=1,
        push_to_hub=True,
        hub_model_id=name,
        hub_strategy=strategy,
        hub_always_push=True,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = Trainer(model, arguments, train_dataset=rows, processing_class=tokenizer)
    trainer.add_callback(WaitForPush(trainer))
    trainer.train()
    trainer.push_to_hub()
    messages = [commit.message for commit in find(hub, name).history() if "checkpoint" not in commit.message]
    saves = ["Training in progress, step 1", "Training in progress, step 2"]
    assert messages == ["initial commit", *saves, "End of training"]
    files = find(hub, name).refs["main"].files
    assert {"config.json", WEIGHTS, "tokenizer.json", "README.md", *SOURCES} <= files.keys()
    assert ("last-checkpoint/optimizer.pt" in files) == (strategy == "checkpoint")
    assert_same_weights(AutoModelForSequenceClassification.from_pretrained(name), trainer.model)
    if strategy == "checkpoint":
        checkpoint = AutoModelForSequenceClassification.from_pretrained(name, subfolder="last-checkpoint")
        assert_same_weights(checkpoint, trainer.model)


def test_our_trainer_pushes_the_code_with_every_save(hub, tmp_path):
    tokenizer = make_tokenizer()
    rows = [{**tokenizer(text), "labels": label} for label, text in enumerate(TEXTS)]
    arguments = LstmTrainingArguments(
        tmp_path / "trained",
        max_steps=1,
        save_steps=1,
        eval_strategy="no",
        save_strategy="steps",
        load_best_model_at_end=False,
        push_to_hub=True,
        hub_model_id="alice/ours",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
    )
    model = make_head(LstmForSequenceClassification, tokenizer)
    trainer = LstmTrainer(model, arguments, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)
    trainer.add_callback(WaitForPush(trainer))
    trainer.train()
    first = next(commit for commit in find(hub, "alice/ours").history() if "step 1" in commit.message)
    assert {"config.json", WEIGHTS, *SOURCES} <= first.files.keys()


@pytest.mark.parametrize("token", [None, "hf_bob", "hf_nobody"])
def test_private_model_is_refused_without_the_right_token(hub, monkeypatch, token):
    name = f"alice/private_{token}"
    model = make_model(LstmModel)
    model.push_to_hub(name, private=True)
    assert find(hub, name).private
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(OSError, match=f"{name}|credentials"):
        AutoModel.from_pretrained(name, token=token)
    with pytest.raises(HfHubHTTPError):
        hf_hub_download(name, "config.json", token=token)
    assert_same_weights(AutoModel.from_pretrained(name, token="hf_alice"), model)


def test_only_the_owner_writes(hub):
    make_model(LstmModel).push_to_hub("alice/owned")
    before = find(hub, "alice/owned").refs["main"]
    for token, message in (("hf_bob", "403"), (False, "401")):
        with pytest.raises(HfHubHTTPError, match=message):
            make_model(LstmModel, seed=1).push_to_hub("alice/owned", token=token)
    assert find(hub, "alice/owned").refs["main"] is before


def test_revision_gives_the_model_of_that_time(hub):
    first, second = make_model(LstmModel), make_model(LstmModel, seed=1)
    sha = first.push_to_hub("alice/twice").oid
    second.push_to_hub("alice/twice", commit_message="Better weights")
    assert find(hub, "alice/twice").refs["main"].message == "Better weights"
    assert_same_weights(AutoModel.from_pretrained("alice/twice", revision=sha), first)
    assert_same_weights(AutoModel.from_pretrained("alice/twice"), second)
    with pytest.raises(OSError, match="no-such-branch"):
        AutoModel.from_pretrained("alice/twice", revision="no-such-branch")


def test_branch_and_pull_request_leave_the_main_branch_alone(hub):
    first, second, third = (make_model(LstmModel, seed=seed) for seed in range(3))
    first.push_to_hub("alice/branched")
    second.push_to_hub("alice/branched", revision="trial")
    request = third.push_to_hub("alice/branched", create_pr=True, token="hf_bob")
    assert request.pr_revision == "refs/pr/1"
    for revision, model in ((None, first), ("trial", second), ("refs/pr/1", third)):
        assert_same_weights(AutoModel.from_pretrained("alice/branched", revision=revision), model)
    refs = HfApi().list_repo_refs("alice/branched", include_pull_requests=True)
    assert {ref.name for ref in refs.branches} == {"main", "trial"}
    assert [ref.ref for ref in refs.pull_requests] == ["refs/pr/1"]


def test_data_set_is_loaded_back(hub, monkeypatch):
    rows = {"text": TEXTS, "label": [2, 0, 1]}
    Dataset.from_dict(rows).push_to_hub("alice/data", split="train", private=True)
    Dataset.from_dict({"text": ["hund"], "label": [1]}).push_to_hub("alice/data", split="test")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(Exception, match="alice/data"):
        load_dataset("alice/data")
    monkeypatch.setenv("HF_TOKEN", "hf_alice")
    loaded = load_dataset("alice/data")
    assert set(loaded) == {"train", "test"}
    assert loaded["train"].to_dict() == rows
    assert loaded["test"]["text"] == ["hund"]


def test_text_files_are_loaded_as_a_data_set(hub):
    api = HfApi()
    api.create_repo("alice/lines", repo_type="dataset")
    content = b"text,label\nzwei hunde,1\nkind,0\n"
    api.upload_file(path_or_fileobj=content, path_in_repo="train.csv", repo_id="alice/lines", repo_type="dataset")
    assert load_dataset("alice/lines", split="train").to_list() == [
        {"text": "zwei hunde", "label": 1},
        {"text": "kind", "label": 0},
    ]


def test_upload_that_is_cut_is_sent_again(hub, no_waiting):
    hub.faults = [Fault("PUT", "/lfs/", "cut", times=2)]
    model = make_model(LstmModel)
    model.push_to_hub("alice/cut_upload")
    assert hub.count("PUT", "/lfs/") == 3
    assert_same_weights(AutoModel.from_pretrained("alice/cut_upload"), model)


def test_upload_that_is_always_cut_changes_nothing(hub, no_waiting):
    first = make_model(LstmModel)
    first.push_to_hub("alice/never_uploaded")
    hub.faults = [Fault("PUT", "/lfs/", "cut", times=100)]
    with pytest.raises(RuntimeError, match=f"Error while uploading '{WEIGHTS}'"):
        make_model(LstmModel, seed=1).push_to_hub("alice/never_uploaded")
    assert_same_weights(AutoModel.from_pretrained("alice/never_uploaded"), first)


def test_commit_that_is_cut_changes_nothing(hub, no_waiting):
    first, second = make_model(LstmModel), make_model(LstmModel, seed=1)
    first.push_to_hub("alice/cut_commit")
    hub.faults = [Fault("POST", "/commit/", "cut")]
    with pytest.raises((NetworkError, RemoteProtocolError)):
        second.push_to_hub("alice/cut_commit")
    assert_same_weights(AutoModel.from_pretrained("alice/cut_commit"), first)
    second.push_to_hub("alice/cut_commit")
    assert_same_weights(AutoModel.from_pretrained("alice/cut_commit"), second)


def test_upload_with_a_wrong_checksum_is_refused(hub):
    first = make_model(LstmModel)
    first.push_to_hub("alice/wrong_upload")
    hub.faults = [Fault("PUT", "/lfs/", "alter")]
    with pytest.raises(RuntimeError, match=f"Error while uploading '{WEIGHTS}'") as error:
        make_model(LstmModel, seed=1).push_to_hub("alice/wrong_upload")
    assert isinstance(error.value.__cause__, BadRequestError)
    assert "checksum" in str(error.value.__cause__)
    assert_same_weights(AutoModel.from_pretrained("alice/wrong_upload"), first)


@pytest.mark.parametrize("has_chunk", [False, True])
def test_download_that_is_cut_goes_on_after_the_last_whole_chunk(hub, no_waiting, monkeypatch, has_chunk):
    name = f"alice/cut_download_{has_chunk}"
    model = make_model(LstmModel)
    model.push_to_hub(name)
    half = len(find(hub, name).refs["main"].files[WEIGHTS]) // 2
    if has_chunk:
        monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 100)
    hub.faults = [Fault("GET", WEIGHTS, "cut")]
    assert_same_weights(AutoModel.from_pretrained(name), model)
    ranges = [asked for method, path, asked in hub.requests if method == "GET" and path.endswith(WEIGHTS)]
    assert ranges == ["", f"bytes={half - half % 100}-" if has_chunk else ""]


def test_download_that_is_too_short_is_not_kept(hub):
    model = make_model(LstmModel)
    model.push_to_hub("alice/short")
    hub.faults = [Fault("GET", WEIGHTS, "short")]
    with pytest.raises(OSError, match="Consistency check failed"):
        AutoModel.from_pretrained("alice/short")
    assert_same_weights(AutoModel.from_pretrained("alice/short"), model)


def test_download_with_a_wrong_checksum_is_found(hub):
    """The client compares the sizes of downloads only; asked to, it compares checksums as well."""
    make_model(LstmModel).push_to_hub("alice/wrong_download")
    hub.faults = [Fault("GET", WEIGHTS, "alter")]
    hf_hub_download("alice/wrong_download", WEIGHTS)
    found = HfApi().verify_repo_checksums("alice/wrong_download")
    assert [mismatch["path"] for mismatch in found.mismatches] == [WEIGHTS]
    hf_hub_download("alice/wrong_download", WEIGHTS, force_download=True)
    assert HfApi().verify_repo_checksums("alice/wrong_download").mismatches == []


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/preupload/"), ("POST", "/objects/batch"), ("PUT", "/lfs/"), ("POST", "/verify")]
)
def test_upload_to_a_hub_that_is_down_for_a_moment_succeeds(hub, no_waiting, method, path):
    name = f"alice/down{path.strip('/').replace('/', '_')}"
    hub.faults = [Fault(method, path, "unavailable", times=2)]
    model = make_model(LstmModel)
    model.push_to_hub(name)
    assert hub.count(method, path) == 3
    assert_same_weights(AutoModel.from_pretrained(name), model)


def test_download_from_a_hub_that_is_down_fails_and_succeeds_later(hub, no_waiting):
    model = make_model(LstmModel)
    model.push_to_hub("alice/down")
    hub.faults = [Fault("GET", WEIGHTS, "unavailable")]
    with pytest.raises(OSError, match="alice/down"):
        AutoModel.from_pretrained("alice/down")
    assert_same_weights(AutoModel.from_pretrained("alice/down"), model)


def test_model_of_a_hub_that_is_down_comes_from_the_cache(hub, no_waiting):
    model = make_model(LstmModel)
    model.push_to_hub("alice/cached")
    expected = AutoModel.from_pretrained("alice/cached")(make_input_ids()).last_hidden_state
    hub.faults = [Fault(method, "alice/cached", "unavailable", times=1000) for method in ("GET", "HEAD")]
    assert torch.equal(AutoModel.from_pretrained("alice/cached")(make_input_ids()).last_hidden_state, expected)


def test_missing_model_is_named(hub):
    with pytest.raises(OSError, match="alice/missing"):
        AutoModelForCausalLM.from_pretrained("alice/missing")
    with pytest.raises(RepositoryNotFoundError):
        HfApi().model_info("alice/missing")


@pytest.mark.parametrize(
    "reach",
    [
        lambda: socket.create_connection(("192.0.2.1", 9), timeout=1),
        lambda: socket.getaddrinfo("huggingface.co", 443),
        lambda: socket.gethostbyname("huggingface.co"),
        lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"", ("192.0.2.1", 9)),
    ],
)
def test_reaching_out_is_refused_and_noted(reached, reach):
    with pytest.raises(OSError, match="Tests run without a network"):
        reach()
    assert reached.pop() in ("192.0.2.1", "huggingface.co")
    assert reached == []


def test_this_computer_is_reached(reached, hub):
    with socket.create_connection(("127.0.0.1", int(hub.url.rpartition(":")[2])), timeout=5):
        pass
    assert socket.getaddrinfo("localhost", 80)
    assert reached == []
