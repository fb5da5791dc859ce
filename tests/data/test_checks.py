import os

import pytest

from hf_lstm.data.checks import InputError, check_output_directory, check_output_file, listing, nearest_name


def test_nearest_name_is_found_whatever_its_case():
    assert nearest_name("Lable", ["text", "label"]) == " Did you mean 'label'?"
    assert nearest_name("tetx", ["label", "text"]) == " Did you mean 'text'?"


def test_nearest_name_is_empty_if_nothing_is_alike():
    assert nearest_name("xyz", ["text", "label"]) == ""


def test_listing_names_the_first_few_and_counts_the_rest():
    assert listing([1, 2, 3, 4], limit=2) == "1, 2 and 2 more"
    assert listing(["a", "b"], limit=2) == "'a', 'b'"


def test_output_directory_is_created_with_its_parents_and_left_empty(tmp_path):
    path = check_output_directory(tmp_path / "runs" / "first")
    assert path.is_dir() and not list(path.iterdir())


def test_output_directory_that_is_a_file_is_an_error(tmp_path):
    path = tmp_path / "model"
    path.write_text("")
    with pytest.raises(InputError, match=r"Cannot write to the output folder .*model.*Pass another --output_dir"):
        check_output_directory(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_output_directory_without_permission_is_an_error(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match=r"Cannot write to the output folder .*Permission denied"):
        check_output_directory(tmp_path / "model")


def test_output_directory_that_refuses_files_is_an_error(tmp_path, monkeypatch):
    def refuse(**kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(InputError, match=r"Cannot write to the output folder .*Permission denied"):
        check_output_directory(tmp_path)


def test_output_file_is_left_as_it_is(tmp_path):
    new, old, pipe = tmp_path / "new", tmp_path / "old", tmp_path / "pipe"
    old.write_text("mine")
    os.mkfifo(pipe)
    for path in (new, old, pipe):
        assert check_output_file(path, "output") == path
    assert not new.exists() and old.read_text() == "mine"


@pytest.mark.parametrize("name", ["no/folder/file", ".", "a" * 300])
def test_output_file_that_cannot_be_written_is_an_error(tmp_path, name):
    with pytest.raises(InputError, match=r"Cannot write '.*': .*\. Pass another --output\."):
        check_output_file(tmp_path / name, "output")
