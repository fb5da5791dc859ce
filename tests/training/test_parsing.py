import json
from dataclasses import dataclass, field
from typing import Literal

import pytest

from hf_lstm.data.checks import InputError
from hf_lstm.training.parsing import ArgumentReader


@dataclass
class ModelPart:
    hidden_size: int | None = None
    kind: Literal["word", "char"] = "word"
    orders: list[int] | None = None


@dataclass
class TrainingPart:
    learning_rate: float = 0.5
    shuffle: bool = True
    delimiter: str = " "
    limit: int | None = 2
    names: list[str] = field(default_factory=lambda: ["text"])

    def __post_init__(self):
        if self.learning_rate <= 0:
            raise InputError(f"`learning_rate` is {self.learning_rate}, but must be above 0.")


def read(*args):
    return ArgumentReader((ModelPart, TrainingPart)).read([str(arg) for arg in args])


def test_flags_fill_their_dataclasses():
    model, training = read("--hidden_size", 6, "--orders", 2, 3, "--shuffle", "false", "--names", "title", "body text")
    assert model == ModelPart(hidden_size=6, orders=[2, 3])
    assert training == TrainingPart(shuffle=False, names=["title", "body text"])


def test_list_flag_without_values_empties_the_list():
    assert read("--orders")[0].orders == []


@pytest.mark.parametrize("suffix", [".yaml", ".yml", ".json"])
def test_config_file_fills_the_dataclasses_and_flags_override_it(tmp_path, suffix):
    path = tmp_path / f"recipe{suffix}"
    values = {
        "hidden_size": 8,
        "orders": [],
        "shuffle": False,
        "limit": None,
        "delimiter": " -- ",
        "learning_rate": 0.25,
    }
    # YAML reads JSON as well
    path.write_text(json.dumps(values))
    model, training = read(path, "--hidden_size", 6)
    assert model == ModelPart(hidden_size=6, orders=[])
    assert training == TrainingPart(shuffle=False, limit=None, delimiter=" -- ", learning_rate=0.25)


def test_yaml_number_without_a_point_is_a_number(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("learning_rate: 1e-3\n")
    assert read(path)[1].learning_rate == 0.001


def test_misspelt_key_of_a_config_file_is_an_error_that_names_the_nearest(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("hiden_size: 8\n")
    with pytest.raises(InputError, match=r"recipe.yaml' sets 'hiden_size', but .*Did you mean 'hidden_size'\?"):
        read(path)


@pytest.mark.parametrize("flag", ["--hiden_size", "--hiden-size=3", "--hidden"])
def test_misspelt_flag_is_an_error(flag):
    with pytest.raises(InputError, match=r"There is no argument --hid"):
        read(flag, 3)


def test_misspelt_flag_is_reported_before_what_it_leaves_unset():
    with pytest.raises(InputError, match=r"no argument --lerning_rate. Did you mean 'learning_rate'\?"):
        read("--lerning_rate", 3, "--learning_rate", -1)


def test_value_without_a_flag_is_an_error():
    with pytest.raises(InputError, match=r"'stray' belongs to no argument"):
        read("stray")


def test_value_of_the_wrong_type_is_an_error_that_names_the_argument(tmp_path):
    with pytest.raises(InputError, match=r"--hidden_size.* invalid int value: 'six'. Pass --help"):
        read("--hidden_size", "six")
    path = tmp_path / "recipe.yaml"
    path.write_text("hidden_size: six\n")
    with pytest.raises(InputError, match=r"--hidden_size.* invalid int value: 'six'"):
        read(path)


def test_value_outside_its_choices_is_an_error():
    with pytest.raises(InputError, match=r"--kind: invalid choice: 'wrod'"):
        read("--kind", "wrod")


def test_error_of_a_dataclass_is_passed_on():
    with pytest.raises(InputError, match=r"^`learning_rate` is -1.0, but must be above 0.$"):
        read("--learning_rate", -1)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("recipe.yaml", "a: [1\n", "cannot be read"),
        ("recipe.json", "{'a': 1}", "cannot be read"),
        ("recipe.yaml", "- 1\n", "must hold names and values"),
        ("recipe.json", "", "is empty"),
    ],
)
def test_broken_config_file_is_an_error(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read(path)


def test_missing_config_file_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"does not exist"):
        read(tmp_path / "recipe.yaml")
