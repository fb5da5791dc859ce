"""What is measured: each data set's protocol, and the figures it is held against."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Protocol:
    """
    How one data set is measured and what its figures are compared with.

    Args:
        name (`str`): Folder below `data/accuracy`, and name of the recipe.
        title (`str`): Name in the table of results.
        bar (`float`): Accuracy in percent that the model must reach.
        goal (`float`): Accuracy in percent that is aimed at.
        naive_lstm (`float`, *optional*):
            Accuracy of a one-layer bidirectional LSTM with max pooling, dropout 0.5 and no other measures (one seed).
        seeds (`tuple[int, ...]`): Seeds that are averaged.
        folds (`tuple[int, ...]`): Folds of a cross-validation, each trained per seed; empty for one fixed split.
        unseen (`bool`): Whether the test texts that do not occur in the training data are scored by themselves too.
        rule (`str`): The splits and what was held back, in words.
    """

    name: str
    title: str
    bar: float
    goal: float
    naive_lstm: float | None
    rule: str
    seeds: tuple[int, ...] = (1, 2, 3)
    folds: tuple[int, ...] = ()
    unseen: bool = False


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("sst2", "SST-2, sentences", 82.5, 84.0, 81.6, "official splits; trained on sentences only"),
        Protocol(
            "sst2_phrases",
            "SST-2, with phrases",
            85.5,
            87.0,
            85.2,
            "official splits; trained on sentences and on the labelled phrases of the training trees, less those that "
            "are equal to a dev or test sentence",
        ),
        Protocol(
            "mr",
            "MR",
            77.5,
            79.0,
            77.3,
            "mean of the 10 folds; dev is the tenth of each training part chosen by the md5 of the text; settings "
            "fixed before the first fold; the naive figure is fold 0's",
            folds=tuple(range(10)),
        ),
        Protocol(
            "imdb",
            "IMDb",
            89.0,
            91.0,
            None,
            "official split; dev is the tenth of train chosen by the md5 of the text",
            seeds=(1, 2),
        ),
        Protocol(
            "r8", "R8", 96.5, 97.5, 95.0, "official split; dev is the tenth of train chosen by the md5 of the text"
        ),
        Protocol(
            "tnews",
            "TNEWS (Chinese news titles)",
            55.0,
            57.0,
            51.0,
            "dev is the tenth of train chosen by the md5 of the text; the released dev is used once, as test; unseen: "
            "its titles that are not in the released train",
            unseen=True,
        ),
        Protocol(
            "online_shopping",
            "online_shopping (Chinese sentiment)",
            93.5,
            94.5,
            92.6,
            "80/10/10 by the md5 of the text, repeated texts dropped",
        ),
    )
}
