"""Classified documents a second, from raw text to label and score; and the time that one document takes by itself."""

import copy
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import torch

from benchmarks.speed.models import Loaded, count_parameters, load_classifier
from benchmarks.speed.settings import PRECISIONS, import_peer, pick_fastest, with_precision
from benchmarks.speed.texts import choose_texts, labelled_texts
from benchmarks.speed.transformer_peers import BERT_SIZES, make_bert_classifier, make_bert_tokenizer
from benchmarks.speed.variants import Runner, Section, Setup, Variant
from hf_lstm.models.prediction_lstm import sorted_batches

TITLE = "Documents, end to end"
DOCUMENTS, LATENCY_DOCUMENTS = 512, 16
TRIAL_DOCUMENTS = 128  # with which the best settings are chosen
BATCH_SIZES = (8, 32, 128)
OTHER_MODEL, OTHER_WEIGHTS = "another model", "another model, random weights"

Predict = Callable[[list[str]], Any]
Outputs = Callable[[int], dict[str, np.ndarray]]


class Documents:
    """
    The texts of a section.

    Args:
        setup (`Setup`): What the run is set up with.
        single (`bool`): Whether they are classified one by one, as they come in.
        most (`int`, *optional*): Texts at most.
    """

    def __init__(self, setup: Setup, single: bool, most: int = DOCUMENTS):
        self.setup, self.single = setup, single
        count = LATENCY_DOCUMENTS if single else DOCUMENTS
        self.size = 8 if setup.quick else min(count, most)

    def count(self, seed: int) -> float:
        """Returns the number of texts."""
        return float(self.size)

    def texts(self, seed: int) -> list[str]:
        """Returns the texts of a seed."""
        return choose_texts(labelled_texts(self.setup.data).test, self.size, seed)

    def calls(self, seed: int) -> list[list[str]]:
        """Returns the texts of a seed as they come: all at once, or one by one."""
        texts = self.texts(seed)
        return [[text] for text in texts] if self.single else [texts]

    def make_runner(self, predict: Predict, parameters: int | None, **others: Any) -> Runner:
        """Makes a runner that classifies the texts of a seed, all at once or one by one."""
        calls = cache(self.calls)

        def run(seed: int) -> None:
            for texts in calls(seed):
                predict(texts)

        return Runner(run, parameters, **others)

    def make_tuned(
        self,
        candidates: dict[str, Predict],
        parameters: int | None,
        outputs_by: Callable[[Predict], Outputs] | None = None,
        **others: Any,
    ) -> Runner:
        """Makes a runner of the fastest of several ways, whose outputs `outputs_by` gives of that way."""
        trial = Documents(self.setup, self.single, TRIAL_DOCUMENTS)
        runs = {name: trial.make_runner(predict, parameters).run for name, predict in candidates.items()}
        chosen = pick_fastest(runs, self.setup.seeds[0], repeats=1)
        outputs = None if outputs_by is None else outputs_by(candidates[chosen])
        return self.make_runner(candidates[chosen], parameters, settings=chosen, outputs=outputs, **others)

    def batch_sizes(self) -> Sequence[int]:
        """Returns the batch sizes to choose from."""
        return (1,) if self.single else BATCH_SIZES


def predict_sorted(model: Any, tokenizer: Any, texts: list[str], batch_size: int) -> list[int]:
    """
    Classifies texts as fast as a model of transformers can: tokenised together, in batches of similar length.

    Args:
        model (`PreTrainedModel`): The classifier.
        tokenizer (`PreTrainedTokenizerBase`): Its tokenizer.
        texts (`list[str]`): The texts.
        batch_size (`int`): Texts of a batch.
    """
    encoded = tokenizer(texts, truncation=True, max_length=512)["input_ids"]
    labels = [0] * len(texts)
    with torch.inference_mode():
        for rows in sorted_batches([len(row) for row in encoded], batch_size, 2**30):
            batch = tokenizer.pad({"input_ids": [encoded[row] for row in rows]}, return_tensors="pt")
            scores = model(**batch).logits.float().softmax(dim=-1)
            for row, label in zip(rows, scores.argmax(dim=-1).tolist()):
                labels[row] = label
    return labels


def make_ours_predict(documents: Documents, best: bool = False, bf16: bool = False) -> Runner:
    """Makes a runner of the model's own `predict`."""
    loaded = load_classifier(documents.setup)
    if bf16:  # a copy, for the other rows share the model
        loaded = loaded._replace(model=copy.deepcopy(loaded.model).to(torch.bfloat16))

    def predict_by(batch_size: int | None) -> Predict:
        sizes = {} if batch_size is None else {"batch_size": batch_size}
        return lambda texts: loaded.model.predict(texts, loaded.tokenizer, progress_bar=False, **sizes)

    parameters, describe = count_parameters(loaded.model), f"classifier: {loaded.origin}"
    outputs_by = partial(scores_by, documents, loaded.model)
    if not best:
        plain = predict_by(None)
        return documents.make_runner(plain, parameters, outputs=outputs_by(plain), describe=describe)
    candidates = {
        f"batches of {size}, matmul precision {precision}": with_precision(precision, predict_by(size))
        for size in documents.batch_sizes()
        for precision in (PRECISIONS[:1] if bf16 else PRECISIONS)
    }
    return documents.make_tuned(candidates, parameters, outputs_by, describe=describe)


def scores_by(documents: Documents, model: Any, predict: Predict) -> Outputs:
    """Returns a function that gives the labels and scores which a way of classifying gives the texts of a seed."""

    def outputs(seed: int) -> dict[str, np.ndarray]:
        predictions = [prediction for texts in documents.calls(seed) for prediction in predict(texts)]
        labels = [model.config.label2id[prediction["label"]] for prediction in predictions]
        return {"label": np.array(labels), "score": np.array([prediction["score"] for prediction in predictions])}

    return outputs


def make_pipeline_runner(documents: Documents, load: Callable[[], Loaded], best: bool = False) -> Runner:
    """
    Makes a runner of transformers' pipeline.

    Args:
        documents (`Documents`): The texts.
        load (`Callable[[], Loaded]`): Gives the model and its tokenizer.
        best (`bool`): Whether to take the fastest batch size and precision; one text at a time by default.
    """
    from transformers import pipeline

    model, tokenizer, _ = load()
    classify = pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu")

    def predict_by(batch_size: int) -> Predict:
        return lambda texts: classify(texts, batch_size=batch_size, truncation=True, max_length=512)

    parameters, outputs_by = count_parameters(model), partial(scores_by, documents, model)
    if not best:
        plain = predict_by(1)
        return documents.make_runner(plain, parameters, outputs=outputs_by(plain))
    candidates = {
        f"batches of {size}, matmul precision {precision}": with_precision(precision, predict_by(size))
        for size in documents.batch_sizes()
        for precision in PRECISIONS
    }
    return documents.make_tuned(candidates, parameters, outputs_by)


def make_bert_best(documents: Documents, name: str, precision: str) -> Runner:
    """Makes a runner of a BERT at its best settings: sorted batches, inference mode, sdpa or eager attention."""
    tokenizer = make_bert_tokenizer(labelled_texts(documents.setup.data).train)
    models = {
        attention: make_bert_classifier(name, documents.setup, precision, attention) for attention in ("sdpa", "eager")
    }

    def predict_by(attention: str, batch_size: int) -> Predict:
        return lambda texts: predict_sorted(models[attention], tokenizer, texts, batch_size)

    candidates = {
        f"sorted batches of {size}, {attention}, matmul precision {matmul}": with_precision(
            matmul, predict_by(attention, size)
        )
        for size in documents.batch_sizes()
        for attention in models
        for matmul in (PRECISIONS if precision == "fp32" else PRECISIONS[:1])
    }
    return documents.make_tuned(candidates, count_parameters(models["sdpa"]))


def load_bert(documents: Documents, name: str) -> Loaded:
    """Builds a BERT and its tokenizer."""
    texts = labelled_texts(documents.setup.data).train
    return Loaded(make_bert_classifier(name, documents.setup), make_bert_tokenizer(texts), "random weights")


def make_linear(documents: Documents, best: bool) -> Runner:
    """Makes a runner of TF-IDF of word 1-2-grams with a linear support vector machine; in fp32 at its best."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    texts = labelled_texts(documents.setup.data)
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), dtype=np.float32 if best else np.float64)
    model = make_pipeline(vectorizer, LinearSVC()).fit(texts.train, texts.labels)
    return documents.make_runner(model.predict, int(model[-1].coef_.size + model[-1].intercept_.size))


@cache
def train_fasttext(setup: Setup) -> tuple[Any, int]:
    """Trains fastText with word pairs, and returns it with its number of parameters."""
    texts = labelled_texts(setup.data)
    file = setup.scratch / f"fasttext-{setup.threads}.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"__label__{label} {' '.join(text.split())}" for label, text in zip(texts.labels, texts.train)]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    buckets = 1000 if setup.quick else 2_000_000  # the latter is the default
    model = import_peer("fasttext").train_supervised(
        str(file), wordNgrams=2, verbose=0, thread=setup.threads, bucket=buckets
    )
    return model, (len(model.words) + buckets + len(model.labels)) * model.get_dimension()


def make_fasttext(documents: Documents, best: bool) -> Runner:
    """Makes a runner of fastText: text by text by default, all texts in one call at its best."""
    model, parameters = train_fasttext(documents.setup)

    def one_by_one(texts: list[str]) -> None:
        for text in texts:
            model.predict(text.replace("\n", " "))

    def all_at_once(texts: list[str]) -> None:
        model.predict([text.replace("\n", " ") for text in texts])

    return documents.make_runner(all_at_once if best else one_by_one, parameters)


def make_variants(documents: Documents) -> list[Variant]:
    """Lists what is compared in a section."""
    best: dict[str, Any] = {"precision": "fp32, medium allowed", "tolerance": 2e-2}
    load_ours = partial(load_classifier, documents.setup)
    reference = "ours, pipeline"
    found = [
        Variant("ours, predict", partial(make_ours_predict, documents), reference=reference),
        Variant("ours, predict, best", partial(make_ours_predict, documents, True), reference=reference, **best),
        Variant(
            "ours in bf16, predict, best",
            partial(make_ours_predict, documents, True, bf16=True),
            precision="bf16",
            reference=reference,
            tolerance=2e-2,
        ),
        Variant(reference, partial(make_pipeline_runner, documents, load_ours), remark="the reference"),
        Variant(
            "ours, pipeline, best",
            partial(make_pipeline_runner, documents, load_ours, best=True),
            reference=reference,
            **best,
        ),
    ]
    for name in BERT_SIZES:
        found += [
            Variant(
                f"{name}, pipeline",
                partial(make_pipeline_runner, documents, partial(load_bert, documents, name)),
                remark=OTHER_WEIGHTS,
            ),
            *(
                Variant(
                    f"{name}, {precision}, best",
                    partial(make_bert_best, documents, name, precision),
                    precision=precision if precision == "bf16" else "fp32, medium allowed",
                    remark=OTHER_WEIGHTS,
                )
                for precision in ("fp32", "bf16")
            ),
        ]
    for suffix, is_best in (("", False), (", best", True)):
        found += [
            Variant(
                f"TF-IDF, linear{suffix}",
                partial(make_linear, documents, is_best),
                settings="numbers of 32 bits" if is_best else "default",
                precision="fp32" if is_best else "fp64",
                packages=("sklearn",),
                remark=OTHER_MODEL,
            ),
            Variant(
                f"fastText{suffix}",
                partial(make_fasttext, documents, is_best),
                settings="all texts in one call" if is_best else "text by text",
                process="fasttext",
                packages=("fasttext",),
                remark=OTHER_MODEL,
            ),
        ]
    return found


def sections(setup: Setup) -> list[Section]:
    """Lists the sections: many documents, and one at a time."""
    many, single = Documents(setup, single=False), Documents(setup, single=True)
    note = "From raw text to label: tokenising, making batches and reading are timed. Linear models are faster still; "
    note += "their accuracy stands beside ours in `docs/results.md`."
    return [
        Section("throughput", "documents", many.count, make_variants(many), note=note),
        Section(
            "one at a time",
            "documents",
            single.count,
            make_variants(single),
            note="Each document by itself: a second divided by the rate is the latency. " + note,
        ),
    ]
