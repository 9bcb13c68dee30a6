"""What numnet refuses, and in which words: what was given, what was expected, and what to do.

Most of these functions raise an error if something is wrong, and return the checked thing in the form that the rest of
numnet works with. A few only answer a question. The files that a learner reads call these functions. This file imports
no other file of numnet.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

CHUNK = 4096  # rows checked or predicted at a time, so that 60,000 images never stand in memory as floats
NETWORK_DTYPES = ("float32", "float64", "complex128")
ROW_SUM_TOLERANCE = 1e-5  # wide enough for the float32 outputs of a softmax


class CheckpointError(ValueError):
    """A file holds nothing that numnet can load, or something cannot be saved.

    Examples
    --------
    >>> import os, tempfile
    >>> import numnet as nn
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "net.npz")
    ...     with open(path, "w") as file:
    ...         _ = file.write("no network")
    ...     try:
    ...         nn.load(path)
    ...     except nn.CheckpointError as error:
    ...         print("the file" + str(error).removeprefix(path).partition(" (")[0])
    the file is nothing that numnet has saved, or is damaged
    """


class DeviceError(ValueError):
    """There is no GPU that works, or arrays are not on the device where they are needed.

    Examples
    --------
    >>> import numnet as nn
    >>> try:
    ...     device = nn.backend.choose("gpu")
    ... except nn.DeviceError:  # its message says what is missing
    ...     device = "cpu"
    """


class DivergenceError(ValueError):
    """The training cost or a parameter became NaN or infinite.

    Examples
    --------
    >>> import numnet as nn
    >>> train, test = nn.datasets.digits()
    >>> net = nn.Sequential(nn.Linear(64, 10), seed=0)
    >>> trainer = nn.Trainer(net, nn.Quadratic(), nn.SGD(lr=1.0), seed=0)
    >>> try:
    ...     trainer.fit(train, epochs=10, batch_size=64)
    ... except nn.DivergenceError as error:
    ...     print(str(error).partition(":")[0])
    the training cost became inf in epoch 1, in one of the batches 1 to 23
    """


# Numbers


def is_finite(value: object) -> bool:
    """Return whether a value is a finite real number; True and False are no numbers here."""
    with suppress(OverflowError):  # a whole number beyond all floats
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    return False


def whole_numbers(who: str, **values: Any) -> None:
    """Refuse values that are not whole numbers of at least 1; True and False are no numbers here."""
    for name, value in values.items():
        if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{who}: {name} must be a whole number of at least 1, got {value!r}")


def generator(seed: Any) -> np.random.Generator:
    """Return the generator of a seed."""
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError):
        raise ValueError(f"seed must be a whole number of at least 0, or None, got {seed!r}") from None


# Networks


def layers(given: Sequence[Any], kind: Any) -> None:
    """Refuse what cannot be the layers of a network; `kind` is numnet's Layer."""
    seen: set[int] = set()
    for i, layer in enumerate(given):
        if not isinstance(layer, kind):
            hint = f": write {layer.__name__}(...)" if isinstance(layer, type) and issubclass(layer, kind) else ""
            hint = ": give the layers one by one, Sequential(*layers)" if isinstance(layer, (list, tuple)) else hint
            raise ValueError(f"layer {i} must be a numnet Layer, got {layer!r}{hint}")
        if layer.in_network or id(layer) in seen:
            raise ValueError(f"layer {i}, {layer!r}, is in a network already: make a new layer for each place")
        seen.add(id(layer))
    if not given:
        raise ValueError("Sequential needs at least one layer, Sequential(Linear(784, 10), Softmax()) say")


def widths(layers: Sequence[Any]) -> list[int | None]:
    """Return the features before the first layer and after each layer; None if no layer fixes them."""
    found: list[int | None] = [None]
    setter = 0  # the layer that fixed the last of them
    for i, layer in enumerate(layers):
        known = found[-1]
        if layer.inputs is not None and known is None:
            found = [layer.inputs] * len(found)
        elif layer.inputs is not None and layer.inputs != known:
            raise ValueError(
                f"layer {setter}, {layers[setter]!r}, gives {known} features, but layer {i}, {layer!r}, takes "
                f"{layer.inputs}: make the two equal"
            )
        found.append(layer.outputs or found[-1])
        setter = i if layer.outputs or layer.inputs else setter
    return found


def network_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """Return a dtype that networks can have."""
    with suppress(TypeError):  # which NumPy raises for what is no dtype at all
        if dtype is not None and np.dtype(dtype) in map(np.dtype, NETWORK_DTYPES):
            return np.dtype(dtype)
    raise ValueError(f"dtype must be one of {', '.join(NETWORK_DTYPES)}, got {dtype!r}")


def trainer_parts(dtype: np.dtype[Any] | None, **parts: tuple[Any, type]) -> None:
    """Refuse a network, cost or optimizer of a wrong type. Each part is given as a pair: the value, the right type."""
    for name, (value, kind) in parts.items():
        if not isinstance(value, kind):
            hint = f": write {value.__name__}(...)" if isinstance(value, type) and issubclass(value, kind) else ""
            a = "an" if kind.__name__ == "SGD" else "a"
            raise ValueError(f"Trainer: {name} must be {a} {kind.__name__}, got {value!r}{hint}")
    if dtype is not None and dtype.kind == "c":
        raise ValueError("Trainer: a complex network is for gradcheck; train one of float32 or float64")


def probabilities_taken_once(layers: Sequence[Any], known: Any) -> None:
    """Refuse cross-entropy over outputs that are no probabilities, or that are probabilities of probabilities."""
    last = layers[-1]
    if last.probabilities not in known:
        raise ValueError(
            f"CrossEntropy needs probabilities, but the last layer, {last!r}, gives any number: end the network in "
            "Softmax() (one class of several) or Sigmoid() (independent yes or no), or use Quadratic()"
        )
    if len(layers) > 1 and layers[-2].probabilities is not None:
        raise ValueError(
            f"the network takes probabilities twice, by {layers[-2]!r} and then {last!r}: the second makes nearly "
            "equal ones of the first, and they can never reach the targets. CrossEntropy needs them taken once: "
            "remove one of the two layers, or put a Linear between them"
        )


def layer_output(layer: Any, y: Any, shape: tuple[int, ...]) -> None:
    """Refuse the output of a layer of the user's own if the output has another shape than the layer says."""
    if getattr(y, "shape", None) != shape:
        got = f"one of shape {y.shape}" if hasattr(y, "shape") else f"{y!r}"
        raise ValueError(f"the forward of {layer!r} must return an array of shape {shape}, got {got}")


# The options of SGD


def sgd_options(lr: Any, momentum: Any, nesterov: Any, weight_decay: Any, clip_norm: Any) -> None:
    """Refuse options that SGD cannot work with."""
    if not callable(lr):
        _sgd_option("lr", lr, is_finite(lr) and lr > 0, "a finite number above 0, or a function of the epoch")
    _sgd_option("momentum", momentum, is_finite(momentum) and 0 <= momentum < 1, "from 0 to below 1")
    _sgd_option("weight_decay", weight_decay, is_finite(weight_decay) and weight_decay >= 0, "finite and at least 0")
    if clip_norm is not None:
        _sgd_option("clip_norm", clip_norm, is_finite(clip_norm) and clip_norm > 0, "a finite number above 0, or None")
    _sgd_option("nesterov", nesterov, isinstance(nesterov, bool), "True or False")
    _sgd_option("momentum", momentum, momentum > 0 or not nesterov, "above 0 with nesterov=True, 0.9 say")


def scheduled_rate(lr: Any, epoch: int) -> float:
    """Return the learning rate that a schedule gave for an epoch."""
    _sgd_option(f"the scheduled lr of epoch {epoch}", lr, is_finite(lr) and lr >= 0, "finite and at least 0")
    return float(lr)


def _sgd_option(name: str, value: object, valid: bool, expected: str) -> None:
    if not valid:
        raise ValueError(f"SGD: {name} must be {expected}, got {value!r}")


# Inputs and targets


def on_gpu(array: object) -> bool:
    """Return whether an array is on a GPU."""
    return not isinstance(array, np.ndarray) and hasattr(type(array), "__cuda_array_interface__")


def array(name: str, values: Any, net: Any) -> Array:
    """Return inputs or targets as an array; refuse an array on a GPU if the network is on the CPU."""
    if net.device == "cpu" and on_gpu(values):
        raise DeviceError(
            f"{name} are on the GPU, but the network is on the CPU: move it there with net.to('gpu'), or give "
            f"{name}.get()"
        )
    return net.operations.asarray(values)  # type: ignore[no-any-return]


@contextmanager
def named(name: str) -> Iterator[None]:
    """Say in errors which argument is at fault."""
    try:
        yield
    except ValueError as error:
        raise (DeviceError if isinstance(error, DeviceError) else ValueError)(f"{name}: {error}") from None


def images_and_labels(data: Any) -> tuple[Any, Any]:
    """Return the inputs and targets of a Dataset, or of a pair of arrays."""
    if hasattr(data, "images") and hasattr(data, "labels"):
        return data.images, data.labels
    if isinstance(data, (tuple, list)) and len(data) == 2:
        if hasattr(data[0], "images"):
            raise ValueError(
                "data must be one Dataset, got a pair of them: unpack it, train, test = ..., and give each"
            )
        return data[0], data[1]
    raise ValueError(f"data must be a Dataset or a pair of arrays (x, t), got {type(data).__name__}")


def inputs(x: Any, net: Any) -> Array:
    """Return a batch for a network as an array of shape (n, features), with the values and the dtype unchanged."""
    if type(x) is not np.ndarray:
        x = array("inputs", x, net)
    if x.dtype.kind not in ("biufc" if net.parameters.dtype.kind == "c" else "biuf"):
        hint = ": give the images of the data set" if x.shape == () and hasattr(x.item(), "images") else ""
        raise ValueError(f"inputs must be real numbers, got dtype {x.dtype}{hint}")
    features = math.prod(x.shape[1:])
    if x.ndim < 2 or (net.inputs is not None and features != net.inputs):
        takes = "any number of" if net.inputs is None else net.inputs
        hint = ": for a single sample give x[None]" if x.size == net.inputs else ""
        hint = ": for samples of one feature give x[:, None]" if x.ndim == 1 == net.inputs else hint
        raise ValueError(
            f"the network takes batches of shape (n, ...) with {takes} features a sample, got {x.shape}{hint}"
        )
    return x if x.ndim == 2 else x.reshape(len(x), features)  # type: ignore[no-any-return]


def finite(values: Array, given: Array, start: int) -> None:
    """Refuse values that are not finite; `given` are the numbers that they came from, from sample `start` on.

    The sum of the squares is finite only if every value is finite, and takes one pass. If the sum is not finite, every
    value is looked at.
    """
    flat = values.ravel(order="K")
    if not math.isfinite(abs(np.dot(flat, flat))) and not np.isfinite(values).all():
        row, feature = np.argwhere(~np.isfinite(values))[0]
        raise ValueError(
            f"inputs must be finite, but feature {feature} of sample {start + row} is {given[row, feature]}"
        )


def samples(x: Array, t: Array, dtype: np.dtype[Any]) -> None:
    """Refuse inputs that are not finite in the network's dtype, and targets that are not as many as the inputs."""
    for start in range(0, len(x) if x.dtype.kind in "fc" else 0, CHUNK):  # x may be larger than memory
        part: Any = x[start : start + CHUNK]
        with np.errstate(over="ignore"):
            finite(part.astype(dtype, copy=False), part, start)
    if len(x) == 0 or t.ndim == 0 or len(x) != len(t):
        raise ValueError(
            f"one target for each of at least one sample is needed, got {len(x)} samples and targets of shape {t.shape}"
        )


def labels(t: Array, classes: int) -> Array:
    """Return class indices as they are: integers from 0 to classes - 1."""
    if t.dtype.kind not in "iu":
        raise ValueError(
            f"targets of shape (n,) are class indices and must be integers, got dtype {t.dtype}: use "
            "t.astype(int), or give rows of shape (n, outputs)"
        )
    if t.size and (t.min() < 0 or t.max() >= classes):
        wrong = int(np.flatnonzero((t < 0) | (t >= classes))[0])
        raise ValueError(
            f"class indices must be from 0 to {classes - 1} for {classes} outputs, but target {wrong} is {t[wrong]}"
        )
    return t


def targets(t: npt.ArrayLike, outputs: int, dtype: npt.DTypeLike) -> Array:
    """Return targets as an (n, outputs) array of a dtype.

    Class indices of shape (n,) become one-hot rows. For a single output, (n,) numbers become a column. Rows of shape
    (n, outputs) are taken as they are.
    """
    t, dtype = np.asarray(t), np.dtype(dtype)
    if t.dtype.kind not in ("biufc" if dtype.kind == "c" else "biuf"):
        raise ValueError(f"targets must be real numbers, got dtype {t.dtype}")
    if t.ndim == 1 and outputs == 1:
        t = t[:, None]
    if t.ndim == 1:
        return (labels(t, outputs)[:, None] == np.arange(outputs)).astype(dtype)  # type: ignore[no-any-return]
    if t.ndim != 2 or t.shape[1] != outputs:
        raise ValueError(
            f"targets must be class indices of shape (n,) or rows of shape (n, {outputs}) for {outputs} outputs, got "
            f"shape {t.shape}"
        )
    with np.errstate(over="ignore"):
        rows = t.astype(dtype, copy=False)
    if not np.isfinite(rows).all():
        row, column = np.argwhere(~np.isfinite(rows))[0]
        raise ValueError(f"targets must be finite in {dtype}, but t[{row}, {column}] is {t[row, column]}")
    return rows


def is_distribution(rows: Array) -> bool:
    """Return whether every row is a probability distribution."""
    return bool(rows.min() >= 0 and np.abs(rows.sum(axis=1) - 1).max() <= ROW_SUM_TOLERANCE)


def probabilities(name: str, values: Array) -> None:
    """Refuse numbers outside 0 to 1."""
    if not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(
            f"{name} must hold probabilities from 0 to 1 for the cross-entropy, but it ranges from {values.min():.6g} "
            f"to {values.max():.6g}"
        )


def distributions(name: str, values: Array) -> None:
    """Refuse rows that are no probability distributions."""
    probabilities(name, values)
    sums = values.sum(axis=1)
    off = np.flatnonzero(np.abs(sums - 1) > ROW_SUM_TOLERANCE)
    if off.size:
        raise ValueError(
            f"each row of {name} must sum to 1 for a softmax output, but row {off[0]} sums to {sums[off[0]]:.6g}: "
            "give class indices, one-hot rows or probabilities, or end the network in Sigmoid() for several yes/no"
        )


def cost_outputs(y: Array) -> Array:
    """Return outputs that a cost is asked about, as floats."""
    if y.dtype.kind not in "biuf":
        raise ValueError(f"outputs must be real numbers, got dtype {y.dtype}")
    if y.ndim != 2 or not y.size:
        raise ValueError(f"y must have shape (n, outputs) with n and outputs at least 1, got shape {y.shape}")
    if not np.isfinite(y).all():
        raise ValueError(f"y must be finite, but y{np.argwhere(~np.isfinite(y))[0].tolist()} is not")
    return y if y.dtype.kind == "f" and y.dtype.itemsize > 2 else y.astype(np.float64)


def as_many_rows(y: Array, t: Array) -> None:
    """Refuse targets that are not as many as the outputs."""
    if len(t) != len(y):
        raise ValueError(f"y has {len(y)} rows and t has {len(t)}: give one target for each output row")


def wanted_classes(y: Array, wanted: Array | None) -> Array:
    """Return the classes that an accuracy compares outputs with."""
    if wanted is None:
        raise ValueError("accuracy needs targets that are classes: indices, or rows of probabilities that sum to 1")
    if len(y) != len(wanted) or not len(wanted):
        raise ValueError(f"accuracy needs one target for each image, got {len(y)} images and {len(wanted)} targets")
    return wanted


# Files that data are mapped from


def mapped_file(array: Any) -> tuple[str, tuple[int, int] | None] | None:
    """Return the file that an array, or the array that it is a view of, is mapped from, with its size and time.

    Return None if there is no such file.
    """
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap) and array.filename is not None:
            return os.fspath(array.filename), _size_and_time(array.filename)
        array = array.base
    return None


def unchanged(path: str, before: tuple[int, int] | None) -> None:
    """Refuse to go on with a file that has changed. A deleted file is fine, since the mapping keeps its contents."""
    if _size_and_time(path) not in (before, None):
        raise ValueError(f"train: the file {path} has changed during training: start again with what it is now")


def _size_and_time(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    with suppress(OSError):
        state = os.stat(path)
        return state.st_size, state.st_mtime_ns
    return None


# A run


def fit_arguments(
    epochs: Any, batch_size: Any, callbacks: Any, checkpoint_every: Any, checkpoint_failure: Any, run: Any
) -> None:
    """Refuse arguments with which a run cannot go on."""
    progress, finish = run.progress, epochs is None and batch_size is None
    if finish and not progress.last:
        raise ValueError("fit: epochs and batch_size are needed, since no interrupted run is left to finish")
    if not finish and progress.done:
        raise ValueError(
            f"fit: the run is in the middle of epoch {len(run.history) + 1} of {progress.last}, with batches of "
            f"{progress.batch_size}: finish it first, by fit without epochs and batch_size"
        )
    if not finish:
        whole_numbers("fit", epochs=epochs, batch_size=batch_size)
    if not isinstance(callbacks, (list, tuple)) or not all(map(callable, callbacks)):
        raise ValueError(f"fit: callbacks must be a list of functions of the trainer, got {callbacks!r}")
    count, _, unit = str(checkpoint_every).partition(" ")
    units = ("", "epoch", "epochs", "batch", "batches")
    if isinstance(checkpoint_every, bool) or not count.isdecimal() or int(count) < 1 or unit not in units:
        raise ValueError(
            "fit: checkpoint_every must be a number of epochs, at least 1, or as in '500 batches', got "
            f"{checkpoint_every!r}"
        )
    if checkpoint_failure not in ("raise", "warn"):
        raise ValueError(f"fit: checkpoint_failure must be 'raise' or 'warn', got {checkpoint_failure!r}")


def same_samples(progress: Any, samples: int) -> None:
    """Refuse to finish an epoch over another number of samples."""
    if progress.done and progress.samples != samples:
        raise ValueError(
            f"train: the run was interrupted in an epoch over {progress.samples} samples, but here are {samples}"
        )


def same_device(run: Any, device: str) -> None:
    """Refuse to go on with a network that a callback has moved away from a device."""
    if run.net.device != device:
        raise DeviceError(
            f"fit: a callback has moved the network from {device!r} to {run.net.device!r}: move it back before the "
            "callback ends, or move it between two calls of fit"
        )


def no_divergence(where: str, lr: float, cost: float = 0.0, parameters: Array | None = None) -> None:
    """Refuse to go on if a cost or a parameter is not finite."""
    what = None if math.isfinite(cost) else f"the training cost became {cost}"
    if parameters is not None and not np.isfinite(parameters).all():
        what = "a parameter became not finite"
    if what:
        raise DivergenceError(
            f"{what} {where}: training has diverged. Try a smaller learning rate than {lr:g}, or clip the gradient "
            "with SGD(clip_norm=...)"
        )
