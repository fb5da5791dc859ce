"""Tests of the pictures of attention weights."""

import matplotlib
import numpy as np
import pytest
import torch

from hf_lstm.data.checks import InputError
from hf_lstm.models.tokenization_lstm import LstmTokenizer
from hf_lstm.training import attention_plot
from hf_lstm.training.attention_plot import AttentionExample, plot_attention, readable_tokens, save_attention_plots
from hf_lstm.training.fonts import find_fonts, save_figure

PNG = b"\x89PNG\r\n"
SOURCE, TARGET = ["ein", "Mann", "</s>"], ["a", "man", "runs", "</s>"]


def random_weights(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)).softmax(-1)


def labels_of(figure, number: int = 0) -> tuple[list[str], list[str]]:
    axes = figure.axes[number]
    return tuple([label.get_text() for label in ticks] for ticks in (axes.get_xticklabels(), axes.get_yticklabels()))


def train(algorithm: str, texts: list[str], vocab_size: int = 300) -> LstmTokenizer:
    return LstmTokenizer.train_from_iterator(
        texts, vocab_size, algorithm, lowercase=False, min_frequency=1, add_eos=True, show_progress=False
    )


@pytest.mark.parametrize("kind", ["tensor", "array", "bfloat16"])
def test_source_is_along_the_top_and_target_down_the_side(kind):
    weights = random_weights(4, 3).requires_grad_()
    given = {"tensor": weights, "array": weights.detach().numpy(), "bfloat16": weights.bfloat16()}[kind]
    figure = plot_attention(given, SOURCE, TARGET, title="ein Mann")
    axes, bar = figure.axes

    assert labels_of(figure) == (SOURCE, TARGET)
    assert axes.xaxis.get_ticks_position() == "top"
    assert (axes.get_xlabel(), axes.get_ylabel(), bar.get_ylabel()) == ("source", "target", "attention weight")
    assert figure.get_suptitle() == "ein Mann"
    np.testing.assert_allclose(axes.images[0].get_array(), weights.detach().numpy(), atol=4e-3)
    assert axes.images[0].get_clim() == (0, pytest.approx(weights.max().item(), abs=4e-3))


def test_heads_are_averaged_or_drawn_side_by_side():
    weights = random_weights(5, 4, 3)
    (mean, _), separate = (
        plot_attention(weights, SOURCE, TARGET).axes,
        plot_attention(weights, SOURCE, TARGET, None, True),
    )

    np.testing.assert_allclose(mean.images[0].get_array(), weights.mean(0).numpy(), atol=1e-6)
    maps = [axes for axes in separate.axes if axes.images]
    for head, axes in enumerate(maps[:5]):
        np.testing.assert_allclose(axes.images[0].get_array(), weights[head].numpy(), atol=1e-6)
        assert axes.texts[0].get_text() == f"head {head + 1}"
        assert axes.images[0].get_clim() == maps[0].images[0].get_clim()
    # Three columns and two rows, of which the first names the source; the first column names the target.
    assert [labels_of(separate, head)[0] == SOURCE for head in range(5)] == [True, True, True, False, False]
    assert [labels_of(separate, head)[1] == TARGET for head in range(5)] == [True, False, False, True, False]


def test_weights_of_zero_are_drawn():
    assert plot_attention(np.zeros((4, 3)), SOURCE, TARGET).axes[0].images[0].get_clim() == (0, 1)


@pytest.mark.parametrize("shape", [(3, 4), (4,), (1, 1, 4, 3), (2, 4, 5)])
def test_wrong_shape_is_named_beside_the_right_one(shape):
    with pytest.raises(InputError) as error:
        plot_attention(np.ones(shape), SOURCE, TARGET)
    assert str(shape) in str(error.value)
    assert "4 target tokens and 3 source tokens need (4, 3) or (heads, 4, 3)" in str(error.value)


def test_nothing_to_draw_is_an_error():
    with pytest.raises(InputError, match=r"shape \(4, 0\) has nothing to draw"):
        plot_attention(np.ones((4, 0)), [], TARGET)


def test_weight_that_is_no_number_is_found():
    weights = np.ones((2, 4, 3))
    weights[1, 2, 0] = np.nan
    with pytest.raises(InputError, match=r"target token 2 to source token 0 in head 1 is not finite"):
        plot_attention(weights, SOURCE, TARGET)


def test_letters_that_cannot_be_seen_appear_by_code_point():
    figure = plot_attention(np.ones((2, 3)), ["a\U000f1234", " ", "\u200f"], ["é", "x" * 40], "b\U000f1234")

    assert labels_of(figure) == (["a\\U000f1234", "·", "\\u200f"], ["é", "x" * 18 + "…"])
    assert figure.get_suptitle() == "b\\U000f1234"


def test_letters_without_font_appear_by_code_point(monkeypatch):
    monkeypatch.setattr(attention_plot, "find_fonts", lambda texts: (["DejaVu Sans"], set("你好")))

    assert labels_of(plot_attention(np.ones((1, 1)), ["你好!"], ["hi"]))[0] == ["\\u4f60\\u597d!"]


@pytest.mark.filterwarnings("error:Glyph")
def test_chinese_is_drawn_without_missing_glyphs(tmp_path):
    source = [*"一只狗在草地上奔跑。", "</s>"]
    figure = plot_attention(random_weights(4, 11), source, TARGET, title="一只狗")
    save_figure(figure, tmp_path / "attention.png")

    if not find_fonts(source)[1]:
        assert labels_of(figure)[0] == source


def test_dollars_are_no_formulas(tmp_path):
    figure = plot_attention(np.ones((1, 2)), [r"$\frac$", "_"], ["$a$"], title="$5 or $6")
    save_figure(figure, tmp_path / "attention.png")

    assert (tmp_path / "attention.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize(("target_length", "source_length"), [(1, 1), (9, 30), (120, 400)])
def test_size_grows_up_to_a_cap_and_names_do_not_overlap(target_length, source_length, tmp_path):
    source, target = ([f"token{number}" for number in range(length)] for length in (source_length, target_length))
    figure = plot_attention(random_weights(target_length, source_length), source, target)
    save_figure(figure, tmp_path / "attention.png")
    axes = figure.axes[0]
    columns = [label.get_window_extent() for label in axes.get_xticklabels()]
    rows = [label.get_window_extent() for label in axes.get_yticklabels()]

    assert max(figure.get_size_inches()) <= 21
    assert axes.get_xticklabels()[0].get_fontsize() >= 5
    assert all(left.x1 <= right.x0 for left, right in zip(columns, columns[1:], strict=False))
    assert all(upper.y0 >= lower.y1 for upper, lower in zip(rows, rows[1:], strict=False))


def test_larger_attention_has_a_larger_figure():
    sizes = [
        plot_attention(np.ones((target, source)), ["s"] * source, ["t"] * target).get_size_inches()
        for target, source in [(4, 8), (8, 8), (8, 16)]
    ]
    assert sizes[0][0] == sizes[1][0] < sizes[2][0]
    assert sizes[0][1] < sizes[1][1] == sizes[2][1]


def test_plots_are_numbered_files(tmp_path):
    examples = [
        AttentionExample(random_weights(2, 4, 3), SOURCE, TARGET, "one"),
        AttentionExample(np.ones((1, 2)), ["a", "b"], ["c"]),
    ]
    written = save_attention_plots(tmp_path / "report", examples)

    assert [path.name for path in written] == ["attention_1.png", "attention_2.png"]
    assert all(path.read_bytes().startswith(PNG) for path in written)
    assert save_attention_plots(tmp_path / "none", []) == []


def test_plots_leave_matplotlib_settings_alone(tmp_path):
    before = dict(matplotlib.rcParams)
    save_attention_plots(tmp_path, [AttentionExample(np.ones((1, 1)), ["a"], ["b"])])

    assert dict(matplotlib.rcParams) == before


def test_byte_pieces_are_readable():
    tokenizer = train("bpe", ["the hat the hat", "über über über"], vocab_size=300)
    ids = tokenizer("the hat über").input_ids
    tokens = readable_tokens(tokenizer, torch.tensor(ids))

    assert "".join(tokens) == "·the·hat·über</s>"
    assert tokens[0] == "·the"


def test_bytes_of_parts_of_letters_are_hexadecimal():
    tokenizer = train("bpe", ["a b"], vocab_size=260)
    ids = tokenizer("你 é\n").input_ids

    assert readable_tokens(tokenizer, ids) == ["·", "<E4>", "<BD>", "<A0>", "·", "<C3>", "<A9>", "\\n", "</s>"]
    assert attention_plot._decode_bytes("Ġä½łå¥") == "·你<E5A5>"
    # The letter € writes no byte: such a token was added as it is.
    assert attention_plot._decode_bytes("€ x") == "€·x"


@pytest.mark.parametrize(
    ("algorithm", "text", "expected"),
    [
        ("word", "the hat", ["the", "hat", "</s>"]),
        ("char", "a hat", ["a", "·", "h", "a", "t", "</s>"]),
        ("word", "the <dog>", ["the", "<unk>", "<unk>", "<unk>", "</s>"]),
        ("char", "▁", ["▁", "</s>"]),
    ],
)
def test_other_tokens_are_shown_as_they_are(algorithm, text, expected):
    tokenizer = train(algorithm, ["the hat a t ▁"])

    assert readable_tokens(tokenizer, tokenizer(text).input_ids) == expected


def test_word_starts_of_a_unigram_model_are_marked():
    tokenizer = train("unigram", ["the hat is on the mat"] * 5, vocab_size=40)

    assert "".join(readable_tokens(tokenizer, tokenizer("the hat").input_ids)) == "·the·hat</s>"


def test_ids_beyond_the_tokenizer_and_below_zero():
    tokenizer = train("word", ["the hat"])

    assert readable_tokens(tokenizer, [0, 99]) == ["<pad>", "<99>"]
    with pytest.raises(InputError, match=r"must be 0 or more, but there is -100"):
        readable_tokens(tokenizer, [4, -100])
