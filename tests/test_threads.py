"""The threads of BLAS during training: one for a small network, all again afterwards, whatever happens."""

import multiprocessing
import os
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import numnet as nn
from numnet import threads

X, T = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2


@pytest.fixture(autouse=True)
def two_threads():
    """Let BLAS have two threads, also if the tests run with one."""
    with threads.BLAS.limit(limits=2, user_api="blas"):
        if counts() != {2}:
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


def test_the_warning_is_of_the_line_that_called_fit(monkeypatch):
    monkeypatch.setattr(threads, "_COSTS", 0.0)
    x = np.zeros((200, 200_000), np.float32)
    trainer = trainer_of(width=x.shape[1])
    with pytest.warns(RuntimeWarning, match="threads of BLAS") as caught:
        trainer.fit((x, np.arange(200) % 2), 1, 100)
    assert [warning.filename for warning in caught] == [__file__]


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


def train_and_exit():
    trainer = trainer_of(Watch())
    trainer.fit((X, T), 1, 8)
    os._exit(0 if (trainer.net.layers[1].seen, counts()) == ({1}, {2}) else 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_process_that_is_forked_during_an_epoch_has_all_threads_after_its_own():
    process = multiprocessing.get_context("fork").Process(target=train_and_exit)

    class Fork(Watch):
        def forward(self, x):
            if process.pid is None:
                process.start()
            return super().forward(x)

    trainer_of(Fork()).fit((X, T), 1, 8)
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
