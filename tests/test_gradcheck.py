import copy
import importlib
import io
import re
import sys
import time

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given, settings

import numnet as nn
from numnet import checks
from numnet.costs import Pair

from . import strict
from .devices import DEVICES, REAL_GPU, host
from .networks import backpropagated, cases

module = importlib.import_module("numnet.gradcheck")  # nn.gradcheck is the function
EXAMPLES = settings().max_examples
KINK = 0.02  # central differences must not step over a ReLU's kink


def clear_of_kinks(net, x):
    y = x
    for layer in net.layers:
        if isinstance(layer, nn.ReLU) and np.abs(y).min() < KINK:
            return False
        y = layer.forward(y)
    return True


def is_steady(case):
    """Return whether the gradients hardly change if the parameters change in their last bit.

    Five steep layers in a row can change them by 2e-12 so. Then no two ways to compute them agree to 1e-12.
    """
    pair, parameters, rng = case.cost.pair(case.net.layers), case.net.parameters.copy(), np.random.default_rng(0)
    t = checks.targets(case.t, case.net.outputs, np.float64)
    gradients = []
    for _ in range(5):
        with np.errstate(over="ignore"):
            backpropagated(case.net, pair, case.x, t)
        gradients.append(case.net.gradients.copy())
        case.net.parameters = parameters * (1 + np.finfo(np.float64).eps * rng.choice([-1, 1], parameters.size))
    case.net.parameters = parameters
    return np.ptp(gradients, axis=0).max() <= 1e-13 * max(1, np.abs(gradients).max())


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=min(3 * EXAMPLES, max(300, EXAMPLES)))
@given(case=cases())
def test_every_gradient_of_any_chain(case, largest, device):
    assume(clear_of_kinks(case.net, case.x) and is_steady(case))
    report = nn.gradcheck(case.net.to(device), case.cost, case.x, case.t)
    largest("gradients against central differences, relative", report.central.error)
    assert report.central.error <= 1e-7, report
    assert (report.complex_step is None) == any(isinstance(layer, nn.ReLU) for layer in case.net.layers)
    if report.complex_step:
        largest("gradients against the complex step, relative", report.complex_step.error)
        assert report.complex_step.error <= 1e-12, report


class WrongSign(nn.Tanh):
    def backward(self, grad, out=None):
        return -super().backward(grad, out)


class Scale(nn.Layer):
    """y = s x, with a mistake of one part in a million in dE/ds where asked for."""

    def __init__(self, inputs, mistake=0.0):
        self.inputs, self.mistake = inputs, mistake
        self.parameters = {"factor": np.linspace(1, 2, inputs)}

    def forward(self, x, out=None):
        self.x = x
        return np.multiply(x, self.parameters["factor"], out=out)

    def backward(self, grad, out=None):
        np.sum(grad * self.x, axis=0, out=self.gradients["factor"])
        self.gradients["factor"] *= 1 + self.mistake
        return np.multiply(grad, self.parameters["factor"], out=out)


X, T = np.array([[1.0, -2.0, 0.5], [0.3, 0.7, -1.0]]), np.array([0, 1])


def net_with(*layers, device="cpu"):
    return nn.Sequential(nn.Linear(3, 2), *layers, nn.Softmax(), seed=0, device=device)


@pytest.mark.parametrize("device", DEVICES)
def test_a_wrong_sign_is_found_and_placed(device):
    report = nn.gradcheck(net_with(WrongSign(), nn.Linear(2, 2), device=device), nn.CrossEntropy(), X, T)
    assert report.central.error == pytest.approx(2, rel=1e-6)
    assert report.complex_step.error == pytest.approx(2, rel=1e-6)
    assert report.cause.startswith("the backward of layer 1, WrongSign(), is not the derivative")
    shown = f"central differences: {report.central}\ncomplex step: {report.complex_step}\n{report.cause}"
    assert repr(report) == shown
    assert "layer 0, Linear(3, 2), " in report.central.where or report.central.where.startswith("x[")


@pytest.mark.parametrize("device", DEVICES)
def test_a_layer_of_ones_own_is_checked(device):
    report = nn.gradcheck(net_with(Scale(2), device=device), nn.CrossEntropy(), X, T, raise_above=1e-7)
    assert report.complex_step is None  # it is not marked as analytic
    assert "not analytic" in str(report)


@pytest.mark.parametrize("device", DEVICES)
def test_a_mistake_of_one_in_a_million_in_one_parameter_is_found(device):
    with pytest.raises(
        nn.GradientError, match=r"relative error 1\.0e-06 at layer 1, Scale\(2\), factor\[[01]\]\n    analytic"
    ):
        nn.gradcheck(net_with(Scale(2, mistake=1e-6), device=device), nn.CrossEntropy(), X, T, raise_above=1e-7)


@pytest.mark.parametrize("device", DEVICES)
def test_a_wrong_input_gradient_is_found(device):
    class Forgetful(nn.Sigmoid):
        def backward(self, grad, out=None):
            return np.multiply(grad, 1.0, out=out)

    net = nn.Sequential(Forgetful(), nn.Linear(3, 2), nn.Softmax(), seed=0, device=device)
    report = nn.gradcheck(net, nn.CrossEntropy(), X, T)
    assert report.central.where.startswith("x[")
    assert report.central.error > 0.1


@pytest.mark.parametrize("position", [0, 1])
@pytest.mark.parametrize("device", DEVICES)
def test_a_layer_that_is_wrong_only_with_out_is_found(position, device):
    class Twice(nn.Sigmoid):
        def backward(self, grad, out=None):
            return np.multiply(super().backward(grad), 1 if out is None else 2, out=out)

    class Late(nn.Sigmoid):
        def forward(self, x, out=None):
            y = super().forward(x, out)
            return y if out is None else np.multiply(y, 0.5, out=y)

    for kind in (Twice, Late):
        layers = [nn.Linear(3, 2), nn.Linear(2, 2), nn.Softmax()]
        layers.insert(position, kind())
        with pytest.raises(
            nn.GradientError, match=f"layer {position}, {kind.__name__}.*one result without `out` and another"
        ):
            nn.gradcheck(nn.Sequential(*layers, seed=0, device=device), nn.CrossEntropy(), X, T)


@pytest.mark.parametrize("device", DEVICES)
def test_a_first_layer_that_is_wrong_only_where_training_uses_it_is_found(device):
    class Short(nn.Linear):
        def backward_parameters(self, grad):
            super().backward_parameters(grad)
            self.gradients["bias"] *= 2

        def backward(self, grad, out=None):
            super().backward_parameters(grad)
            return np.matmul(grad, self.weight.T, out=out)

    net = nn.Sequential(Short(3, 2), nn.Softmax(), seed=0, device=device)
    message = r"layer 0, Short\(3, 2\), bias.*\n.*\n    the backward of layer 0, Short\(3, 2\), is not the derivative"
    with pytest.raises(nn.GradientError, match=message):
        nn.gradcheck(net, nn.CrossEntropy(), X, T, raise_above=1e-7)


@pytest.mark.parametrize("device", DEVICES)
def test_the_complex_step_is_judged_too(device):
    class Absolute(nn.Layer):
        analytic = True  # it is not

        def forward(self, x, out=None):
            self.x = x
            return np.abs(x) if np.iscomplexobj(x) else np.abs(x, out=out)

        def backward(self, grad, out=None):
            return np.multiply(grad, np.sign(self.x), out=out)

    report = nn.gradcheck(net_with(Absolute(), device=device), nn.CrossEntropy(), X, T)
    assert report.central.error < 1e-7
    with pytest.raises(
        nn.GradientError, match=r"relative error .*\n.*\n    a layer or the cost is marked as analytic, but"
    ):
        nn.gradcheck(net_with(Absolute(), device=device), nn.CrossEntropy(), X, T, raise_above=1e-7)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3, 1e5])
@pytest.mark.parametrize("device", DEVICES)
def test_costs_of_any_size_can_be_judged(scale, device):
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1), seed=0, device=device)
    report = nn.gradcheck(net, nn.Quadratic(), X, T * scale, raise_above=1e-7)
    assert report.complex_step.error < 1e-12


class Constant(nn.Quadratic):
    """A cost with a constant, which makes its values less exact, and a count of these values."""

    analytic = False

    def __init__(self, constant):
        self.constant, self.values = constant, 0

    def value(self, y, t, out=None):
        self.values += 1
        return super().value(y, t, out) + self.constant


@pytest.mark.parametrize("constant", [1e4, -1e4, 1e3, -1e3])
@pytest.mark.parametrize("last", [nn.Tanh, nn.Sigmoid])
def test_a_constant_in_a_cost_is_no_mistake(constant, last):
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2), last(), seed=0)
    nn.gradcheck(net, Constant(constant), X, np.eye(2), raise_above=1e-7)


@pytest.mark.parametrize(
    ("layers", "t"),
    [
        ([nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)], np.eye(2)),
        ([nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)], -np.eye(2)),
        ([nn.Linear(3, 2)], 1e3 * (1 + np.eye(2))),
        ([nn.Linear(3, 2)], -1e3 * (1 + np.eye(2))),
    ],
)
def test_a_smooth_function_needs_few_steps(layers, t):
    cost = Constant(0)
    report = nn.gradcheck(nn.Sequential(*copy.deepcopy(layers), seed=0), cost, X, t)
    assert cost.values <= 2 * 4 * report.total + 10  # two steps of four values each, and those for the layers


@pytest.mark.parametrize("distance", [1e-5, 1e-4, 1e-3, 1e-2])
@pytest.mark.parametrize("device", DEVICES)
def test_a_kink_nearby_is_no_mistake(distance, device):
    net = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), dtype="float64", device=device)
    net.parameters = [1.0, 0.0]
    nn.gradcheck(net, nn.Quadratic(), [[distance]], [[1.0]], raise_above=1e-7)


@pytest.mark.parametrize("device", DEVICES)
def test_a_step_out_of_a_layers_domain_is_no_mistake(device):
    class Log(nn.Layer):
        def forward(self, x, out=None):
            self.x = x
            return np.log(x, out=out)

        def backward(self, grad, out=None):
            return np.divide(grad, self.x, out=out)

    net = nn.Sequential(Log(), nn.Linear(1, 1), seed=0, device=device)
    nn.gradcheck(net, nn.Quadratic(), [[0.015]], [[1.0]], raise_above=1e-7)


@pytest.mark.parametrize("device", DEVICES)
def test_a_steep_network_can_be_judged(device):
    layers = [nn.Linear(3, 4), nn.Linear(4, 4), nn.Sigmoid(), nn.Linear(4, 2), nn.Softmax()]
    net = nn.Sequential(*layers, seed=0, device=device)
    net.parameters *= 20
    nn.gradcheck(net, nn.CrossEntropy(), X, T, raise_above=1e-7)


@pytest.mark.parametrize("device", DEVICES)
def test_nan_is_the_worst_error(device):
    class Broken(nn.Tanh):
        def backward(self, grad, out=None):
            dx = super().backward(grad, out)
            dx[0, 0] = np.nan
            return dx

    with pytest.raises(nn.GradientError, match="relative error nan"):
        nn.gradcheck(net_with(Broken(), device=device), nn.CrossEntropy(), X, T, raise_above=1e-7)


@pytest.mark.parametrize("device", DEVICES)
def test_a_cost_of_ones_own_is_checked(device):
    class Cubic(nn.Cost):
        def value(self, y, t, out=None):
            return np.sum(np.abs(y - t) ** 3) / len(y)

        def gradient(self, y, t, out=None):
            return np.multiply(3 * np.abs(y - t), (y - t) / len(y), out=out)

    nn.gradcheck(net_with(device=device), Cubic(), X, T, raise_above=1e-7)


@pytest.mark.parametrize("device", DEVICES)
def test_the_network_is_left_alone(device):
    net = net_with(device=device)
    before, x = (net.parameters.copy(), net.gradients.copy()), X.copy()
    x.flags.writeable = False
    nn.gradcheck(net, nn.CrossEntropy(), x, T)
    np.testing.assert_array_equal(host(net.parameters), host(before[0]))
    np.testing.assert_array_equal(host(net.gradients), host(before[1]))
    assert net.dtype == np.float32


@pytest.mark.parametrize(
    ("x", "t", "message"),
    [
        (X, T[:1], "one target for each"),
        (X[:0], T[:0], "at least one sample"),
        (X[:, :2], T, "with 3 features a sample"),
        (X * np.nan, T, "inputs must be finite"),
        (X, [[1.5, -0.5], [0, 1]], "^t must hold probabilities from 0 to 1"),
        (X, [[0.5, 0.25], [0, 1]], "^each row of t must sum to 1"),
        ({}, T, "^inputs must be an array"),
        (X, {}, "^targets must be an array"),
    ],
)
def test_bad_input(x, t, message):
    with pytest.raises(ValueError, match=message):
        nn.gradcheck(net_with(), nn.CrossEntropy(), x, t)


@pytest.mark.parametrize("before", [nn.Sigmoid, nn.Tanh, nn.ReLU, nn.Softmax])
@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("device", DEVICES)
def test_a_layer_may_return_the_very_gradient_that_it_was_given(before, in_place, device):
    class Halved(nn.Layer):
        def forward(self, x, out=None):
            return x / 2 if in_place else x

        def backward(self, grad, out=None):
            if in_place and out is not None:
                grad /= 2
                return grad
            return grad / 2 if in_place else grad

    layers = [nn.Linear(3, 4), before(), Halved(), nn.Sigmoid(), nn.Linear(4, 2), nn.Softmax()]
    nn.gradcheck(nn.Sequential(*layers, seed=0, device=device), nn.CrossEntropy(), X, T, raise_above=1e-7)


class Frugal(nn.Layer):
    """y = s tanh(x), without `out` in the place of x; its backward works in the place of what forward kept."""

    def __init__(self, inputs):
        self.inputs, self.parameters = inputs, {"factor": np.linspace(0.5, 1.5, inputs)}

    def forward(self, x, out=None):
        self.kept = np.tanh(x, out=x if out is None else None)
        return np.multiply(self.kept, self.parameters["factor"], out=out)

    def backward(self, grad, out=None):
        np.sum(np.multiply(self.kept, grad), axis=0, out=self.gradients["factor"])
        np.multiply(self.kept, self.kept, out=self.kept)
        np.subtract(1, self.kept, out=self.kept)
        np.multiply(grad, self.kept, out=grad)
        return np.multiply(grad, self.parameters["factor"], out=out)


@pytest.mark.parametrize("position", range(3))
def test_a_layer_may_use_up_what_is_its_own(position):
    def layers_with(last):
        layers = [nn.Linear(3, 3), nn.Linear(3, 3), last, nn.Linear(3, 2)]
        layers.insert(position, Frugal(3))
        return layers

    nn.gradcheck(nn.Sequential(*layers_with(nn.Tanh()), seed=0), nn.Quadratic(), X, np.eye(2), raise_above=1e-7)
    net = nn.Sequential(*layers_with(WrongSign()), seed=0)
    cause = nn.gradcheck(net, nn.Quadratic(), X, np.eye(2)).cause
    assert cause.startswith("the backward of layer 3, WrongSign(), is not the derivative of its forward"), cause


class Broken(nn.Layer):
    """y = x, with something left out."""

    def __init__(self, forward=lambda x: x, backward=lambda grad: grad):
        self._forward, self._backward = forward, backward

    def forward(self, x, out=None):
        return self._forward(x)

    def backward(self, grad, out=None):
        return self._backward(grad)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"forward": lambda x: None}, r"forward of layer 1, .* shape \(4, 3\), got None: is its return missing\?$"),
        ({"forward": lambda x: x[:, 0]}, r"forward of layer 1, .* shape \(4, 3\), got one of shape \(4,\)$"),
        ({"forward": lambda x: x.sum()}, r"forward of layer 1, .* shape \(4, 3\), got one of shape \(\)$"),
        ({"backward": lambda grad: None}, r"backward of layer 1, .* shape \(4, 3\), got None: is its return"),
        ({"backward": lambda grad: grad.T}, r"backward of layer 1, .* shape \(4, 3\), got one of shape \(3, 4\)$"),
    ],
)
def test_a_layer_that_returns_nothing_or_another_shape_is_named(broken, message):
    net = nn.Sequential(nn.Linear(2, 3), Broken(**broken), nn.Linear(3, 2), seed=0)
    with pytest.raises(nn.GradientError, match=message):
        nn.gradcheck(net, nn.Quadratic(), np.ones((4, 2)), np.ones((4, 2)))


class Replacing(Scale):
    """A Scale with a new array for dE/ds, where the network's own should be filled."""

    def backward(self, grad, out=None):
        dx = super().backward(grad, out)
        self.gradients["factor"] = self.gradients["factor"].copy()
        return dx


def test_a_gradient_that_is_replaced_and_not_filled_is_named():
    net = nn.Sequential(nn.Linear(2, 3), Replacing(3), nn.Linear(3, 2), seed=0)
    with pytest.raises(nn.GradientError, match=r"Replacing\(3\), replaces gradients\['factor'\].*write into it"):
        nn.gradcheck(net, nn.Quadratic(), np.ones((4, 2)), np.ones((4, 2)))


class Shifted(nn.Layer):
    """y = s x + c, of which one gradient is not filled."""

    def __init__(self, inputs, missing=None):
        self.inputs, self.missing = inputs, missing
        self.parameters = {name: np.ones(inputs) for name in ("factor", "shift")}

    def forward(self, x, out=None):
        self.x = x
        return np.add(x * self.parameters["factor"], self.parameters["shift"], out=out)

    def backward(self, grad, out=None):
        for name, gradient in (("factor", grad * self.x), ("shift", grad)):
            if name != self.missing:
                np.sum(gradient, axis=0, out=self.gradients[name])
        return np.multiply(grad, self.parameters["factor"], out=out)


@pytest.mark.parametrize("missing", ["factor", "shift", None])
@pytest.mark.parametrize("first", [True, False])
def test_each_gradient_that_is_not_filled_is_named(missing, first):
    layers = [nn.Linear(3, 3), Shifted(3, missing)][:: -1 if first else 1]
    net = nn.Sequential(*layers, nn.Linear(3, 2), seed=0)
    if missing is None:
        nn.gradcheck(net, nn.Quadratic(), np.ones((4, 3)), np.ones((4, 2)), raise_above=1e-7)
        return
    with pytest.raises(nn.GradientError, match=rf"adds to gradients\['{missing}'\], or leaves there what was there"):
        nn.gradcheck(net, nn.Quadratic(), np.ones((4, 3)), np.ones((4, 2)))


@settings(max_examples=max(1, EXAMPLES // 2))
@given(case=cases(), samples=st.integers(1, 5))
def test_a_right_network_is_never_blamed(case, samples):
    assume(clear_of_kinks(case.net, case.x))
    report = nn.gradcheck(case.net, case.cost, case.x, case.t, samples=samples)
    assert report.central.error <= 1e-7, report
    assert report.cause == ""
    sizes = [a.size for layer in case.net.layers for a in layer.parameters.values()] + [case.x.size]
    assert (report.checked, report.total) == (sum(min(samples, size) for size in sizes), sum(sizes))
    assert ("derivatives" in repr(report)) == (report.checked < report.total)
    with pytest.raises(nn.GradientError) as caught:  # also if somebody asks for more than there can be
        nn.gradcheck(case.net, case.cost, case.x, case.t, samples=samples, raise_above=-1)
    assert re.fullmatch(r"gradcheck: relative error .* at .*\n    analytic .*, numerical \S+", str(caught.value))


class Mean(Scale):
    """A Scale with the mean over the batch in place of the sum."""

    def backward(self, grad, out=None):
        dx = super().backward(grad, out)
        self.gradients["factor"] /= len(grad)
        return dx


class Adding(Scale):
    def backward(self, grad, out=None):
        self.gradients["factor"] += np.sum(grad * self.x, axis=0)
        return np.multiply(grad, self.parameters["factor"], out=out)


class Silent(Scale):
    """A Scale that leaves its gradient as it is."""

    def backward(self, grad, out=None):
        return np.multiply(grad, self.parameters["factor"], out=out)


class Noisy(nn.Layer):
    """A dropout that does not ask whether it is being trained."""

    rng = np.random.default_rng(0)

    def forward(self, x, out=None):
        self.kept = self.rng.random(x.shape)
        return np.multiply(x, self.kept, out=out)

    def backward(self, grad, out=None):
        return np.multiply(grad, self.kept, out=out)


class NoisyKeeping(Noisy):
    """The same, always in the same array."""

    def forward(self, x, out=None):
        if out is None:
            out = self.kept_output = getattr(self, "kept_output", np.empty_like(x))
        return super().forward(x, out)


class NoisyBackward(nn.Tanh):
    def backward(self, grad, out=None):
        return np.multiply(grad, Noisy.rng.random(grad.shape), out=out)


class Rounding(nn.Tanh):
    """A tanh in float32."""

    analytic = False

    def forward(self, x, out=None):
        return super().forward(np.asarray(x, np.float32), out)


class RoundingInput(Scale):
    """A Scale that rounds x, and returns float64."""

    def forward(self, x, out=None):
        return super().forward(x.astype(np.float32), out)


class InPlace(nn.Layer):
    def forward(self, x, out=None):
        x *= 2
        return x

    def backward(self, grad, out=None):
        return np.multiply(grad, 2, out=out)


class OutNeeded(nn.Layer):
    def forward(self, x, out):
        np.copyto(out, x)
        return out

    def backward(self, grad, out=None):
        return np.multiply(grad, 1, out=out)


class OutWritten(nn.Layer):
    def forward(self, x, out=None):
        return np.multiply(x, 1, out=out)

    def backward(self, grad, out=None):
        out[...] = grad
        return out


NOT_THE_DERIVATIVE = "the backward of {layer}, is not the derivative of its forward:\n    along a random direction of "
FAULTS = {
    WrongSign(): NOT_THE_DERIVATIVE + "its input, backward gives",
    Mean(4): NOT_THE_DERIVATIVE + "factor, backward gives",
    Scale(4, mistake=1e-6): NOT_THE_DERIVATIVE + "factor, backward gives",
    Rounding(): "{layer}, rounds to float32",
    RoundingInput(4): "{layer}, rounds to float32",
    Adding(4): "the backward of {layer}, adds to gradients['factor'], or leaves there what was there before: write",
    Silent(4): "the backward of {layer}, adds to gradients['factor'], or leaves there what was there before: write",
    Noisy(): "the forward of {layer}, gives two results for the same numbers",
    NoisyKeeping(): "the forward of {layer}, gives two results for the same numbers",
    NoisyBackward(): "the backward of {layer}, gives two results for the same numbers",
    InPlace(): "the forward of {layer}, changes its input",
    OutNeeded(): "the forward of {layer}, works only with `out` (TypeError: OutNeeded.forward() missing 1 required",
    OutWritten(): "the backward of {layer}, works only with `out` (TypeError: 'NoneType' object does not support item",
}


@pytest.mark.parametrize("position", range(4))
@pytest.mark.parametrize("fault", FAULTS, ids=lambda layer: type(layer).__name__)
def test_the_fault_and_the_layer_are_named(fault, position):
    layers = [nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Softmax()]
    layers.insert(position, copy.deepcopy(fault))
    x, t = np.random.default_rng(0).normal(size=(5, 4)), np.arange(5) % 4
    with pytest.raises(nn.GradientError, match=re.escape(FAULTS[fault].format(layer=f"layer {position}, {fault!r}"))):
        nn.gradcheck(nn.Sequential(*layers, seed=0), nn.CrossEntropy(), x, t, raise_above=1e-7)


@pytest.mark.parametrize("device", DEVICES)
def test_a_layer_that_needs_out_is_named_wherever_it_is(device):
    net = nn.Sequential(nn.Linear(3, 2), OutNeeded(), seed=0, device=device)
    with pytest.raises(nn.GradientError, match=r"the forward of layer 1, OutNeeded\(\), works only with `out`"):
        nn.gradcheck(net, nn.Quadratic(), X, np.eye(2))


def test_only_the_first_layer_is_asked_for_the_gradients_of_its_parameters_alone():
    class Never(nn.Linear):
        def backward_parameters(self, grad):
            raise AssertionError

        def backward(self, grad, out=None):
            super().backward_parameters(grad)
            return np.matmul(grad, self.weight.T, out=out)

    net = nn.Sequential(nn.Linear(3, 3), Never(3, 2), nn.Linear(2, 2), seed=0)
    nn.gradcheck(net, nn.Quadratic(), X, np.eye(2), raise_above=1e-7)


@pytest.mark.parametrize("fault", [WrongSign(), Mean(128), Rounding(), Adding(128), Noisy()], ids=repr)
def test_the_fault_is_named_from_a_few_derivatives_of_a_network_for_images(fault):
    expected = next(text for layer, text in FAULTS.items() if type(layer) is type(fault))
    net = nn.Sequential(nn.Linear(784, 128), copy.deepcopy(fault), nn.Linear(128, 10), nn.Softmax(), seed=0)
    images = np.random.default_rng(0).integers(256, size=(5, 28, 28), dtype=np.uint8)
    with pytest.raises(nn.GradientError, match=re.escape(expected.format(layer=f"layer 1, {fault!r}"))):
        nn.gradcheck(net, nn.CrossEntropy(), images, np.arange(5), raise_above=1e-7, samples=3)


def test_one_wrong_number_among_many_is_found_though_it_is_not_in_the_sample():
    class Blot(nn.Linear):
        def backward_parameters(self, grad):
            super().backward_parameters(grad)
            self.gradients["weight"][7, 3] *= 1.01

    net = nn.Sequential(Blot(100, 20), nn.Softmax(), seed=0)
    x, t = np.random.default_rng(0).normal(size=(5, 100)), np.arange(5)
    message = (
        r"at layer 0, Blot\(100, 20\), weight, in a random direction\n.*\n"
        r"    the backward of layer 0, Blot\(100, 20\), is not the derivative of its forward:\n    along a random "
    )
    with pytest.raises(nn.GradientError, match=message):
        nn.gradcheck(net, nn.CrossEntropy(), x, t, raise_above=1e-7, samples=2)


def test_a_layer_with_steps_is_right_if_its_gradient_is_zero():
    class Step(nn.Layer):
        def forward(self, x, out=None):
            return np.greater(x, 0, out=out)  # without `out` these are no numbers

        def backward(self, grad, out=None):
            return np.multiply(grad, 0, out=out)

    net = nn.Sequential(nn.Linear(3, 4), Step(), nn.Linear(4, 2), nn.Softmax(), seed=0)
    nn.gradcheck(net, nn.CrossEntropy(), X, T, raise_above=1e-7)
    with pytest.raises(nn.GradientError, match=r"numerical \S+$"):
        nn.gradcheck(net, nn.CrossEntropy(), X, T, raise_above=-1)


def test_an_error_of_a_layers_own_is_passed_on():
    class Failing(nn.Layer):
        def forward(self, x, out=None):
            raise ZeroDivisionError("of the layer" if out is None else "again")

    with pytest.raises(ZeroDivisionError, match="of the layer") as caught:
        nn.gradcheck(net_with(Failing()), nn.CrossEntropy(), X, T)
    assert caught.value.__suppress_context__


def test_an_error_up_to_the_limit_is_accepted():
    net = net_with(WrongSign())
    report = nn.gradcheck(net, nn.CrossEntropy(), X, T)
    limit = max(report.central.error, report.complex_step.error)
    assert nn.gradcheck(net, nn.CrossEntropy(), X, T, raise_above=limit).cause == ""
    with pytest.raises(nn.GradientError, match=r"relative error .*\n.*\n    the backward of layer 1"):
        nn.gradcheck(net, nn.CrossEntropy(), X, T, raise_above=0)
    net = net_with(Scale(2, mistake=1e-3))  # with central differences alone
    limit = nn.gradcheck(net, nn.CrossEntropy(), X, T).central.error
    assert nn.gradcheck(net, nn.CrossEntropy(), X, T, raise_above=limit).cause == ""


class Slanted(nn.Cost):
    """E = slope times the sum of y."""

    def __init__(self, slope):
        self.slope = slope

    def value(self, y, t, out=None):
        return self.slope * y.sum()

    def gradient(self, y, t, out=None):
        return np.full_like(y, self.slope)


@pytest.mark.parametrize("slope", [0.01, 0.25, 3.0, -0.25, -3.0])
@pytest.mark.parametrize("mistake", [1e-3, 0.5, -0.5, 20.0])
@pytest.mark.parametrize("x", [0.03125, -0.5, 1.5])
def test_an_error_is_relative_to_the_derivative_or_to_a_tenth_of_the_largest_or_of_one(slope, mistake, x):
    class Off(nn.Linear):
        def backward_parameters(self, grad):
            super().backward_parameters(grad)
            self.gradients["weight"] += mistake

    net = nn.Sequential(Off(1, 1), dtype="float64")
    net.parameters = [1.0, 0.0]
    found = nn.gradcheck(net, Slanted(slope), [[x]], [[0.0]]).central
    derivative = slope * x  # by the weight; by the bias and by x it is the slope
    largest = max(1, abs(slope), abs(derivative + mistake))
    error = abs(mistake) / max(abs(derivative), abs(derivative + mistake), 0.1 * largest)
    where = "layer 0, Off(1, 1), weight[0, 0]"
    assert found == (pytest.approx(error), where, pytest.approx(derivative + mistake), pytest.approx(derivative))
    assert {type(value) for value in (found.error, found.analytic, found.numerical)} == {float}


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
def test_a_batch_is_taken_as_the_network_takes_it(dtype):
    x, net = np.array([[0, 255, 51], [102, 3, 7]], dtype), net_with(nn.Tanh())
    taken = x / (255 if dtype == "uint8" else 1)
    assert nn.gradcheck(net, nn.CrossEntropy(), x, T) == nn.gradcheck(
        net, nn.CrossEntropy(), taken, T, raise_above=1e-7
    )


@pytest.mark.parametrize("samples", range(1, 7))
def test_a_sample_has_no_derivative_twice(samples):
    class Noting(nn.Quadratic):
        analytic = False
        seen = set()

        def value(self, y, t, out=None):
            self.seen.add(round(100 * float(y[0, 0]), 6))
            return super().value(y, t, out)

    net, x = nn.Sequential(nn.Linear(6, 1, bias=False)), 3.0 ** np.arange(6)
    net.parameters = 0
    nn.gradcheck(net, Noting(), x[None], [[1.0]], samples=samples)
    assert len(Noting.seen & {*x}) == samples  # a step of 0.01 of one weight alone gives 0.01 times its input


def test_mistakes_that_cancel_along_equal_numbers_are_found():
    class Twisted(nn.Linear):
        def backward_parameters(self, grad):
            super().backward_parameters(grad)
            self.gradients["weight"][7:9, 0] += [1e-3, -1e-3]

    net, x = nn.Sequential(Twisted(100, 1), seed=0), np.random.default_rng(0).normal(size=(5, 100))
    with pytest.raises(nn.GradientError, match=r"weight, in a random direction"):
        nn.gradcheck(net, nn.Quadratic(), x, np.ones((5, 1)), raise_above=1e-7, samples=2)


@pytest.mark.parametrize("device", DEVICES)
def test_a_network_without_a_width_is_judged(device):
    nn.gradcheck(nn.Sequential(nn.Softmax(), device=device), nn.CrossEntropy(), X, [0, 2], raise_above=1e-7)


def test_a_sample_is_the_same_each_time():
    first, second = (nn.gradcheck(net_with(nn.Tanh()), nn.CrossEntropy(), X, T, samples=2) for _ in range(2))
    assert first == second
    assert repr(first) == (
        f"central differences: {first.central}\ncomplex step: {first.complex_step}\n"
        "6 of 14 derivatives, and one along all numbers of each large array"
    )


@pytest.mark.parametrize("samples", [0, -1, 1.5, True, "50"])
def test_samples_that_are_no_number_of_derivatives(samples):
    with pytest.raises(ValueError, match=r"^gradcheck: samples must be a whole number of at least 1"):
        nn.gradcheck(net_with(), nn.CrossEntropy(), X, T, samples=samples)


@pytest.mark.parametrize(
    ("layers", "where", "who", "right"),
    [
        ([nn.Linear(1, 1), nn.ReLU()], "layer 0, Linear(1, 1), bias[0]", "layer 1, ReLU(),", -1),
        ([nn.ReLU(), nn.Linear(1, 1)], "x[0, 0]", "layer 0, ReLU(),", -2),
    ],
)
def test_a_kink_is_told_with_both_derivatives(layers, where, who, right):
    net = nn.Sequential(*copy.deepcopy(layers), dtype="float64")
    net.parameters = [2.0, 0.0]
    report = nn.gradcheck(net, nn.Quadratic(), [[0.0]], [[1.0]])
    assert report.central.where == where
    told = f"{who} has a kink here: from the left, this derivative is 0, from the right {right}. Move x away"
    assert report.cause == told
    with pytest.raises(nn.GradientError, match=re.escape(f" at {where}\n") + ".*\n    " + re.escape(told)):
        nn.gradcheck(net, nn.Quadratic(), [[0.0]], [[1.0]], raise_above=1e-7)
    nn.gradcheck(net, nn.Quadratic(), [[0.05]], [[1.0]], raise_above=1e-7)  # x is moved away


def test_a_kink_elsewhere_is_not_taken_for_the_cause():
    net = nn.Sequential(nn.ReLU(), nn.Linear(3, 4), WrongSign(), nn.Linear(4, 2), nn.Softmax(), seed=0)
    x = np.array([[0.0, 1.0, 2.0], [1.0, -1.0, 0.5]])
    assert nn.gradcheck(net, nn.CrossEntropy(), x, T).cause.startswith("the backward of layer 2, WrongSign(), is not")


def test_a_layer_that_gives_nothing_but_zeros_is_not_blamed():
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), WrongSign(), nn.Linear(4, 2), nn.Softmax(), seed=0)
    net.layers[0].bias = -100
    assert nn.gradcheck(net, nn.CrossEntropy(), X, T).cause.startswith("the backward of layer 3, WrongSign(), is not")


@pytest.mark.parametrize("width", [1, 3])
def test_the_first_of_several_faults_is_named_also_if_it_is_the_last_layers(width):
    net = nn.Sequential(nn.Linear(3, width), WrongSign(), seed=0)
    cause = nn.gradcheck(net, Absolute(2), X, np.zeros((2, width))).cause
    assert cause.startswith("the backward of layer 1, WrongSign(), is not the derivative of its forward")
    net = nn.Sequential(Mean(3), nn.Linear(3, 3), Mean(3), nn.Linear(3, width), seed=0)
    cause = nn.gradcheck(net, nn.Quadratic(), X, np.zeros((2, width))).cause
    assert cause.startswith("the backward of layer 0, Mean(3), is not the derivative of its forward")


def test_a_kink_is_told_also_if_its_layer_has_a_larger_fault():
    class Wrong(nn.ReLU):
        def backward(self, grad, out=None):
            return np.multiply(super().backward(grad), 1.5, out=out)

    report = nn.gradcheck(nn.Sequential(Wrong()), Slanted(1.0), [[0.0, *[5.0] * 60]], np.zeros((1, 61)))
    assert report.central.where == "x[0, 0]"
    assert report.cause == "there is a kink here: from the left, this derivative is 0, from the right 1. Move x away"


def test_a_sigmoid_that_saturates_gives_no_warning():
    net = nn.Sequential(nn.Linear(1, 1), nn.Sigmoid(), nn.Linear(1, 1), seed=0)
    net.parameters = [-1000, 0, 1, 0]
    nn.gradcheck(net, nn.Quadratic(), [[1.0]], [[1.0]], raise_above=1e-7)


def test_a_last_layer_that_leaves_its_derivative_to_the_cost_needs_no_backward():
    class Shifted(nn.Layer):
        def forward(self, x, out=None):
            return np.add(x, 1, out=out)

    class ShiftedQuadratic(Pair):
        def error(self, z, y, t, out=None, dy=None):
            return self.cost.gradient(y, t, out)

    class Cost(nn.Quadratic):
        def pair(self, layers):
            return ShiftedQuadratic(self, layers[-1])

    nn.gradcheck(nn.Sequential(nn.Linear(3, 2), Shifted(), seed=0), Cost(), X, T, raise_above=1e-7)


class Absolute(nn.Cost):
    """E = 1/n sum |y - t|, with a factor in its gradient that should be 1."""

    def __init__(self, factor):
        self.factor = factor

    def value(self, y, t, out=None):
        return np.abs(y - t).sum() / len(y)

    def gradient(self, y, t, out=None):
        return np.multiply(np.where(y < t, -1, 1), self.factor / len(y), out=out)


def test_a_cost_is_named_too():
    report = nn.gradcheck(net_with(), Absolute(2), X, T)
    assert report.cause.startswith(
        "the gradient of Absolute() is not the derivative of its value:\n    along a random direction of z"
    )
    assert nn.gradcheck(net_with(), Absolute(1), X, T, raise_above=1e-7).cause == ""
    net = nn.Sequential(nn.Linear(1, 1), seed=0)
    net.parameters = [1.0, 0.0]
    report = nn.gradcheck(net, Absolute(1), [[1.0]], [[1.0]])
    assert (
        report.cause
        == "Absolute() has a kink here: from the left, this derivative is -1, from the right 1. Move x away"
    )


@pytest.mark.parametrize("limit", [1e-9, 0])
def test_a_backward_in_float32_is_told_by_the_size_of_the_error(limit):
    class Single(nn.Tanh):
        def backward(self, grad, out=None):
            y = self.y.astype(np.float32)
            return np.multiply(grad, 1 - y * y, out=out)

    with pytest.raises(nn.GradientError, match=r"numerical .*\n    rounding to float32 leaves errors of this size"):
        nn.gradcheck(net_with(Single()), nn.CrossEntropy(), X, T, raise_above=limit)


@pytest.mark.skipif(REAL_GPU, reason="the stand-in has as little memory as it is told")
def test_too_little_memory_on_the_gpu_says_what_to_do():
    class Wide(nn.Layer):
        """Needs ten times as much on the way as its input and output have."""

        def forward(self, x, out=None):
            return np.multiply(x, np.concatenate([x] * 10).size / x.size / 10, out=out)

    net = nn.Sequential(nn.Linear(3, 2), Wide(), device="gpu")
    strict.transfers.limit = 200
    try:
        with pytest.raises(nn.DeviceError, match=r"too little memory: Out of memory .*\. Free some of it"):
            nn.gradcheck(net, nn.Quadratic(), X, np.ones((2, 2)))
    finally:
        strict.transfers.clear()


def test_a_network_is_judged_as_outside_training():
    class Dropout(Noisy):
        def forward(self, x, out=None):
            return super().forward(x, out) if self.training else np.multiply(x, 1, out=out)

        def backward(self, grad, out=None):
            return np.multiply(grad, self.kept if self.training else 1, out=out)

    net = nn.Sequential(Dropout(), nn.Linear(3, 2), Dropout(), nn.Tanh(), Dropout(), seed=0)
    for layer in net.layers:
        layer.training = True  # as in a callback, say
    nn.gradcheck(net, nn.Quadratic(), X, np.eye(2), raise_above=1e-7)
    assert all(layer.training for layer in net.layers)


def test_a_long_check_says_so_and_what_to_do():
    net = nn.Sequential(nn.Linear(784, 400), nn.Sigmoid(), nn.Linear(400, 2), nn.Softmax(), seed=0)
    warning = (
        r"gradcheck: 315,586 derivatives will take \d+ minutes or more: samples=50, say, compares 50 of each array"
    )
    with pytest.raises(UserWarning, match=warning):  # every warning is an error in tests
        nn.gradcheck(net, nn.CrossEntropy(), np.ones((1, 784)), [1])


def test_the_warning_is_of_the_line_that_called_gradcheck(monkeypatch):
    monkeypatch.setattr(module, "_LONG", 0)
    with pytest.warns(UserWarning, match="derivatives will take") as caught:
        nn.gradcheck(nn.Sequential(nn.Linear(5, 5), seed=0), nn.Quadratic(), np.ones((1, 5)), np.ones((1, 5)))
    assert caught[0].filename == __file__


def test_a_long_check_is_told_in_minutes(monkeypatch):
    class Slow(nn.Quadratic):
        def value(self, y, t, out=None):
            time.sleep(2e-3)
            return super().value(y, t, out)

    monkeypatch.setattr(module, "_LONG", 1)
    net = nn.Sequential(nn.Linear(119, 119), nn.Linear(119, 5), seed=0)
    started = time.perf_counter()
    with pytest.raises(UserWarning, match="14,999 derivatives will take") as caught:
        nn.gradcheck(net, Slow(), np.ones((1, 119)), np.ones((1, 5)))
    longest = 14_999 * (time.perf_counter() - started) / 10  # the tenth part of which is known
    shortest = 14_999 * 4 * 2e-3  # each takes four values at least
    minutes = int(re.search(r"will take (\d+) minutes", str(caught.value))[1])
    assert shortest - 30 <= 60 * minutes <= longest + 30


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_is_shown_on_a_terminal_if_the_check_takes_long(terminal, monkeypatch, capfd):
    error = io.StringIO()
    error.isatty = lambda: terminal
    monkeypatch.setattr(sys, "stderr", error)
    nn.gradcheck(net_with(), nn.CrossEntropy(), X, T)
    assert error.getvalue() == ""
    monkeypatch.setattr(module, "_BAR_AFTER", 0)
    nn.gradcheck(net_with(), nn.CrossEntropy(), X, T)
    assert ("gradcheck:" in error.getvalue()) == (" derivatives" in error.getvalue()) == terminal
    assert error.getvalue().rpartition("\n")[2].endswith("\r" * terminal)  # nothing of it is left
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("size", [1.0, 1000.0])
@pytest.mark.parametrize(
    ("analytic", "numerical", "left", "right", "kind"),  # of a derivative of size 1
    [
        (1, 1, 1, 1, ""),
        (1 + 5e-8, 1, 1, 1, ""),
        (1 + 2e-7, 1, 1, 1, "wrong"),
        (1, 1, 1 + 5e-4, 1 + 5e-4, ""),
        (1, 1, 1 + 1.5e-3, 1 + 1.5e-3, "float32"),
        (1, 1, 1 - 1.5e-3, 1 - 1.5e-3, "float32"),
        (1, 0, 5e-4, 5e-4, "wrong"),
        (-1, 0.05, 0.0497, 0.0497, "wrong"),
        (0.05, -1, -0.9997, -0.9997, "wrong"),
        (0, 1, 1 + 5e-4, 1 + 5e-4, "wrong"),
        (1 + 2e-6, 1, 1 - 2.5e-6, 1 + 2.5e-6, "wrong"),
        (1 + 2e-6, 1, 1 - 7.5e-6, 1 + 7.5e-6, "kink"),
        (1 + 2e-6, 1, 1 + 7.5e-6, 1 - 7.5e-6, "kink"),
        (1.5, 1, 0.9, 1.1, "wrong"),
        (1.5, 1, 0.5, 1.5, "kink"),
        (1, 1, 0.5, 1.5, ""),
    ],
)
def test_what_a_derivative_and_its_slopes_are_signs_of(analytic, numerical, left, right, kind, size, sign):
    assert module._kind(*(float(sign * size * number) for number in (analytic, numerical, left, right))) == kind


STEPS = [(-2 * h, -h, h, 2 * h) for h in (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)]


@pytest.mark.parametrize(
    ("value", "steps"),
    [
        (lambda h: h, 1),
        *((lambda h, cubic=cubic: h + cubic * h**3, 1) for cubic in (0.9e-5, -0.9e-5)),
        *((lambda h, cubic=cubic: h + cubic * h**3, 2) for cubic in (1.5e-5, -1.5e-5, 100.0, -100.0)),
        *((lambda h, cubic=cubic: 10 * h + cubic * h**3, 1) for cubic in (0.9e-4, -0.9e-4)),
        *((lambda h, sign=sign, c=c: sign * h + c, 1) for sign in (1, -1) for c in (6e3, -6e3)),
        *((lambda h, sign=sign, c=c: sign * h + c, 5) for sign in (1, -1) for c in (1.5e4, -1.5e4)),
        (lambda h: abs(h) ** 0.5 * np.sign(h), 5),
    ],
)
def test_smaller_steps_are_tried_until_the_derivative_is_hardly_in_doubt(value, steps):
    tried = []
    module._central(lambda h: (tried.append(h), value(h))[1])
    np.testing.assert_allclose(tried, np.ravel(STEPS[:steps]), rtol=1e-12)


def test_the_slopes_are_those_of_a_step_that_float32_mostly_does_not_notice():
    tried = []
    _, left, right = module._slopes(lambda h: (tried.append(h), abs(h) + 2 * h)[1])
    np.testing.assert_allclose(tried[:3], [-1e-7, 0, 1e-7], rtol=1e-12)
    assert (left, right) == pytest.approx((1, 3))


class Tiny(nn.Layer):
    """Numbers of the size of 1e-9, with a backward that is right or not."""

    def __init__(self, wrong):
        self.wrong = wrong

    def forward(self, x, out=None):
        return np.multiply(x, 1e-9, out=out)

    def backward(self, grad, out=None):
        return np.multiply(grad, -1e-9 if self.wrong else 1e-9, out=out)


@pytest.mark.parametrize("wrong", [True, False])
def test_a_layer_of_tiny_numbers_is_judged_as_others_are(wrong):
    net = nn.Sequential(nn.Linear(3, 2), Tiny(wrong), nn.Linear(2, 2), dtype="float64", seed=0)
    net.layers[2].weight *= 1e9
    report = nn.gradcheck(net, nn.Quadratic(), X, np.eye(2))
    assert report.cause.startswith("the backward of layer 1, Tiny(), is not the derivative" * wrong)
    assert bool(report.cause) == wrong
    if wrong:  # the derivatives that are told are of a sum of size 1, whatever the size of the layer's numbers
        backward, forward = map(float, re.search("backward gives (.*), forward (.*)", report.cause).groups())
        assert backward == pytest.approx(-forward, rel=1e-5)
        assert 0.05 < abs(forward) < 5


@pytest.mark.parametrize("numerical", [0, 1e-3, -1e-3])
def test_a_small_derivative_is_judged_by_its_distance_alone(numerical):
    for error, kind in ((5e-9, ""), (2e-8, "wrong")):
        assert module._kind(numerical + error, numerical, numerical, numerical) == kind


@pytest.mark.parametrize(
    ("error", "analytic", "told"),
    [
        *((error, 1.0, "") for error in (0, 9e-9, 1.1e-6, 1)),
        *((error, sign, "rounding to float32") for error in (1.5e-8, 9e-7) for sign in (1.0, -1.0)),
        (5e-7, 0.0, ""),
    ],
)
def test_an_error_of_the_size_of_roundings_is_said_to_be_one(error, analytic, told):
    worst = module.Comparison(error, "x[0]", analytic, analytic)
    assert module._cause(worst, (analytic,) * 3, []).startswith(told)
    assert bool(module._cause(worst, (analytic,) * 3, [])) == bool(told)


def test_of_several_faults_the_first_that_fits_is_told():
    faults = [("kink", "a kink"), ("wrong", "a fault"), ("kink", "another"), ("float32", "a third")]
    wrong, kink = module.Comparison(0.5, "x[0]", 2.0, 1.0), module.Comparison(0.5, "x[0]", 1.5, 1.0)
    assert module._cause(wrong, (1.0, 1.0, 1.0), faults) == "a fault"
    assert module._cause(wrong, (1.0, 1.0, 1.0), faults[:1]) == ""
    for known, who in ((faults, "a kink"), (faults[1:2], "there is a kink here")):
        told = f"{who}: from the left, this derivative is 0.5, from the right 1.5. Move x away"
        assert module._cause(kink, (1.0, 0.5, 1.5), known) == told


def test_how_long_a_check_takes_is_worked_out_from_its_first_ten_derivatives(monkeypatch):
    clock = iter([1000.9, 1037.5])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    with pytest.warns(UserWarning, match="gradcheck: 2,000 derivatives will take 122 minutes or more"):
        assert list(module._foreseen(range(2000))) == list(range(2000))
