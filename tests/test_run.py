"""A run as one object: what is put back, what goes on, and what is counted on the way."""

import contextlib
import copy
import gc
import itertools
import math
import time
import types

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import numnet as nn
import numnet.data
from numnet import threads
from numnet.data import Samples
from numnet.run import Progress, Run

from .devices import DEVICES, host, place
from .test_threads import Library, Two

RNG = np.random.default_rng(0)
X, T = RNG.normal(size=(23, 3)), RNG.integers(2, size=23)


def trainer_of(seed=0, device="cpu", dtype="float32", **options):
    net = nn.Sequential(
        nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2), nn.Softmax(), seed=seed, dtype=dtype, device=device
    )
    return nn.Trainer(net, nn.CrossEntropy(), nn.SGD(**{"lr": 0.5, "momentum": 0.9, **options}), seed=seed)


def state(run):
    """Return all that an epoch changes, in bits."""
    vectors = (host(vector).tobytes() for vector in (run.net.parameters, run.optimizer.velocity))
    epochs = [epoch._replace(seconds=0.0, test_accuracy=0.0) for epoch in run.history]
    return *vectors, str(run.rng.bit_generator.state), epochs, vars(run.progress) | {"seconds": 0.0}


@pytest.mark.parametrize("device", DEVICES)
@given(epochs=st.integers(1, 3), more=st.integers(1, 3), batch_size=st.integers(1, 30))
def test_what_is_restored_is_exact_and_goes_on_to_the_same_bits(epochs, more, batch_size, device):
    run, other = (trainer_of(seed=seed, device=device, lr=0.05) for seed in (0, 1))
    run.fit((X, T), epochs, batch_size)
    run.progress = Progress(9, 2, 23, done=4, cost=0.5, right=2.0, seconds=0.25)
    before, kept = state(run), run.snapshot()
    run.progress = Progress(0, 0, 0)
    ends = []
    for _ in range(2):
        run.fit((X, T), more, batch_size)
        ends.append(state(run))
        run.restore(kept)
        assert state(run) == before
        run.progress = Progress(0, 0, 0)
    assert ends[0] == ends[1] != before
    other.restore(kept)  # another trainer, as when a file is read
    assert state(other) == before
    other.progress = Progress(0, 0, 0)
    other.fit((X, T), more, batch_size)
    assert state(other) == ends[0]


@pytest.mark.parametrize("device", DEVICES)
def test_a_snapshot_has_arrays_of_its_own(device):
    run = trainer_of(device=device)
    run.fit((X, T), 2, 5)
    kept = run.snapshot()

    def contents():
        return [host(kept.parameters), host(kept.velocity), kept.rng.bit_generator.state, kept.history, kept.progress]

    values = copy.deepcopy(contents())
    for use in (lambda: None, lambda: run.restore(kept)):  # neither the run nor what was restored shares anything
        use()
        run.net.parameters[...] = 7
        run.optimizer.velocity[...] = 7
        run.rng.random()
        run.history.append(run.history[0])
        run.progress.done = 5
        for value, expected in zip(contents(), values, strict=True):
            np.testing.assert_equal(value, expected)


@pytest.mark.parametrize("device", DEVICES)
def test_restoring_keeps_the_arrays_and_the_history_that_others_hold(device):
    run = trainer_of(device=device)
    history, kept = run.fit((X, T), 1, 5), run.snapshot()
    parameters, weight = run.net.parameters, run.net.layers[0].weight
    run.fit((X, T), 1, 5)
    run.restore(kept)
    assert run.history is history
    assert run.net.parameters is parameters
    assert run.net.layers[0].weight is weight
    np.testing.assert_array_equal(host(weight).ravel(), host(parameters)[:12])
    assert len(history) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError, ValueError])
def test_whole_or_not_at_all(error):
    run = trainer_of()
    run.fit((X, T), 1, 5)
    before = state(run)

    def two_epochs_and_an_error(epochs, batch_size):
        run.fit((X, T), epochs, batch_size)
        run.rng.random()
        raise error("the error's own")

    with pytest.raises(error, match="the error's own"):
        run.whole(two_epochs_and_an_error, 2, 4)
    assert state(run) == before
    assert run.whole(run.fit, (X, T), 2, 4) is run.history
    assert len(run.history) == 3
    assert state(run) != before


def test_ctrl_c_while_all_is_put_back(monkeypatch):
    run, presses = trainer_of(), [1, 2, 3]
    before, restore = state(run), Run.restore

    def impatient(self, snapshot):
        if presses:
            presses.pop()
            raise KeyboardInterrupt
        restore(self, snapshot)

    def change_and_fail():
        run.net.parameters = 3
        raise RuntimeError("the first")

    monkeypatch.setattr(Run, "restore", impatient)
    with pytest.raises(RuntimeError, match="the first"):
        run.whole(change_and_fail)
    assert not presses
    assert state(run) == before


@pytest.mark.parametrize("place", [1, 2, 3])
def test_ctrl_c_while_the_layers_are_told_that_the_training_is_over_leaves_none_in_training(place):
    class Impatient(nn.Tanh):
        pressed = told = False

        @property
        def training(self):
            return self.told

        @training.setter
        def training(self, value):
            if self.told and not value and not Impatient.pressed:
                Impatient.pressed = True
                raise KeyboardInterrupt
            self.told = value

    layers = [nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 2)]
    layers.insert(place, Impatient())
    run = nn.Trainer(nn.Sequential(*layers, seed=0), nn.Quadratic(), nn.SGD(0.1), seed=0)
    before = state(run)
    with pytest.raises(KeyboardInterrupt):
        run.fit((X, np.eye(2)[T]), 2, 5)
    assert Impatient.pressed
    assert not any(layer.training for layer in layers)
    assert state(run)[:4] == before[:4]


def test_of_an_epoch_at_whose_end_a_layer_refuses_nothing_is_left():
    class Refusing(nn.Tanh):
        told = False

        @property
        def training(self):
            return self.told

        @training.setter
        def training(self, value):
            if self.told and not value:
                raise RuntimeError("the layer's own")
            self.told = value

    run = nn.Trainer(nn.Sequential(nn.Linear(3, 2), Refusing(), seed=0), nn.Quadratic(), nn.SGD(0.1), seed=0)
    before = state(run)
    with pytest.raises(RuntimeError, match="the layer's own"):
        run.fit((X, np.eye(2)[T]), 2, 5)
    assert state(run)[:4] == before[:4]


def test_an_error_while_all_is_put_back_is_no_endless_loop(monkeypatch):
    def broken(self, snapshot):
        raise OSError("the second")

    monkeypatch.setattr(Run, "restore", broken)
    with pytest.raises(OSError, match="the second"):
        trainer_of().whole(lambda: 1 / 0)


@given(
    epochs=st.integers(0, 4),
    n=st.integers(1, 1000),
    cost=st.floats(0, 1e6),
    right=st.integers(0, 1000) | st.just(math.nan),
    test_cost=st.floats(0, 1e6) | st.just(math.nan),
    test_accuracy=st.floats(0, 1) | st.just(math.nan),
    seconds=st.floats(0, 1e6),
)
def test_what_is_recorded_of_an_epoch(epochs, n, cost, right, test_cost, test_accuracy, seconds):
    run = trainer_of()
    run.history[:] = [nn.Epoch(i, 1.0, 1.0, 1.0, 1.0) for i in range(1, epochs + 1)]
    run.progress = Progress(9, 5, n, done=n, cost=cost, right=right, seconds=seconds)
    assert not run.net.trained
    run.record(test_cost, test_accuracy)
    assert run.net.trained
    assert vars(run.progress) == vars(Progress(9, 5, n, done=0, cost=0.0, right=0.0, seconds=0.0))
    np.testing.assert_equal(
        tuple(run.history[-1]), (epochs + 1, cost / n, right / n, test_accuracy, seconds, test_cost)
    )
    assert len(run.history) == epochs + 1


class Told:
    """Keeps what it is told of the progress, with costs and right answers of a twin that takes the same steps."""

    def __init__(self):
        self.places, self.batches = [], []

    def after_block(self, run, batches):
        self.places.append(copy.copy(run.progress))
        self.batches.append(batches)


@pytest.mark.parametrize("device", DEVICES)
@given(n=st.integers(1, 23), batch_size=st.integers(1, 8), most=st.integers(1, 4), rows=st.booleans())
def test_progress_counts_samples_costs_and_right_answers(n, batch_size, most, rows, device):
    run, twin = (trainer_of(device=device, dtype="float64") for _ in range(2))
    t = np.eye(2)[T[:n]] if rows else T[:n]
    samples, told = Samples(run.net, run.pair, (X[:n], t), "train"), Told()
    run.progress = Progress(1, batch_size, n)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numnet.data, "BLOCK_BATCHES", most)
        run._train_epoch(samples, None, run._train_steps, 0.5, [told])
    order, done, cost, right, seconds = np.random.default_rng(0).permutation(n), 0, 0.0, 0, 0.0
    for place_, batches in zip(told.places, told.batches, strict=True):
        for start in range(done, min(done + most * batch_size, n), batch_size):
            batch = order[start : start + batch_size]
            right += np.count_nonzero(twin.net.predict(X[batch]) == T[batch])
            cost += twin.step(X[batch], t[batch]) * len(batch)
            batches -= 1
        assert batches == 0
        done = min(done + most * batch_size, n)
        assert (place_.done, place_.right) == (done, right)
        assert place_.cost == pytest.approx(cost, rel=1e-9)
        assert place_.seconds > seconds
        seconds = place_.seconds
    assert done == n
    assert run.history[0].train_cost == pytest.approx(cost / n, rel=1e-9)
    assert run.history[0].train_accuracy == right / n
    assert run.progress.done == 0


def test_the_last_block_is_weighted_by_its_samples(monkeypatch):
    monkeypatch.setattr(numnet.data, "BLOCK_BATCHES", 1)
    x = np.arange(9.0)[:, None]
    net = nn.Sequential(nn.Linear(1, 1), seed=0, dtype="float64")
    net.parameters = 0
    # Nothing is learnt at such a rate, so each sample costs x^2 / 2, whatever block it is in: 4, 4 and 1 sample.
    history = nn.Trainer(net, nn.Quadratic(), nn.SGD(1e-30), seed=0).fit((x, x), 1, 4)
    assert history.train_cost[0] == pytest.approx(np.mean(x**2) / 2, rel=1e-12)


@pytest.mark.parametrize("device", DEVICES)
@given(skipped=st.integers(1, 5))
def test_an_epoch_goes_on_where_it_was_left(skipped, device):
    whole, cut = trainer_of(device=device), trainer_of(device=device)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numnet.data, "BLOCK_BATCHES", 1)
        whole.fit((X, T), 2, 4)

        class Stopping:
            def after_block(self, run, batches):
                if run.progress.done == 4 * skipped:
                    self.kept = run.snapshot()
                    raise KeyboardInterrupt

        stopping, samples = Stopping(), Samples(cut.net, cut.pair, (X, T), "train")
        cut.progress = Progress(2, 4, len(X))
        with pytest.raises(KeyboardInterrupt):
            cut._train_epoch(samples, None, cut._train_steps, 0.5, [stopping])
        again = trainer_of(seed=1, device=device)
        again.restore(stopping.kept)
        again.fit((X, T))
    assert state(again) == state(whole)


class Clock(nn.Layer):
    """Passes numbers on. Lets a time go by: little in training, and much in everything else."""

    now, left = 0.0, math.inf

    def forward(self, x, out=None):
        Clock.now += 0.125 if self.training else 1000
        Clock.left -= self.training
        if Clock.left == 0:
            raise KeyboardInterrupt
        return np.multiply(x, 1, out=out)

    def backward(self, grad, out=None):
        return np.multiply(grad, 1, out=out)


@pytest.mark.parametrize("where", ["here", "in another process"])
@given(n=st.integers(1, 23), batch_size=st.integers(1, 8), most=st.integers(1, 3), data=st.data())
def test_the_seconds_of_an_epoch_are_those_of_its_batches_also_if_it_is_cut_off(
    n, batch_size, most, data, where, tmp_path_factory
):
    def passing(trainer):
        Clock.now += 10**6

    def made():
        net = nn.Sequential(nn.Linear(3, 2), Clock(), nn.Softmax(), seed=0)
        return nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.1), seed=0)

    path, run, train = tmp_path_factory.mktemp("runs") / "run.npz", made(), (X[:n], T[:n])
    batches = math.ceil(n / batch_size)
    Clock.left = data.draw(st.integers(1, 2 * batches))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numnet.data, "BLOCK_BATCHES", most)
        patch.setattr(time, "perf_counter", lambda: Clock.now)
        patch.setattr(time, "time", lambda: -Clock.now)  # the clock on the wall may be put back
        try:
            with pytest.raises(KeyboardInterrupt):
                run.fit(train, 2, batch_size, train, callbacks=[passing], checkpoint=path, checkpoint_every="1 batch")
        finally:
            Clock.left = math.inf
        if where == "in another process" and path.exists():
            run, Clock.now = nn.Trainer.resume(path), 0.0
        if not run.progress.last:  # cut off before anything was done
            run = made()
        run.fit(train, *([] if run.progress.last else [2, batch_size]), test=train, callbacks=[passing])
    assert run.history.seconds == [0.125 * batches] * 2


@pytest.mark.parametrize("device", DEVICES)
def test_a_run_begins_with_nothing_to_do(device):
    run = trainer_of(device=device)
    assert vars(run.progress) == vars(Progress(last=0, batch_size=0, samples=0))
    assert not run.history
    assert not host(run.optimizer.velocity).any()
    with pytest.raises(ValueError, match="no interrupted run is left to finish"):
        run.fit((X, T))


def test_a_run_follows_its_seeds_alone():
    runs = [trainer_of(seed) for seed in (0, 0, 1)]
    for run in runs:
        run.fit((X, T), 2, 4)
    assert state(runs[0]) == state(runs[1])
    assert state(runs[0])[:3] != state(runs[2])[:3]
    orders = []
    for batch_size, rate in itertools.product((3, 8), (0.05, 0.1)):  # the order of each epoch depends on the seed alone
        run = trainer_of(lr=rate)
        run.fit((X, T), 3, batch_size)
        orders.append(str(run.rng.bit_generator.state))
    drawn = np.random.default_rng(0)
    for _ in range(3):
        drawn.permutation(len(X))
    assert set(orders) == {str(drawn.bit_generator.state)}


@pytest.fixture
def counts(monkeypatch):
    """Take three BLAS that have 2, 1 and 2 threads in place of the real ones; return what tells their threads."""
    libraries = [Library(count) for count in (2, 1, 2)]
    monkeypatch.setattr(threads, "BLAS", types.SimpleNamespace(lib_controllers=libraries))
    return lambda: [library.count for library in libraries]


def timings(monkeypatch):
    """Return a list that gets what is timed, in place of the time that it takes."""
    timed = []
    monkeypatch.setattr(threads, "warn_if_slow", lambda weight, batch_size: timed.append((weight.shape, batch_size)))
    return timed


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
@pytest.mark.parametrize("device", DEVICES)
def test_a_training_takes_the_threads_if_the_network_is_small_and_gives_them_back(
    small, error, device, counts, monkeypatch
):
    monkeypatch.setattr(threads, "SMALL", 3 * 4 * 8 + small)
    run, timed = trainer_of(device=device), timings(monkeypatch)

    def train():
        with run.training(8):
            assert counts() == ([1, 1, 1] if small else [2, 1, 2])
            assert len(threads.running) == small
            assert all(layer.training for layer in run.net.layers)
            assert set(np.geterr().values()) == {"ignore"}
            if error:
                raise error

    for _ in range(2):
        with pytest.raises(error) if error else contextlib.nullcontext() as kept:
            train()
        assert (counts(), threads.usual, len(threads.running)) == ([2, 1, 2], [], 0), kept
        assert not any(layer.training for layer in run.net.layers)
    assert timed == [((3, 4), 8)] * (device == "cpu" and not small)


def test_the_threads_are_given_back_when_the_last_of_several_trainings_ends(counts):
    first, second = trainer_of().training(8), trainer_of().training(8)
    first.__enter__()
    with second:
        assert counts() == [1, 1, 1]
        first.__exit__(None, None, None)
        assert counts() == [1, 1, 1]
    assert counts() == [2, 1, 2]


def test_a_training_with_one_thread_leaves_it_at_that(counts):
    with trainer_of().training(8):
        pass
    for library in threads.BLAS.lib_controllers:
        library.count = 1
    with trainer_of().training(8):
        assert (counts(), threads.usual) == ([1, 1, 1], [])
    assert counts() == [1, 1, 1]


@pytest.mark.parametrize(("first", "second"), [((3, 40), (40, 4)), ((3, 4), (4, 40))])
@pytest.mark.parametrize(("outputs", "rows"), [(1, 5), (1, 100), (50, 5)])
@pytest.mark.parametrize("small", [True, False])
def test_what_is_small_depends_on_the_largest_weight_that_is_in_a_product(
    first, second, outputs, rows, small, monkeypatch
):
    run = nn.Trainer(nn.Sequential(Two(first, second), nn.Linear(second[1], outputs)), nn.Quadratic(), nn.SGD(0.1))
    size = max(math.prod(first), math.prod(second), second[1] * outputs)
    monkeypatch.setattr(threads, "SMALL", size * rows + small)
    largest, is_small = run._largest(rows)
    assert (largest.size, is_small) == (size, small)
    monkeypatch.setattr(threads, "number", lambda: 7)
    for batch_size, samples in ((rows, 1000), (1000, rows)):
        run.progress = Progress(1, batch_size, samples)
        assert run.threads() == (None if small else 7)
    run.net.to("gpu")
    assert run.threads() is None


def test_a_network_without_weights_is_small_and_can_be_trained_with_and_without_a_blas(monkeypatch):
    trainer = nn.Trainer(nn.Sequential(nn.Tanh()), nn.Quadratic(), nn.SGD(0.1))
    assert trainer._largest(10**15)[1]
    assert trainer.step(np.zeros((2, 3)), np.zeros((2, 3))) == 0
    monkeypatch.setattr(threads, "BLAS", types.SimpleNamespace(lib_controllers=[]))
    assert trainer.step(np.zeros((2, 3)), np.zeros((2, 3))) == 0


@pytest.mark.parametrize(("home", "away"), [("cpu", "gpu"), ("gpu", "cpu")])
def test_a_callback_that_moves_the_network_away_is_told(home, away):
    run, whole = (trainer_of(device=home, dtype="float64") for _ in range(2))
    whole.fit((X, T), 3, 5)

    def move(trainer):
        if len(trainer.history) == 2:
            trainer.net.to(away)

    message = f"^fit: a callback has moved the network from '{home}' to '{away}': move it back before the callback ends"
    with pytest.raises(nn.DeviceError, match=message):
        run.fit((X, T), 3, 5, callbacks=[move])
    assert len(run.history) == 2
    run.fit((X, T))  # on the other device
    assert run.net.device == away
    np.testing.assert_allclose(host(run.net.parameters), host(whole.net.parameters), rtol=1e-9)


def test_a_callback_that_moves_the_network_away_is_told_before_the_next_is_called():
    run, called = trainer_of(), []
    callbacks = [lambda trainer: trainer.net.to("gpu"), lambda trainer: called.append(trainer.net.to("cpu"))]
    with pytest.raises(nn.DeviceError, match="a callback has moved the network from 'cpu' to 'gpu'"):
        run.fit((X, T), 2, 5, callbacks=callbacks)
    assert not called


def test_a_callback_may_move_the_network_there_and_back():
    run, whole = (trainer_of(dtype="float64") for _ in range(2))
    whole.fit((X, T), 3, 5)
    run.fit((X, T), 3, 5, callbacks=[lambda trainer: trainer.net.to("gpu").to("cpu")])
    assert state(run) == state(whole)


def test_a_callback_may_take_a_step_elsewhere_and_come_back():
    def step_elsewhere(trainer):
        trainer.net.to("gpu")
        trainer.step(X, T)
        trainer.net.to("cpu")

    run, whole = (trainer_of(dtype="float64") for _ in range(2))
    whole.fit((X, T), 2, 5, callbacks=[lambda trainer: trainer.step(X, T)])
    run.fit((X, T), 2, 5, callbacks=[step_elsewhere])
    np.testing.assert_allclose(run.net.parameters, whole.net.parameters, rtol=1e-9)


@pytest.mark.parametrize("device", DEVICES)
def test_a_network_that_is_moved_between_calls_takes_its_run_along(device):
    run, whole = (trainer_of(dtype="float64") for _ in range(2))
    whole.fit((X, T), 3, 5)
    run.fit((X, T), 1, 5)
    run.net.to(device)
    run.fit((X, T), 2, 5)
    np.testing.assert_allclose(host(run.net.parameters), whole.net.parameters, rtol=1e-9)
    assert type(run.optimizer.velocity) is type(place([0.0], device))


def test_what_was_restored_is_not_restored_again_when_the_error_is_forgotten():
    """An undo that waits in a suspended generator would come when nobody keeps the error any more."""
    trainer = trainer_of()
    done = trainer._train_epoch

    def interrupted(*arguments):
        done(*arguments)
        raise KeyboardInterrupt

    trainer._train_epoch = interrupted
    with pytest.raises(KeyboardInterrupt) as kept:
        trainer.fit((X, T), 3, 5)
    assert len(trainer.history) == 0
    del trainer._train_epoch
    trainer.fit((X, T))
    after = state(trainer)
    del kept
    gc.collect()
    assert state(trainer) == after
    assert len(trainer.history) == 3
