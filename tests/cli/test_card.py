import io
import json
import re
import shutil
from contextlib import redirect_stdout

import pytest
import torch
import yaml
from huggingface_hub import ModelCard

from hf_lstm import LstmConfig, LstmForTokenClassification
from hf_lstm.training.checkpoints import save_settings
from hf_lstm.training.tasks import seq2seq, sequence_classification
from tests.cli.saved_models import make_tokenizer, save_classifier, save_language_model

LATENCY = re.compile(r"takes [\d.e+]+ ms, tokenisation included \(median of \d+ runs")
QUICK = [
    "--num_train_epochs",
    "1",
    "--use_cpu",
    "--disable_tqdm",
    "true",
    "--languages",
    "en",
    "--license_name",
    "mit",
]


def write_csv(path, header, rows):
    path.write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n", encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A classifier and an encoder–decoder as training leaves them, by kind."""
    folder = tmp_path_factory.mktemp("trained")
    reviews = [
        (f"a {word} film number {n}", label) for n in range(12) for word, label in (("fun", "1"), ("dull", "0"))
    ]
    pairs = [(f"a dog number {n}", f"Ein Hund {n}") for n in range(20)]
    own = ["--cache_dir", str(folder / "cache"), *QUICK]
    sequence_classification.main(
        [
            *("--train_file", write_csv(folder / "reviews.csv", "text,label", reviews)),
            *("--test_file", write_csv(folder / "test.csv", "text,label", reviews[:5])),
            *("--output_dir", str(folder / "classifier"), "--embedding_size", "5", "--hidden_size", "6", *own),
            *("--class_weights", "balanced"),
        ]
    )
    sizes = [f"--{side}_{name}=6" for side in ("encoder", "decoder") for name in ("embedding_size", "hidden_size")]
    seq2seq.main(
        [
            *("--train_file", write_csv(folder / "pairs.csv", "source,target", pairs), "--task", "translation"),
            *("--output_dir", str(folder / "translator"), "--vocab_size=300", "--max_target_length=9", *sizes, *own),
            *("--num_attention_plots", "0", "--num_beams", "2"),
        ]
    )
    return {kind: folder / kind for kind in ("classifier", "translator")}


def without_latency(card):
    assert LATENCY.search(card)
    return LATENCY.sub("", card)


@pytest.mark.parametrize("kind", ["classifier", "translator"])
def test_card_says_what_that_of_the_training_says(run, trained, kind):
    path = trained[kind] / "README.md"
    original = path.read_text(encoding="utf-8")
    code, out, err = run("card", trained[kind])
    assert (code, out) == (0, f"Wrote {path}.\n"), err
    assert without_latency(path.read_text(encoding="utf-8")) == without_latency(original)


def test_lost_card_is_written_anew_with_what_is_said(run, trained, tmp_path):
    folder = shutil.copytree(trained["classifier"], tmp_path / "model")
    (folder / "README.md").unlink()
    config = tmp_path / "card.yaml"
    config.write_text(
        "dataset_name: Reviews\ndataset_id: someone/reviews\nlanguages: [de, en]\nlimits: [It is small.]\n"
    )
    code, _, err = run("card", folder, "--config", config, "--hub_model_id", "user/model", "--model_name", "Critic")
    assert code == 0, err
    card = ModelCard.load(folder / "README.md")
    assert (card.data.language, card.data.datasets, card.data.license) == (["de", "en"], ["someone/reviews"], "mit")
    assert card.data.model_name == "Critic" and "\nReviews: " in card.text
    assert "Measured on test.csv (5 rows)." in card.text
    assert [(result.dataset_type, result.dataset_name) for result in card.data.eval_results[:1]] == [
        ("private", "test.csv")
    ]
    assert (
        "- It is small." in card.text and "'user/model'" in card.text and "| class_weights | balanced |" in card.text
    )


def test_scores_of_other_data_do_not_keep_the_name_on_the_hub_of_the_recorded(run, trained, tmp_path):
    folder = shutil.copytree(trained["classifier"], tmp_path / "model")
    facts = json.loads((folder / "card_facts.json").read_text())
    (folder / "card_facts.json").write_text(json.dumps(facts | {"evaluation_dataset_id": "someone/recorded"}))
    for flags, expected in (
        ((), ("someone/recorded", "test.csv")),
        (("--evaluation_dataset_name", "Plays"), ("private", "Plays")),
    ):
        code, _, err = run("card", folder, *flags)
        assert code == 0, err
        result = ModelCard.load(folder / "README.md").data.eval_results[0]
        assert (result.dataset_type, result.dataset_name) == expected


@pytest.mark.parametrize("name", ["card_facts.json", "none"])
def test_what_was_added_to_the_card_is_kept(run, trained, tmp_path, name):
    folder = shutil.copytree(trained["translator"], tmp_path / "model", ignore=shutil.ignore_patterns(name))
    card = ModelCard.load(folder / "README.md")
    card.data.license, card.data.language, card.data.base_model = "cc0-1.0", ["en", "de"], ["a/base", "b/base"]
    card.data.datasets = "someone/pairs"
    card.save(folder / "README.md")
    assert run("card", folder)[0] == 0
    data = ModelCard.load(folder / "README.md").data
    assert (data.license, data.language, data.base_model) == ("cc0-1.0", ["en", "de"], ["a/base", "b/base"])
    assert data.datasets == "someone/pairs"
    assert run("card", folder, "--languages", "fr", "--dataset_id", "other/pairs")[0] == 0
    data = ModelCard.load(folder / "README.md").data
    assert (data.license, data.language, data.datasets) == ("cc0-1.0", ["fr"], ["other/pairs"])


KEPT = """\
license: other
license_name: our-licence
license_link: LICENSE
language: [zh-Hans, pt-BR]
datasets: [a/x, b/y]
base_model: someone/base
"""


@pytest.mark.parametrize("name", ["card_facts.json", "none"])
def test_metadata_that_no_flag_knows_is_kept_as_it_is(run, trained, tmp_path, name):
    folder = shutil.copytree(trained["classifier"], tmp_path / "model", ignore=shutil.ignore_patterns(name))
    (folder / "README.md").write_text(f"---\n{KEPT}---\n")
    expected = yaml.safe_load(KEPT)
    for _ in range(2):
        code, _, err = run("card", folder)
        assert code == 0, err
        card = ModelCard.load(folder / "README.md")
        assert {field: card.data.get(field) for field in expected} == expected
        assert "It reads zh-Hans, pt-BR;" in card.text and "began with someone/base" in card.text
    assert run("card", folder, "--license_name", "mit", "--languages", "en", "--dataset_id", "c/z")[0] == 0
    data = ModelCard.load(folder / "README.md").data
    assert (data.license, data.get("license_name"), data.language, data.datasets) == ("mit", None, ["en"], ["c/z"])


@pytest.mark.parametrize(
    ("line", "field", "kept"),
    [
        ("language: no", "language", "no"),
        ("language: [en, no]", "language", ["en", "no"]),
        ("language: English", "language", "English"),
        ("license: [mit, apache-2.0]", "license", ["mit", "apache-2.0"]),
    ],
)
def test_odd_metadata_is_kept(run, trained, tmp_path, line, field, kept):
    folder = shutil.copytree(trained["classifier"], tmp_path / "model")
    (folder / "README.md").write_text(f"---\n{line}\n---\n")
    code, _, err = run("card", folder)
    assert code == 0, err
    card = ModelCard.load(folder / "README.md")
    assert card.data.get(field) == kept
    assert ("It reads" in card.text) == (kept != "English")


@pytest.mark.parametrize("name", ["card_facts.json", "none"])
def test_saved_arguments_are_not_unpickled(run, trained, tmp_path, monkeypatch, name):
    folder = shutil.copytree(trained["classifier"], tmp_path / "model", ignore=shutil.ignore_patterns(name))
    opened = []
    monkeypatch.setattr(torch, "load", lambda path, **options: opened.append(path))
    mark = tmp_path / "mark"
    (folder / "training_args.bin").write_bytes(f"cposix\nsystem\n(S'touch {mark}'\ntR.".encode())
    assert run("card", folder)[0] == 0
    assert opened == [] and not mark.exists()


@pytest.mark.parametrize("kind", ["classifier", "translator"])
def test_without_facts_the_card_lacks_what_only_they_tell(run, trained, tmp_path, caplog, kind):
    original = (trained[kind] / "README.md").read_text(encoding="utf-8")
    folder = shutil.copytree(trained[kind], tmp_path / kind, ignore=shutil.ignore_patterns("card_facts.json"))
    code, _, err = run("card", folder)
    assert code == 0 and f"{kind} has no card_facts.json, which `hf-lstm train` writes" in caplog.text, err
    kept = without_latency((folder / "README.md").read_text(encoding="utf-8")).splitlines()
    original = without_latency(original).replace("test.csv", "test data in a file of its own").splitlines()
    lost = [line for line in original if line not in kept]
    hyper_parameters = json.loads((trained[kind] / "card_facts.json").read_text())["hyper_parameters"]
    assert [line.split(" | ")[0].removeprefix("| ") for line in lost] == list(hyper_parameters)
    assert [line for line in kept if line not in original] == []


def test_what_the_stock_trainer_leaves_is_shown(run, tmp_path):
    folder = save_classifier(tmp_path / "model")
    log = [{"loss": 0.5, "epoch": 1.0}, {"eval_loss": 0.25, "eval_accuracy": 0.75, "eval_f1": 0.5, "epoch": 1.0}]
    (folder / "trainer_state.json").write_text(json.dumps({"log_history": log, "best_metric": 0.75}))
    (folder / "all_results.json").write_text(
        '{"eval_accuracy": 0.75, "eval_f1": 0.5, "eval_f1_macro": 0.25, "eval_samples": 4, "eval_runtime": 0.5}'
    )
    code, _, err = run("card", folder, "--dataset_name", "Songs")
    assert code == 0, err
    text = (folder / "README.md").read_text()
    assert (
        "Measured on the validation split of Songs.\n\n| metric | value |\n|---|---|\n| Accuracy | 0.7500 |\n"
        "| F1 | 0.5000 |\n| F1 (macro) | 0.2500 |\n\n" in text
    )
    assert (
        "| validation loss | Accuracy | F1 |\n" in text
        and "| 1 | 0.5 | 0.25 | 0.75 | 0.5 |" in text
        and "`bad`, `fair`, `good`" in text
    )


@pytest.mark.parametrize("name", ["reviews", "data/reviews"])
def test_local_data_set_is_never_one_of_the_hub(run, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    folder = save_classifier(tmp_path / "model")
    (tmp_path / name).mkdir(parents=True)
    save_settings(folder, {"dataset_name": name, "train_file": None})
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    code, _, err = run("card", folder)
    assert code == 0, err
    card = ModelCard.load(folder / "README.md")
    assert card.data.datasets is None and "reviews.\n" in card.text


def test_config_file_may_name_one_language_and_a_folder_of_digits(run, tmp_path, monkeypatch):
    save_classifier(tmp_path / "2024")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "card.yaml").write_text("folder: 2024\ndataset_name: Songs\nlanguages: en\n")
    code, _, err = run("card", "--config", "card.yaml")
    assert code == 0, err
    assert ModelCard.load(tmp_path / "2024" / "README.md").data.language == ["en"]


def test_folder_without_records_needs_the_name_of_the_data(run, tmp_path):
    folder = save_classifier(tmp_path / "model")
    code, _, err = run("card", folder)
    assert code == 1 and "Say what the data is called with --dataset_name" in err
    assert not (folder / "README.md").exists()
    code, _, err = run("card", folder, "--dataset_name", "Songs", "--example_text", "a bird sang")
    assert code == 0, err
    text = (folder / "README.md").read_text()
    assert "This model has not been evaluated." in text and "a bird sang" in text and LATENCY.search(text)


def test_card_of_a_language_model_is_written(run, tmp_path):
    folder = save_language_model(tmp_path / "model")
    code, _, err = run("card", folder, "--dataset_name", "Songs", "--example_text", "a bird")
    assert code == 0, err
    card = ModelCard.load(folder / "README.md")
    assert card.data.pipeline_tag == "text-generation" and "a bird" in card.text


def test_card_of_a_token_classifier_runs(run, tmp_path, monkeypatch):
    tokenizer, labels = make_tokenizer(), {0: "O", 1: "NAME", 2: "PLACE"}
    config = LstmConfig(vocab_size=len(tokenizer), embedding_size=5, hidden_size=6, id2label=labels)
    LstmForTokenClassification(config).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    code, _, err = run("card", tmp_path / "model", "--dataset_name", "Names", "--example_text", "a dog ran")
    assert code == 0, err
    text = (tmp_path / "model" / "README.md").read_text()
    assert "gives each token one of 3 labels" in text and "`O`, `NAME`, `PLACE`" in text and LATENCY.search(text)
    monkeypatch.chdir(tmp_path)
    with redirect_stdout(io.StringIO()) as output:
        exec(text.split("```python\n")[1].split("```")[0], {})
    assert "'entity'" in output.getvalue()
    assert "needs LstmForSequenceClassification or" in run("predict", "model", "--input", "texts.txt")[2]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--languages", "English"], "must be ISO 639 codes"),
        (["--dataset_id", "no name"], "must be a name on the Hub"),
        (["--licence", "mit"], "Did you mean 'license_name'?"),
    ],
)
def test_wrong_metadata_is_an_error(run, tmp_path, flags, message):
    code, _, err = run("card", save_classifier(tmp_path / "model"), "--dataset_name", "Songs", *flags)
    assert code in (1, 2) and message in err


def test_broken_records_are_errors(run, tmp_path):
    folder = save_classifier(tmp_path / "model")
    for path in (tmp_path / "none", folder / "config.json"):
        assert "is no folder" in run("card", path)[2]
    (folder / "metrics.json").write_text("[]")
    assert "must hold names and values" in run("card", folder)[2]
    (folder / "metrics.json").write_text("{")
    assert "metrics.json' cannot be read" in run("card", folder)[2]
    for content in ('{"metrics": [1]}', '{"log_history": {"a": 1}}', '{"examples": ["a"]}'):
        (folder / "metrics.json").write_text(content)
        assert re.search(r"metrics.json' has .* as '\w+', which must be .*Mend it", run("card", folder)[2])
    (folder / "metrics.json").unlink()
    for name in ("source_lang", "model_name_or_path", "validation_file"):
        (folder / "run_settings.json").write_text(json.dumps({"train_file": "a.csv", name: 3}))
        assert f"run_settings.json' has 3 as '{name}', which must be a str" in run("card", folder)[2]
    (folder / "run_settings.json").unlink()
    (folder / "README.md").write_text("---\nlanguage: [en\n---\n")
    assert "README.md' cannot be read" in run("card", folder, "--dataset_name", "Songs")[2]


def test_broken_facts_are_an_error_that_leaves_the_card(run, trained, tmp_path):
    folder = shutil.copytree(trained["classifier"], tmp_path / "model")
    facts = json.loads((folder / "card_facts.json").read_text())
    (folder / "card_facts.json").write_text(json.dumps(facts | {"max_length": "long"}))
    before = (folder / "README.md").read_text()
    code, _, err = run("card", folder)
    assert code == 1 and (folder / "README.md").read_text() == before
    assert "card_facts.json' cannot be used" in err and "'max_length' with value 'long'" in err and "Mend it" in err
