import importlib.util
import json
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / ".ci" / "audit.py"
SAFE = {"name": "numpy", "version": "2.4.6", "vulns": []}
SKIPPED = {"name": "torch", "skip_reason": "Dependency not found on PyPI"}
VULNERABLE = {"name": "pillow", "version": "9.0", "vulns": [{"id": "CVE-2022-1", "fix_versions": ["9.1"]}]}


@pytest.fixture(scope="module")
def judge():
    spec = importlib.util.spec_from_file_location("audit", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.judge


def test_vulnerable_release_fails(judge):
    code, messages = judge(json.dumps({"dependencies": [SAFE, VULNERABLE]}), "")
    assert code == 1
    assert messages[0] == "pillow 9.0 has CVE-2022-1, mended in ['9.1']"


def test_safe_releases_pass(judge):
    assert judge(json.dumps({"dependencies": [SAFE]}), "") == (0, ["1 packages looked up, 0 known vulnerabilities."])


def test_releases_that_were_not_looked_up_are_told(judge):
    code, messages = judge(json.dumps({"dependencies": [SAFE, SKIPPED]}), "")
    assert code == 0
    assert messages[0] == "NOT AUDITED: 1 of 2 packages, such as: Dependency not found on PyPI."


def test_no_network_passes_and_is_told(judge):
    code, messages = judge("", "ERROR:pip_audit._cli:Could not connect to PyPI's vulnerability feed")
    assert code == 0
    assert messages[0].startswith("NOT AUDITED: the database")


def test_other_failure_fails(judge):
    assert judge("", "ERROR: constraints.txt is malformed")[0] == 1
