"""Networks from PyTorch and for PyTorch: the same layers, with copies of the same parameters.

Only `to_torch` imports PyTorch. Whoever has a module for `from_torch` has imported PyTorch already.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from . import backend, checks, portable
from .layers import Layer, Linear, ReLU, Sigmoid, Softmax, Tanh
from .network import Sequential

if TYPE_CHECKING:
    import torch

_KINDS: dict[str, Any] = {kind.__name__: kind for kind in (Linear, Sigmoid, Tanh, ReLU, Softmax)}  # as in PyTorch
_NAMES = ", ".join(_KINDS)


def from_torch(module: torch.nn.Sequential, softmax: bool = False) -> Sequential:
    """Return a network with the layers of a PyTorch module and copies of its parameters.

    Parameters
    ----------
    module : torch.nn.Sequential
        Of Linear, Sigmoid, Tanh, ReLU and Softmax layers, and of further Sequentials of these. Flatten is passed over,
        since a network flattens its inputs itself. Dropout is passed over, since it changes nothing in evaluation: the
        network computes what ``module.eval()`` computes. If the network is trained further, nothing is dropped.
    softmax : bool, default False
        Whether to add a `Softmax` at the end. PyTorch's ``CrossEntropyLoss`` takes logits and applies the softmax
        itself. So a module that was trained with this loss gives logits. A network of numnet gives the probabilities,
        and `CrossEntropy` needs them.

    Returns
    -------
    Sequential
        A network of the module's dtype, float32 or float64. The network is on the CPU, wherever the module is. It
        counts as trained, as a network from a file does.

    Raises
    ------
    ValueError
        If the network could not compute what the module computes: if a layer is of another kind, has a forward of its
        own, has a hook or has no parameters yet, or if the parameters are of another dtype.

    See Also
    --------
    to_torch : the way back.

    Notes
    -----
    A weight of PyTorch has the shape (outputs, inputs), and a weight of numnet the shape (inputs, outputs). If a layer
    stands in the module twice, the network has two layers, each with its own copy.

    ``BCEWithLogitsLoss`` takes logits, too. For a module that was trained with this loss, give
    ``torch.nn.Sequential(module, torch.nn.Sigmoid())``.

    Examples
    --------
    >>> import importlib.util
    >>> import numnet as nn
    >>> if importlib.util.find_spec("torch"):
    ...     import torch
    ...     module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
    ...     net = nn.from_torch(module, softmax=True)
    ...     assert (net.inputs, net.outputs) == (784, 10)
    """
    theirs: Any = sys.modules.get("torch")
    if theirs is None or not isinstance(module, theirs.nn.Sequential):
        give = "torch.nn.Sequential(...) of its layers, in the order in which its forward calls them"
        give = "the module, after module.load_state_dict(...)" if isinstance(module, dict) else give
        raise ValueError(f"from_torch: module must be a torch.nn.Sequential, got {type(module).__name__}: give {give}")
    layers: list[Layer] = []
    tensors: dict[str, Any] = {}
    for name, kind, part in _leaves(theirs.nn, "module", module):
        if kind == "Linear":
            outputs, inputs = part.weight.shape
            layer = Linear(inputs, outputs, bias=part.bias is not None)
            tensors |= {
                f"from_torch: the {which} of {name}": getattr(part, which).detach() for which in layer.parameters
            }
            layers.append(layer)
        elif kind in _KINDS:
            layers.append(_KINDS[kind]())
    checks.booleans("from_torch", softmax=softmax)
    if softmax and layers and isinstance(layers[-1], Softmax):
        raise ValueError(
            "from_torch: the module ends in a Softmax, and the softmax must be taken only once: leave out softmax=True"
        )
    dtypes = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()}) or ["float32"]
    if dtypes not in (["float32"], ["float64"]):
        give = ": give copy.deepcopy(module).float()" if all(t.is_floating_point() for t in tensors.values()) else ""
        raise ValueError(
            f"from_torch: the parameters are of {' and '.join(dtypes)}, but a network has one dtype, float32 or "
            f"float64{give}"
        )
    net = Sequential(*layers, *[Softmax()] * bool(softmax), dtype=dtypes[0])
    # A tensor on the device meta has no numbers, and cannot be moved: asarray says so.
    arrays = [backend.asarray(name, t if t.is_meta else t.cpu()).T.ravel() for name, t in tensors.items()]
    net.parameters = np.concatenate([np.empty(0, net.dtype), *arrays])
    net.trained = True
    return net


def _leaves(nn: Any, name: str, part: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield the layers of a module, also of the Sequentials in it: where each is, its kind, and the layer itself."""
    kinds = ("Sequential", *_KINDS, "Flatten", "Dropout")
    kind = next((kind for kind in kinds if isinstance(part, getattr(nn, kind))), None)
    who = f"from_torch: {name}, {type(part).__name__},"
    if kind is None:
        use = "leave it out, and give softmax=True" if isinstance(part, nn.LogSoftmax) else f"use {_NAMES}"
        raise ValueError(f"{who} is no layer that numnet has: {use}")
    if (
        getattr(part.forward, "__func__", None) is not getattr(nn, kind).forward
        or type(part).__call__ is not nn.Module.__call__
    ):
        raise ValueError(f"{who} has a forward of its own, which numnet does not know: use {_NAMES}")
    if isinstance(part, nn.modules.lazy.LazyModuleMixin):
        raise ValueError(f"{who} has no parameters yet: call the module with a batch first")
    if part._forward_hooks or part._forward_pre_hooks:
        raise ValueError(f"{who} has a hook, which can change what it computes: remove the hook first")
    if kind == "Softmax" and part.dim not in (1, -1):
        raise ValueError(f"{who} is taken along dim={part.dim}, and not over the outputs: use torch.nn.Softmax(dim=1)")
    if kind == "Flatten" and (part.start_dim, part.end_dim) != (1, -1):
        raise ValueError(f"{who} must flatten all but the samples, got {part!r}: use torch.nn.Flatten()")
    if kind != "Sequential":
        yield name, kind, part
        return
    for i, inner in enumerate(part):
        yield from _leaves(nn, f"{name}[{i}]", inner)


def to_torch(net: Sequential) -> torch.nn.Sequential:
    """Return a PyTorch module with the layers of a network and copies of its parameters.

    Parameters
    ----------
    net : Sequential
        A network of Linear, Sigmoid, Tanh, ReLU and Softmax layers.

    Returns
    -------
    torch.nn.Sequential
        A module of the network's dtype. The module is on the CPU, wherever the network is. Training the module does not
        change the network.

    Raises
    ------
    ValueError
        If the module could not compute what the network computes.
    ImportError
        If PyTorch cannot be imported.

    See Also
    --------
    from_torch : the way back.

    Notes
    -----
    The module takes float tensors of shape (n, inputs). Unlike a network, it does not flatten images, and does not
    divide bytes by 255.

    If the network ends in a `Softmax`, so does the module. PyTorch's ``CrossEntropyLoss`` applies the softmax itself.
    To train with this loss, take the module without its last layer, ``to_torch(net)[:-1]``.

    Examples
    --------
    >>> import importlib.util
    >>> import numnet as nn
    >>> net = nn.Sequential(nn.Linear(784, 10), nn.Softmax(), seed=0)
    >>> if importlib.util.find_spec("torch"):
    ...     module = nn.to_torch(net)
    ...     assert tuple(module[0].weight.shape) == (10, 784)
    """
    steps = portable.steps("to_torch", net)
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"to_torch needs PyTorch, which cannot be imported ({error}): pip install 'numnet[torch]'"
        ) from error
    return torch.nn.Sequential(*(_layer(torch, step) for step in steps))


def _layer(torch: Any, step: portable.Step) -> Any:
    """Return the layer of PyTorch."""
    if step.kind is Softmax:
        return torch.nn.Softmax(dim=1)
    if step.kind is not Linear:
        return getattr(torch.nn, step.kind.__name__)()
    weight, arrays = step.parameters["weight"], step.parameters
    # skip_init: drawing parameters that are replaced would move on the generator of PyTorch.
    linear = torch.nn.utils.skip_init(
        torch.nn.Linear, *weight.shape, "bias" in arrays, device="cpu", dtype=getattr(torch, weight.dtype.name)
    )
    with torch.no_grad():
        for which, array in arrays.items():
            getattr(linear, which).copy_(torch.from_numpy(array.T))
    return linear
