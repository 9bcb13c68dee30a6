"""Whatever is an array goes in wherever an array does, with the same bits. What cannot go in is refused by name."""

import functools
import inspect
import io
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import numnet as nn
from numnet import backend, checks, gpu, plotting
from numnet.datasets import Dataset

from .devices import DEVICES, host, place, where_rounding_differs

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 16)).astype(np.float32)
PIXELS = RNG.integers(256, size=(12, 4, 4), dtype=np.uint8)
LABELS = np.arange(12) % 3
ROWS = (LABELS[:, None] == np.arange(3)).astype(np.float32)
WEIGHT, BIAS = RNG.normal(size=(16, 3)).astype(np.float32), RNG.normal(size=3).astype(np.float32)
VECTOR = np.hstack([WEIGHT.ravel(), BIAS])
WEIGHTS = np.arange(12, dtype=np.float32) / 4
Y = np.full((12, 3), 1 / 3, np.float32)
DATA = Dataset(X, LABELS)
HISTORY = nn.History([nn.Epoch(1, 0.5, 0.5, 0.5, 0.1, 0.5)])


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch):
    monkeypatch.setattr(plotting, "_GRID", 3)
    yield
    plt.close("all")


# Arrays of other libraries, by what they show of themselves


class Wrapped:
    def __init__(self, array):
        self._array = array


class OnlyArray(Wrapped):
    def __array__(self, dtype=None, copy=None):
        return self._array


class OnlyInterface(Wrapped):
    @property
    def __array_interface__(self):
        return self._array.__array_interface__


class OnlyDLPack(Wrapped):
    def __dlpack__(self, **options):
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


class Subclass(np.ndarray):
    """An array of NumPy's of a class of one's own."""


def tensor(array):
    return pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch").from_numpy(array)


def table(array):
    pandas = pytest.importorskip("pandas")
    if array.ndim > 2:
        pytest.skip("a table has two dimensions")
    return pandas.DataFrame(array) if array.ndim == 2 else pandas.Series(array)


VIEWS = {  # of the same memory
    "a tensor of PyTorch": tensor,
    "only __array__": OnlyArray,
    "only __array_interface__": OnlyInterface,
    "only __dlpack__": OnlyDLPack,
    "only a buffer": memoryview,
    "a masked array without a mask": np.ma.array,
    "a masked array with nothing masked": lambda array: np.ma.array(array, mask=np.zeros(array.shape, bool)),
    "a subclass": lambda array: array.view(Subclass),
}
KINDS = {
    **VIEWS,
    "a table of pandas": table,
    "a list": np.ndarray.tolist,
    "a list of arrays": list,
    "a list of rows with nothing masked": lambda array: [*map(np.ma.array, array)],
}


# The places where arrays go in: of each, a function that puts an array there, and such an array


def net(device="cpu"):
    return nn.Sequential(nn.Linear(16, 3), nn.Softmax(), seed=0, device=device)


def trained(method, *arguments, device="cpu", **options):
    trainer = nn.Trainer(net(device), nn.CrossEntropy(), nn.SGD(0.5), seed=0)
    result = getattr(trainer, method)(*arguments, **options)
    recorded = [(epoch.train_cost, epoch.test_cost) for epoch in result] if method == "fit" else result
    return host(trainer.net.parameters), recorded


def differentiated(*arguments):
    return nn.cost_and_gradient(net(), nn.CrossEntropy(), *arguments)


def assigned(owner, name, values):
    setattr(owner, name, values)
    return host(getattr(owner, name)).copy()


def started(weight):
    return nn.Sequential(nn.Linear(16, 3, start=lambda rng, shape: weight), seed=0).parameters


def contents(data):
    return data.images, data.labels, data.classes


def written(array):
    file = io.BytesIO()
    nn.datasets.write_idx(file, array)
    return file.getvalue()


def copied(values):
    array = np.zeros((16, 3), np.float32)
    backend.assign(array, values)
    return array


def shown(picture):
    axes = [picture] if isinstance(picture, plt.Axes) else picture.axes
    drawn = [part.get_array() for ax in axes for part in (*ax.images, *ax.collections)]
    return [np.ma.filled(array, 0) for array in drawn], [text.get_text() for ax in axes for text in ax.texts]


PLACES = {
    "Sequential.__call__(x)": (lambda x: net()(x), X),
    "Sequential.__call__(x), bytes": (lambda x: net()(x), PIXELS),
    "Sequential.predict(images)": (lambda x: net().predict(x), X),
    "Sequential.accuracy(images)": (lambda x: net().accuracy(x, LABELS), X),
    "Sequential.accuracy(targets)": (lambda t: net().accuracy(X, t), LABELS),
    "Sequential.accuracy(targets), rows": (lambda t: net().accuracy(X, t), ROWS),
    "Sequential.parameters": (lambda values: assigned(net(), "parameters", values), VECTOR),
    "Sequential.gradients": (lambda values: assigned(net(), "gradients", values), VECTOR),
    "Linear.weight": (lambda values: assigned(net().layers[0], "weight", values), WEIGHT),
    "Linear.bias": (lambda values: assigned(net().layers[0], "bias", values), BIAS),
    "Linear(start)": (started, WEIGHT),
    "Cost.__call__(y)": (lambda y: nn.Quadratic()(y, LABELS), Y),
    "Cost.__call__(t)": (lambda t: nn.Quadratic()(Y, t), ROWS),
    "CrossEntropy.__call__(y)": (lambda y: nn.CrossEntropy()(y, ROWS), Y),
    "CrossEntropy.__call__(t)": (lambda t: nn.CrossEntropy()(Y, t), LABELS),
    "Trainer.step(x)": (lambda x: trained("step", x, LABELS), X),
    "Trainer.step(t)": (lambda t: trained("step", X, t), LABELS),
    "Trainer.fit(train), inputs": (lambda x: trained("fit", (x, LABELS), 2, 4), X),
    "Trainer.fit(train), bytes": (lambda x: trained("fit", (x, LABELS), 2, 4), PIXELS),
    "Trainer.fit(train), labels": (lambda t: trained("fit", (X, t), 2, 4), LABELS),
    "Trainer.fit(train), rows": (lambda t: trained("fit", (X, t), 2, 4), ROWS),
    "Trainer.fit(test), inputs": (lambda x: trained("fit", DATA, 2, 4, test=(x, LABELS)), X),
    "Trainer.fit(test), labels": (lambda t: trained("fit", DATA, 2, 4, test=(X, t)), LABELS),
    "Trainer.evaluate(data), inputs": (lambda x: trained("evaluate", (x, LABELS)), X),
    "Trainer.evaluate(data), labels": (lambda t: trained("evaluate", (X, t)), LABELS),
    "Trainer.step(sample_weight)": (lambda w: trained("step", X, LABELS, sample_weight=w), WEIGHTS),
    "Trainer.fit(sample_weight)": (lambda w: trained("fit", (X, LABELS), 1, 4, sample_weight=w), WEIGHTS),
    "gradcheck(sample_weight)": (
        lambda w: nn.gradcheck(net(), nn.CrossEntropy(), X, LABELS, samples=2, sample_weight=w),
        WEIGHTS,
    ),
    "gradcheck(x)": (lambda x: nn.gradcheck(net(), nn.CrossEntropy(), x, LABELS, samples=2), X),
    "gradcheck(t)": (lambda t: nn.gradcheck(net(), nn.CrossEntropy(), X, t, samples=2), ROWS),
    "cost_and_gradient(x)": (lambda x: differentiated(x, LABELS), X),
    "cost_and_gradient(t)": (lambda t: differentiated(X, t), ROWS),
    "cost_and_gradient(parameters)": (lambda values: differentiated(X, LABELS, values), VECTOR),
    "Dataset(images)": (lambda images: contents(Dataset(images, LABELS)), PIXELS),
    "Dataset(labels)": (lambda labels: contents(Dataset(PIXELS, labels)), LABELS),
    "Dataset.__getitem__(index)": (lambda index: contents(DATA[index]), np.array([3, 1, 4])),
    "Dataset.__getitem__(index), mask": (lambda index: contents(DATA[index]), LABELS == 1),
    "Dataset.from_arrays(x)": (lambda x: contents(Dataset.from_arrays(x, LABELS)), X),
    "Dataset.from_arrays(t)": (lambda t: contents(Dataset.from_arrays(X, t)), LABELS),
    "Dataset.from_arrays(t), rows": (lambda t: contents(Dataset.from_arrays(X, t))[:2], ROWS),
    "as_mnist(image)": (nn.datasets.as_mnist, PIXELS[0]),
    "write_idx(array)": (written, PIXELS),
    "sample_images(data), images": (lambda x: shown(plotting.sample_images((x, LABELS))), PIXELS),
    "sample_images(data), targets": (lambda t: shown(plotting.sample_images((PIXELS, t))), ROWS),
    "confusion_matrix(data), images": (lambda x: shown(plotting.confusion_matrix(net(), (x, LABELS))), X),
    "confusion_matrix(data), targets": (lambda t: shown(plotting.confusion_matrix(net(), (X, t))), LABELS),
    "mistakes(data), images": (lambda x: shown(plotting.mistakes(net(), (x, LABELS))), PIXELS),
    "mistakes(data), targets": (lambda t: shown(plotting.mistakes(net(), (PIXELS, t))), LABELS),
    "report(test), images": (lambda x: shown(plotting.report(net(), HISTORY, (x, LABELS))), PIXELS),
    "report(test), targets": (lambda t: shown(plotting.report(net(), HISTORY, (PIXELS, t))), LABELS),
    "cost_surface(x)": (lambda x: shown(plotting.cost_surface(net(), x, LABELS, width=1.0)), X),
    "cost_surface(t)": (lambda t: shown(plotting.cost_surface(net(), X, t, width=1.0)), ROWS),
    "saturated(x)": (lambda x: plotting.saturated(net(), x), X),
    "to(array)": (lambda array: backend.to(array, "cpu"), X),
    "asarray(values)": (lambda values: backend.asarray("values", values), X),
    "assign(values)": (copied, WEIGHT),
    "matmul(a)": (lambda a: backend.matmul(a, WEIGHT), X),
    "matmul(b)": (lambda b: backend.matmul(X, b), WEIGHT),
}
MAY_BE_NONE = (  # as an index of NumPy's may, and as by default
    "Dataset.__getitem__(index)",
    "Dataset.__getitem__(index), mask",
    "cost_and_gradient(parameters)",
    "Trainer.step(sample_weight)",
    "Trainer.fit(sample_weight)",
    "gradcheck(sample_weight)",
)
NO_LISTS = ("Dataset(images)", "Dataset(labels)")
FLOATS = [name for name, (_, array) in PLACES.items() if array.dtype.kind == "f"]
# These get arrays that a network has made, and look at no number.
UNCHECKED = (
    r"\.(forward|backward|backward_parameters|values?|gradient|check|update|infer|scaled|backpropagate)\(|\(out\)$"
)


def public():
    """Yield the names of the public functions, methods and properties, and the functions."""
    found = [getattr(nn, name) for name in nn.__all__]
    found += [getattr(module, name) for module in (nn.datasets, plotting, nn.starts) for name in module.__all__]
    found += [value for name, value in vars(backend).items() if inspect.isfunction(value) and not name.startswith("_")]
    for value in found:
        if inspect.isclass(value) and value.__module__.startswith("numnet"):
            for name, member in inspect.getmembers(value):
                function = getattr(member, "__func__", member)
                if inspect.isfunction(function) and (name in ("__init__", "__call__") or not name.startswith("_")):
                    yield function.__qualname__.removesuffix(".__init__"), function
                if isinstance(member, property) and member.fset:
                    yield f"{value.__name__}.{name}", member
        elif inspect.isfunction(value) and value.__module__.startswith("numnet"):
            yield value.__name__, value


def test_every_place_for_an_array_is_among_these():
    needed = set()
    for name, member in public():
        if isinstance(member, property):
            needed.add(name)
            continue
        for parameter in inspect.signature(member).parameters.values():
            if re.search(r"ArrayLike|NDArray|\bArray\b|\bData\b|SupportsArray", str(parameter.annotation)):
                needed.add(f"{name}({parameter.name})")
    needed = {name for name in needed if not re.search(UNCHECKED, name)}
    assert len(needed) > 30
    assert needed <= {name.partition(",")[0] for name in PLACES}


def same(a, b):
    """Compare two results to the bit."""
    if isinstance(b, (tuple, list)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(b, np.ndarray):
        return (type(a), a.dtype, a.shape, a.tobytes()) == (np.ndarray, b.dtype, b.shape, b.tobytes())
    return type(a) is type(b) and (a == b or a != a)


@functools.cache
def expected(name, listed):
    """Return what a place makes of NumPy's array: for a list, of the array that NumPy makes of the list."""
    use, array = PLACES[name]
    return use(np.array(array.tolist()) if listed else array)


def often(name, kind):
    """Return the parameters of a test, which is slow if it draws what takes long."""
    long = name.startswith(("report", "cost_surface")) and kind not in ("a tensor of PyTorch", "only __dlpack__")
    return pytest.param(name, kind, marks=[pytest.mark.slow] if long else [])


@pytest.mark.parametrize(("name", "kind"), [often(name, kind) for name in PLACES for kind in KINDS])
def test_the_bits_are_those_of_numpys_array(name, kind):
    use, array = PLACES[name]
    before = array.copy()
    values = KINDS[kind](array)
    if isinstance(values, list) and name in NO_LISTS:
        with pytest.raises(ValueError, match=r"must be an array, not list; convert it with np\.asarray, or"):
            use(values)
        return
    if kind == "a list" and array is PIXELS:
        pytest.skip("the numbers of a list are no bytes")
    assert same(use(values), expected(name, listed=kind == "a list"))
    np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize("kind", VIEWS)
@given(
    array=hnp.arrays(st.sampled_from("bBhiqfd"), hnp.array_shapes(min_dims=1, max_dims=4, max_side=4)), data=st.data()
)
def test_nothing_is_copied(kind, array, data):
    if kind not in ("a tensor of PyTorch", "only a buffer"):  # PyTorch knows no steps below 0
        array = array[data.draw(hnp.basic_indices(array.shape, min_dims=1))]
    elif data.draw(st.booleans()):
        array = np.asfortranarray(array)
    found = checks.array("values", VIEWS[kind](array))
    assert same(found, array)
    assert np.shares_memory(found, array) or not array.size


@pytest.mark.parametrize("kind", VIEWS)
def test_a_data_set_holds_the_same_memory(kind):
    data = Dataset(VIEWS[kind](PIXELS), VIEWS[kind](LABELS))
    made = Dataset.from_arrays(VIEWS[kind](X), VIEWS[kind](LABELS))
    for held, array in (data.images, PIXELS), (data.labels, LABELS), (made.images, X), (made.labels, LABELS):
        assert type(held) is np.ndarray
        assert np.shares_memory(held, array)


@pytest.mark.parametrize("kind", VIEWS)
def test_what_is_trained_on_is_not_copied(kind):
    pair = nn.CrossEntropy().pair(net().layers)
    samples = nn.data.Samples(net(), pair, (VIEWS[kind](X), VIEWS[kind](ROWS)), "")
    assert np.shares_memory(samples.x, X)
    assert np.shares_memory(samples.targets, ROWS)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_network_takes_them_wherever_it_is(kind, device):
    made = net(device)
    x, t, weight = KINDS[kind](X), KINDS[kind](LABELS), KINDS[kind](WEIGHT)
    rounding = where_rounding_differs(device, 1e-6)  # a table is by columns
    np.testing.assert_allclose(host(made(x)), host(net(device)(X if kind != "a list" else np.array(x))), rounding)
    assert made.accuracy(x, t) == made.accuracy(X, LABELS)
    assert same(assigned(made.layers[0], "weight", weight), WEIGHT)
    assert same(trained("fit", (x, t), 2, 4, device=device)[0], trained("fit", (X, LABELS), 2, 4, device=device)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_of_a_data_set_is_a_batch(kind):
    """What a loop over a loader of PyTorch gives."""
    made = nn.Trainer(net(), nn.CrossEntropy(), nn.SGD(0.5), seed=0)
    other = nn.Trainer(net(), nn.CrossEntropy(), nn.SGD(0.5), seed=0)
    for batch in (slice(0, 5), slice(5, 12)):
        cost = made.step(KINDS[kind](X[batch]), KINDS[kind](LABELS[batch]))
        assert cost == other.step(X[batch], LABELS[batch])
    assert same(made.net.parameters, other.net.parameters)


# Masked entries


def masked(array):
    mask = np.zeros(array.shape, bool)
    mask.flat[1] = True
    return np.ma.array(array, mask=mask)


MASKED = {"an array": masked, "a list": lambda array: list(masked(array))}
ignore_nan = pytest.mark.filterwarnings("ignore:Warning. converting a masked element to nan")  # of np.ma.array(list)


@ignore_nan
@pytest.mark.parametrize("kind", MASKED)
@pytest.mark.parametrize("name", PLACES)
def test_masked_entries_are_refused_and_may_be_filled_in(name, kind):
    use, array = PLACES[name]
    values = MASKED[kind](array)
    if isinstance(values, list) and name.startswith("Dataset") and "from_arrays" not in name:
        pytest.skip("a list is refused there, or read as by NumPy's arrays")
    with pytest.raises(
        ValueError, match=r"must have no masked entries, .*: fill them in, .*\.filled\(value\)"
    ) as error:
        use(values)
    called, code = re.search(r"(\w+) must have .* fill them in, (.*?\(value\))", str(error.value)).groups()
    filled = eval(code, {called: values, "np": np, "value": array.flat[1]})
    assert same(use(filled.astype(array.dtype)), expected(name, listed=False))
    assert not name.startswith("matmul") or called == name[-2]
    by_sample = called in ("inputs", "targets", "images", "labels", "x", "y", "t")
    assert ("leave out their samples" in str(error.value)) == by_sample


@ignore_nan
@pytest.mark.parametrize("kind", MASKED)
@pytest.mark.parametrize("array", [X, PIXELS, LABELS, ROWS])
def test_samples_with_masked_entries_may_be_left_out(array, kind):
    inputs, targets = (array, LABELS) if len(array[0].shape) and array is not ROWS else (X, array)
    values = MASKED[kind](array)
    data = (values, targets) if array is inputs else (inputs, values)
    trainer = nn.Trainer(net(), nn.CrossEntropy(), nn.SGD(0.5), seed=0)
    before = trainer.net.parameters.copy()
    with pytest.raises(ValueError, match=r"^train: .* by the index ~np") as error:
        trainer.fit(data, 1, 4)
    np.testing.assert_array_equal(trainer.net.parameters, before)
    named = re.search(r"(inputs|targets) must", str(error.value)).group(1)
    index = eval(str(error.value).partition(" by the index ")[2], {named: values, "np": np})
    wrong = np.flatnonzero(np.ma.getmaskarray(masked(array)).reshape(12, -1).any(axis=1))
    assert np.flatnonzero(~index).tolist() == wrong.tolist()
    x, t = (np.ma.array(part)[index].astype(part[0].dtype) for part in data)
    trainer.fit((x, t), 1, 4)
    assert len(trainer.history) == 1


def test_masked_records_are_no_numbers():
    records = np.ma.array([(1, 2.0)] * 3, dtype=[("a", int), ("b", float)], mask=[(0, 1)] * 3)
    with pytest.raises(ValueError, match="inputs must be real numbers, got dtype"):
        net()(records)


def test_a_mask_anywhere_in_a_list_is_found():
    row = [1.0, np.ma.masked, *[0.0] * 14]
    for x in ([row] * 12, [[np.ma.array(X[0]), masked(X[1])]], (row,)):
        with pytest.raises(ValueError, match="inputs must have no masked entries"):
            net()(x)


# What an array on a GPU, or one that NumPy cannot read, is told


class Tensor(Wrapped):
    """What PyTorch's tensors show of themselves, wherever they are."""

    requires_grad, layout = False, "torch.strided"

    def __init__(self, array, kind="cpu", dtype=None, **attributes):
        super().__init__(array)
        self.device, self.dtype = type("device", (), {"type": kind}), dtype or f"torch.{array.dtype}"
        vars(self).update(attributes)

    @property
    def __cuda_array_interface__(self):
        if self.device.type != "cuda" or "sparse" in self.layout:
            raise AttributeError("Can't get __cuda_array_interface__ on non-CUDA tensor type")
        if self.requires_grad:
            raise RuntimeError("Can't get __cuda_array_interface__ on Variable that requires grad.")
        return {"version": 2}

    def __array__(self, dtype=None):
        if self.requires_grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        if "sparse" in self.layout:
            raise TypeError("can't convert Sparse layout tensor to numpy. Use Tensor.to_dense() first.")
        if self.device.type != "cpu":
            raise TypeError(f"can't convert {self.device.type} device type tensor to numpy.")
        if self.dtype == "torch.bfloat16":
            raise TypeError("Got unsupported ScalarType BFloat16")
        return self._array

    def but(self, **attributes):
        return Tensor(self._array, **{**self.attributes(), **attributes})

    def attributes(self):
        return {
            "kind": self.device.type,
            "dtype": self.dtype,
            "requires_grad": self.requires_grad,
            "layout": self.layout,
        }

    def cpu(self):
        return self.but(kind="cpu")

    def detach(self):
        return self.but(requires_grad=False)

    def to_dense(self):
        return self.but(layout="torch.strided")

    def float(self):
        return self.but(dtype="torch.float32")

    def get(self):
        raise AssertionError("PyTorch's tensors have no get")


TROUBLES = {
    "that requires a gradient": ({"requires_grad": True}, ".detach()"),
    "that is sparse": ({"layout": "torch.sparse_csr"}, ".to_dense()"),
    "of bfloat16": ({"dtype": "torch.bfloat16"}, ".float()"),
    "on another device": ({"kind": "mps"}, ".cpu()"),
    "with several troubles": (
        {"requires_grad": True, "layout": "torch.sparse_coo", "dtype": "torch.bfloat16", "kind": "xpu"},
        ".detach().to_dense().float().cpu()",
    ),
}


def told(use, values, kind=ValueError):
    """Return what is said of an array, and of which argument it is said."""
    with pytest.raises(kind) as error:
        use(values)
    return str(error.value), re.search(r"(\w+) must be ", str(error.value)).group(1)


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("name", FLOATS)
def test_a_tensor_that_numpy_cannot_read_is_told_what_to_call(name, trouble):
    use, array = PLACES[name]
    attributes, remedy = TROUBLES[trouble]
    values = Tensor(array, **attributes)
    message, called = told(use, values)
    assert re.search(rf"{called} must be an array, but NumPy makes none of this tests\.Tensor \(", message)
    assert message.endswith(f"): give {called}{remedy}")
    assert same(use(eval(f"{called}{remedy}", {called: values})), expected(name, listed=False))


@pytest.mark.parametrize("name", PLACES)
def test_a_tensor_without_numbers_is_told_so(name):
    use, array = PLACES[name]
    message, _ = told(use, Tensor(array, kind="meta"))
    assert message.endswith("(on the device meta it has a shape, but no numbers: make it on the CPU)")


def on_gpu(array, **attributes):
    return Tensor(array, "cuda", **attributes)


@pytest.fixture
def no_cupy(monkeypatch):
    def tried():
        raise nn.DeviceError("a GPU needs CuPy")

    monkeypatch.setattr(gpu, "tried", tried)


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("name", PLACES)
def test_a_tensor_on_a_gpu_is_told_where_it_is(name, grad, no_cupy):
    use, array = PLACES[name]
    values = on_gpu(array, requires_grad=grad)
    message, called = told(use, values, nn.DeviceError)
    remedy = ".detach().cpu()" if grad else ".cpu()"
    assert f"{called} must be on the CPU, but this tests.Tensor is on a GPU: give {called}{remedy}" in message
    assert "CuPy" not in message
    assert same(use(eval(called + remedy, {called: values})), expected(name, listed=False))


def test_a_tensor_on_a_gpu_that_a_network_there_cannot_take_is_told_what_to_call():
    message, _ = told(net("gpu"), on_gpu(X, requires_grad=True))
    assert message.endswith("): give inputs.detach()")


def test_a_tensor_on_a_gpu_of_numbers_that_cupy_does_not_have_is_told_what_to_call(monkeypatch):
    values, made = on_gpu(X, dtype="torch.bfloat16"), net("gpu")  # CuPy makes void of it
    monkeypatch.setattr(gpu, "asarray", lambda values: np.zeros(X.shape, "V2"))
    message, _ = told(made, values)
    assert message.endswith("none of this tests.Tensor (CuPy has no torch.bfloat16): give inputs.float()")


def test_an_array_of_cupy_is_told_what_to_call():
    x = place(X, "gpu")
    message, _ = told(net(), x, nn.DeviceError)
    assert message.endswith("is on a GPU: give inputs.get(), or move the network to the GPU, net.to('gpu')")
    assert same(net()(x.get()), net()(X))
    np.testing.assert_allclose(host(net().to("gpu")(x)), net()(X), rtol=1e-5)


@pytest.mark.parametrize("name", PLACES)
def test_what_is_no_array_is_refused_by_name(name):
    use, _ = PLACES[name]
    for values in (None, {"a": 1}, {1, 2}, (i for i in range(3)), object()):
        if values is None and name in MAY_BE_NONE:
            continue
        message, called = told(use, values)
        assert message.endswith(
            f"{called} must be an array, but NumPy makes none of this {type(values).__name__} (it is no array)"
        )


def test_a_gpus_array_with_no_way_off_that_is_known():
    values = type("Foreign", (), {"__cuda_array_interface__": {}})()
    message, _ = told(net(), values, nn.DeviceError)
    assert "this tests.Foreign is on a GPU: give a copy of inputs on the CPU, or move" in message


def test_only_the_first_line_of_what_another_library_says_is_told():
    class Traced:
        def __array__(self, dtype=None, copy=None):
            raise TypeError("it is traced.\nHere is where:\n...")

    message, _ = told(net(), Traced())
    assert message == "inputs must be an array, but NumPy makes none of this tests.Traced (it is traced)"


def test_only_dlpack_from_a_device_that_numpy_cannot_read():
    class OnGPU(OnlyDLPack):
        def __dlpack_device__(self):
            return 2, 0

        def __dlpack__(self, **options):
            raise BufferError("cannot export to the CPU")

    message, _ = told(net(), OnGPU(X))
    assert message == "inputs must be an array, but NumPy makes none of this tests.OnGPU (cannot export to the CPU)"


@pytest.mark.parametrize("name", FLOATS)
def test_a_sparse_matrix_of_scipy_is_told_what_to_call(name):
    sparse = pytest.importorskip("scipy.sparse")
    use, array = PLACES[name]
    if array.ndim != 2:
        pytest.skip("a sparse matrix has two dimensions")
    values = sparse.csr_array(array)
    message, called = told(use, values)
    assert message.endswith(f"NumPy makes none of this scipy.csr_array (it is sparse): give {called}.toarray()")
    assert same(use(eval(f"{called}.toarray()", {called: values})), expected(name, listed=False))


def test_numbers_that_numpy_does_not_know_are_converted_by_hand():
    kind = pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed: pip install ml_dtypes").bfloat16
    x = X.astype(kind)
    with pytest.raises(
        ValueError, match=r"inputs must be real numbers, got dtype bfloat16: give np\.asarray\(x, float"
    ):
        net()(x)
    assert same(net()(np.asarray(x, float)), net()(x.astype(np.float32)))


def real_troubles(torch, array):
    values = torch.from_numpy(array.astype(np.float32))
    gradient = values.clone().requires_grad_()
    yield values.to(torch.bfloat16), ".float()"
    yield values.to(torch.float8_e4m3fn), ".float()"
    yield gradient, ".detach()"
    yield torch.nn.Parameter(values), ".detach()"
    yield gradient * 1, ".detach()"
    yield values.to_sparse(), ".to_dense()"
    yield gradient.to(torch.bfloat16).to_sparse(), ".detach().to_dense().float()"


@pytest.mark.parametrize("name", FLOATS)
def test_what_a_real_tensor_is_told(name):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    use, array = PLACES[name]
    for values, remedy in real_troubles(torch, array):
        message, called = told(use, values)
        kind = f"torch.{type(values).__name__}"
        assert f"{called} must be an array, but NumPy makes none of this {kind} (" in message
        assert message.endswith(f"): give {called}{remedy}")
        found = eval(called + remedy, {called: values})
        if "float" not in remedy:  # which has rounded
            assert same(use(found), expected(name, listed=False))
        else:
            checks.array(called, found)
    message, _ = told(use, torch.from_numpy(array).to("meta"))
    assert message.endswith("(on the device meta it has a shape, but no numbers: make it on the CPU)")


def test_a_loop_over_a_loader_of_pytorch():
    data = pytest.importorskip("torch.utils.data", reason="PyTorch is not installed: pip install torch")
    loader = data.DataLoader(data.TensorDataset(tensor(X), tensor(LABELS)), batch_size=5)
    trainer = nn.Trainer(net(), nn.CrossEntropy(), nn.SGD(0.5), seed=0)
    costs = [trainer.step(x, t) for x, t in loader]
    assert len(costs) == 3
    assert trainer.net(next(iter(loader))[0]).shape == (5, 3)


def test_a_table_with_a_column_of_true_and_false_is_one_of_numbers():
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(9, 16)), rng.integers(3, size=9)
    x[:, 3] = x[:, 3] > 0
    mixed = pandas.DataFrame(x).astype({3: bool})
    assert np.asarray(mixed).dtype == object
    for use in (
        lambda x: net()(x),
        lambda x: net().predict(x),
        lambda x: net().accuracy(x, t),
        lambda x: trained("fit", (x, t), 2, 4, test=(x, t)),
        lambda x: trained("step", x, t),
        lambda x: trained("evaluate", (x, t)),
        lambda x: differentiated(x, t),
        lambda x: nn.gradcheck(net(), nn.CrossEntropy(), x, t, samples=1).central.error,
        lambda x: nn.datasets.Dataset.from_arrays(x, t).images,
    ):
        assert same(use(mixed), use(x))
    said = {
        "yes": "numbers, but column 3 holds 'yes'",
        None: "real numbers, got dtype object",
        1j: "numbers, but column 3",
    }
    for wrong, message in said.items():
        values = np.asarray(mixed).copy()
        values[1, 3] = wrong
        with pytest.raises(ValueError, match=f"inputs must be {message}"):
            net()(pandas.DataFrame(values))
