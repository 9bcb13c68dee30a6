"""No call takes more memory than a small multiple of what it is given, of what it returns, and of the parameters."""

import functools
import io
import re
import tracemalloc

import matplotlib.pyplot as plt
import numpy as np
import pytest

import numnet as nn
from numnet import backend, plotting
from numnet.datasets import Dataset

from .test_arrays import public

pytestmark = [
    pytest.mark.filterwarnings("ignore::numnet.DataWarning"),
    pytest.mark.filterwarnings("ignore:gradcheck. .* will take"),
]
MULTIPLE, OF_GRADCHECK = 8, 16  # arrays of float64
CONSTANT = 32e6  # bytes: pictures are drawn
HISTORY = nn.History([nn.Epoch(1, 0.5, 0.5, 0.5, 0.1, 0.5)])


class Case:
    """A network, and data for it: of 4 features, which also are pictures of 2 x 2 pixels, say."""

    def __init__(self, samples, features, outputs, path):
        rng = np.random.default_rng(0)
        self.path, self.features, self.outputs, self.several = path, features, outputs, outputs > 1
        self.x = rng.random((samples, features), dtype=np.float32)
        self.labels = rng.integers(outputs if self.several else 2, size=samples)
        self.net, self.result = self.network(), np.empty((samples, outputs))
        self.trainer = nn.Trainer(self.net, nn.CrossEntropy(), nn.SGD(0.1, momentum=0.9), seed=0)
        self.numbers = self.x.size + self.labels.size + self.net.parameters.size

    @functools.cached_property
    def rows(self):
        if not self.several:
            return self.labels[:, None].astype(np.float32)
        rows = np.zeros((len(self.x), self.outputs), np.float32)
        rows[np.arange(len(self.x)), self.labels] = 1
        return rows

    def layers(self):
        return nn.Linear(self.features, self.outputs), nn.Softmax() if self.several else nn.Sigmoid()

    def network(self):
        return nn.Sequential(*self.layers(), seed=0)

    @functools.cached_property
    def saved(self):
        self.net.save(self.path / "net.npz")
        return self.path / "net.npz"

    @functools.cached_property
    def checkpoint(self):
        self.trainer.fit((self.x[:8], self.labels[:8]), 1, 8, checkpoint=self.path / "run.npz")
        return self.path / "run.npz"

    @functools.cached_property
    def data(self):
        return Dataset(self.x, self.labels)

    @functools.cached_property
    def twice(self):
        return Dataset(np.repeat(self.x, 2, axis=0), np.repeat(self.labels, 2))

    @functools.cached_property
    def folder(self):
        folder = self.path / "data"
        folder.mkdir()
        nn.datasets.write_idx(folder / "images", self.x)
        nn.datasets.write_idx(folder / "labels", self.labels.astype(np.int32))
        return folder


def refused(call):
    with pytest.raises(plotting.UndrawableError):
        call()


def drawn_or_refused(c, t):
    def draw():
        return plotting.confusion_matrix(c.net, (c.x, t))

    return refused(draw) if c.outputs > 1000 else draw()


def optimizer(c):
    sgd = nn.SGD(0.1, momentum=0.9)
    sgd.start(c.net)
    return sgd.velocity


CALLS = {
    "Linear": lambda c: nn.Linear(c.features, c.outputs).weight,
    "Linear.weight": lambda c: setattr(c.network().layers[0], "weight", np.zeros((c.features, c.outputs))),
    "Linear.bias": lambda c: setattr(c.network().layers[0], "bias", np.zeros(c.outputs)),
    "Sequential": lambda c: c.network().parameters,
    "Sequential.__call__": lambda c: c.net(c.x),
    "Sequential.predict": lambda c: c.net.predict(c.x),
    "Sequential.accuracy": lambda c: c.net.accuracy(c.x, c.labels),
    "Sequential.accuracy, rows": lambda c: c.net.accuracy(c.x, c.rows),
    "Sequential.astype": lambda c: c.net.astype("float64").parameters,
    "Sequential.initialize": lambda c: c.network().initialize(1),
    "Sequential.parameters": lambda c: setattr(c.network(), "parameters", c.net.parameters.astype(float)),
    "Sequential.gradients": lambda c: setattr(c.network(), "gradients", c.net.parameters.astype(float)),
    "Sequential.save": lambda c: c.net.save(c.path / "again.npz"),
    "load": lambda c: nn.load(c.saved).parameters,
    "export_html": lambda c: nn.export_html(c.net, c.path / "net.html"),
    "export_c": lambda c: nn.export_c(c.net, c.path / "net.c"),
    "export_onnx": lambda c: nn.export_onnx(c.net, c.path / "net.onnx"),
    "SGD.start": optimizer,
    "Trainer": lambda c: nn.Trainer(c.network(), nn.CrossEntropy(), nn.SGD(0.1, momentum=0.9)).optimizer.velocity,
    "Trainer.step": lambda c: c.trainer.step(c.x, c.labels),
    "Trainer.step, rows": lambda c: c.trainer.step(c.x, c.rows),
    "Trainer.fit": lambda c: c.trainer.fit((c.x, c.labels), 1, 8 if len(c.x) < 10_000 else 500, (c.x, c.labels)),
    "Trainer.fit, rows": lambda c: c.trainer.fit((c.x, c.rows), 1, 8 if len(c.x) < 10_000 else 500, (c.x, c.rows)),
    "Trainer.fit, quadratic": lambda c: nn.Trainer(c.network(), nn.Quadratic(), nn.SGD(0.1)).fit((c.x, c.rows), 1, 500),
    "Trainer.evaluate": lambda c: c.trainer.evaluate((c.x, c.labels)),
    "Trainer.evaluate, rows": lambda c: c.trainer.evaluate((c.x, c.rows)),
    "Trainer.resume": lambda c: nn.Trainer.resume(c.checkpoint).net.parameters,
    "Cost.__call__": lambda c: nn.Quadratic()(c.rows, c.labels),
    "Cost.__call__, rows": lambda c: nn.Quadratic()(c.rows, c.rows),
    "CrossEntropy.__call__": lambda c: nn.CrossEntropy()(c.rows, c.labels),
    "CrossEntropy.__call__, rows": lambda c: nn.CrossEntropy()(c.rows, c.rows),
    "cost_and_gradient": lambda c: nn.cost_and_gradient(c.net, nn.CrossEntropy(), c.x, c.labels)[1],
    "cost_and_gradient, rows": lambda c: nn.cost_and_gradient(c.net, nn.CrossEntropy(), c.x, c.rows)[1],
    "Cost.values": lambda c: nn.Cost.values(nn.Quadratic(), c.rows, c.rows),
    "Quadratic.values": lambda c: nn.Quadratic().values(c.rows, c.rows),
    "CrossEntropy.values": lambda c: nn.CrossEntropy().values(c.rows, c.rows),
    "gradcheck": lambda c: nn.gradcheck(c.net, nn.CrossEntropy(), c.x, c.labels, samples=2),
    "gradcheck, weights": lambda c: nn.gradcheck(
        c.net, nn.CrossEntropy(), c.x, c.labels, samples=2, sample_weight=np.ones(len(c.x))
    ),
    "gradcheck, rows": lambda c: nn.gradcheck(c.net, nn.CrossEntropy(), c.x, c.rows, samples=2),
    "Dataset": lambda c: Dataset(c.x, c.labels),
    "Dataset, shown": lambda c: repr(c.data) + c.data._repr_html_(),
    "Dataset, parts": lambda c: c.data[c.labels >= 0].images,
    "Dataset.from_arrays": lambda c: Dataset.from_arrays(c.x, c.labels),
    "Dataset.from_arrays, rows": lambda c: Dataset.from_arrays(c.x, c.rows) if c.several else None,
    "Dataset.split": lambda c: c.twice.split(0.5, 0)[0].images,
    "as_mnist": lambda c: nn.datasets.as_mnist(np.pad(c.x[: c.features], 1)) if len(c.x) < 10_000 else None,
    "write_idx": lambda c: nn.datasets.write_idx(io.BytesIO(), c.x),
    "read_idx": lambda c: nn.datasets.read_idx(c.folder / "images"),
    "load_idx": lambda c: nn.datasets.load_idx(c.folder).images,
    "sample_images": lambda c: plotting.sample_images((c.x, c.labels)),
    "sample_images, rows": lambda c: plotting.sample_images((c.x, c.rows)),
    "confusion_matrix": lambda c: drawn_or_refused(c, c.labels),
    "confusion_matrix, rows": lambda c: drawn_or_refused(c, c.rows),
    "mistakes": lambda c: plotting.mistakes(c.net, (c.x, c.labels)),
    "mistakes, rows": lambda c: plotting.mistakes(c.net, (c.x, c.rows)),
    "report": lambda c: plotting.report(c.net, HISTORY, (c.x, c.labels)),
    "cost_surface": lambda c: plotting.cost_surface(c.net, c.x, c.rows, width=1.0),
    "saturated": lambda c: plotting.saturated(c.net, c.x),
    "weight_images": lambda c: plotting.weight_images(c.net),
    "to": lambda c: backend.to(memoryview(c.x), "cpu"),
    "asarray": lambda c: backend.asarray("x", c.x.astype(float)),
    "assign": lambda c: backend.assign(c.result, np.zeros(c.result.shape)),
    "matmul": lambda c: backend.matmul(c.x, c.net.layers[0].weight),
    **{
        start: functools.partial(
            lambda c, start: getattr(nn.starts, start)(np.random.default_rng(0), (c.features, c.outputs)), start=start
        )
        for start in nn.starts.__all__
    },
}
# What has nothing to do with the size of data, and what a call in the table calls.
SMALL = {
    *("Sequential.to", "Sequential.empty", "SGD", "RankError", "SGD.learning_rate", "SGD.options", "keep_best"),
    *("History.to_csv", "History.to_dict", "activations_and_derivatives", "learning_curves", "live_curves"),
    *("saturation", "choose", "device_of", "on_gpu", "offload", "record", "digits", "mnist", "fashion_mnist"),
    *("from_torch", "to_torch"),
}
WITHIN = (
    r"^Run\.|^SGD\.(to|update)$|\.(forward|backward|backward_parameters|backpropagate|infer|scaled|initialize|pair)$"
)
WITHIN += r"|\.(value|gradient|check)$"
CASES = {
    "20,000 outputs": (20, 4, 20_000),
    "20,000 features": (20, 141**2, 3),
    "100,000 samples": (100_000, 4, 1),
}


def peak(call, *arguments):
    """Return the most memory that a call took at a time, and its result."""
    tracemalloc.start()
    try:
        result = call(*arguments)
        return tracemalloc.get_traced_memory()[1], result
    finally:
        tracemalloc.stop()
        plt.close("all")


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    return functools.cache(lambda name: Case(*CASES[name], tmp_path_factory.mktemp("case")))


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch):
    monkeypatch.setattr(plotting, "_GRID", 3)


def test_every_public_call_is_among_these():
    names = {name for name, _ in public()}
    needed = {name for name in names - SMALL if not re.search(WITHIN, name)}
    assert len(needed) > 30
    assert needed <= {name.partition(",")[0] for name in CALLS}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", CALLS)
def test_memory_is_in_proportion(name, case, cases, largest):
    if name == "export_onnx":
        pytest.importorskip("onnx", reason="onnx is not installed: pip install 'numnet[onnx]'")
    c = cases(case)
    for attribute in ("rows", "saved", "checkpoint", "data", "twice", "folder"):
        getattr(c, attribute)
    memory, result = peak(CALLS[name], c)
    numbers = c.numbers + c.result.size + (result.size if isinstance(result, np.ndarray) else 0)
    limit = (OF_GRADCHECK if "gradcheck" in name else MULTIPLE) * 8 * numbers + CONSTANT
    largest("memory of a call, as a share of what it may take", memory / limit)
    assert memory < limit


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["Sequential.predict", "Sequential.accuracy", "Trainer.fit", "Trainer.evaluate", "mistakes", "saturated"]
)
def test_twice_the_wide_rows_need_no_more_memory(name, tmp_path):
    """All outputs of the more samples are 96 MB, and a call that worked on all at once would have several of them."""
    few, many = (Case(samples, 4, 8000, tmp_path) for samples in (1500, 3000))
    memory, more = (peak(CALLS[name], c)[0] for c in (few, many))
    assert more < 1.1 * memory + MULTIPLE * 8 * (many.numbers - few.numbers)
