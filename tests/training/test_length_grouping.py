import numpy as np
import pytest
import torch
from datasets import Dataset
from torch.utils.data import DataLoader
from transformers import TrainerState

from hf_lstm.data.checks import InputError
from hf_lstm.data.noisy_texts import NoisyTexts
from hf_lstm.training.callbacks import EpochCallback
from hf_lstm.training.sampler import LengthGroupedSampler
from tests.training.factories import make_dataset, make_trainer


def test_default_sampler_is_ours_and_counts_the_global_batch(tmp_path, tokenizer):
    trainer = make_trainer(tmp_path, tokenizer, gradient_accumulation_steps=3, data_seed=8)
    sampler = trainer._get_train_sampler()

    assert isinstance(sampler, LengthGroupedSampler)
    assert (sampler.global_batch_size, sampler.seed) == (12, 8)


def test_epoch_reaches_sampler_of_resumed_ranks():
    from accelerate.data_loader import BatchSamplerShard, SkipBatchSampler
    from torch.utils.data import BatchSampler

    class Loader:
        sampler = LengthGroupedSampler([1, 2, 3], 2, seed=0)
        batch_sampler = SkipBatchSampler(BatchSamplerShard(BatchSampler(sampler, 1, False), 2, 0), 1)

    EpochCallback().on_epoch_begin(None, TrainerState(epoch=4.5), None, train_dataloader=Loader)

    assert Loader.sampler.epoch == 4


def test_epoch_reaches_texts_that_get_new_noise_each_time(tokenizer):
    texts = NoisyTexts(Dataset.from_dict({"text": ["a"]}), tokenizer, 9, lambda text, rate, *key: text, 0.5, 3)
    for epoch, expected in ((1.0, 1), (1.75, 1)):  # as it begins, and where a run is resumed within it
        texts.set_epoch(0)
        EpochCallback().on_epoch_begin(None, TrainerState(epoch=epoch), None, train_dataloader=DataLoader(texts))
        assert int(texts._epoch) == expected


def test_predictions_of_batches_come_in_order_of_the_data(tmp_path, tokenizer):
    output = make_trainer(tmp_path, tokenizer, eval_do_concat_batches=False).predict(make_dataset(17, seed=5))
    assert [len(batch) for batch in output.label_ids] == [7, 7, 3]
    assert np.concatenate(output.label_ids).tolist() == make_dataset(17, seed=5)["labels"][:]


def test_predictions_come_in_order_of_the_data(tmp_path, tokenizer):
    trainer = make_trainer(tmp_path, tokenizer)
    dataset = make_dataset(17, seed=5)
    output = trainer.predict(dataset)
    model = trainer.model.eval()
    with torch.no_grad():
        expected = [model(input_ids=torch.tensor([row])).logits[0].tolist() for row in dataset["input_ids"]]

    np.testing.assert_allclose(output.predictions, expected, atol=1e-5)
    assert output.label_ids.tolist() == dataset["labels"][:]


@pytest.mark.parametrize("num_rows", [17, 3])
def test_dropping_the_last_training_batch_leaves_evaluation_whole(tmp_path, tokenizer, num_rows):
    options = {"dataloader_drop_last": True, "per_device_train_batch_size": 8, "num_train_epochs": 1}
    dataset = make_dataset(num_rows, seed=5)
    trainer = make_trainer(tmp_path, tokenizer, datasets=(make_dataset(), dataset), **options)
    assert trainer.train().global_step == 45 // 8
    assert trainer.predict(dataset).label_ids.tolist() == dataset["labels"][:]
    assert "eval_loss" in trainer.evaluate() and trainer.args.dataloader_drop_last


def test_dropping_the_only_training_batch_raises(tmp_path, tokenizer):
    trainer = make_trainer(tmp_path, tokenizer, dataloader_drop_last=True, per_device_train_batch_size=46)
    with pytest.raises(InputError, match=r"leaves no batch of the 45 training rows"):
        trainer.train()
