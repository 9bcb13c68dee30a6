"""What the user's `numpy.seterr` says changes no result of numnet, and numnet leaves it as it was."""

import copy
import io
import threading
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest

import numnet as nn

RNG = np.random.default_rng(0)
X, T = RNG.normal(size=(60, 4)).astype(np.float32), np.arange(60) % 3
LARGE = X * 1e4  # saturates whatever it reaches, over and under the smallest number
ENDS = {
    "softmax, cross-entropy": ([nn.Softmax], nn.CrossEntropy, T),
    "sigmoid, cross-entropy": ([nn.Sigmoid], nn.CrossEntropy, np.eye(3)[T]),
    "sigmoid, quadratic": ([nn.Sigmoid], nn.Quadratic, np.eye(3)[T]),
    "tanh, quadratic": ([nn.Tanh], nn.Quadratic, np.eye(3)[T]),
    "numbers": ([], nn.Quadratic, RNG.normal(size=(60, 3)) * 1e-30),
}
STATES = ["raise", "warn", "call"]


def made(end, hidden=nn.Sigmoid):
    last, cost, t = ENDS[end]
    net = nn.Sequential(nn.Linear(4, 8), hidden(), nn.Linear(8, 3), *(kind() for kind in last), seed=0)
    net.layers[0].weight *= 300
    net.layers[2].weight *= 300
    return net, cost(), t


def trained(end, x, hidden=nn.Sigmoid):
    """Return what every call of numnet gives for data that saturate the network."""
    net, cost, t = made(end, hidden)
    trainer, seen = nn.Trainer(net, cost, nn.SGD(1e-3, momentum=0.5, weight_decay=1e-30, clip_norm=1.0), seed=0), []
    results = [net(x), trainer.step(x, t)]
    trainer.fit((x, t), 2, 7, test=(x[:9], t[:9]), callbacks=[lambda _: seen.append(np.geterr())])
    columns = trainer.history.to_dict()
    del columns["seconds"]
    results += [columns, net.parameters.copy(), trainer.evaluate((x, t)), net(x)]
    if end != "numbers":
        results += [net.predict(x), net.accuracy(x, T)]
    y = net(x)
    if end != "tanh, quadratic":
        results += [cost(np.clip(y, 0, 1) if end == "sigmoid, cross-entropy" else y, t)]
    results += [net.astype("float64")(x), copy.deepcopy(net)(x)]
    report = nn.gradcheck(net, cost, np.float64(X[:2]), t[:2], samples=2)
    results += [report.central.error, report.cause]
    return results, seen


@pytest.mark.parametrize("hidden", [nn.Sigmoid, nn.Tanh, nn.ReLU])
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("x", [X, LARGE, LARGE * 1e30, X * 1e-38], ids=["usual", "large", "huge", "tiny"])
@pytest.mark.filterwarnings("ignore::numnet.DataWarning")
def test_training_and_all_the_rest(end, x, hidden):
    expected = None
    for state in STATES:
        with np.errstate(all=state, call=lambda *_: None), warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            before = np.geterr()
            try:
                got, seen = trained(end, x, hidden)
            except nn.DivergenceError as error:
                got, seen = str(error), [before]
            assert np.geterr() == before
            assert all(there == before for there in seen)
        expected = got if expected is None else expected
        np.testing.assert_equal(got, expected)


@pytest.mark.slow
@pytest.mark.parametrize("state", ["raise", *(pytest.param(state, marks=pytest.mark.slow) for state in STATES[1:])])
def test_what_is_drawn_and_exported(state, tmp_path):
    net, *_ = made("softmax, cross-entropy")
    train, test = nn.datasets.digits()
    digits = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0)
    trainer = nn.Trainer(digits, nn.CrossEntropy(), nn.SGD(50.0), seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", nn.DataWarning)
        history = trainer.fit(train, 2, 64, test)
    pictures = {}
    for way in ("warn", state):
        with np.errstate(all=way, call=lambda *_: None):
            before = np.geterr()
            figures = {
                "report": nn.plotting.report(digits, history, test),
                "curves": nn.plotting.learning_curves(history).figure,
                "confusion": nn.plotting.confusion_matrix(digits, test).figure,
                "mistakes": nn.plotting.mistakes(digits, test).figure,
                "weights": nn.plotting.weight_images(digits).figure,
                "samples": nn.plotting.sample_images(train).figure,
                "activations": nn.plotting.activations_and_derivatives().figure,
            }
            saturated = nn.plotting.saturated(net, LARGE)
            nn.export_html(digits, tmp_path / f"{way}.html")
            assert np.geterr() == before
        for name, figure in figures.items():
            with np.errstate(all="ignore"), io.BytesIO() as file:
                figure.savefig(file, format="raw")
                pictures[way, name] = file.getvalue()
            plt.close(figure)
        pictures[way, "saturated"] = saturated
    for name in (*figures, "saturated"):
        assert pictures[state, name] == pictures["warn", name], name
    assert (tmp_path / f"{state}.html").read_bytes() == (tmp_path / "warn.html").read_bytes()


class Waiting(nn.Layer):
    """Waits in the middle of a call until somebody lets it go on."""

    def __init__(self):
        self.begun, self.end = threading.Event(), threading.Event()

    def forward(self, x):
        self.begun.set()
        assert self.end.wait(60)
        return x

    def backward(self, dy):
        return dy


def test_each_thread_keeps_its_own_state():  # NumPy 1 keeps the state of a decorator for all threads together
    def first():
        with np.errstate(all="raise"):
            net.accuracy(X, T)
            after.append(np.geterr()["over"])

    waiting, after = Waiting(), []
    net = nn.Sequential(nn.Linear(4, 3), waiting, nn.Softmax(), seed=0)
    thread = threading.Thread(target=first)
    thread.start()
    assert waiting.begun.wait(60)
    nn.Sequential(nn.Linear(4, 3), nn.Softmax(), seed=0).accuracy(X, T)
    waiting.end.set()
    thread.join()
    assert after == ["raise"]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("number", [1e300, 1e-300])
def test_numbers_that_float32_cannot_hold(number, state):
    wide = np.full((4, 3), number)
    with np.errstate(all=state, call=lambda *_: None), warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        net = nn.Sequential(nn.Linear(4, 3), nn.Softmax(), seed=0)
        net.layers[0].weight = wide
        net.parameters = np.full(15, number)
        net.gradients = np.full(15, number)
        double = nn.Sequential(nn.Linear(4, 3), nn.Softmax(), seed=0, dtype="float64")
        double.parameters = np.full(15, number)
        assert (double.astype("float32").parameters == net.parameters).all()
        assert (nn.backend.matmul(wide, wide.T) == (np.inf if number > 1 else 0)).all()
    assert (net.parameters == (np.inf if number > 1 else 0)).all()
    assert (net.gradients == net.parameters).all()


@pytest.mark.parametrize("kind", [nn.Sigmoid, nn.Softmax])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_layer_that_is_called_by_itself(kind, dtype):
    x = np.array([[-1e30, 0, 1e30], [-800, 1, 800], [-100, 1, 100]], dtype)
    expected = kind().forward(x)
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(kind().forward(x), expected)
