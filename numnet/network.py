"""Sequential: a chain of layers over one flat vector of parameters and one of gradients.

Every layer's weight and bias is a view into the two vectors, in layer order. So a step of the optimizer is a few
operations on whole vectors whatever the depth, and code that takes one vector, as SciPy's optimizers do, can work on
all parameters of a network.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import backend, checks, mapped, notebook, npz
from .backend import Array
from .costs import Pair
from .layers import Layer


class _Buffers(NamedTuple):
    """The arrays of a training step for batches of one shape."""

    forward: list[tuple[Layer, Array]]  # each layer, and where its output goes
    backward: list[tuple[Layer, Array]]  # from the last but one to the second, and where dE/d(its input) goes
    error: Array  # dE/dz
    dy: Array  # dE/dy


class Sequential:
    """A network: each layer's output is the next one's input.

    Parameters
    ----------
    *layers : Layer
        In order. A layer belongs to one network, once.
    seed : int, optional
        Seed of the generator that draws the starting parameters; the same seed gives the same bits.
    dtype : {"float32", "float64", "complex128"}
        Precision of the parameters and of all computation.
    device : {"cpu", "gpu", "auto"}
        Where the parameters are, and where all is computed. "auto" is the GPU if there is one. If there is none, "auto"
        is the CPU, with a warning. The same seed gives the same start on both.

    Attributes
    ----------
    layers : tuple of Layer
    parameters, gradients : ndarray of shape (number of parameters,)
        All weights and biases, and dE/d(each) of the last batch trained on. Assigning to either copies the values in.
    inputs, outputs : int or None
        Features taken and given; None if no layer fixes them.
    trained : bool
        Whether a `Trainer` has trained the network since it was made or initialized, or the network came from a file or
        from PyTorch.

    Examples
    --------
    >>> import numpy as np
    >>> import numnet as nn
    >>> layers = nn.Linear(784, 128), nn.Sigmoid(), nn.Linear(128, 10), nn.Softmax()
    >>> net = nn.Sequential(*layers, seed=0)
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

    def __init__(
        self, *layers: Layer, seed: int | None = None, dtype: npt.DTypeLike = "float32", device: str = "cpu"
    ) -> None:
        checks.layers(layers, Layer)
        dtype, rng, device = checks.network_dtype(dtype), checks.generator(seed), backend.choose(device)
        self.layers = layers
        self._own = any(type(layer).__module__ != Layer.__module__ for layer in layers)  # has layers of the user's own
        self.widths = checks.widths(layers)
        checks.no_lone_softmax(layers, self.widths)
        self.inputs, self.outputs = self.widths[0], self.widths[-1]
        values = [np.ravel(array) for layer in layers for array in layer.parameters.values()]
        vector = np.concatenate([np.empty(0), *values]).astype(dtype)
        self._tie(vector, np.zeros_like(vector), "cpu")
        self.initialize(rng)
        self.to(device)
        for layer in layers:
            layer.in_network = True

    def initialize(self, seed: int | np.random.Generator | None = None) -> None:
        """Draw the starting parameters anew. The same seed gives the same bits as when a network is made.

        Training goes on from the parameters as they are, also with a new `Trainer`. So call this before a new run with
        the same network, and then make a new `Trainer`.

        Examples
        --------
        >>> import numnet as nn
        >>> net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0)
        >>> start = net.parameters.copy()
        >>> trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr=0.5))
        >>> history = trainer.fit(nn.datasets.digits()[0], epochs=1, batch_size=64)
        >>> net.trained
        True
        >>> net.initialize(seed=0)
        >>> net.trained, bool((net.parameters == start).all())
        (False, True)
        """
        rng, device = checks.generator(seed), self.device
        self.to("cpu")  # where every layer can draw
        for layer in self.layers:
            layer.initialize(rng)
        self.to(device)
        self.trained = False

    @property
    def parameters(self) -> Array:
        return self._parameters

    @parameters.setter
    def parameters(self, values: npt.ArrayLike) -> None:
        backend.assign(self._parameters, values, "parameters")

    @property
    def gradients(self) -> Array:
        return self._gradients

    @gradients.setter
    def gradients(self, values: npt.ArrayLike) -> None:
        backend.assign(self._gradients, values, "gradients")

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._parameters.dtype

    @property
    def device(self) -> str:
        """Where the network is, "cpu" or "gpu"."""
        return self._device

    @property
    def decay_mask(self) -> Array:
        """1 for each parameter of a layer's "weight", which weight decay acts on, and 0 for every other."""
        flags = [np.full(a.size, name == "weight") for layer in self.layers for name, a in layer.parameters.items()]
        return backend.to(np.concatenate([np.empty(0), *flags]).astype(self.dtype), self.device)

    def __call__(self, x: npt.ArrayLike) -> Array:
        """Return the outputs for a batch.

        Several threads may call a network at once, also between training steps: a call leaves alone what `backward`
        needs.

        Parameters
        ----------
        x : array_like of shape (n, ...)
            One sample for each entry of the first axis; the other axes are flattened. uint8 means images with
            intensities from 0 to 255, and is scaled by 1/255.

        Returns
        -------
        ndarray of shape (n, outputs)
            On the GPU if x is there. Otherwise an array of NumPy's, wherever the network is.

        Raises
        ------
        ValueError
            If x has the wrong number of features. Or if x has a number that is not finite.
        """
        outputs = list(self._outputs(checks.inputs(x, self)))
        return outputs[0] if len(outputs) == 1 and not self._own else np.concatenate(outputs)

    def predict(self, images: npt.ArrayLike) -> npt.NDArray[np.intp]:
        """Return the class of each sample: its largest output, or for a single probability whether that is above 1/2.

        Parameters
        ----------
        images : array_like of shape (n, ...)
            As for a call of the network.

        Returns
        -------
        ndarray of int, shape (n,)
            An array of NumPy's, wherever the images are.

        Raises
        ------
        ValueError
            If the single output of the network is no probability, and so no class.
        """
        rows = checks.inputs(images, self)
        checks.has_classes(self.layers[-1], self.outputs or rows.shape[1])
        return self._classes(rows)

    @checks.data_in_two
    @checks.quiet
    def accuracy(self, images: npt.ArrayLike, targets: npt.ArrayLike) -> float:
        """Return the share of samples whose predicted class is the target's.

        Parameters
        ----------
        images : array_like of shape (n, ...)
            As for a call of the network.
        targets : array_like of shape (n,) or (n, outputs)
            Class indices. Or rows of probabilities, or rows of two values, of which one stands for the class and the
            other for the rest: each row stands for the class of its largest number. For a single probability as
            output, numbers from 0 to 1 that stand for yes if they are above 1/2. For a single `Tanh`, -1 and 1.

        Raises
        ------
        ValueError
            If the targets are no classes, or not as many as the images.
        """
        rows = checks.inputs(images, self)
        found, t = self._classes(rows), backend.to(self.operations.asarray("targets", targets), "cpu")
        mapped.refuse_cut("targets", t)
        wanted = checks.wanted_classes(t, len(rows), self.outputs or rows.shape[1], self.layers[-1])
        return float(np.mean(found == wanted))

    def _outputs(self, rows: Array) -> Iterator[Array]:
        """Yield the outputs for some rows at a time."""
        return (self.infer(rows[part], part.start)[1] for part in checks.parts(len(rows), rows.shape[1], *self.widths))

    def _classes(self, rows: Array) -> npt.NDArray[np.intp]:
        return np.concatenate([backend.to(classes(y, self.layers[-1]), "cpu") for y in self._outputs(rows)])

    def infer(self, rows: Array, start: int = 0) -> tuple[Array, Array]:
        """Return the last layer's inputs and outputs for a few thousand rows, on the rows' device.

        `start` is the number of the first row, for messages.
        """
        with self.operations.quiet():  # as in training: an exp that overflows leads to the right limit
            z = y = self.scaled(rows, self.empty(*rows.shape) if self._own else None)  # such a layer may write to it
            if rows.dtype.kind in "fc":
                checks.finite(y, rows, start)
            for layer in self.layers:
                z, y = y, copy.copy(layer).forward(y)  # the copy keeps what forward keeps for backward
        return z, y if type(y) is type(rows) else backend.to(y, backend.device_of(rows), "the last layer's output")

    def scaled(self, x: Array, out: Array | None = None) -> Array:
        """Return rows in the network's dtype and where it is, bytes as intensities from 0 to 1."""
        # Moved before they are converted: bytes are smaller than floats.
        x = x if type(x) is type(self._parameters) else backend.to(x, self.device)
        if x.dtype == self._parameters.dtype and out is None:
            return x
        out = np.empty(x.shape, self._parameters.dtype, like=self._parameters) if out is None else out
        np.copyto(out, x, casting="same_kind")
        if x.dtype == np.uint8:
            np.multiply(out, out.dtype.type(1 / 255), out=out)
        return out

    def forward(self, x: Array) -> tuple[Array, Array]:
        """Take a batch forward, for training.

        Parameters
        ----------
        x : ndarray of shape (n, inputs)
            Of the network's dtype, and where the network is.

        Returns
        -------
        z, y : ndarray
            The last layer's input and output, in arrays that the network keeps. The next batch overwrites them.

        Raises
        ------
        ValueError
            If x has another shape.
        """
        self._batch = self._buffers.get(x.shape) or self._allocate(x.shape)
        z = y = x
        for layer, out in self._batch.forward:
            z, y = y, layer.forward(y, out)
            if y is not out:  # a layer of the user's own may return another array
                checks.layer_output(layer, y, out.shape)
        return z, y

    def backpropagate(self, pair: Pair, z: Array, y: Array, t: Array) -> None:
        """Compute dE/dz of the last batch, pass it back through the layers, and fill `gradients`.

        Parameters
        ----------
        pair : Pair
            From ``cost.pair(net.layers)``.
        z, y : ndarray
            What `forward` returned.
        t : ndarray of shape (n, outputs)
            Targets.
        """
        error = pair.error(z, y, t, self._batch.error, self._batch.dy)
        for layer, out in self._batch.backward:
            error = layer.backward(error, out)
        if len(self.layers) > 1:
            self.layers[0].backward_parameters(error)  # nobody needs dE/dx

    def astype(self, dtype: npt.DTypeLike) -> Sequential:
        """Return a copy with the same parameters in another precision."""
        with self.operations.quiet():
            vector = self._parameters.astype(checks.network_dtype(dtype))
        net = copy.deepcopy(self)
        net._tie(vector, np.zeros_like(vector), self.device)
        return net

    def to(self, device: str) -> Sequential:
        """Move the network, in place, and return it; a `Trainer` of the network follows.

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
        if device != self.device:
            vectors = [backend.to(vector, device) for vector in (self._parameters, self._gradients)]
            self._tie(vectors[0], vectors[1], device)
        return self

    def save(self, path: str | os.PathLike[str], overwrite: bool = False) -> None:
        """Write the network to a file that `numnet.load` reads: whole or not at all.

        Of each layer the file has the class name and the constructor's arguments. These must be attributes of the same
        names, and numbers, strings or None.

        Parameters
        ----------
        path : str or os.PathLike
            By custom with the ending .npz. A ``~`` at the start stands for your home.
        overwrite : bool, default False
            Whether the file may replace a file that holds no network. A checkpoint of `Trainer.fit` holds a run, and no
            network. The file may replace a network in any case.

        Raises
        ------
        CheckpointError
            If a layer's arguments cannot be read back from the layer.
        FileExistsError
            If the path is a file that holds no network. Or if an array of the program is mapped from the file, also
            with `overwrite`.
        OSError
            If the file cannot be written: the path is a folder, a device or a FIFO, or ends in a slash, there is no
            folder for the file, the file is read-only, or the disk is full.
        """
        npz.write(path, npz.NETWORK, overwrite, npz.describe(self), parameters=self.parameters)

    def _tie(self, parameters: Array, gradients: Array, device: str) -> None:
        """Take two vectors, make every layer's parameters and gradients views into them, and drop the buffers."""
        self._parameters, self._gradients = parameters, gradients
        self._device, self.operations = device, backend.DEVICES[backend.choose(device)]
        start = 0
        for layer in self.layers:
            views: tuple[dict[str, Array], dict[str, Array]] = {}, {}
            for name, array in layer.parameters.items():
                part = slice(start, start + np.size(array))
                for vector, named in zip((parameters, gradients), views, strict=True):
                    named[name] = vector[part].reshape(np.shape(array))
                start = part.stop
            layer.parameters, layer.gradients = views
        self._buffers: dict[tuple[int, ...], _Buffers] = {}

    def empty(self, n: int, width: int) -> Array:
        """Return a new array for n rows, as training works with them."""
        order = self.operations.narrow if n > width else "C"
        return np.empty((n, width), self._parameters.dtype, order=order, like=self._parameters)

    def _allocate(self, shape: tuple[int, ...]) -> _Buffers:
        """Make the arrays of a training step for batches of this shape, and keep them."""
        n, width = checks.batch_shape(shape, self.inputs)
        outputs = [self.empty(n, after or width) for after in self.widths[1:]]
        # Gradients of the inputs: nobody needs that of the first layer, unless the first layer is the last.
        gradients = [np.empty_like(out) for out in outputs[:-1]] or [self.empty(*shape)]
        forward = list(zip(self.layers, outputs, strict=True))
        backward = list(zip(self.layers[1:-1], gradients[:-1], strict=True))[::-1]
        if len(self._buffers) > 1:  # whole batches and the short batch at the end of an epoch are kept, and no more
            self._buffers.clear()
        self._buffers[shape] = buffers = _Buffers(forward, backward, error=gradients[-1], dy=np.empty_like(outputs[-1]))
        return buffers

    if not TYPE_CHECKING:  # which could no longer tell a name that is not there
        __getattr__ = checks.attribute

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_buffers", "_batch", "operations")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._tie(self._parameters, self._gradients, self._device)  # copied or unpickled arrays are no longer views

    def __repr__(self) -> str:
        return notebook.network_text(self)

    def _repr_html_(self) -> str:
        """Return the table that a notebook shows."""
        return notebook.network_html(self)


def classes(y: Array, last: Layer) -> npt.NDArray[np.intp]:
    """Return each row's class: its largest output.

    For a single output, the class is 1 if the output is above the last layer's middle.
    """
    largest: npt.NDArray[np.intp] = y.argmax(axis=1)
    return largest if y.shape[1] > 1 else (y[:, 0] > checks.middle(last)).astype(np.intp)
