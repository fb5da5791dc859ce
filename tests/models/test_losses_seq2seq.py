"""The encoder–decoder's loss: from real tokens only, smoothed, accumulated, and with the stock Seq2SeqTrainer."""

import pytest
import torch
from torch.nn import functional as F
from transformers import DataCollatorForSeq2Seq, Seq2SeqTrainer, Seq2SeqTrainingArguments
from transformers.trainer_pt_utils import LabelSmoother

from hf_lstm import LstmForConditionalGeneration, LstmTokenizer
from hf_lstm.models.losses_lstm import shift_tokens_right, token_loss
from tests.models.factories import (
    COPYING,
    MASK,
    TARGET_MASK,
    TARGET_VOCAB_SIZE,
    make_seq2seq_config,
    make_seq2seq_model,
    make_source,
    make_target,
)

RUNS = [
    {"input_feeding": False},
    {"input_feeding": True},
    {"attention_type": "none", "tie_word_embeddings": False},
    COPYING,
]


def make_labels() -> torch.Tensor:
    return make_target(seed=3).masked_fill(TARGET_MASK == 0, -100)


def gradients(model: LstmForConditionalGeneration, loss: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss, list(model.parameters())))


@pytest.mark.parametrize("arguments", [{}, {"num_items_in_batch": 31}, {"label_smoothing": 0.2}])
@pytest.mark.parametrize("fields", RUNS)
def test_training_computes_logits_at_real_tokens_only_with_the_plain_loss(fields, arguments):
    model = make_seq2seq_model(**fields).train()
    sizes = []
    model.lm_head.register_forward_hook(lambda _, inputs, output: sizes.append(output.shape))
    labels = make_labels()
    result = model(make_source(), MASK, labels=labels, **arguments)
    assert result.logits is None
    assert sizes == [(int(TARGET_MASK.sum()), TARGET_VOCAB_SIZE)]

    wanted = model(make_source(), MASK, labels=labels, output_logits=True, **arguments)
    assert wanted.logits.shape == (6, 5, TARGET_VOCAB_SIZE)
    evaluated = model.eval()(make_source(), MASK, labels=labels, **arguments)
    assert evaluated.logits.shape == (6, 5, TARGET_VOCAB_SIZE)
    summed = F.cross_entropy(
        evaluated.logits.flatten(0, 1),
        labels.flatten(),
        reduction="sum",
        label_smoothing=arguments.get("label_smoothing", 0.0),
    )
    plain = summed / arguments.get("num_items_in_batch", int(TARGET_MASK.sum()))
    for loss in (result.loss, wanted.loss, evaluated.loss):
        torch.testing.assert_close(loss, plain, rtol=0, atol=1e-6)
    for ours, theirs in zip(gradients(model, result.loss), gradients(model, plain), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_logits_are_left_out_in_evaluation_when_asked():
    model = make_seq2seq_model()
    result = model(make_source(), MASK, labels=make_labels(), output_logits=False)
    assert result.logits is None
    torch.testing.assert_close(result.loss, model(make_source(), MASK, labels=make_labels()).loss)


def test_training_without_labels_gives_logits():
    result = make_seq2seq_model().train()(make_source(), MASK, make_target())
    assert result.loss is None
    assert result.logits.shape == (6, 5, TARGET_VOCAB_SIZE)


@pytest.mark.parametrize("num_items_in_batch", [None, 41, torch.tensor(41)])
def test_smoothed_loss_equals_that_of_the_trainers_smoother_on_all_logits(num_items_in_batch):
    model, labels = make_seq2seq_model().train(), make_labels()
    arguments = {} if num_items_in_batch is None else {"num_items_in_batch": num_items_in_batch}
    ours = model(make_source(), MASK, labels=labels, label_smoothing=0.3, **arguments).loss
    full = model(make_source(), MASK, labels=labels, output_logits=True)
    theirs = LabelSmoother(epsilon=0.3)(full, labels, **arguments)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    assert abs(ours - model(make_source(), MASK, labels=labels, **arguments).loss) > 1e-3


def test_loss_is_computed_in_float32():
    logits = torch.randn(3, 5).bfloat16()
    loss = token_loss(logits, torch.tensor([1, 2, -100]), 5)
    torch.testing.assert_close(loss, F.cross_entropy(logits[:2].float(), torch.tensor([1, 2])))


@pytest.mark.parametrize("training", [False, True])
def test_labels_need_not_be_contiguous(training):
    model = make_seq2seq_model().train(training)
    labels = make_target(6, 9)
    torch.testing.assert_close(
        model(make_source(), labels=labels[:, :4]).loss, model(make_source(), labels=labels[:, :4].contiguous()).loss
    )


def test_decoder_input_ids_are_the_labels_before_wherever_padding_stands():
    labels = torch.tensor(
        [
            [7, 8, 9, 3],
            [7, 3, -100, -100],
            [-100, -100, 7, 3],
            [-100, 7, -100, 3],
            [-100, -100, -100, -100],
        ]
    )
    expected = torch.tensor([[2, 7, 8, 9], [2, 7, 0, 0], [0, 0, 2, 7], [0, 2, 0, 7], [0, 0, 0, 0]])
    model = make_seq2seq_model()
    assert torch.equal(model.prepare_decoder_input_ids_from_labels(labels), expected)
    other = expected.masked_fill(expected == 2, 11).masked_fill(expected == 0, 1)
    assert torch.equal(shift_tokens_right(labels, 1, 11), other)
    assert labels[0, 0] == 7, "the labels themselves are left as they are"


@pytest.mark.parametrize("name", ["pad_token_id", "decoder_start_token_id"])
def test_labels_need_a_padding_and_a_start_token(name):
    model = make_seq2seq_model(**{name: None})
    with pytest.raises(ValueError, match="but labels need both. Set them in the configuration"):
        model(make_source(), labels=make_labels())


@pytest.mark.parametrize("fields", RUNS)
def test_labels_alone_equal_the_shifted_tokens_and_their_mask(fields):
    model, labels = make_seq2seq_model(**fields), make_labels()
    shifted = model.prepare_decoder_input_ids_from_labels(labels)
    expected = model(make_source(), MASK, shifted, labels != -100)
    result = model(make_source(), MASK, labels=labels)
    assert torch.equal(result.logits, expected.logits)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("fields", RUNS)
def test_accumulated_micro_batches_equal_one_batch(fields, label_smoothing):
    model, labels, source = make_seq2seq_model(**fields).train(), make_labels(), make_source()
    whole = model(source, MASK, labels=labels, label_smoothing=label_smoothing).loss
    arguments = {"num_items_in_batch": TARGET_MASK.sum(), "label_smoothing": label_smoothing}
    parts = [
        model(source[rows], MASK[rows], labels=labels[rows], **arguments).loss for rows in (slice(0, 1), slice(1, 6))
    ]
    torch.testing.assert_close(sum(parts), whole, rtol=0, atol=1e-6)
    for ours, theirs in zip(gradients(model, sum(parts)), gradients(model, whole), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def tokenizer() -> LstmTokenizer:
    return LstmTokenizer.train_from_iterator(["b a c", "d e f g"], vocab_size=30, min_frequency=1)


@pytest.fixture(scope="module")
def examples(tokenizer) -> list[dict[str, list[int]]]:
    pairs = [("a b", "b a c"), ("c", "c d"), ("d e f g", "g"), ("a b c", "f e d c b")]
    return [
        {"input_ids": tokenizer(source)["input_ids"], "labels": [*tokenizer(target)["input_ids"], 3]}
        for source, target in pairs
    ]


def make_trainer(tmp_path, tokenizer, examples, model, **arguments) -> Seq2SeqTrainer:
    settings = {
        "output_dir": str(tmp_path),
        "per_device_train_batch_size": 4,
        "max_steps": 3,
        "optim": "sgd",
        "learning_rate": 0.5,
        "lr_scheduler_type": "constant",
        "logging_steps": 1,
        "save_strategy": "no",
        "use_cpu": True,
        "disable_tqdm": True,
        "report_to": "none",
        "max_grad_norm": 0.0,
    }
    return Seq2SeqTrainer(
        model=model,
        args=Seq2SeqTrainingArguments(**settings | arguments),
        train_dataset=examples,
        eval_dataset=examples,
        data_collator=DataCollatorForSeq2Seq(tokenizer, model=model),
    )


def new_model(**fields) -> LstmForConditionalGeneration:
    return make_seq2seq_model(vocab_size=31, **fields)


def train(trainer: Seq2SeqTrainer) -> list[float]:
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize("smoothing", [0.0, 0.25])
def test_stock_trainer_computes_our_loss_and_learns(tmp_path, tokenizer, examples, smoothing):
    model = new_model().train()
    batch = DataCollatorForSeq2Seq(tokenizer, model=model)(list(map(dict, examples)))
    assert batch["decoder_input_ids"][:, 0].tolist() == [2] * 4
    labels = batch["labels"]
    expected = model(batch["input_ids"], batch["attention_mask"], labels=labels, label_smoothing=smoothing).loss
    losses = train(make_trainer(tmp_path, tokenizer, examples, model, label_smoothing_factor=smoothing))
    assert losses[0] == pytest.approx(expected.item(), abs=2e-4)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("smoothing", [0.0, 0.25])
def test_stock_trainer_accumulates_to_one_big_batch(tmp_path, tokenizer, examples, smoothing):
    weights = []
    for size, steps in ((4, 1), (1, 4)):
        model = new_model(input_feeding=True)
        arguments = {"per_device_train_batch_size": size, "gradient_accumulation_steps": steps}
        train(make_trainer(tmp_path, tokenizer, examples, model, label_smoothing_factor=smoothing, **arguments))
        weights.append(list(model.parameters()))
    for one, other in zip(*weights, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_stock_trainer_evaluates_and_predicts_with_generate(tmp_path, tokenizer, examples):
    model = new_model()
    trainer = make_trainer(
        tmp_path,
        tokenizer,
        examples,
        model,
        predict_with_generate=True,
        generation_max_length=6,
        generation_num_beams=2,
        per_device_eval_batch_size=3,
    )
    result = trainer.predict(examples)
    source = DataCollatorForSeq2Seq(tokenizer)(list(map(dict, examples[:3])))
    source = {name: source[name] for name in ("input_ids", "attention_mask")}
    expected = model.generate(**source, max_length=6, num_beams=2)
    assert result.predictions[:3, : expected.shape[1]].tolist() == expected.tolist()
    assert (result.predictions[:3, expected.shape[1] :] == 0).all()
    assert result.metrics["test_loss"] > 0


def test_stock_trainer_gathers_logits_of_all_positions(tmp_path, tokenizer, examples):
    trainer = make_trainer(tmp_path, tokenizer, examples, new_model(), per_device_eval_batch_size=4)
    result = trainer.predict(examples)
    assert result.predictions[0].shape == (4, *result.label_ids.shape[1:], 31)


def test_configuration_used_by_the_factory_has_different_sizes():
    """Equal sizes would hide a swapped axis from all tests beside this one."""
    config = make_seq2seq_config()
    sizes = [
        config.vocab_size,
        config.encoder_embedding_size,
        config.decoder_embedding_size,
        config.encoder_hidden_size,
        config.decoder_hidden_size,
        config.decoder_layers,
    ]
    assert len(set(sizes)) == len(sizes)


@pytest.mark.parametrize("is_training", [False, True])
@pytest.mark.parametrize("token_id", [-1, TARGET_VOCAB_SIZE])
def test_tokens_that_the_model_does_not_have_are_refused(token_id, is_training):
    model, labels = make_seq2seq_model().train(is_training), make_labels()
    labels[0, -1] = token_id  # the decoder does not read a row's last token
    with pytest.raises(IndexError, match=rf"`labels` holds {token_id}, but `vocab_size` is {TARGET_VOCAB_SIZE}"):
        model(make_source(), MASK, labels=labels)


def test_a_loss_put_in_may_take_other_labels():
    model, labels = make_seq2seq_model(), make_labels()
    model.loss_function = lambda logits, labels, *arguments, **more: labels.max()
    labels[0, -1] = TARGET_VOCAB_SIZE
    assert model(make_source(), MASK, labels=labels).loss == TARGET_VOCAB_SIZE
