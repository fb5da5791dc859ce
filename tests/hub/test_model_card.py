import io
from contextlib import redirect_stdout

import pytest
import torch
from huggingface_hub import ModelCard
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from hf_lstm import (
    LstmConfig,
    LstmForCausalLM,
    LstmForConditionalGeneration,
    LstmForSequenceClassification,
    LstmSeq2SeqConfig,
    LstmTokenizer,
)
from hf_lstm.hub import model_card
from hf_lstm.hub.card_facts import CardFacts, read_curve
from hf_lstm.hub.latency import Latency
from hf_lstm.hub.model_card import CURVE_NAME, name_repository, write_model_card


def make_model(**config):
    torch.manual_seed(0)
    return LstmForSequenceClassification(LstmConfig(vocab_size=7, embedding_size=3, hidden_size=4, **config))


def write(directory, model, **options):
    values = {"model": model, "dataset_name": "Movie reviews"} | options
    return ModelCard.load(write_model_card(directory, **values))


def test_metadata_is_complete_and_reads_back(tmp_path):
    card = write(
        tmp_path,
        make_model(id2label={0: "bad", 1: "good"}),
        metrics={"accuracy": 0.87654321, "f1_micro": 0.5},
        model_name="reviews",
        dataset_id="stanfordnlp/sst2",
        languages=["en", "zh"],
        license_name="apache-2.0",
        base_model="someone/base",
    )
    data = card.data.to_dict()
    results = {result.metric_name: result for result in card.data.eval_results}

    assert data["pipeline_tag"] == "text-classification"
    assert data["library_name"] == "transformers"
    assert data["language"] == ["en", "zh"]
    assert (data["license"], data["datasets"], data["base_model"]) == (
        "apache-2.0",
        ["stanfordnlp/sst2"],
        "someone/base",
    )
    assert data["metrics"] == ["accuracy", "f1"]
    assert set(results) == {"Accuracy", "F1 (micro)"}
    assert results["Accuracy"].metric_value == 0.876543
    assert (results["Accuracy"].dataset_type, results["Accuracy"].dataset_split) == ("stanfordnlp/sst2", "test")


def test_text_has_labels_figures_settings_sizes_and_limits(tmp_path):
    model = make_model(id2label={0: "bad", 1: "good"}, bidirectional=True)
    text = write(
        tmp_path,
        model,
        metrics={"accuracy": 0.8765},
        hyper_parameters={"learning_rate": 0.001, "class_weights": None, "orders": [2, 3], "kinds": [], "by": "a\nb"},
        num_train_rows=12345,
        num_evaluation_rows=678,
        languages=["en"],
        max_length=1024,
        data_notes="Half of them are long.",
        limits=["It knows nothing of books."],
    ).text

    assert "A bidirectional LSTM that gives a text one of 2 labels" in text
    assert "`bad`, `good`" in text
    assert "test split of Movie reviews (678 rows)" in text
    assert "| metric | value |\n|---|---|\n| Accuracy | 0.8765 |\n" in text
    assert "| learning_rate | 0.001 |\n| class_weights | None |\n| orders | 2, 3 |\n" in text
    assert "\n| kinds | none |\n| by | a b |\n" in text
    assert "Movie reviews: 12,345 rows. Half of them are long." in text
    assert f"{sum(weight.numel() for weight in model.parameters()):,} parameters" in text
    for limit in ("first 1,024 tokens", "fits none of the labels", "It reads en;", "nothing of books", "texts like"):
        assert limit in text


def test_labels_and_data_are_shown_as_they_are(tmp_path):
    fake = "good`\n\n# Results\n\n| metric | value |\n|---|---|\n| Accuracy | 0.9999 |"
    model = make_model(id2label={0: fake, 1: "b``d", 2: "y" * 60, 3: "x" * 61})
    data = {"dataset_name": "# <b>my</b>_[data](a) | `b`", "metrics": {"f1": 0.5}}
    text = write(tmp_path, model, num_train_rows=3, **data).text
    assert text.count("\n# ") == 1 and text.count("\n| metric") == 1
    labels = text.split("## Labels\n\n")[1].split("\n")[0]
    assert labels.startswith("`` good` # Results | metric | value | |---|---| | Accuracy | 0… ``, ")
    assert labels.endswith(", ``` b``d ```, `" + "y" * 60 + "`, `" + "x" * 59 + "…`")
    shown = "\\# \\<b\\>my\\</b\\>\\_\\[data\\](a) \\| \\`b\\`"
    assert f"\n{shown}: 3 rows." in text and f"Measured on the test split of {shown}." in text


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("_train_.csv", r"\_train\_.csv"),
        ("my_data.csv", "my_data.csv"),
        ("1. ~~a~~", r"1\. \~\~a\~\~"),
        ("- b", r"\- b"),
    ],
)
def test_name_of_the_data_is_neither_styled_nor_listed(tmp_path, name, shown):
    assert f"\n{shown}.\n" in write(tmp_path, make_model(), dataset_name=name).text


def test_name_of_the_folder_is_a_heading_on_one_line(tmp_path):
    folder = tmp_path / "a *b*\n# c"
    folder.mkdir()
    assert "\n# a \\*b\\* \\# c\n" in write(folder, make_model()).text


def test_values_of_several_lines_stay_in_their_cell(tmp_path):
    text = write(tmp_path, make_model(), hyper_parameters={"prefix": "a\rb\u2028 c\nd"}).text
    assert "| prefix | a b c d |\n" in text


def test_empty_texts_are_none(tmp_path):
    card = write(tmp_path, make_model(), license_name="", base_model="", example_text=" ")
    assert not {"license", "base_model"} & set(card.data.to_dict()) and "predict('A text to try.')" in card.text


def test_card_without_figures_says_so_and_has_no_empty_fields(tmp_path):
    card = write(tmp_path, make_model())

    assert "has not been evaluated" in card.text
    assert "## Training\n" not in card.text
    assert not {"model-index", "license", "datasets", "language"} & set(card.data.to_dict())
    assert "None" not in card.content.split("## Training\n")[0].replace("base_model", "")


def test_usage_example_runs_and_keeps_quotes_and_braces(tmp_path, monkeypatch):
    words = {"<pad>": 0, "<unk>": 1, "<s>": 2, "</s>": 3, "good": 4}
    backend = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", unk_token="<unk>")
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    model = make_model(id2label={0: "bad", 1: "good"})
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    text = write(tmp_path, model, example_text='It\'s "good" {{ truly }}\nand <b>').text
    snippet = text.split("```python\n")[1].split("```")[0]

    assert "{{ truly }}" in snippet
    monkeypatch.chdir(tmp_path.parent)
    with redirect_stdout(io.StringIO()) as output:
        exec(snippet, {})
    assert "score" in output.getvalue()


@pytest.mark.parametrize(
    ("config", "summary", "option"),
    [
        ({"problem_type": "regression", "num_labels": 1}, "predicts a number", 'function_to_apply="none"'),
        ({"problem_type": "multi_label_classification", "num_labels": 3}, "any of 3 labels", "top_k=None"),
    ],
)
def test_other_kinds_of_labels_are_described(tmp_path, config, summary, option):
    text = write(tmp_path, make_model(**config)).text

    assert summary in text
    assert option in text
    assert "fits none of the labels" not in text
    has_labels = config["problem_type"] != "regression"
    assert ("## Labels" in text) == ("Scores rank the labels" in text) == has_labels


LOG = [
    {"loss": 0.9, "epoch": 0.5},
    {"loss": 0.71234, "epoch": 1.0},
    {"eval_loss": 0.65, "eval_accuracy": 0.7, "eval_runtime": 3.0, "epoch": 1.0},
    {"eval_loss": 0.5, "eval_accuracy": 0.81, "epoch": 2.0},
    {"train_loss": 0.6, "epoch": 2.0},
]


def test_curve_is_shown(tmp_path):
    (tmp_path / CURVE_NAME).touch()
    text = write(tmp_path, make_model(), curve=read_curve(LOG)).text

    table = "| epoch | training loss | validation loss | Accuracy |\n|---:|---:|---:|---:|\n"
    assert table + "| 1 | 0.7123 | 0.65 | 0.7 |\n| 2 | 0.7123 | 0.5 | 0.81 |\n" in text
    assert f"]({CURVE_NAME})" in text


def test_latency_of_the_example_with_its_prefix_is_shown_where_there_is_a_tokenizer(tmp_path, monkeypatch):
    measured = []

    def measure(*arguments):
        measured.append(arguments)
        return Latency(1.2345, 7, 20, 2, "Chip 9")

    monkeypatch.setattr(model_card, "measure_latency", measure)
    model, tokenizer = make_generator(prefix="go: "), object()
    facts = {"example_text": "a b", "max_length": 5, "example_text_pair": "of no use to a model that reads one text"}
    assert "by itself takes" not in write(tmp_path, model, **facts).text
    assert "by itself takes" not in write(tmp_path, model, tokenizer=tokenizer).text
    assert (
        "parameters. A text of 7 tokens by itself takes 1.23 ms"
        in write(tmp_path, model, tokenizer=tokenizer, **facts).text
    )
    assert measured == [(model, tokenizer, "go: a b", 5, None)]


@pytest.mark.parametrize("problem_type", ["single_label_classification", "multi_label_classification"])
def test_card_of_pairs_reads_both_texts(tmp_path, monkeypatch, problem_type):
    tokenizer = LstmTokenizer.train_from_iterator(["a b c d"], algorithm="word", min_frequency=1, show_progress=False)
    torch.manual_seed(0)
    config = {"embedding_size": 3, "hidden_size": 4, "num_labels": 3, "problem_type": problem_type}
    model = LstmForSequenceClassification(LstmConfig(vocab_size=len(tokenizer), **config)).eval()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    pair = {"reads_pairs": True, "example_text": "a b", "example_text_pair": "c\nd"}
    text = write(tmp_path, model, tokenizer=tokenizer, **pair).text
    num_tokens = len(tokenizer("a b", "c d")["input_ids"])
    assert f"A text of {num_tokens} tokens by itself" in text and "gives a pair of texts" in text
    snippet = text.split("```python\n")[1].split("```")[0]
    assert "text_pairs=['c d']" in snippet
    monkeypatch.chdir(tmp_path.parent)
    with redirect_stdout(io.StringIO()) as output:
        exec(snippet, {})
    top_k = None if problem_type.startswith("multi") else 1
    assert output.getvalue().strip() == str(model.predict(["a b"], tokenizer, text_pairs=["c d"], top_k=top_k))
    unknown = write(tmp_path, model, tokenizer=tokenizer, **pair | {"example_text_pair": None}).text
    assert "text_pairs=['Another text.']" in unknown and "by itself takes" not in unknown


def test_figures_that_are_no_numbers_are_shown_as_such(tmp_path):
    curve = [{"epoch": 1, "loss": None, "eval_loss": 0.5}, {"epoch": 2, "eval_loss": None, "eval_runtime": 3.0}]
    card = write(tmp_path, make_model(), metrics={"f1": None, "a|b": 1}, curve=curve)
    text = card.text

    assert [result.metric_name for result in card.data.eval_results] == ["a|b"]
    assert "| F1 (macro) | nan |\n| a\\|b | 1.0000 |\n" in text
    assert "| epoch | training loss | validation loss |\n|---:|---:|---:|\n| 1 | nan | 0.5 |\n| 2 |  | nan |\n" in text


def test_long_curves_are_thinned_out_to_the_last_evaluation(tmp_path):
    log = [{"eval_loss": 1 / epoch, "epoch": float(epoch)} for epoch in range(1, 48)]
    text = write(tmp_path, make_model(), curve=read_curve(log)).text

    epochs = [int(line.split("|")[1]) for line in text.split("|---:|---:|\n")[1].splitlines() if line.startswith("|")]
    assert epochs == list(range(2, 48, 3))
    assert CURVE_NAME not in text


def test_without_training_there_is_no_curve(tmp_path):
    (tmp_path / CURVE_NAME).touch()
    text = write(tmp_path, make_model(), curve=read_curve([{"train_loss": 1.0}])).text
    assert CURVE_NAME not in text and "epoch" not in text


def test_usage_example_has_the_beginning_of_a_long_text(tmp_path):
    assert f"predict('{'a b ' * 50}')" in write(tmp_path, make_model(), example_text="a b " * 99).text


def test_usage_example_loads_from_the_hub_where_the_model_is_there(tmp_path):
    assert str(tmp_path.parent) not in write(tmp_path, make_model()).text
    text = write(tmp_path, make_model(), hub_model_id="someone/reviews").text
    assert "model='someone/reviews'" in text and str(tmp_path) not in text


def test_usage_example_of_a_generator_gets_its_name_on_the_hub(tmp_path):
    CardFacts(dataset_name="Movie reviews").save(tmp_path)
    write(tmp_path, make_generator())
    assert name_repository(tmp_path, "someone/writer")
    snippet = (tmp_path / "README.md").read_text().split("```python\n")[1].split("```")[0]
    assert snippet.count("from_pretrained('someone/writer')") == snippet.count("from_pretrained(") == 2


def test_language_model_gets_its_pipeline(tmp_path):
    model = LstmForCausalLM(LstmConfig(vocab_size=7, embedding_size=3, hidden_size=4))
    card = write(tmp_path, model)

    assert card.data.pipeline_tag == "text-generation"
    assert "continues texts" in card.text
    assert "AutoModelForCausalLM.from_pretrained" in card.text and "max_new_tokens=50" in card.text
    assert "| hidden_size | 4 |" in card.text and "| classifier_" not in card.text
    assert "| classifier_pooling |" in write(tmp_path, make_model()).text


def make_generator(**config):
    torch.manual_seed(0)
    values = {"vocab_size": 8, "encoder_embedding_size": 3, "decoder_embedding_size": 3}
    values |= {"encoder_hidden_size": 4, "decoder_hidden_size": 4}
    return LstmForConditionalGeneration(LstmSeq2SeqConfig(**values | config))


@pytest.mark.parametrize(
    ("task", "tag", "pipeline_name", "summary"),
    [
        ("translation", "translation", "lstm-translation", "An LSTM encoder–decoder with attention that translates"),
        ("summarization", "summarization", "lstm-summarization", "that summarises texts"),
        ("text2text", "text2text-generation", None, "that turns a text into another"),
        ("autoencode", "text2text-generation", None, "that turns a text into another"),
        (None, "text2text-generation", None, "that turns a text into another"),
    ],
)
def test_generator_is_described_by_its_task(tmp_path, task, tag, pipeline_name, summary):
    model = make_generator()
    model.generation_config.num_beams = 3
    card = write(tmp_path, model, task=task, metrics={"bleu": 31.25, "rougeL": 12.5, "chrf": 55.0})

    assert card.data.pipeline_tag == tag and tag in card.data.tags
    assert summary in card.text
    assert ("pipeline(" in card.text) == (pipeline_name is not None)
    if pipeline_name is not None:
        assert f'pipeline("{pipeline_name}"' in card.text
    assert {result.metric_name for result in card.data.eval_results} == {"BLEU", "ROUGE-L", "chrF"}
    assert "| decoder_layers | 1 |" in card.text and "| attention_type | luong_dot |" in card.text
    assert "| hidden_size |" not in card.text and "| num_beams | 3 |" in card.text


def test_generator_shows_the_settings_that_it_has(tmp_path):
    model = make_generator()
    model.generation_config.max_length, model.generation_config.max_new_tokens = None, 7
    text = write(tmp_path, model, hyper_parameters={"noise": None}).text
    assert "| max_new_tokens | 7 |" in text and "| max_length |" not in text and "| length_penalty |" not in text
    assert "| noise | None |" in text


def test_generator_without_attention_says_so(tmp_path):
    text = write(tmp_path, make_generator(attention_type="none"), task="translation").text

    assert "An LSTM encoder–decoder that translates texts" in text


@pytest.mark.parametrize("task", ["translation", "summarization", "text2text"])
def test_generators_usage_example_runs_with_its_prefix_once(tmp_path, task, monkeypatch):
    tokenizer = LstmTokenizer.train_from_iterator(
        ["go : a b c"], algorithm="word", min_frequency=1, add_eos=True, show_progress=False
    )
    model = make_generator(vocab_size=len(tokenizer), prefix="go: ")
    model.generation_config.max_length = 5
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    text = write(tmp_path, model, task=task, example_text='a "b"\n{{ c }}').text
    seen = []
    generate = LstmForConditionalGeneration.generate

    def note_source(self, input_ids, **kwargs):
        seen.append(tokenizer.convert_ids_to_tokens(input_ids[0].tolist()))
        return generate(self, input_ids, **kwargs)

    monkeypatch.setattr(LstmForConditionalGeneration, "generate", note_source)
    monkeypatch.chdir(tmp_path.parent)
    with redirect_stdout(io.StringIO()) as output:
        exec(text.split("```python\n")[1].split("```")[0], {})

    assert output.getvalue()
    assert seen[0][:3] == ["go", ":", "a"] and seen[0].count("go") == 1


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({}, "It expects texts like those of the data above."),
        ({"is_fine_tuned": False}, "It was trained on the data above alone, and expects texts like those."),
        ({"is_fine_tuned": True}, "Its training began with a local model and went on with the data above; it expects"),
        ({"base_model": "someone/base"}, "Its training began with someone/base and went on with the data above;"),
        ({"base_model": ["a/b", "c/d"], "is_fine_tuned": True}, "Its training began with a/b and c/d and went on"),
    ],
)
def test_card_says_what_training_began_with(tmp_path, facts, sentence):
    assert f"- {sentence}" in write(tmp_path, make_model(), **facts).text


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({"source_language": "de", "target_language": "en"}, "It reads de and writes en; other texts"),
        ({}, "It knows en, de; texts in other languages"),
    ],
)
def test_direction_of_a_translation_is_not_that_of_the_list(tmp_path, facts, sentence):
    text = write(tmp_path, make_generator(), task="translation", languages=["en", "de"], **facts).text
    assert f"- {sentence}" in text and "reads en" not in text


def test_scores_are_of_the_data_that_they_were_measured_on(tmp_path):
    facts = {"metrics": {"accuracy": 0.5}, "dataset_id": "someone/reviews", "num_train_rows": 3}
    facts |= {"split_name": "validation"}
    card = write(tmp_path, make_model(), evaluation_dataset_name="Songs", num_evaluation_rows=5, **facts)
    assert "Measured on Songs (5 rows)." in card.text and "Movie reviews: 3 rows." in card.text
    result = card.data.eval_results[0]
    assert (result.dataset_name, result.dataset_type) == ("Songs", "private")
    assert result.dataset_split == "validation"
    assert card.data.datasets == ["someone/reviews"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"languages": ["English"]}, "`languages` has .'English'."),
        ({"dataset_id": "my data"}, "`dataset_id` is 'my data'"),
        ({"hub_model_id": "a/b/c"}, "`hub_model_id` is 'a/b/c'"),
    ],
)
def test_invalid_metadata_raises(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        write(tmp_path, make_model(), **options)
    assert not (tmp_path / "README.md").exists()
