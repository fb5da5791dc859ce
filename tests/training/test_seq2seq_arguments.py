from dataclasses import fields

import pytest
from transformers import GenerationConfig

from hf_lstm.data.checks import InputError
from hf_lstm.models.configuration_lstm import LstmSeq2SeqConfig
from hf_lstm.training.parsing import ArgumentReader
from hf_lstm.training.seq2seq_arguments import (
    LstmSeq2SeqTrainingArguments,
    Seq2SeqDataArguments,
    Seq2SeqModelArguments,
)

PARTS = (Seq2SeqModelArguments, Seq2SeqDataArguments, LstmSeq2SeqTrainingArguments)


def test_every_architecture_field_of_the_configuration_is_an_argument():
    set_by_other_parts = {
        *("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"),
        *("use_cache", "is_encoder_decoder", "encoder_vocab_size", "prefix"),
    }
    own = set(LstmSeq2SeqConfig.__annotations__) - set_by_other_parts
    assert own <= {field.name for field in fields(Seq2SeqModelArguments)}


def test_config_values_are_those_which_the_user_set():
    arguments = Seq2SeqModelArguments(vocab_size=17, encoder_layers=2, input_feeding=False, shared_vocabulary=False)
    assert arguments.config_values() == {"encoder_layers": 2, "input_feeding": False}


def test_argument_names_are_all_different():
    names = [field.name for part in PARTS for field in fields(part)]
    assert len(names) == len(set(names))


def test_files_and_an_output_folder_are_all_that_is_needed(tmp_path):
    _, data, training = ArgumentReader(PARTS).read(["--train_file", "train.csv", "--output_dir", str(tmp_path)])
    assert (data.train_file, data.task, data.num_beams, data.source_prefix) == ("train.csv", "text2text", None, "")
    assert training.do_train and training.predict_with_generate and training.use_cache
    assert (training.generation_num_beams, training.label_smoothing_factor) == (1, 0.1)
    assert (training.lr_scheduler_type, training.train_sampling_strategy) == ("cosine", "group_by_length")


def test_switches_are_turned_off_by_their_flags(tmp_path):
    flags = ["--no_shared_vocabulary", "--no_predict_with_generate", "--no_do_train", "--output_dir", str(tmp_path)]
    model, _, training = ArgumentReader(PARTS).read(flags)
    assert not (model.shared_vocabulary or training.predict_with_generate or training.do_train)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"max_length": 129}),
        ({"num_beams": 4, "length_penalty": 0.6}, {"max_length": 129, "num_beams": 4, "length_penalty": 0.6}),
        ({"num_beams": 1}, {"max_length": 129, "num_beams": 1, "length_penalty": None, "early_stopping": None}),
        ({"max_target_length": 7, "no_repeat_ngram_size": 0}, {"max_length": 8, "no_repeat_ngram_size": None}),
    ],
)
def test_generation_of_a_pretrained_model_changes_where_asked(tmp_path, given, expected):
    own = {"num_beams": 9, "length_penalty": 2.0, "early_stopping": True, "no_repeat_ngram_size": 7}
    config = GenerationConfig(max_new_tokens=5, **own)
    Seq2SeqDataArguments(**given).set_generation(config)
    assert config.max_new_tokens is None
    assert {name: getattr(config, name) for name in (*own, "max_length")} == own | expected
    # What cannot be saved would be an error after training.
    config.save_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "smallest"),
    [
        ("max_source_length", 0, 1),
        ("max_target_length", 1, 2),
        ("num_beams", 0, 1),
        ("no_repeat_ngram_size", -1, 0),
        ("noise_shuffle_distance", -1, 0),
        ("num_attention_plots", -1, 0),
    ],
)
def test_number_below_its_range_is_an_error(name, value, smallest):
    with pytest.raises(InputError, match=f"`{name}` is {value}, but must be at least {smallest}"):
        Seq2SeqDataArguments(**{name: value})
    Seq2SeqDataArguments(**{name: smallest, "task": "autoencode"})


@pytest.mark.parametrize("value", [-0.1, 1.0])
def test_noise_that_is_no_share_is_an_error(value):
    with pytest.raises(InputError, match=f"`noise_word_dropout` is {value}, but is a share"):
        Seq2SeqDataArguments(task="autoencode", noise_word_dropout=value)


@pytest.mark.parametrize("noise", [{"noise_word_dropout": 0.1}, {"noise_shuffle_distance": 2}])
def test_noise_is_for_autoencoding_alone(noise):
    with pytest.raises(InputError, match="are for --task autoencode, but `task` is 'translation'"):
        Seq2SeqDataArguments(task="translation", **noise)
    Seq2SeqDataArguments(task="autoencode", **noise)


@pytest.mark.parametrize("name", ["train", "validation", "test"])
def test_target_file_without_its_source_file_is_an_error(name):
    with pytest.raises(InputError, match=f"--{name}_target_file is given without --{name}_file"):
        Seq2SeqDataArguments(**{f"{name}_target_file": "a.en"})


def test_target_column_of_an_autoencoder_is_an_error():
    with pytest.raises(InputError, match=r"`target_column_name` is 'title', but with --task autoencode"):
        Seq2SeqDataArguments(task="autoencode", target_column_name="title")
    Seq2SeqDataArguments(task="autoencode", source_column_name="title")


def test_equal_languages_are_an_error():
    with pytest.raises(InputError, match="are both 'de', but must differ"):
        Seq2SeqDataArguments(source_lang="de", target_lang="de")
    Seq2SeqDataArguments()


def test_length_of_evaluations_alone_is_an_error(tmp_path):
    with pytest.raises(InputError, match="`generation_max_length` is 9, .* --max_target_length"):
        LstmSeq2SeqTrainingArguments(output_dir=str(tmp_path), generation_max_length=9)


def test_no_beams_in_evaluations_are_an_error(tmp_path):
    with pytest.raises(InputError, match="`generation_num_beams` is 0, but must be at least 1"):
        LstmSeq2SeqTrainingArguments(output_dir=str(tmp_path), generation_num_beams=0)
    assert (
        LstmSeq2SeqTrainingArguments(output_dir=str(tmp_path), generation_num_beams=None).generation_num_beams is None
    )


@pytest.mark.parametrize("value", [1.0, -0.1])
def test_subword_dropout_that_is_no_share_is_an_error(tmp_path, value):
    with pytest.raises(InputError, match=f"`subword_dropout` is {value}, but must be at least 0 and below 1"):
        LstmSeq2SeqTrainingArguments(output_dir=str(tmp_path), subword_dropout=value)
