import copy

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import DataCollatorForSeq2Seq, Seq2SeqTrainer, Seq2SeqTrainingArguments
from transformers.trainer_pt_utils import LabelSmoother

from hf_lstm import LstmForConditionalGeneration, LstmSeq2SeqConfig, LstmSeq2SeqTokenizer, LstmTokenizer
from hf_lstm.data.checks import InputError
from hf_lstm.training.seq2seq_arguments import LstmSeq2SeqTrainingArguments
from hf_lstm.training.seq2seq_trainer import LstmSeq2SeqTrainer
from tests.training.factories import SETTINGS, VOCAB_SIZE, StopAt, losses

STATIC = {"input_dropout": 0.0, "output_dropout": 0.0}


def make_dataset(num_rows=44, seed=1, longest=9):
    generator = np.random.default_rng(seed)
    sources = [generator.integers(4, VOCAB_SIZE, generator.integers(1, longest)).tolist() for _ in range(num_rows)]
    targets = [generator.integers(4, VOCAB_SIZE, generator.integers(1, longest)).tolist() for _ in range(num_rows)]
    return Dataset.from_dict({"input_ids": [[*row, 3] for row in sources], "labels": [[*row, 3] for row in targets]})


def make_model(**config):
    torch.manual_seed(2)
    values = {"encoder_embedding_size": 5, "decoder_embedding_size": 5, "encoder_hidden_size": 6}
    values |= {"decoder_hidden_size": 6, "input_dropout": 0.2, "output_dropout": 0.2}
    model = LstmForConditionalGeneration(LstmSeq2SeqConfig(**{"vocab_size": VOCAB_SIZE} | values | config))
    model.generation_config.max_length = 8
    return model


def make_trainer(directory, tokenizer, model=None, train=None, **arguments):
    options = {name: arguments.pop(name) for name in ("callbacks", "source_noise") if name in arguments}
    values = SETTINGS | {"num_train_epochs": 2} | arguments
    return LstmSeq2SeqTrainer(
        model=model or make_model(),
        args=LstmSeq2SeqTrainingArguments(output_dir=str(directory), **values),
        train_dataset=make_dataset() if train is None else train,
        eval_dataset=make_dataset(17, seed=5),
        processing_class=tokenizer,
        **options,
    )


def record_inputs(model):
    """Collects whether a pass is one of training, and what the model reads."""
    seen = []
    model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append((module.training, dict(kwargs))), with_kwargs=True
    )
    return seen


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_training_equals_stock_trainer_with_its_label_smoother(tmp_path, tokenizer, smoothing):
    ours = make_trainer(
        tmp_path / "ours",
        tokenizer,
        make_model(**STATIC),
        label_smoothing_factor=smoothing,
        train_sampling_strategy="sequential",
    )
    assert ours.label_smoother is None
    ours.train()
    model = make_model(**STATIC)
    values = {**ours.args.to_dict(), "output_dir": str(tmp_path / "stock")}
    known = Seq2SeqTrainingArguments.__dataclass_fields__
    arguments = Seq2SeqTrainingArguments(**{name: value for name, value in values.items() if name in known})
    stock = Seq2SeqTrainer(
        model=model,
        args=arguments,
        train_dataset=make_dataset(),
        eval_dataset=make_dataset(17, seed=5),
        processing_class=tokenizer,
        data_collator=DataCollatorForSeq2Seq(tokenizer, model=model),
    )
    assert isinstance(stock.label_smoother, LabelSmoother) == (smoothing > 0)
    stock.train()
    assert len(losses(ours)) == 22 and losses(ours)[0] != losses(ours)[-1]
    np.testing.assert_allclose(losses(ours), losses(stock), rtol=1e-5)
    for name, weight in ours.model.state_dict().items():
        torch.testing.assert_close(weight, stock.model.state_dict()[name], atol=1e-4, rtol=1e-3)


def test_smoothing_changes_training_but_not_evaluation_loss(tmp_path, tokenizer):
    plain = make_trainer(tmp_path / "a", tokenizer, make_model(**STATIC), label_smoothing_factor=0.0)
    smooth = make_trainer(tmp_path / "b", tokenizer, make_model(**STATIC), label_smoothing_factor=0.3)
    assert smooth.evaluate()["eval_loss"] == plain.evaluate()["eval_loss"]
    plain.train()
    smooth.train()
    assert abs(losses(plain)[-1] - losses(smooth)[-1]) > 1e-3


def test_stock_trainer_generates_and_smooths(tmp_path, tokenizer):
    model = make_model()
    seen = {}

    def compute_metrics(prediction):
        seen["ids"] = prediction.predictions
        return {"length": float(prediction.predictions.shape[1])}

    arguments = Seq2SeqTrainingArguments(
        output_dir=str(tmp_path),
        predict_with_generate=True,
        generation_num_beams=2,
        label_smoothing_factor=0.1,
        num_train_epochs=1,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        save_strategy="no",
    )
    trainer = Seq2SeqTrainer(
        model=model,
        args=arguments,
        train_dataset=make_dataset(),
        eval_dataset=make_dataset(17, seed=5),
        processing_class=tokenizer,
        data_collator=DataCollatorForSeq2Seq(tokenizer, model=model),
        compute_metrics=compute_metrics,
    )
    trainer.train()
    metrics = trainer.evaluate()
    assert np.isfinite(metrics["eval_loss"]) and metrics["eval_length"] >= 8
    assert seen["ids"].shape[0] == 17 and (seen["ids"][:, 0] == 2).all()


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_accumulated_training_equals_one_large_batch(tmp_path, tokenizer, smoothing):
    results = []
    for batch_size, accumulation in ((8, 1), (2, 4)):
        trainer = make_trainer(
            tmp_path / str(batch_size),
            tokenizer,
            make_model(**STATIC),
            per_device_train_batch_size=batch_size,
            gradient_accumulation_steps=accumulation,
            label_smoothing_factor=smoothing,
            num_train_epochs=1,
        )
        trainer.train()
        results.append((losses(trainer), trainer.model.state_dict()))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-4)
    for name, weight in results[0][1].items():
        torch.testing.assert_close(weight, results[1][1][name], atol=2e-4, rtol=1e-3)


def test_batches_hold_similar_targets_and_among_those_similar_sources(tmp_path, tokenizer):
    dataset = make_dataset(1280)
    trainer = make_trainer(tmp_path, tokenizer, train=dataset, per_device_train_batch_size=8)
    order = list(trainer._get_train_sampler())
    assert sorted(order) == list(range(1280))
    spreads = {}
    for name in ("labels", "input_ids"):
        lengths = np.array([len(row) for row in dataset[name]])
        spreads[name] = [
            np.mean([np.ptp(lengths[batch]) for batch in np.reshape(rows, (-1, 8))]) for rows in (order, range(1280))
        ]
    assert spreads["labels"][0] < 0.1 * spreads["labels"][1]
    assert spreads["input_ids"][0] < 0.6 * spreads["input_ids"][1]


def test_very_long_pairs_are_ordered_by_target_all_the_same(tmp_path, tokenizer):
    trainer = make_trainer(tmp_path, tokenizer)
    rows = {"input_ids": [[5] * 70_000, [5], [5]], "labels": [[5], [5] * 40_000, [5] * 2]}
    assert np.argsort(-trainer._measure_examples(Dataset.from_dict(rows))).tolist() == [1, 2, 0]


def test_predictions_come_in_order_of_the_data(tmp_path, tokenizer):
    trainer = make_trainer(tmp_path, tokenizer, predict_with_generate=True)
    dataset = make_dataset(17, seed=5)
    output = trainer.predict(dataset)
    for ids, row, labels in zip(output.predictions, dataset["input_ids"], output.label_ids, strict=True):
        expected = trainer.model.generate(torch.tensor([row]))[0].tolist()
        assert ids[: len(expected)].tolist() == expected
        assert [label for label in labels.tolist() if label not in (0, -100)] == dataset["labels"][
            dataset["input_ids"][:].index(row)
        ]


def test_sources_without_targets_are_predicted(tmp_path, tokenizer):
    trainer = make_trainer(tmp_path, tokenizer, predict_with_generate=True)
    dataset = make_dataset(5, seed=5)
    with_targets = trainer.predict(dataset).predictions
    output = trainer.predict(dataset.remove_columns("labels"))
    assert output.label_ids is None and "test_loss" not in output.metrics
    assert output.predictions.tolist() == with_targets.tolist()


def test_word_dropout_replaces_source_words_in_training_only(tmp_path, tokenizer):
    trainer = make_trainer(tmp_path, tokenizer, word_dropout=0.9, max_steps=3)
    seen = record_inputs(trainer.model)
    trainer.train()
    trainer.evaluate()
    shares = {}
    for mode in (True, False):
        ids = torch.cat(
            [kwargs["input_ids"].flatten() for training, kwargs in seen if training == mode and "labels" in kwargs]
        )
        shares[mode] = ((ids == 1).float().sum() / ((ids != 0) & (ids != 3)).sum()).item()
    assert shares[True] > 0.7 and shares[False] == 0
    ends = [(kwargs["input_ids"] == 3).any(dim=1).all() for training, kwargs in seen if training]
    assert all(ends) and all((kwargs["labels"] != 1).all() for _, kwargs in seen if "labels" in kwargs)


def test_source_noise_is_for_training_alone_and_leaves_the_targets(tmp_path, tokenizer):
    def noise(input_ids, attention_mask):
        return torch.full_like(input_ids, 7), torch.ones_like(attention_mask)

    trainer = make_trainer(
        tmp_path, tokenizer, source_noise=noise, num_train_epochs=1, train_sampling_strategy="sequential"
    )
    seen = record_inputs(trainer.model)
    trainer.train()
    trainer.evaluate()
    trained = [kwargs for training, kwargs in seen if training]
    assert len(trained) == 11
    assert all((kwargs["input_ids"] == 7).all() and kwargs["attention_mask"].all() for kwargs in trained)
    assert trained[0]["labels"][0][: len(make_dataset()["labels"][0])].tolist() == make_dataset()["labels"][0]
    assert not any(
        (kwargs["input_ids"] == 7).all() for training, kwargs in seen if not training and "labels" in kwargs
    )


@pytest.fixture(scope="module")
def subwords():
    """A source and a target tokenizer of byte-pair encoding, and pairs of words in whole pieces."""
    sides = ["lowest newest widest", "unter über hinter"]
    source, target = (
        LstmTokenizer.train_from_iterator(
            words.split() * 5, algorithm="bpe", vocab_size=300, min_frequency=1, add_eos=True, show_progress=False
        )
        for words in sides
    )
    words = [(one, other) for one in sides[0].split() for other in sides[1].split()]
    pairs = {
        "input_ids": [source(f"{one} lowest").input_ids for one, _ in words],
        "labels": [target(other).input_ids for _, other in words],
    }
    return LstmSeq2SeqTokenizer.from_tokenizers(source, target), Dataset.from_dict(pairs)


@pytest.mark.parametrize("padding_side", ["right", "left"])
def test_subword_dropout_splits_the_words_of_both_sides_in_training_only(tmp_path, subwords, padding_side):
    tokenizer, pairs = subwords
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.padding_side = padding_side
    model = make_model(vocab_size=300, decoder_vocab_size=300)
    options = {"subword_dropout": 0.5, "max_steps": 3, "train_sampling_strategy": "sequential"}
    trainer = make_trainer(tmp_path, tokenizer, model, pairs, **options)
    # One that makes the decoder's inputs, as many users have it.
    trainer.data_collator = DataCollatorForSeq2Seq(tokenizer, model=model)
    seen = record_inputs(model)
    trainer.train()
    trained = [kwargs for training, kwargs in seen if training]
    assert not any("decoder_input_ids" in kwargs for kwargs in trained)
    sources = [ids[mask.bool()].tolist() for kwargs in trained for ids, mask in zip(*both(kwargs))]
    targets = [row[row != -100].tolist() for kwargs in trained for row in kwargs["labels"]]
    for rows, name, side in ((sources, "input_ids", "source_tokenizer"), (targets, "labels", "target_tokenizer")):
        decode = getattr(tokenizer, side).decode
        assert [decode(row) for row in rows] == [decode(row) for row in pairs[name]]
        assert sum(map(len, rows)) > 1.5 * sum(map(len, pairs[name]))
    assert sum(int(kwargs["num_items_in_batch"]) for kwargs in trained) == sum(map(len, pairs["labels"]))
    del seen[:]
    trainer.evaluate(pairs)
    read = [kwargs["labels"][kwargs["labels"] != -100] for _, kwargs in seen if "labels" in kwargs]
    assert sum(map(len, read)) == sum(map(len, pairs["labels"]))


def both(kwargs):
    return kwargs["input_ids"], kwargs["attention_mask"]


def test_subword_dropout_resumes_exactly(tmp_path, subwords):
    tokenizer, pairs = subwords
    options = {"subword_dropout": 0.3, "train": pairs}

    def trainer(folder, **more):
        model = make_model(vocab_size=300, decoder_vocab_size=300)
        return make_trainer(tmp_path / folder, tokenizer, model, **options, **more)

    whole = trainer("whole")
    whole.train()
    trainer("parts", callbacks=[StopAt(4)]).train()
    resumed = trainer("parts")
    torch.manual_seed(99)
    resumed.train(resume_from_checkpoint=str(tmp_path / "parts" / "checkpoint-4"))
    assert losses(resumed) == losses(whole)


def test_subword_dropout_takes_a_batch_without_labels(tmp_path, subwords):
    # As of a process whose rows only fill the last batch.
    tokenizer, pairs = subwords
    model = make_model(vocab_size=300, decoder_vocab_size=300)
    trainer = make_trainer(tmp_path, tokenizer, model, subword_dropout=0.3, train=pairs)
    batch = trainer.data_collator([trainer.train_dataset[0]] * 2)
    batch["labels"] = torch.full_like(batch["labels"], -100)
    trainer.model.train()
    assert float(trainer.training_step(trainer.model, dict(batch), torch.tensor(4))) == 0


def test_subword_dropout_without_merges_raises_before_training(tmp_path, tokenizer):
    with pytest.raises(InputError, match="`subword_dropout` is 0.1, but needs a tokenizer of byte-pair encoding"):
        make_trainer(tmp_path, tokenizer, subword_dropout=0.1)


def swap_some(input_ids, attention_mask):
    """Draws from torch's own state, as the noise of an autoencoder does."""
    return torch.where(torch.rand(input_ids.shape) < 0.3, 7, input_ids), attention_mask


@pytest.mark.parametrize("stop", [5, 11, 14])
def test_stopped_and_resumed_run_equals_undisturbed_run(tmp_path, tokenizer, stop):
    arguments = {"weight_averaging": 0.9, "word_dropout": 0.2, "source_noise": swap_some}
    whole = make_trainer(tmp_path / "whole", tokenizer, **arguments)
    whole.train()
    make_trainer(tmp_path / "parts", tokenizer, callbacks=[StopAt(stop)], **arguments).train()
    torch.manual_seed(99)
    resumed = make_trainer(tmp_path / "parts", tokenizer, make_model(initializer_range=0.5), **arguments)
    resumed.train(resume_from_checkpoint=str(tmp_path / "parts" / f"checkpoint-{stop}"))
    assert losses(resumed) == losses(whole)
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name]), name


def test_fp16_on_the_cpu_raises(tmp_path, tokenizer):
    with pytest.raises(InputError, match="`fp16` is set"):
        make_trainer(tmp_path, tokenizer, fp16=True)
