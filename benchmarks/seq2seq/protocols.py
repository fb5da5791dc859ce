"""What is measured: each task's protocol, and the figures it is held against."""

from dataclasses import dataclass, field

BLEU_FIGURES = ("bleu_lowercase", "bleu", "chrf")
ROUGE_FIGURES = ("rouge1", "rouge2", "rougeL")


@dataclass(frozen=True)
class Held:
    """
    One test file, and what its main figure is compared with.

    Args:
        name (`str`): Name of the file, without its suffix.
        title (`str`): Name in the table of results.
        bar (`float`, *optional*): Figure that the model must reach.
        goal (`float`, *optional*): Figure that is aimed at.
    """

    name: str
    title: str
    bar: float | None = None
    goal: float | None = None


@dataclass(frozen=True)
class Protocol:
    """
    How one task is measured and what its figures are compared with.

    Args:
        name (`str`): Name of the recipe: the folder below `data/seq2seq`, then source and target language if any.
        title (`str`): Name in the table of results.
        tests (`tuple[Held, ...]`): The test files, each decoded once.
        figures (`tuple[str, ...]`): What is scored.
        main (`str`): The figure on validation data that beams and the settings of baselines are chosen by.
        rule (`str`): The splits and how they are scored, in words.
        bleu_tokenize (`str`): sacreBLEU's tokenizer.
        unit (`str`): What the baselines cut texts into: `"word"` or `"char"`.
        baselines (`tuple[str, ...]`): Those of `baselines.py` that are measured beside.
        humans (`bool`): Whether the test rows have targets by other people, scored separately.
        seeds (`tuple[int, ...]`): Seeds that are averaged.
    """

    name: str
    title: str
    tests: tuple[Held, ...]
    figures: tuple[str, ...]
    main: str
    rule: str
    bleu_tokenize: str = "13a"
    unit: str = "word"
    baselines: tuple[str, ...] = ()
    humans: bool = False
    seeds: tuple[int, ...] = field(default=(1, 2))


_MULTI30K = (
    "official splits; one reference; the main figure is sacreBLEU with tokenizer 13a, lower-cased, and the one with "
    "case stands beside it"
)
_TATOEBA = (
    "splits by the md5 of the English sentence, so that one with several translations lies in one split. Each row is "
    "scored against its own translation alone: where a sentence has several, the others count as wrong"
)

PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "multi30k_de_en",
            "Multi30k German → English",
            (
                Held("test2016", "test2016", 43.0, 45.0),
                Held("test2017", "test2017"),
                Held("coco", "COCO 2017"),
            ),
            BLEU_FIGURES,
            "bleu_lowercase",
            _MULTI30K,
        ),
        Protocol(
            "multi30k_en_de",
            "Multi30k English → German",
            (
                Held("test2016", "test2016", 38.5, 41.0),
                Held("test2017", "test2017", 30.0, 33.4),
                Held("coco", "COCO 2017", 26.0, 30.0),
            ),
            BLEU_FIGURES,
            "bleu_lowercase",
            _MULTI30K,
        ),
        Protocol(
            "tatoeba_en_zh",
            "Tatoeba English → Chinese",
            (Held("test", "test"),),
            ("bleu", "chrf"),
            "bleu",
            f"{_TATOEBA}; BLEU with sacreBLEU's tokenizer zh, which takes each character as a token",
            bleu_tokenize="zh",
        ),
        Protocol(
            "tatoeba_zh_en",
            "Tatoeba Chinese → English",
            (Held("test", "test"),),
            BLEU_FIGURES,
            "bleu",
            f"{_TATOEBA}; BLEU with tokenizer 13a, with case and lower-cased",
        ),
        Protocol(
            "aeslc",
            "AESLC (email → subject)",
            (Held("test", "test"),),
            ROUGE_FIGURES,
            "rougeL",
            "official splits; ROUGE with stemming, mean F-measure in percent, against the original subject. The three "
            "subjects that other people wrote for each test email are scored separately: against each alone, averaged "
            "(*each human*), and against whichever of the three is nearest, for each measure (*nearest human*). "
            "Emails repeat in the released data, some of them in another split; none is dropped. Before the email, "
            "the model reads the subjects of the three training emails that the nearest neighbour finds most similar "
            "to it. With the body alone it was not decoded on test: on dev it had stayed below the nearest neighbour",
            baselines=("lead", "nearest"),
            humans=True,
        ),
        Protocol(
            "csl_titles",
            "CSL (Chinese abstract → title)",
            (Held("test", "test"),),
            ROUGE_FIGURES,
            "rougeL",
            "official dev and test, but only 1,985 training pairs, so that figures published for the full set do not "
            "compare. The model also trains on pairs made of them: the same abstracts, with the traces of their title "
            "exchanged for those of another one, of the training pairs or of the 8,000 titles of CSL's field data "
            "(none is of dev or test). The baselines know the 1,985 alone. ROUGE by character (words of other "
            "alphabets count as one token), mean F-measure in percent",
            unit="char",
            baselines=("lead", "nearest"),
        ),
    )
}
