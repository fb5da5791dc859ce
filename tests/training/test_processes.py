import pytest

from hf_lstm.data.checks import InputError
from hf_lstm.training.processes import from_main_process


def test_one_process_gets_what_it_makes():
    assert from_main_process(lambda: {"checkpoint": 3}) == {"checkpoint": 3}


def test_error_of_what_is_made_is_raised():
    def fail():
        raise InputError("`file` is missing.")

    with pytest.raises(InputError, match="`file` is missing"):
        from_main_process(fail)
