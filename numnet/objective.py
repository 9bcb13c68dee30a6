"""The cost of a network as a function of its parameters, with the gradient: what optimizers of vectors ask for."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from . import backend, checks
from .costs import Cost
from .data import checked, one_hot
from .network import Sequential


@checks.data_in_two
def cost_and_gradient(
    net: Sequential, cost: Cost, x: npt.ArrayLike, t: npt.ArrayLike, parameters: npt.ArrayLike | None = None
) -> tuple[float, npt.NDArray[np.float64]]:
    """Return the mean cost over some samples, and its gradient by all parameters.

    With this function an optimizer of SciPy can train a network, see the example. The network stays as it is: all is
    computed on a float64 copy of the network, on the network's device. The layers are called as outside training: their
    `training` is False.

    Parameters
    ----------
    net : Sequential
    cost : Cost
    x : array_like of shape (n, ...)
        As for a call of the network.
    t : array_like of shape (n,) or (n, outputs)
        Class indices or rows.
    parameters : array_like of shape (number of parameters,), optional
        Where to compute both, in the order of ``net.parameters``. By default at the parameters that the network has.

    Returns
    -------
    cost : float
        Infinite or nan if a number overflows on the way.
    gradient : ndarray of float64, shape (number of parameters,)
        dE/d(each parameter), in the order of ``net.gradients``. An array of NumPy's, and a new one in each call.

    Raises
    ------
    ValueError
        If an argument does not fit.

    See Also
    --------
    Trainer : stochastic gradient descent, which needs no SciPy and is faster on many samples.

    Notes
    -----
    The cost is E = 1/n sum_i E_i over the samples, so its gradient is the mean of theirs. Both are added up over parts
    of at most 4096 samples. So the samples can be many: as floats, only one part of them is in memory at a time.

    SciPy rounds the parameters that it tries to the dtype of the start. So give a start of float64: the parameters of a
    float64 network, or ``net.parameters.astype(float)``.

    References
    ----------
    R. H. Byrd, P. Lu, J. Nocedal, C. Zhu, A limited memory algorithm for bound constrained optimization, SIAM Journal
    on Scientific Computing 16 (1995), 1190-1208: the optimizer L-BFGS-B of the example.

    Examples
    --------
    >>> import numnet as nn
    >>> train, test = nn.datasets.digits()
    >>> net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0, dtype="float64")
    >>> x, t = train.images, train.labels
    >>> cost, gradient = nn.cost_and_gradient(net, nn.CrossEntropy(), x, t)
    >>> gradient.shape == net.parameters.shape
    True

    Training, as far as 50 steps of L-BFGS-B go (``pip install scipy``):

    >>> from scipy.optimize import minimize
    >>> def f(parameters):
    ...     return nn.cost_and_gradient(net, nn.CrossEntropy(), x, t, parameters)
    >>> steps = {"maxiter": 50}
    >>> result = minimize(f, net.parameters, jac=True, method="L-BFGS-B", options=steps)
    >>> net.parameters = result.x
    >>> net.accuracy(test.images, test.labels) > 0.93
    True
    """
    dtype = getattr(net, "dtype", None)
    checks.trainer_parts(dtype, who="cost_and_gradient", net=(net, Sequential), cost=(cost, Cost))
    net = net.astype("float64")
    for layer in net.layers:
        layer.training = False  # somebody may ask in the middle of a training
    if parameters is not None:
        net.parameters = checks.all_parameters(backend.asarray("parameters", parameters), net.parameters.size)
    pair, place = cost.pair(net.layers), net.operations.place
    x, t = checked(net, pair, (x, t), "cost_and_gradient")
    classes = place(np.arange(net.outputs or x.shape[1]))
    mean, gradient = 0.0, np.zeros_like(net.parameters)
    with net.operations.quiet():
        for rows in checks.parts(len(x), x.shape[1], *net.widths):
            part = net.scaled(x[rows], out=np.empty(x[rows].shape, net.dtype, like=net.parameters))
            targets = place(t[rows])
            targets = one_hot(net, targets, classes) if t.ndim == 1 else targets
            z, y = net.forward(part)
            share = len(part) / len(x)
            mean += share * float(pair.value(z, y, targets))
            net.backpropagate(pair, z, y, targets)
            gradient += share * net.gradients
    return mean, backend.to(gradient, "cpu")
