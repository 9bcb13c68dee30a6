"""Data that change while they are in use: training and test data, inputs and targets, in memory and in files."""

import copy
import math
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import numnet as nn
import numnet.data

N, BATCH = 45, 4  # 12 batches, of which the last is short
RNG = np.random.default_rng(0)
X, T = RNG.normal(size=(N, 3)), np.arange(N) % 2
KINDS = {  # what t is, the layers at the end, and a cost
    "labels": (T, [nn.Linear(4, 2), nn.Softmax()], nn.CrossEntropy()),
    "one-hot rows": (np.eye(2)[T], [nn.Linear(4, 2), nn.Softmax()], nn.CrossEntropy()),
    "yes or no": (T.astype(float), [nn.Linear(4, 1), nn.Sigmoid()], nn.CrossEntropy()),
    "numbers": (X @ [[1.0], [2.0], [3.0]], [nn.Linear(4, 1)], nn.Quadratic()),
}
SPOILS = {  # part of the data: kinds of targets, and what makes the data unusable from one sample on
    "inputs": (KINDS, lambda x, at: x.__setitem__((slice(at, None), 1), np.inf)),
    "labels": (["labels"], lambda t, at: t.__setitem__(slice(at, None), 2)),
    "negative labels": (["labels"], lambda t, at: t.__setitem__(slice(at, None), -1)),
    "targets": (["one-hot rows", "yes or no", "numbers"], lambda t, at: t.__setitem__(slice(at, None), np.nan)),
    "rows": (["one-hot rows"], lambda t, at: t.__setitem__(slice(at, None), 0.75)),
    "probabilities": (["yes or no"], lambda t, at: t.__setitem__(slice(at, None), 1.5)),
}
CASES = [(part, kind) for part, (kinds, _) in SPOILS.items() for kind in kinds]


class Trigger(nn.Layer):
    """Passes numbers on; does something when the given number of batches has gone forward, in training or out of it."""

    def __init__(self):
        self.left, self.action, self.tests = [math.inf], None, False

    def forward(self, x, out=None):
        if self.training is not self.tests:
            self.left[0] -= 1
            if self.left[0] == 0:
                self.action()
        return np.multiply(x, 1, out=out)

    def backward(self, grad, out=None):
        return np.multiply(grad, 1, out=out)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(numnet.data, "BLOCK_BATCHES", 2)
    monkeypatch.setattr(nn.checks, "CHUNK", 7)


def made(kind):
    """Return a trainer after one epoch, and the trigger in its network."""
    t, layers, cost = KINDS[kind]
    trigger = Trigger()
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), trigger, *copy.deepcopy(layers), seed=0, dtype="float64")
    trainer = nn.Trainer(net, cost, nn.SGD(0.1, momentum=0.5), seed=0)
    trainer.fit((X, t), 1, BATCH)
    return trainer, trigger


def state(trainer):
    kept = trainer.snapshot()
    parts = kept.parameters.tobytes(), kept.velocity.tobytes(), kept.rng.bit_generator.state, kept.history
    return *parts, vars(kept.progress)


def mapped(array, path):
    np.save(path, array)
    return np.load(path, mmap_mode="r+")


def data_of(kind, where, folder):
    """Return training and test data of their own, in memory or in files."""
    t, _, _ = KINDS[kind]
    arrays = {"train": [X.copy(), np.array(t)], "test": [X[:20].copy(), np.array(t[:20])]}
    if where == "mapped":
        arrays = {
            name: [mapped(a, folder / f"{name}{i}.npy") for i, a in enumerate(pair)] for name, pair in arrays.items()
        }
    return arrays


@pytest.mark.parametrize("which", ["train", "test"])
@pytest.mark.parametrize(("part", "kind"), CASES)
@pytest.mark.parametrize("batch", [1, 9])
def test_what_becomes_unusable_in_memory_is_noticed_in_the_same_epoch(which, part, kind, batch):
    trainer, trigger = made(kind)
    data = data_of(kind, "memory", None)
    before = state(trainer)
    array = data[which][part != "inputs"]
    trigger.action, trigger.left[0] = lambda: SPOILS[part][1](array, 0), batch
    with pytest.raises(ValueError, match=f"{which} has changed while in use: "):
        trainer.fit(tuple(data["train"]), 2, BATCH, tuple(data["test"]))
    trainer.progress.last = before[-1]["last"]  # what was asked for stays
    assert state(trainer)[:4] == before[:4]
    assert len(trainer.history) == 1
    trainer.fit((X, KINDS[kind][0]))  # and the run can go on


@pytest.mark.parametrize("which", ["train", "test"])
@pytest.mark.parametrize("part", [0, 1])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["touched", "cut short", "made longer", "replaced", "rewritten"])
@pytest.mark.parametrize("batch", [1, pytest.param(9, marks=pytest.mark.slow)])
def test_a_mapped_file_that_changes_is_noticed_in_the_same_epoch(which, part, kind, how, batch, tmp_path):
    trainer, trigger = made(kind)
    data = data_of(kind, "mapped", tmp_path)
    path, before = tmp_path / f"{which}{part}.npy", state(trainer)

    def change():
        content = path.read_bytes()
        if how == "cut short":
            os.truncate(path, 10)
        elif how == "made longer":
            path.write_bytes(content + b"more")
        elif how == "replaced":
            (tmp_path / "new").write_bytes(content)
            os.replace(tmp_path / "new", path)
        elif how == "rewritten":
            path.write_bytes(content[:-8] + bytes(8))
        os.utime(path, ns=(1, 1))

    trigger.action, trigger.left[0] = change, batch
    views = {name: tuple(array[:, None][:, 0] for array in pair) for name, pair in data.items()}
    with pytest.raises(ValueError, match=rf"{which} has changed while in use: the file .*{which}{part}\.npy is not as"):
        trainer.fit(views["train"], 2, BATCH, views["test"])
    assert state(trainer)[:4] == before[:4]


@pytest.mark.parametrize("part", [0, 1])
def test_data_that_change_while_they_are_evaluated(part, tmp_path):
    trainer, trigger = made("labels")
    pair = data_of("labels", "mapped", tmp_path)["test"]
    trigger.action, trigger.left[0] = lambda: os.truncate(tmp_path / f"test{part}.npy", 10), 2
    trigger.tests = True
    with pytest.raises(ValueError, match="data has changed while in use: the file"):
        trainer.evaluate(tuple(pair))


@given(st.integers(0, N - 1), st.sampled_from([1, 3, 7, 45, 100]), st.booleans())
def test_the_sample_that_changed_is_named(sample, batch_size, labels):
    trainer, _ = made("labels")
    x, t = X.copy(), T.copy()

    def spoil(_):
        if labels:
            t[sample] = 7
        else:
            x[sample, 2] = np.nan

    found = f"that of sample {sample} is 7" if labels else f"feature 2 of sample {sample} is nan"
    with pytest.raises(ValueError, match=found):
        trainer.fit((x, t), 2, batch_size, callbacks=[spoil])


def test_targets_that_change_to_other_usable_ones_are_compared_as_they_are():
    trainer, _ = made("one-hot rows")
    t = np.array([[1.0, 0.0]] * N)
    t[0] = [0, 1]
    net = trainer.net
    net.parameters = 0
    net.layers[-2].bias = [5.0, -5.0]  # class 0 always

    def swap(_):
        t[:] = t[:, ::-1].copy()

    trainer.optimizer.lr = 1e-12
    trainer.fit((X, t), 2, BATCH, callbacks=[swap])
    assert trainer.history.train_accuracy[-2:] == [1 - 1 / N, 1 / N]
