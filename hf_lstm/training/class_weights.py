"""Weights of the classes in the loss."""

import numpy as np
import torch

from ..data.checks import InputError


def compute_class_weights(setting: str | list[float], labels: np.ndarray, num_labels: int) -> torch.Tensor:
    """
    Computes the weight of each class, scaled so that the weights average 1 over the training rows.

    Args:
        setting (`str` or `list[float]`):
            `"balanced"` for weights inverse to the classes' frequency, or a weight for each class, of which only the
            ratios matter.
        labels (`np.ndarray`):
            Training labels: classes of shape `(num_rows,)`, or zeros and ones of shape `(num_rows, num_labels)`. In
            the latter case the weights average 1 over the classes, for every row has a decision for each. What is -100
            does not count.
        num_labels (`int`): Number of classes.

    Returns:
        `torch.FloatTensor` of shape `(num_labels,)`: The weights. A class without training rows gets 1 if balanced.

    Raises:
        InputError: If the number of weights is not that of the classes, or all rows would have weight 0.
    """
    is_multi_label = labels.ndim == 2
    is_label = labels != -100
    counts = (labels * is_label).sum(axis=0) if is_multi_label else np.bincount(labels[is_label], minlength=num_labels)
    if isinstance(setting, str):
        if setting != "balanced":
            raise InputError(f"`class_weights` is {setting!r}, but must be 'balanced' or a list of numbers.")
        weights = np.divide(1.0, counts, out=np.zeros(num_labels), where=counts > 0)
    else:
        weights = np.asarray(setting, dtype=float)
    if weights.shape != (num_labels,):
        raise InputError(
            f"`class_weights` has {weights.size} values, but there are {num_labels} classes. Give one value for each, "
            "or 'balanced'."
        )
    shares = (counts > 0) / max((counts > 0).sum(), 1) if is_multi_label else counts / max(counts.sum(), 1)
    mean = float(weights @ shares)
    if mean <= 0:
        raise InputError(f"`class_weights` is {setting!r}, which gives every training row the weight 0. Raise some.")
    weights = weights / mean
    if isinstance(setting, str):
        weights = np.where(counts > 0, weights, 1.0)
    return torch.tensor(weights, dtype=torch.float)
