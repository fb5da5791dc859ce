import pandas as pd
import pytest

from hf_lstm.data.checks import InputError
from hf_lstm.data.loading import load_file
from hf_lstm.data.streams import stream_files


def test_csv_keeps_cells_as_they_are_written(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("\ufefftext,label\n007,NA\nnull,1.0\n,2\n", encoding="utf-8")
    dataset = load_file(path, cache_dir=str(tmp_path / "cache"))
    assert dataset.to_dict() == {"text": ["007", "null", None], "label": ["NA", "1.0", "2"]}


@pytest.mark.parametrize("start", ["", "\n\n"])
@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_blank_lines_of_a_single_column_are_rows(tmp_path, start, ending):
    path = tmp_path / f"a.{ending}"
    path.write_text(f"{start}text\nfirst\n\nthird\n   \nfifth\n")
    texts = ["first", None, "third", "   ", "fifth"]
    assert load_file(path, cache_dir=str(tmp_path / "cache")).to_dict() == {"text": texts}
    assert [row["text"] for row in stream_files(path)] == texts


def test_blank_lines_of_several_columns_are_left_out(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("\ntext,label\n\na,1\n\nb,2\n\n")
    assert load_file(path, cache_dir=str(tmp_path / "cache"))["text"][:] == ["a", "b"]


@pytest.mark.parametrize("content", ['"Good film\tgood\nfine\tok\nBad" film\tbad\nlast\tok\n', 'x\t"a\nb"\n'])
def test_rows_of_a_tsv_that_a_quotation_mark_joins_are_an_error(tmp_path, content):
    path = tmp_path / "a.tsv"
    path.write_text(f"text\tlabel\n{content}")
    for read in (lambda: load_file(path, cache_dir=str(tmp_path / "cache")), lambda: list(stream_files(path))):
        with pytest.raises(
            InputError, match=r"of the column '(text|label)' of .*a\.tsv' begins with a quotation mark"
        ):
            read()


@pytest.mark.parametrize(
    ("header", "names"),
    [
        (",text,label", ["Unnamed: 0", "text", "label"]),
        (",Unnamed: 0,text", ["Unnamed: 0.1", "Unnamed: 0", "text"]),
        (",Unnamed: 0.1,Unnamed: 0", ["Unnamed: 0.2", "Unnamed: 0.1", "Unnamed: 0"]),
        ("text,,", ["text", "Unnamed: 1", "Unnamed: 2"]),
    ],
)
def test_csv_column_without_a_name_is_called_as_pandas_calls_it(tmp_path, header, names):
    path = tmp_path / "a.csv"
    path.write_text(f"{header}\n0,a,b\n1,c,d\n")
    assert pd.read_csv(path).columns.tolist() == names
    dataset = load_file(path, cache_dir=str(tmp_path / "cache"))
    assert dataset.to_dict() == dict(zip(names, (["0", "1"], ["a", "c"], ["b", "d"]), strict=True))


def test_csv_that_pandas_wrote_with_its_index_is_read(tmp_path):
    path = tmp_path / "a.csv"
    columns = {"text": ["good film", "a, b", "新闻"], "label": ["pos", "neg", "pos"]}
    pd.DataFrame(columns).to_csv(path)
    dataset = load_file(path, cache_dir=str(tmp_path / "cache"))
    assert dataset.to_dict() == {"Unnamed: 0": ["0", "1", "2"], **columns}


def test_csv_in_another_encoding_is_read(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text,label\n新闻,体育\n", encoding="gb18030")
    dataset = load_file(path, "gb18030", cache_dir=str(tmp_path / "cache"))
    assert dataset.to_dict() == {"text": ["新闻"], "label": ["体育"]}
