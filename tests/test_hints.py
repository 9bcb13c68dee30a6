"""Each remedy that numnet names is followed.

The remedy is taken out of the message. Then what was refused must work, and be right: the network learns, the labels
mean the same, the shapes are those that were meant.
"""

import ast
import copy
import functools
import gzip
import importlib.metadata
import importlib.util
import io
import itertools
import json
import os
import pickle
import re
import subprocess
import sys
import types
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import threadpoolctl

import numnet as nn
from numnet import checks, gpu, threads
from numnet.datasets import Dataset

from .devices import host, place
from .messages import messages
from .test_gradcheck import Adding, InPlace, Noisy, OutNeeded, RoundingInput, Scale, WrongSign
from .test_resume import header_of, header_part, of_version_1, rewritten
from .test_symptoms import Doubling, Training, checked

pandas = pytest.importorskip("pandas")
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
    with pytest.raises(
        (ValueError, TypeError, OSError, IndexError, RuntimeError, ImportError, AttributeError)
    ) as raised:
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
NUMBERED = "t = list(map(np.unique(train_t).tolist().index, np.ravel(t))) with the training targets train_t"
FROM_1, CLASS = (
    "if the classes are counted from 1, give np.asarray(t) - 1",
    "not classes: if each number stands for a class, give ",
)
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
    "words": (lambda t: WORDS[t], f"number the classes, {NUMBERED}, or give nn.datasets.Dataset.from_arrays(x, t)"),
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


@pytest.mark.parametrize("form", ["words", "with gaps", "fractions"])
def test_a_label_that_training_did_not_have_gets_no_number(form):
    """Among test data it would be one of the classes without a word, and the accuracy would be wrong."""
    change = LABELS[form][0]
    code, *_ = quoted(refused(trainer_of().fit, (X, change(T)), 5, 64), "t")
    known = eval(code, {"np": np, "t": change(T), "train_t": change(T)})
    assert learns(trainer_of(), (X, known))
    with pytest.raises(ValueError, match="is not in list"):
        eval(code, {"np": np, "t": change(T), "train_t": change(T[T != 3])})


IMAGES = {  # which forms numnet takes for numbers, not for classes
    "a column": f"{CLASS}np.ravel(t)",
    "a column of floats": f"{CLASS}np.asarray(t, int)",
    "floats": f"{CLASS}np.asarray(t, int)",
}
FOLLOWED |= dict.fromkeys(IMAGES.values(), "test_labels_of_images_in_another_form")


@pytest.mark.parametrize("form", [*IMAGES, "words", "words in a column", "digits"])
def test_labels_of_images_in_another_form(form):
    def entry(x, t):
        return texts(nn.plotting.sample_images((x, t)))

    heard.clear()
    x, t = (a[:100][T[:100] != 3] for a in TRAIN)
    change, says = LABELS[form]
    assert followed(entry, x, change(t), np.ravel(change(T))) == entry(x, t)
    assert any(IMAGES.get(form, says) in message for message in heard)


@hint("keep only samples with a label, those with np.isfinite(np.asarray(t, float))", WHOLE)
def test_labels_that_are_missing():
    t = np.where(np.arange(len(T)) % 5, T * 1.0, np.nan)
    keep = given(refused(trainer_of().fit, (X, t), 5, 64), "t", t=t)
    x, t = X[keep], t[keep]
    assert len(t) == np.count_nonzero(np.arange(len(T)) % 5)
    assert learns(trainer_of(), (x, given(refused(trainer_of().fit, (x, t), 5, 64), "t", t=t)))


@hint(
    "fill in numbers, or keep only samples without nan and inf, those with np.isfinite(np.asarray(x, float)).reshape("
    "len(x), -1).all(axis=1)"
)
def test_inputs_that_are_missing():
    for missing in (np.nan, np.inf):
        x = PIXELS / 255
        x[::5, 3, 4] = missing
        keep = given(refused(trainer_of().fit, (x, T), 5, 64), "x", x=x)
        np.testing.assert_array_equal(keep, np.arange(len(x)) % 5 > 0)
        assert learns(trainer_of(), (x[keep], T[keep]))
        assert learns(trainer_of(), (np.where(np.isfinite(x), x, 0), T))


@hint("keep only samples with targets, those with np.isfinite(np.asarray(t, float)).reshape(len(t), -1).all(axis=1)")
@pytest.mark.parametrize("kind", [np.asarray, lambda t: t.tolist(), pandas.DataFrame])
def test_targets_that_are_missing(kind):
    for missing in (np.nan, np.inf):
        t = np.stack([X[:, 20:44].mean(axis=1), X[:, 10]], axis=1)
        t[::5, 0] = missing
        for outputs, some in (2, kind(t)), (1, kind(t[:, 0])):
            trainer = trainer_of(nn.Linear(64, outputs), cost=nn.Quadratic(), lr=0.05)
            keep = eval(quoted(refused(trainer.fit, (X, some), 5, 64), "t")[-1], {"np": np, "t": some})
            np.testing.assert_array_equal(keep, np.arange(len(X)) % 5 > 0)
            costs = trainer.fit((X[keep], np.asarray(some)[keep]), 20, 64).train_cost
            assert costs[-1] < costs[0] / 2


@hint(
    "is nan in every sample: leave the feature out, or, if the feature was divided by a standard deviation of 0, "
    "divide by 1"
)
def test_a_feature_that_is_missing_in_every_sample():
    raw = np.insert(X, 4, 0.25, axis=1)
    mean, std = raw.mean(axis=0), raw.std(axis=0)
    std[[i for i in range(65) if i != 4 and std[i] == 0]] = 1
    with np.errstate(invalid="ignore"):
        x = (raw - mean) / std
    message = refused(trainer_of(nn.Linear(65, 10), nn.Softmax()).fit, (x, T), 5, 64)
    feature = int(re.search(r"feature (\d+) is nan in every sample", message)[1])
    train = np.delete(x, feature, axis=1), T
    assert learns(trainer_of(lr=0.1), train, train)
    std[feature] = float(re.search(r"divide by (\d)", message)[1])
    train = (raw - mean) / std, T
    assert learns(trainer_of(nn.Linear(65, 10), nn.Softmax(), lr=0.1), train, train)


@hint("and float32 ends at 3.4e+38: standardize the inputs")
def test_inputs_beyond_float32():
    x = X * 1e39
    refused(trainer_of().fit, (x, T), 5, 64)
    assert learns(trainer_of(lr=0.1), ((x - x.mean()) / x.std(), T), ((TEST[0] * 1e39 - x.mean()) / x.std(), TEST[1]))


@hint("for samples in columns give np.transpose(x)", "for samples in columns give np.transpose(t)")
def test_samples_in_columns():
    x = given(refused(trainer_of().fit, (X.T, T), 5, 64), "x", x=X.T)
    t = given(refused(trainer_of().fit, (x, ONE_HOT.T), 5, 64), "t", t=ONE_HOT.T)
    assert learns(trainer_of(), (x, t))


@hint("give the targets, too, as a pair, (x, t)")
def test_inputs_without_targets():
    refused(trainer_of().fit, X, 5, 64)
    assert learns(trainer_of(), (X, T))


@hint("give data.tensors", "give data.dataset.tensors")
def test_data_of_pytorch():
    torch = pytest.importorskip("torch")
    data = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(T))
    for wrong in (data, torch.utils.data.DataLoader(data)):
        assert learns(trainer_of(), given(refused(trainer_of().fit, wrong, 5, 64), "data", data=wrong))


@pytest.mark.parametrize("missing", [None, np.nan, pandas.NA], ids=str)
@pytest.mark.parametrize("form", [np.asarray, pandas.Series])
@hint("keep only samples with a label, those with np.array([type(label) is str for label in np.ravel(t)])", NUMBERED)
def test_words_that_are_missing(form, missing):
    t = WORDS[T].astype(object)
    t[::5] = missing
    t = form(t)
    keep = given(refused(trainer_of().fit, (X, t), 5, 64), "t", t=t)
    x, t = X[keep], np.asarray(t)[keep]
    assert len(t) == np.count_nonzero(np.arange(len(T)) % 5)
    (numbered, _) = quoted(refused(trainer_of().fit, (x, t), 5, 64), "t")
    assert learns(trainer_of(), (x, eval(numbered, {"np": np, "t": t, "train_t": t})))


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


@hint("targets must be real numbers, got dtype ", ": give np.asarray(t, float)")
def test_numbers_that_are_strings():
    t = X[:, 20:44].mean(axis=1) * 10
    for given_t in (t.astype(str), t.astype(str).tolist(), t.astype(object), np.rint(t).astype(int).astype(str)):
        trainer = trainer_of(nn.Linear(64, 1), cost=nn.Quadratic(), lr=0.05)
        assert explains(trainer, (X, given(refused(trainer.fit, (X, given_t), 5, 64), "t", t=given_t)))
    yes = (T % 2).astype(str)
    trainer = trainer_of(nn.Linear(64, 1), nn.Sigmoid())
    train = X, given(refused(trainer.fit, (X, yes), 5, 64), "t", t=yes)
    assert learns(trainer, train, train)


@hint(
    "or give nn.datasets.Dataset.from_arrays(x, t)",
    "number the labels alike, Dataset.from_arrays(x, t, classes=train.classes)",
)
def test_words_as_a_data_set():
    (x, t), (test_x, test_t) = ((x, WORDS[t]) for x, t in (TRAIN, TEST))
    some = test_t != "d"
    test_x, test_t = test_x[some], test_t[some]
    message = next(iter(quoted(refused(trainer_of().fit, (x, t), 5, 64), "from_arrays")))
    train, test = (eval(message, {"nn": nn, "x": x, "t": t}) for x, t in ((x, t), (test_x, test_t)))
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


@hint(FROM_1)
def test_a_data_set_that_counts_the_classes_from_1():
    data = Dataset(X, T + 1)
    labels = given(refused(trainer_of().fit, data, 5, 64), "t", t=data.labels)
    assert learns(trainer_of(), Dataset(data.images, labels))
    labels = given(refused(nn.plotting.confusion_matrix, net_of(), data), "t", t=data.labels)
    np.testing.assert_array_equal(labels, T)


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


@hint("must be -1 and 1, but the labels are 4 and 7: give 2 * (np.asarray(t) == 7) - 1")
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


@hint("read the file first, as by np.asarray(Image.open(path)) or pandas.read_csv(path)")
@pytest.mark.parametrize("kind", [str, Path])
def test_the_name_of_a_file(kind, tmp_path):
    Image = pytest.importorskip("PIL.Image")  # noqa: N806
    picture, table = kind(tmp_path / "photo.png"), kind(tmp_path / "houses.csv")
    Image.fromarray(PIXELS[7]).save(picture)
    opened = quoted(refused(net_of().predict, picture), "path")[0]
    pixels = eval(opened, {"np": np, "Image": Image, "path": picture})
    np.testing.assert_array_equal(net_of().predict(pixels[None]), net_of().predict(PIXELS[7:8]))
    pandas.DataFrame({"a": [1.0, 2, 3], "b": [4.0, 6, 5], "price": [0, 1, 0]}).to_csv(table, index=False)
    data = eval(quoted(refused(Dataset.from_arrays, table, "price"), "path")[1], {"pandas": pandas, "path": table})
    assert len(Dataset.from_arrays(data[["a", "b"]], data["price"])) == 3
    assert refused(Dataset.from_arrays, table, data["price"]).startswith(
        f"from_arrays: x must be an array, got {table!r}"
    )


@hint(
    "the last axis looks like colours: average them, np.mean(x[..., :3], axis=-1).astype(x.dtype), or for digits give "
    "np.stack([nn.datasets.as_mnist(image) for image in x])"
)
@pytest.mark.parametrize("channels", [3, 4])
def test_pictures_with_colours(channels):
    coloured = np.repeat(PIXELS[..., None], channels, axis=-1)
    coloured[..., 3:] = 255  # opaque
    for x in coloured, coloured / 255:
        average, _ = quoted(refused(trainer_of().fit, (x, T), 1, 64), "x")
        grey = eval(average, {"np": np, "x": x})
        assert grey.dtype == x.dtype
        np.testing.assert_allclose(grey, x[..., 0], rtol=1e-15)
    enlarged = np.zeros((300, 28, 28, channels), np.uint8)
    enlarged[:, 6:22, 6:22] = np.repeat(np.repeat(coloured[:300], 2, axis=1), 2, axis=2)
    enlarged[..., 3:] = 255
    as_mnist = quoted(refused(net_of(nn.Linear(784, 10), nn.Softmax()), enlarged), "x")[1]
    trainer = trainer_of(nn.Linear(784, 10), nn.Softmax())
    assert trainer.fit((eval(as_mnist, {"np": np, "nn": nn, "x": enlarged}), T[:300]), 20, 64)[-1].train_accuracy > 0.9


@hint("a Dataset is not an array: give its images, data.images, or its labels, data.labels")
def test_a_data_set_in_place_of_an_array():
    data = Dataset(*TRAIN)
    net = net_of()
    images, labels = (eval(code, {"data": data}) for code in re.findall(r"data\.\w+", refused(net, data)))
    np.testing.assert_array_equal(net(images), net(X))
    assert net.accuracy(images, labels) == net.accuracy(*TRAIN)


@hint(
    "must have no masked entries, since numnet takes every entry for a number: fill them in, inputs.filled(value), or "
    "leave out their samples, by the index ~np.ma.getmaskarray(inputs).reshape(len(inputs), -1).any(axis=1)",
    "fill them in, targets.filled(value)",
)
def test_masked_entries():
    missing = np.random.default_rng(0).random(X.shape) < 0.003
    x, t = np.ma.array(X, mask=missing), np.ma.masked_equal(T, 9)
    fill = quoted(refused(trainer_of().fit, (x, T), 5, 64), "filled")[0]
    rest = re.search(r"by the index (.*)", heard[-1])[1]
    assert learns(trainer_of(), (eval(fill, {"inputs": x, "value": 1.0}), T))
    rows = eval(rest, {"np": np, "inputs": x})
    assert learns(trainer_of(), (x[rows], T[rows]))
    np.testing.assert_array_equal(rows, ~missing.any(axis=1))
    rows = eval(re.search(r"by the index (.*)", refused(trainer_of().fit, (X, t), 5, 64))[1], {"np": np, "targets": t})
    np.testing.assert_array_equal(rows, T != 9)
    trainer_of().fit((X[rows], t[rows]), 1, 64)


@hint("give inputs.toarray()")
def test_sparse_inputs():
    x = pytest.importorskip("scipy.sparse").csr_matrix(X)
    np.testing.assert_array_equal(net_of()(given(refused(net_of(), x), "inputs", inputs=x)), net_of()(X))


@hint("on the device meta it has a shape, but no numbers: make it on the CPU")
def test_a_tensor_without_numbers():
    torch = pytest.importorskip("torch")
    refused(net_of(), torch.empty(3, 64, device="meta"))
    np.testing.assert_array_equal(net_of()(torch.ones(3, 64)), net_of()(np.ones((3, 64))))


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


@hint("give np.asarray(x, np.float32), or, if x was divided by 255 and then made bytes, x as it was before")
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


@hint("are divided by 255: give np.asarray(x, np.uint8), unless the network was trained on such numbers")
@pytest.mark.parametrize("kind", [lambda x: x.astype(np.int64), lambda x: x.tolist(), lambda x: x.astype(">u2")])
def test_integers_for_a_network_trained_on_bytes(kind):
    train, (images, t) = pixels(lambda x: x)
    x = kind(images)
    for call in (
        lambda trainer, x: trainer.net(x)[:, 0].tolist(),
        lambda trainer, x: trainer.net.predict(x).tolist(),
        lambda trainer, x: trainer.net.accuracy(x, t),
        lambda trainer, x: trainer.evaluate((x, t)),
        lambda trainer, x: trainer.step(x, t),
    ):
        trainer, other = trainer_of(), trainer_of()
        for one in trainer, other:
            one.fit(train, 2, 64)
        message = warned(call, copy.deepcopy(trainer), x)
        assert message.startswith(f"the images are {np.asarray(x).dtype} from 0 to 255 and are not scaled")
        assert call(trainer, given(message, "x", x=x)) == call(other, images)
        assert warned(call, trainer, x)
        assert not warned(call, trainer, x)


@pytest.mark.parametrize("kind", [int, np.uint16])
def test_integers_that_are_no_images_or_that_the_network_knows(kind):
    (images, t), _ = pixels(lambda x: x.astype(kind))
    trainer = trainer_of(lr=1e-3)
    assert warned(trainer.fit, (images, t), 1, 64, (images[:9], t[:9])).count("give") == 1
    for x in images, images.reshape(-1, 64):
        assert not warned(trainer.net.predict, x)
    for x in images.reshape(-1, 64), np.minimum(images, 16), images + 1, images - 1, images > 16, images[:0]:
        assert not warned(trainer_of().net, x)
    assert warned(trainer_of().net, np.minimum(images, 17))
    trainer = trainer_of()
    trainer.fit((images / 255, t), 1, 64)
    assert warned(trainer.net.predict, images)


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
    "standardize each feature, (x - mean) / np.where(std > 1e-6 * abs(mean), std, 1), with x = np.asarray(x, float), "
    "mean = x.mean(axis=0), std = x.std(axis=0), and for test data with the mean and std of the training data"
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


@hint(
    "test: the images look inverted to those of the training data, as black on white to white on black: give 255 - "
    "images, or each image as nn.datasets.as_mnist(image)",
    "give 1 - images, or each image as nn.datasets.as_mnist(image)",
)
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


@hint("): prepare both in the same way, digits by nn.datasets.as_mnist(image)")
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


@hint("and hidden layers learn badly from many large inputs: give ", " - images, and test images alike")
def test_a_bright_ground():
    def hidden():
        return trainer_of(nn.Linear(64, 30), nn.ReLU(), nn.Linear(30, 10), nn.Softmax())

    (images, t), (tests, test_t) = pixels(lambda x: 255 - x)
    trainer = hidden()
    code = quoted(warned(trainer.fit, (images, t), 5, 64), "images")[-1]
    assert learns(hidden(), *((eval(code, {"images": x}), t) for x, t in ((images, t), (tests, test_t))))
    assert trainer.net.accuracy(tests, test_t) < 0.7


def deep(lr=0.05):
    return trainer_of(nn.Linear(64, 30), nn.ReLU(), nn.Linear(30, 1), cost=nn.Quadratic(), lr=lr)


@hint(
    "train: the targets reach ",
    "standardize them, (t - np.mean(t, axis=0)) / np.std(t, axis=0), and test targets with the same mean and std",
    "test: the targets range from ",
    ": are they in the same unit?",
)
@pytest.mark.parametrize("kind", [np.asarray, lambda t: t.tolist(), pandas.Series])
def test_targets_in_thousands(kind):
    t, test_t = (100_000 + 50_000 * x[:, 20:44].mean(axis=1) for x in (X, TEST[0]))
    t, test_t = kind(t), kind(test_t)
    message = warned(deep(1e-12).fit, (X, t), 1, 64, (TEST[0], test_t))
    train = X, given(message, "t", t=t)
    test = TEST[0], (np.asarray(test_t) - np.mean(t)) / np.std(t)
    message = warned(deep(0.01).fit, train, 1, 64, (TEST[0], test_t))
    assert message.startswith("test: the targets range from 1")
    assert message.endswith("are they in the same unit?")
    assert explains(deep(), train, test, least=0.8)


@pytest.mark.parametrize(("scale", "said"), [(99, False), (101, True), (1 / 99, False), (1 / 101, True), (0, False)])
def test_test_targets_in_another_unit(scale, said):
    t = np.linspace(-1, 1, len(X))
    assert bool(warned(deep(1e-3).fit, (X, t), 1, 64, (X, t * scale))) == said
    assert not warned(deep(1e-3).fit, (X, t), 1, 64, (X[:9], t[:9] * scale))
    both = warned(deep(1e-3).fit, (X, t), 1, 64, (1000 * X, t * scale))
    assert ("the same unit?" in both, "of another kind or range" in both) == (said, True)


def test_targets_that_are_too_large_and_test_targets_in_another_unit_are_both_told():
    t = np.linspace(0, 2000, len(X))
    said = warned(deep(1e-9).fit, (X, t), 1, 64, (X, t / 1000))
    assert "train: the targets reach 2,000" in said
    assert "are they in the same unit?" in said


def test_rows_of_test_targets_that_look_like_classes_by_chance_are_none():
    t = np.random.default_rng(0).normal(size=(len(X), 2))
    trainer = trainer_of(nn.Linear(64, 2), cost=nn.Quadratic(), lr=1e-3)
    trainer.fit((X, t), 1, 64, (X, np.eye(2)[T % 2]))
    assert np.isnan(trainer.history.test_accuracy).all()


@pytest.mark.parametrize("sign", [1, -1])
def test_targets_that_are_not_too_large(sign):
    t = sign * np.linspace(0, 1000, len(X))
    assert not warned(deep(1e-9).fit, (X, t), 1, 64)
    assert "the targets reach 1,001," in warned(deep(1e-9).fit, (X, t * 1.001), 1, 64)
    assert "the targets reach 1,234.5," in warned(deep(1e-9).fit, (X, t * 1.2345), 1, 64)
    assert not warned(trainer_of(nn.Linear(64, 1), cost=nn.Quadratic(), lr=1e-9).fit, (X, t * 9), 1, 64)


# Divergence: what is to blame, and what helps


def numbers(scale=1.0):
    return (X, T * scale), (TEST[0], TEST[1] * scale)


def line(**options):
    return trainer_of(nn.Linear(64, 1), cost=nn.Quadratic(), **options)


@hint(
    "training has diverged. Try a smaller learning rate than 0.5, clip the gradient with SGD(clip_norm=0.2), or "
    "standardize the inputs, and the targets of a regression"
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
@pytest.mark.parametrize("momentum", [0.0, 0.9, 0.99])
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


FOLLOWED |= dict.fromkeys(
    (
        "layers must be a list of layers, such as [Sigmoid(), Tanh()], got",
        "costs must be a list of costs, such as [Quadratic(), CrossEntropy()], got",
        "shares must be a list of what saturated(net, x) returned, got",
    ),
    "test_the_values_that_are_named_are_right",
)


@pytest.mark.parametrize(
    ("call", "wrong", "values"),
    [
        (lambda v: nn.Linear(v, 2), 0, r"at least (\d)"),
        (lambda v: net_of(dtype=v), "float16", r"float32|float64|complex128"),
        (lambda v: net_of(device=v), "cuda", r"\bcpu\b"),
        (lambda v: net_of(device=v), "cuda:0", r"write '(gpu)'"),
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
        (nn.plotting.saturation, {}, r"saturated\(net, x\)"),
    ],
)
def test_the_values_that_are_named_are_right(call, wrong, values):
    message = refused(call, wrong)
    found = [match[1] if match.re.groups and match[1] else match[0] for match in re.finditer(values, message)]
    assert found
    for value in found:
        if value == "0" and "above" in message:
            value = "1e-9"
        call(
            value
            if value.isidentifier() and value not in ("None", "True", "False")
            else eval(
                value, vars(nn) | {"saturated": lambda *_: [nn.plotting.saturated(net_of(), X)], "net": 0, "x": 0}
            )
        )


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


class Twofold(nn.Layer):
    """The features, and their squares."""

    def forward(self, x, out=None):
        self.x = x
        return np.concatenate([x, x**2], axis=1, out=out)

    def backward(self, grad, out=None):
        first, second = np.split(grad, 2, axis=1)
        return np.add(first, 2 * self.x * second, out=out)


@hint("make the two equal, or, if layer 1, Twofold(), changes the number of features, set its inputs and outputs")
def test_a_layer_of_ones_own_that_changes_the_number_of_features():
    message = refused(nn.Sequential, nn.Linear(64, 30), Twofold(), nn.Tanh(), nn.Linear(60, 10), nn.Softmax())
    layer, (before, after) = Twofold(), re.findall(r"(?:gives|takes) (\d+)", message)
    for name, value in zip(re.search(r"set its (\w+) and (\w+)", message).groups(), (before, after), strict=True):
        setattr(layer, name, int(value))
    assert learns(trainer_of(nn.Linear(64, 30), layer, nn.Tanh(), nn.Linear(60, 10), nn.Softmax(), lr=0.2), epochs=20)
    assert refused(nn.Sequential, nn.Linear(64, 30), nn.Tanh(), nn.Linear(60, 10)).endswith("make the two equal")
    assert refused(nn.Sequential, Twofold(), nn.Linear(64, 30), nn.Linear(60, 10)).endswith("make the two equal")


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


@hint("weight must have shape (64, 10), got (10, 64): PyTorch's weights are (outputs, inputs), so give np.transpose(w)")
@pytest.mark.parametrize("kind", [np.asarray, lambda w: w.tolist(), pandas.DataFrame])
def test_the_weights_of_pytorch(kind):
    torch = pytest.importorskip("torch")
    module, net = torch.nn.Linear(64, 10), net_of(nn.Linear(64, 10))
    w, (layer,) = kind(module.weight.detach().numpy()), net.layers
    layer.bias, layer.weight = module.bias.detach(), given(refused(setattr, layer, "weight", w), "w", w=w)
    there = module(torch.tensor(X[:9], dtype=torch.float32)).detach().numpy()
    np.testing.assert_allclose(net(X[:9]), there, rtol=1e-4, atol=1e-5)


@hint("for yes or no use Sigmoid() over one output, or Softmax() over two")
def test_a_softmax_over_one_output():
    data, test = ((x, (t % 2 == 0).astype(int)) for x, t in (TRAIN, TEST))
    sigmoid, softmax = layers_of(refused(nn.Sequential, nn.Linear(64, 1), nn.Softmax()))[-2:]
    assert learns(trainer_of(nn.Linear(64, 1), sigmoid), data, test)
    assert learns(trainer_of(nn.Linear(64, 2), softmax), data, test)


def fourth_power(value, gradient):
    """Return a cost of the user's own."""

    class Fourth(nn.Cost):
        pass

    Fourth.value, Fourth.gradient = value, gradient
    return Fourth()


@hint(
    "must be one number, the mean over the batch, got an array of shape (5,): is .sum() / len(y) missing?",
    "the value of Fourth() must be one number, the mean over the batch, got None: is its return missing?",
    "as y, got one of shape (): leave out sums over samples and outputs, and write / len(y) for a mean",
    "the gradient of Fourth() must be an array of shape (5, 2), as y, got None: is its return missing?",
)
def test_a_cost_of_ones_own_that_gives_no_number_or_no_array():
    x, t = np.random.default_rng(0).uniform(-1, 1, (5, 3)), np.random.default_rng(1).random((5, 2))
    values = lambda self, y, t, out=None: ((y - t) ** 4).sum(axis=1)  # noqa: E731
    gradients = lambda self, y, t, out=None: 4 * (y - t) ** 3  # noqa: E731
    nothing = lambda self, y, t, out=None: None  # noqa: E731

    def net():
        return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2), seed=0)

    def told(value, gradient):
        cost = fourth_power(value, gradient)
        message = refused(nn.gradcheck, net(), cost, x, t)
        data = x, t
        assert refused(nn.Trainer(net(), cost, nn.SGD(0.1)).fit, data, 1, 5) == message
        assert refused(nn.Trainer(net(), cost, nn.SGD(0.1)).step, x, t) == message
        assert refused(nn.cost_and_gradient, net(), cost, x, t) == message
        if "gradient" in message:
            assert refused(nn.Trainer(net(), cost, nn.SGD(0.1)).fit, data, 1, 5, sample_weight=np.arange(5)) == message
        else:
            assert refused(cost, net()(x), t) == message
        return message

    message = told(values, lambda self, y, t, out=None: gradients(self, y, t) / len(y))
    total = re.search(r"is (\.sum\(\) / len\(y\)) missing", message)[1]
    whole = lambda self, y, t, out=None: eval(f"v{total}", {"v": values(self, y, t), "y": y})  # noqa: E731
    message = told(whole, lambda self, y, t, out=None: gradients(self, y, t).mean())
    end = re.search(r"write (/ len\(y\)) for a mean", message)[1]
    each = lambda self, y, t, out=None: eval(f"g {end}", {"g": gradients(self, y, t), "y": y})  # noqa: E731
    for wrong in (nothing, lambda self, y, t, out=None: each(self, y, t).sum(axis=1)):
        told(whole, wrong)
    told(nothing, each)
    assert nn.gradcheck(net(), fourth_power(whole, each), x, t, raise_above=1e-7).cause == ""
    history = nn.Trainer(net(), fourth_power(whole, each), nn.SGD(0.1), seed=0).fit((x, t), 50, 5)
    assert history.train_cost[-1] < history.train_cost[0] / 2


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


CALLED = {  # of Keras, PyTorch and scikit-learn, and words of what numnet says to use
    "nn.Trainer(net, cost, optimizer).fit(...)": "fit train compile",
    "nn.Trainer(net, cost, optimizer).evaluate(...), or net.accuracy(x, t)": "evaluate score",
    "one optimizer, nn.SGD(lr=...)": "Adam AdamW RMSprop Adagrad optim optimizers",
    "call the network, net(x)": "predict_proba",
    "print(net)": "summary",
    "are net.parameters, and net.save(path) saves": "state_dict",
    "save a network by net.save(path)": "save",
    "nn.Linear(inputs, outputs)": "Dense Conv2d Conv2D BatchNorm1d BatchNorm2d BatchNormalization",
    "nn.ReLU()": "Relu LeakyReLU",
    "use nn.CrossEntropy()": "CrossEntropyLoss CategoricalCrossentropy SparseCategoricalCrossentropy",
    "nn.Quadratic()": "MSE MSELoss MeanSquaredError",
    "leave it out": "Flatten eval zero_grad",
    "copy the Dropout that is in docs/coming-from.md": "Dropout",
    "copy the LeakyReLU that is in examples/03-write-your-own-layer.ipynb": "LeakyReLU",
    "a Dataset: fit makes the batches": "DataLoader",
    "callbacks=[nn.keep_best(patience=...)]": "EarlyStopping",
    "train, test = data.split(0.2, seed=0)": "train_test_split",
    "nn.CrossEntropy() after nn.Sigmoid()": "BCELoss BCEWithLogitsLoss BinaryCrossentropy",
    "derived from nn.Layer": "Module",
    "nn.ReLU() and nn.CrossEntropy()": "functional",
    "seed=0": "manual_seed",
    "nn.SGD(lr=lambda epoch: ": "lr_scheduler",
    "load a network by nn.load(path)": "load_model load_state_dict load",
    "the mean and std of the training data": "StandardScaler",
    "nn.sklearn.NetClassifier()": "MLPClassifier NetClassifier",
    "nn.sklearn.NetRegressor()": "MLPRegressor NetRegressor",
    "net.to('gpu')": "cuda",
    "net.parameters = values": "load_state_dict",
    "trainer.net": "predict network model",
    "nn.Trainer.resume(path)": "load",
    "history.train_cost": "history",
}
FIT = {  # its arguments
    "test=(x, t)": "validation_data val_data valid validation eval_set",
    "nn.datasets.Dataset.from_arrays(x, t).split(0.1, seed=0)": "validation_split validation_fraction",
    "Trainer(net, cost, SGD(lr=...))": "lr learning_rate momentum weight_decay optimizer",
    "is called epochs": "n_epochs num_epochs nb_epoch epoch max_iter max_epochs",
    "is called batch_size": "batch bs minibatch_size mini_batch_size",
    "fit((x, t), epochs=..., batch_size=...)": "y t labels targets X x",
    "progress=False": "verbose",
    "Trainer(..., seed=...)": "shuffle seed random_state",
    "callbacks=[numnet.keep_best(patience=...)]": "patience early_stopping",
    "sample_weight=w[labels]": "class_weight class_weights",
    "sample_weight=...": "sample_weights weights weight",
}
SGD = {  # its options
    "is called lr, ": "learning_rate learning_rate_init eta eta0",
    "is called weight_decay, ": "alpha l2",
    "is called clip_norm, ": "clipnorm global_clipnorm max_norm max_grad_norm",
}


def test_the_names_of_other_libraries_are_known():
    for told, names in CALLED.items():
        for name in names.split():
            assert told in checks.called_here(name), name
    trainer = trainer_of()
    for told, names in FIT.items():
        for name in names.split():
            assert told in refused(trainer.fit, TRAIN, epochs=5, batch_size=64, **{name: 1}), name
    for told, names in SGD.items():
        for name in names.split():
            assert told in refused(nn.SGD, **{"lr": 0.5, name: 0.5}), name
    assert checks.called_here("what_nobody_has") == ""


@hint("SGD takes no network and no parameters: SGD(lr=0.5), and the Trainer gives it the network")
def test_a_network_in_place_of_the_learning_rate():
    net = net_of()
    for wrong in (net, net.parameters, net.layers[0], net.layers[0].weight):
        for message in (refused(nn.SGD, wrong), refused(nn.SGD, wrong, momentum=0.9)):
            assert learns(nn.Trainer(net_of(), nn.CrossEntropy(), given(message, "SGD"), seed=0))
    assert nn.SGD(np.float32(0.5)).lr == 0.5


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
    "train a network by nn.Trainer(net, cost, optimizer).fit(...)",
    "give nn.Trainer(net, cost, optimizer).evaluate(...), or net.accuracy(x, t)",
    "call the network, net(x)",
    "write print(net)",
    "the parameters are net.parameters, and net.save(path) saves the network",
)
def test_what_a_network_of_another_library_does(tmp_path, capsys):
    net = net_of()
    names = {"net": net, "cost": nn.CrossEntropy(), "optimizer": nn.SGD(0.5), "x": X, "t": T}
    for name in "fit", "train", "compile":
        message = refused(getattr, net, name)
        (call,) = quoted(message.replace("...", "(x, t), epochs=5, batch_size=64"), "Trainer")
        net.initialize(0)
        assert eval(call, {"nn": nn}, names)[-1].train_accuracy > 0.85
    for name in "evaluate", "score":
        message = refused(getattr, net, name).replace("...", "(x, t)")
        both = [eval(call, {"nn": nn}, names) for used in ("Trainer", "accuracy") for call in quoted(message, used)]
        assert both[0][1] == both[1] > 0.85
    np.testing.assert_array_equal(given(refused(getattr, net, "predict_proba"), "net", net=net, x=X), net(X))
    given(refused(getattr, net, "summary"), "print", net=net)
    assert capsys.readouterr().out == f"{net!r}\n"
    parameters, saved = quoted(refused(getattr, net, "state_dict"), "net")
    names |= {"path": tmp_path / "net.npz"}
    eval(saved, {}, names)
    np.testing.assert_array_equal(nn.load(tmp_path / "net.npz").parameters, eval(parameters, {}, names))
    assert refused(getattr, net, "parameter") == "'Sequential' object has no attribute 'parameter'"
    assert not hasattr(net, "fit")


@hint(
    "numnet has one optimizer, nn.SGD(lr=...)",
    "use nn.Linear(inputs, outputs)",
    "use nn.CrossEntropy()",
    "use nn.Quadratic()",
    "leave it out, since a network flattens its inputs",
    "use nn.ReLU()",
    "copy the Dropout that is in docs/coming-from.md of numnet's repository",
    "numnet has dense layers only, nn.Linear(inputs, outputs)",
)
def test_a_class_of_another_library():
    def used(name, **names):
        message = refused(getattr, nn, name)
        assert message.startswith(f"module 'numnet' has no attribute {name!r}: ")
        return given(message, "nn", **names)

    for adam, dense in ("Adam", "Dense"), ("RMSprop", "Dense"), ("AdamW", "Dense"):
        (call,) = quoted(refused(getattr, nn, adam), "SGD")
        sgd = eval(call.replace("...", "0.5"), {"nn": nn})
        net = nn.Sequential(used(dense, inputs=64, outputs=10), nn.Softmax(), seed=0)
        cost = used("CrossEntropyLoss")
        assert type(cost) is type(used("SparseCategoricalCrossentropy")) is nn.CrossEntropy
        assert learns(nn.Trainer(net, cost, sgd, seed=0))
    assert type(used("MSELoss")) is type(used("MeanSquaredError")) is type(used("MSE")) is nn.Quadratic
    assert type(used("Relu")) is nn.ReLU
    for layer in "Conv2d", "Conv2D", "BatchNorm1d", "BatchNorm2d", "BatchNormalization":
        assert repr(used(layer, inputs=64, outputs=10)) == repr(nn.Linear(64, 10))
    page = Path(__file__).parent.parent / re.search(r"docs/\S+", refused(getattr, nn, "Dropout"))[0]
    names = {}
    code = page.read_text("utf-8").partition("### Dropout")[2].partition("```python\n")[2].partition("\n\n\ntrain, ")[0]
    exec(code, names)
    layers = nn.Linear(64, 64), nn.ReLU(), names["Dropout"](0.2), nn.Linear(64, 10), nn.Softmax()
    assert learns(trainer_of(*layers), epochs=20)
    refused(getattr, nn, "Flatten")
    assert net(PIXELS[:3]).shape == (3, 10)
    assert refused(getattr, nn, "Sequentiel") == "module 'numnet' has no attribute 'Sequentiel'"


@hint(
    "give fit the arrays, fit((x, t), ...), or a Dataset: fit makes the batches",
    "give fit callbacks=[nn.keep_best(patience=...)]",
    "split a Dataset by train, test = data.split(0.2, seed=0)",
    "save a network by net.save(path)",
)
def test_a_function_of_another_library(tmp_path):
    train, test = given(refused(getattr, nn, "train_test_split"), "split", data=nn.datasets.digits()[0])
    (call,) = quoted(refused(getattr, nn, "DataLoader"), "fit")
    callbacks = re.search(r"callbacks=.*", refused(getattr, nn, "EarlyStopping"))[0].replace("...", "3")
    trainer = trainer_of()
    call = call.replace("...", f"500, 64, test=test, {callbacks}")
    eval(call, {"nn": nn, "fit": trainer.fit, "x": train.images, "t": train.labels, "test": test})
    assert len(trainer.history) == trainer.best.epoch + 3 < 500
    path = tmp_path / "net.npz"
    given(refused(getattr, nn, "save"), "net", net=trainer.net, path=path)
    np.testing.assert_array_equal(nn.load(path)(X), trainer.net(X))


@hint(
    "use nn.CrossEntropy() after nn.Sigmoid()",
    "use nn.ReLU(), or copy the LeakyReLU that is in examples/03-write-your-own-layer.ipynb of numnet's repository",
    "write a class derived from nn.Layer, with a forward and a backward",
    "write layers and costs as objects, such as nn.ReLU() and nn.CrossEntropy()",
    "give Sequential and Trainer seed=0",
    "give SGD a function of the epoch, nn.SGD(lr=lambda epoch: 0.5 * 0.9**epoch)",
    "load a network by nn.load(path)",
    "use that of scikit-learn, or (x - mean) / std with the mean and std of the training data",
    "use nn.sklearn.NetClassifier()",
    "use nn.sklearn.NetRegressor()",
)
def test_more_names_of_other_libraries(tmp_path):
    def used(name, **names):
        return [eval(code, {"nn": nn, **names}) for code in quoted(refused(getattr, nn, name), "nn")]

    (x, t), (test_x, test_t) = two_digits((0, 1))
    for name in "BCELoss", "BCEWithLogitsLoss", "BinaryCrossentropy":
        cost, last = used(name)
        assert learns(trainer_of(nn.Linear(64, 1), last, cost=cost), (x, t), (test_x, test_t))
    relu, cost = used("functional")
    learns(trainer_of(nn.Linear(64, 16), relu, nn.Linear(16, 10), nn.Softmax(), cost=cost))
    message = refused(getattr, nn, "LeakyReLU")
    assert type(given(message, "nn")) is nn.ReLU
    page = Path(__file__).parent.parent / re.search(r"examples/\S+", message)[0]
    cells = ["".join(cell["source"]) for cell in json.loads(page.read_text("utf-8"))["cells"]]
    (code,) = (cell for cell in cells if "class LeakyReLU(" in cell)
    names = {"nn": nn, "np": np}
    exec(code.partition("```python\n")[2].partition("\n\n\nshow(")[0], names)
    leaky = names["LeakyReLU"]
    assert leaky.__base__ is eval(re.search(r"derived from (nn\.\w+),", refused(getattr, nn, "Module"))[1])
    assert {"forward", "backward"} <= vars(leaky).keys()
    assert learns(trainer_of(nn.Linear(64, 30), leaky(30), nn.Linear(30, 10), nn.Softmax()), epochs=10)
    kinds = re.search(r"give (\w+) and (\w+) (seed=0)", refused(getattr, nn, "manual_seed"))
    same = []
    for _ in "ab":
        options = eval(f"dict({kinds[3]})")
        net = getattr(nn, kinds[1])(nn.Linear(64, 10), nn.Softmax(), **options)
        trainer = getattr(nn, kinds[2])(net, nn.CrossEntropy(), *used("lr_scheduler"), **options)
        assert learns(trainer)
        same.append(net.parameters)
    np.testing.assert_array_equal(*same)
    assert trainer.optimizer.learning_rate(2) == 0.5 * 0.9**2
    net.save(tmp_path / "net.npz")
    np.testing.assert_array_equal(used("load_model", path=tmp_path / "net.npz")[0].parameters, net.parameters)
    pytest.importorskip("sklearn")
    from sklearn.preprocessing import StandardScaler

    x, (std,) = X[:, X.std(axis=0) > 0.1], re.findall(r"\(x - mean\) / std", refused(getattr, nn, "StandardScaler"))
    found = eval(std, {"x": x, "mean": x.mean(axis=0), "std": x.std(axis=0)})
    np.testing.assert_allclose(StandardScaler().fit_transform(x), found, atol=1e-12)
    for name in "MLPClassifier", "NetClassifier":
        assert used(name)[0].fit(X, T).score(*TEST) > 0.85
    for name in "MLPRegressor", "NetRegressor":
        assert used(name)[0].fit(x, x[:, 0]).score(x, x[:, 0]) > 0.85


@hint(
    "leave it out, since only a Trainer sets layers to training, and sets them back",
    "leave it out, since each batch replaces the gradients",
    "move a network by net.to('gpu')",
    "assign the parameters, net.parameters = values, or load a network by nn.load(path)",
    "call net.predict(x), with the net of a trainer, trainer.net",
    "the network is trainer.net",
    "go on with a run by nn.Trainer.resume(path), or load a network by nn.load(path)",
    "'History' object has no attribute 'history': the columns are attributes, such as history.train_cost",
    "save a network by net.save(path)",
)
def test_what_networks_trainers_and_histories_of_other_libraries_have(tmp_path):
    trainer, path = trainer_of(), tmp_path / "run.npz"
    net, names = trainer.net, {"nn": nn, "trainer": trainer, "path": path, "x": X, "net": trainer.net}
    trainer.fit(TRAIN, 2, 64, checkpoint=path)
    refused(getattr, net, "eval")
    assert not any(layer.training for layer in net.layers)
    refused(getattr, net, "zero_grad")
    net.gradients = np.nan
    trainer.step(X[:64], T[:64])
    assert np.isfinite(net.gradients).all()
    moved = given(refused(getattr, net, "cuda"), "net", net=net)
    assert moved.device == "gpu"
    net.to("cpu")
    message, values = refused(getattr, net, "load_state_dict"), net.parameters / 2
    exec(re.search(r"net\.parameters = values", message)[0], {"net": net, "values": values})
    np.testing.assert_array_equal(net.parameters, values)
    net.save(tmp_path / "net.npz")
    loaded = eval(quoted(message, "path")[0], {"nn": nn, "path": tmp_path / "net.npz"})
    np.testing.assert_array_equal(loaded.parameters, net.parameters)
    (predicted,) = quoted(refused(getattr, trainer, "predict"), "x")
    np.testing.assert_array_equal(eval(predicted, names), net.predict(X))
    for name in "network", "model":
        assert eval(re.search(r"is (trainer\.\w+)$", refused(getattr, trainer, name))[1], names) is net
    resumed, _ = quoted(refused(getattr, trainer, "load"), "path")
    assert eval(resumed, names).history == trainer.history
    (saved,) = quoted(refused(getattr, trainer, "save"), "net")
    eval(saved, names | {"path": tmp_path / "again.npz"})
    history = trainer.history
    for message in refused(getattr, history, "history"), refused(lambda: history.history["loss"]):
        column = eval(re.search(r"such as (\S+)$", message)[1], {"history": history})
        assert column == [epoch.train_cost for epoch in history]
    assert "evaluate" in refused(getattr, trainer, "score")
    assert refused(getattr, trainer, "fitt") == "'Trainer' object has no attribute 'fitt'"
    assert not hasattr(trainer, "predict")
    for copied in copy.copy(trainer), copy.deepcopy(trainer), pickle.loads(pickle.dumps(trainer)):
        assert copied.history.to_csv() == history.to_csv() == pickle.loads(pickle.dumps(history)).to_csv()


@hint("flatten the samples, or call net(x), which does so")
def test_a_batch_for_forward():
    net, x = net_of(dtype="float64"), PIXELS[:9] / 255
    message = refused(net.forward, x)
    assert message.startswith("forward takes batches of shape (n, 64), got (9, 8, 8): ")
    np.testing.assert_array_equal(net.forward(X[:9])[1], given(message, "net", net=net, x=x))
    assert "(n, 64), got (9, 8): " in refused(net.forward, x[:, 0])
    assert "(n, features), got (9, 8, 8): " in refused(net_of(nn.Tanh(), dtype="float64").forward, x)


@hint("give all entries the same shape")
def test_images_of_several_sizes():
    images = [image[: 8 - i % 2] for i, image in enumerate(PIXELS)]  # every other has a row less
    for call in (
        lambda images: Dataset.from_arrays(images, T),
        lambda images: Dataset.from_arrays(tuple(images), T),
        lambda images: learns(trainer_of(nn.Linear(56, 10), nn.Softmax()), (images, T), (TEST[0][:, :56], TEST[1])),
    ):
        assert "such as (8, 8) and (7, 8)): give all entries the same shape" in refused(call, images)
        assert call([image[:7] for image in images])


@hint("takes inputs and targets as two arguments: of a Dataset give data.images, data.labels")
def test_a_dataset_as_one_argument():
    net, data = net_of(), Dataset(X[:4], T[:4])
    for function in (nn.cost_and_gradient, nn.gradcheck):
        for message in (
            refused(function, net, nn.CrossEntropy(), data),
            refused(function, net, nn.CrossEntropy(), data, t=net.parameters),
        ):
            x, t = eval(message.partition("give ")[2], {"data": data})
            function(net, nn.CrossEntropy(), x, t)
    assert net.accuracy(*eval(refused(net.accuracy, data).partition("give ")[2])) == net.accuracy(X[:4], T[:4])


@hint(
    "fit has no argument 'validation_data': give the data in test=(x, t)",
    "split the data before, for classes by train, test = nn.datasets.Dataset.from_arrays(x, t).split(0.1, seed=0), "
    "and give test=test",
    "the optimizer has the option, Trainer(net, cost, SGD(lr=...))",
    "the argument is called epochs",
    "the argument is called batch_size",
    "give inputs and targets as a pair, fit((x, t), epochs=..., batch_size=...)",
    "progress=False hides the bar",
    "every epoch is shuffled, by Trainer(..., seed=...)",
    "give callbacks=[numnet.keep_best(patience=...)]",
    "give sample_weight=w[labels], with the class indices labels, such as train.labels of a Dataset train, and w "
    "an array of one weight for each class, such as w = 1 / np.bincount(labels)",
    "give sample_weight=..., an array of one weight for each sample",
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
    w, t = np.array([1.0] * 5 + [0.0] * 5), TRAIN[1]
    for wrong in ({"class_weight": dict(enumerate(w))}, {"weights": w[t]}):
        trainer = trainer_of()
        option = re.search(r"give (sample_weight=[^,]*),", refused(trainer.fit, TRAIN, 5, 64, **wrong))[1]
        trainer.fit(TRAIN, 5, 64, **eval(f"dict({option.replace('...', 'w[labels]')})", {"w": w, "labels": t}))
        assert set(trainer.net.predict(X)) <= set(range(5))  # the others have no weight
    train = nn.datasets.digits()[0][np.sort(np.argsort(T, kind="stable")[:600])]
    message = refused(trainer.fit, train, 5, 64, class_weight="balanced")
    labels = eval(re.search(r"such as (train\.\w+)", message)[1], {"train": train})
    w = eval(re.search(r"w = (.*)$", message)[1], {"np": np, "labels": labels})
    np.testing.assert_allclose(np.bincount(labels, w[labels]), 1)
    option = re.search(r"give (sample_weight=[^,]*),", message)[1]
    trainer_of(nn.Linear(64, len(w)), nn.Softmax()).fit(
        train, 5, 64, **eval(f"dict({option})", {"w": w, "labels": labels})
    )


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


@hint(
    "in a fit with sample_weight: give sample_weight=... again",
    "in a fit without sample_weight: leave out sample_weight, and give it to the next call of fit",
)
def test_weights_of_what_is_left_of_a_run():
    weight = np.arange(len(T)) + 1.0
    for weighted in (True, False):
        trainer = trainer_of()
        interrupted(trainer)
        trainer.progress.weighted = weighted
        message = refused(trainer.fit, TRAIN, **({} if weighted else {"sample_weight": weight}))
        options = {name: weight for name in re.findall(r"give (\w+)=\.\.\.", message)}
        assert len(trainer.fit(TRAIN, **options)) == 3
        assert len(trainer.fit(TRAIN, 1, 64, sample_weight=weight)) == 4


@hint("train: the run had 1,437 samples so far, and here are 600: give the same data, or start a new Trainer")
def test_other_data_for_what_is_left_of_a_run(tmp_path):
    def stop(trainer):
        raise KeyboardInterrupt

    trainer, path, some = trainer_of(), tmp_path / "run.npz", (X[:600], T[:600])
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(TRAIN, 5, 64, checkpoint=path, callbacks=[stop])
    resumed = nn.Trainer.resume(path)
    warned(resumed.fit, some)
    assert not warned(nn.Trainer.resume(path).fit, TRAIN)
    new = getattr(nn, re.search(r"start a new (\w+)$", heard[0])[1])(net_of(), nn.CrossEntropy(), nn.SGD(0.5), seed=0)
    assert not warned(new.fit, some, 5, 64)
    assert not warned(new.fit, TRAIN, 5, 64)  # more data, asked for in a new call
    assert not warned(new.fit, some)  # nothing is left


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


@hint("give fit test data, test=...", "if the targets are no classes, choose by the cost, keep_best(")
def test_a_column_that_was_not_recorded():
    refused(trainer_of().fit, TRAIN, 2, 64, callbacks=[nn.keep_best()])
    trainer_of().fit(TRAIN, 2, 64, callbacks=[nn.keep_best()], test=TEST)
    assert "keep_best" not in refused(trainer_of().fit, TRAIN, 2, 64, callbacks=[nn.keep_best("test_cost")])[9:]
    trainer_of().fit(TRAIN, 2, 64, callbacks=[nn.keep_best("test_cost")], test=TEST)
    (train, test), trainer = numbers(), line(lr=0.05)
    on_train = given(refused(trainer.fit, train, 2, 64, callbacks=[nn.keep_best("train_accuracy")]), "keep_best")
    trainer.fit(train, 2, 64, callbacks=[on_train])
    assert trainer.best.epoch == 1 + np.argmin(trainer.history.train_cost)
    trainer = line(lr=0.05)
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
    "Make the folder first",
    "cannot be written: it is a folder. Name a file in it",
    "cannot be written: it is the name of a folder. Name a file in it",
    "a file without a name cannot be written: the path is ''. Name a file",
    "is a file, and no folder. Name another file",
    "give the name of a file, 'run.npz'",
)
def test_a_file_that_has_no_place(tmp_path):
    path = tmp_path / "new" / "run.npz"
    folder = re.search(r"there is no folder (.*)\. Make", refused(trainer_of().fit, TRAIN, 1, 64, checkpoint=path))[1]
    Path(folder).mkdir()
    trainer_of().fit(TRAIN, 1, 64, checkpoint=path)
    for name in (folder, f"{folder}/", f"{folder}/.."):
        refused(trainer_of().fit, TRAIN, 1, 64, checkpoint=name)
        trainer_of().fit(TRAIN, 1, 64, checkpoint=os.path.join(name, "in it.npz"), overwrite=True)
        assert len(nn.Trainer.resume(os.path.join(name, "in it.npz")).history) == 1
    (tmp_path / "file").touch()
    for name in ("", tmp_path / "file" / "run.npz"):
        refused(trainer_of().fit, TRAIN, 1, 64, checkpoint=name)
        trainer_of().fit(TRAIN, 1, 64, checkpoint=tmp_path / "another.npz", overwrite=True)
    for name in (True, 3, [path], bytes(path)):
        message = refused(trainer_of().fit, TRAIN, 1, 64, checkpoint=name)
        assert refused(nn.Trainer.resume, name) == refused(net_of().save, name) == message
    trainer_of().fit(TRAIN, 1, 64, checkpoint=tmp_path / re.search("'(.*npz)'$", message)[1])


@hint(
    "an array of this program is mapped from the file. Name another file",
    "it is read-only. Name another file, or make it writable",
    "it is a FIFO. Name a file",
    "is there already, and is no numnet network, or is damaged: name another file, or give overwrite=True",
    "To replace the file all the same, give overwrite=True",
)
def test_a_file_that_is_something_else(tmp_path):
    net, path, other = net_of(), tmp_path / "net.npz", tmp_path / "other.npz"
    path.write_bytes(bytes(100))
    array = np.memmap(path, np.uint8, "r")
    refused(net.save, path)
    net.save(other)
    assert nn.load(other)(X).tolist() == net(X).tolist()
    del array
    option = eval(f"dict({re.search('overwrite=True', refused(net.save, path))[0]})")
    net.save(path, **option)
    path.chmod(0o444)
    refused(net.save, path)
    path.chmod(0o644)
    net.save(path)
    assert nn.load(path)(X).tolist() == net(X).tolist()
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "fifo")
        refused(net.save, tmp_path / "fifo")
    else:
        heard.append("it is a FIFO. Name a file")
    trainer_of().fit(TRAIN, 1, 64, checkpoint=tmp_path / "run.npz")
    rewritten(tmp_path / "run.npz", header__npy=header_part(header_of(tmp_path / "run.npz") | {"version": 99}))
    message = refused(trainer_of().fit, TRAIN, 1, 64, checkpoint=tmp_path / "run.npz")
    option = eval(f"dict({re.search('give (overwrite=True)', message)[1]})")
    trainer_of().fit(TRAIN, 1, 64, checkpoint=tmp_path / "run.npz", **option)
    assert len(nn.Trainer.resume(tmp_path / "run.npz").history) == 1


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
    assert "overwrite=True" in refused(net.save, path)
    net.save(path, overwrite=True)
    assert nn.load(path)(X).tolist() == net(X).tolist()


@hint("each argument of its __init__ must be kept as an attribute of the same name, and be a number, a string or None")
def test_a_layer_that_cannot_be_saved(tmp_path):
    class Exponent(nn.Layer):
        def __init__(self, power):
            self.power = power if type(self) is Exponent else np.array(power)

        def forward(self, x, out=None):
            return np.power(x, self.power, out=out)

    class Lost(Exponent):
        pass

    refused(net_of(Lost(2.0)).save, tmp_path / "net.npz")
    net_of(Exponent(2.0)).save(tmp_path / "net.npz")
    assert nn.load(tmp_path / "net.npz").layers[0].power == 2


@hint(
    "is not as it was: start again with what is in the file now",
    "the file has been cut short since. Map what is there now, or write the whole file again and map that",
)
def test_a_mapped_file_that_changes(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(X.astype(np.float32).tobytes())
    x = np.memmap(path, np.float32, "r", shape=X.shape)
    trainer = trainer_of()
    refused(trainer.fit, (x, T), 5, 64, callbacks=[lambda trainer: os.utime(path, (1, 1))])
    x = np.memmap(path, np.float32, "r", shape=X.shape)
    assert learns(trainer, (x, T))
    os.truncate(path, 1000 * 64 * 4)
    refused(trainer_of().fit, (x, T), 5, 64)
    assert learns(trainer_of(), (np.memmap(path, np.float32, "r", shape=(1000, 64)), T[:1000]))
    path.write_bytes(X.astype(np.float32).tobytes())
    assert learns(trainer_of(), (np.memmap(path, np.float32, "r", shape=X.shape), T))


@hint(
    "start Python with the environment variable OPENBLAS_NUM_THREADS=",
    "or train within threadpoolctl.threadpool_limits(1)",
)
def test_threads_that_wait_for_one_another(monkeypatch):
    clock = itertools.chain.from_iterable([now, now + took] for now in range(100) for took in (0.001, 0.05))
    monkeypatch.setattr(threads.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(threads, "_TIMED", 1)
    monkeypatch.setattr(threads, "warned", False)
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


# Plots and the page to draw on


@hint(": give trainer.net", "as from figure, ax = plt.subplots(), got", "Train with trainer.fit first")
def test_what_plots_are_drawn_from():
    trainer = trainer_of()
    figure, ax = eval(quoted(refused(nn.plotting.learning_curves, HISTORY, plt.figure()), "plt")[0], {"plt": plt})
    assert nn.plotting.learning_curves(HISTORY, ax).figure is figure
    refused(nn.plotting.learning_curves, trainer.history)
    trainer.fit(TRAIN, 1, 64)
    nn.plotting.learning_curves(trainer.history)
    net = eval(re.search(r"give (\S+)$", refused(nn.plotting.weight_images, trainer))[1], {"trainer": trainer})
    assert len(nn.plotting.weight_images(net).images) == 10


@hint(
    "if the numbers are pixels, reshape the images to (n, height, width)",
    "if the numbers are pixels, give shape=(height, width)",
)
def test_pictures_that_are_rows():
    images, net = PIXELS[:, :, :7].reshape(-1, 56), net_of(nn.Linear(56, 10), nn.Softmax())
    shape = eval(
        re.search(r"to (\(n, .*\))", refused(nn.plotting.sample_images, (images, T)))[1],
        {"n": len(T), "height": 8, "width": 7},
    )
    assert nn.plotting.sample_images((images.reshape(shape), T)).images[0].get_array().shape == (8, 7)
    options = re.search(r"shape=.*", refused(nn.plotting.weight_images, net))[0]
    pictures = nn.plotting.weight_images(net, **eval(f"dict({options})", {"height": 8, "width": 7})).images
    np.testing.assert_array_equal(pictures[3].get_array(), net.layers[0].weight[:, 3].reshape(8, 7))


@hint(f"{CLASS}np.unique(t, return_inverse=True)[1]", "the targets are no classes: give class indices or one-hot rows")
def test_images_with_numbers():
    t = given(refused(nn.plotting.sample_images, (PIXELS, T + 0.5)), "t", t=T + 0.5)
    assert texts(nn.plotting.sample_images((PIXELS, t))) == texts(nn.plotting.sample_images((PIXELS, T)))
    refused(
        nn.plotting.confusion_matrix, net_of(nn.Linear(64, 10)), (PIXELS, np.random.default_rng(0).random((len(T), 10)))
    )
    assert texts(nn.plotting.confusion_matrix(net_of(), (PIXELS, T))) == texts(
        nn.plotting.confusion_matrix(net_of(), (PIXELS, ONE_HOT))
    )


@hint(
    "count the mistakes, pairs, counts = np.unique([t, net.predict(x)], axis=1, return_counts=True) for class indices t"
)
def test_a_confusion_matrix_of_many_classes(monkeypatch):
    net = net_of()
    shown = [text for text in texts(nn.plotting.confusion_matrix(net, TRAIN)) if text]
    monkeypatch.setattr(nn.plotting, "_MOST_CLASSES", 9)
    pairs, counts = given(refused(nn.plotting.confusion_matrix, net, TRAIN), "predict", net=net, x=X, t=T)
    assert sorted(shown) == sorted(map(str, counts))
    assert counts[pairs[0] == pairs[1]].sum() == round(net.accuracy(X, T) * len(T))


@hint("compare net(x) with the targets; for yes or no, end the network in Sigmoid()")
def test_a_confusion_matrix_of_numbers():
    message = refused(nn.plotting.confusion_matrix, net_of(nn.Linear(64, 1)), (X, T / 9))
    assert given(message.partition("; ")[0], "net", net=net_of(nn.Linear(64, 1)), x=X).shape == (len(T), 1)
    *_, last = layers_of(message)
    nn.plotting.confusion_matrix(net_of(nn.Linear(64, 1), last), (X, T % 2))


@hint("Give layers such as Sigmoid()", "is not finite everywhere within the width: choose a smaller one")
def test_curves_that_there_are_not():
    *_, layer = layers_of(refused(nn.plotting.activations_and_derivatives, [nn.Softmax()]))
    nn.plotting.activations_and_derivatives([layer])
    draw = functools.partial(
        nn.plotting.cost_surface, net_of(nn.Linear(64, 1)), X[:9], T[:9] / 9, [nn.Quadratic()], (20, 21)
    )
    refused(draw, width=1e200)
    draw(width=8.0)


@hint(
    "but the network is complex128: give net.astype('float32')",
    "begin it with a Linear of side times side inputs, Linear(784, ...) say",
    "has a forward or parameters of its own, which would be lost: use Linear, Sigmoid, Tanh, ReLU, Softmax",
    "training has diverged, train again with a smaller learning rate",
    "give a numnet.Sequential of new layers of these kinds, with net.parameters assigned to its parameters",
)
def test_a_page_to_draw_on(tmp_path):
    class Own(nn.Sequential):
        def __call__(self, x):
            return super().__call__(np.asarray(x) / 2)

    class Swish(nn.Layer):
        def forward(self, x, out=None):
            return np.multiply(x, nn.Sigmoid().forward(x), out=out)

    path = tmp_path / "draw.html"
    nn.export_html(net_of(), path)
    whole = path.read_text(encoding="utf-8")
    net = net_of(dtype="complex128")
    message = refused(nn.export_html, net, path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", np.exceptions.ComplexWarning)
        nn.export_html(given(message, "net", net=net), path)
    assert path.read_text(encoding="utf-8") == whole
    message = refused(nn.export_html, net_of(nn.Linear(63, 10)), path)
    nn.export_html(net_of(nn.Linear(int(re.search(r"Linear\((\d+), \.\.\.\)", message)[1]), 10)), path)
    known = re.search(r": use (.*)", refused(nn.export_html, net_of(nn.Linear(64, 10), Swish()), path))[1].split(", ")
    for name in known[1:]:
        nn.export_html(net_of(nn.Linear(64, 10), getattr(nn, name)()), path)
    net = net_of()
    net.layers[0].weight[3, 3] = np.nan
    refused(nn.export_html, net, path)
    net.initialize(0)
    assert learns(trainer_of(net=net))
    nn.export_html(net, path)
    own = Own(nn.Linear(64, 10), nn.Softmax(), seed=0)
    own.parameters = net.parameters
    refused(nn.export_html, own, path)
    plain = net_of()
    plain.parameters = own.parameters
    nn.export_html(plain, tmp_path / "plain.html")
    assert (tmp_path / "plain.html").read_bytes() == path.read_bytes()


@hint("begin it with a Linear, Linear(784, ...) say")
def test_a_function_in_c(tmp_path):
    message = refused(nn.export_c, net_of(nn.Softmax()), tmp_path / "net.c")
    inputs = int(re.search(r"Linear\((\d+), \.\.\.\)", message)[1])
    nn.export_c(net_of(nn.Linear(inputs, 10), nn.Softmax()), tmp_path / "net.c")
    assert f"#define NET_INPUTS {inputs}" in (tmp_path / "net.c").read_text()


@hint("export_onnx needs the package onnx: pip install 'numnet[onnx]'")
def test_a_model_without_onnx(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "onnx", None)  # as if it were not installed
        (extra,) = re.findall(r"numnet\[(\w+)\]", refused(nn.export_onnx, net_of(), tmp_path / "net.onnx"))
    needs = importlib.metadata.requires("numnet")
    assert [need for need in needs if need.startswith("onnx>") and f'"{extra}"' in need]
    if importlib.util.find_spec("onnx"):
        nn.export_onnx(net_of(), tmp_path / "net.onnx")


# Data sets and files


@hint(
    "for a regression give the pair (x, t) to fit. If they are classes, give np.asarray(t, str)",
    "no whole number: for a regression give the pair (x, t) to fit",
    "for several numbers for each sample give the pair (x, t) to fit",
)
def test_numbers_for_a_data_set():
    ids = T * 1000 + np.arange(len(T)) % 30
    message = refused(Dataset.from_arrays, X, ids)
    data = Dataset.from_arrays(X, given(message, "asarray", t=ids))
    assert [data.classes[label] for label in data.labels] == ids.astype(str).tolist()
    some = ids[T != 3]
    part = Dataset.from_arrays(
        X[T != 3], given(refused(Dataset.from_arrays, X[T != 3], some), "asarray", t=some), classes=data.classes
    )
    assert [part.classes[label] for label in part.labels] == some.astype(str).tolist()
    t = X[:, 20:44].mean(axis=1)
    for wrong in (t, ids):
        assert "(x, t)" in refused(Dataset.from_arrays, X, wrong)
    assert explains(line(lr=0.05), (X, t))
    rows = np.stack([t, 2 * t], axis=1)
    refused(Dataset.from_arrays, X, rows)
    trainer = trainer_of(nn.Linear(64, 2), cost=nn.Quadratic(), lr=0.05)
    trainer.fit((X, rows), 20, 64)
    assert np.mean((trainer.net(X) - rows) ** 2) < np.var(rows) / 2


@hint("make numbers of this column first (astype(float), or pandas.get_dummies for categories), or leave it out")
def test_a_table_with_words_for_fit():
    t = np.arange(60) % 3
    frame = pandas.DataFrame({"size": t + 1.0, "colour": WORDS[t]})
    message = refused(trainer_of(nn.Linear(2, 3), nn.Softmax()).fit, (frame, t), 5, 64)
    assert message.startswith("train: inputs must be numbers, but column 'colour' holds 'a': make numbers")
    column = re.search(r"column '(\w+)'", message)[1]
    dummies = eval(re.search(r"pandas\.\w+", message)[0], {"pandas": pandas})(frame, columns=[column])
    assert learns(trainer_of(nn.Linear(4, 3), nn.Softmax()), (dummies, t), (dummies, t), epochs=200)
    left = frame.drop(columns=column)
    assert learns(trainer_of(nn.Linear(1, 3), nn.Softmax()), (left, t), (left, t), epochs=200, least=0.6)
    assert "give np.asarray(x, float)" in refused(net_of(nn.Linear(2, 3)), frame.assign(colour="1"))


@hint(
    "make numbers of this column first (astype(float), or pandas.get_dummies for categories), or leave it out",
    "leave out rows with missing values, or fill them in",
    "is nan in every row: leave the column out",
    "no whole number: leave out samples without a label",
    "labels must be all whole numbers or all strings. Leave out samples without a label",
)
def test_a_table_with_words_and_gaps():
    t = np.arange(60) % 3
    frame = pandas.DataFrame({"size": (t + 1.0).astype(str), "colour": WORDS[t], "weight": np.where(t == 1, np.nan, t)})
    refused(Dataset.from_arrays, frame, t)
    frame = frame.assign(size=frame["size"].astype(float))
    empty = frame.drop(columns="colour").assign(empty=np.nan, weight=t)
    name = re.search(r"column '(\w+)' is nan in every row", refused(Dataset.from_arrays, empty, t))[1]
    assert Dataset.from_arrays(empty.drop(columns=name), t).images.tolist() == [[one + 1.0, one] for one in t]
    refused(Dataset.from_arrays, frame, t)
    for dummies in (pandas.get_dummies(frame, columns=["colour"]), frame.drop(columns="colour")):
        refused(Dataset.from_arrays, dummies, t)
        whole = Dataset.from_arrays(dummies.dropna(), t[frame["weight"].notna()])
        assert len(whole) == 40
        filled = Dataset.from_arrays(dummies.fillna(dummies.mean()), t)
        assert learns(
            trainer_of(nn.Linear(filled.images.shape[1], 3), nn.Softmax()), filled, filled, epochs=200, least=0.6
        )
    for missing in (np.where(t == 1, np.nan, t), np.where(t == 1, None, WORDS[t])):
        refused(Dataset.from_arrays, np.ones((60, 1)), missing)
        known = pandas.notna(missing)
        data = Dataset.from_arrays(np.ones((40, 1)), missing[known])
        assert [data.classes[label] for label in data.labels] == [str(v).removesuffix(".0") for v in missing[known]]


@hint(
    "write ['cat', ...]",
    "write list(map(str, classes))",
    "give all names, in the order of the labels from 0 up",
    "or give both to Dataset.from_arrays",
    "convert it with np.asarray",
)
def test_names_of_classes():
    t = np.array([0, 1, 1])
    x = np.zeros((3, 2))
    names = re.search(r"write (\[.*\])", refused(Dataset, x, t, classes="cat"))[1].replace("...", "'dog'")
    assert Dataset(x, t, classes=eval(names)).classes == ("cat", "dog")
    assert Dataset(x, t, classes=given(refused(Dataset, x, t, classes=[7, 8]), "classes", classes=[7, 8])).classes == (
        "7",
        "8",
    )
    refused(Dataset.from_arrays, x, ["cat", "dog", "cow"], classes=["cat", "dog"])
    data = Dataset.from_arrays(x, ["cat", "dog", "cow"], classes=["cat", "dog", "cow"])
    assert data.labels.tolist() == [0, 1, 2]
    message = refused(Dataset, x.tolist(), t.tolist())
    convert = eval(re.search(r"with (np\.asarray)", message)[1], {"np": np})
    both = eval(re.search(r"to (Dataset\.from_arrays)", message)[1], {"Dataset": Dataset})
    for data in (Dataset(convert(x.tolist()), convert(t.tolist())), both(x.tolist(), t.tolist())):
        np.testing.assert_array_equal(data.images, x)
        np.testing.assert_array_equal(data.labels, t)


@hint(
    "read a file with matplotlib.pyplot.imread",
    "for several images give np.stack([as_mnist(image) for image in images])",
    "If light ink is on a transparent ground, give image[..., -1]",
)
def test_drawings(tmp_path):
    import matplotlib

    from numnet.datasets import as_mnist

    page = np.full((60, 60), 255, np.uint8)
    page[10:50, 28:34] = 0
    plt.imsave(tmp_path / "digit.png", page, cmap="gray")
    read = eval(
        re.search(r"with (matplotlib\S+)", refused(as_mnist, np.array(str(tmp_path / "digit.png"))))[1],
        {"matplotlib": matplotlib},
    )
    np.testing.assert_array_equal(as_mnist(read(tmp_path / "digit.png")), as_mnist(page))
    images = np.stack([page] * 7)
    message = refused(as_mnist, images)
    stacked = eval(re.search(r"give (np\.stack\(.*\))", message)[1], {"np": np, "as_mnist": as_mnist, "images": images})
    assert stacked.shape == (7, 28, 28)
    transparent = np.dstack([np.full((60, 60, 3), 255, np.uint8), 255 - page])
    image = eval(re.search(r"give (image\[.*\])", refused(as_mnist, transparent))[1], {"image": transparent})
    np.testing.assert_array_equal(as_mnist(image), as_mnist(page))


@hint(
    "only a plain file can be mapped into memory. Unpack it first.",
    "Convert with astype first.",
    "Write it in parts.",
    "For a path of bytes, use os.fsdecode; for a file's content, io.BytesIO.",
    "The file is damaged or incomplete: download or copy it again.",
    "If the header is wrong, np.fromfile(path, 'uint8', offset=16).reshape(7, 8, 8) reads the file; otherwise download "
    "or copy it again.",
    "Write it with another shape or, if it should have one, download or copy it again.",
)
def test_idx_files(tmp_path):
    read_idx, write_idx = nn.datasets.read_idx, nn.datasets.write_idx
    path, labels = tmp_path / "labels.gz", TEST[1].astype(np.uint8)
    write_idx(path, labels)
    copied = path.read_bytes()
    refused(read_idx, path, mmap_mode="r")
    plain = tmp_path / "labels"
    plain.write_bytes(gzip.decompress(copied))
    np.testing.assert_array_equal(read_idx(plain, mmap_mode="r"), labels)
    path.write_bytes(copied[:-20])
    refused(read_idx, path)
    path.write_bytes(copied)
    np.testing.assert_array_equal(read_idx(path), labels)
    use, wrap = re.search(r"use (os\.fsdecode); .*, (io\.BytesIO)", refused(read_idx, os.fsencode(path))).groups()
    for source in (eval(use, {"os": os})(os.fsencode(path)), eval(wrap, {"io": io})(copied)):
        np.testing.assert_array_equal(read_idx(source), labels)
    kinds = re.findall(r"\((\w+)\)", refused(write_idx, path, TEST[1]))
    for kind in kinds:
        write_idx(path, TEST[1].astype(kind))
        np.testing.assert_array_equal(read_idx(path), TEST[1])
    many = np.broadcast_to(np.uint8(1), (1 << 32,))
    refused(write_idx, path, many)
    write_idx(path, many[:1000])
    assert read_idx(path).sum() == 1000
    write_idx(plain, PIXELS[:5])
    plain.write_bytes(plain.read_bytes() + PIXELS[5:7].tobytes())
    reads = re.search(r"wrong, (.*) reads the file", refused(read_idx, plain))[1]
    np.testing.assert_array_equal(eval(reads, {"np": np, "path": plain}), PIXELS[:7])
    path.write_bytes(bytes([0, 0, 8, 255]) + (1).to_bytes(4, "big") * 255 + b"7")
    refused(read_idx, path)
    assert "overwrite=True" in refused(write_idx, path, np.full((1, 1), 7, np.uint8))
    write_idx(path, np.full((1, 1), 7, np.uint8), overwrite=True)
    assert read_idx(path).tolist() == [[7]]


@hint(
    "with names such as train-images-idx3-ubyte.gz and labels.idx1-ubyte: it has a.gz, b.gz",
    "nn.datasets.read_idx reads a single file.",
    "move one of them to another folder",
    "Move one of the data sets to a folder of its own",
)
def test_a_folder_of_idx_files(tmp_path):
    load, write = nn.datasets.load_idx, nn.datasets.write_idx
    labels = T.astype(np.uint8)
    write(tmp_path / "a.gz", PIXELS)
    write(tmp_path / "b.gz", labels)
    names = re.search(r"such as (\S+) and (\S+): it has (\S+), (\S+)", refused(load, tmp_path)).groups()
    (tmp_path / names[2]).rename(tmp_path / names[0])
    (tmp_path / names[3]).rename(tmp_path / f"train-{names[1]}.gz")
    data = load(tmp_path)
    np.testing.assert_array_equal(data.labels, T)
    (tmp_path / "own").mkdir()
    for name, array in (("images.gz", PIXELS[:5]), ("labels.gz", labels[:5]), ("labels", labels[1:6])):
        write(tmp_path / name, array)
    refused(load, tmp_path)
    for name in ("images.gz", "labels.gz", "labels"):
        (tmp_path / name).rename(tmp_path / "own" / name)
    np.testing.assert_array_equal(load(tmp_path).labels, T)
    refused(load, tmp_path / "own")
    (tmp_path / "own" / "labels").rename(tmp_path / "labels, another")
    np.testing.assert_array_equal(load(tmp_path / "own").labels, T[:5])
    write(tmp_path / "own" / "labels.gz", labels[:4])
    read = eval(re.search(r"(nn\.datasets\.read_idx) reads", refused(load, tmp_path / "own"))[1], {"nn": nn})
    np.testing.assert_array_equal(read(tmp_path / "own" / "labels.gz"), T[:4])


NAMES = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Small files in the place of MNIST's, which no server has; an empty cache. Return their contents by name."""
    import hashlib

    (train, test), contents = nn.datasets.digits(), {}
    for name, array in zip(NAMES, (train.images, train.labels, test.images, test.labels), strict=True):
        file = io.BytesIO()
        nn.datasets.write_idx(file, array.astype(np.uint8))
        contents[f"{name}.gz"] = gzip.compress(file.getvalue(), mtime=0)
    files = [{name: hashlib.sha256(data).hexdigest()} for name, data in contents.items()]
    nowhere = nn.datasets._MNIST._replace(mirrors=("http://127.0.0.1:9/",), files=files)
    monkeypatch.setattr(nn.datasets, "_MNIST", nowhere)
    monkeypatch.delenv("NUMNET_DATA", raising=False)
    monkeypatch.setenv("no_proxy", "*")
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", "HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path / "cache"))
    return contents


@hint(
    "To provide the files by hand, put train-images-idx3-ubyte.gz, ",
    "or in another one that you name with data_dir or the environment variable NUMNET_DATA.",
    "it has images.gz, labels.gz.",
    "Did you mean ",
    "is no folder: give data_dir the folder that has the files, such as",
    "name a folder with data_dir",
    "correct data_dir, or give download=True to fill it",
    "correct the variable or, for the user's cache folder, unset it",
    "could not be downloaded; every mirror failed",
    "cannot be written in the folder",
)
def test_files_of_mnist_that_are_missing(published, tmp_path, monkeypatch):
    def provided(message):
        names, folder = re.search(r"by hand, put (.*) in the folder (\S+), or", message).groups()
        Path(folder).mkdir(parents=True, exist_ok=True)
        for name in names.split(", "):
            (Path(folder) / name).write_bytes(published[name])

    mnist, folder = nn.datasets.mnist, tmp_path / "here"
    refused(mnist, folder, download=False)
    assert "download=True" in heard[-1]
    provided(refused(mnist, folder, download=True))
    train, test = mnist(folder, download=False)
    np.testing.assert_array_equal(test.labels, TEST[1])
    monkeypatch.setenv("NUMNET_DATA", str(tmp_path / "nowhere"))
    refused(mnist)
    monkeypatch.setenv("NUMNET_DATA", str(folder))
    assert repr(mnist(download=False)) == repr((train, test))
    monkeypatch.delenv("NUMNET_DATA")
    provided(refused(mnist))
    assert repr(mnist(download=False)) == repr((train, test))
    other = tmp_path / "other"
    other.mkdir()
    for name, data in zip(("images.gz", "labels.gz"), published.values(), strict=False):
        (other / name).write_bytes(data)
    refused(mnist, other, download=False)
    monkeypatch.setenv("NUMNET_DATA", str(tmp_path))  # which has the folder with the files
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", "HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path / "empty"))
    named = re.search(r"Did you mean (\S+)\?", refused(mnist, download=False))[1]
    assert named == str(tmp_path / "here")
    assert repr(mnist(named, download=False)) == repr((train, test))
    monkeypatch.delenv("NUMNET_DATA")
    for name, wrong in zip(published, ("images.gz", "labels.gz"), strict=False):
        (other / wrong).rename(other / name)
    folder = re.search(r"such as (\S+)$", refused(mnist, other / "train-images-idx3-ubyte.gz"))[1]
    assert folder == str(other)
    with monkeypatch.context() as patch:
        patch.delenv("XDG_CACHE_HOME")
        patch.delenv("LOCALAPPDATA")
        patch.setattr(os.path, "expanduser", os.fspath)  # as without a home
        assert "data_dir" in refused(mnist)
        assert repr(mnist(tmp_path / "here", download=False)) == repr((train, test))
    (tmp_path / "a file").write_bytes(b"")
    refused(mnist, tmp_path / "a file" / "below")
    assert "t10k-images-idx3-ubyte.gz, t10k-labels-idx1-ubyte.gz of mnist" in refused(mnist, other, download=False)
    provided(heard[-1])
    assert repr(mnist(other, download=False)) == repr((train, test))


# Devices


@hint(
    "is on a GPU: give inputs.get(), or move the network to the GPU, net.to('gpu')",
    "move one with nn.backend.to(array, 'cpu') or 'gpu', and a whole network with net.to",
    "move it back before the callback ends, or move it between two calls of fit",
)
def test_arrays_on_another_device():
    net, x = net_of(), place(X, "gpu")
    (there,), (here,) = quoted(refused(net, x), "net"), re.findall(r"inputs\.\w+\(\)", heard[-1])
    np.testing.assert_array_equal(net(eval(here, {"inputs": x})), net(X))
    np.testing.assert_allclose(host(eval(there, {"net": net})(x)), net_of()(X), rtol=1e-6)
    a, b = place(np.ones((3, 2)), "gpu"), np.ones((2, 3))
    message = refused(nn.backend.matmul, a, b)
    move = quoted(message, "array")[0]
    np.testing.assert_array_equal(nn.backend.matmul(eval(move, {"nn": nn, "array": a}), b), np.full((3, 3), 2))
    there = eval(move.replace("'cpu'", "'gpu'"), {"nn": nn, "array": b})
    np.testing.assert_array_equal(host(nn.backend.matmul(a, there)), np.full((3, 3), 2))
    trainer = trainer_of()
    refused(trainer.fit, TRAIN, 1, 64, callbacks=[lambda trainer: trainer.net.to("gpu")])
    trainer = trainer_of()
    trainer.fit(TRAIN, 2, 64, callbacks=[lambda trainer: trainer.net.to("gpu").to("cpu")])
    trainer.net.to("gpu")
    assert trainer.fit(TRAIN, 3, 64)[-1].train_accuracy > 0.85


@hint(
    "train with a smaller batch_size or in float32, or stay on the CPU with device='cpu', where a dataset may also be "
    "memory-mapped",
)
def test_a_gpu_without_memory_left():
    @gpu.quiet()
    def full():
        raise type("OutOfMemoryError", (MemoryError,), {})("Out of memory.")

    option = re.search(r"device='cpu'", refused(full))[0]
    assert learns(trainer_of(net=net_of(**eval(f"dict({option})"))))


DRIVERLESS = {  # what CuPy says, and what numnet then says
    "no driver": (
        (0, 13000, 1),
        "there is no NVIDIA driver: install one from https://www.nvidia.com/drivers (nvidia-smi shows whether it "
        "works), or use device='cpu'",
    ),
    "an old driver": ((12040, 13000, 1), "update the driver, or install the CuPy that fits it, pip install"),
    "no GPU": ((13000, 13000, 0), "check CUDA_VISIBLE_DEVICES, or use device='cpu'"),
    "an error": ((13000, 13000, None), "check CUDA_VISIBLE_DEVICES and nvidia-smi, or use device='cpu'"),
    "no CuPy": (None, "a GPU needs CuPy, which is not installed: pip install 'numnet[cuda12]' or 'numnet[cuda13]', as"),
}
FOLLOWED |= {says: "test_no_gpu_that_works" for _, says in DRIVERLESS.values()}


@pytest.mark.parametrize("what", DRIVERLESS)
def test_no_gpu_that_works(what, monkeypatch):
    """The driver cannot be installed here. But what numnet names can be: the extras, and the CPU."""
    numbers, says = DRIVERLESS[what]
    spec = importlib.util.spec_from_file_location("numnet.gpu", gpu.__file__)
    real = importlib.util.module_from_spec(spec)  # since the tests have a stand-in for CuPy
    spec.loader.exec_module(real)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: find(name) if name != "cupy" else numbers and spec)

    def count():
        if numbers[2] is None:
            raise RuntimeError("cudaErrorNoDevice")
        return numbers[2]

    if numbers:
        runtime = types.SimpleNamespace(
            driverGetVersion=lambda: numbers[0], runtimeGetVersion=lambda: numbers[1], getDeviceCount=count
        )
        monkeypatch.setitem(sys.modules, "cupy", types.SimpleNamespace(cuda=types.SimpleNamespace(runtime=runtime)))
    message = refused(real.tried)
    assert says in message
    for option in re.findall(r"device='cpu'", message):
        assert net_of(**eval(f"dict({option})")).device == "cpu"
    extras = importlib.metadata.metadata("numnet").get_all("Provides-Extra")
    assert set(re.findall(r"numnet\[(\w+)\]", message)) <= set(extras)


# All messages


ELSEWHERE = {  # remedies that a test beside the code follows
    "datasets/test_idx.py test_a_file_of_another_kind_is_named_and_the_hint_opens_it": [
        "a file compressed by xz: read_idx(lzma.open(…)) reads it",
        "a file compressed by bzip2: read_idx(bz2.open(…)) reads it",
        "a zip archive: read_idx(zipfile.ZipFile(…).open(name)) reads the file `name` in it",
        "a tar archive: read_idx(tarfile.open(path).extractfile(name)) reads the file `name` in it",
        "an array saved by NumPy (npy): np.load(…) reads it",
        "arrays saved by NumPy (npz): np.load(…) reads them",
        "a picture (PNG): matplotlib.pyplot.imread(…) reads it",
        "a picture (JPEG): matplotlib.pyplot.imread(…) reads it",
        "a picture (GIF): matplotlib.pyplot.imread(…) reads it",
        "a pickle: pickle.load(…) reads it",
        "a table of text (CSV): np.loadtxt(…",
    ],
    "datasets/test_idx.py test_a_matlab_file_is_named_and_the_hint_opens_it": ["scipy.io.loadmat(…) reads it"],
    "datasets/test_idx.py test_an_idx_file_gzipped_twice_is_named_and_the_hint_opens_it": [
        "a file that was gzipped twice: read_idx(…) reads it"
    ],
    "datasets/test_idx.py test_a_little_endian_file_is_told_and_the_hint_reads_it": [
        "Its sizes are little-endian, …, which fits its data: … reads the file.",
        "np.frombuffer(gzip.open(path).read()",
    ],
    "datasets/test_idx.py test_a_missing_dimension_is_told_and_the_hint_reads_the_file": [
        "There are … bytes, … times as many: is a dimension missing, ……? … reads the file so."
    ],
    "datasets/test_folder.py test_one_of_several_data_sets_is_named": ["name the one that you want, as in load_idx("],
    "datasets/test_folder.py test_signed_bytes_under_the_name_of_unsigned_ones_are_told": [
        "nn.datasets.Dataset(data.images.view(np.uint8), data.labels) has them from 0 to 255."
    ],
    "datasets/test_datasets.py test_a_file_in_the_cache_that_changed_is_named": [
        "Delete it; then it is downloaded anew."
    ],
    "datasets/test_download.py test_after_a_kill_another_process_goes_on": [
        "Wait for that process or end it, then try again."
    ],
    "test_torch.py test_the_remedies_for_modules_help": [
        "torch.nn.Sequential(...) of its layers, in the order in which its forward calls them",
        "the module, after module.load_state_dict(...)",
        "and not over the outputs: use torch.nn.Softmax(dim=1)",
        ": use torch.nn.Flatten()",
    ],
    "test_torch.py test_the_remedies_for_the_softmax_help": [
        "leave it out, and give softmax=True",
        "the softmax must be taken only once: leave out softmax=True",
    ],
    "test_torch.py test_the_remedy_for_another_dtype_helps": [": give copy.deepcopy(module).float()"],
    "test_torch.py test_the_remedies_for_what_is_not_there_yet_help": [
        "has no parameters yet: call the module with a batch first",
        "remove the hook first",
    ],
    "test_torch.py test_each_layer_that_is_named_comes_from_pytorch": [
        "has a forward of its own, which numnet does not know: use ",
    ],
    "test_torch.py test_without_pytorch_the_error_says_what_brings_it": ["pip install 'numnet[torch]'"],
    "test_sklearn.py test_bytes_and_floats_are_not_mixed_up": [
        "give np.asarray(X, float), or X / 255 if the floats were intensities from 0 to 1",
        "give np.asarray(X, np.uint8), or X / 255",
    ],
    "test_sklearn.py test_targets_that_cannot_be": [
        "give MultiOutputClassifier(NetClassifier()), of sklearn.multioutput"
    ],
    "test_sklearn.py test_partial_fit_goes_on_with_the_same_run": ["give classes=np.unique(y), if y has all of them"],
    "test_sklearn.py test_warm_start_goes_on": ["give them to the first call"],
    "test_sklearn.py test_the_weights_of_classes": ["these have several labels: give sample_weight to fit"],
    "test_sklearn.py test_early_stopping_of_tiny_data": [
        "give more samples, another validation_fraction, or early_stopping=False"
    ],
    "test_parallel.py test_the_remedies_help": [
        "differs between the ranks, … on rank 0 and … on rank …: …",
        "call the trainer alike on all ranks",
        "ranks train on the CPU, but the network is on the …: net.to('cpu')",
        "is for training on several processes: give comm, such as MPI.COMM_WORLD",
        "give checkpoint_every as a number of epochs",
        "ranks: use at most …, or give a larger batch_size",
    ],
}
VERBS = (
    "assign|avoid|begin|build|call|change|check|choose|compare|convert|copy|correct|count|cut|decrease|define|delete|"
    "derive|divide|do|download|draw|end|export|fill|finish|fix|free|get|give|go|import|increase|initialize|install|invert|"
    "keep|leave|let|load|look|lower|make|map|mark|move|multiply|name|normalize|number|open|pass|pick|prepare|provide|put|"
    "raise|read|reduce|remove|rename|replace|reshape|restart|run|save|scale|see|send|set|shuffle|shrink|split|standardize|"
    "start|stay|stop|subtract|swap|switch|take|train|transpose|try|turn|unpack|unset|update|use|wait|write"
)
ADVICE = re.compile(  # what a text that advises something has: such a verb, or code
    rf"(?:^|[:;,.(?] |\b(?:or|and|then) )(?:{VERBS})\b(?!:| is | must )|\w\([^)]*\)|\w=\.\.\.", re.IGNORECASE
)
NO_REMEDY = {  # what cannot be followed here, and why
    "open it in an editor to see what it is, and get the file again": "what the file is, only a reader sees",
    "open it in a browser to see what the server answered, and get the file again": "likewise",
    "CuPy is installed but cannot be imported (…): install it anew, …": "needs another machine",
    "give the number of a Linear layer": "a report shows only what is before it",
}


def followed_by(part, piece):
    """Return whether a part of a message that a test follows has a piece of a message, or at least the piece's end."""
    return piece in part or (part.strip(" :.,\n") in piece and piece[-12:] in part)


def test_each_remedy_is_followed():
    """A new message with a remedy needs a test above: its remedy, taken out of the message, must help.

    The remedy must be in a `hint`, whole: what is added to a remedy, at its end too, must be followed.
    """
    followed = [*FOLLOWED, *itertools.chain.from_iterable(ELSEWHERE.values()), *NO_REMEDY]
    missing = [
        f"tests/test_hints.py: add @hint({piece!r}) to a test that follows it. {place} says it, in {text!r}"
        for text, place in messages().items()
        for piece in (piece.strip(" :.,\n") for piece in text.split("…"))
        if len(piece) > 6 and ADVICE.search(piece) and not any(followed_by(part, piece) for part in followed)
    ]
    assert not missing, "\n".join(["", *missing])


@pytest.mark.parametrize("test", ELSEWHERE)
def test_the_tests_elsewhere_are_there(test):
    file, name = test.split()
    assert f"def {name}(" in (Path(__file__).parent / file).read_text(encoding="utf-8")
    for part in [*ELSEWHERE[test], *NO_REMEDY]:
        assert any(part in text for text in messages()), part
