import contextlib

import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.special
from hypothesis import assume, given

import numnet as nn
from numnet import checks, costs
from numnet.checks import targets as as_targets
from numnet.costs import Pair

from . import strict
from .devices import DEVICES, host, place
from .networks import backpropagated, draw_targets

CLOSED_FORMS = [(nn.Softmax, nn.CrossEntropy), (nn.Sigmoid, nn.CrossEntropy), (nn.Sigmoid, nn.Quadratic)]
NO_ERROR = contextlib.nullcontext()


@st.composite
def last_layers(draw, kind, scale):
    """Draw the input z of a last layer, and targets as rows."""
    n, outputs = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    z = rng.normal(size=(n, outputs)) * scale
    return z, as_targets(draw_targets(draw, rng, n, outputs, kind is nn.Softmax), outputs, z.dtype)


def pair_of(kind, cost):
    layer = kind()
    return layer, cost().pair([layer])


@pytest.mark.parametrize(("kind", "cost"), CLOSED_FORMS)
@pytest.mark.parametrize("device", DEVICES)
@given(data=st.data())
def test_closed_form_equals_the_general_chain_rule(kind, cost, data, device):
    z, t = (place(array, device) for array in data.draw(last_layers(kind, scale=3.0)))
    layer, pair = pair_of(kind, cost)
    assert type(pair) is not Pair
    y = layer.forward(z)
    assume(y.min() > 1e-6)
    assume(y.max() < 1 - 1e-6 or kind is nn.Softmax)
    chain = layer.backward(pair.cost.gradient(y, t))
    np.testing.assert_allclose(host(pair.error(z, y, t)), host(chain), rtol=1e-8, atol=1e-14)
    assert float(pair.value(z, y, t)) == pytest.approx(float(pair.cost.value(y, t)), rel=1e-9, abs=1e-15)


@pytest.mark.parametrize(("kind", "cost"), [*CLOSED_FORMS, (nn.Softmax, nn.Quadratic)])
@pytest.mark.parametrize("device", DEVICES)
@given(data=st.data())
def test_where_an_error_is_written_changes_no_bit(kind, cost, data, device):
    z, t = (place(array, device) for array in data.draw(last_layers(kind, scale=30.0)))
    layer, pair = pair_of(kind, cost)
    y = layer.forward(z)
    before = [host(array).copy() for array in (z, y, t)]
    expected, value = pair.error(z, y, t), pair.value(z, y, t)
    for with_dy in (False, True):
        out, dy = (np.full_like(z, np.nan) for _ in range(2))
        assert pair.error(z, y, t, out, dy if with_dy else None) is out
        np.testing.assert_array_equal(host(out), host(expected))
        assert pair.value(z, y, t) == value
        if with_dy and cost is nn.Quadratic:  # dE/dy is needed on the way
            np.testing.assert_array_equal(host(dy), host(pair.cost.gradient(y, t)))
    for array, unchanged in zip((z, y, t), before, strict=True):
        np.testing.assert_array_equal(host(array), unchanged)


@pytest.mark.parametrize("device", DEVICES)
@given(data=st.data(), scale=st.sampled_from([1.0, 1e2, 1e4]), alone=st.booleans())
def test_softmax_cross_entropy_equals_scipy(data, scale, alone, device):
    z, t = data.draw(last_layers(nn.Softmax, 1.0))
    z[: 1 if alone else None] *= scale  # one sample that saturates, or all
    layer, pair = pair_of(nn.Softmax, nn.CrossEntropy)
    expected = -np.sum(t * scipy.special.log_softmax(z, axis=1)) / len(z)
    by_logsumexp = np.mean(scipy.special.logsumexp(z, axis=1) - np.sum(t * z, axis=1))
    z, t = place(z, device), place(t, device)
    value = float(pair.value(z, layer.forward(z), t))
    assert value == pytest.approx(expected, rel=1e-12, abs=1e-15)
    assert value == pytest.approx(by_logsumexp, rel=1e-12, abs=1e-15 + 1e-15 * scale)


@pytest.mark.parametrize("device", DEVICES)
@given(data=st.data(), scale=st.sampled_from([1.0, 1e2, 1e4]))
def test_sigmoid_cross_entropy_equals_scipy(data, scale, device):
    z, t = data.draw(last_layers(nn.Sigmoid, scale))
    layer, pair = pair_of(nn.Sigmoid, nn.CrossEntropy)
    expected = -np.sum(t * scipy.special.log_expit(z) + (1 - t) * scipy.special.log_expit(-z)) / len(z)
    z, t = place(z, device), place(t, device)
    assert float(pair.value(z, layer.forward(z), t)) == pytest.approx(expected, rel=1e-12, abs=1e-15)


# How far z are apart: where probabilities round to 1, are too small for a float32 to be normal, and for a float64.
GAPS = st.floats(0, 40) | st.floats(80, 110) | st.floats(700, 760) | st.floats(0, 1e4)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", [nn.Softmax, nn.Sigmoid])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(gaps=st.lists(GAPS, min_size=1, max_size=4), shift=st.sampled_from([0, 3, -1e3]), seed=st.integers(0, 2**32 - 1))
def test_cross_entropy_is_as_exact_as_its_floats_wherever_the_probabilities_are(gaps, shift, seed, dtype, kind, device):
    rng = np.random.default_rng(seed)
    z = np.array(gaps)[:, None] * rng.permuted([[0.0, 1.0, rng.random()]] * len(gaps), axis=1) + shift
    z = (z * (1 if kind is nn.Softmax else rng.choice([-1, 1], z.shape))).astype(dtype)
    t = np.eye(3, dtype=dtype)[rng.integers(3, size=len(z))]
    exact = z.astype(np.float64)
    if kind is nn.Softmax:
        expected = -np.sum(t * scipy.special.log_softmax(exact, axis=1)) / len(z)
    else:
        expected = -np.sum(t * scipy.special.log_expit(exact) + (1 - t) * scipy.special.log_expit(-exact)) / len(z)
    layer, pair = pair_of(kind, nn.CrossEntropy)
    z, t = place(z, device), place(t, device)
    with np.errstate(all="ignore"):
        value = float(pair.value(z, layer.forward(z), t))
    epsilon = float(np.finfo(dtype).eps)
    assert value == pytest.approx(expected, rel=4 * epsilon, abs=4 * epsilon)


@pytest.mark.parametrize("offset", [0, 1e4, -1e4])
@pytest.mark.parametrize("device", DEVICES)
def test_a_gap_of_2000_in_float32_costs_2000(offset, device):
    z, lower, upper = (place(np.array([row], np.float32), device) for row in ([2000 + offset, offset], [0, 1], [1, 0]))
    layer, pair = pair_of(nn.Softmax, nn.CrossEntropy)
    assert pair.value(z, layer.forward(z), lower) == 2000
    assert pair.value(z, layer.forward(z), upper) == 0
    np.testing.assert_array_equal(host(pair.error(z, layer.forward(z), lower)), [[1, -1]])


@pytest.mark.parametrize("device", DEVICES)
@given(gap=st.floats(80, 110, width=32))
def test_a_probability_below_the_normal_floats_costs_what_its_gap_is(gap, device):
    z, t = (place(np.array([row], np.float32), device) for row in ([0, -gap], [0, 1]))
    layer, pair = pair_of(nn.Softmax, nn.CrossEntropy)
    assert float(pair.value(z, layer.forward(z), t)) == pytest.approx(gap, rel=1e-6)


@pytest.mark.parametrize(("z", "t", "expected"), [(2000, 0, 2000), (-2000, 1, 2000), (2000, 1, 0), (2000, 0.5, 1000)])
@pytest.mark.parametrize("device", DEVICES)
def test_a_sigmoid_at_2000_in_float32_costs_2000(z, t, expected, device):
    z, t = (place(np.array([[number]], np.float32), device) for number in (z, t))
    layer, pair = pair_of(nn.Sigmoid, nn.CrossEntropy)
    assert pair.value(z, layer.forward(z), t) == expected


@pytest.mark.parametrize("cost", [nn.Quadratic, nn.CrossEntropy])
@pytest.mark.parametrize("kind", [nn.Softmax, nn.Sigmoid])
@pytest.mark.parametrize("device", DEVICES)
@given(data=st.data())
def test_gradient_equals_central_differences_of_the_value(cost, kind, data, device):
    z, t = data.draw(last_layers(kind, scale=1.0))
    y = 0.1 + 0.8 * nn.Sigmoid().forward(z)
    cost, t = cost().pair([kind()]).cost, place(t, device)
    numerical, h = np.empty_like(y), 1e-5
    for i in np.ndindex(y.shape):
        step = np.zeros_like(y)
        step[i] = h
        high, low = (float(cost.value(place(moved, device), t)) for moved in (y + step, y - step))
        numerical[i] = (high - low) / (2 * h)
    np.testing.assert_allclose(host(cost.gradient(place(y, device), t)), numerical, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("device", DEVICES)
def test_quadratic_by_hand(device):
    # 1/(2 n) sum (y - t)^2 = ((1-0)^2 + (0-1)^2 + (0.5-0)^2 + (0.5-1)^2) / 4
    y, t = place([[1.0, 0.0], [0.5, 0.5]], device), [1, 1]
    assert nn.Quadratic()(y, t) == pytest.approx(2.5 / 4)
    gradient = nn.Quadratic().gradient(y, place(np.eye(2)[t], device))
    np.testing.assert_allclose(host(gradient), [[0.5, -0.5], [0.25, -0.25]])


@pytest.mark.parametrize("device", DEVICES)
def test_a_called_cross_entropy_tells_distributions_from_independent_probabilities(device):
    y = place([[0.2, 0.8], [0.5, 0.5]], device)
    assert nn.CrossEntropy()(y, [1, 0]) == pytest.approx(-(np.log(0.8) + np.log(0.5)) / 2)
    y = place([[0.2, 0.9]], device)
    assert nn.CrossEntropy()(y, [[0, 1]]) == pytest.approx(-np.log(0.8) - np.log(0.9))
    assert nn.CrossEntropy()(place([[0.2], [1.0]], device), [0, 1]) == pytest.approx(-np.log(0.8) / 2)
    assert nn.CrossEntropy()(place([[1.0], [1.0]], device), [1, 0]) == np.inf
    assert nn.CrossEntropy()(place([[0, 1], [1, 0]], device), [1, 0]) == 0
    assert str(nn.CrossEntropy()([[1, 0]], [0])) == "0.0"


@pytest.mark.parametrize("device", DEVICES)
def test_a_cross_entropy_knows_its_form_from_the_outputs_each_time_or_from_the_layer(device):
    cost, t = nn.CrossEntropy(), [[0, 1]]
    rows, independent = (place(y, device) for y in ([[0.5, 0.5]], [[0.5, 0.25]]))
    for _ in range(2):  # what a call has found out is not kept
        assert cost(rows, t) == pytest.approx(np.log(2))
        assert cost(independent, t) == pytest.approx(np.log(2) + np.log(4))
    t = place(np.array(t, float), device)
    assert float(cost.value(independent, t)) == pytest.approx(np.log(2) + np.log(4))
    np.testing.assert_allclose(host(cost.gradient(independent, t)), [[2, -4]])
    assert cost.check("t", independent) is None

    class Own(nn.CrossEntropy):
        def value(self, y, t, out=None):
            return super().value(y, t, out)

    assert Own().pair([nn.Sigmoid()]).cost(rows, t) == pytest.approx(2 * np.log(2))


def test_a_called_cost_computes_where_the_outputs_are():
    strict.transfers.clear()
    y = place(np.full((100, 2), 0.5), DEVICES[1].values[0])
    for cost in (nn.CrossEntropy(), nn.Quadratic()):
        cost(y, np.zeros(100, int))
    assert max(strict.transfers.to_host, default=0) <= 8


@pytest.mark.parametrize("cost", [nn.CrossEntropy, nn.Quadratic])
def test_outputs_that_overflow_are_refused_or_cost_inf_in_any_error_state(cost):
    with np.errstate(all="raise"):
        y = np.full((2, 2), 3e38, np.float32)
        with pytest.raises(ValueError, match="y must hold probabilities") if cost is nn.CrossEntropy else NO_ERROR:
            assert cost()(y, -y) == np.inf


@pytest.mark.parametrize("device", DEVICES)
def test_a_called_cross_entropy_is_exact_at_certainty(device):
    y = place([[1.0, 0.0]], device)
    assert nn.CrossEntropy()(y, [0]) == 0
    assert nn.CrossEntropy()(y, [1]) == np.inf


@pytest.mark.parametrize("device", DEVICES)
@given(data=st.data())
@pytest.mark.parametrize("cost", [nn.Quadratic, nn.CrossEntropy])
def test_the_mean_does_not_change_when_the_batch_is_repeated(cost, data, device):
    z, t = data.draw(last_layers(nn.Softmax, scale=2.0))
    y = nn.Softmax().forward(z)
    once, thrice = (cost()(place(np.tile(y, (n, 1)), device), np.tile(t, (n, 1))) for n in (1, 3))
    assert thrice == pytest.approx(once, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("device", DEVICES)
@given(data=st.data())
@pytest.mark.parametrize("cost", [nn.Quadratic, nn.CrossEntropy, costs._Distribution, costs._Independent])
def test_a_gradient_fills_out_with_the_same_bits(cost, data, device):
    z, t = (place(array, device) for array in data.draw(last_layers(nn.Softmax, scale=2.0)))
    y = nn.Softmax().forward(z)
    out = np.full_like(y, np.nan)
    assert cost().gradient(y, t, out) is out
    np.testing.assert_array_equal(host(out), host(cost().gradient(y, t)))
    assert cost().value(y, t) == cost().value(y, t, out)


@pytest.mark.parametrize("device", DEVICES)
def test_the_gradient_at_certainty_is_its_limit(device):
    y, right, wrong = (place([row], device) for row in ([0.0, 1.0], [0.0, 1.0], [1.0, 0.0]))
    np.testing.assert_array_equal(host(nn.CrossEntropy().gradient(y, right)), [[0, -1]])
    np.testing.assert_array_equal(host(nn.CrossEntropy().gradient(y, wrong)), [[-np.inf, 0]])
    assert nn.CrossEntropy().value(y, right) == 0
    assert nn.CrossEntropy().value(y, wrong) == np.inf


def test_a_called_cost_computes_in_the_precision_of_its_floats():
    with pytest.raises(ValueError, match="finite in float32"):
        nn.Quadratic()(np.zeros((1, 2), np.float32), [[0, 1e300]])
    assert nn.Quadratic()([[0, 1]], [[0.5, 0.5]]) == 0.25


def test_what_is_taken_for_a_distribution_is_accepted_as_one(monkeypatch):
    monkeypatch.setattr(checks, "ROW_SUM_TOLERANCE", 0.5)
    for row, fits in (([0.5, 0.0], True), ([1.0, 0.5], True), ([0.25, 0.125], False)):
        assert checks.is_distribution(np.array([row])) == fits
        with contextlib.nullcontext() if fits else pytest.raises(ValueError, match="must sum to 1"):
            costs._Distribution().check("t", np.array([row]))


def test_a_pair_of_ones_own_is_given_z():
    class Own(Pair):
        def error(self, z, y, t, out=None, dy=None):
            return np.multiply(z, 3, out=out)

    net, x = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), seed=0, dtype="float64"), np.array([[1.0, 2.0]])
    backpropagated(net, Own(nn.Quadratic(), net.layers[-1]), x, x)
    np.testing.assert_allclose(net.layers[0].gradients["bias"], 3 * net.layers[0].forward(x)[0])


def test_repr_and_layer_of_a_pair():
    layers = [nn.Linear(2, 2), nn.Sigmoid(), nn.Tanh()]
    assert nn.Quadratic().pair(layers).layer is nn.Cost().pair(layers).layer is layers[-1]
    assert repr(nn.CrossEntropy()) == "CrossEntropy()"


@pytest.mark.parametrize("first", [nn.Sigmoid, nn.Softmax])
@pytest.mark.parametrize(
    ("last", "cost"), [(nn.Softmax, nn.CrossEntropy), (nn.Tanh, nn.Quadratic), (None, nn.Quadratic)]
)
def test_only_the_last_layer_makes_a_pair_with_a_cost(first, last, cost):
    net = nn.Sequential(first(), nn.Linear(3, 2), *([last()] if last else []), seed=0)
    nn.gradcheck(net, cost(), np.eye(3), [[1, 0], [0, 1], [1, 0]], raise_above=1e-7)


def test_targets_as_indices_and_one_hot_are_the_same():
    labels = np.array([2, 0, 1], np.uint8)
    np.testing.assert_array_equal(as_targets(labels, 3, np.float32), np.eye(3)[labels])
    np.testing.assert_array_equal(as_targets(np.eye(3)[labels], 3, np.float32), np.eye(3)[labels])
    np.testing.assert_array_equal(as_targets([0.0, 1.0], 1, np.float32), [[0], [1]])
    np.testing.assert_array_equal(as_targets([[1j, 0]], 2, np.complex128), [[1j, 0]])
    assert as_targets(labels, 3, np.float32).dtype == np.float32


def test_rows_of_the_right_dtype_are_not_copied():
    rows = np.eye(3, dtype=np.float32)
    assert as_targets(rows, 3, np.float32) is rows


@pytest.mark.parametrize(
    ("t", "message"),
    [
        (["a", "b"], "class indices and must be integers, got dtype <U1: number the classes, "),
        (
            [0.0, 1.0],
            r"class indices and must be integers, got dtype float64: give np\.asarray\(t, float\)\.astype\(int\)$",
        ),
        ([0, 3], "class indices must be from 0 to 2 for 3 outputs, but that of sample 1 is 3"),
        ([-1, 0], "class indices must be from 0 to 2 for 3 outputs, but that of sample 0 is -1"),
        (np.zeros((2, 2)), r"rows of shape \(n, 3\) for 3 outputs, got shape \(2, 2\)"),
        (np.zeros((2, 3, 1)), r"got shape \(2, 3, 1\)"),
        (3, r"got shape \(\)"),
        ([[0, np.nan, 1]], r"targets must be finite in float32, but t\[0, 1\] is nan"),
        ([[0, 1e300, 1]], r"targets must be finite in float32, but t\[0, 1\] is 1e\+300"),
        ([[0, 1j, 1]], "targets must be real numbers, got dtype complex128"),
        (np.zeros((2, 3), object), "targets must be real numbers, got dtype object"),
    ],
)
def test_targets_that_do_not_fit(t, message):
    with pytest.raises(ValueError, match=message):
        as_targets(t, 3, np.float32)


@pytest.mark.parametrize(
    ("y", "t", "message"),
    [
        ([0.5, 0.5], [0], r"y must have shape \(n, outputs\)"),
        (np.zeros((0, 2)), np.zeros((0, 2)), r"y must have shape \(n, outputs\) with n and outputs at least 1"),
        ([[0.5, 0.5]], [0, 1], "y has 1 rows and t has 2"),
        ([[0.5, 0.5]] * 3, [0, 1], "y has 3 rows and t has 2"),
        (
            [[1.5, -0.5]],
            [0],
            "y must hold probabilities from 0 to 1 for the cross-entropy, but it ranges from -0.5 to 1.5",
        ),
        ([[1.5, 0.5]], [0], "it ranges from 0.5 to 1.5"),
        ([[0.5, -0.5]], [0], "it ranges from -0.5 to 0.5"),
        ([[0.5, 0.5]], [[2.0, -1.0]], "t must hold probabilities"),
        (
            [[0.5, 0.5]],
            [[0.5, 0.25]],
            r"each row of t must sum to 1 for a softmax output, but row 0 sums to 0.75: give class indices, one-hot "
            r"rows or probabilities, or end the network in Sigmoid\(\) for several yes/no$",
        ),
        ([[0.5, 0.5]] * 2, [[0.5, 0.5], [0.5, 0.4999]], r"but row 1 sums to 0.9999"),
        ([[0.5, np.nan]], [0], r"y must be finite, but y\[0, 1\] is not"),
        ([["a", "b"]], [0], "outputs must be real numbers"),
    ],
)
@pytest.mark.parametrize("device", DEVICES)
def test_a_called_cost_refuses_what_does_not_fit(y, t, message, device):
    y = place(y, device) if device == "gpu" and "real numbers" not in message else y
    with pytest.raises(ValueError, match=message):
        nn.CrossEntropy()(y, t)


@pytest.mark.parametrize("cost", [nn.CrossEntropy(), nn.Quadratic()])
def test_the_argument_that_no_array_can_be_made_of_is_named(cost):
    for name, y, t in (("y", [[1.0, 0.0], [1.0]], [0, 1]), ("t", [[1.0, 0.0]], [[1.0, 0.0], [1.0]])):
        with pytest.raises(ValueError, match=f"^{name} must be an array, but NumPy makes none of this list"):
            cost(y, t)


class Derived(nn.Softmax):
    pass


@pytest.mark.parametrize("first", [nn.Softmax, nn.Sigmoid, Derived])
@pytest.mark.parametrize("last", [nn.Softmax, nn.Sigmoid, Derived])
def test_cross_entropy_refuses_probabilities_taken_twice(first, last):
    message = (
        rf"takes probabilities twice, by {first.__name__}\(\) and then {last.__name__}\(\): .*\. CrossEntropy needs "
        "them taken once: remove one of the two layers, or put a Linear between them$"
    )
    for before in ([], [nn.Linear(2, 2)]):
        with pytest.raises(ValueError, match=message):
            nn.CrossEntropy().pair([*before, first(), last()])
    assert nn.CrossEntropy().pair([nn.Linear(2, 2), first(), nn.Linear(2, 2), last()])


@pytest.mark.parametrize("last", [nn.Linear(2, 2), nn.Tanh(), nn.ReLU()])
def test_cross_entropy_refuses_outputs_that_are_no_probabilities(last):
    with pytest.raises(ValueError, match=r"needs probabilities, but the last layer, .* end the network in Softmax\(\)"):
        nn.CrossEntropy().pair([nn.Linear(2, 2), last])


@pytest.mark.parametrize(
    ("base", "cost"), [(nn.Softmax, nn.CrossEntropy), (nn.Sigmoid, nn.CrossEntropy), (nn.Sigmoid, nn.Quadratic)]
)
@pytest.mark.parametrize("device", DEVICES)
def test_a_layer_derived_from_softmax_or_sigmoid_goes_through_its_own_backward(base, cost, device):
    class Cold(base):
        """The base layer at half the temperature: its closed form would be wrong by the factor 2."""

        def forward(self, x, out=None):
            return super().forward(2 * x, out)

        def backward(self, grad, out=None):
            return 2 * super().backward(grad, out)

    net = nn.Sequential(nn.Linear(3, 2), Cold(), seed=1, device=device)
    assert type(cost().pair(net.layers)) is Pair
    nn.gradcheck(net, cost(), np.eye(3), [[1, 0], [0, 1], [1, 0]], raise_above=1e-7)


@pytest.mark.parametrize(
    ("base", "last"), [(nn.CrossEntropy, nn.Softmax), (nn.CrossEntropy, nn.Sigmoid), (nn.Quadratic, nn.Sigmoid)]
)
@pytest.mark.parametrize("device", DEVICES)
def test_a_cost_derived_from_ours_is_used_as_it_is_overridden(base, last, device):
    class Tenfold(base):
        def value(self, y, t, out=None):
            return 10 * super().value(y, t, out)

        def gradient(self, y, t, out=None):
            return 10 * super().gradient(y, t, out)

    net = nn.Sequential(nn.Linear(3, 2), last(), seed=0, dtype="float64", device=device)
    pair, ten = base().pair(net.layers), Tenfold().pair(net.layers)
    x, t = place(np.eye(3), device), place(np.eye(2)[[0, 1, 1]], device)
    cost = float(pair.value(*backpropagated(net, pair, x, t), t))
    gradients = host(net.gradients).copy()
    assert float(ten.value(*backpropagated(net, ten, x, t), t)) == pytest.approx(10 * cost, rel=1e-12)
    np.testing.assert_allclose(host(net.gradients), 10 * gradients, rtol=1e-9)
    if base is nn.CrossEntropy:  # analytic as before
        assert nn.gradcheck(net, Tenfold(), np.eye(3), t).complex_step.error < 1e-12


def test_a_cost_without_out_trains_as_one_with_out():
    class Plain(nn.Cost):
        def value(self, y, t):
            return ((y - t) ** 4).sum() / len(y)

        def gradient(self, output, target):
            return 4 * (output - target) ** 3 / len(output)

    class Derived(Plain):
        def value(self, y, t):
            return super().value(y, t)

    class WithOut(nn.Cost):
        def value(self, y, t, out=None):
            return ((y - t) ** 4).sum() / len(y)

        def gradient(self, y, t, out=None):
            return np.multiply(4 / len(y), (y - t) ** 3, out=out)

    def trained(cost):
        net = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2), seed=0, dtype="float64")
        nn.gradcheck(net, cost, x, t, raise_above=1e-6)
        return nn.Trainer(net, cost, nn.SGD(0.1), seed=0).fit((x, t), 3, 4, test=(x, t), sample_weight=1 + x[:, 0])

    x, t = np.random.default_rng(0).uniform(-1, 1, (10, 4)), np.random.default_rng(1).random((10, 2))
    expected = trained(WithOut())
    for cost in Plain(), Derived():
        assert cost.value(x, t=2 * x) == pytest.approx((x**4).sum() / 10)
        for column in "train_cost", "test_cost":
            np.testing.assert_allclose(getattr(trained(cost), column), getattr(expected, column), rtol=1e-12)


def test_a_cost_keeps_nothing_of_the_network_that_it_was_used_for():
    cost = type(
        "Own", (nn.CrossEntropy,), {"value": lambda self, y, t, out=None: super(type(self), self).value(y, t)}
    )()
    rows, before = np.array([[0.25, 0.75]]), vars(cost).copy()
    for last in (nn.Softmax(), nn.Sigmoid()):
        cost.pair([last])
        assert vars(cost) == before
    assert cost(rows, rows) == nn.CrossEntropy()(rows, rows)


@pytest.mark.parametrize("overridden", ["value", "gradient"])
def test_a_cross_entropy_that_is_changed_in_one_method_is_not_bypassed(overridden):
    own = type("Own", (nn.CrossEntropy,), {overridden: lambda self, y, t, out=None: 7 * y})
    pair, y = own().pair([nn.Softmax()]), np.array([[0.25, 0.75]])
    assert type(pair) is Pair
    np.testing.assert_array_equal(getattr(pair.cost, overridden)(y, y), 7 * y)


@pytest.mark.parametrize("override", [False, True])
@pytest.mark.parametrize("device", DEVICES)
def test_a_derived_cross_entropy_takes_its_form_from_the_last_layer(override, device):
    class Derived(nn.CrossEntropy):
        if override:

            def value(self, y, t, out=None):
                return super().value(y, t, out)

    net = nn.Sequential(nn.Linear(3, 2), nn.Sigmoid(), dtype="float64", device=device)
    net.parameters = 0  # every y is 1/2, so that rows sum to 1
    assert (type(Derived().pair(net.layers)) is Pair) == override
    trainer = nn.Trainer(net, Derived(), nn.SGD(1e-9))
    assert trainer.step(np.zeros((1, 3)), [[0.0, 0.0]]) == pytest.approx(2 * np.log(2))
    np.testing.assert_allclose(host(net.gradients[-2:]), 0.5)
    with pytest.raises(ValueError, match=r"last layer, Sigmoid\(\), can give, 0 to 1, but they range from -3 to 7"):
        trainer.step(np.zeros((1, 3)), [[7.0, -3.0]])


@pytest.mark.parametrize("form", ["distribution", "independent"])
@pytest.mark.parametrize("device", DEVICES)
def test_a_layer_of_ones_own_says_what_its_probabilities_are(form, device):
    class Own(nn.Softmax if form == "distribution" else nn.Sigmoid):
        probabilities = form

    y, t = place([[0.2, 0.8]], device), place([[0.0, 1.0]], device)
    expected = -np.log(0.8) * (1 if form == "distribution" else 2)
    assert float(nn.CrossEntropy().pair([Own()]).value(np.log(y), y, t)) == pytest.approx(expected)
    Own.probabilities = "independant"
    with pytest.raises(ValueError, match="needs probabilities"):
        nn.CrossEntropy().pair([Own()])


@pytest.mark.parametrize("device", DEVICES)
def test_a_gap_beyond_the_largest_float_costs_nothing_where_the_target_is(device):
    z, lower, upper = (place(np.array([row], np.float32), device) for row in ([3e38, -3e38], [0, 1], [1, 0]))
    layer, pair = pair_of(nn.Softmax, nn.CrossEntropy)
    y = layer.forward(z)
    assert pair.value(z, y, upper) == 0
    assert pair.value(z, y, lower) == np.inf


def test_a_cost_without_value_says_so():
    class Empty(nn.Cost):
        pass

    with pytest.raises(NotImplementedError, match="Empty has no value"):
        Empty()([[1.0]], [1.0])
    with pytest.raises(NotImplementedError, match="Empty has no gradient"):
        Empty().gradient(np.ones((1, 1)), np.ones((1, 1)))


def test_a_cost_of_float16_is_computed_in_more_than_that():
    assert nn.Quadratic()(np.full((4000, 2), 1e-2, "f2"), np.zeros((4000, 2))) == pytest.approx(1e-4, rel=1e-3)


@pytest.mark.parametrize("size", [1e19, 1e18])
def test_a_sum_that_would_overflow_is_divided_first(size):
    y = np.full((1000, 1), size, np.float32)
    assert nn.Quadratic()(y, np.zeros((1000, 1))) == pytest.approx(size**2 / 2, rel=1e-5)


def test_a_cost_of_ones_own_has_scratch_in_training():
    class Careful(nn.Cost):
        def value(self, y, t, out):
            np.subtract(y, t, out=out)
            return np.abs(out).sum() / len(y)

        def gradient(self, y, t, out=None):
            return np.multiply(np.sign(y - t), 1 / len(y), out=out)

    trainer = nn.Trainer(nn.Sequential(nn.Linear(2, 1), seed=0), Careful(), nn.SGD(0.1), seed=0)
    assert trainer.fit((np.eye(2), np.ones((2, 1))), 2, 1).train_cost[1] > 0


@pytest.mark.parametrize("cost", [nn.Quadratic, nn.CrossEntropy])
@pytest.mark.parametrize("last", [nn.Softmax, nn.Sigmoid])
def test_the_costs_of_single_samples_are_worked_out_for_all_at_once(cost, last, monkeypatch):
    y, t = last().forward(np.random.default_rng(0).normal(size=(5, 3))), np.eye(3)[[0, 1, 2, 0, 1]]
    alone = [float(cost().value(y[[i]], t[[i]])) for i in range(5)]
    for one in (cost(), cost().pair([last()]).cost):  # alone, and with the form that the last layer asks for
        with monkeypatch.context() as patch:
            patch.setattr(type(one), "value", None)
            np.testing.assert_allclose(one.values(y, t), alone, rtol=1e-12)
