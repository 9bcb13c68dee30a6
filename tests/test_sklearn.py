"""The estimators, as scikit-learn's own checks and its tools see them."""

import copy
import pickle
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import numnet as nn

pytest.importorskip("sklearn", minversion="1.4", reason="scikit-learn is not installed, or older than 1.4")

import sklearn.utils
from sklearn import config_context, datasets
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.metrics import accuracy_score, log_loss, r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.multioutput import MultiOutputClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from numnet.sklearn import NetClassifier, NetRegressor, _copies, _held_out, _is_stale

from .test_bar import Terminal

pytestmark = pytest.mark.filterwarnings("ignore::numnet.DataWarning")
X, Y = datasets.load_digits(return_X_y=True)
X = X / 16
IRIS, SPECIES = datasets.load_iris(return_X_y=True)
IRIS = (IRIS - IRIS.mean(axis=0)) / IRIS.std(axis=0)
NAMES = np.array(["setosa", "versicolor", "virginica"], dtype=object)[SPECIES]
RNG = np.random.default_rng(0)
IMAGES = (X * 255).astype(np.uint8)


def quick(**options):
    return NetClassifier(**{"hidden_layer_sizes": (16,), "max_iter": 10, "random_state": 0, **options})


def regressor(**options):
    return NetRegressor(**{"hidden_layer_sizes": (16,), "max_iter": 10, "random_state": 0, **options})


@pytest.mark.parametrize("page", ["other-tools.md", "zh/other-tools.md"])
def test_a_page_says_what_to_give_for_each_option_that_is_only_scikit_learns(page):
    text = (Path(__file__).parent.parent / "docs" / page).read_text(encoding="utf-8")
    table = text.partition("| `MLPClassifier` | `NetClassifier` |\n|---|---|\n")[2].partition("\n\n")[0]
    rows = [row.split(" | ") for row in table.splitlines()]
    theirs, ours = MLPClassifier().get_params(), NetClassifier().get_params()
    listed = [name for row in rows for name in re.findall(r"`(\w+)`", row[0])]
    assert sorted(listed) == sorted(theirs.keys() - ours.keys())
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row[1])} <= {*ours, "alpha"}


# scikit-learn's checks


def with_checks(estimators):
    """Return scikit-learn's mark with a list, since pytest 9 refuses the generator of older versions."""
    mark = parametrize_with_checks(estimators)
    names, cases = mark.args
    return pytest.mark.parametrize(names, list(cases), **mark.kwargs)


@pytest.mark.slow
@with_checks([NetClassifier(max_iter=100), NetRegressor(max_iter=100)])
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def every_way():
    ways = [(dtype, early) for dtype in (None, "float64", "float32") for early in (False, True)]
    return [kind(dtype=dtype, early_stopping=early) for kind in (NetClassifier, NetRegressor) for dtype, early in ways]


@pytest.mark.slow
@with_checks(every_way())
def test_scikit_learns_checks_of_every_dtype_with_and_without_early_stopping(estimator, check):
    check(estimator)


# Options


def test_both_estimators_have_the_same_defaults():
    ours = NetClassifier().get_params()
    assert ours.pop("class_weight") is None
    assert ours == NetRegressor().get_params()


@pytest.mark.parametrize("kind", [NetClassifier, NetRegressor])
def test_each_option_is_kept_as_it_is_given(kind):
    given = {name: object() for name in kind().get_params()}
    assert kind(**given).get_params(deep=False) == vars(kind(**given)) == given


NUMPYS = {
    "hidden_layer_sizes": (np.int16(5), 5),
    "activation": (np.str_("tanh"), "tanh"),
    "lr": (np.float32(0.25), 0.25),
    "momentum": (np.float64(0.5), 0.5),
    "nesterov": (np.False_, False),
    "weight_decay": (np.float16(0.25), 0.25),
    "clip_norm": (np.float32(0.5), 0.5),
    "class_weight": (np.str_("balanced"), "balanced"),
    "batch_size": (np.uint8(40), 40),
    "max_iter": (np.uint8(3), 3),
    "tol": (np.float32(0.5), 0.5),
    "n_iter_no_change": (np.uint8(2), 2),
    "early_stopping": (np.True_, True),
    "validation_fraction": (np.float32(0.25), 0.25),
    "warm_start": (np.True_, True),
    "random_state": (np.uint8(7), 7),
    "dtype": (np.str_("float32"), "float32"),
    "verbose": (np.True_, True),
}


@pytest.mark.parametrize("option", NUMPYS)
def test_an_option_of_numpys_type_as_a_search_over_an_array_gives_counts_as_pythons(option):
    of_numpy, of_python = NUMPYS[option]
    stopping = {"early_stopping": True} if option == "validation_fraction" else {}
    weight = np.arange(1.0, 151.0)
    for make in (quick, regressor)[: 1 if option == "class_weight" else 2]:
        models = [make(**{option: value, **stopping}) for value in (of_numpy, of_python)]
        one, other = (model.fit(IRIS, SPECIES > 1, weight) for model in models)
        assert one.loss_curve_ == other.loss_curve_
        assert one.net_.dtype == other.net_.dtype
        np.testing.assert_array_equal(one.net_.parameters, other.net_.parameters)


@pytest.mark.parametrize("sizes", [(), 5, (5,), [5, 4], np.array([5, 4, 3])])
def test_each_hidden_layer_has_as_many_outputs_as_it_is_said(sizes):
    for make, outputs, last in ((quick, 3, nn.Softmax), (regressor, 1, nn.Linear)):
        for name, kind in (("logistic", nn.Sigmoid), ("tanh", nn.Tanh), ("relu", nn.ReLU)):
            layers = make(hidden_layer_sizes=sizes, activation=name, max_iter=1).fit(IRIS, SPECIES).net_.layers
            linear, hidden = layers[::2], layers[1::2][: np.size(sizes)]
            assert [layer.inputs for layer in linear] == [4, *np.ravel(sizes)]
            assert [layer.outputs for layer in linear] == [*np.ravel(sizes), outputs]
            assert {type(layer) for layer in linear} == {nn.Linear}
            assert all(type(layer) is kind for layer in hidden)
            assert type(layers[-1]) is last


@pytest.mark.parametrize("make", [quick, regressor])
@pytest.mark.parametrize("samples", [150, 200, 201])
def test_a_batch_has_200_samples_or_all(samples, make):
    x, y = X[:samples], Y[:samples]
    one, other = make(max_iter=2).fit(x, y), make(max_iter=2, batch_size=min(samples, 200)).fit(x, y)
    np.testing.assert_array_equal(one.net_.parameters, other.net_.parameters)
    assert make().partial_fit(x, y, **({"classes": range(10)} if make is quick else {})).n_iter_ == 1


@pytest.mark.parametrize("verbose", [False, True, 0, 1])
def test_the_bar_is_shown_if_it_is_asked_for(verbose, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    quick(verbose=verbose).fit(IRIS, SPECIES).partial_fit(IRIS, SPECIES)
    assert len(re.findall(r"\r100%[^\r]*\n", sys.stderr.getvalue())) == 2 * verbose


# What is learned


def test_the_cost_and_the_outputs_are_those_that_scikit_learns_network_has_with_the_same_weights():
    for kind, y in (("multiclass", SPECIES), ("binary", SPECIES == 1), ("multilabel", np.eye(3, dtype=int)[SPECIES])):
        ours = quick(activation="tanh").fit(IRIS, y)
        theirs = MLPClassifier((16,), activation="tanh", max_iter=1, solver="sgd", random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs.fit(IRIS, y)
        linear = [layer for layer in ours.net_.layers if isinstance(layer, nn.Linear)]
        theirs.coefs_, theirs.intercepts_ = [layer.weight for layer in linear], [layer.bias for layer in linear]
        np.testing.assert_allclose(ours.predict_proba(IRIS), theirs.predict_proba(IRIS), rtol=1e-10, err_msg=kind)
        np.testing.assert_allclose(ours.predict_log_proba(IRIS), theirs.predict_log_proba(IRIS), rtol=1e-8)
        np.testing.assert_array_equal(ours.predict(IRIS), theirs.predict(IRIS))
        assert ours.predict(IRIS).dtype == theirs.predict(IRIS).dtype


def test_a_regression_gives_what_scikit_learns_network_has_with_the_same_weights():
    for y in (IRIS[:, 0], IRIS[:, :2]):
        ours, theirs = regressor(), MLPRegressor(hidden_layer_sizes=(16,), max_iter=1, solver="sgd", random_state=0)
        ours.fit(IRIS[:, 2:], y)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs.fit(IRIS[:, 2:], y)
        linear = [layer for layer in ours.net_.layers if isinstance(layer, nn.Linear)]
        theirs.coefs_, theirs.intercepts_ = [layer.weight for layer in linear], [layer.bias for layer in linear]
        np.testing.assert_allclose(ours.predict(IRIS[:, 2:]), theirs.predict(IRIS[:, 2:]), rtol=1e-10)


KINDS = {  # of targets, with the last layers and the cost
    "classes": (quick, SPECIES, 3, (nn.Softmax,), nn.CrossEntropy),
    "two classes": (quick, SPECIES // 2, 1, (nn.Sigmoid,), nn.CrossEntropy),
    "labels": (quick, np.eye(3, dtype=int)[SPECIES], 3, (nn.Sigmoid,), nn.CrossEntropy),
    "numbers": (regressor, IRIS[:, 0], 1, (), nn.Quadratic),
    "rows of numbers": (regressor, IRIS[:, :2], 2, (), nn.Quadratic),
}


@pytest.mark.parametrize("weight", [None, np.arange(1.0, 151.0)], ids=["alike", "weighted"])
@pytest.mark.parametrize("kind", KINDS)
def test_plain_training_is_that_of_a_trainer(kind, weight):
    make, y, outputs, last, cost = KINDS[kind]
    seeds = np.random.RandomState(0).randint(2**31 - 1, size=2)
    start = nn.starts.glorot
    layers = nn.Linear(4, 16, start=start), nn.ReLU(), nn.Linear(16, outputs, start=start), *(layer() for layer in last)
    net = nn.Sequential(*layers, seed=int(seeds[0]), dtype="float64")
    sgd = nn.SGD(0.03, 0.9, nesterov=True, weight_decay=1e-3, clip_norm=1.0)
    history = nn.Trainer(net, cost(), sgd, seed=int(seeds[1])).fit((IRIS, y), 10, 32, sample_weight=weight)
    options = {"batch_size": 32, "weight_decay": 1e-3, "n_iter_no_change": np.inf}
    whole, parts = make(**options).fit(IRIS, y, weight), make(**options)
    for epoch in range(10):
        assert len(getattr(parts, "loss_curve_", [])) == epoch
        classes = {"classes": np.arange(2 + (outputs > 1))} if make is quick else {}
        parts.partial_fit(IRIS, y, sample_weight=weight, **classes)
    for model in (whole, parts):
        assert model.loss_curve_ == history.train_cost
        assert model.n_iter_ == 10
        np.testing.assert_array_equal(model.net_.parameters, net.parameters)


@pytest.mark.parametrize(("method", "numbers"), [("fit", 3), ("partial_fit", 2)])
def test_a_generator_that_is_given_gives_the_seeds_of_a_new_network(method, numbers):
    one, other = np.random.RandomState(0), np.random.RandomState(0)
    model = regressor(random_state=one, max_iter=1)
    getattr(model, method)(IRIS, SPECIES)
    other.randint(2**31 - 1, size=numbers)
    model.partial_fit(IRIS, SPECIES)
    assert one.randint(2**31) == other.randint(2**31)


def test_the_digits_are_learned_as_well_as_by_scikit_learn():
    model = NetClassifier(random_state=0, max_iter=30).fit(X[:1200], Y[:1200])
    assert model.score(X[1200:], Y[1200:]) > 0.9
    assert model.score(X[1200:], Y[1200:]) == accuracy_score(Y[1200:], model.predict(X[1200:]))


def test_predicted_logarithms_are_finite_where_probabilities_are_rounded_to_0():
    for y in (SPECIES, SPECIES == 1, np.eye(3, dtype=int)[SPECIES]):
        model = quick().fit(IRIS, y)
        model.net_.parameters = model.net_.parameters * 100
        assert np.isfinite(model.predict_log_proba(IRIS * 100)).all()


@pytest.mark.parametrize("kind", ["classes", "two classes", "labels"])
def test_decisions_and_probabilities_come_from_the_inputs_of_the_last_layer(kind):
    _, y, outputs, *_ = KINDS[kind]
    model = quick().fit(IRIS, y)
    z, net = IRIS, model.net_
    for layer in net.layers[:-1]:
        z = layer.forward(z)
    found = model.decision_function(IRIS)
    np.testing.assert_allclose(found, z[:, 0] if outputs == 1 else z, rtol=1e-12)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True) if kind == "classes" else 1 / (1 + np.exp(-z))
    p = np.hstack([1 - p, p]) if outputs == 1 else p
    np.testing.assert_allclose(model.predict_proba(IRIS), p, rtol=1e-10)
    np.testing.assert_allclose(model.predict_log_proba(IRIS), np.log(p), rtol=1e-8)
    np.testing.assert_array_equal(model.predict(IRIS), p > 0.5 if kind == "labels" else p.argmax(axis=1))


@pytest.mark.parametrize(
    ("kind", "first", "last"), [("classes", 0, 2), ("two classes", 0, 1), ("labels", [0, 0, 0], [0, 0, 1])]
)
def test_of_equally_probable_classes_the_first_is_predicted_and_of_labels_none(kind, first, last):
    model = quick().fit(IRIS, KINDS[kind][1])
    model.net_.parameters = np.zeros(model.net_.parameters.size)
    assert (model.predict(IRIS) == first).all()
    model.net_.layers[-2].bias[-1] = 1e-20
    assert (model.predict(IRIS) == last).all()
    assert len(np.unique(model.predict_proba(IRIS))) == 1  # the probabilities are rounded


@pytest.mark.parametrize("kind", KINDS)
def test_many_samples_have_the_outputs_that_each_has_alone(kind):
    make, y, *_ = KINDS[kind]
    model, many = make().fit(IRIS, y), np.tile(IRIS, (60, 1))
    for ask in ("predict", *["decision_function", "predict_proba", "predict_log_proba"] * (make is quick)):
        few = getattr(model, ask)(IRIS)
        np.testing.assert_allclose(getattr(model, ask)(many), np.concatenate([few] * 60), rtol=1e-9)


def test_an_input_that_scikit_learn_does_not_check_is_named_by_its_sample():
    model, x = quick().fit(IRIS, SPECIES), np.tile(IRIS, (60, 1))
    x[7000, 2] = np.nan
    with config_context(assume_finite=True), pytest.raises(ValueError, match="feature 2 of sample 7000 is nan"):
        model.predict(x)


@pytest.mark.parametrize("dtype", [None, "float64", "float32"])
@pytest.mark.parametrize("given", [np.float64, np.float32, np.uint8])
def test_precision(dtype, given):
    for make, y in ((quick, Y), (regressor, Y.astype(float))):
        model = make(dtype=dtype, max_iter=1).fit(IMAGES if given == np.uint8 else X.astype(given), y)
        x = (IMAGES if given == np.uint8 else X.astype(given))[:5]
        natural = np.float64 if given == np.float64 else np.float32
        assert model.net_.dtype == (dtype or natural)
        out = model.predict_proba(x) if make is quick else model.predict(x)
        assert out.dtype == (np.float64 if given == np.float64 else model.net_.dtype)


@pytest.mark.parametrize("kind", [bool, np.int8, np.int64, np.uint16, np.float16, np.longdouble, object])
def test_numbers_of_other_kinds_become_float64(kind):
    x = (8 * IRIS).astype(np.int8).astype(kind)
    one, other = quick(max_iter=2).fit(x, SPECIES), quick(max_iter=2).fit(x.astype(np.float64), SPECIES)
    assert one.net_.dtype == np.float64
    np.testing.assert_array_equal(one.net_.parameters, other.net_.parameters)
    np.testing.assert_array_equal(one.predict_proba(x), other.predict_proba(x.astype(np.float64)))


# Weights


@settings(deadline=None)
@given(weight=st.lists(st.integers(0, 3), min_size=30, max_size=30), early=st.booleans(), seed=st.integers(0, 99))
def test_in_one_batch_weights_are_repeated_samples_to_the_last_bit(weight, early, seed):
    x, y = IRIS[::5], NAMES[::5]
    kept = np.array(weight) > 0
    if any((kept & (y == name)).sum() < 3 for name in set(y)):
        return
    order = np.random.default_rng(seed).permutation(30)
    model = quick(early_stopping=early, random_state=seed, dtype="float32")
    one = clone(model).fit(x[order], y[order], sample_weight=np.array(weight)[order])
    other = clone(model).fit(np.repeat(x, weight, axis=0), np.repeat(y, weight))
    np.testing.assert_array_equal(one.net_.parameters, other.net_.parameters)
    assert one.validation_scores_ == other.validation_scores_


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize(("make", "y"), [(quick, SPECIES), (regressor, IRIS[:, 0]), (regressor, IRIS[:, :2])])
def test_in_one_batch_the_order_of_the_samples_changes_no_bit(make, y, early):
    order = np.random.default_rng(0).permutation(len(y))
    model = make(batch_size=len(y), early_stopping=early, max_iter=3, dtype="float32")
    one, other = clone(model).fit(IRIS, y), clone(model).fit(IRIS[order], y[order])
    np.testing.assert_array_equal(one.net_.parameters, other.net_.parameters)


def test_the_weights_of_classes():
    y = (SPECIES == 2).astype(int)
    weights = {0: 1.0, 1: 5.0}
    one = quick(class_weight=weights).fit(IRIS, y)
    other = quick().fit(IRIS, y, sample_weight=np.where(y == 1, 5.0, 1.0))
    np.testing.assert_allclose(one.net_.parameters, other.net_.parameters, rtol=1e-9)
    for weight in (np.ones(150), np.arange(1.0, 151.0)):
        balanced = quick(class_weight="balanced").fit(IRIS, y, weight)
        other = quick().fit(IRIS, y, weight / np.where(y == 1, weight[y == 1].sum(), weight[y == 0].sum()))
        np.testing.assert_allclose(balanced.net_.parameters, other.net_.parameters, rtol=1e-9)
    for wrong in ("", "Balanced", 2.0):
        with pytest.raises(ValueError, match="class_weight"):
            quick(class_weight=wrong).fit(IRIS, y)
    with pytest.raises(ValueError, match=r"several labels: give sample_weight to fit"):
        quick(class_weight="balanced").fit(IRIS, np.eye(3, dtype=int)[SPECIES])
    quick().fit(IRIS, np.eye(3, dtype=int)[SPECIES], sample_weight=np.arange(150))


def test_samples_of_weight_0_are_no_samples():
    weight = (SPECIES > 0).astype(float)
    model = quick().fit(IRIS, SPECIES, sample_weight=weight)
    assert model.classes_.tolist() == [1, 2]
    with pytest.raises(ValueError, match="needs samples of two classes or more, got one class, 1"):
        quick().fit(IRIS, SPECIES, sample_weight=(SPECIES == 1).astype(float))


# Early stopping


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    fraction=st.floats(0.01, 0.6),
    copies=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_what_is_held_out(sizes, fraction, copies, seed):
    t = np.repeat(np.arange(len(sizes)), sizes)
    x = np.repeat(np.arange(len(t), dtype=float)[:, None], copies, axis=0)
    t = np.repeat(t, copies)
    order = np.random.default_rng(seed).permutation(len(t))
    x, t = x[order], t[order]
    spare = sum(n - 1 for n in sizes)
    wanted = max(2, np.ceil(fraction * len(t) / copies - 1e-9))
    copy_of = _copies(x, t, seed)
    assert len(set(copy_of)) == len(t) / copies
    if spare < wanted:
        with pytest.raises(ValueError, match="early_stopping needs two distinct samples for validation"):
            _held_out(copy_of, t, np.ones(len(t)), fraction)
        return
    held = _held_out(copy_of, t, np.ones(len(t)), fraction)
    assert not set(x[held].ravel()) & set(x[~held].ravel())
    assert set(t[~held]) == set(t)
    assert wanted <= held.sum() / copies <= wanted + 1


@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=6), fraction=st.floats(0.02, 0.6))
@example(sizes=[3, 3, 3], fraction=0.2)
@example(sizes=[4, 4, 4], fraction=0.2)
def test_of_each_class_the_nearest_whole_number_is_held_out(sizes, fraction):
    sizes = [*sizes, 3000]  # the many make up for what is rounded
    t = np.repeat(np.arange(len(sizes)), sizes)
    copy_of = np.random.default_rng(0).permutation(len(t))
    held = np.bincount(t[_held_out(copy_of, t, np.ones(len(t)), fraction)], minlength=len(sizes))
    for n, count in zip(sizes[:-1], held, strict=False):
        near = {min(n - 1, round(n * fraction + shift)) for shift in (-0.02, 0.02)}  # two where a half is near
        assert count in near


def test_of_classes_that_are_alike_the_first_are_held_out():
    held = _held_out(np.arange(400), np.repeat(np.arange(200), 2), np.ones(400), 0.05)
    assert np.flatnonzero(held).tolist() == [2 * i for i in range(held.sum())]


def test_copies_of_a_sample_have_its_inputs_and_its_target():
    x, t = np.array([[1.0, 2.0], [1.0, 3.0], [1.0, 2.0], [1.0, 2.0]]), np.array([0, 0, 1, 0])
    for targets in (t, t[:, None], np.stack([t, t], axis=1)):
        copy_of = _copies(x, targets, 5)
        assert copy_of[0] == copy_of[3]
        assert sorted(copy_of[:3].tolist()) == [0, 1, 2]


def test_what_is_held_out_has_the_shares_of_the_classes():
    t = np.repeat([0, 1, 2], [1000, 300, 50])
    x = np.random.default_rng(0).normal(size=(len(t), 3))
    held = [_held_out(_copies(x, t, seed), t, np.ones(len(t)), 0.1) for seed in (1, 2)]
    for one in held:
        np.testing.assert_allclose(np.bincount(t[one]), [100, 30, 5], atol=1)
    assert (held[0] != held[1]).any()


def test_early_stopping_keeps_the_best_parameters():
    none, labels = np.zeros(150, int), np.eye(3, dtype=int)[SPECIES]
    for model, x, y, strata, score in (
        (quick(early_stopping=True, max_iter=50), X, Y, Y, accuracy_score),
        (quick(early_stopping=True, max_iter=50), IRIS, labels, none, accuracy_score),
        (regressor(early_stopping=True, max_iter=50), IRIS[:, 1:], IRIS[:, 0], none, r2_score),
        (regressor(early_stopping=True, max_iter=50), IRIS[:, 2:], IRIS[:, :2], none, r2_score),
    ):
        weight = np.random.default_rng(0).uniform(0.1, 2, len(x))
        model.fit(x, y, sample_weight=weight)
        seeds = np.random.RandomState(0).randint(2**31 - 1, size=3)
        held = _held_out(_copies(x, y, seeds[2]), strata, weight, 0.1)
        best = score(y[held], model.predict(x[held]), sample_weight=weight[held])
        assert best == pytest.approx(model.best_validation_score_, abs=1e-12)
        assert model.best_validation_score_ == max(model.validation_scores_)
        assert len(model.validation_scores_) == model.n_iter_
    assert quick().fit(X, Y).validation_scores_ is None


def test_what_is_held_out_is_not_trained_on():
    model = quick(early_stopping=True, n_iter_no_change=np.inf, batch_size=64).fit(X, Y)
    seeds = np.random.RandomState(0).randint(2**31 - 1, size=3)
    held = _held_out(_copies(X, Y, seeds[2]), Y, np.ones(len(Y)), 0.1)
    trainer = quick()._trainer(copy.deepcopy(model.net_), seeds[1])
    trainer.net.initialize(int(seeds[0]))
    assert model.loss_curve_ == trainer.fit((X[~held], Y[~held]), 10, 64).train_cost


def test_early_stopping_of_tiny_data():
    x, y = IRIS[[0, 1, 50, 51, 100]], NAMES[[0, 1, 50, 51, 100]]
    model = quick(early_stopping=True).fit(x, y)
    assert model.classes_.tolist() == sorted(set(y))
    assert len(model.trainer_.history) == model.n_iter_
    with pytest.raises(ValueError, match=r"got 3 distinct samples of 3 classes, .* or early_stopping=False"):
        quick(early_stopping=True).fit(x[[0, 2, 4]], y[[0, 2, 4]])
    quick(early_stopping=False).fit(x[[0, 2, 4]], y[[0, 2, 4]])
    message = (
        "got 5 distinct samples of 3 classes, and validation_fraction=0.9: give more samples, another validation_f"
    )
    with pytest.raises(ValueError, match=message):
        quick(early_stopping=True, validation_fraction=0.9).fit(x, y)
    quick(early_stopping=True, validation_fraction=0.9).fit(IRIS, NAMES)
    quick(early_stopping=True, validation_fraction=0.3).fit(x, y)


def test_training_stops_if_nothing_is_gained():
    assert not _is_stale([1.0, 2.0], 2, 0.1)
    assert _is_stale([2.0, 1.0, 2.05], 2, 0.1)
    assert not _is_stale([2.0, 1.0, 2.25], 2, 0.125)
    assert not _is_stale([2.0] * 100, np.inf, 0.1)
    assert quick(max_iter=500, tol=0.5, n_iter_no_change=3).fit(X, Y).n_iter_ < 30


@given(
    values=st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=8),
    epochs=st.integers(1, 9) | st.just(np.inf),
    tol=st.integers(-2, 2),
)
@example(values=[0.0, 1.0, 0.0], epochs=1, tol=0)
def test_training_goes_on_as_long_as_one_of_the_last_epochs_is_better_by_tol(values, epochs, tol):
    before = values[: max(0, len(values) - min(epochs, 9))]
    gained = not before or any(value >= max(before) + tol for value in values[len(before) :])
    assert _is_stale(values, epochs, tol) is not gained


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("make", [quick, regressor])
def test_training_stops_after_the_first_epoch_in_which_nothing_is_gained(make, early):
    model = make(early_stopping=early, max_iter=300, tol=1e-2, n_iter_no_change=4, lr=0.1).fit(IRIS[::2], SPECIES[::2])
    values = model.validation_scores_ if early else [-cost for cost in model.loss_curve_]
    assert len(values) == model.n_iter_ < 300
    stale = [_is_stale(values[:n], 4, 1e-2) for n in range(1, len(values) + 1)]
    assert stale == [False] * (len(values) - 1) + [True]


def test_copies_of_a_sample_are_held_out_together_also_in_many_batches():
    x, y = np.repeat(IRIS[::25], 20, axis=0), np.repeat(SPECIES[::25], 20)
    for make in (quick, regressor):
        model = make(early_stopping=True, batch_size=8, max_iter=1).fit(x, y)
        assert model.trainer_.progress.samples == len(x) - 2 * 20


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("kind", [NetRegressor, MLPRegressor])
def test_small_targets_stop_training_too_soon_unless_they_are_standardized(kind):
    x, y = IRIS[:, 1:], IRIS[:, 0] / 1000
    model = kind(random_state=0, max_iter=100)
    assert model.fit(x, y).score(x, y) < 0
    assert model.n_iter_ < 100
    assert TransformedTargetRegressor(model, transformer=StandardScaler()).fit(x, y).score(x, y) > 0.8


# Going on


def test_warm_start_goes_on():
    model = quick(warm_start=True).fit(X, Y)
    before = model.net_.parameters.copy()
    model.set_params(max_iter=1, lr=1e-12).fit(X, Y)
    np.testing.assert_allclose(model.net_.parameters, before, atol=1e-9)
    with pytest.raises(ValueError, match=r"y has classes that the first call had not, \[11\]: give them to the first"):
        model.fit(X, np.where(Y == 3, 11, Y))
    model = quick(warm_start=True).partial_fit(X, Y, classes=[*range(10), 11])
    model.fit(X, np.where(Y == 3, 11, Y))
    model = quick().fit(X, Y)
    net = model.net_
    assert model.fit(X, Y).net_ is not net
    np.testing.assert_array_equal(model.net_.parameters, quick().fit(X, Y).net_.parameters)


@pytest.mark.parametrize("method", ["fit", "partial_fit", "predict"])
@pytest.mark.parametrize("make", [quick, regressor])
def test_a_model_goes_on_with_the_same_features(make, method):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(IRIS, columns=list("abcd"))
    model = make(warm_start=True).fit(table, SPECIES)
    ask = model.predict if method == "predict" else lambda x: getattr(model, method)(x, SPECIES)
    for other in ("dcba", "abc"):
        with pytest.raises(ValueError, match="The feature names should match those that were passed during fit"):
            ask(table[list(other)])
    ask(table)
    assert model.feature_names_in_.tolist() == list("abcd")


def test_predictions_have_the_shape_of_the_first_targets():
    for first, second in ((IRIS[:, 0], IRIS[:, :1]), (IRIS[:, :1], IRIS[:, 0])):
        model = regressor(warm_start=True).fit(IRIS, first)
        for goes_on in (model.partial_fit, model.fit):
            assert goes_on(IRIS, second).predict(IRIS).shape == first.shape


def test_partial_fit_goes_on_with_the_same_run():
    model = quick()
    for classes in (None, [], np.array([])):
        with pytest.raises(ValueError, match="classes must be passed on the first call") as raised:
            model.partial_fit(X, Y, classes)
    (option,) = re.findall(r"give (classes=.*),", str(raised.value))
    assert quick().partial_fit(X, Y, **eval(f"dict({option})", {"np": np, "y": Y})).classes_.tolist() == [*range(10)]
    for _ in range(8):
        for rows in np.array_split(np.arange(len(X)), 5):
            model.partial_fit(X[rows], Y[rows], classes=np.arange(10))
    assert model.score(X, Y) > 0.9
    assert model.n_iter_ == len(model.loss_curve_) == 40
    with pytest.raises(ValueError, match="classes must be those of the first call"):
        model.partial_fit(X, Y, classes=[1, 2])
    again = pickle.loads(pickle.dumps(model))
    for one in (model, again):
        one.partial_fit(X, Y)
    np.testing.assert_array_equal(model.net_.parameters, again.net_.parameters)
    one = regressor(early_stopping=True).partial_fit(IRIS[:, 1:], IRIS[:, 0]).partial_fit(IRIS[:, 1:], IRIS[:, 0])
    assert one.n_iter_ == 2


# What is refused


def test_bytes_and_floats_are_not_mixed_up():
    on_bytes, on_floats = quick(max_iter=3).fit(IMAGES, Y), quick(max_iter=3).fit(X, Y)
    np.testing.assert_allclose(on_bytes.predict_proba(IMAGES / 255), on_bytes.predict_proba(IMAGES), rtol=1e-5)
    for values, shown in (
        (IMAGES.astype(float), "float64 from 0 to 255"),
        (IMAGES.astype(int), "float64 from 0 to 255"),
        (-IMAGES.astype(np.float32), "float32 from -255 to -0"),
        (IMAGES / 255 - 0.5, "float64 from -0.5 to 0.5"),
        (IMAGES / 255 + 0.5, "float64 from 0.5 to 1.5"),
    ):
        message = rf"learned from bytes, .* X is {shown}: give np.asarray\(X, np.uint8\), or X / 255$"
        for ask in (on_bytes.predict, on_bytes.predict_proba, lambda x: on_bytes.partial_fit(x, Y)):
            with pytest.raises(ValueError, match=message):
                ask(values)
    on_bytes.predict(np.asarray(IMAGES.astype(float), np.uint8))
    for ask in (on_floats.predict, on_floats.predict_proba, lambda x: on_floats.partial_fit(x, Y)):
        with pytest.raises(ValueError, match=r"learned from floats, .*: give np.asarray\(X, float\), or X / 255 if"):
            ask(IMAGES)
    np.testing.assert_allclose(on_floats.predict_proba(IMAGES / 255), on_floats.predict_proba(X), atol=0.02)
    on_floats.predict(np.asarray(IMAGES, float))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "swish"}, "activation must be one of logistic, tanh, relu, got 'swish'"),
        ({"activation": ["relu"]}, r"activation must be one of logistic, tanh, relu, got \['relu'\]"),
        ({"hidden_layer_sizes": (3, 0)}, "hidden_layer_sizes: Linear: outputs must be a whole number of at least 1"),
        ({"max_iter": 0}, "max_iter must be a whole number of at least 1, got 0"),
        ({"batch_size": 0.5}, "batch_size must be a whole number of at least 1, got 0.5"),
        ({"n_iter_no_change": 0}, "n_iter_no_change must be a whole number of at least 1, got 0"),
        ({"tol": np.nan}, "tol must be a finite number, got nan"),
        ({"early_stopping": "False"}, "early_stopping must be True or False, got 'False'"),
        ({"warm_start": 1}, "warm_start must be True or False, got 1"),
        ({"validation_fraction": 1.0}, "validation_fraction must be between 0 and 1, got 1.0"),
        ({"validation_fraction": 0.0}, "validation_fraction must be between 0 and 1, got 0.0"),
        ({"validation_fraction": "0.1"}, "validation_fraction must be between 0 and 1, got '0.1'"),
        ({"lr": -1}, "SGD: lr must be a finite number above 0"),
        ({"dtype": "float16"}, "dtype must be one of"),
    ],
)
@pytest.mark.parametrize("others", [{}, {"batch_size": 40, "n_iter_no_change": 3}], ids=["alone", "with others"])
def test_options_that_cannot_be(options, others, message):
    options = {**others, **options}
    for model, classes in ((quick(**options), {"classes": [0, 1, 2]}), (regressor(**options), {})):
        with pytest.raises(ValueError, match=message):
            model.partial_fit(IRIS, SPECIES, **classes)
        with pytest.raises(ValueError, match=message):
            model.fit(IRIS, SPECIES)
        with pytest.raises(NotFittedError):
            model.predict(IRIS)


QUESTIONS = {"decision_function": quick, "predict_proba": quick, "predict_log_proba": quick, "predict": regressor}


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_model_is_asked_only_after_it_was_fitted_and_only_about_as_many_features(question):
    model = QUESTIONS[question]()
    for x in (IRIS, "no table"):
        with pytest.raises(NotFittedError):
            getattr(model, question)(x)
    model.fit(IRIS, SPECIES)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"X has 3 features, but .* is expecting 4 features as input"):
            getattr(model, question)(IRIS[:, :3])
    assert len(getattr(model, question)(IRIS)) == 150


def test_targets_that_cannot_be():
    with pytest.raises(ValueError, match="Unknown label type"):
        quick().fit(IRIS, IRIS[:, 0])
    two = np.stack([SPECIES, SPECIES[::-1]], axis=1)
    with pytest.raises(
        ValueError, match=r"multiclass-multioutput: give MultiOutputClassifier\(NetClassifier\(\)\), of"
    ):
        quick().fit(IRIS, two)
    assert MultiOutputClassifier(quick()).fit(IRIS, two).predict(IRIS).shape == (150, 2)
    model = quick().partial_fit(IRIS, SPECIES, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="y must have one class for each sample, as on the first call"):
        model.partial_fit(IRIS, np.eye(3, dtype=int)[SPECIES])
    model = quick().partial_fit(IRIS, np.eye(3, dtype=int)[SPECIES], classes=[0, 1, 2])
    with pytest.raises(ValueError, match=r"y must have 3 columns of 0 and 1, as on the first call"):
        model.partial_fit(IRIS, np.eye(4, dtype=int)[SPECIES])


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_lists_and_columns_and_names_of_classes_are_what_arrays_of_numbers_are(method):
    weight = np.arange(150) % 3
    kept = weight > 0
    classes = {"classes": sorted(set(NAMES))} if method == "partial_fit" else {}
    one = getattr(quick(batch_size=40), method)(IRIS.tolist(), NAMES.tolist(), sample_weight=weight.tolist(), **classes)
    classes = {"classes": [0, 1, 2]} if method == "partial_fit" else {}
    other = getattr(quick(batch_size=40), method)(IRIS[kept], SPECIES[kept], sample_weight=weight[kept], **classes)
    np.testing.assert_array_equal(one.net_.parameters, other.net_.parameters)
    np.testing.assert_array_equal(one.predict(IRIS), np.unique(NAMES)[other.predict(IRIS)])
    with pytest.warns(DataConversionWarning, match="A column-vector y was passed when a 1d array was expected"):
        one = getattr(quick(batch_size=40), method)(IRIS, SPECIES[:, None], **classes)
    other = getattr(quick(batch_size=40), method)(IRIS, SPECIES, **classes)
    np.testing.assert_array_equal(one.net_.parameters, other.net_.parameters)
    one = getattr(regressor(batch_size=40), method)(IRIS.tolist(), IRIS[:, :2].tolist(), weight.tolist())
    other = getattr(regressor(batch_size=40), method)(IRIS[kept], IRIS[kept, :2], weight[kept])
    np.testing.assert_array_equal(one.net_.parameters, other.net_.parameters)


def test_labels_can_have_names():
    labels, names = np.eye(3, dtype=int)[SPECIES], ["red", "blue", "green"]
    one = quick().partial_fit(IRIS, labels, classes=names).partial_fit(IRIS, labels, classes=names[::-1])
    other = quick().partial_fit(IRIS, labels, classes=[0, 1, 2]).partial_fit(IRIS, labels)
    assert one.classes_.tolist() == sorted(names)
    np.testing.assert_array_equal(one.predict(IRIS), other.predict(IRIS))
    assert set(one.predict(IRIS).ravel().tolist()) == {0, 1}


def test_sparse_inputs_are_refused_and_sparse_labels_are_taken():
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match=r"toarray\(\)"):
        quick().fit(sparse.csr_matrix(X), Y)
    labels = np.eye(3, dtype=int)[SPECIES]
    one, other = quick().fit(IRIS, sparse.csr_matrix(labels)), quick().fit(IRIS, labels)
    np.testing.assert_array_equal(one.predict(IRIS), other.predict(IRIS))


@pytest.mark.parametrize("warm_start", [False, True])
@pytest.mark.parametrize("make", [quick, regressor])
def test_a_fit_that_fails_leaves_all_as_it_was(make, warm_start):
    model = make(warm_start=warm_start).fit(IRIS, SPECIES)
    before, state, expected = vars(model).copy(), pickle.dumps(model), model.predict(IRIS)
    diverging = {"lr": lambda epoch: 0.1 if epoch == 1 else 1e200, "clip_norm": None}
    with pytest.raises(ValueError, match="diverged"):
        model.set_params(**diverging).fit(IRIS if warm_start else IRIS[:, :3], SPECIES)
    model.set_params(lr=before["lr"], clip_norm=before["clip_norm"])
    assert all(vars(model).get(name) is value for name, value in before.items())
    assert vars(model).keys() == before.keys()
    assert pickle.dumps(model) == state
    np.testing.assert_array_equal(model.predict(IRIS), expected)


@pytest.mark.parametrize("make", [quick, regressor])
def test_a_first_partial_fit_that_fails_leaves_no_network(make):
    classes = {"classes": [0, 1, 2]} if make is quick else {}
    model = make(lr=1e200, clip_norm=None, batch_size=10)
    with pytest.raises(ValueError, match="diverged"):
        model.partial_fit(IRIS, SPECIES, **classes)
    with pytest.raises(NotFittedError):
        model.predict(IRIS)
    one = model.set_params(lr=0.1).partial_fit(IRIS[:, :2], SPECIES, **classes)
    other = make(lr=0.1, clip_norm=None, batch_size=10).partial_fit(IRIS[:, :2], SPECIES, **classes)
    np.testing.assert_array_equal(one.net_.parameters, other.net_.parameters)


@pytest.mark.parametrize("make", [quick, regressor])
def test_a_first_fit_that_fails_leaves_nothing(make):
    model = make(lr=1e200, clip_norm=None)
    with pytest.raises(ValueError, match="diverged"):
        model.fit(IRIS, SPECIES)
    assert vars(model) == model.get_params()


def test_without_scikit_learn_the_error_names_the_extra():
    code = (
        "import sys; sys.modules['sklearn'] = None; import numnet; from numnet import *\n"
        "try: numnet.sklearn\nexcept ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "numnet.sklearn needs scikit-learn 1.4 or later: pip install 'numnet[sklearn]'\n"


# What people see and keep


def test_the_names_of_features_are_kept():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(IRIS, columns=list("abcd"))
    model = quick().fit(table, NAMES)
    assert model.feature_names_in_.tolist() == list("abcd")
    assert model.n_features_in_ == 4
    assert set(model.predict(table)) <= set(NAMES)


def test_a_notebook_shows_the_network():
    model = quick()
    assert "Linear(64, 16)" not in model._repr_html_()
    model.fit(X, Y)
    for shown in (model._repr_html_(), model._repr_mimebundle_()["text/html"]):
        assert model.net_._repr_html_() in shown
        assert "NetClassifier" in shown
    with config_context(display="text"):
        assert not hasattr(model, "_repr_html_")
        assert model._repr_mimebundle_().keys() == {"text/plain"}


def test_a_search_over_the_options_of_numnet():
    search = GridSearchCV(quick(), {"lr": [1e-5, 0.1], "cost": [nn.Quadratic(), nn.CrossEntropy()]}, cv=2).fit(X, Y)
    assert search.best_params_["lr"] == 0.1
    scores = cross_val_score(quick(lr=lambda epoch: 0.1 / epoch), X, Y, cv=2, scoring="neg_log_loss")
    model = quick(lr=lambda epoch: 0.1 / epoch).fit(X, Y)
    assert -log_loss(Y, model.predict_proba(X)) > scores.mean() - 1


@pytest.mark.parametrize(
    ("low", "high"), [(0, 0), (-3, -3), (-1, 1), (np.nan, 1), (1, np.inf), (np.inf, np.inf), (-np.inf, 1)]
)
def test_weights_of_classes_that_are_none_are_refused(low, high):
    message = (
        "NetClassifier: with class_weight, the weights of the samples must be finite, at least 0, and not all zero, "
        f"but they range from {low:g} to {np.maximum(low, high):g}"
    )
    for weights in ({0: low, 1: high}, {0: high, 1: low}):
        with pytest.raises(ValueError, match=f"^{message}$"):
            quick(class_weight=weights).fit(IRIS, SPECIES == 1)


@pytest.mark.parametrize("weight", [None, np.ones(150), np.full(150, 7.0)])
@pytest.mark.filterwarnings("default::numnet.DataWarning")
def test_a_training_that_is_worse_than_guessing_is_warned_of_also_with_equal_weights(weight):
    model = quick(lr=1e4, clip_norm=None, activation="tanh", batch_size=10)
    with pytest.warns(nn.DataWarning, match="and guessing by the shares of the classes has"):
        model.fit(IRIS, SPECIES, sample_weight=weight)


def test_several_labels_and_several_outputs_are_taken():
    classifier, regressor = NetClassifier(), NetRegressor()
    if hasattr(sklearn.utils, "get_tags"):
        assert sklearn.utils.get_tags(classifier).classifier_tags.multi_label
        assert sklearn.utils.get_tags(regressor).target_tags.multi_output
    assert (classifier._more_tags(), regressor._more_tags()) == ({"multilabel": True}, {"multioutput": True})


@pytest.mark.parametrize("early", [False, True])
def test_a_class_of_weight_0_is_not_learned(early):
    model = quick(class_weight={0: 1, 1: 0, 2: 1}, early_stopping=early).fit(IRIS, SPECIES)
    assert (model.predict(IRIS) != 1).all()
