"""Tiny data, models and trainers for the tests of training."""

import numpy as np
import torch
from datasets import Dataset
from transformers import TrainerCallback

from hf_lstm import LstmConfig, LstmForSequenceClassification
from hf_lstm.training.arguments import LstmTrainingArguments
from hf_lstm.training.trainer import LstmTrainer

VOCAB_SIZE = 13
SETTINGS = {
    "per_device_train_batch_size": 4,
    "per_device_eval_batch_size": 7,
    "num_train_epochs": 3,
    "eval_strategy": "no",
    "save_strategy": "no",
    "load_best_model_at_end": False,
    "learning_rate": 0.02,
    "logging_steps": 1,
    "use_cpu": True,
    "disable_tqdm": True,
}


def make_dataset(num_rows=45, seed=1):
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, 9, num_rows)
    rows = [generator.integers(4, VOCAB_SIZE, length).tolist() for length in lengths]
    return Dataset.from_dict({"input_ids": rows, "length": lengths, "labels": [int(max(row) > 10) for row in rows]})


def make_model(**config):
    torch.manual_seed(2)
    values = {"hidden_size": 6, "embedding_size": 5, "bidirectional": True, "classifier_dropout": 0.2} | config
    return LstmForSequenceClassification(LstmConfig(vocab_size=VOCAB_SIZE, num_labels=2, **values))


def make_trainer(directory, tokenizer, model=None, callbacks=None, datasets=None, **arguments):
    values = SETTINGS | arguments
    train, dev = datasets or (make_dataset(), make_dataset(17, seed=5))
    model_arguments = {"model": model or make_model()} if "model_init" not in values else {}
    if "model_init" in values:
        model_arguments = {"model_init": values.pop("model_init")}
    return LstmTrainer(
        args=LstmTrainingArguments(output_dir=str(directory), **values),
        train_dataset=train,
        eval_dataset=dev,
        processing_class=tokenizer,
        callbacks=callbacks,
        **model_arguments,
    )


class StopAt(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            control.should_save = True
            control.should_training_stop = True


def losses(trainer):
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
