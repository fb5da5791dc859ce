from hf_lstm.data.text_noise import TextNoise
from hf_lstm.training.fonts import save_figure
from hf_lstm.training.noise_curve import add_noise, draw_noise_curves, format_noise_table, measure_noise_curves

ROWS = [{"text": f"the film number {number} was dull"} for number in range(7)]


def test_more_noise_changes_more_texts_and_none_changes_nothing():
    def score(rows):
        return sum(row == clean for row, clean in zip(rows, ROWS, strict=True)) / len(ROWS)

    curves = measure_noise_curves(ROWS, score, ["typo", "homophone"], (0.0, 0.03, 0.5))
    assert curves["homophone"] == [1, 1, 1]
    assert curves["typo"][0] == 1 > curves["typo"][1] > curves["typo"][2] == 0


def test_noise_differs_by_row_column_and_seed():
    noise = TextNoise("typo", [])
    rows = [{"text": ROWS[0]["text"], "text_pair": ROWS[0]["text"]}] * 2
    noisy = add_noise(rows, noise, 0.5)
    assert len({text for row in noisy for text in row.values()}) == 4
    assert add_noise(rows, noise, 0.5) == noisy != add_noise(rows, noise, 0.5, seed=1)


def test_table_has_a_line_for_each_kind():
    table = format_noise_table({"typo": [1.0, 0.5], "homophone": [1.0, 0.25]}, [0, 0.125])
    assert table.splitlines() == [
        "noise          0 %   12.5 %",
        "typo        1.0000   0.5000",
        "homophone   1.0000   0.2500",
    ]


def test_each_panel_shows_all_of_its_curves():
    panels = {kind: {"one": [90, 80], "other": [85, 84]} for kind in ("typo", "ocr", "case", "swap")}
    figure = draw_noise_curves(panels, (0, 0.2), "accuracy")
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title() for axes in shown] == list(panels)
    assert [list(line.get_ydata()) for line in shown[1].lines] == [[90, 80], [85, 84]]


def test_dollar_signs_in_titles_are_no_formulas(tmp_path):
    save_figure(draw_noise_curves({"$x_$": {"one": [0.9, 0.8]}}, (0, 0.2), "accuracy"), tmp_path / "noise.png")
