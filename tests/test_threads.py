"""The threads of BLAS during training: one for a small network, all again afterwards, whatever happens."""

import itertools
import multiprocessing
import os
import re
import subprocess
import sys
import time
import tracemalloc
import types
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import threadpoolctl
from hypothesis import example, given
from hypothesis import strategies as st

import numnet as nn
import numnet.data
from numnet import threads

from .devices import DEVICES

X, T = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2


@pytest.fixture(autouse=True)
def two_threads(monkeypatch):
    """Let BLAS have two threads, also if the tests run with one, and numnet warn of them as in a new process."""
    monkeypatch.setattr(threads, "warned", False)
    with threadpoolctl.threadpool_limits(2, user_api="blas"):  # not by threads.BLAS, which is what is tested
        if {library["num_threads"] for library in threadpoolctl.threadpool_info() if "blas" in library.values()} != {2}:
            pytest.skip("this BLAS cannot have two threads")
        yield


def counts():
    return {library["num_threads"] for library in threads.BLAS.select(user_api="blas").info()}


class Watch(nn.Layer):
    """Passes numbers on, and notes how many threads BLAS has meanwhile."""

    seen: set[int] | None = None

    def forward(self, x):
        self.seen = counts()
        return x.copy()

    def backward(self, grad):
        return grad.copy()


def trainer_of(*layers, width=3):
    net = nn.Sequential(nn.Linear(width, 2), *layers, nn.Softmax(), seed=0)
    return nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.1), seed=0)


def test_a_small_network_is_trained_with_one_thread():
    trainer = trainer_of(Watch())
    trainer.fit((X, T), 2, 8)
    assert trainer.net.layers[1].seen == {1}
    assert counts() == {2}
    trainer.step(X, T)
    assert trainer.net.layers[1].seen == {1}
    assert counts() == {2}


def test_the_number_of_threads_is_that_of_the_blas_with_most():
    for library in threads.BLAS.lib_controllers:
        with threads.BLAS.limit(limits=1):
            assert threads.number() == 1
            library.set_num_threads(2)
            assert threads.number() == 2


@pytest.mark.parametrize(("each", "most"), [([], 1), ([1, 1], 1), ([2, 1, 3], 3), ([4, 1], 4)])
def test_without_a_blas_there_is_one_thread_and_of_several_the_most_count(each, most, monkeypatch):
    libraries = [types.SimpleNamespace(num_threads=count) for count in each]
    monkeypatch.setattr(threads, "BLAS", types.SimpleNamespace(lib_controllers=libraries))
    assert threads.number() == most


def test_a_thing_is_alone_until_its_call_ends_also_while_the_error_of_that_call_is_kept():
    thing, other = object(), object()

    def fail():
        with threads.alone(thing, "it is busy"), threads.alone(other, "the other is busy"):
            for _ in range(2):  # a refusal does not set it free
                with pytest.raises(RuntimeError, match="it is busy"):
                    threads.alone(thing, "it is busy").__enter__()
            raise ValueError("the call's own")

    with pytest.raises(ValueError, match="the call's own") as kept:
        fail()
    with threads.alone(thing, "it is busy"):
        assert kept.tb


class Library:
    """A BLAS, which only who holds the lock may ask for its threads or give others."""

    def __init__(self, count):
        self.count = count

    @property
    def num_threads(self):
        assert threads.lock.locked()
        return self.count

    def set_num_threads(self, count):
        assert threads.lock.locked()
        self.count = count


@given(usual=st.lists(st.integers(1, 3), max_size=3), order=st.permutations(range(3)))
def test_each_blas_has_one_thread_until_the_last_small_network_is_trained_and_then_its_own_number(usual, order):
    libraries = [Library(count) for count in usual]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "BLAS", types.SimpleNamespace(lib_controllers=libraries))
        trainings = [trainer_of().training(8) for _ in order]
        for training in trainings:
            training.__enter__()
        for i in order:
            assert {library.count for library in libraries} <= {1}
            trainings[i].__exit__(None, None, None)
        assert [library.count for library in libraries] == usual


def test_a_limit_of_the_users_own_is_kept():
    trainer = trainer_of(Watch())
    trainer.fit((X, T), 1, 8)
    with threads.BLAS.limit(limits=1):
        trainer.fit((X, T), 1, 8)
        trainer.step(X, T)
        assert counts() == {1}
    assert counts() == {2}


class Two(nn.Layer):
    """y = x a b, with two weights in one layer, and parameters that are in no product."""

    def __init__(self, a, b):
        self.parameters = {"row": np.ones(5000), "cube": np.ones((2, 50, 50)), "a": np.ones(a), "b": np.ones(b)}

    def forward(self, x, out=None):
        return x @ self.parameters["a"] @ self.parameters["b"]

    def backward(self, grad, out=None):
        return grad @ self.parameters["b"].T @ self.parameters["a"].T


@given(sizes=st.lists(st.integers(1, 50), min_size=4, max_size=4), batch_size=st.integers(1, 2000))
@example(sizes=[50, 20, 1, 1], batch_size=1000)  # the first batch that is not small
def test_the_largest_weight_of_any_layer_decides_what_is_small(sizes, batch_size):
    a, b, c, d = sizes
    net = nn.Sequential(Two((a, b), (b, c)), nn.Linear(c, d), seed=0)
    largest, small = nn.Trainer(net, nn.Quadratic(), nn.SGD(0.1))._largest(batch_size)
    assert largest.size == max(a * b, b * c, c * d)
    assert small == (largest.size * batch_size < 1_000_000)


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize(("batch_size", "samples"), [("a step", 20), (8, 8), (20, 20), (99, 20)])
def test_what_is_small_is_judged_by_the_samples_of_a_batch(batch_size, samples, small, monkeypatch):
    monkeypatch.setattr(threads, "SMALL", 3 * 2 * samples + small)
    monkeypatch.setattr(threads, "_COSTS", np.inf)
    monkeypatch.setattr(threads, "_TIMED", 1)
    trainer = trainer_of(Watch())
    trainer.step(X, T) if batch_size == "a step" else trainer.fit((X, T), 1, batch_size)
    assert trainer.net.layers[1].seen == {1 if small else 2}


def test_a_batch_larger_than_the_data_is_as_large_as_the_data():
    whole, larger = trainer_of(Watch()), trainer_of(Watch())
    whole.fit((X, T), 2, len(X))
    larger.fit((X, T), 2, 10**15)  # of which no memory could hold the rows
    assert larger.net.layers[1].seen == {1}
    np.testing.assert_array_equal(larger.net.parameters, whole.net.parameters)


def test_the_timing_takes_a_part_of_a_large_batch():
    weight = np.ones((1000, 1000), np.float32)
    tracemalloc.start()
    threads.warn_if_slow(weight, 10**7)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6


def test_the_times_in_the_warning_are_those_of_all_products(monkeypatch):
    monkeypatch.setattr(threads, "_COSTS", 0.0)
    weight = np.ones((1000, 1000), np.float32)
    started = time.perf_counter()
    with pytest.warns(RuntimeWarning, match="threads of BLAS") as caught:
        threads.warn_if_slow(weight, 50)  # one product of the batch each time
    took = time.perf_counter() - started
    together = 9 * sum(float(ms) for ms in re.findall(r"([\d.e+-]+) ms", str(caught[0].message))) / 1000
    assert 0.5 * took < together < 1.01 * took


def test_the_warning_says_how_long_a_product_takes_with_all_threads_and_with_one(monkeypatch):
    clock = itertools.chain.from_iterable([now + 0.5, now + 0.5 + took] for now in range(99) for took in (0.25, 2.0))
    seen = []

    def perf_counter():
        seen.append(counts())
        return next(clock)

    def noted(a, b, out):
        products.append((a.shape, b.shape, out.shape))
        return matmul(a, b, out=out)

    matmul, products = np.matmul, []
    monkeypatch.setattr(threads.time, "perf_counter", perf_counter)
    monkeypatch.setattr(np, "matmul", noted)
    monkeypatch.setattr(threads, "_TIMED", 60)  # five products of 12 multiplications each time
    with pytest.warns(RuntimeWarning) as caught:
        threads.warn_if_slow(np.zeros((2, 3)), 2)
    assert products == [((2, 2), (2, 3), (2, 3))] * 5 * 2 * 9
    said = "the 2 threads of BLAS make the training slower (400 ms for a product, 50 ms with one thread), as when "
    assert str(caught[0].message).startswith(said)
    assert seen == [{1}, {1}, {2}, {2}] * 9


@pytest.mark.parametrize(("timed", "rows"), [(5, 1), (11, 1), (12, 2), (10**6, 7)])
def test_so_many_rows_are_timed_that_a_product_has_a_given_size(timed, rows, monkeypatch):
    shapes = set()
    monkeypatch.setattr(threads, "_TIMED", timed)
    monkeypatch.setattr(np, "matmul", lambda a, b, out: shapes.add((a.shape, b.shape, out.shape)))
    threads.warn_if_slow(np.zeros((2, 3)), 7)
    assert shapes == {((rows, 2), (2, 3), (rows, 3))}


@pytest.mark.parametrize("took", [0.25, 0.1, 0.35, 0.375])
def test_threads_that_are_no_slower_are_not_warned_of_and_may_be_timed_again(took, monkeypatch):
    clock = itertools.chain.from_iterable([now, now + seconds] for now in range(99) for seconds in (0.25, took))
    monkeypatch.setattr(threads.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(threads, "_TIMED", 24)
    for _ in range(2):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")  # the other tests ignore this warning
            threads.warn_if_slow(np.zeros((2, 3)), 4)
        assert not caught
    assert not threads.warned
    assert next(clock) == 18


def test_threads_that_take_more_than_half_as_long_again_are_warned_of_until_the_warning_is_no_error(monkeypatch):
    clock = itertools.chain.from_iterable([now, now + seconds] for now in range(99) for seconds in (0.25, 0.4))
    monkeypatch.setattr(threads.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(threads, "_TIMED", 24)
    for _ in range(2):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(RuntimeWarning, match="threads of BLAS make the training slower"):
                threads.warn_if_slow(np.zeros((2, 3)), 4)
    with pytest.warns(RuntimeWarning):
        threads.warn_if_slow(np.zeros((2, 3)), 4)
    threads.warn_if_slow(np.zeros((2, 3)), 4)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("calls", [("fit", "step"), ("step", "fit")])
def test_only_a_large_network_on_the_cpu_is_timed_with_one_warning_in_a_process_of_the_callers_line(
    calls, small, device, monkeypatch
):
    monkeypatch.setattr(threads, "_COSTS", 0.0)
    monkeypatch.setattr(threads, "_TIMED", 1)
    if not small:
        monkeypatch.setattr(threads, "SMALL", 1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for trainer in trainer_of(), trainer_of():
            trainer.net.to(device)
            for call in 2 * calls:
                trainer.fit((X, T), 2, 8) if call == "fit" else trainer.step(X, T)
    assert all("threads of BLAS make the training slower" in str(warning.message) for warning in caught)
    assert [warning.filename for warning in caught] == [__file__] * (device == "cpu" and not small)


def test_a_network_is_timed_once(monkeypatch):
    timed = []
    monkeypatch.setattr(threads, "SMALL", 1)
    monkeypatch.setattr(threads, "warn_if_slow", lambda weight, batch_size: timed.append(weight.shape))
    trainer = trainer_of()
    for _ in range(2):
        trainer.fit((X, T), 2, 8)
    assert timed == [(3, 2)]


def test_a_layer_that_refuses_leaves_the_threads_as_they_were():
    class Fixed(Watch):
        training = property(lambda self: False)

    trainer = trainer_of(Fixed())
    with pytest.raises(AttributeError, match="training"):
        trainer.step(X, T)
    assert counts() == {2}
    assert not threads.running


def test_two_threads_of_python_leave_the_threads_as_they_were():
    trainers = [trainer_of() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda trainer: trainer.fit((X, T), 20, 8), trainers))
    assert counts() == {2}
    assert not threads.running
    assert len({trainer.net.parameters.tobytes() for trainer in trainers}) == 1


def test_the_threads_are_those_of_blas_and_no_warning_has_been_given_at_the_start():
    known = {library["filepath"] for library in threadpoolctl.threadpool_info() if library["user_api"] == "blas"}
    assert {library.filepath for library in threads.BLAS.lib_controllers} <= known
    assert bool(threads.BLAS.lib_controllers) == bool(known)
    code = "from numnet import threads; print(threads.warned)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_that_is_forked_while_nothing_is_trained_says_nothing():
    code = "import os, numnet; pid = os.fork(); pid and os.waitpid(pid, 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == done.stderr == ""


def train_and_exit(net):
    """Train as somebody who has one thread, and then the network of the parent and another with two."""
    with threads.BLAS.limit(limits=1):
        trainer_of().fit((X, T), 1, 8)
        right = counts() == {1}
    for trainer in (nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.1)), trainer_of(Watch())):
        trainer.fit((X, T), 1, 8)
        right = right and (trainer.net.layers[1].seen, counts()) == ({1}, {2})
    os._exit(0 if right else 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_process_that_is_forked_during_an_epoch_has_all_threads_after_its_own():
    class Fork(Watch):
        def forward(self, x):
            if waiting and self.training:  # not while the cost at the start is worked out
                waiting.pop().start()
            return super().forward(x)

    trainer = trainer_of(Fork())
    process = multiprocessing.get_context("fork").Process(target=train_and_exit, args=(trainer.net,))
    waiting = [process]
    trainer.fit((X, T), 1, 8)
    process.join(20)
    if process.exitcode is None:
        process.kill()
    assert process.exitcode == 0
    assert counts() == {2}


def test_ctrl_c_at_any_line_leaves_the_threads_to_the_next_training():
    def interrupt(at):
        def trace(frame, event, argument):
            nonlocal at
            # Python looks for no signal between the last line of `with lock` and the lock's release; a tracer would.
            if frame.f_globals.get("__name__", "").startswith("numnet.") and not threads.lock.locked():
                at -= event == "line"
                if at == 0:
                    raise KeyboardInterrupt
                return trace
            return None

        return trace

    interrupted = 0
    for at in range(1, 400):
        trainer = trainer_of()
        try:
            sys.settrace(interrupt(at))
            trainer.step(X, T)
        except KeyboardInterrupt:
            interrupted += 1
        finally:
            sys.settrace(None)
        trainer_of().step(X, T)
        assert counts() == {2}
        assert not threads.running
    assert interrupted > 100


# The number of threads in a checkpoint


def large_trainer(width=600):
    net = nn.Sequential(nn.Linear(10, width), nn.Tanh(), nn.Linear(width, 40), nn.Softmax(), seed=0)
    return nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.1), seed=0)


def data(n=100):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 10)), rng.integers(40, size=n)


@pytest.mark.parametrize(("trained", "resumed"), [(1, 2), (2, 1), (1, 1), (2, 2)])
@pytest.mark.parametrize(("batch_size", "samples"), [(100, 100), (10, 100), (1000, 10)])  # the last trains on 10
def test_a_run_with_other_threads_is_resumed_with_a_warning(
    two_threads, tmp_path, trained, resumed, batch_size, samples
):
    path = tmp_path / "run.npz"
    with threads.BLAS.limit(limits=trained):
        large_trainer().fit(data(samples), 1, batch_size, checkpoint=path)
    large = 600 * 40 * min(batch_size, samples) >= threads.SMALL
    assert large == (batch_size == 100)
    with threads.BLAS.limit(limits=resumed), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        (entry,) = os.scandir(tmp_path)  # a path that is no text
        nn.Trainer.resume(entry)
    told = f"{path} was written by a run with {['1 thread', '2 threads'][trained - 1]} of BLAS, and here are {resumed}"
    assert [str(warning.message).partition(": ")[0] for warning in caught] == [told] * (large and trained != resumed)
    assert all(f"OPENBLAS_NUM_THREADS={trained} " in str(warning.message) for warning in caught)


@pytest.mark.parametrize("first", DEVICES)
def test_a_run_that_moves_to_another_device_is_resumed_without_a_warning_of_threads(two_threads, tmp_path, first):
    trainer = large_trainer()
    trainer.net.to(first)
    trainer.fit(data(), 1, 100, checkpoint=tmp_path / "run.npz")
    (other,) = {"cpu", "gpu"} - {first}
    with threads.BLAS.limit(limits=1):
        assert nn.Trainer.resume(tmp_path / "run.npz", device=other).net.device == other  # a warning would be an error


def test_a_checkpoint_within_an_epoch_knows_the_threads_too(two_threads, tmp_path, monkeypatch):
    class Stop(nn.Layer):
        left = 3

        def forward(self, x, out=None):
            Stop.left -= self.training
            if Stop.left < 0:
                raise KeyboardInterrupt
            return np.multiply(x, 1, out=out)

        def backward(self, grad, out=None):
            return np.multiply(grad, 1, out=out)

    net = nn.Sequential(nn.Linear(10, 600), Stop(), nn.Linear(600, 40), nn.Softmax(), seed=0)
    trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.1), seed=0)
    monkeypatch.setattr(numnet.data, "BLOCK_BATCHES", 1)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(data(500), 1, 100, checkpoint=tmp_path / "run.npz", checkpoint_every="1 batch")
    with threads.BLAS.limit(limits=1), pytest.warns(RuntimeWarning, match="2 threads of BLAS, and here are 1"):
        assert nn.Trainer.resume(tmp_path / "run.npz").progress.done == 300
