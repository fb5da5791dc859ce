"""`hf-lstm tokenizer train`: trains a tokenizer on text files."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from ..data.checks import InputError, check_output_directory
from .parser import SWITCH, CommandParser, add_command, required, whole_number

ALGORITHMS = ("auto", "word", "char", "bpe", "unigram", "wordpiece")
NORMALIZATIONS = ("nfkc", "none")
_EXAMPLES = """\
  hf-lstm tokenizer train corpus.txt --output_dir my_tokenizer
  hf-lstm tokenizer train reviews.csv more.parquet --text_column_names title text --output_dir my_tokenizer
  hf-lstm tokenizer train train.de train.en --algorithm bpe --vocab_size 8000 --no_lowercase --add_eos \\
      --output_dir my_tokenizer"""


def register(commands: "argparse._SubParsersAction[CommandParser]") -> None:
    """Adds the command."""
    group = commands.add_parser(
        "tokenizer", help="Train a tokenizer on your own texts.", description="Makes tokenizers."
    )
    parser = add_command(
        group.add_commands(),
        "train",
        run,
        "Train a tokenizer on text files.",
        "Trains an LstmTokenizer on the texts of files, and saves it to --output_dir.",
        _EXAMPLES,
    )
    parser.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="Texts: csv, tsv, json, jsonl or parquet, or a file of any other ending with a text in each line; also "
        "gzipped.",
    )
    parser.add_argument("--output_dir", help="Folder to save the tokenizer to.")
    parser.add_argument("--text_column_names", nargs="*", help="Columns of the texts; text or sentence by default.")
    parser.add_argument("--file_encoding", default="utf-8", help="How text is written in the files (utf-8).")
    parser.add_argument(
        "--algorithm",
        choices=ALGORITHMS,
        default="auto",
        help="How text is cut. auto, the default: word where words stand between spaces, char for Chinese, Japanese "
        "and other scripts without spaces.",
    )
    parser.add_argument("--vocab_size", type=whole_number(1), default=30000, help="Tokens at most (30000).")
    parser.add_argument("--min_frequency", type=whole_number(1), default=2, help="How often a token must occur (2).")
    parser.add_argument("--lowercase", **SWITCH, help="Whether case is ignored, as it is by default.")
    parser.add_argument(
        "--no_lowercase", dest="lowercase", action="store_false", default=None, help="Whether case matters."
    )
    parser.add_argument("--normalization", choices=NORMALIZATIONS, default="nfkc", help="Of Unicode: nfkc or none.")
    parser.add_argument("--add_bos", **SWITCH, help="Whether <s> is put before each text.")
    parser.add_argument("--add_eos", **SWITCH, help="Whether </s> is put after each text.")
    parser.add_argument("--model_max_length", type=whole_number(1), help="Tokens of a text that truncation keeps.")


def run(arguments: argparse.Namespace) -> None:
    """Trains and saves the tokenizer."""
    from ..data.tokenization import choose_algorithm
    from ..models.tokenization_lstm import LstmTokenizer

    files = required(arguments, "files", "A FILE with texts")
    output_dir = check_output_directory(required(arguments, "output_dir", "--output_dir, the folder to save to,"))
    if any(output_dir.glob("*.safetensors")):
        raise InputError(
            f"`output_dir` is {str(output_dir)!r}, which holds the weights of a model: with another tokenizer, they "
            "would be of no use. Pass another --output_dir."
        )
    texts = [text for file in files for text in _read_texts(Path(file), arguments)]
    algorithm = choose_algorithm(texts) if arguments.algorithm == "auto" else arguments.algorithm
    try:
        tokenizer = LstmTokenizer.train_from_iterator(
            texts,
            vocab_size=arguments.vocab_size,
            algorithm=algorithm,
            lowercase=arguments.lowercase is not False,
            normalization=None if arguments.normalization == "none" else arguments.normalization,
            min_frequency=arguments.min_frequency,
            add_bos=bool(arguments.add_bos),
            add_eos=bool(arguments.add_eos),
            model_max_length=arguments.model_max_length,
        )
    except ValueError as error:
        raise InputError(f"No tokenizer can be trained on these texts. {error}") from error
    tokenizer.save_pretrained(output_dir)
    print(f"Saved a {algorithm} tokenizer of {len(tokenizer)} tokens, trained on {len(texts)} texts, to {output_dir}.")


def _read_texts(file: Path, arguments: argparse.Namespace) -> Iterator[str]:
    """Yields the texts of a file, column by column."""
    from ..data.columns import select_texts
    from ..data.loading import load_file
    from ..data.pairs import COLUMN_FILE_ENDINGS
    from ..data.text_files import read_lines

    endings = [suffix.lower() for suffix in file.suffixes if suffix.lower() != ".gz"]
    if not endings or endings[-1] not in COLUMN_FILE_ENDINGS:
        yield from read_lines(file, arguments.file_encoding)
        return
    dataset = load_file(file, arguments.file_encoding)
    for name in arguments.text_column_names or [None]:
        texts = select_texts(dataset, file.name, None if name is None else [name])
        yield from texts["text"]
