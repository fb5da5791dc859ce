import numpy as np
import pytest
from sklearn import metrics as reference
from transformers import EvalPrediction

from hf_lstm.data.checks import InputError
from hf_lstm.training.metrics import classification_metrics, is_greater_better, load_metric

GENERATOR = np.random.default_rng(11)
LABELS, PREDICTIONS = GENERATOR.integers(0, 4, 60), GENERATOR.choice([0, 1, 2, 5], 60)
MULTI_LABELS, MULTI_PREDICTIONS = GENERATOR.integers(0, 2, (31, 3)), GENERATOR.integers(0, 2, (31, 3))
NUMBERS, GUESSES = GENERATOR.normal(size=40).round(1), GENERATOR.normal(size=40).round(1)


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    def refuse(*args, **kwargs):
        raise ConnectionError("no network")

    monkeypatch.setattr("socket.socket.connect", refuse)


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
@pytest.mark.parametrize("name", ["f1", "precision", "recall"])
@pytest.mark.parametrize("shape", ["single", "multilabel"])
def test_class_metrics_equal_scikit_learn(name, average, shape):
    expected, predicted = (LABELS, PREDICTIONS) if shape == "single" else (MULTI_LABELS, MULTI_PREDICTIONS)
    metric = load_metric(f"{name}_{average}", None if shape == "single" else shape)
    right = getattr(reference, f"{name}_score")(expected, predicted, average=average, zero_division=0)

    assert metric.compute(predictions=predicted, references=expected)[name] == pytest.approx(right)


def test_class_metric_without_average_is_macro_and_takes_another():
    macro, micro = (
        reference.f1_score(LABELS, PREDICTIONS, average=kind, zero_division=0) for kind in ("macro", "micro")
    )
    metric = load_metric("f1")

    assert metric.compute(predictions=PREDICTIONS, references=LABELS)["f1"] == pytest.approx(macro)
    assert metric.compute(predictions=PREDICTIONS, references=LABELS, average="micro")["f1"] == pytest.approx(micro)
    with pytest.raises(ValueError, match="`average` is 'marco'.*Did you mean 'macro'"):
        metric.compute(predictions=PREDICTIONS, references=LABELS, average="marco")


def test_accuracy_and_matthews_equal_scikit_learn():
    pair = {"predictions": PREDICTIONS, "references": LABELS}
    multi = {"predictions": MULTI_PREDICTIONS, "references": MULTI_LABELS}

    assert load_metric("accuracy").compute(**pair)["accuracy"] == pytest.approx(np.mean(LABELS == PREDICTIONS))
    exact = reference.accuracy_score(MULTI_LABELS, MULTI_PREDICTIONS)
    assert load_metric("accuracy", "multilabel").compute(**multi)["accuracy"] == pytest.approx(exact)
    matthews = load_metric("matthews_correlation").compute(**pair)["matthews_correlation"]
    assert matthews == pytest.approx(reference.matthews_corrcoef(LABELS, PREDICTIONS))


def test_regression_metrics_equal_scipy():
    from scipy import stats

    pair = {"predictions": GUESSES, "references": NUMBERS}

    assert load_metric("mse").compute(**pair)["mse"] == pytest.approx(reference.mean_squared_error(NUMBERS, GUESSES))
    pearson, spearman = (load_metric(name).compute(**pair)[name] for name in ("pearsonr", "spearmanr"))
    assert pearson == pytest.approx(stats.pearsonr(NUMBERS, GUESSES).statistic)
    assert spearman == pytest.approx(stats.spearmanr(NUMBERS, GUESSES).statistic)


@pytest.mark.parametrize("name", ["matthews_correlation", "pearsonr", "spearmanr"])
def test_correlation_of_constant_predictions_is_zero(name):
    assert load_metric(name).compute(predictions=[2, 2, 2], references=[0, 1, 2])[name] == 0


@pytest.mark.parametrize("name", ["pearsonr", "spearmanr"])
@pytest.mark.parametrize("references", [[0.7, 0.7, 0.7], [0.1, 0.2, 0.3]])
def test_correlation_of_equal_numbers_that_no_mean_equals_is_zero(name, references):
    assert load_metric(name).compute(predictions=[0.1, 0.1, 0.1], references=references)[name] == 0
    assert load_metric(name).compute(predictions=references, references=[0.7, 0.7, 0.7])[name] == 0


def test_batches_add_up():
    metric = load_metric("accuracy")
    metric.add_batch(predictions=[0, 1], references=[0, 2])
    metric.add(prediction=3, reference=3)

    assert metric.compute()["accuracy"] == pytest.approx(2 / 3)


def test_unknown_metric_names_the_nearest_local_one():
    with pytest.raises(InputError, match=r"'acuracy' is not one of this package.*Did you mean 'accuracy'"):
        load_metric("acuracy")


def test_metric_of_the_hub_is_loaded_by_evaluate(monkeypatch):
    class Brier:
        def compute(self, predictions, references):
            return {"brier_score": 0.25}

    monkeypatch.setattr("evaluate.load", lambda name, config_name: Brier())
    compute, best, greater = classification_metrics("single_label_classification", 2, "brier_score")

    assert (best, greater) == ("brier_score", False)
    assert compute(EvalPrediction(np.eye(2), np.array([0, 1])))["brier_score"] == 0.25


def test_single_label_metrics_pick_by_accuracy():
    compute, best, greater = classification_metrics("single_label_classification", 3)
    logits = np.array([[3.0, 1, 0], [0, 1, 2], [0, 1, 5], [0, 4, 1]])
    results = compute(EvalPrediction((logits, None), np.array([0, 1, 2, 1])))

    assert (best, greater) == ("accuracy", True)
    assert results["accuracy"] == results["f1_micro"] == 0.75
    assert set(results) == {"accuracy", "f1", "f1_micro", "precision", "recall", "matthews_correlation"}


@pytest.mark.parametrize("below", [-0.1, 0.0])
def test_multi_label_metrics_take_a_class_above_one_half(below):
    compute, best, _ = classification_metrics("multi_label_classification", 2)
    results = compute(EvalPrediction(np.array([[0.1, below], [2, 3]]), np.array([[1.0, 0], [1, 0]])))

    assert best == "f1_micro"
    assert (results["f1_micro"], results["accuracy"]) == (pytest.approx(0.8), 0.5)


@pytest.mark.parametrize(("num_labels", "names"), [(1, {"mse", "pearsonr", "spearmanr"}), (2, {"mse"})])
def test_regression_metrics_pick_by_smaller_error(num_labels, names):
    compute, best, greater = classification_metrics("regression", num_labels)
    outputs = np.arange(6.0).reshape(-1, num_labels)
    results = compute(EvalPrediction(outputs, outputs.squeeze() + 2))

    assert (best, greater) == ("mse", False)
    assert set(results) == names
    assert results["mse"] == pytest.approx(4)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *((name, True) for name in ("f1_macro", "accuracy", "r_squared", "bertscore", "meteor", "character_accuracy")),
        *((name, False) for name in ("loss", "eval_loss", "mean_absolute_error", "mse", "brier_score", "perplexity")),
        *((name, False) for name in ("smape", "mase", "ter", "charcut_mt", "character", "mahalanobis", "WER")),
    ],
)
def test_chosen_metric_is_better_greater_or_smaller(name, expected):
    assert is_greater_better(name) is expected


MISSING = [[-100.0, -100.0]] * 2


@pytest.mark.parametrize(
    ("problem_type", "outputs", "labels"),
    [
        ("single_label_classification", GENERATOR.normal(size=(6, 3)), [0, 1, 2, 1, -100, -100]),
        ("multi_label_classification", GENERATOR.normal(size=(5, 2)), [[1, 0], [0, 1], [1, 1], *MISSING]),
        ("regression", GENERATOR.normal(size=(5, 1)), [0.5, 1, -2, -100, -100]),
        ("regression", GENERATOR.normal(size=(5, 2)), [[1.0, 2], [3, 4], [5, 6], *MISSING]),
    ],
)
def test_rows_without_a_label_do_not_count(problem_type, outputs, labels):
    compute, _, _ = classification_metrics(problem_type, outputs.shape[1])
    expected = compute(EvalPrediction(outputs[:-2], np.array(labels[:-2])))

    assert compute(EvalPrediction(outputs, np.array(labels))) == expected
    assert expected
    assert compute(EvalPrediction(outputs, np.full_like(labels, -100))) == {}


def test_labels_that_are_missing_within_a_row_do_not_count():
    outputs, labels = np.array([[1.0, 1], [1, -1], [-1, 1]]), np.array([[1, -100], [0, 0], [-100, 1.0]])
    compute, _, _ = classification_metrics("multi_label_classification", 2)
    expected, predicted = labels[labels != -100], outputs[labels != -100] > 0
    results = compute(EvalPrediction(outputs, labels))
    matthews = load_metric("matthews_correlation", "multilabel").compute(
        predictions=(outputs > 0).astype(int), references=labels.astype(int)
    )

    assert results["f1_micro"] == pytest.approx(reference.f1_score(expected, predicted))
    assert results["precision"] == pytest.approx((1 / 2 + 1) / 2)
    assert results["accuracy"] == pytest.approx(2 / 3)
    assert matthews["matthews_correlation"] == pytest.approx(reference.matthews_corrcoef(expected, predicted))
    compute, _, _ = classification_metrics("regression", 2)
    assert compute(EvalPrediction(outputs, labels))["mse"] == pytest.approx((0 + 1 + 1 + 0) / 4)


def test_references_of_a_metric_alone_may_lack_labels():
    assert load_metric("accuracy").compute(predictions=[1, 1, 0], references=[1, -100, 1])["accuracy"] == 0.5
    assert load_metric("mse").compute(predictions=[1.0, 2], references=[3.0, -100])["mse"] == 4
    with pytest.raises(ValueError, match="one at least that is not -100"):
        load_metric("accuracy").compute(predictions=[1], references=[-100])


def test_outputs_that_are_not_numbers_raise():
    compute, _, _ = classification_metrics("single_label_classification", 2)
    with pytest.raises(ValueError, match="training has diverged"):
        compute(EvalPrediction(np.array([[np.nan, 1.0]]), np.array([0])))


def test_no_predictions_raise():
    with pytest.raises(ValueError, match=r"one at least that is not -100, but their shapes are \(0,\)"):
        load_metric("accuracy").compute(predictions=np.zeros(0, int), references=np.zeros(0, int))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_outputs_that_are_not_finite_are_an_error(value):
    compute, _, _ = classification_metrics("single_label_classification", 2)
    with pytest.raises(ValueError, match="training has diverged"):
        compute(EvalPrediction(np.array([[0.0, value]]), np.array([0])))


def test_loss_picks_the_best_checkpoint_without_a_metric_of_its_own():
    compute, best, is_greater = classification_metrics("single_label_classification", 2, "loss")
    assert (best, is_greater) == ("loss", False)
    assert "loss" not in compute(EvalPrediction(np.array([[0.0, 1.0]]), np.array([1])))


def test_all_figures_of_a_metric_from_the_hub_are_reported(monkeypatch):
    class Counts:
        def compute(self, predictions, references):
            return {"right": 1.0, "wrong": 2.0}

    monkeypatch.setattr("evaluate.load", lambda *args: Counts())
    compute, _, _ = classification_metrics("single_label_classification", 2, "counts")
    results = compute(EvalPrediction(np.array([[0.0, 1.0]]), np.array([1])))
    assert (results["right"], results["wrong"]) == (1.0, 2.0) and "counts" not in results
