"""
Trains an LSTM encoder–decoder that translates, summarises, or turns texts into other texts.

    python scripts/train_seq2seq.py --task translation --train_file train.de --train_target_file train.en \
        --validation_file val.de --validation_target_file val.en --output_dir my_translator
    python scripts/train_seq2seq.py --task summarization --train_file articles.jsonl --output_dir my_summarizer
    python scripts/train_seq2seq.py recipe.yaml --seed 2
"""

from hf_lstm.training.processes import run_script
from hf_lstm.training.tasks.seq2seq import main

if __name__ == "__main__":
    run_script(main)
