"""Starting weights: each is the distribution that its source gives."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

import numnet as nn

from .devices import DEVICES, host

SHAPES = [(1, 4000), (30, 100), (400, 10), (2000, 1)]


def uniform(limit):
    return scipy.stats.uniform(-limit, 2 * limit)


DISTRIBUTIONS = {  # by the equations in the papers, of (inputs, outputs)
    "glorot": lambda n, m: uniform(6**0.5 / (n + m) ** 0.5),
    "he": lambda n, m: scipy.stats.norm(0, (2 / n) ** 0.5),
    "lecun": lambda n, m: uniform((3 / n) ** 0.5),
    "nielsen": lambda n, m: scipy.stats.norm(0, 1 / n**0.5),
}
VARIANCES = {  # what each is for
    "glorot": lambda n, m: 2 / (n + m),
    "he": lambda n, m: 2 / n,
    "lecun": lambda n, m: 1 / n,
    "nielsen": lambda n, m: 1 / n,
}


def test_these_are_all_of_them():
    assert set(DISTRIBUTIONS) == set(VARIANCES) == set(nn.starts.__all__)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_weights_are_of_the_distribution_in_the_source(name, shape):
    weights = getattr(nn.starts, name)(np.random.default_rng(0), shape)
    assert weights.shape == shape
    expected = DISTRIBUTIONS[name](*shape)
    assert expected.var() == pytest.approx(VARIANCES[name](*shape))
    assert scipy.stats.kstest(weights.ravel(), expected.cdf).pvalue > 0.01
    if name in ("glorot", "lecun"):
        assert np.abs(weights).max() <= expected.ppf(1)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_the_test_would_see_a_variance_that_is_a_fifth_off(name):
    weights = getattr(nn.starts, name)(np.random.default_rng(0), (30, 100)) * 1.1
    assert scipy.stats.kstest(weights.ravel(), DISTRIBUTIONS[name](30, 100).cdf).pvalue < 0.01


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("device", DEVICES)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_seed_of_the_network_means_all_of_it(name, bias, device, seed):
    start = getattr(nn.starts, name)

    def net_of(seed):
        layers = nn.Linear(4, 3, bias, start), nn.Tanh(), nn.Linear(3, 2), nn.Linear(2, 2, start=start)
        return nn.Sequential(*layers, seed=seed, dtype="float64", device=device)

    net, other = net_of(seed), net_of(seed + 1)
    rng = np.random.default_rng(seed)
    drawn = [start(rng, (4, 3)), *([np.zeros(3)] if bias else [])]
    drawn += [rng.uniform(-(3**-0.5), 3**-0.5, shape) for shape in ((3, 2), (2,))]
    drawn += [start(rng, (2, 2)), np.zeros(2)]
    np.testing.assert_array_equal(host(net.parameters), np.concatenate([array.ravel() for array in drawn]))
    assert not np.isin(host(net.parameters)[:12], host(other.parameters)).any()
    net.parameters = 7
    for again in (seed, np.random.default_rng(seed)):
        net.initialize(again)
        assert net.device == device.replace("stand-in", "gpu")
        np.testing.assert_array_equal(host(net.parameters), np.concatenate([array.ravel() for array in drawn]))
    net.initialize()
    assert not np.isin(host(net.parameters)[:12], np.concatenate([array.ravel() for array in drawn])).any()


@pytest.mark.parametrize("values", [0.5, np.float32(3), [[1, 2, 3], [4, 5, 6]], np.ones((2, 3), bool), np.uint8(200)])
def test_a_start_of_ones_own(values):
    layer = nn.Linear(2, 3, start=lambda rng, shape: np.broadcast_to(values, shape))
    np.testing.assert_array_equal(layer.weight, np.broadcast_to(values, (2, 3)))
    assert not layer.bias.any()


@pytest.mark.parametrize(
    ("start", "got"),
    [
        (lambda rng, shape: rng.random(shape[::-1]), r"got an array of shape \(3, 2\) and dtype float64"),
        (lambda rng, shape: 0.5, r"got an array of shape \(\) and dtype float64"),
        (lambda rng, shape: np.full(shape, np.nan), r"got an array of shape \(2, 3\) and dtype float64"),
        (lambda rng, shape: [[0, np.nan, 0], [0, 0, 0]], r"got an array of shape \(2, 3\) and dtype float64"),
        (lambda rng, shape: np.full(shape, np.inf), r"got an array of shape \(2, 3\) and dtype float64"),
        (lambda rng, shape: np.full(shape, 1j), "and dtype complex128"),
        (lambda rng, shape: np.full(shape, "a"), "and dtype <U1"),
    ],
)
def test_what_no_start_may_return(start, got):
    with pytest.raises(ValueError, match=rf"^the start of Linear\(2, 3\) must return finite weights of .*{got}"):
        nn.Linear(2, 3, start=start)


def test_a_start_that_returns_nothing():
    with pytest.raises(
        ValueError, match=r"^the start of Linear\(2, 3\): weights must be an array, but NumPy makes none"
    ):
        nn.Linear(2, 3, start=lambda rng, shape: None)


def test_a_layer_starts_as_before_if_nothing_is_asked_for():
    """A network of a seed has the weights that it had before layers could have a start or no bias."""
    net = nn.Sequential(nn.Linear(3, 2), nn.Sigmoid(), nn.Linear(2, 2), nn.Softmax(), seed=0)
    rng = np.random.default_rng(0)
    drawn = [rng.uniform(-(n**-0.5), n**-0.5, shape).ravel() for n, shape in ((3, (3, 2)), (3, (2,)), (2, (2, 2)))]
    np.testing.assert_array_equal(net.parameters[:12], np.concatenate(drawn).astype(np.float32))
