import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, BertConfig, BertForSequenceClassification

from hf_lstm import LstmForConditionalGeneration, LstmSeq2SeqConfig
from hf_lstm.data.checks import InputError
from hf_lstm.models.tokenization_lstm import LstmTokenizer
from tests.training.tasks.seq2seq.factories import write_json, write_lines

SCRIPT = Path(__file__).parents[4] / "scripts" / "train_seq2seq.py"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--num_beams", "0"], "`num_beams` is 0, but must be at least 1"),
        (["--generation_num_beams", "0"], "`generation_num_beams` is 0, but must be at least 1"),
        (["--bridge_type", "copy", "--encoder_layers", "2"], r"`bridge_type` 'copy' .* are \(14, 2\), .* \(14, 1\)"),
        (["--attention_type", "luong_dott"], "`attention_type` is 'luong_dott'"),
        (["--encoder_hidden_sise", "8"], "no argument --encoder_hidden_sise. Did you mean 'encoder_hidden_size'"),
        (["--metric_name", "bluu"], "There is no metric 'bluu'. Did you mean 'bleu'"),
        (["--bleu_tokenize", "zhh"], "`bleu_tokenize` is 'zhh'"),
        (["--task", "translate"], "translate"),
        (["--validation_target_file", "x.en"], "--validation_target_file is given without --validation_file"),
        (["--train_target_file", "{files}/train.en.gz"], "--train_target_file goes with a file of the sources"),
        (["--fp16", "true"], "`fp16` is set, but PyTorch's LSTM cannot be trained in fp16 on the CPU"),
        (["--generation_max_length", "20"], "pass --max_target_length instead"),
        (["--max_target_length", "1"], "`max_target_length` is 1, but must be at least 2"),
        (["--max_source_length", "1"], "`max_source_length` is 1, but must be at least 2"),
        (["--target_column_name", "targte"], "no column 'targte'.*Did you mean 'target'"),
        (["--model_name_or_path", "no/where"], "The model 'no/where' cannot be loaded"),
        (["--tokenizer_name_or_path", "no/where"], "No tokenizer can be loaded"),
        (["--predict_file", "{files}/new.txt", "--no_predict_with_generate"], "--predict_file is given, but --no_"),
        (["--no_do_train"], "Without training, the tokenizer comes from a trained model"),
        (["--min_frequency", "999"], "No tokenizer can be trained"),
        (["--early_stopping_patience", "2", "--validation_split_percentage", "0"], "no validation data"),
    ],
)  # fmt: skip
def test_bad_argument_is_an_error_before_training(train, files, no_training, args, message):
    args = [arg.format(files=files) for arg in args]
    with pytest.raises(InputError, match=message):
        train("--train_file", files / "train.jsonl", *args)


def test_files_of_unequal_length_are_an_error(train, files, tmp_path, no_training):
    shorter = write_lines(tmp_path / "short.en", ["A"] * 89)
    with pytest.raises(InputError, match=r"train\.de' has 90 lines but .*short\.en' has 89"):
        train("--train_file", files / "train.de", "--train_target_file", shorter)


def test_wrong_language_key_is_an_error(train, tmp_path, no_training):
    path = write_json(tmp_path / "train.jsonl", [{"translation": {"de": "a", "en": "b"}}] * 9)
    with pytest.raises(InputError, match="has no language 'dee', only 'de', 'en'. Did you mean 'de'"):
        train("--train_file", path, "--source_lang", "dee", "--target_lang", "en")


@pytest.mark.parametrize("lacking", ["pad", "bos"])
def test_vocabulary_without_a_special_token_is_an_error(
    train, files, two_vocabularies, tmp_path, no_training, lacking
):
    tokenizer = LstmTokenizer.train_from_iterator(
        ["a A"], algorithm="word", min_frequency=1, add_eos=True, show_progress=False
    )
    setattr(tokenizer, f"{lacking}_token", None)
    if lacking == "bos":
        tokenizer.save_pretrained(tmp_path / "tokenizer")
        values = json.loads((tmp_path / "tokenizer" / "tokenizer_config.json").read_text())
        assert values.get("bos_token") is None
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    with pytest.raises(InputError, match=f"has no {'padding' if lacking == 'pad' else lacking} token"):
        train("--train_file", files / "train.jsonl", "--tokenizer_name_or_path", tmp_path / "tokenizer")


def test_target_vocabulary_that_lacks_a_special_token_is_an_error(
    train, files, two_vocabularies, tmp_path, no_training
):
    folder = tmp_path / "tokenizer"
    AutoTokenizer.from_pretrained(two_vocabularies).save_pretrained(folder)
    file = folder / "target_tokenizer.json"
    file.write_text(file.read_text().replace("</s>", "<end>"))
    with pytest.raises(InputError, match="target.*</s>"):
        train("--train_file", files / "train.jsonl", "--tokenizer_name_or_path", folder)


def test_model_of_another_architecture_is_an_error(train, files, tmp_path, no_training):
    config = BertConfig(vocab_size=13, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=6)
    BertForSequenceClassification(config).save_pretrained(tmp_path / "bert")
    with pytest.raises(InputError, match=r"is of the architecture 'bert', but must be 'hf_lstm_seq2seq'"):
        train("--train_file", files / "train.jsonl", "--model_name_or_path", tmp_path / "bert")


def test_size_that_does_not_fit_the_trained_weights_is_an_error(translator, train, files, no_training):
    with pytest.raises(InputError, match=r"do not fit the architecture asked for: "):
        train(
            *("--train_file", files / "train.jsonl", "--model_name_or_path", translator[0]),
            *("--decoder_hidden_size", 16, "--encoder_hidden_size", 16),
        )


def test_tokenizer_beyond_the_trained_vocabulary_is_an_error(translator, train, files, tmp_path, no_training):
    tokenizer = AutoTokenizer.from_pretrained(translator[0])
    tokenizer.add_tokens(["extra"])
    tokenizer.save_pretrained(tmp_path / "larger")
    with pytest.raises(InputError, match=r"The tokenizer has 23 source tokens, but the model .* knows only 22"):
        train(
            *("--train_file", files / "train.jsonl", "--model_name_or_path", translator[0]),
            *("--tokenizer_name_or_path", tmp_path / "larger"),
        )


def test_generating_with_no_beams_is_an_error(translator):
    model = AutoModelForSeq2SeqLM.from_pretrained(translator[0])
    with pytest.raises(ValueError, match="`num_beams` is 0, but must be at least 1"):
        model.generate(torch.tensor([[5]]), num_beams=0)


def test_generating_without_a_limit_stops_after_twenty_tokens_with_a_warning():
    sizes = {"encoder_hidden_size": 4, "encoder_embedding_size": 3, "decoder_hidden_size": 4}
    config = LstmSeq2SeqConfig(vocab_size=13, eos_token_id=None, decoder_embedding_size=3, **sizes)
    with pytest.warns(UserWarning, match="`max_new_tokens`"):
        ids = LstmForConditionalGeneration(config).generate(torch.tensor([[5, 6]]))
    assert ids.shape == (1, 21)


def test_script_prints_one_line_for_bad_input(tmp_path):
    command = [sys.executable, str(SCRIPT), "--train_file", str(tmp_path / "none.de"), "--output_dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=SCRIPT.parents[1])
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: The file ") and "Traceback" not in done.stderr
