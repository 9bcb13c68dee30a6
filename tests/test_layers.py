import copy
import math
import pickle
import tracemalloc
from decimal import Decimal
from fractions import Fraction

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.special
from hypothesis import given

import numnet as nn

from .devices import DEVICES, host, place, where_rounding_differs

ELEMENTWISE = {
    nn.Sigmoid: scipy.special.expit,
    nn.Tanh: np.tanh,
    nn.ReLU: lambda x: np.where(x > 0, x, 0),
    nn.Softmax: lambda x: scipy.special.softmax(x, axis=1),
}
DTYPES = [np.float32, np.float64]


def on(device, layer):
    """Return the layer, its arrays on a device."""
    return nn.Sequential(layer, device=device).layers[0]


def batches(dtype, limit=None, min_features=1):
    width = np.dtype(dtype).itemsize * 8
    elements = (
        st.floats(-limit, limit, width=width)
        if limit
        else st.floats(allow_nan=False, allow_infinity=False, width=width)
    )
    shapes = st.tuples(st.integers(1, 5), st.integers(min_features, 5))
    return hnp.arrays(dtype, shapes, elements=elements)


@pytest.mark.parametrize("kind", ELEMENTWISE)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("device", DEVICES)
@given(data=st.data())
def test_forward_equals_scipy_for_any_finite_input(kind, dtype, data, device):
    x = data.draw(batches(dtype))
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        y = host(kind().forward(place(x, device)))
    with np.errstate(all="ignore"):
        expected = ELEMENTWISE[kind](x.astype(np.float64))
    assert y.dtype == dtype
    np.testing.assert_allclose(y, expected, rtol=16 * np.finfo(dtype).eps, atol=2 * np.finfo(dtype).tiny)


@pytest.mark.parametrize("kind", [nn.Sigmoid, nn.Softmax, nn.Tanh])
@pytest.mark.parametrize("device", DEVICES)
def test_no_overflow_at_ten_thousand_in_float32(kind, device):
    x = place(np.array([[1e4, -1e4], [-1e4, -1e4]], np.float32), device)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        layer = kind()
        y = layer.forward(x)
        dx = layer.backward(np.ones_like(y))
    assert np.isfinite(host(y)).all()
    assert np.isfinite(host(dx)).all()


@pytest.mark.parametrize("kind", [*ELEMENTWISE, nn.Linear])
@pytest.mark.parametrize("device", DEVICES)
@given(data=st.data())
def test_out_is_filled_with_the_same_bits_and_arguments_are_left_alone(kind, data, device):
    x = place(data.draw(batches(np.float64, limit=50)), device)
    layer = on(device, kind(x.shape[1], 3) if kind is nn.Linear else kind())
    before = x.copy()
    y = layer.forward(x)
    grad = place(data.draw(hnp.arrays(np.float64, y.shape, elements=st.floats(-5, 5))), device)
    grad_before = grad.copy()
    dx = layer.backward(grad)
    y_out, dx_out = np.full_like(y, np.nan), np.full_like(x, np.nan)
    for _ in range(2):  # the second time in arrays that have been used
        assert layer.forward(x, out=y_out) is y_out
        assert layer.backward(grad, out=dx_out) is dx_out
        np.testing.assert_array_equal(host(y_out), host(y))
        np.testing.assert_array_equal(host(dx_out), host(dx))
    np.testing.assert_array_equal(host(x), host(before))
    np.testing.assert_array_equal(host(grad), host(grad_before))
    assert not np.shares_memory(y, x)
    assert not np.shares_memory(dx, grad)


@pytest.mark.parametrize("kind", [nn.Sigmoid, nn.Tanh, nn.Softmax])
@pytest.mark.parametrize("device", DEVICES)
@given(data=st.data())
def test_complex_input_takes_the_same_road(kind, data, device):
    x = place(data.draw(batches(np.float64, limit=600)), device)
    np.testing.assert_allclose(host(kind().forward(x + 0j)), host(kind().forward(x)), rtol=1e-13, atol=1e-300)


@pytest.mark.parametrize("device", DEVICES)
def test_a_saturated_sigmoid_takes_a_complex_step(device):
    y = host(nn.Sigmoid().forward(place([[-1e4 + 1e-20j, 1e4 + 1e-20j]], device)))
    np.testing.assert_allclose(y, [[0, 1]], atol=1e-300)


@pytest.mark.parametrize("device", DEVICES)
@given(x=batches(np.float64, limit=1e3), shift=st.floats(-1e3, 1e3))
def test_softmax_rows_sum_to_one_and_ignore_a_shift(x, shift, device):
    y, shifted = (host(nn.Softmax().forward(place(array, device))) for array in (x, x + shift))
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-14)
    np.testing.assert_allclose(shifted, y, atol=1e-12)


@pytest.mark.parametrize("kind", [nn.Sigmoid, nn.Tanh, nn.ReLU, nn.Softmax])
@pytest.mark.parametrize("device", DEVICES)
def test_whole_numbers_are_as_good_as_floats(kind, device):
    x = place([[-3, 0, 2], [1, 1, 5]], device)
    np.testing.assert_array_equal(host(kind().forward(x)), host(kind().forward(x.astype(np.float64))))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, bool])
@pytest.mark.parametrize("device", DEVICES)
def test_numbers_without_a_sign_do_not_wrap_in_a_sigmoid(dtype, device):
    x = place(np.array([[0, 1]], dtype), device)
    np.testing.assert_allclose(host(nn.Sigmoid().forward(x)), scipy.special.expit([[0.0, 1.0]]), rtol=1e-3)


@pytest.mark.parametrize("device", DEVICES)
def test_softmax_of_a_gap_beyond_the_largest_float(device):
    x, out = (place(np.array([[3e38, -3e38]], np.float32), device) for _ in range(2))
    with np.errstate(over="raise"):
        np.testing.assert_array_equal(host(nn.Sequential(nn.Softmax(), device=device)(x)), [[1, 0]])
        np.testing.assert_array_equal(host(nn.Softmax().forward(x)), [[1, 0]])
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(host(nn.Softmax().forward(x, out=out)), [[1, 0]])


@pytest.mark.parametrize("device", DEVICES)
def test_a_layer_used_in_two_precisions_keeps_them_apart(device):
    layer = nn.Softmax()
    for dtype in (np.float32, np.float64):
        x = place(np.array([[1.0, 2.0]], dtype), device)
        y = layer.forward(x, out=np.full_like(x, np.nan))
        np.testing.assert_array_equal(host(y), host(nn.Softmax().forward(x)))


@pytest.mark.parametrize("device", DEVICES)
def test_relu_takes_slope_zero_at_its_kink(device):
    layer = nn.ReLU()
    layer.forward(place([[-1.0, 0.0, 2.0]], device))
    np.testing.assert_array_equal(host(layer.backward(place([[5.0, 5.0, 5.0]], device))), [[0, 0, 5]])


@pytest.mark.parametrize("device", DEVICES)
def test_linear_by_hand(device):
    layer = on(device, nn.Linear(2, 2))
    layer.weight, layer.bias = [[1, 2], [3, 4]], [10, 20]
    z = layer.forward(place([[1.0, 1.0], [2.0, 0.0]], device))
    np.testing.assert_array_equal(host(z), [[14, 26], [12, 24]])
    dx = layer.backward(place([[1.0, 0.0], [0.0, 1.0]], device))
    np.testing.assert_array_equal(host(dx), [[1, 3], [2, 4]])
    np.testing.assert_array_equal(host(layer.gradients["weight"]), [[1, 2], [1, 0]])
    np.testing.assert_array_equal(host(layer.gradients["bias"]), [1, 1])


@pytest.mark.parametrize("device", DEVICES)
@given(x=batches(np.float32, limit=10))
def test_linear_fills_the_same_gradients_without_the_input_gradient(x, device):
    layer = on(device, nn.Linear(x.shape[1], 2))
    grad = layer.forward(place(x, device))
    layer.backward(grad)
    both = {name: array.copy() for name, array in layer.gradients.items()}
    for array in layer.gradients.values():
        array.fill(np.nan)
    layer.backward_parameters(grad)
    for name, array in layer.gradients.items():
        np.testing.assert_array_equal(host(array), host(both[name]))


@pytest.mark.parametrize("device", DEVICES)
@given(x=batches(np.float64, limit=10), outputs=st.integers(1, 3))
def test_linear_without_a_bias_is_linear_with_a_bias_of_0(x, outputs, device):
    layer, other = (on(device, nn.Linear(x.shape[1], outputs, bias)) for bias in (False, True))
    other.weight, other.bias = layer.weight, 0
    x = place(x.astype(np.float32), device)
    z = layer.forward(x)
    least = {"rtol": 0, "atol": where_rounding_differs(device, 1e-37)}  # a GPU adds 0 to a denormal number and has 0
    np.testing.assert_allclose(host(z), host(other.forward(x)), **least)
    assert layer.forward(x, out=np.full_like(z, np.nan)) is not None
    np.testing.assert_allclose(host(layer.backward(z)), host(other.backward(z)), **least)
    np.testing.assert_allclose(host(layer.gradients["weight"]), host(other.gradients["weight"]), **least)
    assert layer.bias is None
    assert set(layer.parameters) == set(layer.gradients) == {"weight"}


@pytest.mark.parametrize("value", [2, 0.5, True, 2**70, Fraction(1, 2), Decimal("0.5"), np.float16(0.5)])
def test_a_number_of_any_kind_fills_a_parameter(value):
    layer = nn.Linear(2, 3)
    layer.weight = layer.bias = value
    np.testing.assert_array_equal(layer.weight, np.full((2, 3), float(value)))
    np.testing.assert_array_equal(layer.bias, np.full(3, float(value)))


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("x_dtype", DTYPES)
@pytest.mark.parametrize("grad_dtype", DTYPES)
def test_linear_fills_its_gradients_whatever_the_precisions_and_the_size_of_the_batch(n, x_dtype, grad_dtype):
    layer, rng = nn.Linear(4, 2), np.random.default_rng(n)
    x, grad = rng.normal(size=(n, 4)).astype(x_dtype), rng.normal(size=(n, 2)).astype(grad_dtype)
    layer.forward(x)
    layer.backward_parameters(grad)
    np.testing.assert_allclose(layer.gradients["weight"], x.T.astype(float) @ grad, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.gradients["bias"], grad.sum(axis=0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("x_dtype", DTYPES)
@pytest.mark.parametrize("grad_dtype", DTYPES)
def test_only_a_batch_of_one_in_one_precision_takes_the_product_that_is_quick_for_one(n, x_dtype, grad_dtype):
    layer, taken = nn.Linear(4, 2), []
    with pytest.MonkeyPatch.context() as patch:
        for name in ("outer", "product"):
            patch.setattr(nn.backend, name, lambda a, b, out, name=name: taken.append(name))
        layer.x = np.ones((n, 4), x_dtype)
        layer.backward_parameters(np.ones((n, 2), grad_dtype))
    assert taken == ["outer" if n == 1 and x_dtype == grad_dtype == np.float32 else "product"]


def test_linear_says_whether_it_has_a_bias():
    assert repr(nn.Linear(2, 3)) == repr(nn.Linear(2, 3, start=nn.starts.he)) == "Linear(2, 3)"
    assert repr(nn.Linear(2, 3, np.True_)) == "Linear(2, 3)"
    assert repr(nn.Linear(2, 3, bias=False)) == repr(nn.Linear(2, 3, np.False_)) == "Linear(2, 3, bias=False)"
    layer = nn.Linear(2, 3, bias=False)
    for values in (0, np.zeros(3)):
        with pytest.raises(
            ValueError, match=r"^Linear\(2, 3, bias=False\) has no bias to assign to: make the layer with"
        ):
            layer.bias = values
    layer.weight = 1
    np.testing.assert_array_equal(layer.weight, np.ones((2, 3)))


@pytest.mark.parametrize("bias", [0, 1, None, "yes", np.zeros(3), [0.0, 0.0, 0.0]])
def test_a_bias_is_there_or_not(bias):
    with pytest.raises(ValueError, match=r"^Linear: bias must be True or False, got .*: assign values to layer\.bias"):
        nn.Linear(2, 3, bias)


@pytest.mark.parametrize("start", ["he", 0.1, np.ones((2, 3)), True])
def test_a_start_is_a_function(start):
    with pytest.raises(ValueError, match=r"^Linear: start must be a function \(rng, shape\) -> weights, got "):
        nn.Linear(2, 3, start=start)


def test_linear_has_its_arrays_before_a_network_does():
    layer = nn.Linear(2, 3)
    for arrays in (layer.parameters, layer.gradients):
        assert {name: array.shape for name, array in arrays.items()} == {"weight": (2, 3), "bias": (3,)}
        assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}
    assert not any(array.any() for array in layer.gradients.values())


def test_the_sizes_of_a_linear_are_pythons_numbers():
    layer = nn.Linear(np.int64(2), np.uint8(3))
    assert (type(layer.inputs), type(layer.outputs)) == (int, int)


@pytest.mark.parametrize("inputs", [1, 100])
def test_linear_starts_uniform_within_one_over_root_inputs(inputs):
    layer = nn.Linear(inputs, 400)
    limit = inputs**-0.5
    for values in (layer.weight.ravel(), layer.bias):
        assert np.abs(values).max() <= limit
        # A uniform distribution on +-a has the standard deviation a/sqrt(3); 400 values keep it within 15 %.
        assert np.std(values) == pytest.approx(limit / 3**0.5, rel=0.15)


@pytest.mark.parametrize("size", [0, -1, 2.0, "2", True, None])
@pytest.mark.parametrize("name", ["inputs", "outputs"])
def test_linear_refuses_sizes_that_are_no_counts(name, size):
    with pytest.raises(ValueError, match=f"Linear: {name} must be a whole number of at least 1, got"):
        nn.Linear(**{"inputs": 1, "outputs": 1, name: size})


@pytest.mark.parametrize(
    ("inputs", "outputs", "shown"), [(None, None, ""), (2, None, "2"), (2, 3, "2, 3"), (None, 3, "")]
)
def test_a_layer_says_its_sizes_if_it_takes_a_size(inputs, outputs, shown):
    class Own(nn.Layer):
        pass

    Own.inputs, Own.outputs = inputs, outputs
    assert repr(Own()) == f"Own({shown})"


def test_a_layer_without_forward_says_so():
    class Empty(nn.Layer):
        pass

    with pytest.raises(NotImplementedError, match="Empty has no forward"):
        Empty().forward(np.ones((1, 1)))
    with pytest.raises(NotImplementedError, match="Empty has no backward"):
        Empty().backward(np.ones((1, 1)))


class Scale(nn.Layer):
    """A layer of one's own, written without `out`, that keeps its input by the name that numnet's layers use."""

    def __init__(self):
        self.parameters = {"factor": np.full(2, 3.0)}

    def forward(self, x):
        self.x = x
        return x * self.parameters["factor"]

    def backward(self, grad):
        np.sum(grad * self.x, axis=0, out=self.gradients["factor"])
        return grad * self.parameters["factor"]


def test_a_layer_written_without_out_can_be_given_one_and_fills_its_gradients_alone_too():
    layer, x = Scale(), np.array([[1.0, 2.0], [3.0, 5.0]])
    net = nn.Sequential(layer, dtype="float64")
    for places, named in (((), {}), ((np.empty_like(x),), {}), ((), {"out": np.empty_like(x)})):
        for method in (layer.forward, layer.backward):
            np.testing.assert_array_equal(method(x, *places, **named), 3 * x)
        np.testing.assert_array_equal(net.gradients, [10, 29])
        net.gradients = 0
        layer.backward_parameters(x)
        np.testing.assert_array_equal(net.gradients, [10, 29])


LAYERS = {**{kind: kind for kind in ELEMENTWISE}, nn.Linear: lambda: nn.Linear(2, 2), Scale: Scale}


def in_use(kind):
    """Return a layer that has gone forward and backward into arrays that it was given, and its input."""
    layer, x = LAYERS[kind](), np.array([[1.0, 2.0], [3.0, 5.0], [4.0, 4.0]], np.float32)
    layer.gradients = {name: np.zeros_like(array) for name, array in layer.parameters.items()}
    layer.backward(layer.forward(x, np.empty_like(x)), np.empty_like(x))
    return layer, x


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("again", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_a_copy_of_a_layer_leaves_out_the_last_batch_unless_the_layer_is_ones_own(kind, again):
    layer, x = in_use(kind)
    layer.mine = 7
    twin = again(layer)
    assert vars(twin).keys() == {*vars(LAYERS[kind]()), "mine", *(["x"] if kind is Scale else [])}
    for mine, other in ((layer.parameters, twin.parameters), (layer.gradients, twin.gradients)):
        assert mine.keys() == other.keys()
        assert not any(np.shares_memory(mine[name], other[name]) for name in mine)
    np.testing.assert_array_equal(twin.forward(x), layer.forward(x))


@pytest.mark.parametrize("kind", LAYERS)
def test_a_shallow_copy_of_a_layer_has_the_arrays_and_leaves_the_batch_of_the_layer_alone(kind):
    layer, x = in_use(kind)
    before = layer.backward(x)
    twin = copy.copy(layer)
    assert twin.parameters is layer.parameters
    assert twin.gradients is layer.gradients
    twin.forward(2 * x)
    np.testing.assert_array_equal(layer.backward(x), before)


@pytest.mark.parametrize("kind", [*ELEMENTWISE, nn.Linear])
def test_a_layer_that_is_told_where_to_write_takes_little_memory(kind):
    layer, out = LAYERS[kind](), np.ones((50_000, 2), np.float32)
    x, grad, dx = out.copy(), out.copy(), out.copy()
    layer.backward(layer.forward(x, out), dx)
    tracemalloc.start()
    try:
        layer.backward(layer.forward(x, out) is out and grad, dx)
        assert tracemalloc.get_traced_memory()[1] < len(x)  # for each sample less than a byte
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("kind", "probabilities", "limits", "analytic"),
    [
        (nn.Layer, None, None, False),
        (nn.Linear, None, None, True),
        (nn.Sigmoid, "independent", (0, 1), True),
        (nn.Tanh, None, (-1, 1), True),
        (nn.ReLU, None, (0, math.inf), False),
        (nn.Softmax, "distribution", (0, 1), True),
    ],
)
def test_what_each_layer_says_of_its_outputs(kind, probabilities, limits, analytic):
    assert (kind.probabilities, kind.range, kind.analytic) == (probabilities, limits, analytic)
    assert kind.in_network is kind.training is False
    assert kind.inputs is kind.outputs is None


def test_another_base_of_a_layer_learns_of_the_class_and_may_give_it_a_forward():
    class Base:
        def __init_subclass__(cls, forward, **rest):
            super().__init_subclass__(**rest)
            cls.forward = forward

    class Tripled(nn.Layer, Base, forward=lambda self, x: 3 * x):
        pass

    x = np.ones((2, 1))
    np.testing.assert_array_equal(Tripled().forward(x, np.empty_like(x)), 3 * x)  # written without `out`


def test_a_layer_is_in_training_only_while_it_is_trained():
    class Seen(nn.Tanh):
        seen = ()

        def forward(self, x, out=None):
            self.seen = (*self.seen, self.training)
            return super().forward(x, out)

    layer, x = Seen(), np.ones((2, 1))
    assert copy.copy(layer).training is layer.training is False
    nn.Trainer(nn.Sequential(nn.Linear(1, 1), layer, seed=0), nn.Quadratic(), nn.SGD(0.1)).step(x, x)
    assert layer.seen == (True,)
    assert layer.training is False
    layer.training = True
    assert copy.copy(layer).training is False


@pytest.mark.parametrize("kind", [nn.Sigmoid, nn.Tanh, nn.ReLU, nn.Softmax])
def test_a_layer_without_arguments_takes_none(kind):
    with pytest.raises(TypeError, match=rf"{kind.__name__}\(\) takes no arguments, got 0.1"):
        kind(0.1)
    with pytest.raises(TypeError, match="takes no arguments, got dim"):
        kind(dim=1)
