"""`hf-lstm generate`: writes text with a saved model, and shows it while it is being written."""

import argparse
import itertools
import logging
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..data.checks import InputError
from .parser import (
    SWITCH,
    CommandParser,
    add_command,
    add_generation_flags,
    add_model_flags,
    numbered_seed,
    required,
    whole_number,
)

if TYPE_CHECKING:
    from transformers import BatchEncoding, GenerationConfig

    from .inference.saved_model import SavedModel

_DESCRIPTION = """\
Writes a text for each text: an encoder-decoder its translation, summary or such, a language model its continuation,
after the text itself.

Texts are arguments or, a text in each line, standard input. Words appear as they are written, unless there are several
beams or results. For a file of texts, `hf-lstm predict` is faster.

Processes that torchrun or accelerate launch starts share the texts, and write the same without showing words early."""
# Texts that several processes share before their results are printed.
_PIECE_SIZE = 256
_EXAMPLES = """\
  hf-lstm generate my_translator "Ein Hund läuft." --num_beams 5
  hf-lstm generate my_language_model "The film" --do_sample --top_p 0.9 --temperature 0.8 --max_new_tokens 50
  cat questions.txt | hf-lstm generate my_model"""


def register(commands: "argparse._SubParsersAction[CommandParser]") -> None:
    """Adds the command."""
    parser = add_command(commands, "generate", run, "Write text with a model.", _DESCRIPTION, _EXAMPLES)
    add_model_flags(parser)
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="What to start from; standard input by default.")
    parser.add_argument("--file_encoding", default="utf-8", help="How text is written in standard input (utf-8).")
    parser.add_argument("--no_stream", **SWITCH, help="Whether a result appears as a whole.")
    add_generation_flags(parser)
    parser.add_argument(
        "--num_return_sequences", type=whole_number(1), default=1, help="Results for each text, a line each (1)."
    )


def run(arguments: argparse.Namespace) -> None:
    """Prints what the model writes."""
    from transformers import set_seed

    from .inference.predictor import given_generation, make_generation_config
    from .inference.processes import SharedWork
    from .inference.rows import check_output, read_standard_input
    from .inference.saved_model import CAUSAL, SEQ2SEQ, load_saved_model

    _check_texts(arguments.texts)
    name = required(arguments, "model", "MODEL, a folder or a name on the Hub,")
    options = given_generation(arguments)
    saved = load_saved_model(name, "generate", (SEQ2SEQ, CAUSAL), arguments.revision, arguments.device)
    config = make_generation_config(saved.model, options | {"num_return_sequences": arguments.num_return_sequences})

    def work(numbered: list[tuple[int, str]], progress: Callable[[int], Any]) -> tuple[list[str], int]:
        results, num_cut = [], 0
        for number, text in numbered:
            if not text.strip():
                results += [""] * config.num_return_sequences
                continue
            set_seed(numbered_seed(arguments.seed, number))
            encoding = _encode(saved, text)
            num_cut += bool(encoding.encodings[0].overflowing)
            results += _generate(saved, encoding, config, streams)
        return results, num_cut

    shared = SharedWork(work)
    is_alone = shared.num_processes == 1
    streams = is_alone and not arguments.no_stream and config.num_beams == 1 and config.num_return_sequences == 1
    with shared as share:
        if share is None:
            return
        if not arguments.texts:
            check_output(None, None)
        texts: Iterable[str] = arguments.texts or read_standard_input(arguments.file_encoding)
        numbered, piece_size = enumerate(texts), 1 if is_alone else _PIECE_SIZE
        num_texts = num_cut = 0
        while piece := list(itertools.islice(numbered, piece_size)):
            num_texts += len(piece)
            for part, count in share(piece):
                num_cut += count
                for result in part:
                    print(result, flush=True)
    if num_cut:
        logging.getLogger(__name__).warning(
            "%d of %d texts were cut to %d tokens; `hf-lstm predict` reads more of them with --max_length.",
            num_cut,
            num_texts,
            saved.reading_limit(None),
        )


def _check_texts(texts: Sequence[str]) -> None:
    """Raises an `InputError` for an argument with bytes that the locale's encoding does not know."""
    for number, text in enumerate(texts, start=1):
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise InputError(
                f"Text {number} is {text!a}, which is not written in the encoding of the system's locale "
                f"({sys.getfilesystemencoding()}). Give it on standard input, and its encoding with --file_encoding."
            ) from None


def _generate(saved: "SavedModel", encoding: "BatchEncoding", config: "GenerationConfig", streams: bool) -> list[str]:
    """Returns the results for one text, or prints the only one while it is written."""
    import torch
    from transformers import TextStreamer

    from ..models.tokenization_lstm import find_target_tokenizer
    from .inference.predictor import generate_tokens

    # Stop strings and streamed tokens are those of the target.
    target_tokenizer = find_target_tokenizer(saved.tokenizer)
    options: dict[str, Any] = {"generation_config": config, "tokenizer": target_tokenizer}
    if streams:
        options["streamer"] = TextStreamer(target_tokenizer, skip_special_tokens=True)
    with torch.inference_mode():
        written = generate_tokens(saved.model, **encoding.to(saved.model.device), **options)
    return [] if streams else target_tokenizer.batch_decode(written, skip_special_tokens=True)


def _encode(saved: "SavedModel", text: str) -> "BatchEncoding":
    """
    Tokenises a text, with the model's prefix.

    What a language model continues is read to its end, however long it is, and must not end with an end token.
    """
    from .inference.saved_model import SEQ2SEQ

    tokenizer = saved.tokenizer
    prefix = getattr(saved.model.config, "prefix", None) or ""
    limit = saved.reading_limit(None) if saved.kind == SEQ2SEQ else None
    encoding = tokenizer(
        [prefix + text],
        truncation=limit is not None,
        max_length=limit,
        return_tensors="pt",
        return_token_type_ids=False,
        verbose=False,
    )
    if saved.kind == SEQ2SEQ:
        return encoding
    tokens = encoding["input_ids"][0].tolist()
    num_ends = sum(1 for _ in itertools.takewhile(lambda token: token == tokenizer.eos_token_id, reversed(tokens)))
    for name in encoding:
        encoding[name] = encoding[name][:, : len(tokens) - num_ends]
    if encoding["input_ids"].shape[1] == 0:
        raise InputError(f"The text {text!r} has no tokens that the model {saved.name!r} could continue.")
    return encoding
