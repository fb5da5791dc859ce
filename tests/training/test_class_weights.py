import numpy as np
import pytest

from hf_lstm.data.checks import InputError
from hf_lstm.training.class_weights import compute_class_weights

LABELS = np.array([0] * 6 + [1] * 3 + [3])


def test_balanced_weights_are_inverse_to_frequency_and_average_one():
    weights = compute_class_weights("balanced", LABELS, 4).numpy()

    assert weights[LABELS].mean() == pytest.approx(1)
    assert weights[1] / weights[0] == pytest.approx(2)
    assert weights[3] / weights[0] == pytest.approx(6)
    assert weights[2] == 1


def test_given_weights_keep_their_ratios_and_average_one():
    weights = compute_class_weights([1.0, 2.0, 0.0, 5.0], LABELS, 4).numpy()

    assert weights[LABELS].mean() == pytest.approx(1)
    assert weights[3] / weights[1] == pytest.approx(2.5)


def test_balanced_multi_label_weights_average_one_over_the_classes():
    labels = np.array([[1, 0, 1], [1, 0, 0], [1, 1, 0], [1, 1, 0]])
    weights = compute_class_weights("balanced", labels, 3).numpy()

    assert weights.mean() == pytest.approx(1)
    assert weights[2] / weights[0] == pytest.approx(4)


def test_labels_that_are_missing_do_not_count():
    labels = np.array([[1, 0, 1], [1, 0, 0], [1, 1, 0], [1, 1, 0]])
    lacking = np.array([*labels.tolist(), [-100, 0, -100]])
    for setting in ("balanced", [1.0, 2.0, 3.0]):
        weights = compute_class_weights(setting, labels, 3).tolist()
        assert compute_class_weights(setting, lacking, 3).tolist() == weights
        single = compute_class_weights(setting, np.array([0, 0, 1, 2]), 3).tolist()
        assert compute_class_weights(setting, np.array([0, 0, -100, 1, 2]), 3).tolist() == single


@pytest.mark.parametrize(
    ("setting", "message"),
    [([1.0, 2.0], "has 2 values, but there are 4"), ("even", "must be 'balanced'"), ([0.0, 0, 1, 0], "the weight 0")],
)
def test_unfit_weights_raise(setting, message):
    with pytest.raises(InputError, match=message):
        compute_class_weights(setting, LABELS, 4)
