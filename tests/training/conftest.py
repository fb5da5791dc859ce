"""What the tests of training share."""

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tests.training.factories import VOCAB_SIZE


@pytest.fixture
def tokenizer():
    words = {"<pad>": 0, "<unk>": 1, "<s>": 2, "</s>": 3} | {f"w{number}": number for number in range(4, VOCAB_SIZE)}
    backend = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )
