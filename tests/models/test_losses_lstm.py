"""The losses: their values, and that accumulated batches and `Trainer` give what one big batch gives."""

import pytest
import torch
from torch.nn import functional as F
from transformers import Trainer, TrainingArguments

from hf_lstm import LstmForCausalLM, LstmForSequenceClassification, LstmForTokenClassification
from hf_lstm.models.losses_lstm import sequence_classification_loss
from tests.models.factories import ADAPTIVE, MASK, VOCAB_SIZE, make_input_ids, make_labels, make_model

NUM_LABELS, NUM_ROWS = 4, 32
CLASS_WEIGHTS = torch.tensor([0.2, 1.0, 2.0, 0.8])
SINGLE, MULTI, REGRESSION = "single_label_classification", "multi_label_classification", "regression"


def make_logits(size: int = NUM_LABELS) -> torch.Tensor:
    return torch.randn(6, size, generator=torch.Generator().manual_seed(0)).requires_grad_()


def test_single_label_loss_is_the_mean_cross_entropy_over_real_labels():
    logits, labels = make_logits(), torch.tensor([0, 3, -100, 1, 2, -100])
    expected = F.cross_entropy(logits, labels)
    torch.testing.assert_close(sequence_classification_loss(logits, labels, SINGLE), expected)
    smooth = F.cross_entropy(logits, labels, label_smoothing=0.1)
    torch.testing.assert_close(sequence_classification_loss(logits, labels, SINGLE, label_smoothing=0.1), smooth)


@pytest.mark.parametrize(
    ("problem_type", "labels"),
    [
        (SINGLE, torch.tensor([0, 3, -100, 1, 2, -100])),
        (MULTI, (torch.arange(24).view(6, 4) % 3 == 0).float()),
        (REGRESSION, torch.linspace(-1, 1, 24).view(6, 4)),
    ],
)
def test_loss_of_double_logits_is_computed_in_double(problem_type, labels):
    def compute_loss(logits):
        return sequence_classification_loss(logits, labels, problem_type)

    assert compute_loss(make_logits().double()).dtype == torch.float64
    assert compute_loss(make_logits().bfloat16()).dtype == torch.float32
    assert torch.autograd.gradcheck(compute_loss, make_logits().detach().double().requires_grad_())


@pytest.mark.parametrize(
    ("model_class", "fields"),
    [
        (LstmForSequenceClassification, {"num_labels": 3}),
        (LstmForCausalLM, {}),
        (LstmForCausalLM, ADAPTIVE),
    ],
)
def test_gradients_of_a_double_model_are_those_of_its_loss(model_class, fields):
    model, input_ids = make_model(model_class, **fields).double(), make_input_ids()
    biases = [weight for name, weight in model.named_parameters() if "bias" in name]
    arguments = {"attention_mask": MASK, "labels": make_labels(model, input_ids)}
    if model_class is LstmForCausalLM:
        arguments["output_logits"] = False  # or else the loss is the usual one of transformers, in float32

    def compute_loss(*weights):
        return model(input_ids, **arguments).loss

    assert torch.autograd.gradcheck(compute_loss, biases)


def test_class_weights_multiply_the_summands_only():
    logits, labels = make_logits(), torch.tensor([0, 3, 0, 1, 2, -100])
    loss = sequence_classification_loss(logits, labels, SINGLE, class_weights=CLASS_WEIGHTS)
    each = F.cross_entropy(logits[:5], labels[:5], reduction="none") * CLASS_WEIGHTS[labels[:5]]
    torch.testing.assert_close(loss, each.sum() / 5)


def test_multi_label_loss_is_the_mean_over_real_elements():
    logits = make_logits()
    labels = (torch.arange(24).view(6, 4) % 3 == 0).float()
    labels[1, 2] = -100
    loss = sequence_classification_loss(logits, labels, MULTI, class_weights=CLASS_WEIGHTS)
    each = F.binary_cross_entropy_with_logits(logits, labels.clamp(min=0), reduction="none") * CLASS_WEIGHTS
    torch.testing.assert_close(loss, each[labels != -100].sum() / 23)
    smooth = sequence_classification_loss(logits, labels, MULTI, label_smoothing=0.2)
    each = F.binary_cross_entropy_with_logits(logits, labels.clamp(min=0) * 0.8 + 0.1, reduction="none")
    torch.testing.assert_close(smooth, each[labels != -100].mean())


@pytest.mark.parametrize("shape", [(6,), (6, 1)])
def test_regression_loss_is_the_mean_squared_error(shape):
    logits, labels = make_logits(1), torch.arange(-2.0, 4.0)
    expected = F.mse_loss(logits[:, 0], labels)
    torch.testing.assert_close(sequence_classification_loss(logits, labels.view(shape), REGRESSION), expected)
    torch.testing.assert_close(sequence_classification_loss(logits, labels.view(shape).long(), REGRESSION), expected)


def test_regression_of_several_numbers():
    logits, labels = make_logits(), torch.arange(24.0).view(6, 4)
    torch.testing.assert_close(sequence_classification_loss(logits, labels, REGRESSION), F.mse_loss(logits, labels))


@pytest.mark.parametrize("problem_type", [SINGLE, MULTI, REGRESSION])
def test_masked_labels_give_no_gradient_whatever_they_hold(problem_type):
    logits = make_logits()
    labels = torch.tensor([0, 1, 2, 3, 0, -100]) if problem_type == SINGLE else torch.zeros(6, 4)
    labels[-1] = -100
    sequence_classification_loss(logits, labels, problem_type).backward()
    assert (logits.grad[-1] == 0).all()
    assert logits.grad[:-1].abs().sum() > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"problem_type": "ranking"}, "`problem_type` is 'ranking', but must be 'single_label_classification'"),
        ({"problem_type": REGRESSION, "label_smoothing": 0.1}, "`label_smoothing` .0.1. are for classification"),
        ({"problem_type": REGRESSION, "class_weights": CLASS_WEIGHTS}, "`class_weights`.*are for classification"),
    ],
)
def test_loss_refuses_arguments_that_do_not_go_together(arguments, message):
    with pytest.raises(ValueError, match=message):
        sequence_classification_loss(make_logits(), torch.zeros(6, 4), **arguments)


@pytest.mark.parametrize(
    ("num_labels", "labels", "problem_type"),
    [
        (1, torch.zeros(6), REGRESSION),
        (4, torch.zeros(6, 4), MULTI),
        (4, torch.zeros(6, dtype=torch.long), SINGLE),
        (2, torch.zeros(6, 2), MULTI),
        (2, torch.zeros(6, dtype=torch.long), SINGLE),
    ],
)
def test_kind_of_task_is_inferred_from_the_labels_and_kept(num_labels, labels, problem_type):
    model = make_model(LstmForSequenceClassification, num_labels=num_labels)
    model(make_input_ids(), labels=labels)
    assert model.config.problem_type == problem_type


def test_classifier_passes_class_weights_and_label_smoothing_to_the_loss():
    model = make_model(LstmForSequenceClassification)
    input_ids, labels = make_input_ids(), torch.arange(6) % NUM_LABELS
    arguments = {"class_weights": CLASS_WEIGHTS, "label_smoothing": 0.1}
    result = model(input_ids, attention_mask=MASK, labels=labels, **arguments)
    torch.testing.assert_close(result.loss, sequence_classification_loss(result.logits, labels, SINGLE, **arguments))


def test_branches_of_the_classifier_have_a_loss_of_their_own():
    model = make_model(LstmForSequenceClassification, classifier_ngram_orders=[1])
    plain = make_model(LstmForSequenceClassification)
    plain.load_state_dict(model.state_dict(), strict=False)
    input_ids, labels = make_input_ids(), torch.arange(6) % NUM_LABELS
    result = model(input_ids, labels=labels)
    branches = [model.ngram_classifier(input_ids, None), plain(input_ids).logits]
    torch.testing.assert_close(result.logits, (branches[0] + branches[1]) / 2)
    losses = [F.cross_entropy(logits, labels) for logits in branches]
    torch.testing.assert_close(result.loss, (losses[0] + losses[1]) / 2)


def test_token_loss_ignores_masked_labels():
    model = make_model(LstmForTokenClassification)
    input_ids = make_input_ids()
    labels = (input_ids % NUM_LABELS).masked_fill(MASK == 0, -100)
    result = model(input_ids, attention_mask=MASK, labels=labels)
    torch.testing.assert_close(result.loss, F.cross_entropy(result.logits.view(-1, NUM_LABELS), labels.view(-1)))


def test_causal_loss_predicts_the_next_token():
    model = make_model(LstmForCausalLM)
    input_ids = make_input_ids()
    labels = input_ids.masked_fill(MASK == 0, -100)
    result = model(input_ids, attention_mask=MASK, labels=labels)
    expected = F.cross_entropy(result.logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    torch.testing.assert_close(result.loss, expected)
    shifted = F.pad(labels[:, 1:], (0, 1), value=-100)
    torch.testing.assert_close(model(input_ids, attention_mask=MASK, shift_labels=shifted).loss, expected)


def make_rows(kind: str) -> list[dict]:
    """Rows of unequal lengths, padded to 9, with labels for the kind of task."""
    generator = torch.Generator().manual_seed(0)
    rows = []
    for index in range(NUM_ROWS):
        length = 2 + (5 * index) % 8
        input_ids = torch.randint(4, 29, (9,), generator=generator)
        mask = (torch.arange(9) < length).long()
        labels = {
            "single": torch.tensor(index % NUM_LABELS),
            "weighted": torch.tensor(index % 3),
            "multi": torch.rand(NUM_LABELS, generator=generator).round(),
            "regression": torch.tensor(float(index % 5)),
            "token": (input_ids % NUM_LABELS).masked_fill(mask == 0, -100),
            "causal": input_ids.masked_fill(mask == 0, -100),
        }[kind]
        rows.append({"input_ids": input_ids, "attention_mask": mask, "labels": labels})
    return rows


def make_trained_model(kind: str):
    if kind == "token":
        return make_model(LstmForTokenClassification)
    if kind == "causal":
        return make_model(LstmForCausalLM, tie_word_embeddings=True)
    return make_model(LstmForSequenceClassification, num_labels=1 if kind == "regression" else NUM_LABELS)


def weighted_loss(outputs, labels, num_items_in_batch=None):
    return sequence_classification_loss(outputs.logits, labels, SINGLE, num_items_in_batch, CLASS_WEIGHTS)


def train_one_step(kind: str, directory, batch_size: int, accumulation: int, **arguments):
    """Takes one step of plain gradient descent over all rows; clipping would hide a wrongly scaled loss."""
    model = make_trained_model(kind)
    training_arguments = TrainingArguments(
        directory,
        per_device_train_batch_size=batch_size,
        gradient_accumulation_steps=accumulation,
        max_steps=1,
        optim="sgd",
        learning_rate=0.5,
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        use_cpu=True,
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
        report_to="none",
        **arguments,
    )
    trainer = Trainer(
        model,
        training_arguments,
        train_dataset=make_rows(kind),
        compute_loss_func=weighted_loss if kind == "weighted" else None,
    )
    result = trainer.train()
    return model, result.training_loss


@pytest.mark.parametrize("kind", ["single", "weighted", "multi", "regression", "token", "causal"])
def test_accumulating_four_batches_of_eight_equals_one_of_thirty_two(kind, tmp_path):
    start = make_trained_model(kind)
    whole, whole_loss = train_one_step(kind, tmp_path, NUM_ROWS, 1)
    parts, parts_loss = train_one_step(kind, tmp_path, NUM_ROWS // 4, 4)
    assert parts_loss == pytest.approx(whole_loss, rel=1e-5)
    for before, left, right in zip(start.parameters(), whole.parameters(), parts.parameters(), strict=True):
        assert not torch.equal(before, left)
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["single", "multi", "regression", "token", "causal"])
def test_trained_loss_is_the_loss_of_the_whole_batch(kind, tmp_path):
    rows = make_rows(kind)
    model = make_trained_model(kind).train()
    batch = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
    _, loss = train_one_step(kind, tmp_path, NUM_ROWS // 4, 4)
    assert loss == pytest.approx(model(**batch).loss.item(), rel=1e-5)


@pytest.mark.parametrize("accumulation", [1, 4])
def test_label_smoothing_of_the_language_model_shifts_the_labels(accumulation, tmp_path):
    model = make_trained_model("causal").train()
    rows = make_rows("causal")
    batch = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
    logits = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    expected = F.cross_entropy(logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten(), label_smoothing=0.3)
    _, loss = train_one_step("causal", tmp_path, NUM_ROWS // accumulation, accumulation, label_smoothing_factor=0.3)
    assert loss == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("label", [-1, 4])
@pytest.mark.parametrize("model_class", [LstmForSequenceClassification, LstmForTokenClassification])
def test_classes_that_the_model_does_not_have_are_refused(model_class, label):
    model, input_ids = make_model(model_class), make_input_ids()
    labels = make_labels(model, input_ids)
    labels[-1] = label
    message = rf"`labels` holds {label}, but `num_labels` is 4: labels are from 0 to 3, or -100"
    with pytest.raises(IndexError, match=message):
        model(input_ids, labels=labels)


@pytest.mark.parametrize("name", ["labels", "shift_labels"])
@pytest.mark.parametrize("fields", [{}, ADAPTIVE])
@pytest.mark.parametrize("token_id", [-1, VOCAB_SIZE])
def test_tokens_that_the_language_model_does_not_have_are_refused(token_id, fields, name):
    labels = make_input_ids()
    labels[-1, -1] = token_id
    with pytest.raises(IndexError, match=rf"`{name}` holds {token_id}, but `vocab_size` is {VOCAB_SIZE}"):
        make_model(LstmForCausalLM, **fields)(make_input_ids(), **{name: labels})


@pytest.mark.parametrize("model_class", [LstmForTokenClassification, LstmForCausalLM])
def test_a_loss_put_in_may_take_other_labels(model_class):
    model, input_ids = make_model(model_class), make_input_ids()
    model.loss_function = lambda logits, labels, *arguments, **more: labels.sum()
    assert model(input_ids, labels=torch.full_like(input_ids, -1)).loss == -input_ids.numel()
