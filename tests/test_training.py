import contextlib
import copy
import csv
import inspect
import itertools
import math
import pickle
import re
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

import numnet as nn
import numnet.data
import numnet.run
from numnet import checks
from numnet.costs import Pair

from .devices import DEVICES, host
from .networks import cases

DIGITS = nn.datasets.digits()
RNG = np.random.default_rng(0)
X, T = RNG.normal(size=(10, 3)), RNG.integers(2, size=10)


def classifier(*sizes, seed=0, lr=0.1, cost=None, **options):
    layers = [nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
    net = nn.Sequential(*layers, nn.Softmax(), seed=seed, **options)
    return nn.Trainer(net, cost or nn.CrossEntropy(), nn.SGD(lr), seed=seed)


def test_the_signature_names_what_a_trainer_takes_and_copies_need_none_of_it():
    signature = inspect.signature(nn.Trainer)
    given = "net, cost, optimizer, seed=None, *, comm=None, average_every=None, sharded=False"
    assert re.sub(r": '.*?'| -> .*", "", str(signature)).replace(" = ", "=") == f"({given})"
    trainer = classifier(3, 2)
    for twin in (copy.copy(trainer), copy.deepcopy(trainer), pickle.loads(pickle.dumps(trainer))):
        assert type(twin) is nn.Trainer
        assert (twin.net.parameters == trainer.net.parameters).all()


@pytest.mark.parametrize("device", DEVICES)
@given(case=cases(scales=(0.1, 1.0)))
def test_a_step_is_gradient_descent_on_the_checked_gradient(case, device):
    trainer = nn.Trainer(case.net.to(device), case.cost, nn.SGD(0.25))
    before = host(case.net.parameters).copy()
    trainer.step(case.x, case.t)
    expected = before - 0.25 * host(case.net.gradients)
    np.testing.assert_allclose(host(case.net.parameters), expected, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("device", DEVICES)
def test_a_step_by_hand(device):
    # One sigmoid neuron, w = b = 0, x = 1, t = 0: y = 1/2, E = ln 2, dE/dw = dE/db = y - t = 1/2.
    net = nn.Sequential(nn.Linear(1, 1), nn.Sigmoid(), dtype="float64", device=device)
    net.parameters = 0
    assert nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.1)).step([[1.0]], [0.0]) == pytest.approx(math.log(2))
    np.testing.assert_allclose(host(net.gradients), [0.5, 0.5])
    np.testing.assert_allclose(host(net.parameters), [-0.05, -0.05])


@pytest.mark.parametrize("device", DEVICES)
def test_the_step_cost_is_that_of_the_called_cost(device):
    trainer = classifier(3, 2, dtype="float64", device=device)
    expected = nn.CrossEntropy()(trainer.net(X), T)
    assert trainer.step(X, T) == pytest.approx(expected, rel=1e-12)
    assert trainer.step(X, np.eye(2)[T]) < expected


@pytest.mark.parametrize("device", DEVICES)
@given(n=st.integers(1, 10), batch_size=st.integers(1, 15), epochs=st.integers(1, 3))
def test_fit_is_steps_over_shuffled_batches_the_last_one_short(n, batch_size, epochs, device):
    fitted, stepped = (classifier(3, 2, seed=5, dtype="float64", device=device) for _ in range(2))
    history = fitted.fit((X[:n], T[:n]), epochs, batch_size)
    order = np.random.default_rng(5)
    for epoch in history:
        rows = order.permutation(n)
        total = 0.0
        for start in range(0, n, batch_size):
            batch = rows[start : start + batch_size]
            total += stepped.step(X[batch], T[batch]) * len(batch)
        assert epoch.train_cost == pytest.approx(total / n, rel=1e-12)
    tolerance = 0 if device == "cpu" else 1e-12  # where each may take other kernels for a product
    np.testing.assert_allclose(host(fitted.net.parameters), host(stepped.net.parameters), tolerance, tolerance)


@pytest.mark.parametrize("device", DEVICES)
def test_the_same_seeds_give_the_same_bits(device):
    runs = [classifier(64, 10, seed=seed, device=device) for seed in (1, 1, 2)]
    for trainer in runs:
        trainer.fit(DIGITS[0], epochs=2, batch_size=64)
    first, same, other = (host(trainer.net.parameters) for trainer in runs)
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


@pytest.mark.parametrize("device", DEVICES)
def test_digits_are_learnt_and_recorded(device):
    trainer = classifier(64, 10, lr=0.5, device=device)
    train, test = DIGITS
    history = trainer.fit(train, epochs=10, batch_size=64, test=test)
    assert history is trainer.history
    assert history.epoch == list(range(1, 11))
    assert history.test_accuracy[-1] == trainer.net.accuracy(test.images, test.labels) >= 0.93
    assert history.train_accuracy[-1] == pytest.approx(trainer.net.accuracy(train.images, train.labels), abs=0.02)
    assert history.train_cost == sorted(history.train_cost, reverse=True)
    assert all(seconds > 0 for seconds in history.seconds)


@pytest.mark.parametrize("device", DEVICES)
def test_array_pairs_work_as_a_dataset_does(device):
    train = DIGITS[0]
    as_set, as_pair, as_rows = (classifier(64, 10, device=device) for _ in range(3))
    as_set.fit(train, 1, 64)
    as_pair.fit((train.images, train.labels), 1, 64)
    as_rows.fit((train.images.reshape(-1, 64), np.eye(10)[train.labels]), 1, 64)
    np.testing.assert_array_equal(host(as_set.net.parameters), host(as_pair.net.parameters))
    np.testing.assert_array_equal(host(as_set.net.parameters), host(as_rows.net.parameters))
    assert as_rows.history.train_accuracy == as_set.history.train_accuracy


@pytest.mark.parametrize("dtype", ["float64", "float32", ">f4", "int64", "bool"])
@pytest.mark.parametrize("device", DEVICES)
def test_inputs_of_any_real_dtype(dtype, device):
    x = (X > 0).astype(dtype)
    trainer, expected = (classifier(3, 2, device=device) for _ in range(2))
    trainer.fit((x, T), 2, 4)
    expected.fit((x.astype("float32"), T), 2, 4)
    np.testing.assert_array_equal(host(trainer.net.parameters), host(expected.net.parameters))


@pytest.mark.parametrize("device", DEVICES)
def test_a_second_fit_goes_on(device):
    once, twice = (classifier(3, 2, device=device) for _ in range(2))
    once.fit((X, T), 4, 4)
    twice.fit((X, T), 1, 4)
    twice.fit((X, T), 3, 4)
    np.testing.assert_array_equal(host(once.net.parameters), host(twice.net.parameters))
    assert twice.history.epoch == [1, 2, 3, 4]


@pytest.mark.parametrize("device", DEVICES)
def test_a_schedule_sets_each_epochs_learning_rate(device):
    seen = []
    trainer = classifier(3, 2, lr=lambda epoch: seen.append(epoch) or 0.1 / epoch, device=device)
    trainer.fit((X, T), 3, 5)
    assert seen == [1, 2, 3]
    constant = classifier(3, 2, lr=0.1, device=device)
    constant.fit((X, T), 3, 5)
    assert (host(constant.net.parameters) != host(trainer.net.parameters)).any()


def test_a_schedule_is_followed_however_few_epochs_are_asked_for_before_the_training(monkeypatch):
    foreseen, plain = [], classifier(3, 2, lr=lambda epoch: 0.1 / epoch)
    trainer = classifier(3, 2, lr=lambda epoch: foreseen.append(epoch) or 0.1 / epoch)
    plain.fit((X, T), 5, 5)
    monkeypatch.setattr(numnet.run, "_FORESEEN", 2)
    trainer.fit((X, T), 5, 5, callbacks=[lambda trainer: foreseen.append("an epoch")])
    assert foreseen == [1, 2, "an epoch", "an epoch", 3, "an epoch", 4, "an epoch", 5, "an epoch"]
    np.testing.assert_array_equal(trainer.net.parameters, plain.net.parameters)


@pytest.mark.parametrize("other", [0.0, lambda epoch: 0.0])
def test_a_rate_that_a_callback_sets_takes_the_place_of_a_schedule(other):
    def freeze(trainer):
        trainer.optimizer.lr = other

    frozen, short = (classifier(3, 2, lr=lambda epoch: 0.1 / epoch) for _ in range(2))
    frozen.fit((X, T), 4, 5, callbacks=[freeze])
    short.fit((X, T), 1, 5)
    np.testing.assert_array_equal(frozen.net.parameters, short.net.parameters)


@pytest.mark.parametrize("device", DEVICES)
def test_one_optimizer_describes_many_runs(device):
    sgd = nn.SGD(0.1, momentum=0.9)
    nets = [nn.Sequential(nn.Linear(3, 2), nn.Softmax(), seed=0, device=device) for _ in range(2)]
    trainers = [nn.Trainer(net, nn.CrossEntropy(), sgd, seed=0) for net in nets]
    for trainer in trainers:
        trainer.fit((X, T), 3, 4)
    np.testing.assert_array_equal(*(host(net.parameters) for net in nets))


def test_callbacks_see_the_trainer_after_each_epoch():
    seen = []
    trainer = classifier(3, 2)
    trainer.fit((X, T), 2, 4, callbacks=[lambda trainer: seen.append(trainer.history[-1].epoch)])
    assert seen == [1, 2]


def test_nothing_is_printed_where_there_is_no_terminal(capfd):
    classifier(3, 2).fit((X, T), 2, 4, progress=True)
    assert capfd.readouterr() == ("", "")


def test_a_bar_on_a_terminal(monkeypatch, capfd):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    classifier(3, 2).fit((X, T), 2, 4, progress=False)
    assert capfd.readouterr().err == ""
    classifier(3, 2).fit((X, T), 2, 4)
    shown = capfd.readouterr().err
    assert "6/6" in shown
    assert "epoch=2" in shown


@pytest.mark.parametrize("device", DEVICES)
def test_accuracy_is_nan_where_targets_have_no_classes(device):
    net = nn.Sequential(nn.Linear(3, 2), seed=0, device=device)
    history = nn.Trainer(net, nn.Quadratic(), nn.SGD(0.1)).fit((X, X[:, :2]), 2, 4, test=(X, X[:, :2]))
    assert math.isnan(history.train_accuracy[0])
    assert math.isnan(history.test_accuracy[0])


@pytest.mark.parametrize("device", DEVICES)
def test_rows_of_test_data_are_classes_only_if_those_of_the_training_data_are(device):
    net = nn.Sequential(nn.Linear(3, 2), nn.Sigmoid(), seed=0, device=device)
    trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.1))
    several = np.array([[1.0, 1.0]] * 10)
    for test in (np.eye(2)[T], T):
        history = trainer.fit((X, several), 1, 4, test=(X, test))
    assert np.isnan(history.train_accuracy).all()
    assert math.isnan(history.test_accuracy[0])
    assert history.test_accuracy[1] == net.accuracy(X, T)  # numbers of classes are classes in any case


@pytest.mark.parametrize("device", DEVICES)
def test_a_layer_of_ones_own_with_parameters_may_come_first(device):
    class Scale(nn.Layer):
        def __init__(self, inputs):
            self.inputs = inputs
            self.parameters = {"factor": np.ones(inputs)}

        def forward(self, x, out=None):
            self.x = x
            return np.multiply(x, self.parameters["factor"], out=out)

        def backward(self, grad, out=None):
            np.sum(grad * self.x, axis=0, out=self.gradients["factor"])
            return np.multiply(grad, self.parameters["factor"], out=out)

    net = nn.Sequential(Scale(3), nn.Linear(3, 2), nn.Softmax(), seed=0, device=device)
    nn.gradcheck(net, nn.CrossEntropy(), X, T, raise_above=1e-7)
    nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.5)).fit((X, T), 1, 5)
    assert (host(net.layers[0].parameters["factor"]) != 1).all()


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int64])
def test_numpy_integers_are_numbers_too(kind, tmp_path):
    x, t = np.tile(X, (30, 1)), np.tile(T, 30)
    trainer, expected = classifier(3, 2), classifier(3, 2)
    trainer.fit((x, t), kind(2), kind(100), checkpoint=tmp_path / "run.npz", checkpoint_every=kind(1))
    expected.fit((x, t), 2, 100)
    for run in (trainer, nn.Trainer.resume(tmp_path / "run.npz")):
        np.testing.assert_array_equal(run.net.parameters, expected.net.parameters)


def test_a_step_takes_the_learning_rate_of_the_epoch_it_is_in():
    trainer = classifier(3, 2, lr=lambda epoch: epoch)
    seen = []
    trainer.optimizer.update = lambda parameters, gradients, lr: seen.append(lr)
    trainer.step(X, T)
    trainer.fit((X, T), 2, 10)
    trainer.step(X, T)
    assert seen == [1, 1, 2, 3]


@pytest.mark.parametrize("device", DEVICES)
def test_a_single_output_is_a_yes_or_no(device):
    net = nn.Sequential(nn.Linear(1, 1), nn.Sigmoid(), seed=0, device=device)
    x = np.linspace(-1, 1, 40)[:, None]
    history = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(1.0), seed=0).fit(
        (x, x[:, 0] > 0), 50, 8, test=(x, x[:, 0] > 0)
    )
    assert history.test_accuracy[-1] == 1
    assert history.train_accuracy[-1] > 0.9


def test_history_reads_back_from_csv(tmp_path):
    history = classifier(3, 2).fit((X, T), 2, 4, test=(X, T))
    text = history.to_csv(tmp_path / "history.csv")
    assert (tmp_path / "history.csv").read_text() == text
    rows = list(csv.DictReader(text.splitlines()))
    assert [float(row["train_cost"]) for row in rows] == history.train_cost
    assert history.to_dict() == {name: [getattr(e, name) for e in history] for name in nn.Epoch._fields}
    assert len(repr(history).splitlines()) == 3
    assert history[-1].epoch == 2


@pytest.mark.parametrize(("optimizer", "epoch"), [(nn.SGD(1e30), 1), (nn.SGD(lambda e: 1e-3 if e < 3 else 1e300), 3)])
@pytest.mark.parametrize("device", DEVICES)
def test_divergence_stops_with_epoch_and_batches_and_advice(optimizer, epoch, device):
    net = nn.Sequential(nn.Linear(3, 2), seed=0, device=device)
    trainer = nn.Trainer(net, nn.Quadratic(), optimizer, seed=0)
    where = f"in epoch {epoch}, in one of the batches 1 to 5: training has diverged"
    with pytest.raises(nn.DivergenceError, match=rf"cost became .* {where}\. Try a smaller learning rate than 1e\+30"):
        trainer.fit((X, T), 5, 2)
    assert all(math.isfinite(cost) for cost in trainer.history.train_cost)
    assert len(trainer.history) == epoch - 1


@pytest.mark.parametrize("device", DEVICES)
def test_divergence_in_the_very_last_step_is_noticed(device):
    trainer = nn.Trainer(nn.Sequential(nn.Linear(3, 2), seed=0, device=device), nn.Quadratic(), nn.SGD(1e39))
    with pytest.raises(nn.DivergenceError, match="a parameter became not finite after epoch 1"):
        trainer.fit((X, T), 1, 10)


@pytest.mark.parametrize("device", DEVICES)
def test_a_step_that_diverges_changes_nothing(device):
    trainer = nn.Trainer(nn.Sequential(nn.Linear(3, 2), seed=0, device=device), nn.Quadratic(), nn.SGD(0.1))
    trainer.step(X, T)
    arrays = trainer.net.parameters, trainer.net.gradients, trainer.optimizer.velocity
    before = [host(array).copy() for array in arrays]
    with pytest.raises(nn.DivergenceError, match="the training cost became inf in this step"):
        trainer.step(X * 1e30, T)
    for array, expected in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(host(array), expected)


def bad(array, index, value):
    array = array.copy()
    array[index] = value
    return array


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": 0}, "fit: epochs must be a whole number of at least 1, got 0"),
        ({"epochs": 1.5}, "fit: epochs must be a whole number"),
        ({"batch_size": 0}, "fit: batch_size must be a whole number of at least 1, got 0"),
        ({"batch_size": -3}, "fit: batch_size"),
        ({"callbacks": ["print"]}, r"callbacks must be a list of functions of the trainer, got \['print'\]"),
        ({"callbacks": print}, "callbacks must be a list of functions of the trainer"),
        ({"train": DIGITS}, "train: data must be one Dataset, got a pair of them: unpack it"),
        ({"train": (X, np.full((10, 2), 0.5j))}, "train: targets must be real numbers"),
        ({"epochs": 5, "lr": lambda epoch: 1 if epoch < 3 else -1}, "the scheduled lr of epoch 3 must be finite"),
        ({"epochs": 5, "lr": lambda epoch: -1 if epoch == 5 else 1}, "the scheduled lr of epoch 5 must be finite"),
        ({"train": X}, r"train: data must be a Dataset or a pair of arrays \(x, t\), got ndarray"),
        ({"train": (X, T[:5])}, r"train: one target for each .* got 10 samples and targets of shape \(5,\)"),
        ({"train": (X[:0], T[:0])}, "train: one target for each sample, and at least one sample"),
        ({"train": (X[:, :2], T)}, r"train: the network takes batches of shape \(n, ...\) with 3 features"),
        ({"train": (X, T + 1)}, "train: class indices must be from 0 to 1 for 2 outputs"),
        ({"train": (X, T * 1.0)}, "train: .* class indices and must be integers, got dtype float64"),
        ({"train": (X, np.ones((10, 2)))}, "train: each row of t must sum to 1"),
        (
            {"train": (X, np.full((10, 2), -1.0))},
            r"train: targets must be numbers that the last layer, Softmax\(\), can",
        ),
        ({"train": (bad(X, (7, 1), np.nan), T)}, "train: inputs must be finite, but feature 1 of sample 7 is nan"),
        ({"train": (bad(X, (7, 1), -np.inf), T)}, "train: inputs must be finite, but feature 1 of sample 7 is -inf"),
        ({"train": (bad(X, (7, 1), 1e300), T)}, "train: inputs must be finite, but feature 1 of sample 7 is 1e"),
        ({"train": (X.astype(str), T)}, "train: inputs must be real numbers"),
        ({"test": ()}, "test: data must be a Dataset or a pair of arrays"),
        ({"test": (X[:0], T[:0])}, "test: one target for each sample, and at least one sample"),
        ({"test": (X, T + 1)}, "test: class indices must be from 0 to 1"),
    ],
)
def test_wrong_use_of_fit_changes_nothing(arguments, message):
    arguments = dict(arguments)
    trainer = classifier(3, 2, lr=arguments.pop("lr", 0.1))
    before, state = trainer.net.parameters.copy(), trainer.rng.bit_generator.state
    with pytest.raises(ValueError, match=message):
        trainer.fit(**{"train": (X, T), "epochs": 1, "batch_size": 4, **arguments})
    np.testing.assert_array_equal(trainer.net.parameters, before)
    assert trainer.rng.bit_generator.state == state
    assert len(trainer.history) == 0


def test_where_nothing_is_left_of_a_run_the_data_do_not_matter():
    trainer = classifier(3, 2)
    before = list(trainer.fit((X, T), 2, 3))
    trainer.fit((X[:4], T[:4]), sample_weight=np.arange(1, 5))  # a warning is an error in all tests
    assert list(trainer.history) == before


def test_epochs_of_their_own_may_have_other_data_than_what_is_left_of_a_run():
    def interrupt(_):
        raise KeyboardInterrupt

    trainer = classifier(3, 2)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit((X, T), 3, 4, callbacks=[interrupt])
    assert len(trainer.fit((X[:7], T[:7]), 1, 4)) == 2  # a warning is an error in all tests


def test_what_is_left_of_a_run_may_be_done_with_other_data():
    def interrupt(_):
        raise KeyboardInterrupt

    cut, whole = classifier(3, 2), classifier(3, 2)
    with pytest.raises(KeyboardInterrupt):
        cut.fit((X, T), 2, 4, callbacks=[interrupt])
    whole.fit((X, T), 1, 4)
    with pytest.warns(nn.DataWarning, match="the run had 10 samples so far, and here are 7"):
        cut.fit((X[:7], T[:7]))
    whole.fit((X[:7], T[:7]), 1, 4)
    assert cut.history.train_cost == whole.history.train_cost
    assert cut.history.train_accuracy == whole.history.train_accuracy
    assert cut.progress == whole.progress


def test_a_checkpoint_without_a_name_is_refused():
    trainer = classifier(3, 2)
    with pytest.raises(FileNotFoundError, match="a file without a name cannot be written"):
        trainer.fit((X, T), 1, 4, checkpoint="")
    assert not trainer.history


def test_a_step_with_class_indices_takes_a_network_that_fixes_no_number_of_features():
    net = nn.Sequential(nn.Softmax())
    cost = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.1)).step(X, T + 1)
    assert cost == pytest.approx(nn.CrossEntropy()(net(X), T + 1), rel=1e-6)


def test_the_batches_of_a_fit_have_the_weights_of_their_samples():
    fitted, stepped = classifier(3, 2), classifier(3, 2)
    order, weight = copy.deepcopy(fitted.rng).permutation(10), np.arange(10)
    fitted.fit((X, T), 1, 4, sample_weight=weight)
    for rows in np.split(order, [4, 8]):
        stepped.step(X[rows], T[rows], sample_weight=weight[rows] / weight.mean())
    np.testing.assert_allclose(fitted.net.parameters, stepped.net.parameters, rtol=1e-5)


@pytest.mark.parametrize("comm", [0, "world"])
def test_with_a_communicator_all_arguments_go_to_the_trainer_of_ranks(comm, monkeypatch):
    class Ranks(nn.Trainer):
        def __init__(self, *arguments, **options):
            self.given = arguments, options

        @classmethod
        def resume_on(cls, *arguments, **options):
            return arguments, options

    monkeypatch.setattr(nn.Trainer, "_on_ranks", Ranks)
    parts = nn.Sequential(nn.Linear(1, 1)), nn.Quadratic(), nn.SGD(0.1)
    options = {"average_every": 2, "sharded": True}
    trainer = nn.Trainer(*parts, 3, comm=comm, **options)
    assert type(trainer) is Ranks
    assert trainer.given == ((*parts, 3), {"comm": comm, **options})
    assert nn.Trainer.resume("run.npz", 0.5, "gpu", comm=comm, **options) == ((comm, "run.npz", 0.5, "gpu"), options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("net", nn.CrossEntropy(), nn.SGD(0.1)), "Trainer: net must be a Sequential, got 'net'"),
        ((None, nn.CrossEntropy, nn.SGD(0.1)), r"Trainer: cost must be a Cost, got .*: write CrossEntropy\(\.\.\.\)$"),
        ((None, nn.CrossEntropy(), 0.1), "Trainer: optimizer must be an SGD, got 0.1"),
        ((nn.Sequential(nn.Softmax(), dtype="complex128"), nn.CrossEntropy(), nn.SGD(0.1)), "complex networks are for"),
    ],
)
def test_wrong_use_of_the_constructor(arguments, message):
    net, cost, optimizer = arguments
    with pytest.raises(ValueError, match=message):
        nn.Trainer(net or nn.Sequential(nn.Linear(1, 2), nn.Softmax()), cost, optimizer)


def test_a_softmax_taken_twice_is_refused_when_the_trainer_is_made():
    with pytest.raises(ValueError, match=r"takes probabilities twice, by Softmax\(\) and then Softmax\(\)"):
        nn.Trainer(nn.Sequential(nn.Linear(3, 2), nn.Softmax(), nn.Softmax()), nn.CrossEntropy(), nn.SGD(0.1))


class PeakBetweenUpdates(nn.SGD):
    """SGD that notes the most memory taken at any time since its last update, in bytes."""

    def start(self, net):
        super().start(net)
        self.peaks, self.before = [], 0

    def update(self, parameters, gradients, lr):
        super().update(parameters, gradients, lr)
        self.peaks.append(tracemalloc.get_traced_memory()[1] - self.before)
        tracemalloc.reset_peak()
        self.before = tracemalloc.get_traced_memory()[0]


def memory_of_a_step(layers, batch_size, cost=nn.CrossEntropy, dtype="float32", scale=1, **options):
    """Return the most that a step takes, from one update to the next, in bytes; Python's own objects included."""
    net = nn.Sequential(*layers, seed=0, dtype=dtype)
    net.parameters *= scale
    trainer = nn.Trainer(net, cost(), PeakBetweenUpdates(0.01, **options), seed=0)
    n = 4 * batch_size
    x, t = RNG.random((n, net.inputs)).astype(dtype), np.eye(net.outputs, dtype=dtype)[RNG.integers(10, size=n)]
    size = np.setbufsize(16)  # for broadcasting, NumPy takes a buffer of a fixed size
    tracemalloc.start()
    try:
        for _ in range(3):  # the first block makes the arrays that the others find
            trainer._train_steps(x, t, batch_size, 0.01)
    finally:
        tracemalloc.stop()
        np.setbufsize(size)
    _first, *blocks = np.reshape(trainer.optimizer.peaks, (3, 4))
    return min(max(block[1:]) for block in blocks)  # the least, since Python's own objects come and go


NETWORKS = {"A": (784, 10), "B": (784, 128, 10), "C": (784, 512, 512, 10)}
IN_STEPS = [
    pytest.param(sizes, last, cost, id=f"{name}-{last.__name__}-{cost.__name__}", marks=marks)
    for name, sizes in NETWORKS.items()
    for last in (nn.Softmax, nn.Sigmoid)
    for cost in (nn.CrossEntropy, nn.Quadratic)
    for marks in [() if name == "A" or (name, last, cost) == ("B", nn.Softmax, nn.Quadratic) else pytest.mark.slow]
]


def sigmoid_layers(sizes, last=nn.Softmax, linear=nn.Linear):
    layers = [layer for a, b in itertools.pairwise(sizes) for layer in (linear(a, b), nn.Sigmoid())]
    return [*layers[:-1], last()]


def growth(layers_of, **options):
    """Return what a step on 4096 samples takes, and how much more that is than a step on 64, in bytes."""
    few, many = (memory_of_a_step(layers_of(), batch_size, **options) for batch_size in (64, 4096))
    return many, many - few


in_place = pytest.mark.skipif(
    np.lib.NumpyVersion(np.__version__) < "2.3.0",
    reason="NumPy took some KB for each reduction before 2.3, and before 2 a buffer for each number that met an array",
)


@pytest.mark.parametrize(("sizes", "last", "cost"), IN_STEPS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@in_place
def test_a_training_step_takes_nothing_that_grows_with_the_batch(sizes, last, cost, dtype, largest):
    memory, more = growth(lambda: sigmoid_layers(sizes, last), cost=cost, dtype=dtype)
    largest("bytes taken by a training step, all of Python's own objects", memory)
    assert more < 256  # one byte for each sample would be 4032


@pytest.mark.parametrize("hidden", [nn.Tanh, nn.ReLU, nn.Softmax])
@pytest.mark.parametrize("scale", [1, 1000])  # from 1000 times the usual weights, a softmax has zeros in it
@in_place
def test_no_layer_takes_anything_that_grows_with_the_batch(hidden, scale):
    _memory, more = growth(lambda: [nn.Linear(100, 20), hidden(), nn.Linear(20, 10), nn.Softmax()], scale=scale)
    assert more < 256


@pytest.mark.parametrize(
    "options",
    [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}, {"weight_decay": 1e-4}, {"clip_norm": 1e-3}],
)
@in_place
def test_no_option_of_sgd_takes_anything_that_grows_with_the_network(options):
    few, many = (memory_of_a_step([nn.Linear(n, 10), nn.Softmax()], 4, **options) for n in (10, 1000))
    assert many - few < 256


class Careless(nn.Linear):
    def forward(self, x, out=None):
        self.x = x
        return np.add(x @ self.weight, self.bias, out=out)


@in_place
def test_a_careless_step_is_noticed(monkeypatch):
    memory, more = growth(lambda: sigmoid_layers(NETWORKS["A"], linear=Careless))
    assert memory > 4096 * 10 * 4
    assert more > 4032 * 10 * 4
    update = nn.SGD.update
    monkeypatch.setattr(nn.SGD, "update", lambda self, w, g, lr: update(self, w, g * 1, lr))
    assert memory_of_a_step([nn.Linear(1000, 10), nn.Softmax()], 4) > 10_000 * 4


@pytest.mark.parametrize("kind", ["uint8", "float32", "int16", "float64"])
def test_training_from_a_mapped_file_is_training_from_memory(tmp_path, kind):
    train, test = DIGITS
    images = [data.images if kind == "uint8" else (data.images // 64).astype(kind) for data in DIGITS]
    for name, array in (("x", images[0]), ("t", train.labels), ("tests", images[1])):
        nn.datasets.write_idx(tmp_path / name, array)
    results = []
    for mode in (None, "r"):
        x, t, tests = (nn.datasets.read_idx(tmp_path / name, mmap_mode=mode) for name in ("x", "t", "tests"))
        trainer = classifier(64, 10)
        trainer.fit(nn.datasets.Dataset(x, t), 2, 64, test=(tests, test.labels))
        results.append((trainer.net.parameters, trainer.history.train_cost, trainer.history.test_accuracy))
    for in_memory, mapped in zip(*results, strict=True):
        np.testing.assert_array_equal(in_memory, mapped)


def peak_of_fit(x, t, batch_size, layers, test=True):
    trainer = nn.Trainer(nn.Sequential(*layers, seed=0), nn.CrossEntropy(), nn.SGD(0.01), seed=0)
    tracemalloc.start()
    try:
        trainer.fit((x, t), 1, batch_size, test=(x, t) if test else None, progress=False)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("how", ["unaligned", "Fortran", "every other row", "every other column"])
def test_no_copy_is_made_of_inputs_in_an_unusual_place(how):
    n, features = 40_000, 100
    x = {
        "unaligned": np.zeros(8 * n * features + 4, np.uint8)[4:].view(np.float64).reshape(n, features),
        "Fortran": np.zeros((n, features), order="F"),
        "every other row": np.zeros((2 * n, features))[::2],
        "every other column": np.zeros((n, 2 * features))[:, ::2],
    }[how]
    x[:, 0] = np.arange(n) / n
    t = np.arange(n) * 10 // n
    assert peak_of_fit(x, t, 64, [nn.Linear(features, 10), nn.Softmax()]) < x.nbytes / 2
    trainers = [classifier(features, 10), classifier(features, 10)]
    for trainer, data in zip(trainers, (x, x.copy(order="C")), strict=True):
        trainer.fit((data, t), 1, 64)
    np.testing.assert_array_equal(*(trainer.net.parameters for trainer in trainers))


def test_many_outputs_take_no_more_memory_for_more_samples():
    few, many = (
        peak_of_fit(np.zeros((n, 1)), np.arange(n) % 100, 64, [nn.Linear(1, 100), nn.Softmax()])
        for n in (20_000, 60_000)
    )
    assert many - few < 40_000 * 20  # an order, and little else, for each sample


def test_a_block_is_small_also_where_the_outputs_are_what_is_large():
    layers = [nn.Linear(1, 5000), nn.Softmax()]
    memory = peak_of_fit(np.zeros((1024, 1)), np.arange(1024) % 640, 64, layers, test=False)
    one_hot = 5000 * 5000 * 4  # the rows that targets are taken from
    assert memory < one_hot + 2 * 1024 * 5000 * 4


def test_divergence_is_noticed_within_a_block_of_batches():
    trainer = nn.Trainer(nn.Sequential(nn.Linear(1, 1), seed=0), nn.Quadratic(), PeakBetweenUpdates(1e30), seed=0)
    with pytest.raises(nn.DivergenceError):
        trainer.fit((np.ones((1000, 1)), np.ones((1000, 1))), 1, 1)
    assert len(trainer.optimizer.peaks) <= numnet.data.BLOCK_BATCHES <= 64


@pytest.mark.parametrize("device", DEVICES)
def test_the_accuracy_on_many_samples_is_that_of_all(device):
    trainer = classifier(3, 2, device=device)
    x = RNG.normal(size=(9000, 3))
    t = np.arange(9000) // 4500
    history = trainer.fit((X, T), 1, 5, test=(x, t))
    assert history.test_accuracy == [trainer.net.accuracy(x, t)]


def test_a_sum_of_finite_costs_that_overflows_is_no_divergence():
    trainer = nn.Trainer(nn.Sequential(nn.Linear(1, 1), seed=0), nn.Quadratic(), nn.SGD(1e-9), seed=0)
    history = trainer.fit((np.zeros((50, 1)), np.full((50, 1), 1e19)), 1, 1)
    assert history.train_cost[0] == pytest.approx(5e37, rel=1e-5)


def test_a_single_batch_that_diverges_is_named():
    trainer = nn.Trainer(nn.Sequential(nn.Linear(3, 2), seed=0), nn.Quadratic(), nn.SGD(1e30), seed=0)
    with pytest.raises(nn.DivergenceError, match=r"became (inf|nan) in epoch 2, batch 1: training has diverged"):
        trainer.fit((X, X[:, :2]), 3, 10)


@pytest.mark.parametrize(
    ("lr", "batch_size", "where", "norm"),
    [
        (1e30, 10, "in epoch 2, batch 1", "1e-32"),
        (1e30, 5, "in epoch 1, in one of the batches 1 to 2", "1e-32"),
        (1e30, 4, "in epoch 1, in one of the batches 1 to 3", "1e-32"),
        (1e39, 10, "after epoch 1", "1e-41"),
    ],
)
def test_divergence_is_told_with_its_place_and_with_a_norm_that_suits_the_momentum(lr, batch_size, where, norm):
    net = nn.Sequential(nn.Linear(3, 2), seed=0)
    trainer = nn.Trainer(net, nn.Quadratic(), nn.SGD(lr, momentum=0.9), seed=0)
    with pytest.raises(nn.DivergenceError, match=rf"{where}: .* clip the gradient with SGD\(clip_norm={norm}\)"):
        trainer.fit((X, X[:, :2]), 3, batch_size)


class Overwriting(nn.Layer):
    """y = 2 x, and x is lost."""

    def forward(self, x, out=None):
        return np.multiply(np.multiply(x, 2, out=x), 1, out=out)

    def backward(self, grad, out=None):
        return np.multiply(grad, 2, out=out)


@pytest.mark.parametrize("train", ["step", "fit", "evaluate"])
def test_a_layer_that_writes_to_its_input_does_not_change_the_data(train):
    x, t = X.astype(np.float32), np.eye(2, dtype=np.float32)[T]
    net = nn.Sequential(Overwriting(), nn.Linear(3, 2), nn.Softmax(), seed=0)
    trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.1), seed=0)
    {
        "step": lambda: trainer.step(x, t),
        "fit": lambda: trainer.fit((x, t), 2, 4, test=(x, t)),
        "evaluate": lambda: trainer.evaluate((x, t)),
    }[train]()
    np.testing.assert_array_equal(x, X.astype(np.float32))
    np.testing.assert_array_equal(t, np.eye(2)[T])


def test_what_is_wrong_with_a_step_is_said_of_the_step():
    with pytest.raises(ValueError, match=r"^step: one target for each sample, and at least one sample, are needed"):
        classifier(3, 2).step(X, T[:5])


def test_seconds_are_the_time_of_the_epoch():
    started = time.perf_counter()
    history = classifier(3, 2).fit((X, T), 3, 1)
    assert 0 < sum(history.seconds) < time.perf_counter() - started


def test_the_seconds_of_an_epoch_go_on_from_those_before_the_interruption():
    trainer = classifier(3, 2)
    trainer.progress = numnet.run.Progress(1, 4, 10, done=4, seconds=1000.0)
    (seconds,) = trainer.fit((X, T)).seconds
    assert 1000 < seconds < 1010


class Looking(nn.Cost):
    """A cost whose pair looks at z."""

    def value(self, y, t, out=None):
        return nn.Quadratic().value(y, t)

    def gradient(self, y, t, out=None):
        return nn.Quadratic().gradient(y, t, out)

    def pair(self, layers):
        cost = self

        class Seen(Pair):
            def error(self, z, y, t, out=None, dy=None):
                np.testing.assert_array_equal(np.tanh(z), y)
                return super().error(z, y, t, out, dy)

        return Seen(cost, layers[-1])


def test_a_pair_of_ones_own_is_given_z():
    trainer = nn.Trainer(nn.Sequential(nn.Linear(3, 2), nn.Tanh(), seed=0), Looking(), nn.SGD(0.1), seed=0)
    for weight in (None, np.arange(10)):
        trainer.step(X, np.eye(2)[T], sample_weight=weight)
        trainer.fit((X, np.eye(2)[T]), 2, 4, sample_weight=weight)
    assert len(trainer.history) == 4


# Test costs


def by_hand(last, cost, y, t):
    """Return the cost from outputs that are far enough from 0 and 1."""
    if cost is nn.Quadratic:
        return ((y - t) ** 2).sum() / (2 * len(y))
    terms = t * np.log(y) if last is nn.Softmax else t * np.log(y) + (1 - t) * np.log(1 - y)
    return -terms.sum() / len(y)


@pytest.mark.parametrize("device", DEVICES)
@given(case=cases(scales=(0.1, 1.0)))
def test_the_cost_of_an_evaluation_is_that_of_the_outputs(case, device):
    trainer = nn.Trainer(case.net.to(device), case.cost, nn.SGD(0.1))
    y, t = case.net(case.x), checks.targets(case.t, case.net.outputs, "float64")
    expected = by_hand(type(case.net.layers[-1]), type(case.cost), y, t)
    assert trainer.evaluate((case.x, case.t))[0] == pytest.approx(expected, rel=1e-9, abs=1e-14)


def exact_cost(last, z, t):
    """Return the cross-entropy of sums z by SciPy's logarithms of probabilities, in float64."""
    z = z.astype(np.float64)
    if last is nn.Softmax:
        return -(t * scipy.special.log_softmax(z, axis=1)).sum() / len(z)
    return -(t * scipy.special.log_expit(z) + (1 - t) * scipy.special.log_expit(-z)).sum() / len(z)


@pytest.mark.parametrize("last", [nn.Softmax, nn.Sigmoid])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("device", DEVICES)
@given(n=st.integers(1, 6), chunk=st.integers(1, 7), scale=st.sampled_from([1, 100, 1e4]), seed=st.integers(0, 99))
def test_a_cost_is_right_also_where_probabilities_are_rounded_to_0(last, dtype, device, n, chunk, scale, seed):
    rng = np.random.default_rng(seed)
    z, labels = (rng.normal(size=(n, 3)) * scale).astype(dtype), rng.integers(3, size=n)
    net = nn.Sequential(last(), dtype=dtype, device=device)
    trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.1))
    expected = exact_cost(last, z, np.eye(3)[labels])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "CHUNK", chunk)
        cost, accuracy = trainer.evaluate((z, labels))
    assert math.isfinite(cost)
    eps = float(np.finfo(dtype).eps)  # a sum of logarithms of numbers near 1 is no more exact than these
    assert cost == pytest.approx(expected, rel=16 * eps, abs=4 * eps)
    assert accuracy == np.mean(net(z).argmax(axis=1) == labels)


def test_the_test_cost_is_finite_where_that_of_the_outputs_is_not():
    x, t = np.array([[-1.0], [1.0]]), np.array([1, 0])  # the network is sure of the wrong class
    net = nn.Sequential(nn.Linear(1, 2), nn.Softmax(), seed=0)
    net.layers[0].weight, net.layers[0].bias = [[-200, 200]], 0
    trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(1e-9), seed=0)
    assert nn.CrossEntropy()(net(x), t) == math.inf
    assert trainer.evaluate((x, t)) == (400, 0)
    history = trainer.fit((x, t), 1, 2, test=(x, t))
    assert history.test_cost == pytest.approx([400])
    assert history.train_cost == [400]


@pytest.mark.parametrize("n", [1, 4095, 4096, 4097, 9000])
@pytest.mark.parametrize("device", DEVICES)
def test_the_test_cost_is_the_mean_over_all_samples(n, device):
    trainer = classifier(3, 2, dtype="float64", device=device)
    x, t = RNG.normal(size=(n, 3)), np.arange(n) // 4500
    history = trainer.fit((X, T), 2, 5, test=(x, t))
    y = trainer.net(x)
    assert history.test_cost[-1] == pytest.approx(-np.log(y[np.arange(n), t]).mean(), rel=1e-12)
    assert trainer.evaluate((x, t)) == pytest.approx((history.test_cost[-1], history.test_accuracy[-1]), rel=1e-6)
    assert len(set(history.test_cost)) == 2


@pytest.mark.parametrize("device", DEVICES)
def test_an_evaluation_changes_no_bit_of_the_training(device):
    looking, whole = (classifier(3, 2, device=device) for _ in range(2))
    x = RNG.normal(size=(50, 3))

    def look(trainer):
        before = host(trainer.net.gradients).copy(), trainer.rng.bit_generator.state, list(trainer.history)
        for _ in range(2):
            trainer.evaluate((x, np.arange(50) % 2))
        np.testing.assert_equal((host(trainer.net.gradients), trainer.rng.bit_generator.state, trainer.history), before)

    for run, callbacks in ((looking, [look]), (whole, [])):
        run.fit((X, T), 3, 4, callbacks=callbacks)
        run.step(X, T)
        for callback in callbacks:
            callback(run)
        run.step(X, T)
    np.testing.assert_array_equal(host(looking.net.parameters), host(whole.net.parameters))
    np.testing.assert_array_equal(host(looking.net.gradients), host(whole.net.gradients))


@pytest.mark.parametrize("device", DEVICES)
def test_a_regression_has_costs_and_no_accuracies(device):
    net = nn.Sequential(nn.Linear(3, 1), seed=0, device=device, dtype="float64")
    trainer, t = nn.Trainer(net, nn.Quadratic(), nn.SGD(0.1), seed=0), X @ [1.0, -2.0, 0.5]
    history = trainer.fit((X, t), 100, 2, test=(X, t))
    cost, accuracy = trainer.evaluate((X, t))
    assert history.test_cost[-1] == cost == pytest.approx(((net(X)[:, 0] - t) ** 2).mean() / 2)
    assert cost < 1e-3
    assert math.isnan(accuracy)
    assert "accuracy" not in repr(history)
    assert repr(history).splitlines()[0].split("  ") == ["epoch", "train cost", "test cost", "seconds"]


@pytest.mark.parametrize("last", [nn.Tanh, nn.ReLU, nn.Sigmoid, nn.Softmax])
@pytest.mark.parametrize("device", DEVICES)
def test_a_network_without_parameters_is_trained_and_evaluated_as_any_other(last, device):
    net, t = nn.Sequential(last(), device=device), np.eye(3)[T]
    trainer = nn.Trainer(net, nn.Quadratic(), nn.SGD(0.1, 0.9, True, 0.1, clip_norm=1.0), seed=0)
    cost = nn.Quadratic()(net(X), t)
    history = trainer.fit((X, t), 2, 4, test=(X, t))
    assert history.train_cost == pytest.approx([cost] * 2, rel=1e-6)
    assert history.test_cost == pytest.approx([trainer.step(X, t)] * 2, rel=1e-6)
    assert len(net.parameters) == len(net.gradients) == 0


def test_without_test_data_there_is_no_test_cost():
    history = classifier(3, 2).fit((X, T), 2, 4)
    np.testing.assert_equal(history.test_cost, [math.nan] * 2)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((X, T + 1), "^data: class indices must be from 0 to 1"),
        ((X[:0], T[:0]), "^data: one target for each sample, and at least one sample"),
        (X, r"^data: data must be a Dataset or a pair of arrays \(x, t\), got ndarray"),
        ((bad(X, (7, 1), np.nan), T), "^data: inputs must be finite, but feature 1 of sample 7 is nan"),
    ],
)
def test_wrong_use_of_evaluate(data, message):
    with pytest.raises(ValueError, match=message):
        classifier(3, 2).evaluate(data)


# The learning rate of a step


@pytest.mark.parametrize("lr", [0.25, np.float32(0.25), lambda epoch: 1 / epoch])
def test_a_step_takes_the_rate_that_it_is_given(lr):
    given, expected = classifier(3, 2, lr=lr), classifier(3, 2, lr=0.125)
    for _ in range(3):
        assert given.step(X, T, lr=0.125) == expected.step(X, T)
    np.testing.assert_array_equal(given.net.parameters, expected.net.parameters)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("lr", [np.float64(0.1), np.float32(0.1), np.float16(0.1), Fraction(1, 10)])
def test_a_rate_of_any_kind_gives_the_bits_of_a_float(lr, dtype):
    given, expected = classifier(3, 2, dtype=dtype), classifier(3, 2, dtype=dtype)
    for trainer in (given, expected):
        trainer.optimizer.momentum, trainer.optimizer.nesterov = 0.9, True
    for _ in range(2):
        assert given.step(X, T, lr) == expected.step(X, T, float(lr))
    np.testing.assert_array_equal(given.net.parameters, expected.net.parameters)


def test_a_loop_over_steps_follows_a_schedule_of_its_own():
    schedule, rates = (lambda epoch: 0.5 / epoch), []
    trainer = classifier(3, 2, lr=schedule)
    update = trainer.optimizer.update
    trainer.optimizer.update = lambda w, g, lr: (rates.append(lr), update(w, g, lr))
    for epoch in range(1, 4):
        trainer.step(X, T)  # steps do not count epochs
        trainer.step(X, T, lr=schedule(epoch))
        trainer.step(X, T, schedule(epoch))
    assert rates == [0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.5, 0.5 / 3, 0.5 / 3]
    trainer.step(X, T, lr=0)
    assert rates[-1] == 0


@pytest.mark.parametrize("lr", [-0.1, math.nan, math.inf, "0.1", True, lambda epoch: 0.1, [0.1]])
def test_a_rate_that_no_step_can_take_changes_nothing(lr):
    trainer = classifier(3, 2)
    trainer.step(X, T)
    before = [array.copy() for array in (trainer.net.parameters, trainer.net.gradients, trainer.optimizer.velocity)]
    with pytest.raises(ValueError, match=r"^step: lr must be finite and at least 0, got "):
        trainer.step(-X, T, lr=lr)
    after = trainer.net.parameters, trainer.net.gradients, trainer.optimizer.velocity
    for array, expected in zip(after, before, strict=True):
        np.testing.assert_array_equal(array, expected)


# Calls as other libraries have them


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda fit: fit(X, T), ValueError, r"fit: epochs must be .* got an array or list: .* fit\(\(x, t\), epochs="),
        (lambda fit: fit(X, list(T), batch_size=4), ValueError, r"give inputs and targets as a pair, fit\(\(x, t\), "),
        (lambda fit: fit((X, T), 3), ValueError, "fit: batch_size is missing: give epochs and batch_size"),
        (lambda fit: fit((X, T), batch_size=4), ValueError, "fit: epochs is missing: give epochs and batch_size"),
        (
            lambda fit: fit((X, T)),
            ValueError,
            "fit: epochs and batch_size are needed, since no interrupted run is left",
        ),
        (
            lambda fit: fit(X, y=T, epochs=3, batch_size=4),
            TypeError,
            r"fit has no argument 'y': give inputs and targets",
        ),
        (
            lambda fit: fit((X, T), 3, 4, validation_data=(X, T)),
            TypeError,
            r"^fit has no argument 'validation_data': give the data in test=\(x, t\)$",
        ),
        (
            lambda fit: fit((X, T), 3, 4, lr=0.1),
            TypeError,
            r"^fit has no argument 'lr': the optimizer has the option, Trainer\(net, cost, SGD\(lr=\.\.\.\)\)$",
        ),
        (lambda fit: fit((X, T), n_epochs=3, batch_size=4), TypeError, "'n_epochs': the argument is called epochs$"),
        (lambda fit: fit((X, T), 3, 4, verbose=0), TypeError, "'verbose': progress=False hides the bar$"),
        (lambda fit: fit((X, T), 3, 4, colour=0), TypeError, "^fit has no argument 'colour'$"),
    ],
)
def test_hints_for_calls_as_other_libraries_have_them(call, error, message):
    trainer = classifier(3, 2)
    before, state = trainer.net.parameters.copy(), trainer.rng.bit_generator.state
    with pytest.raises(error, match=message):
        call(trainer.fit)
    np.testing.assert_array_equal(trainer.net.parameters, before)
    assert trainer.rng.bit_generator.state == state
    assert len(trainer.history) == trainer.progress.last == 0


# Whether a layer is being trained


class Watching(nn.Layer):
    """Passes all through, and notes who calls: the way, the thread, and whether it is being trained."""

    def __init__(self):
        self.seen, self.work = [], lambda way: None

    def note(self, way):
        self.seen.append((way, threading.current_thread().name, self.training))
        self.work(way)

    def forward(self, x, out=None):
        self.note("forward" if out is None else "forward in training")
        return np.multiply(x, 1, out=out)

    def backward(self, grad, out=None):
        self.note("backward")
        return np.multiply(grad, 1, out=out)


def watched(device="cpu"):
    layer = Watching()
    net = nn.Sequential(nn.Linear(3, 2), layer, nn.Softmax(), seed=0, device=device)
    return nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.1), seed=0), layer


def told(layer):
    """Return what the layer was told in each way that it was called."""
    ways = {way: {training for seen, _, training in layer.seen if seen == way} for way, _, _ in layer.seen}
    layer.seen.clear()
    return ways


IN_TRAINING = {"forward in training": {True}, "backward": {True}}


@pytest.mark.parametrize("device", DEVICES)
def test_layers_know_whether_they_are_being_trained(device):
    trainer, layer = watched(device)
    within = []

    def callback(trainer):
        within.append(layer.training)
        before = len(layer.seen)
        trainer.net(X)
        trainer.net.predict(X)
        trainer.evaluate((X, T))
        within.extend(training for _, _, training in layer.seen[before:])

    assert layer.training is False
    trainer.fit((X, T), 2, 4, test=(X, T), callbacks=[callback])
    assert within == [False] * 8
    assert told(layer) == {**IN_TRAINING, "forward": {False}}
    trainer.step(X, T)
    assert told(layer) == IN_TRAINING
    trainer.net(X)
    trainer.net.accuracy(X, T)
    assert told(layer) == {"forward": {False}}
    assert layer.training is False


def test_the_first_and_the_last_layer_are_being_trained_too():
    trainer, watching = watched()
    seen = set()
    watching.work = lambda way: seen.add((way == "forward", *(layer.training for layer in trainer.net.layers)))
    trainer.step(X, T)
    trainer.fit((X, T), 1, 4)
    assert seen == {(True, False, False, False), (False, True, True, True)}
    assert not any(layer.training for layer in trainer.net.layers)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, nn.DivergenceError])
@pytest.mark.parametrize("way", ["forward in training", "backward", "forward"])
@pytest.mark.parametrize("call", ["fit", "step"])
def test_after_an_error_no_layer_is_being_trained(error, way, call):
    trainer, layer = watched()

    def fail(now):
        if now == way and (way != "forward" or len(layer.seen) > 4):
            raise error("as if")

    layer.work = fail
    trainings = {"fit": lambda: trainer.fit((X, T), 2, 4, test=(X, T)), "step": lambda: trainer.step(X, T)}
    with pytest.raises(error, match="as if") if (call, way) != ("step", "forward") else contextlib.nullcontext():
        trainings[call]()
    assert [layer.training for layer in trainer.net.layers] == [False] * 3


@pytest.mark.parametrize("call", ["fit", "step"])
def test_who_predicts_in_another_thread_meanwhile_is_not_training(call):
    trainer, layer = watched()
    with ThreadPoolExecutor(1, thread_name_prefix="beside") as pool:
        layer.work = lambda way: way != "forward" and pool.submit(trainer.net, X).result()
        trainer.fit((X, T), 1, 5) if call == "fit" else trainer.step(X, T)
    seen = {(way, thread.startswith("beside"), training) for way, thread, training in layer.seen}
    before = {("forward", False, False)} if call == "fit" else set()
    assert seen == before | {("forward in training", False, True), ("backward", False, True), ("forward", True, False)}


def test_a_copy_of_a_network_is_not_being_trained():
    trainer, _layer = watched()
    copies = []
    trainer.fit((X, T), 1, 5, callbacks=[lambda trainer: copies.append(copy.deepcopy(trainer.net))])
    assert not any(layer.training for net in (*copies, trainer.net.astype("float64")) for layer in net.layers)


# Networks that were trained before


def test_a_trainer_says_that_its_network_was_trained_before(tmp_path):
    first = classifier(3, 2)
    assert repr(first) == "Trainer(3 -> 2, CrossEntropy(), SGD(lr=0.1), 0 epochs)"
    assert not first.net.trained
    first.fit((X, T), 2, 4, checkpoint=tmp_path / "run.npz")
    assert repr(first) == "Trainer(3 -> 2, CrossEntropy(), SGD(lr=0.1), 2 epochs)"
    first.net.save(tmp_path / "net.npz")
    before = ", of a network that was trained before: net.initialize(seed) and then a new Trainer start over)"
    for net in (first.net, nn.load(tmp_path / "net.npz"), nn.load(tmp_path / "run.npz"), copy.deepcopy(first.net)):
        second = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.1), seed=0)
        assert repr(second).endswith(f"0 epochs{before}")
    resumed = nn.Trainer.resume(tmp_path / "run.npz")
    assert repr(resumed) == repr(first)
    assert resumed.net.trained
    first.net.initialize(seed=0)
    again = nn.Trainer(first.net, nn.CrossEntropy(), nn.SGD(0.1), seed=0)
    assert repr(again) == "Trainer(3 -> 2, CrossEntropy(), SGD(lr=0.1), 0 epochs)"
    np.testing.assert_array_equal(again.net.parameters, classifier(3, 2).net.parameters)


@pytest.mark.parametrize(
    ("layers", "shown"),
    [
        ([nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)], "3 -> 4 -> 3"),
        ([nn.Tanh(), nn.Linear(3, 3), nn.Linear(3, 2)], "3 -> 2"),
        ([nn.Tanh(), nn.ReLU()], "?"),
    ],
)
def test_a_trainer_shows_each_width_that_differs_from_the_one_before(layers, shown):
    trainer = nn.Trainer(nn.Sequential(*layers), nn.Quadratic(), nn.SGD(0.1))
    assert repr(trainer) == f"Trainer({shown}, Quadratic(), SGD(lr=0.1), 0 epochs)"


def test_a_step_trains_a_network_too():
    trainer = classifier(3, 2)
    with pytest.raises(ValueError, match="class indices"):
        trainer.step(X, T + 1)
    assert not trainer.net.trained
    trainer.step(X, T)
    assert trainer.net.trained


# Stopping in time


@pytest.mark.parametrize("device", DEVICES)
def test_a_callback_that_raises_stop_iteration_ends_the_run_after_its_epoch(device, tmp_path):
    trainer, whole = (classifier(3, 2, device=device) for _ in range(2))
    whole.fit((X, T), 3, 4)
    seen = []

    def stop(trainer):
        seen.append(f"stop {len(trainer.history)}")
        if len(trainer.history) == 3:
            raise StopIteration

    def after(trainer):
        seen.append(f"after {len(trainer.history)}")

    path = tmp_path / "run.npz"
    options = {"callbacks": [stop, after, stop], "checkpoint": path, "checkpoint_every": 10}
    history = trainer.fit((X, T), 8, 4, **options)
    assert history is trainer.history
    assert len(history) == trainer.progress.last == 3
    assert seen == [f"{who} {epoch}" for epoch in (1, 2, 3) for who in ("stop", "after", "stop")]
    again = nn.Trainer.resume(path, device=device)
    for run in (trainer, again):
        assert len(run.fit((X, T))) == 3  # nothing is left to do
        np.testing.assert_array_equal(host(run.net.parameters), host(whole.net.parameters))
    for run in (whole, trainer, again):
        run.fit((X, T), 2, 4)
        np.testing.assert_array_equal(host(run.net.parameters), host(whole.net.parameters))


@pytest.mark.parametrize("error", [StopIteration, KeyboardInterrupt, RuntimeError])
def test_a_further_call_trains_as_many_epochs_as_it_is_asked_for_however_the_last_one_ended(error):
    trainer, whole = classifier(3, 2), classifier(3, 2)

    def end(trainer):
        if len(trainer.history) == 2:
            raise error("as if")

    with contextlib.nullcontext() if error is StopIteration else pytest.raises(error, match="as if"):
        trainer.fit((X, T), 5, 4, callbacks=[end])
    assert trainer.fit((X, T), 3, 4).epoch == [1, 2, 3, 4, 5]
    whole.fit((X, T), 5, 4)
    np.testing.assert_array_equal(trainer.net.parameters, whole.net.parameters)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, nn.DivergenceError])
def test_the_bar_of_a_run_that_fails_ends_its_line(error, monkeypatch, capfd):
    def fail(trainer):
        raise error("as if")

    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with pytest.raises(error, match="as if") as raised:  # which keeps the bar alive, as a traceback in a notebook does
        classifier(3, 2).fit((X, T), 5, 4, callbacks=[fail])
    assert capfd.readouterr().err.endswith("\n")
    del raised


def test_a_bar_of_a_run_that_stops_early(monkeypatch, capfd):
    def stop(trainer):
        raise StopIteration

    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    classifier(3, 2).fit((X, T), 5, 4, callbacks=[stop])
    assert "epoch=1" in capfd.readouterr().err


class NeedsScratch(nn.Cost):
    def value(self, y, t, out):
        np.subtract(y, t, out=out)
        return np.square(out).sum() / (2 * len(y))

    def gradient(self, y, t, out=None):
        return np.multiply(y - t, 1 / len(y), out=out)


class PlainLogarithm(nn.Cost):
    def value(self, y, t, out=None):
        return -(t * np.log(y)).sum() / len(y)

    def gradient(self, y, t, out=None):
        return np.multiply(-t / y, 1 / len(y), out=out)


class PutsBack(nn.Quadratic):
    def value(self, y, t, out=None):
        y -= t
        cost = np.square(y).sum() / (2 * len(y))
        y += t
        return cost


@pytest.mark.parametrize("cost", [NeedsScratch, PlainLogarithm, PutsBack])
def test_a_cost_of_ones_own_is_asked_for_the_cost_of_guessing_as_in_training(cost):
    trainer = classifier(3, 3, cost=cost())  # of three classes, one never occurs
    assert len(trainer.fit((X, T), 1, 4)) == 1


def test_a_layer_may_have_a_method_named_range():
    class Named(nn.ReLU):
        def range(self):
            return self.y.min(), self.y.max()

    net = nn.Sequential(nn.Linear(3, 2), Named(), seed=0)
    nn.Trainer(net, nn.Quadratic(), nn.SGD(0.1), seed=0).fit((X, RNG.normal(size=(10, 2)) ** 2), 1, 4)


def test_fit_takes_train_by_its_name_and_by_its_place():
    histories = [classifier(3, 2).fit((X, T), 1, 4), classifier(3, 2).fit(train=(X, T), epochs=1, batch_size=4)]
    assert histories[0].train_cost == histories[1].train_cost
