"""What numnet refuses or warns of, and in which words: what was given, what was expected, and what to do.

Most of these functions raise an error if something is wrong, and return the checked thing in the form that the rest of
numnet works with. A few only answer a question. One section warns of what is legal but most often a mistake. The files
that a learner reads call these functions. This file imports no other file of numnet, except mapped.py.
"""

from __future__ import annotations

import functools
import inspect
import math
import os
import sys
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from numbers import Number, Real
from typing import Any, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt

from . import mapped

Array = npt.NDArray[Any]
_P = ParamSpec("_P")
_Result = TypeVar("_Result")

CHUNK = 4096  # rows checked or predicted at a time, so that 60,000 images never stand in memory as floats
_WIDE = 1024  # rows of more numbers are fewer at a time
NETWORK_DTYPES = ("float32", "float64", "complex128")
_ROUNDING = 1e-6  # of targets that were computed
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


class DataWarning(UserWarning):
    """Data, or the way a training goes, that are legal but most often a mistake; the message has the remedy.

    `numnet.Trainer.fit` warns once for each kind. ``warnings.simplefilter("ignore", nn.DataWarning)`` turns the
    warnings off, and "error" in place of "ignore" makes errors of them.

    Examples
    --------
    >>> import warnings
    >>> import numpy as np
    >>> import numnet as nn
    >>> train, test = nn.datasets.digits()
    >>> net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0)
    >>> trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr=1e-5), seed=0)
    >>> x = train.images.astype(float)
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error")
    ...     try:
    ...         trainer.fit((x, train.labels), epochs=1, batch_size=64)
    ...     except nn.DataWarning as warning:
    ...         print(str(warning).partition(":")[0])
    train
    """


# NumPy's error state


def quiet(function: Callable[_P, _Result]) -> Callable[_P, _Result]:
    """Let a function compute whatever the user's `numpy.seterr` says.

    `numpy.errstate` itself as a decorator would, in NumPy 1, give a thread the state that another thread had.
    """

    @functools.wraps(function)
    def called(*args: _P.args, **kwargs: _P.kwargs) -> _Result:
        with np.errstate(all="ignore"):
            return function(*args, **kwargs)

    return called


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


def booleans(who: str, **values: Any) -> None:
    """Refuse values that are not True or False: a word such as "False" would count as True."""
    for name, value in values.items():
        if not isinstance(value, (bool, np.bool_)):
            raise ValueError(f"{who}: {name} must be True or False, got {value!r}")


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
            between = [f"layer {j}, {one!r}" for j, one in enumerate(layers[:i]) if j > setter and _own(one)]
            own = (
                f", or, if {between[0]}, changes the number of features, set its inputs and outputs" if between else ""
            )
            raise ValueError(
                f"layer {setter}, {layers[setter]!r}, gives {known} features, but layer {i}, {layer!r}, takes "
                f"{layer.inputs}: make the two equal{own}"
            )
        found.append(layer.outputs or found[-1])
        setter = i if layer.outputs or layer.inputs else setter
    return found


def _own(layer: Any) -> bool:
    """Return whether a layer is of the user's own."""
    return not type(layer).__module__.startswith("numnet.")


def network_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """Return a dtype that networks can have."""
    with suppress(TypeError):  # which NumPy raises for what is no dtype at all
        if dtype is not None and np.dtype(dtype) in map(np.dtype, NETWORK_DTYPES):
            return np.dtype(dtype)
    raise ValueError(f"dtype must be one of {', '.join(NETWORK_DTYPES)}, got {dtype!r}")


def trainer_parts(dtype: np.dtype[Any] | None, who: str = "Trainer", **parts: tuple[Any, type]) -> None:
    """Refuse a network, cost or optimizer of a wrong type. Each part is given as a pair: the value, the right type."""
    for name, (value, kind) in parts.items():
        if not isinstance(value, kind):
            hint = f": write {value.__name__}(...)" if isinstance(value, type) and issubclass(value, kind) else ""
            a = "an" if kind.__name__ == "SGD" else "a"
            raise ValueError(f"{who}: {name} must be {a} {kind.__name__}, got {value!r}{hint}")
    if dtype is not None and dtype.kind == "c":
        raise ValueError(f"{who}: complex networks are for gradcheck's own use; train one of float32 or float64")


def all_parameters(values: Array, size: int) -> Array:
    """Return values for all parameters of a network."""
    if values.shape != (size,) or values.dtype.kind not in "biuf":
        raise ValueError(
            f"cost_and_gradient: parameters must be {size} real numbers, as net.parameters is, got an array of shape "
            f"{values.shape} and dtype {values.dtype}"
        )
    return values


def no_ranks(average_every: Any, sharded: Any) -> None:
    """Refuse what only a trainer with a communicator can do."""
    if average_every is not None or sharded:
        name = "sharded" if average_every is None else "average_every"
        raise ValueError(f"Trainer: {name} is for training on several processes: give comm, such as MPI.COMM_WORLD")


def probabilities_taken_once(layers: Sequence[Any], known: Any) -> None:
    """Refuse cross-entropy over outputs that are no probabilities, or that are probabilities of probabilities."""
    last = layers[-1]
    if last.probabilities not in known:
        raise ValueError(
            f"CrossEntropy needs probabilities, but the last layer, {last!r}, gives other numbers: end the network in "
            "Softmax() (one class of several) or Sigmoid() (independent yes or no), or use Quadratic()"
        )
    if len(layers) > 1 and layers[-2].probabilities is not None:
        raise ValueError(
            f"the network takes probabilities twice, by {layers[-2]!r} and then {last!r}: the second makes nearly "
            "equal ones of the first, and they can never reach the targets. CrossEntropy needs them taken once: "
            "remove one of the two layers, or put a Linear between them"
        )


def linear_arguments(inputs: Any, outputs: Any, bias: Any, start: Any) -> None:
    """Refuse arguments from which no Linear can be made."""
    whole_numbers("Linear", inputs=inputs, outputs=outputs)
    if not isinstance(bias, (bool, np.bool_)):
        raise ValueError(f"Linear: bias must be True or False, got {bias!r}: assign values to layer.bias afterwards")
    if start is not None and not callable(start):
        raise ValueError(
            f"Linear: start must be a function (rng, shape) -> weights, got {start!r}: numnet.starts has some; assign "
            "given weights to layer.weight after the network is made"
        )


def started(weight: Any, layer: Any) -> Array:
    """Return the weights that a layer's `start` drew."""
    with named(f"the start of {layer!r}"):
        drawn, shape = array("weights", weight), layer.weight.shape
    if drawn.shape != shape or drawn.dtype.kind not in "biuf" or not np.isfinite(drawn).all():
        raise ValueError(
            f"the start of {layer!r} must return finite weights of shape {shape}, got an array of shape {drawn.shape} "
            f"and dtype {drawn.dtype}"
        )
    return drawn


def parameter(layer: Any, name: str) -> Array:
    """Return a parameter of a layer, to assign to."""
    if name not in layer.parameters:
        raise ValueError(f"{layer!r} has no {name} to assign to: make the layer with {name}=True")
    return layer.parameters[name]  # type: ignore[no-any-return]


def no_lone_softmax(layers: Sequence[Any], widths: Sequence[int | None]) -> None:
    """Refuse a distribution over one output, which is 1 whatever comes in."""
    for i, layer in enumerate(layers):
        if layer.probabilities == "distribution" and widths[i + 1] == 1:
            raise ValueError(
                f"layer {i}, {layer!r}, has one output, which is then always 1: for yes or no use Sigmoid() over one "
                "output, or Softmax() over two"
            )


def no_arguments(kind: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Refuse arguments for a layer that has no constructor for them."""
    if (args or kwargs) and kind.__init__ is object.__init__:
        raise TypeError(f"{kind.__name__}() takes no arguments, got {', '.join([*map(repr, args), *kwargs])}")


_CALLED_HERE = {  # what Keras, PyTorch and scikit-learn have, and numnet has in another place
    ("fit", "train", "compile"): "train a network by nn.Trainer(net, cost, optimizer).fit(...)",
    ("evaluate", "score"): "give nn.Trainer(net, cost, optimizer).evaluate(...), or net.accuracy(x, t)",
    ("Adam", "AdamW", "RMSprop", "Adagrad", "optim", "optimizers"): "numnet has one optimizer, nn.SGD(lr=...)",
    ("predict_proba",): "call the network, net(x)",
    ("summary",): "write print(net)",
    ("state_dict",): "the parameters are net.parameters, and net.save(path) saves the network",
    ("save",): "save a network by net.save(path)",
    ("Dense",): "use nn.Linear(inputs, outputs)",
    ("Relu",): "use nn.ReLU()",
    ("CrossEntropyLoss", "CategoricalCrossentropy", "SparseCategoricalCrossentropy"): "use nn.CrossEntropy()",
    ("MSE", "MSELoss", "MeanSquaredError"): "use nn.Quadratic()",
    ("Flatten",): "leave it out, since a network flattens its inputs",
    ("Dropout",): "copy the Dropout that is in docs/coming-from.md of numnet's repository",
    ("Conv2d", "Conv2D", "BatchNorm1d", "BatchNorm2d", "BatchNormalization"): (
        "numnet has dense layers only, nn.Linear(inputs, outputs)"
    ),
    ("DataLoader",): "give fit the arrays, fit((x, t), ...), or a Dataset: fit makes the batches",
    ("EarlyStopping",): "give fit callbacks=[nn.keep_best(patience=...)]",
    ("train_test_split",): "split a Dataset by train, test = data.split(0.2, seed=0)",
    ("BCELoss", "BCEWithLogitsLoss", "BinaryCrossentropy"): "use nn.CrossEntropy() after nn.Sigmoid()",
    ("LeakyReLU",): (
        "use nn.ReLU(), or copy the LeakyReLU that is in examples/03-write-your-own-layer.ipynb of numnet's repository"
    ),
    ("Module",): "write a class derived from nn.Layer, with a forward and a backward",
    ("functional",): "write layers and costs as objects, such as nn.ReLU() and nn.CrossEntropy()",
    ("manual_seed",): "give Sequential and Trainer seed=0",
    ("lr_scheduler",): "give SGD a function of the epoch, nn.SGD(lr=lambda epoch: 0.5 * 0.9**epoch)",
    ("load_model",): "load a network by nn.load(path)",
    ("StandardScaler",): "use that of scikit-learn, or (x - mean) / std with the mean and std of the training data",
    ("MLPClassifier", "NetClassifier"): "use nn.sklearn.NetClassifier()",
    ("MLPRegressor", "NetRegressor"): "use nn.sklearn.NetRegressor()",
    ("eval",): "leave it out, since only a Trainer sets layers to training, and sets them back",
    ("zero_grad",): "leave it out, since each batch replaces the gradients",
    ("cuda",): "move a network by net.to('gpu')",
    ("load_state_dict",): "assign the parameters, net.parameters = values, or load a network by nn.load(path)",
    ("predict",): "call net.predict(x), with the net of a trainer, trainer.net",
    ("network", "model"): "the network is trainer.net",
    ("load",): "go on with a run by nn.Trainer.resume(path), or load a network by nn.load(path)",
    ("history",): "the columns are attributes, such as history.train_cost",
}


def called_here(name: str) -> str:
    """Return what to use for a name that only other libraries have, to be added to an error."""
    return next((f": {text}" for names, text in _CALLED_HERE.items() if name in names), "")


def attribute(thing: Any, name: str) -> Any:
    """Say what to use for an attribute that is not there, as the `__getattr__` of a class."""
    if hint := called_here(name):
        raise AttributeError(f"{type(thing).__name__!r} object has no attribute {name!r}{hint}")
    return object.__getattribute__(thing, name)  # which raises the error again, also one that a property raised


def accept_out(kind: Any, **methods: int) -> None:
    """Let methods of a class take `out`, and ignore `out`, if they were written without it.

    Each method is given with the number of arrays that it takes beside `out`.
    """
    for name, arrays in methods.items():
        method = inspect.getattr_static(kind, name)
        if inspect.isfunction(method):
            signature, given = inspect.signature(method), ["array"] * arrays
            try:
                signature.bind("self", *given, "out")
                signature.bind("self", *given, out="out")
            except TypeError:
                setattr(kind, name, _without_out(method, arrays))


def _without_out(method: Callable[..., Any], arrays: int) -> Callable[..., Any]:
    return lambda self, *given, out=None, **named: method(self, *given[:arrays], **named)


def layer_output(layer: Any, y: Any, shape: tuple[int, ...]) -> None:
    """Refuse the output of a layer of the user's own if the output has another shape than the layer says."""
    if getattr(y, "shape", None) != shape:
        got = f"one of shape {y.shape}" if hasattr(y, "shape") else f"{y!r}"
        raise ValueError(f"the forward of {layer!r} must return an array of shape {shape}, got {got}")


def cost_value(cost: Any, value: Any) -> Any:
    """Return the value of a cost, which must be one number."""
    if getattr(value, "shape", None) != () and not isinstance(value, Number):
        got = f"an array of shape {value.shape}: is .sum() / len(y) missing?" if hasattr(value, "shape") else ""
        got = got or f"{value!r}{': is its return missing?' * (value is None)}"
        raise ValueError(f"the value of {cost!r} must be one number, the mean over the batch, got {got}")
    return value


def cost_gradient(cost: Any, gradient: Any, shape: tuple[int, ...]) -> Any:
    """Return the gradient of a cost, which must have the shape of the outputs."""
    if (found := getattr(gradient, "shape", None)) != shape:
        got = f"one of shape {found}: leave out sums over samples and outputs, and write / len(y) for a mean"
        got = f"{gradient!r}{': is its return missing?' * (gradient is None)}" if found is None else got
        raise ValueError(f"the gradient of {cost!r} must be an array of shape {shape}, as y, got {got}")
    return gradient


# The options of SGD


def sgd_options(lr: Any, momentum: Any, nesterov: Any, weight_decay: Any, clip_norm: Any) -> None:
    """Refuse options that SGD cannot work with."""
    if hasattr(lr, "gradients") or getattr(lr, "ndim", 0) > 0:  # a network, a layer or an array
        raise ValueError("SGD takes no network and no parameters: SGD(lr=0.5), and the Trainer gives it the network")
    if not callable(lr):
        _sgd_option("lr", lr, is_finite(lr) and lr > 0, "a finite number above 0, or a function of the epoch")
    _sgd_option("momentum", momentum, is_finite(momentum) and 0 <= momentum < 1, "from 0 to below 1")
    _sgd_option("weight_decay", weight_decay, is_finite(weight_decay) and weight_decay >= 0, "finite and at least 0")
    if clip_norm is not None:
        _sgd_option("clip_norm", clip_norm, is_finite(clip_norm) and clip_norm > 0, "a finite number above 0, or None")
    _sgd_option("nesterov", nesterov, isinstance(nesterov, (bool, np.bool_)), "True or False")
    _sgd_option("momentum", momentum, momentum > 0 or not nesterov, "above 0 with nesterov=True, 0.9 say")


_SGD_ELSEWHERE = {  # how the options are called in Keras, PyTorch and scikit-learn
    ("learning_rate", "learning_rate_init", "eta", "eta0"): "lr",
    ("alpha", "l2"): "weight_decay",
    ("clipnorm", "global_clipnorm", "max_norm", "max_grad_norm"): "clip_norm",
}


def sgd_arguments(init: Callable[_P, None]) -> Callable[_P, None]:
    """Let the constructor of SGD refuse options that it cannot work with, or that have other names."""
    signature = inspect.signature(init)

    @functools.wraps(init)
    def called(*args: _P.args, **kwargs: _P.kwargs) -> None:
        for name in kwargs.keys() - signature.parameters:
            own = next((own for names, own in _SGD_ELSEWHERE.items() if name in names), None)
            raise TypeError(f"SGD has no option {name!r}{f': it is called {own}, SGD({own}=...)' if own else ''}")
        given = signature.bind(*args, **kwargs)
        given.apply_defaults()
        sgd_options(*given.args[1:])
        init(*args, **kwargs)

    return called


def scheduled_rate(lr: Any, epoch: int | None = None) -> float:
    """Return the learning rate that a schedule gave for an epoch, or somebody has assigned: 0 is a pause."""
    name = "lr" if epoch is None else f"the scheduled lr of epoch {epoch}"
    _sgd_option(name, lr, is_finite(lr) and lr >= 0, "finite and at least 0")
    return float(lr)


def step_rate(lr: Any) -> float:
    """Return the learning rate that a step was given."""
    if not (is_finite(lr) and lr >= 0):
        raise ValueError(f"step: lr must be finite and at least 0, got {lr!r}")
    return float(lr)


def _sgd_option(name: str, value: object, valid: bool, expected: str) -> None:
    if not valid:
        raise ValueError(f"SGD: {name} must be {expected}, got {value!r}")


# Inputs and targets


def on_gpu(array: object) -> bool:
    """Return whether an array is on a GPU."""
    if isinstance(array, np.ndarray):
        return False
    try:  # the array, not its type: the type of PyTorch's tensors has the attribute wherever a tensor is
        return hasattr(array, "__cuda_array_interface__")
    except RuntimeError:  # of PyTorch, for a tensor on a GPU that requires a gradient
        return True


def array(name: str, values: Any, take: Callable[[Any], Array] | None = None, hint: str = "") -> Array:
    """Return an array of any library, or what NumPy makes an array of, as an array of NumPy's.

    Nothing is copied if the other library allows that. `take` makes an array of what is on a GPU; without `take`, that
    is refused, and `hint` says what else to do.
    """
    if type(values) is np.ndarray:
        return values
    if isinstance(values, (str, os.PathLike)):
        raise ValueError(
            f"{name} must be an array, got {values!r}: read the file first, as by np.asarray(Image.open(path)) or "
            "pandas.read_csv(path)"
        )
    if _masked(values):
        held = name if isinstance(values, np.ma.MaskedArray) else f"np.ma.array({name})"
        raise ValueError(
            f"{name} must have no masked entries, since numnet takes every entry for a number: fill them in, "
            f"{held}.filled(value)" + (_LEAVE_OUT.format(held) if name in _BY_SAMPLE else "")
        )
    there, give = on_gpu(values), ""
    convert: Any = np.from_dlpack if hasattr(values, "__dlpack__") and not hasattr(values, "__array__") else np.asarray
    try:
        found: Array = (take if there and take else convert)(values)
        if there and found.dtype.kind == "V":  # so CuPy reads numbers that are unknown to it
            why = f"CuPy has no {values.dtype}"
        elif found.ndim or found.dtype != object or isinstance(values, Number):
            return found
        else:
            why = "it is sparse" if hasattr(values, "toarray") else "it is no array"
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        if type(values).__module__.startswith("numnet."):  # a Dataset says itself what to give
            raise ValueError(f"{name}: {error}") from None
        why = str(error).partition("\n")[0].rstrip(".")
        if len(shapes := _shapes(values)) > 1:
            why = f"its entries have different shapes, such as {shapes[0]} and {shapes[1]}"
            give = ": give all entries the same shape"
    if _device(values) == "meta":
        why = "on the device meta it has a shape, but no numbers: make it on the CPU"
    kind = f"{type(values).__module__.partition('.')[0]}.{type(values).__name__}".removeprefix("builtins.")
    calls = _readable(values, stay=there and take is not None)
    if there and take is None:
        give = f"{name}{calls}" if calls else f"a copy of {name} on the CPU"
        raise DeviceError(f"{name} must be on the CPU, but this {kind} is on a GPU: give {give}{hint}")
    give = f": give {name}{calls}" if calls else give
    raise ValueError(f"{name} must be an array, but NumPy makes none of this {kind} ({why}){give}")


def _shapes(values: Any) -> list[tuple[int, ...]]:
    """Return the different shapes of the entries of a list; none if an entry has no shape."""
    with suppress(TypeError, ValueError, RuntimeError):
        return list({np.shape(value): None for value in values}) if isinstance(values, (list, tuple)) else []
    return []


_BY_SAMPLE = ("inputs", "targets", "images", "labels", "x", "y", "t")
_LEAVE_OUT = ", or leave out their samples, by the index ~np.ma.getmaskarray({0}).reshape(len({0}), -1).any(axis=1)"


def _masked(values: Any) -> bool:
    """Return whether an array has masked entries, or an array in a list has."""
    if isinstance(values, (list, tuple)):
        return any(issubclass(kind, (list, tuple, np.ma.MaskedArray)) for kind in {*map(type, values)}) and any(
            map(_masked, values)
        )
    return isinstance(values, np.ma.MaskedArray) and not values.dtype.names and np.ma.is_masked(values)


def _device(values: Any) -> str:
    """Return the kind of device that PyTorch names for its tensor; for anything else the CPU."""
    return str(getattr(getattr(values, "device", None), "type", "cpu"))


def _readable(values: Any, stay: bool) -> str:
    """Return the calls that make an array of another library readable, as PyTorch, SciPy and CuPy name them.

    `stay` says that the array may stay on its GPU.
    """
    calls = {
        ".detach()": getattr(values, "requires_grad", False) is True,
        ".to_dense()": "sparse" in str(getattr(values, "layout", "")),
        ".toarray()": hasattr(values, "toarray"),
        ".float()": any(kind in str(getattr(values, "dtype", "")) for kind in ("bfloat", "float8")),
        ".cpu()": not stay and _device(values) not in ("cpu", "meta"),
        ".get()": not stay and on_gpu(values) and hasattr(values, "get"),
    }
    return "".join(call for call, needed in calls.items() if needed)


@contextmanager
def named(name: str) -> Iterator[None]:
    """Say in errors which argument is at fault."""
    try:
        yield
    except ValueError as error:
        raise (DeviceError if isinstance(error, DeviceError) else ValueError)(f"{name}: {error}") from None


def is_dataset(data: Any) -> bool:
    """Return whether this is a Dataset, and not a table with a column of such a name."""
    return hasattr(data, "images") and hasattr(data, "labels")


def images_and_labels(data: Any) -> tuple[Any, Any]:
    """Return the inputs and targets of a Dataset, or of a pair of arrays."""
    if is_dataset(data):
        return data.images, data.labels
    if isinstance(data, (tuple, list)) and len(data) == 2:
        if is_dataset(data[0]):
            raise ValueError(
                "data must be one Dataset, got a pair of them: unpack it, train, test = ..., and give each"
            )
        return data[0], data[1]
    hint = ""
    if isinstance(data, (tuple, list)):
        hint = f" of {len(data)}"
    elif hasattr(data, "shape"):
        hint = ": give the targets, too, as a pair, (x, t)"
    elif hasattr(data, "tensors"):  # PyTorch's TensorDataset
        hint = ": give data.tensors"
    elif hasattr(getattr(data, "dataset", None), "tensors"):  # PyTorch's DataLoader
        hint = ": give data.dataset.tensors"
    raise ValueError(f"data must be a Dataset or a pair of arrays (x, t), got {type(data).__name__}{hint}")


def inputs(x: Any, net: Any, in_fit: bool = False) -> Array:
    """Return a batch for a network as an array of shape (n, features), with the values and the dtype unchanged.

    Warn once of images that are not scaled since they are no bytes. `in_fit` leaves that to `data_warnings`.
    """
    given = x
    if type(x) is not np.ndarray:
        x = net.operations.asarray("inputs", x)
        if x.dtype == object and all(issubclass(kind, Real) for kind in set(map(type, x.flat))):
            x = x.astype(float)  # a table with columns of numbers and of True and False
    if x.dtype.kind not in ("biufc" if net.parameters.dtype.kind == "c" else "biuf"):
        hint = "" if floats(x) is None else ": give np.asarray(x, float)"
        if not hint and hasattr(given, "columns"):  # a table
            columns_of_numbers("inputs", given, x)
        raise ValueError(f"inputs must be real numbers, got dtype {x.dtype}{hint}")
    features = math.prod(x.shape[1:])
    if x.ndim < 2 or not features or (net.inputs is not None and features != net.inputs):
        takes = net.inputs or ("any number of" if features else "one or more")
        which = f", which is {features} a sample" if x.ndim > 2 else ""
        hint = ": for a single sample give np.reshape(x, (1, -1))" if x.size == net.inputs else ""
        hint = ": for samples of one feature give np.reshape(x, (-1, 1))" if x.ndim == 1 == net.inputs else hint
        hint = ": for samples in columns give np.transpose(x)" if x.ndim == 2 and len(x) == net.inputs else hint
        if net.inputs and x.ndim == 4 and x.shape[-1] in (3, 4) and features == x.shape[-1] * net.inputs:
            hint = (
                ": the last axis looks like colours: average them, np.mean(x[..., :3], axis=-1).astype(x.dtype), or "
                "for digits give np.stack([nn.datasets.as_mnist(image) for image in x])"
            )
        raise ValueError(
            f"the network takes batches of shape (n, ...) with {takes} features a sample, got {x.shape}{which}{hint}"
        )
    mapped.refuse_cut("inputs", x)  # before reshape, which may copy
    if x.dtype.kind in "iu" and x.dtype != np.uint8 and x.ndim > 2 and x.size and not in_fit and net not in _told:
        low, high = x[:CHUNK].min(), x[:CHUNK].max()
        if low >= 0 and 16 < high <= 255:
            _told.add(net)
            warn(
                f"the images are {x.dtype} from {low} to {high} and are not scaled, since only bytes (uint8) are "
                "divided by 255: give np.asarray(x, np.uint8), unless the network was trained on such numbers"
            )
    return x if x.ndim == 2 else x.reshape(len(x), features)  # type: ignore[no-any-return]


def columns_of_numbers(name: str, given: Any, array: Array) -> None:
    """Refuse a table, here also as an array, with a column that holds anything but real numbers."""
    for i, column in enumerate(columns(given) or range(array.shape[1])):
        for value in array[:, i].ravel().tolist():
            if not isinstance(value, Real):
                raise ValueError(
                    f"{name} must be numbers, but column {column!r} holds {value!r}: make numbers of this column first "
                    "(astype(float), or pandas.get_dummies for categories), or leave it out"
                )


def columns(given: Any) -> list[Any]:
    """Return the names of the columns of a table, or of a single column; an empty list if they have none."""
    name = getattr(given, "name", None)
    return list(getattr(given, "columns", () if name is None else (name,)))


_told: weakref.WeakSet[Any] = weakref.WeakSet()  # networks that have had integers for images


def batch_shape(shape: tuple[int, ...], inputs: int | None) -> tuple[int, int]:
    """Return the shape of a batch for `forward`, which takes less than a network that is called takes."""
    if len(shape) != 2 or inputs not in (None, shape[1]):
        raise ValueError(
            f"forward takes batches of shape (n, {inputs or 'features'}), got {shape}: flatten the samples, or call "
            "net(x), which does so"
        )
    return shape[0], shape[1]


def floats(values: Array) -> Array | None:
    """Return strings or objects as floats; None if they are no real numbers."""
    with suppress(TypeError, ValueError):
        return None if values.dtype.kind == "c" else values.astype(float)
    return None


def parts(rows: int, *widths: int | None) -> list[slice]:
    """Return the slices of as many rows as are worked on at a time: fewer if the rows, or what they become, are wide.

    Of no rows there is one slice, which is empty.
    """
    size = max(1, CHUNK * _WIDE // max((_WIDE, *filter(None, widths))))
    return [slice(start, start + size) for start in range(0, rows or 1, size)]


def finite(values: Array, given: Array, start: int = 0, rows: Array | None = None, x: Array | None = None) -> None:
    """Refuse values that are not finite; `given` are the numbers that they came from.

    They are those of the samples from `start` on, or of the samples `rows`. `x` has all samples.

    The sum of the squares is finite only if every value is finite, and takes one pass. If the sum is not finite, every
    value is looked at.
    """
    flat = values.ravel(order="K")
    if not math.isfinite(abs(np.dot(flat, flat))) and not np.isfinite(values).all():
        row, feature = map(int, np.argwhere(~np.isfinite(values))[0])  # `values` may be on a GPU, and `given` not
        sample = start + row if rows is None else rows[row]
        value, hint = given[row, feature], ""
        if x is not None and len(x) > 1 and all(np.isnan(x[part, feature]).all() for part in parts(len(x))):
            raise ValueError(
                f"inputs must be finite, but feature {feature} is nan in every sample: leave the feature out, or, if "
                "the feature was divided by a standard deviation of 0, divide by 1"
            )
        if np.isfinite(value):
            hint = f", and {values.dtype} ends at {np.finfo(values.dtype).max:.3g}: standardize the inputs"
        elif rows is None:
            hint = f": {_FILL_IN}"
        raise ValueError(f"inputs must be finite, but feature {feature} of sample {sample} is {value}{hint}")


_FILL_IN = (
    "fill in numbers, or keep only samples without nan and inf, those with np.isfinite(np.asarray(x, float))"
    ".reshape(len(x), -1).all(axis=1)"
)


_LEAVE_OUT_T = (
    "keep only samples with targets, those with np.isfinite(np.asarray(t, float)).reshape(len(t), -1).all(axis=1)"
)


def samples(x: Array, t: Array, dtype: np.dtype[Any]) -> None:
    """Refuse inputs that are not finite in the network's dtype, and targets that are not as many as the inputs."""
    for rows in parts(len(x), x.shape[1]) if x.dtype.kind in "fc" else ():  # x may be larger than memory
        part: Any = x[rows]
        with np.errstate(all="ignore"):
            finite(part.astype(dtype, copy=False), part, rows.start, x=x)
    if len(x) == 0 or t.ndim == 0 or len(x) != len(t):
        columns = ": for samples in columns give np.transpose(t)" * (t.ndim == 2 and t.shape[1] == len(x))
        raise ValueError(
            f"one target for each sample, and at least one sample, are needed, got {len(x)} samples and targets of "
            f"shape {t.shape}{_of_one_sample(t) or columns}"
        )


def sample_weight(values: Any, n: int, dtype: Any = np.float64) -> Array:
    """Return one weight for each sample, in a network's dtype."""
    weight = array("sample_weight", values)
    mapped.refuse_cut("sample_weight", weight)
    if weight.ndim != 1 or len(weight) != n or weight.dtype.kind not in "biuf":
        raise ValueError(
            f"sample_weight must be one number for each of the {n} samples, of shape ({n},), got "
            f"{weight.dtype} of shape {weight.shape}"
        )
    with np.errstate(all="ignore"):
        weight = weight.astype(dtype)
    if not (np.isfinite(weight).all() and (weight >= 0).all() and weight.any()):
        raise ValueError(
            f"sample_weight must be finite numbers of at least 0, and not all zero, but in {weight.dtype} they range "
            f"from {weight.min():g} to {weight.max():g}"
        )
    return weight


def _of_one_sample(t: Array) -> str:
    return ": for a single sample give np.reshape(t, 1)" if t.ndim == 0 else ""


_NUMBERED = "t = list(map(np.unique(train_t).tolist().index, np.ravel(t))) with the training targets train_t"


def _remedy_for_labels(t: Array) -> str:
    """Return what makes class indices of labels of shape (n,) that are none."""
    numbers = floats(t)
    if numbers is None:  # words
        kinds = [type(label).__name__ for label in t.ravel().tolist()]
        most = max(set(kinds), key=kinds.count)
        if len(set(kinds)) > 1:  # None, nan or pandas.NA among them, which cannot be sorted
            those = f"np.array([type(label) is {most} for label in np.ravel(t)])"
            return f"keep only samples with a label, those with {those}"
        return f"number the classes, {_NUMBERED}, or give nn.datasets.Dataset.from_arrays(x, t)"
    if not np.isfinite(numbers).all():
        return "keep only samples with a label, those with np.isfinite(np.asarray(t, float))"
    if (numbers != np.rint(numbers)).any():
        regression = "for a regression end the network in Linear(..., 1) with Quadratic()"
        return f"{regression}; if each number is a class, {_NUMBERED}"
    return "give np.asarray(t, float).astype(int)"


def labels(t: Array, classes: int, rows: Array | None = None) -> Array:
    """Return class indices, of the samples `rows` or of all, as they are: integers from 0 to classes - 1."""
    if t.dtype.kind not in "iu":
        raise ValueError(
            f"targets of shape (n,) are class indices and must be integers, got dtype {t.dtype}: "
            f"{_remedy_for_labels(t)}"
        )
    if t.size and (t.min() < 0 or t.max() >= classes):
        wrong, found = int(np.flatnonzero((t < 0) | (t >= classes))[0]), np.unique(t)
        if rows is not None:
            remedy = ""
        elif len(found) > classes:
            remedy = f": there are {len(found)} classes, so give the network as many outputs"
        elif found[0] > 0 and found[-1] == classes:
            remedy = ": if the classes are counted from 1, give np.asarray(t) - 1"
        else:
            remedy = f": number the classes from 0, {_NUMBERED}"
        raise ValueError(
            f"class indices must be from 0 to {classes - 1} for {classes} outputs, but that of sample "
            f"{wrong if rows is None else rows[wrong]} is {t[wrong]}{remedy}"
        )
    return t


def targets(t: npt.ArrayLike, outputs: int, dtype: npt.DTypeLike) -> Array:
    """Return targets as an (n, outputs) array of a dtype.

    Class indices of shape (n,) become one-hot rows. For a single output, (n,) numbers become a column. Rows of shape
    (n, outputs) are taken as they are.
    """
    t, dtype = array("targets", t), np.dtype(dtype)
    if t.ndim == 1 and outputs > 1:
        return (labels(t, outputs)[:, None] == np.arange(outputs)).astype(dtype)  # type: ignore[no-any-return]
    column = ": for a column of class indices give np.ravel(t)" if t.ndim == 2 and t.shape[1] == 1 else ""
    if t.dtype.kind not in ("biufc" if dtype.kind == "c" else "biuf"):
        numbers = floats(t)
        if numbers is not None and (t.ndim > 1 or np.isfinite(numbers).all()):
            hint = ": give np.asarray(t, float)"
        else:
            hint = f": {_remedy_for_labels(t)}" if t.ndim == 1 else ""
        raise ValueError(f"targets must be real numbers, got dtype {t.dtype}{column or hint}")
    t = t[:, None] if t.ndim == 1 else t
    if t.ndim != 2 or t.shape[1] != outputs:
        hint = ""
        if t.ndim == 2 and outputs == 1:
            hint = f": for classes end the network in Linear(..., {t.shape[1]}), Softmax()"
        raise ValueError(
            f"targets must be class indices of shape (n,) or rows of shape (n, {outputs}) for {outputs} "
            f"output{'s' * (outputs > 1)}, got shape {t.shape}{column or hint or _of_one_sample(t)}"
        )
    with np.errstate(all="ignore"):
        rows = t.astype(dtype, copy=False)
    if not np.isfinite(rows).all():
        row, column = np.argwhere(~np.isfinite(rows))[0]
        hint = "" if np.isfinite(t[row, column]) else f": {_LEAVE_OUT_T}"
        raise ValueError(f"targets must be finite in {dtype}, but t[{row}, {column}] is {t[row, column]}{hint}")
    return rows


def suitable(t: Array, pair: Any, rows: Array | None = None) -> None:
    """Refuse targets, of the samples `rows` or of all, that the last layer cannot give or the cost cannot take."""
    if not np.isfinite(t).all():
        row, column = np.argwhere(~np.isfinite(t))[0]
        sample = row if rows is None else rows[row]
        raise ValueError(f"targets must be finite, but t[{sample}, {column}] is {t[row, column]}")
    reachable(t, pair.layer)
    pair.cost.check("t", t)


def again(samples: Any, rows: Array, x: Array, t: Array) -> None:
    """Refuse the inputs and targets of the samples `rows` if they have changed to what is refused at the beginning."""
    if samples.x.dtype.kind == "f":
        finite(x, x, rows=rows)
    if t.ndim == 1:
        labels(t, samples.outputs, rows)
    else:
        suitable(t, samples.pair, rows)


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


def reach(layer: Any) -> tuple[float, float]:
    """Return the lowest and the highest output of a layer. A new `forward` does not inherit the `range` of the old."""
    for kind in type(layer).__mro__:
        if isinstance(limits := vars(kind).get("range"), (tuple, list)):  # a layer may have a method of this name
            return limits[0], limits[1]
        if "forward" in vars(kind):
            break
    return -math.inf, math.inf


def reachable(t: Array, layer: Any) -> None:
    """Refuse targets that the last layer can never reach."""
    low, high = reach(layer)
    least, most = t.min(), t.max()
    if low - _ROUNDING <= least and most <= high + _ROUNDING:
        return
    found = np.unique(t)
    labels = t.shape[1] == 1 and len(found) > 1 and (found == np.rint(found)).all()
    if labels and len(found) == 2 and not math.isnan(middle(layer)):
        mapped = f"np.asarray(t) == {found[1]:g}"
        raise ValueError(
            f"classes for a single output of {layer!r} must be {low:g} and 1, but the labels are {found[0]:g} and "
            f"{found[1]:g}: give {mapped if low == 0 else f'2 * ({mapped}) - 1'}"
        )
    several = labels and layer.probabilities and len(found) == found[-1] - found[0] + 1  # counted without a gap
    hint = f": for {len(found)} classes end the network in Linear(..., {len(found)}), Softmax()" if several else ""
    raise ValueError(
        f"targets must be numbers that the last layer, {layer!r}, can give, {low:g} to {high:g}, but they range from "
        f"{least:.6g} to {most:.6g}{hint or ': scale the targets, or end the network in a Linear layer'}"
    )


def middle(layer: Any) -> float:
    """Return the output of a single unit that separates two classes; nan if a single output is no class."""
    return 0.5 if layer.probabilities else 0.0 if reach(layer) == (-1, 1) else math.nan


def target_classes(t: Array, layer: Any) -> Array | None:
    """Return the classes that rows of targets stand for; None if they stand for none."""
    if t.shape[1] == 1:
        probabilities = layer.probabilities and t.min() >= -_ROUNDING and t.max() <= 1 + _ROUNDING
        yes_or_no = probabilities or (reach(layer) == (-1, 1) and (np.abs(t) == 1).all())
        return (t[:, 0] > middle(layer)).astype(np.intp) if yes_or_no else None
    return t.argmax(axis=1) if is_distribution(t) or _one_of_two_values(t, layer) else None


def _one_of_two_values(t: Array, layer: Any) -> bool:
    """Return whether each row has one value once and a lower value everywhere else, as 0.99 and 0.01.

    A single row of targets of any size is no sign of classes.
    """
    low, high = t.min(), t.max()
    once = ((t == high).sum(axis=1) == 1).all() and ((t == low) | (t == high)).all()
    return bool(low < high and once and (len(t) > 1 or math.isfinite(reach(layer)[1])))


def has_classes(layer: Any, outputs: int) -> None:
    """Refuse to name a class if the single output of the last layer is no class."""
    if outputs == 1 and not layer.probabilities:
        hint = ", and np.sign(net(x)) gives the classes -1 and 1" if reach(layer) == (-1, 1) else ""
        raise ValueError(
            f"the single output of the last layer, {layer!r}, is a number and no class: net(x) gives the numbers{hint}"
        )


def wanted_classes(t: Array, samples: int, outputs: int, layer: Any) -> Array:
    """Return the classes that an accuracy compares outputs with."""
    if t.ndim == 0 or samples != len(t) or not samples:
        raise ValueError(
            f"accuracy needs one target for each image, and at least one image, got {samples} images and targets of "
            f"shape {t.shape}{_of_one_sample(t)}"
        )
    if t.ndim == 1 and outputs > 1:
        return labels(t, outputs)
    rows = targets(t, outputs, np.float64)
    reachable(rows, layer)
    wanted = target_classes(rows, layer)
    if wanted is None and outputs == 1:
        raise ValueError(
            f"accuracy needs classes, but the single output of the last layer, {layer!r}, is a number: compare net(x) "
            "with the targets"
        )
    if wanted is None:
        raise ValueError(
            "accuracy needs targets that are classes: indices, or rows of probabilities that sum to 1, or rows with "
            "one value for the class and another for the rest. Compare net(x) with other targets"
        )
    return wanted


# What most often is a mistake

# A thousand samples, spread evenly, are enough to see a range, and quick to look at however many there are.
_LARGE = 20  # a feature of this size (root mean square) saturates what it reaches; that of pixels from 0 to 16 is lower
_SMALL = 0.01  # if all features are smaller, the weights hardly move; those of scikit-learn's diabetes have 0.05
_LEVELS = 31  # bytes up to this are 0/1, 0 to 15 or 0 to 16 rather than intensities from 0 to 255
_PIXELS = 16  # inputs with fewer features are no images
_FEW, _MANY = 10, 100  # fewer samples may well lack a class; so many have the size of others of their kind
_HUGE = 1000.0  # no float32 overflows from smaller numbers, except in many layers
_UNIT = 100.0  # targets of one unit differ less in range
_WORSE = 1.5  # times the cost of guessing: a slow start is not much worse than guessing


@quiet
def data_warnings(train: Any, tests: Any) -> None:
    """Warn of training and test samples that are most often a mistake."""
    x, t, labels = train.take(train.spread)
    if train.x.dtype.kind in "iu" and train.x.dtype != np.uint8:
        _told.add(train.net)
    low, high, is_bytes = float(x.min()), float(x.max()), train.x.dtype == np.uint8
    size = float(np.sqrt(np.mean(np.square(x, dtype=np.float64), axis=0).max()))
    if is_bytes and 0 < round(255 * high) <= _LEVELS and (most := int(train.x.max())) <= _LEVELS:
        floats = "np.asarray(x, np.float32), or, if x was divided by 255 and then made bytes, x as it was before"
        warn(
            f"train: the inputs are bytes, which numnet takes as intensities from 0 to 255, but the largest is {most}: "
            f"give {floats if most == 1 else f'x / {most}'}"
        )
    elif size > _LARGE or (0 < size < _SMALL and train.size >= _FEW):
        remedy = (
            "standardize each feature, (x - mean) / np.where(std > 1e-6 * abs(mean), std, 1), with x = np.asarray(x, "
            "float), mean = x.mean(axis=0), std = x.std(axis=0), and for test data with the mean and std of the "
            "training data"
        )
        if size < _SMALL:
            remedy = f"divide pixels by 255 only once, and bytes not at all, or {remedy}"
        elif low >= 0 and 100 < high <= 255 and (x == np.rint(x)).all():
            remedy = "give pixels from 0 to 255 as bytes, np.asarray(x, np.uint8), or divide them by 255"
        warn(
            f"train: the inputs range from {low:.6g} to {high:.6g}, far {'below' if size < _SMALL else 'beyond'} the "
            f"size of about 1 that suits a network: {remedy}"
        )
    hidden = sum(bool(layer.parameters) for layer in train.net.layers) > 1
    if hidden and _bright_ground(x, low, high, train.shape):
        warn(
            "train: the ground of the images is bright, and hidden layers learn badly from many large inputs: give "
            f"{255 if is_bytes else f'{high:.6g}'} - images, and test images alike"
        )
    if _too_large(x, t, train.net):
        no_divergence("before the first step", 0.0, train.evaluate(train.spread)[0], before=(x, t, train.net))
    if labels is None:
        seen, largest = None, float(np.abs(t).max())
        if hidden and largest > _HUGE and math.isinf(reach(train.pair.layer)[1]):
            warn(
                f"train: the targets reach {largest:,.6g}, far beyond what a network gives at the start: standardize "
                "them, (t - np.mean(t, axis=0)) / np.std(t, axis=0), and test targets with the same mean and std"
            )
    else:
        seen = np.unique(train.labels)
        alike = train.targets is None or (train.targets == train.targets[0]).all()  # not so if they are probabilities
        if train.size >= _FEW and len(seen) == 1 and alike:
            warn(f"train: all targets are of class {seen[0]}, so there is nothing to tell apart: check the labels")
    if tests is not None:
        _compare(train, x, t, seen, tests)


def _bright_ground(x: Array, low: float, high: float, shape: tuple[int, ...]) -> bool:
    """Return whether inputs are images, bright for the most part, and their dark pixels are not at the border.

    Rows are not judged, since they may be those of a table, whatever their length is.
    """
    shape = tuple(size for size in shape if size > 1)
    if not (len(shape) == 2 or (len(shape) == 3 and shape[2] in (3, 4))) or min(shape[:2]) < 8 or low < 0:
        return False
    images = x.reshape(len(x), *shape[:2], -1)[..., :3]  # of RGBA without the alpha
    mean = float(images.mean())
    border = np.concatenate([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], axis=1)
    darker = high - float(border.mean()) < 0.75 * (high - mean)
    return mean > high / 2 and darker and float((border >= 0.9 * high).mean()) > 0.5


def _compare(train: Any, x: Array, t: Array, seen: Array | None, tests: Any) -> None:
    """Warn of test samples that differ in kind from those to train on, `x` with targets `t` or classes `seen`."""
    if train.names and tests.names and train.names != tests.names:
        differ = [f"{name!r} is missing" for name in train.names if name not in tests.names][:3]
        differ += [f"{name!r} is new" for name in tests.names if name not in train.names][:3]
        both = enumerate(zip(tests.names, train.names, strict=False))
        differ = differ or [f"class {i} is {name!r}, not {other!r}" for i, (name, other) in both if name != other][:1]
        raise ValueError(
            f"test: the classes are not those of the training data ({', '.join(differ)}): number the labels alike, "
            "Dataset.from_arrays(x, t, classes=train.classes)"
        )
    if seen is None and tests.targets is not None:
        tests.labels = None  # if rows of test targets look like classes, they do so by chance
    other, other_t, _ = tests.take(tests.spread)
    if seen is None and min(train.size, tests.size) >= _FEW:
        (low, high), (other_low, other_high) = ((float(a.min()), float(a.max())) for a in (t, other_t))
        if high > low and other_high > other_low and not 1 / _UNIT <= (other_high - other_low) / (high - low) <= _UNIT:
            warn(
                f"test: the targets range from {other_low:,.6g} to {other_high:,.6g}, and those of the training data "
                f"from {low:,.6g} to {high:,.6g}: are they in the same unit?"
            )
    if seen is not None and tests.labels is not None and train.size >= _FEW:
        new = [str(int(label)) for label in np.unique(tests.labels) if not (seen == label).any()]
        if new:
            names = ", ".join(new[:10] + ["..."] * (len(new) > 10))
            warn(
                f"test: there is no sample of class {names} in the training data: shuffle before you split, or split "
                "by train, test = data.split(0.2, seed=0)"
            )
    mean, other_mean = np.mean(x, axis=0), np.mean(other, axis=0)
    low, high = min(float(x.min()), float(other.min())), max(float(x.max()), float(other.max()))
    unlike, unlike_inverse = (float(np.abs(other_mean - m).mean()) for m in (mean, low + high - mean))
    if x.shape[1] >= _PIXELS and unlike > 0.2 * (high - low) and unlike_inverse < unlike / 2:
        warn(
            "test: the images look inverted to those of the training data, as black on white to white on black: give "
            f"{255 if tests.x.dtype == np.uint8 else f'{low + high:.6g}'} - images, or each image as "
            "nn.datasets.as_mnist(image)"
        )
        return
    # The mean alone would also tell of a few samples with huge numbers.
    sizes, other_sizes = (np.sqrt(np.mean(np.square(a, dtype=np.float64), axis=1)) for a in (x, other))
    size, other_size = float(sizes.mean()), float(other_sizes.mean())
    factor = 2 if min(train.size, tests.size) >= _MANY else 10
    larger = other_size > factor * size > 0 and np.mean(other_sizes > size) > 0.5
    smaller = other_size < size / factor and np.mean(sizes > other_size) > 0.5
    if larger or (smaller and tests.size >= _FEW):
        kinds = [
            f"{samples.x.dtype} from {a.min():.4g} to {a.max():.4g}{' once scaled' * (samples.x.dtype == np.uint8)}, "
            f"of mean size {mean_size:.3g}"
            for samples, a, mean_size in ((tests, other, other_size), (train, x, size))
        ]
        warn(
            f"test: the inputs are of another kind or range ({kinds[0]}) than those of the training data ({kinds[1]}): "
            f"prepare both in the same way{', digits by nn.datasets.as_mnist(image)' * (x.shape[1] >= _PIXELS)}"
        )


@quiet
def worse_than_guessing(train: Any, cost: float, start: float, lr: float) -> None:
    """Warn if the cost after the first epoch is far above the cost of always giving the shares of the classes.

    A network that only learns slowly, from the cost `start` before the epoch on, is no worse than at its start.
    """
    x, t, _ = train.take(train.spread)
    shares = np.empty_like(t)
    shares[...] = t.mean(axis=0)
    guess = float(train.pair.cost.value(shares, t, np.empty_like(t)))
    if train.size >= _FEW and guess > 0 and cost > _WORSE * max(guess, start):
        bright = x.shape[1] >= _PIXELS and float(x.min()) >= 0 and float(x.mean()) > float(x.max()) / 2
        ground = "The ground of the images is bright: invert them, so that the ground is 0. " if bright else ""
        warn(
            f"train: the first epoch ends with a cost of {cost:.4g}, and guessing by the shares of the classes has "
            f"{guess:.4g}. {ground}Try a smaller learning rate than {lr:g}, or standardize the inputs"
        )


def warn(text: str, category: type[Warning] = DataWarning) -> None:
    """Warn at the line outside numnet that led here."""
    level, frame, inside = 1, sys._getframe(), ("numnet.", "contextlib", "numpy.")
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).startswith(inside):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, category, stacklevel=level)


# Files that data are mapped from


def unchanged(files: Sequence[tuple[str, Any]]) -> None:
    """Refuse to go on with files that have changed. A deleted file is fine, since the mapping keeps its contents."""
    for path, before in files:
        if file_state(path) not in (before, None):
            raise ValueError(f"the file {path} is not as it was: start again with what is in the file now")


def file_state(path: str | os.PathLike[str]) -> tuple[int, ...] | None:
    """Return what differs if a file is not the same or has changed; None if there is no file."""
    with suppress(OSError):
        state = os.stat(path)
        return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns
    return None


# A run


_ELSEWHERE = {  # how fit's arguments are called in Keras, PyTorch and scikit-learn
    ("validation_data", "val_data", "valid", "validation", "eval_set"): "give the data in test=(x, t)",
    ("validation_split", "validation_fraction"): (
        "split the data before, for classes by train, test = nn.datasets.Dataset.from_arrays(x, t).split(0.1, seed=0), "
        "and give test=test"
    ),
    ("lr", "learning_rate", "momentum", "weight_decay", "optimizer"): (
        "the optimizer has the option, Trainer(net, cost, SGD(lr=...))"
    ),
    ("n_epochs", "num_epochs", "nb_epoch", "epoch", "max_iter", "max_epochs"): "the argument is called epochs",
    ("batch", "bs", "minibatch_size", "mini_batch_size"): "the argument is called batch_size",
    ("y", "t", "labels", "targets", "X", "x"): (
        "give inputs and targets as a pair, fit((x, t), epochs=..., batch_size=...)"
    ),
    ("verbose",): "progress=False hides the bar",
    ("shuffle", "seed", "random_state"): "every epoch is shuffled, by Trainer(..., seed=...)",
    ("patience", "early_stopping"): "give callbacks=[numnet.keep_best(patience=...)]",
    ("class_weight", "class_weights"): (
        "give sample_weight=w[labels], with the class indices labels, such as train.labels of a Dataset train, and w "
        "an array of one weight for each class, such as w = 1 / np.bincount(labels)"
    ),
    ("sample_weights", "weights", "weight"): "give sample_weight=..., an array of one weight for each sample",
}


def data_in_one(method: Callable[_P, _Result]) -> Callable[_P, _Result]:
    """Let a method say what to give instead of inputs and targets as two arguments, as other libraries take them."""
    name, (_, *names) = method.__name__, inspect.signature(method).parameters
    what, rest = ("training data", ", epochs=..., batch_size=...") if name == "fit" else ("data", "")

    @functools.wraps(method)
    def called(*args: _P.args, **kwargs: _P.kwargs) -> _Result:
        given = names[: len(args) - 1]
        if len(args) - 1 > len(names) or kwargs.keys() & set(given[1:]) or names[0] not in (*given, *kwargs):
            raise TypeError(
                f"{name} takes the {what} as one argument, a Dataset or a pair of inputs and targets: "
                f"{name}((x, t){rest})"
            )
        return method(*args, **kwargs)

    return called


def data_in_two(function: Callable[_P, _Result]) -> Callable[_P, _Result]:
    """Let a function of inputs and targets say what to give instead of a Dataset or a pair, as `fit` takes them."""
    name, names = function.__name__, list(inspect.signature(function).parameters)
    target = "t" if "t" in names else "targets"
    before = names.index(target)

    @functools.wraps(function)
    def called(*args: _P.args, **kwargs: _P.kwargs) -> _Result:
        pair = len(args) <= before and target not in kwargs and isinstance(args[-1], tuple)
        if pair or any(is_dataset(value) for value in (*args, *kwargs.values())):
            raise TypeError(
                f"{name} takes inputs and targets as two arguments: of a Dataset give data.images, data.labels"
            )
        return function(*args, **kwargs)

    return called


def fit_arguments(
    epochs: Any,
    batch_size: Any,
    callbacks: Any,
    checkpoint_every: Any,
    checkpoint_failure: Any,
    unknown: dict[str, Any],
    run: Any,
) -> None:
    """Refuse arguments with which a run cannot go on."""
    for name in unknown:
        hint = next((f": {text}" for names, text in _ELSEWHERE.items() if name in names), "")
        raise TypeError(f"fit has no argument {name!r}{hint}")
    if hasattr(epochs, "__len__") and not isinstance(epochs, str):
        raise ValueError(
            "fit: epochs must be a whole number of at least 1, got an array or list: give inputs and targets as a "
            "pair, fit((x, t), epochs=..., batch_size=...)"
        )
    progress, finish = run.progress, epochs is None and batch_size is None
    if finish and not progress.last:
        raise ValueError("fit: epochs and batch_size are needed, since no interrupted run is left to finish")
    if not finish and (epochs is None or batch_size is None):
        missing = "epochs" if epochs is None else "batch_size"
        raise ValueError(
            f"fit: {missing} is missing: give epochs and batch_size, or leave out both to finish an interrupted run"
        )
    if not finish and progress.done:
        raise ValueError(
            f"fit: the run is in the middle of epoch {len(run.history) + 1} of {progress.last}, with batches of "
            f"{progress.batch_size}: finish it first, by fit without epochs and batch_size"
        )
    if not finish:
        whole_numbers("fit", epochs=epochs, batch_size=batch_size)
    if not isinstance(callbacks, (list, tuple)) or not all(map(callable, callbacks)):
        hint = ": write callbacks=[...]" if callable(callbacks) else ""
        raise ValueError(f"fit: callbacks must be a list of functions of the trainer, got {callbacks!r}{hint}")
    count, _, unit = str(checkpoint_every).partition(" ")
    units = ("", "epoch", "epochs", "batch", "batches")
    if isinstance(checkpoint_every, bool) or not count.isdecimal() or int(count) < 1 or unit not in units:
        raise ValueError(
            "fit: checkpoint_every must be a number of epochs, at least 1, or as in '500 batches', got "
            f"{checkpoint_every!r}"
        )
    if checkpoint_failure not in ("raise", "warn"):
        raise ValueError(f"fit: checkpoint_failure must be 'raise' or 'warn', got {checkpoint_failure!r}")


def keep_best_arguments(by: Any, patience: Any) -> None:
    """Refuse arguments from which no callback can be made."""
    columns = ("test_accuracy", "test_cost", "train_accuracy", "train_cost")
    if by not in columns:
        raise ValueError(f"keep_best: by must be one of {', '.join(columns)}, got {by!r}")
    if patience is not None:
        whole_numbers("keep_best", patience=patience)


def recorded(column: str, value: float) -> float:
    """Return a value of the history, which must have been recorded."""
    if math.isnan(value):
        remedies, cost = [], column.replace("accuracy", "cost")
        if column.startswith("test"):
            remedies.append("give fit test data, test=...")
        if column != cost:
            remedies.append(f'if the targets are no classes, choose by the cost, keep_best("{cost}")')
        raise ValueError(f"keep_best: the history has no {column}: {', and '.join(remedies)}")
    return value


def same_samples(progress: Any, samples: int, goes_on: bool = False) -> None:
    """Refuse to finish an epoch over another number of samples; warn of another number if a run goes on."""
    if progress.done and progress.samples != samples:
        raise ValueError(
            f"train: the run was interrupted in an epoch over {progress.samples} samples, but here are {samples}"
        )
    if goes_on and progress.samples != samples:
        warn(
            f"train: the run had {progress.samples:,} samples so far, and here are {samples:,}: give the same data, or "
            "start a new Trainer"
        )


def same_weights(then: bool | None, now: bool) -> None:
    """Refuse to finish a run without the weights that the run had, or with weights that the run had not."""
    if then is not None and then != now:
        other = "without sample_weight: leave out sample_weight, and give it to the next call of fit"
        which = "with sample_weight: give sample_weight=... again" if then else other
        raise ValueError(f"train: the run was interrupted in a fit {which}")


def same_threads(path: str | os.PathLike[str], then: int | None, now: int | None) -> None:
    """Warn if the threads of BLAS are not as many as when a run was saved, and its bits depend on them."""
    if then is not None and now is not None and then != now:
        warn(
            f"{os.fspath(path)} was written by a run with {then} thread{'s' * (then > 1)} of BLAS, and here are {now}: "
            "the last bits will differ from those of a run without an interruption. For the same bits start Python "
            f"with the environment variable OPENBLAS_NUM_THREADS={then} (MKL_NUM_THREADS for MKL)",
            RuntimeWarning,
        )


def same_device(run: Any, device: str) -> None:
    """Refuse to go on with a network that a callback has moved away from a device."""
    if run.net.device != device:
        raise DeviceError(
            f"fit: a callback has moved the network from {device!r} to {run.net.device!r}: move it back before the "
            "callback ends, or move it between two calls of fit"
        )


def no_divergence(
    where: str,
    lr: float,
    cost: float = 0.0,
    parameters: Array | None = None,
    optimizer: Any = None,
    before: tuple[Array, Array, Any] | None = None,
) -> None:
    """Refuse to go on if a cost or a parameter is not finite.

    `before` has the inputs, the targets and the network if the cost was computed from these, before the step.
    """
    what = None if math.isfinite(cost) else f"the training cost became {cost}"
    if parameters is not None and not np.isfinite(parameters).all():
        what = "a parameter became not finite"
    if not what:
        return
    momentum, decay = (0.0, 0.0) if optimizer is None else (optimizer.momentum, optimizer.weight_decay)
    too_large = None if before is None else _too_large(*before)
    if decay > lr and decay * lr > 1:  # each step takes more than all of a weight away
        why = f"weight_decay={decay:g} is too large for the learning rate {lr:g}. Try 0.0001, far below {1 / lr:g}"
    elif too_large:
        why = too_large
    else:
        why = (
            f"training has diverged. Try a smaller learning rate than {lr:g}, clip the gradient with "
            f"SGD(clip_norm={0.1 * (1 - momentum) / max(lr, 1e-30):.1g}), or standardize the inputs, and the targets "
            "of a regression"
        )
    raise DivergenceError(f"{what} {where}: {why}")


def _too_large(x: Array, t: Array, net: Any) -> str | None:
    """Return what is so large that a cost can overflow, and the remedy; None if nothing is."""
    sizes = {
        name: max(-float(array.min()), float(array.max()))
        for name, array in (("inputs", x), ("targets", t), ("parameters", net.parameters))
        if array.size
    }
    name = max(sizes, key=lambda name: math.inf if math.isnan(sizes[name]) else sizes[name])
    if sizes[name] <= _HUGE:
        return None
    remedies = {
        "inputs": "Standardize each feature",
        "targets": f"Scale them, np.asarray(t) / {sizes[name]:.0e}",
        "parameters": "Start over with net.initialize(), and a smaller learning rate or other starting weights",
    }
    return f"the {name} reach {sizes[name]:.3g}. {remedies[name]}"
