import gzip
import os

import pytest

from hf_lstm.data.checks import (
    InputError,
    check_output_directory,
    check_output_file,
    check_readable_file,
    check_text_encoding,
    listing,
    nearest_name,
)


def test_nearest_name_is_found_whatever_its_case():
    assert nearest_name("Lable", ["text", "label"]) == " Did you mean 'label'?"


def test_nearest_name_is_empty_if_nothing_is_alike():
    assert nearest_name("xyz", ["text", "label"]) == ""


def test_listing_names_the_first_few_and_counts_the_rest():
    assert listing([1, 2, 3, 4], limit=2) == "1, 2 and 2 more"
    assert listing(["a", "b"], limit=2) == "'a', 'b'"


def test_missing_file_is_an_error_that_names_the_nearest(tmp_path):
    (tmp_path / "train.csv").write_text("text,label\n")
    with pytest.raises(InputError, match=r"trian.csv' does not exist. Did you mean 'train.csv'\?"):
        check_readable_file(tmp_path / "trian.csv")


def test_folder_for_a_file_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"is a folder, but must be a file"):
        check_readable_file(tmp_path)


@pytest.mark.parametrize("name", ["empty.csv", "empty.csv.gz"])
def test_empty_file_is_an_error(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(gzip.compress(b"") if name.endswith("gz") else b"")
    with pytest.raises(InputError, match=r"is empty. It must hold at least one row"):
        check_readable_file(path)


def test_blank_file_is_an_error(tmp_path):
    path = tmp_path / "blank.jsonl"
    path.write_text("\n  \n")
    with pytest.raises(InputError, match=r"is empty"):
        check_text_encoding(path)


def test_broken_archive_is_an_error(tmp_path):
    path = tmp_path / "rows.csv.gz"
    path.write_bytes(gzip.compress(os.urandom(4000).hex().encode())[:2000])
    with pytest.raises(InputError, match=r"cannot be read: .* Copy or download it again"):
        check_text_encoding(path)


def test_wrong_encoding_is_an_error_that_names_the_line(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes("text,label\nplain,1\ncafé,2\n".encode("cp1252"))
    with pytest.raises(InputError, match=r"not written in utf-8 \(byte 0xe9 in line 3\).*--file_encoding.*cp1252"):
        check_text_encoding(path)


def test_wrong_encoding_is_found_beyond_the_first_block(tmp_path):
    path = tmp_path / "rows.txt"
    path.write_bytes(b"x" * 9 + b"\n" + b"y" * (1 << 20) + b"\n" + "é".encode("cp1252") + b"\n")
    with pytest.raises(InputError, match=r"byte 0xe9 in line 3"):
        check_text_encoding(path)


def test_character_across_two_blocks_is_no_error(tmp_path):
    path = tmp_path / "rows.txt"
    path.write_bytes(b"x" * ((1 << 20) - 1) + "新".encode() + b"\n")
    check_text_encoding(path)


def test_named_encoding_is_accepted(tmp_path):
    path = tmp_path / "rows.txt"
    path.write_text("新闻\n", encoding="gb18030")
    check_text_encoding(path, "gb18030")


def test_unknown_encoding_is_an_error(tmp_path):
    path = tmp_path / "rows.txt"
    path.write_text("x")
    with pytest.raises(InputError, match=r"`file_encoding` is 'utf-99', which Python does not know"):
        check_text_encoding(path, "utf-99")


def test_zero_byte_is_an_error_that_names_the_line(tmp_path):
    path = tmp_path / "rows.txt"
    path.write_bytes(b"one\ntwo\x00\n")
    with pytest.raises(InputError, match=r"zero byte in line 2.*utf-16"):
        check_text_encoding(path)


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
