"""Each remedy that numnet names is followed: it is taken out of the message, and what was refused works and is right."""

import ast
import copy
import functools
import gzip
import importlib.metadata
import importlib.util
import io
import itertools
import math
import os
import re
import subprocess
import sys
import threading
import types
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas
import pytest
import threadpoolctl

import numnet as nn
from numnet import backend, checks, gpu, threads
from numnet.datasets import Dataset, download

from .devices import host, place
from .messages import FOLDER, messages
from .test_gradcheck import Adding, InPlace, Mean, Noisy, OutNeeded, RoundingInput, Scale, WrongSign
from .test_resume import header_of, header_part, of_version_1, rewritten
from .test_symptoms import Doubling, Training, checked

FOLLOWED: dict[str, str] = {}  # a part of each message that a test here follows, with the name of the test
heard: list[str] = []


def hint(*parts):
    """Mark a test that follows the remedies in the messages with these parts. The test must hear each of them."""

    def marked(test):
        FOLLOWED.update(dict.fromkeys(parts, test.__name__))

        @functools.wraps(test)
        def run(**arguments):
            heard.clear()
            test(**arguments)
            for part in parts:
                assert any(part in message for message in heard), f"nothing said {part!r}, but: {heard}"

        return run

    return marked


def refused(call, *arguments, **options):
    """Return the message of the error that a call ends with."""
    with pytest.raises((ValueError, TypeError, OSError, IndexError, RuntimeError)) as raised:
        call(*arguments, **options)
    heard.append(str(raised.value))
    return heard[-1]


def warned(call, *arguments, **options):
    """Return what a call warns of."""
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", "the . threads of BLAS")  # the machine may be busy
        call(*arguments, **options)
    heard.extend(str(warning.message) for warning in given)
    return " ".join(str(warning.message) for warning in given)


def quoted(message, name):
    """Return the code in a message that uses a name: the longest runs of words that are one expression."""
    words, found, i = message.split(" "), [], 0
    while i < len(words):
        for j in range(min(len(words), i + 16), i, -1):
            text = " ".join(words[i:j]).rstrip(".,:;")
            if re.search(rf"\b{name}\b", text) and not text.isidentifier() and expression(text):
                found.append(text)
                i = j - 1
                break
        i += 1
    return found


def expression(text):
    try:
        return not isinstance(ast.parse(text, mode="eval").body, (ast.BoolOp, ast.Constant, ast.Tuple))
    except SyntaxError:
        return False


def given(message, name, **names):
    """Return what the only code in a message that uses a name gives."""
    (text,) = quoted(message, name)
    return eval(text, {"np": np, "nn": nn, "numnet": nn, **vars(nn), "Dataset": Dataset, "copy": copy, **names})


TRAIN, TEST = ((data.images.reshape(-1, 64) / 255, data.labels.astype(int)) for data in nn.datasets.digits())
X, T = TRAIN
ONE_HOT = np.eye(10)[T]
PIXELS = nn.datasets.digits()[0].images


def net_of(*layers, **options):
    return nn.Sequential(*(layers or (nn.Linear(64, 10), nn.Softmax())), seed=0, **options)


def trainer_of(*layers, cost=None, lr=0.5, net=None, **options):
    return nn.Trainer(net or net_of(*layers), cost or nn.CrossEntropy(), nn.SGD(lr, **options), seed=0)


def learns(trainer, train=TRAIN, test=TEST, epochs=5, least=0.85):
    """Train without a warning; return whether the network is right about the test data."""
    trainer.fit(train, epochs, 64)
    return trainer.net.accuracy(*checks.images_and_labels(test)) > least


def explains(trainer, train, test=None, epochs=20, least=0.3):
    """Train without a warning; return whether the network explains enough of the variance of the targets."""
    trainer.fit(train, epochs, 64)
    x, t = test or train
    return 1 - np.mean((trainer.net(x)[:, 0] - np.ravel(t)) ** 2) / np.var(t) > least


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


# Labels, wherever they are given: the remedy for a part of the classes must number them as for all


def texts(ax):
    return [text.get_text() for text in ax.texts]


HISTORY = nn.History([nn.Epoch(1, 0.5, 0.8, 0.9, 0.1, 0.4)])
ENTRIES = {
    "fit": lambda x, t: trainer_of().fit((x, t), 1, 16).train_cost,
    "step": lambda x, t: trainer_of().step(x, t),
    "evaluate": lambda x, t: trainer_of().evaluate((x, t)),
    "test data": lambda x, t: trainer_of().fit(TRAIN, 1, 256, test=(x, t)).test_cost,
    "accuracy": lambda x, t: net_of().accuracy(x, t),
    "cost": lambda x, t: nn.CrossEntropy()(net_of()(x), t),
    "gradcheck": lambda x, t: nn.gradcheck(net_of(), nn.CrossEntropy(), x[:9], t[:9], samples=1).central[1:],
}
PLOTS = {
    "confusion_matrix": lambda x, t: texts(nn.plotting.confusion_matrix(net_of(), (x, t))),
    "mistakes": lambda x, t: texts(nn.plotting.mistakes(net_of(), (x, t))),
    "report": lambda x, t: nn.plotting.report(net_of(), HISTORY, (x, t)).get_suptitle(),
    "cost_surface": lambda x, t: str(
        nn.plotting.cost_surface(net_of(), x[:9], t[:9], [nn.CrossEntropy()]).axes[0].get_legend().texts
    ),
}
WORDS = np.array(list("abcdefghij"))
COLUMN, WHOLE = "for a column of class indices give np.ravel(t)", "give np.asarray(t, float).astype(int)"
NUMBERED = "t = np.searchsorted(np.unique(train_t), t) with the training targets train_t"
FROM_1, CLASS = "if the classes are counted from 1, give np.asarray(t) - 1", "if each number stands for a class, give "
LABELS = {  # how the labels are given, and what numnet then says
    "a column": (lambda t: t[:, None], COLUMN),
    "a column in lists": (lambda t: t[:, None].tolist(), COLUMN),
    "a column of floats": (lambda t: t[:, None] * 1.0, WHOLE),
    "floats": (lambda t: t * 1.0, WHOLE),
    "floats in a list": (lambda t: (t * 1.0).tolist(), WHOLE),
    "digits": (lambda t: t.astype(str), WHOLE),
    "floats as strings": (lambda t: (t * 1.0).astype(str), WHOLE),
    "objects": (lambda t: t.astype(object), WHOLE),
    "from 1": (lambda t: t + 1, FROM_1),
    "from 1 in a list": (lambda t: (t + 1).tolist(), FROM_1),
    "from 1 in a column of floats": (lambda t: t[:, None] + 1.0, FROM_1),
    "from -1": (lambda t: t - 1, f"number the classes from 0, {NUMBERED}"),
    "with gaps": (lambda t: 3 * t, f"number the classes from 0, {NUMBERED}"),
    "words": (lambda t: WORDS[t], f"number the classes, {NUMBERED}, or give Dataset.from_arrays(x, t)"),
    "words in a list": (lambda t: WORDS[t].tolist(), NUMBERED),
    "words in a column": (lambda t: WORDS[t][:, None], NUMBERED),
    "fractions": (lambda t: t + 0.5, f"if each number is a class, {NUMBERED}"),
    "one-hot rows of strings": (lambda t: np.eye(10)[t].astype(str), "give np.asarray(t, float)"),
}
FOLLOWED |= {says: "test_labels_in_another_form" for _, says in LABELS.values()}


def followed(entry, x, t, train_t):
    """Return what an entry gives once every remedy for the labels, one after the other, has been followed."""
    while True:
        try:
            return entry(x, t)
        except ValueError as error:
            heard.append(str(error))
            assert len(heard) < 5
            (code,) = (text for text in quoted(str(error), "t") if "from_arrays" not in text)
            t = eval(code, {"np": np, "t": t, "train_t": train_t})


@pytest.mark.parametrize("form", LABELS)
def test_labels_in_another_form(form):
    change, says = LABELS[form]
    some = np.flatnonzero(T[:100] != 3)  # as test data may be, without one of the classes
    x, t = (a[some[np.argsort(T[some] % 9, kind="stable")]] for a in TRAIN)  # the first and the last class first
    right = np.eye(10)[t] if "one-hot" in form else t
    for name, entry in (ENTRIES | PLOTS if form in ("a column", "words") else ENTRIES).items():
        heard.clear()
        assert followed(entry, x, change(t), np.ravel(change(T))) == entry(x, right), name
        assert any(says in message for message in heard), (name, heard)


FOLLOWED[CLASS] = "test_labels_of_images_in_another_form"


@pytest.mark.parametrize("form", ["a column", "a column of floats", "floats", "words", "words in a column", "digits"])
def test_labels_of_images_in_another_form(form):
    def entry(x, t):
        return texts(nn.plotting.sample_images((x, t)))

    heard.clear()
    x, t = (a[:100][T[:100] != 3] for a in TRAIN)
    change, _ = LABELS[form]
    assert followed(entry, x, change(t), np.ravel(change(T))) == entry(x, t)
    assert any(CLASS in message for message in heard) == (form in ("a column", "a column of floats", "floats"))


@hint("keep only samples with a label, those with np.isfinite(np.asarray(t, float))", WHOLE)
def test_labels_that_are_missing():
    t = np.where(np.arange(len(T)) % 5, T * 1.0, np.nan)
    keep = given(refused(trainer_of().fit, (X, t), 5, 64), "t", t=t)
    x, t = X[keep], t[keep]
    assert len(t) == np.count_nonzero(np.arange(len(T)) % 5)
    assert learns(trainer_of(), (x, given(refused(trainer_of().fit, (x, t), 5, 64), "t", t=t)))


@hint("classes, so give the network as many outputs")
def test_more_classes_than_outputs():
    net = net_of(nn.Linear(64, 5), nn.Softmax())
    message = refused(trainer_of(net=net).fit, TRAIN, 5, 64)
    assert learns(trainer_of(nn.Linear(64, int(re.search(r"there are (\d+) classes", message)[1])), nn.Softmax()))


def layers_of(message, inputs=64):
    """Return the layers and the cost that a message names, of which the ellipsis is the number of inputs."""
    found = re.findall(r"\b(?:Linear|Softmax|Sigmoid|Tanh|Quadratic)\([^()]*\)", message)
    return [eval(text.replace("...", str(inputs)), vars(nn)) for text in found]


@hint("for a regression end the network in Linear(..., 1) with Quadratic()")
def test_numbers_for_classes():
    t = X[:, 20:44].mean(axis=1) * 10
    *layers, cost = layers_of(refused(trainer_of().fit, (X, t), 5, 64))
    assert explains(trainer_of(*layers, cost=cost, lr=0.05), (X, t))


@hint("or give Dataset.from_arrays(x, t)", "number the labels alike, Dataset.from_arrays(x, t, classes=train.classes)")
def test_words_as_a_data_set():
    (x, t), (test_x, test_t) = ((x, WORDS[t]) for x, t in (TRAIN, TEST))
    some = test_t != "d"
    test_x, test_t = test_x[some], test_t[some]
    message = next(iter(quoted(refused(trainer_of().fit, (x, t), 5, 64), "from_arrays")))
    train, test = (eval(message, {"Dataset": Dataset, "x": x, "t": t}) for x, t in ((x, t), (test_x, test_t)))
    message = refused(trainer_of().fit, train, 5, 64, test)
    test = given(message, "from_arrays", x=test_x, t=test_t, train=train)
    trainer = trainer_of()
    assert trainer.fit(train, 5, 64, test).test_accuracy[-1] > 0.85
    named = np.array(test.classes)
    np.testing.assert_array_equal(named[test.labels], test_t)
    assert np.mean(named[trainer.net.predict(test_x)] == test_t) == trainer.history.test_accuracy[-1]


@hint("Dataset.from_arrays(images, labels) numbers the classes")
@pytest.mark.parametrize("form", ["a column", "a column of floats", "floats", "from -1", "words", "words in a column"])
def test_a_data_set_of_labels_in_another_form(form):
    labels = LABELS[form][0](T)
    data = given(refused(Dataset, X, labels), "from_arrays", images=X, labels=labels)
    written = [f"{label:.0f}" if isinstance(label, float) else str(label) for label in np.ravel(labels).tolist()]
    assert [data.classes[label] for label in data.labels] == written
    assert learns(trainer_of(), data, (TEST[0], TEST[1]) if form != "words" else TEST)


@hint(
    "Dataset.from_arrays(images, labels) numbers the classes",
    "must be one-hot rows, got dtype <U3: give np.asarray(t, float)",
)
def test_a_data_set_of_one_hot_rows_of_strings():
    t = ONE_HOT.astype("U3")
    call = next(iter(quoted(refused(Dataset, X, t), "from_arrays")))
    t = given(refused(eval, call, {"Dataset": Dataset, "images": X, "labels": t}), "t", t=t)
    assert learns(trainer_of(), eval(call, {"Dataset": Dataset, "images": X, "labels": t}))


def two_digits(t):
    """Return the samples of the digits 3 and 8, and the labels of these samples as `t` has them."""
    return [(x[(y == 3) | (y == 8)], np.where(y == 3, *t)[(y == 3) | (y == 8)]) for x, y in (TRAIN, TEST)]


@hint("classes for a single output of Sigmoid() must be 0 and 1, but the labels are 1 and 2: give np.asarray(t) == 2")
@pytest.mark.parametrize("kind", [np.array, list])
def test_labels_1_and_2_for_a_probability(kind):
    (x, t), (test_x, test_t) = two_digits((1, 2))
    net = net_of(nn.Linear(64, 1), nn.Sigmoid())
    t = kind(t)
    assert learns(
        trainer_of(net=net),
        (x, given(refused(trainer_of(net=net).fit, (x, t), 5, 16), "t", t=t)),
        TEST[:0] or (test_x, test_t == 2),
        epochs=20,
        least=0.9,
    )
    assert np.mean(net.predict(test_x) == test_t - 1) > 0.9
    assert np.mean(net.predict(test_x) == given(refused(net.accuracy, test_x, test_t), "t", t=test_t)) > 0.9


@hint("give 2 * (np.asarray(t) == 7) - 1")
def test_labels_4_and_7_for_a_tanh():
    (x, t), (test_x, test_t) = two_digits((4, 7))
    net = net_of(nn.Linear(64, 1), nn.Tanh())
    trainer = trainer_of(net=net, cost=nn.Quadratic(), lr=0.1)
    trainer.fit((x, given(refused(trainer.fit, (x, t.tolist()), 5, 16), "t", t=t.tolist())), 20, 16)
    assert np.mean((net(test_x)[:, 0] > 0) == (test_t == 7)) > 0.9


@hint(": for 3 classes end the network in Linear(..., 3), Softmax()")
def test_three_classes_for_one_probability():
    three = T < 3
    data = X[three], T[three]
    message = refused(trainer_of(nn.Linear(64, 1), nn.Sigmoid()).fit, data, 5, 64)
    assert learns(trainer_of(*layers_of(message)[-2:]), data, data)


@hint(": for classes end the network in Linear(..., 10), Softmax()")
def test_one_hot_rows_for_one_output():
    message = refused(trainer_of(nn.Linear(64, 1), nn.Sigmoid()).fit, (X, ONE_HOT), 5, 64)
    assert learns(trainer_of(*layers_of(message)))


@hint(": scale the targets, or end the network in a Linear layer", "or use Quadratic()")
def test_targets_out_of_reach():
    t = X[:, 20:44].mean(axis=1) * 300
    refused(trainer_of(nn.Linear(64, 1), nn.Tanh(), cost=nn.Quadratic()).fit, (X, t), 5, 64)
    assert explains(trainer_of(nn.Linear(64, 1), nn.Tanh(), cost=nn.Quadratic(), lr=0.05), (X, t / 300))
    *_, cost = layers_of(refused(trainer_of, nn.Linear(64, 1)))
    t = t / 100
    refused(trainer_of(nn.Linear(64, 1), nn.Sigmoid()).fit, (X, t), 5, 64)
    assert explains(trainer_of(nn.Linear(64, 1), cost=cost, lr=0.05), (X, t))


@hint("give class indices, one-hot rows or probabilities, or end the network in Sigmoid() for several yes/no")
def test_rows_that_are_no_distributions():
    several = np.eye(10)[T] + np.eye(10)[(T + 1) % 10]
    *_, last = layers_of(refused(trainer_of().fit, (X, several), 5, 64))
    trainer = trainer_of(nn.Linear(64, 10), last)
    trainer.fit((X, several), 10, 64)
    assert np.mean((trainer.net(TEST[0]) > 0.5) == np.eye(10)[TEST[1]] + np.eye(10)[(TEST[1] + 1) % 10]) > 0.9
    for t in (T, ONE_HOT, 0.9 * ONE_HOT + 0.01):
        assert learns(trainer_of(), (X, t))


@hint("net(x) gives the numbers, and np.sign(net(x)) gives the classes -1 and 1")
def test_the_class_of_a_tanh():
    (x, t), (test_x, test_t) = two_digits((-1, 1))
    trainer = trainer_of(nn.Linear(64, 1), nn.Tanh(), cost=nn.Quadratic(), lr=0.1)
    trainer.fit((x, t), 20, 16)
    numbers, signs = (
        eval(code, {"np": np, "net": trainer.net, "x": test_x})
        for code in quoted(refused(trainer.net.predict, test_x), "net")
    )
    np.testing.assert_array_equal(signs, np.sign(numbers))
    assert np.mean(signs[:, 0] == test_t) > 0.9


@hint(
    "is a number: compare net(x) with the targets",
    "Compare net(x) with other targets",
    "is a number and no class: net(x) gives the numbers",
)
def test_the_accuracy_of_numbers():
    t = X[:, 20:44].mean(axis=1)
    trainer = trainer_of(nn.Linear(64, 1), cost=nn.Quadratic(), lr=0.05)
    assert explains(trainer, (X, t))
    assert np.mean((given(refused(trainer.net.accuracy, X, t), "net", net=trainer.net, x=X)[:, 0] - t) ** 2) < np.var(t)
    assert given(refused(trainer.net.predict, X), "net", net=trainer.net, x=X).shape == (len(X), 1)
    rows = np.stack([t, 2 * t], axis=1)
    trainer = trainer_of(nn.Linear(64, 2), cost=nn.Quadratic(), lr=0.05)
    trainer.fit((X, rows), 20, 64)
    assert np.mean((given(refused(trainer.net.accuracy, X, rows), "net", net=trainer.net, x=X) - rows) ** 2) < np.var(
        rows
    )


# Inputs


@hint("for a single sample give np.reshape(x, (1, -1))", "for a single sample give np.reshape(t, 1)")
@pytest.mark.parametrize("kind", [np.asarray, list, pandas.Series])
def test_a_single_sample(kind):
    x, t = kind(X[7]), kind([T[7]])[0]
    for call, right in (
        (lambda x, t: trainer_of().step(x, t), trainer_of().step(X[7:8], T[7:8])),
        (lambda x, t: trainer_of().evaluate((x, t)), trainer_of().evaluate((X[7:8], T[7:8]))),
        (lambda x, t: net_of().accuracy(x, t), net_of().accuracy(X[7:8], T[7:8])),
    ):
        row = given(refused(call, x, t), "x", x=x)
        assert call(row, given(refused(call, row, t), "t", t=t)) == right
    assert nn.Quadratic()(net_of()(X[7:8]), given(refused(nn.Quadratic(), net_of()(X[7:8]), t), "t", t=t)) > 0
    np.testing.assert_array_equal(
        net_of()(given(refused(net_of(), PIXELS[7]), "x", x=PIXELS[7])), net_of()(PIXELS[7:8])
    )


@hint("for samples of one feature give np.reshape(x, (-1, 1))", "for a single sample give np.reshape(x, (1, -1))")
@pytest.mark.parametrize("kind", [np.asarray, list, pandas.Series])
def test_samples_of_one_feature(kind):
    x = np.linspace(-1, 1, 100)
    trainer = trainer_of(nn.Linear(1, 1), cost=nn.Quadratic())
    assert explains(trainer, (given(refused(trainer.fit, (kind(x), 3 * x), 5, 10), "x", x=kind(x)), 3 * x))
    number = given(refused(trainer.net, 0.25), "x", x=0.25)
    np.testing.assert_array_equal(trainer.net(number), trainer.net([[0.25]]))


@hint("inputs must be real numbers, got dtype", ": give np.asarray(x, float)")
@pytest.mark.parametrize(
    "kind", [lambda x: x.astype(str), lambda x: x.astype(object), lambda x: x.astype(str).tolist()]
)
def test_inputs_that_are_strings(kind):
    np.testing.assert_array_equal(net_of()(given(refused(net_of(), kind(X)), "x", x=kind(X))), net_of()(X))


@hint("a Dataset is not an array: give its images, data.images, or its labels, data.labels")
def test_a_data_set_in_place_of_an_array():
    data = Dataset(*TRAIN)
    net = net_of()
    images, labels = (eval(code, {"data": data}) for code in quoted(refused(net, data), "data"))
    np.testing.assert_array_equal(net(images), net(X))
    assert net.accuracy(images, labels) == net.accuracy(*TRAIN)


@hint("unpack it, train, test = ..., and give each")
def test_a_pair_of_data_sets():
    data = nn.datasets.digits()
    refused(trainer_of().fit, data, 5, 64)
    train, test = data
    assert trainer_of().fit(train, 5, 64, test=test).test_accuracy[-1] > 0.85


@hint("cut data.images and make a Dataset of the result")
def test_a_second_index():
    data = nn.datasets.digits()[0]
    refused(lambda: data[:, 2:6])
    assert Dataset(data.images[:, 2:6], data.labels)[3][0].tolist() == data.images[3, 2:6].tolist()


@hint("y has 3 rows and t has 2: give one target for each output row")
def test_fewer_targets_than_outputs():
    y, t = np.ones((3, 2)), np.ones((2, 2))
    refused(nn.Quadratic(), y, t)
    assert nn.Quadratic()(y, np.ones((len(y), 2))) == 0


# What most often is a mistake


def pixels(change):
    return tuple((change(data.images), data.labels) for data in nn.datasets.digits())


@hint("give np.asarray(x, np.float32), or x from before if it was divided by 255 and then made bytes")
def test_bytes_of_0_and_1():
    train, test = pixels(lambda x: (x > 127).astype(np.uint8))
    code = quoted(warned(trainer_of().fit, train, 5, 64), "np.float32")[0]
    train, test = ((eval(code, {"np": np, "x": x}), t) for x, t in (train, test))
    assert learns(trainer_of(), train, test)
    assert learns(trainer_of(), *pixels(lambda x: x / 255))


@hint("but the largest is 16: give x / 16")
def test_bytes_to_16():
    train, test = pixels(lambda x: (x / 15.9375).round().astype(np.uint8))
    code = quoted(warned(trainer_of().fit, train, 5, 64), "x")[0]
    train, test = ((eval(code, {"x": x}), t) for x, t in (train, test))
    assert learns(trainer_of(), train, test)


@hint("give pixels from 0 to 255 as bytes, np.asarray(x, np.uint8), or divide them by 255")
@pytest.mark.parametrize("kind", [lambda x: x.astype(float), lambda x: x.astype(int), lambda x: (x * 1.0).tolist()])
def test_pixels_that_are_no_bytes(kind):
    train, test = pixels(kind)
    code = quoted(warned(trainer_of().fit, train, 1, 64), "np.uint8")[0]
    as_bytes, as_bytes_test = ((eval(code, {"np": np, "x": x}), t) for x, t in (train, test))
    assert learns(trainer_of(), as_bytes, as_bytes_test)
    assert learns(trainer_of(), *((np.asarray(x) / 255, t) for x, t in (train, test)))


@hint("divide pixels by 255 only once, and bytes not at all, or standardize each feature, ")
def test_pixels_divided_twice():
    train, test = pixels(lambda x: x.reshape(-1, 64) / 255 / 255)
    message = warned(trainer_of().fit, train, 5, 64)
    assert learns(trainer_of(), *standardized(message, train, test))
    assert learns(trainer_of(), *pixels(lambda x: x / 255))
    assert learns(trainer_of(), *pixels(lambda x: x))


def standardized(message, *data):
    """Return data whose features are standardized as a message says, with the numbers of the first."""
    convert, mean, std = (re.search(rf"\b{name} = (.*?\))", message)[1] for name in ("x", "mean", "std"))
    x = eval(convert, {"np": np, "x": data[0][0]})
    names = {"np": np, "mean": eval(mean, {"x": x}), "std": eval(std, {"x": x})}
    for x, t in data:
        yield eval(quoted(message, "mean")[0], names | {"x": eval(convert, {"np": np, "x": x})}), t


@hint(
    "standardize each feature, (x - mean) / np.where(std > 1e-6 * abs(mean), std, 1), with x = np.asarray(x, float), mean"
)
@pytest.mark.parametrize("kind", [np.asarray, np.float32, lambda x: x.tolist(), pandas.DataFrame])
def test_a_table_in_many_units(kind):
    """Columns that are the same in all samples, or nearly so, must not make all others small, nor new samples huge."""
    rng = np.random.default_rng(0)
    t = np.arange(6000) % 3
    x = rng.normal(size=(6000, 6)) * 0.3 + np.eye(6)[t] * 2
    x = x * [1000, 1, 0.01, 1, 1, 1] + [5000, 0, 0.05, 0, 0, 0]
    x = np.hstack([x, np.full((6000, 1), 0.1), np.zeros((6000, 1)), np.where(t == 1, 0.3, 0.1 + 0.2)[:, None]])
    train, test = ((kind(x[rows]), t[rows]) for rows in (slice(0, 5000), slice(5000, None)))
    layers = nn.Linear(9, 16), nn.Sigmoid(), nn.Linear(16, 3), nn.Softmax()
    message = warned(trainer_of(*layers).fit, train, 1, 64)
    train, test = standardized(message, train, test)
    new = test[0] + [0, 0, 0, 0, 0, 0, 0.001, 0, 0]  # a column that was the same in the training data
    assert max(abs(x).max() for x in (train[0], test[0], new)) < 10
    assert np.all(abs(train[0].mean(axis=0)) < 1e-6)
    assert np.all(abs(train[0].std(axis=0)[:6] - 1) < 1e-6)
    layers = nn.Linear(9, 16), nn.Sigmoid(), nn.Linear(16, 3), nn.Softmax()
    trainer = trainer_of(*layers)
    assert learns(trainer, train, test, least=0.98)
    assert trainer.net.accuracy(new, test[1]) > 0.98


@hint("train: all targets are of class 0, so there is nothing to tell apart: check the labels")
def test_one_class_only():
    warned(trainer_of().fit, (X, T * 0), 1, 64)
    assert learns(trainer_of())


@hint("shuffle before you split, or split by train, test = data.split(0.2, seed=0)")
def test_classes_that_are_in_the_test_only():
    order = np.argsort(T, kind="stable")
    x, t = X[order], T[order]
    message = warned(trainer_of().fit, (x[:1100], t[:1100]), 5, 64, (x[1100:], t[1100:]))
    train, test = given(message, "data", data=Dataset(x, t))
    assert trainer_of().fit(train, 5, 64, test).test_accuracy[-1] > 0.85
    order = np.random.default_rng(0).permutation(len(t))
    assert learns(trainer_of(), (x[order[:1100]], t[order[:1100]]), (x[order[1100:]], t[order[1100:]]))


@hint("give 255 - images, or each image as nn.datasets.as_mnist(image)", "give 1 - images")
def test_inverted_images():
    (train, (images, t)), (_, (floats, _)) = pixels(lambda x: x), pixels(lambda x: x / 255)
    trainer = trainer_of()
    message = warned(trainer.fit, train, 5, 64, (255 - images, t))
    inverted, as_mnist = quoted(message, "images")[0], quoted(message, "image")[0]
    assert trainer.net.accuracy(eval(inverted, {"images": 255 - images}), t) == trainer.net.accuracy(images, t)
    small = functools.partial(nn.datasets.as_mnist, size=8)  # the default is the size of MNIST
    seen = [
        eval(as_mnist, {"nn": types.SimpleNamespace(datasets=types.SimpleNamespace(as_mnist=small)), "image": image})
        for image in 255 - images
    ]
    assert trainer.net.accuracy(np.stack(seen), t) > 0.8
    message = warned(trainer.fit, (PIXELS / 255, T), 1, 64, (1 - floats, t))
    np.testing.assert_allclose(eval(quoted(message, "images")[0], {"images": 1 - floats}), floats, atol=1e-12)


@hint("prepare both in the same way, digits by nn.datasets.as_mnist(image)")
def test_test_images_of_another_kind():
    train, (images, t) = pixels(lambda x: x)
    pages = np.zeros((len(images), 24, 24), np.uint8)
    pages[:, 3:11, 12:20] = images
    small = pages.reshape(-1, 8, 3, 8, 3).mean(axis=(2, 4)).astype(np.uint8)
    trainer = trainer_of()
    warned(trainer.fit, train, 5, 64, (small, t))
    before = trainer.net.accuracy(small, t)
    prepared = [np.stack([nn.datasets.as_mnist(image, size=8) for image in part]) for part in (train[0], pages)]
    trainer = trainer_of()
    trainer.fit((prepared[0], train[1]), 5, 64, (prepared[1], t))
    assert trainer.history.test_accuracy[-1] > 0.85 > before


@hint(
    "The ground of the images is bright: invert them, so that the ground is 0. ",
    "Try a smaller learning rate than 1, or standardize the inputs",
)
def test_worse_than_guessing():
    (x, t), test = pixels(lambda x: 255 - x)
    message = warned(trainer_of(lr=1).fit, (x, t), 1, 64)
    assert learns(trainer_of(lr=1), (255 - x, t), (255 - test[0], test[1]))
    lr = float(re.search(r"a smaller learning rate than ([\d.e+]+),", message)[1])
    assert learns(trainer_of(lr=lr / 10), (x, t), test)
    mean, std = x.mean(axis=0), x.std(axis=0)
    std[std == 0] = 1
    assert learns(trainer_of(lr=0.1), ((x - mean) / std, t), ((test[0] - mean) / std, test[1]))


# Divergence: what is to blame, and what helps


def numbers(scale=1.0):
    return (X, T * scale), (TEST[0], TEST[1] * scale)


def line(**options):
    return trainer_of(nn.Linear(64, 1), cost=nn.Quadratic(), **options)


@hint(
    "Try a smaller learning rate than 0.5, clip the gradient with SGD(clip_norm=0.2), or standardize the inputs, and the targets of a regression"
)
def test_a_learning_rate_that_is_too_large():
    train, test = numbers()
    message = refused(line().fit, train, 5, 64)
    lr = float(re.search(r"than ([\d.e+-]+),", message)[1])
    clip_norm = float(re.search(r"SGD\(clip_norm=([\d.e+-]+)\)", message)[1])
    assert explains(line(lr=lr / 10), train, test)
    assert explains(line(clip_norm=clip_norm), train, test)
    raw = (PIXELS.reshape(-1, 64) * 0.01, T * 100.0)
    refused(line(lr=0.1).fit, raw, 5, 64)
    mean, std = (f(raw[0], axis=0) for f in (np.mean, np.std))
    x, t = (raw[0] - mean) / np.where(std > 0, std, 1), (raw[1] - raw[1].mean()) / raw[1].std()
    assert explains(line(lr=0.01), (x, t))


@pytest.mark.parametrize("lr", [1.0, 10.0, 1e30])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_to_clip_helps_at_any_learning_rate(lr, momentum):
    train, test = numbers()
    message = refused(line(lr=lr, momentum=momentum).fit, train, 5, 64)
    clip_norm = float(re.search(r"SGD\(clip_norm=([\d.e+-]+)\)", message)[1])
    assert explains(line(lr=lr, momentum=momentum, clip_norm=clip_norm), train, test)


@hint("weight_decay=1e+38 is too large for the learning rate 0.05. Try 0.0001, far below 20")
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_weight_decay_that_is_too_large(momentum):
    train, test = numbers()
    message = refused(line(lr=0.05, momentum=momentum, weight_decay=1e38).fit, train, 5, 64)
    weight_decay = float(re.search(r"Try ([\d.e-]+),", message)[1])
    assert explains(line(lr=0.05, momentum=momentum, weight_decay=weight_decay), train, test)
    trainer = line(lr=0.05, momentum=momentum, weight_decay=1e38)
    assert "weight_decay=1e+38" in refused(lambda: [trainer.step(*train) for _ in range(9)])


@hint("the targets reach 9e+30. Scale them, np.asarray(t) / 9e+30")
@pytest.mark.parametrize("kind", [np.float32, np.float64, list])
def test_targets_that_are_too_large(kind):
    (x, t), (test_x, test_t) = numbers(1e30)
    t = kind(t)
    scaled = given(refused(line(lr=0.05).fit, (x, t), 5, 64), "t", t=t)
    np.testing.assert_array_equal(given(refused(line(lr=0.05).step, x, t), "t", t=t), scaled)
    assert explains(line(lr=0.05), (x, scaled), (test_x, test_t / 9e30))


@hint("Start over with net.initialize(), and a smaller learning rate or other starting weights")
def test_parameters_that_are_too_large():
    train, test = numbers()
    trainer = line(lr=1e30)
    message = refused(lambda: [trainer.step(*train) for _ in range(9)])
    assert refused(trainer.fit, train, 5, 64).partition(": ")[2] == message.partition(": ")[2]
    given(message, "net", net=trainer.net)
    assert explains(line(lr=0.05, net=trainer.net), train, test)
    start = lambda rng, shape: rng.normal(0, 1e30, shape)  # noqa: E731
    refused(trainer_of(nn.Linear(64, 1, start=start), cost=nn.Quadratic(), lr=0.05).fit, train, 5, 64)
    assert explains(trainer_of(nn.Linear(64, 1, start=nn.starts.lecun), cost=nn.Quadratic(), lr=0.05), train, test)


@hint("the inputs reach 1e+30. Standardize each feature")
def test_inputs_that_are_too_large():
    (x, t), _ = numbers()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", nn.DataWarning)
        refused(line(lr=0.05).fit, (x * 1e30, t), 5, 64)
    (x, t), test = standardized(
        warned(line(lr=1e-9).fit, (x * 1e3, t), 5, 64), (x * 1e30, t), (TEST[0] * 1e30, TEST[1])
    )
    assert explains(line(lr=0.01), (x, t), test)


# Values that a message names


@pytest.mark.parametrize(
    ("call", "wrong", "values"),
    [
        (lambda v: nn.Linear(v, 2), 0, r"at least (\d)"),
        (lambda v: net_of(dtype=v), "float16", r"float32|float64|complex128"),
        (lambda v: net_of(device=v), "cuda", r"\bcpu\b"),
        (lambda v: nn.Sequential(nn.Tanh(), seed=v), -1, r"at least (\d)|None"),
        (lambda v: nn.SGD(v), 0, r"above (0), or a function"),
        (lambda v: nn.SGD(0.5, momentum=v), 1, r"from (0)"),
        (lambda v: nn.SGD(0.5, momentum=v, nesterov=True), 0.0, r"([\d.]+) say"),
        (lambda v: nn.SGD(0.5, momentum=0.9, nesterov=v), 1, r"True|False"),
        (lambda v: nn.SGD(0.5, weight_decay=v), -1, r"at least (\d)"),
        (lambda v: nn.SGD(0.5, clip_norm=v), 0, r"None"),
        (lambda v: trainer_of().step(X, T, lr=v), -1, r"at least (\d)"),
        (lambda v: trainer_of(lr=lambda epoch: v).fit(TRAIN, 1, 64), -1, r"at least (\d)"),
        (lambda v: trainer_of().fit(TRAIN, v, 64), 0, r"at least (\d)"),
        (lambda v: trainer_of().fit(TRAIN, 1, 64, checkpoint_every=v), "0 batches", r"at least (\d)|'500 batches'"),
        (lambda v: trainer_of().fit(TRAIN, 1, 64, checkpoint_failure=v), "ignore", r"'raise'|'warn'"),
        (nn.keep_best, "accuracy", r"(?:test|train)_(?:accuracy|cost)"),
        (nn.backend.offload, -1, r"None"),
        (lambda v: nn.datasets.as_mnist(255 - PIXELS[0], v), 0, r"at least (\d)"),
        (lambda v: nn.plotting.sample_images((PIXELS, T), v), 0, r"at least (\d)"),
        (lambda v: nn.plotting.weight_images(net_of(), v), 1, r"\[(\d)\]"),
        (lambda v: nn.plotting.saturated(net_of(), X, v), 1, r"1/4"),
        (lambda v: nn.plotting.activations_and_derivatives(v), nn.Tanh(), r"\[Sigmoid\(\), Tanh\(\)\]"),
        (lambda v: nn.plotting.cost_surface(net_of(), X[:9], T[:9], v), 1, r"\[Quadratic\(\), CrossEntropy\(\)\]"),
    ],
)
def test_the_values_that_are_named_are_right(call, wrong, values):
    message = refused(call, wrong)
    found = [match[1] if match.re.groups and match[1] else match[0] for match in re.finditer(values, message)]
    assert found
    for value in found:
        if value == "0" and "above" in message:
            value = "1e-9"
        call(value if value.isidentifier() and value not in ("None", "True", "False") else eval(value, vars(nn)))


# Networks


@hint(": write Tanh(...)", ": write Quadratic(...)", ": write SGD(...)")
def test_classes_in_place_of_objects():
    def named(message):
        return getattr(nn, re.search(r": write (\w+)\(\.\.\.\)", message)[1])

    last = named(refused(nn.Sequential, nn.Linear(64, 10), nn.Tanh))
    cost = named(refused(nn.Trainer, net_of(), nn.Quadratic, nn.SGD(0.1)))
    optimizer = named(refused(nn.Trainer, net_of(), nn.CrossEntropy(), nn.SGD))
    net = net_of(nn.Linear(64, 10), last())
    assert learns(nn.Trainer(net, cost(), optimizer(0.1), seed=0), (X, 2 * ONE_HOT - 1), epochs=20)


@hint(": give the layers one by one, Sequential(*layers)")
def test_layers_in_a_list():
    layers = [nn.Linear(64, 10), nn.Softmax()]
    assert learns(trainer_of(net=given(refused(nn.Sequential, layers), "layers", layers=layers)))


@hint("is in a network already: make a new layer for each place")
def test_a_layer_in_two_places():
    hidden = nn.Sigmoid()
    refused(nn.Sequential, nn.Linear(64, 30), hidden, nn.Linear(30, 10), hidden)
    assert learns(trainer_of(nn.Linear(64, 30), nn.Sigmoid(), nn.Linear(30, 10), nn.Softmax()), epochs=20)


@hint("Sequential needs at least one layer, Sequential(Linear(784, 10), Softmax()) say")
def test_no_layers():
    assert given(refused(nn.Sequential), "Linear").widths == [784, 10, 10]


@hint("gives 30 features, but layer 2, Linear(20, 10), takes 20: make the two equal")
def test_layers_of_unequal_widths():
    message = refused(nn.Sequential, nn.Linear(64, 30), nn.Sigmoid(), nn.Linear(20, 10), nn.Softmax())
    width = int(re.search(r"gives (\d+) features", message)[1])
    assert learns(trainer_of(nn.Linear(64, 30), nn.Sigmoid(), nn.Linear(width, 10), nn.Softmax()), epochs=20)


@hint("Trainer: complex networks are for gradcheck's own use; train one of float32 or float64")
def test_a_complex_network():
    net = net_of(dtype="complex128")
    for dtype in re.findall(r"float\d\d", refused(nn.Trainer, net, nn.CrossEntropy(), nn.SGD(0.5))):
        assert learns(trainer_of(net=net_of(dtype=dtype)))


@hint("end the network in Softmax() (one class of several) or Sigmoid() (independent yes or no), or use Quadratic()")
def test_outputs_that_are_no_probabilities():
    softmax, sigmoid, cost = layers_of(refused(trainer_of, nn.Linear(64, 10)).partition(": ")[2])
    assert learns(trainer_of(nn.Linear(64, 10), softmax))
    assert learns(trainer_of(nn.Linear(64, 10), sigmoid))
    assert learns(trainer_of(nn.Linear(64, 10), cost=cost, lr=0.05))


@hint("remove one of the two layers, or put a Linear between them")
def test_probabilities_of_probabilities():
    refused(trainer_of, nn.Linear(64, 10), nn.Sigmoid(), nn.Softmax())
    assert learns(trainer_of(nn.Linear(64, 10), nn.Sigmoid()))
    assert learns(trainer_of(nn.Linear(64, 10), nn.Softmax()))
    assert learns(trainer_of(nn.Linear(64, 10), nn.Sigmoid(), nn.Linear(10, 10), nn.Softmax()), epochs=20)


@hint(
    "Linear: bias must be True or False, got array([1., 2.]): assign values to layer.bias afterwards",
    "numnet.starts has some; assign given weights to layer.weight after the network is made",
    "has no bias to assign to: make the layer with bias=True",
)
def test_parameters_of_ones_own():
    weight, bias = np.ones((3, 2)), np.array([1.0, 2.0])
    refused(nn.Linear, 3, 2, bias)
    refused(nn.Linear, 3, 2, start=weight)
    layer = nn.Linear(3, 2, bias=False)
    option = re.search(r"make the layer with (\w+)=(\w+)", refused(setattr, layer, "bias", bias))
    layer = nn.Linear(3, 2, **{option[1]: option[2] == "True"})
    net = net_of(layer)
    layer.bias, layer.weight = bias, weight
    np.testing.assert_array_equal(net(np.ones((1, 3))), [[4, 5]])
    for name in nn.starts.__all__:
        assert nn.Linear(3, 2, start=getattr(nn.starts, name)).weight.any()


@hint("for yes or no use Sigmoid() over one output, or Softmax() over two")
def test_a_softmax_over_one_output():
    data, test = ((x, (t % 2 == 0).astype(int)) for x, t in (TRAIN, TEST))
    sigmoid, softmax = layers_of(refused(nn.Sequential, nn.Linear(64, 1), nn.Softmax()))[-2:]
    assert learns(trainer_of(nn.Linear(64, 1), sigmoid), data, test)
    assert learns(trainer_of(nn.Linear(64, 2), softmax), data, test)


# Options and arguments under the names of other libraries


@hint(
    ": it is called lr, SGD(lr=...)",
    ": it is called weight_decay, SGD(weight_decay=...)",
    ": it is called clip_norm, SGD(clip_norm=...)",
)
def test_options_of_other_libraries():
    for names in checks._SGD_ELSEWHERE:
        for name in names:
            option = re.search(r"SGD\((\w+)=", refused(nn.SGD, **{"lr": 0.5, name: 0.5}))[1]
            assert getattr(nn.SGD(**{"lr": 0.5, option: 0.25}), option) == 0.25


PAIR = "as one argument, a Dataset or a pair of inputs and targets: "


@hint(
    f"evaluate takes the data {PAIR}evaluate((x, t))",
    f"fit takes the training data {PAIR}fit((x, t), epochs=..., batch_size=...)",
    "give inputs and targets as a pair, fit((x, t), epochs=..., batch_size=...)",
)
def test_inputs_and_targets_as_two_arguments():
    def called(message):
        (code,) = quoted(message, "x")
        return eval(
            f"trainer.{code.replace('epochs=...', 'epochs=5').replace('batch_size=...', 'batch_size=64')}", names
        )

    trainer = trainer_of()
    names = {"trainer": trainer, "x": X, "t": T}
    for call in (
        lambda: trainer.fit(X, T),
        lambda: trainer.fit(X, T, epochs=5, batch_size=64),
        lambda: trainer.fit(X, T, 5, 64),
        lambda: trainer.fit(x=X, y=T),
    ):
        assert called(refused(call))[-1].train_accuracy > 0.85
    for call in (lambda: trainer.evaluate(X, T), lambda: trainer.evaluate(x=X, t=T)):
        assert called(refused(call)) == trainer.evaluate(TRAIN)


@hint(
    "fit has no argument 'validation_data': give the data in test=(x, t)",
    "split the data before, for classes by train, test = Dataset.from_arrays(x, t).split(0.1, seed=0), and give test=test",
    "the optimizer has the option, Trainer(net, cost, SGD(lr=...))",
    "the argument is called epochs",
    "the argument is called batch_size",
    "give inputs and targets as a pair, fit((x, t), epochs=..., batch_size=...)",
    "progress=False hides the bar",
    "every epoch is shuffled, by Trainer(..., seed=...)",
    "give callbacks=[numnet.keep_best(patience=...)]",
)
def test_arguments_of_other_libraries():
    for names, text in checks._ELSEWHERE.items():
        for name in names:
            assert text in refused(trainer_of().fit, TRAIN, **{"epochs": 5, "batch_size": 64, name: 1})
    trainer = trainer_of()
    x, t = TEST
    (options,) = re.findall(r"test=\(x, t\)", refused(trainer.fit, TRAIN, 5, 64, validation_data=TEST))
    assert trainer.fit(TRAIN, 5, 64, **eval(f"dict({options})", {"x": x, "t": t})).test_accuracy[-1] > 0.85
    x, t = TRAIN
    message = refused(trainer.fit, TRAIN, 5, 64, validation_split=0.1)
    train, test = given(message, "split", x=x, t=t)
    assert len(test) == pytest.approx(len(t) / 10, abs=5)
    assert (
        trainer.fit(
            train, 5, 64, **eval(f"dict({re.search('give (test=test)', message)[1]})", {"test": test})
        ).test_accuracy[-1]
        > 0.85
    )
    code = quoted(refused(trainer.fit, TRAIN, 5, 64, lr=0.25), "SGD")[0].replace("...", "0.25")
    assert eval(code, vars(nn) | {"net": net_of(), "cost": nn.CrossEntropy()}).optimizer.lr == 0.25
    for wrong, right in (("n_epochs", "epochs"), ("bs", "batch_size")):
        name = re.search(r"is called (\w+)", refused(trainer.fit, TRAIN, 5, 64, **{wrong: 1}))[1]
        assert name == right
    assert "progress=False" in refused(trainer.fit, TRAIN, 5, 64, verbose=0)
    trainer.fit(TRAIN, 1, 64, progress=False)
    assert "seed=..." in refused(trainer.fit, TRAIN, 5, 64, random_state=0)
    first, second = (nn.Trainer(net_of(), nn.CrossEntropy(), nn.SGD(0.5), seed=0).fit(TRAIN, 1, 64) for _ in "ab")
    assert first.train_cost == second.train_cost
    options = re.search(r"give (callbacks=.*)", refused(trainer.fit, TRAIN, 5, 64, patience=3))[1].replace("...", "3")
    trainer = trainer_of()
    trainer.fit(TRAIN, 500, 64, test=TEST, **eval(f"dict({options})", {"numnet": nn}))
    assert len(trainer.history) == trainer.best.epoch + 3 < 500


@hint(
    "fit: batch_size is missing: give epochs and batch_size, or leave out both to finish an interrupted run",
    "fit: epochs and batch_size are needed, since no interrupted run is left to finish",
    "with batches of 64: finish it first, by fit without epochs and batch_size",
)
def test_what_is_left_of_a_run():
    trainer = trainer_of()
    refused(trainer.fit, TRAIN, 5)
    refused(trainer.fit, TRAIN)
    interrupted(trainer)
    refused(trainer.fit, TRAIN, 5)
    refused(trainer.fit, TRAIN, 5, 64)
    assert len(trainer.fit(TRAIN)) == 3
    assert len(trainer.fit(TRAIN, epochs=1, batch_size=64)) == 4


def interrupted(trainer, path=None):
    """Leave a run of three epochs in the middle of the first, as after a checkpoint."""
    trainer.progress = nn.training.Progress(last=3, batch_size=64, samples=len(T), done=640, cost=640.0, right=64.0)
    if path is not None:
        nn.checkpoint.save_run(trainer, path)


@hint(": write callbacks=[...]")
def test_a_callback_that_is_no_list():
    seen = []
    assert "callbacks=[...]" in refused(trainer_of().fit, TRAIN, 2, 64, callbacks=seen.append)
    trainer_of().fit(TRAIN, 2, 64, callbacks=[seen.append])
    assert len(seen) == 2


@hint('give fit test data, test=..., and if the targets are no classes, choose by the cost, keep_best("test_cost")')
def test_a_column_that_was_not_recorded():
    refused(trainer_of().fit, TRAIN, 2, 64, callbacks=[nn.keep_best()])
    trainer_of().fit(TRAIN, 2, 64, callbacks=[nn.keep_best()], test=TEST)
    (train, test), trainer = numbers(), line(lr=0.05)
    by_cost = given(refused(trainer.fit, train, 2, 64, test, callbacks=[nn.keep_best()]), "keep_best")
    trainer.fit(train, 2, 64, test, callbacks=[by_cost])
    assert trainer.best.epoch == 1 + np.argmin(trainer.history.test_cost)


@hint("make a Trainer with a copy of the network, copy.deepcopy(net)", "or train a copy, copy.deepcopy(net)")
def test_a_second_training_at_once():
    def again(trainer):
        trained.append(trainer_of(net=given(refused(trainer.fit, TRAIN, 5, 64), "net", net=trainer.net)))
        trained[0].fit(TRAIN, 5, 64)
        heard.append(refuse_net(trainer.net))

    def refuse_net(net):
        with threads.alone(net, nn.run.NET_BUSY):
            return refused(trainer_of(net=net).step, X, T)

    trained, trainer = [], trainer_of()
    before = net_of()
    trainer.fit(TRAIN, 1, 64, callbacks=[again])
    assert trained[0].history[-1].train_accuracy > 0.85
    assert not np.array_equal(trained[0].net.parameters, trainer.net.parameters)
    copied = given(refuse_net(before), "net", net=before)
    assert learns(trainer_of(net=copied))
    np.testing.assert_array_equal(before.parameters, net_of().parameters)


# Checkpoints and saved networks


@hint(
    "has no folder to be in: make it first", "is a folder: name a file in it", "cannot be written: there is no folder"
)
def test_a_checkpoint_that_has_no_place(tmp_path):
    path = tmp_path / "new" / "run.npz"
    refused(trainer_of().fit, TRAIN, 1, 64, checkpoint=path)
    folder = re.search(r"there is no folder (.*)", refused(net_of().save, path))[1]
    Path(folder).mkdir()
    trainer_of().fit(TRAIN, 1, 64, checkpoint=path)
    refused(trainer_of().fit, TRAIN, 1, 64, checkpoint=folder)
    trainer_of().fit(TRAIN, 1, 64, checkpoint=Path(folder) / "run2.npz")
    assert len(nn.Trainer.resume(path).history) == len(nn.Trainer.resume(Path(folder) / "run2.npz").history) == 1


@hint("name another file, or give overwrite=True", "Go on with Trainer.resume(")
def test_a_checkpoint_of_a_longer_run(tmp_path):
    path = tmp_path / "run.npz"
    trainer_of().fit(TRAIN, 4, 64, checkpoint=path)
    message = refused(trainer_of().fit, TRAIN, 2, 64, checkpoint=path)
    resumed = given(message, "resume")
    assert len(resumed.fit(TRAIN, 2, 64, checkpoint=path)) == 6
    trainer_of().fit(TRAIN, 2, 64, checkpoint=tmp_path / "other.npz")
    trainer_of().fit(TRAIN, 2, 64, checkpoint=path, **eval(f"dict({re.search('overwrite=True', message)[0]})"))
    assert len(nn.Trainer.resume(path).history) == len(nn.Trainer.resume(tmp_path / "other.npz").history) == 2


@hint("which is not in the file: give it again, Trainer.resume(path, lr=...)")
def test_a_learning_rate_that_is_a_function(tmp_path):
    path, schedule = tmp_path / "run.npz", lambda epoch: 0.5 / epoch
    trainer_of(lr=schedule).fit(TRAIN, 2, 64, checkpoint=path)
    code = quoted(refused(nn.Trainer.resume, path), "resume")[0].replace("...", "schedule")
    trainer = eval(code, {"Trainer": nn.Trainer, "path": path, "schedule": schedule})
    assert trainer.fit(TRAIN, 1, 64).train_cost == trainer_of(lr=schedule).fit(TRAIN, 3, 64).train_cost


@hint("finish the epoch with the numnet of commit 9be9359, or start the run again")
def test_an_epoch_in_an_order_of_before(tmp_path):
    path, trainer = tmp_path / "run.npz", trainer_of()
    trainer.progress = nn.training.Progress(last=3, batch_size=64, samples=2_000_000, done=128, cost=1.0, right=64.0)
    nn.checkpoint.save_run(trainer, path)
    rewritten(path, header__npy=header_part(of_version_1(header_of(path))))
    refused(nn.Trainer.resume, path)
    message = refused(trainer_of().fit, TRAIN, 3, 64, checkpoint=path)
    assert "overwrite=True" in message
    trainer_of().fit(TRAIN, 3, 64, checkpoint=path, overwrite=True)
    assert len(nn.Trainer.resume(path).history) == 3


@hint("define or import its class, then load", "the file could mean any of them, rename the others")
def test_layers_of_ones_own_in_a_file(tmp_path):
    path = tmp_path / "net.npz"

    def define():
        class Own(nn.Layer):
            def forward(self, x, out=None):
                return np.multiply(x, 2, out=out)

        return Own

    Own = define()  # noqa: N806
    net = net_of(Own())
    net.save(path)
    rewritten(path, header__npy=header_part(header_of(path) | {"layers": [["Missing", {}]]}))
    refused(nn.load, path)
    Own.__name__ = "Missing"  # as if it were defined only now
    assert nn.load(path)(X[:3]).tolist() == net(X[:3]).tolist()

    class Missing(nn.Layer):
        pass

    refused(nn.load, path)
    Missing.__name__ = "Renamed"
    assert nn.load(path)(X[:3]).tolist() == net(X[:3]).tolist()
    Own.__name__ = "NoLonger"


@hint(
    "holds a network, not a run: load it with numnet.load",
    "save it again, or take an older copy",
    "update numnet, or save the network again with this one",
)
def test_files_that_hold_something_else(tmp_path):
    path, net = tmp_path / "net.npz", net_of()
    net.save(path)
    load = eval(re.search(r"numnet\.load$", refused(nn.Trainer.resume, path))[0], {"numnet": nn})
    assert load(path)(X).tolist() == net(X).tolist()
    older = tmp_path / "older.npz"
    older.write_bytes(path.read_bytes())
    rewritten(path, header__npy=header_part(header_of(path) | {"version": 99}))
    refused(nn.load, path)
    net.save(path)
    assert nn.load(path)(X).tolist() == net(X).tolist()
    path.write_bytes(path.read_bytes()[:1000])
    refused(nn.load, path)
    assert nn.load(older)(X).tolist() == net(X).tolist()
    net.save(path)
    assert nn.load(path)(X).tolist() == net(X).tolist()


@hint("each argument of its __init__ must be kept as an attribute of the same name, and be a number, a string or None")
def test_a_layer_that_cannot_be_saved(tmp_path):
    class Power(nn.Layer):
        def __init__(self, power):
            self.power = power if type(self) is Power else np.array(power)

        def forward(self, x, out=None):
            return np.power(x, self.power, out=out)

    class Lost(Power):
        pass

    refused(net_of(Lost(2.0)).save, tmp_path / "net.npz")
    net_of(Power(2.0)).save(tmp_path / "net.npz")
    assert nn.load(tmp_path / "net.npz").layers[0].power == 2


@hint("the file has changed", "is not as it was: start again with what is in it now")
def test_a_mapped_file_that_changes(tmp_path):
    np.save(tmp_path / "x.npy", X)
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    trainer = trainer_of()
    refused(trainer.fit, (x, T), 5, 64, callbacks=[lambda trainer: os.utime(tmp_path / "x.npy", (1, 1))])
    heard.append("the file has changed")
    assert learns(trainer, (np.load(tmp_path / "x.npy", mmap_mode="r"), T))


@hint(
    "start Python with the environment variable OPENBLAS_NUM_THREADS=",
    "or train within threadpoolctl.threadpool_limits(1)",
)
def test_threads_that_wait_for_one_another(monkeypatch):
    clock = itertools.chain.from_iterable([now, now + took] for now in range(100) for took in (0.001, 0.05))
    monkeypatch.setattr(threads.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(threads, "_TIMED", 1)
    with threadpoolctl.threadpool_limits(2, "blas"):
        if threads.number() == 1:
            pytest.skip("BLAS has one thread in any case")
        with pytest.warns(RuntimeWarning) as told:
            threads.warn_if_slow(np.zeros((2, 2)), 1)
        heard.append(str(told[0].message))
        with eval(quoted(heard[0], "threadpool_limits")[0], {"threadpoolctl": threadpoolctl}):
            threads.warn_if_slow(np.zeros((2, 2)), 1)
    variables = re.findall(r"(\w+)=(\d+)", heard[0])
    code = "import numpy, numnet.threads; print(numnet.threads.number())"
    environment = {**os.environ, **dict(variables)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
    with pytest.warns(RuntimeWarning) as told:
        checks.same_threads("run.npz", 1, 2)
    assert dict(variables).items() >= dict(re.findall(r"(OPENBLAS\w+)=(\d+)", str(told[0].message))).items()


# Gradients: the layer with the mistake, and the layer without it


class Kept(nn.Layer):
    """A Scale that puts a new array in the place of its gradient."""

    def __init__(self, inputs):
        self.inputs, self.parameters = inputs, {"factor": np.linspace(1, 2, inputs)}

    def forward(self, x, out=None):
        self.x = x
        return np.multiply(x, self.parameters["factor"], out=out)

    def backward(self, grad, out=None):
        self.gradients["factor"] = np.sum(grad * self.x, axis=0)
        return np.multiply(grad, self.parameters["factor"], out=out)


class Halved(nn.Layer):
    """Twice x, but with `out` only x."""

    def forward(self, x, out=None):
        return np.multiply(x, 2) if out is None else np.multiply(x, 1, out=out)

    def backward(self, grad, out=None):
        return np.multiply(grad, 2, out=out)


class Forgetful(Doubling):
    def forward(self, x, out=None):
        super().forward(x, out)


class RoundingBackward(nn.Tanh):
    analytic = False

    def backward(self, grad, out=None):
        return super().backward(np.asarray(grad, np.float32).astype(float), out)


class Absolute(nn.Layer):
    analytic = True

    def forward(self, x, out=None):
        self.sign = np.sign(x.real)
        return np.multiply(x, self.sign if x.dtype.kind != "c" else np.sign(x.real) * 1.001, out=out)

    def backward(self, grad, out=None):
        return np.multiply(grad, self.sign, out=out)


GRADIENTS = {
    "let it be random only if self.training is True, and remember nothing of earlier calls": (Noisy(), Training()),
    "write all of the result to `out`, and return `out`": (Halved(), Doubling()),
    "write to `out`, or to a new array": (InPlace(), Doubling()),
    "adds to gradients['factor'], or leaves there what was there before: write into it, self.gradients": (
        Adding(4),
        Scale(4),
    ),
    "which the network then does not see: write into it, self.gradients['factor'][...] = ...": (Kept(4), Scale(4)),
    "let `out` be None by default, and return a new array then": (OutNeeded(), Doubling()),
    "rounds to float32: let it compute in the dtype of what it is given": (RoundingInput(4), Scale(4)),
    "is there float32 in a backward?": (RoundingBackward(), nn.Tanh()),
    "must return an array of shape (5, 4), got None: is its return missing?": (Forgetful(), Doubling()),
    "is not the derivative of its forward": (WrongSign(), nn.Tanh()),
    "is marked as analytic, but is no analytic function: leave out analytic = True": (
        Absolute(),
        type("Plain", (Absolute,), {"analytic": False})(),
    ),
}
FOLLOWED |= dict.fromkeys(GRADIENTS, "test_a_layer_that_gradcheck_refuses")


@pytest.mark.parametrize("says", GRADIENTS)
def test_a_layer_that_gradcheck_refuses(says):
    wrong, right = (copy.deepcopy(layer) for layer in GRADIENTS[says])
    assert says in refused(checked, wrong, raise_above=1e-12 if "float32 in a" in says else 1e-8)
    report = checked(right, raise_above=1e-7)
    assert (report.complex_step is None) or report.complex_step.error < 1e-12


@hint("Move x away", "minutes or more: samples=50, say, compares 50 of each array")
def test_a_kink_and_a_gradcheck_that_takes_minutes(monkeypatch):
    net = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), dtype="float64")
    net.parameters = [2.0, 0.0]
    heard.append(nn.gradcheck(net, nn.Quadratic(), [[0.0]], [[1.0]]).cause)
    nn.gradcheck(net, nn.Quadratic(), [[0.05]], [[1.0]], raise_above=1e-7)
    net = net_of(nn.Linear(9, 20), nn.Sigmoid(), nn.Linear(20, 2), nn.Softmax())
    monkeypatch.setattr(sys.modules["numnet.gradcheck"], "_LONG", 1e-9)
    x, t = np.random.default_rng(0).random((2, 9)), np.arange(2)
    with pytest.warns(UserWarning, match="minutes") as told:
        nn.gradcheck(net, nn.CrossEntropy(), x, t)
    heard.append(str(told[0].message))
    options = eval(f"dict({re.search(r'samples=[0-9]+', heard[-1])[0]})")
    monkeypatch.undo()
    report = nn.gradcheck(net, nn.CrossEntropy(), x, t, **options, raise_above=1e-7)
    assert report.checked == 50 + 20 + 40 + 2 + 18 < report.total
