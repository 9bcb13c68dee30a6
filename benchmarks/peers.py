"""The programs that numnet is compared with: the same network, data, starting weights, order and arithmetic in each.

A peer is a function of a `Problem` that returns two functions: ``epoch()`` trains on all samples once and returns the
mean training cost, ``accuracy()`` is that on the test images. Each peer imports its framework itself, is written as its
own documentation advises for speed, and keeps its data as it likes best; nothing before the first epoch is timed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Peer = tuple[Callable[[], float | None], Callable[[], float | None]]


@dataclass
class Problem:
    """What to train: a network of these sizes, sigmoid in between and softmax at the end, on these images."""

    sizes: tuple[int, ...]
    images: Array
    labels: Array
    test_images: Array
    test_labels: Array
    batch_size: int = 64
    lr: float = 0.5
    seed: int = 0

    def weights(self) -> list[tuple[Array, Array]]:
        """Return the starting weight (inputs, outputs) and bias (outputs,) of each layer."""
        rng, layers = np.random.default_rng(self.seed), []
        for inputs, outputs in pairwise(self.sizes):
            limit = inputs**-0.5
            weight = rng.uniform(-limit, limit, (inputs, outputs)).astype(np.float32)
            layers.append((weight, rng.uniform(-limit, limit, outputs).astype(np.float32)))
        return layers

    def orders(self) -> Iterator[Array]:
        """Draw the order of the samples, epoch after epoch."""
        rng = np.random.default_rng(self.seed)
        while True:
            yield rng.permutation(len(self.labels))

    def floats(self, images: Array) -> Array:
        """Return images as rows of intensities from 0 to 1."""
        return np.multiply(images.reshape(len(images), -1), np.float32(1 / 255), dtype=np.float32)

    def right(self, outputs: Array) -> float:
        """Return the accuracy of outputs for the test images."""
        return float(np.mean(np.argmax(outputs, axis=1) == self.test_labels))


def numnet_network(problem: Problem) -> Any:
    """Return numnet's network with the starting weights."""
    import numnet as nn

    layers: list[nn.Layer] = []
    for inputs, outputs in pairwise(problem.sizes):
        layers += [nn.Linear(inputs, outputs), nn.Sigmoid()]
    net = nn.Sequential(*layers[:-1], nn.Softmax())
    for linear, (weight, bias) in zip(net.layers[::2], problem.weights(), strict=True):
        linear.parameters["weight"][...], linear.parameters["bias"][...] = weight, bias
    return net


def numnet(problem: Problem) -> Peer:
    """Numnet, as the README uses it."""
    import numnet as nn

    net = numnet_network(problem)
    trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr=problem.lr), seed=problem.seed)
    train = nn.datasets.Dataset(problem.images, problem.labels)

    def epoch() -> float:
        return trainer.fit(train, epochs=1, batch_size=problem.batch_size, progress=False).train_cost[-1]

    return epoch, lambda: net.accuracy(problem.test_images, problem.test_labels)


def blas(problem: Problem) -> Peer:
    """Only the matrix products of an epoch, on the same numbers again and again: what no program on NumPy undercuts."""
    n, sizes = problem.batch_size, problem.sizes
    rng = np.random.default_rng(0)
    values = [rng.random((n, size), dtype=np.float32) for size in sizes]
    errors = [rng.random((n, size), dtype=np.float32) for size in sizes]
    weights = [weight for weight, _ in problem.weights()]
    gradients = [np.empty_like(weight) for weight in weights]

    def epoch() -> None:
        for _ in range(0, len(problem.labels), n):
            for x, weight, z in zip(values, weights, values[1:], strict=False):
                np.matmul(x, weight, out=z)
            for i in range(len(weights) - 1, -1, -1):
                np.matmul(values[i].T, errors[i + 1], out=gradients[i])
                if i:
                    np.matmul(errors[i + 1], weights[i].T, out=errors[i])
        return None

    return epoch, lambda: None


def torch_eager(problem: Problem, compiled: bool = False) -> Peer:
    """PyTorch: tensors in memory, a batch by indexing with a part of the permutation."""
    import torch

    net = torch_network(problem)
    optimizer = torch.optim.SGD(net.parameters(), lr=problem.lr)
    cost = torch.nn.CrossEntropyLoss()
    images, labels = torch.from_numpy(problem.floats(problem.images)), torch.from_numpy(problem.labels.astype(np.int64))
    tests = torch.from_numpy(problem.floats(problem.test_images))
    orders = problem.orders()

    def forward_cost(x: Any, t: Any) -> Any:
        return cost(net(x), t)

    if compiled:
        forward_cost = torch.compile(forward_cost)

    def epoch() -> float:
        total = torch.zeros(())
        for rows in torch.from_numpy(next(orders)).split(problem.batch_size):
            optimizer.zero_grad()
            loss = forward_cost(images[rows], labels[rows])
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(rows)
        return float(total) / len(labels)

    @torch.no_grad()
    def accuracy() -> float:
        return problem.right(net(tests).numpy())

    return epoch, accuracy


def torch_compile(problem: Problem) -> Peer:
    """PyTorch with torch.compile over forward and cost."""
    return torch_eager(problem, compiled=True)


def torch_dataloader(problem: Problem) -> Peer:
    """PyTorch with a DataLoader over PIL images: the usual first program."""
    import torch
    from dataloader import HAS_TORCHVISION, MnistImages

    if not HAS_TORCHVISION:
        print("without torchvision, a data set that does the same for each image stands in for its MNIST", flush=True)
    net = torch_network(problem)
    optimizer = torch.optim.SGD(net.parameters(), lr=problem.lr)
    cost = torch.nn.CrossEntropyLoss()
    orders = problem.orders()
    order: list[int] = []
    train = MnistImages(problem.images, problem.labels)
    loader = torch.utils.data.DataLoader(train, problem.batch_size, sampler=order)
    tests = torch.from_numpy(problem.floats(problem.test_images))

    def epoch() -> float:
        order[:] = next(orders).tolist()
        total = 0.0
        for images, labels in loader:
            optimizer.zero_grad()
            loss = cost(net(images.flatten(1)), labels)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(labels)
        return total / len(train)

    @torch.no_grad()
    def accuracy() -> float:
        return problem.right(net(tests).numpy())

    return epoch, accuracy


def torch_network(problem: Problem) -> Any:
    """Return PyTorch's network with the starting weights; its cost takes the softmax itself."""
    import torch

    layers: list[Any] = []
    for weight, bias in problem.weights():
        linear = torch.nn.Linear(*weight.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weight.T))
            linear.bias.copy_(torch.from_numpy(bias))
        layers += [linear, torch.nn.Sigmoid()]
    return torch.nn.Sequential(*layers[:-1])


def jax_step(problem: Problem, scan: bool = False) -> Peer:
    """JAX: one jitted function for a step, its parameters donated."""
    import jax
    import jax.numpy as jnp

    images, labels = jnp.asarray(problem.floats(problem.images)), jnp.asarray(problem.labels.astype(np.int32))
    tests = jnp.asarray(problem.floats(problem.test_images))
    params = jax.tree.map(jnp.asarray, problem.weights())
    orders = problem.orders()
    n = problem.batch_size

    def logits(params: Any, x: Any) -> Any:
        for weight, bias in params[:-1]:
            x = jax.nn.sigmoid(x @ weight + bias)
        weight, bias = params[-1]
        return x @ weight + bias

    def cost(params: Any, x: Any, t: Any) -> Any:
        log_y = jax.nn.log_softmax(logits(params, x))
        return -jnp.take_along_axis(log_y, t[:, None], axis=1).mean()

    def step(params: Any, images: Any, labels: Any, rows: Any) -> Any:
        value, grads = jax.value_and_grad(cost)(params, images[rows], labels[rows])
        return jax.tree.map(lambda w, g: w - problem.lr * g, params, grads), value

    def many(params: Any, images: Any, labels: Any, batches: Any) -> Any:
        params, values = jax.lax.scan(lambda p, rows: step(p, images, labels, rows), params, batches)
        return params, values.sum() * n

    def one(params: Any, total: Any, images: Any, labels: Any, rows: Any) -> Any:
        params, value = step(params, images, labels, rows)
        return params, total + value * len(rows)

    one, many = jax.jit(one, donate_argnums=(0, 1)), jax.jit(many, donate_argnums=0)

    def epoch() -> float:
        nonlocal params
        order = next(orders).astype(np.int32)
        whole = len(order) // n * n
        total: Any = jnp.float32(0)
        if scan and whole:
            params, total = many(params, images, labels, order[:whole].reshape(-1, n))
            order = order[whole:]
        for start in range(0, len(order), n):
            params, total = one(params, total, images, labels, order[start : start + n])
        jax.block_until_ready(params)
        return float(total) / len(labels)

    outputs = jax.jit(logits)
    return epoch, lambda: problem.right(np.asarray(outputs(params, tests)))


def jax_scan(problem: Problem) -> Peer:
    """JAX: one jitted function for the whole epoch, a lax.scan over its batches."""
    return jax_step(problem, scan=True)


def thinc(problem: Problem) -> Peer:
    """Thinc's layers, with its own SGD."""
    from thinc.api import NumpyOps, Optimizer, Sigmoid, Softmax, chain, set_current_ops

    sizes = problem.sizes
    set_current_ops(NumpyOps(use_blis=False))  # NumPy's products: here two to five times as fast as its own
    pairs = list(pairwise(sizes))
    layers: list[Any] = [Sigmoid(o, i) for i, o in pairs[:-1]] + [Softmax(pairs[-1][1], pairs[-1][0])]
    model: Any = chain(*layers) if len(layers) > 1 else layers[0]
    x, t = problem.floats(problem.images), problem.labels
    model.initialize(X=x[:2], Y=np.eye(sizes[-1], dtype=np.float32)[t[:2]])
    for layer, (weight, bias) in zip(layers, problem.weights(), strict=True):
        layer.set_param("W", np.ascontiguousarray(weight.T))
        layer.set_param("b", bias)
    # Its SGD is its Adam with both averages off; it has no other switch.
    optimizer = Optimizer(problem.lr, beta1=0.0, beta2=0.0, L2=0.0, grad_clip=0.0, use_averages=False)
    one_hot = np.eye(sizes[-1], dtype=np.float32)[t]
    tests, orders = problem.floats(problem.test_images), problem.orders()

    def epoch() -> float:
        order, total = next(orders), 0.0
        for start in range(0, len(order), problem.batch_size):
            rows = order[start : start + problem.batch_size]
            targets = one_hot[rows]
            y, backprop = model.begin_update(x[rows])
            total -= float(np.log(y[targets > 0]).sum())
            backprop((y - targets) / len(rows))
            model.finish_update(optimizer)
        return total / len(order)

    return epoch, lambda: problem.right(model.predict(tests))


def scikit_learn(problem: Problem) -> Peer:
    """scikit-learn's MLPClassifier; it shuffles by itself, so the rows are put in order before each epoch."""
    from sklearn.neural_network import MLPClassifier

    x, orders = problem.floats(problem.images), problem.orders()
    net = MLPClassifier(
        problem.sizes[1:-1],
        activation="logistic",
        solver="sgd",
        alpha=0.0,
        batch_size=problem.batch_size,
        learning_rate_init=problem.lr,
        momentum=0.0,
        nesterovs_momentum=False,
        shuffle=False,
    )
    classes = np.arange(problem.sizes[-1])
    first = slice(problem.batch_size)  # scikit-learn makes its arrays when it first sees data
    net.partial_fit(x[first], problem.labels[first], classes=classes)
    for i, (weight, bias) in enumerate(problem.weights()):
        net.coefs_[i][...], net.intercepts_[i][...] = weight, bias

    def epoch() -> float:
        order = next(orders)
        net.partial_fit(x[order], problem.labels[order], classes=classes)
        return float(net.loss_)

    return epoch, lambda: float(net.score(problem.floats(problem.test_images), problem.test_labels))


def numpy_inlined(problem: Problem) -> Peer:
    """NumPy without a library: numnet's arithmetic for this one problem, call by call, in one function."""
    n, sizes = problem.batch_size, problem.sizes
    images, labels = problem.images.reshape(len(problem.images), -1), problem.labels.astype(np.intp)
    starts = problem.weights()
    parameters = np.concatenate([array.ravel() for layer in starts for array in layer])
    gradients, step = np.empty_like(parameters), np.empty_like(parameters)
    layers, place = [], 0
    for weight, bias in starts:
        views = []
        for array in (weight, bias):
            part = slice(place, place + array.size)
            views += [parameters[part].reshape(array.shape), gradients[part].reshape(array.shape)]
            place = part.stop
        layers.append(views)

    block = n * ((1 << 19) // (n * sizes[0]))
    raw = np.empty((block, sizes[0]), np.uint8)
    blocks = [np.empty((block, sizes[0]), np.float32), np.empty((block, sizes[-1]), np.float32)]
    blocks.append(np.empty(block, np.intp))
    outputs = np.empty((block, sizes[-1]), np.float32)
    inputs_of_softmax, logs = np.empty_like(outputs), np.empty_like(outputs)

    def buffers(n: int) -> list[list[Array]]:
        return [[np.empty((n, w), np.float32, order="F" if n > w else "C") for w in sizes[1:]] for _ in range(3)]

    sized = {n: buffers(n), len(labels) % n: buffers(len(labels) % n)}
    one = {n: np.empty((n, 1), np.float32) for n in sized}
    one_hot = np.eye(sizes[-1], dtype=np.float32)
    orders = problem.orders()
    scale, lr = np.float32(1 / 255), problem.lr

    def gather(rows: Array) -> tuple[Array, Array, Array]:
        x, t, chosen = (array[: len(rows)] for array in blocks)
        images.take(rows, axis=0, out=raw[: len(rows)], mode="clip")
        np.copyto(x, raw[: len(rows)])
        np.multiply(x, scale, out=x)
        labels.take(rows, out=chosen, mode="clip")
        one_hot.take(chosen, axis=0, out=t, mode="clip")
        return x, t, chosen

    def epoch() -> float:
        order, total, correct = next(orders), 0.0, 0
        for start in range(0, len(order), block):
            xs, ts, chosen = gather(order[start : start + block])
            zs, ys, part = inputs_of_softmax[: len(xs)], outputs[: len(xs)], logs[: len(xs)]
            for start in range(0, len(xs), n):
                x, t = xs[start : start + n], ts[start : start + n]
                values, errors, spread = sized[len(x)]
                inputs, y = [x], x
                for k, (weight, _, bias, _) in enumerate(layers):
                    z = values[k]
                    np.matmul(y, weight, out=z)
                    spread[k][...] = bias
                    np.add(z, spread[k], out=z)
                    if k + 1 < len(layers):
                        np.negative(z, out=z)
                        np.exp(z, out=z)
                        np.add(z, 1, out=z)
                        np.divide(1, z, out=z)
                        inputs.append(z)
                    y = z
                zs[start : start + n] = y
                row, wide = one[len(x)], spread[-1]
                np.maximum.reduce(y, axis=1, keepdims=True, out=row)
                wide[...] = row
                np.subtract(y, wide, out=y)
                np.exp(y, out=y)
                np.add.reduce(y, axis=1, keepdims=True, out=row)
                wide[...] = row
                np.divide(y, wide, out=y)
                ys[start : start + n] = y
                error = errors[-1]
                np.subtract(y, t, out=error)
                np.multiply(error, 1 / len(x), out=error)
                for k in range(len(layers) - 1, -1, -1):
                    weight, weight_gradient, _, bias_gradient = layers[k]
                    np.matmul(inputs[k].T, error, out=weight_gradient)
                    np.add.reduce(error, axis=0, out=bias_gradient)
                    if k:
                        np.matmul(error, weight.T, out=errors[k - 1])
                        error, y = errors[k - 1], inputs[k]
                        np.multiply(error, y, out=error)
                        np.subtract(1, y, out=y)
                        np.multiply(error, y, out=error)
                np.multiply(gradients, lr, out=step)
                np.subtract(parameters, step, out=parameters)
            if np.minimum.reduce(ys, axis=None) > np.finfo(np.float32).tiny:
                np.log(ys, out=part)
            else:
                zs -= zs.max(axis=1, keepdims=True)
                np.subtract(zs, np.log(np.exp(zs).sum(axis=1, keepdims=True)), out=part)
            np.multiply(part, ts, out=part)
            cost = float(np.add.reduce(part, axis=None))
            if not math.isfinite(cost):
                raise ValueError("diverged")
            total -= cost
            correct += int(np.count_nonzero(np.argmax(ys, axis=1) == chosen))
        return total / len(order)

    def accuracy() -> float:
        y = problem.floats(problem.test_images)
        for weight, _, bias, _ in layers[:-1]:
            y = 1 / (1 + np.exp(-(y @ weight + bias)))
        return problem.right(y @ layers[-1][0] + layers[-1][2])

    return epoch, accuracy
