"""Trajectories against PyTorch: equal start, equal batches, 200 steps."""

import itertools

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import numnet as nn

from .networks import meaningful

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")

torch.set_num_threads(1)  # these networks are too small for more
STEPS = 200
ACTIVATIONS = {
    nn.Sigmoid: torch.nn.Sigmoid,
    nn.Tanh: torch.nn.Tanh,
    nn.ReLU: torch.nn.ReLU,
    nn.Softmax: lambda: torch.nn.Softmax(dim=1),
}


def twin(net, closed_form):
    """Return the PyTorch network of the same layers and parameters; without the last where its cost wants logits."""
    layers = []
    for layer in net.layers[: -1 if closed_form else None]:
        if isinstance(layer, nn.Linear):
            bias, dtype = layer.bias is not None, getattr(torch, net.dtype.name)
            linear = torch.nn.Linear(layer.inputs, layer.outputs, bias=bias, dtype=dtype)
            with torch.no_grad():
                linear.weight.copy_(torch.tensor(layer.weight.T.copy()))
                if bias:
                    linear.bias.copy_(torch.tensor(layer.bias.copy()))
            layers.append(linear)
        else:
            layers.append(ACTIVATIONS[type(layer)]())
    return torch.nn.Sequential(*layers)


def torch_cost(last, cost):
    """Return the cost as a function of PyTorch's outputs (logits for cross-entropy) and rows of targets."""
    if cost is nn.Quadratic:
        return lambda y, t: ((y - t) ** 2).sum() / (2 * len(y))
    if last is nn.Softmax:
        return torch.nn.functional.cross_entropy
    return lambda z, t: torch.nn.functional.binary_cross_entropy_with_logits(z, t, reduction="sum") / len(z)


def flat(model):
    """Return PyTorch's parameters in numnet's order and layout."""
    return np.concatenate([p.detach().numpy().T.ravel() for p in model.parameters()])


@st.composite
def runs(draw):
    widths = draw(st.lists(st.integers(1, 8), min_size=2, max_size=4))
    last = draw(st.sampled_from(meaningful([nn.Softmax, nn.Sigmoid], widths[-1])))
    cost = draw(st.sampled_from([nn.CrossEntropy, nn.Quadratic]))
    layers = []
    for inputs, outputs in itertools.pairwise(widths):
        activation = draw(st.sampled_from(meaningful(ACTIVATIONS, outputs)))
        layers += [nn.Linear(inputs, outputs, draw(st.booleans())), activation()]
    layers[-1] = last()
    momentum = draw(st.sampled_from([0.0, 0.5, 0.9]))
    options = {
        "lr": draw(st.sampled_from([0.01, 0.1])),
        "momentum": momentum,
        "nesterov": momentum > 0 and draw(st.booleans()),
        "weight_decay": draw(st.sampled_from([0.0, 0.01])),
    }
    return layers, last, cost, options, draw(st.integers(0, 2**32 - 1))


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-4)])
@settings(max_examples=settings().max_examples // 4)
@given(run=runs())
def test_trajectory(dtype, tolerance, run, largest):
    layers, last, cost, options, seed = run
    rng = np.random.default_rng(seed)
    net = nn.Sequential(*layers, seed=seed, dtype=dtype)
    closed_form = cost is nn.CrossEntropy
    model, their_cost = twin(net, closed_form), torch_cost(last, cost)
    weights = [p for name, p in model.named_parameters() if name.endswith("weight")]
    biases = [p for name, p in model.named_parameters() if name.endswith("bias")]
    groups = [{"params": weights}, {"params": biases, "weight_decay": 0.0}]
    theirs = torch.optim.SGD(groups, **options)
    trainer = nn.Trainer(net, cost(), nn.SGD(**options))
    for _ in range(STEPS):
        x = rng.normal(size=(rng.integers(1, 9), net.inputs)).astype(dtype)
        t = rng.random((len(x), net.outputs)).astype(dtype)
        t /= t.sum(axis=1, keepdims=True)
        theirs.zero_grad()
        expected = their_cost(model(torch.tensor(x)), torch.tensor(t))
        expected.backward()
        theirs.step()
        assert trainer.step(x, t) == pytest.approx(expected.item(), rel=10 * tolerance, abs=tolerance)
    deviation = np.abs(net.parameters - flat(model)).max()
    largest(f"parameters after {STEPS} steps against PyTorch, {dtype}, absolute", deviation)
    assert deviation <= tolerance


def test_clipping_by_norm_is_pytorchs():
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3), nn.Softmax(), seed=0, dtype="float64")
    model = twin(net, closed_form=True)
    theirs = torch.optim.SGD(model.parameters(), lr=0.5)
    trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.5, clip_norm=0.1))
    for _ in range(STEPS):
        x, labels = rng.normal(size=(8, 5)), rng.integers(3, size=8)
        theirs.zero_grad()
        torch.nn.functional.cross_entropy(model(torch.tensor(x)), torch.tensor(labels)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        theirs.step()
        trainer.step(x, labels)
    # PyTorch divides by the norm plus 1e-6, we by the norm: 1e-5 of each step of at most 0.05.
    np.testing.assert_allclose(net.parameters, flat(model), atol=1e-4)
