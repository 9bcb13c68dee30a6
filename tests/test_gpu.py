"""What only a GPU can show. It needs nothing but NumPy, CuPy and pytest, so that it runs from a bare checkout."""

import itertools
import math

import numpy as np
import pytest

import numnet as nn
from numnet import backend, gpu

from .devices import REAL_GPU, WHY_NOT, alone_and_together, host, place

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not REAL_GPU, reason=f"no GPU: {WHY_NOT}"),
    pytest.mark.filterwarnings("error:the training step could not be recorded"),
]

RNG = np.random.default_rng(0)
NETWORKS = {"A": (784, 10), "B": (784, 128, 10), "C": (784, 512, 512, 10)}
OPTIONS = [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}, {"weight_decay": 1e-3}, {"clip_norm": 0.1}]


@pytest.fixture(params=[False, True], ids=["unrecorded", "recorded"])
def recorded(request):
    """Switch the recorded step on for one of two runs of a test."""
    backend.record(request.param)
    yield request.param
    backend.record(False)


@pytest.fixture(scope="module")
def images():
    """60,000 pictures in ten classes, each a noisy copy of its class's own."""
    rng = np.random.default_rng(0)
    labels = rng.integers(10, size=60_000)
    pictures = rng.integers(0, 256, (10, 28, 28))
    noise = rng.integers(-100, 100, (60_000, 28, 28))
    return np.clip(pictures[labels] // 2 + noise, 0, 255).astype(np.uint8), labels.astype(np.uint8)


def trainer_of(sizes, device, dtype="float32", last=nn.Softmax, cost=nn.CrossEntropy, hidden=nn.Sigmoid, **options):
    layers = [layer for a, b in itertools.pairwise(sizes) for layer in (nn.Linear(a, b), hidden())]
    net = nn.Sequential(*layers[:-1], last(), seed=0, dtype=dtype, device=device)
    return nn.Trainer(net, cost(), nn.SGD(**{"lr": 0.05, **options}), seed=0)


def distance(a, b):
    """Return how far two vectors are apart, relative to the second's length."""
    return np.linalg.norm(host(a) - host(b)) / np.linalg.norm(host(b))


@pytest.mark.parametrize(("dtype", "limit"), [("float32", 1e-4), ("float64", 1e-9)])
@pytest.mark.parametrize("name", NETWORKS)
def test_an_epoch_ends_where_it_ends_on_the_cpu(name, dtype, limit, images, recorded):
    x, t = (images[0][:20_000], images[1][:20_000]) if name == "C" else images
    trainers = [trainer_of(NETWORKS[name], device, dtype) for device in ("gpu", "cpu")]
    histories = [trainer.fit((x, t), 1, 64, (x[:5000], t[:5000])) for trainer in trainers]
    far = distance(*(trainer.net.parameters for trainer in trainers))
    print(f"{name} {dtype} {'recorded' if recorded else 'unrecorded'}: {far:.1e}")
    assert distance(*(trainer.net.parameters for trainer in trainers)) < limit
    assert histories[0].train_cost == pytest.approx(histories[1].train_cost, rel=limit)
    assert histories[0].test_accuracy == pytest.approx(histories[1].test_accuracy, abs=1e-3)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("hidden", [nn.Sigmoid, nn.Tanh, nn.ReLU])
@pytest.mark.parametrize(
    ("last", "cost"), [(nn.Softmax, nn.CrossEntropy), (nn.Sigmoid, nn.CrossEntropy), (nn.Sigmoid, nn.Quadratic)]
)
def test_recorded_is_as_unrecorded(options, hidden, last, cost, images):
    results = []
    for on in (False, True):
        backend.record(on)
        try:
            trainer = trainer_of((784, 32, 10), "gpu", "float64", last, cost, hidden, **options)
            history = trainer.fit((images[0][:15_000], images[1][:15_000]), 3, 64)
        finally:
            backend.record(False)
        results.append((trainer.net.parameters, history.train_cost))
    assert distance(results[0][0], results[1][0]) < 1e-9
    assert results[0][1] == pytest.approx(results[1][1], rel=1e-9)


def test_the_step_is_recorded_if_somebody_asks_for_it(images, recorded, monkeypatch):
    lengths = []
    original = gpu.Recorded._record

    def record(self, x, t, batch_size):
        lengths.append(len(x))
        return original(self, x, t, batch_size)

    monkeypatch.setattr(gpu.Recorded, "_record", record)
    trainer_of(NETWORKS["A"], "gpu").fit(images, 3, 64)
    whole = 64 * 64
    assert lengths == ([whole, len(images[0]) % whole] if recorded else [])  # each once: the end of an epoch is shorter
    assert math.ceil(len(images[0]) / whole) > 2


def test_a_batch_of_one(images, recorded):
    """A product of a column and a row goes another way than the others."""
    trainers = [trainer_of(NETWORKS["B"], device, "float64") for device in ("gpu", "cpu")]
    for trainer in trainers:
        trainer.fit((images[0][:300], images[1][:300]), 2, 1)
    assert distance(*(trainer.net.parameters for trainer in trainers)) < 1e-9


def test_two_trainers_in_two_threads(images, recorded):
    data = images[0][:20_000], images[1][:20_000]

    def run(i):
        trainer = trainer_of(NETWORKS["B"], "gpu", "float64", lr=0.01 * (i + 1))
        trainer.fit(data, 3, 64)
        return host(trainer.net.parameters)

    alone, together = alone_and_together(run)
    for one, other in zip(alone, together, strict=True):
        assert distance(other, one) < 1e-12


def test_an_array_made_between_epochs_is_left_alone(images, recorded):
    kept = []

    def keep(trainer):
        x = place(images[0][:3000], "gpu")
        kept.append((x, trainer.net(x), trainer.net(images[0][:3000])))
        trainer.step(images[0][:5000], images[1][:5000])

    trainer_of(NETWORKS["B"], "gpu").fit((images[0][:20_000], images[1][:20_000]), 4, 64, callbacks=[keep])
    for x, y, expected in kept:
        np.testing.assert_array_equal(host(x), images[0][:3000])
        np.testing.assert_allclose(host(y), expected, rtol=1e-5)


@pytest.mark.parametrize("kind", [nn.Sigmoid, nn.Tanh, nn.ReLU, nn.Softmax])
@pytest.mark.parametrize("last", [nn.Softmax, nn.Sigmoid])
@pytest.mark.parametrize("cost", [nn.CrossEntropy, nn.Quadratic])
def test_gradcheck_on_the_gpu(kind, last, cost):
    net = nn.Sequential(nn.Linear(3, 4), kind(), nn.Linear(4, 3), last(), seed=0, device="gpu")
    report = nn.gradcheck(net, cost(), RNG.normal(size=(4, 3)), np.array([0, 1, 2, 1]), raise_above=1e-7)
    assert report.central.error < 1e-7


def test_save_and_load(tmp_path):
    net = trainer_of((784, 10), "gpu").net
    net.save(tmp_path / "net.npz")
    for device in ("cpu", "gpu"):
        again = nn.load(tmp_path / "net.npz", device=device)
        assert again.device == device
        np.testing.assert_array_equal(host(again.parameters), host(net.parameters))


def test_prediction(images):
    net = trainer_of((784, 10), "gpu").net
    x = images[0][:10_000]
    assert type(net(x)) is type(net.predict(x)) is np.ndarray
    np.testing.assert_allclose(net(x), net.to("cpu")(x), rtol=1e-4, atol=1e-6)


def test_products(images):
    a, b = RNG.normal(size=(300, 200)), RNG.normal(size=(200, 100))
    np.testing.assert_allclose(host(nn.backend.matmul(place(a, "gpu"), place(b, "gpu"))), a @ b, rtol=1e-10, atol=1e-10)
    with pytest.raises(nn.DeviceError, match="move one"):
        nn.backend.matmul(a, place(b, "gpu"))
    nn.backend.offload(1)
    try:
        np.testing.assert_allclose(nn.backend.matmul(a, b), a @ b, rtol=1e-10, atol=1e-10)
    finally:
        nn.backend.offload(None)


def test_divergence(recorded):
    trainer = nn.Trainer(nn.Sequential(nn.Linear(3, 2), seed=0, device="gpu"), nn.Quadratic(), nn.SGD(1e30), seed=0)
    with pytest.raises(nn.DivergenceError, match="in epoch 1, in one of the batches 1 to 64:"):
        trainer.fit((RNG.normal(size=(300, 3)), RNG.normal(size=(300, 2))), 1, 2)


def test_too_little_memory(images, recorded):
    pool = gpu.tried().get_default_memory_pool()
    pool.free_all_blocks()
    trainer = trainer_of(NETWORKS["A"], "gpu")
    pool.set_limit(size=pool.total_bytes() + (1 << 20))
    try:
        with pytest.raises(nn.DeviceError, match="the GPU has too little memory: Out of memory allocating"):
            trainer.fit(images, 1, 64)
    finally:
        pool.set_limit(size=0)
    trainer.fit((images[0][:1000], images[1][:1000]), 1, 64)
