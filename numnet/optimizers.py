"""Stochastic gradient descent over a network's flat parameter vector."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from . import backend, checks
from .backend import Array
from .network import Sequential


class SGD:
    """Stochastic gradient descent: w <- w - lr dE/dw, with the usual refinements.

    Let g be dE/dw, clipped to `clip_norm`. For weights, `weight_decay` w is added to g. Each step does::

        v <- momentum v + g
        w <- w - lr v                   (nesterov: w - lr (g + momentum v))

    Parameters
    ----------
    lr : float or callable
        Learning rate, above 0. Or a schedule: a function from the epoch (1 for the first) to the learning rate.
    momentum : float, default 0.0
        From 0 to below 1: how much of the last step's direction the next step keeps.
    nesterov : bool, default False
        Nesterov's momentum; needs a momentum above 0.
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

    _step: Array | None = None

    @checks.sgd_arguments
    def __init__(
        self,
        lr: float | Callable[[int], float],
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
    ) -> None:
        self.lr = lr if callable(lr) else float(lr)
        self.momentum, self.nesterov, self.weight_decay = float(momentum), bool(nesterov), float(weight_decay)
        self.clip_norm = None if clip_norm is None else float(clip_norm)

    def learning_rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch, 1 being the first; ValueError if the rate is not usable."""
        return checks.scheduled_rate(self.lr(epoch), epoch) if callable(self.lr) else checks.scheduled_rate(self.lr)

    def start(self, net: Sequential) -> None:
        """Allocate what the updates of this network need, with the velocity at 0."""
        self.velocity = np.zeros_like(net.parameters)
        self._step = np.empty_like(net.parameters)
        self._decay_mask = net.decay_mask

    def update(self, parameters: Array, gradients: Array, lr: float) -> None:
        """Take one step in place; the gradients stay as they are unless they are clipped.

        Options are taken as the floats that a file has of them, so that a resumed run has the same bits.
        """
        if self.clip_norm is not None and (norm := _norm(gradients)) > self.clip_norm:
            np.multiply(gradients, float(self.clip_norm) / norm, out=gradients)
        if self._step is None:  # in a copy
            self._step = np.empty_like(parameters)
        step, direction = self._step, gradients
        if self.weight_decay:
            np.multiply(self._decay_mask, parameters, out=step)
            np.multiply(step, float(self.weight_decay), out=step)
            direction = np.add(step, gradients, out=step)
        if self.momentum:
            np.multiply(self.velocity, float(self.momentum), out=self.velocity)
            np.add(self.velocity, direction, out=self.velocity)
            if self.nesterov:
                np.subtract(parameters, np.multiply(direction, lr, out=step), out=parameters)
                lr = lr * float(self.momentum)
            direction = self.velocity
        np.subtract(parameters, np.multiply(direction, lr, out=step), out=parameters)

    def __reduce_ex__(self, protocol: Any) -> Any:
        parts: Any = super().__reduce_ex__(protocol)
        made, args, *state = parts
        if type(state[0]) is dict:  # otherwise a subclass has slots
            state[0] = {name: value for name, value in vars(self).items() if name != "_step"}
        return (made, args, *state)

    def to(self, device: str) -> None:
        """Move what `start` has allocated to a device."""
        self.velocity, self._decay_mask = (backend.to(array, device) for array in (self.velocity, self._decay_mask))
        self._step = np.empty_like(self.velocity)

    def options(self) -> dict[str, Any]:
        """Return the constructor's arguments, as values of Python's; if lr is a function, its entry is None."""
        names = ("lr", "momentum", "nesterov", "weight_decay", "clip_norm")
        values = {name: getattr(self, name) for name in names}
        values["lr"] = None if callable(self.lr) else self.lr
        values["nesterov"] = bool(self.nesterov) if isinstance(self.nesterov, np.bool_) else self.nesterov
        return {name: float(value) if isinstance(value, np.number) else value for name, value in values.items()}

    def __repr__(self) -> str:
        options = {**self.options(), "lr": self.lr}
        return f"SGD({', '.join(f'{name}={value!r}' for name, value in options.items() if value)})"


def _norm(vector: Array) -> float:
    """Return the Euclidean norm, in float64 if the squares of float32 overflow."""
    norm = math.sqrt(np.dot(vector, vector))
    return norm if math.isfinite(norm) else math.sqrt(np.square(vector, dtype=np.float64).sum())
