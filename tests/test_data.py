"""Samples: what they give is plain indexing in a random order, for any kind of array."""

import dataclasses
import math
import os
import re
import tracemalloc

import numpy as np
import pytest
import scipy.special
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


@pytest.mark.parametrize("last", [nn.Softmax, nn.Sigmoid, None])
@pytest.mark.parametrize("targets", ["classes", "rows"])
@pytest.mark.parametrize("device", DEVICES)
def test_no_rows_are_taken_as_well(targets, last, device):
    t = np.arange(6) % 3
    cost = nn.CrossEntropy if last else nn.Quadratic
    samples = samples_of(np.ones((6, 4)), t if targets == "classes" else np.eye(3)[t], 3, last, cost, device=device)
    x, t, labels = samples.take(place(np.arange(0), device))
    assert (x.shape, t.shape) == ((0, 4), (0, 3))
    assert labels is None or labels.shape == (0,)


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


@pytest.mark.parametrize(
    ("x", "t", "spoilt", "message"),
    [
        (np.zeros((6, 2)), [0, 1, 2] * 2, "x", "inputs must be finite, but feature 1 of sample 4 is nan"),
        (np.zeros((6, 2)), np.arange(6) % 3, "t", "class indices must be from 0 to 2 for 3 outputs, but"),
        (np.zeros((6, 2)), np.eye(3, dtype="float32")[[0, 1, 2] * 2], "t", r"t\[4, 1\] is nan"),
    ],
    ids=["inputs", "labels", "rows"],
)
@pytest.mark.parametrize("device", DEVICES)
def test_what_changes_in_memory_while_in_use_is_refused(x, t, spoilt, message, device):
    x, t = place(x.copy(), device), t.copy()
    samples, array = samples_of(x, t, device=device), x if spoilt == "x" else t
    samples.take(place(np.arange(6), device))
    array[4:, ...] = 7
    if array.ndim == 2:
        array[4, 1] = np.nan
    samples.take(place(np.arange(4), device))
    if spoilt == "t" and device != "cpu":  # what was copied to another device does not change
        samples.take(place(np.arange(6), device))
        return
    with pytest.raises(ValueError, match=f"^train has changed while in use: .*{message}"):
        samples.take(place(np.arange(6)[::-1], device))


@pytest.mark.parametrize("kind", ["uint8", "float32", "float64"])
def test_a_block_is_taken_without_a_copy_in_between(kind):
    samples, rows = samples_of(np.zeros((2000, 400), kind), np.arange(2000) % 3), np.arange(2000)
    samples.take(rows)  # makes the arrays that are kept
    tracemalloc.start()
    try:
        samples.take(rows)
        assert tracemalloc.get_traced_memory()[1] < samples.x.nbytes / 2
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[:, ::2],
        lambda x: np.asfortranarray(x),
        lambda x: np.frombuffer(b"-" + x.tobytes(), x.dtype, offset=1).reshape(x.shape),
    ],
    ids=["every second", "by columns", "not aligned"],
)
def test_of_an_array_in_an_unusual_place_only_the_block_is_copied(view):
    x = view(np.arange(2e6, dtype=np.float32).reshape(2000, 1000))
    samples, rows = samples_of(x, np.arange(2000) % 3), np.arange(20)
    tracemalloc.start()
    try:
        taken = samples.take(rows)[0]
        assert tracemalloc.get_traced_memory()[1] < x.nbytes / 10
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(taken, x[:20])


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


class Stretched(nn.Tanh):
    """Another forward, so that the range of a tanh says nothing of it."""

    def forward(self, x, out=None):
        return np.multiply(super().forward(x, out), 1.7159, out=out)


class Squeezed(Stretched):
    """A forward and a range of its own."""

    range = (-1.0, 1.0)

    def forward(self, x, out=None):
        return np.multiply(super().forward(x, out), 1 / 1.7159, out=out)


class Quartered(Stretched):
    """A range without the 0 and 1 of one-hot rows."""

    range = (0.25, 0.75)

    def forward(self, x, out=None):
        return np.add(0.5, np.multiply(super().forward(x, out), 0.25 / 1.7159, out=out), out=out)


class Renamed(nn.Tanh):
    """The forward of a tanh, and so its range."""


class Steep(nn.Sigmoid):
    """A sigmoid with a forward of its own, still a probability."""

    def forward(self, x, out=None):
        return super().forward(x * 4, out)


def refused(low, high, layer, hint="scale the targets, or end the network in a Linear layer"):
    where = rf"the last layer, {layer}\(\), can give, {low} to {high}"
    return f"targets must be numbers that {where}, but they range from .*: {re.escape(hint)}"


def mapped_by(line, classes, layer, found):
    labels = " and ".join(map(str, found))
    return re.escape(
        f"classes for a single output of {layer}() must be {classes} and 1, but the labels are {labels}: give {line}"
    )


CLASSES = {  # name: last layer, targets, and the classes that they are; None if they are none; or why they are refused
    "indices": (nn.Softmax, [2, 0, 1, 1], [2, 0, 1, 1]),
    "indices beyond the outputs": (nn.Softmax, [3, 0, 1, 2], "class indices must be from 0 to 2 for 3 outputs, but"),
    "one-hot rows": (nn.Softmax, [[0, 0, 1], [1, 0, 0], [0, 1, 0]], [2, 0, 1]),
    "rows of probabilities": (nn.Softmax, [[0.2, 0.5, 0.3], [0.1, 0.1, 0.8], [0.5, 0.5, 0.0]], [1, 2, 0]),
    "rows that sum to something else": (nn.Softmax, [[1.0, 1.0], [0.5, 0.0]], None),
    "rows beyond a softmax": (nn.Softmax, [[2.0, 0.0], [0.0, 2.0]], refused(0, 1, "Softmax")),
    "rows below a softmax": (nn.Softmax, [[1.5, -0.5], [0.0, 1.0]], refused(0, 1, "Softmax")),
    "yes or no": (nn.Sigmoid, [0, 1, 1, 0], [0, 1, 1, 0]),
    "True and False": (nn.Sigmoid, [False, True, True], [0, 1, 1]),
    "a column": (nn.Sigmoid, [[0.0], [0.25], [1.0]], [0, 0, 1]),
    "probabilities of yes": (nn.Sigmoid, [0.0, 0.5, 0.75], [0, 0, 1]),
    "probabilities that are rounded": (nn.Sigmoid, [-1e-7, 1.0000001, 0.5], [0, 1, 0]),
    "more than rounded": (nn.Sigmoid, [-1e-5, 1.0, 0.5], refused(0, 1, "Sigmoid")),
    "yes only": (nn.Sigmoid, [1, 1, 1], [1, 1, 1]),
    "labels 1 and 2": (nn.Sigmoid, [1, 2, 2], mapped_by("np.asarray(t) == 2", 0, "Sigmoid", (1, 2))),
    "labels -1 and 1": (nn.Sigmoid, [-1, 1, 1], mapped_by("np.asarray(t) == 1", 0, "Sigmoid", (-1, 1))),
    "labels of three classes": (
        nn.Sigmoid,
        [0, 1, 2],
        refused(0, 1, "Sigmoid", "for 3 classes end the network in Linear(..., 3), Softmax()"),
    ),
    "numbers beyond a sigmoid": (nn.Sigmoid, [0.2, 7.5, 1.0], refused(0, 1, "Sigmoid")),
    "rows of 0.01 and 0.99": (nn.Sigmoid, [[0.01, 0.99, 0.01], [0.99, 0.01, 0.01], [0.01, 0.01, 0.99]], [1, 0, 2]),
    "several labels": (nn.Sigmoid, [[1, 1, 0], [0, 0, 0], [0, 1, 0]], None),
    "several labels, in some rows one": (nn.Sigmoid, [[1, 0, 0], [0, 0, 1], [0, 1, 1]], None),
    "rows of any probabilities": (nn.Sigmoid, [[0.25, 0.5, 0.75], [0.5, 0.0, 1.0]], None),
    "rows with one highest number": (nn.Sigmoid, [[0.0, 0.5, 1.0], [1.0, 0.0, 0.5]], None),
    "rows beyond a sigmoid": (nn.Sigmoid, [[0.0, 1.5, 0.0], [1.0, 0.0, 0.0]], refused(0, 1, "Sigmoid")),
    "-1 and 1 of a tanh": (nn.Tanh, [-1, 1, 1, -1], [0, 1, 1, 0]),
    "numbers of a tanh": (nn.Tanh, [0.0, 0.5, -0.75], None),
    "0 and 1 of a tanh": (nn.Tanh, [0, 1, 1], None),
    "labels 1 and 2 of a tanh": (nn.Tanh, [2, 1, 1], mapped_by("2 * (np.asarray(t) == 2) - 1", -1, "Tanh", (1, 2))),
    "numbers beyond a tanh": (nn.Tanh, [0.0, -1.5, 1.0], refused(-1, 1, "Tanh")),
    "rows of -1 and 1": (nn.Tanh, [[-1, 1], [1, -1], [-1, 1]], [1, 0, 1]),
    "a tanh of another name": (Renamed, [-1, 1, 1], [0, 1, 1]),
    "beyond a tanh of another name": (Renamed, [0.0, 1.5, 1.0], refused(-1, 1, "Renamed")),
    "a tanh with another forward": (Stretched, [-1, 1, 1], None),
    "beyond a tanh with another forward": (Stretched, [-1.5, 1.5, 3.0], None),
    "another forward with a range": (Squeezed, [-1, 1, 1], [0, 1, 1]),
    "a sigmoid with another forward": (Steep, [0, 1, 1], [0, 1, 1]),
    "labels 1 and 2 of a sigmoid with another forward": (Steep, [1, 2, 2], None),
    "numbers below a sigmoid with another forward": (Steep, [-1.0, 1.0, 0.5], None),
    "numbers": (None, [0.5, -20.0, 3.0], None),
    "0 and 1 as numbers": (None, [0, 1, 1], None),
    "labels 1 and 2 as numbers": (None, [1, 2, 2], None),
    "indices of a linear layer": (None, [2, 0, 1, 1], [2, 0, 1, 1]),
    "one-hot rows of a linear layer": (None, [[0, 1], [1, 0], [0, 1]], [1, 0, 1]),
    "two rows of one value and another": (None, [[2.0, 5.0], [5.0, 2.0]], [1, 0]),
    "rows of numbers": (None, [[0.5, 2.0], [3.0, 0.0], [0.0, 1.0]], None),
    "indices of a layer that reaches neither 0 nor 1": (Quartered, [2, 0, 1, 1], [2, 0, 1, 1]),
    "one-hot rows of a layer that reaches neither 0 nor 1": (
        Quartered,
        [[0, 1], [1, 0]],
        refused(0.25, 0.75, "Quartered"),
    ),
    "numbers of a ReLU": (nn.ReLU, [0, 1, 1], None),
    "indices of a ReLU": (nn.ReLU, [2, 0, 1, 1], [2, 0, 1, 1]),
    "numbers below a ReLU": (nn.ReLU, [-1, 1, 1], refused(0, "inf", "ReLU")),
    "one sample of a softmax": (nn.Softmax, [2], [2]),
    "one sample of a sigmoid": (nn.Sigmoid, [1.0], [1]),
    "one row of 0.01 and 0.99": (nn.Sigmoid, [[0.01, 0.99, 0.01]], [1]),
    "one label 2": (nn.Sigmoid, [2], refused(0, 1, "Sigmoid")),
    "one number": (None, [2.5], None),
    "one row of numbers": (None, [[2.5, 1.0]], None),  # any row of two numbers has one that is larger
    "one one-hot row of a linear layer": (None, [[0, 1]], [1]),
}


@pytest.mark.parametrize("case", CLASSES)
@pytest.mark.parametrize("device", DEVICES)
def test_classes_are_where_the_outputs_and_the_targets_are_classes(case, device):
    last, given, expected = CLASSES[case]
    t, n = np.array(given), len(given)
    outputs = 3 if t.ndim == 1 and ("indices" in case or last is nn.Softmax) else t.reshape(n, -1).shape[1]
    x = np.random.default_rng(3).normal(size=(n, 2))
    net = nn.Sequential(nn.Linear(2, outputs), *([last()] if last else []), seed=0, device=device)
    net.parameters = net.parameters * 0.3  # so that what a tanh gives for yes is below 1/2
    trainer = nn.Trainer(net, nn.Quadratic(), nn.SGD(0.01), seed=0)

    if isinstance(expected, str):
        for refusing, name in (
            (lambda: Samples(net, trainer.pair, (x, t), "train"), "train: "),
            (lambda: trainer.step(x, t), "step: "),
            (lambda: trainer.fit((x, t), 1, 2), "train: "),
            (lambda: trainer.fit((x, np.zeros(n, int)), 1, 2, test=(x, t)), "test: "),
            (lambda: trainer.evaluate((x, t)), "data: "),
            (lambda: net.accuracy(x, t), ""),
        ):
            with pytest.raises(ValueError, match=f"^{name}{expected}"):
                refusing()
        assert len(trainer.history) == 0
        return

    # The classes that the network gives, by its outputs alone.
    y = host(net(x))
    middle = 0.5 if isinstance(last and last(), nn.Sigmoid) else 0.0
    found = y.argmax(axis=1) if outputs > 1 else y[:, 0] > middle
    accuracy = math.nan if expected is None else np.mean(found == expected)

    labels = Samples(net, trainer.pair, (x, t), "train").labels
    assert (labels is None) == (expected is None)
    if expected is not None:
        np.testing.assert_array_equal(host(labels), expected)
        assert net.accuracy(x, t) == accuracy
    else:
        with pytest.raises(ValueError, match=r"^accuracy needs (classes|targets that are classes)"):
            net.accuracy(x, t)
    np.testing.assert_equal(trainer.evaluate((x, t))[1], accuracy)
    if outputs > 1 or middle == 0.5:
        np.testing.assert_array_equal(net.predict(x), found)
    else:
        sign = "np.sign" if last in (nn.Tanh, Renamed, Squeezed) else r"net\(x\) gives the numbers$"
        with pytest.raises(ValueError, match=f"^the single output of the last layer, .* is a number and no .*{sign}"):
            net.predict(x)

    history = trainer.fit((x, t), 1, n, test=(x, t))
    np.testing.assert_equal(history.train_accuracy, [accuracy])  # a single batch, before its update
    np.testing.assert_equal(history.test_accuracy, [trainer.evaluate((x, t))[1]])
    assert math.isnan(history.test_accuracy[0]) == (expected is None)
    assert ("accuracy" in repr(history)) == (expected is not None)
    assert history.to_csv().splitlines()[1].count("nan") == (2 if expected is None else 0)


@pytest.mark.parametrize("rows", [1, 2, 3])
@given(data=st.data())
def test_rows_of_one_value_and_another_are_classes_whatever_the_two_values_are(rows, data):
    low, high = sorted(data.draw(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=2, unique=True)))
    labels = np.array(data.draw(st.lists(st.integers(0, 2), min_size=rows, max_size=rows)))
    t = np.where(np.eye(3)[labels] > 0, high, low)
    for last in (nn.Sigmoid, nn.Tanh):
        np.testing.assert_array_equal(samples_of(np.ones((rows, 2)), t, 3, last, nn.Quadratic).labels, labels)


# Accuracy


@pytest.mark.parametrize("device", DEVICES)
@given(n=st.integers(1, 40), chunk=st.integers(1, 12))
def test_accuracy_in_chunks_is_that_of_all(n, chunk, device):
    x, t = RNG.normal(size=(n, 2)), RNG.integers(3, size=n)
    samples = samples_of(x, t, device=device)
    expected = np.mean(samples.net.predict(x) == t)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "CHUNK", chunk)
        assert samples.evaluate()[1] == expected
        assert samples.net.accuracy(x, t) == expected


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("chunk", [3, 100])
def test_an_evaluation_has_the_mean_cost_of_all_and_the_share_of_right_answers(chunk, device, monkeypatch):
    monkeypatch.setattr(checks, "CHUNK", chunk)
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(10, 2)) * 1e4, rng.integers(3, size=10)
    samples = samples_of(x, t, dtype="float64", device=device)
    y = samples.net(x)
    z = x @ host(samples.net.layers[0].weight) + host(samples.net.layers[0].bias)
    expected = scipy.special.logsumexp(z, axis=1) - z[range(10), t]
    with np.errstate(all="raise"):  # the numbers of a softmax become too small here
        assert samples.evaluate() == pytest.approx((expected.mean(), np.mean(y.argmax(axis=1) == t)), rel=1e-12)


@pytest.mark.parametrize("device", DEVICES)
@given(n=st.integers(1, 40), chunk=st.integers(1, 12), data=st.data())
def test_of_some_rows_costs_and_accuracies_are_those_of_these_rows(n, chunk, data, device):
    x, t = RNG.normal(size=(n, 2)), RNG.integers(3, size=n)
    rows = np.array(data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=50)))
    samples, alone = (samples_of(x[some], t[some], dtype="float64", device=device) for some in (slice(None), rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "CHUNK", chunk)
        assert samples.evaluate(place(rows, device)) == pytest.approx(alone.evaluate(), rel=1e-12)


@pytest.mark.parametrize("n", [1, 4095, 4096, 4097, 9000])
@pytest.mark.parametrize("kind", ["uint8", "float64"])
def test_accuracy_over_several_thousand_samples(n, kind):
    x, t = RNG.integers(0, 256, (n, 2)).astype(kind), RNG.integers(3, size=n).astype(np.uint8)
    samples = samples_of(x, t)
    assert samples.evaluate()[1] == np.mean(samples.net.predict(x) == t) == samples.net.accuracy(x, t)


# Files


@pytest.fixture
def mapped(tmp_path):
    np.save(tmp_path / "x.npy", RNG.normal(size=(30, 2)))
    return np.load(tmp_path / "x.npy", mmap_mode="r"), tmp_path / "x.npy"


@pytest.mark.parametrize("view", [lambda x: x, lambda x: x[:, :], lambda x: np.asarray(x)[::-1], lambda x: x.T.T])
def test_a_mapped_file_is_known_through_views(view, mapped):
    x, path = mapped
    labels, state = np.arange(30) % 3, checks.file_state(path)
    assert samples_of(view(x), labels).files == [(str(path), state)]
    assert samples_of(np.array(x), view(x), 2, None, nn.Quadratic, "float64").files == [(str(path), state)]
    assert samples_of(np.array(x), labels).files == []


def test_a_mapped_file_that_is_gone_is_still_there(mapped):
    x, path = mapped
    samples = samples_of(x, np.arange(30) % 3)
    path.unlink()
    np.testing.assert_allclose(samples.take(np.arange(30))[0], x, rtol=1e-6)


@pytest.mark.parametrize("size", [200_128, 1000])  # as long as before, or cut off, so that to touch the rest is fatal
def test_a_mapped_file_that_has_changed_is_refused_before_it_is_touched(size, tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.zeros((10_000, 5), np.float32))
    samples = samples_of(np.load(path, mmap_mode="r"), np.arange(10_000) % 3)
    os.truncate(path, size)
    os.utime(path, ns=(1, 1))
    with pytest.raises(ValueError, match=r"train has changed while in use: the file .*x\.npy is not as it was"):
        samples.take(np.arange(9_000, 9_100))


def test_outputs_of_another_shape_are_told_before_a_cost_is_made_of_them():
    class Wider(nn.Tanh):
        def forward(self, x, out=None):
            return np.ones((len(x), 4))

    with pytest.raises(ValueError, match=r"the forward of Wider\(\) must return an array of shape \(6, 3\)"):
        samples_of(np.zeros((6, 2)), np.zeros((6, 3)), last=Wider, cost=nn.Quadratic).evaluate()


@pytest.mark.parametrize("part", ["inputs", "targets"])
def test_data_whose_file_was_cut_off_are_refused_before_they_are_touched(part, tmp_path):
    path, data = tmp_path / "cut.npy", {"inputs": np.zeros((10_000, 2)), "targets": np.zeros(10_000, int)}
    np.save(path, data[part])
    data[part] = np.load(path, mmap_mode="r")
    os.truncate(path, 1000)
    with pytest.raises(ValueError, match=f"^train: {part} are mapped from the file .* cut short"):
        samples_of(*data.values())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("device", DEVICES)
def test_weights_are_shares_of_their_mean(dtype, device):
    net = nn.Sequential(nn.Linear(2, 3), nn.Softmax(), dtype=dtype, device=device)
    pair, data, weight = nn.CrossEntropy().pair(net.layers), (np.zeros((4, 2)), [0, 1, 2, 0]), [1, 2, 0, 5]
    samples = Samples(net, pair, data, "train", weight)
    np.testing.assert_allclose(host(samples.weight), np.array(weight) / 2)
    assert samples.weight.dtype == dtype
    assert type(samples.weight) is type(net.parameters)
    assert Samples(net, pair, data, "train").weight is None


def test_a_network_that_fixes_no_widths_has_as_many_outputs_as_the_data_have_features():
    net = nn.Sequential(nn.Softmax())
    samples = Samples(net, nn.CrossEntropy().pair(net.layers), (np.zeros((4, 3)), [0, 1, 2, 0]), "train")
    assert samples.outputs == 3
    np.testing.assert_array_equal(samples.take(samples.spread)[1], np.eye(3)[[0, 1, 2, 0]])
    np.testing.assert_array_equal(samples.spread, range(4))


def test_what_is_no_array_is_named():
    for x, t, name in (({1}, [0, 1], "inputs"), (np.zeros((2, 2)), {1}, "targets")):
        net = nn.Sequential(nn.Linear(2, 3), nn.Softmax())
        with pytest.raises(ValueError, match=f"^train: {name} must be an array, but NumPy makes none of this set"):
            Samples(net, nn.CrossEntropy().pair(net.layers), (x, t), "train")


@pytest.mark.parametrize("shape", [(4, 6), (2, 2), (2, 2, 3), (1, 4, 1)])
def test_samples_know_the_shape_of_a_sample(shape):
    assert samples_of(np.zeros((6, *shape)), np.arange(6) % 3).shape == shape


def test_what_is_mapped_from_a_file_is_not_read_into_memory(mapped):
    x, _path = mapped
    assert np.shares_memory(samples_of(x, np.arange(30) % 3).x, x)


@pytest.mark.parametrize("features", [79_000, 300_000])
def test_a_spread_of_large_samples_is_small(features):
    x = np.broadcast_to(np.uint8(0), (5000, features))
    samples = samples_of(x, np.zeros(5000, int))
    assert 50 < len(samples.spread) < 150
    assert samples.spread.dtype.kind == "i"
    assert samples.spread[0] == 0
    assert samples.spread[-1] > 4800
