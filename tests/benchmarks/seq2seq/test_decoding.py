from collections.abc import Sequence

import pytest
import torch

from benchmarks.seq2seq import decoding
from benchmarks.seq2seq.decoding import Decoding, Generator, choose_decoding
from hf_lstm import LstmForConditionalGeneration, LstmSeq2SeqConfig, LstmTokenizer

SOURCES = ["a b c d e", "b", "c a", "e d c", "d e f g a b c", "g"]


@pytest.fixture
def generator() -> Generator:
    tokenizer = LstmTokenizer.train_from_iterator(
        ["a b c d e f g"], algorithm="word", min_frequency=1, add_eos=True, show_progress=False
    )
    torch.manual_seed(3)
    config = LstmSeq2SeqConfig(
        vocab_size=len(tokenizer),
        encoder_embedding_size=5,
        decoder_embedding_size=5,
        encoder_hidden_size=6,
        decoder_hidden_size=7,
        encoder_layers=1,
        decoder_layers=1,
        attention_type="luong_general",
    )
    model = LstmForConditionalGeneration(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)  # so that different sources give different texts
    model.generation_config.max_new_tokens = 6
    return Generator(model, tokenizer, max_source_length=4)


@pytest.mark.parametrize("settings", [Decoding(1), Decoding(3, 0.7)])
def test_batches_give_what_each_source_alone_gives(
    generator: Generator, settings: Decoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "MAX_ROWS", 4)
    together = generator.generate(SOURCES, settings)
    assert together == [generator.generate([source], settings)[0] for source in SOURCES]
    assert len(set(together)) > 1


def test_sources_are_cut_and_prefixed(generator: Generator) -> None:
    # Three words and the end are read.
    assert generator.generate(["a b c d"], Decoding(1)) == generator.generate(["a b c e f"], Decoding(1))
    prefixed = Generator(generator.model, generator.tokenizer, 4, source_prefix="g ")
    assert prefixed.generate(["a b"], Decoding(1)) == generator.generate(["g a b"], Decoding(1))


class Recorded:
    """Stands for a generator: writes down how it is asked to decode."""

    def __init__(self) -> None:
        self.asked: list[Decoding] = []

    def generate(self, sources: Sequence[str], settings: Decoding) -> list[str]:
        self.asked.append(settings)
        return [f"{settings.num_beams} {settings.length_penalty}"]


def test_best_settings_win_and_the_cheapest_of_equals() -> None:
    scores = {"1 1.0": 3.0, "5 1.0": 4.0, "5 1.4": 4.0}
    recorded = Recorded()
    best, trials = choose_decoding(recorded, ["a"], lambda hypotheses: scores.get(hypotheses[0], 1.0))
    assert best == Decoding(5, 1.0)
    assert recorded.asked == list(decoding.GRID)
    assert {"num_beams": 5, "length_penalty": 1.4, "score": 4.0} in trials
    assert recorded.asked[0] == Decoding(1)
