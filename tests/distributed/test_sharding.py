"""Training by Trainer with weights that FSDP splits over two processes: as one process, and saved whole."""

import numpy as np
import pytest
import torch

from hf_lstm import LstmForConditionalGeneration, LstmForSequenceClassification
from tests.distributed.cases import run_case
from tests.distributed.launch import WORKERS, launch

CLASSES = {"classifier_uneven": LstmForSequenceClassification, "seq2seq_apart": LstmForConditionalGeneration}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_split_weights_train_as_whole_ones_and_are_saved_whole(tmp_path):
    launch(WORKERS / "train_sharded.py", tmp_path, 2, *CLASSES)
    results = [torch.load(tmp_path / f"results_{rank}.pt") for rank in range(2)]
    for name, model_class in CLASSES.items():
        expected = run_case(name, tmp_path / "alone" / name, num_processes=1)
        for result in results:
            np.testing.assert_allclose(result[name], expected["losses"], atol=1e-5)
        # What is saved at the end, and the last checkpoint.
        last = f"checkpoint-{len(expected['losses'])}"
        for folder in (tmp_path / name, tmp_path / name / last):
            reloaded = dict(model_class.from_pretrained(folder).named_parameters())
            for key, weight in expected["weights"].items():
                torch.testing.assert_close(reloaded[key].detach(), weight, atol=1e-5, rtol=1e-5)
