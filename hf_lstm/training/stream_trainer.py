"""Training on endless data: feeds a Trainer from an `ExampleStream`, and resumes it at the exact example."""

import json
from pathlib import Path
from typing import Any

import torch
from accelerate.data_loader import prepare_data_loader
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..data.checks import InputError
from ..data.streams import ExampleStream, StreamBatch

PLACE = "stream_place"


class StreamTrainerMixin(Trainer):
    """
    Lets `train_dataset` be an `ExampleStream`.

    A checkpoint holds, for each rank, the place in the stream after the last batch that was trained on, whatever was
    read ahead. A resumed run starts there, reads at most one window again, and trains on the same batches as one that
    was never stopped.

    Raises:
        InputError: If several workers are to read one stream.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.stream_place: str | None = None
        if self._stream is None:
            return
        if self.args.dataloader_num_workers > 1:
            raise InputError(
                f"`dataloader_num_workers` is {self.args.dataloader_num_workers}, but one process reads a stream, in "
                "order. Pass 1 to read ahead while the model trains, or 0."
            )
        # Trainer would read everything again from the beginning; the stream itself goes on where it was.
        self.args.ignore_data_skip = True
        self.add_callback(StreamEpochCallback)

    @property
    def _stream(self) -> ExampleStream | None:
        return self.train_dataset if isinstance(self.train_dataset, ExampleStream) else None

    def get_train_dataloader(self) -> DataLoader:
        """Makes the loader of the training data; a stream is sharded by rank already and makes its own batches."""
        if self._stream is None:
            return super().get_train_dataloader()
        has_workers = self.args.dataloader_num_workers > 0
        collate: Any = StreamCollator(self.data_collator, self._stream)
        loader = DataLoader(
            self._stream,
            batch_size=None,
            collate_fn=collate,
            num_workers=self.args.dataloader_num_workers,
            prefetch_factor=self.args.dataloader_prefetch_factor if has_workers else None,
            pin_memory=self.args.dataloader_pin_memory,
            # Its own, or else a resumed run would draw once more from the random numbers that dropout takes.
            generator=torch.Generator(),
        )
        return prepare_data_loader(
            loader,
            self.accelerator.device,
            num_processes=1,
            process_index=0,
            put_on_device=True,
            dispatch_batches=False,
        )

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> tuple[list, torch.Tensor | int | None]:
        """Takes the batches of an optimizer step, and remembers the place in the stream after them."""
        batches, num_items = super().get_batch_samples(*args, **kwargs)
        if self._stream is not None:
            for batch in batches:
                self.stream_place = batch.pop(PLACE)
        return batches, num_items

    def _place_file(self, checkpoint: str) -> Path:
        return Path(checkpoint) / f"{PLACE}_{self.args.process_index}.json"

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        if self._stream is not None:
            self._place_file(output_dir).write_text(f"{self.stream_place}\n", encoding="utf-8")

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if self._stream is not None and checkpoint is not None:
            path = self._place_file(checkpoint)
            if not path.exists():
                raise InputError(
                    f"The checkpoint {checkpoint!r} has no {path.name}, the place in the stream, which is saved by "
                    "runs with --streaming and without --save_only_model. Pass --restart to start over."
                )
            self._stream.load_state_dict(json.loads(path.read_text(encoding="utf-8")))
        super()._load_rng_state(checkpoint)


class StreamCollator:
    """
    Collates what an `ExampleStream` yields, and hands the place in the stream on, as JSON under `stream_place`.

    Args:
        collator (`Callable`): Makes a batch of a list of examples.
        stream (`ExampleStream`): The stream.
    """

    def __init__(self, collator: Any, stream: ExampleStream):
        self.collator = collator
        self.stream = stream

    def __call__(self, batch: StreamBatch) -> dict[str, Any]:
        """Makes a batch."""
        return dict(self.collator(batch.examples)) | {PLACE: json.dumps(self.stream.state_dict(batch.place))}


class StreamEpochCallback(TrainerCallback):
    """Counts epochs as the share of all steps, for an endless epoch does not start over where a run is resumed."""

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        state.epoch = state.global_step / state.max_steps
