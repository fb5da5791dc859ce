"""What is found about a batch's padding."""

import torch

from hf_lstm.models.padding_lstm import find_padding
from tests.models.factories import MASK
from tests.models.layer_factories import FRONT_MASK


def test_find_padding_sorts_only_where_tokens_do_not_stand_in_front():
    assert find_padding(None) is None
    assert find_padding(torch.ones(2, 3)) is None
    assert find_padding(FRONT_MASK).order is None
    assert find_padding(MASK).order is not None
    assert find_padding(MASK).lengths.tolist() == [7, 4, 5, 4, 1, 0]
