"""
Trains on a stream, in a process of its own, and records the memory and the processor's time at every few steps.

    python benchmarks/scale/training_run.py FOLDER

`job.json` in the folder says what to do; each rank writes `result-RANK.json` there at its end, and until then
`unfinished-result-RANK.json`. `run.py` starts this program.
"""

import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for the imports from `benchmarks`

import torch
from transformers import PreTrainedModel, Seq2SeqTrainingArguments, TrainerCallback

from benchmarks.common.jobs import JOB, read_json, write_json
from benchmarks.common.memory import resident_memory
from benchmarks.scale.corpus import LABELS, NUM_WORDS
from hf_lstm import (
    LstmConfig,
    LstmForConditionalGeneration,
    LstmForSequenceClassification,
    LstmSeq2SeqConfig,
    LstmTokenizer,
)
from hf_lstm.data.pair_tokenization import encode_pairs
from hf_lstm.data.streams import Columns, ExampleStream, stream_files
from hf_lstm.data.tokenization import encode_texts
from hf_lstm.training.seq2seq_trainer import LstmSeq2SeqTrainer
from hf_lstm.training.trainer import LstmTrainer

MEBIBYTE = 2**20
WIDTH = 64


class Recorder(TrainerCallback):
    """
    Records the memory and the processor's time, and writes them out each time, for a long run may be stopped.

    Args:
        path (`Path`): The file, which is there once training is over; until then `unfinished-` stands before its name.
        job (`dict[str, Any]`): What is done, written along.
        tokens_per_step (`int`): Tokens that this rank trains on in a step.
        interval (`int`): Steps between two records.
    """

    def __init__(self, path: Path, job: dict[str, Any], tokens_per_step: int, interval: int):
        self.path = path
        self.job = job
        self.tokens_per_step = tokens_per_step
        self.interval = interval
        self.records: list[dict[str, float]] = []

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        self._record(0)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % self.interval == 0 or state.global_step == state.max_steps:
            self._record(state.global_step)

    def on_train_end(self, *args: Any, **kwargs: Any) -> None:
        self._unfinished.replace(self.path)

    @property
    def _unfinished(self) -> Path:
        return self.path.with_name(f"unfinished-{self.path.name}")

    def _record(self, step: int) -> None:
        self.records.append(
            {
                "tokens": step * self.tokens_per_step,
                "mebibytes": resident_memory() / MEBIBYTE,
                "processor_seconds": time.process_time(),
                "seconds": time.perf_counter(),
            }
        )
        write_json(self._unfinished, self.job | {"records": self.records})


def classify(columns: Columns, tokenizer: LstmTokenizer) -> Columns:
    """Encodes texts with labels."""
    labels = [LABELS.index(label) for label in columns["label"]]
    return {"labels": labels} | encode_texts(columns, tokenizer, max_length=4096)


def translate(columns: Columns, tokenizer: LstmTokenizer) -> Columns:
    """Encodes pairs of texts."""
    pairs = {"source": columns["text"], "target": columns["target"]}
    return encode_pairs(pairs, tokenizer, {"text": 4096, "text_target": 4096}, source_prefix="")


def build_model(kind: str, tokenizer: LstmTokenizer) -> PreTrainedModel:
    """Builds a tiny model, for the data are measured and not the model."""
    torch.manual_seed(0)
    if kind == "classifier":
        sizes = {"vocab_size": len(tokenizer), "embedding_size": WIDTH // 2, "hidden_size": WIDTH}
        config = LstmConfig(**sizes, bidirectional=True, classifier_pooling="max", num_labels=len(LABELS))
        return LstmForSequenceClassification(config)
    sides = {
        f"{side}_{size}": WIDTH // 2 for side in ("encoder", "decoder") for size in ("embedding_size", "hidden_size")
    }
    ids = {"bos_token_id": tokenizer.bos_token_id, "decoder_start_token_id": tokenizer.bos_token_id}
    config = LstmSeq2SeqConfig(vocab_size=len(tokenizer), share_embeddings=True, **sides, **ids)
    return LstmForConditionalGeneration(config)


def train(job: dict[str, Any], folder: Path) -> None:
    """Trains as the job says, and writes what was recorded into the folder."""
    is_classifier = job["kind"] == "classifier"
    words = (f"{letter}{number}" for letter in "wv" for number in range(NUM_WORDS))
    tokenizer = LstmTokenizer.train_from_iterator(words, algorithm="word", min_frequency=1, add_eos=not is_classifier)
    num_ranks = int(os.environ.get("WORLD_SIZE", 1))
    tokens_per_step = job["batch_size"] * job["length"] * (1 if is_classifier else 2)
    path = folder / f"result-{os.environ.get('RANK', 0)}.json"
    recorder = Recorder(path, job | {"num_ranks": num_ranks}, tokens_per_step, job["interval"])
    arguments = Seq2SeqTrainingArguments(
        output_dir=str(folder / "model"),
        max_steps=max(job["num_tokens"] // (tokens_per_step * num_ranks), 2),
        per_device_train_batch_size=job["batch_size"],
        learning_rate=1e-3,
        optim="adamw_torch_fused",
        save_strategy="no",
        logging_steps=10**9,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        ddp_backend="gloo" if num_ranks > 1 else None,
        dataloader_pin_memory=False,
    )
    stream = ExampleStream(
        stream_files(job["pattern"]),
        partial(classify if is_classifier else translate, tokenizer=tokenizer),
        batch_size=job["batch_size"],
        window_size=job["window_size"],
        rank=arguments.process_index,
        num_ranks=num_ranks,
    )
    trainer = (LstmTrainer if is_classifier else LstmSeq2SeqTrainer)(
        build_model(job["kind"], tokenizer),
        arguments,
        train_dataset=stream,
        processing_class=tokenizer,
        callbacks=[recorder],
    )
    if trainer.args.world_size != num_ranks:
        raise SystemExit(f"There are {trainer.args.world_size} ranks, but {num_ranks} were asked for.")
    trainer.train()


if __name__ == "__main__":
    run_folder = Path(sys.argv[1])
    train(read_json(run_folder / JOB), run_folder)
