import itertools
import json
from pathlib import Path

import pyarrow as pa
import pytest
from datasets import Dataset, IterableDataset

from hf_lstm.data.checks import InputError
from hf_lstm.data.readers import CheckedJson
from hf_lstm.data.streams import ExampleStream, StreamPlace, read_rows, stream_files

NUM_FILES, ROWS_PER_FILE = 4, 11
NUM_ROWS = NUM_FILES * ROWS_PER_FILE
ORDERS = ("random", "sequential", "group_by_length")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Rows with a number each, in several files and formats."""
    folder = tmp_path_factory.mktemp("streams")
    for file in range(NUM_FILES):
        rows = [{"text": "x" * (1 + number * 7 % 13), "id": number} for number in _numbers(file)]
        (folder / f"part-{file}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = "".join(f"{'y' * (1 + number % 5)},{number}\n" for number in range(NUM_ROWS))
    (folder / "one.csv").write_text(f"text,id\n{table}")
    return folder


def _numbers(file):
    return range(file * ROWS_PER_FILE, (file + 1) * ROWS_PER_FILE)


def prepare(columns):
    ids = [int(number) for number in columns["id"]]
    return {"input_ids": [list(range(len(text))) for text in columns["text"]], "id": ids, "is_cut": [False] * len(ids)}


def open_stream(pattern, **options):
    return ExampleStream(stream_files(pattern), prepare, **({"batch_size": 4, "window_size": 9, "seed": 3} | options))


def take(stream, number):
    return list(itertools.islice(stream, number))


def ids(batches):
    return [example["id"] for batch in batches for example in batch.examples]


def first_pass(stream):
    return ids(itertools.takewhile(lambda batch: batch.place.passes == 0, stream))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", ["part-*.jsonl", "one.csv"])
@pytest.mark.parametrize("num_ranks", [1, 2, 3])
def test_ranks_read_every_row_of_a_pass_once(folder, name, order, num_ranks):
    parts = [
        first_pass(open_stream(folder / name, order=order, rank=rank, num_ranks=num_ranks))
        for rank in range(num_ranks)
    ]
    assert all(parts)
    assert sorted(itertools.chain(*parts)) == list(range(NUM_ROWS))


def test_ranks_read_files_of_their_own_where_there_are_enough(folder):
    rows = set(first_pass(open_stream(folder / "part-*.jsonl", rank=1, num_ranks=2)))
    assert rows in [set(_numbers(a)) | set(_numbers(b)) for a, b in itertools.combinations(range(NUM_FILES), 2)]


def test_order_follows_from_the_seed_and_changes_with_every_pass(folder):
    pattern = folder / "part-*.jsonl"
    batches_per_pass = len(list(itertools.takewhile(lambda batch: batch.place.passes == 0, open_stream(pattern))))
    batches = take(open_stream(pattern), 2 * batches_per_pass)
    assert ids(batches) == ids(take(open_stream(pattern), 2 * batches_per_pass))
    assert ids(batches) != ids(take(open_stream(pattern, seed=4), 2 * batches_per_pass))
    first, second = ids(batches[:batches_per_pass]), ids(batches[batches_per_pass:])
    assert first != second and sorted(first) == sorted(second)


def test_order_of_files_follows_from_the_seed(folder):
    options = {"order": "random", "window_size": ROWS_PER_FILE, "batch_size": ROWS_PER_FILE}
    firsts = {ids(take(open_stream(folder / "part-*.jsonl", seed=seed, **options), 1))[0] for seed in range(9)}
    assert len({first // ROWS_PER_FILE for first in firsts}) > 1


def test_windows_of_one_file_are_shuffled_in_different_ways(folder):
    batches = take(open_stream(folder / "one.csv", order="random", batch_size=11, window_size=11), 8)
    orders = [tuple(number % 11 for number in ids([batch])) for batch in batches]
    assert len(set(orders)) == 8 and all(sorted(order) == list(range(11)) for order in orders)


def test_only_the_last_batch_of_a_pass_is_smaller(folder):
    stream = open_stream(folder / "one.csv", batch_size=5, window_size=14)
    assert [len(batch.examples) for batch in take(stream, 10)] == [5] * 8 + [4] + [5]


def test_batches_of_a_window_are_shuffled_but_the_smaller_one(folder):
    batches = take(open_stream(folder / "one.csv", batch_size=5, window_size=NUM_ROWS + 1), 9)
    longest = [max(len(example["input_ids"]) for example in batch.examples) for batch in batches]
    assert longest != sorted(longest) and longest != sorted(longest, reverse=True)
    assert len(batches[-1].examples) == 4 and longest[-1] == 1


def test_first_column_of_lengths_counts_most(folder):
    stream = ExampleStream(
        stream_files(folder / "one.csv"),
        lambda columns: {"a": [[1], [1, 1], [1], [1, 1]], "b": [[1], [1], [1, 1], [1, 1]], "id": [0, 1, 2, 3]},
        batch_size=4,
        window_size=NUM_ROWS,
        length_columns=("a", "b"),
    )
    assert ids(take(stream, 1)) == [3, 1, 2, 0]


def test_rows_may_lack_columns_that_later_ones_have():
    rows = [{"id": 0}, {"id": 1, "more": "x"}]
    stream = ExampleStream(
        IterableDataset.from_generator(lambda: iter(rows)), dict, batch_size=2, window_size=2, order="sequential"
    )
    assert next(iter(stream)).examples == [{"id": 0, "more": None}, {"id": 1, "more": "x"}]


def test_sequential_order_is_that_of_the_files(folder):
    assert first_pass(open_stream(folder / "part-*.jsonl", order="sequential")) == list(range(NUM_ROWS))


def test_batches_of_a_window_hold_texts_of_similar_length(folder):
    batches = take(open_stream(folder / "one.csv", window_size=16), 4)
    lengths = sorted(sorted(len(example["input_ids"]) for example in batch.examples) for batch in batches)
    assert lengths == [[1, 1, 1, 1], [2, 2, 2, 3], [3, 3, 4, 4], [4, 5, 5, 5]]
    assert all(isinstance(example["input_ids"], list) for batch in batches for example in batch.examples)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("name", "rank", "num_ranks"), [("part-*.jsonl", 1, 2), ("one.csv", 0, 1), ("one.csv", 2, 3)])
def test_stream_goes_on_from_any_batch(folder, name, rank, num_ranks, order):
    options = {"order": order, "rank": rank, "num_ranks": num_ranks}
    undisturbed = take(open_stream(folder / name, **options), 30)
    assert undisturbed[-1].place.passes > 0
    for number in (1, 2, 3, 7, 8, 20):
        resumed = open_stream(folder / name, **options)
        state = resumed.state_dict(undisturbed[number - 1].place)
        resumed.load_state_dict(json.loads(json.dumps(state)))
        assert ids(take(resumed, 30 - number)) == ids(undisturbed[number:])


def test_rows_that_are_left_out_leave_smaller_batches(folder):
    stream = ExampleStream(
        stream_files(folder / "one.csv"),
        lambda columns: {"id": [number for number in map(int, columns["id"]) if number % 3]},
        batch_size=4,
        window_size=8,
        order="random",
    )
    assert sorted(first_pass(stream)) == [number for number in range(NUM_ROWS) if number % 3]


def test_stream_without_any_example_is_refused_and_not_read_forever(folder):
    stream = ExampleStream(
        stream_files(folder / "one.csv"), lambda columns: {"id": []}, batch_size=4, window_size=8, order="random"
    )
    with pytest.raises(InputError, match="Rank 0 of 1 finds no examples"):
        next(iter(stream))


def test_numbers_that_are_no_small_integers_stay_as_they_are(folder):
    values = [[0, 0.7, 1], [2**40, 1], [2**70], [True, False], [3, -4], []]
    stream = ExampleStream(
        stream_files(folder / "one.csv"),
        lambda columns: {"input_ids": [[1]] * len(values), "labels": values},
        batch_size=6,
        window_size=NUM_ROWS,
        order="sequential",
    )
    assert [example["labels"] for example in next(iter(stream)).examples] == values


def test_place_in_another_order_is_refused(folder):
    state = open_stream(folder / "one.csv").state_dict(StreamPlace())
    with pytest.raises(InputError, match="`seed` was 3 and is 5; `num_ranks` was 1 and is 2"):
        open_stream(folder / "one.csv", seed=5, num_ranks=2).load_state_dict(state)
    for name, value in (("batch_size", 3), ("window_size", 12), ("order", "random")):
        with pytest.raises(InputError, match=f"`{name}` was .* and is {value!r}"):
            open_stream(folder / "one.csv", **{name: value}).load_state_dict(state)


@pytest.mark.parametrize("ending", ["csv", "txt"])
def test_place_in_other_files_is_refused(tmp_path, ending):
    pattern = tmp_path / "data" / f"a-*.{ending}"
    pattern.parent.mkdir()
    for number in range(3):
        (pattern.parent / f"a-{number}.{ending}").write_text("text\none\ntwo\n")
    state = json.loads(json.dumps(open_stream(pattern).state_dict(StreamPlace())))
    open_stream(pattern).load_state_dict(state)
    moved = pattern.parent.rename(tmp_path / "moved")
    open_stream(moved / pattern.name).load_state_dict(state)
    renamed = (moved / f"a-2.{ending}").rename(moved / f"a-3.{ending}")
    with pytest.raises(InputError, match=r"`files` was '3 files of 39 bytes \(.*\)' and is '3 files of 39 bytes"):
        open_stream(moved / pattern.name).load_state_dict(state)
    renamed.rename(moved / f"a-2.{ending}")
    (moved / f"a-00.{ending}").write_text("text\nthree\n")
    with pytest.raises(InputError, match=r"`files` was '3 files of 39 bytes \(.*\)' and is '4 files of 50 bytes"):
        open_stream(moved / pattern.name).load_state_dict(state)
    del state["files"]  # as those of earlier runs
    open_stream(moved / pattern.name).load_state_dict(state)


def test_window_smaller_than_a_batch_is_refused(folder):
    with pytest.raises(InputError, match="`shuffle_buffer_size` is 3, but must be at least the batch size, 4"):
        open_stream(folder / "one.csv", window_size=3)


def test_window_of_one_batch_is_read(folder):
    assert first_pass(open_stream(folder / "one.csv", window_size=4, order="sequential")) == list(range(NUM_ROWS))


def test_missing_files_are_named(folder):
    with pytest.raises(InputError, match=r"none-\*\.csv' does not exist"):
        stream_files(folder / "none-*.csv")


def test_files_of_several_formats_are_refused(folder):
    with pytest.raises(InputError, match="several formats: .*one.csv' is read as csv and .*part-0.jsonl' as json"):
        stream_files(folder / "*")


@pytest.mark.parametrize("contents", [("text\nfoo\n", "\ntext\nbar\n"), ("\n\ntext\nfoo\n", "text\nbar\nbaz\n")])
def test_headers_after_unequal_numbers_of_blank_lines_are_refused(tmp_path, contents):
    for number, content in enumerate(contents):
        (tmp_path / f"{number}.csv").write_text(content)
    with pytest.raises(InputError, match=r"1\.csv' stands after \d blank lines, but that of .*0\.csv' after \d\. Rem"):
        stream_files(tmp_path / "*.csv")


def test_byte_order_mark_is_no_part_of_a_streamed_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbffoo\nbar\n")
    assert [row["text"] for row in stream_files(tmp_path / "a.txt")] == ["foo", "bar"]


def test_unknown_encoding_is_an_error_before_anything_is_read(folder):
    with pytest.raises(InputError, match="`file_encoding` is 'utf-9', which Python does not know"):
        stream_files(folder / "part-*.jsonl", "utf-9")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("b.csv", b"text,id\ngood, fine,3\na,4\n", "b.csv' cannot be read as csv: Length of header.*Quote cells"),
        ("b.csv", b"text,id\na,3\nb,c,4\n", "b.csv' cannot be read as csv: .*Expected 2 fields in line 3, saw 3"),
        ("b.csv", b"text,id\na\x00,3\n", "b.csv' has a zero byte in line 2"),
        ("b.csv", b"text,id\na,3\n\xff,4\n", "b.csv' is not written in utf-8"),
        ("b.csv", b"words,id\na,3\n", "b.csv' has no column 'text', as .*a.csv' has, only 'words', 'id'"),
        ("b.jsonl", b'{"text": "a", "id": 3, "more": 1}\n', "b.jsonl' cannot be read as jsonl: .*more: int64"),
        ("b.jsonl", b'{"text": "a", "id": "007"}\n', "b.jsonl' cannot be .* column 'id' holds '007', but int64"),
        ("b.jsonl", b'{"text": "a", "id": "x"}\n', "b.jsonl' cannot be .* column 'id' holds 'x', but int64"),
        ("b.jsonl", b'null\n{"text": "a", "id": 3}\n', "Line 1 of .*b.jsonl' is 'null'"),
        ("b.jsonl", b'{"text": "a", "id": 3}\nnull\n', "Line 2 of .*b.jsonl' is 'null'"),
        ("b.jsonl", b'{"text": "\xff", "id": 3}\n', "b.jsonl' is not written in utf-8"),
        ("b.txt", b"a\n\xff\n", r"b.txt' is not written in utf-8 \(byte 0xff in line 2\)"),
        ("b.txt", b"a\n\x00\n", "b.txt' has a zero byte in line 2"),
        ("b.parquet", b"no parquet", "b.parquet' cannot be read as parquet"),
    ],
)
def test_streamed_file_that_cannot_be_read_is_an_error_that_names_it(tmp_path, name, content, message):
    good = tmp_path / f"a.{name[2:]}"
    if good.suffix == ".parquet":
        Dataset.from_dict({"text": ["x"], "id": [1]}).to_parquet(good)
    else:
        good.write_text({".csv": "text,id\nx,1\n", ".txt": "x\n"}.get(good.suffix, '{"text": "x", "id": 1}\n'))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"(?s){message}"):
        list(stream_files(tmp_path / f"?.{name[2:]}"))


def test_digits_after_integers_are_read_as_these(tmp_path):
    for name, number in (("a", 1), ("b", "3")):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"text": name, "id": number}) + "\n")
    assert read_rows(stream_files(tmp_path / "?.jsonl"), None)["id"][:] == [1, 3]


def test_first_rows_are_read_into_memory(folder):
    rows = read_rows(stream_files(folder / "part-*.jsonl"), 13)
    assert rows["id"][:] == list(range(13))
    assert len(read_rows(stream_files(folder / "one.csv"), None)) == NUM_ROWS


def test_rows_without_a_value_are_looked_at_once_in_each_file(tmp_path, monkeypatch):
    paths = [str(tmp_path / name) for name in ("1.jsonl", "2.jsonl")]
    for path in paths:
        Path(path).write_text('{"text": null}\n')
    looked_at = []
    monkeypatch.setattr("hf_lstm.data.readers.check_json_rows", lambda path, encoding: looked_at.append(path))
    reader = CheckedJson(data_files=paths)
    for path in paths:
        for _ in range(3):
            reader.check_table(path, pa.table({"text": pa.array([None], pa.string())}))
    assert looked_at == paths
