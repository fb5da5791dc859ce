"""Model cards: what a model is, how to use it, what it was trained on, and how good it is."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from transformers import PreTrainedModel

from .latency import Latency

LIBRARY_NAME = "transformers"
CARD_TAG = "hf_lstm"
TEMPLATE_PATH = Path(__file__).with_name("model_card_template.md")
_PIPELINE_TAGS = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForCausalLM": "text-generation",
    "ForConditionalGeneration": "text2text-generation",
}
_GENERATION_TASKS = {
    "translation": ("translation", "lstm-translation", "translates texts"),
    "summarization": ("summarization", "lstm-summarization", "summarises texts"),
}
_METRIC_TITLES = {
    "accuracy": "Accuracy",
    "f1": "F1 (macro)",
    "f1_macro": "F1 (macro)",
    "f1_micro": "F1 (micro)",
    "f1_weighted": "F1 (weighted)",
    "precision": "Precision (macro)",
    "recall": "Recall (macro)",
    "matthews_correlation": "Matthews correlation",
    "mse": "Mean squared error",
    "pearsonr": "Pearson correlation",
    "spearmanr": "Spearman correlation",
    "bleu": "BLEU",
    "bleu_lowercase": "BLEU (without case)",
    "chrf": "chrF",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
    "exact_match": "Exact match",
    "token_accuracy": "Token accuracy",
}
# What a classifier's configuration holds besides the labels and what all models have.
_ARCHITECTURE = (
    "vocab_size",
    "embedding_size",
    "hidden_size",
    "num_hidden_layers",
    "bidirectional",
    "classifier_pooling",
    "classifier_shortcut",
    "ngram_orders",
    "classifier_ngram_orders",
    "encoder_vocab_size",
    "encoder_embedding_size",
    "decoder_embedding_size",
    "encoder_hidden_size",
    "decoder_hidden_size",
    "encoder_layers",
    "decoder_layers",
    "encoder_bidirectional",
    "attention_type",
    "input_feeding",
    "copy_attention",
)
# Names under which an encoder–decoder's configuration repeats what it calls by its side.
_REPEATED = ("embedding_size", "hidden_size", "num_hidden_layers")
_IMPORT = "import hf_lstm  # pip install hf_lstm; without it, leave this out and add trust_remote_code=True below"
CURVE_NAME = "training_curve.png"
_MAX_CURVE_ROWS = 20
_LANGUAGE = re.compile(r"[a-z]{2,3}|multilingual|code")
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


def write_model_card(
    directory: str | Path,
    *,
    model: PreTrainedModel,
    dataset_name: str,
    task: str | None = None,
    metrics: dict[str, float] | None = None,
    hyper_parameters: dict[str, Any] | None = None,
    label_names: Sequence[str] = (),
    model_name: str | None = None,
    dataset_id: str | None = None,
    split_name: str = "test",
    num_train_rows: int | None = None,
    num_evaluation_rows: int | None = None,
    data_notes: str = "",
    languages: Sequence[str] = (),
    license_name: str | None = None,
    base_model: str | None = None,
    max_length: int | None = None,
    limits: Sequence[str] = (),
    example_text: str | None = None,
    hub_id: str | None = None,
    log_history: Sequence[dict[str, Any]] = (),
    latency: Latency | None = None,
) -> Path:
    """
    Writes the model card `README.md` of a trained model.

    Args:
        directory (`str` or `Path`): The model's folder.
        model (`PreTrainedModel`): The model.
        dataset_name (`str`): What the training data is called.
        task (`str`, *optional*): What an encoder–decoder does: `"translation"`, `"summarization"` or another.
        metrics (`dict[str, float]`, *optional*): Measured figures by name, such as `{"accuracy": 0.91}`. Names that
            have no title here are shown as they are.
        hyper_parameters (`dict[str, Any]`, *optional*): How it was trained.
        label_names (`Sequence[str]`): Names of the classes.
        model_name (`str`, *optional*): By default the folder's name.
        dataset_id (`str`, *optional*): The training data's name on the Hub, such as `"stanfordnlp/sst2"`, if it is
            there.
        split_name (`str`, defaults to `"test"`): Split that the metrics were measured on.
        num_train_rows (`int`, *optional*): Number of training examples.
        num_evaluation_rows (`int`, *optional*): Number of examples that the metrics were measured on.
        data_notes (`str`): More about the training data.
        languages (`Sequence[str]`): ISO 639 codes, such as `["en", "zh"]`.
        license_name (`str`, *optional*): The weights' licence, such as `"apache-2.0"`.
        base_model (`str`, *optional*): The model on the Hub that training began with.
        max_length (`int`, *optional*): Tokens of a text that are read.
        limits (`Sequence[str]`): Further limits.
        example_text (`str`, *optional*): A text for the usage example.
        hub_id (`str`, *optional*): Where the model is to be found on the Hub, such as `"user/model"`; the usage
            example loads it from there, else from the folder.
        log_history (`Sequence[dict[str, Any]]`): `trainer.state.log_history`, of which the card shows the curve; the
            picture `training_curve.png` is shown as well if the folder holds one.
        latency (`Latency`, *optional*): How long an answer takes on the CPU.

    Returns:
        `Path`: The file.

    Raises:
        ValueError: If a language is no ISO 639 code, or `dataset_id` or `hub_id` no name of the Hub.
    """
    directory = Path(directory)
    name = model_name or directory.resolve().name
    metrics = metrics or {}
    _check_metadata(languages, dataset_id=dataset_id, hub_id=hub_id)
    pipeline_tag = _pipeline_tag(model, task)
    data = ModelCardData(
        language=list(languages) or None,
        license=license_name,
        library_name=LIBRARY_NAME,
        pipeline_tag=pipeline_tag,
        tags=[CARD_TAG, "lstm", pipeline_tag],
        datasets=[dataset_id] if dataset_id else None,
        metrics=sorted({_metric_type(metric) for metric in metrics}) or None,
        base_model=base_model,
        model_name=name,
        eval_results=[
            EvalResult(
                task_type=pipeline_tag,
                dataset_type=dataset_id or "private",
                dataset_name=dataset_name,
                dataset_split=split_name,
                metric_type=_metric_type(metric),
                metric_name=_METRIC_TITLES.get(metric, metric),
                metric_value=round(float(value), 6),
            )
            for metric, value in metrics.items()
        ]
        or None,
    )
    card = ModelCard.from_template(
        data,
        template_path=str(TEMPLATE_PATH),
        model_name=name,
        summary=_summarise(model, pipeline_tag, len(label_names)),
        usage=_write_usage(model, pipeline_tag, hub_id or str(directory), example_text),
        label_names=[f"`{label}`" for label in label_names],
        results=[(_METRIC_TITLES.get(metric, metric), f"{value:.4f}") for metric, value in metrics.items()],
        dataset_name=dataset_name,
        split_name=split_name,
        num_train_rows=num_train_rows and f"{num_train_rows:,}",
        num_evaluation_rows=num_evaluation_rows and f"{num_evaluation_rows:,}",
        data_notes=data_notes,
        num_parameters=f"{sum(weight.numel() for weight in model.parameters()):,}",
        architecture=[(key, _cell(getattr(model.config, key))) for key in _architecture(model)],
        latency=None if latency is None else latency.describe(),
        hyper_parameters=[(key, _cell(value)) for key, value in (hyper_parameters or {}).items()],
        curve=_tabulate_curve(log_history),
        curve_picture=CURVE_NAME if (directory / CURVE_NAME).exists() else None,
        limits=[*_write_limits(model, pipeline_tag, languages, max_length), *limits],
    )
    path = directory / "README.md"
    path.write_text(re.sub(r"\n{3,}", "\n\n", str(card)).strip() + "\n", encoding="utf-8")
    return path


def _check_metadata(languages: Sequence[str], **hub_ids: str | None) -> None:
    wrong = [language for language in languages if not _LANGUAGE.fullmatch(language)]
    if wrong:
        raise ValueError(
            f"`languages` has {wrong}, but must be ISO 639 codes such as 'en' or 'zh', or 'multilingual'."
        )
    for name, hub_id in hub_ids.items():
        if hub_id is not None and not _HUB_ID.fullmatch(hub_id):
            raise ValueError(
                f"`{name}` is {hub_id!r}, but must be a name on the Hub, such as 'stanfordnlp/sst2'. Leave it out for "
                "what is not there."
            )


def _tabulate_curve(log_history: Sequence[dict[str, Any]]) -> list[list[str]]:
    """
    Makes a table of the evaluations while training, its header first; empty without any.

    Of many evaluations, it shows evenly spread ones, the last among them.
    """
    rows: list[dict[str, Any]] = []
    loss: dict[str, Any] = {}
    for entry in log_history:
        loss = {"training loss": entry["loss"]} if "loss" in entry else loss
        if "eval_loss" in entry:
            named = {key.removeprefix("eval_"): value for key, value in entry.items() if key.startswith("eval_")}
            figures = {_METRIC_TITLES[key]: value for key, value in named.items() if key in _METRIC_TITLES}
            rows.append({"epoch": entry["epoch"], **loss, "validation loss": named["loss"], **figures})
    if not rows:
        return []
    step = math.ceil(len(rows) / _MAX_CURVE_ROWS)
    kept = rows[::-1][::step][::-1]
    header = list(dict.fromkeys(key for row in kept for key in row))
    return [header] + [[f"{row[key]:.4g}" if key in row else "" for key in header] for row in kept]


def _architecture(model: PreTrainedModel) -> list[str]:
    left_out = _REPEATED if model.config.is_encoder_decoder else ()
    return [key for key in _ARCHITECTURE if hasattr(model.config, key) and key not in left_out]


def _pipeline_tag(model: PreTrainedModel, task: str | None = None) -> str:
    name = type(model).__name__
    if task in _GENERATION_TASKS:
        return _GENERATION_TASKS[task][0]
    return next((tag for ending, tag in _PIPELINE_TAGS.items() if name.endswith(ending)), "feature-extraction")


def _metric_type(metric: str) -> str:
    # The Hub knows F1, precision and recall without their averages.
    return re.sub("_(macro|micro|weighted)$", "", metric)


def _summarise(model: PreTrainedModel, pipeline_tag: str, num_labels: int) -> str:
    config = model.config
    kind = "bidirectional LSTM" if getattr(config, "bidirectional", False) else "LSTM"
    if config.is_encoder_decoder:
        kind = "LSTM encoder–decoder" + ("" if config.attention_type == "none" else " with attention")
    task = {
        "text-classification": "predicts a number for a text",
        "token-classification": f"gives each token one of {num_labels} labels",
        "text-generation": "continues texts",
        "text2text-generation": "turns a text into another",
        **{tag: what for tag, _, what in _GENERATION_TASKS.values()},
    }.get(pipeline_tag, "encodes texts")
    if pipeline_tag == "text-classification" and config.problem_type != "regression":
        several = "any" if config.problem_type == "multi_label_classification" else "one"
        task = f"gives a text {several} of {config.num_labels} labels"
    article = "An" if kind.startswith("LSTM") else "A"
    return f"{article} {kind} that {task}, trained with hf_lstm and `transformers`."


def _write_usage(model: PreTrainedModel, pipeline_tag: str, location: str, example_text: str | None) -> str:
    text = "A text to try." if example_text is None else " ".join(example_text.split())[:200]
    options = ""
    pipeline_name = {tag: name for tag, name, _ in _GENERATION_TASKS.values()}.get(pipeline_tag, pipeline_tag)
    if pipeline_tag == "text2text-generation":
        return _write_generation(location, (getattr(model.config, "prefix", None) or "") + text)
    if pipeline_tag == "text-classification":
        problem_type = model.config.problem_type
        options = {"regression": ', function_to_apply="none"', "multi_label_classification": ", top_k=None"}.get(
            problem_type or "", ""
        )
    return (
        f"{_IMPORT}\n"
        "from transformers import pipeline\n\n"
        f'predict = pipeline("{pipeline_name}", model={location!r})\n'
        f"print(predict({text!r}{options}))"
    )


def _write_generation(location: str, text: str) -> str:
    return (
        f"{_IMPORT}\n"
        "from transformers import AutoModelForSeq2SeqLM, AutoTokenizer\n\n"
        f"tokenizer = AutoTokenizer.from_pretrained({location!r})\n"
        f"model = AutoModelForSeq2SeqLM.from_pretrained({location!r}).eval()\n"
        f'ids = model.generate(**tokenizer([{text!r}], return_tensors="pt"))\n'
        "print(tokenizer.batch_decode(ids, skip_special_tokens=True)[0])"
    )


def _write_limits(
    model: PreTrainedModel, pipeline_tag: str, languages: Sequence[str], max_length: int | None
) -> list[str]:
    limits = ["It was trained on the data above alone, and expects texts like those."]
    if pipeline_tag == "translation" and len(languages) == 2:
        limits.append(f"It reads {languages[0]} and writes {languages[1]}; other texts give meaningless results.")
    elif languages:
        limits.append(f"It reads {', '.join(languages)}; texts in other languages give meaningless results.")
    if max_length is not None:
        limits.append(f"It was trained on the first {max_length:,} tokens of a text; cut longer ones likewise.")
    is_classifier = pipeline_tag == "text-classification"
    if is_classifier and model.config.problem_type in (None, "single_label_classification"):
        limits.append("A text that fits none of the labels gets one of them all the same.")
    if is_classifier and model.config.problem_type != "regression":
        limits.append("Scores rank the labels; they are not calibrated chances of being right.")
    return limits


def _cell(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return text.replace("|", "\\|").replace("\n", " ") or "none"
