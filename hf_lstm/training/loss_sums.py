"""The training loss of a whole run, also where it was resumed."""

from typing import Any

import torch
from transformers import Trainer

_SUMS = "loss_sums"


class LossSumMixin(Trainer):
    """
    Makes the training loss that a Trainer reports at the end the mean over all steps, also where it was resumed.

    The trainer's state in a checkpoint holds the sum of the losses so far. Where it does not, since another trainer
    saved it, the mean is that of `Trainer`: over the steps since then.
    """

    _tr_loss: torch.Tensor
    _total_loss_scalar: float
    _initial_global_step: int

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        earlier = self._earlier_loss()
        if earlier is not None:
            not_logged = self.accelerator.reduce(self._tr_loss, "mean").item()
            total = earlier + self._total_loss_scalar + not_logged
            sums = {str(self._initial_global_step): earlier, str(self.state.global_step): total}
            self.state.stateful_callbacks[_SUMS] = sums
        super()._save_checkpoint(*args, **kwargs)

    def _finalize_training(self, *args: Any, **kwargs: Any) -> Any:
        earlier = self._earlier_loss()
        if earlier is not None and self._initial_global_step > 0:
            mean = (earlier + self._total_loss_scalar + self._tr_loss.item()) / self.state.global_step
            # The stock trainer divides by the number of steps since it was started, or by this where there are none.
            num_steps = max(self.state.global_step - self._initial_global_step, 0.001)
            self._total_loss_scalar, self._tr_loss = mean * num_steps, torch.zeros_like(self._tr_loss)
        return super()._finalize_training(*args, **kwargs)

    def _earlier_loss(self) -> float | None:
        """Returns the sum of the losses of the steps before this start, `None` if the checkpoint does not hold it."""
        if self._initial_global_step == 0:
            return 0.0
        return self.state.stateful_callbacks.get(_SUMS, {}).get(str(self._initial_global_step))
