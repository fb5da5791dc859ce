import pytest
import torch
from transformers import GenerationConfig

from hf_lstm import LstmConfig, LstmForConditionalGeneration, LstmForSequenceClassification, LstmTokenizer
from hf_lstm.hub import latency
from hf_lstm.hub.latency import Latency, measure_latency
from tests.models.factories import make_seq2seq_model


@pytest.fixture(scope="module")
def tokenizer() -> LstmTokenizer:
    return LstmTokenizer.train_from_iterator(["a b c d e f"], algorithm="word", min_frequency=1, show_progress=False)


def make_classifier(vocab_size: int) -> LstmForSequenceClassification:
    return LstmForSequenceClassification(LstmConfig(vocab_size=vocab_size, embedding_size=3, hidden_size=4))


def test_texts_are_read_one_by_one_and_the_first_run_does_not_count(tokenizer, monkeypatch):
    model, seen = make_classifier(len(tokenizer)).train(), []
    model.register_forward_hook(lambda module, given, output: seen.append((module.training, output.logits.shape)))
    clock = iter([moment for run in range(21) for moment in (10.0 * run, 10.0 * run + (5.0, 0.010, 0.012)[run % 3])])
    monkeypatch.setattr(latency, "MAX_SECONDS", 1e9)
    monkeypatch.setattr(latency.time, "perf_counter", lambda: next(clock))
    measured = measure_latency(model, tokenizer, "a b c d", max_length=3)
    assert seen == [(False, (1, 2))] * 21
    # Of the 20 runs that count, 7 take 10 ms, 7 take 12 ms and 6 five seconds.
    assert measured.milliseconds == pytest.approx(12)
    assert (measured.num_tokens, measured.num_runs) == (3, 20)
    assert measured.num_threads == torch.get_num_threads()
    assert model.training


@pytest.mark.parametrize(("seconds", "num_runs"), [(0.7, 2), (2.5, 1)])
def test_slow_models_are_run_only_for_a_while(tokenizer, monkeypatch, seconds, num_runs):
    clock = iter([moment for run in range(9) for moment in (10.0 * run, 10.0 * run + seconds)])
    monkeypatch.setattr(latency.time, "perf_counter", lambda: next(clock))
    model = make_classifier(len(tokenizer)).eval()
    measured = measure_latency(model, tokenizer, "a b")
    assert (measured.num_runs, measured.milliseconds) == (num_runs, pytest.approx(1000 * seconds))
    assert not model.training


def test_encoder_decoders_generate(tokenizer, monkeypatch):
    model, lengths = make_seq2seq_model(vocab_size=len(tokenizer)), []
    model.generation_config = GenerationConfig(max_new_tokens=3, eos_token_id=None, pad_token_id=0, bos_token_id=2)
    model.generation_config.decoder_start_token_id = 2
    generate = LstmForConditionalGeneration.generate

    def note(self, *arguments, **kwargs):
        result = generate(self, *arguments, **kwargs)
        lengths.append(result.shape[1])
        return result

    monkeypatch.setattr(LstmForConditionalGeneration, "generate", note)
    assert measure_latency(model, tokenizer, "a b c").milliseconds > 0
    assert set(lengths) == {4}


@pytest.mark.parametrize(("threads", "shown"), [(1, "1 thread, "), (2, "2 threads, ")])
def test_description_names_what_was_measured(threads, shown):
    text = Latency(3.14159, 27, 20, threads, "Chip 9").describe()
    assert "27 tokens" in text and "3.14 ms" in text and "20 runs" in text and f"{shown}Chip 9" in text
