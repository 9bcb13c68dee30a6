"""The costs, and for each (activation, cost) pair the way from targets to dE/dz.

Notation, as in docs/derivations: z the last layer's input, y = f(z) its output, t the target, n the batch size. As an
index, i counts samples, j and k count outputs. A cost is the mean over the batch, so that the batch size never changes
the meaning of the learning rate.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import backend, checks
from .backend import Array
from .layers import Layer, Sigmoid, Softmax


class Cost:
    """A mean cost E over a batch; the base of every cost.

    A new cost defines `value` and `gradient`; any network can then be trained with it by the chain rule. Both leave y
    and t as they are. Neither relies on the other: `Trainer.fit` takes the gradient of each batch, and later the value
    of several batches together.

    Attributes
    ----------
    analytic : bool
        Whether `value` accepts complex numbers as an analytic function, so that `gradcheck` may use the complex step.

    Examples
    --------
    A cost of one's own, ``E = 1/n sum |y - t|``, so ``dE/dy = sign(y - t) / n``:

    >>> import numpy as np
    >>> import numnet as nn
    >>> class Absolute(nn.Cost):
    ...     def value(self, y, t, out=None):
    ...         return np.abs(y - t).sum() / len(y)
    ...     def gradient(self, y, t, out=None):
    ...         return np.multiply(np.sign(y - t), 1 / len(y), out=out)
    >>> Absolute()([[1.0], [0.5]], [0.0, 0.0])
    0.75
    >>> net = nn.Sequential(nn.Linear(2, 1), seed=0)
    >>> nn.gradcheck(net, Absolute(), [[1.0, 2.0]], [0.0]).central.error < 1e-7
    True
    """

    analytic: bool = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let a network give `out` also to a `value` or `gradient` that was written without this parameter."""
        super().__init_subclass__(**kwargs)
        checks.accept_out(cls, value=2, gradient=2)

    @checks.quiet
    def __call__(self, y: npt.ArrayLike, t: npt.ArrayLike) -> float:
        """Return the mean cost of outputs y for targets t.

        Parameters
        ----------
        y : array_like of shape (n, outputs)
            Outputs of a network.
        t : array_like of shape (n,) or (n, outputs)
            Class indices, or one row of values for each sample: one-hot, probabilities, or whatever the cost compares.

        Raises
        ------
        ValueError
            If the shapes do not fit, or a value can be neither an output nor a target.
        """
        y = checks.cost_outputs(backend.asarray("y", y))
        rows = backend.to(checks.targets(backend.to(t, "cpu", "t"), y.shape[1], y.dtype), backend.device_of(y))
        checks.as_many_rows(y, rows)
        self.check("y", y)
        self.check("t", rows)
        return float(checks.cost_value(self, self.value(y, rows))) + 0.0  # no -0.0

    def check(self, name: str, values: Array) -> None:
        """Raise ValueError if outputs or targets are outside the cost's domain; the name says which of the two."""

    def value(self, y: Array, t: Array, out: Array | None = None) -> Any:
        """Return E for outputs and targets of one shape (n, outputs), unchecked; `out` is scratch of that shape.

        A cost of your own may have a `value` and `gradient` without `out`.
        """
        raise NotImplementedError(f"{type(self).__name__} has no value")

    def gradient(self, y: Array, t: Array, out: Array | None = None) -> Array:
        """Return dE/dy for outputs and targets of one shape (n, outputs), unchecked."""
        raise NotImplementedError(f"{type(self).__name__} has no gradient")

    def values(self, y: Array, t: Array) -> Any:
        """Return the E_i of each sample, of shape (n,), of which E is the mean: here from `value` of each alone."""
        values = np.empty(len(y), y.dtype, like=y)
        for i in range(len(y)):
            values[i] = self.value(y[i : i + 1], t[i : i + 1])
        return values

    def pair(self, layers: Sequence[Layer]) -> Pair:
        """Return the ``Pair`` of this cost and the last of these layers; ValueError if they do not fit together."""
        return Pair(self, layers[-1])

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Pair:
    """The last layer and the cost over it, seen as one function of z: here by the chain rule, which always holds.

    Subclasses are the pairs with a closed form. A closed form is exact also if the layer is saturated, and faster.

    Attributes
    ----------
    uses_z : bool
        Whether `value` looks at z, which then has the shape of y. Otherwise any array will do for z.
    """

    uses_z: bool = False

    def __init__(self, cost: Cost, layer: Layer) -> None:
        self.cost, self.layer = cost, layer

    def value(self, z: Array, y: Array, t: Array) -> Any:
        """Return E."""
        return checks.cost_value(self.cost, self.cost.value(y, t, np.empty_like(y)))

    def error(self, z: Array, y: Array, t: Array, out: Array | None = None, dy: Array | None = None) -> Array:
        """Return dE/dz for the batch that went forward through the layer last.

        dE/dz is written to `out`. If a pair needs dE/dy on the way, dE/dy is written to `dy`.
        """
        gradient = checks.cost_gradient(self.cost, self.cost.gradient(y, t, out=dy), y.shape)
        return self.layer.backward(gradient, out=out)

    def values(self, z: Array, y: Array, t: Array) -> Any:
        """Return the E_i of each sample, of shape (n,)."""
        return self.cost.values(y, t)


class Weighted(Pair):
    """A pair whose samples have weights: E = 1/n sum_i w_i E_i.

    A weight multiplies its row of dE/dz. If the last layer has parameters, and so no closed form, the weight multiplies
    the row of dE/dy, from which the layer derives both. A sample of weight 0 counts as if it were not there, also if
    its cost is infinite.
    """

    def __init__(self, pair: Pair, weight: Array) -> None:
        super().__init__(pair.cost, pair.layer)
        self.pair, self.weight, self.uses_z = pair, weight, pair.uses_z

    def value(self, z: Array, y: Array, t: Array) -> Any:
        values = np.where(self.weight == 0, 0, self.pair.values(z, y, t))
        return np.add.reduce(self.weight * values) / len(y)

    def error(self, z: Array, y: Array, t: Array, out: Array | None = None, dy: Array | None = None) -> Array:
        if type(self.pair).error is Pair.error:
            gradient = checks.cost_gradient(self.cost, self.cost.gradient(y, t, out=dy), y.shape)
            return self.layer.backward(self._times_weight(gradient, dy), out=out)
        return self._times_weight(self.pair.error(z, y, t, out, dy), out)

    def _times_weight(self, rows: Array, out: Array | None) -> Array:
        weight = self.weight[:, None]
        rows = np.multiply(rows, weight, out=out)  # a cost of the user's own may have returned an array of its own
        np.copyto(rows, 0, where=weight == 0)
        return rows


class Quadratic(Cost):
    """E = 1/(2n) sum (y - t)^2.

    Differentiating one term, d/dy 1/2 (y - t)^2 = y - t, so::

        dE/dy = (y - t) / n

    Over a sigmoid, dy/dz = y (1 - y) gives dE/dz = (y - t) y (1 - y) / n. If the sigmoid saturates, the factor
    y (1 - y) vanishes, and so does learning, however wrong y is.

    Examples
    --------
    >>> import numnet as nn
    >>> nn.Quadratic()([[1.0, 0.0], [0.5, 0.5]], [0, 1])
    0.125
    """

    analytic = True

    def value(self, y: Array, t: Array, out: Array | None = None) -> Any:
        difference = np.subtract(y, t, out=out)
        squares = difference * difference / (2 * len(y))  # divided first: the sum could overflow
        return np.add.reduce(squares, axis=None)

    def values(self, y: Array, t: Array) -> Any:
        if type(self).value is not Quadratic.value:
            return super().values(y, t)
        return np.square(y - t).sum(axis=1) / 2

    def gradient(self, y: Array, t: Array, out: Array | None = None) -> Array:
        difference = np.subtract(y, t, out=out)
        return np.multiply(difference, 1 / len(y), out=difference)

    def pair(self, layers: Sequence[Layer]) -> Pair:
        return (SigmoidQuadratic if type(layers[-1]) is Sigmoid else Pair)(self, layers[-1])


class SigmoidQuadratic(Pair):
    """Quadratic cost over a sigmoid: dE/dz = dE/dy dy/dz = (y - t) y (1 - y) / n."""

    def error(self, z: Array, y: Array, t: Array, out: Array | None = None, dy: Array | None = None) -> Array:
        dy = self.cost.gradient(y, t, dy)
        error = np.subtract(1, y, out=out)
        np.multiply(error, y, out=error)
        return np.multiply(error, dy, out=error)


class CrossEntropy(Cost):
    """The cross-entropy between target probabilities t and output probabilities y.

    After a softmax each row is one distribution, after a sigmoid each output is a probability of its own::

        softmax:  E = -1/n sum t ln y
        sigmoid:  E = -1/n sum [t ln y + (1 - t) ln(1 - y)]

    In a `Trainer` the last layer says which of the two holds. Called on bare outputs, y is taken as distributions if
    every row sums to 1 (within 1e-5) and there is more than one column, and as independent probabilities otherwise.

    The derivatives dE/dy = -t / (n y), and dE/dy = (y - t) / (n y (1 - y)), grow without bound as y reaches 0 or 1. But
    through the layer they become, for both (see `SoftmaxCrossEntropy`, `SigmoidCrossEntropy`)::

        dE/dz = (y - t) / n

    No factor y (1 - y) is left: the more wrong y is, the faster the network learns.

    Examples
    --------
    >>> import numnet as nn
    >>> cost = nn.CrossEntropy()
    >>> round(cost([[0.5, 0.5], [0.25, 0.75]], [0, 1]), 6)  # -(ln 0.5 + ln 0.75) / 2
    0.490415
    """

    analytic = True
    _form: Cost | None = None  # the cross-entropy for the last layer, if the layer is known

    @checks.quiet
    def __call__(self, y: npt.ArrayLike, t: npt.ArrayLike) -> float:
        derived, y = copy.copy(self), checks.cost_outputs(backend.asarray("y", y))
        derived._form = self._form or _form(y)
        return super(CrossEntropy, derived).__call__(y, t)

    def check(self, name: str, values: Array) -> None:
        if self._form:
            self._form.check(name, values)

    def value(self, y: Array, t: Array, out: Array | None = None) -> Any:
        return (self._form or _form(y)).value(y, t, out)

    def gradient(self, y: Array, t: Array, out: Array | None = None) -> Array:
        return (self._form or _form(y)).gradient(y, t, out)

    def values(self, y: Array, t: Array) -> Any:
        if type(self).value is not CrossEntropy.value:
            return super().values(y, t)
        return (self._form or _form(y)).values(y, t)

    def pair(self, layers: Sequence[Layer]) -> Pair:
        checks.probabilities_taken_once(layers, _FORMS)
        last = layers[-1]
        form = _FORMS[last.probabilities]()
        if type(self).value is not CrossEntropy.value or type(self).gradient is not CrossEntropy.gradient:
            derived = copy.copy(self)  # a closed form would bypass what a derived class has changed
            derived._form = form
            return Pair(derived, last)
        return {Softmax: SoftmaxCrossEntropy, Sigmoid: SigmoidCrossEntropy}.get(type(last), Pair)(form, last)


class _Distribution(Cost):
    """Cross-entropy if each row of y is one distribution: E = -1/n sum t ln y, so dE/dy = -t / (n y)."""

    analytic = True

    def check(self, name: str, values: Array) -> None:
        checks.distributions(name, values)

    def value(self, y: Array, t: Array, out: Array | None = None) -> Any:
        return -_sum_t_log_y(t, y) / len(y)

    def values(self, y: Array, t: Array) -> Any:
        return -_t_log_y(t, y).sum(axis=1)

    def gradient(self, y: Array, t: Array, out: Array | None = None) -> Array:
        out = _quotient(t, y, out)
        return np.multiply(out, -1 / len(y), out=out)


class _Independent(Cost):
    """Cross-entropy if each y is a probability of its own: E = -1/n sum [t ln y + (1 - t) ln(1 - y)].

    So dE/dy = [(1 - t) / (1 - y) - t / y] / n.
    """

    analytic = True

    def check(self, name: str, values: Array) -> None:
        checks.probabilities(name, values)

    def value(self, y: Array, t: Array, out: Array | None = None) -> Any:
        return -(_sum_t_log_y(t, y) + _sum_t_log_y(1 - t, 1 - y)) / len(y)

    def values(self, y: Array, t: Array) -> Any:
        return -(_t_log_y(t, y) + _t_log_y(1 - t, 1 - y)).sum(axis=1)

    def gradient(self, y: Array, t: Array, out: Array | None = None) -> Array:
        out = np.subtract(_quotient(1 - t, 1 - y), _quotient(t, y), out=out)
        return np.multiply(out, 1 / len(y), out=out)


class SoftmaxCrossEntropy(Pair):
    """Cross-entropy over a softmax.

    With m_i the maximum of row i, ln y_ij = (z_ij - m_i) - ln sum_k exp(z_ik - m_i), and the t of a row sum to 1::

        E        = 1/n sum_i [ln sum_k exp(z_ik - m_i) - sum_j t_ij (z_ij - m_i)]
        dE/dz_ij = 1/n sum_k -t_ik ([j = k] - y_ij) = (y_ij - t_ij) / n

    A gap of 2000 costs 2000, though y is 0 there. If every y is a normal float, ln y is as exact, and faster.
    """

    uses_z = True

    def value(self, z: Array, y: Array, t: Array) -> Any:
        if y.min().real > np.finfo(y.dtype).tiny:
            return -np.add.reduce(t * np.log(y), axis=None) / len(y)
        return self.values(z, y, t).sum() / len(z)

    def values(self, z: Array, y: Array, t: Array) -> Any:
        with np.errstate(all="ignore"):
            shifted = z - z.max(axis=1, keepdims=True)
            # 0 times a gap beyond the largest float is nan.
            chosen = np.where(t == 0, 0, t * shifted)
        return np.log(np.exp(shifted).sum(axis=1)) - chosen.sum(axis=1)

    def error(self, z: Array, y: Array, t: Array, out: Array | None = None, dy: Array | None = None) -> Array:
        error = np.subtract(y, t, out=out)
        return np.multiply(error, 1 / len(y), out=error)


class SigmoidCrossEntropy(Pair):
    """Cross-entropy over a sigmoid, from z.

    With ln y = -ln(1 + exp(-z)) and ln(1 - y) = -z - ln(1 + exp(-z)), and both written so that exp cannot overflow::

        E     = 1/n sum [max(z, 0) - z t + ln(1 + exp(-|z|))]
        dE/dz = (y - t) / (n y (1 - y)) y (1 - y) = (y - t) / n
    """

    uses_z = True

    def value(self, z: Array, y: Array, t: Array) -> Any:
        return np.add.reduce(self._terms(z, t), axis=None) / len(z)

    def values(self, z: Array, y: Array, t: Array) -> Any:
        return self._terms(z, t).sum(axis=1)

    def _terms(self, z: Array, t: Array) -> Any:
        # This is -|z|, also for the complex step: NumPy compares real parts first.
        below = np.minimum(z, -z)
        return np.maximum(z, 0) - z * t + np.log1p(np.exp(below))

    def error(self, z: Array, y: Array, t: Array, out: Array | None = None, dy: Array | None = None) -> Array:
        error = np.subtract(y, t, out=out)
        return np.multiply(error, 1 / len(y), out=error)


_FORMS: dict[str | None, type[Cost]] = {"distribution": _Distribution, "independent": _Independent}


def _form(y: Array) -> Cost:
    """Return the cross-entropy that fits outputs of an unknown layer."""
    return _Distribution() if y.shape[1] > 1 and checks.is_distribution(y) else _Independent()


def _sum_t_log_y(t: Array, y: Array) -> Any:
    return np.add.reduce(_t_log_y(t, y), axis=None)


def _t_log_y(t: Array, y: Array) -> Array:
    """Return t ln y with 0 ln 0 = 0, its limit."""
    with np.errstate(all="ignore"):
        return t * np.log(np.where(t == 0, 1, y))


def _quotient(t: Array, y: Array, out: Array | None = None) -> Array:
    """Return t / y, and 0 if t is 0. If t is 0, t ln y is 0 for every y, and so is its slope."""
    with np.errstate(all="ignore"):
        return np.divide(t, np.where(t == 0, 1, y), out=out)
