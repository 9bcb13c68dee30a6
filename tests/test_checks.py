"""What is refused, in exactly these words, and what is not refused."""

import _thread
import abc
import contextlib
import functools
import inspect
import itertools
import linecache
import math
import os
import pathlib
import re
import sys
import threading
import types
import typing
import warnings
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import numnet as nn
import numnet.data
from numnet import checks

from .devices import DEVICES, place

RNG = np.random.default_rng(0)
NET = nn.Sequential(nn.Linear(4, 2), nn.Softmax(), seed=0)
ANY = nn.Sequential(nn.Tanh())
ONE = nn.Sequential(nn.Linear(1, 1))
HUGE = nn.Sequential(nn.Linear(4, 2), seed=0)
HUGE.parameters[3] = np.nan
TRAIN = nn.datasets.Dataset(np.zeros((2, 4)), np.zeros(2, int))
SOME, LABELS = np.ones((3, 4)), np.array([0, 1, 1])


class Own(np.ndarray):
    """An array of one's own kind, as those of mapped files are."""


class Three(nn.Layer):
    inputs = 3


class Pooled(nn.Layer):
    """The sum and the mean of any number of features."""

    outputs = 2

    def forward(self, x):
        return np.stack([x.sum(axis=1), x.mean(axis=1)], axis=1)


class AbstractLayer(nn.Layer, metaclass=abc.ABCMeta):
    pass


class AbstractCost(nn.Cost, metaclass=abc.ABCMeta):
    pass


def run_of(last=0, batch_size=0, samples=0, done=0, epochs=0, device="cpu"):
    """Return as much of a run as checks look at."""
    progress = types.SimpleNamespace(last=last, batch_size=batch_size, samples=samples, done=done)
    return types.SimpleNamespace(progress=progress, history=[None] * epochs, net=types.SimpleNamespace(device=device))


def fit(epochs=1, batch_size=1, callbacks=(), every=1, failure="raise", run=None, **unknown):
    checks.fit_arguments(epochs, batch_size, callbacks, every, failure, unknown, run or run_of())


def sgd(lr=0.5, momentum=0.0, nesterov=False, weight_decay=0.0, clip_norm=None):
    checks.sgd_options(lr, momentum, nesterov, weight_decay, clip_norm)


def named(name, error):
    with checks.named(name):
        raise error


def named_classes(*names):
    data = nn.datasets.Dataset(SOME, LABELS, classes=names)
    return numnet.data.Samples(NET, nn.CrossEntropy().pair(NET.layers), data, "")


LINEAR, SOFTMAX, SIGMOID, TANH = nn.Linear(2, 2), nn.Softmax(), nn.Sigmoid(), nn.Tanh()
NUMBERED = "t = list(map(np.unique(train_t).tolist().index, np.ravel(t))) with the training targets train_t"
SPREAD = "the second makes nearly equal ones of the first, and they can never reach the targets. "

try:
    np.asarray([[[1], [1, 2]]])
except ValueError as error:
    UNEVEN = str(error).rstrip(".")

REFUSED = {
    # numbers
    "a count of 0": (
        lambda: checks.whole_numbers("Who", a=3, b=0),
        "Who: b must be a whole number of at least 1, got 0",
    ),
    "a count of True": (
        lambda: checks.whole_numbers("Who", a=True),
        "Who: a must be a whole number of at least 1, got True",
    ),
    "a count of 1.0": (
        lambda: checks.whole_numbers("Who", a=1.0),
        "Who: a must be a whole number of at least 1, got 1.0",
    ),
    "a word for True": (
        lambda: checks.booleans("Who", a=np.True_, b="True"),
        "Who: b must be True or False, got 'True'",
    ),
    "a seed below 0": (
        lambda: checks.generator(-1),
        "seed must be a whole number of at least 0, or None, got -1",
    ),
    "a seed that is a word": (
        lambda: checks.generator("one"),
        "seed must be a whole number of at least 0, or None, got 'one'",
    ),
    # networks
    "no layers": (
        lambda: checks.layers([], nn.Layer),
        "Sequential needs at least one layer, Sequential(Linear(784, 10), Softmax()) say",
    ),
    "no layer": (lambda: checks.layers([LINEAR, 3], nn.Layer), "layer 1 must be a numnet Layer, got 3"),
    "a class of layers": (
        lambda: checks.layers([LINEAR, nn.Tanh], nn.Layer),
        "layer 1 must be a numnet Layer, got <class 'numnet.layers.Tanh'>: write Tanh(...)",
    ),
    "an abstract class of layers": (
        lambda: checks.layers([AbstractLayer], nn.Layer),
        f"layer 0 must be a numnet Layer, got {AbstractLayer!r}: write AbstractLayer(...)",
    ),
    "another class": (
        lambda: checks.layers([int], nn.Layer),
        "layer 0 must be a numnet Layer, got <class 'int'>",
    ),
    "a list of layers": (
        lambda: checks.layers([[LINEAR]], nn.Layer),
        "layer 0 must be a numnet Layer, got [Linear(2, 2)]: give the layers one by one, Sequential(*layers)",
    ),
    "a tuple of layers": (
        lambda: checks.layers([(LINEAR,)], nn.Layer),
        "layer 0 must be a numnet Layer, got (Linear(2, 2),): give the layers one by one, Sequential(*layers)",
    ),
    "a layer twice": (
        lambda: checks.layers([LINEAR, TANH, LINEAR], nn.Layer),
        "layer 2, Linear(2, 2), is in a network already: make a new layer for each place",
    ),
    "a layer of another network": (
        lambda: checks.layers([TANH, NET.layers[0]], nn.Layer),
        "layer 1, Linear(4, 2), is in a network already: make a new layer for each place",
    ),
    "widths that do not meet": (
        lambda: checks.widths([nn.Linear(2, 3), nn.Tanh(), nn.Linear(4, 1)]),
        "layer 0, Linear(2, 3), gives 3 features, but layer 2, Linear(4, 1), takes 4: make the two equal",
    ),
    "widths that a layer fixes without giving them": (
        lambda: checks.widths([nn.Tanh(), Three(), nn.Linear(4, 1)]),
        "layer 1, Three(3), gives 3 features, but layer 2, Linear(4, 1), takes 4: make the two equal",
    ),
    "widths that a layer gives without fixing what it takes": (
        lambda: checks.widths([nn.Linear(4, 3), Pooled(), nn.Linear(4, 1)]),
        "layer 1, Pooled(), gives 2 features, but layer 2, Linear(4, 1), takes 4: make the two equal",
    ),
    "a bias that is an array": (
        lambda: nn.Linear(2, 3, np.zeros(3)),
        "Linear: bias must be True or False, got array([0., 0., 0.]): assign values to layer.bias afterwards",
    ),
    "a layer of no inputs": (lambda: nn.Linear(0, 2), "Linear: inputs must be a whole number of at least 1, got 0"),
    "a layer of no outputs": (lambda: nn.Linear(2, 0), "Linear: outputs must be a whole number of at least 1, got 0"),
    "a start that is an array": (
        lambda: nn.Linear(2, 3, start="he"),
        "Linear: start must be a function (rng, shape) -> weights, got 'he': numnet.starts has some; assign given "
        "weights to layer.weight after the network is made",
    ),
    "a start that is 0": (
        lambda: nn.Linear(2, 3, start=0),
        "Linear: start must be a function (rng, shape) -> weights, got 0: numnet.starts has some; assign given "
        "weights to layer.weight after the network is made",
    ),
    "a start of another shape": (
        lambda: nn.Linear(2, 3, start=lambda rng, shape: rng.random((3, 2))),
        "the start of Linear(2, 3) must return finite weights of shape (2, 3), got an array of shape (3, 2) and dtype "
        "float64",
    ),
    "a bias that there is not": (
        lambda: setattr(nn.Linear(2, 3, bias=False), "bias", 1),
        "Linear(2, 3, bias=False) has no bias to assign to: make the layer with bias=True",
    ),
    "a softmax of one output": (
        lambda: nn.Sequential(nn.Linear(2, 1), nn.Softmax()),
        "layer 1, Softmax(), has one output, which is then always 1: for yes or no use Sigmoid() over one output, or "
        "Softmax() over two",
    ),
    "float16": (
        lambda: checks.network_dtype("float16"),
        "dtype must be one of float32, float64, complex128, got 'float16'",
    ),
    "no dtype": (
        lambda: checks.network_dtype("floaty"),
        "dtype must be one of float32, float64, complex128, got 'floaty'",
    ),
    "None as a dtype": (
        lambda: checks.network_dtype(None),
        "dtype must be one of float32, float64, complex128, got None",
    ),
    "no network": (
        lambda: checks.trainer_parts(None, net=(3, nn.Sequential)),
        "Trainer: net must be a Sequential, got 3",
    ),
    "a class of costs": (
        lambda: checks.trainer_parts(None, cost=(nn.Quadratic, nn.Cost)),
        "Trainer: cost must be a Cost, got <class 'numnet.costs.Quadratic'>: write Quadratic(...)",
    ),
    "a class that is no cost": (
        lambda: checks.trainer_parts(None, cost=(int, nn.Cost)),
        "Trainer: cost must be a Cost, got <class 'int'>",
    ),
    "a weight too few": (
        lambda: checks.sample_weight(np.ones(2), 3),
        "sample_weight must be one number for each of the 3 samples, of shape (3,), got float64 of shape (2,)",
    ),
    "a negative weight": (
        lambda: checks.sample_weight([1, -1, 2], 3),
        "sample_weight must be finite numbers of at least 0, and not all zero, but in float64 they range from -1 to 2",
    ),
    "an infinite weight": (
        lambda: checks.sample_weight([1, math.inf, 2], 3),
        "sample_weight must be finite numbers of at least 0, and not all zero, but in float64 they range from 1 to inf",
    ),
    "sharded without ranks": (
        lambda: checks.no_ranks(None, True),
        "Trainer: sharded is for training on several processes: give comm, such as MPI.COMM_WORLD",
    ),
    "every how many batches, without ranks": (
        lambda: checks.no_ranks(0, True),
        "Trainer: average_every is for training on several processes: give comm, such as MPI.COMM_WORLD",
    ),
    "weights that are no array": (
        lambda: checks.sample_weight({1.0}, 1),
        "sample_weight must be an array, but NumPy makes none of this set (it is no array)",
    ),
    "an abstract class of costs": (
        lambda: checks.trainer_parts(None, cost=(AbstractCost, nn.Cost)),
        f"Trainer: cost must be a Cost, got {AbstractCost!r}: write AbstractCost(...)",
    ),
    "no optimizer": (
        lambda: checks.trainer_parts(None, optimizer=(0.1, nn.SGD)),
        "Trainer: optimizer must be an SGD, got 0.1",
    ),
    "a complex network": (
        lambda: checks.trainer_parts(np.dtype("complex128")),
        "Trainer: complex networks are for gradcheck's own use; train one of float32 or float64",
    ),
    "no network for cost_and_gradient": (
        lambda: nn.cost_and_gradient([LINEAR], nn.Quadratic(), [[1.0]], [[1.0]]),
        f"cost_and_gradient: net must be a Sequential, got [{LINEAR!r}]",
    ),
    "a class of costs for cost_and_gradient": (
        lambda: nn.cost_and_gradient(ONE, nn.Quadratic, [[1.0]], [[1.0]]),
        "cost_and_gradient: cost must be a Cost, got <class 'numnet.costs.Quadratic'>: write Quadratic(...)",
    ),
    "a complex network for cost_and_gradient": (
        lambda: nn.cost_and_gradient(ONE.astype(complex), nn.Quadratic(), [[1.0]], [[1.0]]),
        "cost_and_gradient: complex networks are for gradcheck's own use; train one of float32 or float64",
    ),
    "parameters of another network": (
        lambda: checks.all_parameters(np.zeros(3), 2),
        "cost_and_gradient: parameters must be 2 real numbers, as net.parameters is, got an array of shape (3,) and "
        "dtype float64",
    ),
    "no probabilities": (
        lambda: checks.probabilities_taken_once([LINEAR, TANH], ["distribution"]),
        "CrossEntropy needs probabilities, but the last layer, Tanh(), gives other numbers: end the network in "
        "Softmax() (one class of several) or Sigmoid() (independent yes or no), or use Quadratic()",
    ),
    "probabilities of probabilities": (
        lambda: checks.probabilities_taken_once([LINEAR, nn.Sigmoid(), SOFTMAX], ["distribution"]),
        f"the network takes probabilities twice, by Sigmoid() and then Softmax(): {SPREAD}CrossEntropy needs them "
        "taken once: remove one of the two layers, or put a Linear between them",
    ),
    "probabilities of probabilities and nothing else": (
        lambda: checks.probabilities_taken_once([nn.Sigmoid(), SOFTMAX], ["distribution"]),
        f"the network takes probabilities twice, by Sigmoid() and then Softmax(): {SPREAD}CrossEntropy needs them "
        "taken once: remove one of the two layers, or put a Linear between them",
    ),
    "a value that is a list": (
        lambda: checks.cost_value(nn.Quadratic(), [1.0, 2.0]),
        "the value of Quadratic() must be one number, the mean over the batch, got [1.0, 2.0]",
    ),
    "a value for each sample": (
        lambda: checks.cost_value(nn.Quadratic(), np.ones(5)),
        "the value of Quadratic() must be one number, the mean over the batch, got an array of shape (5,): is .sum() / "
        "len(y) missing?",
    ),
    "a gradient that is a number of Python's": (
        lambda: checks.cost_gradient(nn.Quadratic(), 0.5, (5, 2)),
        "the gradient of Quadratic() must be an array of shape (5, 2), as y, got 0.5",
    ),
    "a gradient that is a number of NumPy's": (
        lambda: checks.cost_gradient(nn.Quadratic(), np.float64(0.5), (5, 2)),
        "the gradient of Quadratic() must be an array of shape (5, 2), as y, got one of shape (): leave out sums over "
        "samples and outputs, and write / len(y) for a mean",
    ),
    "a name of another library": (
        lambda: checks.attribute(NET, "summary"),
        "'Sequential' object has no attribute 'summary': write print(net)",
    ),
    # SGD
    "lr": (lambda: sgd(lr=0), "SGD: lr must be a finite number above 0, or a function of the epoch, got 0"),
    "a network for lr": (
        lambda: sgd(lr=NET),
        "SGD takes no network and no parameters: SGD(lr=0.5), and the Trainer gives it the network",
    ),
    "momentum": (lambda: sgd(momentum=1), "SGD: momentum must be from 0 to below 1, got 1"),
    "weight_decay": (lambda: sgd(weight_decay=-1), "SGD: weight_decay must be finite and at least 0, got -1"),
    "clip_norm": (lambda: sgd(clip_norm=0), "SGD: clip_norm must be a finite number above 0, or None, got 0"),
    "nesterov": (lambda: sgd(nesterov=1), "SGD: nesterov must be True or False, got 1"),
    "nesterov without momentum": (
        lambda: sgd(nesterov=True),
        "SGD: momentum must be above 0 with nesterov=True, 0.9 say, got 0.0",
    ),
    "a scheduled rate": (
        lambda: checks.scheduled_rate(-1, 3),
        "SGD: the scheduled lr of epoch 3 must be finite and at least 0, got -1",
    ),
    # inputs and targets
    "a data set of another kind": (
        lambda: checks.images_and_labels(SOME),
        "data must be a Dataset or a pair of arrays (x, t), got ndarray: give the targets, too, as a pair, (x, t)",
    ),
    "three arrays": (
        lambda: checks.images_and_labels((1, 2, 3)),
        "data must be a Dataset or a pair of arrays (x, t), got tuple of 3",
    ),
    **{
        f"something that has {name} alone": (
            lambda name=name: checks.images_and_labels(types.SimpleNamespace(**{name: SOME})),
            "data must be a Dataset or a pair of arrays (x, t), got SimpleNamespace",
        )
        for name in ("images", "labels")
    },
    "a list of three arrays": (
        lambda: checks.images_and_labels([1, 2, 3]),
        "data must be a Dataset or a pair of arrays (x, t), got list of 3",
    ),
    "an array of two rows": (
        lambda: checks.images_and_labels(SOME[:2]),
        "data must be a Dataset or a pair of arrays (x, t), got ndarray: give the targets, too, as a pair, (x, t)",
    ),
    "train and test together": (
        lambda: checks.images_and_labels((TRAIN, TRAIN)),
        "data must be one Dataset, got a pair of them: unpack it, train, test = ..., and give each",
    ),
    "words": (lambda: checks.inputs([["a"] * 4], NET), "inputs must be real numbers, got dtype <U1"),
    "the name of a file": (
        lambda: checks.inputs("photo.png", NET),
        "inputs must be an array, got 'photo.png': read the file first, as by np.asarray(Image.open(path)) or "
        "pandas.read_csv(path)",
    ),
    "a table with words": (
        lambda: checks.columns_of_numbers("inputs", [], np.array([[1, "a"]], object)),
        "inputs must be numbers, but column 1 holds 'a': make numbers of this column first (astype(float), or "
        "pandas.get_dummies for categories), or leave it out",
    ),
    "complex numbers": (
        lambda: checks.inputs(SOME + 0j, NET),
        "inputs must be real numbers, got dtype complex128",
    ),
    "samples with five of what is no colour": (
        lambda: checks.inputs(np.ones((3, 4, 5)), NET),
        "the network takes batches of shape (n, ...) with 4 features a sample, got (3, 4, 5), which is 20 a sample",
    ),
    **{
        f"{channels} channels": (
            lambda channels=channels: checks.inputs(np.ones((3, 2, 2, channels)), NET),
            "the network takes batches of shape (n, ...) with 4 features a sample, got "
            f"(3, 2, 2, {channels}), which is {4 * channels} a sample",
        )
        for channels in (2, 5)
    },
    "colours of no pixels": (
        lambda: checks.inputs(np.ones((2, 0, 5, 3)), ANY),
        "the network takes batches of shape (n, ...) with one or more features a sample, got (2, 0, 5, 3), which is 0 "
        "a sample",
    ),
    "colours of too many pixels": (
        lambda: checks.inputs(np.ones((2, 5, 5, 3)), NET),
        "the network takes batches of shape (n, ...) with 4 features a sample, got (2, 5, 5, 3), which is 75 a sample",
    ),
    "colours of too few pixels": (
        lambda: checks.inputs(np.ones((9, 1, 3)), NET),
        "the network takes batches of shape (n, ...) with 4 features a sample, got (9, 1, 3), which is 3 a sample",
    ),
    "colours of a single sample": (
        lambda: checks.inputs(np.ones((4, 3)), NET),
        "the network takes batches of shape (n, ...) with 4 features a sample, got (4, 3): for samples in columns give "
        "np.transpose(x)",
    ),
    "images for forward": (
        lambda: NET.forward(np.ones((3, 2, 2))),
        "forward takes batches of shape (n, 4), got (3, 2, 2): flatten the samples, or call net(x), which does so",
    ),
    "too few features for forward": (
        lambda: NET.forward(np.ones((3, 3))),
        "forward takes batches of shape (n, 4), got (3, 3): flatten the samples, or call net(x), which does so",
    ),
    "a vector for forward": (
        lambda: ANY.forward(np.ones(3)),
        "forward takes batches of shape (n, features), got (3,): flatten the samples, or call net(x), which does so",
    ),
    "an array of one object": (
        lambda: checks.inputs(np.array("a", object), NET),
        "inputs must be real numbers, got dtype object",
    ),
    "a data set as inputs": (
        lambda: checks.inputs(TRAIN, NET),
        "inputs: a Dataset is not an array: give its images, data.images, or its labels, data.labels",
    ),
    "masked inputs": (
        lambda: checks.inputs(np.ma.array(SOME, mask=SOME > 0), NET),
        "inputs must have no masked entries, since numnet takes every entry for a number: fill them in, "
        "inputs.filled(value), or leave out their samples, by the index "
        "~np.ma.getmaskarray(inputs).reshape(len(inputs), -1).any(axis=1)",
    ),
    "a masked weight": (
        lambda: setattr(nn.Linear(2, 1), "weight", [[1.0], [np.ma.masked]]),
        "weight must have no masked entries, since numnet takes every entry for a number: fill them in, "
        "np.ma.array(weight).filled(value)",
    ),
    "a masked weight in a tuple": (
        lambda: setattr(nn.Linear(2, 1), "weight", [(1.0,), (np.ma.masked,)]),
        "weight must have no masked entries, since numnet takes every entry for a number: fill them in, "
        "np.ma.array(weight).filled(value)",
    ),
    "a list of lists of several lengths": (
        lambda: checks.targets([[1], [1, 2]], 2, "float32"),
        "targets must be an array, but NumPy makes none of this list (its entries have different shapes, such as (1,) "
        "and (2,)): give all entries the same shape",
    ),
    "a list of lists with lists of several lengths": (
        lambda: checks.targets([[[1], [1, 2]]], 2, "float32"),
        f"targets must be an array, but NumPy makes none of this list ({UNEVEN})",
    ),
    "another number of features": (
        lambda: checks.inputs(np.ones((2, 5)), NET),
        "the network takes batches of shape (n, ...) with 4 features a sample, got (2, 5)",
    ),
    "a single sample": (
        lambda: checks.inputs(np.ones(4), NET),
        "the network takes batches of shape (n, ...) with 4 features a sample, got (4,): for a single sample give "
        "np.reshape(x, (1, -1))",
    ),
    "samples of one feature": (
        lambda: checks.inputs(np.ones(5), ONE),
        "the network takes batches of shape (n, ...) with 1 features a sample, got (5,): for samples of one feature "
        "give np.reshape(x, (-1, 1))",
    ),
    "a vector for one output": (
        lambda: checks.inputs(np.ones(5), nn.Sequential(nn.Linear(4, 1))),
        "the network takes batches of shape (n, ...) with 4 features a sample, got (5,)",
    ),
    "a vector for any width": (
        lambda: checks.inputs(np.ones(5), ANY),
        "the network takes batches of shape (n, ...) with any number of features a sample, got (5,)",
    ),
    "samples without features": (
        lambda: checks.inputs(np.ones((5, 0)), ANY),
        "the network takes batches of shape (n, ...) with one or more features a sample, got (5, 0)",
    ),
    "a number": (
        lambda: checks.inputs(5, NET),
        "the network takes batches of shape (n, ...) with 4 features a sample, got ()",
    ),
    "nan": (
        lambda: checks.finite(*[np.array([[1, 2], [3, np.nan], [np.inf, 4]])] * 2, 10),
        "inputs must be finite, but feature 1 of sample 11 is nan: fill in numbers, or keep only samples without nan "
        "and inf, those with np.isfinite(np.asarray(x, float)).reshape(len(x), -1).all(axis=1)",
    ),
    "inputs that became nan": (
        lambda: checks.finite(*[np.array([[1, 2], [np.nan, 2]])] * 2, rows=np.array([5, 3])),
        "inputs must be finite, but feature 0 of sample 3 is nan",
    ),
    "a feature that is nan in every sample": (
        lambda: checks.samples(np.array([[1, np.nan], [3, np.nan]]), LABELS[:2], np.dtype("float32")),
        "inputs must be finite, but feature 1 is nan in every sample: leave the feature out, or, if the feature was "
        "divided by a standard deviation of 0, divide by 1",
    ),
    "a feature that is nan in the first thousands of samples": (
        lambda: checks.samples(np.where(np.arange(5000) < 4999, np.nan, 1)[:, None], np.zeros(5000), np.dtype("f4")),
        "inputs must be finite, but feature 0 of sample 0 is nan: fill in numbers, or keep only samples without nan "
        "and inf, those with np.isfinite(np.asarray(x, float)).reshape(len(x), -1).all(axis=1)",
    ),
    "a single sample that is nan": (
        lambda: checks.samples(np.array([[np.nan]]), LABELS[:1], np.dtype("float32")),
        "inputs must be finite, but feature 0 of sample 0 is nan: fill in numbers, or keep only samples without nan "
        "and inf, those with np.isfinite(np.asarray(x, float)).reshape(len(x), -1).all(axis=1)",
    ),
    "what becomes infinite": (
        lambda: checks.samples(np.array([[0.0, 1e39]]), LABELS[:1], np.dtype("float32")),
        "inputs must be finite, but feature 1 of sample 0 is 1e+39, and float32 ends at 3.4e+38: standardize the "
        "inputs",
    ),
    "no samples": (
        lambda: checks.samples(SOME[:0], LABELS[:0], np.dtype("float32")),
        "one target for each sample, and at least one sample, are needed, got 0 samples and targets of shape (0,)",
    ),
    "too few targets": (
        lambda: checks.samples(SOME, LABELS[:2], np.dtype("float32")),
        "one target for each sample, and at least one sample, are needed, got 3 samples and targets of shape (2,)",
    ),
    "too few rows of targets": (
        lambda: checks.samples(SOME, np.ones((2, 5)), np.dtype("float32")),
        "one target for each sample, and at least one sample, are needed, got 3 samples and targets of shape (2, 5)",
    ),
    "one target": (
        lambda: checks.samples(SOME, np.array(3), np.dtype("float32")),
        "one target for each sample, and at least one sample, are needed, got 3 samples and targets of shape (): for a "
        "single sample give np.reshape(t, 1)",
    ),
    "labels that are floats": (
        lambda: checks.labels(np.array([0.0, 1.0]), 2),
        "targets of shape (n,) are class indices and must be integers, got dtype float64: give np.asarray(t, "
        "float).astype(int)",
    ),
    "a label that is too large": (
        lambda: checks.labels(np.array([0, 2, 3]), 2),
        "class indices must be from 0 to 1 for 2 outputs, but that of sample 1 is 2: there are 3 classes, so give the "
        "network as many outputs",
    ),
    "a label below 0": (
        lambda: checks.labels(np.array([0, 1, -1]), 2),
        "class indices must be from 0 to 1 for 2 outputs, but that of sample 2 is -1: there are 3 classes, so give the "
        "network as many outputs",
    ),
    "labels from 1": (
        lambda: checks.labels(np.array([1, 2, 1]), 2),
        "class indices must be from 0 to 1 for 2 outputs, but that of sample 1 is 2: if the classes are counted from "
        "1, give np.asarray(t) - 1",
    ),
    "labels with a gap": (
        lambda: checks.labels(np.array([0, 2, 0]), 2),
        "class indices must be from 0 to 1 for 2 outputs, but that of sample 1 is 2: number the classes from 0, "
        f"{NUMBERED}",
    ),
    "labels with a gap that do not begin with 0": (
        lambda: checks.labels(np.array([1, 3, 1]), 2),
        "class indices must be from 0 to 1 for 2 outputs, but that of sample 1 is 3: number the classes from 0, "
        f"{NUMBERED}",
    ),
    "labels that have changed": (
        lambda: checks.labels(np.array([0, 2, 0]), 2, np.array([7, 8, 9])),
        "class indices must be from 0 to 1 for 2 outputs, but that of sample 8 is 2",
    ),
    "labels that are words": (
        lambda: checks.targets(["a"], 2, "float32"),
        "targets of shape (n,) are class indices and must be integers, got dtype <U1: number the classes, "
        f"{NUMBERED}, or give nn.datasets.Dataset.from_arrays(x, t)",
    ),
    "labels that are missing": (
        lambda: checks.labels(np.array([0, np.nan]), 2),
        "targets of shape (n,) are class indices and must be integers, got dtype float64: keep only samples with a "
        "label, those with np.isfinite(np.asarray(t, float))",
    ),
    "a label that is a word among numbers": (
        lambda: checks.labels(np.array([0, 1, 1, "?"], object), 2),
        "targets of shape (n,) are class indices and must be integers, got dtype object: keep only samples with a "
        "label, those with np.array([type(label) is int for label in np.ravel(t)])",
    ),
    "numbers for labels": (
        lambda: checks.labels(np.array([0, 0.5]), 2),
        "targets of shape (n,) are class indices and must be integers, got dtype float64: for a regression end the "
        f"network in Linear(..., 1) with Quadratic(); if each number is a class, {NUMBERED}",
    ),
    "words for a single output": (
        lambda: checks.targets(["a"], 1, "float32"),
        f"targets must be real numbers, got dtype <U1: number the classes, {NUMBERED}, or give "
        "nn.datasets.Dataset.from_arrays(x, t)",
    ),
    "decimals that are strings for a single output": (
        lambda: checks.targets(["0.5", "1"], 1, "float32"),
        "targets must be real numbers, got dtype <U3: give np.asarray(t, float)",
    ),
    "missing targets among strings for a single output": (
        lambda: checks.targets(["0.5", "nan"], 1, "float32"),
        "targets must be real numbers, got dtype <U3: keep only samples with a label, those with "
        "np.isfinite(np.asarray(t, float))",
    ),
    "a target of one object": (
        lambda: checks.targets(np.array("a", object), 2, "float32"),
        "targets must be real numbers, got dtype object",
    ),
    "rows of strings": (
        lambda: checks.targets([["1", "0"]], 2, "float32"),
        "targets must be real numbers, got dtype <U1: give np.asarray(t, float)",
    ),
    "rows of words": (
        lambda: checks.targets([["a", "b"]], 2, "float32"),
        "targets must be real numbers, got dtype <U1",
    ),
    "a target of no axes": (
        lambda: checks.targets(1, 2, "float32"),
        "targets must be class indices of shape (n,) or rows of shape (n, 2) for 2 outputs, got shape (): for a single "
        "sample give np.reshape(t, 1)",
    ),
    "targets of another width": (
        lambda: checks.targets(np.ones((3, 4)), 2, "float32"),
        "targets must be class indices of shape (n,) or rows of shape (n, 2) for 2 outputs, got shape (3, 4)",
    ),
    "images as targets of one output": (
        lambda: checks.targets(np.ones((2, 3, 4)), 1, "float32"),
        "targets must be class indices of shape (n,) or rows of shape (n, 1) for 1 output, got shape (2, 3, 4)",
    ),
    "targets that become infinite": (
        lambda: checks.targets([[0, 1], [0, 1e39], [2e39, 0]], 2, "float32"),
        "targets must be finite in float32, but t[1, 1] is 1e+39",
    ),
    "no probability": (
        lambda: checks.probabilities("t", np.array([[0.5, 1.5], [-1 / 3, 0]])),
        "t must hold probabilities from 0 to 1 for the cross-entropy, but it ranges from -0.333333 to 1.5",
    ),
    "a probability below 0": (
        lambda: checks.probabilities("t", np.array([[0.5, -0.25]])),
        "t must hold probabilities from 0 to 1 for the cross-entropy, but it ranges from -0.25 to 0.5",
    ),
    "no distribution": (
        lambda: checks.distributions("t", np.array([[0.5, 0.5], [0.5, 0.25], [0.5, 0.125]])),
        "each row of t must sum to 1 for a softmax output, but row 1 sums to 0.75: give class indices, one-hot rows or "
        "probabilities, or end the network in Sigmoid() for several yes/no",
    ),
    "targets that are no distribution": (
        lambda: checks.suitable(np.array([[0.5, 0.25]]), nn.CrossEntropy().pair([LINEAR, SOFTMAX])),
        "each row of t must sum to 1 for a softmax output, but row 0 sums to 0.75: give class indices, one-hot rows or "
        "probabilities, or end the network in Sigmoid() for several yes/no",
    ),
    "outputs that are words": (
        lambda: checks.cost_outputs(np.array([["a"]])),
        "outputs must be real numbers, got dtype <U1",
    ),
    "a vector of outputs": (
        lambda: checks.cost_outputs(np.ones(3)),
        "y must have shape (n, outputs) with n and outputs at least 1, got shape (3,)",
    ),
    "no outputs": (
        lambda: checks.cost_outputs(np.ones((3, 0))),
        "y must have shape (n, outputs) with n and outputs at least 1, got shape (3, 0)",
    ),
    "an infinite output": (
        lambda: checks.cost_outputs(np.array([[1, 2], [np.inf, 3], [4, np.nan]])),
        "y must be finite, but y[1, 0] is not",
    ),
    "fewer targets than outputs": (
        lambda: checks.as_many_rows(SOME, SOME[:2]),
        "y has 3 rows and t has 2: give one target for each output row",
    ),
    "labels 1 and 2 for a single probability": (
        lambda: checks.reachable(np.array([[1.0], [2.0], [1.0]]), SIGMOID),
        "classes for a single output of Sigmoid() must be 0 and 1, but the labels are 1 and 2: give np.asarray(t) == 2",
    ),
    "labels 1 and 2 for a single tanh": (
        lambda: checks.reachable(np.array([[1.0], [2.0], [1.0]]), TANH),
        "classes for a single output of Tanh() must be -1 and 1, but the labels are 1 and 2: give 2 * "
        "(np.asarray(t) == 2) - 1",
    ),
    "labels of three classes for a single probability": (
        lambda: checks.reachable(np.array([[0.0], [2.0], [1.0]]), SIGMOID),
        "targets must be numbers that the last layer, Sigmoid(), can give, 0 to 1, but they range from 0 to 2: for 3 "
        "classes end the network in Linear(..., 3), Softmax()",
    ),
    "labels of three classes from 1 for a single probability": (
        lambda: checks.reachable(np.array([[1.0], [3.0], [2.0]]), SIGMOID),
        "targets must be numbers that the last layer, Sigmoid(), can give, 0 to 1, but they range from 1 to 3: for 3 "
        "classes end the network in Linear(..., 3), Softmax()",
    ),
    **{
        f"{len(t)} numbers that a probability cannot reach": (
            lambda t=t: checks.reachable(np.array(t)[:, None], SIGMOID),
            "targets must be numbers that the last layer, Sigmoid(), can give, 0 to 1, but they range from 0.5 to "
            f"{t[-1]}: scale the targets, or end the network in a Linear layer",
        )
        for t in ([0.5, 1.5], [0.5, 1.0, 2.5], [0.5, 1.0, 2.0, 2.25])
    },
    **{
        f"labels of three classes with a gap for a single probability, {labels}": (
            lambda labels=labels: checks.reachable(np.array(labels)[:, None], SIGMOID),
            "targets must be numbers that the last layer, Sigmoid(), can give, 0 to 1, but they range from "
            f"{min(labels):g} to {max(labels):g}: scale the targets, or end the network in a Linear layer",
        )
        for labels in ([0.0, 2.0, 3.0], [5.0, 1.0, 2.0], [0.0, 1.0, 100.0])
    },
    "labels of one class that a probability cannot reach": (
        lambda: checks.reachable(np.array([[2.0], [2.0]]), SIGMOID),
        "targets must be numbers that the last layer, Sigmoid(), can give, 0 to 1, but they range from 2 to 2: scale "
        "the targets, or end the network in a Linear layer",
    ),
    "targets out of reach of a tanh": (
        lambda: checks.reachable(np.array([[0.0, 1.25], [-3.0, 1.0]]), TANH),
        "targets must be numbers that the last layer, Tanh(), can give, -1 to 1, but they range from -3 to 1.25: scale "
        "the targets, or end the network in a Linear layer",
    ),
    "labels of three classes for a ReLU": (
        lambda: checks.reachable(np.array([[-1.0], [0.0], [1.0]]), nn.ReLU()),
        "targets must be numbers that the last layer, ReLU(), can give, 0 to inf, but they range from -1 to 1: scale "
        "the targets, or end the network in a Linear layer",
    ),
    "targets below a ReLU": (
        lambda: checks.reachable(np.array([[-1.0], [1.0]]), nn.ReLU()),
        "targets must be numbers that the last layer, ReLU(), can give, 0 to inf, but they range from -1 to 1: scale "
        "the targets, or end the network in a Linear layer",
    ),
    "a class of a number": (
        lambda: checks.has_classes(LINEAR, 1),
        "the single output of the last layer, Linear(2, 2), is a number and no class: net(x) gives the numbers",
    ),
    "a class of a tanh": (
        lambda: checks.has_classes(TANH, 1),
        "the single output of the last layer, Tanh(), is a number and no class: net(x) gives the numbers, and "
        "np.sign(net(x)) gives the classes -1 and 1",
    ),
    "an accuracy of numbers": (
        lambda: checks.wanted_classes(np.array([0.5, 2.5, 1.0]), 3, 1, LINEAR),
        "accuracy needs classes, but the single output of the last layer, Linear(2, 2), is a number: compare net(x) "
        "with the targets",
    ),
    "targets that are no classes": (
        lambda: checks.wanted_classes(SOME, 3, 4, LINEAR),
        "accuracy needs targets that are classes: indices, or rows of probabilities that sum to 1, or rows with one "
        "value for the class and another for the rest. Compare net(x) with other targets",
    ),
    "fewer classes than outputs": (
        lambda: checks.wanted_classes(LABELS[:2], 3, 2, SOFTMAX),
        "accuracy needs one target for each image, and at least one image, got 3 images and targets of shape (2,)",
    ),
    "an accuracy over nothing": (
        lambda: checks.wanted_classes(LABELS[:0], 0, 2, SOFTMAX),
        "accuracy needs one target for each image, and at least one image, got 0 images and targets of shape (0,)",
    ),
    "an accuracy over a single number": (
        lambda: checks.wanted_classes(np.array(1), 1, 2, SOFTMAX),
        "accuracy needs one target for each image, and at least one image, got 1 images and targets of shape (): for a "
        "single sample give np.reshape(t, 1)",
    ),
    "classes of other numbers": (
        lambda: checks.data_warnings(named_classes("cat", "dog"), named_classes("dog", "cat")),
        "test: the classes are not those of the training data (class 0 is 'dog', not 'cat'): number the labels alike, "
        "Dataset.from_arrays(x, t, classes=train.classes)",
    ),
    "classes of other numbers from the second on": (
        lambda: checks.data_warnings(named_classes("cat", "dog", "eel"), named_classes("cat", "eel", "dog")),
        "test: the classes are not those of the training data (class 1 is 'eel', not 'dog'): number the labels alike, "
        "Dataset.from_arrays(x, t, classes=train.classes)",
    ),
    "classes of which the last is new": (
        lambda: checks.data_warnings(named_classes("cat", "dog"), named_classes("cat", "dog", "eel")),
        "test: the classes are not those of the training data ('eel' is new): number the labels alike, "
        "Dataset.from_arrays(x, t, classes=train.classes)",
    ),
    "classes of which the last is missing": (
        lambda: checks.data_warnings(named_classes("cat", "dog", "eel"), named_classes("cat", "dog")),
        "test: the classes are not those of the training data ('eel' is missing): number the labels alike, "
        "Dataset.from_arrays(x, t, classes=train.classes)",
    ),
    "classes of which some are others": (
        lambda: checks.data_warnings(named_classes(*"abcdefgh"), named_classes(*"abijkl")),
        "test: the classes are not those of the training data ('c' is missing, 'd' is missing, 'e' is missing, 'i' is "
        "new, 'j' is new, 'k' is new): number the labels alike, Dataset.from_arrays(x, t, classes=train.classes)",
    ),
    "a target that is nan": (
        lambda: checks.targets([[1.0, np.nan]], 2, float),
        "targets must be finite in float64, but t[0, 1] is nan: keep only samples with targets, those with "
        "np.isfinite(np.asarray(t, float)).reshape(len(t), -1).all(axis=1)",
    ),
    "rows of strings with a nan": (
        lambda: checks.targets(np.array([["1", "nan"]]), 2, float),
        "targets must be real numbers, got dtype <U3: give np.asarray(t, float)",
    ),
    "a probability above 1": (
        lambda: checks.probabilities("y", np.array([0.5, 1.5])),
        "y must hold probabilities from 0 to 1 for the cross-entropy, but it ranges from 0.5 to 1.5",
    ),
    "options of SGD after one that is right": (
        lambda: sgd(clip_norm=1.0, nesterov=True),
        "SGD: momentum must be above 0 with nesterov=True, 0.9 say, got 0.0",
    ),
    "parameters for SGD": (
        lambda: sgd(np.zeros(3)),
        "SGD takes no network and no parameters: SGD(lr=0.5), and the Trainer gives it the network",
    ),
    "whose inputs": (lambda: named("test", ValueError("inputs must be finite")), "test: inputs must be finite"),
    # a run
    "nothing to finish": (
        lambda: fit(None, None),
        "fit: epochs and batch_size are needed, since no interrupted run is left to finish",
    ),
    "epochs without a batch size": (
        lambda: fit(3, None),
        "fit: batch_size is missing: give epochs and batch_size, or leave out both to finish an interrupted run",
    ),
    "a batch size without epochs": (
        lambda: fit(None, 3),
        "fit: epochs is missing: give epochs and batch_size, or leave out both to finish an interrupted run",
    ),
    "inputs and targets one by one": (
        lambda: fit(LABELS),
        "fit: epochs must be a whole number of at least 1, got an array or list: give inputs and targets as a pair, "
        "fit((x, t), epochs=..., batch_size=...)",
    ),
    "a layer with arguments that it does not have": (
        lambda: checks.no_arguments(nn.ReLU, (0.1,), {"dim": 1}),
        "ReLU() takes no arguments, got 0.1, dim",
    ),
    "a layer with one argument that it does not have": (
        lambda: nn.ReLU(0.1),
        "ReLU() takes no arguments, got 0.1",
    ),
    "a column of classes": (
        lambda: checks.targets([[1], [0]], 3, "float32"),
        "targets must be class indices of shape (n,) or rows of shape (n, 3) for 3 outputs, got shape (2, 1): for a "
        "column of class indices give np.ravel(t)",
    ),
    "one-hot rows for one output": (
        lambda: checks.targets(np.eye(2), 1, "float32"),
        "targets must be class indices of shape (n,) or rows of shape (n, 1) for 1 output, got shape (2, 2): for "
        "classes end the network in Linear(..., 2), Softmax()",
    ),
    **{
        f"training data that are not one argument, {name}": (
            lambda arguments=arguments, named=named: checks.data_in_one(nn.Trainer.fit.__wrapped__)(
                *arguments, **named
            ),
            "fit takes the training data as one argument, a Dataset or a pair of inputs and targets: "
            "fit((x, t), epochs=..., batch_size=...)",
        )
        for name, arguments, named in [
            ("in two places", (None, SOME, LABELS), {"epochs": 3}),
            ("by other names", (None,), {"x": SOME, "y": LABELS}),
        ]
    },
    **{
        f"epochs in words, of {type(words)}": (
            lambda words=words: fit(words),
            f"fit: epochs must be a whole number of at least 1, got {words!r}",
        )
        for words in ("10", np.str_("10"))
    },
    "0 epochs without a batch size": (
        lambda: fit(0, None),
        "fit: batch_size is missing: give epochs and batch_size, or leave out both to finish an interrupted run",
    ),
    "batches of 0 without epochs": (
        lambda: fit(None, 0),
        "fit: epochs is missing: give epochs and batch_size, or leave out both to finish an interrupted run",
    ),
    "0 epochs": (lambda: fit(0), "fit: epochs must be a whole number of at least 1, got 0"),
    "an argument of nobody": (lambda: fit(colour="red"), "fit has no argument 'colour'"),
    **{
        f"an argument of others, {name}": (lambda name=name: fit(**{name: 1}), f"fit has no argument {name!r}: {hint}")
        for name, hint in [
            ("validation_data", "give the data in test=(x, t)"),
            (
                "validation_split",
                "split the data before, for classes by train, test = nn.datasets.Dataset.from_arrays(x, t).split(0.1, "
                "seed=0), and give test=test",
            ),
            ("lr", "the optimizer has the option, Trainer(net, cost, SGD(lr=...))"),
            ("learning_rate", "the optimizer has the option, Trainer(net, cost, SGD(lr=...))"),
            ("n_epochs", "the argument is called epochs"),
            ("bs", "the argument is called batch_size"),
            ("y", "give inputs and targets as a pair, fit((x, t), epochs=..., batch_size=...)"),
            ("verbose", "progress=False hides the bar"),
            ("shuffle", "every epoch is shuffled, by Trainer(..., seed=...)"),
            ("patience", "give callbacks=[numnet.keep_best(patience=...)]"),
            (
                "class_weight",
                "give sample_weight=w[labels], with the class indices labels, such as train.labels of a Dataset train, "
                "and w an array of one weight for each class, such as w = 1 / np.bincount(labels)",
            ),
            ("weights", "give sample_weight=..., an array of one weight for each sample"),
        ]
    },
    "an option of others": (
        lambda: nn.SGD(learning_rate=0.5),
        "SGD has no option 'learning_rate': it is called lr, SGD(lr=...)",
    ),
    "an option of nobody": (lambda: nn.SGD(0.5, colour="red"), "SGD has no option 'colour'"),
    "data to evaluate in two places": (
        lambda: nn.Trainer.evaluate(None, SOME, LABELS),
        "evaluate takes the data as one argument, a Dataset or a pair of inputs and targets: evaluate((x, t))",
    ),
    **{
        f"inputs and targets that are not two arguments of {function.__name__}, {name}": (
            lambda function=function, data=data: function(None, None, *data),
            f"{function.__name__} takes inputs and targets as two arguments: of a Dataset give data.images, "
            "data.labels",
        )
        for function in (nn.cost_and_gradient, nn.gradcheck)
        for name, data in (("a Dataset", (TRAIN,)), ("a pair", ((SOME, LABELS),)), ("and more", (TRAIN, SOME)))
    },
    **{
        f"inputs and targets that are not two arguments of accuracy, {name}": (
            lambda data=data, named=named: NET.accuracy(*data, **named),
            "accuracy takes inputs and targets as two arguments: of a Dataset give data.images, data.labels",
        )
        for name, data, named in (
            ("a Dataset", (TRAIN,), {}),
            ("a named Dataset", (), {"images": TRAIN}),
            ("a pair", ((SOME, LABELS),), {}),
            ("and more", (TRAIN,), {"targets": LABELS}),
        )
    },
    "targets by another name": (
        lambda: NET.accuracy(SOME, t=LABELS),
        "Sequential.accuracy() got an unexpected keyword argument 't'",
    ),
    "a step at a rate below 0": (lambda: checks.step_rate(-0.5), "step: lr must be finite and at least 0, got -0.5"),
    "a step at a rate that is a function": (
        lambda: checks.step_rate(print),
        f"step: lr must be finite and at least 0, got {print!r}",
    ),
    "a column to be best by": (
        lambda: checks.keep_best_arguments("accuracy", None),
        "keep_best: by must be one of test_accuracy, test_cost, train_accuracy, train_cost, got 'accuracy'",
    ),
    "no patience": (
        lambda: checks.keep_best_arguments("test_cost", 0),
        "keep_best: patience must be a whole number of at least 1, got 0",
    ),
    "a column that is nan": (
        lambda: checks.recorded("test_accuracy", math.nan),
        "keep_best: the history has no test_accuracy: give fit test data, test=..., and if the targets are no classes, "
        'choose by the cost, keep_best("test_cost")',
    ),
    "a test cost that is nan": (
        lambda: checks.recorded("test_cost", math.nan),
        "keep_best: the history has no test_cost: give fit test data, test=...",
    ),
    "a training accuracy that is nan": (
        lambda: checks.recorded("train_accuracy", math.nan),
        "keep_best: the history has no train_accuracy: if the targets are no classes, choose by the cost, "
        'keep_best("train_cost")',
    ),
    "a new run in the middle of another": (
        lambda: fit(run=run_of(last=5, batch_size=8, samples=20, done=16, epochs=2)),
        "fit: the run is in the middle of epoch 3 of 5, with batches of 8: finish it first, by fit without epochs and "
        "batch_size",
    ),
    "a callback": (
        lambda: fit(callbacks=print),
        f"fit: callbacks must be a list of functions of the trainer, got {print!r}: write callbacks=[...]",
    ),
    "a callback that is none": (
        lambda: fit(callbacks=[print, 3]),
        f"fit: callbacks must be a list of functions of the trainer, got [{print!r}, 3]",
    ),
    "a checkpoint after no epochs": (
        lambda: fit(every="0 batches"),
        "fit: checkpoint_every must be a number of epochs, at least 1, or as in '500 batches', got '0 batches'",
    ),
    "a checkpoint after a word": (
        lambda: fit(every="often"),
        "fit: checkpoint_every must be a number of epochs, at least 1, or as in '500 batches', got 'often'",
    ),
    "a checkpoint that fails silently": (
        lambda: fit(failure="ignore"),
        "fit: checkpoint_failure must be 'raise' or 'warn', got 'ignore'",
    ),
    "other samples in the middle of an epoch": (
        lambda: checks.same_samples(run_of(samples=20, done=16).progress, 30),
        "train: the run was interrupted in an epoch over 20 samples, but here are 30",
    ),
    "forgotten weights": (
        lambda: checks.same_weights(True, False),
        "train: the run was interrupted in a fit with sample_weight: give sample_weight=... again",
    ),
    "weights that were not there": (
        lambda: checks.same_weights(False, True),
        "train: the run was interrupted in a fit without sample_weight: leave out sample_weight, and give it to the "
        "next call of fit",
    ),
    "a layer's output of another shape": (
        lambda: checks.layer_output(nn.Tanh(), np.ones((2, 1)), (2, 3)),
        "the forward of Tanh() must return an array of shape (2, 3), got one of shape (2, 1)",
    ),
    "a layer's output that is none": (
        lambda: checks.layer_output(nn.Tanh(), None, (2, 3)),
        "the forward of Tanh() must return an array of shape (2, 3), got None",
    ),
    "a cost that is nan": (
        lambda: checks.no_divergence("in epoch 3", 0.123456789, math.nan),
        "the training cost became nan in epoch 3: training has diverged. Try a smaller learning rate than 0.123457, "
        "clip the gradient with SGD(clip_norm=0.8), or standardize the inputs, and the targets of a regression",
    ),
    "a cost that is infinite": (
        lambda: checks.no_divergence("in this step", 1e30, math.inf, np.ones(3)),
        "the training cost became inf in this step: training has diverged. Try a smaller learning rate than 1e+30, "
        "clip the gradient with SGD(clip_norm=1e-31), or standardize the inputs, and the targets of a regression",
    ),
    "targets that became nan": (
        lambda: checks.suitable(np.array([[0, 1], [np.nan, 1], [1, np.nan]]), None, np.array([5, 3, 4])),
        "targets must be finite, but t[3, 0] is nan",
    ),
    "a cost that is infinite with momentum": (
        lambda: checks.no_divergence("in epoch 3", 2.0, math.inf, optimizer=nn.SGD(2.0, momentum=0.9)),
        "the training cost became inf in epoch 3: training has diverged. Try a smaller learning rate than 2, "
        "clip the gradient with SGD(clip_norm=0.005), or standardize the inputs, and the targets of a regression",
    ),
    "a decay that is too large": (
        lambda: checks.no_divergence("in epoch 3", 0.5, math.inf, optimizer=nn.SGD(0.5, weight_decay=1e38)),
        "the training cost became inf in epoch 3: weight_decay=1e+38 is too large for the learning rate 0.5. Try "
        "0.0001, far below 2",
    ),
    "a decay that is a little too large": (
        lambda: checks.no_divergence("in epoch 3", 0.5, math.inf, optimizer=nn.SGD(0.5, weight_decay=3)),
        "the training cost became inf in epoch 3: weight_decay=3 is too large for the learning rate 0.5. Try 0.0001, "
        "far below 2",
    ),
    "a decay above the rate that is not too large": (
        lambda: checks.no_divergence("in epoch 3", 0.01, math.inf, optimizer=nn.SGD(0.01, weight_decay=0.1)),
        "the training cost became inf in epoch 3: training has diverged. Try a smaller learning rate than 0.01, "
        "clip the gradient with SGD(clip_norm=1e+01), or standardize the inputs, and the targets of a regression",
    ),
    "a rate that is too large with a decay": (
        lambda: checks.no_divergence("in epoch 3", 1e30, math.inf, optimizer=nn.SGD(1e30, weight_decay=0.1)),
        "the training cost became inf in epoch 3: training has diverged. Try a smaller learning rate than 1e+30, "
        "clip the gradient with SGD(clip_norm=1e-31), or standardize the inputs, and the targets of a regression",
    ),
    "targets that are too large": (
        lambda: checks.no_divergence("in this step", 0.5, math.inf, before=(SOME, SOME * -3e30, NET)),
        "the training cost became inf in this step: the targets reach 3e+30. Scale them, np.asarray(t) / 3e+30",
    ),
    "inputs that are too large": (
        lambda: checks.no_divergence("in this step", 0.5, math.inf, before=(SOME * 1e30, SOME, NET)),
        "the training cost became inf in this step: the inputs reach 1e+30. Standardize each feature",
    ),
    "parameters that are too large": (
        lambda: checks.no_divergence("in this step", 0.5, math.nan, before=(SOME, SOME, HUGE)),
        "the training cost became nan in this step: the parameters reach nan. Start over with net.initialize(), and a "
        "smaller learning rate or other starting weights",
    ),
    "nothing that is too large": (
        lambda: checks.no_divergence("in this step", 0.5, math.nan, before=(SOME, SOME, NET)),
        "the training cost became nan in this step: training has diverged. Try a smaller learning rate than 0.5, "
        "clip the gradient with SGD(clip_norm=0.2), or standardize the inputs, and the targets of a regression",
    ),
    "a parameter that is infinite": (
        lambda: checks.no_divergence("after epoch 3", 2, 0.5, np.array([1, np.inf])),
        "a parameter became not finite after epoch 3: training has diverged. Try a smaller learning rate than 2, "
        "clip the gradient with SGD(clip_norm=0.05), or standardize the inputs, and the targets of a regression",
    ),
}
ON_DEVICES = {
    "a network that has been moved": (
        lambda: checks.same_device(run_of(device="gpu"), "cpu"),
        "fit: a callback has moved the network from 'cpu' to 'gpu': move it back before the callback ends, or move it "
        "between two calls of fit",
    ),
    "inputs on the GPU": (
        lambda: checks.inputs(place(SOME, "gpu"), NET),
        f"inputs must be on the CPU, but this {type(place(SOME, 'gpu')).__module__.partition('.')[0]}.ndarray is on a "
        "GPU: give inputs.get(), or move the network to the GPU, net.to('gpu')",
    ),
    "whose device": (lambda: named("train", nn.DeviceError("it is there")), "train: it is there"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused_and_in_which_words(what):
    call, message = REFUSED[what]
    with pytest.raises((ValueError, TypeError, AttributeError)) as raised:
        call()
    assert str(raised.value) == message
    kinds = {
        "diverged": nn.DivergenceError,
        "the training cost became": nn.DivergenceError,
        "SGD has no option": TypeError,
        "has no attribute": AttributeError,
        "has no argument": TypeError,
        "as one argument": TypeError,
        "as two arguments": TypeError,
        "no arguments": TypeError,
        "unexpected keyword": TypeError,
    }
    assert type(raised.value) is next((kinds[word] for word in kinds if word in message), ValueError)


@pytest.mark.parametrize("what", ON_DEVICES)
def test_what_is_on_another_device_is_refused(what):
    call, message = ON_DEVICES[what]
    with pytest.raises(nn.DeviceError) as raised:
        call()
    assert str(raised.value) == message


def test_a_file_that_has_changed_is_refused(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, SOME)
    before = checks.file_state(path)
    checks.unchanged([(path, before)])
    with open(path, "ab") as file:
        file.write(b"more")
    with pytest.raises(ValueError, match="the file") as raised:
        checks.unchanged([("no file", None), (path, before)])
    assert str(raised.value) == f"the file {path} is not as it was: start again with what is in the file now"
    path.unlink()
    checks.unchanged([(path, before)])


def test_a_file_that_differs_in_anything_has_another_state(tmp_path):
    path, content, time = tmp_path / "x", b"some content", 10**18 + 123_456_789
    path.write_bytes(content)
    os.utime(path, ns=(time, time))
    state, link = checks.file_state(path), tmp_path / "link"
    link.symlink_to(path)
    assert checks.file_state(link) == checks.file_state(str(path)) == state is not None
    path.write_bytes(content + b".")  # longer, at the same time
    os.utime(path, ns=(time, time))
    assert checks.file_state(path) != state != checks.file_state(link)
    path.write_bytes(content)
    os.utime(path, ns=(time, time))
    assert checks.file_state(path) == state
    for step in (-(10**9), -1, 1, 999, 10**6):  # as long, and changed soon before or after
        os.utime(path, ns=(time, time + step))
        assert (checks.file_state(path) != state) == (os.stat(path).st_mtime_ns != time)
    (tmp_path / "another").write_bytes(content)
    os.utime(tmp_path / "another", ns=(time, time))
    os.replace(tmp_path / "another", path)  # as long, and of the same time
    assert checks.file_state(path) != state
    path.unlink()
    assert checks.file_state(path) is checks.file_state(link) is None


def test_each_refusal_is_among_these():
    """Every line of checks.py that begins an error is run by the cases above, but for that of a changed file."""
    lines, ran = inspect.getsource(checks).splitlines(), set()
    raising = {i for i, line in enumerate(lines, 1) if re.match(r"\s+raise ", line)}

    def trace(frame, event, _):
        if frame.f_code.co_filename != checks.__file__:
            return None
        ran.add(frame.f_lineno)
        return trace

    before = sys.gettrace()
    for call, _message in [*REFUSED.values(), *ON_DEVICES.values()]:
        sys.settrace(trace)
        try:
            with contextlib.suppress(ValueError, TypeError, AttributeError):
                call()
        finally:
            sys.settrace(before)
    assert [lines[i - 1].strip() for i in sorted(raising - ran)] == [
        'raise ValueError(f"the file {path} is not as it was: start again with what is in the file now")'
    ]


# What is not refused


@pytest.mark.parametrize("value", [0, -1, 1.5, np.float32(2), np.int8(3), 1e308, 10**300])
def test_finite_numbers(value):
    assert checks.is_finite(value)


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, True, np.True_, "1", None, 1j, 10**400, [1], np.float64(math.nan)]
)
def test_no_finite_numbers(value):
    assert not checks.is_finite(value)


@pytest.mark.parametrize("kind", [int, np.int8, np.uint64])
def test_whole_numbers_of_any_kind(kind):
    checks.whole_numbers("Who", a=kind(1), b=kind(100))


def test_generators_are_those_of_their_seeds():
    assert checks.generator(3).random() == np.random.default_rng(3).random()
    assert checks.generator(None).random() != checks.generator(None).random()


class Between(nn.Layer):
    """A layer of one's own that says nothing of how many features it takes and gives."""


class Other(Between):
    """Another."""


@pytest.mark.parametrize(
    ("layers", "hint"),
    [
        ([nn.Linear(2, 3), Between(), Other(), nn.Linear(4, 1)], ", or, if layer 1, Between(), changes the"),
        ([nn.Linear(2, 3), nn.Tanh(), Between(), nn.Linear(4, 1)], ", or, if layer 2, Between(), changes the"),
        ([Other(), nn.Linear(2, 3), nn.Linear(4, 1), Between()], ""),
    ],
)
def test_a_layer_between_two_that_do_not_fit_may_change_the_number_of_features(layers, hint):
    with pytest.raises(ValueError, match="takes 4: make the two equal") as raised:
        checks.widths(layers)
    assert str(raised.value).partition("equal")[2].startswith(hint)
    assert bool(str(raised.value).partition("equal")[2]) == bool(hint)


@pytest.mark.parametrize("kind", [float, int, np.float64, np.float32, np.array, Fraction])
def test_the_value_of_a_cost_may_be_a_number_of_any_kind(kind):
    assert checks.cost_value(nn.Quadratic(), kind(2)) == 2


@pytest.mark.parametrize("value", [None, [], "", {}])
def test_only_what_returns_nothing_may_have_no_return(value):
    hint = ": is its return missing?" * (value is None)
    for check, arguments in ((checks.cost_value, ()), (checks.cost_gradient, ((1, 2),))):
        with pytest.raises(ValueError, match="got ") as raised:
            check(nn.Quadratic(), value, *arguments)
        assert str(raised.value).endswith(f"got {value!r}{hint}")


def test_widths_before_and_after_each_layer():
    assert checks.widths([nn.Tanh(), nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)]) == [2, 2, 3, 3, 1]
    assert checks.widths([nn.Tanh(), Three(), nn.Tanh()]) == [3, 3, 3, 3]
    assert checks.widths([nn.Tanh()]) == [None, None]


@pytest.mark.parametrize("dtype", ["float32", "f8", np.float64, np.dtype("complex128"), float])
def test_dtypes_of_networks(dtype):
    assert checks.network_dtype(dtype) == np.dtype(dtype)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, -1.0, True, "1", None, 1j])
@pytest.mark.parametrize("name", ["lr", "momentum", "weight_decay", "clip_norm"])
def test_options_beyond_their_limits(name, wrong):
    if (name, wrong) != ("clip_norm", None):
        with pytest.raises(ValueError, match=f"^SGD: {name} must be .*, got {re.escape(repr(wrong))}$"):
            sgd(**{name: wrong})


NUMBERS = {
    "inputs": lambda a: checks.inputs(a, nn.Sequential(nn.Linear(2, 1))),
    "targets": lambda a: checks.targets(a, 2, "float64"),
    "outputs": checks.cost_outputs,
    "parameters": lambda a: checks.all_parameters(a.ravel(), 4),
    "starting weights": lambda a: checks.started(a, nn.Linear(2, 2)),
    "weights of samples": lambda a: checks.sample_weight(a.ravel(), 4),
}


@pytest.mark.parametrize("what", NUMBERS)
@pytest.mark.parametrize("kind", ["?", "u1", "i8", "f2", "f4", ">f8"])
def test_real_numbers_of_any_kind_are_taken(what, kind):
    found = NUMBERS[what](np.eye(2, dtype=kind))
    np.testing.assert_array_equal(found.ravel(), [1, 0, 0, 1])


@pytest.mark.parametrize("what", NUMBERS)
@pytest.mark.parametrize("kind", ["c16", "U1", "M8[s]"])
def test_what_is_no_real_number_is_refused(what, kind):
    with pytest.raises(ValueError, match=str(np.dtype(kind)).replace("[", r"\[")):
        NUMBERS[what](np.eye(2, dtype=int).astype(kind))


@pytest.mark.parametrize("kind", ["?", "u1", "i8", "f2", "f4", ">f8"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_of_samples_may_be_any_real_numbers(kind, dtype):
    given = np.array([0, 1, 1], kind)
    for values in (given, given.tolist(), tuple(given)):
        weight = checks.sample_weight(values, 3, np.dtype(dtype))
        assert weight.dtype == dtype
        np.testing.assert_array_equal(weight, [0, 1, 1])
        assert not np.shares_memory(weight, given)


def test_a_pair_of_ones_own_kind_is_one_argument():
    class Data(typing.NamedTuple):
        x: np.ndarray
        t: np.ndarray

    for call in (NET.accuracy, functools.partial(nn.gradcheck, NET, nn.CrossEntropy())):
        with pytest.raises(TypeError, match="takes inputs and targets as two arguments"):
            call(Data(SOME, LABELS))


class Probability(nn.Layer):
    """Says that its outputs are probabilities, and not which numbers it can give."""

    probabilities = "independent"


@pytest.mark.parametrize("layer", [nn.Sigmoid(), Probability()])
def test_numbers_from_0_to_1_of_a_single_output_are_classes(layer):
    for t, classes in (
        ([0, 1], [0, 1]),
        ([0.4, 0.6], [0, 1]),
        ([0.5, 1.0], [0, 1]),
        ([-1e-7, 1 + 1e-7], [0, 1]),
        ([1, 1], [1, 1]),
        ([-0.1, 1], None),
        ([0, 1.1], None),
        ([0, 2], None),
    ):
        found = checks.target_classes(np.array(t)[:, None], layer)
        np.testing.assert_array_equal(found, classes)


def test_options_at_their_limits():
    sgd(lr=1e-300)
    sgd(lr=print, momentum=0.999, nesterov=True, weight_decay=1e300, clip_norm=1e-300)
    assert checks.scheduled_rate(0, 1) == 0
    assert type(checks.scheduled_rate(np.float32(0.5), 1)) is float


@pytest.mark.parametrize("every", [1, 500, "1", "1 epoch", "2 epochs", "1 batch", "500 batches"])
def test_arguments_of_fit(every):
    fit(np.int64(3), np.uint8(5), [print], every, "warn")
    fit(None, None, (), every, run=run_of(last=3, batch_size=8, samples=20, done=8))
    fit(None, None, run=run_of(last=3, batch_size=8, samples=20))
    fit(3, 4, run=run_of(last=3, batch_size=8, samples=20))


@pytest.mark.parametrize(
    ("t", "outputs", "layer", "classes"),
    [
        ([2, 0, 1], 3, nn.Softmax(), [2, 0, 1]),
        ([1, 0, 1], 1, nn.Sigmoid(), [1, 0, 1]),
        ([[1], [0]], 1, nn.Sigmoid(), [1, 0]),
        ([-1, 1, -1], 1, nn.Tanh(), [0, 1, 0]),
        (np.eye(3)[[2, 0]], 3, nn.Linear(1, 3), [2, 0]),
    ],
)
def test_classes_that_an_accuracy_is_of(t, outputs, layer, classes):
    np.testing.assert_array_equal(checks.wanted_classes(np.array(t), len(t), outputs, layer), classes)


@pytest.mark.parametrize(
    "every", [0, -1, 1.5, True, None, "", "0", "0 batches", "-1", "1.5", "batches", "5 apples", "epochs 1", "1 2"]
)
def test_what_is_no_number_of_epochs_or_batches(every):
    with pytest.raises(ValueError, match=f"checkpoint_every must be .*, got {re.escape(repr(every))}$"):
        fit(every=every)


@pytest.mark.parametrize(
    ("t", "classes"),
    [
        ([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], [0, 2]),
        ([[0.01, 0.99, 0.01], [0.99, 0.01, 0.01]], [1, 0]),
        ([[0.7, 0.2, 0.2], [0.1, 0.1, 0.8]], None),
        ([[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]], None),
        ([[0.9, 0.3, 0.2], [0.1, 0.9, 0.2]], None),
    ],
)
def test_rows_that_are_distributions_or_have_one_value_once_are_classes(t, classes):
    np.testing.assert_array_equal(checks.target_classes(np.array(t), nn.Sigmoid()), classes)


@pytest.mark.parametrize(
    ("t", "layer", "alike"),
    [
        ([[1, 0], [0, 1]], nn.Linear(1, 2), True),
        ([[1, 0]], nn.Linear(1, 2), False),  # two numbers of any size
        ([[1, 0]], nn.Softmax(), True),
    ],
)
def test_a_single_row_of_a_layer_without_bounds_is_no_class(t, layer, alike):
    assert checks._one_of_two_values(np.array(t), layer) is alike


def test_how_far_a_layer_reaches():
    class Other(nn.Sigmoid):
        def forward(self, x, out=None):
            return 5 * super().forward(x, out)

    class Renamed(nn.Sigmoid):
        pass

    class Said(nn.Sigmoid):
        range = -1, 3

    class Both(Said):
        range = -2, 2
        forward = Other.forward

    assert checks.reach(nn.Sigmoid()) == checks.reach(Renamed()) == (0, 1)
    assert checks.reach(Said()) == (-1, 3)
    assert checks.reach(Both()) == (-2, 2)
    assert checks.reach(Other()) == checks.reach(nn.Linear(1, 1)) == (-np.inf, np.inf)


def test_numbers_of_a_tanh_are_classes_if_all_are_at_its_ends():
    np.testing.assert_array_equal(checks.target_classes(np.array([[-1.0], [1.0]]), nn.Tanh()), [0, 1])
    assert checks.target_classes(np.array([[-1.0], [0.5]]), nn.Tanh()) is None


@pytest.mark.parametrize("weight", [np.ones((3, 1)), np.ones((3, 2)), np.ones((1, 3)), np.ones(2), np.ones(())])
def test_weights_that_are_not_one_for_each_sample_are_refused(weight):
    with pytest.raises(ValueError, match=re.escape(f"of shape (3,), got float64 of shape {weight.shape}")):
        checks.sample_weight(weight, 3)


def test_inputs_and_targets_as_two_arguments_may_be_tuples():
    net, x, t = nn.Sequential(nn.Linear(2, 1), seed=0), ((1.0, 2.0),), ((0.5,),)
    expected = nn.gradcheck(net, nn.Quadratic(), list(x), list(t))
    assert nn.gradcheck(net, nn.Quadratic(), x, t) == nn.gradcheck(net, nn.Quadratic(), x, t=t) == expected
    with pytest.raises(TypeError, match="gradcheck takes inputs and targets as two arguments"):
        nn.gradcheck(net, nn.Quadratic(), (x, t))


@pytest.mark.parametrize("path", ["x.npy", pathlib.Path("x.npy")])
def test_a_path_is_no_array(path):
    with pytest.raises(ValueError, match=rf"^x must be an array, got {re.escape(repr(path))}: read the file first"):
        checks.array("x", path)


def test_rows_that_sum_to_1_are_no_distribution_beyond_0_to_1():
    with pytest.raises(ValueError, match=r"t must hold probabilities from 0 to 1 .* ranges from -0\.5 to 1\.5"):
        checks.distributions("t", np.array([[1.5, -0.5], [0.5, 0.5]]))


def test_complex_targets_are_for_complex_networks():
    np.testing.assert_array_equal(checks.targets([[1j, 2]], 2, complex), [[1j, 2]])
    with pytest.raises(ValueError, match="targets must be real numbers, got dtype complex128"):
        checks.targets([[1j, 2]], 2, float)


def test_only_lists_and_tuples_have_entries_of_several_shapes():
    assert checks._shapes([1, [2, 3]]) == [(), (2,)]
    assert checks._shapes(np.ones((2, 3))) == checks._shapes({1: 2}) == []


def test_a_bias_may_be_a_bool_of_numpys():
    assert nn.Linear(2, 3, bias=np.False_).bias is None
    assert nn.Linear(2, 3, bias=np.True_).bias is not None


def test_an_epoch_that_has_not_begun_may_be_over_other_samples():
    checks.same_samples(run_of(samples=20).progress, 30)
    checks.same_samples(run_of(samples=20).progress, 20, goes_on=True)
    checks.same_samples(run_of(samples=20, done=8).progress, 20)
    for layer, outputs in ((nn.Sigmoid(), 1), (nn.Sigmoid(), 2), (nn.Tanh(), 2), (nn.Linear(1, 2), 2)):
        checks.has_classes(layer, outputs)
    checks.same_weights(None, True)
    checks.same_weights(None, False)
    for then, now in ((None, None), (None, 2), (2, None), (1, 1), (2, 2)):
        checks.same_threads("run.npz", then, now)  # a warning is an error in all tests
    checks.same_device(run_of(), "cpu")
    checks.no_divergence("", 1.0, 1e308, np.ones(3))
    checks.no_divergence("", 1.0, -1.0)


@given(
    values=hnp.arrays(
        st.sampled_from(["float32", "float64", "complex128"]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=4),
        elements={"allow_nan": False, "allow_infinity": False},
    )
)
def test_every_finite_number_is_finite(values):
    with np.errstate(all="ignore"):
        checks.finite(values, values, 0)


@example(rows=0, widths=[10**9])
@given(
    rows=st.integers(0, 10**5),
    widths=st.lists(st.none() | st.integers(1, 10**5) | st.integers(10**6, 10**9), min_size=1, max_size=4),
)
def test_parts_are_all_rows_in_order_and_not_too_many_at_a_time(rows, widths):
    rows = min(rows, 300) if max(width or 0 for width in widths) > 10**5 else rows
    parts = checks.parts(rows, *widths)
    lengths = [len(range(rows)[part]) for part in parts]
    assert [part.start for part in parts] == [sum(lengths[:i]) for i in range(len(parts))]
    assert sum(lengths) == rows
    assert len(parts) >= 1
    widest = max(1024, *(width or 0 for width in widths))
    assert max(lengths) * widest <= max(4096 * 1024, widest)
    assert (len(parts) - 1) * (4096 * 1024 - widest) <= rows * widest  # and not too few


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@given(data=st.data())
def test_one_number_that_is_not_finite_is_found_anywhere(wrong, data):
    n, features = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 4))
    row, feature = data.draw(st.integers(0, n - 1)), data.draw(st.integers(0, features - 1))
    x = np.full((n, features), 1e20, data.draw(st.sampled_from(["float32", "float64", ">f8"])))
    x[row, feature] = wrong
    with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
        patch.setattr(checks, "CHUNK", data.draw(st.integers(1, 9)))
        with pytest.raises(ValueError, match=f"but feature {feature} of sample {row} is {wrong}: fill in"):
            checks.samples(x, np.zeros(n, int), np.dtype("float32"))


@pytest.mark.parametrize(
    ("x", "net", "shape"),
    [
        (np.ones((3, 2, 2)), NET, (3, 4)),
        (np.ones((0, 4), np.uint8), NET, (0, 4)),
        ([[1, 2, 3, 4]], NET, (1, 4)),
        (np.ones((3, 4), bool), NET, (3, 4)),
        (np.ones((3, 7)), ANY, (3, 7)),
        (np.ones((3, 2, 5)), ANY, (3, 10)),
        (np.ones((3, 4), complex), nn.Sequential(nn.Linear(4, 1), dtype="complex128"), (3, 4)),
        (np.ones((5, 1)), ONE, (5, 1)),
        (np.ones((5, 7)), nn.Sequential(Pooled()), (5, 7)),
        (np.ma.array(np.ones((3, 4))), NET, (3, 4)),
        (np.ones((3, 4), np.uint8).view(Own), NET, (3, 4)),
    ],
)
def test_inputs_are_taken_in_any_shape(x, net, shape):
    found = checks.inputs(x, net)
    assert type(found) is np.ndarray
    assert found.shape == shape
    np.testing.assert_array_equal(found, np.asarray(x).reshape(shape))
    assert found.dtype == np.asarray(x).dtype
    if type(x) is np.ndarray and x.ndim == 2:
        assert found is x


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_a_matrix_is_an_array():
    x = np.asmatrix(np.ones((3, 4)))
    assert type(checks.inputs(x, NET)) is np.ndarray
    trainers = [nn.Trainer(nn.Sequential(nn.Linear(4, 2), seed=0), nn.Quadratic(), nn.SGD(0.1), seed=0) for _ in "ab"]
    for trainer, data in zip(trainers, (x, np.asarray(x)), strict=True):
        trainer.fit((data, LABELS), 2, 2)
    np.testing.assert_array_equal(*(trainer.net.parameters for trainer in trainers))


@pytest.mark.parametrize("kind", ["u1", ">i2", "i8", "u8"])
def test_labels_are_returned_as_they_are(kind):
    for t in (np.array([0, 2, 1], kind), np.array([], kind)):
        assert checks.labels(t, 3) is t


def test_images_and_labels_of_a_data_set_and_of_a_pair():
    for data in (TRAIN, (TRAIN.images, TRAIN.labels), [TRAIN.images, TRAIN.labels]):
        images, labels = checks.images_and_labels(data)
        assert images is TRAIN.images
        assert labels is TRAIN.labels


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[0.5, 0.5]], True),
        ([[1.0, 0.0], [0.25, 0.75]], True),
        ([[0.5, 0.5 + 9e-6]], True),
        ([[0.5, 0.5 - 9e-6]], True),
        ([[0.5, 0.5 + 2e-5]], False),
        ([[0.5, 0.5 - 2e-5]], False),
        ([[1.5, -0.5]], False),
        ([[0.5, 0.5], [1.0, 1.0]], False),
        ([[0.0, 0.0]], False),
    ],
)
def test_what_is_a_distribution(rows, expected):
    assert checks.is_distribution(np.array(rows)) is expected


def test_outputs_become_floats():
    for kind, expected in (("f4", "f4"), ("f8", "f8"), ("i4", "f8"), ("u1", "f8"), ("?", "f8")):
        assert checks.cost_outputs(np.ones((2, 1), kind)).dtype == expected


def test_errors_of_another_kind_have_no_name_put_before_them():
    with pytest.raises(TypeError, match=r"^the error's own$"):
        named("train", TypeError("the error's own"))


# What most often is a mistake

(IMAGES, CLASSES), (TESTS, TEST_CLASSES) = ((data.images, data.labels) for data in nn.datasets.digits())
TABLE, TEST_TABLE = (images.reshape(-1, 64) * (100 / 255) - np.arange(64) * 10 for images in (IMAGES, TESTS))
MEAN, STD = TABLE.mean(axis=0), TABLE.std(axis=0) + 1e-9
KNOWN, ORDER = CLASSES < 8, np.random.default_rng(0).permutation(len(CLASSES) + len(TEST_CLASSES))
ALL, ALL_CLASSES = (np.concatenate(pair)[ORDER] for pair in ((IMAGES, TESTS), (CLASSES, TEST_CLASSES)))
FAR = "far beyond the size of about 1 that suits a network"
GUESS = "and guessing by the shares of the classes has 2.301"


def both(change):
    """Return training and test data whose images are changed in the same way."""
    return (change(IMAGES), CLASSES), (change(TESTS), TEST_CLASSES)


WARNED = {  # the data, options, the warning, and what the warning advises, with which the network learns more
    "floats from 0 to 255": (
        both(lambda x: x.astype(float)),
        {},
        f"train: the inputs range from 0 to 255, {FAR}: give pixels from 0 to 255 as bytes, np.asarray(x, np.uint8), "
        "or divide them by 255",
        (both(lambda x: x.astype(float).astype(np.uint8)), {}),
    ),
    "integers from 0 to 255": (
        both(lambda x: x.astype(np.int64)),
        {},
        f"train: the inputs range from 0 to 255, {FAR}: give pixels from 0 to 255 as bytes, np.asarray(x, np.uint8), "
        "or divide them by 255",
        (both(lambda x: x.astype(np.int64) / 255), {}),
    ),
    "a raw table": (
        ((TABLE, CLASSES), (TEST_TABLE, TEST_CLASSES)),
        {},
        f"train: the inputs range from -630 to 80, {FAR}: standardize each feature, (x - mean) / np.where(std > 1e-6 * "
        "abs(mean), std, 1), with x = np.asarray(x, float), mean = x.mean(axis=0), std = x.std(axis=0), and for test "
        "data with the mean and std of the training data",
        ((((TABLE - MEAN) / STD, CLASSES), ((TEST_TABLE - MEAN) / STD, TEST_CLASSES)), {}),
    ),
    "bytes of 0 and 1": (
        both(lambda x: (x > 127).astype(np.uint8)),
        {},
        "train: the inputs are bytes, which numnet takes as intensities from 0 to 255, but the largest is 1: give "
        "np.asarray(x, np.float32), or, if x was divided by 255 and then made bytes, x as it was before",
        (both(lambda x: (x > 127).astype(np.uint8).astype(np.float32)), {}),
    ),
    "bytes from 0 to 15": (
        both(lambda x: x // 16),
        {},
        "train: the inputs are bytes, which numnet takes as intensities from 0 to 255, but the largest is 15: give "
        "x / 15",
        (both(lambda x: x // 16 / 15), {}),
    ),
    "inverted bytes to be tested": (
        ((IMAGES, CLASSES), (255 - TESTS, TEST_CLASSES)),
        {},
        "test: the images look inverted to those of the training data, as black on white to white on black: give 255 - "
        "images, or each image as nn.datasets.as_mnist(image)",
        (((IMAGES, CLASSES), (255 - (255 - TESTS), TEST_CLASSES)), {}),
    ),
    "inverted intensities to be tested": (
        ((IMAGES, CLASSES), (1 - TESTS / 255, TEST_CLASSES)),
        {},
        "test: the images look inverted to those of the training data, as black on white to white on black: give 1 - "
        "images, or each image as nn.datasets.as_mnist(image)",
        (((IMAGES, CLASSES), (1 - (1 - TESTS / 255), TEST_CLASSES)), {}),
    ),
    "test data of another range": (
        ((IMAGES / 16, CLASSES), (TESTS, TEST_CLASSES)),
        {"lr": 0.1},
        "test: the inputs are of another kind or range (uint8 from 0 to 1 once scaled, of mean size 0.482) than those "
        "of the training data (float64 from 0 to 15.94, of mean size 7.7): prepare both in the same way, digits by "
        "nn.datasets.as_mnist(image)",
        (both(lambda x: x / 16), {"lr": 0.1}),
    ),
    "test data that are not scaled": (
        ((IMAGES / 255, CLASSES), (TESTS.astype(np.float32), TEST_CLASSES)),
        {},
        "test: the inputs are of another kind or range (float32 from 0 to 255, of mean size 123) than those of the "
        "training data (float64 from 0 to 1, of mean size 0.483): prepare both in the same way, digits by "
        "nn.datasets.as_mnist(image)",
        (both(lambda x: x / 255), {}),
    ),
    "test integers that are not scaled": (
        ((IMAGES, CLASSES), (TESTS.astype(int), TEST_CLASSES)),
        {},
        "test: the inputs are of another kind or range (int64 from 0 to 255, of mean size 123) than those of the "
        "training data (uint8 from 0 to 1 once scaled, of mean size 0.483): prepare both in the same way, digits by "
        "nn.datasets.as_mnist(image)",
        (both(lambda x: x), {}),
    ),
    "classes that are in the test only": (
        ((IMAGES[KNOWN], CLASSES[KNOWN]), (TESTS, TEST_CLASSES)),
        {},
        "test: there is no sample of class 8, 9 in the training data: shuffle before you split, or split by train, "
        "test = data.split(0.2, seed=0)",
        (((ALL[360:], ALL_CLASSES[360:]), (ALL[:360], ALL_CLASSES[:360])), {}),
    ),
    "one class only": (
        ((IMAGES, 0 * CLASSES + 3), None),
        {},
        "train: all targets are of class 3, so there is nothing to tell apart: check the labels",
        None,
    ),
    "one class only, of yes or no": (
        ((IMAGES, np.ones(len(IMAGES))), None),
        {"outputs": 1, "last": nn.Sigmoid},
        "train: all targets are of class 1, so there is nothing to tell apart: check the labels",
        None,
    ),
    "a bright ground": (
        both(lambda x: 255 - x),
        {"lr": 1, "hidden": None},
        f"train: the first epoch ends with a cost of …, {GUESS}. The ground of the images is bright: invert them, so "
        "that the ground is 0. Try a smaller learning rate than 1, or standardize the inputs",
        (both(lambda x: 255 - (255 - x)), {"lr": 1, "hidden": None}),
    ),
    "a bright ground and a hidden layer, bytes": (
        both(lambda x: 255 - x),
        {},
        "train: the ground of the images is bright, and hidden layers learn badly from many large inputs: give 255 - "
        "images, and test images alike",
        (both(lambda x: 255 - (255 - x)), {}),
    ),
    "a bright ground and a hidden layer, intensities": (
        both(lambda x: (255 - x) / 102),
        {},
        "train: the ground of the images is bright, and hidden layers learn badly from many large inputs: give 2.5 - "
        "images, and test images alike",
        (both(lambda x: 2.5 - (255 - x) / 102), {}),
    ),
    "a learning rate that is too large": (
        both(lambda x: x),
        {"lr": 50},
        f"train: the first epoch ends with a cost of …, {GUESS}. Try a smaller learning rate than 50, or standardize "
        "the inputs",
        (both(lambda x: x), {"lr": 1}),
    ),
}
AFTER_THE_FIRST_EPOCH = [what for what in WARNED if "first epoch" in WARNED[what][2]]


def network_for(data, outputs=10, last=nn.Softmax, lr=0.5, hidden=16, device="cpu"):
    features = math.prod(np.shape(data[0])[1:])
    layers = [nn.Linear(features, hidden), nn.Sigmoid()] if hidden else []
    net = nn.Sequential(*layers, nn.Linear(hidden or features, outputs), last(), seed=0, device=device)
    return nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr), seed=0)


def learnt(data, options, epochs=8):
    """Return the accuracy on the test data, and the warnings of a fit."""
    (train, test), trainer = data, network_for(data[0], **options)
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        history = trainer.fit(train, epochs, 64, test)
    assert {warning.category for warning in given} <= {nn.DataWarning}
    return history.test_accuracy[-1], given


@pytest.mark.parametrize("what", WARNED)
def test_what_is_warned_of_in_which_words_and_what_helps(what):
    data, options, message, remedy = WARNED[what]
    before, given = learnt(data, options)
    (warning,) = given  # one of its kind in all epochs
    assert re.sub(r"a cost of [\d.e+]+,", "a cost of …,", str(warning.message)) == message
    assert warning.filename == __file__
    assert linecache.getline(__file__, warning.lineno).strip() == "history = trainer.fit(train, epochs, 64, test)"
    if remedy:
        after, given = learnt(*remedy)
        assert not given
        assert after > before + 0.01


@pytest.mark.parametrize("what", WARNED)
def test_a_warning_that_is_an_error_comes_before_anything_is_changed(what, tmp_path):
    (train, test), options, message, _ = WARNED[what]
    trainer, whole = network_for(train, **options), network_for(train, **options)
    before, state = trainer.net.parameters.copy(), trainer.rng.bit_generator.state
    with warnings.catch_warnings():
        warnings.simplefilter("error", nn.DataWarning)
        with pytest.raises(nn.DataWarning, match=re.escape(message[:30])):
            trainer.fit(train, 2, 64, test, checkpoint=tmp_path / "run.npz")
    if what in AFTER_THE_FIRST_EPOCH:  # which is done then, as if a callback had raised the error
        assert len(trainer.history) == 1
        assert (tmp_path / "run.npz").exists()
        trainer.fit(train, test=test)
    else:
        np.testing.assert_array_equal(trainer.net.parameters, before)
        assert trainer.rng.bit_generator.state == state
        assert len(trainer.history) == trainer.progress.last == 0
        assert not list(tmp_path.iterdir())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", nn.DataWarning)
        if what not in AFTER_THE_FIRST_EPOCH:
            trainer.fit(train, 2, 64, test)
        whole.fit(train, 2, 64, test)
    np.testing.assert_array_equal(trainer.net.parameters, whole.net.parameters)


@pytest.mark.parametrize("what", WARNED)
def test_a_gpu_warns_of_the_same(what):
    (train, test), options, message, _ = WARNED[what]
    trainer = network_for(train, device="gpu", **options)
    with pytest.warns(nn.DataWarning) as given:
        trainer.fit(train, 1, 64, test)
    (warning,) = given
    assert re.sub(r"a cost of [\d.e+]+,", "a cost of …,", str(warning.message)) == message


def test_several_mistakes_have_a_warning_each_and_each_fit_has_its_own():
    data = (IMAGES[KNOWN].astype(float), CLASSES[KNOWN]), (TESTS.astype(float), TEST_CLASSES)
    trainer = network_for(data[0])
    for _ in range(2):
        with warnings.catch_warnings(record=True) as given:
            warnings.simplefilter("always", nn.DataWarning)
            trainer.fit(data[0], 3, 64, data[1])
        assert [str(warning.message).partition(",")[0] for warning in given] == [
            "train: the inputs range from 0 to 255",
            "test: there is no sample of class 8",
        ]


def test_a_last_layer_with_weights_is_one_of_several_layers():
    net = nn.Sequential(nn.Linear(784, 4), nn.Sigmoid(), nn.Linear(4, 1), seed=0)
    with pytest.warns(nn.DataWarning, match="the ground of the images is bright, and hidden layers learn badly"):
        nn.Trainer(net, nn.Quadratic(), nn.SGD(1e-3), seed=0).fit((PAGE, np.zeros((20, 1))), 1, 64)


def test_a_bright_ground_is_not_all_that_is_wrong():
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always", nn.DataWarning)
        network_for((PAGE, None), lr=1e-3).fit((PAGE, np.zeros(20, int)), 1, 64, (PAGE, np.arange(20) % 2))
    assert [str(warning.message).partition(",")[0] for warning in given] == [
        "train: the ground of the images is bright",
        "train: all targets are of class 0",
        "test: there is no sample of class 1 in the training data: shuffle before you split",
    ]


@pytest.mark.parametrize(("new", "more"), [(10, ""), (11, ", ..."), (50, ", ...")])
def test_a_warning_names_ten_classes(new, more):
    trainer = nn.Trainer(nn.Sequential(nn.Linear(2, 100), nn.Softmax(), seed=0), nn.CrossEntropy(), nn.SGD(0.1))
    with pytest.warns(nn.DataWarning, match=re.escape(f"of class 50, 51, 52, 53, 54, 55, 56, 57, 58, 59{more} in the")):
        trainer.fit((np.ones((50, 2)), np.arange(50)), 1, 64, (np.ones((new, 2)), np.arange(50, 50 + new)))


def table(n, means, deviations, classes=3, seed=0):
    """Return a table of some ranges, whose features differ from class to class."""
    rng = np.random.default_rng(seed)
    t = np.arange(n) % classes
    return rng.normal(means, deviations, (n, len(means))) + np.outer(t, deviations), t


IRIS = [5.8, 3.1, 3.8, 1.2], [0.5, 0.4, 0.9, 0.4]  # about what the four lengths of the irises have, in cm
RARE = table(1000, [0] * 10, [1] * 10, classes=2)[0], (np.arange(1000) < 10).astype(int)
XOR = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), np.array([0, 1, 1, 0])
HEALTHY = {  # data and options that no warning is for
    "bytes": (both(lambda x: x), {}),
    "bytes and a linear layer": (both(lambda x: x), {"hidden": None}),
    "bytes that learn slowly": (both(lambda x: x), {"lr": 1e-4}),
    "intensities in float64": (both(lambda x: x / 255), {}),
    "intensities in float32": (both(lambda x: (x / 255).astype(np.float32)), {}),
    "bytes to train and intensities to test": (((IMAGES, CLASSES), (TESTS / 255, TEST_CLASSES)), {}),
    "floats from 0 to 15": (both(lambda x: x // 16 * 1.0), {"lr": 0.1}),
    "integers from 0 to 15": (both(lambda x: (x // 16).astype(int)), {"lr": 0.1}),
    "floats of 0 and 1": (both(lambda x: (x > 127) * 1.0), {}),
    "True and False": (both(lambda x: x > 127), {}),
    "from -1 to 1": (both(lambda x: x / 127.5 - 1), {}),
    "a bright ground and a linear layer that copes": (both(lambda x: 255 - x), {"hidden": None}),
    "standardized": ((((TABLE - MEAN) / STD, CLASSES), ((TEST_TABLE - MEAN) / STD, TEST_CLASSES)), {}),
    "a table in cm": ((table(150, *IRIS), table(50, *IRIS, seed=1)), {"outputs": 3, "lr": 0.1}),
    "a table in cm and a linear layer": ((table(150, *IRIS), None), {"outputs": 3, "lr": 0.1, "hidden": None}),
    "a small table": ((table(30, *IRIS), table(6, *IRIS, seed=1)), {"outputs": 3, "lr": 0.1}),
    "a rare class": ((RARE, RARE), {"outputs": 2, "lr": 0.05}),
    "a rare class that is learnt slowly": ((RARE, None), {"outputs": 2, "lr": 1e-3, "hidden": None}),
    "a rare yes": ((RARE, None), {"outputs": 1, "last": nn.Sigmoid, "lr": 1e-3}),
    "probabilities above 1/2": (((IMAGES, np.linspace(0.6, 1, len(IMAGES))), None), {"outputs": 1, "last": nn.Sigmoid}),
    "exclusive or": ((XOR, XOR), {"outputs": 2, "lr": 2}),
    "exclusive or and a linear layer": ((XOR, XOR), {"outputs": 2, "lr": 10, "hidden": None}),
    "one sample": (((IMAGES[:1], CLASSES[:1]), None), {}),
    "one sample of 0 only": (((IMAGES[:1] * 0, CLASSES[:1]), None), {}),
    "one sample to test": (((IMAGES, CLASSES), (TESTS[:1], TEST_CLASSES[:1])), {}),
    "one dark sample to test": (((IMAGES, CLASSES), (TESTS[:1] * 0, TEST_CLASSES[:1])), {}),
    "another sample": (((IMAGES[:1], CLASSES[:1]), (TESTS[:3], TEST_CLASSES[:3])), {}),
    "a few samples of one class": (((IMAGES[CLASSES == 3][:9], CLASSES[CLASSES == 3][:9]), None), {}),
    "a test of one class": (((IMAGES, CLASSES), (TESTS[TEST_CLASSES == 3], TEST_CLASSES[TEST_CLASSES == 3])), {}),
    "nothing but ground": (((IMAGES * 0, CLASSES), None), {}),
}


@pytest.mark.parametrize("what", HEALTHY)
def test_what_is_not_warned_of(what):
    data, options = HEALTHY[what]
    network_for(data[0], **options).fit(data[0], 2, 16, data[1])  # a warning is an error in all tests


def even(n, low=0.0, high=1.0, features=4, seed=0):
    """Return numbers spread evenly, of two classes in turn."""
    return np.random.default_rng(seed).uniform(low, high, (n, features)), np.arange(n) % 2


def stripes(n, dark, bright, order="0101"):
    """Return images of 16 pixels in four stripes, from one image to the next a little brighter."""
    pixels = np.repeat([[dark, bright][int(which)] for which in order], 4)
    return pixels + np.linspace(0, 0.05, n)[:, None], np.arange(n) % 2


def grey(mean):
    """Return images of 16 equal pixels, each as far from a grey as the others, and together from 0 to 16."""
    return np.resize([-1, 1], 50)[:, None] * min(mean, 16 - mean) * np.ones(16) + mean, np.arange(50) // 2 % 2


def whole(data):
    return np.rint(data[0]), data[1]


def every_fourth(data):
    return data[0][:, ::4], data[1]


SUITS = "the size of about 1 that suits a network: "
STANDARDIZE, KIND = f"far beyond {SUITS}standardize each feature", "test: the inputs are of another kind or range"
TINY, INVERTED = f"far below {SUITS}divide pixels by 255 only once", "test: the images look inverted"
ALIKE, UNKNOWN = "train: all targets are of class 0", "test: there is no sample of class 2 in the training data"
SAID = {  # training data, test data, and what is said of them
    "one large feature of fifty": (table(100, [0] * 50, [60] + [1] * 49), None, [STANDARDIZE]),
    "one large sample of a thousand": ((np.eye(1000, 4)[::-1] * 99, np.arange(1000) % 2), None, []),
    "whole numbers from 0 to 255": (whole(even(50, 0, 255)), None, ["give pixels from 0 to 255 as bytes"]),
    "whole numbers from 0 to 300": (whole(even(50, 0, 300)), None, [STANDARDIZE]),
    "whole numbers from 0 to 60": (whole(even(50, 0, 60)), None, [STANDARDIZE]),
    "whole numbers from -9 to 255": (whole(even(50, -9, 255)), None, [STANDARDIZE]),
    "fractions from 0.5 to 249.25": (
        (0.5 + 1.25 * np.arange(200).reshape(50, 4), np.arange(50) % 2),
        None,
        [f"train: the inputs range from 0.5 to 249.25, {STANDARDIZE}"],
    ),
    "one class and a test of two": ((even(50)[0], np.zeros(50, int)), even(50), [ALIKE, UNKNOWN.replace("2", "1")]),
    "9 tiny samples": (even(9, 0, 1e-3), None, []),
    "small numbers that are no bytes": (even(50, 0, 0.1), None, []),
    "10 tiny samples": (even(10, 0, 1e-3), None, [TINY]),
    "another class, inverted": (stripes(50, 0, 1), (stripes(50, 1, 0)[0], np.arange(50) % 3), [UNKNOWN, INVERTED]),
    "a table of four features, inverted": (every_fourth(stripes(50, 0, 1)), every_fourth(stripes(50, 1, 0)), []),
    "grey images on both sides of the middle": (*(grey(mean) for mean in (7, 9)), []),
    "grey images on both sides of 0": (*((x - 8, t) for x, t in map(grey, (7, 9))), []),
    "grey images far from the middle": (*(grey(mean) for mean in (6, 10)), [INVERTED]),
    "noise that is a little darker": (even(50, -4.8, 5, 16), even(50, -5, 4.8, 16), []),
    "bytes of 0 and 1 of one class": (
        ((even(50)[0] > 0.5).astype(np.uint8), np.zeros(50, int)),
        None,
        ["train: the inputs are bytes", ALIKE],
    ),
    "thousands of one class": ((even(50, 0, 5000)[0], np.zeros(50, int)), None, [STANDARDIZE, ALIKE]),
    "9 samples of one class": ((even(9)[0], np.zeros(9, int)), None, []),
    "10 samples of one class": ((even(10)[0], np.zeros(10, int)), None, [ALIKE]),
    "9 samples and a test of another class": (even(9), (even(50)[0], np.arange(50) % 3), []),
    "10 samples and a test of another class": (even(10), (even(50)[0], np.arange(50) % 3), [UNKNOWN]),
    "other stripes": (stripes(50, 0, 1), stripes(50, 0, 1, "0011"), []),
    "9 samples that are smaller": (even(50), even(9, 0, 0.09), []),
    "10 samples that are smaller": (even(50), even(10, 0, 0.09), [KIND]),
    "99 samples more than twice as large": (even(100), even(99, 0, 2.5), []),
    "99 samples to train on, and a test of numbers more than twice as large": (even(99), even(100, 0, 2.5), []),
    "100 samples more than twice as large": (even(100), even(100, 0, 2.5), [KIND]),
    "small samples, and one to train on that is large": (
        (np.eye(1000, 4) * 99, np.arange(1000) % 2),
        even(100, 0, 0.1),
        [],
    ),
    "numbers whose squares no float32 holds, and a test of larger ones": (
        even(100, 0, 1e-30),
        even(100, 0, 1e-27),
        [TINY, KIND],
    ),
    "one sample of several that is large": (even(50), (np.eye(9, 4)[::-1] * 999, np.arange(9) % 2), []),
}


@pytest.mark.parametrize("what", SAID)
def test_what_is_said_of_data_and_what_is_not(what):
    train, test, said = SAID[what]
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        network_for(train, lr=1e-4, hidden=None).fit(train, 1, 64, test)
    assert len(given) == len(said), [str(warning.message) for warning in given]
    assert all(part in str(warning.message) for part, warning in zip(said, given, strict=True))


@pytest.mark.parametrize(("dark", "bright"), [(0, 0.5), (0.25, 0.75), (-1, 0)])
def test_what_is_taken_from_to_invert_images_is_the_range_of_both_data(dark, bright):
    train, (x, t) = stripes(50, dark, bright), stripes(50, dark, bright)
    for total in (dark + bright, dark + bright + 0.25, dark + bright - 0.25):
        low, high = (function([train[0], total - x]) for function in (np.min, np.max))
        with pytest.warns(nn.DataWarning, match=re.escape(f"{low + high:.6g} - images")):
            network_for(train, lr=1e-4).fit(train, 1, 64, (total - x, t))


@pytest.mark.parametrize("same", [0.0, 1.0])
def test_numbers_are_not_warned_of(same):
    net = nn.Sequential(nn.Linear(4, 1), seed=0)
    x, t = table(150, *IRIS)
    t = t * same  # if all are alike, they are still no class
    nn.Trainer(net, nn.Quadratic(), nn.SGD(1e-3), seed=0).fit((x, t * 1000.0), 2, 16, (x, t * 1000.0))


@pytest.mark.parametrize("how", ["trainer.fit", "np.errstate(all='ignore')(trainer.fit)"])
def test_a_warning_is_of_the_code_outside_numnet_also_if_that_code_is_of_no_module(how):
    data = IMAGES, 0 * CLASSES
    code = compile(f"{how}(data, 1, 64)", "a cell", "exec")
    with pytest.warns(nn.DataWarning) as given:
        exec(code, {"trainer": network_for(data, hidden=None), "data": data, "np": np})
    assert [warning.filename for warning in given] == ["a cell"]


def test_names_of_classes_in_the_test_alone_are_no_other_names():
    (x, t), net = even(50), nn.Sequential(nn.Linear(4, 2), nn.Softmax(), seed=0)
    test = nn.datasets.Dataset.from_arrays(x, t, classes=["cat", "dog"])
    for data, other in (((x, t), test), (test, (x, t)), (test, test)):
        nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.1), seed=0).fit(data, 1, 64, other)


def worse(x, samples=64, classes=CLASSES):
    """Return what is said after an epoch at a learning rate that is far too large."""
    trainer = network_for((x[:samples], classes[:samples]), lr=1e4, hidden=None)
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        trainer.fit((x[:samples], classes[:samples]), 1, 2)
    return " ".join(str(warning.message) for warning in given)


def test_nine_samples_say_nothing_about_the_learning_rate():
    assert not worse(IMAGES, 9)
    assert "Try a smaller learning rate than 10000" in worse(IMAGES, 10)


class Scratch(nn.Quadratic):
    """A cost that writes to its scratch before it reads the targets."""

    def value(self, y, t, out=None):
        np.copyto(out, y)
        return np.square(out - t).sum() / (2 * len(y))


@pytest.mark.parametrize("cost", [nn.Quadratic, Scratch])
def test_a_rate_is_too_large_for_two_classes_too_and_for_another_cost(cost):
    assert "guessing by the shares of the classes has 0.6931. Try" in worse(IMAGES, 64, np.arange(64) % 2)
    net = nn.Sequential(nn.Linear(64, 2), seed=0)
    with pytest.warns(nn.DataWarning, match=r"guessing by the shares of the classes has 0\.25\. Try a smaller"):
        nn.Trainer(net, cost(), nn.SGD(0.2), seed=0).fit((IMAGES[:64], np.arange(64) % 2), 1, 16)


@pytest.mark.parametrize(
    ("x", "bright"),
    [
        (1 - IMAGES / 255, True),
        ((1 - IMAGES / 255) * 0.9, True),
        (IMAGES / 255 * 0.9, False),
        (IMAGES / 100, False),
        ((1 - IMAGES / 255) - 0.1, False),  # what is below 0 is no brightness
        ((1 - IMAGES / 255)[:, :2], True),
        ((1 - IMAGES / 255)[:, :2, 1:], False),  # fewer than 16 numbers are no image
    ],
)
def test_the_ground_is_bright_if_most_of_an_image_is(x, bright):
    assert ("The ground of the images is bright: invert them" in worse(x)) == bright


PAGE = np.ones((20, 28, 28))
PAGE[:, 9:11, 5:23] = 0  # a thin line


def ring(rows, columns, edge, thickness=1):
    """Return white images with a dark frame in them, as many pixels from the border as `edge` says."""
    images = np.ones((20, rows, columns))
    images[:, edge : rows - edge, edge : columns - edge] = 0
    edge += thickness
    images[:, edge : rows - edge, edge : columns - edge] = 1
    return images


VOTES = np.random.default_rng(0).random((200, 64)) < np.random.default_rng(1).uniform(0.5, 1, 64)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("x", "bright"),
    [
        (1 - IMAGES / 255, True),
        (255 - IMAGES, True),
        (PAGE, True),
        (PAGE * 0.7 + 0.3, True),
        (IMAGES / 255, False),
        (1 - PAGE, False),
        (0 * PAGE + 1, False),  # nothing is on it
        (2 * PAGE - 1, False),  # what is below 0 is no brightness
        (PAGE[:, :26], True),
        (PAGE.reshape(20, -1), False),  # rows may be those of a table
        (PAGE[:, None], True),
        (PAGE[..., None], True),
        (PAGE.astype(np.uint8)[:, 2:, :, None] * np.uint8([255, 255, 255, 255]), True),
        (1 - (1 - PAGE[..., None]) * [0.2, 1, 1], True),  # red ink
        (1 - (1 - PAGE[..., None]) * [0.2, 1, 1, 0], True),
        (np.stack([PAGE, PAGE, PAGE, 1 - PAGE], axis=3), True),  # the ground is white and transparent
        (np.stack([PAGE, PAGE, PAGE, PAGE, PAGE], axis=3), False),  # five are no colours
        (ring(8, 8, 1), True),
        *((ring(*sizes, 1), False) for sizes in ((7, 8), (8, 7), (7, 70))),  # too small
        *((ring(28, 20, edge), True) for edge in (1, 3)),
        (ring(28, 28, 0), False),  # only the border is dark
        (ring(28, 28, 3, 22), False),  # dark for the most part
        (np.stack([PAGE, PAGE], axis=1), False),  # pairs of images
        (1.7 * ring(28, 28, 1, 3) + 0.3 * (np.arange(20) == 0)[:, None, None], False),  # grey, and one image white
        (VOTES, False),  # a table in which most are 1
        (VOTES.reshape(200, 8, 8), False),  # the inside is not darker
        (np.sort(np.random.default_rng(0).random((200, 64)), axis=1) ** 0.2, False),
    ],
)
def test_the_ground_is_bright_if_the_border_is_and_the_inside_is_darker(x, bright, device):
    trainer = network_for((x, None), outputs=2, lr=1e-3, device=device)
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        trainer.fit((x, np.arange(len(x)) % 2), 1, 64)
    assert any("the ground of the images is bright" in str(warning.message) for warning in given) == bright


def test_photographs_have_no_bright_ground():
    load_sample_image = pytest.importorskip("sklearn.datasets").load_sample_image
    pytest.importorskip("PIL", reason="scikit-learn reads photographs with Pillow: pip install pillow")
    for name, side in itertools.product(("china.jpg", "flower.jpg"), (8, 16, 28)):
        photograph = load_sample_image(name)[: 400 // side * side, : 600 // side * side]
        rows, columns = (size // side for size in photograph.shape[:2])
        pieces = photograph.reshape(rows, side, columns, side, -1).swapaxes(1, 2).reshape(-1, side, side, 3) / 255
        for x in pieces, pieces.mean(axis=3):
            network_for((x, None), outputs=2, lr=1e-3).fit((x, np.arange(len(x)) % 2), 1, 64)


@pytest.mark.slow
def test_mnist_has_a_dark_ground_and_inverted_a_bright_one(mnist):
    train, _ = mnist
    network_for((train.images, None), lr=0.1).fit(train, 1, 64)
    with pytest.warns(nn.DataWarning, match="the ground of the images is bright"):
        network_for((train.images, None), lr=0.1).fit((255 - train.images, train.labels), 1, 64)


def test_a_warning_in_a_thread_that_has_no_call_outside_numnet(monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", lambda _: ended.set())  # if the thread ends with an error
    data, ended = (IMAGES, 0 * CLASSES), threading.Event()
    options = {"callbacks": [lambda trainer: ended.set()]}
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        _thread.start_new_thread(network_for(data, hidden=None).fit, (data, 1, 64), options)
        assert ended.wait(5)
    assert [warning.category for warning in given] == [nn.DataWarning]


def test_a_test_of_another_kind_than_what_was_trained_on():
    """Numbers for classes and classes for numbers; but inputs of another size are told of in any case."""
    x, t = table(150, *IRIS)
    for train, test in (((x, x[:, :2]), (x, t % 2)), ((x, t % 2), (x, x[:, :2]))):
        trainer = nn.Trainer(nn.Sequential(nn.Linear(4, 2), seed=0), nn.Quadratic(), nn.SGD(1e-3), seed=0)
        accuracy = trainer.fit(train, 2, 16, test).test_accuracy[-1]
        assert math.isnan(accuracy) == (test[1].ndim == 2)
        with pytest.warns(nn.DataWarning, match=KIND):
            trainer.fit(train, 2, 16, (x * 100, x[:, :2]))


@pytest.mark.filterwarnings("ignore::numnet.DataWarning")
@pytest.mark.parametrize("name", ["inputs", "targets", "parameters"])
def test_what_is_so_large_that_the_cost_overflows_is_named_before_the_first_step(name):
    net = nn.Sequential(nn.Linear(4, 1), seed=0)
    x, t = even(9)
    x, t = x * (1e30 if name == "inputs" else 1), t * (1e30 if name == "targets" else 1.0)
    net.parameters = net.parameters * (1e30 if name == "parameters" else 1)
    trainer = nn.Trainer(net, nn.Quadratic(), nn.SGD(0.1), seed=0)
    with pytest.raises(nn.DivergenceError, match=f"before the first step: the {name} reach"):
        trainer.fit((x, t), 1, 3)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("name", ["inputs", "targets", "parameters"])
def test_what_is_so_large_is_named_whatever_its_sign(name, sign):
    for size in (1000, 1001, 1e30):
        values = {part: np.array([[1.0, -1.0]]) for part in ("inputs", "targets", "parameters")}
        values[name] = np.array([[0.5, sign * size]])
        net = types.SimpleNamespace(parameters=values["parameters"])
        told = checks._too_large(values["inputs"], values["targets"], net)
        assert checks._too_large(*map(np.ones, (2, 2)), types.SimpleNamespace(parameters=np.ones(0))) is None
        assert told is None if size == 1000 else told.startswith(f"the {name} reach {size:.3g}. ")


def test_mnist_is_not_warned_of(mnist):
    train, test = mnist
    net = nn.Sequential(nn.Linear(784, 10), nn.Softmax(), seed=0)
    nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.5), seed=0).fit(train, 1, 64, test)


def test_warnings_of_data_can_be_turned_off():
    data, options, _, _ = WARNED["bytes of 0 and 1"]
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", nn.DataWarning)
        network_for(data[0], **options).fit(*data[:1], 1, 64)
    assert not given
    assert issubclass(nn.DataWarning, UserWarning)


def test_rows_to_look_at_are_spread_over_all_and_about_a_thousand():
    for n in (1, 7, 999, 1000, 1999, 2000, 60_000):
        data = np.zeros((n, 1)), np.arange(n) % 2
        trainer = network_for(data, outputs=2, hidden=None)
        rows = numnet.data.Samples(trainer.net, trainer.pair, data, "train").spread
        assert rows[0] == 0
        assert len(rows) == n if n < 2000 else 1000 <= len(rows) < 2000
        assert len(set(np.diff(rows))) <= 1
        assert n - rows[-1] <= max(1, n // 1000)
