"""The table of symptoms, docs/when-it-does-not-learn.md: each test runs the smallest script that shows a symptom.

The test then runs the script with the remedy. It checks the row on the page, or writes the row if NUMNET_WRITE_TABLES
is set. To write all rows anew: rm docs/when-it-does-not-learn.md && NUMNET_WRITE_TABLES=1 pytest --slow
"""

import itertools
import math
import re
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
import threadpoolctl

import numnet as nn
from numnet import threads

from .tables import Table, shown
from .test_gradcheck import Adding, InPlace, Mean, Noisy, OutNeeded, RoundingInput, Scale, WrongSign

FIRST = "A first network that learns nothing"
MEANING, DATA, RUN = "Numbers that mean nothing", "What the data show", "How it goes"
MNIST, PLOTS, FILES = "What people bring, on MNIST", "Plots", "Files"
LAYERS, BUSY = "Layers that gradcheck refuses", "A busy machine"
TABLE = Table(
    "docs/when-it-does-not-learn.md",
    """# When it does not learn

First make three checks. They take a minute. Then find your symptom in the tables below.

## Three checks

1. **Is the cost at the start about ln K, for K classes?** A network that knows nothing yet gives each class about the
   probability 1/K, and the cost is then ln K. This is 2.30 for ten classes, and 0.69 for two classes. If the cost is
   much larger, the inputs or the starting weights are too large.
2. **Can the network learn ten samples by heart?** The cost of the ten samples should come near 0, and their accuracy
   should be 1. If not, the mistake is in the network, in the cost or in the learning rate. More data will not help.
3. **Do ten times the learning rate, and a tenth of it, train better?** With a rate that is too small, the cost falls
   slowly. With a rate that is too large, the cost rises, or jumps up and down. Take a new network for each rate.

```python
import numnet as nn


def new_trainer(lr):
    layers = nn.Linear(64, 30), nn.ReLU(), nn.Linear(30, 10), nn.Softmax()
    net = nn.Sequential(*layers, seed=0)
    return nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr), seed=0)


train, test = nn.datasets.digits()
cost, _ = new_trainer(lr=0.5).evaluate(train)
print(f"1. cost at the start {cost:.2f}")

history = new_trainer(lr=0.5).fit(train[:10], epochs=100, batch_size=10)
cost, accuracy = history.train_cost[-1], history.train_accuracy[-1]
print(f"2. ten samples: cost {cost:.2f}, accuracy {accuracy:.2f}")

for lr in 0.05, 0.5, 5:
    history = new_trainer(lr).fit(train, epochs=3, batch_size=64)
    print(f"3. learning rate {lr}: cost after 3 epochs {history.train_cost[-1]:.1f}")
```

```{code-block} text
:class: output

1. cost at the start 2.31
2. ten samples: cost 0.01, accuracy 1.00
3. learning rate 0.05: cost after 3 epochs 2.2
3. learning rate 0.5: cost after 3 epochs 0.4
3. learning rate 5: cost after 3 epochs 2.3
```

## How to read the tables

Each row has a symptom, its cause, what numnet says, and the remedy. If a message of numnet is longer than two lines,
the row has the first two lines. An ellipsis (…) stands for what differs from run to run. A `DataWarning` says that
the data are legal, but are most often a mistake.

An arrow (→) stands between the result with the mistake and the result with the remedy. Each accuracy is measured on
the test data. R2 is the share of the variance of the targets that a regression explains. If a row names no data, the
data are `nn.datasets.digits()`. Each row is tested: a test runs the smallest script that has the symptom, and then the
script with the remedy.
""",
    head=("Symptom", "Cause", "What numnet says", "Remedy"),
    sections=(FIRST, MEANING, DATA, MNIST, RUN, PLOTS, LAYERS, FILES, BUSY),
)
TRAIN, TEST = ((data.images, data.labels.astype(int)) for data in nn.datasets.digits())
EVEN = [(x, (t % 2 == 0).astype(int)) for x, t in (TRAIN, TEST)]


@pytest.fixture
def row(tmp_path):
    """Check a row: section, symptom, cause, what numnet says (words, an error or a warning), remedy."""

    def record(section, symptom, cause, says, remedy):
        text = re.sub(r"(?<=with a cost of )[\d.e+]+|\d[\d.]*(?= (ms|minutes))", "…", shown(says, tmp_path))
        TABLE.record(section, symptom, cause, text, remedy)

    return record


def fit(train, test, *layers, cost=None, lr=0.5, epochs=10, **options):
    """Train a network; return the trainer, and what the training warned of."""
    net = nn.Sequential(*layers, seed=0)
    trainer = nn.Trainer(net, cost or nn.CrossEntropy(), nn.SGD(lr), seed=0)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", "the . threads of BLAS")  # the machine may be busy
        trainer.fit(train, epochs, 64, test, **options)
    assert all(warning.category is nn.DataWarning for warning in seen)
    return trainer, [warning.message for warning in seen]


def classify(train, test, *hidden, start=None, **options):
    """Train a classifier with hidden layers of so many ReLU units; return its test accuracy, and the warnings."""
    widths = math.prod(train[0].shape[1:]), *hidden, max(train[1].max(), test[1].max()) + 1
    layers = [part for a, b in itertools.pairwise(widths) for part in (nn.Linear(a, b, start=start), nn.ReLU())]
    trainer, seen = fit(train, test, *layers[:-1], nn.Softmax(), **options)
    return trainer.history.test_accuracy[-1], seen


def classify_data(train, test):
    """Return the test accuracy of a softmax for ten classes, of any data that `fit` takes."""
    return fit(train, test, nn.Linear(64, 10), nn.Softmax())[0].history.test_accuracy[-1]


def healthy(train, test, *hidden, **options):
    """Return the test accuracy of a classifier that is trained without a warning."""
    accuracy, seen = classify(train, test, *hidden, **options)
    assert not seen
    return accuracy


def changed(how, *data):
    """Return pairs of inputs and targets with changed inputs."""
    return [(how(x), t) for x, t in data]


def refused(call, *arguments, kind=ValueError, **options):
    """Return the error that a call ends with."""
    with pytest.raises(kind) as error:
        call(*arguments, **options)
    return error.value


def r2(net, data):
    """Return the share of the variance of the targets that a network explains."""
    return 1 - np.mean((net(data[0])[:, 0] - data[1]) ** 2) / np.var(data[1])


@pytest.fixture
def diabetes():
    """A table for regression, inputs and targets standardized."""
    published = pytest.importorskip("sklearn.datasets").load_diabetes()
    x, t = ((a - a[:300].mean(axis=0)) / a[:300].std(axis=0) for a in (published.data, published.target))
    return (x[:300], t[:300]), (x[300:], t[300:])


# A first network that learns nothing


def test_labels_of_other_images(row):
    x, t = TRAIN
    order = np.random.default_rng(0).permutation(len(x))
    layers = nn.Linear(64, 30), nn.ReLU(), nn.Linear(30, 10), nn.Softmax()
    trainer, seen = fit((x[order], t), TEST, *layers)
    assert not seen
    np.testing.assert_allclose(trainer.history.train_cost, math.log(10), atol=0.05)
    before = trainer.history.test_accuracy[-1]
    row(
        FIRST,
        "the cost stays at about ln 10 = 2.303, as if the network guessed among ten classes",
        "the labels belong to other images. Here the images were shuffled, and the labels were not",
        "nothing",
        "shuffle both in the same order, `x, t = x[order], t[order]`: accuracy "
        f"{before:.1f} → {healthy((x[order], t[order]), TEST, 30):.2f}",
    )


def test_a_learning_rate_that_is_too_small(row):
    trainer, seen = fit(TRAIN, TEST, nn.Linear(64, 10), nn.Softmax(), lr=0.001)
    falls = -np.diff(trainer.history.train_cost)
    assert not seen
    assert (falls > 0).all()
    assert (falls < 0.01).all()
    row(
        FIRST,
        "the cost falls in each epoch, but by less than 0.01",
        "the learning rate is too small, here 0.001",
        "nothing",
        "multiply the rate by ten, again and again, until a larger rate brings nothing more. Here "
        f"`SGD(lr=0.5)`: accuracy {trainer.history.test_accuracy[-1]:.1f} → {healthy(TRAIN, TEST):.2f}",
    )


def test_weights_that_are_all_0(row):
    layers = nn.Linear(64, 30), nn.Sigmoid(), nn.Linear(30, 10), nn.Softmax()
    net = nn.Sequential(*layers, seed=0, dtype="float64")

    def trained():
        trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.5), seed=0)
        return trainer.fit(TRAIN, 10, 64, TEST)

    net.parameters = np.zeros_like(net.parameters)
    before = trained()
    units = net.layers[0].weight
    np.testing.assert_allclose(units, np.broadcast_to(units[:, :1], units.shape), atol=1e-9)
    np.testing.assert_allclose(before.train_cost, math.log(10), atol=0.1)
    net.initialize(0)
    after = trained().test_accuracy[-1]
    row(
        FIRST,
        "all hidden units have the same weights, and the cost stays at about ln 10",
        "all weights began at 0. Then all units of a layer get the same gradient, and stay the same",
        "nothing",
        "random starting weights, `net.initialize(seed=0)`, and then a new Trainer: accuracy "
        f"{before.test_accuracy[-1]:.1f} → {after:.2f}",
    )


def test_no_activation_between_two_linear_layers(row):
    x = np.random.default_rng(0).uniform(-1, 1, (1200, 2))
    t = (np.hypot(*x.T) < 0.8).astype(int)
    train, test = (x[:600], t[:600]), (x[600:], t[600:])
    options = {"lr": 1.0, "epochs": 100}
    before, _ = fit(train, test, nn.Linear(2, 16), nn.Linear(16, 2), nn.Softmax(), **options)
    one, _ = fit(train, test, nn.Linear(2, 2), nn.Softmax(), **options)
    after, _ = fit(train, test, nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2), nn.Softmax(), **options)
    before, one, after = (trainer.history.test_accuracy[-1] for trainer in (before, one, after))
    assert before == pytest.approx(one, abs=0.05)
    row(
        FIRST,
        "more `Linear` layers learn no more than one layer. Here they do not learn which points lie within a circle",
        "`Linear` layers in a row are together only one linear function, which separates by straight lines",
        "nothing",
        f"an activation between them, here `Tanh()`: accuracy {before:.1f} → {after:.2f}",
    )


# Numbers that mean nothing


def test_labels_1_and_2(row):
    train, test = ((x, t + 1) for x, t in EVEN)
    error = refused(fit, train, test, nn.Linear(64, 1), nn.Sigmoid(), cost=nn.Quadratic())
    train, test = ((x, np.unique(t, return_inverse=True)[1]) for x, t in (train, test))
    trainer, _ = fit(train, test, nn.Linear(64, 1), nn.Sigmoid(), cost=nn.Quadratic(), lr=1.0)
    assert trainer.history.test_accuracy[-1] == trainer.net.accuracy(*test)
    row(
        MEANING,
        "a yes/no network says yes to every sample",
        "the labels are 1 and 2, and a sigmoid gives 0 to 1",
        error,
        f"do as numnet says. Even and odd digits: accuracy {trainer.history.test_accuracy[-1]:.2f}",
    )


def test_a_regression_has_no_accuracy(row, diabetes):
    train, test = diabetes
    trainer, _ = fit(train, test, nn.Linear(10, 1), cost=nn.Quadratic(), lr=0.05)
    net, history = trainer.net, trainer.history
    assert np.isnan([history.train_accuracy, history.test_accuracy]).all()
    assert "accuracy" not in str(history)
    assert "compare net(x)" in str(refused(net.accuracy, *test))
    row(
        MEANING,
        "a regression shows no accuracy, and `net.predict` and `net.accuracy` refuse",
        "a regression gives a number, and a number is not a class",
        refused(net.predict, test[0]),
        f"compare `net(x)` with the targets: R2 {r2(net, test):.2f} on scikit-learn's diabetes",
    )


def test_one_tanh_for_minus_1_and_1(row):
    train, test = ((x, 2 * t - 1) for x, t in EVEN)
    trainer, _ = fit(train, test, nn.Linear(64, 1), nn.Tanh(), cost=nn.Quadratic(), lr=0.1, epochs=20)
    by_sign = np.mean(np.sign(trainer.net(test[0])[:, 0]) == test[1])
    assert trainer.history.test_accuracy[-1] == trainer.net.accuracy(*test) == by_sign
    row(
        MEANING,
        "`net.predict` refuses for one tanh trained on -1 and 1",
        "classes are whole numbers from 0 up, and -1 is no such number",
        refused(trainer.net.predict, test[0]),
        f"`np.sign(net(x))`; the history and `net.accuracy` count in this way: accuracy {by_sign:.2f}",
    )


def test_one_tanh_for_0_and_1(row):
    options = {"cost": nn.Quadratic(), "lr": 0.1, "epochs": 20}
    trainer, _ = fit(*EVEN, nn.Linear(64, 1), nn.Tanh(), **options)
    assert math.isnan(trainer.history.test_accuracy[-1])
    error = refused(trainer.net.accuracy, *EVEN[1])
    trainer, _ = fit(*((x, 2 * t.astype(int) - 1) for x, t in EVEN), nn.Linear(64, 1), nn.Tanh(), **options)
    row(
        MEANING,
        "one tanh trained on 0 and 1 shows no accuracy",
        "a tanh gives -1 for no and 1 for yes. So numnet takes targets of 0 and 1 as numbers, not as classes",
        error,
        f"give the targets `2 * t.astype(int) - 1`: accuracy {trainer.history.test_accuracy[-1]:.2f}",
    )


def test_a_softmax_over_one_output(row):
    error = refused(nn.Sequential, nn.Linear(64, 1), nn.Softmax())
    trainer, _ = fit(*EVEN, nn.Linear(64, 1), nn.Sigmoid())
    row(
        MEANING,
        "a softmax over one output gives 1 for every sample",
        "the probabilities of all outputs sum to 1",
        error,
        f"end in `Sigmoid()`. Even and odd digits: accuracy {trainer.history.test_accuracy[-1]:.2f}",
    )


def test_ten_classes_over_one_sigmoid(row):
    row(
        MEANING,
        "one output for the labels 0 to 9",
        "one output answers one question by yes or no",
        refused(fit, TRAIN, TEST, nn.Linear(64, 1), nn.Sigmoid(), cost=nn.Quadratic()),
        f"do as numnet says: accuracy {healthy(TRAIN, TEST):.2f}",
    )


def test_targets_out_of_reach(row, diabetes):
    train, test = diabetes
    error = refused(fit, train, test, nn.Linear(10, 1), nn.Tanh(), cost=nn.Quadratic())
    trainer, _ = fit(train, test, nn.Linear(10, 1), cost=nn.Quadratic(), lr=0.05)
    row(
        MEANING,
        "the cost of a regression stays high",
        "the last layer cannot give numbers as large as the targets",
        error,
        f"end in `Linear(10, 1)`: R2 {r2(trainer.net, test):.2f} on scikit-learn's diabetes",
    )


def test_targets_that_are_no_classes(row):
    def trained(high, low, *shifts):
        train, test = (
            (x, np.where(sum(np.eye(10)[(t + shift) % 10] for shift in shifts), high, low)) for x, t in (TRAIN, TEST)
        )
        layers = nn.Linear(64, 30), nn.Sigmoid(), nn.Linear(30, 10), nn.Sigmoid()
        trainer, _ = fit(train, test, *layers, cost=nn.Quadratic(), lr=3.0, epochs=20)
        return trainer, test

    trainer, test = trained(1, 0, 0, 1)
    assert math.isnan(trainer.history.test_accuracy[-1])
    error = refused(trainer.net.accuracy, *test)
    trainer, test = trained(0.99, 0.01, 0)
    assert trainer.history.test_accuracy[-1] == trainer.net.accuracy(*test) == trainer.net.accuracy(*TEST)
    row(
        MEANING,
        "a network with several outputs shows no accuracy",
        "the rows of targets have several high numbers, so no row stands for one class",
        error,
        "give one high number in each row. It may be 0.99 among 0.01, as in T. Rashid's book: accuracy "
        f"{trainer.history.test_accuracy[-1]:.2f}",
    )


def test_probabilities_of_probabilities(row):
    row(
        MEANING,
        "the cost of a classifier falls a little, and then no more",
        "two layers of the network make probabilities, one after the other",
        refused(fit, TRAIN, TEST, nn.Linear(64, 10), nn.Sigmoid(), nn.Softmax()),
        f"end in `Softmax()` alone: accuracy {healthy(TRAIN, TEST):.2f}",
    )


# What the data show


def test_bytes_of_few_levels(row):
    sixteen = changed(lambda x: (x / 15.9375).round().astype(np.uint8), TRAIN, TEST)
    before, (warning,) = classify(*sixteen, 30)
    row(
        DATA,
        "nothing is learned from images whose bytes go only to 16, such as scikit-learn's digits",
        "numnet takes bytes as intensities from 0 to 255, and scales them to 0 to 1",
        warning,
        f"do as numnet says: accuracy {before:.1f} → {healthy(*changed(lambda x: x / 16, *sixteen), 30):.2f}",
    )


def test_pixels_divided_twice(row):
    before, (warning,) = classify(*changed(lambda x: x / 255 / 255, TRAIN, TEST), 30)
    row(
        DATA,
        "nothing is learned, and the cost hardly moves",
        "the pixels were divided by 255 twice",
        warning,
        f"divide once, or give bytes: accuracy {before:.1f} → {healthy(TRAIN, TEST, 30):.2f}",
    )


def test_a_table_that_is_not_standardized(row):
    wine = pytest.importorskip("sklearn.datasets").load_wine()
    order = np.random.default_rng(1).permutation(len(wine.target))
    train, test = ((wine.data[rows], wine.target[rows]) for rows in (order[:100], order[100:]))
    before, seen = classify(train, test)
    mean, std = train[0].mean(axis=0), train[0].std(axis=0)
    after = healthy(*changed(lambda x: (x - mean) / std, train, test))
    row(
        DATA,
        "scikit-learn's wine, as it comes, is not learned",
        "the column with the largest numbers hides all others, and makes each step too large",
        seen[0],
        f"do as numnet says: accuracy {before:.1f} → {after:.2f}",
    )


def test_targets_of_large_numbers(row, diabetes):
    def layers():
        return nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 1)

    prices = [(x, 100_000 * t + 300_000) for x, t in diabetes]
    for lr in 0.05, 0.005, 0.0005:
        trainer = nn.Trainer(nn.Sequential(*layers(), seed=0), nn.Quadratic(), nn.SGD(lr), seed=0)
        with pytest.warns(nn.DataWarning) as seen:
            refused(trainer.fit, prices[0], 10, 64, kind=nn.DivergenceError)
    train, test = ((x, (t - np.mean(prices[0][1])) / np.std(prices[0][1])) for x, t in prices)
    trainer, none = fit(train, test, *layers(), cost=nn.Quadratic(), lr=0.05)
    assert not none
    row(
        DATA,
        "the cost of a regression becomes nan, also at a tenth of the learning rate",
        "the targets are large numbers, such as prices. So the first errors are large, and with them the first steps",
        seen[0].message,
        f"do as numnet says: R2 {r2(trainer.net, test):.1f} on scikit-learn's diabetes, with targets like prices",
    )


def test_test_data_of_another_kind(row):
    sixteen = changed(lambda x: (x / 15.9375).round().astype(np.uint8), TEST)
    before, (warning,) = classify(TRAIN, *sixteen, 30)
    row(
        DATA,
        "wrong on the test data or on your own images, right on the training data",
        "in these images, ink has another number than in the training images",
        warning,
        "here the bytes of the test data went to 16, and the bytes of the training data to 255. "
        f"`(x / 16 * 255).astype(np.uint8)`: accuracy "
        f"{before:.2f} → {healthy(TRAIN, *changed(lambda x: (x / 16 * 255).astype(np.uint8), *sixteen), 30):.2f}",
    )


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-1, 1), (0, 255), (-0.42, 2.81)])
def test_inverted_in_any_range(low, high):
    _, seen = classify(*changed(lambda x: low + x * ((high - low) / 255), TRAIN, (255 - TEST[0], TEST[1])), lr=0.001)
    assert f"give {low + high:g} - images" in str(seen[-1])


def test_bright_ground(row):
    before, (warning,) = classify(*changed(lambda x: 255 - x, TRAIN, TEST), lr=2.0, epochs=3)
    row(
        DATA,
        "the cost of black on white rises and falls",
        "most pixels are large, and so the steps are too large",
        warning,
        f"`255 - images`, for the test data too: accuracy {before:.1f} → {healthy(TRAIN, TEST, lr=2.0, epochs=3):.2f}",
    )


def test_dead_relus(row):
    before, (warning,) = classify(*changed(lambda x: 255 - x, TRAIN, TEST), 30, lr=1.0)
    row(
        DATA,
        "a network with ReLU units gives one answer for every image, and the cost stays where it was",
        "large inputs and large steps have put all units below 0, and there the slope of a ReLU is 0",
        warning,
        "make the ground dark, standardize the inputs, or take a smaller learning rate. Here `255 - images`: accuracy "
        f"{before:.1f} → {healthy(TRAIN, TEST, 30, lr=1.0):.2f}",
    )


def test_a_class_that_never_occurs(row):
    x, t = (np.concatenate(parts) for parts in zip(TRAIN, TEST, strict=True))
    data = nn.datasets.Dataset(x, t)[np.argsort(t, kind="stable")]
    before, (warning,) = classify(*((part.images, part.labels) for part in (data[:1437], data[1437:])))
    after = healthy(*((part.images, part.labels) for part in data.split(0.2, seed=0)))
    row(
        DATA,
        "right on the training data, all wrong on the test data",
        "the samples were sorted by class, and then split",
        warning,
        f"`data.split(0.2, seed=0)`: accuracy {before:.2f} → {after:.2f}",
    )


def test_words_for_labels(row):
    words = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])
    error = refused(classify_data, (TRAIN[0], words[TRAIN[1]]), (TEST[0], words[TEST[1]]))
    train, test = (nn.datasets.Dataset.from_arrays(x, words[t]) for x, t in (TRAIN, TEST))
    assert train.classes == tuple(sorted(words))
    row(
        DATA,
        "labels that are words are refused",
        "a label is the number of an output",
        error,
        f"`Dataset.from_arrays(x, t)`: accuracy {classify_data(train, test):.2f}",
    )


def test_classes_that_are_counted_twice(row):
    words = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])
    (x, t), (test_x, test_t) = TRAIN, (TEST[0][TEST[1] != 8], TEST[1][TEST[1] != 8])
    train, test = nn.datasets.Dataset.from_arrays(x, words[t]), nn.datasets.Dataset.from_arrays(test_x, words[test_t])
    error = refused(classify_data, train, test)
    before = classify_data(train, (test.images, test.labels))
    test = nn.datasets.Dataset.from_arrays(test_x, words[test_t], classes=train.classes)
    row(
        DATA,
        "test data in which a class is missing, here 8, have other numbers for the other classes",
        "each call of `from_arrays` counts the classes that it finds",
        error,
        f"do as numnet says: accuracy {before:.2f} → {classify_data(train, test):.2f}",
    )


def test_one_class_only(row):
    x, t = EVEN[0]
    trainer, (warning,) = fit((x, t * 0), None, nn.Linear(64, 2), nn.Softmax())
    assert trainer.history.train_accuracy[-1] == 1
    row(
        DATA,
        "the accuracy is 1 at once",
        "all labels are 0, for example because they come from a comparison that is never true",
        warning,
        f"give the right labels. Even and odd digits: accuracy {healthy(*EVEN):.2f}",
    )


# What people bring, on MNIST


@pytest.mark.slow
def test_mnist_as_floats_to_255(row, mnist):
    train, test = ((data.images, data.labels) for data in mnist)
    before, seen = classify(*changed(np.float64, train, test), 30, epochs=3)
    row(
        MNIST,
        "nothing is learned from pixels that are floats from 0 to 255",
        "numnet scales bytes to 0 to 1, and takes all other numbers as they are",
        seen[0],
        f"give bytes: accuracy {before:.2f} → {healthy(train, test, 30, epochs=3):.2f}, hidden layer of 30",
    )


@pytest.mark.slow
def test_mnist_as_bytes_0_and_1(row, mnist):
    train, test = changed(lambda x: (x > 127).astype(np.uint8), *((data.images, data.labels) for data in mnist))
    before, (warning,) = classify(train, test, epochs=3)
    after = healthy(*changed(np.float32, train, test), epochs=3)
    row(
        MNIST,
        "nothing is learned from pixels that are bytes of 0 and 1",
        "numnet scales bytes to 0 to 1, and so 1 becomes 1/255",
        warning,
        f"do as numnet says: accuracy {before:.2f} → {after:.2f}, softmax",
    )


@pytest.mark.slow
def test_mnist_inverted(row, mnist):
    train, test = ((data.images, data.labels) for data in mnist)
    before, (warning,) = classify(train, (255 - test[0], test[1]), epochs=3)
    row(
        MNIST,
        "images of black on white are read wrongly",
        "the network has learned white on black only",
        warning,
        f"`255 - images`: accuracy {before:.2f} → {healthy(train, test, epochs=3):.2f}, softmax",
    )


@pytest.mark.slow
def test_drawings_of_ones_own(row, mnist):
    """Each image black on white, on a page of 56 x 56, anywhere."""
    train, (images, labels) = ((data.images, data.labels) for data in (mnist[0], mnist[1][:1000]))
    pages = np.full((1000, 56, 56), 255, np.uint8)
    for page, image, (down, right) in zip(
        pages, images, np.random.default_rng(0).integers(0, 29, (1000, 2)), strict=True
    ):
        page[down : down + 28, right : right + 28] -= image
    shrunk = (255 - pages.reshape(1000, 28, 2, 28, 2).mean(axis=(2, 4))).astype(np.uint8)
    before, (warning,) = classify(train, (shrunk, labels), epochs=3)
    after = healthy(train, (np.stack([nn.datasets.as_mnist(page) for page in pages]), labels), epochs=3)
    row(
        MNIST,
        "your own drawings are read wrongly",
        "MNIST's digits are 20 pixels high, with their centre of mass in the middle",
        warning,
        f"`nn.datasets.as_mnist(image)` for each image: accuracy {before:.2f} → {after:.2f}, softmax",
    )


# How it goes


def test_divergence(row):
    error = refused(fit, TRAIN, TEST, nn.Linear(64, 10), cost=nn.Quadratic(), lr=1.0)
    trainer, _ = fit(TRAIN, TEST, nn.Linear(64, 10), cost=nn.Quadratic(), lr=0.05)
    row(
        RUN,
        "the cost becomes inf or nan",
        "each step jumps over the minimum, and ends farther from it than before",
        error,
        f"take a smaller learning rate, here `SGD(lr=0.05)`: accuracy {trainer.history.test_accuracy[-1]:.2f}",
    )


def test_a_signal_that_fades(row):
    before = healthy(TRAIN, TEST, *[32] * 6, lr=0.03, epochs=20)
    after = healthy(TRAIN, TEST, *[32] * 6, lr=0.03, epochs=20, start=nn.starts.he)
    row(
        RUN,
        "many hidden layers learn nothing",
        "the signal becomes smaller from layer to layer",
        "nothing",
        f"`Linear(..., start=nn.starts.he)` for ReLU: accuracy {before:.1f} → {after:.2f}, six hidden layers of 32",
    )


def test_a_cost_of_inf(row):
    train, test = changed(np.float64, TRAIN, TEST)
    trainer, _ = fit(train, test, nn.Linear(64, 10), nn.Softmax())
    y = trainer.net(test[0])[np.arange(len(test[1])), test[1]]
    with np.errstate(divide="ignore"):
        assert -np.log(y).mean() == math.inf
    assert math.isfinite(trainer.history.test_cost[-1])
    assert trainer.evaluate(test)[0] == pytest.approx(trainer.history.test_cost[-1], rel=1e-6)
    row(
        RUN,
        "the test cost, computed from the probabilities, is inf",
        "a probability that is too small for a float becomes 0, and ln 0 is -inf",
        "nothing",
        "`history.test_cost` or `trainer.evaluate(test)`, which compute the cost from z: finite",
    )


def test_a_test_cost_that_rises(row):
    few = TRAIN[0][:100], TRAIN[1][:100]
    layers = nn.Linear(64, 30), nn.Tanh(), nn.Linear(30, 10), nn.Softmax()
    trainer, _ = fit(few, TEST, *layers, lr=1.0, epochs=300)
    before = trainer.history.test_cost[-1]
    layers = nn.Linear(64, 30), nn.Tanh(), nn.Linear(30, 10), nn.Softmax()
    trainer, _ = fit(few, TEST, *layers, lr=1.0, epochs=300, callbacks=[nn.keep_best("test_cost", patience=20)])
    after = trainer.evaluate(TEST)[0]
    assert after == pytest.approx(min(trainer.history.test_cost), rel=1e-6)  # fit has one thread of BLAS
    assert len(trainer.history) == trainer.best.epoch + 20
    row(
        RUN,
        "the training cost falls, and the test cost rises",
        "the network learns its samples by heart. Here there are 100 samples",
        "nothing; the columns and curves of the history show it",
        '`fit(..., callbacks=[nn.keep_best("test_cost", patience=20)])`: test cost '
        f"{before:.2f} → {after:.2f}, after {len(trainer.history)} of 300 epochs",
    )


def test_to_stop_at_a_goal(row):
    def enough(trainer):
        if trainer.history[-1].test_accuracy > 0.9:
            raise StopIteration

    trainer, _ = fit(TRAIN, TEST, nn.Linear(64, 10), nn.Softmax(), epochs=100, callbacks=[enough])
    assert (np.array(trainer.history.test_accuracy) > 0.9).tolist() == [False] * (len(trainer.history) - 1) + [True]
    row(
        RUN,
        "the training goes on after it is good enough",
        "`fit` trains as many epochs as you ask for",
        "nothing",
        "a callback that raises `StopIteration`, here at an accuracy above 0.9: "
        f"after {len(trainer.history)} of 100 epochs",
    )


def test_a_network_that_was_trained_before(row):
    def first(net):
        return trainer_of(net).fit(TRAIN, 1, 64).train_accuracy[0]

    def trainer_of(net):
        return nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.5), seed=0)

    net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0)
    start = first(net)
    says = repr(trainer_of(net))
    before = first(net)
    net.initialize(0)
    assert first(net) == start
    row(
        RUN,
        "of several learning rates, the last is always best",
        "a new Trainer goes on with the parameters that the network has",
        f"`{says}`",
        f"do as numnet says: training accuracy of the first epoch {before:.2f} → {start:.2f}, as with a new network",
    )


def test_a_checkpoint_of_a_longer_run(row, tmp_path):
    path = tmp_path / "run.npz"
    fit(TRAIN, TEST, nn.Linear(64, 10), nn.Softmax(), epochs=8, checkpoint=path)
    written = path.read_bytes()
    layers = nn.Linear(64, 10), nn.Softmax()
    error = refused(fit, TRAIN, TEST, *layers, epochs=1, checkpoint=path, kind=nn.CheckpointError)
    assert path.read_bytes() == written
    trainer = nn.Trainer.resume(path)
    trainer.fit(TRAIN, 2, 64, TEST, checkpoint=path)
    assert len(trainer.history) == len(nn.Trainer.resume(path).history) == 10
    row(
        RUN,
        "a script that is started again begins at epoch 1",
        "a new Trainer knows nothing of the checkpoint, and would replace it",
        error,
        f"`Trainer.resume`, and then 2 epochs more: accuracy after 10 epochs {trainer.history.test_accuracy[-1]:.2f}",
    )


def test_steps_of_a_schedule(row):
    def schedule(epoch):
        return 0.001 if epoch == 1 else 0.5

    def stepped(**by_epoch):
        net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0)
        trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(schedule))
        for epoch in range(1, 11):
            for start in range(0, len(TRAIN[0]), 64):
                batch = slice(start, start + 64)
                trainer.step(TRAIN[0][batch], TRAIN[1][batch], **{name: rate(epoch) for name, rate in by_epoch.items()})
        return net.accuracy(*TEST)

    row(
        RUN,
        "a loop over `trainer.step` with a schedule that starts low learns too slowly",
        "steps do not count epochs, so the rate stays that of the first epoch",
        "nothing; the docstring says so",
        f"`trainer.step(x, t, lr=schedule(epoch))`: accuracy {stepped():.2f} → {stepped(lr=schedule):.2f}",
    )


@pytest.mark.parametrize(
    ("wrong", "cause", "right"),
    [
        ("trainer.fit(x, t)", "inputs and targets are one argument", "trainer.fit((x, t), epochs=10, batch_size=64)"),
        (
            "trainer.fit(x, t, epochs=10, batch_size=64)",
            "inputs and targets are one argument",
            "trainer.fit((x, t), epochs=10, batch_size=64)",
        ),
        (
            "trainer.fit(train, batch_size=64)",
            "`epochs` has no default",
            "trainer.fit(train, epochs=10, batch_size=64)",
        ),
        (
            "trainer.fit(train, epochs=10, batch_size=64, validation_data=test)",
            "the argument has another name in numnet",
            "trainer.fit(train, epochs=10, batch_size=64, test=test)",
        ),
        (
            "trainer.fit(train, epochs=10, batch_size=64, lr=0.5)",
            "the learning rate is an option of the optimizer",
            "nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr=0.5))",
        ),
        ("x, t = train", "a `Dataset` gives one image after another", "x, t = train.images, train.labels"),
        ("net(train)", "a network takes an array", "net(train.images)"),
    ],
)
def test_calls_of_other_libraries(row, wrong, cause, right):
    net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0)
    trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.5), seed=0)
    train, test = nn.datasets.digits()
    names = {"nn": nn, "net": net, "trainer": trainer, "x": TRAIN[0], "t": TRAIN[1], "train": train, "test": test}
    error = refused(exec, wrong, names, kind=(TypeError, ValueError))
    assert not trainer.history
    exec(right, names)
    row(RUN, f"`{wrong}` is an error", cause, error, f"`{right}`")


# Plots


@pytest.fixture
def rows_of_56():
    """A network for images of 8 x 7 that are rows of 56 numbers, and such images."""
    train, test = changed(lambda x: x[:, :, :7].reshape(-1, 56), TRAIN, TEST)
    return fit(train, test, nn.Linear(56, 10), nn.Softmax())[0].net, *test


def test_images_that_are_rows(row, rows_of_56):
    net, x, t = rows_of_56
    row(
        PLOTS,
        "`mistakes` and `report` do not draw the images",
        "each image is a row of numbers, and numnet cannot know its height and its width",
        refused(nn.plotting.mistakes, net, (x, t)),
        "here `images.reshape(-1, 8, 7)`",
    )
    nn.plotting.mistakes(net, (x.reshape(-1, 8, 7), t))
    plt.close("all")


def test_weights_that_are_rows(row, rows_of_56):
    row(
        PLOTS,
        "`weight_images` does not draw the weights",
        "the weights of each unit are a row of numbers, and numnet cannot know height and width",
        refused(nn.plotting.weight_images, rows_of_56[0]),
        "here `weight_images(net, shape=(8, 7))`",
    )
    nn.plotting.weight_images(rows_of_56[0], shape=(8, 7))
    plt.close("all")


def test_a_confusion_matrix_of_numbers(row, diabetes):
    trainer, _ = fit(*diabetes, nn.Linear(10, 1), cost=nn.Quadratic(), lr=0.05)
    row(
        PLOTS,
        "`confusion_matrix` does not draw a regression",
        "a regression has no classes",
        refused(nn.plotting.confusion_matrix, trainer.net, diabetes[1]),
        "`plt.scatter(t, net(x))`",
    )


# Layers that gradcheck refuses


class Training(Noisy):
    """A Noisy that asks whether it is being trained."""

    def forward(self, x, out=None):
        self.kept = self.rng.random(x.shape) if self.training else 1.0
        return np.multiply(x, self.kept, out=out)


class Doubling(InPlace):
    def forward(self, x, out=None):
        return np.multiply(x, 2, out=out)


def checked(layer, x=None, **options):
    """Check the gradients of a network with a layer in the middle; return the report."""
    net = nn.Sequential(nn.Linear(3, 4), layer, nn.Linear(4, 2), nn.Softmax(), seed=0)
    x = np.random.default_rng(0).normal(size=(5, 3)) if x is None else x
    return nn.gradcheck(net, nn.CrossEntropy(), x, np.arange(len(x)) % 2, **options)


@pytest.mark.parametrize(
    ("symptom", "cause", "wrong", "remedy", "right"),
    [
        (
            "the backward of your own layer is wrong",
            "the derivative in `backward` is wrong. Here its sign is wrong",
            WrongSign(),
            "derive dE/dx of the layer that is named",
            nn.Tanh(),
        ),
        (
            "the gradient of a parameter is wrong",
            "the derivative in `backward` is wrong. Here it is a mean over the batch, and a sum would be right",
            Mean(4),
            "derive dE/d(parameter) of the layer that is named",
            Scale(4),
        ),
        (
            "the gradients grow from batch to batch",
            '`self.gradients["factor"] += ...`',
            Adding(4),
            "do as numnet says",
            Scale(4),
        ),
        (
            "each call of a network gives something else",
            "the layer is random outside of the training, too, as a dropout that never asks for `self.training`",
            Noisy(),
            "do as numnet says",
            Training(),
        ),
        (
            "small errors everywhere",
            "`x.astype(np.float32)` in a forward",
            RoundingInput(4),
            "do as numnet says",
            Scale(4),
        ),
        ("the layer before gets a wrong gradient", "`x *= 2` in a forward", InPlace(), "do as numnet says", Doubling()),
        (
            "a layer that trains fails in `net(x)`",
            "`forward(self, x, out)`",
            OutNeeded(),
            "do as numnet says",
            Doubling(),
        ),
    ],
)
def test_what_gradcheck_says(row, symptom, cause, wrong, remedy, right):
    checked(right, raise_above=1e-7)
    error = refused(checked, wrong, raise_above=1e-7, kind=nn.GradientError)
    number, _, rest = str(error).partition("\n")
    row(LAYERS, symptom, cause, rest.partition("\n    ")[2] or number, f"{remedy}: relative errors below 1e-7")


def test_a_kink(row):
    net = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), dtype="float64")
    net.parameters = [2.0, 0.0]
    report = nn.gradcheck(net, nn.Quadratic(), [[0.0]], [[1.0]])
    nn.gradcheck(net, nn.Quadratic(), [[0.05]], [[1.0]], raise_above=1e-7)
    row(
        LAYERS,
        "a layer that is right is said to be wrong",
        "an input of a ReLU is exactly 0, and there a ReLU has no derivative",
        report.cause,
        "here `x + 0.05`: relative errors below 1e-7",
    )


@pytest.mark.slow
def test_a_gradcheck_that_takes_minutes(row):
    net = nn.Sequential(nn.Linear(784, 400), nn.Sigmoid(), nn.Linear(400, 2), nn.Softmax(), seed=0)
    x, t = np.random.default_rng(0).random((2, 784)), np.arange(2)
    warning = refused(nn.gradcheck, net, nn.CrossEntropy(), x, t, kind=UserWarning)
    report = nn.gradcheck(net, nn.CrossEntropy(), x, t, samples=10, raise_above=1e-7)
    row(
        LAYERS,
        "`gradcheck` does not end",
        "it moves each number of the network, one by one",
        warning,
        f"here `samples=10`: {report.checked} derivatives of {report.total:,}",
    )


# Files


@pytest.mark.slow
def test_ones_own_files(row, mnist, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    for part, data, count in zip(("train", "t10k"), mnist, (900, 100), strict=True):
        nn.datasets.write_idx(own / f"{part}-images-idx3-ubyte.gz", data.images[:count])
        nn.datasets.write_idx(own / f"{part}-labels-idx1-ubyte.gz", data.labels[:count])
    error = refused(nn.datasets.mnist, own)
    after = healthy(*((data.images, data.labels) for data in nn.datasets.load_idx(own)))
    row(
        MNIST,
        "`nn.datasets.mnist(folder)` refuses your own files with MNIST's names",
        "the files are not MNIST. Here they have 900 and 100 other images",
        error,
        f"do as numnet says: accuracy {after:.2f}, softmax",
    )


def saved(path, data, shape=None, dtype=None, order=">"):
    """Write an IDX file, with another shape, type or byte order in its header if given."""
    shape = data.shape if shape is None else shape
    header = bytes([0, 0, 8 if dtype is None else dtype, len(shape)]) + np.array(shape, f"{order}u4").tobytes()
    path.write_bytes(header + data.tobytes())


def test_a_header_that_lacks_the_colours(row, tmp_path):
    path, images = tmp_path / "images-idx", np.random.default_rng(0).integers(0, 256, (219, 64, 64, 3), np.uint8)
    saved(path, images, shape=(219, 64, 64))
    row(
        FILES,
        "a file goes on after its data",
        "the header does not have the dimension of the colours",
        *read_so(path, images),
    )


def test_a_little_endian_header(row, tmp_path):
    path = tmp_path / "labels-idx"
    saved(path, TEST[1].astype(np.uint8), order="<")
    row(
        FILES,
        "a file claims to have billions of numbers",
        "the sizes in the header are in little-endian order",
        *read_so(path, TEST[1]),
    )


def read_so(path, array):
    """Return the error of read_idx, whose message has the call that reads the file, and the remedy."""
    error = refused(nn.datasets.read_idx, path)
    (call,) = re.findall(r"np\.fromfile\(.*\)(?= reads)", str(error))
    np.testing.assert_array_equal(eval(call, {"np": np, "path": path}), array)
    return error, f"`{call}`"


def test_another_format(row, tmp_path):
    path = tmp_path / "images-idx.gz"
    with path.open("wb") as file:
        np.savez(file, images=TRAIN[0])
    error = refused(nn.datasets.read_idx, path)
    np.testing.assert_array_equal(np.load(path)["images"], TRAIN[0])
    row(
        FILES,
        "`read_idx` finds no IDX file",
        "the file has the name of an IDX file, but another format",
        error,
        "do as numnet says. It knows many formats: see [If something goes wrong](faults.md)",
    )


def test_signed_bytes(row, tmp_path):
    for part, (x, t) in zip(("train", "test"), (TRAIN, TEST), strict=True):
        saved(tmp_path / f"{part}-images-idx3-ubyte", x, dtype=9)
        nn.datasets.write_idx(tmp_path / f"{part}-labels-idx1-ubyte", t.astype(np.uint8))
    with pytest.warns(nn.DataWarning) as seen:
        data = nn.datasets.load_idx(tmp_path)
    train, test = ((part.images, part.labels) for part in data)
    assert classify(train, test, 30, lr=0.05)[0] < 0.6
    after = healthy(*changed(lambda x: x.view(np.uint8), train, test), 30)
    row(
        FILES,
        "nothing is learned from images in which white is -1",
        "the header says signed bytes",
        seen[0].message,
        f"do as numnet says: accuracy {after:.2f}",
    )


def test_a_folder_that_is_not_there(row, tmp_path, monkeypatch):
    monkeypatch.setenv("NUMNET_DATA", str(tmp_path / "dta"))
    row(
        FILES,
        "`nn.datasets.mnist()` does not see the files",
        "`NUMNET_DATA` names another folder",
        refused(nn.datasets.mnist),
        "do as numnet says",
    )


# A busy machine


def test_threads_that_wait_for_one_another(row, monkeypatch):
    clock = itertools.chain.from_iterable([now, now + took] for now in range(100) for took in (0.001, 0.05))
    monkeypatch.setattr(threads.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(threads, "_TIMED", 1)
    monkeypatch.setattr(threads, "warned", False)
    with threadpoolctl.threadpool_limits(2, "blas"), pytest.warns(RuntimeWarning) as seen:
        threads.warn_if_slow(np.zeros((2, 2)), 1)
    row(
        BUSY,
        "a large network is many times slower than it was, while another program runs",
        "the threads of a product wait for one another, and one of them has no core",
        seen[0].message,
        "do as numnet says",
    )


# The text above the tables


def test_the_checks_print_what_the_page_shows(capsys):
    text = TABLE.page.read_text(encoding="utf-8")
    assert text.startswith(TABLE.about), f"{TABLE.page.name} begins otherwise: rm it, and write all rows anew"
    (code,), (shown,) = (
        re.findall(r"```python\n(.*?)```", text, re.S),
        re.findall(r":class: output\n\n(.*?)```", text, re.S),
    )
    exec(code, {})
    assert capsys.readouterr().out == shown
