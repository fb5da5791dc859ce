from dataclasses import fields

import pytest

from hf_lstm.data.checks import InputError
from hf_lstm.models.configuration_lstm import LstmConfig
from hf_lstm.training.arguments import DataArguments, LstmTrainingArguments, ModelArguments
from hf_lstm.training.parsing import ArgumentReader


def test_every_architecture_field_of_the_configuration_is_an_argument():
    of_the_tokenizer_or_generation = {
        "pad_token_id",
        "bos_token_id",
        "eos_token_id",
        "use_cache",
        "tie_word_embeddings",
        "adaptive_softmax_cutoffs",
        "adaptive_softmax_div_value",
    }
    own = set(LstmConfig.__annotations__) - of_the_tokenizer_or_generation
    assert own <= {field.name for field in fields(ModelArguments)}


def test_config_values_are_those_which_the_user_set():
    arguments = ModelArguments(vocab_size=17, hidden_size=6, bidirectional=False, ngram_orders=[], min_frequency=1)
    assert arguments.config_values() == {"hidden_size": 6, "bidirectional": False, "ngram_orders": []}


def test_argument_names_are_all_different():
    names = [field.name for part in (ModelArguments, DataArguments, LstmTrainingArguments) for field in fields(part)]
    assert len(names) == len(set(names))


def test_files_and_an_output_folder_are_all_that_is_needed(tmp_path):
    reader = ArgumentReader((ModelArguments, DataArguments, LstmTrainingArguments))
    _, data, training = reader.read(["--train_file", "train.csv", "--output_dir", str(tmp_path)])
    assert data.train_file == "train.csv"
    assert training.do_train and training.load_best_model_at_end and training.report_to == []
    assert training.train_sampling_strategy == "group_by_length"


def test_missing_output_folder_is_an_error():
    with pytest.raises(InputError, match=r"Pass --output_dir"):
        LstmTrainingArguments()


@pytest.mark.parametrize(
    ("given", "weights"),
    [
        (None, None),
        (["balanced"], "balanced"),
        ("balanced", "balanced"),
        (["0.5", "2"], [0.5, 2.0]),
        ([1, 3], [1.0, 3.0]),
    ],
)
def test_class_weights_are_balanced_or_numbers(tmp_path, given, weights):
    assert LstmTrainingArguments(output_dir=str(tmp_path), class_weights=given).class_weights == weights


@pytest.mark.parametrize("given", [["blanced"], [], ["1", "-2"], ["nan", "1"], ["0", "0"], ["balanced", "1"]])
def test_other_class_weights_are_an_error(tmp_path, given):
    with pytest.raises(InputError, match=r"`class_weights` is .*, but must be 'balanced' or a number"):
        LstmTrainingArguments(output_dir=str(tmp_path), class_weights=given)


@pytest.mark.parametrize("name", ["https://huggingface.co/user/model", "a/b/c", "my model", "user/"])
def test_model_cannot_be_pushed_to_what_is_no_name(tmp_path, name):
    with pytest.raises(InputError, match=f"`hub_model_id` is '{name}', but must be a name on the Hub, such as"):
        LstmTrainingArguments(output_dir=str(tmp_path), hub_model_id=name)
    for fit in ("my_model", "user/my_model"):
        assert LstmTrainingArguments(output_dir=str(tmp_path), hub_model_id=fit).hub_model_id == fit


@pytest.mark.parametrize(("name", "value"), [("word_dropout", 1.5), ("word_dropout", -0.1), ("weight_averaging", 1.0)])
def test_share_outside_its_range_is_an_error(tmp_path, name, value):
    with pytest.raises(InputError, match=f"`{name}` is {value}, but must be at least 0 and below 1"):
        LstmTrainingArguments(output_dir=str(tmp_path), **{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[(name, 0) for name in ("per_device_train_batch_size", "per_device_eval_batch_size")],
        ("gradient_accumulation_steps", 0),
        *[(name, -1.0) for name in ("learning_rate", "ngram_learning_rate", "max_grad_norm")],
        *[("learning_rate", float("nan")), ("weight_decay", float("nan")), ("label_smoothing_factor", 5.0)],
        *[("seed", -1), ("seed", 2**32), ("data_seed", -1)],
        *[("num_train_epochs", value) for value in (-1.0, 0.0, float("nan"), float("inf"))],
        *[("adam_beta1", 2.0), ("adam_beta2", 1.0), ("adam_epsilon", -1.0), ("early_stopping_patience", -1)],
    ],
)
def test_number_that_nothing_can_be_trained_with_is_an_error(tmp_path, name, value):
    with pytest.raises(InputError, match=f"`{name}` is {value}, but must be"):
        LstmTrainingArguments(output_dir=str(tmp_path), **{name: value})


@pytest.mark.parametrize("options", [{"max_steps": 3}, {"do_train": False}])
def test_epochs_may_be_none_where_they_do_not_count(tmp_path, options):
    assert LstmTrainingArguments(output_dir=str(tmp_path), num_train_epochs=0, **options).num_train_epochs == 0


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("warmup_stable_decay", {}, "missing .* 'num_decay_steps'"),
        ("cosine_with_min_lr", {}, "One of min_lr or min_lr_rate should be set"),
        ("linear", {"lr_scheduler_kwargs": {"num_cycles": 2}}, "unexpected keyword argument 'num_cycles'"),
        ("cosine", {"warmup_steps": float("nan")}, "`warmup_steps` nan: cannot convert float NaN"),
    ],
)
def test_schedule_that_cannot_be_made_is_an_error(tmp_path, name, options, message):
    with pytest.raises(InputError, match=f"`lr_scheduler_type` is '{name}', but is not to be had with .*{message}"):
        LstmTrainingArguments(output_dir=str(tmp_path), lr_scheduler_type=name, **options)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("warmup_stable_decay", {"num_decay_steps": 5}),
        ("cosine_with_min_lr", '{"min_lr": 1e-5}'),
        ("reduce_lr_on_plateau", {}),
        ("constant", None),
    ],
)
def test_schedule_may_have_options(tmp_path, name, options):
    arguments = {"lr_scheduler_type": name, "lr_scheduler_kwargs": options}
    assert LstmTrainingArguments(output_dir=str(tmp_path), **arguments).lr_scheduler_type == name


def test_resuming_and_starting_anew_together_are_an_error(tmp_path):
    with pytest.raises(InputError, match=r"`resume_from_checkpoint` is 'a/checkpoint-7', but --restart starts over"):
        LstmTrainingArguments(output_dir=str(tmp_path), resume_from_checkpoint="a/checkpoint-7", restart=True)


def test_two_sources_of_training_data_are_an_error():
    with pytest.raises(InputError, match=r"Both --train_file and --dataset_name are given"):
        DataArguments(train_file="train.csv", dataset_name="imdb")


@pytest.mark.parametrize("name", ["max_train_samples", "max_eval_samples", "max_predict_samples", "max_length"])
def test_limit_below_one_is_an_error(name):
    with pytest.raises(InputError, match=f"`{name}` is 0, but must be at least 1"):
        DataArguments(train_file="train.csv", **{name: 0})


def test_empty_delimiter_of_labels_is_an_error():
    with pytest.raises(InputError, match=r"`label_delimiter` is empty"):
        DataArguments(train_file="train.csv", label_delimiter="")


@pytest.mark.parametrize("percentage", [-1, 100])
def test_validation_share_outside_its_range_is_an_error(percentage):
    with pytest.raises(InputError, match=r"`validation_split_percentage` is .*, but must be at least 0"):
        DataArguments(train_file="train.csv", validation_split_percentage=percentage)
