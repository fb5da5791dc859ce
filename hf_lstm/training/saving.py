"""Saving of models and checkpoints that are whole or not there at all, and what of them goes to the Hub."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard
from safetensors import SafetensorError
from torch import nn
from transformers import Trainer

from ..data.checks import InputError
from ..hub.model_card import CARD_TAG
from ..hub.uploads import leaving_behind
from .checkpoints import find_damage, record_file_sizes
from .common_arguments import UnsavedToken

_GIBIBYTE = 2**30
_UNFINISHED = ".saving-"
_OPTIMIZER_COPIES = 2
# How torch.save reports a full disk: as a RuntimeError of its archive writer, from where it fails first.
_ARCHIVE_WRITERS = ("PytorchStreamWriter", "inline_container")


class SavingMixin(Trainer):
    """
    Makes a Trainer save safely: what it writes is moved to its place once it is whole.

    Checkpoints and uploads do without the access token, and uploads without what `hf-lstm push` leaves behind.
    """

    # The weights themselves, and two moments of each in the optimizer.
    num_copies_saved = 1 + _OPTIMIZER_COPIES

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if self.args.hub_token is not None:
            self.args.hub_token = UnsavedToken(self.args.hub_token)

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        """
        Writes the model's files.

        Raises:
            OSError: If the disk is full or cannot be written to; nothing half-written remains.
        """
        # Here and not in `save_model`, which uploads as well: an upload that fails is no lack of room.
        target = Path(self.args.output_dir if output_dir is None else output_dir)
        try:
            self._save_whole(target, state_dict)
        except (OSError, SafetensorError) as error:
            raise _SavingError(target, error) from error

    def _save_whole(self, target: Path, state_dict: dict | None) -> None:
        if not self.args.should_save:
            super()._save(str(target), state_dict)
            return
        target.mkdir(parents=True, exist_ok=True)
        for path in target.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(path)  # left by a process that was killed
        with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=target) as directory:
            super()._save(directory, state_dict)
            for path in sorted(Path(directory).iterdir()):
                if (target / path.name).is_dir():
                    shutil.rmtree(target / path.name)
                os.replace(path, target / path.name)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        folder = Path(self._get_output_dir(trial)) / f"checkpoint-{self.state.global_step}"
        if self.args.should_save and folder.exists():
            # Of an earlier run, whose states must not be taken for those of this one.
            shutil.rmtree(folder)
        self.accelerator.wait_for_everyone()
        try:
            super()._save_checkpoint(model, trial)
        except (OSError, SafetensorError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not any(name in str(error) for name in _ARCHIVE_WRITERS):
                raise
            if self.args.should_save:
                if find_damage(folder) is None:
                    raise  # what failed is an upload
                shutil.rmtree(folder, ignore_errors=True)
            raise error if isinstance(error, _SavingError) else _SavingError(folder, error) from error

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        # From here on, the checkpoint lacks only the trainer's state; then older ones may be deleted.
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            record_file_sizes(output_dir)

    def push_to_hub(self, *args: Any, **kwargs: Any) -> Any:
        """Uploads the output folder as `Trainer` does, except for what `hf-lstm push` leaves behind."""
        with leaving_behind():
            return super().push_to_hub(*args, **kwargs)

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        # The stock trainer copies weights and configuration into what is pushed, but not the code that this names.
        if self.is_world_process_zero():
            for path in Path(checkpoint_folder).glob("*.py"):
                shutil.copy(path, self.args.output_dir)
        with leaving_behind():
            super()._push_from_checkpoint(checkpoint_folder)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Drafts a model card as `Trainer` does, unless the folder has one that this package has written."""
        path = Path(self.args.output_dir) / "README.md"
        is_ours = path.exists() and CARD_TAG in (ModelCard.load(path).data.tags or ())
        if not is_ours:
            super().create_model_card(*args, **kwargs)

    def _check_free_space(self) -> None:
        """Makes sure that the disk holds the checkpoints that are kept, and the one that is being written."""
        weights = sum(weight.numel() * weight.element_size() for weight in self.model.parameters())
        copies = self.num_copies_saved - (_OPTIMIZER_COPIES if self.args.save_only_model else 0)
        # The best one is kept beside the last one, whatever the limit.
        least = 1 if self.args.metric_for_best_model is None else 2
        # Without a limit their number is not known; three show whether there is room at all.
        num_checkpoints = max(self.args.save_total_limit or 2, least) + 1
        needed = weights * copies * num_checkpoints
        free = shutil.disk_usage(self.args.output_dir).free
        if free < needed:
            raise InputError(
                f"{num_checkpoints} checkpoints need about {needed / _GIBIBYTE:.3g} GiB, but only "
                f"{free / _GIBIBYTE:.3g} GiB are free at {str(self.args.output_dir)!r}. Free some, pass "
                "another output_dir, or pass save_only_model or a smaller save_total_limit."
            )


class _SavingError(OSError):
    """Says what could not be saved, and what to do."""

    def __init__(self, path: Path, error: Exception):
        free = shutil.disk_usage(path.parent).free / _GIBIBYTE if path.parent.exists() else 0
        super().__init__(
            f"Saving to {str(path)!r} failed: {error}. Nothing half-written is left there; {free:.3g} GiB are free. "
            "Make room, then resume from the last checkpoint."
        )
