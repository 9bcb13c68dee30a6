"""The threads of BLAS, which computes NumPy's products of matrices: how many, and whether they help.

The threads of a product wait for one another, and they wait actively. If other programs keep the cores busy, a thread
waits until it gets a core, and the others wait for that thread. So a product that takes 0.1 ms can take 10 ms.
"""

from __future__ import annotations

import statistics
import threading
import time
from contextlib import ExitStack
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

from . import checks

SMALL = 1_000_000  # multiplications in a product, below which a second thread gains less than a sixth
_COSTS = 1.5  # times as long with threads as without: more than noise
_TRIES = 9

BLAS = ThreadpoolController()
# How many epochs of small networks run at this moment, in any thread of Python, and what keeps BLAS to one thread.
lock, limited, limit = threading.Lock(), 0, ExitStack()


def warn_if_slow(weight: npt.NDArray[Any], batch_size: int) -> None:
    """Warn if a product of a batch and a weight takes longer with all of BLAS's threads than with one."""
    most = max((library["num_threads"] for library in BLAS.select(user_api="blas").info()), default=1)
    if most == 1:
        return
    x, out = np.ones((batch_size, len(weight)), weight.dtype), np.empty((batch_size, weight.shape[1]), weight.dtype)
    seconds: dict[int, list[float]] = {1: [], most: []}
    for _ in range(_TRIES):
        for count, measured in seconds.items():
            with BLAS.limit(limits=count, user_api="blas"):
                started = time.perf_counter()
                np.matmul(x, weight, out=out)
                measured.append(time.perf_counter() - started)
    one, all_of_them = (statistics.median(measured) for measured in seconds.values())
    if all_of_them > _COSTS * one:
        checks.warn(
            f"the {most} threads of BLAS make the training slower ({1e3 * all_of_them:.3g} ms for a product, "
            f"{1e3 * one:.3g} ms with one thread), as when other programs keep the cores busy: start Python with the "
            "environment variable OPENBLAS_NUM_THREADS=1 (MKL_NUM_THREADS=1 for MKL), or train within "
            "threadpoolctl.threadpool_limits(1)",
            RuntimeWarning,
        )
