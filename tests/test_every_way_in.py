"""What holds for training data holds for test data, for every sample, every batch and every other way in."""

import copy
import io
import math
import os
import pickle
import re
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from xml.etree import ElementTree

import matplotlib.pyplot
import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st

import numnet as nn
import numnet.data
from numnet import backend, checks
from numnet.bar import Bar
from numnet.run import Progress

from .devices import DEVICES, host
from .networks import Fuse


class Kind(NamedTuple):
    """Targets of samples of three classes, and the end of a network for them, with a cost."""

    targets: Any
    end: list
    cost: type


KINDS = {
    "classes": Kind(lambda c: c, [nn.Linear(4, 3), nn.Softmax()], nn.CrossEntropy),
    "one-hot rows": Kind(lambda c: np.eye(3)[c], [nn.Linear(4, 3), nn.Softmax()], nn.CrossEntropy),
    "shares": Kind(lambda c: (np.eye(3)[c] + 0.5) / 2.5, [nn.Linear(4, 3), nn.Softmax()], nn.CrossEntropy),
    "yes or no": Kind(lambda c: (c > 0) * 1.0, [nn.Linear(4, 1), nn.Sigmoid()], nn.CrossEntropy),
    "several yes or no": Kind(lambda c: np.eye(3)[c][:, :2], [nn.Linear(4, 2), nn.Sigmoid()], nn.CrossEntropy),
    "limited numbers": Kind(lambda c: np.eye(3)[c] - 0.5, [nn.Linear(4, 3), nn.Tanh()], nn.Quadratic),
    "numbers": Kind(lambda c: np.eye(3)[c] * 5, [nn.Linear(4, 3)], nn.Quadratic),
}


def trainer_of(kind, dtype="float64", device="cpu", layers=(), **options):
    layers = *layers, nn.Linear(3, 4), nn.Tanh(), *copy.deepcopy(KINDS[kind].end)
    net = nn.Sequential(*layers, seed=0, dtype=dtype, device=device)
    return nn.Trainer(net, KINDS[kind].cost(), nn.SGD(**{"lr": 0.1, "momentum": 0.5, **options}), seed=0)


def data_of(kind, n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 3)), KINDS[kind].targets(rng.integers(3, size=n))


def in_bits(thing):
    """Return all that an object is made of, with the bytes of its arrays, to compare two states of the object."""
    if isinstance(thing, np.random.Generator):
        return repr(thing.bit_generator.state)
    if hasattr(thing, "dtype") and hasattr(thing, "shape"):
        return str(thing.dtype), thing.shape, host(thing).tobytes()
    if isinstance(thing, dict):
        return {name: in_bits(value) for name, value in thing.items()}
    if isinstance(thing, (list, tuple)):
        return [in_bits(part) for part in thing]
    if type(thing).__module__.startswith("numnet.") and hasattr(thing, "__dict__"):
        return in_bits({name: value for name, value in vars(thing).items() if name != "operations"})
    return repr(thing)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(numnet.data, "BLOCK_BATCHES", 2)
    monkeypatch.setattr(checks, "CHUNK", 4)


# What is refused

WAYS = {
    "train": lambda run, x, t, good: run.fit((x, t), 1, 2),
    "test": lambda run, x, t, good: run.fit(good, 1, 2, (x, t)),
    "data": lambda run, x, t, good: run.evaluate((x, t)),
    "step": lambda run, x, t, good: run.step(x, t),
    "gradcheck": lambda run, x, t, good: nn.gradcheck(run.net, run.cost, x, t),
    "cost_and_gradient": lambda run, x, t, good: nn.cost_and_gradient(run.net, run.cost, x, t),
    "accuracy": lambda run, x, t, good: run.net.accuracy(x, t),
    "a call": lambda run, x, t, good: run.net(x),
    "predict": lambda run, x, t, good: run.net.predict(x),
    "a cost": lambda run, x, t, good: run.cost(run.net(np.zeros((len(x), 3))), t),
}
INPUTS = [way for way in WAYS if way != "a cost"]
FLOAT32 = [way for way in INPUTS if way not in ("gradcheck", "cost_and_gradient")]
TARGETS = [way for way in WAYS if way not in ("a call", "predict")]
WITH_A_LAYER = [way for way in TARGETS if way not in ("gradcheck", "a cost")]  # they know what the last layer can give
NAMED = "train", "test", "data", "step", "cost_and_gradient"  # the message begins with the name of the way
ROWS = [kind for kind in KINDS if kind != "classes"]


def put(array, at, value, dtype=None):
    """Return a copy with another value in a row, or in one place of a row."""
    array = np.array(array, dtype)
    array[at if array.ndim > 1 else at[0]] = value
    return array


# Kinds of targets, ways in, and how data become unusable at a place (sample, column).
FAULTS = {
    "an input of nan": (KINDS, INPUTS, lambda x, t, at: (put(x, at, math.nan), t)),
    "an infinite input": (KINDS, INPUTS, lambda x, t, at: (put(x, at, -math.inf), t)),
    "an input too large for float32": (KINDS, FLOAT32, lambda x, t, at: (put(x, at, 1e300), t)),
    "a feature less": (KINDS, INPUTS, lambda x, t, at: (x[:, 1:], t)),
    "inputs without a batch": (KINDS, INPUTS, lambda x, t, at: (x[at[0]], t)),
    "words": (KINDS, INPUTS, lambda x, t, at: (x.astype(str), t)),
    "complex inputs": (KINDS, INPUTS, lambda x, t, at: (x * 1j, t)),
    "a target less": (KINDS, TARGETS, lambda x, t, at: (x, np.delete(t, at[0], 0))),
    "a target more": (KINDS, TARGETS, lambda x, t, at: (np.delete(x, at[0], 0), t)),
    "no samples": (KINDS, [way for way in TARGETS if way != "a cost"], lambda x, t, at: (x[:0], t[:0])),
    "a class too many": (["classes"], TARGETS, lambda x, t, at: (x, put(t, at, 3))),
    "a class below 0": (["classes"], TARGETS, lambda x, t, at: (x, put(t, at, -1))),
    "classes that are no integers": (["classes"], TARGETS, lambda x, t, at: (x, t / 1)),
    "classes in a column": (["classes"], TARGETS, lambda x, t, at: (x, t[:, None])),
    "targets that are words": (KINDS, TARGETS, lambda x, t, at: (x, t.astype(str))),
    "complex targets": (KINDS, TARGETS, lambda x, t, at: (x, t * 1j)),
    "a target of nan": (ROWS, TARGETS, lambda x, t, at: (x, put(t, at, math.nan))),
    "an infinite target": (ROWS, TARGETS, lambda x, t, at: (x, put(t, at, math.inf))),
    "targets with a column more": (ROWS, TARGETS, lambda x, t, at: (x, np.column_stack([t, t]))),
    "a probability above 1": (
        ["one-hot rows", "shares", "yes or no", "several yes or no"],
        TARGETS,
        lambda x, t, at: (x, put(t, at, 1.5)),
    ),
    "a row that does not sum to 1": (
        ["one-hot rows", "shares"],
        TARGETS,
        lambda x, t, at: (x, put(t, at[:1], [0.2, 0.3, 0.4])),
    ),
    "a target that the last layer cannot give": (
        ["limited numbers"],
        WITH_A_LAYER,
        lambda x, t, at: (x, put(t, at, -1.5)),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
@settings(max_examples=8)
@given(data=st.data())
def test_what_is_unusable_is_refused_in_every_way_in_and_changes_nothing(fault, data):
    kinds, ways, spoil = FAULTS[fault]
    kind = data.draw(st.sampled_from(list(kinds)))
    good, n = data_of(kind, 5, seed=1), data.draw(st.integers(2, 11))
    at = data.draw(st.integers(0, n - 1)), data.draw(st.integers(0, len(np.shape(good[1])) and good[1][:1].size - 1))
    run = trainer_of(kind, dtype="float32")
    run.fit(good, 1, 2)
    before = in_bits(run)
    x, t = spoil(*data_of(kind, n), at)
    for way in ways:
        with pytest.raises(ValueError, match=f"^{way}: " if way in NAMED else None):
            WAYS[way](run, x, t, good)
        assert in_bits(run) == before, way


@settings(max_examples=40)
@given(n=st.integers(1, 11), kind=st.sampled_from(list(KINDS)), data=st.data())
def test_the_sample_that_is_not_finite_is_named_in_every_way_in(n, kind, data):
    sample, feature = data.draw(st.integers(0, n - 1)), data.draw(st.integers(0, 2))
    x, t = data_of(kind, n)
    x[sample, feature] = math.nan
    x[sample + 1 :] = math.nan
    for way in INPUTS:
        every = "|is nan in every sample" * (sample == 0 < n - 1)
        with pytest.raises(ValueError, match=f"feature {feature} (of sample {sample} is nan{every})"):
            WAYS[way](trainer_of(kind), x, t, data_of(kind, 5))


@pytest.mark.parametrize("way", ["train", "test", "data"])
@pytest.mark.parametrize("data", [np.ones((2, 3)), nn.datasets.digits(), (1, 2, 3), {"x": 1, "t": 2}])
def test_what_is_no_data_is_refused_in_every_way_in(way, data):
    run = trainer_of("classes")
    before = in_bits(run)
    call = {"train": lambda: run.fit(data, 1, 2), "data": lambda: run.evaluate(data)}.get(
        way, lambda: run.fit(data_of("classes", 5), 1, 2, data)
    )
    with pytest.raises(ValueError, match=rf"^{way}: data must be (one Dataset|a Dataset or a pair of arrays \(x, t\))"):
        call()
    assert in_bits(run) == before


LAYOUTS = [np.array, np.asfortranarray, lambda array: np.repeat(array, 2, axis=0)[::2]]


@given(
    which=st.sampled_from(["train", "test"]),
    kinds=st.sampled_from([("inputs", k) for k in ("f2", "f4", "f8", ">f8")])
    | st.sampled_from([("labels", k) for k in ("u1", "i4", "i8", ">i2")])
    | st.just(("rows", None)),
    dtype=st.sampled_from(["float32", "float64"]),
    layout=st.sampled_from(LAYOUTS),
    sample=st.integers(0, 10),
    batch_size=st.integers(1, 12),
)
def test_what_becomes_unusable_during_the_training_is_refused_whatever_its_type(
    which, kinds, dtype, layout, sample, batch_size
):
    part, kind = kinds
    run = trainer_of("one-hot rows" if part == "rows" else "classes", dtype)
    x, t = data_of("one-hot rows" if part == "rows" else "classes", 11)
    arrays = {"train": [x.copy(), t.copy()], "test": [x.copy(), t.copy()]}
    place = part != "inputs"
    spoiled = arrays[which][place] = layout(arrays[which][place]).astype(kind or dtype, order="K", copy=False)

    def spoil(run):
        spoiled[sample] = 3 if part == "labels" else math.nan

    with pytest.raises(ValueError, match=f"^{which} has changed while in use: .*(sample {sample} |t.{sample}, )"):
        run.fit(tuple(arrays["train"]), 3, batch_size, tuple(arrays["test"]), callbacks=[spoil])
    assert len(run.history) == 1


# What is computed


def cost_of_each(z, t, kind):
    """Return the cost of each sample from the last layer's inputs, by SciPy."""
    end = KINDS[kind].end
    if isinstance(end[-1], nn.Softmax):
        return -(t * scipy.special.log_softmax(z, axis=1)).sum(axis=1)
    if isinstance(end[-1], nn.Sigmoid):
        return -(t * scipy.special.log_expit(z) + (1 - t) * scipy.special.log_expit(-z)).sum(axis=1)
    return ((np.tanh(z) if isinstance(end[-1], nn.Tanh) else z) - t).__pow__(2).sum(axis=1) / 2


FORMS = {  # of the same inputs, which are bytes or small whole numbers
    "bytes": lambda x: x,
    "floats": lambda x: x / 255,
    "other byte order": lambda x: (x / 255).astype(">f8"),
    "lists": lambda x: (x / 255).tolist(),
    "images": lambda x: x.reshape(len(x), 1, 3),
    "columns": np.asfortranarray,
    "every other": lambda x: np.repeat(x, 2, axis=0)[::2],
}


def cut_and_resumed(path, kind, device, parameters, data, batch_size, cut):
    """Return the first epoch of a run that ends at a batch and is resumed; nothing if no file was written before."""
    run = trainer_of(kind, device=device, lr=1e-300, layers=[Fuse()])
    run.net.parameters, Fuse.left = parameters, cut
    try:
        run.fit(data, 1, batch_size, data, checkpoint=path, checkpoint_every="1 batch")
    except KeyboardInterrupt:
        pass
    finally:
        Fuse.left = math.inf
    return nn.Trainer.resume(path, device=device).fit(data, test=data)[0] if path.exists() else None


@pytest.mark.filterwarnings("ignore::numnet.DataWarning")
@pytest.mark.parametrize("device", DEVICES)
@given(
    kind=st.sampled_from(list(KINDS)),
    n=st.integers(1, 15),
    batch_size=st.integers(1, 6),
    chunk=st.integers(1, 8),
    block=st.integers(1, 3),
    cut=st.integers(2, 15),
    form=st.sampled_from(list(FORMS)),
    seed=st.integers(0, 2**32 - 1),
)
def test_costs_and_accuracies_are_means_over_samples_in_every_way(
    kind, n, batch_size, chunk, block, cut, form, seed, device, tmp_path_factory
):
    rng = np.random.default_rng(seed)
    x, t = rng.integers(0, 256, (n, 3), dtype=np.uint8), KINDS[kind].targets(rng.integers(3, size=n))
    run = trainer_of(kind, device=device, lr=1e-300)  # a rate at which nothing changes
    run.net.parameters = rng.normal(size=run.net.parameters.size)
    hidden, last = ([host(a) for a in run.net.layers[i].parameters.values()] for i in (0, 2))
    z = np.tanh(x / 255 @ hidden[0] + hidden[1]) @ last[0] + last[1]
    rows = np.eye(3)[t] if kind == "classes" else t.reshape(n, -1)
    cost, classes = cost_of_each(z, rows, kind).mean(), checks.target_classes(rows, run.net.layers[-1])
    found_classes = z.argmax(axis=1) if z.shape[1] > 1 else z[:, 0] > 0
    accuracy = math.nan if classes is None else np.mean(found_classes == classes)
    data = FORMS[form](x), t
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "CHUNK", chunk)
        patch.setattr(numnet.data, "BLOCK_BATCHES", block)
        (epoch,) = run.fit(data, 1, batch_size, data)
        path = tmp_path_factory.mktemp("runs") / "run.npz"
        resumed = cut_and_resumed(path, kind, device, run.net.parameters, data, batch_size, cut) or epoch
        found = {
            "train": epoch[1:3],
            "test": (epoch.test_cost, epoch.test_accuracy),
            "resumed": resumed[1:3],
            "data": run.evaluate(data),
            "cost_and_gradient": (nn.cost_and_gradient(run.net, run.cost, *data)[0], accuracy),
            "step": (run.step(*data), accuracy),
            "a cost": (run.cost(run.net(data[0]), t), accuracy),
            "accuracy": (cost, math.nan if classes is None else run.net.accuracy(*data)),
        }
    for way, numbers in found.items():
        np.testing.assert_allclose(numbers, (cost, accuracy), rtol=1e-9, err_msg=way)


# What leaves everything as it is

LOOKS = {
    "a call": lambda run, x, t, path: run.net(x),
    "predict": lambda run, x, t, path: run.net.predict(x),
    "accuracy": lambda run, x, t, path: run.net.accuracy(x, t),
    "evaluate": lambda run, x, t, path: run.evaluate((x, t)),
    "gradcheck": lambda run, x, t, path: nn.gradcheck(run.net, run.cost, x[:2], t[:2]),
    "gradcheck of samples": lambda run, x, t, path: nn.gradcheck(run.net, run.cost, x[:2], t[:2], samples=2),
    "cost_and_gradient": lambda run, x, t, path: nn.cost_and_gradient(run.net, run.cost, x, t),
    "cost_and_gradient elsewhere": lambda run, x, t, path: nn.cost_and_gradient(
        run.net, run.cost, x, t, 2 * run.net.parameters
    ),
    "a cost": lambda run, x, t, path: run.cost(run.net(x), t),
    "repr": lambda run, x, t, path: (repr(run), repr(run.net), repr(run.history)),
    "HTML": lambda run, x, t, path: (run.net._repr_html_(), run.history._repr_html_()),
    "save": lambda run, x, t, path: run.net.save(path),
    "astype": lambda run, x, t, path: [change(run.net.astype(d)) for d in ("float32", "float64", "complex128")],
    "a copy": lambda run, x, t, path: change(copy.deepcopy(run.net)),
    "a pickle": lambda run, x, t, path: change(pickle.loads(pickle.dumps(run.net))),
    "a copy of the run": lambda run, x, t, path: change(copy.deepcopy(run).net),
    "a second trainer": lambda run, x, t, path: nn.Trainer(run.net, run.cost, run.optimizer, seed=3),
    "a snapshot": lambda run, x, t, path: run.snapshot(),
    "to": lambda run, x, t, path: run.net.to(run.net.device),
    "decay_mask": lambda run, x, t, path: run.net.decay_mask.fill(7),
}


def change(net):
    """Change all that a network has."""
    net.parameters += 1
    net.gradients += 1
    net.forward(net.scaled(np.ones((2, 3))))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("look", LOOKS)
def test_looking_changes_nothing_and_no_gradient_of_the_batch_that_went_forward(look, dtype, device, tmp_path):
    runs = trainer_of("classes", dtype, device), trainer_of("classes", dtype, device)
    for x, t in (data_of("classes", 9), (np.arange(27, dtype=np.uint8).reshape(9, 3), np.arange(9) % 3)):
        for array in (x, t):
            array.flags.writeable = False
        batch = np.random.default_rng(2).normal(size=(4, 3))
        for run in runs:
            run.fit(data_of("classes", 5), 1, 2)
            went = run.net.forward(run.net.scaled(backend.to(batch, device)))
            if run is runs[0]:
                for layer in run.net.layers:
                    layer.training = True  # somebody may look in the middle of a training
                before, memory = in_bits(run), [id(array) for array in (run.net.parameters, run.net.gradients)]
                LOOKS[look](run, x, t, tmp_path / "net.npz")
                assert in_bits(run) == before
                assert [id(array) for array in (run.net.parameters, run.net.gradients)] == memory
                for layer in run.net.layers:
                    layer.training = False
            target = backend.to(np.eye(3, dtype=dtype)[[0, 1, 2, 0]], device)
            run.net.backpropagate(run.pair, *went, target)
        for run in runs:
            run.step(*data_of("classes", 4))
        vectors = ([run.net.parameters, run.net.gradients, run.optimizer.velocity] for run in runs)
        assert in_bits(next(vectors)) == in_bits(next(vectors))


# What a callback changes


def other_optimizer(run):
    run.optimizer = nn.SGD(0.02, momentum=0.7, weight_decay=0.1)
    run.optimizer.start(run.net)


CHANGES = {
    "the rate": lambda run: setattr(run.optimizer, "lr", 0.03),
    "a pause": lambda run: setattr(run.optimizer, "lr", 0.0),
    "the schedule": lambda run: setattr(run.optimizer, "lr", lambda epoch: 0.3 / epoch),
    "the momentum": lambda run: setattr(run.optimizer, "momentum", 0.9),
    "no momentum": lambda run: setattr(run.optimizer, "momentum", 0.0),
    "Nesterov's momentum": lambda run: vars(run.optimizer).update(momentum=0.9, nesterov=True),
    "the decay": lambda run: setattr(run.optimizer, "weight_decay", 0.1),
    "clipping": lambda run: setattr(run.optimizer, "clip_norm", 0.01),
    "the optimizer": other_optimizer,
    "the velocity": lambda run: run.optimizer.velocity.fill(0.5),
    "the parameters": lambda run: setattr(run.net, "parameters", run.net.parameters * 0.5),
    "a weight": lambda run: setattr(run.net.layers[0], "weight", 0.25),
    "the order": lambda run: setattr(run, "rng", np.random.default_rng(7)),
    "nothing": lambda run: None,
}


def halving(epoch):
    return 0.5**epoch


def learnt(run):
    """Return the parameters, the velocity, the options and the history without the seconds."""
    history = [epoch._replace(seconds=0.0) for epoch in run.history]
    return in_bits([run.net.parameters, run.optimizer.velocity, run.optimizer.options(), history, run.rng])


@pytest.mark.parametrize("what", CHANGES)
@settings(max_examples=5)
@given(
    after=st.integers(1, 3),
    end=st.integers(1, 4),
    lr=st.sampled_from([0.1, halving]),
    kind=st.sampled_from(["classes", "numbers"]),
    momentum=st.sampled_from([0.0, 0.5]),
)
def test_what_a_callback_changes_is_as_if_it_had_been_changed_between_two_calls(
    after, end, lr, kind, momentum, what, tmp_path_factory
):
    def callback(run):
        if len(run.history) == after:
            CHANGES[what](run)

    def interrupt(run):
        if len(run.history) == end:
            rates.append(run.optimizer.lr)
            raise KeyboardInterrupt

    data, path, rates = data_of(kind, 9), tmp_path_factory.mktemp("runs") / "run.npz", []
    called_twice, called_back, resumed = (trainer_of(kind, lr=lr, momentum=momentum) for _ in range(3))
    called_twice.fit(data, after, 2, data)
    CHANGES[what](called_twice)
    called_twice.fit(data, 4 - after, 2, data)
    called_back.fit(data, 4, 2, data, callbacks=[callback])
    assert learnt(called_back) == learnt(called_twice)
    with pytest.raises(KeyboardInterrupt):
        resumed.fit(data, 4, 2, data, callbacks=[callback, interrupt], checkpoint=path)
    resumed.fit(data, test=data, callbacks=[callback])
    assert learnt(resumed) == learnt(called_twice)
    again = nn.Trainer.resume(path, lr=rates[0] if callable(rates[0]) else None)  # functions are not in the file
    again.fit(data, test=data, callbacks=[callback])
    assert learnt(again) == learnt(called_twice)


# What is used again

BEFORE = {  # how an optimizer, a cost and a keep_best can have been used before
    "nothing": lambda sgd, cost, keep: None,
    "a run of another network": lambda sgd, cost, keep: nn.Trainer(
        nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 1), nn.Sigmoid(), seed=4), cost, sgd, seed=4
    ).fit(data_of("yes or no", 8), 3, 3, callbacks=[keep]),
    "a run of a network as large": lambda sgd, cost, keep: nn.Trainer(
        nn.Sequential(nn.Linear(30, 1), nn.Sigmoid(), seed=4), cost, sgd, seed=4
    ).fit((np.ones((8, 30)), np.arange(8) % 2 * 1.0), 3, 3, callbacks=[keep]),
    "a run that was interrupted": lambda sgd, cost, keep: interrupted(sgd, cost, keep),
    "steps by hand": lambda sgd, cost, keep: stepped(sgd, nn.Sequential(nn.Linear(30, 1), seed=4, dtype="float64")),
    "a cost of other outputs": lambda sgd, cost, keep: cost([[0.2], [0.9]], [0.0, 1.0]),
}


def interrupted(sgd, cost, keep):
    def interrupt(run):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        nn.Trainer(trainer_of("classes").net, cost, sgd, seed=2).fit(
            data_of("classes", 8), 3, 3, callbacks=[keep, interrupt]
        )


def stepped(sgd, net):
    """Take three steps with an optimizer alone, and return the parameters."""
    sgd.start(net)
    for i in range(3):
        gradients = np.random.default_rng(i).normal(size=net.parameters.size)
        sgd.update(net.parameters, gradients, 0.1)
    return net.parameters


@pytest.mark.filterwarnings("ignore::numnet.DataWarning")
@given(
    before=st.lists(st.sampled_from(list(BEFORE)), min_size=1, max_size=3),
    decay=st.sampled_from([0.0, 0.1]),
    clip=st.sampled_from([None, 0.1]),
    nesterov=st.booleans(),
)
def test_what_is_used_again_is_as_if_it_were_new(before, decay, clip, nesterov):
    def parts():
        sgd = nn.SGD(0.1, momentum=0.9, nesterov=nesterov, weight_decay=decay, clip_norm=clip)
        return sgd, nn.CrossEntropy(), nn.keep_best("train_cost", patience=2)

    used, new = parts(), parts()
    for name in before:
        BEFORE[name](*used)
    (one, cost, keep), (other, new_cost, new_keep) = used, new
    outcomes = []
    for sgd, a_cost, best in ((one, cost, keep), (other, new_cost, new_keep)):
        run = nn.Trainer(trainer_of("classes").net, a_cost, sgd, seed=1)
        run.fit(data_of("classes", 9), 6, 2, data_of("classes", 5), callbacks=[best])
        outcomes.append((learnt(run), run.best.epoch, in_bits(stepped(sgd, trainer_of("classes").net))))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_that_is_initialized_is_as_if_it_were_new(kind):
    used, new = trainer_of(kind), trainer_of(kind)
    used.fit(data_of(kind, 9), 2, 2)
    used.net.initialize(seed=0)
    again = nn.Trainer(used.net, KINDS[kind].cost(), nn.SGD(0.1, momentum=0.5), seed=0)
    assert (repr(again), again.net.trained) == (repr(new), False)
    for run in (again, new):
        run.fit(data_of(kind, 9), 2, 2)
    assert learnt(again) == learnt(new)


# What is said

MEANT = {  # the names under which a column is shown
    "train_cost": {"train cost", "training cost", "cost"},
    "train_accuracy": {"train accuracy", "training accuracy"},
    "test_cost": {"test cost"},
    "test_accuracy": {"test accuracy", "test"},
}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def in_the_bar(history, patch):
    patch.setattr(sys, "stderr", Terminal())
    bar = Bar(SimpleNamespace(history=history, progress=Progress(len(history), 1, 1)))
    bar.after_epoch(SimpleNamespace(history=history))
    bar.close()
    shown = sys.stderr.getvalue().split("\r")[-1].split("[")[1].rstrip("]\n ")
    pairs = dict(pair.split("=") for pair in shown.split(", ")[1:])
    assert pairs.pop("epoch") == str(len(history))
    return pairs


def in_html(history, patch):
    tree = ElementTree.fromstring(f"<div>{history._repr_html_()}</div>")
    head, *_, last = [["".join(cell.itertext()) for cell in row] for row in tree.iter("tr")]
    cells = {name: text for name, text in zip(head, last, strict=True) if text}
    labels = [svg.get("aria-label").removesuffix(f" after epoch {len(history)}") for svg in tree.iter("svg")]
    for pair in ", ".join(labels).split(", "):
        name, _, text = pair.removesuffix(" %").rpartition(" ")
        assert cells.get(name, "nan").removesuffix(" %") == text
    return cells


def in_text(history, patch):
    head, *_, last = (re.split("  +", line.strip()) for line in repr(history).splitlines())
    return dict(zip(head, last, strict=True))


def in_curves(history, patch):
    figure = nn.plotting.learning_curves(history).figure
    lines = [line for ax in figure.axes for line in ax.lines]
    matplotlib.pyplot.close(figure)
    return {line.get_label(): f"{line.get_ydata()[-1]}" for line in lines}


numbers = st.floats(0.01, 0.99).map(lambda number: round(number, 4))


@pytest.mark.parametrize("shown", [in_the_bar, in_html, in_text, in_curves])
@settings(max_examples=10)
@given(
    rows=st.lists(st.tuples(*[numbers] * 5), min_size=1, max_size=3),
    missing=st.sets(st.sampled_from(["train_accuracy", "test_cost", "test_accuracy"])),
)
def test_every_number_is_shown_under_its_name(rows, missing, shown):
    history = nn.History(
        nn.Epoch(i, *row)._replace(**dict.fromkeys(missing, math.nan)) for i, row in enumerate(rows, 1)
    )
    with pytest.MonkeyPatch.context() as patch:
        pairs = {name: text for name, text in shown(history, patch).items() if name not in ("epoch", "seconds")}
    columns = {column: pairs[name] for column, names in MEANT.items() for name in names & set(pairs)}
    assert len(columns) == len(pairs)
    for column, text in columns.items():
        number = float(text.removesuffix(" %")) / (100 if text.endswith("%") else 1)
        assert number == pytest.approx(getattr(history[-1], column), abs=0.5001e-4), column
    if shown is in_the_bar:
        tested = [column for column in ("test_accuracy", "test_cost") if column not in missing][:1]
        assert set(columns) == {"train_cost", *tested}
    else:
        assert set(columns) == set(MEANT) - missing


@given(row=st.tuples(*[numbers] * 5), tested=st.booleans(), kind=st.sampled_from(["classes", "numbers"]))
@settings(max_examples=6)
def test_a_report_has_the_number_that_its_title_names(row, tested, kind):
    """The accuracy is that of the data that are given, and a cost is the last of the history."""
    epoch = nn.Epoch(1, *row)._replace(**({} if tested else {"test_accuracy": math.nan, "test_cost": math.nan}))
    run, (x, t) = trainer_of(kind), data_of(kind, 7)
    t = t if kind == "classes" else t + np.arange(21).reshape(7, 3) / 21  # rows that stand for no classes
    figure = nn.plotting.report(run.net, nn.History([epoch]), (x, t))
    title = figure.get_suptitle().partition(": ")[2]
    matplotlib.pyplot.close(figure)
    if kind == "classes":
        assert title == f"test accuracy {round(100 * run.net.accuracy(x, t), 2):g} %"
    else:
        assert title == (f"test cost {epoch.test_cost:.4g}" if tested else f"training cost {epoch.train_cost:.4g}")


# What is written

OUTPUTS = {
    "a checkpoint": lambda path: trainer_of("classes").fit(data_of("classes", 5), 1, 2, checkpoint=path),
    "a checkpoint in place of another": lambda path: trainer_of("classes").fit(
        data_of("classes", 5), 1, 2, checkpoint=path, overwrite=True
    ),
    "a network": lambda path: trainer_of("classes").net.save(path),
    "a page": lambda path: nn.export_html(nn.Sequential(nn.Linear(4, 3), nn.Softmax()), path),
    "a C file": lambda path: nn.export_c(nn.Sequential(nn.Linear(4, 3), nn.Softmax()), path),
    "an IDX file": lambda path: nn.datasets.write_idx(path, np.zeros(7, np.uint8)),
    "a table": lambda path: nn.History([nn.Epoch(1, 0.5, 0.5, 0.5, 0.5)]).to_csv(path),
}
VIEWS = {
    "the array": lambda path: np.load(path, mmap_mode="r"),
    "a view": lambda path: np.asarray(np.load(path, mmap_mode="r"))[::-1, 1:],
    "a reshaped view": lambda path: np.load(path, mmap_mode="r").reshape(-1)[4:].reshape(-1, 4),
    "other numbers": lambda path: np.load(path, mmap_mode="r").view(np.uint8)[3:],
    "a data set": lambda path: nn.datasets.Dataset(np.load(path, mmap_mode="r"), np.arange(20)),
    "a part of a data set": lambda path: nn.datasets.Dataset(np.load(path, mmap_mode="r"), np.arange(20))[5:],
}
OTHER_NAMES = {
    "the name": lambda path: path,
    "a string": str,
    "a relative name": lambda path: os.path.relpath(path),
    "a link": lambda path: linked(path, os.symlink),
    "a link to a link": lambda path: linked(linked(path, os.symlink), os.symlink),
    "a hard link": lambda path: linked(path, os.link),
    "a name through a linked folder": lambda path: linked(path.parent, os.symlink) / path.name,
}


def linked(path, link):
    """Return another name of a file or folder, in a folder of its own."""
    name = Path(tempfile.mkdtemp(dir=path.parent.parent)) / path.name
    link(path, name)
    return name


@pytest.mark.parametrize("output", OUTPUTS)
@settings(max_examples=10)
@given(
    view=st.sampled_from(list(VIEWS)),
    name=st.sampled_from(list(OTHER_NAMES)),
    named=st.sampled_from(["x.npy", "x.npz"]),
)
def test_no_output_replaces_a_file_that_an_array_is_mapped_from(output, view, name, named, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "folder"
    folder.mkdir()
    with open(folder / named, "wb") as file:
        np.save(file, np.arange(80.0).reshape(20, 4))
    before, inode = (folder / named).read_bytes(), os.stat(folder / named).st_ino
    array = VIEWS[view](folder / named)
    path = OTHER_NAMES[name](folder / named)
    with pytest.raises((ValueError, OSError), match="mapped"):
        OUTPUTS[output](path)
    assert (folder / named).read_bytes() == before
    assert os.stat(folder / named).st_ino == os.stat(path).st_ino == inode
    assert os.listdir(folder) == [named]
    assert len(array)
