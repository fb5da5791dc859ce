"""
Loads the checkpoints in a folder with the code they bring along, and writes down what came of it.

Runs as a program of its own, in which `hf_lstm` cannot be imported: `python remote_program.py FOLDER RESULTS`.
"""

import importlib.abc
import json
import sys
from pathlib import Path
from typing import Any


class Absent(importlib.abc.MetaPathFinder):
    """Makes the package look as if it were not installed."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        if fullname.split(".")[0] == "hf_lstm":
            raise ModuleNotFoundError(f"No module named {fullname!r}")


sys.meta_path.insert(0, Absent())

import torch  # noqa: E402
import transformers  # noqa: E402
from transformers import AutoConfig, AutoTokenizer  # noqa: E402

TEXTS = ["zwei hunde", "ein hund läuft im gras"]
TARGETS = ["two dogs are playing", "a child"]
PIPELINES = {
    "model": "feature-extraction",
    "classifier": "text-classification",
    "tagger": "token-classification",
    "language_model": "text-generation",
    "translator": "lstm-translation",
}


def load_tokenizer(folder: Path | str, **arguments: Any) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(folder, **arguments)
    # Generation goes on at the right end.
    tokenizer.padding_side = "left" if Path(folder).name.startswith("language_model") else "right"
    return tokenizer


def run_model(folder: Path | str, auto_class: str, **arguments: Any) -> dict[str, Any]:
    """Loads one class of a checkpoint and runs it on texts; heads that are new have random scores, left out here."""
    loader = getattr(transformers, auto_class)
    model, info = loader.from_pretrained(folder, output_loading_info=True, **arguments)
    tokenizer = load_tokenizer(folder, **arguments)
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    decoder_inputs = {}
    if model.config.is_encoder_decoder:
        targets = tokenizer(text_target=TARGETS, padding=True, return_tensors="pt")["input_ids"]
        decoder_inputs = {"decoder_input_ids": targets}
    result: dict[str, Any] = {
        "class": type(model).__name__,
        "tokenizer_class": type(tokenizer).__name__,
        "missing": sorted(info["missing_keys"]),
        "unexpected": sorted(info["unexpected_keys"]),
        "input_ids": batch["input_ids"].tolist(),
        "states": model.base_model(**batch, **decoder_inputs).last_hidden_state.tolist(),
    }
    if not info["missing_keys"]:
        if "AutoModelFor" in auto_class:
            result["scores"] = model(**batch, **decoder_inputs).logits.tolist()
        if model.can_generate():
            modes = {"greedy": {}, "beams": {"num_beams": 3}, "no_cache": {"use_cache": False}}
            written = {name: model.generate(**batch, max_new_tokens=5, **mode) for name, mode in modes.items()}
            result["generated"] = {name: tokenizer.batch_decode(ids) for name, ids in written.items()}
    return result


def run_all(folder: Path, **arguments: Any) -> dict[str, Any]:
    """Runs every model that a checkpoint's `auto_map` names."""
    names = json.loads((folder / "config.json").read_text(encoding="utf-8"))["auto_map"]
    return {name: run_model(folder, name, **arguments) for name in names if name.startswith("AutoModel")}


def run_pipeline(task: str | None, folder: Path, **arguments: Any) -> Any:
    options = {} if task == "feature-extraction" else {"batch_size": 2}
    pipe = transformers.pipeline(task, model=str(folder), device="cpu", **arguments)
    if pipe.task in ("text-generation", "lstm-translation"):
        pipe.tokenizer.padding_side = "left" if pipe.task == "text-generation" else "right"
        options |= {"max_new_tokens": 5, "do_sample": False}
    # Numbers of numpy become those of Python.
    return json.loads(json.dumps(pipe(TEXTS, **options), default=float))


def save_again(folder: Path, again: Path) -> None:
    """Loads the model and the tokenizer of a checkpoint and saves them elsewhere."""
    architecture = json.loads((folder / "config.json").read_text(encoding="utf-8"))["architectures"][0]
    names = AutoConfig.from_pretrained(folder, trust_remote_code=True).auto_map
    (auto_class,) = (name for name, value in names.items() if architecture == str(value).split(".")[-1])
    getattr(transformers, auto_class).from_pretrained(folder, trust_remote_code=True).save_pretrained(again)
    load_tokenizer(folder, trust_remote_code=True).save_pretrained(again)


def fine_tune(folder: Path, output: Path) -> dict[str, Any]:
    """Trains a classifier for one step, which saves a checkpoint."""
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True)
    tokenizer = load_tokenizer(folder, trust_remote_code=True)
    before = model.classifier.weight.clone()
    rows = [{**tokenizer(text), "labels": label} for label, text in enumerate(TEXTS)]
    settings = {"max_steps": 1, "save_steps": 1, "learning_rate": 0.1, "report_to": "none", "use_cpu": True}
    arguments = transformers.TrainingArguments(output, per_device_train_batch_size=2, disable_tqdm=True, **settings)
    transformers.Trainer(model, arguments, train_dataset=rows, processing_class=tokenizer).train()
    saved = run_model(output / "checkpoint-1", "AutoModelForSequenceClassification", trust_remote_code=True)
    with torch.no_grad():
        model.eval()
        scores = model(**tokenizer(TEXTS, padding=True, return_tensors="pt")).logits.tolist()
    return {"has_changed": not torch.equal(before, model.classifier.weight), "scores": scores, "saved": saved}


def try_without_trust(folder: Path) -> str:
    try:
        transformers.AutoModel.from_pretrained(folder, trust_remote_code=False)
    except ValueError as error:
        return str(error)
    return "loaded"


def main(folder: Path, results: Path) -> None:
    torch.set_num_threads(1)
    trusted = {"trust_remote_code": True}
    names = sorted(path.name for path in folder.iterdir())
    found: dict[str, Any] = {"models": {name: run_all(folder / name, **trusted) for name in names}}
    found["pipelines"] = {name: run_pipeline(task, folder / name, **trusted) for name, task in PIPELINES.items()}
    found["named_pipeline"] = run_pipeline(None, folder / "translator", **trusted)
    again = results.parent / "again"
    for name in names:
        save_again(folder / name, again / name)
    translator = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder / "translator", **trusted)
    translator.get_encoder().save_pretrained(again / "encoder_again")
    load_tokenizer(folder / "translator", **trusted).source_tokenizer.save_pretrained(again / "encoder_again")
    found["again"] = {path.name: run_all(path, **trusted) for path in sorted(again.iterdir())}
    found["fine_tuned"] = fine_tune(folder / "classifier", results.parent / "tuned")
    found["without_trust"] = try_without_trust(folder / "model")
    found["imported"] = [name for name in sys.modules if name.split(".")[0] == "hf_lstm"]
    results.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
