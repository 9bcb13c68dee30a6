"""Samples: what they give is plain indexing in a random order, for any kind of array."""

import dataclasses
import math
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import numnet as nn
import numnet.data
from numnet import checks
from numnet.data import Samples

from .devices import DEVICES, host, place

RNG = np.random.default_rng(0)


def samples_of(x, t, outputs=3, last=nn.Softmax, cost=nn.CrossEntropy, dtype="float32", device="cpu"):
    layers = [nn.Linear(math.prod(np.shape(x)[1:]), outputs), *([last()] if last else [])]
    net = nn.Sequential(*layers, seed=0, dtype=dtype, device=device)
    return Samples(net, cost().pair(net.layers), (x, t), "train")


def numbered(n, features=1, **options):
    """Return n samples that have nothing but their number."""
    return samples_of(np.arange(n * features).reshape(n, features), np.arange(n) % 3, **options)


# The order


@pytest.mark.parametrize("device", DEVICES)
@given(
    n=st.integers(1, 60),
    batch_size=st.integers(1, 12),
    skipped=st.integers(0, 8),
    most=st.integers(1, 5),
    seed=st.integers(0, 2**32 - 1),
)
def test_blocks_are_whole_batches_of_an_order_that_depends_on_the_seed_alone(
    n, batch_size, skipped, most, seed, device
):
    start = min(skipped * batch_size, n)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numnet.data, "BLOCK_BATCHES", most)
        blocks = [
            host(rows) for rows in numbered(n, device=device).blocks(np.random.default_rng(seed), batch_size, start)
        ]
    order = np.random.default_rng(seed).permutation(n)
    np.testing.assert_array_equal(np.concatenate([[], *blocks]), order[start:])
    assert all(len(rows) == most * batch_size for rows in blocks[:-1])
    assert all(0 < len(rows) <= most * batch_size for rows in blocks)


@pytest.mark.parametrize("device", DEVICES)
def test_an_order_is_a_permutation_and_the_next_is_another(device):
    samples, rng = numbered(1000, device=device), np.random.default_rng(5)
    first, second = (np.concatenate([host(rows) for rows in samples.blocks(rng, 7)]) for _ in range(2))
    np.testing.assert_array_equal(np.sort(first), np.arange(1000))
    np.testing.assert_array_equal(np.sort(second), np.arange(1000))
    assert (first != second).any()


@pytest.mark.parametrize("features", [1, 10, 100, 1000, 10_000])
@pytest.mark.parametrize("batch_size", [1, 10, 100])
@pytest.mark.parametrize("block", [1000, 100_000])
def test_a_block_is_as_large_as_a_cache_allows(features, batch_size, block, monkeypatch):
    samples = numbered(3, features)
    monkeypatch.setattr(samples, "operations", dataclasses.replace(samples.operations, block=block))
    samples.size = 100_000
    size = len(next(samples.blocks(np.random.default_rng(0), batch_size)))
    numbers, batches = features + 4 * 3, size // batch_size
    assert size % batch_size == 0
    assert size * numbers <= block or batches == 1
    assert (size + batch_size) * numbers > block or batches == numnet.data.BLOCK_BATCHES == 64


# Inputs


def unaligned(x):
    memory = np.empty(x.nbytes + 1, np.uint8)
    array = memory[1:].view(x.dtype).reshape(x.shape)
    array[...] = x
    assert not array.flags.aligned or x.dtype.itemsize == 1
    return array


def strided(x):
    array = np.empty((2 * len(x), *x.shape[1:], 3), x.dtype)[::2, ..., 1]
    array[...] = x
    return array


def frozen(x):
    x = x.copy()
    x.flags.writeable = False
    return x


LAYOUTS = [np.ascontiguousarray, np.asfortranarray, unaligned, strided, frozen, lambda x: x.tolist()]


@pytest.mark.parametrize(
    "kind", ["uint8", "float64", "float32", ">f8", ">f4", "int8", ">i2", "uint64", "bool", "float16"]
)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("device", DEVICES)
def test_inputs_are_those_of_plain_indexing(kind, layout, dtype, device):
    images = (RNG.random((50, 2, 3)) * 255).astype(kind)
    x = layout(images)
    if isinstance(x, list):
        images = np.asarray(x)
    samples = samples_of(x, np.arange(50) % 3, dtype=dtype, device=device)
    scale = np.dtype(dtype).type(1 / 255) if images.dtype == np.uint8 else 1
    for n in (20, 7, 50, 1, 20):  # in arrays that are kept
        rows = RNG.permutation(50)[:n]
        found, _t, _labels = samples.take(place(rows, device))
        assert (found.dtype, found.shape) == (np.dtype(dtype), (n, 6))
        np.testing.assert_array_equal(host(found), images[rows].reshape(n, 6).astype(dtype) * scale)


@pytest.mark.parametrize("kind", ["uint8", "float32", "float64"])
def test_what_is_given_is_left_alone(kind):
    x, rows = RNG.integers(0, 255, (20, 4)).astype(kind), np.eye(3, dtype=kind)[RNG.integers(3, size=20)]
    before = x.copy(), rows.copy()
    samples = samples_of(x, rows)
    for array in samples.take(np.arange(20)):
        array[...] = 1
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(rows, before[1])


@pytest.mark.parametrize("kind", ["uint8", "float32", "float64"])
def test_bytes_stay_bytes_until_they_are_taken(kind):
    x = RNG.integers(0, 255, (20, 4)).astype(kind)
    samples = samples_of(x, np.arange(20) % 3)
    assert samples.x.dtype == x.dtype
    assert np.shares_memory(samples.x, x)


@pytest.mark.parametrize("kind", ["uint8", "float32", "float64"])
def test_the_next_block_comes_in_the_same_memory(kind):
    x, labels = RNG.integers(0, 255, (20, 4)).astype(kind), np.arange(20) % 3
    samples = samples_of(x, labels)
    whole = [samples.take(np.arange(20)) for _ in range(2)]
    short = samples.take(np.arange(7))
    for i in (0, 2):  # the targets are made anew
        assert np.shares_memory(whole[0][i], whole[1][i])
        assert np.shares_memory(whole[0][i], short[i])
    rows = samples_of(x, np.eye(3)[labels])
    assert np.shares_memory(rows.take(np.arange(20))[1], rows.take(np.arange(20))[1])


# Targets


@pytest.mark.parametrize("kind", ["u1", "i1", "u2", ">i2", "i4", ">u4", "i8", "u8", ">i8"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("device", DEVICES)
def test_labels_become_one_hot_rows(kind, layout, device):
    labels = RNG.integers(3, size=50).astype(kind)
    samples = samples_of(np.zeros((50, 2)), layout(labels), device=device)
    for n in (20, 7, 50, 1):
        rows = RNG.permutation(50)[:n]
        _x, t, found = samples.take(place(rows, device))
        np.testing.assert_array_equal(host(t), np.eye(3)[labels[rows].astype(int)])
        np.testing.assert_array_equal(host(found), labels[rows])
        assert t.dtype == np.float32


@pytest.mark.parametrize("outputs", [2, 3, 7])
def test_labels_of_any_number_of_classes(outputs):
    labels = np.arange(20) % outputs
    opened = nn.Sequential(nn.Softmax())  # takes and gives any number of features
    fixed = nn.Sequential(nn.Linear(outputs, outputs), nn.Softmax(), seed=0)
    for net in (opened, fixed):
        samples = Samples(net, nn.CrossEntropy().pair(net.layers), (np.ones((20, outputs)), labels), "train")
        assert samples.outputs == outputs
        _x, t, found = samples.take(np.arange(20)[::-1])
        np.testing.assert_array_equal(t, np.eye(outputs)[labels[::-1]])
        np.testing.assert_array_equal(found, labels[::-1])


@pytest.mark.parametrize("kind", ["float32", "float64", ">f4", "int16", "bool"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("device", DEVICES)
def test_rows_are_those_of_plain_indexing(kind, layout, device):
    labels = RNG.integers(3, size=50)
    samples = samples_of(np.zeros((50, 2)), layout(np.eye(3, dtype=kind)[labels]), device=device)
    for n in (20, 7, 50, 1):
        rows = RNG.permutation(50)[:n]
        _x, t, found = samples.take(place(rows, device))
        np.testing.assert_array_equal(host(t), np.eye(3)[labels[rows]])
        np.testing.assert_array_equal(host(found), labels[rows])
        assert t.dtype == np.float32


@pytest.mark.parametrize(
    ("t", "last", "expected"),
    [
        ([[0.25, 0.75], [0.75, 0.25], [0.5, 0.5]], nn.Sigmoid, [1, 0, 0]),
        ([[1, 1], [0, 0], [0, 1]], nn.Sigmoid, None),  # several yes or no: no classes
        ([[0.5, 2], [3, 0], [0, 1]], None, None),
        ([[0, 1], [1, 0], [0, 1]], None, [1, 0, 1]),
        ([0.0, 0.5, 0.75], nn.Sigmoid, [0, 0, 1]),
        ([False, True, True], nn.Sigmoid, [0, 1, 1]),
        ([[0.0], [0.25], [1.0]], nn.Sigmoid, [0, 0, 1]),
        ([0.0, 0.5, 0.75], None, None),  # a number, not a yes or no
        ([0.0, 0.5, 0.75], nn.Tanh, None),
    ],
)
@pytest.mark.parametrize("device", DEVICES)
def test_targets_have_classes_or_not(t, last, expected, device):
    rows = np.array(t, float).reshape(3, -1)
    cost = nn.Quadratic if last in (None, nn.Tanh) else nn.CrossEntropy
    samples = samples_of(np.ones((3, 2)), t, rows.shape[1], last, cost, device=device)
    _x, found, labels = samples.take(place([2, 0, 1], device))
    np.testing.assert_array_equal(host(found), rows[[2, 0, 1]])
    if expected is None:
        assert labels is None
        assert math.isnan(samples.accuracy())
    else:
        np.testing.assert_array_equal(host(labels), np.array(expected)[[2, 0, 1]])
        assert samples.accuracy() == np.mean(samples.net.predict(np.ones((3, 2))) == expected)


# Accuracy


@pytest.mark.parametrize("device", DEVICES)
@given(n=st.integers(1, 40), chunk=st.integers(1, 12))
def test_accuracy_in_chunks_is_that_of_all(n, chunk, device):
    x, t = RNG.normal(size=(n, 2)), RNG.integers(3, size=n)
    samples = samples_of(x, t, device=device)
    expected = np.mean(samples.net.predict(x) == t)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "CHUNK", chunk)
        assert samples.accuracy() == expected
        assert samples.net.accuracy(x, t) == expected


@pytest.mark.parametrize("n", [1, 4095, 4096, 4097, 9000])
@pytest.mark.parametrize("kind", ["uint8", "float64"])
def test_accuracy_over_several_thousand_samples(n, kind):
    x, t = RNG.integers(0, 256, (n, 2)).astype(kind), RNG.integers(3, size=n).astype(np.uint8)
    samples = samples_of(x, t)
    assert samples.accuracy() == np.mean(samples.net.predict(x) == t) == samples.net.accuracy(x, t)


# Files


@pytest.fixture
def mapped(tmp_path):
    np.save(tmp_path / "x.npy", RNG.normal(size=(30, 2)))
    return np.load(tmp_path / "x.npy", mmap_mode="r"), tmp_path / "x.npy"


@pytest.mark.parametrize("view", [lambda x: x, lambda x: x[:, :], lambda x: np.asarray(x)[::-1], lambda x: x.T.T])
def test_a_mapped_file_is_known_through_views(view, mapped):
    x, path = mapped
    state = os.stat(path)
    assert samples_of(view(x), np.arange(30) % 3).file == (str(path), (state.st_size, state.st_mtime_ns))
    assert samples_of(np.array(x), np.arange(30) % 3).file is None


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_mapped_file_is_checked_before_each_block(at, mapped, monkeypatch):
    monkeypatch.setattr(numnet.data, "BLOCK_BATCHES", 2)
    x, path = mapped
    blocks = samples_of(x, np.arange(30) % 3).blocks(np.random.default_rng(0), 5)
    for _ in range(at):
        next(blocks)
    os.utime(path, ns=(1, 1))
    with pytest.raises(ValueError, match=r"train: the file .*x\.npy has changed during training: start again"):
        next(blocks)


def test_a_mapped_file_that_is_gone_is_still_there(mapped):
    x, path = mapped
    samples = samples_of(x, np.arange(30) % 3)
    path.unlink()
    assert sum(len(rows) for rows in samples.blocks(np.random.default_rng(0), 5)) == 30


def test_what_is_mapped_from_a_file_is_not_read_into_memory(mapped):
    x, _path = mapped
    assert np.shares_memory(samples_of(x, np.arange(30) % 3).x, x)
