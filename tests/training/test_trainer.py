import copy
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    Trainer,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.utils.generic import find_labels

from hf_lstm import LstmConfig, LstmForCausalLM, LstmForSequenceClassification
from hf_lstm.data.checks import InputError
from hf_lstm.training import trainer as trainer_module
from hf_lstm.training.arguments import LstmTrainingArguments
from hf_lstm.training.callbacks import TRAINED_WEIGHTS_NAME, WeightAverageCallback
from hf_lstm.training.checkpoints import find_last_checkpoint
from hf_lstm.training.trainer import LstmTrainer
from tests.training.factories import SETTINGS, VOCAB_SIZE, StopAt, losses, make_dataset, make_model, make_trainer


@pytest.mark.parametrize("stop", [5, 6, 14])
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {
            "weight_averaging": 0.9,
            "word_dropout": 0.2,
            "gradient_accumulation_steps": 2,
            "class_weights": ["balanced"],
        },
    ],
    ids=["plain", "everything"],
)
def test_stopped_and_resumed_run_equals_undisturbed_run(tmp_path, tokenizer, stop, arguments):
    whole = make_trainer(tmp_path / "whole", tokenizer, **arguments)
    whole.train()
    make_trainer(tmp_path / "parts", tokenizer, callbacks=[StopAt(stop)], **arguments).train()
    torch.manual_seed(99)
    resumed = make_trainer(tmp_path / "parts", tokenizer, model=make_model(initializer_range=0.5), **arguments)
    resumed.train(resume_from_checkpoint=str(tmp_path / "parts" / f"checkpoint-{stop}"))

    assert losses(resumed) == losses(whole)
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name]), name


@pytest.mark.parametrize("logging_steps", [1, 7])
def test_training_loss_of_a_resumed_run_is_of_all_its_steps(tmp_path, tokenizer, logging_steps):
    arguments = {"logging_steps": logging_steps, "save_strategy": "steps", "save_steps": 10, "save_total_limit": 9}
    expected = make_trainer(tmp_path, tokenizer, **arguments).train()
    for step in (10, 20, 36):  # as if the run had been stopped and resumed twice, and once more when it was over
        trainer = make_trainer(tmp_path, tokenizer, **arguments)
        output = trainer.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{step}"))
        assert output.training_loss == pytest.approx(expected.training_loss, rel=1e-6)
        assert output.metrics["train_loss"] == trainer.state.log_history[-1]["train_loss"] == output.training_loss


def test_training_loss_after_a_checkpoint_of_another_trainer_is_of_the_steps_since(tmp_path, tokenizer):
    arguments = {"save_strategy": "steps", "save_steps": 30}
    make_trainer(tmp_path, tokenizer, **arguments).train()
    path = tmp_path / "checkpoint-30" / "trainer_state.json"
    state = json.loads(path.read_text())
    del state["stateful_callbacks"]["loss_sums"]
    path.write_text(json.dumps(state))
    trainer = make_trainer(tmp_path, tokenizer, **arguments)
    output = trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-30"))
    assert output.training_loss == pytest.approx(np.mean(losses(trainer)[-6:]))


@pytest.mark.parametrize("weights", [["balanced"], ["1", "4"], None])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_accumulated_training_equals_one_large_batch(tmp_path, tokenizer, weights, smoothing):
    results = []
    for batch_size, accumulation in ((8, 1), (2, 4)):
        trainer = make_trainer(
            tmp_path / str(batch_size),
            tokenizer,
            model=make_model(classifier_dropout=0.0),
            per_device_train_batch_size=batch_size,
            gradient_accumulation_steps=accumulation,
            class_weights=weights,
            label_smoothing_factor=smoothing,
            num_train_epochs=1,
        )
        trainer.train()
        results.append((losses(trainer), trainer.model.state_dict()))

    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-4)
    for name, weight in results[0][1].items():
        torch.testing.assert_close(weight, results[1][1][name], atol=2e-4, rtol=1e-3)


def test_class_weights_and_smoothing_change_training_but_not_evaluation_loss(tmp_path, tokenizer):
    plain = make_trainer(tmp_path / "a", tokenizer)
    weighted = make_trainer(tmp_path / "b", tokenizer, class_weights=["1", "9"], label_smoothing_factor=0.3)
    assert weighted.evaluate()["eval_loss"] == pytest.approx(plain.evaluate()["eval_loss"], rel=1e-5)

    plain.train()
    weighted.train()
    assert abs(losses(plain)[0] - losses(weighted)[0]) > 1e-3


def test_class_weights_for_regression_raise(tmp_path, tokenizer):
    model = make_model(problem_type="regression")
    with pytest.raises(InputError, match="both are for classification"):
        make_trainer(tmp_path, tokenizer, model=model, class_weights=["balanced"])


def test_class_weights_beside_a_loss_function_raise(tmp_path, tokenizer):
    arguments = LstmTrainingArguments(output_dir=str(tmp_path), **SETTINGS, class_weights=["balanced"])
    options = {"train_dataset": make_dataset(), "compute_loss_func": lambda outputs, labels, **kwargs: outputs.loss}
    with pytest.raises(InputError, match="Leave them out .* beside `compute_loss_func`"):
        LstmTrainer(make_model(), arguments, processing_class=tokenizer, **options)


def test_class_weights_for_data_that_cannot_be_counted_raise(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr(trainer_module, "ExampleStream", Dataset)
    with pytest.raises(InputError, match="those of a stream cannot"):
        make_trainer(tmp_path, tokenizer, class_weights=["balanced"])


@pytest.mark.parametrize("hold", [lambda rows: rows, list])
def test_class_weights_are_those_of_a_column_named_label_too(tmp_path, tokenizer, hold):
    rows = hold(make_dataset().rename_column("labels", "label"))
    trainer = make_trainer(tmp_path, tokenizer, datasets=(rows, make_dataset(17, seed=5)), class_weights=["balanced"])
    expected = make_trainer(tmp_path, tokenizer, class_weights=["balanced"]).class_weights
    assert torch.equal(trainer.class_weights, expected) and expected.unique().numel() == 2


def test_multi_label_smoothing_trains_without_warning(tmp_path, tokenizer, recwarn):
    dataset = make_dataset().map(lambda row: {"labels": [float(row["labels"]), 1.0]})
    first_losses = []
    for smoothing in (0.0, 0.4):
        model = make_model(problem_type="multi_label_classification", classifier_dropout=0.0)
        options = {"label_smoothing_factor": smoothing, "max_steps": 1, "datasets": (dataset, dataset)}
        trainer = make_trainer(tmp_path / str(smoothing), tokenizer, model=model, **options)
        trainer.train()
        first_losses.append(losses(trainer)[0])

    assert not [warning for warning in recwarn if "smoothing" in str(warning.message)]
    assert first_losses[0] != pytest.approx(first_losses[1], rel=1e-4)


@pytest.mark.parametrize("is_slow", [True, False])
def test_bf16_on_a_processor_without_it_is_warned_of(tmp_path, tokenizer, monkeypatch, caplog, is_slow):
    monkeypatch.setattr(trainer_module, "is_faster_in_float32", lambda dtype: is_slow)
    make_trainer(tmp_path, tokenizer, bf16=True, use_cpu=True)
    assert ("no instructions for bfloat16" in caplog.text) == is_slow


@pytest.mark.parametrize("name", ["fp16", "fp16_full_eval"])
def test_fp16_on_cpu_raises_and_names_bf16(tmp_path, tokenizer, name):
    with pytest.raises(InputError, match=rf"`{name}` is set.*`{name.replace('fp16', 'bf16')}`"):
        make_trainer(tmp_path, tokenizer, **{name: True})


def test_word_dropout_without_unknown_token_raises(tmp_path, tokenizer):
    tokenizer.unk_token = None
    with pytest.raises(InputError, match="`word_dropout` is 0.1"):
        make_trainer(tmp_path, tokenizer, word_dropout=0.1)


def test_word_dropout_replaces_words_in_training_only(tmp_path, tokenizer):
    trainer = make_trainer(tmp_path, tokenizer, word_dropout=0.9, max_steps=2)
    seen = []
    trainer.model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append((module.training, kwargs["input_ids"], kwargs["attention_mask"])),
        with_kwargs=True,
    )
    trainer.train()
    trainer.evaluate()

    shares = {mode: np.mean([(ids == 1).float().mean() for m, ids, _ in seen if m == mode]) for mode in (True, False)}
    assert shares[True] > 0.5
    assert shares[False] == 0
    padding = torch.cat([ids[mask == 0] for is_training, ids, mask in seen if is_training])
    assert len(padding) > 0 and (padding == 0).all()


def test_average_is_bias_corrected_mean_of_weights_after_each_step():
    layer = torch.nn.Linear(2, 1, bias=False)
    average = WeightAverageCallback(0.8)
    values = [3.0, -1.0, 5.0]
    for value in values:
        layer.weight.data.fill_(value)
        average.update(layer)
    shares = np.array([0.8**2, 0.8, 1.0])

    expected = (shares * values).sum() / shares.sum()
    assert average.average["weight"][0, 0].item() == pytest.approx(expected, rel=1e-5)
    with average.swapped_in(layer):
        assert layer.weight[0, 0].item() == pytest.approx(expected, rel=1e-5)
    assert layer.weight[0, 0].item() == 5.0


@pytest.mark.parametrize("dtype", [torch.float, torch.bfloat16])
def test_average_is_saved_in_full_precision_and_goes_on_from_there(tmp_path, dtype):
    layer, average, resumed = torch.nn.Linear(3, 2).to(dtype), WeightAverageCallback(0.8), WeightAverageCallback(0.8)
    average.save(tmp_path, layer)
    assert not any(tmp_path.iterdir())  # of an average that has not begun
    for _ in range(3):
        torch.nn.init.normal_(layer.weight)
        average.update(layer)
    average.save(tmp_path, layer)
    with average.swapped_in(layer):
        saved = copy.deepcopy(layer)
    resumed.load(tmp_path, saved)

    assert resumed.number_of_updates == 3
    for name, weight in layer.named_parameters():
        assert torch.equal(saved.get_parameter(name), weight)
        assert torch.equal(resumed.average[name], average.average[name])


@pytest.mark.parametrize("decay", [0.0, 1.0])
def test_decay_that_keeps_nothing_or_all_is_refused(decay):
    with pytest.raises(ValueError, match=f"`decay` is {decay}, but must be above 0 and below 1"):
        WeightAverageCallback(decay)


def test_average_is_of_trained_weights_which_return_where_evaluation_fails():
    layer, average = torch.nn.Linear(3, 2), WeightAverageCallback(0.8)
    layer.bias.requires_grad_(False)
    average.update(layer)
    assert list(average.average) == ["weight"]
    trained = torch.nn.init.ones_(layer.weight).clone()
    with pytest.raises(AssertionError, match="the average"), average.swapped_in(layer):
        assert torch.equal(layer.weight, trained), "the average"
    assert torch.equal(layer.weight, trained)


@pytest.mark.parametrize("best", [None, "checkpoint-3"])
def test_average_is_left_in_the_model_unless_that_is_the_best_and_begins_anew(best):
    layer, average = torch.nn.Linear(3, 2), WeightAverageCallback(0.8)
    average.update(layer)
    averaged, trained = layer.weight.detach().clone(), torch.nn.init.ones_(layer.weight).clone()
    average.on_train_begin(SimpleNamespace(), TrainerState(global_step=3), TrainerControl())
    assert average.number_of_updates == 1
    arguments = SimpleNamespace(load_best_model_at_end=True)
    average.on_train_end(arguments, TrainerState(best_model_checkpoint=best), TrainerControl(), model=layer)
    assert torch.equal(layer.weight, averaged if best is None else trained) and not average.average
    average.update(layer)
    average.on_train_begin(arguments, TrainerState(global_step=0), TrainerControl())
    assert average.number_of_updates == 0 and not average.average


def test_averaged_weights_are_evaluated_saved_and_left_in_the_model(tmp_path, tokenizer):
    trainer = make_trainer(
        tmp_path, tokenizer, weight_averaging=0.9, save_strategy="epoch", eval_strategy="epoch", num_train_epochs=2
    )
    trainer.train()
    evaluated = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    last = find_last_checkpoint(tmp_path)
    averaged, trained = load_file(last / "model.safetensors"), load_file(last / TRAINED_WEIGHTS_NAME)
    reloaded = LstmForSequenceClassification.from_pretrained(last)
    name = "classifier.weight"

    assert not torch.equal(averaged[name], trained[f"trained.{name}"])
    assert torch.equal(trainer.model.state_dict()[name], averaged[name])
    assert trainer.evaluate()["eval_loss"] == pytest.approx(evaluated[-1], rel=1e-6)
    assert torch.equal(reloaded.state_dict()[name], averaged[name])


def test_best_averaged_checkpoint_is_the_result(tmp_path, tokenizer):
    trainer = make_trainer(
        tmp_path,
        tokenizer,
        weight_averaging=0.9,
        save_strategy="epoch",
        eval_strategy="epoch",
        load_best_model_at_end=True,
        save_total_limit=None,
    )
    trainer.train()
    best = min(entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry)

    assert trainer.evaluate()["eval_loss"] == pytest.approx(best, rel=1e-6)


def test_resuming_with_averaging_from_run_without_raises(tmp_path, tokenizer):
    make_trainer(tmp_path, tokenizer, callbacks=[StopAt(3)]).train()
    trainer = make_trainer(tmp_path, tokenizer, weight_averaging=0.9)
    with pytest.raises(ValueError, match="trained without `weight_averaging`"):
        trainer.train(resume_from_checkpoint=True)


def test_collator_that_is_given_stays(tmp_path, tokenizer):
    arguments = make_trainer(tmp_path, tokenizer).args
    trainer = trainer_module.LstmTrainer(make_model(), arguments, data_collator=list, processing_class=tokenizer)
    assert trainer.data_collator is list


def test_hyperparameter_search_finds_a_run(tmp_path, tokenizer):
    def suggest(trial):
        return {
            "learning_rate": trial.suggest_float("learning_rate", 1e-4, 0.1, log=True),
            "label_smoothing_factor": trial.suggest_float("label_smoothing_factor", 0.0, 0.3),
        }

    trainer = make_trainer(
        tmp_path, tokenizer, model_init=lambda trial: make_model(), eval_strategy="epoch", num_train_epochs=1
    )
    best = trainer.hyperparameter_search(suggest, n_trials=2, backend="optuna", direction="minimize")

    assert set(best.hyperparameters) == {"learning_rate", "label_smoothing_factor"}


def test_hyperparameter_search_trains_each_trial_from_its_own_model(tmp_path, tokenizer):
    seen = []

    def model_init(trial=None):
        model = make_model()
        seen.append(model)
        return model

    trainer = make_trainer(
        tmp_path,
        tokenizer,
        model_init=model_init,
        weight_averaging=0.9,
        eval_strategy="epoch",
        save_strategy="epoch",
        num_train_epochs=1,
    )
    results = []
    for rate in (0.02, 1e-9):
        trainer.args.learning_rate = rate
        # The search's backends do the same between trials.
        trainer.model = None
        trainer.train()
        results.append(trainer.evaluate()["eval_loss"])

    assert len(seen) == 3
    assert results[0] != pytest.approx(results[1], rel=1e-4)
    assert results[1] == pytest.approx(make_trainer(tmp_path / "x", tokenizer).evaluate()["eval_loss"], rel=1e-5)


def test_stock_trainer_finds_only_the_labels_column():
    assert find_labels(LstmForSequenceClassification) == ["labels"]


def test_ngram_learning_rate_trains_only_the_ngram_classifier(tmp_path, tokenizer):
    model = make_model(classifier_ngram_orders=[1, 2], classifier_ngram_buckets=29)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    make_trainer(tmp_path, tokenizer, model, learning_rate=0.0, ngram_learning_rate=0.1, num_train_epochs=1).train()
    changed = {name for name, weight in model.named_parameters() if not torch.equal(weight, before[name])}
    assert changed == {"ngram_classifier.weight", "ngram_classifier.bias"}


def test_ngram_classifier_has_the_weight_decay_of_the_rest(tmp_path, tokenizer):
    model = make_model(classifier_ngram_orders=[1, 2], classifier_ngram_buckets=29)
    trainer = make_trainer(tmp_path, tokenizer, model, ngram_learning_rate=0.1, weight_decay=0.3)
    group = trainer.create_optimizer().param_groups[-1]
    assert (group["lr"], group["weight_decay"], len(group["params"])) == (0.1, 0.3, 2)
    assert trainer.create_optimizer().param_groups[-1] is group  # as training asks for it again


def test_ngram_learning_rate_without_an_ngram_classifier_raises(tmp_path, tokenizer):
    with pytest.raises(InputError, match=r"`ngram_learning_rate` is 0.1, but.*`classifier_ngram_orders`"):
        make_trainer(tmp_path, tokenizer, ngram_learning_rate=0.1).train()


def test_ngram_learning_rate_resumes_exactly(tmp_path, tokenizer):
    config = {"classifier_ngram_orders": [1, 2], "classifier_ngram_buckets": 29}
    whole = make_trainer(tmp_path / "whole", tokenizer, make_model(**config), ngram_learning_rate=0.1)
    whole.train()
    stopped = make_trainer(
        tmp_path / "parts", tokenizer, make_model(**config), callbacks=[StopAt(5)], ngram_learning_rate=0.1
    )
    stopped.train()
    resumed = make_trainer(tmp_path / "parts", tokenizer, make_model(**config), ngram_learning_rate=0.1)
    resumed.train(resume_from_checkpoint=str(tmp_path / "parts" / "checkpoint-5"))
    assert losses(resumed) == losses(whole)


def make_bert():
    config = BertConfig(
        vocab_size=VOCAB_SIZE, hidden_size=6, num_hidden_layers=1, num_attention_heads=2, intermediate_size=7
    )
    return BertForSequenceClassification(config)


def test_class_weights_for_a_model_that_does_not_take_them_raise(tmp_path, tokenizer):
    with pytest.raises(InputError, match="this model is a BertForSequenceClassification"):
        make_trainer(tmp_path, tokenizer, model=make_bert(), class_weights=["balanced"])


@pytest.mark.parametrize(
    ("make", "process_index", "num_left_over", "expected"),
    [
        (make_model, 0, 2, [1, 1, -100]),
        (make_model, 1, 4, [1, -100, -100]),
        (make_model, 1, 2, [-100, -100, -100]),
        (make_model, 0, 0, [1, 1, 1]),  # a whole batch
        (make_model, 0, -1, [1, 1, 1]),  # nobody knows
        (make_bert, 0, 2, [1, 1, 1]),
    ],
)
def test_what_fills_the_last_batch_loses_its_labels_with_models_of_this_package(
    tmp_path, tokenizer, make, process_index, num_left_over, expected, monkeypatch
):
    trainer = make_trainer(tmp_path, tokenizer, model=make())
    monkeypatch.setattr(type(trainer.accelerator), "process_index", process_index)
    monkeypatch.setattr(trainer, "_may_be_filled", lambda: True)
    monkeypatch.setattr(trainer, "_count_left_over", lambda global_batch_size: num_left_over)
    labels = torch.ones(3, dtype=torch.long)
    drawn = trainer._without_fillers({"labels": labels, "shift_labels": labels})

    assert drawn["labels"].tolist() == drawn["shift_labels"].tolist() == expected
    trainer.compute_loss_func = lambda outputs, labels, **kwargs: outputs.loss  # may know of no -100
    assert trainer._without_fillers({"labels": labels})["labels"].tolist() == [1, 1, 1]


# Each of two processes holds three examples; `None` stands for data whose number nobody knows beforehand.
@pytest.mark.parametrize(
    ("num_examples", "num_processes", "fills", "is_last", "expected"),
    [
        (8, 2, True, True, [1, 1, -100]),
        (12, 2, True, True, [1, 1, 1]),
        (None, 2, True, True, [1, -100, -100]),  # as accelerate has counted
        (8, 2, True, False, [1, 1, 1]),
        (8, 2, False, True, [1, 1, 1]),
        (8, 1, True, True, [1, 1, 1]),
    ],
)
def test_examples_that_fill_are_those_beyond_the_last_of_the_data(
    tmp_path, tokenizer, num_examples, num_processes, fills, is_last, expected, monkeypatch
):
    trainer = make_trainer(tmp_path, tokenizer, accelerator_config={"even_batches": fills})
    dataset = iter(()) if num_examples is None else range(num_examples)
    loader = SimpleNamespace(dataset=dataset, end_of_dataloader=is_last, remainder=1)
    monkeypatch.setattr(type(trainer.accelerator), "num_processes", num_processes)
    monkeypatch.setattr(type(trainer.accelerator.gradient_state), "active_dataloader", loader)
    drawn = trainer._without_fillers({"labels": torch.ones(3, dtype=torch.long)})

    assert drawn["labels"].tolist() == expected


@pytest.mark.parametrize(("drops_last", "expected"), [(False, [1, 1, -100]), (True, [1, 1, 1])])
def test_last_batch_of_those_that_must_be_whole_keeps_its_labels(
    tmp_path, tokenizer, drops_last, expected, monkeypatch
):
    trainer = make_trainer(tmp_path, tokenizer, dataloader_drop_last=drops_last)
    monkeypatch.setattr(trainer, "_may_be_filled", lambda: True)
    monkeypatch.setattr(trainer, "_count_left_over", lambda global_batch_size: 2)
    batch = {"input_ids": torch.full((3, 1), 4), "labels": torch.ones(3, dtype=torch.long)}
    (drawn,), _ = trainer.get_batch_samples(iter([batch]), 1, trainer.args.device)

    assert drawn["labels"].tolist() == expected


@pytest.mark.parametrize(("make", "expected"), [(make_model, 7.0), (make_bert, None)])
def test_evaluation_loss_is_averaged_over_processes_with_models_of_this_package(
    tmp_path, tokenizer, make, expected, monkeypatch
):
    trainer = make_trainer(tmp_path, tokenizer, model=make().eval())
    monkeypatch.setattr(type(trainer.args), "world_size", 2)
    monkeypatch.setattr(trainer, "_average_over_labels", lambda loss, inputs: torch.tensor(7.0))
    inputs = {"input_ids": torch.full((3, 2), 4), "labels": torch.ones(3, dtype=torch.long)}
    loss, _, _ = trainer.prediction_step(trainer.model, inputs, prediction_loss_only=True)

    assert loss == (trainer.model(**inputs).loss if expected is None else expected)


def test_process_without_labels_leaves_the_evaluation_loss_to_the_others(tmp_path, tokenizer, monkeypatch):
    trainer = make_trainer(tmp_path, tokenizer)
    monkeypatch.setattr(trainer.accelerator, "reduce", lambda sums, how: sums + torch.tensor([6.0, 3.0]))
    inputs = {"labels": torch.full((3,), -100)}

    assert trainer._average_over_labels(torch.tensor(float("nan")), inputs) == 2.0


def test_evaluation_loss_weighs_a_process_by_the_shifted_labels_where_they_are_given(tmp_path, tokenizer, monkeypatch):
    trainer = make_trainer(tmp_path, tokenizer)
    monkeypatch.setattr(trainer.accelerator, "reduce", lambda sums, how: sums + torch.tensor([6.0, 3.0]))
    inputs = {"labels": torch.ones(1, 3), "shift_labels": torch.tensor([[1, -100, -100]])}

    assert trainer._average_over_labels(torch.tensor(4.0), inputs) == (4 * 1 + 6) / (1 + 3)


@pytest.mark.parametrize("spares_scores", [False, True])
def test_language_model_smooths_labels_as_the_stock_trainer_does(tmp_path, tokenizer, spares_scores):
    def make_language_model():
        torch.manual_seed(2)
        return LstmForCausalLM(LstmConfig(vocab_size=VOCAB_SIZE, hidden_size=6, embedding_size=5))

    def collate(rows):
        batch = tokenizer.pad([{"input_ids": row["input_ids"]} for row in rows], return_tensors="pt")
        return dict(batch, labels=batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100))

    options = {"label_smoothing_factor": 0.3, "train_sampling_strategy": "sequential", "max_steps": 3}
    ours = make_trainer(tmp_path / "ours", tokenizer, make_language_model(), **options)
    # The stock trainer would need them to smooth labels.
    ours.data_collator = lambda rows: collate(rows) | ({"output_logits": False} if spares_scores else {})
    known = {name: value for name, value in vars(ours.args).items() if name in TrainingArguments.__dataclass_fields__}
    arguments = TrainingArguments(**{name: value for name, value in known.items() if not name.startswith("_")})
    stock = Trainer(make_language_model(), arguments, train_dataset=ours.train_dataset, data_collator=collate)
    assert ours.label_smoother is None and stock.label_smoother is not None
    ours.train()
    stock.train()
    for name, weight in ours.model.state_dict().items():
        torch.testing.assert_close(weight, stock.model.state_dict()[name], atol=1e-5, rtol=1e-4)
    assert "eval_loss" in ours.evaluate()


def test_adaptive_softmax_leaves_label_smoothing_to_the_stock_trainer(tmp_path, tokenizer):
    config = LstmConfig(
        vocab_size=VOCAB_SIZE, hidden_size=8, adaptive_softmax_cutoffs=[6], adaptive_softmax_div_value=2
    )
    trainer = make_trainer(tmp_path, tokenizer, LstmForCausalLM(config), label_smoothing_factor=0.1)
    assert trainer.label_smoother is not None


def test_label_smoothing_for_another_model_is_left_to_the_stock_trainer(tmp_path, tokenizer):
    trainer = make_trainer(tmp_path, tokenizer, model=make_bert(), label_smoothing_factor=0.1, max_steps=1)
    trainer.train()
    assert trainer.label_smoother is not None
    assert trainer.state.global_step == 1


def test_compiled_training_gives_the_same_losses_and_checkpoints(tmp_path, tokenizer):
    arguments = {"max_steps": 3, "save_strategy": "steps", "save_steps": 3}
    plain = make_trainer(tmp_path / "plain", tokenizer, **arguments)
    plain.train()
    torch.compiler.reset()
    compiled = make_trainer(
        tmp_path / "compiled", tokenizer, torch_compile=True, torch_compile_backend="aot_eager", **arguments
    )
    compiled.train()
    assert losses(compiled) == pytest.approx(losses(plain), rel=1e-5)
    saved, expected = (
        load_file(tmp_path / run / "checkpoint-3" / "model.safetensors") for run in ("compiled", "plain")
    )
    assert list(saved) == list(expected)
    for name, weight in expected.items():
        torch.testing.assert_close(saved[name], weight, rtol=1e-4, atol=1e-5)
