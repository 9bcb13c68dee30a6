"""What was recorded of each epoch."""

from __future__ import annotations

import csv
import io
import math
import os
from typing import Any, NamedTuple

from . import checks
from .atomic import Kind, atomic
from .notebook import history_html, history_text


class Epoch(NamedTuple):
    """What was recorded of one epoch; `History` says what each number is.

    Attributes
    ----------
    epoch : int
    train_cost, train_accuracy, test_accuracy, seconds, test_cost : float

    Examples
    --------
    >>> import numnet as nn
    >>> epoch = nn.Epoch(1, 0.5, train_accuracy=0.8, test_accuracy=0.9, seconds=0.1)
    >>> epoch.test_accuracy
    0.9
    """

    epoch: int
    train_cost: float
    train_accuracy: float
    test_accuracy: float
    seconds: float
    test_cost: float = math.nan


_TABLE = Kind("history as CSV", lambda file: file.readline(1000) == f"{','.join(Epoch._fields)}\n".encode())


class History(list[Epoch]):
    """A list with one `Epoch` for each epoch. A column is a list of its own, taken by its name.

    Attributes
    ----------
    epoch : list of int
        1 for the first.
    train_cost : list of float
        Mean over the epoch's samples, each before the update that its batch led to.
    train_accuracy : list of float
        Likewise; nan if the targets have no classes.
    test_accuracy : list of float
        After the epoch; nan without test data.
    seconds : list of float
        Time to train the epoch, without the test.
    test_cost : list of float
        After the epoch; nan without test data.

    Examples
    --------
    >>> import numnet as nn
    >>> history = nn.History([nn.Epoch(1, 0.5, 0.8, 0.9, 0.1, 0.4)])
    >>> history.test_accuracy[-1], len(history)
    (0.9, 1)
    >>> print(history.to_csv(), end="")
    epoch,train_cost,train_accuracy,test_accuracy,seconds,test_cost
    1,0.5,0.8,0.9,0.1,0.4
    >>> history
    epoch  train cost  train accuracy  test cost  test accuracy  seconds
        1      0.5000          0.8000     0.4000         0.9000     0.10
    """

    __slots__ = ()  # a column cannot be assigned

    epoch: list[int]
    train_cost: list[float]
    train_accuracy: list[float]
    test_accuracy: list[float]
    seconds: list[float]
    test_cost: list[float]

    def __getattr__(self, name: str) -> list[Any]:
        if name in Epoch._fields:
            return [getattr(epoch, name) for epoch in self]
        hint = checks.called_here(name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}")

    def to_dict(self) -> dict[str, list[Any]]:
        """Return the columns by name."""
        return {name: getattr(self, name) for name in Epoch._fields}

    def to_csv(self, path: str | os.PathLike[str] | None = None, overwrite: bool = False) -> str:
        """Return the table as CSV, a header line first; with `path`, also write the table to that file.

        Parameters
        ----------
        path : str or os.PathLike, optional
            By custom with the ending .csv. A ``~`` at the start stands for your home.
        overwrite : bool, default False
            Whether the table may replace a file that does not begin with this header line. The table may replace a
            file that does in any case.

        Raises
        ------
        FileExistsError
            If the path is a file that does not begin with the header line. Or if an array of the program is mapped from
            the file, also with `overwrite`.
        OSError
            If the file cannot be written: the path is a folder, a device or a FIFO, or ends in a slash, there is no
            folder for the file, the file is read-only, or the disk is full.
        """
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([Epoch._fields, *self])
        if path is not None:
            with atomic(path, _TABLE, overwrite) as file:
                file.write(text.getvalue().encode())
        return text.getvalue()

    def __repr__(self) -> str:
        return history_text(self)

    def _repr_html_(self) -> str:
        """Return the curves and the table that a notebook shows."""
        return history_html(self)
