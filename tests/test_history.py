"""A history is a list of epochs, and each of its columns a list."""

import copy
import csv
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import numnet as nn

numbers = st.floats(allow_nan=True, allow_infinity=True)
epochs = st.builds(nn.Epoch, st.integers(1, 10**6), numbers, numbers, numbers, st.floats(0, 1e9), numbers)
histories = st.lists(epochs, max_size=10).map(nn.History)
NAMES = ["epoch", "train_cost", "train_accuracy", "test_accuracy", "seconds", "test_cost"]


@given(history=histories)
def test_each_column_is_that_field_of_every_epoch(history):
    for i, name in enumerate(NAMES):
        np.testing.assert_equal(getattr(history, name), [epoch[i] for epoch in history])
        np.testing.assert_equal(getattr(history, name), [getattr(epoch, name) for epoch in history])
    assert list(history.to_dict()) == NAMES
    np.testing.assert_equal(history.to_dict(), {name: getattr(history, name) for name in NAMES})


@given(history=histories)
def test_csv_has_every_digit(history, tmp_path_factory):
    path = tmp_path_factory.mktemp("histories") / "history.csv"
    text = history.to_csv(path)
    assert history.to_csv(path) == text  # in the place of the table that is there
    assert path.read_bytes() == text.encode() == history.to_csv().encode()
    header, *rows = csv.reader(text.splitlines())
    assert header == NAMES
    again = [nn.Epoch(int(row[0]), *map(float, row[1:])) for row in rows]
    np.testing.assert_equal([tuple(epoch) for epoch in again], [tuple(epoch) for epoch in history])


@given(history=histories)
def test_the_table_has_a_line_for_each_epoch(history):
    head, *lines = repr(history).splitlines()
    inner = ["train_accuracy", "test_cost", "test_accuracy"]
    inner = [name for name in inner if not all(map(math.isnan, getattr(history, name)))]
    assert [name.replace(" ", "_") for name in head.split("  ")] == ["epoch", "train_cost", *inner, "seconds"]
    assert len(lines) == len(history)
    for line, epoch in zip(lines, history, strict=True):
        middle = [f"{getattr(epoch, name):.4f}" for name in ["train_cost", *inner]]
        assert line.split() == [f"{epoch.epoch}", *middle, f"{epoch.seconds:.2f}"]


def test_the_table_by_hand():
    history = nn.History([nn.Epoch(1, 0.5, 0.25, math.nan, 3.0), nn.Epoch(12, 0.125, 1.0, 0.5, 0.125, 1234.5)])
    assert repr(history) == (
        "epoch  train cost  train accuracy  test cost  test accuracy  seconds\n"
        "    1      0.5000          0.2500        nan            nan     3.00\n"
        "   12      0.1250          1.0000  1234.5000         0.5000     0.12"
    )
    assert repr(nn.History()) == "epoch  train cost  seconds"


def test_the_table_has_what_is_not_finite_in_small_letters():
    history = nn.History(
        [nn.Epoch(1, math.inf, math.nan, 0.5, 0.25, math.nan), nn.Epoch(2, math.nan, 0.5, math.nan, 0.25, 2)]
    )
    lines = [line.split() for line in repr(history).splitlines()]
    assert lines[1:] == [["1", "inf", "nan", "nan", "0.5000", "0.25"], ["2", "nan", "0.5000", "2.0000", "nan", "0.25"]]


def test_the_table_of_a_regression_has_no_accuracies():
    history = nn.History([nn.Epoch(1, 0.5, math.nan, math.nan, 3.0, 0.25)])
    assert repr(history) == "epoch  train cost  test cost  seconds\n    1      0.5000     0.2500     3.00"


def test_a_history_is_a_list():
    first, second = nn.Epoch(1, 0.5, 0.25, 0.75, 3.0, 0.5), nn.Epoch(2, 0.25, 0.5, 0.5, 3.0, 0.25)
    history = nn.History([first])
    assert not nn.History()
    assert history
    history.append(second)
    assert (len(history), history[0], history[-1], list(history)) == (2, first, second, [first, second])
    assert history[:1] == [first]
    assert history == nn.History([first, second])
    history[:] = [second]
    assert history.epoch == [2]
    for twin in (copy.deepcopy(history), pickle.loads(pickle.dumps(history))):
        assert type(twin) is nn.History
        assert twin == history
    with pytest.raises(AttributeError):
        history.train_cost = []
    with pytest.raises(AttributeError, match=r"^'History' object has no attribute 'loss'$"):
        history.loss  # noqa: B018
