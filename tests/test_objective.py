"""cost_and_gradient: the derivative of the cost, what a step computes, and what SciPy makes of both."""

import re

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

import numnet as nn
from numnet import checks

from .devices import DEVICES
from .networks import cases


@pytest.fixture(params=[1, 3, checks.CHUNK])
def chunk(request, monkeypatch):
    """Let the samples be worked on in parts of so many."""
    monkeypatch.setattr(checks, "CHUNK", request.param)


def slope(value, h):
    """Return dE/ds at s = 0 by central differences of the sixth order."""
    one, two, three = (value(k * h) - value(-k * h) for k in (1, 2, 3))
    return (45 * one - 9 * two + three) / (60 * h)


@pytest.mark.usefixtures("chunk")
@given(case=cases(scales=(0.1, 1.0)), seed=st.integers(0, 2**32 - 1))
def test_the_gradient_is_the_derivative_of_the_cost(case, seed, largest):
    assume(not any(isinstance(layer, nn.ReLU) for layer in case.net.layers))  # which has kinks
    rng = np.random.default_rng(seed)
    point, direction = rng.normal(size=(2, case.net.parameters.size))
    direction /= np.linalg.norm(direction)

    def at(s):
        return nn.cost_and_gradient(case.net, case.cost, case.x, case.t, point + s * direction)

    gradient = at(0.0)[1]
    slopes = [slope(lambda s: at(s)[0], h) for h in (1e-2, 1e-3, 1e-4)]  # the smaller ones for steep networks
    deviation = min(abs(slopes - gradient @ direction)) / max(1, np.linalg.norm(gradient))
    largest("cost_and_gradient against central differences", deviation)
    assert deviation <= 1e-7


@pytest.mark.usefixtures("chunk")
@given(case=cases())
def test_a_step_goes_down_this_gradient(case):
    cost, gradient = nn.cost_and_gradient(case.net, case.cost, case.x, case.t)
    before = case.net.parameters.copy()
    assert nn.Trainer(case.net, case.cost, nn.SGD(lr=0.25)).step(case.x, case.t) == pytest.approx(cost, rel=1e-12)
    rounding = 1e-14 + 1e-12 * np.abs(gradient).max()  # where a softmax saturates, a gradient is rounding alone
    np.testing.assert_allclose(gradient, case.net.gradients, rtol=1e-9, atol=rounding)
    if len(case.x) < checks.CHUNK:  # then these are the same operations
        np.testing.assert_array_equal(gradient, case.net.gradients)
    np.testing.assert_array_equal(case.net.parameters, before - 0.25 * case.net.gradients)


@pytest.mark.parametrize("device", DEVICES)
@given(case=cases(), dtype=st.sampled_from(["float32", "float64"]))
def test_all_is_computed_in_float64_and_as_if_the_network_had_the_parameters(case, dtype, device):
    net, other = case.net.astype(dtype).to(device), np.linspace(-1, 1, case.net.parameters.size)
    expected = nn.cost_and_gradient(net.astype("float64"), case.cost, case.x, case.t)
    cost, gradient = nn.cost_and_gradient(net, case.cost, case.x, case.t)
    assert type(cost) is float
    assert (type(gradient), gradient.dtype, gradient.shape) == (np.ndarray, np.float64, net.parameters.shape)
    assert cost == expected[0]
    np.testing.assert_array_equal(gradient, expected[1])
    elsewhere = nn.cost_and_gradient(net, case.cost, case.x, case.t, other)
    net = net.astype("float64")
    net.parameters = other
    again = nn.cost_and_gradient(net, case.cost, case.x, case.t)
    assert elsewhere[0] == again[0]
    np.testing.assert_array_equal(elsewhere[1], again[1])


def test_the_caller_owns_the_gradient():
    net = nn.Sequential(nn.Linear(4, 3), nn.Softmax(), seed=0, dtype="float64")
    x, t, given_parameters = np.eye(4), np.arange(4) % 3, net.parameters.copy()
    given_parameters.flags.writeable = False
    first, second = (nn.cost_and_gradient(net, nn.CrossEntropy(), x, t, given_parameters)[1] for _ in "ab")
    assert first.flags.writeable
    for array in (second, net.gradients, net.parameters, given_parameters):
        assert not np.shares_memory(first, array)
    first[:] = 7
    assert not (second == 7).any()
    assert not net.gradients.any()


class Remembering(nn.Layer):
    seen = []

    def forward(self, x, out=None):
        self.seen.append(self.training)
        return np.multiply(x, 1, out=out)

    def backward(self, grad, out=None):
        return np.multiply(grad, 1, out=out)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_layers_are_called_as_outside_training(place):
    layers = [nn.Linear(4, 3), nn.Softmax()]
    layers.insert(place, Remembering())
    net = nn.Sequential(*layers, seed=0)

    def ask(trainer):
        for layer in net.layers:
            layer.training = True
        Remembering.seen.clear()
        nn.cost_and_gradient(net, nn.Quadratic(), np.eye(4), np.arange(4) % 3)
        assert Remembering.seen == [False]
        assert all(layer.training for layer in net.layers)

    nn.Trainer(net, nn.Quadratic(), nn.SGD(0.1)).fit((np.eye(4), np.arange(4) % 3), 1, 2, callbacks=[ask])


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_one_parameter_is_given_as_many_are(value):
    net = nn.Sequential(nn.Linear(1, 1, bias=False), seed=0)
    cost, gradient = nn.cost_and_gradient(net, nn.Quadratic(), [[2.0]], [[3.0]], [value])
    assert cost == (2 * value - 3) ** 2 / 2
    assert gradient.tolist() == [2 * (2 * value - 3)]


@pytest.mark.usefixtures("chunk")
def test_a_network_without_parameters_has_a_cost_and_an_empty_gradient():
    x, t = np.log([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]), [1, 2]
    cost, gradient = nn.cost_and_gradient(nn.Sequential(nn.Softmax()), nn.CrossEntropy(), x, t)
    assert cost == pytest.approx(-np.log([0.25, 0.8]).mean())
    assert gradient.shape == (0,)


def test_numbers_that_overflow_are_no_error():
    net = nn.Sequential(nn.Linear(2, 1), seed=0)
    for value, expected in ((1e300, np.inf), (np.nan, np.nan), (-np.inf, np.inf)):
        cost, _ = nn.cost_and_gradient(net, nn.Quadratic(), [[1.0, 0.5]], [[0.0]], np.full(3, value))
        np.testing.assert_equal(cost, expected)


@pytest.mark.parametrize(
    ("parameters", "got"),
    [
        (1.0, "shape () and dtype float64"),
        (np.zeros(14), "shape (14,) and dtype float64"),
        (np.zeros((15, 1)), "shape (15, 1) and dtype float64"),
        (np.zeros(15, complex), "shape (15,) and dtype complex128"),
        (["a"] * 15, "shape (15,) and dtype <U1"),
    ],
)
def test_parameters_that_do_not_fit(parameters, got):
    net = nn.Sequential(nn.Linear(4, 3), nn.Softmax(), seed=0)
    message = f"parameters must be 15 real numbers, as net.parameters is, got an array of {got}"
    with pytest.raises(ValueError, match=re.escape(message)):
        nn.cost_and_gradient(net, nn.CrossEntropy(), np.eye(4), np.arange(4) % 3, parameters)


def test_parameters_that_are_no_array_are_named():
    net = nn.Sequential(nn.Linear(4, 3), nn.Softmax(), seed=0)
    with pytest.raises(ValueError, match=r"^parameters"):
        nn.cost_and_gradient(net, nn.CrossEntropy(), np.eye(4), np.arange(4) % 3, [[1.0], [2.0, 3.0]])


def test_scipy_finds_the_optimum_that_scikit_learn_finds():
    """A penalty on the weights makes the optimum unique, up to a bias for all classes."""
    decay, (train, test) = 1e-3, nn.datasets.digits()
    x, t = train.images.reshape(-1, 64) / 255, train.labels
    net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0, dtype="float64")

    def objective(parameters):
        cost, gradient = nn.cost_and_gradient(net, nn.CrossEntropy(), train.images, t, parameters)
        weights = net.decay_mask * parameters
        return cost + decay / 2 * weights @ weights, gradient + decay * weights

    limits = {"maxiter": 2000, "ftol": 1e-15, "gtol": 1e-9}
    result = minimize(objective, net.parameters, jac=True, method="L-BFGS-B", options=limits)
    assert result.nfev < 1000
    net.parameters = result.x
    theirs = LogisticRegression(C=1 / (decay * len(t)), tol=1e-10, max_iter=5000).fit(x, t)
    expected = theirs.predict_proba(test.images.reshape(-1, 64) / 255)
    np.testing.assert_allclose(net(test.images), expected, atol=1e-5)
    np.testing.assert_allclose(net.layers[0].weight, theirs.coef_.T, atol=1e-4)
