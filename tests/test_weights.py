"""Weights of samples: a weight of 2 is the sample given twice, and a weight of 0 is no sample."""

import copy
import os
import tracemalloc

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given

import numnet as nn
from numnet import checks, gpu
from numnet.costs import Pair, Weighted

from .devices import DEVICES, host, place
from .networks import backpropagated, cases
from .test_gradcheck import clear_of_kinks, is_steady

TRAIN, TEST = nn.datasets.digits()


class Absolute(nn.Cost):
    """A cost that says nothing of single samples."""

    def value(self, y, t, out=None):
        return np.abs(y - t).sum() / len(y)

    def gradient(self, y, t, out=None):
        return np.multiply(np.sign(y - t), 1 / len(y), out=out)


class Halved(nn.Quadratic):
    """A cost that inherits all but its value and gradient."""

    def value(self, y, t, out=None):
        return super().value(y, t, out) / 2

    def gradient(self, y, t, out=None):
        return np.multiply(super().gradient(y, t, out), 0.5, out=out)


class Sharper(nn.CrossEntropy):
    """Likewise, with the form that the last layer asks for."""

    def value(self, y, t, out=None):
        return 2 * super().value(y, t, out)

    def gradient(self, y, t, out=None):
        return np.multiply(super().gradient(y, t, out), 2, out=out)


OWN = {nn.Quadratic: [nn.Quadratic, Absolute, Halved], nn.CrossEntropy: [nn.CrossEntropy, Sharper]}


@st.composite
def weighted_cases(draw):
    case = draw(cases(scales=(0.1, 1.0)))
    case.cost = draw(st.sampled_from(OWN[type(case.cost)]))()
    weight = draw(st.lists(st.integers(0, 4), min_size=len(case.x), max_size=len(case.x)))
    assume(any(weight))
    return case, np.array(weight)


def trainer(net, cost=None, lr=0.5):
    return nn.Trainer(net, cost or nn.CrossEntropy(), nn.SGD(lr), seed=0)


@pytest.mark.parametrize("device", DEVICES)
@given(drawn=weighted_cases())
def test_whole_weights_are_repeated_samples(drawn, device):
    case, weight = drawn
    assume(is_steady(case))
    net, pair = case.net.to(device), case.pair
    t = checks.targets(case.t, net.outputs, np.float64)
    gradients, costs = [], []
    for rows, times, of in (
        (slice(None), weight, lambda times: Weighted(pair, place(times.astype(float), device))),
        (np.repeat(np.arange(len(weight)), weight), np.ones(weight.sum()), lambda _: pair),
    ):
        x, targets = place(case.x[rows], device), place(t[rows], device)
        one = of(times)
        z, y = backpropagated(net, one, x, targets)
        gradients.append(host(net.gradients) * len(x))
        costs.append(float(one.value(z, y, targets)) * len(x))
    size = max(1, np.abs(gradients[0]).max())
    np.testing.assert_allclose(gradients[0], gradients[1], rtol=0, atol=1e-12 * size)
    assert costs[0] == pytest.approx(costs[1], rel=1e-12, abs=1e-12)


@given(drawn=weighted_cases())
def test_the_cost_is_the_mean_of_what_the_samples_cost(drawn):
    case, _ = drawn
    z, y = case.net.forward(case.x)
    t, pair = checks.targets(case.t, case.net.outputs, np.float64), case.pair
    alone = [float(pair.value(z[[i]], y[[i]], t[[i]])) for i in range(len(t))]
    np.testing.assert_allclose(pair.values(z, y, t), alone, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(pair.cost.values(y, t).mean(), pair.cost.value(y, t), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("device", DEVICES)
@given(drawn=weighted_cases())
def test_gradcheck_takes_weights(drawn, device):
    case, weight = drawn
    case.cost = case.cost if isinstance(case.cost, (nn.CrossEntropy, nn.Quadratic)) else nn.Quadratic()  # no kinks
    assume(clear_of_kinks(case.net, case.x) and is_steady(case))
    report = nn.gradcheck(case.net.to(device), case.cost, case.x, case.t, sample_weight=weight)
    assert report.central.error <= 1e-7, report
    assert report.complex_step is None or report.complex_step.error <= 1e-12, report


def test_gradcheck_notices_weights_that_the_gradient_has_not(monkeypatch):
    monkeypatch.setattr(Weighted, "error", lambda self, *arguments: self.pair.error(*arguments))
    net = nn.Sequential(nn.Linear(2, 3), nn.Softmax(), seed=0)
    x, t = np.eye(2), [0, 1]
    assert nn.gradcheck(net, nn.CrossEntropy(), x, t, sample_weight=[1, 1]).central.error < 1e-7
    assert nn.gradcheck(net, nn.CrossEntropy(), x, t, sample_weight=[1, 2]).central.error > 0.1


@pytest.mark.parametrize(
    ("last", "cost"), [(nn.Sigmoid, nn.CrossEntropy), (nn.Sigmoid, Sharper), (nn.Softmax, Sharper)]
)
@pytest.mark.parametrize("z", [-800.0, 800.0])
def test_a_sample_of_weight_0_does_nothing_even_if_its_cost_is_infinite(last, cost, z):
    net = nn.Sequential(nn.Linear(2, 2), last(), dtype="float64")
    net.layers[0].weight = np.eye(2) * z
    pair, x, t = (
        cost().pair(net.layers),
        np.array([[1.0, 0.0], [0.001, 0.002]]),
        np.array([[z < 0, z > 0], [0, 1.0]]) * 1.0,
    )
    with np.errstate(all="ignore"):
        z_last, y = backpropagated(net, Weighted(pair, np.array([0.0, 2.0])), x, t)
        value, gradients = Weighted(pair, np.array([0.0, 2.0])).value(z_last, y, t), net.gradients.copy()
        z_last, y = backpropagated(net, pair, x[1:], t[1:])
    assert value == pytest.approx(float(pair.value(z_last, y, t[1:])), rel=1e-12)
    np.testing.assert_allclose(gradients, net.gradients, rtol=1e-12)


def networks(device, dtype="float64"):
    """Return equal networks without end, of each kind of way to dE/dz."""
    make = {
        "closed form": lambda: [nn.Linear(64, 10), nn.Softmax()],
        "hidden": lambda: [nn.Linear(64, 12), nn.Tanh(), nn.Linear(12, 10), nn.Sigmoid()],
    }
    return {
        name: (lambda layers=layers: nn.Sequential(*layers(), seed=0, dtype=dtype, device=device))
        for name, layers in make.items()
    }


@pytest.mark.parametrize("kind", ["closed form", "hidden"])
@pytest.mark.parametrize("device", DEVICES)
def test_fit_with_weights_is_fit_with_repeated_samples(kind, device):
    """If every batch is the whole: otherwise the batches differ."""
    weight = np.arange(100) % 4
    rows = np.repeat(np.arange(100), weight)
    x, t = TRAIN.images[:100], TRAIN.labels[:100]
    make = networks(device)[kind]
    one, other = trainer(make()), trainer(make())
    one.fit((x, t), 3, 100, test=TEST, sample_weight=weight * 7.0)
    other.fit((x[rows], t[rows]), 3, len(rows), test=TEST)
    np.testing.assert_allclose(host(one.net.parameters), host(other.net.parameters), rtol=0, atol=1e-12)
    for name in ("train_cost", "test_cost", "test_accuracy"):
        assert getattr(one.history, name) == pytest.approx(getattr(other.history, name), rel=1e-12)


@pytest.mark.parametrize("batch", [1, 7, 64])
@pytest.mark.parametrize("device", DEVICES)
def test_each_batch_has_the_weights_of_its_samples(batch, device):
    x, t, weight = TRAIN.images[:150], TRAIN.labels[:150], np.arange(150) % 7 + 0.25
    run, by_hand = (trainer(networks(device)["hidden"](), lr=0.1) for _ in range(2))
    run.fit((x, t), 2, batch, sample_weight=weight)
    rng = np.random.default_rng(0)
    for _ in range(2):
        order = rng.permutation(150)
        for rows in (order[start : start + batch] for start in range(0, 150, batch)):
            by_hand.step(x[rows], t[rows], sample_weight=weight[rows] / weight.mean())
    np.testing.assert_allclose(host(run.net.parameters), host(by_hand.net.parameters), rtol=0, atol=1e-12)


@pytest.mark.parametrize("device", DEVICES)
def test_weights_of_1_change_no_bit(device):
    runs = [trainer(networks(device, "float32")["hidden"]()) for _ in range(3)]
    for run, weight in zip(runs, (None, np.ones(300), [5] * 300), strict=True):
        run.fit((TRAIN.images[:300], TRAIN.labels[:300]), 2, 64, sample_weight=weight)
        run.step(TRAIN.images[:9], TRAIN.labels[:9], sample_weight=None if weight is None else np.ones(9))
    for run in runs[1:]:
        np.testing.assert_array_equal(host(run.net.parameters), host(runs[0].net.parameters))
        assert run.history.train_cost == pytest.approx(runs[0].history.train_cost, rel=1e-6)
        assert run.history.train_accuracy == runs[0].history.train_accuracy


@pytest.mark.parametrize("batch", [1, 7, 64, 1000])
@pytest.mark.parametrize("device", DEVICES)
def test_the_training_cost_is_the_mean_with_the_weights(batch, device):
    weight, rng = np.arange(1, 151) / 10, np.random.default_rng(0)
    x, t = rng.normal(size=(150, 64)), rng.integers(0, 10, 150)
    run = trainer(networks(device)["hidden"](), lr=1e-30)  # which changes no parameter
    run.fit((x, t), 1, batch, sample_weight=weight)
    y = run.net(x)
    expected = run.pair.cost.values(y, checks.targets(t, 10, np.float64)) @ weight / weight.sum()
    assert run.history[-1].train_cost == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize("device", DEVICES)
def test_step_takes_weights_as_they_are(device):
    x, t, weight = TRAIN.images[:20], TRAIN.labels[:20], np.linspace(0, 3, 20)
    runs = [trainer(networks(device)["hidden"](), lr=0.1) for _ in range(2)]
    cost = runs[0].step(x, t, sample_weight=weight)
    values = runs[1].pair.cost.values(runs[1].net(x), checks.targets(t, 10, np.float64))
    assert cost == pytest.approx(float((weight * values).mean()), rel=1e-12)
    before = host(runs[1].net.parameters).copy()
    for one, row in zip(weight, range(20), strict=True):  # the gradient is linear in the weights
        again = trainer(networks(device)["hidden"](), lr=0.1 / 20 * one) if one else None
        if again:
            again.step(x[[row]], t[[row]])
            before += host(again.net.parameters) - host(runs[1].net.parameters)
    np.testing.assert_allclose(host(runs[0].net.parameters), before, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.ones(19), r"must be one number for each of the 20 samples, of shape \(20,\), got float64 of shape \(19,\)"),
        (np.ones((20, 1)), r"of shape \(20,\), got float64 of shape \(20, 1\)"),
        (2.0, r"of shape \(20,\), got float64 of shape \(\)"),
        (np.ones(20, complex), "got complex128"),
        (
            np.arange(20) - 1.0,
            "must be finite numbers of at least 0, and not all zero, but in float64 they range from -1 to 18",
        ),
        (np.full(20, np.nan), "but in float64 they range from nan to nan"),
        (np.full(20, np.inf), "but in float64 they range from inf to inf"),
        (np.zeros(20), "but in float64 they range from 0 to 0"),
    ],
)
def test_weights_that_are_none_are_refused_before_anything_changes(weight, message):
    x, t = TRAIN.images[:20], TRAIN.labels[:20]
    run = trainer(networks("cpu")["hidden"]())
    before = run.net.parameters.copy()
    for call in (
        lambda: run.fit((x, t), 1, 7, sample_weight=weight),
        lambda: run.step(x, t, sample_weight=weight),
        lambda: nn.gradcheck(run.net, nn.CrossEntropy(), x, t, samples=1, sample_weight=weight),
    ):
        with pytest.raises(ValueError, match=f"sample_weight {message}|sample_weight .*{message}"):
            call()
    assert not run.history
    np.testing.assert_array_equal(run.net.parameters, before)


class Watching(nn.Layer):
    """A layer that changes nothing, and keeps whether it was called in training."""

    def __init__(self):
        self.seen = []

    def forward(self, x, out=None):
        self.seen.append(self.training)
        return np.multiply(x, 1, out=out)

    def backward(self, grad, out=None):
        return np.multiply(grad, 1, out=out)


@pytest.mark.parametrize("weighted", [False, True])
def test_with_weights_no_cost_is_compared_with_that_of_guessing(weighted):
    watching, x, t = Watching(), TRAIN.images[:300], TRAIN.labels[:300]
    run = trainer(nn.Sequential(watching, nn.Linear(64, 10), nn.Softmax(), seed=0))
    run.fit((x, t), 2, 64, sample_weight=np.ones(300) if weighted else None)
    assert watching.seen.count(False) == (0 if weighted else 2)  # before and after the first epoch
    watching.seen.clear()
    run.fit((x, t), 1, 64)  # the first epoch of the run is over
    assert False not in watching.seen


class Kept(nn.Quadratic):
    """A cost that returns an array of its own, which nobody may change."""

    def gradient(self, y, t, out=None):
        kept = super().gradient(y, t)
        kept.flags.writeable = False
        return kept


def test_the_array_that_a_cost_of_ones_own_returns_is_left_alone():
    x, t, weight = TRAIN.images[:20], np.eye(10)[TRAIN.labels[:20]], np.arange(20.0)
    layers = nn.Linear(64, 10), nn.Tanh()  # without a closed form
    runs = [trainer(nn.Sequential(*copy.deepcopy(layers), seed=0), cost()) for cost in (Kept, nn.Quadratic)]
    for run in runs:
        run.step(x, t, sample_weight=weight)
    np.testing.assert_allclose(runs[0].net.parameters, runs[1].net.parameters, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("last", "cost"),
    [
        *((nn.Softmax, cost) for cost in (nn.CrossEntropy, nn.Quadratic, Sharper)),
        *((nn.Sigmoid, cost) for cost in (nn.CrossEntropy, nn.Quadratic)),
        *((nn.Tanh, cost) for cost in (nn.Quadratic, Absolute, Kept)),
    ],
)
@pytest.mark.parametrize("device", DEVICES)
def test_where_an_error_with_weights_is_written_changes_no_bit(last, cost, device):
    rng, layer = np.random.default_rng(0), last()
    z, t, weight = (
        place(array, device) for array in (rng.normal(size=(5, 3)), np.eye(3)[[0, 1, 2, 0, 1]], np.arange(5.0))
    )
    pair = Weighted(cost().pair([layer]), weight)
    y = layer.forward(z)
    before = [host(array).copy() for array in (z, y, t, weight)]
    expected = host(pair.error(z, y, t))
    for dy in (None, np.full_like(y, np.nan)):
        out = np.full_like(z, np.nan)
        assert pair.error(z, y, t, out, dy) is out
        np.testing.assert_array_equal(host(out), expected)
    for array, unchanged in zip((z, y, t, weight), before, strict=True):
        np.testing.assert_array_equal(host(array), unchanged)


@pytest.mark.parametrize(
    ("last", "cost"), [(nn.Softmax, nn.CrossEntropy), (nn.Sigmoid, nn.Quadratic), (nn.Tanh, nn.Quadratic)]
)
def test_an_error_with_weights_takes_little_memory_of_its_own(last, cost):
    layer, t = last(), np.full((20_000, 10), 0.1)
    y = layer.forward(np.zeros_like(t))
    pair, out, dy = Weighted(cost().pair([layer]), np.ones(len(t))), np.empty_like(t), np.empty_like(t)
    tracemalloc.start()
    pair.error(out, y, t, out, dy)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < t.nbytes / 4


@pytest.mark.parametrize("recording", [False, True])
def test_steps_with_weights_are_not_recorded(recording, monkeypatch):
    monkeypatch.setattr(gpu, "recording", recording)
    x, t, weight = (place(array, "gpu") for array in (np.eye(6, 64), np.eye(6, 10), np.arange(6.0)))
    runs = [trainer(networks("gpu")["hidden"]()) for _ in range(2)]
    ways = gpu.Recorded(runs[0]._train_steps), runs[1]._train_steps
    for _ in range(3):
        for one, other in zip(*(way(x, t, 4, 0.5, weight) for way in ways), strict=True):
            np.testing.assert_array_equal(host(one), host(other))
    np.testing.assert_array_equal(host(runs[0].net.parameters), host(runs[1].net.parameters))


def test_mapped_weights_whose_file_was_cut_short_are_refused(tmp_path):
    np.save(tmp_path / "w.npy", np.ones(4000))
    weight = np.load(tmp_path / "w.npy", mmap_mode="r")
    os.truncate(tmp_path / "w.npy", 500)
    run = trainer(networks("cpu")["hidden"]())
    with pytest.raises(ValueError, match=r"sample_weight are mapped from the file .* cut short"):
        run.fit((np.zeros((4000, 64)), np.zeros(4000, int)), 1, 64, sample_weight=weight)


@pytest.mark.parametrize("size", [1e307, 5e-324])
def test_weights_of_any_size_count_by_their_shares(size):
    runs = [trainer(networks("cpu", "float32")["hidden"]()) for _ in range(2)]
    for run, weight in zip(runs, (np.full(300, size), np.ones(300)), strict=True):
        run.fit((TRAIN.images[:300], TRAIN.labels[:300]), 1, 64, sample_weight=weight)
    np.testing.assert_array_equal(runs[0].net.parameters, runs[1].net.parameters)


@pytest.mark.parametrize("size", [1e39, 1e-50])
def test_a_step_refuses_weights_that_the_network_cannot_hold(size):
    run = trainer(networks("cpu", "float32")["hidden"]())
    with pytest.raises(ValueError, match=r"in float32 they range from (inf to inf|0 to 0)"):
        run.step(TRAIN.images[:9], TRAIN.labels[:9], sample_weight=np.full(9, size))


def test_a_chain_without_a_closed_form_is_used_above():
    assert type(nn.Quadratic().pair([nn.Tanh()])) is Pair


def test_weights_can_be_large_and_may_change_under_training():
    """Sums must not overflow float32, and what fit was given is what counts."""
    weight = np.full(200, 3e38)
    runs = [trainer(networks("cpu", "float32")["closed form"]()) for _ in range(2)]
    for run, change in zip(runs, (False, True), strict=True):
        given = weight.copy()
        callbacks = [lambda _, given=given: given.fill(0)] if change else []
        run.fit((TRAIN.images[:200], TRAIN.labels[:200]), 3, 64, callbacks=callbacks, sample_weight=given)
    np.testing.assert_array_equal(runs[0].net.parameters, runs[1].net.parameters)
    assert runs[0].history[-1].train_cost < runs[0].history[0].train_cost


def test_a_run_that_has_ended_was_not_interrupted():
    train, _ = nn.datasets.digits()
    for weight, other in ((np.ones(len(train)), None), (None, np.ones(len(train)))):
        net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0)
        trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr=0.1), seed=0)
        trainer.fit(train, 1, 64, sample_weight=weight)
        assert len(trainer.fit(train, sample_weight=other)) == 1
