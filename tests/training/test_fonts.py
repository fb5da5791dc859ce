import sys

import pytest

from hf_lstm.training.fonts import find_fonts, shorten_text, text_width


def test_fonts_tell_letters_that_none_has():
    assert find_fonts(["positive", "é ж"]) == (["DejaVu Sans"], set())
    assert find_fonts(["a\U000f1234"])[1] == {"\U000f1234"}


def test_chinese_letters_are_twice_as_wide():
    assert text_width("ab电影") == 6
    assert shorten_text("电影ab", 5) == "电影a…"
    assert shorten_text("电影ab", 6) == "电影ab"


def test_missing_matplotlib_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"matplotlib.*pip install 'hf_lstm\[train\]'"):
        find_fonts(["a"])
