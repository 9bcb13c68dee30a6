"""keep_best: stop in time, and keep the best parameters."""

from __future__ import annotations

import math
from typing import Literal

from . import checks
from .run import Best, Run

Column = Literal["test_accuracy", "test_cost", "train_accuracy", "train_cost"]


class KeepBest:
    """The callback that `keep_best` returns. What it remembers is in the run, and so in the run's checkpoints."""

    def __init__(self, by: Column, patience: int | None) -> None:
        self.by, self.patience = by, patience

    def __call__(self, run: Run) -> None:
        best = self._best(run)
        if self.patience is not None and len(run.history) - best.epoch >= self.patience:
            raise StopIteration

    def finish(self, run: Run, trained: bool) -> None:
        """Leave the best parameters in the network; `fit` calls this at its end, also if an error ends it.

        `trained` says whether this call of `fit` has trained an epoch. If not, the parameters may be somebody else's.
        """
        if trained and run.last is None and not math.isnan(getattr(run.history[-1], self.by)):
            self._best(run)  # another callback may have failed before this one saw the epoch
        run.show_best()

    def _best(self, run: Run) -> Best:
        """Keep the last epoch if it is the best, and return the best."""
        epoch, best = run.history[-1], run.best
        value = checks.recorded(self.by, getattr(epoch, self.by))
        if best is None or self._better(value, getattr(run.history[best.epoch - 1], self.by)):
            run.best = best = Best(epoch.epoch, run.net.parameters.copy())
        return best

    def _better(self, value: float, before: float) -> bool:
        """Return whether a value is better than that of the best epoch, which is nan if another column chose it."""
        return math.isnan(before) or (value > before if self.by.endswith("accuracy") else value < before)


def keep_best(by: Column = "test_accuracy", patience: int | None = None) -> KeepBest:
    """Return a callback for `Trainer.fit` that leaves the parameters after the best epoch in the network.

    The network has the best parameters as soon as the training ends, also if an error or Ctrl-C ends it. A further call
    of `Trainer.fit` goes on from the parameters after the last epoch, as if nothing had been kept. A checkpoint holds
    both vectors, so a run that is resumed keeps what was the best before; give a new callback to `Trainer.fit` then.

    Parameters
    ----------
    by : {"test_accuracy", "test_cost", "train_accuracy", "train_cost"}
        The column of the history that tells which epoch is best: the highest accuracy, or the lowest cost. Of equal
        epochs the first is best.
    patience : int, optional
        Stop after so many epochs in a row that are not better than the best. By default the training goes on to the
        last epoch.

    Returns
    -------
    callable
        To be given in ``callbacks``. The trainer's ``best.epoch`` says which epoch was best.

    Raises
    ------
    ValueError
        If an argument is not valid. `Trainer.fit` raises ValueError after the first epoch if the column is nan there.

    Notes
    -----
    The data that choose the epoch are no longer unseen. To report an accuracy for new data, choose by a part of the
    training data, ``train, validation = train.split(0.1, seed=0)``, and keep the test data for the end.

    Examples
    --------
    >>> import numnet as nn
    >>> train, test = nn.datasets.digits()
    >>> net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0)
    >>> trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr=0.5), seed=0)
    >>> stop = nn.keep_best("test_cost", patience=5)
    >>> history = trainer.fit(train, 1000, 64, test, callbacks=[stop])
    >>> len(history) == trainer.best.epoch + 5
    True
    >>> round(trainer.evaluate(test)[0], 4) == round(min(history.test_cost), 4)
    True
    """
    checks.keep_best_arguments(by, patience)
    return KeepBest(by, None if patience is None else int(patience))
