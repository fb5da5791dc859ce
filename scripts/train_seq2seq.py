"""
Trains an LSTM encoder–decoder that translates, summarises, or turns texts into other texts.

    python scripts/train_seq2seq.py --task translation --train_file train.de --train_target_file train.en \
        --validation_file val.de --validation_target_file val.en --output_dir my_translator
    python scripts/train_seq2seq.py --task summarization --train_file articles.jsonl --output_dir my_summarizer
    python scripts/train_seq2seq.py recipe.yaml --seed 2
"""

import sys

from hf_lstm.data.checks import InputError
from hf_lstm.training.tasks.seq2seq import main

if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
