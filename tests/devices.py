"""The devices that tests run on: the CPU, and a GPU, or where there is none the stand-in of strict.py."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from numnet import backend, gpu

from . import strict

RealBlas, real_tried = gpu.Blas, gpu.tried
try:
    gpu.tried()
    REAL_GPU, WHY_NOT = True, ""
except backend.DeviceError as error:
    REAL_GPU, WHY_NOT = False, str(error)
    gpu.tried = lambda: strict
    gpu.Blas = strict.Blas


def where_rounding_differs(device, tolerance):
    """Return a tolerance for a real GPU, which adds in another order; 0 for the CPU and the stand-in."""
    return tolerance if REAL_GPU and device == "gpu" else 0


DEVICES = ["cpu", pytest.param("gpu", marks=pytest.mark.gpu) if REAL_GPU else pytest.param("gpu", id="stand-in")]


def host(array):
    """Return an array that is known to be on the device under test, or on the CPU, as NumPy's."""
    return backend.to(array, "cpu")


def place(array, device):
    """Return an array on a device."""
    return backend.to(np.asarray(array), device)


def alone_and_together(run):
    """Return what run(0) and run(1) give one after the other, and what they give in two threads at once."""
    with ThreadPoolExecutor(2) as pool:
        return [run(0), run(1)], list(pool.map(run, range(2)))
