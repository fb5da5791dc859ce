"""Model cards: what a model is, how to use it, what it was trained on, and how good it is."""

import math
import re
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .card_facts import CardFacts, build_facts, load_facts
from .latency import measure_latency

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
_CURVE_TITLES = {"epoch": "epoch", "loss": "training loss", "eval_loss": "validation loss"}
# What a configuration holds, an encoder–decoder's too, besides the labels and what all models have.
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
# How an encoder–decoder writes.
_GENERATION = ("num_beams", "length_penalty", "max_length", "max_new_tokens")
_IMPORT = "import hf_lstm  # where it is not installed, leave this out and add trust_remote_code=True below"
CURVE_NAME = "training_curve.png"
_MAX_CURVE_ROWS = 20
_MAX_LABEL_LENGTH = 60


def write_model_card(
    directory: str | Path,
    *,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None = None,
    metadata: dict[str, Any] | None = None,
    **facts: Any,
) -> Path:
    """
    Writes the model card `README.md` of a trained model, with the picture `training_curve.png` if the folder holds it.

    Args:
        directory (`str` or `Path`): The model's folder.
        model (`PreTrainedModel`): The model.
        tokenizer (`PreTrainedTokenizerBase`, *optional*): Its tokenizer. With it, the card says how long the example
            text takes on the CPU.
        metadata (`dict[str, Any]`, *optional*): Fields of the card's metadata that are taken as they are, in place of
            what the facts say, such as those of an earlier card.
        facts: The fields of `CardFacts`, of which `dataset_name` is needed.

    Returns:
        `Path`: The file.

    Raises:
        ValueError: If a fact breaks its rule.
    """
    directory = Path(directory)
    known = build_facts(**facts)
    name = known.model_name or directory.resolve().name
    pipeline_tag = _pipeline_tag(model, known.task)
    measured_id = known.evaluation_dataset_id if known.evaluation_dataset_name else known.dataset_id
    results = {metric: _number(value) for metric, value in known.metrics.items()}
    fields: dict[str, Any] = {
        "language": known.languages or None,
        "license": known.license_name or None,
        "datasets": [known.dataset_id] if known.dataset_id else None,
        "base_model": known.base_model or None,
    }
    data = ModelCardData(
        library_name=LIBRARY_NAME,
        pipeline_tag=pipeline_tag,
        tags=[CARD_TAG, "lstm", pipeline_tag],
        metrics=sorted({_metric_type(metric) for metric in results}) or None,
        model_name=name,
        eval_results=[
            EvalResult(
                task_type=pipeline_tag,
                dataset_type=measured_id or "private",
                dataset_name=known.evaluation_dataset_name or known.dataset_name,
                dataset_split=known.split_name,
                metric_type=_metric_type(metric),
                metric_name=_title(metric, known),
                metric_value=round(value, 6),
            )
            for metric, value in results.items()
            if math.isfinite(value)
        ]
        or None,
        **fields | (metadata or {}),
    )
    card = ModelCard.from_template(
        data,
        template_path=str(TEMPLATE_PATH),
        model_name=_plain(name),
        summary=_summarise(model, pipeline_tag, known.reads_pairs),
        usage=_write_usage(model, pipeline_tag, known.hub_model_id or directory.resolve().name, known),
        label_names=[_code(label) for label in _label_names(model, pipeline_tag)],
        results=[(_cell(_title(metric, known)), f"{value:.4f}") for metric, value in results.items()],
        dataset_name=_plain(known.dataset_name),
        measured_on=_plain(known.evaluation_dataset_name or f"the {known.split_name} split of {known.dataset_name}"),
        num_train_rows=known.num_train_rows and f"{known.num_train_rows:,}",
        num_evaluation_rows=known.num_evaluation_rows and f"{known.num_evaluation_rows:,}",
        data_notes=known.data_notes,
        num_parameters=f"{sum(weight.numel() for weight in model.parameters()):,}",
        architecture=[(key, _cell(getattr(model.config, key))) for key in _architecture(model)],
        latency=_describe_latency(model, tokenizer, known),
        hyper_parameters=[(_cell(key), _cell(value)) for key, value in _settings(model, known).items()],
        curve=_tabulate_curve(known),
        curve_picture=CURVE_NAME if (directory / CURVE_NAME).exists() else None,
        limits=[*_write_limits(model, pipeline_tag, known), *known.limits],
    )
    path = directory / "README.md"
    path.write_text(re.sub(r"\n{3,}", "\n\n", str(card)).strip() + "\n", encoding="utf-8")
    return path


def name_repository(directory: str | Path, hub_model_id: str) -> bool:
    """
    Makes the usage example of a card that training wrote load the model from the Hub. All else in the card stays.

    Args:
        directory (`str` or `Path`): The model's folder.
        hub_model_id (`str`): Where the model is to be found on the Hub, such as `"user/model"`.

    Returns:
        `bool`: Whether the card, if training wrote one, now says so.

    Raises:
        ValueError: If `card_facts.json` cannot be used, or `hub_model_id` is no such name.
    """
    directory, path = Path(directory), Path(directory) / "README.md"
    facts = load_facts(directory)
    if facts is None or not path.exists():
        return True
    content = path.read_text(encoding="utf-8")
    location = facts.hub_model_id or directory.resolve().name
    build_facts(**vars(facts) | {"hub_model_id": hub_model_id}).save(directory)
    for start in ("model=", "from_pretrained("):
        content = content.replace(f"{start}{location!r})", f"{start}{hub_model_id!r})")
    path.write_text(content, encoding="utf-8")
    return f"{hub_model_id!r})" in content


def _describe_latency(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None, facts: CardFacts
) -> str | None:
    pair = facts.example_text_pair if facts.reads_pairs else None
    if tokenizer is None or facts.example_text is None or (facts.reads_pairs and pair is None):
        return None
    return measure_latency(model, tokenizer, _prefix(model) + facts.example_text, facts.max_length, pair).describe()


def _settings(model: PreTrainedModel, facts: CardFacts) -> dict[str, Any]:
    """Returns how the model was trained, and how it generates if it is an encoder–decoder."""
    names = _GENERATION if model.config.is_encoder_decoder else ()
    values = {name: getattr(model.generation_config, name) for name in names}
    return facts.hyper_parameters | {name: value for name, value in values.items() if value is not None}


def _label_names(model: PreTrainedModel, pipeline_tag: str) -> list[str]:
    if pipeline_tag not in ("text-classification", "token-classification"):
        return []
    return [] if model.config.problem_type == "regression" else list(model.config.id2label.values())


def _title(metric: str, facts: CardFacts) -> str:
    title = _METRIC_TITLES.get(metric, metric)
    return title if facts.has_macro_means or metric.endswith("_macro") else title.removesuffix(" (macro)")


def _tabulate_curve(facts: CardFacts) -> list[list[str]]:
    """
    Makes a table of the evaluations while training, its header first; empty without any.

    Of many evaluations, it shows evenly spread ones, the last among them.
    """
    titles = _CURVE_TITLES | {f"eval_{metric}": _title(metric, facts) for metric in _METRIC_TITLES}
    step = max(1, math.ceil(len(facts.curve) / _MAX_CURVE_ROWS))
    kept = facts.curve[::-1][::step][::-1]
    names = dict.fromkeys(key for row in kept for key in ("epoch", "loss", "eval_loss", *row) if key in row)
    keys = [key for key in names if key in titles]
    if not keys:
        return []
    cells = [[f"{_number(row[key]):.4g}" if key in row else "" for key in keys] for row in kept]
    return [[titles[key] for key in keys], *cells]


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _architecture(model: PreTrainedModel) -> list[str]:
    left_out: tuple[str, ...] = _REPEATED if model.config.is_encoder_decoder else ()
    if not type(model).__name__.endswith("ForSequenceClassification"):
        left_out += tuple(key for key in _ARCHITECTURE if key.startswith("classifier_"))
    return [key for key in _ARCHITECTURE if hasattr(model.config, key) and key not in left_out]


def _pipeline_tag(model: PreTrainedModel, task: str | None = None) -> str:
    name = type(model).__name__
    if task in _GENERATION_TASKS:
        return _GENERATION_TASKS[task][0]
    return next((tag for ending, tag in _PIPELINE_TAGS.items() if name.endswith(ending)), "feature-extraction")


def _metric_type(metric: str) -> str:
    # The Hub knows F1, precision and recall without their averages.
    return re.sub("_(macro|micro|weighted)$", "", metric)


def _summarise(model: PreTrainedModel, pipeline_tag: str, reads_pairs: bool) -> str:
    config = model.config
    read = "a pair of texts" if reads_pairs else "a text"
    kind = "bidirectional LSTM" if getattr(config, "bidirectional", False) else "LSTM"
    if config.is_encoder_decoder:
        kind = "LSTM encoder–decoder" + ("" if config.attention_type == "none" else " with attention")
    task = {
        "text-classification": f"predicts a number for {read}",
        "token-classification": f"gives each token one of {config.num_labels} labels",
        "text-generation": "continues texts",
        "text2text-generation": "turns a text into another",
        **{tag: what for tag, _, what in _GENERATION_TASKS.values()},
    }.get(pipeline_tag, "encodes texts")
    if pipeline_tag == "text-classification" and config.problem_type != "regression":
        several = "any" if config.problem_type == "multi_label_classification" else "one"
        task = f"gives {read} {several} of {config.num_labels} labels"
    article = "An" if kind.startswith("LSTM") else "A"
    return f"{article} {kind} that {task}, trained with hf_lstm and `transformers`."


def _write_usage(model: PreTrainedModel, pipeline_tag: str, location: str, facts: CardFacts) -> str:
    text = _shorten(facts.example_text, "A text to try.")
    options = ""
    pipeline_name = {tag: name for tag, name, _ in _GENERATION_TASKS.values()}.get(pipeline_tag, pipeline_tag)
    if pipeline_tag == "text2text-generation":
        return _write_generation("AutoModelForSeq2SeqLM", location, _prefix(model) + text)
    if pipeline_tag == "text-generation":
        return _write_generation("AutoModelForCausalLM", location, text, ", max_new_tokens=50")
    if pipeline_tag == "text-classification" and facts.reads_pairs:
        return _write_pair_classification(model, location, text, _shorten(facts.example_text_pair, "Another text."))
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


def _shorten(text: str | None, default: str) -> str:
    return " ".join((text or "").split())[:200] or default


def _prefix(model: PreTrainedModel) -> str:
    return getattr(model.config, "prefix", None) or ""


def _write_pair_classification(model: PreTrainedModel, location: str, text: str, text_pair: str) -> str:
    # The pipeline of transformers takes no lists of pairs.
    options = ", top_k=None" if model.config.problem_type == "multi_label_classification" else ""
    return (
        f"{_IMPORT}\n"
        "from transformers import AutoModelForSequenceClassification, AutoTokenizer\n\n"
        f"tokenizer = AutoTokenizer.from_pretrained({location!r})\n"
        f"model = AutoModelForSequenceClassification.from_pretrained({location!r})\n"
        f"print(model.predict([{text!r}], tokenizer, text_pairs=[{text_pair!r}]{options}))"
    )


def _write_generation(auto_class: str, location: str, text: str, options: str = "") -> str:
    # Decoded as a whole, for new tokens lose the space after the prompt where they are decoded by themselves.
    return (
        f"{_IMPORT}\n"
        f"from transformers import {auto_class}, AutoTokenizer\n\n"
        f"tokenizer = AutoTokenizer.from_pretrained({location!r})\n"
        f"model = {auto_class}.from_pretrained({location!r}).eval()\n"
        f'ids = model.generate(**tokenizer([{text!r}], return_tensors="pt"){options})\n'
        "print(tokenizer.batch_decode(ids, skip_special_tokens=True)[0])"
    )


def _write_limits(model: PreTrainedModel, pipeline_tag: str, facts: CardFacts) -> list[str]:
    limits = [_write_origin(facts)]
    if pipeline_tag == "translation" and facts.source_language and facts.target_language:
        source, target = facts.source_language, facts.target_language
        limits.append(f"It reads {source} and writes {target}; other texts give meaningless results.")
    elif facts.languages:
        knows = "knows" if pipeline_tag == "translation" else "reads"
        limits.append(f"It {knows} {', '.join(facts.languages)}; texts in other languages give meaningless results.")
    if facts.max_length is not None:
        limits.append(f"It was trained on the first {facts.max_length:,} tokens of a text; cut longer ones likewise.")
    is_classifier = pipeline_tag == "text-classification"
    if is_classifier and model.config.problem_type in (None, "single_label_classification"):
        limits.append("A text that fits none of the labels gets one of them all the same.")
    if is_classifier and model.config.problem_type != "regression":
        limits.append("Scores rank the labels; they are not calibrated chances of being right.")
    return limits


def _write_origin(facts: CardFacts) -> str:
    """Says what the model learned from besides the data that the card names."""
    if facts.base_model or facts.is_fine_tuned:
        names = [facts.base_model] if isinstance(facts.base_model, str) else facts.base_model
        start = " and ".join(names or ()) or "a local model"
        return f"Its training began with {start} and went on with the data above; it expects texts like those."
    if facts.is_fine_tuned is None:
        return "It expects texts like those of the data above."
    return "It was trained on the data above alone, and expects texts like those."


def _code(text: str) -> str:
    """Marks a text as code, on one line, cut, and with a fence that it does not end by itself."""
    text = " ".join(text.split())
    text = text if len(text) <= _MAX_LABEL_LENGTH else f"{text[: _MAX_LABEL_LENGTH - 1]}…"
    if "`" not in text:
        return f"`{text}`"
    fence = "`" * (1 + max(map(len, re.findall("`+", text))))
    return f"{fence} {text} {fence}"


def _plain(text: str) -> str:
    """Returns a text in which Markdown and HTML see no more than its characters."""
    # Underscores within a word style nothing, and most names have them.
    text = re.sub(r"([\\`*\[\]<>|#&~]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", " ".join(text.split()))
    return re.sub(r"^(\d*)([-+.)]) ", r"\1\\\2 ", text)  # or else it would begin a list


def _cell(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return " ".join(text.split()).replace("|", "\\|") or "none"
