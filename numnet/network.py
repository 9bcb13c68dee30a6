"""Sequential: a chain of layers over one flat vector of parameters and one of gradients.

Every layer's weight and bias is a view into the two vectors, in layer order. So a step of the optimizer is a few
operations on whole vectors whatever the depth, and anything that works on a vector works on a network.
"""

from __future__ import annotations

import copy
import html
import math
import os
from typing import Any

import numpy as np
import numpy.typing as npt

from . import backend
from .backend import Array
from .costs import Pair, as_targets, check_labels, is_distribution
from .layers import Layer, Scratch
from .notebook import table

_DTYPES = ("float32", "float64", "complex128")
# Rows at a time in inference: enough for the products' speed, while 60,000 images never stand there as floats.
CHUNK = 4096


class Sequential:
    """A network: each layer's output is the next one's input.

    Parameters
    ----------
    *layers : Layer
        In order. A layer belongs to one network, once.
    seed : int, optional
        Of the generator that draws the starting parameters; the same seed gives the same bits.
    dtype : {"float32", "float64", "complex128"}
        Of parameters and all computation.
    device : {"cpu", "gpu", "auto"}
        Where parameters and all computation are. "auto": on the GPU if there is one, and else, with a warning, on the
        CPU. The same seed gives the same start on both.

    Attributes
    ----------
    layers : tuple of Layer
    parameters, gradients : ndarray of shape (number of parameters,)
        All weights and biases, and dE/d(each) of the last batch trained on. Assigning to either copies
        the values in.
    inputs, outputs : int or None
        Features taken and given; None where no layer fixes them.

    Examples
    --------
    >>> import numpy as np
    >>> import numnet as nn
    >>> net = nn.Sequential(nn.Linear(784, 128), nn.Sigmoid(), nn.Linear(128, 10), nn.Softmax(), seed=0)
    >>> net
    Sequential(
      0  Linear(784, 128)  784 -> 128  100,480 parameters
      1  Sigmoid()         128 -> 128
      2  Linear(128, 10)   128 -> 10     1,290 parameters
      3  Softmax()          10 -> 10
    )  101,770 parameters, float32
    >>> net(np.zeros((5, 784))).shape
    (5, 10)
    >>> net.parameters.shape
    (101770,)
    """

    _parameters: Array
    _gradients: Array

    def __init__(
        self, *layers: Layer, seed: int | None = None, dtype: npt.DTypeLike = "float32", device: str = "cpu"
    ) -> None:
        seen: set[int] = set()
        for i, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                hint = f": write {layer.__name__}(...)" if isinstance(layer, type) and issubclass(layer, Layer) else ""
                hint = ": give the layers one by one, Sequential(*layers)" if isinstance(layer, (list, tuple)) else hint
                raise ValueError(f"layer {i} must be a numnet Layer, got {layer!r}{hint}")
            if layer.in_network or id(layer) in seen:
                raise ValueError(f"layer {i}, {layer!r}, is in a network already: make a new layer for each place")
            seen.add(id(layer))
        if not layers:
            raise ValueError("Sequential needs at least one layer, Sequential(Linear(784, 10), Softmax()) say")
        dtype, rng, device = _network_dtype(dtype), generator(seed), backend.choose(device)
        self.layers = layers
        self._widths = _widths(layers)
        self.inputs, self.outputs = self._widths[0], self._widths[-1]
        values = [np.ravel(array) for layer in layers for array in layer.parameters.values()]
        self._set_vector(np.concatenate([np.empty(0), *values]), dtype)
        for layer in layers:
            layer.initialize(rng)
        self.to(device)
        for layer in layers:
            layer.in_network = True

    @property
    def parameters(self) -> Array:
        return self._parameters

    @parameters.setter
    def parameters(self, values: npt.ArrayLike) -> None:
        backend.assign(self._parameters, values)

    @property
    def gradients(self) -> Array:
        return self._gradients

    @gradients.setter
    def gradients(self, values: npt.ArrayLike) -> None:
        backend.assign(self._gradients, values)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._parameters.dtype

    @property
    def device(self) -> str:
        """Where the network is, "cpu" or "gpu"."""
        return backend.device_of(self._parameters)

    @property
    def decayed(self) -> Array:
        """1 where a parameter is a layer's "weight", which weight decay acts on, and 0 elsewhere."""
        flags = [np.full(a.size, name == "weight") for layer in self.layers for name, a in layer.parameters.items()]
        return backend.to(np.concatenate([np.empty(0), *flags]).astype(self.dtype), self.device)

    def __call__(self, x: npt.ArrayLike) -> Array:
        """Return the outputs for a batch.

        Several threads may call at once, also between training steps: nothing that `backward` needs is touched.

        Parameters
        ----------
        x : array_like of shape (n, ...)
            One sample for each entry of the first axis; the other axes are flattened. uint8 means images with
            intensities from 0 to 255 and is scaled by 1/255.

        Returns
        -------
        ndarray of shape (n, outputs)
            Where x is: an array on the GPU gives one there, and anything else NumPy's, wherever the network is.

        Raises
        ------
        ValueError
            If x has not the number of features that the network takes.
        """
        return self.infer(self.check_inputs(x))

    def predict(self, images: npt.ArrayLike) -> npt.NDArray[np.intp]:
        """Return the class of each sample: its largest output, or for a single output whether it is above 1/2.

        Parameters
        ----------
        images : array_like of shape (n, ...)
            As for a call of the network.

        Returns
        -------
        ndarray of int, shape (n,)
            NumPy's, wherever the images are.
        """
        return backend.to(classes(self(images)), "cpu")

    def accuracy(self, images: npt.ArrayLike, targets: npt.ArrayLike) -> float:
        """Return the share of samples whose predicted class is the target's.

        Parameters
        ----------
        images : array_like of shape (n, ...)
            As for a call of the network.
        targets : array_like of shape (n,) or (n, outputs)
            Class indices, or rows that sum to 1: each stands for the class of its largest number. For a single output,
            (n,) numbers that stand for yes where they are above 1/2.

        Raises
        ------
        ValueError
            If the targets are no classes, or not as many as the images.
        """
        y = backend.to(self(images), "cpu")
        t, outputs = backend.to(targets, "cpu"), y.shape[1]
        indices = t.ndim == 1 and outputs > 1
        wanted = check_labels(t, outputs) if indices else row_classes(as_targets(t, outputs, np.float64))
        if wanted is None:
            raise ValueError("accuracy needs targets that are classes: indices, or rows of probabilities that sum to 1")
        if len(y) != len(wanted) or not len(wanted):
            raise ValueError(f"accuracy needs one target for each image, got {len(y)} images and {len(wanted)} targets")
        return float(np.mean(classes(y) == wanted))

    def backpropagate(self, pair: Pair, x: Array, t: Array, out: tuple[Array, ...] = ()) -> tuple[Array, Array]:
        """Take a batch forward and the gradient of its cost back, into `gradients`.

        All results lie in arrays that the network keeps: from one batch to the next, none is allocated.

        Parameters
        ----------
        pair : Pair
            From ``cost.pair(net.layers)``.
        x : ndarray of shape (n, inputs)
        t : ndarray of shape (n, outputs)
            Both of the network's dtype, and where the network is.
        out : tuple of ndarray, optional
            Where the outputs of the last one or two layers, that is y or z and y, are written. A network of one layer
            leaves the first of two alone: its z is x.

        Returns
        -------
        z, y : ndarray
            The last layer's input and output, for ``pair.value(z, y, t)``; the next call overwrites them.
        """
        if x.shape != self._batch_shape:
            self._size_buffers(x.shape)
        outputs = self._outputs
        if out:
            given = out[-len(self.layers) :]
            outputs = [*outputs[: -len(given)], *zip(self.layers[-len(given) :], given, strict=True)]
        z = x
        for layer, array in outputs[:-1]:
            z = layer.forward(z, array)
        y, grad = pair.forward_backward(z, t, outputs[-1][1], self._input_gradients[-1][1])
        for layer, array in self._input_gradients[-2:0:-1]:
            grad = layer.backward(grad, array)
        if len(self.layers) > 1:
            self.layers[0].backward_parameters(grad)
        return z, y

    def check_inputs(self, x: npt.ArrayLike) -> Array:
        """Return x flattened to (n, features), otherwise as it is; ValueError if it does not fit or is not finite."""
        x = backend.asarray(x)
        backend.check_together("inputs", x, self.device)
        if x.dtype.kind not in ("biufc" if self.dtype.kind == "c" else "biuf"):
            hint = ": give the images of the data set" if x.shape == () and hasattr(x.item(), "images") else ""
            raise ValueError(f"inputs must be real numbers, got dtype {x.dtype}{hint}")
        features = math.prod(x.shape[1:])
        if x.ndim < 2 or (self.inputs is not None and features != self.inputs):
            takes = "any number of" if self.inputs is None else self.inputs
            hint = ": for a single sample give x[None]" if x.size == self.inputs else ""
            hint = ": for samples of one feature give x[:, None]" if x.ndim == 1 == self.inputs else hint
            raise ValueError(
                f"the network takes batches of shape (n, ...) with {takes} features a sample, got {x.shape}{hint}"
            )
        x = x.reshape(len(x), features)
        for start in range(0, len(x) if x.dtype.kind in "fc" else 0, CHUNK):  # x may be larger than memory
            with np.errstate(over="ignore"):
                finite = np.isfinite(x[start : start + CHUNK].astype(self.dtype, copy=False))
            if not finite.all():
                row, feature = np.argwhere(~finite)[0]
                value = x[start + row, feature]
                raise ValueError(f"inputs must be finite, but feature {feature} of sample {start + row} is {value}")
        return x

    def scaled(self, x: Array, out: Array | None = None) -> Array:
        """Return rows in the network's dtype and where it is, bytes as intensities from 0 to 1."""
        x = backend.to(x, self.device)  # bytes are the shortest way there
        if out is None:
            out = np.empty(x.shape, self.dtype, like=x)
        np.copyto(out, x, casting="same_kind")
        if x.dtype == np.uint8:
            np.multiply(out, self.dtype.type(1 / 255), out=out)
        return out

    def astype(self, dtype: npt.DTypeLike) -> Sequential:
        """Return a copy with the same parameters in another precision."""
        dtype = _network_dtype(dtype)
        net = copy.deepcopy(self)
        net._set_vector(self._parameters, dtype)
        return net

    def to(self, device: str) -> Sequential:
        """Move the network, in place, and return it; a `Trainer` of it follows.

        Parameters
        ----------
        device : {"cpu", "gpu", "auto"}
            As for the constructor.

        Raises
        ------
        DeviceError
            If there is no GPU that works, or not enough memory on it; nothing is changed then.
        """
        device = backend.choose(device)
        if device == self.device:
            return self
        moved = [backend.to(vector, device) for vector in (self._parameters, self._gradients)]
        self._parameters, self._gradients = moved
        self._tie()
        return self

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to a file that `numnet.load` reads; see there."""
        from .checkpoint import save

        save(self, path)

    def infer(self, x: Array) -> Array:
        """Return the outputs for rows that `check_inputs` has returned, computed some thousands at a time.

        They come to where the rows are.
        """
        outputs = []
        place = backend.device_of(x)
        for start in range(0, max(len(x), 1), CHUNK):
            # As in training, what overflows in a layer comes to its limit, or to inf.
            with np.errstate(over="ignore"), backend.advice():
                y = self.scaled(x[start : start + CHUNK])
                for layer in self.layers:
                    y = copy.copy(layer).forward(y)  # what forward keeps for backward is kept on the copy
            outputs.append(backend.to(y, place))
        return np.concatenate(outputs)

    def _set_vector(self, values: Array, dtype: npt.DTypeLike) -> None:
        self._parameters = values.astype(dtype)
        self._gradients = np.zeros_like(self._parameters)
        self._tie()

    def _tie(self) -> None:
        """Make every layer's parameters and gradients views into the two vectors, and drop the training buffers."""
        start = 0
        for layer in self.layers:
            parameters, gradients = {}, {}
            for name, array in layer.parameters.items():
                part, shape = slice(start, start + np.size(array)), np.shape(array)
                parameters[name] = self._parameters[part].reshape(shape)
                gradients[name] = self._gradients[part].reshape(shape)
                start = part.stop
            layer.parameters, layer.gradients = parameters, gradients
        self._scratch, self._batch_shape = Scratch(), (0, 0)

    def _size_buffers(self, shape: tuple[int, int]) -> None:
        """Give each layer, for batches of this shape, an array for its output and one for the gradient of its input."""
        n, width = shape

        on_cpu = self.device == "cpu"

        def array(name: str) -> Array:  # NumPy is fastest along the contiguous axis if that is the longer one
            return self._scratch(name, (n, width), self._parameters, order="F" if on_cpu and n > width else "C")

        self._outputs, self._input_gradients = [], []
        for i, layer in enumerate(self.layers):
            self._input_gradients.append((layer, array(f"input gradient of {i}")))
            width = layer.outputs or width
            self._outputs.append((layer, array(f"output of {i}")))
        self._batch_shape = shape

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_outputs", "_input_gradients")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._tie()  # copied or unpickled arrays are no longer views

    def __repr__(self) -> str:
        rows = self._summary()
        columns = [[row[i] for row in rows] for i in range(5)]
        w = [max(map(len, column)) for column in columns]
        lines = [f"  {i:>{w[0]}}  {name:<{w[1]}}  {a:>{w[2]}} -> {b:<{w[3]}}  {n:>{w[4]}}" for i, name, a, b, n in rows]
        return "\n".join(["Sequential(", *(line.rstrip() for line in lines), f")  {self._total()}"])

    def _repr_html_(self) -> str:
        """Return the table that a notebook shows."""
        rows = [
            (i, html.escape(name), f"(n, {a}) → (n, {b})", n.partition(" ")[0]) for i, name, a, b, n in self._summary()
        ]
        return f"{table(('', 'layer', 'shapes', 'parameters'), rows)}<p>Sequential: {self._total()}</p>"

    def _summary(self) -> list[tuple[str, str, str, str, str]]:
        widths = ["?" if w is None else str(w) for w in self._widths]
        counts = [sum(a.size for a in layer.parameters.values()) for layer in self.layers]
        return [
            (str(i), repr(layer), widths[i], widths[i + 1], f"{count:,} parameters" if count else "")
            for i, (layer, count) in enumerate(zip(self.layers, counts, strict=True))
        ]

    def _total(self) -> str:
        place = ", on the GPU" if self.device == "gpu" else ""
        return f"{self._parameters.size:,} parameters, {self.dtype.name}{place}"


def classes(y: Array, out: npt.NDArray[np.intp] | None = None) -> npt.NDArray[np.intp]:
    """Return each row's class: its largest output, or for a single output 1 where it is above 1/2."""
    if y.shape[1] > 1:
        return np.argmax(y, axis=1, out=out)
    return np.greater(y[:, 0], 0.5, out=np.empty(len(y), np.intp, like=y) if out is None else out)


def row_classes(rows: Array) -> npt.NDArray[np.intp] | None:
    """Return the classes that rows of targets stand for; None where they are no distributions."""
    return classes(rows) if rows.shape[1] == 1 or is_distribution(rows) else None


def generator(seed: int | None) -> np.random.Generator:
    """Return the generator of a seed; ValueError if it is none."""
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError):
        raise ValueError(f"seed must be a whole number of at least 0, or None, got {seed!r}") from None


def _network_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """Return the dtype; ValueError if networks cannot have it."""
    try:
        if dtype is not None and np.dtype(dtype) in map(np.dtype, _DTYPES):
            return np.dtype(dtype)
    except TypeError:
        pass
    raise ValueError(f"dtype must be one of {', '.join(_DTYPES)}, got {dtype!r}")


def _widths(layers: tuple[Layer, ...]) -> list[int | None]:
    """Return the features before the first layer and after each; ValueError where two layers do not fit together."""
    widths: list[int | None] = [None]
    setter = 0
    for i, layer in enumerate(layers):
        known = widths[-1]
        if layer.inputs is not None and known is None:
            widths = [layer.inputs] * len(widths)
        elif layer.inputs is not None and layer.inputs != known:
            raise ValueError(
                f"layer {setter}, {layers[setter]!r}, gives {known} features, but layer {i}, {layer!r}, takes "
                f"{layer.inputs}: make the two equal"
            )
        widths.append(layer.outputs or widths[-1])
        setter = i if layer.outputs or layer.inputs else setter
    return widths
