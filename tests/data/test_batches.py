from hf_lstm.data.batches import sorted_batches


def test_batches_hold_so_many_rows_and_tokens_the_longest_first():
    assert list(sorted_batches([2, 12, 4, 5, 1, 2, 2], 3, 10)) == [[1], [3, 2], [0, 5, 6], [4]]
    assert list(sorted_batches([2, 12, 4, 5, 1, 2, 2], 4, 100)) == [[1, 3, 2, 0], [5, 6, 4]]
    assert list(sorted_batches([3, 11, 2, 8, 3, 1, 13], 3, 24)) == [[6], [1, 3], [0, 4, 2], [5]]
    assert list(sorted_batches([], 3, 10)) == []
