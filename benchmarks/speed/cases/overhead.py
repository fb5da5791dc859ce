"""What `Trainer` and `generate` cost beside bare loops over the same model."""

import copy
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch.nn.utils import clip_grad_norm_
from torch.utils.data import DataLoader

from benchmarks.speed.cases.generation import OUTPUT_LENGTH, SENTENCES, Work, make_ours
from benchmarks.speed.models import DROPOUTS, count_parameters, load_classifier, load_translator
from benchmarks.speed.texts import choose_texts, labelled_texts
from benchmarks.speed.variants import Runner, Section, Setup, Variant

TITLE = "Overhead of Trainer and of generate"
BATCH_SIZE, STEPS = 50, 834  # as many as the recorded training on SST-2 had, in six epochs
LEARNING_RATE = 1e-3
BARE = "bare loop"


class Training:
    """
    The classifier and the texts that it is trained on, from the same weights each time.

    Args:
        setup (`Setup`): What the run is set up with.
    """

    def __init__(self, setup: Setup):
        from hf_lstm import LstmForSequenceClassification

        loaded = load_classifier(setup)
        self.setup, self.tokenizer, self.origin = setup, loaded.tokenizer, loaded.origin
        config = copy.deepcopy(loaded.model.config)
        for name in (*DROPOUTS, "classifier", "ngram", "classifier_ngram"):
            setattr(config, f"{name}_dropout", 0.0)  # both loops must come to the same weights
        self.model = LstmForSequenceClassification(config)
        self.initial = copy.deepcopy(loaded.model.state_dict())
        self.batch_size, self.steps = (4, 3) if setup.quick else (BATCH_SIZE, STEPS)

    @cache  # noqa: B019  # it lives as long as the process
    def dataset(self, seed: int) -> Any:
        """Returns the tokens and labels of a seed's texts."""
        from datasets import Dataset

        texts = choose_texts(labelled_texts(self.setup.data).train, self.batch_size * self.steps, seed)
        labels = [len(text) % 2 for text in texts]
        return Dataset.from_dict({"input_ids": self.tokenizer(texts)["input_ids"], "labels": labels})

    def loader(self, seed: int) -> DataLoader:
        """Returns the batches that `LstmTrainer` makes of a seed's texts."""
        from hf_lstm.data.collators import LstmDataCollator
        from hf_lstm.training.sampler import LengthGroupedSampler, count_tokens

        dataset = self.dataset(seed)
        sampler = LengthGroupedSampler(count_tokens(dataset), self.batch_size, seed)
        return DataLoader(dataset, self.batch_size, sampler=sampler, collate_fn=LstmDataCollator(self.tokenizer))

    def make_runner(self, train: Any) -> Runner:
        """Makes a runner of a training loop, whose output are the weights that it comes to."""

        def run(seed: int) -> None:
            self.model.load_state_dict(self.initial)
            self.model.train()
            train(seed)

        def outputs(seed: int) -> dict[str, np.ndarray]:
            run(seed)
            weights = [parameter.detach().flatten() for parameter in self.model.parameters()]
            return {"trained weights": torch.cat(weights).numpy()}

        return Runner(run, count_parameters(self.model), outputs, describe=f"classifier: {self.origin}")


def make_trainer(setup: Setup) -> Runner:
    """Makes a runner of `LstmTrainer`."""
    from hf_lstm.training.arguments import LstmTrainingArguments
    from hf_lstm.training.trainer import LstmTrainer

    training = Training(setup)

    def train(seed: int) -> None:
        arguments = LstmTrainingArguments(
            output_dir=str(setup.scratch / "trainer"),
            num_train_epochs=1,
            per_device_train_batch_size=training.batch_size,
            learning_rate=LEARNING_RATE,
            weight_decay=0.0,
            warmup_steps=0,
            eval_strategy="no",
            save_strategy="no",
            load_best_model_at_end=False,
            disable_tqdm=True,
            use_cpu=True,
            seed=seed,
        )
        LstmTrainer(
            training.model, arguments, train_dataset=training.dataset(seed), processing_class=training.tokenizer
        ).train()

    return training.make_runner(train)


def make_bare_training(setup: Setup) -> Runner:
    """Makes a runner of a bare loop over the same batches, with the same optimizer, schedule and clipping."""
    from transformers import get_scheduler

    training = Training(setup)
    model = training.model

    def train(seed: int) -> None:
        loader = training.loader(seed)
        optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0, fused=True)
        schedule = get_scheduler("linear", optimizer, num_warmup_steps=0, num_training_steps=len(loader))
        for batch in loader:
            model(**batch).loss.backward()
            clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()

    return training.make_runner(train)


def make_loading(setup: Setup) -> Runner:
    """Makes a runner that only loads and collates the batches of the bare loop."""
    training = Training(setup)

    def run(seed: int) -> None:
        for _ in training.loader(seed):
            pass

    return Runner(run)


def make_bare_generation(work: Work) -> Runner:
    """Makes a runner of a bare greedy loop over the model's own steps."""
    from hf_lstm.models.prepacking_lstm import fixed_parameters

    loaded = load_translator(work.setup)
    model, tokenizer = loaded.model, loaded.tokenizer

    @torch.inference_mode()
    @fixed_parameters()
    def generate(sentences: list[str], length: int = work.length) -> torch.Tensor:
        encoded = tokenizer(sentences, padding=True, return_tensors="pt")
        start = model.config.decoder_start_token_id
        token = torch.full((len(sentences), 1), start)
        outputs = model(**encoded, decoder_input_ids=token, use_cache=True)
        tokens, state = [outputs.logits[:, -1:].argmax(dim=-1)], outputs.cache
        for _ in range(length - 1):
            hidden_states, _ = model.model.decoder.step(tokens[-1], state)
            tokens.append(model.lm_head(hidden_states).argmax(dim=-1))
        return torch.cat(tokens, dim=1)

    def outputs(seed: int) -> dict[str, np.ndarray]:
        return {"tokens": generate(work.batches(seed)[0]).numpy()}

    return work.make_runner(generate, count_parameters(model), outputs=outputs)


def sections(setup: Setup) -> list[Section]:
    """Lists the sections: `Trainer`, and `generate` at two batch sizes."""
    steps = 4 * 3 if setup.quick else BATCH_SIZE * STEPS
    found = [
        Section(
            "Trainer",
            "training texts",
            lambda seed: float(steps),
            [
                Variant("ours", partial(make_trainer, setup), "LstmTrainer, group_by_length", reference=BARE),
                Variant(
                    BARE, partial(make_bare_training, setup), "same batches and optimizer", remark="the reference"
                ),
                Variant(
                    "loading alone",
                    partial(make_loading, setup),
                    "the batches of both, not trained on",
                    remark="a part of the work",
                ),
            ],
            note="The classifier without dropout, trained for as many steps as for the recorded result; the making of "
            "the Trainer included. The ratio to *loading alone* is the share of the time that goes into loading and "
            "collating.",
            most_rounds=len(setup.seeds),
        )
    ]
    length = 4 if setup.quick else OUTPUT_LENGTH
    for batch_size in (1, 32):
        num_batches = 1 if batch_size > 1 or setup.quick else SENTENCES
        work = Work(setup, batch_size, num_batches, 1, length)
        found.append(
            Section(
                f"generate, batch {batch_size}",
                "written tokens",
                work.count,
                [
                    Variant("ours", partial(make_ours, work), "generate", reference=BARE, tolerance=0.0),
                    Variant(BARE, partial(make_bare_generation, work), "step and argmax", remark="the reference"),
                ],
                note=f"Greedy, {length} tokens for each sentence; tokenising is timed on both sides.",
            )
        )
    return found
