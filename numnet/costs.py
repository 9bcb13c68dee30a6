"""The costs, and for each (activation, cost) pair the way from targets to dE/dz.

Notation: z the last layer's input, y = f(z) its output, t the target, n the batch size. A cost is the mean over the
batch, so that the batch size never changes the meaning of the learning rate.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import backend
from .backend import Array, fused
from .layers import Layer, Scratch, Sigmoid, Softmax


class Cost:
    """A mean cost E over a batch; the base of every cost.

    A new cost defines `value` and `gradient`; any network can then be trained with it by the chain rule. Both leave y
    and t as they are, and neither counts on the other: `Trainer.fit` takes the value of several batches together, as it
    is a mean over samples, after the gradients of each.

    Attributes
    ----------
    analytic : bool
        Whether `value` accepts complex numbers as an analytic function, so that `gradcheck` may use the complex step.
    recordable : bool
        As for a `Layer`.

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
    recordable: bool = False

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
        y = _as_outputs(y)
        rows = backend.to(as_targets(backend.to(t, "cpu"), y.shape[1], y.dtype), backend.device_of(y))
        if len(rows) != len(y):
            raise ValueError(f"y has {len(y)} rows and t has {len(rows)}: give one target for each output row")
        self.check("y", y)
        self.check("t", rows)
        return float(self.value(y, rows)) + 0.0  # no -0.0

    def check(self, name: str, values: Array) -> None:
        """Raise ValueError where outputs or targets are outside what the cost is defined for; the name says which."""

    def value(self, y: Array, t: Array, out: Array | None = None) -> Any:
        """Return E for outputs and targets of one shape (n, outputs), unchecked; `out` is scratch of that shape."""
        raise NotImplementedError(f"{type(self).__name__} has no value")

    def gradient(self, y: Array, t: Array, out: Array | None = None) -> Array:
        """Return dE/dy for outputs and targets of one shape (n, outputs), unchecked."""
        raise NotImplementedError(f"{type(self).__name__} has no gradient")

    def pair(self, layers: Sequence[Layer]) -> Pair:
        """Return how E and dE/dz follow from these layers' last one; ValueError where they cannot."""
        return Pair(self, layers[-1])

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Pair:
    """The last layer and the cost over it, seen as one function of z: here by the chain rule, which always holds.

    Subclasses are the pairs with a closed form, which is exact also where the layer is saturated, and faster.

    Attributes
    ----------
    value_from_z : bool
        Whether `value` looks at z, which then has the shape of y; where it does not, any array will do for it.
    """

    value_from_z: bool = False

    def __init__(self, cost: Cost, layer: Layer) -> None:
        self.cost, self.layer, self._scratch = cost, layer, Scratch()

    def check(self, t: Array) -> None:
        """Raise ValueError where targets of shape (n, outputs) are outside what the cost is defined for."""
        self.cost.check("t", t)

    def value(self, z: Array, y: Array, t: Array) -> Any:
        """Return E."""
        return self.cost.value(y, t, self._scratch.like("value", y))

    def gradient(self, z: Array, y: Array, t: Array, out: Array | None = None) -> Array:
        """Return dE/dz for the batch that went forward through the layer last."""
        dy = self._scratch.like("dy", y)
        return self.layer.backward(self.cost.gradient(y, t, out=dy), out=out)

    def forward_backward(
        self, z: Array, t: Array, y: Array | None = None, out: Array | None = None
    ) -> tuple[Array, Array]:
        """Return the layer's output and dE/dz, written to `y` and `out` where these are given."""
        y = self.layer.forward(z, y)
        return y, self.gradient(z, y, t, out)


class Quadratic(Cost):
    """E = 1/(2n) sum (y - t)^2.

    Differentiating one term, d/dy 1/2 (y - t)^2 = y - t, so::

        dE/dy = (y - t) / n

    Over a sigmoid, dy/dz = y (1 - y) gives dE/dz = (y - t) y (1 - y) / n: where the sigmoid saturates the factor
    y (1 - y) vanishes, and learning with it, however wrong y is.

    Examples
    --------
    >>> import numnet as nn
    >>> nn.Quadratic()([[1.0, 0.0], [0.5, 0.5]], [0, 1])
    0.125
    """

    analytic = True
    recordable = True

    def value(self, y: Array, t: Array, out: Array | None = None) -> Any:
        square = np.subtract(y, t, out=out)
        np.multiply(square, square, out=square)
        return np.add.reduce(square, axis=None) / (2 * len(y))

    def gradient(self, y: Array, t: Array, out: Array | None = None) -> Array:
        return _mean_difference(y, t, out)

    def pair(self, layers: Sequence[Layer]) -> Pair:
        closed = type(self).gradient is Quadratic.gradient and type(layers[-1]) is Sigmoid
        return SigmoidQuadratic(self, layers[-1]) if closed else Pair(self, layers[-1])


class SigmoidQuadratic(Pair):
    """Quadratic cost over a sigmoid: dE/dz = dE/dy dy/dz = (y - t) y (1 - y) / n."""

    def gradient(self, z: Array, y: Array, t: Array, out: Array | None = None) -> Array:
        difference = _mean_difference(y, t, self._scratch.like("difference", y))
        out = np.subtract(1, y, out=out)
        np.multiply(out, y, out=out)
        return np.multiply(out, difference, out=out)


class CrossEntropy(Cost):
    """The cross-entropy between target probabilities t and output probabilities y.

    After a softmax each row is one distribution, after a sigmoid each output is a probability of its own::

        softmax:  E = -1/n sum t ln y
        sigmoid:  E = -1/n sum [t ln y + (1 - t) ln(1 - y)]

    In a `Trainer` the last layer says which. Called on bare outputs, y is taken as distributions where every row sums
    to 1 (within 1e-5) and there is more than one column, and as independent probabilities otherwise.

    The derivatives dE/dy = -t / (n y), and dE/dy = (y - t) / (n y (1 - y)), are unbounded where y reaches 0 or 1, but
    through the layer they become, for both (see `SoftmaxCrossEntropy`, `SigmoidCrossEntropy`)::

        dE/dz = (y - t) / n

    No factor y (1 - y) is left: the more wrong y is, the faster it learns.

    Examples
    --------
    >>> import numnet as nn
    >>> round(nn.CrossEntropy()([[0.5, 0.5], [0.25, 0.75]], [0, 1]), 6)  # -(ln 0.5 + ln 0.75) / 2
    0.490415
    """

    analytic = True
    recordable = True
    _form: Cost | None = None  # of the last layer, where one is known

    def __call__(self, y: npt.ArrayLike, t: npt.ArrayLike) -> float:
        derived = copy.copy(self)
        derived._form = self._form or _form(_as_outputs(y))
        return super(CrossEntropy, derived).__call__(y, t)

    def check(self, name: str, values: Array) -> None:
        if self._form:
            self._form.check(name, values)

    def value(self, y: Array, t: Array, out: Array | None = None) -> Any:
        return (self._form or _form(y)).value(y, t, out)

    def gradient(self, y: Array, t: Array, out: Array | None = None) -> Array:
        return (self._form or _form(y)).gradient(y, t, out)

    def pair(self, layers: Sequence[Layer]) -> Pair:
        last = layers[-1]
        if last.probabilities not in _FORMS:
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
        form = _FORMS[last.probabilities]()
        if type(self).value is not CrossEntropy.value or type(self).gradient is not CrossEntropy.gradient:
            # A closed form would bypass what a derived class has changed.
            derived = copy.copy(self)
            derived._form = form
            return Pair(derived, last)
        if type(last) is Softmax:
            return SoftmaxCrossEntropy(form, last)
        if type(last) is Sigmoid:
            return SigmoidCrossEntropy(form, last)
        return Pair(form, last)


class _Distribution(Cost):
    """Cross-entropy where each row of y is one distribution: E = -1/n sum t ln y."""

    analytic = True

    def check(self, name: str, values: Array) -> None:
        _check_probabilities(name, values)
        sums = values.sum(axis=1)
        off = np.flatnonzero(np.abs(sums - 1) > _ROW_SUM_TOLERANCE)
        if off.size:
            raise ValueError(
                f"each row of {name} must sum to 1 for a softmax output, but row {off[0]} sums to {sums[off[0]]:.6g}: "
                "give class indices, one-hot rows or probabilities, or end the network in Sigmoid() for several yes/no"
            )

    def value(self, y: Array, t: Array, out: Array | None = None) -> Any:
        return -_sum_t_log_y(t, y) / len(y)

    def gradient(self, y: Array, t: Array, out: Array | None = None) -> Array:
        out = _quotient(t, y, out)
        return np.multiply(out, -1 / len(y), out=out)


class _Independent(Cost):
    """Cross-entropy where each y is a probability of its own: E = -1/n sum [t ln y + (1 - t) ln(1 - y)]."""

    analytic = True

    def check(self, name: str, values: Array) -> None:
        _check_probabilities(name, values)

    def value(self, y: Array, t: Array, out: Array | None = None) -> Any:
        return -(_sum_t_log_y(t, y) + _sum_t_log_y(1 - t, 1 - y)) / len(y)

    def gradient(self, y: Array, t: Array, out: Array | None = None) -> Array:
        out = np.subtract(_quotient(1 - t, 1 - y), _quotient(t, y), out=out)
        return np.multiply(out, 1 / len(y), out=out)


class SoftmaxCrossEntropy(Pair):
    """Cross-entropy over a softmax, from z.

    With m the row's maximum, ln y_j = (z_j - m) - ln sum_k exp(z_k - m), and the t of a row sum to 1::

        E       = 1/n sum_i [ln sum_k exp(z_ik - m_i) - sum_j t_ij (z_ij - m_i)]
        dE/dz_i = 1/n sum_j -t_j ([i = j] - y_i) = (y_i - t_i) / n

    A gap of 2000 costs 2000, though y is 0 there: ln y is taken of y only where that is exact, and faster.
    """

    value_from_z = True

    def value(self, z: Array, y: Array, t: Array) -> Any:
        if not backend.on_gpu(y) and y.min().real > np.finfo(y.dtype).tiny:  # no `if` may wait for what a GPU computes
            part = np.log(y, out=self._scratch.like("value", y))
            return np.add.reduce(np.multiply(part, t, out=part), axis=None) / -len(y)
        one = z.max(axis=1, keepdims=True, out=self._scratch("one a row", (len(z), 1), z))
        shifted = self._scratch.like("shifted", z)
        with np.errstate(over="ignore", invalid="ignore"):
            np.subtract(z, self._scratch.filled(one, z), out=shifted)
            chosen = np.multiply(t, shifted, out=self._scratch.like("value", z))
        total = np.add.reduce(chosen, axis=None)
        if backend.on_gpu(total) or np.isnan(total):  # 0 times a gap beyond the largest float
            total = np.add.reduce(np.where(t == 0, 0, chosen), axis=None)
        np.exp(shifted, out=shifted)
        np.log(np.add.reduce(shifted, axis=1, keepdims=True, out=one), out=one)
        return (np.add.reduce(one, axis=None) - total) / len(z)

    def gradient(self, z: Array, y: Array, t: Array, out: Array | None = None) -> Array:
        return _mean_difference(y, t, out)

    def forward_backward(
        self, z: Array, t: Array, y: Array | None = None, out: Array | None = None
    ) -> tuple[Array, Array]:
        if y is not None and out is not None and backend.softmax_error(z, t, y, out):
            return y, out
        return super().forward_backward(z, t, y, out)


class SigmoidCrossEntropy(Pair):
    """Cross-entropy over a sigmoid, from z.

    With ln y = -ln(1 + exp(-z)) and ln(1 - y) = -z - ln(1 + exp(-z)), and both written so that exp cannot overflow::

        E     = 1/n sum [max(z, 0) - z t + ln(1 + exp(-|z|))]
        dE/dz = (y - t) / (n y (1 - y)) y (1 - y) = (y - t) / n
    """

    value_from_z = True

    def value(self, z: Array, y: Array, t: Array) -> Any:
        part = np.maximum(z, 0, out=self._scratch.like("value", z))
        np.subtract(part, np.multiply(z, t, out=self._scratch.like("z t", z)), out=part)
        linear = np.add.reduce(part, axis=None)
        np.negative(z, out=part)
        np.minimum(z, part, out=part)  # -|z|, also for the complex step: NumPy compares real parts first
        np.exp(part, out=part)
        np.log1p(part, out=part)
        return (linear + np.add.reduce(part, axis=None)) / len(z)

    def gradient(self, z: Array, y: Array, t: Array, out: Array | None = None) -> Array:
        return _mean_difference(y, t, out)


def as_targets(t: npt.ArrayLike, outputs: int, dtype: npt.DTypeLike) -> Array:
    """Return targets as an (n, outputs) array.

    Parameters
    ----------
    t : array_like of shape (n,) or (n, outputs)
        Class indices from 0 to outputs - 1 (integers), which become one-hot rows; for a single output, (n,) is a column
        of values. Rows of (n, outputs) are taken as they are.
    outputs : int
        The network's outputs.
    dtype : dtype
        Of the result.

    Raises
    ------
    ValueError
        If the shape, the type or a value does not fit.
    """
    t, dtype = np.asarray(t), np.dtype(dtype)
    if t.dtype.kind not in ("biufc" if dtype.kind == "c" else "biuf"):
        raise ValueError(f"targets must be real numbers, got dtype {t.dtype}")
    if t.ndim == 1 and outputs == 1:
        t = t[:, None]
    if t.ndim == 1:
        return np.eye(outputs, dtype=dtype)[check_labels(t, outputs)]
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


def check_labels(t: Array, classes: int) -> Array:
    """Return class indices as given; ValueError unless they are integers from 0 to classes - 1."""
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


_FORMS: dict[str | None, type[Cost]] = {"distribution": _Distribution, "independent": _Independent}
_ROW_SUM_TOLERANCE = 1e-5  # wide enough for the float32 outputs of a softmax


def is_distribution(rows: Array) -> bool:
    """Return whether every row is a probability distribution."""
    return bool(rows.min() >= 0 and np.abs(rows.sum(axis=1) - 1).max() <= _ROW_SUM_TOLERANCE)


def _form(y: Array) -> Cost:
    """Return the cross-entropy that bare outputs ask for."""
    return _Distribution() if y.shape[1] > 1 and is_distribution(y) else _Independent()


def _as_outputs(y: npt.ArrayLike) -> Array:
    y = backend.asarray(y)
    if y.dtype.kind not in "biuf":
        raise ValueError(f"outputs must be real numbers, got dtype {y.dtype}")
    if y.ndim != 2 or not y.size:
        raise ValueError(f"y must have shape (n, outputs) with n and outputs at least 1, got shape {y.shape}")
    if not np.isfinite(y).all():
        raise ValueError(f"y must be finite, but y{np.argwhere(~np.isfinite(y))[0].tolist()} is not")
    return y if y.dtype.kind == "f" else y.astype(np.float64)


def _check_probabilities(name: str, values: Array) -> None:
    if not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(
            f"{name} must hold probabilities from 0 to 1 for the cross-entropy, but it ranges from {values.min():.6g} "
            f"to {values.max():.6g}"
        )


def _mean_difference(y: Array, t: Array, out: Array | None = None) -> Array:
    """Return (y - t) / n."""
    return _scaled_difference(y, t, 1 / len(y), out=out)


@fused("T y, T t, T scale", "T error", "error = (y - t) * scale")
def _scaled_difference(y: Array, t: Array, scale: float, out: Array | None = None) -> Array:
    if out is None:
        return (y - t) * scale
    out[...] = t  # y and t may differ in memory layout, and only copies between layouts are fast and take no memory
    np.subtract(y, out, out=out)
    return np.multiply(out, scale, out=out)


def _sum_t_log_y(t: Array, y: Array) -> Any:
    """Return sum t ln y with 0 ln 0 = 0, its limit."""
    with np.errstate(divide="ignore"):
        return np.add.reduce(t * np.log(np.where(t == 0, 1, y)), axis=None)


def _quotient(t: Array, y: Array, out: Array | None = None) -> Array:
    """Return t / y, and 0 where t is 0: the limit for y to 0, as t ln y is 0 there for every y."""
    with np.errstate(divide="ignore"):
        return np.divide(t, np.where(t == 0, 1, y), out=out)
