"""
Trains two models on built-in data and shows what they can do: one tells thirty languages apart by the names of things,
the other turns dates in these languages into ISO 8601.

    python scripts/demo.py
    python scripts/demo.py --output_dir my_folder --num_train_epochs 2
    python scripts/demo.py --parts dates
"""

from hf_lstm.training.demo import main
from hf_lstm.training.processes import run_script

if __name__ == "__main__":
    run_script(lambda: print(main().summary()))
