import numpy as np
import pytest
from hypothesis import assume, given, settings

import numnet as nn

from .devices import DEVICES, host
from .networks import cases

EXAMPLES = settings().max_examples
KINK = 0.02  # central differences must not step over a ReLU's kink


def clear_of_kinks(net, x):
    y = x
    for layer in net.layers:
        if isinstance(layer, nn.ReLU) and np.abs(y).min() < KINK:
            return False
        y = layer.forward(y)
    return True


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=min(3 * EXAMPLES, max(300, EXAMPLES)))
@given(case=cases())
def test_every_gradient_of_any_chain(case, largest, device):
    assume(clear_of_kinks(case.net, case.x))
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
    with pytest.raises(nn.GradientError, match=r"layer 0, Short\(3, 2\), bias"):
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
    with pytest.raises(nn.GradientError, match="relative error"):
        nn.gradcheck(net_with(Absolute(), device=device), nn.CrossEntropy(), X, T, raise_above=1e-7)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3, 1e5])
@pytest.mark.parametrize("device", DEVICES)
def test_costs_of_any_size_can_be_judged(scale, device):
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1), seed=0, device=device)
    report = nn.gradcheck(net, nn.Quadratic(), X, T * scale, raise_above=1e-7)
    assert report.complex_step.error < 1e-12


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
    before = net.parameters.copy(), net.gradients.copy()
    nn.gradcheck(net, nn.CrossEntropy(), X, T)
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
