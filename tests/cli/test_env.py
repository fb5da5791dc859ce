import json

import torch
import transformers

import hf_lstm


def test_environment_is_listed(run):
    code, out, _ = run("env")
    assert code == 0
    facts = dict(line.split(None, 1) for line in out.splitlines() if len(line.split(None, 1)) == 2)
    assert facts["transformers"] == transformers.__version__
    assert facts["hf_lstm"] == hf_lstm.__version__
    assert facts["torch_threads"] == str(torch.get_num_threads())
    assert facts["devices"].startswith("cpu")


def test_environment_is_json_where_asked(run, tmp_path):
    code, out, _ = run("env", "--json")
    facts = json.loads(out)
    assert code == 0
    installed, imported = facts["packages"]["torch"], torch.__version__
    # Builds from PyPI are named after CUDA only where torch names itself.
    assert installed.partition("+")[0] == imported.partition("+")[0]
    assert facts["devices"][0] == "cpu"
    (tmp_path / "env.yaml").write_text("json: true\n")
    assert json.loads(run("env", "--config", tmp_path / "env.yaml")[1]) == facts


def test_package_that_is_not_there_is_said_so(run, monkeypatch):
    monkeypatch.setattr("hf_lstm.cli.env.PACKAGES", ("hf_lstm", "no-such-package"))
    assert json.loads(run("env", "--json")[1])["packages"]["no-such-package"] is None
    assert "no-such-package" in run("env")[1] and "not installed" in run("env")[1]
