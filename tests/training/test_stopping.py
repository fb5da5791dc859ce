import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from datasets import Dataset
from transformers import TrainerCallback, TrainingArguments

from hf_lstm import LstmConfig, LstmForSequenceClassification, LstmTokenizer
from hf_lstm.training.arguments import LstmTrainingArguments
from hf_lstm.training.checkpoints import find_last_checkpoint, list_checkpoints
from hf_lstm.training.stopping import LstmEarlyStoppingCallback, TerminationCallback
from hf_lstm.training.trainer import LstmTrainer

WORDS = ["a", "b", "c", "d", "e", "f", "g"]
STEPS_PER_EPOCH = 5


@pytest.fixture(scope="module")
def tokenizer():
    return LstmTokenizer.train_from_iterator([" ".join(WORDS)], min_frequency=1, show_progress=False)


def make_dataset(tokenizer, num_rows, seed):
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.randint(len(WORDS), (length,), generator=generator) for length in range(1, num_rows + 1)]
    texts = [" ".join(WORDS[number] for number in row[:9]) for row in rows]
    return Dataset.from_dict({**tokenizer(texts), "labels": [int(row[0] > 3) for row in rows]})


@pytest.fixture
def make_trainer(tmp_path, tokenizer):
    def make(folder="model", callbacks=(), **arguments):
        torch.manual_seed(2)
        config = LstmConfig(
            vocab_size=len(tokenizer), embedding_size=5, hidden_size=6, num_labels=2, classifier_dropout=0.2
        )
        values = {
            "per_device_train_batch_size": 3,
            "num_train_epochs": 4,
            "eval_strategy": "epoch",
            "save_strategy": "epoch",
            "metric_for_best_model": "loss",
            "save_total_limit": 9,
            "learning_rate": 0.02,
            "word_dropout": 0.1,
            "weight_averaging": 0.8,
            "logging_steps": 1,
            "use_cpu": True,
            "disable_tqdm": True,
        } | arguments
        return LstmTrainer(
            LstmForSequenceClassification(config),
            LstmTrainingArguments(output_dir=str(tmp_path / folder), **values),
            train_dataset=make_dataset(tokenizer, 3 * STEPS_PER_EPOCH, seed=1),
            eval_dataset=make_dataset(tokenizer, 7, seed=2),
            processing_class=tokenizer,
            callbacks=list(callbacks),
        )

    return make


class At(TrainerCallback):
    """Does something after a step, as it comes to be done from outside."""

    def __init__(self, step, action):
        self.step, self.action = step, action

    def on_optimizer_step(self, args, state, control, **kwargs):
        if state.global_step + 1 == self.step:
            self.action()


class Killed(BaseException):
    """Ends a run as suddenly as one can within a process."""


def ask_to_end():
    os.kill(os.getpid(), signal.SIGTERM)


def kill():
    raise Killed


def history(trainer):
    """Returns what was logged, except for times."""
    names = ("step", "loss", "eval_loss")
    entries = [{name: entry[name] for name in names if name in entry} for entry in trainer.state.log_history]
    return [entry for entry in entries if len(entry) == 2]


def assert_same(trainer, expected):
    assert history(trainer) == history(expected)
    for name, weight in expected.model.state_dict().items():
        assert torch.equal(weight, trainer.model.state_dict()[name]), name


# Within an epoch, at the end of one, after the first and after the last step of all.
@pytest.mark.parametrize("step", [1, 7, 10, 20])
def test_terminated_run_saves_exits_and_resumes_exactly(make_trainer, tmp_path, step):
    expected = make_trainer("undisturbed")
    expected.train()
    with pytest.raises(SystemExit) as exit_info:
        make_trainer(callbacks=[At(step, ask_to_end)]).train()
    assert exit_info.value.code == 143
    assert find_last_checkpoint(tmp_path / "model").name == f"checkpoint-{step}"
    resumed = make_trainer()
    resumed.train(resume_from_checkpoint=True)
    assert_same(resumed, expected)


def test_terminated_run_saves_even_where_no_checkpoints_were_asked_for(make_trainer, tmp_path):
    trainer = make_trainer(
        callbacks=[At(8, ask_to_end)], save_strategy="no", eval_strategy="no", load_best_model_at_end=False
    )
    with pytest.raises(SystemExit):
        trainer.train()
    assert [path.name for path in list_checkpoints(tmp_path / "model")] == ["checkpoint-8"]


def test_only_checkpoint_that_is_kept_survives_termination(make_trainer, tmp_path):
    with pytest.raises(SystemExit):
        make_trainer(callbacks=[At(12, ask_to_end)], save_total_limit=1).train()
    assert find_last_checkpoint(tmp_path / "model").name == "checkpoint-12"


# Checkpoints are due after each step, also after the last one of an epoch, which is evaluated only then.
SAVING_BEFORE_EVALUATION = {"save_strategy": "steps", "save_steps": 1, "load_best_model_at_end": False}
SAVING_BEFORE_EVALUATION |= {"save_total_limit": None, "num_train_epochs": 2}


@pytest.mark.parametrize(("step", "more"), [(5, {}), (10, {}), (8, {"max_steps": 8})])
def test_run_that_is_terminated_at_the_end_of_an_epoch_evaluates_it_first(make_trainer, step, more):
    arguments = SAVING_BEFORE_EVALUATION | more
    expected = make_trainer("undisturbed", **arguments)
    expected.train()
    with pytest.raises(SystemExit):
        make_trainer(callbacks=[At(step, ask_to_end)], **arguments).train()
    resumed = make_trainer(**arguments)
    resumed.train(resume_from_checkpoint=True)
    assert_same(resumed, expected)


@pytest.mark.parametrize("step", [4, 5, 6])
def test_run_resumed_from_any_step_evaluates_every_epoch(make_trainer, tmp_path, step):
    expected = make_trainer(**SAVING_BEFORE_EVALUATION)
    expected.train()
    assert [path.name for path in list_checkpoints(tmp_path / "model")] == [f"checkpoint-{n}" for n in range(1, 11)]
    resumed = make_trainer("resumed", **SAVING_BEFORE_EVALUATION)
    resumed.train(resume_from_checkpoint=str(tmp_path / "model" / f"checkpoint-{step}"))
    assert_same(resumed, expected)


def test_signal_is_handled_as_before_after_training(make_trainer):
    make_trainer(num_train_epochs=1).train()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    with pytest.raises(Killed):
        make_trainer(callbacks=[At(2, kill)]).train()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_program_that_handles_the_signal_itself_keeps_doing_so(make_trainer):
    received = []
    signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    try:
        trainer = make_trainer(callbacks=[At(2, ask_to_end)], num_train_epochs=1)
        trainer.train()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    assert received == [signal.SIGTERM] and trainer.state.global_step == STEPS_PER_EPOCH


def test_signal_too_late_for_a_checkpoint_ends_that_training_alone(tmp_path):
    callback, arguments = TerminationCallback(), TrainingArguments(str(tmp_path), use_cpu=True)
    with pytest.raises(SystemExit) as exit_info, callback.listening(arguments):
        ask_to_end()
    assert exit_info.value.code == 143
    with callback.listening(arguments):
        assert not callback.is_signalled


def test_training_in_another_thread_leaves_the_signal_alone(tmp_path):
    arguments = TrainingArguments(str(tmp_path), use_cpu=True)

    def handler():
        with TerminationCallback().listening(arguments):
            return signal.getsignal(signal.SIGTERM)

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(handler).result() is signal.SIG_DFL


# The loss gets no better than at the first evaluation.
STOPPING_EARLY = {"learning_rate": 1e-12, "weight_averaging": 0, "num_train_epochs": 7}


@pytest.mark.parametrize("step", [8, 12, 15])
def test_early_stopping_counts_on_after_resumption(make_trainer, step):
    def callbacks(*others):
        return [LstmEarlyStoppingCallback(2), *others]

    expected = make_trainer("undisturbed", callbacks(), **STOPPING_EARLY)
    expected.train()
    assert 10 <= expected.state.global_step < 35
    with pytest.raises((Killed, SystemExit)):
        make_trainer("model", callbacks(At(step, kill if step < 15 else ask_to_end)), **STOPPING_EARLY).train()
    resumed = make_trainer("model", callbacks(), **STOPPING_EARLY)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == expected.state.global_step
    assert_same(resumed, expected)


def test_early_stopping_counts_anew_in_a_second_training(make_trainer):
    trainer = make_trainer(callbacks=[LstmEarlyStoppingCallback(1)], **STOPPING_EARLY)
    for _ in range(2):
        assert trainer.train().global_step == 2 * STEPS_PER_EPOCH


def test_early_stopping_may_be_asked_for_at_resumption(make_trainer):
    with pytest.raises(Killed):
        make_trainer(callbacks=[At(7, kill)]).train()
    resumed = make_trainer(callbacks=[LstmEarlyStoppingCallback(1)])
    resumed.train(resume_from_checkpoint=True)
    assert "LstmEarlyStoppingCallback" in resumed.state.stateful_callbacks


def test_run_that_was_over_within_an_epoch_makes_no_more_steps(make_trainer):
    expected = make_trainer(max_steps=13)
    expected.train()
    resumed = make_trainer(max_steps=13)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == 13
    assert_same(resumed, expected)
