"""What of a model's folder is not uploaded, whoever uploads it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers.utils import hf_api

# Checkpoints hold the optimizer's state, which is larger than the model; hidden files are unfinished ones. The
# arguments and the state of a training have local paths, and so may what trackers log. Predictions repeat the texts
# that they are of, and their settings where these came from.
_LEFT_BEHIND = (
    *("checkpoint-*", ".*", "training_args.bin", "trainer_state.json", "runs/*", "wandb/*"),
    *("predictions.csv", "*.jsonl", "*.settings.json"),
)
# Below the folder as well, where a demonstration leaves further models.
IGNORED = (*_LEFT_BEHIND, *(f"*/{pattern}" for pattern in _LEFT_BEHIND))


@contextmanager
def leaving_behind() -> Iterator[None]:
    """Makes `Trainer`, which has a list of its own, leave `IGNORED` out of its uploads other than checkpoints."""
    api: Any = hf_api()
    upload = api.upload_folder

    def upload_rest(**options: Any) -> Any:
        if options.get("path_in_repo") is None:  # else a checkpoint, whole, which `hub_strategy` asks for
            options["ignore_patterns"] = [*(options.get("ignore_patterns") or ()), *IGNORED]
        return upload(**options)

    api.upload_folder = upload_rest
    try:
        yield
    finally:
        del api.upload_folder
