"""The threads of BLAS, which computes NumPy's products of matrices: how many, and whether they help.

And the threads of Python: `alone` lets one of them at a time train a network.

The threads of a product wait for one another, and they wait actively. If other programs keep the cores busy, a thread
waits until it gets a core, and the others wait for that thread. So a product that takes 0.1 ms can take 10 ms.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

from . import checks

SMALL = 1_000_000  # multiplications in a product, below which a second thread gains less than a sixth
_COSTS = 1.5  # times as long with threads as without: more than noise
_TRIES = 9
_TIMED = 50_000_000  # multiplications each time: enough to meet a stall, and few enough to take milliseconds

BLAS = ThreadpoolController().select(user_api="blas")


class Token:
    """Stands for a call that goes on at this moment, and ends with the call that made it."""


# The trainings of small networks at this moment, in any thread of Python, and how many threads each BLAS has otherwise.
# Then the runs and networks that are being trained, by their id. Tokens are held weakly: Ctrl-C could come before a
# token is removed.
lock = threading.Lock()
running: weakref.WeakSet[Token] = weakref.WeakSet()
usual: list[int] = []
busy: weakref.WeakValueDictionary[int, Token] = weakref.WeakValueDictionary()
warned = False  # once in a process is enough, and Python would show the warning again, since its times differ


@contextmanager
def alone(thing: object, refusal: str) -> Iterator[None]:
    """Refuse what must not go on twice at once with a thing, be it in two threads or one call within the other."""
    token = Token()
    with lock:
        if busy.setdefault(id(thing), token) is not token:
            raise RuntimeError(refusal)
    try:
        yield
    finally:
        busy.pop(id(thing), None)


def _forked() -> None:
    """In a new process, no thread is left that could open the lock or remove its token."""
    global lock
    lock = threading.Lock()
    running.clear()
    busy.clear()
    for library, count in zip(BLAS.lib_controllers, usual, strict=False):
        library.set_num_threads(count)
    usual.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def number() -> int:
    """Return how many threads a large product has at this moment."""
    return max((library.num_threads for library in BLAS.lib_controllers), default=1)


def warn_if_slow(weight: npt.NDArray[Any], batch_size: int) -> None:
    """Warn, once in a process, if a product of a batch and a weight takes longer with all of BLAS's threads."""
    global warned
    most = number()
    if warned or most == 1:
        return
    rows = min(batch_size, max(1, _TIMED // weight.size))
    products = max(1, _TIMED // (rows * weight.size))
    x, out = np.ones((rows, len(weight)), weight.dtype), np.empty((rows, weight.shape[1]), weight.dtype)
    seconds = {1: 0.0, most: 0.0}
    for _ in range(_TRIES):
        for count in seconds:
            with BLAS.limit(limits=count):
                started = time.perf_counter()
                for _ in range(products):
                    np.matmul(x, weight, out=out)
                seconds[count] += time.perf_counter() - started
    # Means, not medians: most products are as quick as ever, and a few wait a hundred times as long.
    one, all_of_them = (total / (_TRIES * products) for total in seconds.values())
    if all_of_them > _COSTS * one:
        checks.warn(
            f"the {most} threads of BLAS make the training slower ({1e3 * all_of_them:.3g} ms for a product, "
            f"{1e3 * one:.3g} ms with one thread), as when other programs keep the cores busy: start Python with the "
            "environment variable OPENBLAS_NUM_THREADS=1 (MKL_NUM_THREADS=1 for MKL), or train within "
            "threadpoolctl.threadpool_limits(1)",
            RuntimeWarning,
        )
        warned = True
