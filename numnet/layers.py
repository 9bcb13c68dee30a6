"""The layers: each a function of a batch, with its derivative beside it.

Notation throughout: x input, z = x w + b pre-activation, y = f(z) output, E cost. Rows are samples. A layer's
``forward`` keeps what its ``backward`` needs, and ``backward`` turns dE/d(output) into dE/d(input).
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from . import backend
from .backend import Array, fused


class Layer:
    """A function of a batch that can take a gradient back through itself; the base of every layer.

    A new layer defines `forward` and `backward`. One that is trained puts its arrays into `parameters`; the network
    gives it `gradients` of the same names and shapes, which its `backward` fills in place.

    Attributes
    ----------
    inputs, outputs : int or None
        Features taken and given. None: any number, and as many given as taken.
    parameters, gradients : dict of str to ndarray
        Trained arrays by name, and dE/d(each). In a network they are views into its flat vectors, so write into them
        (``layer.parameters["bias"][...] = 0``) rather than replacing them. Weight decay acts on those named "weight".
    in_network : bool
        Whether a network owns the arrays.
    probabilities : {None, "distribution", "independent"}
        What the outputs are, for costs that need to know: each row one distribution (softmax), each number a
        probability of its own (sigmoid), or neither.
    analytic : bool
        Whether `forward` accepts complex numbers as an analytic function, so that `gradcheck` may use the complex step.
    recordable : bool
        Whether, called again with other numbers in the same arrays, `forward` and `backward` do the same with them: no
        randomness, no counting, no `if` on what they see. Then a GPU can repeat them without Python, much faster.

    Examples
    --------
    A layer of one's own, y = s x with one trained factor for each feature:

    >>> import numpy as np
    >>> import numnet as nn
    >>> class Scale(nn.Layer):
    ...     analytic = True
    ...     def __init__(self, inputs):
    ...         self.inputs = inputs
    ...         self.parameters = {"factor": np.ones(inputs)}
    ...     def forward(self, x, out=None):
    ...         self.x = x
    ...         return np.multiply(x, self.parameters["factor"], out=out)
    ...     def backward(self, grad, out=None):
    ...         np.sum(grad * self.x, axis=0, out=self.gradients["factor"])
    ...         return np.multiply(grad, self.parameters["factor"], out=out)
    >>> net = nn.Sequential(nn.Linear(3, 4), Scale(4), nn.Softmax(), seed=0)
    >>> report = nn.gradcheck(net, nn.CrossEntropy(), np.eye(3), np.array([0, 3, 1]))
    >>> report.central.error < 1e-7 and report.complex_step.error < 1e-12
    True
    """

    inputs: int | None = None
    outputs: int | None = None
    probabilities: str | None = None
    analytic: bool = False
    recordable: bool = False
    parameters: dict[str, Array]
    gradients: dict[str, Array]
    in_network: bool = False
    _scratch: Scratch

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Give each layer dictionaries of its own."""
        layer = super().__new__(cls)
        layer.parameters, layer.gradients, layer._scratch = {}, {}, Scratch()
        return layer

    def initialize(self, rng: np.random.Generator) -> None:
        """Draw the starting values of the parameters; a layer that does not override this keeps those it has."""

    def forward(self, x: Array, out: Array | None = None) -> Array:
        """Return the output for a batch.

        Parameters
        ----------
        x : ndarray of shape (n, inputs)
            The batch, one sample a row. It is kept, not copied, for `backward`.
        out : ndarray of shape (n, outputs), optional
            Where to write the result, as for NumPy's functions; it must not overlap `x`. Without it a fresh array is
            returned.
        """
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def backward(self, grad: Array, out: Array | None = None) -> Array:
        """Return dE/dx for the batch that went forward last, and fill `gradients`.

        Parameters
        ----------
        grad : ndarray of shape (n, outputs)
            dE/d(output).
        out : ndarray of shape (n, inputs), optional
            Where to write the result; it must not overlap `grad`. Without it a fresh array is returned.
        """
        raise NotImplementedError(f"{type(self).__name__} has no backward")

    def backward_parameters(self, grad: Array) -> None:
        """Fill `gradients` alone: the first layer of a network needs no dE/dx, and may save the work."""
        self.backward(grad)

    def __repr__(self) -> str:
        sizes = (
            ""
            if self.inputs is None
            else f"{self.inputs}"
            if self.outputs is None
            else f"{self.inputs}, {self.outputs}"
        )
        return f"{type(self).__name__}({sizes})"


class Linear(Layer):
    """z = x w + b.

    Since z_ij = sum_k x_ik w_kj + b_j, with g = dE/dz summed over the batch by the chain rule::

        dE/dw_kj = sum_i x_ik g_ij    that is  x^T g
        dE/db_j  = sum_i g_ij
        dE/dx_ik = sum_j g_ij w_kj    that is  g w^T

    Parameters
    ----------
    inputs, outputs : int
        Features taken and given, each at least 1.

    Attributes
    ----------
    weight : ndarray of shape (inputs, outputs)
    bias : ndarray of shape (outputs,)
        Assigning to either copies the values in; the array stays the network's view.

    Notes
    -----
    Both start uniform in +-1/sqrt(inputs), as in PyTorch's ``nn.Linear``
    (https://pytorch.org/docs/stable/generated/torch.nn.Linear.html).

    Examples
    --------
    >>> import numpy as np
    >>> import numnet as nn
    >>> layer = nn.Linear(2, 1)
    >>> layer.weight = [[3.0], [4.0]]
    >>> layer.bias = 1.0
    >>> layer.forward(np.array([[1.0, 2.0]]))
    array([[12.]])

    A network draws the starting values of its layers when it is made, so set your own afterwards:

    >>> net = nn.Sequential(nn.Linear(2, 1), seed=0)
    >>> net.layers[0].weight = [[3.0], [4.0]]
    """

    analytic = True
    recordable = True

    def __init__(self, inputs: int, outputs: int) -> None:
        for name, value in (("inputs", inputs), ("outputs", outputs)):
            if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
                raise ValueError(f"Linear: {name} must be a whole number of at least 1, got {value!r}")
        self.inputs, self.outputs = int(inputs), int(outputs)
        shapes = {"weight": (self.inputs, self.outputs), "bias": (self.outputs,)}
        self.parameters = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        self.gradients = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        self.initialize(np.random.default_rng())

    @property
    def weight(self) -> Array:
        return self.parameters["weight"]

    @weight.setter
    def weight(self, value: npt.ArrayLike) -> None:
        backend.assign(self.parameters["weight"], value)

    @property
    def bias(self) -> Array:
        return self.parameters["bias"]

    @bias.setter
    def bias(self, value: npt.ArrayLike) -> None:
        backend.assign(self.parameters["bias"], value)

    def initialize(self, rng: np.random.Generator) -> None:
        limit = self.weight.shape[0] ** -0.5
        self.weight = rng.uniform(-limit, limit, self.weight.shape)
        self.bias = rng.uniform(-limit, limit, self.bias.shape)

    def forward(self, x: Array, out: Array | None = None) -> Array:
        self.x = x
        z = backend.matmul(x, self.parameters["weight"], out=out)
        bias = self.parameters["bias"]
        return np.add(z, bias if out is None else self._scratch.filled(bias, z), out=z)

    def backward_parameters(self, grad: Array) -> None:
        backend.matmul(self.x.T, grad, out=self.gradients["weight"])
        np.add.reduce(grad, axis=0, out=self.gradients["bias"])

    def backward(self, grad: Array, out: Array | None = None) -> Array:
        self.backward_parameters(grad)
        return backend.matmul(grad, self.weight.T, out=out)


class Sigmoid(Layer):
    """y = 1 / (1 + exp(-x)).

    With u = 1 + exp(-x), y = 1/u and dy/dx = exp(-x) / u^2 = (1/u) (u - 1)/u, so::

        dy/dx = y (1 - y)

    Examples
    --------
    >>> import numpy as np
    >>> import numnet as nn
    >>> nn.Sigmoid().forward(np.array([[-1e4, 0.0, 1e4]])).round(3)
    array([[0. , 0.5, 1. ]])
    """

    probabilities = "independent"
    analytic = True
    recordable = True

    def forward(self, x: Array, out: Array | None = None) -> Array:
        self.y = _sigmoid(x, out=out)
        return self.y

    def backward(self, grad: Array, out: Array | None = None) -> Array:
        return _sigmoid_backward(self.y, grad, out=out)


@fused("T x", "T y", "y = 1 / (1 + exp(-x))")
def _sigmoid(x: Array, out: Array | None = None) -> Array:
    y = np.multiply(x, -1.0, out=out)
    if y.dtype.kind == "c":  # where exp overflows, real numbers come to 1/inf = 0, but complex ones to nan
        np.minimum(y, 709, out=y)
    with np.errstate(over="ignore"):
        y = np.exp(y, out=out)
    np.add(y, 1, out=y)
    return np.divide(1, y, out=y)


@fused("T y, T grad", "T dx", "dx = (1 - y) * y * grad")
def _sigmoid_backward(y: Array, grad: Array, out: Array | None = None) -> Array:
    slope = np.subtract(1, y, out=out)
    np.multiply(slope, y, out=slope)
    return np.multiply(slope, grad, out=slope)


class Tanh(Layer):
    """y = tanh(x).

    From tanh = sinh/cosh by the quotient rule, dy/dx = (cosh^2 - sinh^2) / cosh^2, so::

        dy/dx = 1 - y^2

    Examples
    --------
    >>> import numpy as np
    >>> import numnet as nn
    >>> nn.Tanh().forward(np.array([[-1e4, 0.0, 1e4]]))
    array([[-1.,  0.,  1.]])
    """

    analytic = True
    recordable = True

    def forward(self, x: Array, out: Array | None = None) -> Array:
        self.y = np.tanh(x, out=out)
        return self.y

    def backward(self, grad: Array, out: Array | None = None) -> Array:
        return _tanh_backward(self.y, grad, out=out)


@fused("T y, T grad", "T dx", "dx = (1 - y * y) * grad")
def _tanh_backward(y: Array, grad: Array, out: Array | None = None) -> Array:
    slope = np.multiply(y, y, out=out)
    np.subtract(1, slope, out=slope)
    return np.multiply(slope, grad, out=slope)


class ReLU(Layer):
    """y = max(x, 0).

    dy/dx is 1 where x > 0 and 0 where x < 0; at the kink, where there is none, we take 0. Since y >= 0::

        dy/dx = sign(y)

    Examples
    --------
    >>> import numpy as np
    >>> import numnet as nn
    >>> nn.ReLU().forward(np.array([[-2.0, 0.0, 2.0]]))
    array([[0., 0., 2.]])
    """

    recordable = True

    def forward(self, x: Array, out: Array | None = None) -> Array:
        self.y = np.maximum(x, 0, out=out)
        return self.y

    def backward(self, grad: Array, out: Array | None = None) -> Array:
        return _relu_backward(self.y, grad, out=out)


@fused("T y, T grad", "T dx", "dx = y > 0 ? grad : y * grad")
def _relu_backward(y: Array, grad: Array, out: Array | None = None) -> Array:
    slope = np.sign(y, out=out)
    return np.multiply(slope, grad, out=slope)


class Softmax(Layer):
    """y_j = exp(x_j) / sum_k exp(x_k), each row by itself: positive, and summing to 1.

    From ln y_j = x_j - ln sum_k exp(x_k) follows d(ln y_j)/dx_i = [i = j] - y_i, hence dy_j/dx_i = y_j ([i = j] - y_i).
    With g = dE/dy::

        dE/dx_i = sum_j g_j y_j ([i = j] - y_i) = y_i (g_i - sum_j g_j y_j)

    Notes
    -----
    Subtracting a row's maximum from it changes no y and keeps exp from overflowing. A gap beyond the largest float
    becomes -inf, and its exp rightly 0; with `out`, to keep NumPy from warning of it is for the caller, as a network.

    Examples
    --------
    >>> import numpy as np
    >>> import numnet as nn
    >>> nn.Softmax().forward(np.array([[1e4, 0.0], [0.0, 0.0]]))
    array([[1. , 0. ],
           [0.5, 0.5]])
    """

    probabilities = "distribution"
    analytic = True
    recordable = True

    def forward(self, x: Array, out: Array | None = None) -> Array:
        one = None if out is None else self._scratch("one a row", (len(x), 1), x)
        maximum = x.max(axis=1, keepdims=True, out=one)
        if out is None:
            with np.errstate(over="ignore"):
                y = np.subtract(x, maximum)
        else:
            y = np.subtract(x, self._scratch.filled(maximum, x), out=out)
        y = np.exp(y, out=out)
        total = np.add.reduce(y, axis=1, keepdims=True, out=one)
        self.y = np.divide(y, total if out is None else self._scratch.filled(total, y), out=y)
        return self.y

    def backward(self, grad: Array, out: Array | None = None) -> Array:
        dx = np.multiply(grad, self.y, out=out)
        one = None if out is None else self._scratch("one a row", (len(dx), 1), dx)
        total = np.add.reduce(dx, axis=1, keepdims=True, out=one)
        np.subtract(grad, total if out is None else self._scratch.filled(total, dx), out=dx)
        return np.multiply(dx, self.y, out=dx)


class Scratch:
    """Arrays for passing results, each known by a name: a training step takes the memory that the last one had.

    A copy starts empty.
    """

    def __init__(self) -> None:
        self._arrays: dict[str, Array] = {}
        self._outgrown: list[Array] = []

    def __call__(
        self,
        name: str,
        shape: tuple[int, ...],
        like: Array,
        dtype: npt.DTypeLike | None = None,
        order: Literal["C", "F"] = "C",
    ) -> Array:
        """Return an array on the device of `like`, of its dtype or another, its contents undefined.

        The one that last had this name is no longer valid.
        """
        dtype = like.dtype if dtype is None else dtype
        array = self._arrays.get(name)
        if array is None or array.shape != shape or array.dtype != dtype or type(array) is not type(like):
            size = math.prod(shape)
            memory = None if array is None or array.dtype != dtype or type(array) is not type(like) else array.base
            if memory is None or memory.size < size:
                if array is not None and backend.on_gpu(array):  # what has been recorded on a GPU goes on writing there
                    self._outgrown.append(array)
                memory = np.empty(size, dtype, like=like)
            array = self._arrays[name] = memory[:size].reshape(shape, order=order)
        return array

    def like(self, name: str, x: Array) -> Array:
        """Return an array of the shape and dtype of x, made on its device and in its memory layout."""
        array = self._arrays.get(name)
        # Soon found in every step: NumPy has one object for each of its dtypes.
        if array is not None and array.dtype is x.dtype and array.shape == x.shape and type(array) is type(x):
            return array
        return self(name, x.shape, x, order="F" if x.flags.fnc else "C")

    def filled(self, values: Array, x: Array) -> Array:
        """Return values broadcast to the shape of x: NumPy's arithmetic would do so itself, but in new memory."""
        if not isinstance(x, np.ndarray):
            return values
        array = self.like("filled", x)
        array[...] = values
        return array

    def __reduce__(self) -> tuple[type[Scratch], tuple[()]]:
        return Scratch, ()
