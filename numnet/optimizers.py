"""Stochastic gradient descent over a network's flat parameter vector."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from . import backend
from .backend import Array, fused

if TYPE_CHECKING:
    from .network import Sequential


class SGD:
    """Stochastic gradient descent: w <- w - lr dE/dw, with the usual refinements.

    With g = dE/dw (clipped to `clip_norm`), and for weights plus `weight_decay` w, each step does::

        v <- momentum v + g
        w <- w - lr v                   (nesterov: w - lr (g + momentum v))

    Parameters
    ----------
    lr : float or callable
        Learning rate, above 0; or a schedule, a function from the epoch (1 for the first) to it.
    momentum : float, default 0.0
        From 0 to below 1: how much of the last step's direction is kept.
    nesterov : bool, default False
        Nesterov's momentum; it needs a momentum above 0.
    weight_decay : float, default 0.0
        L2 penalty: adds weight_decay/2 sum w^2 to what is minimised, for weights only, not for biases.
    clip_norm : float, optional
        Longer gradients are scaled down to this Euclidean norm, before weight decay.

    Notes
    -----
    The meaning of each is PyTorch's (https://pytorch.org/docs/stable/generated/torch.optim.SGD.html, and
    ``torch.nn.utils.clip_grad_norm_``). A `Trainer` works on its own copy, so one SGD can describe many runs.

    Examples
    --------
    >>> import numnet as nn
    >>> nn.SGD(lr=0.5, momentum=0.9)
    SGD(lr=0.5, momentum=0.9)
    >>> nn.SGD(lr=lambda epoch: 0.5 * 0.9 ** (epoch - 1)).learning_rate(epoch=3)
    0.405
    """

    def __init__(
        self,
        lr: float | Callable[[int], float],
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
    ) -> None:
        if not callable(lr):
            _check("lr", lr, _is_finite(lr) and lr > 0, "a finite number above 0, or a function of the epoch")
        _check("momentum", momentum, _is_finite(momentum) and 0 <= momentum < 1, "from 0 to below 1")
        _check("weight_decay", weight_decay, _is_finite(weight_decay) and weight_decay >= 0, "finite and at least 0")
        if clip_norm is not None:
            _check("clip_norm", clip_norm, _is_finite(clip_norm) and clip_norm > 0, "a finite number above 0, or None")
        _check("nesterov", nesterov, isinstance(nesterov, bool), "True or False")
        _check("momentum", momentum, momentum > 0 or not nesterov, "above 0 with nesterov=True, 0.9 say")
        self.lr = lr if callable(lr) else float(lr)
        self.momentum, self.nesterov, self.weight_decay = float(momentum), nesterov, float(weight_decay)
        self.clip_norm = None if clip_norm is None else float(clip_norm)

    def learning_rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch, 1 being the first; ValueError if a schedule gives an unusable one."""
        if not callable(self.lr):
            return self.lr
        lr = self.lr(epoch)
        _check(f"the scheduled lr of epoch {epoch}", lr, _is_finite(lr) and lr >= 0, "finite and at least 0")
        return float(lr)

    def start(self, net: Sequential) -> None:
        """Allocate what the updates of this network need, with the velocity at 0."""
        self._step = np.empty_like(net.parameters)
        self.velocity = np.zeros_like(net.parameters)
        self._decayed = net.decayed

    def update(self, parameters: Array, gradients: Array, lr: Any) -> None:
        """Take one step in place; the gradients are left as they are unless clipped. On a GPU lr is an array, too."""
        if self.clip_norm is not None:
            norm = _norm(gradients)
            if backend.on_gpu(gradients):  # no `if` may wait for a GPU; the factor is exactly 1 up to clip_norm
                np.multiply(gradients, self.clip_norm / np.maximum(norm, self.clip_norm), out=gradients)
            elif norm > self.clip_norm:
                np.multiply(gradients, float(self.clip_norm / norm), out=gradients)
        step, direction = self._step, gradients
        if self.weight_decay:
            np.multiply(self._decayed, parameters, out=step)
            np.multiply(step, self.weight_decay, out=step)
            direction = np.add(step, gradients, out=step)
        if self.momentum:
            np.multiply(self.velocity, self.momentum, out=self.velocity)
            np.add(self.velocity, direction, out=self.velocity)
            if self.nesterov:
                _descend(parameters, direction, lr, step, out=parameters)
                lr = lr * self.momentum
            direction = self.velocity
        _descend(parameters, direction, lr, step, out=parameters)

    def to(self, device: str) -> None:
        """Move what `start` has allocated to where the network is now."""
        self._step, self.velocity, self._decayed = (
            backend.to(array, device) for array in (self._step, self.velocity, self._decayed)
        )

    def options(self) -> dict[str, Any]:
        """Return the constructor's arguments; an lr that is a function as None."""
        names = ("momentum", "nesterov", "weight_decay", "clip_norm")
        return {"lr": None if callable(self.lr) else self.lr, **{name: getattr(self, name) for name in names}}

    def __repr__(self) -> str:
        options = {**self.options(), "lr": self.lr}
        return f"SGD({', '.join(f'{name}={value!r}' for name, value in options.items() if value)})"


@fused("T w, T direction, raw T lr, T step", "T moved", "moved = w - lr[0] * direction")
def _descend(w: Array, direction: Array, lr: Any, step: Array, out: Array) -> Array:
    """Write w - lr direction to `out`; `step` is scratch."""
    np.multiply(direction, lr, out=step)
    return np.subtract(w, step, out=out)


def _norm(vector: Array) -> Any:
    """Return the Euclidean norm, in float64 where squares of float32 could overflow."""
    if not backend.on_gpu(vector):
        norm = math.sqrt(np.dot(vector, vector))
        if math.isfinite(norm):
            return norm
    return np.sqrt(np.add.reduce(np.square(vector, dtype=np.float64), axis=None))


def _is_finite(value: object) -> bool:
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


def _check(name: str, value: object, valid: bool, expected: str) -> None:
    if not valid:
        raise ValueError(f"SGD: {name} must be {expected}, got {value!r}")
