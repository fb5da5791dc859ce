"""
Trains a classifier on built-in data, names in thirty languages, and shows what it can do.

    python scripts/demo.py
    python scripts/demo.py --output_dir my_folder --num_train_epochs 3
"""

import sys

from hf_lstm.data.checks import InputError
from hf_lstm.training.demo import main

if __name__ == "__main__":
    try:
        print(main().summary())
    except InputError as error:
        sys.exit(f"error: {error}")
