"""The adaptive softmax against torch's and against the whole distribution, and the language model that it heads."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments
from transformers.trainer_pt_utils import LabelSmoother

from hf_lstm import LstmForCausalLM, LstmTokenizer
from hf_lstm.models.adaptive_softmax_lstm import AdaptiveSoftmax, cluster_sizes
from tests.models.factories import ADAPTIVE, HIDDEN_SIZE, MASK, VOCAB_SIZE, make_input_ids, make_model

CUTOFFS, DIV_VALUE = ADAPTIVE.values()
SETTINGS = [([7, 17], 1.7), ([11], 4.0), ([1, 2, 28], 1.5)]


def make_labels() -> torch.Tensor:
    """Returns tokens of the frequent ones and of both clusters, some not to be learned."""
    labels = make_input_ids(seed=3).masked_fill(MASK == 0, -100)
    assert all(((start <= labels) & (labels < end)).any() for start, end in zip([4, *CUTOFFS], [*CUTOFFS, VOCAB_SIZE]))
    return labels


def full_loss(logits: torch.Tensor, shift_labels: torch.Tensor, **arguments) -> torch.Tensor:
    """The loss by the whole distribution, whose logits any shift leaves as they are."""
    return F.cross_entropy(logits.reshape(-1, VOCAB_SIZE) + 3, shift_labels.reshape(-1), **arguments)


def gradients(model: nn.Module, loss: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss, list(model.parameters()), materialize_grads=True))


@pytest.mark.parametrize(("cutoffs", "div_value"), SETTINGS)
def test_parameters_and_results_are_those_of_torch(cutoffs, div_value):
    theirs = nn.AdaptiveLogSoftmaxWithLoss(6, VOCAB_SIZE, cutoffs, div_value, head_bias=True)
    ours = AdaptiveSoftmax(6, VOCAB_SIZE, cutoffs, div_value)
    ours.load_state_dict(theirs.state_dict())
    hidden_states, targets = torch.randn(50, 6), torch.randint(0, VOCAB_SIZE, (50,))
    torch.testing.assert_close(ours(hidden_states), theirs.log_prob(hidden_states))
    losses = ours.loss(hidden_states, targets), theirs(hidden_states, targets).loss * 50
    torch.testing.assert_close(*losses)
    for left, right in zip(gradients(ours, losses[0]), gradients(theirs, losses[1]), strict=True):
        torch.testing.assert_close(left, right)
    assert cluster_sizes(6, cutoffs, div_value) == [layers[0].out_features for layers in theirs.tail]


def test_log_probabilities_are_a_distribution_at_each_position():
    model = make_model(LstmForCausalLM, **ADAPTIVE)
    logits = model(make_input_ids(), attention_mask=MASK).logits
    torch.testing.assert_close(logits.exp().sum(dim=-1), torch.ones(MASK.shape))


@pytest.mark.parametrize("num_targets", [0, 1])
def test_loss_of_few_targets_has_gradients_for_all_clusters(num_targets):
    head = AdaptiveSoftmax(6, VOCAB_SIZE, CUTOFFS, DIV_VALUE)
    head.loss(torch.randn(num_targets, 6), torch.full((num_targets,), 5)).backward()
    assert all(parameter.grad is not None for parameter in head.parameters())
    assert not any(parameter.grad.any() for parameter in head.tail.parameters())


@pytest.mark.parametrize("token_id", [-1, VOCAB_SIZE])
def test_targets_outside_of_the_vocabulary_are_an_error(token_id):
    head = AdaptiveSoftmax(6, VOCAB_SIZE, CUTOFFS, DIV_VALUE)
    with pytest.raises(IndexError, match="out of bounds"):
        head.loss(torch.randn(3, 6), torch.tensor([5, token_id, 7]))


@pytest.mark.parametrize("given", ["labels", "shift_labels", "both"])
@pytest.mark.parametrize("num_items", [None, 41, torch.tensor(41)])
def test_loss_and_gradients_are_those_of_the_whole_distribution(num_items, given):
    model = make_model(LstmForCausalLM, **ADAPTIVE).train()
    labels, input_ids = make_labels(), make_input_ids()
    shift_labels = F.pad(labels[:, 1:], (0, 1), value=-100) if given == "labels" else labels
    arguments = {"labels": {"labels": labels}, "shift_labels": {"shift_labels": labels}}.get(
        given, {"labels": torch.full_like(labels, 5), "shift_labels": labels}
    )
    result = model(input_ids, attention_mask=MASK, num_items_in_batch=num_items, **arguments)
    expected = full_loss(model(input_ids, attention_mask=MASK).logits, shift_labels, reduction="sum")
    expected = expected / (41 if num_items is not None else (shift_labels != -100).sum())
    assert result.logits is None
    torch.testing.assert_close(result.loss, expected)
    for ours, theirs in zip(gradients(model, result.loss), gradients(model, expected), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_loss_adds_up_over_parts_of_a_batch():
    model, labels, input_ids = make_model(LstmForCausalLM, **ADAPTIVE), make_labels(), make_input_ids()
    num_items = (labels[:, 1:] != -100).sum()
    parts = [
        model(input_ids[rows], labels=labels[rows], num_items_in_batch=num_items).loss
        for rows in (slice(0, 2), slice(2, 6))
    ]
    torch.testing.assert_close(sum(parts), model(input_ids, labels=labels).loss)


def test_perplexity_of_held_out_text_is_that_of_its_log_probabilities():
    model, input_ids = make_model(LstmForCausalLM, **ADAPTIVE), make_input_ids()
    result = model(input_ids, labels=input_ids)
    chosen = result.logits[:, :-1].gather(2, input_ids[:, 1:, None])
    torch.testing.assert_close(result.loss.exp(), torch.exp(-chosen.mean()))


def test_positions_kept_are_those_that_enter_the_loss():
    model, labels, input_ids = make_model(LstmForCausalLM, **ADAPTIVE).train(), make_labels(), make_input_ids()
    kept = torch.tensor([1, 4])
    result = model(input_ids, shift_labels=labels[:, kept], logits_to_keep=kept, output_logits=True)
    assert result.logits.shape == (6, 2, VOCAB_SIZE)
    torch.testing.assert_close(result.loss, full_loss(result.logits, labels[:, kept]))
    with pytest.raises(ValueError, match=r"labels are of shape \(6, 7\), but positions of shape \(6, 2\) are kept"):
        model(input_ids, labels=labels, logits_to_keep=kept)


@pytest.mark.parametrize("variant", [{}, ADAPTIVE])
@pytest.mark.parametrize("has_labels", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("asked", [None, False, True])
def test_scores_are_returned_unless_an_adaptive_softmax_learns_without_them(asked, training, has_labels, variant):
    model, input_ids = make_model(LstmForCausalLM, **variant).train(training), make_input_ids()
    result = model(input_ids, labels=input_ids if has_labels else None, output_logits=asked)
    by_default = not (variant and training and has_labels)
    assert (result.logits is not None) == (by_default if asked is None else asked)
    assert (result.loss is not None) == has_labels
    expected = full_loss(model(input_ids).logits[:, :-1], input_ids[:, 1:])
    torch.testing.assert_close(result.loss if has_labels else expected, expected)


def test_learning_computes_no_scores_of_a_cluster_beyond_its_own_targets():
    model, labels = make_model(LstmForCausalLM, **ADAPTIVE).train(), make_labels()
    rows = []
    for layers in model.lm_head.tail:
        layers[1].register_forward_hook(lambda module, inputs, output: rows.append(len(output)))
    model(make_input_ids(), labels=labels)
    ends = zip(CUTOFFS, [*CUTOFFS[1:], VOCAB_SIZE])
    assert rows == [int(((start <= labels[:, 1:]) & (labels[:, 1:] < end)).sum()) for start, end in ends]


def test_label_smoothing_is_refused_but_for_the_scores_of_all_tokens():
    model, labels = make_model(LstmForCausalLM, **ADAPTIVE).train(), make_labels()
    with pytest.raises(ValueError, match=r"`label_smoothing` is 0.1, but needs the scores of all tokens"):
        model(make_input_ids(), labels=labels, label_smoothing=0.1)
    assert model(make_input_ids(), labels=labels, label_smoothing=0.0).loss.isfinite()
    # What Trainer does: it takes the labels away and smooths the scores itself.
    outputs = model(make_input_ids())
    loss = LabelSmoother(epsilon=0.1)(outputs, labels, shift_labels=True)
    expected = full_loss(outputs.logits[:, :-1], labels[:, 1:], label_smoothing=0.1)
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("way", ["weights", "autocast"])
def test_scores_in_bfloat16_are_near_those_in_float32(way):
    model, input_ids = make_model(LstmForCausalLM, **ADAPTIVE), make_input_ids()
    expected = model(input_ids).logits
    if way == "weights":
        model.to(torch.bfloat16)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=way == "autocast"):
        logits = model(input_ids).logits
    assert logits.dtype == torch.bfloat16
    torch.testing.assert_close(logits.float(), expected, rtol=0.03, atol=0.05)


def test_probabilities_of_bfloat16_scores_are_computed_in_float32():
    head = AdaptiveSoftmax(6, VOCAB_SIZE, CUTOFFS, DIV_VALUE).bfloat16()
    hidden_states, targets = torch.randn(50, 6).bfloat16(), torch.randint(0, VOCAB_SIZE, (50,))
    logits, loss = head(hidden_states), head.loss(hidden_states, targets)
    assert (logits.dtype, loss.dtype) == (torch.bfloat16, torch.float32)
    for part in (head.head, *head.tail):
        part.register_forward_hook(lambda module, inputs, scores: scores.float())
    assert torch.equal(head(hidden_states).bfloat16(), logits)
    assert torch.equal(head.loss(hidden_states, targets), loss)


@pytest.mark.parametrize("arguments", [{"new_num_tokens": 35}, {"pad_to_multiple_of": 8}])
def test_resizing_is_refused(arguments):
    model = make_model(LstmForCausalLM, **ADAPTIVE)
    with pytest.raises(ValueError, match=r"`adaptive_softmax_cutoffs` is \[7, 17\].*cannot be resized"):
        model.resize_token_embeddings(**arguments)
    assert model.config.vocab_size == VOCAB_SIZE
    assert model.resize_token_embeddings() is model.resize_token_embeddings(VOCAB_SIZE) is model.model.embed_tokens
    assert model.get_output_embeddings() is None


def test_ordinary_checkpoint_keeps_its_layers_under_an_adaptive_softmax(tmp_path):
    model = make_model(LstmForCausalLM)
    model.save_pretrained(tmp_path)
    loaded, report = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True, **ADAPTIVE)
    assert report["unexpected_keys"] == {"lm_head.weight", "lm_head.bias"}
    assert {name.split(".")[0] for name in report["missing_keys"]} == {"lm_head"}
    assert torch.equal(loaded.model.layers[1].weight_hh_l0, model.model.layers[1].weight_hh_l0)
    assert all(part.weight.abs().max() > 0 for part in loaded.lm_head.modules() if isinstance(part, nn.Linear))
    assert not loaded.lm_head.head.bias.any()
    assert loaded.lm_head.head.in_features == HIDDEN_SIZE


@pytest.mark.parametrize("algorithm", ["word", "char"])
def test_tokenizer_sorts_words_and_characters_by_falling_frequency(algorithm):
    texts = ["rare", "b b b b b", "a a a", "seldom seldom", "c c c c"]
    tokenizer = LstmTokenizer.train_from_iterator(texts, algorithm=algorithm, min_frequency=1, show_progress=False)
    counts = torch.zeros(len(tokenizer), dtype=torch.long)
    for text in texts:
        counts += torch.bincount(torch.tensor(tokenizer(text)["input_ids"]), minlength=len(tokenizer))
    assert (counts[4:].diff() <= 0).all()
    assert counts[4] > counts[-1] > 0


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_trainer_learns_and_evaluates_with_an_adaptive_softmax(tmp_path, smoothing):
    rows = [{"input_ids": row, "labels": row} for row in make_input_ids().tolist()]
    arguments = TrainingArguments(
        str(tmp_path),
        per_device_train_batch_size=2,
        gradient_accumulation_steps=3,
        num_train_epochs=30,
        learning_rate=0.05,
        label_smoothing_factor=smoothing,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )
    trainer = Trainer(make_model(LstmForCausalLM, **ADAPTIVE), arguments, train_dataset=rows, eval_dataset=rows)
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    result = trainer.predict(rows)
    assert result.metrics["test_loss"] < before - 1
    assert result.predictions.shape == (*MASK.shape, VOCAB_SIZE)
