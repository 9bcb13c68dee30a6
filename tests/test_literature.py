"""The results from the literature: do the scripts still find them, and is what docs/literature.md says of them so?"""

import importlib
import os
import re
import sys

import numpy as np
import pytest
from scipy.optimize import minimize

import numnet as nn

from .test_docs import rows, text
from .test_examples import EXAMPLES, run

SCRIPTS = ["nielsen", "rashid", "cs231n", "raschka", "ufldl"]


@pytest.fixture
def script(monkeypatch):
    """Import a script by its name."""
    monkeypatch.syspath_prepend(EXAMPLES / "literature")
    yield importlib.import_module
    for name in ["table", *SCRIPTS]:
        sys.modules.pop(name, None)


def lines(tmp_path, name, *options):
    """Return what a script prints: the published and the own number of each line, as texts, by what the line is."""
    done = run(tmp_path, f"examples/literature/{name}.py", *options)
    assert done.returncode == 0, done.stderr
    note, _, table = done.stdout.partition("CPU s\n")
    assert ("mean nothing" in note) == ("--quick" in options)
    names, numbers = table.splitlines()[::2], table.splitlines()[1::2]
    return {name: (line[:25].strip(), line[25:55].strip()) for name, line in zip(names, numbers, strict=True)}


def column(name):
    """Return the cells under this name in all tables of the page that have it."""
    cells, place = [], None
    for line in text("literature.md").splitlines():
        row = [cell.strip() for cell in line.split("|")[1:-1]]
        place = None if not row else row.index(name) if name in row else place
        cells += [] if place is None else [row[place]]
    return [cell for cell in cells if cell != name and not re.fullmatch("-*", cell)]


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_the_page_has_what_the_script_says_was_published(name, tmp_path):
    printed = [published for published, _ in lines(tmp_path, name, "--quick", "--seeds", "1").values() if published]
    assert printed
    on_page = column("published")
    if name == "cs231n":  # which has 30 losses on the way
        printed = [printed[0], *printed[20:22], *printed[-2:]]
    assert not [number for number in printed if number not in on_page]


@pytest.mark.slow
def test_cs231n_in_every_digit(tmp_path):
    found = lines(tmp_path, "cs231n")
    differences = [abs(float(published) - float(own)) for what, (published, own) in found.items() if "loss" in what]
    assert len(differences) == 20 + 10 + 1
    assert max(differences[:27]) == 0
    assert max(differences) < 1e-5  # loss 7000 and later depend on how the processor rounds a product
    assert differences[-1] < 1e-16
    assert [own for what, (_, own) in found.items() if "accuracy" in what] == ["0.4933", "0.9800"]


@pytest.mark.slow
@pytest.mark.usefixtures("mnist")
def test_ufldls_softmax_on_mnist(tmp_path):
    folder = os.environ["NUMNET_DATA"]
    ((published, own),) = lines(tmp_path, "ufldl", "--seeds", "1", "--data-dir", folder).values()
    assert float(own) == pytest.approx(float(published), abs=0.001)


@pytest.mark.slow
def test_nielsens_first_network(script, mnist):
    nielsen, (train, test) = script("nielsen"), mnist
    data, judge = (train.images[:50_000], train.labels[:50_000]), (test.images, test.labels)
    found = nielsen.run(nielsen.EXPERIMENTS[0], data, judge, seed=0)
    assert found["best epoch"] == pytest.approx(0.9542, abs=0.005)


# "Weight decay in their words"

N, C, STRENGTH = 20, 0.7, 0.3
IN_THEIR_WORDS = {  # what they add to the mean cost of n images for the weights w; and the weight_decay for it
    "Nielsen, lambda": (lambda w, n: STRENGTH / (2 * n) * np.sum(w**2), STRENGTH / N),
    "scikit-learn, `LogisticRegression(C)`": (lambda w, n: np.sum(w**2) / 2 / (C * n), 1 / (C * N)),
    "scikit-learn, `MLPClassifier(alpha)`": (lambda w, n: STRENGTH / (2 * n) * np.sum(w**2), STRENGTH / N),
    "CS231n's notes, reg": (lambda w, n: STRENGTH / 2 * np.sum(w**2), STRENGTH),
    "CS231n's assignment 1, reg": (lambda w, n: STRENGTH * np.sum(w**2), 2 * STRENGTH),
    "UFLDL, lambda": (lambda w, n: STRENGTH / 2 * np.sum(w**2), STRENGTH),
}


def small():
    """Return a network, a batch of N and its targets."""
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Sigmoid(), nn.Linear(4, 2), nn.Sigmoid(), seed=0, dtype="float64")
    return net, rng.normal(size=(N, 3)), rng.random((N, 2))


def slopes(function, net):
    """Return the derivative of a function of the network by each parameter, by central differences."""
    start, step, slopes = net.parameters.copy(), 1e-6, []
    for direction in np.eye(len(start)) * step:
        values = []
        for parameters in start + direction, start - direction:
            net.parameters = parameters
            values.append(function())
        slopes.append((values[0] - values[1]) / (2 * step))
    net.parameters = start
    return np.array(slopes)


def step(net, cost, sgd, x, t):
    """Return the step that numnet takes from here."""
    before = net.parameters.copy()
    nn.Trainer(net, cost, sgd).step(x, t)
    return net.parameters - before


@pytest.mark.parametrize("who", IN_THEIR_WORDS)
def test_weight_decay_in_their_words(who):
    penalty, weight_decay = IN_THEIR_WORDS[who]
    net, x, t = small()
    cost = nn.CrossEntropy()
    weights = [layer.weight for layer in net.layers[::2]]
    expected = slopes(lambda: cost(net(x), t) + sum(penalty(w, N) for w in weights), net)
    np.testing.assert_allclose(
        step(net, cost, nn.SGD(0.1, weight_decay=weight_decay), x, t), -0.1 * expected, rtol=1e-6
    )


def test_the_page_has_all_of_these_words():
    assert [cells[0] for cells in rows("literature.md", "where", "it adds to the mean cost", "`weight_decay`")] == list(
        IN_THEIR_WORDS
    )


def test_raschkas_learning_rate_is_half_of_numnets():
    net, x, t = small()
    expected = slopes(lambda: np.sum((net(x) - t) ** 2) / N, net)
    np.testing.assert_allclose(step(net, nn.Quadratic(), nn.SGD(2 * 0.1), x, t), -0.1 * expected, rtol=1e-6)


@pytest.mark.parametrize("strength", [0.1, 10.0])
def test_the_minimum_is_that_of_scikit_learns_logistic_regression(strength, script):
    linear_model = pytest.importorskip("sklearn.linear_model")
    train, _ = nn.datasets.digits()
    x, t = train.images[:200].reshape(200, -1) / 255, train.labels[:200]
    theirs = linear_model.LogisticRegression(C=strength, tol=1e-9, max_iter=10_000).fit(x, t)
    net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0, dtype="float64")
    objective = script("ufldl").penalized(net, nn.CrossEntropy(), x, t, 1 / (strength * 200))
    tight = {"maxiter": 10_000, "ftol": 1e-15, "gtol": 1e-9}
    net.parameters = minimize(objective, net.parameters.copy(), jac=True, method="L-BFGS-B", options=tight).x
    np.testing.assert_allclose(net(x), theirs.predict_proba(x), atol=1e-5)
