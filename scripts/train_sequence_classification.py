"""
Trains an LSTM that classifies texts.

    python scripts/train_sequence_classification.py --train_file train.csv --test_file test.csv --output_dir my_model
    python scripts/train_sequence_classification.py recipe.yaml --seed 2
"""

from hf_lstm.training.processes import run_script
from hf_lstm.training.tasks.sequence_classification import main

if __name__ == "__main__":
    run_script(main)
