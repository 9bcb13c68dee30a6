"""The layers: each a function of a batch, with its derivative beside it.

Notation throughout, as in docs/derivations: x input, z = x w + b pre-activation, y = f(z) output, E cost, and g the
dE/d(output) that comes back. Rows are samples. A layer's ``forward`` keeps what its ``backward`` needs, and
``backward`` turns g into dE/d(input). In the code, g is ``grad``, and the input of any layer is ``x``, also the z of an
activation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from . import backend, checks
from .backend import Array

Start: TypeAlias = Callable[[np.random.Generator, tuple[int, ...]], npt.NDArray[Any]]

_CALLERS = nullcontext()  # whoever gives `out`, as a network does, keeps NumPy from telling of an exp that overflows


class Layer:
    """A function of a batch that can take a gradient back through itself; the base of every layer.

    A new layer defines `forward` and `backward`. If it is trained, it puts its arrays into `parameters`. The network
    then gives the layer `gradients` of the same names and shapes, which its `backward` fills in place.

    Attributes
    ----------
    inputs, outputs : int or None
        Features taken and given. None means any number; the layer then gives as many features as it takes.
    parameters, gradients : dict of str to ndarray
        Trained arrays by name, and dE/d(each). In a network they are views into its flat vectors, so write into them
        (``layer.parameters["bias"][...] = 0``) rather than replacing them. Weight decay acts on those named "weight".
    in_network : bool
        Whether a network owns the arrays.
    probabilities : {None, "distribution", "independent"}
        What the outputs are, for costs that need to know: each row is one distribution (softmax), each number is a
        probability of its own (sigmoid), or neither.
    range : tuple of float, or None
        The lowest and the highest number that `forward` can return or come near to; None if there is no limit. A target
        outside is refused. A subclass with a `forward` of its own has a range only if the subclass sets one.
    analytic : bool
        Whether `forward` accepts complex numbers as an analytic function, so that `gradcheck` may use the complex step.
    training : bool
        Whether a `Trainer` is training the layer at this moment, for layers that do something else then, as a dropout.

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
    range: tuple[float, float] | None = None
    analytic: bool = False
    parameters: dict[str, Array]
    gradients: dict[str, Array]
    in_network: bool = False
    training: bool = False

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Give each layer dictionaries of its own, so that no subclass has to call ``super().__init__()``."""
        checks.no_arguments(cls, args, kwargs)
        layer = super().__new__(cls)
        layer.parameters, layer.gradients = {}, {}
        return layer

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let networks give `out` also to a `forward` or `backward` that was written without this parameter."""
        super().__init_subclass__(**kwargs)
        checks.accept_out(cls, forward=1, backward=1)

    def initialize(self, rng: np.random.Generator) -> None:
        """Draw the starting values of the parameters; a layer that does not override this keeps those it has."""

    def forward(self, x: Array, out: Array | None = None) -> Array:
        """Return the output for a batch.

        Parameters
        ----------
        x : ndarray of shape (n, inputs)
            The batch, one sample a row. The layer may keep x for `backward`, without a copy, and does not
            change it.
        out : ndarray of shape (n, outputs), optional
            Where to write the result, as for NumPy's functions; it must not overlap `x`. Without `out`, return a fresh
            array. A layer of your own may have a `forward` and `backward` without this parameter. Then each batch takes
            new memory, so training is slower.
        """
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def backward(self, grad: Array, out: Array | None = None) -> Array:
        """Return dE/dx for the batch that went forward last, and fill `gradients`.

        Parameters
        ----------
        grad : ndarray of shape (n, outputs)
            dE/d(output).
        out : ndarray of shape (n, inputs), optional
            Where to write the result; it must not overlap `grad`. Without `out`, return a fresh array.
        """
        raise NotImplementedError(f"{type(self).__name__} has no backward")

    def backward_parameters(self, grad: Array) -> None:
        """Fill `gradients` alone. The first layer of a network needs no dE/dx, and may save the work for it."""
        self.backward(grad)

    def __copy__(self) -> Any:
        """Return a layer with the same arrays, which can go forward without changing what this layer keeps."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.training = False
        return twin

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Copy deeply, and pickle. The layers here leave out what the last batch has left behind."""
        parts: Any = super().__reduce_ex__(protocol)
        made, args, *state = parts
        if type(self).__module__ == __name__:
            batch = ("x", "y", "out", "column")
            state[0] = {name: value for name, value in vars(self).items() if name not in batch}
        return (made, args, *state)

    def __repr__(self) -> str:
        sizes = [] if self.inputs is None else [str(n) for n in (self.inputs, self.outputs) if n is not None]
        return f"{type(self).__name__}({', '.join(sizes)})"


def _parameter(name: str) -> Any:
    """Return the property of a layer for one of its parameters; None if the layer has no such parameter."""
    return property(
        lambda layer: layer.parameters.get(name),
        lambda layer, values: backend.assign(checks.parameter(layer, name), values, name),
    )


class Linear(Layer):
    """z = x w + b.

    Let g = dE/dz. Since z_ij = sum_k x_ik w_kj + b_j, the chain rule, summed over the batch, gives::

        dE/dw_kj = sum_i x_ik g_ij    that is  x^T g
        dE/db_j  = sum_i g_ij
        dE/dx_ik = sum_j g_ij w_kj    that is  g w^T

    Parameters
    ----------
    inputs, outputs : int
        Features taken and given, each at least 1.
    bias : bool, default True
        Whether there is a bias. Without a bias, z = x w.
    start : callable, optional
        ``start(rng, shape)`` returns the starting weights, drawn from the network's generator; ``numnet.starts`` has
        those that the field knows. The bias then starts at 0. A saved file does not hold the function, and a network
        that is loaded needs none, unless the network is to start over.

    Attributes
    ----------
    weight : ndarray of shape (inputs, outputs)
    bias : ndarray of shape (outputs,), or None
        Assigning to either copies the values in; the array stays the network's view.

    Notes
    -----
    Without `start`, both start uniform in +-1/sqrt(inputs), as in PyTorch's ``nn.Linear``
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

    def __init__(self, inputs: int, outputs: int, bias: bool = True, start: Start | None = None) -> None:
        checks.linear_arguments(inputs, outputs, bias, start)
        self.inputs, self.outputs, self.start = int(inputs), int(outputs), start
        shapes: dict[str, tuple[int, ...]] = {"weight": (self.inputs, self.outputs)}
        if bias:
            shapes["bias"] = (self.outputs,)
        self.parameters = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        self.gradients = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        self.initialize(np.random.default_rng())

    weight, bias = _parameter("weight"), _parameter("bias")

    def __repr__(self) -> str:
        return super().__repr__() if self.bias is not None else f"{super().__repr__()[:-1]}, bias=False)"

    def initialize(self, rng: np.random.Generator) -> None:
        if self.start is not None:
            self.weight = checks.started(self.start(rng, self.weight.shape), self)
            if self.bias is not None:
                self.bias = 0.0
            return
        limit = self.weight.shape[0] ** -0.5
        for array in self.parameters.values():
            backend.assign(array, rng.uniform(-limit, limit, array.shape))

    def forward(self, x: Array, out: Array | None = None) -> Array:
        self.x = x
        z = backend.product(x, self.parameters["weight"], out=out)
        return np.add(z, self.parameters["bias"], out=z) if "bias" in self.parameters else z

    def backward(self, grad: Array, out: Array | None = None) -> Array:
        self.backward_parameters(grad)
        return backend.product(grad, self.parameters["weight"].T, out=out)

    def backward_parameters(self, grad: Array) -> None:
        # backend.outer converts nothing, so all must be of one dtype.
        single = len(grad) == 1 and grad.dtype == self.x.dtype == self.gradients["weight"].dtype
        product = backend.outer if single else backend.product
        product(self.x.T, grad, out=self.gradients["weight"])
        if "bias" in self.gradients:
            np.add.reduce(grad, axis=0, out=self.gradients["bias"])


class Sigmoid(Layer):
    """y = 1 / (1 + exp(-z)).

    With u = 1 + exp(-z), y = 1/u and dy/dz = exp(-z) / u^2 = (1/u) (u - 1)/u = y (1 - y). With g = dE/dy::

        dE/dz = y (1 - y) g

    Examples
    --------
    >>> import numpy as np
    >>> import numnet as nn
    >>> nn.Sigmoid().forward(np.array([[-1e4, 0.0, 1e4]])).round(3)
    array([[0. , 0.5, 1. ]])
    """

    probabilities = "independent"
    range = (0.0, 1.0)
    analytic = True

    def forward(self, x: Array, out: Array | None = None) -> Array:
        y = np.multiply(x, -1.0, out=out)  # -1.0: unsigned integers become floats
        # If exp overflows, real numbers come to 1/inf = 0, but complex numbers come to nan.
        if y.dtype.kind == "c":
            np.minimum(y, 709, out=y)
        with np.errstate(all="ignore") if out is None else _CALLERS:
            np.exp(y, out=y)
            np.add(y, 1, out=y)
            self.y = np.divide(1, y, out=y)
        return self.y

    def backward(self, grad: Array, out: Array | None = None) -> Array:
        slope = np.subtract(1, self.y, out=out)
        np.multiply(slope, self.y, out=slope)
        return np.multiply(slope, grad, out=slope)


class Tanh(Layer):
    """y = tanh(z).

    From tanh = sinh/cosh by the quotient rule, dy/dz = (cosh^2 - sinh^2) / cosh^2 = 1 - y^2. With g = dE/dy::

        dE/dz = (1 - y^2) g

    Examples
    --------
    >>> import numpy as np
    >>> import numnet as nn
    >>> nn.Tanh().forward(np.array([[-1e4, 0.0, 1e4]]))
    array([[-1.,  0.,  1.]])
    """

    range = (-1.0, 1.0)
    analytic = True

    def forward(self, x: Array, out: Array | None = None) -> Array:
        self.y = np.tanh(x, out=out)
        return self.y

    def backward(self, grad: Array, out: Array | None = None) -> Array:
        slope = np.multiply(self.y, self.y, out=out)
        np.subtract(1, slope, out=slope)
        return np.multiply(slope, grad, out=slope)


class ReLU(Layer):
    """y = max(z, 0).

    dy/dz is 1 for z > 0 and 0 for z < 0. At z = 0 there is no derivative, and we take 0. So dy/dz = [y > 0], which is
    sign(y), because y >= 0. With g = dE/dy::

        dE/dz = [y > 0] g

    Examples
    --------
    >>> import numpy as np
    >>> import numnet as nn
    >>> nn.ReLU().forward(np.array([[-2.0, 0.0, 2.0]]))
    array([[0., 0., 2.]])
    """

    range = (0.0, math.inf)

    def forward(self, x: Array, out: Array | None = None) -> Array:
        self.y = np.maximum(x, 0, out=out)
        return self.y

    def backward(self, grad: Array, out: Array | None = None) -> Array:
        slope = np.sign(self.y, out=out)
        return np.multiply(slope, grad, out=slope)


class Softmax(Layer):
    """y_j = exp(z_j) / sum_k exp(z_k), each row by itself: positive, and summing to 1. i, j and k count classes.

    From ln y_j = z_j - ln sum_k exp(z_k) follows d(ln y_j)/dz_i = [i = j] - y_i, hence dy_j/dz_i = y_j ([i = j] - y_i).
    With g = dE/dy::

        dE/dz_i = sum_j g_j y_j ([i = j] - y_i) = y_i (g_i - sum_j g_j y_j)

    Notes
    -----
    Subtracting a row's maximum from the row changes no y and keeps exp from overflowing. If a difference is beyond the
    largest float, the difference becomes -inf, and its exp is rightly 0.

    Examples
    --------
    >>> import numpy as np
    >>> import numnet as nn
    >>> nn.Softmax().forward(np.array([[1e4, 0.0], [0.0, 0.0]]))
    array([[1. , 0. ],
           [0.5, 0.5]])
    """

    probabilities = "distribution"
    range = (0.0, 1.0)
    analytic = True
    out: Array | None = None
    column: Array | None = None

    def forward(self, x: Array, out: Array | None = None) -> Array:
        if out is not self.out:  # one number a row, in an array that lasts as long as `out` does
            self.out, self.column = out, None if out is None else np.empty_like(out[:, :1])
        largest = x.max(axis=1, keepdims=True, out=self.column)
        with np.errstate(all="ignore") if out is None else _CALLERS:
            y = np.subtract(x, largest, out=out)
            y = np.exp(y, out=out)
            self.y = np.divide(y, np.add.reduce(y, axis=1, keepdims=True, out=self.column), out=y)
        return self.y

    def backward(self, grad: Array, out: Array | None = None) -> Array:
        dx = np.multiply(grad, self.y, out=out)
        total = np.add.reduce(dx, axis=1, keepdims=True, out=None if out is None else self.column)
        np.subtract(grad, total, out=dx)
        return np.multiply(dx, self.y, out=dx)
