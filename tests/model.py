"""What a life with numnet must lead to, in plain NumPy.

Written from numnet's documentation and derivations, not from its code, and with nothing of numnet. A network is a list
of layers, ("linear", 3, 4) or ("scale", 4) or ("tanh",), over one vector of float64. Nothing here is ever undone: an
epoch is computed on a copy, and the copy is taken over if the epoch is whole.
"""

import copy
import math
from dataclasses import dataclass, field

import numpy as np

BLOCK = 64  # batches that are computed together: docs/design.md


class Data:
    """Inputs and targets as a user has them, and what they mean."""

    def __init__(self, x, t, outputs, name):
        self.x, self.t, self.name = x, t, name
        self.inputs = x / 255 if x.dtype == np.uint8 else np.array(x, float)  # bytes are intensities from 0 to 1
        self.rows = np.eye(outputs)[t] if t.ndim == 1 and outputs > 1 else np.array(t, float).reshape(len(t), outputs)
        classes = self.rows.min() >= 0 and (outputs == 1 or np.allclose(self.rows.sum(axis=1), 1))
        self.labels = classes_of(self.rows) if classes else None


def classes_of(y):
    """Return the largest output of each row; of a single probability, whether it is above 1/2."""
    return y.argmax(axis=1) if y.shape[1] > 1 else (y[:, 0] > 0.5).astype(int)


class Network:
    def __init__(self, layers, seed, dtype="float64", device="cpu"):
        self.layers, self.dtype, self.device = layers, dtype, device
        sizes = {"linear": lambda i, o: i * o + o, "scale": lambda n: n}
        self.parameters = np.ones(sum(sizes[kind](*size) for kind, *size in layers if size))
        self.gradients = None  # of the last batch, if it is known
        self.initialize(seed)

    def initialize(self, seed):
        """Draw weights and biases uniform in +-1/sqrt(inputs), in layer order; a scale stays as it is."""
        rng = np.random.default_rng(seed)
        for (kind, *size), part in zip(self.layers, self.parts(self.parameters), strict=True):
            for array in part if kind == "linear" else ():
                array[...] = rng.uniform(-(size[0] ** -0.5), size[0] ** -0.5, array.shape).astype(self.dtype)
        self.trained = False

    def parts(self, vector):
        """Return the arrays of each layer as views into a vector: weight before bias."""
        found, start = [], 0
        for kind, *size in self.layers:
            shapes = {"linear": [tuple(size), tuple(size[1:])], "scale": [tuple(size)]}.get(kind, [])
            found.append([])
            for shape in shapes:
                found[-1].append(vector[start : start + math.prod(shape)].reshape(shape))
                start += math.prod(shape)
        return found

    @np.errstate(all="ignore")
    def forward(self, x):
        """Return the input of each layer, and the output of the last."""
        values = [x]
        for (kind, *_), part in zip(self.layers, self.parts(self.parameters), strict=True):
            x = values[-1]
            if kind == "linear":
                y = x @ part[0] + part[1]
            elif kind == "scale":
                y = x * part[0]
            elif kind == "sigmoid":
                y = 0.5 * (1 + np.tanh(x / 2))
            elif kind == "tanh":
                y = np.tanh(x)
            elif kind == "relu":
                y = np.where(x > 0, x, 0)
            elif kind == "softmax":
                y = np.exp(x - np.logaddexp.reduce(x, axis=1, keepdims=True))
            values.append(y)
        return values

    @np.errstate(all="ignore")
    def cost(self, values, t):
        """Return each sample's cost: cross-entropy over probabilities at the end, the quadratic cost otherwise."""
        *_, z, y = values
        last = self.layers[-1][0]
        if last == "softmax":
            return -(t * (z - np.logaddexp.reduce(z, axis=1, keepdims=True))).sum(axis=1)
        if last == "sigmoid":
            return (t * np.logaddexp(0, -z) + (1 - t) * np.logaddexp(0, z)).sum(axis=1)
        return ((y - t) ** 2).sum(axis=1) / 2

    @np.errstate(all="ignore")
    def gradient(self, values, t):
        """Return dE/d(parameters), by the chain rule from the last layer to the first."""
        gradient = np.zeros_like(self.parameters)
        error = (values[-1] - t) / len(t)  # dE/dz of cross-entropy over probabilities; dE/dy of the quadratic cost
        backwards = zip(
            self.layers, self.parts(self.parameters), self.parts(gradient), values, values[1:], strict=False
        )
        for i, ((kind, *_), part, slope, x, y) in reversed(list(enumerate(backwards))):
            if kind == "linear":
                slope[0][...], slope[1][...] = x.T @ error, error.sum(axis=0)
                error = error @ part[0].T
            elif kind == "scale":
                slope[0][...] = (error * x).sum(axis=0)
                error = error * part[0]
            elif kind == "tanh":
                error = error * (1 - y**2)
            elif kind == "relu":
                error = error * (x > 0)
            elif kind == "sigmoid" and i < len(self.layers) - 1:
                error = error * y * (1 - y)
        return gradient

    @np.errstate(all="ignore")
    def evaluate(self, data):
        """Return the mean cost and the accuracy; nan if the targets have no classes."""
        values = self.forward(data.inputs)
        right = math.nan if data.labels is None else np.mean(classes_of(values[-1]) == data.labels)
        return np.mean(self.cost(values, data.rows)), right


@dataclass
class Run:
    """A trainer: all that an epoch changes, and the options of the optimizer."""

    net: Network
    options: dict
    rng: np.random.Generator
    velocity: np.ndarray = 0.0
    history: list = field(default_factory=list)
    last: int = 0  # of the epochs that were asked for
    batch_size: int = 0
    samples: int = 0
    done: int = 0  # samples of the epoch that has begun
    cost: float = 0.0  # the sum of their costs
    right: float = 0.0
    seconds: float = 0.0  # at least
    best: tuple | None = None  # epoch and parameters
    shelved: np.ndarray | None = None  # the parameters after the last epoch, while the network has the best
    file: object = None  # the file that the run comes from, or wrote last
    begun: tuple | None = (
        None  # of a run that is resumed in the middle of an epoch: what the test knows of its beginning
    )

    def __post_init__(self):
        self.velocity = np.zeros_like(self.net.parameters)

    def rate(self, epoch):
        lr = self.options["lr"]
        return lr(epoch) if callable(lr) else float(lr)

    @np.errstate(all="ignore")
    def update(self, x, t, lr):
        """Take one step; return the sum of the samples' costs and the outputs, both from before the step."""
        values = self.net.forward(x)
        g = self.net.gradient(values, t)
        clip, decay, momentum = (float(self.options[name] or 0) for name in ("clip_norm", "weight_decay", "momentum"))
        if clip and (norm := math.sqrt(g @ g)) > clip:
            g *= clip / norm
        self.net.gradients = g
        weights = np.zeros_like(g)
        for (kind, *_), part in zip(self.net.layers, self.net.parts(weights), strict=True):
            if kind == "linear":
                part[0][...] = 1  # decay is for weights, and for nothing else
        direction = g = g + decay * weights * self.net.parameters
        if momentum:  # as in PyTorch, there is no velocity without
            self.velocity = momentum * self.velocity + g
            direction = g + momentum * self.velocity if self.options["nesterov"] else self.velocity
        cost = self.net.cost(values, t).sum()
        self.net.parameters = self.net.parameters - lr * direction
        return cost, values[-1]

    def epoch(self, data, test, lr):
        """Train a copy for what is left of an epoch; yield the copy after each block, and lastly with its history."""
        run = copy.deepcopy(self)
        order = run.rng.permutation(len(data.x))
        run.rng = copy.deepcopy(self.rng)  # until the epoch is whole
        while run.done < len(order):
            batches = min(BLOCK, -(-(len(order) - run.done) // run.batch_size))
            for _ in range(batches):
                rows = order[run.done : run.done + run.batch_size]
                cost, y = run.update(data.inputs[rows], data.rows[rows], lr)
                run.cost += cost
                run.right += math.nan if data.labels is None else np.sum(classes_of(y) == data.labels[rows])
                run.done += len(rows)
            yield run, batches
        run.rng.permutation(len(order))
        n, (test_cost, test_accuracy) = len(order), run.net.evaluate(test) if test else (math.nan, math.nan)
        run.history.append((len(run.history) + 1, run.cost / n, run.right / n, test_accuracy, run.seconds, test_cost))
        run.done, run.cost, run.right, run.seconds, run.net.trained = 0, 0.0, 0.0, 0.0, True
        yield run, 0

    # keep_best

    def keep(self, column):
        """See the last epoch: of equal epochs the first is best, and an epoch without this number is none."""
        if math.isnan(self.history[-1][column]):
            return
        sign = 1 if column in (2, 3) else -1  # the highest accuracy, the lowest cost
        value = sign * self.history[-1][column]
        if self.best is None or not sign * self.history[self.best[0] - 1][column] >= value:
            self.best = len(self.history), self.net.parameters.copy()

    def show_best(self):
        if self.best is not None and self.shelved is None:
            self.shelved, self.net.parameters = self.net.parameters, self.best[1].copy()

    def go_on(self):
        """Go on from the parameters after the last epoch, unless somebody has changed them meanwhile."""
        if self.shelved is not None and np.array_equal(self.net.parameters, self.best[1]):
            self.net.parameters = self.shelved
        self.shelved = None


class File:
    """A file that holds a network or a run as it was; a copy of a run comes from the same file."""

    def __init__(self, content):
        self.content, self.known = copy.deepcopy(content), False  # known to the last bit
        self.net = self.content.net if isinstance(content, Run) else self.content
        self.net.trained, self.net.device, self.net.gradients = True, "cpu", None

    @property
    def place(self):
        """How far the run in the file has come; None if the file holds a network."""
        return (len(self.content.history), self.content.done) if isinstance(self.content, Run) else None

    def __deepcopy__(self, memo):
        return self


class Unwritten(Exception):  # noqa: N818
    """The file could not be written; `args` has the error."""


class Saver:
    """Writes a run to files[name] after so many epochs or batches, and after the last epoch."""

    def __init__(self, files, name, every, failure, overwrite):
        count, _, unit = str(every).partition(" ")
        self.files, self.name, self.raises, self.overwrite = files, name, failure == "raise", overwrite
        self.every, self.in_batches, self.since = int(count), bool(unit), 0
        self.broken, self.failed = None, 0

    def refusal(self, run):
        """Return the error instead of which a file would be replaced: it holds no run, or a longer one of others."""
        there = self.files.get(self.name)
        if there is None or there is run.file or self.overwrite:
            return None
        longer = there.place is not None and there.place > (len(run.history), run.done)
        return FileExistsError if there.place is None else ValueError if longer else None

    def after_block(self, run, batches):
        self.since += batches
        if self.in_batches and self.since >= self.every:
            self.write(run)

    def after_epoch(self, run):
        if len(run.history) >= run.last or not (self.in_batches or len(run.history) % self.every):
            self.write(run)

    def write(self, run):
        self.since = 0
        error = self.broken or self.refusal(run)
        if error and self.raises:
            raise Unwritten(error)
        if error:
            self.failed += 1
            return
        self.files[self.name] = run.file = File(run)
