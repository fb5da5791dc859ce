"""`hf-lstm push`: uploads a saved folder to the Hub."""

import argparse
import json
import logging
from pathlib import Path

from ..data.checks import InputError, listing
from .parser import SWITCH, CommandParser, add_command, required

logger = logging.getLogger(__name__)

_DESCRIPTION = """\
Uploads the folder of a saved model to a repository of the Hub, which is made if there is none. Checkpoints of the
training, its arguments and state (training_args.bin, trainer_state.json), what trackers logged (runs, wandb),
predictions of texts (predictions.csv, *.jsonl and their *.settings.json) and hidden files stay behind. The example of
a card that training wrote loads the model from that repository from then on.

The access token is that of `hf auth login`, or of the variable HF_TOKEN."""
_EXAMPLES = """\
  hf-lstm push my_classifier user/my_classifier --private
  hf-lstm push my_classifier user/my_classifier --revision v2 --commit_message "Trained on more data"
  hf-lstm push my_classifier other/their_classifier --create_pr"""


def register(commands: "argparse._SubParsersAction[CommandParser]") -> None:
    """Adds the command."""
    parser = add_command(commands, "push", run, "Upload a saved model to the Hub.", _DESCRIPTION, _EXAMPLES)
    parser.add_argument("folder", nargs="?", metavar="FOLDER", help="Folder of a saved model.")
    parser.add_argument("repo_id", nargs="?", metavar="REPOSITORY", help="Its name on the Hub, such as user/my_model.")
    parser.add_argument("--private", **SWITCH, help="Whether a new repository can be seen by its owner alone.")
    parser.add_argument("--revision", help="Branch to upload to, made if there is none; main by default.")
    parser.add_argument("--create_pr", **SWITCH, help="Whether to open a pull request in place of a commit.")
    parser.add_argument("--commit_message", help="The commit's message, or the pull request's title.")
    parser.add_argument("--ignore_patterns", nargs="*", default=[], help="Further files to leave out, such as *.png.")


def run(arguments: argparse.Namespace) -> None:
    """Uploads the folder, and prints the address of the commit or pull request."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # of the library below

    from ..hub.model_card import name_repository
    from ..hub.uploads import IGNORED

    folder = Path(required(arguments, "folder", "FOLDER, a saved model's,"))
    repo_id = required(arguments, "repo_id", "REPOSITORY, a name on the Hub such as user/my_model,")
    if arguments.create_pr and arguments.revision is not None:
        raise InputError("--create_pr opens a pull request against main: leave --revision out.")
    if arguments.create_pr and arguments.private:
        raise InputError("--create_pr opens a pull request in a repository that is there: leave --private out.")
    check_folder(folder)
    api = HfApi()
    try:
        if not arguments.create_pr:
            repo_id = api.create_repo(repo_id, private=arguments.private, exist_ok=True).repo_id
            if arguments.revision is not None:
                api.create_branch(repo_id, branch=arguments.revision, exist_ok=True)
        if not name_repository(folder, repo_id):
            logger.warning(
                "The card of %s does not say how to load the model from %s: `hf-lstm card` rewrites it.",
                *(folder, repo_id),
            )
        commit = api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            commit_message=arguments.commit_message or f"Upload {folder.resolve().name}",
            revision=arguments.revision,
            create_pr=bool(arguments.create_pr),
            ignore_patterns=[*IGNORED, *arguments.ignore_patterns],
        )
    except (HTTPError, OSError, ValueError) as error:
        # OSErrors include that there is no token or no network; ValueErrors are about names and the card's metadata.
        reason = " ".join(str(error).split())
        raise InputError(f"{str(folder)!r} cannot be uploaded to {repo_id!r}: {reason}") from error
    print(commit.pr_url or commit.commit_url)


def check_folder(folder: Path) -> None:
    """
    Makes sure that a folder holds a whole model of this package.

    Raises:
        InputError: If it does not.
    """
    from ..models.configuration_lstm import LstmConfig, LstmSeq2SeqConfig
    from ..training.checkpoints import check_model_folder

    if not folder.is_dir():
        raise InputError(f"{str(folder)!r} is no folder. Name the folder of a saved model, such as my_model.")
    try:
        model_type = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError, RecursionError):
        model_type = None  # what is wrong is said below
    known = (LstmConfig.model_type, LstmSeq2SeqConfig.model_type)
    check_model_folder(folder, model_type if model_type in known else known[0])
    root = folder.resolve()
    strays = sorted(str(path) for path in folder.rglob("*") if not path.resolve().is_relative_to(root))
    if strays:
        raise InputError(
            f"{listing(strays, 5)} leads out of the folder, so that an upload would publish what stands elsewhere. "
            "Copy that file into the folder, or remove the link."
        )
