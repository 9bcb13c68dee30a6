"""Data as careful people bring them: none of them makes `fit` warn at a usual learning rate."""

import math

import numpy as np
import pytest

import numnet as nn

NETWORKS = {  # layers after a Linear, whether that is a hidden layer of 30, the cost, and a usual learning rate
    "classes": [
        ([nn.Softmax], False, nn.CrossEntropy, 0.5),
        ([nn.Tanh, nn.Softmax], True, nn.CrossEntropy, 0.1),
        ([nn.ReLU, nn.Softmax], True, nn.CrossEntropy, 0.1),
        ([nn.Sigmoid, nn.Sigmoid], True, nn.Quadratic, 1.0),
    ],
    "yes or no": [
        ([nn.Sigmoid], False, nn.CrossEntropy, 0.5),
        ([nn.Tanh, nn.Sigmoid], True, nn.CrossEntropy, 0.1),
        ([nn.Sigmoid, nn.Sigmoid], True, nn.Quadratic, 1.0),
    ],
    "minus 1 or 1": [([nn.Tanh], False, nn.Quadratic, 0.1), ([nn.Tanh, nn.Tanh], True, nn.Quadratic, 0.1)],
    "numbers": [
        ([], False, nn.Quadratic, 0.05),
        ([nn.Tanh], True, nn.Quadratic, 0.05),
        ([nn.ReLU], True, nn.Quadratic, 0.01),
    ],
}


def trained(train, test, kind, slower=1.0):
    """Train the networks for a kind of targets. A DataWarning is an error here, as in all tests."""
    (x, t), features = train, math.prod(train[0].shape[1:])
    outputs = t.shape[1] if t.ndim == 2 else int(t.max()) + 1 if kind == "classes" else 1
    for ends, deep, cost, lr in NETWORKS[kind]:
        layers = (
            [nn.Linear(features, 30), ends[0](), nn.Linear(30, outputs)] if deep else [nn.Linear(features, outputs)]
        )
        net = nn.Sequential(*layers, *(end() for end in ends[deep:]), seed=0)
        nn.Trainer(net, cost(), nn.SGD(lr * slower), seed=0).fit((x, t), 2, 32, test)


def split(x, t, standardized=False):
    """Return three quarters to train on and a quarter to test, in a new order."""
    order = np.random.default_rng(0).permutation(len(x))
    x, t, cut = np.asarray(x)[order], np.asarray(t)[order], 3 * len(x) // 4
    if standardized:
        x = (x - x[:cut].mean(axis=0)) / np.where(x[:cut].std(axis=0) == 0, 1, x[:cut].std(axis=0))
    return (x[:cut], t[:cut]), (x[cut:], t[cut:])


def loaded(name, **options):
    """Return a loader's data, the targets of a regression standardized."""
    x, t = getattr(pytest.importorskip("sklearn.datasets"), name)(**options)
    t = np.asarray(t)
    return x, (t - t.mean(axis=0)) / t.std(axis=0) if t.dtype.kind == "f" and len(np.unique(t)) > 2 else t


LOADERS = [  # name, options, kind, standardized, slower
    ("load_iris", {"return_X_y": True}, "classes", False, 0.1),
    ("load_iris", {"return_X_y": True}, "classes", True, 1),
    ("load_digits", {"return_X_y": True}, "classes", False, 0.01),
    ("load_digits", {"return_X_y": True}, "classes", True, 1),
    ("load_wine", {"return_X_y": True}, "classes", True, 1),
    ("load_breast_cancer", {"return_X_y": True}, "classes", True, 1),
    ("load_breast_cancer", {"return_X_y": True}, "yes or no", True, 1),
    ("load_diabetes", {"return_X_y": True}, "numbers", False, 1),
    ("load_diabetes", {"return_X_y": True, "scaled": False}, "numbers", True, 1),
    ("load_linnerud", {"return_X_y": True}, "numbers", True, 1),
    ("make_moons", {"n_samples": 400, "noise": 0.1, "random_state": 0}, "classes", False, 1),
    ("make_moons", {"n_samples": 400, "noise": 0.1, "random_state": 0}, "yes or no", False, 1),
    ("make_circles", {"n_samples": 400, "noise": 0.1, "random_state": 0}, "classes", False, 1),
    ("make_blobs", {"n_samples": 400, "centers": 8, "random_state": 0}, "classes", False, 0.1),
    ("make_blobs", {"n_samples": 400, "centers": 8, "random_state": 0}, "classes", True, 1),
    ("make_classification", {"n_samples": 400, "random_state": 0}, "classes", False, 1),
    ("make_classification", {"n_samples": 1000, "weights": [0.97], "random_state": 0}, "classes", False, 1),
    ("make_classification", {"n_samples": 1000, "weights": [0.97], "random_state": 0}, "yes or no", False, 1),
    ("make_multilabel_classification", {"n_samples": 400, "random_state": 0}, "yes or no", True, 1),
    ("make_gaussian_quantiles", {"n_samples": 400, "random_state": 0}, "classes", False, 1),
    ("make_hastie_10_2", {"n_samples": 1000, "random_state": 0}, "minus 1 or 1", False, 1),
    ("make_friedman1", {"n_samples": 400, "random_state": 0}, "numbers", False, 1),
    ("make_friedman2", {"n_samples": 400, "random_state": 0}, "numbers", True, 1),
    ("make_friedman3", {"n_samples": 400, "random_state": 0}, "numbers", True, 1),
    ("make_regression", {"n_samples": 400, "n_features": 10, "random_state": 0}, "numbers", False, 1),
    ("make_sparse_uncorrelated", {"n_samples": 400, "random_state": 0}, "numbers", False, 1),
    ("make_s_curve", {"n_samples": 400, "random_state": 0}, "numbers", False, 1),
    ("make_swiss_roll", {"n_samples": 400, "random_state": 0}, "numbers", True, 1),
]


@pytest.mark.parametrize("name", ["load_diabetes", "load_linnerud"])
def test_scikit_learns_regressions_as_they_are(name):
    """Their targets go up to 346."""
    x, t = getattr(pytest.importorskip("sklearn.datasets"), name)(return_X_y=True)
    trained(*split(x, t, standardized=True), "numbers", 1e-3)


@pytest.mark.parametrize(("name", "options", "kind", "standardized", "slower"), LOADERS)
def test_scikit_learns_data(name, options, kind, standardized, slower):
    trained(*split(*loaded(name, **options), standardized), kind, slower)


FORMS = {  # of images as bytes, with statistics of the training images
    "bytes": lambda x, train: x,
    "float32": lambda x, train: (x / 255).astype(np.float32),
    "float64": lambda x, train: x / 255,
    "flattened": lambda x, train: (x / 255).reshape(len(x), -1),
    "one channel": lambda x, train: (x / 255).astype(np.float32)[..., None],
    "standardized": lambda x, train: (x - train.mean()) / train.std(),
    "standardized by feature": lambda x, train: (
        (x - train.mean(axis=0)) / np.where(train.any(axis=0), train.std(axis=0), 1)
    ),
    "0.01 to 1": lambda x, train: 0.01 + x * (0.99 / 255),
    "booleans": lambda x, train: x > 127,
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("one_hot", [False, True])
def test_digits(form, one_hot):
    train, test = nn.datasets.digits()
    trained(
        *(
            (form(data.images, train.images), np.eye(10)[data.labels] if one_hot else data.labels)
            for data in (train, test)
        ),
        "classes",
    )


def test_targets_of_rashids_book():
    train, test = nn.datasets.digits()
    net = nn.Sequential(nn.Linear(64, 30), nn.Sigmoid(), nn.Linear(30, 10), nn.Sigmoid(), seed=0)
    pairs = ((data.images, np.where(np.eye(10)[data.labels], 0.99, 0.01)) for data in (train, test))
    nn.Trainer(net, nn.Quadratic(), nn.SGD(0.2), seed=0).fit(*(next(pairs), 2, 1), test=next(pairs))


@pytest.mark.slow
@pytest.mark.parametrize("count", [1000, None])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_mnist(mnist, form, count):
    train, test = (data.images[:count] for data in mnist)
    images, labels = form(test, train), mnist[1].labels[:count]
    for few in (None, 20):
        trained((form(train, train), mnist[0].labels[:count]), (images[:few], labels[:few]), "classes", 0.2)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_images_like_those_of_fashion_mnist(form):
    """Things in ten shapes, drawn by chance, about as bright as those of Fashion-MNIST: a mean of 0.286."""
    rng = np.random.default_rng(0)
    labels, places = rng.integers(0, 10, 1000), np.linspace(-1, 1, 28)
    width, height = rng.uniform(0.3, 0.9, (2, 10, 1, 1))[:, labels] + rng.normal(0, 0.05, (2, 1000, 1, 1))
    inside = (abs(places) < width) & (abs(places[:, None]) < height)
    images = (inside * rng.uniform(100, 256, inside.shape)).astype(np.uint8)
    assert 0.25 < (images / 255).mean() < 0.35
    trained(
        *((form(images[rows], images[:800]), labels[rows]) for rows in (slice(800), slice(800, None))), "classes", 0.2
    )


TABLES = {
    "one-hot columns": lambda rng: np.eye(10)[rng.integers(0, 10, 600)],
    "rare events": lambda rng: (rng.random((600, 30)) < 0.02).astype(int),
    "rarer events": lambda rng: (rng.random((600, 5)) < 0.005).astype(int),
    "small counts": lambda rng: rng.poisson(0.14, (600, 5)),
    "tails": lambda rng: rng.standard_t(3, (600, 5)),
    "long tails": lambda rng: rng.lognormal(0, 2, (600, 5)),
}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
@pytest.mark.parametrize("seed", range(7))
def test_tables_with_few_large_numbers(table, seed):
    x = table(np.random.default_rng(seed))
    t = (x[:, :2].sum(axis=1) > np.median(x[:, :2].sum(axis=1))).astype(int)
    trained(*split(x, t, standardized=True), "classes")
    if np.abs(x).max() < 20:
        trained(*split(x, t), "classes")


def test_a_sine():
    x = np.linspace(-np.pi, np.pi, 300)
    trained(*split(x[:, None], np.sin(x)), "numbers", 0.2)
