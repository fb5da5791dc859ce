"""Translation from sentence to tokens: greedy and with five beams, one sentence or 32, and ever longer outputs."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.speed.models import count_parameters, load_translator
from benchmarks.speed.settings import PRECISIONS, import_peer, pick_fastest, with_precision
from benchmarks.speed.texts import choose_texts, translation_texts
from benchmarks.speed.transformer_peers import make_marian, make_t5
from benchmarks.speed.translator_peers import convert_marian, translate
from benchmarks.speed.variants import Runner, Section, Setup, Variant

TITLE = "Generation, from sentence to tokens"
OUTPUT_LENGTH = 20  # also that of the trials in which the best settings are chosen
LENGTHS = (20, 200, 2000)
SENTENCES = 8  # that follow each other at batch 1
OTHER_WEIGHTS = "another model, random weights"
LONGEST = 2048

Generate = Callable[..., Any]  # takes sentences and, optionally, how many tokens to write for each
Outputs = Callable[[int], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Work:
    """Sentences of a batch, batches that follow each other, kept hypotheses, and tokens to write for each sentence."""

    setup: Setup
    batch_size: int
    num_batches: int
    num_beams: int
    length: int

    def batches(self, seed: int) -> list[list[str]]:
        """Returns the sentences of a seed, in batches."""
        pool = translation_texts(self.setup.data).test
        texts = choose_texts(pool, self.batch_size * self.num_batches, seed)
        return [texts[start : start + self.batch_size] for start in range(0, len(texts), self.batch_size)]

    def count(self, seed: int) -> float:
        """Returns the number of tokens that are written."""
        return float(self.batch_size * self.num_batches * self.length)

    def make_runner(self, generate: Generate, parameters: int, **others: Any) -> Runner:
        """Makes a runner that translates the sentences of a seed."""
        batches = cache(self.batches)

        def run(seed: int) -> None:
            for batch in batches(seed):
                generate(batch, self.length)

        return Runner(run, parameters, warm_up=lambda: generate(batches(self.setup.seeds[0])[0], 4), **others)

    def make_tuned(
        self,
        candidates: dict[str, Generate],
        parameters: int,
        outputs_by: Callable[[Generate], Outputs],
        **others: Any,
    ) -> Runner:
        """
        Makes a runner of the fastest of several ways, whose outputs `outputs_by` gives of that way.

        Where outputs are long, a trial of a few tokens decides: a whole one would take minutes, and its memory would
        stay with the process whose memory is measured.
        """
        trial = replace(self, length=min(self.length, OUTPUT_LENGTH))
        runs = {name: trial.make_runner(generate, parameters).run for name, generate in candidates.items()}
        is_whole = trial.length == self.length
        chosen = pick_fastest(runs, self.setup.seeds[0], repeats=1 if is_whole else 4)
        generate, settings = candidates[chosen], chosen if is_whole else f"{chosen}, chosen at {trial.length} tokens"
        return self.make_runner(generate, parameters, settings=settings, outputs=outputs_by(generate), **others)


def make_generate(work: Work, model: Any, tokenizer: Any, pad_token_id: int) -> Callable[..., torch.Tensor]:
    """
    Returns a function that writes `length` tokens for each sentence through the ordinary `generate`.

    No token ends a sentence, so that all peers write equally much.

    Args:
        work (`Work`): What to do.
        model (`PreTrainedModel`): The translator.
        tokenizer (`PreTrainedTokenizerBase`): The tokenizer, which all share.
        pad_token_id (`int`): Token that fills shorter sources.
    """
    model.generation_config.eos_token_id = None
    model.generation_config.forced_eos_token_id = None

    def generate(sentences: list[str], length: int = work.length) -> torch.Tensor:
        encoded = tokenizer(sentences, padding=True, return_tensors="pt")
        input_ids = encoded["input_ids"].masked_fill(encoded["attention_mask"] == 0, pad_token_id)
        return model.generate(
            input_ids=input_ids,
            attention_mask=encoded["attention_mask"],
            do_sample=False,
            num_beams=work.num_beams,
            max_new_tokens=length,
        )

    return generate


def tokens_of(work: Work, generate: Callable[..., torch.Tensor]) -> Outputs:
    """Returns a function that gives the tokens written for the first batch, without the one that starts them."""
    return lambda seed: {"tokens": generate(work.batches(seed)[0])[:, 1:].numpy()}


def make_ours(work: Work, precision: str = "fp32", best: bool = False) -> Runner:
    """Makes a runner of our translator through the ordinary `generate`; at its best, as peers at theirs."""
    from hf_lstm.models.quantization_lstm import LstmInt8Config, quantize_weights

    loaded, settings = load_translator(work.setup), "inference mode"
    num_parameters = count_parameters(loaded.model)
    if precision != "fp32":  # a copy, for the other rows share the model
        loaded = loaded._replace(model=copy.deepcopy(loaded.model))
    if precision == "bf16":
        loaded.model.to(torch.bfloat16)
    elif precision == "int8":
        quantize_weights(loaded.model, 0 if work.setup.quick else LstmInt8Config().min_weights)
        settings = "LstmInt8Config, inference mode"
    plain = make_generate(work, loaded.model, loaded.tokenizer, loaded.tokenizer.pad_token_id)
    outputs_by, describe = partial(tokens_of, work), f"translator: {loaded.origin}"
    if not best:
        return work.make_runner(plain, num_parameters, outputs=outputs_by(plain), describe=describe)
    generate = torch.inference_mode()(plain)
    if precision != "fp32":
        others = {"describe": describe, "settings": settings}
        return work.make_runner(generate, num_parameters, outputs=outputs_by(generate), **others)
    candidates = {f"{settings}, matmul precision {name}": with_precision(name, generate) for name in PRECISIONS}
    return work.make_tuned(candidates, num_parameters, outputs_by, describe=describe)


def make_transformer(work: Work, name: str, best: bool, precision: str = "fp32") -> Runner:
    """Makes a runner of a transformer through the ordinary `generate`."""
    tokenizer = load_translator(work.setup).tokenizer
    if name == "Marian":
        model = make_marian(len(tokenizer), work.setup, LONGEST)
        pad_token_id = len(tokenizer)
    else:
        model, pad_token_id = make_t5(len(tokenizer), work.setup), 0
    model = model.to(torch.bfloat16 if precision == "bf16" else torch.float32)
    plain = make_generate(work, model, tokenizer, pad_token_id)
    if not best:
        return work.make_runner(plain, count_parameters(model), outputs=tokens_of(work, plain))
    generate = torch.inference_mode()(plain)
    if precision == "bf16":
        return work.make_runner(generate, count_parameters(model), settings="inference mode, sdpa")
    candidates = {
        f"inference mode, sdpa, matmul precision {matmul}": with_precision(matmul, generate) for matmul in PRECISIONS
    }
    return work.make_tuned(candidates, count_parameters(model), partial(tokens_of, work))


@cache
def find_converted(setup: Setup) -> tuple[Path, int]:
    """Converts Marian's model, and returns where it is and how many parameters it has."""
    tokenizer = load_translator(setup).tokenizer
    model = make_marian(len(tokenizer), setup, LONGEST)
    parameters = count_parameters(model)
    tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    return convert_marian(model, tokens, setup.scratch / f"marian-{setup.threads}"), parameters


def make_ctranslate2(work: Work, compute_type: str, best: bool) -> Runner:
    """Makes a runner of the same Marian in CTranslate2, with its threads inside a batch or over batches."""
    ctranslate2 = import_peer("ctranslate2")
    tokenizer = load_translator(work.setup).tokenizer
    folder, parameters = find_converted(work.setup)
    threads = work.setup.threads

    def translate_by(inter_threads: int, **settings: Any) -> Callable[..., list[list[str]]]:
        translator = ctranslate2.Translator(
            str(folder), compute_type=compute_type, inter_threads=inter_threads, intra_threads=threads // inter_threads
        )
        return lambda sentences, length=work.length: translate(
            translator,
            [tokenizer.convert_ids_to_tokens(row) for row in tokenizer(sentences)["input_ids"]],
            length,
            work.num_beams,
            **settings,
        )

    def outputs_by(generate: Callable[..., list[list[str]]]) -> Outputs:
        convert = tokenizer.convert_tokens_to_ids
        return lambda seed: {"tokens": np.array([convert(row) for row in generate(work.batches(seed)[0])])}

    if not best:
        plain = translate_by(1)
        return work.make_runner(plain, parameters, outputs=outputs_by(plain))
    candidates: dict[str, Generate] = {}
    for inter_threads in sorted({1, threads}, reverse=True):
        for size in sorted({0, work.batch_size // threads}):
            name = f"inter_threads {inter_threads}, intra_threads {threads // inter_threads}, max_batch_size {size}"
            candidates[name] = translate_by(inter_threads, max_batch_size=size)
    return work.make_tuned(candidates, parameters, outputs_by)


def make_variants(work: Work) -> list[Variant]:
    """Lists what is compared in a section."""
    medium = "fp32, medium allowed"
    marian = "Marian, transformers"
    rounded, narrow = "same weights, rounded to 8 bits", "same weights, rounded to bfloat16"
    found = [
        Variant("ours", partial(make_ours, work), remark="its bare steps: case overhead"),
        Variant("ours, best", partial(make_ours, work, best=True), precision=medium, remark="the same weights"),
        Variant("ours in bf16, best", partial(make_ours, work, "bf16", best=True), precision="bf16", remark=narrow),
        Variant("ours, int8", partial(make_ours, work, "int8"), "LstmInt8Config", "int8", remark=rounded),
        Variant("ours, int8, best", partial(make_ours, work, "int8", best=True), precision="int8", remark=rounded),
    ]
    for name in ("Marian", "T5-small"):
        found += [
            Variant(
                f"{name}, transformers",
                partial(make_transformer, work, name, best=False),
                remark=OTHER_WEIGHTS,
            ),
            Variant(
                f"{name}, transformers, best",
                partial(make_transformer, work, name, best=True),
                precision=medium,
                remark=OTHER_WEIGHTS,
            ),
            Variant(
                f"{name}, transformers, bf16, best",
                partial(make_transformer, work, name, best=True, precision="bf16"),
                precision="bf16",
                remark=OTHER_WEIGHTS,
            ),
        ]
    for compute_type, precision in (("float32", "fp32"), ("int8", "int8")):
        exact: dict[str, Any] = {"remark": rounded}
        if precision == "fp32":
            # Hypotheses whose scores are equal except for rounding may come in another order.
            exact = {"reference": marian, "tolerance": 0.05}
        for suffix, best in (("", False), (", best", True)):
            found.append(
                Variant(
                    f"Marian, CTranslate2 {precision}{suffix}",
                    partial(make_ctranslate2, work, compute_type, best),
                    settings="default",
                    precision=precision,
                    process="ctranslate2",
                    packages=("ctranslate2",),
                    **exact,
                )
            )
    return found


def sections(setup: Setup) -> list[Section]:
    """Lists the sections: by search and batch size, then the curve over the length of the output."""
    length = 4 if setup.quick else OUTPUT_LENGTH
    found = []
    for name, num_beams in (("greedy", 1), ("5 beams", 5)):
        for batch_size in (1, 32):
            num_batches = 1 if batch_size > 1 or setup.quick else SENTENCES
            work = Work(setup, batch_size, num_batches, num_beams, length)
            found.append(
                Section(
                    f"{name}, batch {batch_size}",
                    "written tokens",
                    work.count,
                    make_variants(work),
                    note=f"{length} tokens for each sentence, all with one vocabulary; tokenising is timed.",
                )
            )
    for length in (4, 8) if setup.quick else LENGTHS:
        work = Work(setup, 1, 1, 1, length)
        kept = ("ours", "ours, int8", "Marian, transformers, best", "T5-small, transformers, best")
        variants = [
            variant
            for variant in make_variants(work)
            if variant.name in kept or (variant.name.startswith("Marian, CTranslate2") and "best" not in variant.name)
        ]
        found.append(
            Section(
                f"output of {length:,} tokens",
                "written tokens",
                work.count,
                [without_outputs(variant) for variant in variants],
                curve="tokens of the output, greedy, batch 1",
                point=length,
                memory=True,
                most_rounds=3 if length < LENGTHS[-1] else 1,
                note="Memory is what the process grows by while it writes.",
            )
        )
    return found


def without_outputs(variant: Variant) -> Variant:
    """Returns a variant that is not compared: over long outputs, a first rounding error decides all the rest."""
    remark = variant.remark or "compared in the sections above"
    return replace(variant, make=lambda: replace(variant.make(), outputs=None), reference=None, remark=remark)
