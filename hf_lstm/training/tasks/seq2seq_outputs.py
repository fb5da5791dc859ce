"""What training an encoder–decoder leaves behind beside the model: generated texts, heat-maps, report and card."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from ...data.pair_columns import SOURCE, TARGET
from ...models.modeling_lstm_seq2seq import LstmForConditionalGeneration
from ...models.tokenization_lstm import find_target_tokenizer
from ..attention_plot import AttentionExample, readable_tokens, save_attention_plots
from ..report import write_report
from ..seq2seq_arguments import LstmSeq2SeqTrainingArguments, Seq2SeqDataArguments, Seq2SeqModelArguments
from .card import pick_scores, write_card
from .seq2seq_data import Seq2SeqData

NUM_EXAMPLES = 20
# A longer text makes a picture that nobody can read.
MAX_PLOTTED_TOKENS = 40


def write_predictions(path: Path, split: Dataset, texts: list[str]) -> None:
    """Writes a line of JSON for each source: the source, the target if there is one, and the generated text."""
    with path.open("w", encoding="utf-8") as file:
        for row, text in zip(split, texts, strict=True):
            file.write(json.dumps(row | {"prediction": text}, ensure_ascii=False) + "\n")


def document_run(
    output_dir: Path,
    model: LstmForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    data: Seq2SeqData,
    metrics: dict[str, Any],
    predictions: dict[str, list[str]],
    log_history: list[dict[str, float]],
    data_arguments: Seq2SeqDataArguments,
    training_arguments: LstmSeq2SeqTrainingArguments,
    model_arguments: Seq2SeqModelArguments,
) -> None:
    """
    Writes the report with attention heat-maps, and the model card, on the test data or else on the validation data.

    Args:
        output_dir (`Path`): The model's folder.
        model (`LstmForConditionalGeneration`): The trained model.
        tokenizer (`PreTrainedTokenizerBase`): Its tokenizer.
        data (`Seq2SeqData`): What it was trained and scored on.
        metrics (`dict[str, Any]`): All the figures.
        predictions (`dict[str, list[str]]`): The generated texts of each split.
        log_history (`list[dict]`): The trainer's log.
        data_arguments (`Seq2SeqDataArguments`): Where the data came from.
        training_arguments (`LstmSeq2SeqTrainingArguments`): How the model was trained.
        model_arguments (`Seq2SeqModelArguments`): What training began with.
    """
    name, _ = pick_scores(metrics)
    split = data.splits().get(name)
    write_report(
        output_dir,
        metrics=metrics,
        log_history=log_history,
        metric_name=training_arguments.metric_for_best_model.removeprefix("eval_"),
        examples=[] if split is None else _examples(split, predictions.get(name)),
    )
    if split is not None and data_arguments.num_attention_plots and model.config.attention_type != "none":
        sources = _pick_sources(split, tokenizer, data_arguments)
        save_attention_plots(output_dir, attention_examples(model, tokenizer, sources))
    write_card(
        output_dir,
        model,
        tokenizer,
        data.splits(),
        SOURCE,
        metrics,
        log_history,
        data_arguments,
        training_arguments,
        model_arguments,
        task=data_arguments.task,
        max_length=data_arguments.max_source_length,
        **describe_languages(data_arguments.languages, data_arguments.source_lang, data_arguments.target_lang),
    )


def describe_languages(languages: list[str] | None, source: str | None, target: str | None) -> dict[str, Any]:
    """
    Returns what a card says of languages.

    Args:
        languages (`list[str]`, *optional*): What the user says of them; by default the two below.
        source (`str`, *optional*): Key of the source's language: of zh-CN, the card has zh; of no code, nothing.
        target (`str`, *optional*): Key of the target's language.
    """
    codes = [re.split("[-_]", name or "")[0].lower() for name in (source, target)]
    read, written = (code if re.fullmatch("[a-z]{2,3}", code) else None for code in codes)
    known = [code for code in dict.fromkeys((read, written)) if code is not None]
    return {"languages": languages or known, "source_language": read, "target_language": written}


def _examples(split: Dataset, texts: list[str] | None) -> list[dict[str, Any]]:
    """Lists the first sources with their right and generated targets."""
    rows = split.select(range(min(NUM_EXAMPLES, len(split)) if texts else 0))
    return [
        {"source": row[SOURCE][:300], "target": row.get(TARGET, "")[:300], "prediction": text[:300]}
        for row, text in zip(rows, texts or [])
    ]


def _pick_sources(split: Dataset, tokenizer: PreTrainedTokenizerBase, arguments: Seq2SeqDataArguments) -> list[str]:
    """Picks sources that are spread over the data and short enough to draw, whatever the model makes of them."""
    candidates = np.linspace(0, len(split) - 1, min(200, len(split))).astype(int).tolist()
    texts = [arguments.source_prefix + split[row][SOURCE] for row in candidates]
    lengths = [len(ids) for ids in tokenizer(texts)["input_ids"]]
    short = [text for text, length in zip(texts, lengths, strict=True) if 2 < length <= MAX_PLOTTED_TOKENS]
    step = max(1, len(short) // arguments.num_attention_plots)
    return short[::step][: arguments.num_attention_plots]


@torch.no_grad()
def attention_examples(
    model: LstmForConditionalGeneration, tokenizer: PreTrainedTokenizerBase, sources: list[str]
) -> list[AttentionExample]:
    """
    Generates a text for each source, and collects where the decoder looked while it wrote it.

    Args:
        model (`LstmForConditionalGeneration`): A model with attention.
        tokenizer (`PreTrainedTokenizerBase`): Its tokenizer.
        sources (`list[str]`): The texts.

    Returns:
        `list[AttentionExample]`: What `plot_attention` draws.
    """
    model.eval()
    target_tokenizer = find_target_tokenizer(tokenizer)
    examples = []
    for source in sources:
        inputs = tokenizer([source], return_tensors="pt").to(model.device)
        written = model.generate(**inputs)
        outputs = model(**inputs, decoder_input_ids=written[:, :-1], output_attentions=True)
        attention = outputs.cross_attentions[0][0].mean(dim=0).cpu()
        source_tokens = readable_tokens(getattr(tokenizer, "source_tokenizer", tokenizer), inputs["input_ids"][0])
        examples.append(AttentionExample(attention, source_tokens, readable_tokens(target_tokenizer, written[0, 1:])))
    return examples
