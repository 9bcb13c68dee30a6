"""gradcheck: compare every derivative that was derived by hand with a numerical derivative."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import backend, checks
from .backend import Array
from .bar import visible
from .costs import Cost, Pair, Weighted
from .layers import Layer
from .network import Sequential

# The floor of the relative error, as a share of the largest derivative. Small derivatives carry the rounding of large
# terms, so the error of a derivative below the floor is divided by the floor.
_SMALL = 0.1
_STEPS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)  # large steps suit large costs, small steps suit steep networks
_DOUBT = 1e-9  # for a derivative of size 1: with so little doubt, no other step is tried
_ROUNDING = 1e-15  # the relative rounding error of a cost
_COMPLEX_STEP = 1e-30
_TOLERANCE = 1e-7  # errors up to here are taken as rounding and truncation, unless the user gives another limit
_TINY_STEP = 1e-7  # float64 notices such a step, and float32 mostly does not
_BAR_AFTER, _LONG = 1, 60  # seconds from which there is a bar, and a warning

_Move = tuple[int | slice, Any]  # a place among all parameters and inputs, and the direction in which a step moves it
_Fault = tuple[str, str]  # its kind, and what to tell


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
        The parameter or input with this error, such as ``layer 0, Linear(3, 4), weight[1, 2]``. If only a sample is
        compared, this can be an array, ``layer 0, Linear(784, 128), weight, in a random direction``.
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
    cause : str
        If an error is above `raise_above`, or above 1e-7 without `raise_above`: which layer is at fault, and how. Empty
        if all is right, or if the cause cannot be told.
    checked, total : int
        How many of how many derivatives were compared one by one.

    Examples
    --------
    >>> import numnet as nn
    >>> net = nn.Sequential(nn.Linear(2, 1), nn.ReLU(), seed=0)
    >>> report = nn.gradcheck(net, nn.Quadratic(), [[1.0, 2.0]], [[0.0]])
    >>> report.central.error < 1e-7, report.complex_step, report.checked, report.total
    (True, None, 5, 5)
    """

    central: Comparison
    complex_step: Comparison | None
    cause: str
    checked: int
    total: int

    def __repr__(self) -> str:
        text = f"central differences: {self.central}\ncomplex step: {self.complex_step or 'not analytic, left out'}"
        if self.checked < self.total:
            text += f"\n{self.checked:,} of {self.total:,} derivatives, and one along all numbers of each large array"
        return f"{text}\n{self.cause}" if self.cause else text


@checks.data_in_two
@checks.quiet
def gradcheck(
    net: Sequential,
    cost: Cost,
    x: npt.ArrayLike,
    t: npt.ArrayLike,
    *,
    raise_above: float | None = None,
    samples: int | None = None,
    sample_weight: npt.ArrayLike | None = None,
) -> GradientReport:
    """Compare the gradient of every parameter and every input with numerical derivatives of the cost.

    All is computed on a float64 copy of the network, on the network's device. The network itself is left as it is. The
    layers are called as outside training: their `training` is False.

    Central differences ``D(h) = (E(w+h) - E(w-h)) / 2h`` are combined to the fourth order, ``(4 D(h) - D(2h)) / 3``.
    The first h is 0.01, and a smaller h is tried until the estimate is good enough. The complex step,
    ``Im E(w + ih) / h`` with h = 1e-30, has neither truncation nor cancellation. The complex step is used if every
    layer and the cost are marked as `analytic`, and is always computed on the CPU.

    If an error is too large, each layer is judged by itself. The report then names the layer whose `backward` does not
    belong to its `forward`, a layer that computes in float32, or a kink.

    Parameters
    ----------
    net : Sequential
        A network of any layers, also of your own layers. Give a small network, or `samples`: without `samples`, the
        time grows with the square of the number of parameters. If the check will take more than about a minute, a
        warning says so. Give a shallow network: a derivative that is tiny compared with the other derivatives, as
        behind many saturated layers, is hardly judged.
    cost : Cost
    x : array_like of shape (n, ...)
        A few samples. A layer has no derivative at a kink, as `ReLU` has at 0. So keep the inputs of each layer at
        least about 0.02 away from its kinks, and from the edge of its domain.
    t : array_like of shape (n,) or (n, outputs)
        Targets.
    raise_above : float, optional
        Raise an error if the largest relative error of either method is above this number, for example 1e-7.
    samples : int, optional
        Compare only this many derivatives of each array, drawn at random, and the same in each call. An array is a
        layer's weight, say, or x. If an array has more numbers, one more derivative is compared: the derivative along a
        random direction, in which all numbers of the array move together. So a mistake elsewhere in the array is found
        too.
    sample_weight : array_like of shape (n,), optional
        How much each sample counts, as for `Trainer.step`.

    Returns
    -------
    GradientReport

    Raises
    ------
    GradientError
        If `raise_above` is given and a relative error is above it or is NaN; the message names the parameter or input,
        and the cause. Also if a layer cannot be judged or trained: if it is random, changes its input, gives one result
        with `out` and another result without `out`, fails without `out`, returns an array of a wrong shape, or adds to
        its gradients or replaces them.
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
    >>> layers = nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2), nn.Softmax()
    >>> net = nn.Sequential(*layers, seed=0)
    >>> x, t = np.eye(3), np.array([0, 1, 1])
    >>> report = nn.gradcheck(net, nn.CrossEntropy(), x, t, raise_above=1e-7)
    >>> report.complex_step.error < 1e-12
    True
    """
    if samples is not None:
        checks.whole_numbers("gradcheck", samples=samples)
    real = net.astype("float64")
    for layer in real.layers:
        layer.training = False  # a network may be checked by a callback in the middle of its training
    rows = checks.inputs(x, real)
    x = backend.to(real.scaled(rows), "cpu")
    t = checks.targets(backend.to(real.operations.asarray("targets", t), "cpu"), real.outputs or x.shape[1], np.float64)
    pair = cost.pair(real.layers)
    checks.samples(x, t, real.dtype)
    pair.cost.check("t", t)

    point = np.concatenate([backend.to(real.parameters, "cpu"), x.ravel()])
    arrays = [
        (f"layer {i}, {layer!r}, {n}", a) for i, layer in enumerate(real.layers) for n, a in layer.parameters.items()
    ]
    arrays.append(("x", x))
    moves = _moves(arrays, samples)
    there = backend.to(x.copy(), real.device), backend.to(t, real.device)
    with real.operations.quiet():  # as in training
        faults = _check_layers(real, pair, *there)
        if sample_weight is not None:
            weight = checks.sample_weight(sample_weight, len(x))
            pair = Weighted(pair, backend.to(weight, real.device))
        gradients = _analytic(real, pair, *there)
    analytic = np.array([np.sum(gradients[place] * direction) for place, direction in moves])

    def cost_by(move: _Move) -> Callable[[float], Any]:
        return partial(_cost_at, real, pair, point, t, move)

    numerical = np.array([*map(_central, map(cost_by, _foreseen(moves)))])
    central, worst = _worst(arrays, moves, analytic, numerical)
    complex_step = None
    if pair.cost.analytic and all(layer.analytic for layer in net.layers):
        twin = real.astype("complex128").to("cpu")
        twin_pair = cost.pair(twin.layers)
        if sample_weight is not None:
            twin_pair = Weighted(twin_pair, weight)
        h = _COMPLEX_STEP * 1j
        steps = [_cost_at(twin, twin_pair, point, t, move, h) for move in _bar(moves)]
        complex_step, _ = _worst(arrays, moves, analytic, np.imag(steps) / _COMPLEX_STEP)

    cause, limit = "", _TOLERANCE if raise_above is None else raise_above
    if not central.error <= limit:
        cause = _cause(central, _slopes(cost_by(worst)), faults)
    elif complex_step and not complex_step.error <= limit:
        cause = "a layer or the cost is marked as analytic, but is no analytic function: leave out analytic = True"
    for comparison in (central, complex_step):
        if comparison and not (raise_above is None or comparison.error <= raise_above):
            raise GradientError(f"gradcheck: {comparison}" + (f"\n    {cause}" if cause else ""))
    checked = sum(isinstance(place, int) for place, _ in moves)
    return GradientReport(central, complex_step, cause, checked, point.size)


def _check_layers(net: Sequential, pair: Pair, x: Array, t: Array) -> list[_Fault]:
    """Call each layer in every way in which a network does; GradientError if the results differ, or are no results.

    Return what is wrong with the derivative of each layer alone, and with that of the cost.
    """
    faults = []
    for i, layer in enumerate(net.layers):
        who, z = f"layer {i}, {layer!r},", x
        x = _called(f"the forward of {who}", layer.forward, z, (len(z), layer.outputs or z.shape[1]))
        given = z.copy()
        layer.forward(given, np.empty_like(x))
        if not _same(given, z):
            raise GradientError(
                f"gradcheck: the forward of {who} changes its input, which the layer before may need for its backward: "
                "write to `out`, or to a new array"
            )
        if layer is not net.layers[-1] or type(pair).error is Pair.error:  # a closed form does without the last layer's
            faults += _check_backward(who, layer, z, x, first=i == 0)
    dz, value = pair.error(z, layer.forward(z), t), lambda: pair.value(z, layer.forward(z), t)
    return faults + _faults(repr(pair.cost), ("gradient", "value"), "z", z, dz, value)


def _check_backward(who: str, layer: Layer, x: Array, y: Array, first: bool) -> list[_Fault]:
    def backward(grad: Array, *out: Array) -> Array:
        layer.forward(x.copy())
        return layer.backward(grad, *out)

    views = dict(layer.gradients)
    for view in views.values():
        view[...] = np.nan
    grad = _random(y, 0)
    grad /= np.abs(grad * y).sum() or 1
    dx = _called(f"the backward of {who}", backward, grad, x.shape)
    if first:  # training wants no dE/dx of the first layer
        layer.forward(x.copy())
        layer.backward_parameters(grad.copy())
    for name, view in views.items():
        fault = ""
        if layer.gradients.get(name) is not view:
            fault = f"replaces gradients[{name!r}], which the network then does not see"
        elif np.isnan(backend.to(view, "cpu")).all():
            fault = f"adds to gradients[{name!r}], or leaves there what was there before"
        if fault:
            raise GradientError(
                f"gradcheck: the backward of {who} {fault}: write into it, self.gradients[{name!r}][...] = ..."
            )
    derived = [("its input", x, dx), *((name, array, views[name]) for name, array in layer.parameters.items())]
    value = lambda: (grad * layer.forward(x.copy())).sum()  # noqa: E731
    return [fault for one in derived for fault in _faults(who, ("backward", "forward"), *one, value)]


def _called(who: str, function: Callable[..., Array], given: Array, shape: tuple[int, ...]) -> Array:
    """Return what a forward or backward gives, called without `out`, again without `out`, and with `out`."""
    try:
        result = function(given.copy())
    except Exception as error:
        try:
            function(given.copy(), np.empty(shape, given.dtype, like=given))
        except Exception:
            raise error from None
        raise GradientError(
            f"gradcheck: {who} works only with `out` ({type(error).__name__}: {error}): let `out` be None by default, "
            "and return a new array then"
        ) from error
    found = getattr(result, "shape", None)
    if found != shape:
        got = f"{result!r}: is its return missing?" if found is None else f"one of shape {found}"
        raise GradientError(f"gradcheck: {who} must return an array of shape {shape}, got {got}")
    result = result.copy()  # the layer may return the same array in each call
    if not _same(result, function(given.copy())):
        raise GradientError(
            f"gradcheck: {who} gives two results for the same numbers, so it cannot be judged: let it be random only "
            "if self.training is True, and remember nothing of earlier calls"
        )
    if not _same(result, function(given.copy(), np.full_like(result, np.nan))):
        raise GradientError(
            f"gradcheck: {who} gives one result without `out` and another with it: write all of the result to `out`, "
            "and return `out`"
        )
    return result


def _same(a: Array, b: Array) -> bool:
    return bool(np.array_equal(a, b, equal_nan=True))


def _moves(arrays: Sequence[tuple[str, Array]], samples: int | None) -> list[_Move]:
    """Return by what to differentiate, if the arrays follow one another: by single numbers, and by all of an array."""
    rng, start = np.random.default_rng(0), 0
    moves: list[_Move] = []
    for _, array in arrays:
        chosen = range(array.size)
        if samples is not None and array.size > samples:
            chosen = np.sort(rng.choice(array.size, samples, replace=False)).tolist()
            direction = rng.normal(size=array.size)
            moves.append((slice(start, start + array.size), direction / np.linalg.norm(direction)))
        moves += [(start + i, 1.0) for i in chosen]
        start += array.size
    return moves


def _foreseen(moves: Sequence[_Move]) -> Iterator[_Move]:
    """Give the moves one by one, with a bar, and with a warning if the first of them show that all will take long."""
    started = time.perf_counter()
    for done, move in enumerate(_bar(moves)):
        if done == 10 and (seconds := (time.perf_counter() - started) / done * len(moves)) > _LONG:
            checks.warn(
                f"gradcheck: {len(moves):,} derivatives will take {seconds / 60:.0f} minutes or more: samples=50, say, "
                "compares 50 of each array",
                UserWarning,
            )
        yield move


def _bar(moves: Sequence[_Move]) -> Iterable[_Move]:
    from tqdm import tqdm

    return tqdm(moves, "gradcheck", unit=" derivatives", delay=_BAR_AFTER, leave=False, disable=not visible())


def _analytic(net: Sequential, pair: Pair, x: Array, t: Array) -> Array:
    """Return the derived gradients of all parameters, from the training step itself, and of all inputs."""
    grad = pair.error(*net.forward(x), t)
    for layer in net.layers[-2::-1]:
        grad = layer.backward(grad)
    net.backpropagate(pair, *net.forward(x), t)
    return np.concatenate([backend.to(net.gradients, "cpu"), backend.to(grad, "cpu").ravel()])


def _central(value: Callable[[float], Any]) -> float:
    """Return d(value)/d(step) at 0 by central differences, from the step with the least truncation and rounding."""
    best, least_doubt, before = np.nan, np.inf, np.nan
    for h in _STEPS:
        with np.errstate(all="ignore"):  # a step may leave the domain of a layer; a smaller step is better then
            low2, low, high, high2 = (value(k * h) for k in (-2, -1, 1, 2))
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


def _slopes(value: Callable[[float], Any]) -> tuple[float, float, float]:
    """Return d(value)/d(step) at 0 by central differences, and with few digits from the left and from the right."""
    low, here, high = (float(value(k * _TINY_STEP)) for k in (-1, 0, 1))
    return _central(value), (here - low) / _TINY_STEP, (high - here) / _TINY_STEP


def _cost_at(net: Sequential, pair: Pair, point: Array, t: Array, move: _Move, step: complex) -> Any:
    """Return E after a step of one or several of all parameters and inputs."""
    place, direction = move
    moved = point.astype(net.dtype)
    moved[place] += step * direction
    net.parameters = moved[: net.parameters.size]
    z = y = backend.to(moved[net.parameters.size :].reshape(len(t), -1), net.device)
    for layer in net.layers:
        z, y = y, layer.forward(y)
    return backend.to(pair.value(z, y, backend.to(t, net.device)), "cpu")


def _worst(
    arrays: Sequence[tuple[str, Array]], moves: Sequence[_Move], analytic: Array, numerical: Array
) -> tuple[Comparison, _Move]:
    """Return the largest relative error, and the move that has it; NaN counts as the largest."""
    sizes = np.maximum(np.abs(analytic), np.abs(numerical))
    errors = np.abs(analytic - numerical) / np.maximum(sizes, _SMALL * max(1, sizes.max()))
    i = int(np.argmax(errors))
    place, _ = moves[i]
    if isinstance(place, int):
        where = entry_name(arrays, place)
    else:
        where = entry_name(arrays, place.start).rpartition("[")[0] + ", in a random direction"
    return Comparison(float(errors[i]), where, float(analytic[i]), float(numerical[i])), moves[i]


def _cause(worst: Comparison, slopes: tuple[float, float, float], faults: Sequence[_Fault]) -> str:
    """Say what explains the worst error, if it can be told."""
    kind, (_, left, right) = _kind(worst.analytic, *slopes), slopes
    named = [text for found, text in faults if (found == "kink") == (kind == "kink")]
    if kind == "kink":
        who = named[0] if named else "there is a kink here"
        return f"{who}: from the left, this derivative is {left:.6g}, from the right {right:.6g}. Move x away"
    if named:
        return named[0]
    if 1e-8 < worst.error < 1e-6 and worst.analytic:  # noise of central differences is smaller, or alone
        return "rounding to float32 leaves errors of this size: is there float32 in a backward?"
    return ""


def _kind(analytic: float, numerical: float, left: float, right: float) -> str:
    """Return "float32", "kink" or "wrong", or "" for a right derivative."""
    scale, error, gap = max(abs(analytic), abs(numerical), _SMALL), abs(analytic - numerical), abs(right - left)
    if abs((left + right) / 2 - numerical) > 1e-3 * scale:  # _TINY_STEP is lost, or moves a number by a whole float32
        return "float32"
    if error <= _TOLERANCE * scale:
        return ""
    return "kink" if gap >= error and gap > 1e-5 * scale else "wrong"


def _faults(
    who: str, methods: tuple[str, str], name: str, array: Array, gradient: Array, value: Callable[[], Any]
) -> list[_Fault]:
    """Judge the gradient of a value by an array, along a random direction; return what is wrong, if anything is."""
    direction, start = _random(array, 1), array.copy()

    def moved(step: float) -> float:
        array[...] = start + step * direction
        result = float(backend.to(value(), "cpu"))
        array[...] = start
        return result

    slopes, analytic = _slopes(moved), float(backend.to((gradient * direction).sum(), "cpu"))
    kind, (backward, forward) = _kind(analytic, *slopes), methods
    text = {
        "float32": f"{who} rounds to float32: let it compute in the dtype of what it is given",
        "kink": f"{who} has a kink here",
        "wrong": f"the {backward} of {who} is not the derivative of its {forward}:\n    along a random direction of "
        f"{name}, {backward} gives {analytic:.6g}, {forward} {slopes[0]:.6g}",
    }
    return [(kind, text[kind])] if kind else []


def _random(like: Array, seed: int) -> Array:
    numbers = np.random.default_rng(seed).uniform(-1, 1, like.shape)
    return backend.to(numbers, backend.device_of(like))


def entry_name(arrays: Sequence[tuple[str, Array]], i: int) -> str:
    """Name the i-th number of named arrays that follow one another."""
    for name, array in arrays:
        if i < array.size:
            return f"{name}[{', '.join(str(k) for k in np.unravel_index(i, array.shape))}]"
        i -= array.size
    raise IndexError(i)
