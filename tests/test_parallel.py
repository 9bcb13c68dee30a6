"""Training on several processes over MPI: the same result as on one, and one end for all."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import numnet as nn

ROOT = Path(__file__).parents[1]
mpi = pytest.mark.skipif(shutil.which("mpiexec") is None, reason="needs mpi4py and mpiexec: pip install mpi4py mpich")
slow = [mpi, pytest.mark.slow]


def started(ranks, what, argument, folder):
    """Run a function of ranks.py on some ranks; return its process when it has ended."""
    command = ["mpiexec", "-n", str(ranks), sys.executable, "-m", "tests.ranks", what, json.dumps(argument)]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=120)


def result(ranks, what, argument, folder="."):
    done = started(ranks, what, argument, folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


CASES = st.fixed_dictionaries(
    {
        "sizes": st.lists(st.integers(1, 12), min_size=2, max_size=4),
        "samples": st.integers(1, 150),
        "tests": st.integers(0, 40),
        "batch": st.integers(1, 70),
        "epochs": st.integers(1, 3),
        "lr": st.floats(0.01, 0.3),
        "dtype": st.just("float64"),
        "optimizer": st.fixed_dictionaries(
            {},
            optional={
                "momentum": st.floats(0.1, 0.9),
                "weight_decay": st.floats(0, 0.01),
                "clip_norm": st.floats(0.1, 10),
            },
        ),
    },
    optional={"sharded_at": st.lists(st.floats(0.1, 0.9), min_size=3, max_size=3).map(sorted)},
)


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
@settings(max_examples=2, deadline=None)
@given(cases=st.lists(CASES, min_size=15, max_size=15))
def test_ranks_train_as_one_process_does(ranks, cases):
    ...
