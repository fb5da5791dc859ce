"""Which part of the repository may import which, held by reading the sources."""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from transformers.dynamic_module_utils import get_imports

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "hf_lstm"
SOURCES = sorted(PACKAGE.rglob("*.py"))
SHIPPED = sorted(path for path in (PACKAGE / "models").glob("*.py") if path.name != "__init__.py")

# The parts of the package that each part may import, itself included.
LAYERS = {
    "models": {"models"},
    "data": {"data", "models"},
    "hub": {"hub", "models"},
    "training": {"training", "data", "models", "hub"},
    "cli": {"cli", "training", "data", "models", "hub"},
}
SHIPPED_PACKAGES = {"torch", "transformers", "huggingface_hub", "tokenizers"}
# Besides the five requirements: packages that transformers or datasets cannot do without.
REQUIRED_PACKAGES = SHIPPED_PACKAGES | {
    "accelerate",
    "datasets",
    "evaluate",
    "numpy",
    "packaging",
    "pandas",
    "pyarrow",
    "safetensors",
    "tqdm",
    "yaml",
}
EXTRA_PACKAGES = {"babel", "cleanlab", "matplotlib", "pypinyin", "rouge_score", "sacrebleu", "sklearn"}
# The commands print their help without the time that torch takes to import.
LIGHT = sorted([*(PACKAGE / "cli").glob("*.py"), REPOSITORY / "hf_lstm_cli.py"])
LIGHT_MODULES = {"cli", "data.checks", "data.flags", "data.text_noise"}
# Like the scan that decides which files travel with a saved model, this looks at lines, not at statements.
RELATIVE_LINE = re.compile(r"^\s*(?:from|import)\s+\.")


@dataclass(frozen=True)
class Import:
    """One import: `level` leading dots, the module after them, and whether it runs when the file is imported."""

    level: int
    module: str
    line: int
    at_import: bool

    @property
    def root(self) -> str:
        return self.module.partition(".")[0]


def find_imports(source: str) -> list[Import]:
    """Lists the imports of a source text, those inside functions too."""
    return list(_walk(ast.parse(source), at_import=True))


def _walk(node: ast.AST, at_import: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(0, alias.name, child.lineno, at_import)
        elif isinstance(child, ast.ImportFrom):
            yield Import(child.level, child.module or "", child.lineno, at_import)
        yield from _walk(child, at_import and not _is_left_out(child))


def _is_left_out(node: ast.AST) -> bool:
    """Tells whether a statement's body does not run when the file is imported."""
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def target_of(found: Import, path: str) -> str | None:
    """
    Returns the part of the package that an import reaches, `None` if it leaves the package.

    Args:
        found (`Import`): The import.
        path (`str`): The importing file, relative to the package's folder.
    """
    if found.level:
        parts = Path(path).parts[: -found.level]
        parts += tuple(found.module.split(".")) if found.module else ()
        return parts[0] if parts else ""
    if found.root != "hf_lstm":
        return None
    return found.module.partition(".")[2].partition(".")[0]


def layer_violations(source: str, path: str) -> list[str]:
    """Lists the imports of parts that a file's own part may not know."""
    layer = Path(path).parts[0]
    violations = []
    for found in find_imports(source):
        target = target_of(found, path)
        if target is not None and target not in LAYERS[layer]:
            violations.append(f"{path}:{found.line} imports hf_lstm.{target}")
        if found.level == 0 and found.root in {"scripts", "benchmarks", "tests"}:
            violations.append(f"{path}:{found.line} imports {found.root}")
    return violations


def shipped_violations(source: str) -> list[str]:
    """Lists what would break a file once it has been copied next to a saved model's weights."""
    violations = []
    imports = find_imports(source)
    for found in imports:
        if found.level > 1 or (found.level == 1 and (not found.module or "." in found.module)):
            violations.append(f"line {found.line}: siblings are imported as `from .name import ...` only")
        elif found.level == 0 and found.root not in SHIPPED_PACKAGES | set(sys.stdlib_module_names):
            violations.append(f"line {found.line}: imports {found.root}")
    statements = {found.line for found in imports}
    for number, line in enumerate(source.splitlines(), start=1):
        if RELATIVE_LINE.match(line) and number not in statements:
            violations.append(f"line {number}: text that looks like an import")
    return violations


def package_violations(source: str) -> list[str]:
    """Lists imports of packages that need not be installed, or that are only there with an extra."""
    violations = []
    for found in find_imports(source):
        if found.level or found.root in REQUIRED_PACKAGES | set(sys.stdlib_module_names):
            continue
        if found.root not in EXTRA_PACKAGES:
            violations.append(f"line {found.line}: {found.root} is not required")
        elif found.at_import:
            violations.append(f"line {found.line}: {found.root} comes with an extra, so import it where it is used")
    return violations


def light_violations(source: str) -> list[str]:
    """Lists what a command imports before it runs, besides the standard library and what reads arguments."""
    violations = []
    for found in find_imports(source):
        allowed = sys.stdlib_module_names if found.level == 0 else LIGHT_MODULES
        name = found.root if found.level == 0 else found.module if found.level == 2 else "cli"
        if found.level == 1 and found.module.startswith("inference"):
            name = found.module
        if found.at_import and name not in allowed:
            violations.append(f"line {found.line}: {found.module} is imported before the command runs")
    return violations


def name_of(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


@pytest.mark.parametrize("path", [path for path in SOURCES if path.parent != PACKAGE], ids=name_of)
def test_part_imports_only_the_parts_below_it(path: Path) -> None:
    assert layer_violations(path.read_text(encoding="utf-8"), path.relative_to(PACKAGE).as_posix()) == []


@pytest.mark.parametrize("path", SHIPPED, ids=name_of)
def test_shipped_file_stands_beside_its_weights_alone(path: Path) -> None:
    assert shipped_violations(path.read_text(encoding="utf-8")) == []
    assert set(get_imports(path)) <= SHIPPED_PACKAGES | set(sys.stdlib_module_names)


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_package_imports_only_what_is_required(path: Path) -> None:
    assert package_violations(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", LIGHT, ids=name_of)
def test_command_imports_nothing_heavy_before_it_runs(path: Path) -> None:
    assert light_violations(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import torch",
        "import yaml",
        "from ..data.loading import load_file",
        "from ..training.parsing import ArgumentReader",
        "from .inference.predictor import Writer",
    ],
)
def test_rule_of_commands_finds_a_violation(source: str) -> None:
    assert len(light_violations(source)) == 1
    assert light_violations(f"def run():\n    {source}") == []


def test_every_part_of_the_package_has_a_place() -> None:
    assert {path.parent.name for path in PACKAGE.glob("*/*.py")} <= set(LAYERS)
    assert len(SHIPPED) >= 5


def test_package_alone_lists_its_names() -> None:
    lists = [name_of(path) for path in SOURCES if "__all__" in path.read_text(encoding="utf-8")]
    assert lists == ["hf_lstm/__init__.py"]


def test_package_itself_imports_models_only() -> None:
    source = (PACKAGE / "__init__.py").read_text(encoding="utf-8")
    assert {target_of(found, "__init__.py") for found in find_imports(source)} <= {None, "models"}


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("models/a.py", "from ..data import loading"),
        ("models/a.py", "from .. import data"),
        ("models/a.py", "import hf_lstm"),
        ("data/a.py", "from ..training.arguments import DataArguments"),
        ("data/a.py", "def f():\n    from hf_lstm.training import trainer"),
        ("hub/a.py", "from ..data.loading import load_file"),
        ("training/tasks/a.py", "from ...cli.main import main"),
        ("training/a.py", "import scripts.demo"),
        ("training/a.py", "from hf_lstm import LstmConfig"),
    ],
)
def test_layer_rule_finds_a_violation(path: str, source: str) -> None:
    assert len(layer_violations(source, path)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("models/a.py", "from .b import c"),
        ("training/tasks/a.py", "from ...models.modeling_lstm import LstmModel\nfrom ..trainer import LstmTrainer"),
        ("hub/a.py", "from hf_lstm.models.configuration_lstm import LstmConfig"),
    ],
)
def test_layer_rule_lets_the_parts_below_pass(path: str, source: str) -> None:
    assert layer_violations(source, path) == []


@pytest.mark.parametrize(
    "source",
    [
        "from . import b",
        "from .. import b",
        "from .b.c import d",
        "import numpy",
        "def f():\n    import numpy",
        "import hf_lstm.models",
        '"""\nfrom .b import c\n"""',
    ],
)
def test_shipped_rule_finds_a_violation(source: str) -> None:
    assert len(shipped_violations(source)) == 1


def test_shipped_rule_lets_siblings_and_base_packages_pass() -> None:
    source = "import math\nfrom torch import nn\nfrom transformers.utils import logging\nfrom .b import (\n    c,\n)\n"
    assert shipped_violations(source) == []


@pytest.mark.parametrize(
    "source", ["import sklearn.svm", "class A:\n    import sklearn", "def f():\n    import keras"]
)
def test_package_rule_finds_a_violation(source: str) -> None:
    assert len(package_violations(source)) == 1


@pytest.mark.parametrize("line", ["def f():", "if TYPE_CHECKING:"])
def test_package_rule_lets_an_extra_pass_where_it_is_not_imported_at_once(line: str) -> None:
    assert package_violations(f"{line}\n    from sklearn.svm import LinearSVC") == []
