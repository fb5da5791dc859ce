from benchmarks.noise.wrong_labels import main, score, spoil_labels


def test_share_of_the_rows_gets_another_label():
    rows = [{"text": str(number), "label": "abc"[number % 3]} for number in range(50)]
    spoilt, wrong = spoil_labels(rows, 0.1, seed=2)
    assert len(wrong) == 5
    assert {place for place in range(50) if spoilt[place] != rows[place]} == wrong
    assert [row["text"] for row in spoilt] == [row["text"] for row in rows]


def test_precision_and_recall_are_in_percent():
    assert score([1, 2, 3, 4], {2, 3, 9}) == {"wrong": 3, "found": 4, "precision": 50, "recall": 200 / 3}


def test_figures_are_printed(tmp_path, capsys):
    words = ["bad dull poor", "good warm funny"]
    lines = [f'{{"text": "{words[number % 2]} {number}", "label": {number % 2}}}\n' for number in range(60)]
    (tmp_path / "train.jsonl").write_text("".join(lines))
    main(["--train_file", str(tmp_path / "train.jsonl"), "--output", str(tmp_path / "wrong.jsonl")])
    assert capsys.readouterr().out.startswith("wrong 6, found ")
    assert len((tmp_path / "wrong.jsonl").read_text().splitlines()) == 60
