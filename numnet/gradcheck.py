"""gradcheck: compare every derivative that was derived by hand with a numerical derivative."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import backend, checks
from .backend import Array
from .costs import Cost, Pair
from .layers import Layer
from .network import Sequential

# The floor of the relative error, as a share of the largest derivative. Small derivatives carry the rounding of large
# terms, so the error of a derivative below the floor is divided by the floor.
_SMALL = 0.1
_STEPS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)  # large steps suit large costs, small steps suit steep networks
_DOUBT = 1e-9  # for a derivative of size 1: with so little doubt, no other step is tried
_ROUNDING = 1e-15  # the relative rounding error of a cost
_COMPLEX_STEP = 1e-30


class GradientError(ValueError):
    """A gradient does not equal its numerical derivative.

    Examples
    --------
    >>> import numpy as np
    >>> import numnet as nn
    >>> class WrongSign(nn.Tanh):
    ...     def backward(self, grad, out=None):
    ...         return np.multiply(super().backward(grad), -1, out=out)
    >>> net = nn.Sequential(nn.Linear(2, 1), WrongSign(), seed=0)
    >>> try:
    ...     nn.gradcheck(net, nn.Quadratic(), [[1.0, 2.0]], [[0.0]], raise_above=1e-7)
    ... except nn.GradientError as error:
    ...     print(str(error).partition(":")[0])
    gradcheck
    """


class Comparison(NamedTuple):
    """The worst disagreement that one numerical method found.

    Attributes
    ----------
    error : float
        Largest relative error, ``|analytic - numerical| / max(|analytic|, |numerical|, floor)``, where the floor is a
        tenth of the largest of all these derivatives, or a tenth of 1 if no derivative is larger than 1. Below the
        floor, rounding takes over.
    where : str
        The parameter or input with this error, such as ``layer 0, Linear(3, 4), weight[1, 2]``.
    analytic, numerical : float
        The two derivatives by this parameter or input.

    Examples
    --------
    >>> import numnet as nn
    >>> net = nn.Sequential(nn.Linear(2, 1), seed=0)
    >>> comparison = nn.gradcheck(net, nn.Quadratic(), [[1.0, 2.0]], [[0.0]]).central
    >>> abs(comparison.analytic - comparison.numerical) < 1e-9
    True
    """

    error: float
    where: str
    analytic: float
    numerical: float

    def __str__(self) -> str:
        values = f"analytic {self.analytic:.12g}, numerical {self.numerical:.12g}"
        return f"relative error {self.error:.1e} at {self.where}\n    {values}"


class GradientReport(NamedTuple):
    """What `gradcheck` found.

    Attributes
    ----------
    central : Comparison
        With central differences.
    complex_step : Comparison or None
        With the complex step; None if a layer or the cost is not marked as analytic.

    Examples
    --------
    >>> import numnet as nn
    >>> net = nn.Sequential(nn.Linear(2, 1), nn.ReLU(), seed=0)
    >>> report = nn.gradcheck(net, nn.Quadratic(), [[1.0, 2.0]], [[0.0]])
    >>> report.central.error < 1e-7, report.complex_step
    (True, None)
    """

    central: Comparison
    complex_step: Comparison | None

    def __repr__(self) -> str:
        return f"central differences: {self.central}\ncomplex step: {self.complex_step or 'not analytic, left out'}"


def gradcheck(
    net: Sequential, cost: Cost, x: npt.ArrayLike, t: npt.ArrayLike, *, raise_above: float | None = None
) -> GradientReport:
    """Compare the gradient of every parameter and every input with numerical derivatives of the cost.

    All is computed on a float64 copy of the network, on the network's device. The network itself is left as it is.

    Central differences ``D(h) = (E(w+h) - E(w-h)) / 2h`` are combined to the fourth order, ``(4 D(h) - D(2h)) / 3``.
    The first h is 0.01, and a smaller h is tried until the estimate is good enough. The complex step,
    ``Im E(w + ih) / h`` with h = 1e-30, has neither truncation nor cancellation. The complex step is used if every
    layer and the cost are marked as `analytic`, and is always computed on the CPU.

    Parameters
    ----------
    net : Sequential
        A network of any layers, also of your own layers. Give a small network: the time grows with the square of the
        number of parameters. Give a shallow network: a derivative that is tiny compared with the other derivatives, as
        behind many saturated layers, is hardly judged.
    cost : Cost
    x : array_like of shape (n, ...)
        A few samples. A layer has no derivative at a kink, as `ReLU` has at 0. So keep the inputs of each layer at
        least about 0.02 away from its kinks, and from the edge of its domain.
    t : array_like of shape (n,) or (n, outputs)
        Targets.
    raise_above : float, optional
        Raise an error if the largest relative error of either method is above this number, for example 1e-7.

    Returns
    -------
    GradientReport

    Raises
    ------
    GradientError
        If `raise_above` is given and a relative error is above it or is NaN; the message names the parameter or input.
        Also if a layer returns one result with `out` and another result without `out`, returns an array of a wrong
        shape, or replaces its gradients.
    ValueError
        If x or t do not fit the network.

    References
    ----------
    Fourth-order differences: M. Abramowitz, I. Stegun, Handbook of Mathematical Functions, 25.3.
    Complex step: W. Squire, G. Trapp, Using complex variables to estimate derivatives of real functions, SIAM Review 40
    (1998), 110-112.

    Examples
    --------
    >>> import numpy as np
    >>> import numnet as nn
    >>> net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2), nn.Softmax(), seed=0)
    >>> report = nn.gradcheck(net, nn.CrossEntropy(), np.eye(3), np.array([0, 1, 1]), raise_above=1e-7)
    >>> report.complex_step.error < 1e-12
    True
    """
    real = net.astype("float64")
    rows = checks.inputs(x, real)
    x = backend.to(real.scaled(rows), "cpu")
    t = checks.targets(backend.to(t, "cpu"), real.outputs or x.shape[1], np.float64)
    pair = cost.pair(real.layers)
    checks.samples(x, t, real.dtype)
    pair.cost.check("t", t)

    point = np.concatenate([backend.to(real.parameters, "cpu"), x.ravel()])
    analytic = _analytic(real, pair, backend.to(x, real.device), backend.to(t, real.device))

    numerical = np.array([_central(real, pair, point, i, t) for i in range(point.size)])
    report = GradientReport(_worst(real, x, analytic, numerical), None)
    if pair.cost.analytic and all(layer.analytic for layer in net.layers):
        twin = net.astype("complex128").to("cpu")
        twin_pair = cost.pair(twin.layers)
        steps = [_cost_at(twin, twin_pair, point, i, _COMPLEX_STEP * 1j, t) for i in range(point.size)]
        report = report._replace(complex_step=_worst(real, x, analytic, np.imag(steps) / _COMPLEX_STEP))

    for comparison in report:
        if comparison is not None and not (raise_above is None or comparison.error <= raise_above):
            raise GradientError(f"gradcheck: {comparison}")
    return report


def _analytic(net: Sequential, pair: Pair, x: Array, t: Array) -> Array:
    """Return the derived gradients of all parameters, from the training step itself, and of all inputs."""
    z, y, widths = x, x, []
    views = [dict(layer.gradients) for layer in net.layers]
    for i, layer in enumerate(net.layers):
        z, y = y, layer.forward(y)
        widths.append(z.shape[1])
        _check_shape(f"the forward of layer {i}, {layer!r},", y, (len(x), layer.outputs or z.shape[1]))
        _check_out(i, layer, y, layer.forward(z, np.full_like(y, np.nan)))
    grad = pair.error(z, y, t)
    for i, layer in reversed(list(enumerate(net.layers[:-1]))):
        dy, grad = grad, layer.backward(grad)
        _check_shape(f"the backward of layer {i}, {layer!r},", grad, (len(x), widths[i]))
        _check_out(i, layer, grad, layer.backward(dy, np.full_like(grad, np.nan)))
    net.backpropagate(pair, *net.forward(x), t)
    for i, (layer, before) in enumerate(zip(net.layers, views, strict=True)):
        for name in before:
            if layer.gradients.get(name) is not before[name]:
                raise GradientError(
                    f"gradcheck: the backward of layer {i}, {layer!r}, replaces gradients[{name!r}], which the network "
                    f"then does not see: write into it, self.gradients[{name!r}][...] = ..."
                )
    return np.concatenate([backend.to(net.gradients, "cpu"), backend.to(grad, "cpu").ravel()])


def _check_shape(what: str, result: object, shape: tuple[int, int]) -> None:
    given = getattr(result, "shape", None)
    if given != shape:
        got = f"{result!r}: is its return missing?" if given is None else f"one of shape {given}"
        raise GradientError(f"gradcheck: {what} must return an array of shape {shape}, got {got}")


def _check_out(i: int, layer: Layer, fresh: Array, given: Array) -> None:
    if not np.array_equal(fresh, given, equal_nan=True):
        raise GradientError(f"gradcheck: layer {i}, {layer!r}, gives one result without `out` and another with it")


def _central(net: Sequential, pair: Pair, point: Array, i: int, t: Array) -> float:
    """Return dE/d(the i-th number) by central differences, from the step with the least truncation and rounding."""
    best, least_doubt, before = np.nan, np.inf, np.nan
    for h in _STEPS:
        with np.errstate(all="ignore"):  # a step may leave the domain of a layer; a smaller step is better then
            low2, low, high, high2 = (_cost_at(net, pair, point, i, k * h, t) for k in (-2, -1, 1, 2))
        once, twice = (high - low) / (2 * h), (high2 - low2) / (4 * h)
        estimate = float(4 * once - twice) / 3
        # The truncation error is estimated by how much the estimate changes with a lower order and with a longer step.
        # The smaller change counts, since near a kink the longer step changes the estimate much.
        doubt = np.fmin(abs(estimate - once), abs(estimate - before)) + _ROUNDING * abs(high) / h
        before = estimate
        if doubt < least_doubt:
            best, least_doubt = estimate, doubt
        if doubt <= _DOUBT * max(1, abs(estimate)):
            break
    return best


def _cost_at(net: Sequential, pair: Pair, point: Array, i: int, step: complex, t: Array) -> Any:
    """Return E after a step of the i-th of all parameters and inputs."""
    moved = point.astype(net.dtype)
    moved[i] += step
    net.parameters = moved[: net.parameters.size]
    z = y = backend.to(moved[net.parameters.size :].reshape(len(t), -1), net.device)
    for layer in net.layers:
        z, y = y, layer.forward(y)
    return backend.to(pair.value(z, y, backend.to(t, net.device)), "cpu")


def _worst(net: Sequential, x: Array, analytic: Array, numerical: Array) -> Comparison:
    """Return the largest relative error; NaN counts as the largest."""
    sizes = np.maximum(np.abs(analytic), np.abs(numerical))
    errors = np.abs(analytic - numerical) / np.maximum(sizes, _SMALL * max(1, sizes.max()))
    i = int(np.argmax(errors))
    arrays = [
        (f"layer {j}, {layer!r}, {n}", a) for j, layer in enumerate(net.layers) for n, a in layer.parameters.items()
    ]
    where = entry_name([*arrays, ("x", x)], i)
    return Comparison(float(errors[i]), where, float(analytic[i]), float(numerical[i]))


def entry_name(arrays: Sequence[tuple[str, Array]], i: int) -> str:
    """Name the i-th number of named arrays that follow one another."""
    for name, array in arrays:
        if i < array.size:
            return f"{name}[{', '.join(str(k) for k in np.unravel_index(i, array.shape))}]"
        i -= array.size
    raise IndexError(i)
