import contextlib
import ctypes
import itertools
import os
import re
import shutil
import subprocess
import sys
import textwrap
import threading
import types
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg.cython_blas
from hypothesis import given
from hypothesis import strategies as st

import numnet as nn
import numnet.samples
from numnet import backend

from . import compiled, strict
from .devices import DEVICES, REAL_GPU, RealBlas, host, place
from .networks import cases

RNG = np.random.default_rng(0)
DIGITS = nn.datasets.digits()
stand_in = pytest.mark.skipif(REAL_GPU, reason="the stand-in counts what a GPU does not")
with_compiler = pytest.mark.skipif(REAL_GPU or compiled.COMPILER is None, reason="needs a C++ compiler, and no GPU")


@pytest.fixture
def transfers():
    strict.transfers.clear()
    yield strict.transfers
    strict.transfers.clear()


def trainer_of(
    *sizes, device="gpu", dtype="float32", last=nn.Softmax, cost=nn.CrossEntropy, hidden=nn.Sigmoid, **options
):
    layers = [layer for a, b in itertools.pairwise(sizes) for layer in (nn.Linear(a, b), hidden())]
    net = nn.Sequential(*layers[:-1], last(), seed=0, dtype=dtype, device=device)
    return nn.Trainer(net, cost(), nn.SGD(**{"lr": 0.5, **options}), seed=0)


# What crosses between host and device


@stand_in
@pytest.mark.parametrize("sizes", [(64, 10), (64, 16, 10)])
def test_an_epoch_sends_the_shuffle_over_and_a_few_scalars_back(sizes, transfers, largest):
    train, test = DIGITS
    trainer = trainer_of(*sizes)
    transfers.clear()
    trainer.fit(train, 1, 64, test)
    data = [train.images.nbytes, 10 * 10 * 4, 8 * len(train), test.images.nbytes, 10 * 10 * 4, 8 * len(test)]
    assert transfers.to_device[:-1] == [*data, 4]  # the pictures as bytes, once, and a learning rate
    before = len(transfers.to_device), len(transfers.to_host)
    trainer.fit(train, 1, 64, test)
    history_only = transfers.to_device[before[0] + len(data) + 1 :], transfers.to_host[before[1] :]
    assert history_only[0] == [8 * len(train)]
    assert (
        len(history_only[1]) == 4
    )  # costs, right answers, whether the parameters are finite, right answers of the test
    assert sum(history_only[1]) < 40
    largest("transfers to the device in an epoch on the stand-in, beside the data", len(history_only[0]))
    largest("transfers to the host in an epoch on the stand-in", len(history_only[1]))


@stand_in
def test_more_epochs_need_no_more_of_the_data(transfers):
    counts = []
    for epochs in (1, 4):
        trainer = trainer_of(64, 10)
        transfers.clear()
        trainer.fit(DIGITS[0], epochs, 64)
        counts.append((len(transfers.to_device), len(transfers.to_host)))
    assert counts[1] == (counts[0][0] + 3, counts[0][1] + 3 * 3)


@stand_in
def test_a_round_trip_in_a_layer_is_noticed(transfers):
    class Careless(nn.Sigmoid):
        def forward(self, x, out=None):
            return super().forward(place(host(x), "gpu"), out)

    trainer = trainer_of(64, 8, 10, hidden=Careless)
    transfers.clear()
    with pytest.warns(RuntimeWarning, match="could not be recorded as a CUDA graph .*cannot wait for the host"):
        trainer.fit(DIGITS[0], 3, 64)
    assert len(transfers.to_host) > 3 * 1437 / 64
    with pytest.raises(TypeError, match="Implicit conversion"):
        np.asarray(trainer.net.parameters)


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


# The recorded step


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
def test_a_recorded_run_is_the_run_on_the_cpu(options, last, cost, device, transfers, monkeypatch):
    monkeypatch.setattr(numnet.samples, "_BLOCK_BATCHES", {"cpu": 4, "gpu": 3})
    results = []
    for where in ("cpu", device):
        trainer = trainer_of(64, 12, 10, device=where, dtype="float64", last=last, cost=cost, **options)
        history = trainer.fit(DIGITS[0], 3, 64, DIGITS[1])
        results.append(
            (host(trainer.net.parameters), history.train_cost, history.train_accuracy, history.test_accuracy)
        )
    for on_cpu, on_device in zip(*results, strict=True):
        np.testing.assert_allclose(on_device, on_cpu, rtol=1e-9, atol=1e-12)
    assert REAL_GPU or device == "cpu" or transfers.launches > 10


@stand_in
@given(case=cases(scales=(0.1, 1.0)))
def test_any_network_can_be_recorded(case):
    results = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numnet.samples, "_BLOCK_BATCHES", {"cpu": 2, "gpu": 2})
        for device in ("cpu", "gpu"):
            net = nn.Sequential(
                *(type(layer)(*filter(None, (layer.inputs, layer.outputs))) for layer in case.net.layers),
                dtype="float64",
                device=device,
            )
            net.parameters = case.net.parameters
            x, t = np.repeat(case.x, 4, axis=0), np.repeat(case.t, 4, axis=0)
            strict.transfers.clear()
            nn.Trainer(net, case.cost, nn.SGD(1e-3), seed=0).fit((x, t), 2, 1)
            results.append(host(net.parameters))
    assert strict.transfers.launches >= 2
    np.testing.assert_allclose(results[1], results[0], rtol=1e-12, atol=1e-13)


@stand_in
def test_a_callback_may_use_the_network_between_recorded_epochs(monkeypatch):
    monkeypatch.setattr(numnet.samples, "_BLOCK_BATCHES", {"cpu": 3, "gpu": 3})

    def use(trainer):
        trainer.step(DIGITS[0].images[:500], DIGITS[0].labels[:500])
        trainer.net(DIGITS[1].images)

    results = []
    for device in ("cpu", "gpu"):
        trainer = trainer_of(64, 10, dtype="float64", device=device)
        trainer.fit(DIGITS[0], 4, 64, callbacks=[use])
        results.append(host(trainer.net.parameters))
    np.testing.assert_allclose(*results, rtol=1e-12)


class Counting(nn.Sigmoid):
    """A layer that a recording would freeze."""

    recordable = False
    calls = 0

    def forward(self, x, out=None):
        self.calls += out is not None
        return np.multiply(super().forward(x, out), 1 / (1 + self.calls % 3), out=out)


class OwnScale(nn.Layer):
    """A layer that says nothing of recording."""

    factor = 1.0

    def forward(self, x, out=None):
        return np.multiply(x, self.factor, out=out)

    def backward(self, grad, out=None):
        return np.multiply(grad, self.factor, out=out)


def change_momentum(trainer):
    trainer.optimizer.momentum = 0.9 - trainer.optimizer.momentum


def start_anew(trainer):
    trainer.optimizer.start(trainer.net)


def another_optimizer(trainer):
    trainer.optimizer = nn.SGD(0.3, momentum=0.2)
    trainer.optimizer.start(trainer.net)


def change_a_layer(trainer):
    for layer in trainer.net.layers:
        if isinstance(layer, OwnScale):
            layer.factor *= 0.5


def move_there_and_back(trainer):
    device = trainer.net.device
    trainer.net.to("cpu").to("gpu").to(device).to(device)
    trainer.step(DIGITS[0].images[:300], DIGITS[0].labels[:300])


def move_to_the_other(trainer):
    trainer.net.to("gpu" if trainer.net.device == "cpu" else "cpu")


CALLBACKS = [change_momentum, start_anew, another_optimizer, change_a_layer, move_there_and_back, move_to_the_other]


@pytest.mark.parametrize("callback", CALLBACKS)
@pytest.mark.parametrize("hidden", [nn.Sigmoid, Counting, OwnScale])
@pytest.mark.parametrize("device", DEVICES)
def test_what_a_callback_changes_is_changed(callback, hidden, device, monkeypatch):
    monkeypatch.setattr(numnet.samples, "_BLOCK_BATCHES", {"cpu": 3, "gpu": 3})
    results = []
    for where, callbacks in (("cpu", [callback]), (device, [callback])):
        trainer = trainer_of(64, 6, 10, device=where, dtype="float64", hidden=hidden, lr=0.1)
        trainer.fit((DIGITS[0].images[:400], DIGITS[0].labels[:400]), 4, 16, DIGITS[1], callbacks=callbacks)
        results.append(host(trainer.net.parameters))
    np.testing.assert_allclose(*results, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("device", DEVICES)
def test_a_network_of_one_layer_trains(device):
    trainer = nn.Trainer(nn.Sequential(nn.Softmax(), dtype="float64", device=device), nn.CrossEntropy(), nn.SGD(0.1))
    x, t = RNG.normal(size=(30, 3)), RNG.integers(3, size=30)
    expected = nn.CrossEntropy()(trainer.net(x), t)
    assert trainer.fit((x, t), 3, 4).train_cost == pytest.approx([expected] * 3)


@stand_in
def test_without_cublas_training_goes_on_unrecorded(monkeypatch, transfers):
    def missing(gpu, stream):
        raise OSError("libcublas.so.13: cannot open shared object file")

    monkeypatch.setattr(backend, "_Blas", missing)
    monkeypatch.setattr(backend, "_thread", threading.local())
    results = []
    for device in ("cpu", "gpu"):
        trainer = trainer_of(64, 10, dtype="float64", device=device)
        with contextlib.nullcontext() if device == "cpu" else pytest.warns(RuntimeWarning, match=r"libcublas\.so\.13"):
            trainer.fit(DIGITS[0], 3, 64)
        results.append(host(trainer.net.parameters))
    np.testing.assert_allclose(*results, rtol=1e-12)
    assert transfers.launches == 0


def test_memory_that_the_host_has_not_is_no_affair_of_the_gpu():
    with pytest.raises(MemoryError, match="the host's"), backend.advice():
        raise MemoryError("the host's")


# Kernels


@with_compiler
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", [(64, 10), (64, 12, 10), (64, 1)])
@pytest.mark.parametrize(
    ("hidden", "last", "cost"),
    [
        (nn.Sigmoid, nn.Softmax, nn.CrossEntropy),
        (nn.Tanh, nn.Sigmoid, nn.CrossEntropy),
        (nn.ReLU, nn.Sigmoid, nn.Quadratic),
        (nn.Sigmoid, nn.Softmax, nn.Quadratic),
    ],
)
def test_kernels_compute_what_the_functions_beside_them_do(dtype, sizes, hidden, last, cost, monkeypatch):
    results = []
    train = DIGITS[0]
    data = (train.images[:300], train.labels[:300] if sizes[-1] > 1 else np.ones((300, 1)))
    used, original = [], backend._kernel
    monkeypatch.setattr(backend, "_kernel", lambda name: used.append(name) or original(name))
    for kernels in (False, True):
        if kernels:
            monkeypatch.setattr(strict, "ElementwiseKernel", compiled.ElementwiseKernel, raising=False)
        trainer = trainer_of(*sizes, dtype=dtype, hidden=hidden, last=last, cost=cost)
        trainer.fit(data, 2, 64)
        results.append(host(trainer.net.parameters))
        assert bool(used) == kernels
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(*results, rtol=tolerance, atol=tolerance)


@with_compiler
@pytest.mark.parametrize("name", backend.KERNELS)
def test_every_kernel_has_a_reference(name, monkeypatch):
    monkeypatch.setattr(strict, "ElementwiseKernel", compiled.ElementwiseKernel, raising=False)
    for dtype in (np.float32, np.float64):
        for n, k in ((1, 1), (5, 3), (64, 10), (200, 64)):
            z, t, w = (place((RNG.normal(size=(n, k)) * 30).astype(dtype), "gpu") for _ in range(3))
            out, other = (place(np.full((n, k), np.nan, dtype), "gpu") for _ in range(2))
            if name == "gather":
                source = RNG.integers(0, 256, (50, k)).astype(np.uint8)
                rows = RNG.integers(0, 50, n)
                backend.gather(place(source, "gpu"), place(rows, "gpu"), 1 / 255, out)
                expected = source[rows] * dtype(1 / 255)
            elif name == "softmax_error":
                assert backend.softmax_error(z, t, out, other)
                y = nn.Softmax().forward(z)
                np.testing.assert_allclose(host(other), (host(y) - host(t)) / n, rtol=1e-5, atol=1e-6)
                expected = host(y)
            else:
                functions = {**vars(nn.layers), **vars(nn.costs), **vars(nn.optimizers)}
                function = functions["_" + name]
                arguments = {
                    "sigmoid": (z,),
                    "scaled_difference": (z, t, 0.25),
                    "descend": (z, t, place(np.array([0.25], dtype), "gpu"), w),
                }.get(name, (place(np.abs(host(z)), "gpu"), t))
                function(*arguments, out=out)
                plain = function.__wrapped__(
                    *(host(a) if isinstance(a, strict.ndarray) else a for a in arguments), out=np.empty((n, k), dtype)
                )
                expected = plain
            np.testing.assert_allclose(host(out), expected, rtol=1e-5 if dtype == np.float32 else 1e-12, atol=1e-30)


def test_too_many_columns_for_one_thread_take_the_other_road(transfers):
    z, t = (place(np.ones((2, 65)), "gpu") for _ in range(2))
    assert not backend.softmax_error(z, t, place(np.ones((2, 65)), "gpu"), place(np.ones((2, 65)), "gpu"))


# Products


def fortran(name):
    """Return BLAS's product by SciPy: another implementation behind the arguments of cuBLAS."""
    capsule = scipy.linalg.cython_blas.__pyx_capi__[name]
    ctypes.pythonapi.PyCapsule_GetName.restype = ctypes.c_char_p
    ctypes.pythonapi.PyCapsule_GetName.argtypes = [ctypes.py_object]
    ctypes.pythonapi.PyCapsule_GetPointer.restype = ctypes.c_void_p
    ctypes.pythonapi.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    address = ctypes.pythonapi.PyCapsule_GetPointer(capsule, ctypes.pythonapi.PyCapsule_GetName(capsule))
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 13)(address)


@given(m=st.integers(1, 5), k=st.integers(1, 5), n=st.integers(1, 5), turned=st.tuples(st.booleans(), st.booleans()))
def test_blas_is_told_the_right_product(m, k, n, turned):
    a, b = RNG.normal(size=(m, k)), RNG.normal(size=(k, n))
    a, b = (np.asfortranarray(array) if turn else array for array, turn in zip((a, b), turned, strict=True))
    out = np.full((m, n), np.nan)
    kinds, sizes, a_lead, b_lead, out_lead = backend.gemm_arguments(a, b)
    letters = [ctypes.c_char(b"T" if kind else b"N") for kind in kinds]
    whole = [ctypes.c_int(number) for number in (*sizes, b_lead, a_lead, out_lead)]
    one, zero = ctypes.c_double(1), ctypes.c_double(0)
    data = [ctypes.c_void_p(array.ctypes.data) for array in (b, a, out)]
    arguments = [*letters, *whole[:3], one, data[0], whole[3], data[1], whole[4], zero, data[2], whole[5]]
    fortran("dgemm")(*(a if isinstance(a, ctypes.c_void_p) else ctypes.byref(a) for a in arguments))
    np.testing.assert_allclose(out, a @ b, rtol=1e-13, atol=1e-13)


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


@with_compiler
def test_cublas_is_called_as_its_manual_says(tmp_path):
    """With a library of the same functions and the same name, as the manual declares them, loaded already."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    (tmp_path / "cublas.c").write_text(textwrap.dedent(CUBLAS).replace("\\\\", "\\"))
    library = tmp_path / "found-by-its-soname.so"
    options = ["-shared", "-fPIC", "-Wl,-soname,libcublas.so.99", "-o", str(library)]
    subprocess.run([compiler, *options, tmp_path / "cublas.c"], check=True)
    loaded = ctypes.CDLL(str(library))

    class Addressed(strict.ndarray):
        data = property(lambda self: types.SimpleNamespace(ptr=self._array.ctypes.data))

    runtime = types.SimpleNamespace(runtimeGetVersion=lambda: 99020)
    gpu = types.SimpleNamespace(
        cuda=types.SimpleNamespace(runtime=runtime), empty=lambda *arguments: Addressed(np.empty(*arguments))
    )
    blas = RealBlas(gpu, types.SimpleNamespace(ptr=42))
    for dtype in ("float32", "float64"):
        for m, k, n in ((1, 1, 1), (3, 4, 5), (64, 784, 10), (7, 1, 2), (2, 5, 1)):
            a, b = RNG.normal(size=(m, k)).astype(dtype), RNG.normal(size=(k, n)).astype(dtype)
            for left in (a, np.asfortranarray(a)):
                for right in (b, np.asfortranarray(b)):
                    out = Addressed(np.full((m, n), np.nan, dtype))
                    assert blas.takes(Addressed(left), Addressed(right), out)
                    assert blas.matmul(Addressed(left), Addressed(right), out) is out
                    np.testing.assert_allclose(
                        out._array, a @ b, rtol=1e-12, atol=1e-3 if dtype == "float32" else 1e-12
                    )
    assert ctypes.c_int.in_dll(loaded, "calls").value == 2 * 5 * 4
    assert not blas.takes(Addressed(a[:, ::2]), Addressed(b), out)
    assert not blas.takes(Addressed(a.astype("f4")), Addressed(b), out)
    a, b = np.empty((3, 2)), np.empty((2, 4))
    assert blas.takes(Addressed(a), Addressed(b), Addressed(np.empty((3, 4))))
    assert not blas.takes(Addressed(a), Addressed(b), Addressed(np.empty((4, 3)).T))


@pytest.mark.parametrize("device", DEVICES)
def test_matmul_is_numpys_wherever_the_operands_are(device):
    a, b = RNG.normal(size=(3, 4)), RNG.normal(size=(4, 2))
    result = nn.backend.matmul(place(a, device), place(b, device))
    assert backend.device_of(result) == device
    np.testing.assert_allclose(host(result), a @ b, rtol=1e-14)
    out = place(np.empty((3, 2)), device)
    assert nn.backend.matmul(place(a, device), place(b, device), out=out) is out
    np.testing.assert_allclose(host(out), a @ b, rtol=1e-14)


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
        out = np.empty((10, 10))
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
        with pytest.raises(nn.DeviceError, match=f"{name} are on the GPU, but the network is on the CPU: move it"):
            use()
    np.testing.assert_array_equal(net.parameters, before)


@stand_in
def test_a_device_without_memory_left_says_what_to_do(transfers):
    net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0)
    transfers.limit = 2000
    with pytest.raises(nn.DeviceError, match=r"too little memory: Out of memory allocating 2,600 bytes\. Free some"):
        net.to("gpu")
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
        np.testing.assert_array_equal(nn.backend.matmul(a, a, out=np.empty_like(a)), a @ a)
    finally:
        nn.backend.offload(None)


# Without a GPU


@pytest.mark.parametrize("device", ["cuda", "GPU", None, 0])
def test_a_device_that_is_none(device):
    with pytest.raises(ValueError, match=f"device must be one of cpu, gpu, auto, got {device!r}"):
        nn.Sequential(nn.Linear(1, 1), device=device)


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
        print(error)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        nets = [nn.Sequential(nn.Linear(2, 2), seed=0, device="auto") for _ in range(3)]
    print(len(told), [net.device for net in nets], told[0].message)
"""


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


@pytest.mark.parametrize("name", strict.FUNCTIONS)
def test_the_stand_in_knows_no_more_than_cupy(name):
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed: pip install cupy-cuda13x")
    assert hasattr(cupy, name)


def test_no_other_file_names_cupy():
    files = Path(nn.__file__).parent.rglob("*.py")
    assert [file.name for file in files if "cupy" in file.read_text(encoding="utf-8").lower()] == ["backend.py"]
