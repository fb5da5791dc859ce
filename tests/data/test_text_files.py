import gzip
import os

import pytest

from hf_lstm.data.checks import InputError
from hf_lstm.data.text_files import check_readable_file, check_text_encoding, encoding_to_read, read_lines


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


def test_archive_that_is_broken_off_at_once_is_an_error(tmp_path):
    path = tmp_path / "rows.csv.gz"
    path.write_bytes(gzip.compress(b"text\none\n")[:5])
    with pytest.raises(InputError, match=r"rows.csv.gz' cannot be read: .* or copy it again"):
        check_readable_file(path)


def test_file_with_a_byte_order_mark_alone_is_an_error(tmp_path):
    path = tmp_path / "blank.txt"
    path.write_bytes(b"\xef\xbb\xbf\n \n")
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
    path.write_bytes((b"x" * ((1 << 20) - 1) + b"\n") * 2 + "é".encode("cp1252") + b"\n")
    with pytest.raises(InputError, match=r"byte 0xe9 in line 3"):
        check_text_encoding(path)


@pytest.mark.parametrize("start", [b"\xff\xfe", b"\xff\xfe" + "\u4e0a".encode("utf-16-le") * (1 << 19)])
def test_wrong_encoding_is_found_in_its_line_where_characters_hold_the_byte_of_a_line_feed(tmp_path, start):
    path = tmp_path / "rows.txt"
    path.write_bytes(start + "\u4e0a\u4e0a\n".encode("utf-16-le") + b"\x00\xdc\n\x00")
    with pytest.raises(InputError, match=r"not written in utf-16 \(byte 0x00 in line 2\)"):
        check_text_encoding(path, "utf-16")


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
    path.write_bytes(b"one\n" + b"y" * (1 << 20) + b"\ntwo\x00\n")
    with pytest.raises(InputError, match=r"zero byte in line 3"):
        check_text_encoding(path)


def test_encoding_to_read_is_another_for_utf_8_alone():
    assert {encoding_to_read(name) for name in ("utf-8", "UTF8", "utf_8", "U8")} == {"utf-8-sig"}
    assert [encoding_to_read(name) for name in ("utf-8-sig", "utf-16", "GB18030")] == [
        "utf-8-sig",
        "utf-16",
        "GB18030",
    ]


@pytest.mark.parametrize("encoding", ["utf-9", "hex"])
def test_encoding_that_is_none_is_an_error(encoding):
    with pytest.raises(InputError, match=f"`file_encoding` is '{encoding}', which Python does not know"):
        encoding_to_read(encoding)


def test_lines_end_at_line_feeds_only(tmp_path):
    path = tmp_path / "a.de"
    path.write_bytes("\ufeffa\u2028b\r\n\x0cc\x85d\r\n\ne\rf\r\r\n\nlast".encode())
    assert read_lines(path) == ["a\u2028b", "\x0cc\x85d", "", "e\rf\r", "", "last"]


def test_archive_is_known_by_its_ending_in_any_case(tmp_path):
    path = tmp_path / "TEXTS.TXT.GZ"
    path.write_bytes(gzip.compress(b"one\ntwo\n"))
    assert list(read_lines(path)) == ["one", "two"]
