import contextlib
import ctypes
import importlib.machinery
import importlib.util
import itertools
import math
import os
import re
import shutil
import subprocess
import sys
import textwrap
import threading
import types
import warnings

import numpy as np
import pytest
from hypothesis import given

import numnet as nn
import numnet.data
from numnet import backend, checks, gpu
from numnet.npz import constructor_arguments

from . import strict
from .devices import (
    DEVICES,
    REAL_GPU,
    RealBlas,
    alone_and_together,
    host,
    place,
    real_tried,
    where_rounding_differs,
)
from .networks import cases

RNG = np.random.default_rng(0)
DIGITS = nn.datasets.digits()
stand_in = pytest.mark.skipif(REAL_GPU, reason="the stand-in counts what a GPU does not")
COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


@pytest.fixture(autouse=True)
def products():
    """Let no test leave the products of `offload` and `record` to the next."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "product", np.matmul)
        patch.setattr(backend, "outer", np.dot)
        yield


@pytest.fixture
def transfers():
    strict.transfers.clear()
    yield strict.transfers
    strict.transfers.clear()


@pytest.fixture(params=[False, True], ids=["unrecorded", "recorded"])
def recorded(request):
    """Switch the recorded step on for one of two runs of a test."""
    backend.record(request.param)
    yield request.param
    backend.record(False)


def launched(recorded, device):
    """Return whether a graph is launched where it should be, and nowhere else."""
    return REAL_GPU or (strict.transfers.launches > 0) == (recorded and device == "gpu")


def trainer_of(
    *sizes, device="gpu", dtype="float32", last=nn.Softmax, cost=nn.CrossEntropy, hidden=nn.Sigmoid, **options
):
    layers = [layer for a, b in itertools.pairwise(sizes) for layer in (nn.Linear(a, b), hidden())]
    net = nn.Sequential(*layers[:-1], last(), seed=0, dtype=dtype, device=device)
    return nn.Trainer(net, cost(), nn.SGD(**{"lr": 0.5, **options}), seed=0)


# What crosses between host and device


def crossed(transfers, run):
    """Return the bytes of each journey to the device, and of each to the host, while something runs."""
    before = len(transfers.to_device), len(transfers.to_host)
    run()
    return transfers.to_device[before[0] :], transfers.to_host[before[1] :]


@stand_in
@pytest.mark.parametrize("sizes", [(64, 10), (64, 16, 10)])
def test_an_epoch_sends_the_shuffle_over_and_a_few_scalars_back(sizes, transfers, largest, recorded, monkeypatch):
    monkeypatch.setattr(numnet.data, "BLOCK_BATCHES", 6)
    train, test = DIGITS
    trainer = trainer_of(*sizes)
    to_device, _ = crossed(transfers, lambda: trainer.fit(train, 1, 64, test))
    # The numbers of the samples to look at, pictures as bytes, the numbers of the classes, and labels as bytes. Then
    # the order of the samples, and the numbers of the test samples.
    data = [size for part in DIGITS for size in (8 * len(part), part.images.nbytes, 10 * 8, len(part))]
    rate = [4] if recorded else []
    assert to_device == [*data, 8 * len(train), *rate, 8 * len(test)]
    to_device, to_host = crossed(transfers, lambda: trainer.fit(train, 1, 64, test))
    assert to_device == [*data, 8 * len(train), *rate, 8 * len(test)]
    samples = (numnet.data.Samples(trainer.net, trainer.pair, part, "") for part in DIGITS)
    _, look = crossed(transfers, lambda: checks.data_warnings(*samples))
    assert all(size <= 8 for size in look)
    blocks = math.ceil(len(train) / (6 * 64))
    # Of each block: how many answers are right, whether y is far enough from 0 for a logarithm, and the cost. Of the
    # epoch: whether the parameters are finite. Of the test: whether the inputs are finite, and what a block has.
    cost = 4 if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else 8  # before, a number of no axes became a float64
    assert to_host == look + [8, 1, cost] * blocks + [1, 4, 1, cost, 8]
    largest("transfers to the device in an epoch on the stand-in, beside the data", len(to_device) - len(data))
    largest("transfers to the host in an epoch of four blocks on the stand-in", len(to_host))


@stand_in
def test_more_epochs_need_no_more_of_the_data(transfers, recorded):
    counts = []
    for epochs in (1, 4):
        crossings = crossed(transfers, lambda epochs=epochs: trainer_of(64, 10).fit(DIGITS[0], epochs, 64))
        counts.append([len(sizes) for sizes in crossings])
    assert counts[1] == [counts[0][0] + 3, counts[0][1] + 3 * 4]


@stand_in
def test_a_round_trip_in_a_layer_is_noticed(transfers):
    class Careless(nn.Sigmoid):
        def forward(self, x, out=None):
            return super().forward(place(host(x), "gpu"), out)

    _, to_host = crossed(transfers, lambda: trainer_of(64, 8, 10, hidden=Careless).fit(DIGITS[0], 3, 64))
    assert len(to_host) > 3 * 1437 / 64
    with pytest.raises(TypeError, match="Implicit conversion"):
        np.asarray(trainer_of(64, 10).net.parameters)


@stand_in
def test_arrays_do_not_mix(transfers):
    device = place([[1.0, 2.0]], "gpu")
    for mix in (
        lambda: device + np.ones((1, 2)),
        lambda: np.add(np.ones((1, 2)), device),
        lambda: np.where(device, device, np.ones(2)),
    ):
        with pytest.raises(TypeError, match="Unsupported type"):
            mix()
    with pytest.raises(ValueError, match="non-scalar"):
        device[...] = np.ones((1, 2))


# Training, recorded and not


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"momentum": 0.9},
        {"momentum": 0.9, "nesterov": True},
        {"weight_decay": 1e-3},
        {"clip_norm": 0.1},
        {"lr": lambda epoch: 0.5 / epoch},
    ],
)
@pytest.mark.parametrize(
    ("last", "cost"),
    [
        (nn.Softmax, nn.CrossEntropy),
        (nn.Sigmoid, nn.CrossEntropy),
        (nn.Sigmoid, nn.Quadratic),
        (nn.Softmax, nn.Quadratic),
    ],
)
@pytest.mark.parametrize("device", DEVICES)
def test_a_run_is_the_run_on_the_cpu(options, last, cost, device, transfers, recorded, monkeypatch):
    monkeypatch.setattr(numnet.data, "BLOCK_BATCHES", 4)
    results = []
    for where in ("cpu", device):
        trainer = trainer_of(64, 12, 10, device=where, dtype="float64", last=last, cost=cost, **options)
        history = trainer.fit(DIGITS[0], 3, 64, DIGITS[1])
        results.append(
            (host(trainer.net.parameters), history.train_cost, history.train_accuracy, history.test_accuracy)
        )
    for on_cpu, on_device in zip(*results, strict=True):
        np.testing.assert_allclose(on_device, on_cpu, rtol=1e-9, atol=1e-12)
    assert launched(recorded and "clip_norm" not in options, device)


@stand_in
@pytest.mark.parametrize("record", [False, True])
@given(case=cases(scales=(0.1, 1.0)))
def test_any_network_trains_as_on_the_cpu(record, case):
    results = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numnet.data, "BLOCK_BATCHES", 2)
        backend.record(record)
        try:
            for device in ("cpu", "gpu"):
                net = nn.Sequential(
                    *(type(layer)(**constructor_arguments(layer)) for layer in case.net.layers),
                    dtype="float64",
                    device=device,
                )
                net.parameters = case.net.parameters
                x, t = (np.repeat(array, 4, axis=0)[:8] for array in (case.x, case.t))
                strict.transfers.clear()
                nn.Trainer(net, case.cost, nn.SGD(1e-3), seed=0).fit((x, t), 2, 1)
                results.append(host(net.parameters))
        finally:
            backend.record(False)
    assert strict.transfers.launches == record * (2 * math.ceil(len(x) / 2) - 1)  # all blocks but the first
    np.testing.assert_allclose(results[1], results[0], rtol=1e-12, atol=1e-13)


def test_it_is_recorded_only_if_somebody_asks_for_it(transfers):
    assert backend.product is np.matmul
    assert backend.outer is np.dot
    trainer_of(64, 10).fit(DIGITS[0], 3, 64)
    assert transfers.launches == 0
    backend.record()
    try:
        assert backend.product is not np.matmul
        trainer_of(64, 10, device="cpu").fit(DIGITS[0], 1, 64)
        assert transfers.launches == 0
    finally:
        backend.record(False)
    assert backend.product is np.matmul


@stand_in
def test_a_callback_may_use_the_network_between_epochs(transfers, recorded, monkeypatch):
    monkeypatch.setattr(numnet.data, "BLOCK_BATCHES", 3)

    def use(trainer):
        for count in (500, 64, 7):
            trainer.step(DIGITS[0].images[:count], DIGITS[0].labels[:count])
        trainer.net(DIGITS[1].images)

    results = []
    for device in ("cpu", "gpu"):
        trainer = trainer_of(64, 10, dtype="float64", device=device)
        trainer.fit(DIGITS[0], 4, 64, callbacks=[use])
        trainer.fit((DIGITS[0].images[:150], DIGITS[0].labels[:150]), 4, 64, callbacks=[use])
        results.append(host(trainer.net.parameters))
    np.testing.assert_allclose(*results, rtol=1e-12)
    assert launched(recorded, "gpu")


class Counting(nn.Sigmoid):
    """A layer of one's own that does something else each time."""

    calls = 0

    def forward(self, x, out=None):
        self.calls += out is not None
        return np.multiply(super().forward(x, out), 1 / (1 + self.calls % 3), out=out)


class OwnScale(nn.Layer):
    """A layer of one's own that somebody changes from outside."""

    factor = 1.0

    def forward(self, x, out=None):
        return np.multiply(x, self.factor, out=out)

    def backward(self, grad, out=None):
        return np.multiply(grad, self.factor, out=out)


class OwnCost(nn.CrossEntropy):
    """The same cost, but of a class of one's own."""


class Warmed(nn.SGD):
    """An optimizer of one's own whose steps grow."""

    steps = 0

    def update(self, parameters, gradients, lr):
        self.steps += 1
        super().update(parameters, gradients, lr * min(1, self.steps / 100))


class OwnSequential(nn.Sequential):
    """A network of one's own."""


class Fading(nn.Softmax):
    """A last layer of one's own that does something else each time."""

    calls = 0

    def forward(self, x, out=None):
        self.calls += out is not None
        return super().forward(np.multiply(x, 1 / (1 + self.calls % 3)), out)


@stand_in
@pytest.mark.parametrize("part", ["hidden", "last", "cost", "optimizer", "net"])
def test_what_is_not_numnets_own_is_not_recorded(part, transfers, recorded):
    results = []
    for device in ("cpu", "gpu"):
        kind = OwnSequential if part == "net" else nn.Sequential
        hidden = Counting if part == "hidden" else nn.Sigmoid
        last = Fading() if part == "last" else nn.Softmax()
        layers = nn.Linear(64, 6), hidden(), nn.Linear(6, 10), last
        net = kind(*layers, seed=0, dtype="float64", device=device)
        cost = OwnCost() if part == "cost" else nn.CrossEntropy()
        trainer = nn.Trainer(net, cost, (Warmed if part == "optimizer" else nn.SGD)(0.1), seed=0)
        trainer.fit(DIGITS[0], 4, 64)
        results.append(host(trainer.net.parameters))
    np.testing.assert_allclose(*results, rtol=1e-9, atol=1e-12)
    assert transfers.launches == 0


def change_momentum(trainer):
    trainer.optimizer.momentum = 0.9 - trainer.optimizer.momentum


def clip_every_other_epoch(trainer):
    trainer.optimizer.clip_norm = 0.01 if trainer.optimizer.clip_norm is None else None


def start_anew(trainer):
    trainer.optimizer.start(trainer.net)


def another_optimizer(trainer):
    trainer.optimizer = nn.SGD(0.3, momentum=0.2)
    trainer.optimizer.start(trainer.net)


def an_optimizer_of_ones_own(trainer):
    trainer.optimizer = Warmed(0.1)
    trainer.optimizer.start(trainer.net)


def another_pair(trainer):
    trainer.pair = nn.Quadratic().pair(trainer.net.layers)


def change_a_layer(trainer):
    trainer.net.layers[0].bias = np.arange(6) / 10
    for layer in trainer.net.layers:
        if isinstance(layer, OwnScale):
            layer.factor *= 0.5


def move_there_and_back(trainer):
    device = trainer.net.device
    trainer.net.to("cpu").to("gpu").to(device).to(device)
    trainer.step(DIGITS[0].images[:300], DIGITS[0].labels[:300])


CALLBACKS = [
    *(change_momentum, clip_every_other_epoch, start_anew, another_optimizer, an_optimizer_of_ones_own, another_pair),
    *(change_a_layer, move_there_and_back),
]


@pytest.mark.parametrize("callback", CALLBACKS)
@pytest.mark.parametrize("hidden", [nn.Sigmoid, Counting, OwnScale])
@pytest.mark.parametrize("device", DEVICES)
def test_what_a_callback_changes_is_changed(callback, hidden, device, transfers, recorded, monkeypatch):
    monkeypatch.setattr(numnet.data, "BLOCK_BATCHES", 3)
    results = []
    for where in ("cpu", device):
        trainer = trainer_of(64, 6, 10, device=where, dtype="float64", hidden=hidden, lr=0.1)
        trainer.fit((DIGITS[0].images[:400], DIGITS[0].labels[:400]), 4, 16, DIGITS[1], callbacks=[callback])
        results.append(host(trainer.net.parameters))
    np.testing.assert_allclose(*results, rtol=1e-9, atol=1e-12)
    assert launched(recorded and hidden is nn.Sigmoid, device)


@pytest.mark.parametrize("device", DEVICES)
def test_a_callback_that_moves_the_network_away_ends_the_run(device, recorded):
    other = "gpu" if device == "cpu" else "cpu"
    trainer = trainer_of(64, 10, device=device, dtype="float64")
    message = (
        f"^fit: a callback has moved the network from '{device}' to '{other}': move it back before the callback ends"
    )
    with pytest.raises(nn.DeviceError, match=message):
        trainer.fit(DIGITS[0], 3, 64, callbacks=[lambda trainer: trainer.net.to(other)])
    assert len(trainer.history) == 1
    trainer.fit(DIGITS[0], 2, 64)  # between two calls of fit it may move
    stayed = trainer_of(64, 10, device="cpu", dtype="float64")
    stayed.fit(DIGITS[0], 3, 64)
    np.testing.assert_allclose(host(trainer.net.parameters), stayed.net.parameters, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("device", DEVICES)
def test_a_network_of_one_layer_trains(device, recorded):
    trainer = nn.Trainer(nn.Sequential(nn.Softmax(), dtype="float64", device=device), nn.CrossEntropy(), nn.SGD(0.1))
    x, t = RNG.normal(size=(30, 3)), RNG.integers(3, size=30)
    expected = nn.CrossEntropy()(trainer.net(x), t)
    assert trainer.fit((x, t), 3, 4).train_cost == pytest.approx([expected] * 3)


@pytest.mark.parametrize("device", DEVICES)
def test_a_divergence_names_the_block(device, recorded, monkeypatch):
    monkeypatch.setattr(numnet.data, "BLOCK_BATCHES", 5)
    trainer = nn.Trainer(nn.Sequential(nn.Linear(3, 2), seed=0, device=device), nn.Quadratic(), nn.SGD(1e30), seed=0)
    before = host(trainer.net.parameters).copy()
    with pytest.raises(nn.DivergenceError, match="in epoch 1, in one of the batches 1 to 5: "):
        trainer.fit((RNG.normal(size=(300, 3)), RNG.normal(size=(300, 2))), 1, 2)
    np.testing.assert_array_equal(host(trainer.net.parameters), before)


@stand_in
def test_two_trainers_in_two_threads(transfers, recorded, monkeypatch):
    monkeypatch.setattr(numnet.data, "BLOCK_BATCHES", 2)

    def run(i):
        trainer = trainer_of(64, 8, 10, dtype="float64", lr=0.1 * (i + 1))
        trainer.fit(DIGITS[0], 3, 64)
        return host(trainer.net.parameters)

    np.testing.assert_array_equal(*alone_and_together(run))
    assert launched(recorded, "gpu")


@stand_in
def test_a_thread_has_one_handle_of_cublas_and_a_block_is_recorded_once(transfers, monkeypatch):
    made, captures = [], []

    class Counted(strict.Blas):
        def __init__(self, stream):
            super().__init__(stream)
            made.append(stream)

    class Stream(strict.Stream):
        def begin_capture(self):
            super().begin_capture()
            captures.append(self)

    monkeypatch.setattr(gpu, "Blas", Counted)
    monkeypatch.setattr(gpu, "_thread", threading.local())
    monkeypatch.setattr(strict.cuda, "Stream", Stream)
    backend.record()
    try:
        for _ in range(2):
            trainer_of(64, 10).fit((DIGITS[0].images[:200], DIGITS[0].labels[:200]), 4, 64)
    finally:
        backend.record(False)
    assert (len(made), len(captures), transfers.launches) == (1, 2, 6)


def broken(monkeypatch, what):
    """Let a part of the recording fail."""
    message = "libcublas.so.13: cannot open shared object file" if what == "cuBLAS" else "the capture has failed"

    def fail(*arguments):
        raise OSError(message)

    if what == "cuBLAS":
        monkeypatch.setattr(gpu, "Blas", fail)
        monkeypatch.setattr(gpu, "_thread", threading.local())
    elif what == "end of the capture":
        end = strict.Stream.end_capture
        monkeypatch.setattr(strict.Stream, "end_capture", lambda stream: fail(end(stream)))
    else:
        monkeypatch.setattr(strict.Blas, "matmul", fail)
    return message


@stand_in
@pytest.mark.parametrize("what", ["cuBLAS", "product", "end of the capture"])
def test_if_recording_fails_training_goes_on_unrecorded(what, monkeypatch, transfers):
    message = broken(monkeypatch, what)
    backend.record()
    results = []
    try:
        for device in ("cpu", "gpu"):
            told = contextlib.nullcontext()
            if device == "gpu":
                told = pytest.warns(
                    RuntimeWarning, match=f"could not be recorded .* goes on without.*OSError: {message}"
                )
            trainer = trainer_of(64, 10, dtype="float64", device=device)
            with told as warned:
                trainer.fit(DIGITS[0], 3, 64)
            results.append(host(trainer.net.parameters))
    finally:
        backend.record(False)
    assert len(warned) == 1
    np.testing.assert_allclose(*results, rtol=1e-12)
    assert transfers.launches == 0


def test_memory_that_the_host_has_not_is_no_affair_of_the_gpu():
    with pytest.raises(MemoryError, match="the host's"), gpu.quiet():
        raise MemoryError("the host's")


@stand_in
def test_the_stand_in_notices_memory_that_was_given_back(transfers):
    stream, array = strict.Stream(non_blocking=True), place(np.ones(3), "gpu")
    stream.begin_capture()
    with stream:
        np.add(array, 1, out=array)
        with pytest.raises(NotImplementedError, match="cuBLAS"):
            np.dot(array, array)
        with pytest.raises(RuntimeError, match="cannot wait for the host"):
            float(array[0])
    graph = stream.end_capture()
    np.testing.assert_array_equal(host(array), [1, 1, 1])
    graph.launch()
    np.testing.assert_array_equal(host(array), [2, 2, 2])
    del array
    with pytest.raises(RuntimeError, match="illegal memory access"):
        graph.launch()


# Products


CUBLAS = """
    #include <stddef.h>
    #include <stdlib.h>
    int calls = 0;
    int cublasCreate_v2(void** handle) { *handle = calloc(3, sizeof(void*)); return *handle == 0; }
    int cublasDestroy_v2(void* handle) { free(handle); return 0; }
    int cublasSetStream_v2(void** handle, void* stream) { handle[0] = stream; return 0; }
    int cublasSetWorkspace_v2(void** handle, void* memory, size_t size) { handle[1] = memory; return size < 1024; }
    int cublasSetMathMode(void** handle, int mode) { handle[2] = (void*)(size_t)mode; return 0; }
    #define GEMM(name, T) int name(void** handle, int ta, int tb, int m, int n, int k, const T* alpha, \\
        const T* a, int lda, const T* b, int ldb, const T* beta, T* c, int ldc) { \\
        if (handle[0] != (void*)42 || !handle[1]) return 1; \\
        for (int i = 0; i < m; i++) for (int j = 0; j < n; j++) { \\
            T sum = 0; \\
            for (int l = 0; l < k; l++) \\
                sum += (ta ? a[l + i * lda] : a[i + l * lda]) * (tb ? b[j + l * ldb] : b[l + j * ldb]); \\
            c[i + j * ldc] = *alpha * sum + (*beta ? *beta * c[i + j * ldc] : 0); } \\
        calls++; return 0; }
    GEMM(cublasSgemm_v2, float)
    GEMM(cublasDgemm_v2, double)
"""


def mode_of(blas):
    """Return the mode that the library of CUBLAS has noted for a handle."""
    return ctypes.cast(blas._handle, ctypes.POINTER(ctypes.c_size_t))[2]


@pytest.mark.skipif(COMPILER is None, reason="needs a C compiler")
def test_cublas_is_called_as_its_manual_says(tmp_path, monkeypatch):
    """With a library of the same functions and the same name, as the manual declares them, loaded already."""
    (tmp_path / "cublas.c").write_text(textwrap.dedent(CUBLAS).replace("\\\\", "\\"))
    library = tmp_path / "found-by-its-soname.so"
    options = ["-shared", "-fPIC", "-Wl,-soname,libcublas.so.99", "-o", str(library)]
    subprocess.run([COMPILER, *options, tmp_path / "cublas.c"], check=True)
    loaded = ctypes.CDLL(str(library))

    class Addressed(strict.ndarray):
        data = property(lambda self: types.SimpleNamespace(ptr=self._array.ctypes.data))

    runtime = types.SimpleNamespace(runtimeGetVersion=lambda: 99020)
    cupy = types.SimpleNamespace(
        cuda=types.SimpleNamespace(runtime=runtime), empty=lambda *arguments: Addressed(np.empty(*arguments))
    )
    monkeypatch.setattr(gpu, "tried", lambda: cupy)
    blas = RealBlas(types.SimpleNamespace(ptr=42))
    for dtype in ("float32", "float64"):
        for m, k, n in ((1, 1, 1), (3, 4, 5), (64, 784, 10), (7, 1, 2), (2, 5, 1)):
            a, b = RNG.normal(size=(m, k)).astype(dtype), RNG.normal(size=(k, n)).astype(dtype)
            for left in (a, np.asfortranarray(a)):
                for right in (b, np.asfortranarray(b)):
                    out = Addressed(np.full((m, n), np.nan, dtype))
                    assert blas.matmul(Addressed(left), Addressed(right), out) is out
                    np.testing.assert_allclose(
                        out._array, a @ b, rtol=1e-12, atol=1e-3 if dtype == "float32" else 1e-12
                    )
    assert ctypes.c_int.in_dll(loaded, "calls").value == 2 * 5 * 4
    with pytest.raises(RuntimeError, match="cublasSgemm_v2 failed with status 1"):
        RealBlas(types.SimpleNamespace(ptr=41)).matmul(*(Addressed(np.ones((2, 2), "f")) for _ in range(3)))
    monkeypatch.setenv("CUPY_TF32", "1")
    assert mode_of(blas) == 0
    assert mode_of(RealBlas(types.SimpleNamespace(ptr=42))) == 3


@pytest.mark.parametrize("device", DEVICES)
def test_matmul_is_numpys_wherever_the_operands_are(device):
    a, b = RNG.normal(size=(3, 4)), RNG.normal(size=(4, 2))
    result = nn.backend.matmul(place(a, device), place(b, device))
    assert backend.device_of(result) == device
    rounding = max(1e-14, where_rounding_differs(device, 1e-12))
    np.testing.assert_allclose(host(result), a @ b, rtol=rounding)
    out = place(np.full((3, 2), np.nan), device)
    assert nn.backend.matmul(place(a, device), place(b, device), out=out) is out
    np.testing.assert_allclose(host(out), a @ b, rtol=rounding)


def test_matmul_refuses_operands_on_two_devices():
    a = np.ones((2, 2))
    with pytest.raises(nn.DeviceError, match=r"an array on the CPU and one on the GPU: move one with nn.backend.to"):
        nn.backend.matmul(a, place(a, "gpu"))
    with pytest.raises(nn.DeviceError, match="an array on the GPU and one on the CPU"):
        nn.backend.matmul(place(a, "gpu"), a)


@stand_in
def test_large_products_of_the_host_go_to_the_device_once_switched_on(transfers):
    small, large = np.ones((9, 10)), np.ones((10, 10))
    nn.backend.matmul(large, large)
    assert transfers.products == 0
    nn.backend.offload(1000)
    try:
        out = np.full((10, 10), np.nan)
        assert nn.backend.matmul(large, large, out=out) is out
        assert (out == 10).all()
        assert type(nn.backend.matmul(large, large)) is np.ndarray
        assert transfers.products == 2
        nn.backend.matmul(small, large)
        nn.backend.matmul(np.ones(1000), np.ones(1000))
        assert transfers.products == 2
    finally:
        nn.backend.offload(None)
    nn.backend.matmul(large, large)
    assert transfers.products == 2
    with pytest.raises(ValueError, match="minimum must be a number of at least 0, or None, got -1"):
        nn.backend.offload(-1)


@stand_in
def test_without_a_number_products_of_a_thousand_million_multiplications_are_offloaded(transfers):
    nn.backend.offload()
    try:
        for rows, products in ((999, 0), (1001, 1)):
            nn.backend.matmul(np.ones((rows, 10_000), np.float32), np.ones((10_000, 100), np.float32))
            assert transfers.products == products
    finally:
        nn.backend.offload(None)


@stand_in
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("given", ["float32", "float64"])
@pytest.mark.parametrize("minimum", [0, 1])
def test_the_products_of_a_network_on_the_cpu_are_offloaded_too(dtype, given, minimum, transfers):
    net, x = nn.Sequential(nn.Linear(3, 2), seed=0, dtype=dtype), RNG.normal(size=(4, 3)).astype(given)
    expected = net(x)
    trained, t = nn.Trainer(net, nn.Quadratic(), nn.SGD(1e-9)), RNG.normal(size=(4, 2))
    nn.backend.offload(minimum)
    try:
        np.testing.assert_array_equal(net(x), expected)
        assert transfers.products == 1
        trained.step(x[:1], t[:1])  # z, dE/dw and dE/dx, of a batch of one
        assert transfers.products == 4
        nn.backend.matmul(x, x.T.astype(np.float32))
        assert transfers.products == 5
    finally:
        nn.backend.offload(None)
    trained.step(x, t)
    net(x)
    assert transfers.products == 5


@stand_in
def test_a_product_that_the_gpu_has_no_memory_for_says_what_to_do(transfers):
    a, b = np.ones((100, 1)), np.ones((1, 100))
    there = place(a, "gpu"), place(b, "gpu")
    nn.backend.offload(1)
    transfers.limit = 1000
    try:
        for operands in ((a, b), there):
            with pytest.raises(nn.DeviceError, match=r"too little memory: Out of memory allocating 80,000 bytes\."):
                nn.backend.matmul(*operands)
    finally:
        nn.backend.offload(None)


@pytest.mark.parametrize("state", ["raise", "warn"])
@pytest.mark.parametrize("device", DEVICES)
def test_a_product_overflows_silently_whatever_the_error_state(state, device):
    a = place(np.full((1, 1), 1e300), device)
    with np.errstate(all=state):
        assert host(nn.backend.matmul(a, a)) == np.inf
        nn.backend.offload(0)
        try:
            assert host(nn.backend.matmul(a, a)) == np.inf
        finally:
            nn.backend.offload(None)


def test_what_no_array_can_be_made_of_is_named():
    for use, name in (
        (lambda: nn.backend.to({}, "cpu"), "array"),
        (lambda: nn.backend.assign(np.ones(1), {}), "values"),
        (lambda: nn.backend.matmul({}, 1), "a"),
        (lambda: nn.backend.matmul(1, {}), "b"),
    ):
        with pytest.raises(ValueError, match=f"^{name} must be an array, but NumPy makes none of this dict"):
            use()


# Networks that move


@pytest.mark.parametrize("device", DEVICES)
def test_results_come_back_to_where_the_inputs_are(device):
    net = nn.Sequential(nn.Linear(4, 3), nn.Softmax(), seed=0, device=device)
    x = RNG.normal(size=(5, 4))
    expected = nn.Sequential(nn.Linear(4, 3), nn.Softmax(), seed=0)(x)
    assert net.device == device
    assert type(net(x)) is type(net.predict(x)) is np.ndarray
    np.testing.assert_allclose(net(x), expected, rtol=1e-5)
    given_there = net(place(x, device))
    assert backend.device_of(given_there) == device
    np.testing.assert_array_equal(host(given_there), net(x))
    assert type(net.predict(place(x, device))) is np.ndarray
    t = net.predict(x)
    assert net.accuracy(place(x, device), place(t, device)) == net.accuracy(x, t) == 1
    assert nn.CrossEntropy()(given_there, t) == pytest.approx(nn.CrossEntropy()(net(x), t))


def test_a_network_moves_and_its_trainer_follows():
    stay, move = (trainer_of(64, 12, 10, device="cpu", dtype="float64", momentum=0.9) for _ in range(2))
    for device in ("gpu", "cpu", "gpu"):
        assert move.net.to(device) is move.net
        assert move.net.device == device
        assert backend.device_of(move.net.layers[0].weight) == device
        for trainer in (stay, move):
            trainer.fit(DIGITS[0], 1, 64)
            trainer.step(DIGITS[0].images[:10], DIGITS[0].labels[:10])
    np.testing.assert_allclose(host(move.net.parameters), stay.net.parameters, rtol=1e-9, atol=1e-12)
    assert "on the GPU" in repr(move.net)


@pytest.mark.parametrize(("saved", "loaded"), [("cpu", "gpu"), ("gpu", "cpu"), ("gpu", "gpu")])
def test_a_file_from_one_device_loads_on_the_other(saved, loaded, tmp_path):
    net = nn.Sequential(nn.Linear(4, 3), nn.Softmax(), seed=0, device=saved)
    net.save(tmp_path / "net.npz")
    again = nn.load(tmp_path / "net.npz", device=loaded)
    assert again.device == loaded
    np.testing.assert_array_equal(host(again.parameters), host(net.parameters))


def test_the_same_seed_gives_the_same_start_everywhere():
    nets = [nn.Sequential(nn.Linear(4, 3), seed=7, device=device) for device in ("cpu", "gpu")]
    np.testing.assert_array_equal(*(host(net.parameters) for net in nets))


def test_values_are_assigned_from_either_side():
    net = nn.Sequential(nn.Linear(2, 2), seed=0, device="gpu")
    net.layers[0].weight = [[1, 2], [3, 4]]
    net.layers[0].bias = place(np.float32([5, 6]), "gpu")
    np.testing.assert_array_equal(host(net.parameters), [1, 2, 3, 4, 5, 6])
    net.parameters = np.arange(6)
    net.gradients = 3
    np.testing.assert_array_equal(host(net.layers[0].weight), [[0, 1], [2, 3]])
    np.testing.assert_array_equal(host(net.gradients), [3] * 6)


def test_arrays_of_the_gpu_are_refused_by_a_network_on_the_cpu():
    net = nn.Sequential(nn.Linear(2, 2), nn.Softmax(), seed=0)
    x, t = np.ones((3, 2)), np.array([0, 1, 1])
    before = net.parameters.copy()
    trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.1))
    for use, name in (
        (lambda: net(place(x, "gpu")), "inputs"),
        (lambda: trainer.fit((place(x, "gpu"), t), 1, 2), "inputs"),
        (lambda: trainer.step(x, place(t, "gpu")), "targets"),
    ):
        with pytest.raises(
            nn.DeviceError, match=rf"{name} must be on the CPU, .* is on a GPU: give {name}\.get\(\), or move"
        ):
            use()
    np.testing.assert_array_equal(net.parameters, before)


@stand_in
def test_a_device_without_memory_left_says_what_to_do(transfers, tmp_path):
    net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0)
    net.save(tmp_path / "net.npz")
    transfers.limit = 2000
    for use in (lambda: net.to("gpu"), lambda: nn.load(tmp_path / "net.npz", device="gpu")):
        with pytest.raises(
            nn.DeviceError, match=r"^the GPU has too little memory: .* allocating 2,600 bytes\. Free some"
        ):
            use()
    assert net.device == "cpu"
    transfers.limit = 50_000
    net.to("gpu")
    trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.1))
    before = host(net.parameters)
    for use in (
        lambda: trainer.fit(DIGITS[0], 1, 64),
        lambda: net(DIGITS[0].images),
        lambda: trainer.step(DIGITS[0].images, DIGITS[0].labels),
    ):
        with pytest.raises(nn.DeviceError, match="smaller batch_size"):
            use()
    np.testing.assert_array_equal(host(net.parameters), before)


@stand_in
def test_arrays_of_another_library_are_taken_as_cupy_takes_them(transfers):
    class Tensor:
        """What PyTorch's tensors on a GPU are to others."""

        __cuda_array_interface__ = property(lambda self: {"version": 3})

    monkeypatch = pytest.MonkeyPatch()
    original = strict.asarray
    x = RNG.normal(size=(5, 4))
    monkeypatch.setattr(strict, "asarray", lambda a: original(x if isinstance(a, Tensor) else a))
    try:
        net = nn.Sequential(nn.Linear(4, 3), nn.Softmax(), seed=0, device="gpu")
        np.testing.assert_array_equal(host(net(Tensor())), net(x))
        np.testing.assert_array_equal(backend.to(Tensor(), "cpu"), x)
    finally:
        monkeypatch.undo()


def test_values_from_the_gpu_are_assigned_to_a_network_on_the_cpu():
    net = nn.Sequential(nn.Linear(1, 1), seed=0)
    net.parameters = place([3.0, 4.0], "gpu")
    np.testing.assert_array_equal(net.parameters, [3, 4])
    with pytest.raises(ValueError, match="device must be one of cpu, gpu, auto, got 'cuda:0'"):
        nn.backend.to([1.0], "cuda:0")


@pytest.mark.parametrize("dtype", [bool, np.int64, np.longdouble])
def test_only_floats_are_offloaded(dtype):
    nn.backend.offload(0)
    try:
        a = np.ones((2, 2), dtype)
        np.testing.assert_array_equal(nn.backend.matmul(a, a, out=np.zeros_like(a)), a @ a)
    finally:
        nn.backend.offload(None)


@stand_in
@pytest.mark.parametrize("kinds", [(bool, float), (int, "f4"), ("f4", int), (float, np.longdouble), (complex, "f4")])
def test_a_product_of_floats_and_something_else_is_not_offloaded(kinds, transfers):
    a, b = (np.ones((2, 2), kind) for kind in kinds)
    nn.backend.offload(0)
    try:
        np.testing.assert_array_equal(nn.backend.matmul(a, b), a @ b)
        assert nn.backend.matmul(np.ones(2), np.ones((2, 2))).tolist() == [2, 2]
        assert nn.backend.matmul(np.ones((3, 2, 2)), np.ones((3, 2, 2))).shape == (3, 2, 2)
        assert transfers.products == 0
    finally:
        nn.backend.offload(None)


# Without a GPU


@pytest.mark.parametrize(
    ("device", "hint"), [("cuda", ": write 'gpu'"), ("cuda:0", ": write 'gpu'"), ("GPU", ""), (None, ""), (0, "")]
)
def test_a_device_that_is_none(device, hint):
    with pytest.raises(ValueError, match=f"^device must be one of cpu, gpu, auto, got {device!r}{hint}$"):
        nn.Sequential(nn.Linear(1, 1), device=device)


def test_what_all_networks_share_cannot_be_assigned_to():
    for name in vars(nn.backend.CPU):
        with pytest.raises(AttributeError):
            setattr(nn.backend.CPU, name, None)


def run(code, *path, **environment):
    """Run a program in a process of its own, without the stand-in."""
    paths = os.pathsep.join(map(str, (*path, *filter(None, sys.path))))
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": paths, **environment},
        capture_output=True,
        text=True,
    )


ASK = """
    import sys, warnings
    import numnet as nn
    assert "cupy" not in sys.modules
    try:
        nn.Sequential(nn.Linear(2, 2), device="gpu")
    except nn.DeviceError as error:
        print(missing := error)
    for switch in nn.backend.record, nn.backend.offload:
        try:
            switch()
        except nn.DeviceError as error:
            assert str(error) == str(missing)
        else:
            raise AssertionError
    nn.backend.record(False)
    nn.backend.offload(None)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        nets = [nn.Sequential(nn.Linear(2, 2), seed=0, device="auto") for _ in range(3)]
    print(len(told), [net.device for net in nets], told[0].message)
"""


@pytest.fixture
def no_gpu(monkeypatch):
    def tried():
        raise nn.DeviceError("there is none")

    monkeypatch.setattr(gpu, "tried", tried)


def test_without_a_gpu_nothing_is_switched_on_and_all_can_be_switched_off(no_gpu):
    for switch in (nn.backend.record, nn.backend.offload, lambda: nn.backend.offload(0)):
        with pytest.raises(nn.DeviceError, match="there is none"):
            switch()
    nn.backend.record(False)
    nn.backend.offload(None)
    assert (backend.product, backend.outer) == (np.matmul, np.dot)


def test_nobody_looks_for_a_gpu_if_nobody_asks_for_one(monkeypatch, tmp_path):
    monkeypatch.setattr(gpu, "tried", lambda: pytest.fail("it takes seconds to find out"))
    x, t = [[0.0, 1.0], [1.0, 0.0]], [0, 1]
    net = nn.Sequential(nn.Linear(2, 2), nn.Softmax(), seed=0)
    trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.1))
    trainer.fit((x, t), 1, 1, (x, t))
    nn.CrossEntropy()(net(x), t)
    nn.gradcheck(net, nn.CrossEntropy(), x, t, samples=1)
    net.accuracy(x, net.predict(x))
    net.save(tmp_path / "net.npz")
    nn.backend.matmul(x, x)


def test_that_there_is_no_gpu_is_said_once_wherever_it_is_asked_for(no_gpu):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        net = nn.Sequential(nn.Linear(2, 2), device="auto")
        assert net.to("auto").device == nn.backend.choose("auto") == "cpu"
        for ask in (nn.backend.choose, net.to, lambda device: nn.Sequential(nn.Linear(2, 2), device=device)):
            with pytest.raises(nn.DeviceError, match=r"^there is none$"):
                ask("gpu")
    assert [str(warning.message) for warning in told] == ["device='auto' is the CPU: there is none"]


def test_an_array_of_a_gpu_that_nothing_here_can_read_is_told_as_such(no_gpu):
    values = type("Foreign", (), {"__cuda_array_interface__": {}})()
    with pytest.raises(nn.DeviceError, match=r"^array must be on the CPU, but this .*Foreign is on a GPU: give a copy"):
        nn.backend.to(values, "cpu")


@pytest.fixture
def cupy(monkeypatch):
    """A CuPy that works, over the stand-in, for a driver that a test chooses."""
    runtime = types.SimpleNamespace(
        driverGetVersion=lambda: 13000, runtimeGetVersion=lambda: 13000, getDeviceCount=lambda: 1
    )
    module = types.ModuleType("cupy")
    module.__spec__ = importlib.machinery.ModuleSpec("cupy", None)
    module.cuda, module.float32, module.exp = types.SimpleNamespace(runtime=runtime), np.float32, np.exp
    module.ones = lambda shape, dtype: strict.asarray(np.ones(shape, dtype))
    monkeypatch.setitem(sys.modules, "cupy", module)
    return module


@pytest.mark.parametrize("versions", [(13000, 13000), (13000, 13020), (13020, 13000), (12080, 12090), (13000, 12090)])
@pytest.mark.parametrize("count", [1, 2, 8])
def test_a_driver_for_the_same_cuda_or_a_later_one_works(versions, count, cupy):
    runtime = cupy.cuda.runtime
    runtime.driverGetVersion, runtime.runtimeGetVersion = (lambda version=version: version for version in versions)
    runtime.getDeviceCount = lambda: count
    assert real_tried.__wrapped__() is cupy


@pytest.mark.parametrize(
    ("driver", "built", "message"),
    [
        (
            12000,
            13020,
            r"for CUDA 12\.0 and CuPy for CUDA 13\.2: update the driver, or install the CuPy that fits it, ",
        ),
        (11080, 12090, r"for CUDA 11\.8 and CuPy for CUDA 12\.9: update"),
        (12090, 13000, r"for CUDA 12\.9 and CuPy for CUDA 13\.0: update"),
    ],
)
def test_a_driver_for_an_earlier_cuda_is_told_with_both_versions(driver, built, message, cupy):
    cupy.cuda.runtime.driverGetVersion, cupy.cuda.runtime.runtimeGetVersion = lambda: driver, lambda: built
    with pytest.raises(nn.DeviceError, match=f"^the NVIDIA driver is {message}"):
        real_tried.__wrapped__()


def test_a_cupy_that_is_not_there_or_cannot_be_imported_is_said(cupy, monkeypatch, tmp_path):
    monkeypatch.delitem(sys.modules, "cupy")
    cupy_that(tmp_path, "raise ImportError('no libcudart')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        nn.DeviceError, match=r"^CuPy is installed but cannot be imported \(no libcudart\): install it"
    ) as caught:
        real_tried.__wrapped__()
    assert type(caught.value.__cause__) is ImportError
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "cupy" else pytest.fail(name))
    with pytest.raises(
        nn.DeviceError, match=r"^a GPU needs CuPy, which is not installed: pip install 'numnet\[cuda12\]'"
    ):
        real_tried.__wrapped__()


@pytest.mark.parametrize("part", ["getDeviceCount", "exp"])
@pytest.mark.parametrize(
    ("why", "message"),
    [
        (
            "cudaErrorNoDevice: none",
            "the NVIDIA driver finds no GPU: check CUDA_VISIBLE_DEVICES and nvidia-smi, or use",
        ),
        ("HostToDevice", "CuPy cannot use the GPU (RuntimeError: HostToDevice): the CUDA libraries that it needs come"),
        ("no compiler", "CuPy cannot use the GPU (RuntimeError: no compiler): the CUDA libraries that it needs come"),
    ],
)
def test_what_fails_when_a_gpu_is_tried_is_said(part, why, message, cupy):
    def fail(*arguments):
        raise RuntimeError(why)

    setattr(cupy if part == "exp" else cupy.cuda.runtime, part, fail)
    with pytest.raises(nn.DeviceError, match=f"^{re.escape(message)}") as caught:
        real_tried.__wrapped__()
    assert str(caught.value.__cause__) == why


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("getDeviceCount", "the NVIDIA driver finds no GPU: check CUDA_VISIBLE_DEVICES, or use device='cpu'"),
        ("driverGetVersion", "CuPy is installed, but there is no NVIDIA driver: install one from https://"),
    ],
)
def test_no_driver_or_no_gpu_is_said(part, message, cupy):
    setattr(cupy.cuda.runtime, part, lambda: 0)
    with pytest.raises(nn.DeviceError, match=f"^{re.escape(message)}"):
        real_tried.__wrapped__()


def cupy_that(tmp_path, body):
    """Write a package of CuPy's name: no machine has every driver."""
    (tmp_path / "cupy").mkdir()
    (tmp_path / "cupy" / "__init__.py").write_text(textwrap.dedent(body))
    return tmp_path


DRIVER = """
    class runtime:
        driverGetVersion = staticmethod(lambda: {driver})
        runtimeGetVersion = staticmethod(lambda: 13000)
        @staticmethod
        def getDeviceCount():
            {count}
    class cuda:
        pass
    cuda.runtime = runtime
    float32 = "f4"
    def ones(*arguments):
        {ones}
"""


WORKS, NONE = "return 1", "return 0"
NO_DEVICE = "raise RuntimeError('cudaErrorNoDevice: no CUDA-capable device is detected')"
NO_COMPILER = "raise RuntimeError('libnvrtc.so.13 not found')"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise ImportError('libcudart.so.13: no such file')", r"cannot be imported \(libcudart.so.13: no such file\)"),
        (DRIVER.format(driver=0, count=NONE, ones=WORKS), "there is no NVIDIA driver: install one"),
        (
            DRIVER.format(driver=12040, count=WORKS, ones=WORKS),
            "the NVIDIA driver is for CUDA 12.4 and CuPy for CUDA 13.0",
        ),
        (DRIVER.format(driver=13000, count=NONE, ones=WORKS), "driver finds no GPU: check CUDA_VISIBLE_DEVICES"),
        (DRIVER.format(driver=13000, count=NO_DEVICE, ones=WORKS), "the NVIDIA driver finds no GPU"),
        (
            DRIVER.format(driver=13000, count=WORKS, ones=NO_COMPILER),
            r"\(RuntimeError: libnvrtc.so.13 not found\): the CUDA",
        ),
    ],
)
def test_what_is_missing_is_said(body, message, tmp_path):
    result = run(ASK, cupy_that(tmp_path, body))
    assert result.returncode == 0, result.stderr
    first, second = result.stdout.splitlines()
    assert re.search(message, first), first
    assert second.startswith("1 ['cpu', 'cpu', 'cpu'] device='auto' is the CPU: ")
    assert second.endswith(first)


def test_cupy_that_is_not_installed(tmp_path):
    hide = """
        import importlib.util as util
        find = util.find_spec
        util.find_spec = lambda name, *rest: None if name == "cupy" else find(name, *rest)
    """
    result = run(textwrap.dedent(hide) + textwrap.dedent(ASK))
    assert result.stdout.startswith("a GPU needs CuPy, which is not installed: pip install 'numnet[cuda12]' or"), result
    assert "\n1 ['cpu', 'cpu', 'cpu']" in result.stdout


@pytest.mark.skipif(REAL_GPU, reason="there is a GPU")
def test_the_real_cupy_without_a_gpu():
    pytest.importorskip("cupy", reason="CuPy is not installed: pip install cupy-cuda13x")
    result = run(ASK)
    assert result.returncode == 0, result.stderr
    assert (
        "there is no NVIDIA driver: install one" in result.stdout or "the NVIDIA driver finds no GPU" in result.stdout
    )


@pytest.mark.parametrize("name", strict.FUNCTIONS + strict.UFUNCS)
def test_the_stand_in_knows_no_more_than_cupy(name):
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed: pip install cupy-cuda13x")
    assert hasattr(cupy, name)
