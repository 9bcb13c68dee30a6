"""Training on several processes over MPI: the same result as on one process, and one end for all."""

import importlib.metadata
import importlib.util
import io
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

import numnet as nn

from . import kill_ranks
from .test_bar import Terminal

ROOT = Path(__file__).parents[1]
CLOSE = 1e-13  # in float64, from one process
MPI = importlib.util.find_spec("mpi4py") is not None and shutil.which("mpiexec") is not None
WHY_NOT = "needs MPI: pip install mpi4py mpich"
SECONDS = 5  # after a fault, until all ranks have ended


def command(ranks, what, argument, *before):
    """Return a command that calls a function of ranks.py on some ranks, or without MPI."""
    many = ["mpiexec", "-n", str(ranks)] if ranks else []
    return [*many, sys.executable, *before, "-m", "tests.ranks", what, json.dumps(argument)]


def run(command, folder):
    """Run a program on some ranks; return its process when it has ended."""
    if not MPI:
        pytest.skip(WHY_NOT)
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=120)


def told(ranks, what, argument, folder="."):
    """Return what a function of ranks.py returns on rank 0."""
    done = run(command(ranks, what, argument), folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def on_threads():
    """Return a function that calls one of ranks.py on some ranks, which are threads, and returns what each returns."""
    mpi = pytest.importorskip("mpi4py.MPI", reason=WHY_NOT, exc_type=ImportError)
    ranks = importlib.import_module("tests.ranks")

    class Threads(mpi.Intracomm):
        """A communicator that hands what the ranks tell from thread to thread."""

        def __new__(cls, *_):
            return super().__new__(cls, mpi.COMM_SELF)

        def __init__(self, rank, barrier, told):
            self._rank, self._barrier, self._told = rank, barrier, told

        rank = property(lambda self: self._rank)
        size = property(lambda self: len(self._told))

        def Get_rank(self):  # noqa: N802
            return self._rank

        def Get_size(self):  # noqa: N802
            return len(self._told)

        def Split(self, color):  # noqa: N802
            return self

        def allgather(self, value):
            self._told[self._rank] = pickle.dumps(value)
            self._barrier.wait()
            every = [pickle.loads(one) for one in self._told]
            self._barrier.wait()
            return every

        def bcast(self, value):
            return self.allgather(value if self._rank == 0 else None)[0]

        def Abort(self, code):  # noqa: N802
            self._barrier.abort()
            raise RuntimeError(f"Abort({code})")

        def Bcast(self, array):  # noqa: N802
            array[...] = self.bcast(array)

        def Allreduce(self, where, array):  # noqa: N802
            assert where is mpi.IN_PLACE
            array[...] = sum(self.allgather(array))

    def run(size, what, argument):
        barrier, told, found = threading.Barrier(size, timeout=10), [None] * size, [None] * size

        def call(rank):
            try:
                found[rank] = getattr(ranks, what)(argument, Threads(rank, barrier, told))
            except BaseException as error:
                found[rank] = error

        others = [threading.Thread(target=call, args=(rank,)) for rank in range(1, size)]
        with warnings.catch_warnings():  # each thread changes the filters of all
            warnings.simplefilter("ignore")
            for thread in others:
                thread.start()
            call(0)
            for thread in others:
                thread.join()
        return found

    return run


# The same as on one process


CASES = st.fixed_dictionaries(
    {
        "sizes": st.builds(
            lambda widths, outputs: [*widths, outputs],
            st.lists(st.integers(1, 12), min_size=1, max_size=3),
            st.integers(2, 6),
        ),
        "samples": st.integers(4, 150),
        "tests": st.integers(0, 40),
        "batch": st.integers(5, 70),  # the more steps, and the longer, the more the rounding of sums grows
        "epochs": st.integers(1, 3),
        "cuts": st.lists(st.floats(0, 1), min_size=3, max_size=3).map(sorted),
        "lr": st.floats(0.01, 0.3),
        "dtype": st.just("float64"),
        "optimizer": st.fixed_dictionaries(
            {},
            optional={
                "momentum": st.floats(0.1, 0.5),
                "weight_decay": st.floats(0, 0.01),
                "clip_norm": st.floats(0.1, 10),
            },
        ),
    },
    optional={"sharded": st.booleans(), "weights": st.booleans(), "numbers": st.booleans(), "quadratic": st.booleans()},
)


MANY = {"sizes": [5, 4, 3], "samples": 40, "tests": 11, "batch": 7, "epochs": 2, "cuts": [0.3, 0.5], "lr": 0.2}
MANY |= {"dtype": "float64", "optimizer": {"momentum": 0.5, "weight_decay": 0.01, "clip_norm": 0.1}}


@settings(
    max_examples=settings().max_examples // 3,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    report_multiple_bugs=False,
)
@given(ranks=st.integers(1, 3), case=CASES)
@example(ranks=3, case={**MANY, "sharded": False, "weights": False})
@example(ranks=3, case={**MANY, "sharded": False, "weights": True})
@example(ranks=3, case={**MANY, "sharded": True, "weights": False})
@example(ranks=3, case={**MANY, "sharded": True, "weights": True})
@example(ranks=3, case={**MANY, "batch": 2, "numbers": True})
@example(ranks=3, case={**MANY, "tests": 2, "quadratic": True})
def test_ranks_that_are_threads_do_what_one_process_does(ranks, case, on_threads):
    for (found,) in on_threads(ranks, "compare", [case]):
        assert found["alike"]
        assert found["nan"]
        assert max(found["parameters"], found["history"]) <= (0 if ranks == 1 else CLOSE)


@pytest.mark.parametrize(
    "ranks", [pytest.param(1, marks=pytest.mark.slow), 2, *(pytest.param(n, marks=pytest.mark.slow) for n in (3, 4))]
)
@settings(max_examples=1, deadline=None, phases=[Phase.generate])  # without a search for the smallest: it takes minutes
@given(cases=st.lists(CASES, min_size=12, max_size=12))
def test_ranks_do_what_one_process_does(ranks, cases):
    for case, found in zip(cases, told(ranks, "compare", cases), strict=True):
        assert found["alike"], case
        assert found["nan"], case
        assert max(found["parameters"], found["history"]) <= (0 if ranks == 1 else CLOSE), case


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_five_epochs_of_digits(ranks):
    for found in told(ranks, "digits", [7, 64]):
        assert found["alike"]
        assert found["accuracies"][0] == found["accuracies"][1]
        assert found["parameters"] <= (0 if ranks == 1 else CLOSE)


STEPS = {"sizes": [5, 4, 3], "samples": 11, "lr": 0.3, "dtype": "float64"}


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_steps_on_threads_are_those_of_one_process(ranks, on_threads):
    for found in on_threads(ranks, "steps", STEPS):
        assert found["alike"]
        assert max(found["parameters"], found["cost"]) <= CLOSE


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_steps_are_those_of_one_process(ranks):
    found = told(ranks, "steps", STEPS)
    assert found["alike"]
    assert max(found["parameters"], found["cost"]) <= CLOSE


LOCAL = {"sizes": [5, 3], "samples": 60, "tests": 0, "batch": 8, "epochs": 2, "lr": 0.2, "dtype": "float64"}


@pytest.mark.parametrize("ranks", [2, 9])  # of 9 ranks, one has nothing to do
@pytest.mark.parametrize("every", [1, 3, 1000])
@pytest.mark.parametrize("momentum", [0, 0.5])
def test_the_mean_of_threads_is_local_sgd(ranks, every, momentum, on_threads):
    case = {**LOCAL, "average_every": every, "optimizer": {"momentum": momentum}}
    for found in on_threads(ranks, "local", case):
        assert found["alike"]
        assert found["difference"] <= CLOSE


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("every", [1, 3, 1000])
def test_the_mean_of_the_ranks_is_local_sgd(ranks, every):
    """Against each rank's steps done one after the other in this process, with NumPy alone."""
    found = told(ranks, "local", {**LOCAL, "average_every": every})
    assert found["alike"]
    assert found["difference"] <= CLOSE


# A run goes on with any number of ranks


@pytest.fixture(scope="module")
def midway(tmp_path_factory):
    """The run of 2 ranks to its end, and files that it wrote in the middle of epochs."""
    folder = tmp_path_factory.mktemp("run")
    return told(2, "interrupted", {}, folder), sorted(folder.glob("*.npz"))


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [0, 1, 2, 3, 4])  # 0: without MPI
def test_a_run_of_two_ranks_goes_on_with_any_number(ranks, midway):
    whole, files = midway
    paths = [str(path) for path in files[::5]]
    assert len(paths) == 3
    for found in told(ranks, "resumed", paths):
        assert found["begun"][1] > 0
        np.testing.assert_allclose(found["parameters"], whole["parameters"], rtol=0, atol=CLOSE)
        assert [epoch[3] for epoch in found["history"]] == [epoch[3] for epoch in whole["history"]]


def test_a_run_of_two_threads_goes_on_with_any_number(on_threads, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("numnet.checkpoint.save_run", nn.checkpoint.save_run)  # which the threads replace
    whole, _ = on_threads(2, "interrupted", {})
    assert whole["alike"]
    *_, path = sorted(tmp_path.glob("*.npz"))
    for ranks in (1, 2, 3):
        for (found,) in on_threads(ranks, "resumed", [str(path)]):
            assert found["alike"]
            assert found["begun"][1] > 0
            np.testing.assert_allclose(found["parameters"], whole["parameters"], rtol=0, atol=CLOSE)
            assert [epoch[3] for epoch in found["history"]] == [epoch[3] for epoch in whole["history"]]


def test_a_trainer_of_threads_is_copied_and_resumed_on_the_cpu(on_threads, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = on_threads(2, "copied", None)
    assert all(parameters == found[0]["runs"][0] for each in found for parameters in each["runs"])
    assert "resume: ranks train on the CPU, so with comm leave out device='gpu'" in found[0]["gpu"]


# One end for all


def test_a_program_that_does_not_catch_the_error_of_another_rank_ends_silently_and_well():
    error = nn.RankError(2, "RuntimeError: a callback failed")
    assert (error.rank, str(error), error.code) == (2, "rank 2 has failed: RuntimeError: a callback failed", 0)


NO_FOLDER = "FileNotFoundError: .*run.npz cannot be written: there is no folder"
# What is wrong, on the last rank if not said otherwise: the message, the rank of three that shows it, and the epochs
# that stand.
FAULTS = {
    "net": ("the network differs between the ranks, Sequential", 0, None),
    "optimizer": (
        r"the optimizer differs between the ranks, {'lr': 0.1,.* on rank 0 and {'lr': 0.2,.* on rank 2",
        0,
        None,
    ),
    "average_every": ("average_every differs between the ranks, 3 on rank 0 and 2 on rank 2", 0, None),
    "cost": ("ValueError: Trainer: cost must be a Cost, got None", 2, None),
    "batches and average_every": ("with average_every the ranks have different parameters within an epoch", 0, 0),
    "layer": ("RuntimeError: a layer failed", 2, 0),
    "layer, average_every": ("RuntimeError: a layer failed", 2, 0),
    "layer, average_every, momentum": ("RuntimeError: a layer failed", 2, 0),
    "data": ("fit: train differs between the ranks, 500 samples of 6 features with the checksum", 0, 0),
    "weights": ("fit: train differs between the ranks, 500 samples of 6 features with the checksum", 0, 0),
    "samples": ("fit: train differs between the ranks, 500 samples .* on rank 0 and 499 samples", 0, 0),
    "labels": ("train: class indices must be from 0 to 2 for 3 outputs, but that of sample 3 is 17", 2, 0),
    "nothing": ("train: data must be a Dataset or a pair of arrays", 2, 0),
    "test data": ("fit: test differs between the ranks, 100 samples .* on rank 0 and 50 samples", 0, 0),
    "test labels": ("test: class indices must be from 0 to 2 for 3 outputs, but that of sample 0 is -5", 2, 0),
    "epochs": ("fit: the last epoch differs between the ranks, 3 on rank 0 and 4 on rank 2", 0, 0),
    "batch size": ("fit: the batch size differs between the ranks, 7 on rank 0 and 8 on rank 2", 0, 0),
    "argument": ("TypeError: fit has no argument 'momentum'", 2, 0),
    "epochs and batch size": ("ValueError: fit: epochs is missing", 2, 0),
    "callback": ("RuntimeError: a callback failed", 2, 2),
    "Ctrl-C in a callback": ("KeyboardInterrupt", 2, 2),
    "exit": (None, 2, 2),
    "an error that cannot be sent": ("UnsendableError: cannot be sent", 2, 2),
    "learning rate": ("fit: the learning rate differs between the ranks, 0.1 on rank 0 and 0.2 on rank 2", 0, 1),
    "changed data": ("train has changed while in use: inputs must be finite, but feature 0 of sample", 2, 1),
    "divergence": ("DivergenceError: the training cost became nan in epoch 2, in one of the batches 1 to", 0, 1),
    "checkpoint": (NO_FOLDER, 0, 0),
    "read-only": ("PermissionError: .*run.npz cannot be replaced: it is read-only", 0, 2),
}


def left(folder):
    """Return the epochs that each rank has at the end, and the parameters of all, which must be alike."""
    each = [json.loads(path.read_text()) for path in sorted(folder.glob("left-*.json"))]
    assert all(rank["parameters"] == each[0]["parameters"] for rank in each)
    return [rank["epochs"] for rank in each]


@pytest.mark.parametrize("fault", [f if f == "layer" else pytest.param(f, marks=pytest.mark.slow) for f in FAULTS])
def test_what_fails_on_one_rank_ends_all_with_one_message(fault, tmp_path):
    message, rank, epochs = FAULTS[fault]
    began = time.monotonic()
    done = run(command(3, "fault", fault), tmp_path)
    assert time.monotonic() - began < SECONDS + 5  # for the start of the three processes
    assert done.returncode != 0
    if message:
        assert done.stderr.count("Traceback") == 1
        assert re.search(message, done.stderr)
        assert done.stderr.count(f"This was on rank {rank} of 3. The other ranks have ended, too.") == 1
    assert left(tmp_path) == ([] if epochs is None else [epochs] * 3)


@pytest.mark.parametrize("fault", FAULTS)
def test_what_fails_on_one_thread_ends_all_with_one_message(fault, on_threads, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message, rank, epochs = FAULTS[fault]
    ended = on_threads(3, "fault", fault)
    assert [type(error) is nn.RankError for error in ended] == [i != rank for i in range(3)]
    shown, found, end = "".join(traceback.format_exception_only(ended[rank])).partition("\nThis was on rank ")
    assert re.search(message or "SystemExit: 3", shown)
    if sys.version_info >= (3, 11):  # before, the end is printed
        assert found + end == f"\nThis was on rank {rank} of 3. The other ranks have ended, too.\n"
    for error in ended[:rank] + ended[rank + 1 :]:
        assert (error.rank, str(error)) == (rank, f"rank {rank} has failed: {shown.strip()}")
    assert left(tmp_path) == ([] if epochs is None else [epochs] * 3)


DIFFERENT = {  # what differs on the last rank, and how it is named
    "layer": "Trainer: a layer's arguments differs between the ranks, [",
    "dtype": "Trainer: the network differs between the ranks, Sequential(",
    "cost": "Trainer: the cost differs between the ranks, Halved {'factor': 1.0} on rank 0 and Halved {",
    "momentum": "Trainer: the optimizer differs between the ranks, {'lr': 0.1, 'momentum': 0.5, ",
    "sharded": "Trainer: sharded differs between the ranks, False on rank 0 and True",
    "average_every": "Trainer: average_every differs between the ranks, None on rank 0 and 2 on",
    "step, inputs": "step: a checksum of the data differs between the ranks, ",
    "step, targets": "step: a checksum of the data differs between the ranks, ",
    "step, weights": "step: a checksum of the data differs between the ranks, ",
    "step, samples": "step: the number of samples differs between the ranks, 40 on rank 0 and 39",
    "step, rate": "step: the learning rate differs between the ranks, 0.1 on rank 0 and 0.2",
    "parameters": "fit: a checksum of the parameters differs between the ranks, [",
    "parameters at the end": "fit: a checksum of the parameters differs between the ranks, [",
    "velocity": "fit: a checksum of the parameters differs between the ranks, [",
    "generator": "fit: the generator differs between the ranks, ",
    "nesterov": "fit: the optimizer differs between the ranks, {'lr': 0.1, 'momentum': 0.5, 'nesterov': False, ",
    "rate": "fit: the learning rate differs between the ranks, 0.1 on rank 0 and 0.2",
    "weights of a part": "fit: sample_weight differs between the ranks, not given on rank 0 and given",
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_what_differs_between_threads_is_named(what, on_threads, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = on_threads(3, "different", what)
    assert [type(error) for error in ended] == [ValueError, nn.RankError, nn.RankError]
    assert str(ended[0]).startswith(DIFFERENT[what])
    assert str(ended[0]).endswith(" on rank 2: give all ranks the same")
    assert str(ended[1]) == str(ended[2]) == f"rank 0 has failed: ValueError: {ended[0]}"
    epochs = "0" if what == "weights of a part" else "1"  # the others are noticed before the next epoch
    assert all(path.read_text() == epochs for path in tmp_path.iterdir())


@pytest.mark.parametrize("what", ["new", "fit", "step"])
def test_a_network_on_a_gpu_is_refused_by_threads(what, on_threads):
    for error in on_threads(2, "on_gpu", what):
        assert "comm: ranks train on the CPU, but the network is on the gpu: net.to('cpu')" in str(error)


def test_threads_that_are_at_different_places_are_told_where_each_is(on_threads):
    ended = on_threads(3, "at_different_places", None)
    places = "rank 0 in fit (train), rank 2 in step (the number of samples, a checksum of the data, the learning rate)"
    for error in ended:
        text = f"the ranks are at different places of the program, {places}: call the trainer alike on all ranks"
        assert str(error).endswith(text)


@pytest.mark.parametrize("what", ["inputs", "labels", "rows", "numbers", "weights"])
def test_data_that_differ_between_threads_are_refused(what, on_threads, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = on_threads(3, "different", what)
    assert re.fullmatch(
        r"fit: train differs between the ranks, 40 samples of 6 features with the checksum (\w{8}) on rank 0 and 40 "
        r"samples of 6 features with the checksum (?!\1)\w{8} on rank 2: give all ranks the same, or sharded=True if "
        "each rank has its own part",
        str(ended[0]),
    )
    assert [type(error) for error in ended[1:]] == [nn.RankError] * 2


CALLS = [
    ((1,), {}),
    ((1, 4), {"epochs": 1}),
    ((1, 4, None), {"batch_size": 4, "test": None}),
    ((1, 4, None, (), False, None, 1, "raise", None, 7), {}),
    ((1, 4, None, (), False, None, 1, "raise", None, 7, 8), {}),
    ((1, 4), {"colour": "red"}),
    ((1, 4), {"verbose": 1}),
    ((1, 4), {"checkpoint_every": 0}),
    ((0, 4), {}),
]


def test_wrong_arguments_are_told_of_on_ranks_as_without(on_threads):
    (said,) = on_threads(1, "wrong_calls", CALLS)
    assert said[::2] == said[1::2]
    assert len(said) == 2 * len(CALLS)


def test_arguments_by_position_are_what_they_are_by_name(on_threads, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert on_threads(2, "by_position", None) == [1, 1]
    assert sys.stderr.getvalue().count("\n") == 1
    assert os.listdir(tmp_path) == ["0.npz"]


@pytest.mark.parametrize(("given", "rate"), [(None, 0.1), (0.5, 0.5), (lambda epoch: 1 / epoch, 0.5)])
def test_threads_go_on_with_the_learning_rate_that_is_given(given, rate, on_threads, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert on_threads(2, "resumed_with", (given, given)) == [rate, rate]


def test_threads_go_on_with_one_learning_rate(on_threads, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    ended, _ = on_threads(2, "resumed_with", (0.5, 0.25))
    assert str(ended).startswith(
        "resume: the learning rate differs between the ranks, 0.5 on rank 0 and 0.25 on rank 1"
    )


def test_the_file_that_threads_were_resumed_from_may_be_replaced(on_threads, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert on_threads(2, "behind_the_file", None) == [3, 3]


def test_threads_go_on_with_options_of_their_own_and_the_first_judges_the_threads_of_blas(
    on_threads, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(nn.checks, "same_threads", nn.checks.same_threads)  # which the first rank replaces
    options = {"average_every": 2, "sharded": True}
    now = nn.threads.number()
    assert on_threads(2, "resumed_as", options) == [(options, [("run.npz", now, now)]), (options, [])]


def test_a_layer_that_no_file_can_hold_is_trained_on_threads(on_threads):
    assert on_threads(2, "with_a_function", None) == [None, None]


@pytest.mark.parametrize("batch_size", [2, 3])
def test_batches_that_leave_nothing_to_do_are_warned_of_once(batch_size, on_threads, monkeypatch):
    warned = []
    monkeypatch.setattr(nn.checks, "warn", lambda *given: warned.append(given))  # all threads have the same filters
    assert on_threads(3, "small_batches", batch_size) == [None] * 3
    text = "batches of 2 samples leave nothing to do for some of 3 ranks: use at most 2, or give a larger batch_size"
    assert warned == ([(text, RuntimeWarning)] if batch_size == 2 else [])


@pytest.mark.parametrize("sharded", [True, False])
def test_a_part_of_the_data_need_not_look_like_the_whole_on_a_thread(sharded, on_threads):
    (warned,) = on_threads(1, "parts_of_one_class_each", sharded)
    assert bool(warned) is not sharded


@pytest.mark.parametrize("progress", [True, False])
def test_one_of_the_threads_shows_the_bar(progress, on_threads, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert on_threads(3, "shown", progress) == [None] * 3
    assert sys.stderr.getvalue().count("\n") == progress  # at the end of each bar


def test_a_block_in_which_the_threads_tell_each_other_nothing_ends_on_all(on_threads):
    *others, failed = on_threads(3, "block", None)
    assert failed == ["block 1 failed", "block 2 failed"]
    assert others == [[f"rank 2 has failed: RuntimeError: {text}" for text in failed]] * 2


@pytest.mark.parametrize("sharded", [True, False])
def test_the_ranks_agree_after_each_piece_of_work(sharded, on_threads):
    first, second = on_threads(2, "agreed", sharded)
    assert first == second
    epoch = [
        "fit (the learning rate, the last epoch, the batch size, the optimizer)",
        "fit (a checksum of the parameters, the generator)",
        *("a block", "a block", "the test", "a record", "the callbacks"),
    ]
    data = ["fit (sample_weight)", "fit"] if sharded else ["fit (train)"]
    end = ["fit (a checksum of the parameters, the generator)", "the end"]
    step = ["step (the number of samples, a checksum of the data, the learning rate)", "step", "the end"]
    assert first == [*data, "fit (test)", *epoch, *end, *step]


@pytest.mark.parametrize("ranks", [1, 2])
def test_where_an_error_takes_no_notes_the_rank_is_printed(ranks, on_threads, monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    *others, failed = on_threads(ranks, "without_notes", None)
    assert str(failed) == "failed"
    assert [str(other).endswith("FailedError: failed") for other in others] == [True] * (ranks - 1)
    assert sys.stderr.getvalue() == "This was on rank 1 of 2. The other ranks have ended, too.\n" * (ranks - 1)


@pytest.mark.parametrize("every", [0, -1, 1.5, True, "2"])
def test_the_parameters_are_averaged_after_a_whole_number_of_steps(every, on_threads):
    (error,) = on_threads(1, "averaged", every)
    assert str(error) == f"Trainer: average_every must be a whole number of at least 1, got {every!r}"


@pytest.mark.parametrize(
    ("what", "rank", "text"),
    [
        ("failing_step", 2, "class indices must be from 0 to 2 for 3 outputs"),
        ("missing_file", 0, "nowhere.npz"),
        ("diverging_step", 0, "in this step"),
        ("failing_update", 2, "an update failed"),
        ("wrong_rate", 0, "step: lr must be finite and at least 0, got -1.0"),
    ],
)
def test_a_step_and_a_file_that_fail_on_one_thread_end_all(what, rank, text, on_threads, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = on_threads(3, what, None)
    assert [type(error) is nn.RankError for error in ended] == [i != rank for i in range(3)]
    assert all(text in str(error) for error in ended)
    assert all(error.rank == rank for error in ended[:rank] + ended[rank + 1 :])


def test_if_one_thread_wants_to_stop_all_do(on_threads, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert on_threads(3, "fault", "stop") == [None] * 3
    assert left(tmp_path) == [2, 2, 2]


@pytest.mark.slow
def test_parameters_that_a_callback_changes_on_one_rank_are_noticed(tmp_path):
    done = run(command(3, "fault", "parameters"), tmp_path)
    assert "fit: a checksum of the parameters differs between the ranks" in done.stderr
    assert done.stderr.count("Traceback") == 1


@pytest.mark.parametrize(
    ("what", "rank", "text"),
    [
        ("a layer that cannot be sent", 0, "Local"),
        ("an error without a text", 1, "WordlessError: <exception str() failed>"),
    ],
)
def test_what_cannot_be_told_ends_all_threads(what, rank, text, on_threads, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = on_threads(2, "untold", what)
    assert text in "".join(traceback.format_exception_only(ended[rank]))
    assert isinstance(ended[1 - rank], nn.RankError)
    assert re.search(f"^rank {rank} has failed: .*{re.escape(text)}", str(ended[1 - rank]))


@pytest.mark.slow
@pytest.mark.parametrize("what", ["a layer that cannot be sent", "an error without a text"])
def test_what_cannot_be_told_ends_all_ranks(what, tmp_path):
    done = run(command(2, "untold", what), tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("Traceback") >= 1


@pytest.mark.slow
def test_if_one_rank_wants_to_stop_all_do(tmp_path):
    assert run(command(3, "fault", "stop"), tmp_path).returncode == 0
    assert left(tmp_path) == [2, 2, 2]


@pytest.mark.slow
def test_an_error_before_the_trainer_ends_all_if_mpi4py_runs_the_program(tmp_path):
    done = run(command(3, "fault", "before the trainer", "-m", "mpi4py"), tmp_path)
    assert done.returncode != 0
    assert done.stderr.count("Traceback") == 1
    assert "SGD: lr must be a finite number above 0" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not MPI, reason=WHY_NOT)
def test_signals_at_random_moments():
    assert kill_ranks.main(4, 2) == 0


@pytest.fixture
def usual():
    """Keep what Ctrl-C does, and return it."""
    usual = signal.getsignal(signal.SIGINT)
    yield usual
    signal.signal(signal.SIGINT, usual)


@pytest.mark.parametrize(("what", "argument"), [("pressed", 1), ("pressed_before_a_step", None)])
def test_one_ctrl_c_ends_all_threads_after_the_block(what, argument, usual, on_threads, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, second = on_threads(2, what, argument)
    assert isinstance(first, KeyboardInterrupt)
    assert str(second).startswith("rank 0 has failed: KeyboardInterrupt")
    assert left(tmp_path) == [1, 1]
    assert signal.getsignal(signal.SIGINT) is usual


def test_ctrl_c_after_the_last_agreement_ends_the_thread_after_the_block(usual, on_threads, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert on_threads(2, "pressed_at_the_end", None) == ["KeyboardInterrupt()", None]
    assert left(tmp_path) == [3, 3]
    assert signal.getsignal(signal.SIGINT) is usual


def test_an_error_after_ctrl_c_is_the_one_that_is_told(usual, on_threads):
    first, second = on_threads(2, "pressed_and_failed", None)
    assert (type(first), str(first)) == (RuntimeError, "a layer failed")
    assert str(second) == "rank 0 has failed: RuntimeError: a layer failed"
    assert signal.getsignal(signal.SIGINT) is usual


@pytest.mark.parametrize("own", [False, True])
def test_ctrl_c_when_another_thread_has_failed_is_for_the_programs_own_handler(own, usual, on_threads):
    heard = []
    handler = (lambda *_: heard.append(None)) if own else usual
    signal.signal(signal.SIGINT, handler)
    first, second = on_threads(2, "pressed_while_another_fails", None)
    assert str(first) == "rank 1 has failed: RuntimeError: failed"
    assert str(second) == "failed"
    assert signal.getsignal(signal.SIGINT) is handler
    assert len(heard) == own


@pytest.mark.skipif(sys.version_info < (3, 11), reason="before Python 3.11, an error has no notes")
@pytest.mark.parametrize("ranks", [1, 2])
def test_the_other_threads_are_told_of_if_there_are_others(ranks, usual, on_threads):
    error, *_ = on_threads(ranks, "pressed_and_failed", None)
    note = "This was on rank 0 of 2. The other ranks have ended, too."
    assert getattr(error, "__notes__", []) == [note] * (ranks > 1)


def test_a_second_ctrl_c_ends_all_at_once(usual, on_threads, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended, _ = on_threads(2, "pressed", 2)
    assert "RuntimeError: Abort(130)\n" in "".join(traceback.format_exception(ended))
    assert signal.getsignal(signal.SIGINT) is usual


def test_ctrl_c_that_the_program_ignores_is_ignored(usual, on_threads, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert on_threads(2, "pressed", 2) == [None, None]
    assert left(tmp_path) == [3, 3]


@pytest.mark.parametrize("raises", [False, True])
def test_the_programs_own_handler_of_ctrl_c_is_called_on_a_thread(raises, usual, on_threads, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (ended,) = on_threads(1, "programs_own", raises)
    assert (str(ended) == "stop now") if raises else ended is None
    assert left(tmp_path) == [1 if raises else 3]


@pytest.mark.slow
@pytest.mark.parametrize("raises", [False, True])
def test_the_programs_own_handler_of_ctrl_c_is_called_at_the_end_of_the_block(raises, tmp_path):
    done = run(command(2, "programs_own", raises), tmp_path)
    assert (done.returncode != 0) == raises
    assert done.stderr.count("Traceback") == done.stderr.count("ValueError: stop now") == raises
    assert left(tmp_path) == [1 if raises else 3] * 2


@pytest.mark.slow
def test_a_part_of_the_data_need_not_look_like_the_whole():
    assert told(2, "parts_of_one_class_each", True) == []


@pytest.mark.slow
def test_a_trainer_is_copied_and_resumed_on_the_cpu(tmp_path):
    found = told(2, "copied", None, tmp_path)
    assert all(parameters == found["runs"][0] for parameters in found["runs"])
    assert found["gpu"] == "resume: ranks train on the CPU, so with comm leave out device='gpu'"


@pytest.mark.slow
def test_the_remedies_help(tmp_path):
    different, places, gpu, also_gpu, average, sharded, batches, _, parts, few = told(2, "remedies", None, tmp_path)
    assert different.startswith("Trainer: the optimizer differs between the ranks, {'lr': 0.1,")
    assert different.endswith(": give all ranks the same")
    assert (
        "rank 0 in fit (train), rank 1 in step (the number of samples, a checksum of the data, the learning rate): call"
        in places
    )
    assert gpu == also_gpu == "comm: ranks train on the CPU, but the network is on the gpu: net.to('cpu')"
    for name, message in (("average_every", average), ("sharded", sharded)):
        assert message.endswith(f"{name} is for training on several processes: give comm, such as MPI.COMM_WORLD")
    assert batches.endswith("within an epoch: give checkpoint_every as a number of epochs")
    assert parts.endswith(": give all ranks the same, or sharded=True if each rank has its own part")
    assert few.endswith("some of 2 ranks: use at most 1, or give a larger batch_size")


PARTS = nn.Sequential(nn.Linear(1, 1)), nn.Quadratic(), nn.SGD(0.1)


@pytest.mark.parametrize("comm", [0, 1, "", "world", np.zeros(2)])
@pytest.mark.parametrize(
    "trainer_on",
    [
        lambda comm: nn.Trainer(nn.Sequential(nn.Linear(1, 1)), nn.Quadratic(), nn.SGD(0.1), comm=comm),
        lambda comm: nn.Trainer.resume("run.npz", comm=comm),
    ],
    ids=["new", "resumed"],
)
def test_what_is_no_communicator_is_refused(comm, trainer_on):
    pytest.importorskip("mpi4py")
    with pytest.raises(ValueError, match=r"comm must be a communicator of mpi4py such as MPI\.COMM_WORLD, got"):
        trainer_on(comm)


def test_without_mpi4py_the_error_says_what_brings_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(ImportError, match=r"comm needs mpi4py and an MPI: pip install 'numnet\[mpi\]'"):
        nn.Trainer(nn.Sequential(nn.Linear(1, 1)), nn.Quadratic(), nn.SGD(0.1), comm=1)
    extras = importlib.metadata.metadata("numnet").get_all("Provides-Extra")
    assert "mpi" in extras


@pytest.mark.parametrize("comm", [0, 1])
def test_a_trainer_of_ones_own_takes_no_comm(comm):
    class Own(nn.Trainer):
        pass

    assert type(Own(*PARTS)) is Own
    for make in (Own, Own.resume):
        with pytest.raises(TypeError, match="Own takes no comm: only a Trainer does"):
            make(*PARTS[: 3 if make is Own else 1], comm=comm)


@pytest.mark.parametrize("null", ["COMM_NULL", "Intracomm"])
def test_a_communicator_of_nobody_is_refused(null):
    comm = getattr(pytest.importorskip("mpi4py.MPI", reason=WHY_NOT, exc_type=ImportError), null)
    with pytest.raises(ValueError, match=r"comm must be a communicator of mpi4py such as MPI\.COMM_WORLD, got"):
        nn.Trainer(*PARTS, comm=comm() if isinstance(comm, type) else comm)


@pytest.mark.parametrize("options", [{"average_every": -3}, {"average_every": 2}, {"sharded": True}])
def test_without_ranks_their_options_are_refused(options):
    (name,) = options
    for make in (nn.Trainer, nn.Trainer.resume):
        with pytest.raises(ValueError, match=f"{name} is for training on several processes: give comm"):
            make(*PARTS[: 3 if make is nn.Trainer else 1], **options)


def test_the_page_shows_the_messages():
    """Each row of the table of faults has the beginning of a message above, with ... for what varies."""
    page = (ROOT / "docs" / "parallel.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\| [^|]+ \| (\d): ([^|]+) \| (\d) \|$", page, re.MULTILINE)
    assert len(shown) > 10
    for rank, text, epochs in shown:
        assert any(
            rank == str(where) and int(epochs) == (left or 0) and re.search(message, text.replace("...", "{}"))
            for message, where, left in FAULTS.values()
            if message
        ), text
