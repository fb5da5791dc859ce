"""
Trains two models on built-in data and shows what they can do: one tells thirty languages apart by the names of things,
the other turns dates in these languages into ISO 8601.

    python scripts/demo.py
    python scripts/demo.py --output_dir my_folder --num_train_epochs 2
    python scripts/demo.py --parts dates
"""

import sys

from hf_lstm.data.checks import InputError
from hf_lstm.training.demo import main

if __name__ == "__main__":
    try:
        print(main().summary())
    except InputError as error:
        sys.exit(f"error: {error}")
