"""What ends training before its last step: SIGTERM, and a metric that no longer improves."""

import contextlib
import logging
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

import torch
from torch import distributed
from transformers import (
    EarlyStoppingCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.training_args import ParallelMode

logger = logging.getLogger(__name__)

# What shells report of a process that SIGTERM has ended.
TERMINATED = 128 + signal.SIGTERM


class TerminationCallback(TrainerCallback):
    """
    Makes a process that gets SIGTERM while it trains save a checkpoint after the step and exit with code 143.

    The checkpoint is as exact as any other: after the last step of an epoch, it is saved once the epoch is evaluated.
    All processes of a run stop together, also where only one of them gets the signal.

    `enable_jit_checkpoint` of transformers is something else: it may save between gradients and the optimizer's step,
    when random numbers of that step are drawn already; each process decides by itself; and the program goes on as if
    training were complete. Where it is on, this callback leaves the signal to it.
    """

    def __init__(self) -> None:
        self.is_signalled = False
        self.is_agreed = False

    @contextlib.contextmanager
    def listening(self, args: TrainingArguments) -> Iterator[None]:
        """
        Listens for SIGTERM in a `with` block, unless the program does already or this is not its main thread.

        Raises:
            SystemExit: With code 143, at the end of the block, if a signal came too late for a checkpoint.
        """
        self.is_signalled = self.is_agreed = False
        is_main = threading.current_thread() is threading.main_thread()
        listens = is_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        if listens:
            signal.signal(signal.SIGTERM, self._note)
        try:
            yield
        finally:
            if listens:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if self._agree(args):
            raise SystemExit(TERMINATED)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.is_agreed = self.is_agreed or self._agree(args)
        # The end of an epoch may be evaluated, which a run that goes on from the next epoch would not make up for.
        is_last_of_epoch = state.epoch == int(state.epoch or 0) or control.should_training_stop
        if self.is_agreed and not is_last_of_epoch:
            control.should_save = True

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self.is_agreed:
            control.should_save = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if not self.is_agreed:
            return
        if args.parallel_mode == ParallelMode.DISTRIBUTED:
            # Whoever starts the processes may end them all as soon as one has ended.
            distributed.barrier()
        logger.warning("Stopped by SIGTERM after step %d, of which there is a checkpoint.", state.global_step)
        raise SystemExit(TERMINATED)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.is_signalled = True

    def _agree(self, args: TrainingArguments) -> bool:
        """Tells whether any process got the signal."""
        if args.parallel_mode != ParallelMode.DISTRIBUTED:
            return self.is_signalled
        flag = torch.tensor(int(self.is_signalled), device=args.device)
        distributed.all_reduce(flag, distributed.ReduceOp.MAX)
        return bool(flag)


class LstmEarlyStoppingCallback(EarlyStoppingCallback):
    """
    Stops as `EarlyStoppingCallback` does, also in a run that is resumed: it counts on from the checkpoint.

    Takes the arguments of `EarlyStoppingCallback`.
    """

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        super().on_train_begin(args, state, control, **kwargs)
        # The trainer saves only states of callbacks which the resumed checkpoint has, too.
        saved = state.stateful_callbacks.setdefault(type(self).__name__, self.state())
        if state.global_step > 0:
            self.early_stopping_patience_counter = saved["attributes"]["early_stopping_patience_counter"]
            control.should_training_stop = self.early_stopping_patience_counter >= self.early_stopping_patience
