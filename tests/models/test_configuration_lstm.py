"""What a configuration accepts, derives, and says about values it refuses."""

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig

from hf_lstm import LstmConfig, LstmForCausalLM, LstmForSequenceClassification
from tests.models.factories import make_config


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hidden_size": 7, "bidirectional": True}, r"`hidden_size` is 7, but must be even when `bidirectional`.*8"),
        ({"last_hidden_size": 3, "bidirectional": True}, r"`last_hidden_size` is 3, but must be even"),
        ({"hidden_size": 0}, r"`hidden_size` is 0, but must be at least 1"),
        ({"num_hidden_layers": 0}, r"`num_hidden_layers` is 0"),
        ({"vocab_size": -1}, r"`vocab_size` is -1"),
        ({"num_labels": 0}, r"`num_labels` is 0, but must be at least 1"),
        ({"vocab_size": 2**31}, r"`vocab_size` is 2147483648, but must be at most 2147483647"),
        ({"last_hidden_size": 10**400}, r"`last_hidden_size` is 10+, but must be at most"),
        ({"is_encoder_decoder": True}, r"`is_encoder_decoder` is True, but always False for.*'hf_lstm'. Leave it out"),
        ({"ngram_buckets": 0}, r"`ngram_buckets` is 0"),
        ({"classifier_ngram_buckets": 0}, r"`classifier_ngram_buckets` is 0"),
        ({"weight_dropout": 1.5}, r"`weight_dropout` is 1.5, but is a probability: at least 0 and below 1"),
        ({"hidden_dropout": -0.1}, r"`hidden_dropout` is -0.1"),
        ({"embedding_dropout": 1}, r"`embedding_dropout` is 1,"),
        ({"classifier_pooling": "average"}, r"`classifier_pooling` is 'average', but must be one of \['last', 'mean'"),
        ({"ngram_orders": [1, 2]}, r"`ngram_orders` is \[1, 2\], but must hold different lengths of 2 or more"),
        ({"ngram_orders": [2, 2]}, r"`ngram_orders` is \[2, 2\]"),
        ({"classifier_ngram_orders": [0]}, r"`classifier_ngram_orders` is \[0\].*lengths of 1 or more"),
        ({"pad_token_id": 29}, r"`pad_token_id` is 29, but must be a token id below `vocab_size` \(29\), or None"),
        (
            {"residual_connections": True, "num_hidden_layers": 1},
            r"no layer's output is as wide as its input.*\[5, 6\]",
        ),
        ({"embedding_rank": 0}, r"`embedding_rank` is 0, but must be at least 1"),
        ({"embedding_rank": 5}, r"`embedding_rank` is 5, but must be smaller than `embedding_size` \(5\)"),
        ({"adaptive_softmax_cutoffs": [0, 7]}, r"`adaptive_softmax_cutoffs` is \[0, 7\].*rising.*above 0 and below"),
        ({"adaptive_softmax_cutoffs": [9, 7]}, r"`adaptive_softmax_cutoffs` is \[9, 7\]"),
        ({"adaptive_softmax_cutoffs": [7, 29]}, r"`adaptive_softmax_cutoffs` is \[7, 29\].*`vocab_size` \(29\)"),
        ({"adaptive_softmax_cutoffs": [7, 9]}, r"`adaptive_softmax_div_value` is 4.0.*2 clusters.*6 features"),
        (
            {"adaptive_softmax_cutoffs": [7], "adaptive_softmax_div_value": 0.5},
            r"`adaptive_softmax_div_value` is 0.5, but must be at least 1",
        ),
        ({"adaptive_softmax_cutoffs": [7], "tie_word_embeddings": True}, r"`tie_word_embeddings` is True, but with"),
        (
            {"adaptive_softmax_cutoffs": list(range(2, 20)), "adaptive_softmax_div_value": 1e38},
            r"`adaptive_softmax_div_value` is 1e\+38.*18 clusters.*6 features",
        ),
        ({"dtype": "floaty"}, r"`dtype` is 'floaty', but must be a type of torch, such as 'float32'"),
        ({"torch_dtype": "nn"}, r"`dtype` is 'nn'"),
        ({"hidden_size": "6"}, r"hidden_size"),
        ({"bidirectional": 1}, r"bidirectional"),
    ],
)
def test_config_refuses_a_bad_value_naming_it_and_the_rule(fields, message):
    with pytest.raises(Exception, match=f"(?s){message}") as error:
        make_config(**fields)
    assert type(error.value).__module__ == "huggingface_hub.errors"


def test_types_are_taken_by_name():
    for fields in ({"dtype": "bfloat16"}, {"torch_dtype": "bfloat16"}, {"dtype": torch.bfloat16}):
        assert make_config(**fields).dtype == torch.bfloat16


def test_smallest_cluster_has_one_feature():
    fields = {"hidden_size": 27, "adaptive_softmax_cutoffs": [5, 7, 9]}
    LstmForCausalLM(make_config(**fields, adaptive_softmax_div_value=3))
    with pytest.raises(StrictDataclassError, match="`adaptive_softmax_div_value` is 3.1"):
        make_config(**fields, adaptive_softmax_div_value=3.1)


@pytest.mark.parametrize(
    ("fields", "sizes"),
    [
        ({"num_hidden_layers": 1}, [5, 6]),
        ({"num_hidden_layers": 3}, [5, 6, 6, 6]),
        ({"num_hidden_layers": 3, "last_hidden_size": 4}, [5, 6, 6, 4]),
        ({"num_hidden_layers": 1, "last_hidden_size": 4}, [5, 4]),
    ],
)
def test_layer_sizes_run_from_the_embedding_to_the_last_layer(fields, sizes):
    assert make_config(**fields).layer_sizes == sizes


def test_config_survives_saving_and_loading(tmp_path):
    config = make_config(
        ngram_orders=[2, 3],
        last_hidden_size=4,
        classifier_ngram_orders=[1],
        eos_token_id=[3, 4],
        embedding_rank=3,
        adaptive_softmax_cutoffs=[7],
    )
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert isinstance(loaded, LstmConfig)
    ignored = ("_name_or_path", "transformers_version")
    left, right = ({k: v for k, v in c.to_dict().items() if k not in ignored} for c in (loaded, config))
    assert left == right


NAMES = {0: "bad", 1: "good"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"id2label": {"1": "bad", "2": "fair", "3": "good"}}, r"`id2label` has the keys \[1, 2, 3\].*from 0 to 2"),
        ({"id2label": {0: "a", 2: "b"}}, r"`id2label` has the keys \[0, 2\].*each of the 2 labels, from 0 to 1"),
        ({"id2label": {-1: "a", 0: "b"}}, "`id2label` has the key -1, but keys are numbers from 0 on"),
        ({"id2label": {"bad": "0"}}, "`id2label` has the key 'bad'"),
        (
            {"id2label": NAMES, "label2id": {"x": 5}},
            r"`label2id` is \{'x': 5\}, but must be the reverse of `id2label`",
        ),
        ({"id2label": NAMES, "label2id": {"bad": 1, "good": 0}}, "must be the reverse of `id2label`"),
        ({"id2label": NAMES, "label2id": {"bad": 0}}, "must be the reverse of `id2label`"),
    ],
)
def test_labels_that_are_not_numbered_from_0_or_contradict_each_other_are_refused(fields, message):
    with pytest.raises(StrictDataclassError, match=f"(?s){message}"):
        LstmConfig(**fields)


@pytest.mark.parametrize(
    ("fields", "id2label", "label2id"),
    [
        ({"num_labels": 1}, {0: "LABEL_0"}, {"LABEL_0": 0}),
        ({"id2label": NAMES}, NAMES, {"bad": 0, "good": 1}),
        ({"id2label": {"0": "bad", "1": "good"}, "label2id": {"good": "1", "bad": "0"}}, NAMES, {"bad": 0, "good": 1}),
        ({"id2label": NAMES, "label2id": {"LABEL_0": 0, "LABEL_1": 1}}, NAMES, {"bad": 0, "good": 1}),
        ({"id2label": {0: "a", 1: "a"}, "label2id": {"a": 0}}, {0: "a", 1: "a"}, {"a": 0}),
        ({"id2label": {1: "LABEL_0", 0: "LABEL_1"}}, {0: "LABEL_1", 1: "LABEL_0"}, {"LABEL_1": 0, "LABEL_0": 1}),
    ],
)
def test_both_maps_of_labels_go_together(tmp_path, fields, id2label, label2id):
    config = LstmConfig(**fields)
    config.save_pretrained(tmp_path)
    for each in (config, LstmConfig.from_pretrained(tmp_path)):
        assert (each.num_labels, each.id2label, each.label2id) == (len(id2label), id2label, label2id)


def test_labels_given_in_loading_take_the_place_of_the_saved_ones(tmp_path):
    LstmConfig(id2label={0: "no", 1: "yes"}).save_pretrained(tmp_path)
    for fields in ({}, {"num_labels": 2}, {"label2id": {"bad": 0, "good": 1}}):
        config = LstmConfig.from_pretrained(tmp_path, id2label={"0": "bad", "1": "good"}, **fields)
        assert (config.id2label, config.label2id) == (NAMES, {"bad": 0, "good": 1})
    assert LstmConfig.from_pretrained(tmp_path, num_labels=3).label2id == {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}
    with pytest.raises(StrictDataclassError, match="must be the reverse"):
        LstmConfig.from_pretrained(tmp_path, label2id={"bad": 0, "good": 1})


def test_labels_named_after_the_model_was_made_are_saved(tmp_path):
    model = LstmForSequenceClassification(make_config(num_labels=2))
    model.config.id2label = NAMES
    model.save_pretrained(tmp_path)
    assert LstmForSequenceClassification.from_pretrained(tmp_path).config.label2id == {"bad": 0, "good": 1}


OVERRIDES = [
    ({"num_hidden_layers": 0}, "`num_hidden_layers` is 0"),
    ({"num_hidden_layers": -1}, "`num_hidden_layers` is -1"),
    ({"input_dropout": 1.0}, "`input_dropout` is 1.0"),
    ({"ngram_orders": [1]}, r"`ngram_orders` is \[1\]"),
    ({"embedding_rank": 5}, "`embedding_rank` is 5"),
    ({"num_hidden_layers": 1, "residual_connections": True}, "no layer's output is as wide as its input"),
    ({"hidden_size": 9}, "`hidden_size` is 9, but must be even"),
    ({"classifier_pooling": "average"}, "`classifier_pooling` is 'average'"),
    ({"pad_token_id": 99}, "`pad_token_id` is 99"),
]


@pytest.mark.parametrize(("fields", "message"), OVERRIDES)
def test_values_changed_in_loading_or_later_are_held_to_the_rules(tmp_path, fields, message):
    LstmForSequenceClassification(make_config(bidirectional=True)).save_pretrained(tmp_path)
    with pytest.raises(StrictDataclassError, match=message):
        LstmForSequenceClassification.from_pretrained(tmp_path, ignore_mismatched_sizes=True, **fields)
    config = LstmConfig.from_pretrained(tmp_path)
    for name, value in fields.items():
        setattr(config, name, value)
    with pytest.raises(StrictDataclassError, match=message):
        LstmForSequenceClassification(config)


def test_value_changed_in_loading_reaches_the_model(tmp_path):
    LstmForSequenceClassification(make_config(bidirectional=True)).save_pretrained(tmp_path)
    model = LstmForSequenceClassification.from_pretrained(tmp_path, classifier_dropout=0.25)
    assert model.dropout.p == 0.25
    config, unused = LstmConfig.from_pretrained(tmp_path, input_dropout=0.5, other=1, return_unused_kwargs=True)
    assert (config.input_dropout, unused) == (0.5, {"other": 1})


def test_configs_share_no_lists():
    make_config().ngram_orders.append(2)
    assert make_config().ngram_orders == []
    make_config().adaptive_softmax_cutoffs.append(2)
    assert make_config().adaptive_softmax_cutoffs == []
