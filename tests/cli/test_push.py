import json
from types import SimpleNamespace

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HFValidationError, HTTPError, LocalTokenNotFoundError
from huggingface_hub.utils import filter_repo_objects

from hf_lstm import LstmForSequenceClassification
from hf_lstm.hub.card_facts import CardFacts
from hf_lstm.hub.model_card import write_model_card
from tests.cli.saved_models import load, save_classifier, save_translator

URL = "https://hub.test/user/model/commit/1"


@pytest.fixture
def calls(monkeypatch):
    """What is asked of the Hub, in order; nothing is sent."""
    recorded = []

    def record(name, answer):
        def call(self, *args, **kwargs):
            recorded.append((name, args, kwargs))
            return answer(kwargs)

        monkeypatch.setattr(HfApi, name, call)

    record("create_repo", lambda kwargs: SimpleNamespace(repo_id="user/model"))
    record("create_branch", lambda kwargs: None)
    record(
        "upload_folder", lambda kwargs: SimpleNamespace(commit_url=URL, pr_url="PR" if kwargs["create_pr"] else None)
    )
    return recorded


@pytest.fixture
def folder(tmp_path):
    folder = save_classifier(tmp_path / "model")
    (folder / "checkpoint-3").mkdir()
    (folder / "checkpoint-3" / "optimizer.pt").write_bytes(b"state")
    (folder / ".unfinished").write_bytes(b"half")
    (folder / "predictions.csv").write_text("text,label\n")
    (folder / "dates" / "checkpoint-5").mkdir(parents=True)
    for name in ("checkpoint-5/optimizer.pt", "training_args.bin", "test_predictions.jsonl", "config.json"):
        (folder / "dates" / name).write_text("{}")
    for name in (
        "runs/Nov1_host/events.out.tfevents.1",
        "wandb/run-1/log.txt",
        "new.jsonl",
        "new.jsonl.settings.json",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    for name in ("trainer_state.json", "vocab.json", "merges.txt", "metrics.json"):
        (folder / name).write_text("{}")
    return folder


def test_folder_is_uploaded_without_checkpoints_and_its_address_printed(run, calls, folder):
    code, out, err = run("push", folder, "user/model")
    assert (code, out) == (0, f"{URL}\n"), err
    (create, upload) = calls
    assert create == ("create_repo", ("user/model",), {"private": None, "exist_ok": True})
    options = upload[2]
    assert (options["repo_id"], options["folder_path"]) == ("user/model", folder)
    assert (options["revision"], options["create_pr"], options["commit_message"]) == (None, False, "Upload model")
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    sent = set(filter_repo_objects(names, ignore_patterns=options["ignore_patterns"]))
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= sent
    assert {"vocab.json", "merges.txt", "metrics.json"} <= sent
    assert not sent & {"checkpoint-3/optimizer.pt", ".unfinished", "predictions.csv", "trainer_state.json"}
    assert [name for name in sent if name.startswith(("runs", "wandb", "new"))] == []
    assert {name for name in sent if name.startswith("dates/")} == {"dates/config.json"}


def test_options_reach_the_hub(run, calls, folder, tmp_path):
    config = tmp_path / "push.yaml"
    config.write_text(f"folder: {folder}\nrepo_id: user/model\nprivate: true\nignore_patterns: ['*.py']\n")
    code, out, err = run("push", "--config", config, "--revision", "v2", "--commit_message", "More data")
    assert (code, out) == (0, f"{URL}\n"), err
    assert [name for name, _, _ in calls] == ["create_repo", "create_branch", "upload_folder"]
    assert calls[0][2]["private"] is True
    assert calls[1] == ("create_branch", ("user/model",), {"branch": "v2", "exist_ok": True})
    assert calls[2][2]["revision"] == "v2" and calls[2][2]["commit_message"] == "More data"
    assert "*.py" in calls[2][2]["ignore_patterns"]


def test_commit_is_called_after_the_folder_wherever_it_is_pushed_from(run, calls, folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert run("push", ".", "user/model")[0] == 0
    assert calls[1][2]["commit_message"] == "Upload model"


def test_pull_request_makes_no_repository(run, calls, folder):
    code, out, _ = run("push", folder, "other/model", "--create_pr")
    assert (code, out) == (0, "PR\n")
    assert [name for name, _, _ in calls] == ["upload_folder"] and calls[0][2]["create_pr"] is True
    code, _, err = run("push", folder, "other/model", "--create_pr", "--revision", "v2")
    assert code == 1 and "leave --revision out" in err
    code, _, err = run("push", folder, "other/model", "--create_pr", "--private")
    assert code == 1 and "leave --private out" in err and len(calls) == 1


@pytest.mark.parametrize(
    "error", [HFValidationError("no such name"), LocalTokenNotFoundError("log in first"), HTTPError("no answer")]
)
def test_refusal_of_the_hub_is_one_line(run, calls, folder, monkeypatch, error):
    def refuse(*args, **kwargs):
        raise error

    monkeypatch.setattr(HfApi, "create_repo", refuse)
    code, _, err = run("push", folder, "user/model")
    assert (
        code == 1 and err.splitlines()[-1].startswith("error: ") and f"'user/model': {error}" in err.splitlines()[-1]
    )


def test_invalid_metadata_of_the_card_is_one_line(run, calls, folder, monkeypatch):
    def refuse(*args, **kwargs):
        raise ValueError('Invalid metadata in README.md.\n- "license" must be one of [apache-2.0]')

    monkeypatch.setattr(HfApi, "upload_folder", refuse)
    code, _, err = run("push", folder, "user/model")
    assert code == 1
    assert err.splitlines()[-1].endswith('Invalid metadata in README.md. - "license" must be one of [apache-2.0]')


def test_nothing_is_sent_where_there_is_no_network(run, folder):
    code, _, err = run("push", folder, "user/model")  # the tests run with HF_HUB_OFFLINE
    assert code == 1 and "cannot be uploaded to 'user/model'" in err and "offline mode" in err


def test_pushed_model_is_used_by_its_name(run, hub, folder, tmp_path):
    texts = tmp_path / "new.txt"
    texts.write_text("a dog ran\nrain\n")
    code, out, err = run("push", folder, "alice/model", "--private", "--commit_message", "First")
    assert code == 0, err
    assert out.startswith(f"{hub.url}/alice/model/commit/")
    assert run("predict", "alice/model", "--input", texts)[1] == run("predict", folder, "--input", texts)[1]


def write_card(folder):
    model, _ = load(LstmForSequenceClassification, folder)
    CardFacts(dataset_name="Songs", example_text="rain").save(folder)
    return write_model_card(folder, model=model, dataset_name="Songs", example_text="rain")


def test_card_names_the_repository_that_it_is_pushed_to(run, hub, folder, caplog):
    path = write_card(folder)
    own = "\nMy own words about model='model' (a 'model') are kept.\n"
    path.write_text(path.read_text() + own)
    for name in ("alice/first", "alice/second"):
        assert run("push", folder, name)[0] == 0
        card = bytes(hub.repositories["model", name].refs["main"].files["README.md"]).decode()
        assert f'pipeline("text-classification", model={name!r})' in card and card.endswith(own)
        assert json.loads((folder / "card_facts.json").read_text())["hub_model_id"] == name
    assert "does not say how to load" not in caplog.text


def test_name_without_an_owner_is_that_which_the_hub_gives_it(run, calls, folder):
    path = write_card(folder)
    code, _, err = run("push", folder, "model")
    assert code == 0, err
    assert calls[0][:2] == ("create_repo", ("model",)) and calls[1][2]["repo_id"] == "user/model"
    assert "model='user/model'" in path.read_text()


def test_card_of_the_users_own_is_pushed_as_it_is(run, calls, folder, caplog):
    path = write_card(folder)
    path.write_text("# Mine\n\nmodel='elsewhere'\n")
    assert run("push", folder, "user/model")[0] == 0
    assert path.read_text() == "# Mine\n\nmodel='elsewhere'\n"
    assert "does not say how to load the model from user/model" in caplog.text
    write_card(folder)
    (folder / "card_facts.json").unlink()
    before = path.read_text()
    assert run("push", folder, "user/model")[0] == 0 and path.read_text() == before


def test_repository_of_another_is_not_written_to(run, hub, folder, monkeypatch):
    assert run("push", folder, "alice/model", "--private")[0] == 0
    monkeypatch.setenv("HF_TOKEN", "hf_bob")
    code, out, err = run("push", folder, "alice/model")
    message = err.splitlines()[-1]
    assert (
        (code, out) == (1, "") and message.startswith("error: ") and "cannot be uploaded to 'alice/model'" in message
    )


def test_folder_that_holds_no_whole_model_is_not_sent(run, calls, folder, tmp_path):
    for path in (tmp_path / "none", folder / "config.json"):
        assert "is no folder" in run("push", path, "user/model")[2]
    (folder / "model.safetensors").write_bytes(b"broken")
    assert "are damaged" in run("push", folder, "user/model")[2]
    for content, message in (('{"model_type": "bert"}', "of the architecture 'bert'"), ("{}", "architecture None")):
        (folder / "config.json").write_text(content)
        assert message in run("push", folder, "user/model")[2]
    for content in ("[]", "{"):
        (folder / "config.json").write_text(content)
        assert "has no readable config.json" in run("push", folder, "user/model")[2]
    (folder / "config.json").unlink()
    assert "has no readable config.json" in run("push", folder, "user/model")[2]
    assert calls == []


def test_encoder_decoder_is_uploaded(run, calls, tmp_path):
    code, out, err = run("push", save_translator(tmp_path / "translator"), "user/model")
    assert (code, out) == (0, f"{URL}\n"), err
