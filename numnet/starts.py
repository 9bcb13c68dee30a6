"""Starting weights that the field knows by name, for ``Linear(..., start=...)``.

Each is a function ``start(rng, shape)``, with shape (inputs, outputs). A start of one's own is written in the same way.
If the weights of a layer are too large, the layer's activations saturate. If the weights are too small, the signal
fades from layer to layer.

Examples
--------
>>> import numnet as nn
>>> linear = nn.Linear(784, 10, start=nn.starts.nielsen)
>>> net = nn.Sequential(linear, nn.Softmax(), seed=0)
>>> bool(abs(net.layers[0].weight.std() - 784**-0.5) < 0.001)
True
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["glorot", "he", "lecun", "nielsen"]

Array = npt.NDArray[Any]


def glorot(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return weights uniform in +-sqrt(6 / (inputs + outputs)), for tanh and softmax layers.

    The variance 2 / (inputs + outputs) is between the variance that keeps the size of the signal on the way forward
    and the variance that keeps the size of the gradient on the way back.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
        (inputs, outputs).

    References
    ----------
    X. Glorot, Y. Bengio, Understanding the difficulty of training deep feedforward neural networks, AISTATS 2010,
    equation 16.

    Examples
    --------
    >>> import numpy as np
    >>> import numnet as nn
    >>> bool(abs(nn.starts.glorot(np.random.default_rng(0), (50, 100))).max() <= 0.2)
    True
    """
    limit = (6 / (shape[0] + shape[1])) ** 0.5
    return rng.uniform(-limit, limit, shape)


def he(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return Gaussian weights of variance 2 / inputs, for ReLU layers.

    A ReLU passes on half of the signal's power, and the 2 makes up for that.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
        (inputs, outputs).

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, Delving deep into rectifiers, ICCV 2015, equation 10.

    Examples
    --------
    >>> import numpy as np
    >>> import numnet as nn
    >>> float(nn.starts.he(np.random.default_rng(0), (200, 1000)).std().round(2))
    0.1
    """
    return rng.normal(0, (2 / shape[0]) ** 0.5, shape)


def lecun(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return weights uniform in +-sqrt(3 / inputs), that is of variance 1 / inputs, for sigmoid and tanh layers.

    Inputs of variance 1 then give sums z of variance 1.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
        (inputs, outputs).

    References
    ----------
    Y. LeCun, L. Bottou, G. Orr, K.-R. Mueller, Efficient BackProp, 1998, section 4.6.

    Examples
    --------
    >>> import numpy as np
    >>> import numnet as nn
    >>> float(nn.starts.lecun(np.random.default_rng(0), (100, 1000)).std().round(2))
    0.1
    """
    limit = (3 / shape[0]) ** 0.5
    return rng.uniform(-limit, limit, shape)


def nielsen(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return Gaussian weights of standard deviation 1/sqrt(inputs).

    In the book the biases are Gaussian, too, of standard deviation 1. Here the biases start at 0.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
        (inputs, outputs).

    References
    ----------
    M. Nielsen, Neural Networks and Deep Learning, chapter 3, "Weight initialization",
    http://neuralnetworksanddeeplearning.com/chap3.html.

    Examples
    --------
    >>> import numpy as np
    >>> import numnet as nn
    >>> float(nn.starts.nielsen(np.random.default_rng(0), (100, 1000)).std().round(2))
    0.1
    """
    return rng.normal(0, shape[0] ** -0.5, shape)
