import copy
import dataclasses
import functools
import pickle
import threading
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import numnet as nn
from numnet import backend, checks
from numnet.network import classes

from . import strict
from .devices import DEVICES, REAL_GPU, host, place
from .networks import backpropagated, cases

RNG = np.random.default_rng(0)


def small(seed=0, **options):
    return nn.Sequential(nn.Linear(4, 3), nn.Sigmoid(), nn.Linear(3, 2), nn.Softmax(), seed=seed, **options)


def parts(net):
    return [(layer, name) for layer in net.layers for name in layer.parameters]


def assert_tied(net):
    """Every layer's parameters and gradients are the two vectors, in layer order, weight before bias."""
    for vector, arrays in (
        (net.parameters, [layer.parameters[name] for layer, name in parts(net)]),
        (net.gradients, [layer.gradients[name] for layer, name in parts(net)]),
    ):
        np.testing.assert_array_equal(host(vector), np.concatenate([host(a).ravel() for a in arrays]))
        vector[...] = place(RNG.normal(size=vector.size), net.device)
        np.testing.assert_array_equal(host(vector), np.concatenate([host(a).ravel() for a in arrays]))


@pytest.mark.parametrize("device", DEVICES)
def test_layers_are_views_into_the_vectors(device):
    net = small(device=device)
    assert net.parameters.size == 4 * 3 + 3 + 3 * 2 + 2
    assert [name for _, name in parts(net)] == ["weight", "bias", "weight", "bias"]
    assert_tied(net)


@pytest.mark.parametrize("device", DEVICES)
def test_assigning_copies_and_keeps_the_link(device):
    net = small(device=device)
    net.layers[0].weight = np.ones((4, 3))
    net.layers[0].bias = 2
    np.testing.assert_array_equal(host(net.parameters[:15]), [1] * 12 + [2] * 3)
    net.parameters = np.zeros(23)
    assert not net.layers[2].weight.any()
    assert_tied(net)
    with pytest.raises(ValueError, match=r"^parameters must have shape \(23,\), got \(22,\)$"):
        net.parameters = np.zeros(22)
    with pytest.raises(ValueError, match=r"^bias must have shape \(3,\), got \(4,\)$"):
        net.layers[0].bias = np.zeros(4)
    for name in ("parameters", "gradients"):
        with pytest.raises(ValueError, match=f"^{name} must be an array, but NumPy makes none of this dict"):
            setattr(net, name, {})
    net.gradients = np.arange(23)
    np.testing.assert_array_equal(host(net.gradients), np.arange(23))
    assert_tied(net)


@pytest.mark.parametrize(
    "twin", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net)), lambda net: net.astype("float64")]
)
@pytest.mark.parametrize("device", DEVICES)
def test_copies_stand_alone(twin, device):
    net = small(device=device)
    other = twin(net)
    assert other.device == device
    assert other.trained is False
    np.testing.assert_array_equal(host(other.parameters), host(net.parameters))
    other.parameters = 7
    assert not (net.parameters == 7).any()
    assert_tied(other)
    assert_tied(net)


@pytest.mark.parametrize("device", DEVICES)
@given(case=cases())
def test_a_call_is_the_chain_of_forwards_in_any_dtype(case, device):
    case.net.to(device)
    y = place(case.x, device)
    for layer in case.net.layers:
        y = layer.forward(y)
    y = host(y)
    np.testing.assert_array_equal(case.net(case.x), y)
    np.testing.assert_allclose(case.net.astype("complex128")(case.x), y, rtol=1e-9, atol=1e-12)
    outputs = case.net.astype("float32")(case.x)
    assert outputs.dtype == np.float32


@pytest.mark.parametrize("device", DEVICES)
def test_the_same_seed_gives_the_same_bits(device):
    np.testing.assert_array_equal(host(small(seed=3, device=device).parameters), small(seed=3).parameters)
    for seeds in ((3, 4), (None, None)):
        one, other = (host(small(seed=seed, device=device).parameters) for seed in seeds)
        assert (one != other).all()


@pytest.mark.parametrize("device", DEVICES)
def test_the_same_seed_gives_the_same_start_in_both_precisions(device):
    double, single = (host(small(dtype=dtype, device=device).parameters) for dtype in ("float64", "float32"))
    np.testing.assert_array_equal(double.astype("float32"), single)


@pytest.mark.parametrize("device", DEVICES)
def test_bytes_are_images_and_are_scaled(device):
    net = nn.Sequential(nn.Linear(4, 2), seed=0, device=device)
    images = np.array([[[0, 255], [51, 102]]], np.uint8)
    np.testing.assert_allclose(net(images), net(np.array([[0, 1, 0.2, 0.4]])), rtol=1e-6)
    np.testing.assert_array_equal(net(np.array([[1, 2, 3, 4]])), net(np.array([[1.0, 2.0, 3.0, 4.0]])))


@pytest.mark.parametrize("device", DEVICES)
def test_long_batches_are_computed_in_pieces_with_the_same_result(device):
    net, x = small(dtype="float64", device=device), place(RNG.normal(size=(9000, 4)), device)
    pieces = np.concatenate([net(x[:1]), net(x[1:5000]), net(x[5000:])])
    np.testing.assert_allclose(host(net(x)), host(pieces), rtol=1e-12)


@pytest.mark.parametrize("device", DEVICES)
def test_an_empty_batch_has_no_outputs(device):
    net, x = small(device=device), place(np.empty((0, 4)), device)
    assert net(x).shape == (0, 2)
    assert net.predict(x).shape == (0,)


@pytest.mark.parametrize("device", DEVICES)
def test_predict_and_accuracy(device):
    net = nn.Sequential(nn.Softmax(), device=device)
    x = place([[1.0, 3.0, 2.0], [5.0, 0.0, 0.0]], device)
    np.testing.assert_array_equal(net.predict(x), [1, 0])
    assert net.accuracy(x, [1, 2]) == 0.5
    assert net.accuracy(x, [[0, 1, 0], [1, 0, 0]]) == 1
    single = nn.Sequential(nn.Sigmoid(), device=device)
    np.testing.assert_array_equal(single.predict([[-1.0], [1.0]]), [0, 1])
    assert single.accuracy([[-1.0], [1.0]], [0, 1]) == 1
    for targets, message in (
        ({}, "^targets must be an array, but NumPy makes none of this dict"),
        ([1], r"one target for each image, and at least one image, got 2 images and targets of shape \(1,\)"),
        ([1.0, 2.0], "must be integers, got dtype float64"),
        ([1, 3], "class indices must be from 0 to 2"),
        ([[1], [0]], r"rows of shape \(n, 3\)"),
        ([[1, 1, 0], [0, 0, 1]], "^accuracy needs targets that are classes"),
        ([[1.5, -0.5, 0], [0, 0, 1]], r"targets must be numbers that the last layer, Softmax\(\), can give, 0 to 1"),
        (np.full((2, 3), np.nan), "targets must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            net.accuracy(x, targets)


@pytest.mark.parametrize("outputs", [1, 2, 3])
@pytest.mark.parametrize("device", DEVICES)
def test_classes_are_where_the_outputs_are(outputs, device):
    for last, middle in ((nn.Sigmoid(), 0.5), (nn.Tanh(), 0)):
        y = RNG.random((20, outputs)) * 2 - 1
        expected = y.argmax(axis=1) if outputs > 1 else y[:, 0] > middle
        found = classes(place(y, device), last)
        assert (backend.device_of(found), found.dtype) == (device, np.intp)
        np.testing.assert_array_equal(host(found), expected)


@pytest.mark.parametrize("device", DEVICES)
def test_what_overflows_in_a_layer_is_infinite_without_a_warning(device):
    class Square(nn.Layer):
        def forward(self, x, out=None):
            return np.multiply(x, x, out=out)

    with np.errstate(over="raise"):
        assert nn.Sequential(Square(), device=device)([[3e38]]) == np.inf


def hosted(value):
    """Return dictionaries of dictionaries, with arrays that are on the device under test as NumPy's."""
    if isinstance(value, dict):
        return {name: hosted(part) for name, part in value.items()}
    return host(value) if backend.on_gpu(value) else value


@pytest.mark.parametrize("device", DEVICES)
def test_inference_leaves_the_training_state_alone(device):
    net = small(dtype="float64", device=device)
    pair = nn.CrossEntropy().pair(net.layers)
    x, t = place(RNG.normal(size=(5, 4)), device), place(np.eye(2)[[0, 1, 0, 1, 1]], device)
    backpropagated(net, pair, x, t)
    expected = net.gradients.copy()
    kept = [dict(vars(layer)) for layer in net.layers]
    contents = copy.deepcopy(kept)
    net(place(RNG.normal(size=(5, 4)), device))
    net.predict(place(RNG.normal(size=(7, 4)), device))
    for layer, before, content in zip(net.layers, kept, contents, strict=True):
        assert vars(layer).keys() == before.keys()
        assert all(vars(layer)[name] is value for name, value in before.items())
        np.testing.assert_equal(hosted(before), hosted(content))
    np.testing.assert_array_equal(host(net.gradients), host(expected))


@pytest.mark.parametrize("times", [500, pytest.param(12_500, marks=pytest.mark.slow)])
def test_eight_threads_predict_at_once(times):
    net = nn.Sequential(nn.Linear(20, 30), nn.Softmax(), nn.Linear(30, 5), nn.Softmax(), seed=0, dtype="float64")
    t = np.eye(5)[[0, 1, 2, 3, 4, 0, 1, 2]]
    backpropagated(net, nn.CrossEntropy().pair(net.layers), RNG.normal(size=(8, 20)), t)
    batches = [RNG.normal(size=(n, 20)) for n in (1, 3, 3, 8, 8, 8, 2, 5)]
    expected = [net(x) for x in batches]
    wrong = []

    def work(i):
        for _ in range(times):
            if not np.array_equal(net(batches[i]), expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("device", DEVICES)
def test_batches_of_changing_size_give_the_gradients_of_a_fresh_network(device):
    net = small(dtype="float64", device=device)
    pair = nn.CrossEntropy().pair(net.layers)
    for n in (5, 2, 5, 1):
        x, t = place(RNG.normal(size=(n, 4)), device), place(np.eye(2)[RNG.integers(2, size=n)], device)
        z, y = backpropagated(net, pair, x, t)
        fresh = copy.deepcopy(net)
        fresh_z, fresh_y = backpropagated(fresh, nn.CrossEntropy().pair(fresh.layers), x, t)
        assert z.flags.fnc == y.flags.fnc == (device == "cpu" and n > 2)  # contiguous along the longer axis
        np.testing.assert_array_equal(host(z), host(fresh_z))
        np.testing.assert_array_equal(host(y), host(fresh_y))
        np.testing.assert_array_equal(host(net.gradients), host(fresh.gradients))


@pytest.mark.parametrize("device", DEVICES)
@given(case=cases())
def test_what_went_forward_is_still_there_when_the_error_has_gone_back(case, device):
    case.net.to(device)
    x, t = place(case.x, device), place(checks.targets(case.t, case.net.outputs, "float64"), device)
    z, y = case.net.forward(x)
    before = host(z).copy(), host(y).copy()
    case.net.backpropagate(case.pair, z, y, t)
    np.testing.assert_array_equal(host(z), before[0])
    np.testing.assert_array_equal(host(y), before[1])
    np.testing.assert_array_equal(host(x), case.x)
    np.testing.assert_allclose(before[1], case.net(case.x), rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("device", DEVICES)
def test_another_precision_after_training_has_buffers_of_its_own(device):
    net = small(device=device)
    x, t = place(RNG.normal(size=(5, 4)), device), place(np.eye(2)[[0, 1, 0, 1, 1]], device)
    backpropagated(net, nn.CrossEntropy().pair(net.layers), x.astype("f4"), t.astype("f4"))
    net = net.astype("float64")
    _z, y = backpropagated(net, nn.CrossEntropy().pair(net.layers), x, t)
    assert y.dtype == np.float64
    np.testing.assert_allclose(host(y), host(net(x)), rtol=0 if device == "cpu" else 1e-12)


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))])
def test_a_copy_and_a_pickle_of_a_trainer_have_no_buffers_in_them(twin):
    net = nn.Sequential(
        nn.Linear(4, 3), nn.Sigmoid(), nn.Linear(3, 3), nn.Tanh(), nn.ReLU(), nn.Linear(3, 2), nn.Softmax(), seed=0
    )
    trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr=0.1, momentum=0.9, weight_decay=0.01), seed=0)
    x, t = np.ones((500, 4), "f4"), np.arange(500) % 2
    trainer.step(x[:1], t[:1])
    size = len(pickle.dumps(trainer))
    trainer.step(x, t)
    assert len(pickle.dumps(trainer)) < size + 100
    assert vars(twin(trainer.optimizer)).keys() == vars(trainer.optimizer).keys() - {"_step"}
    assert b"numnet.backend" not in pickle.dumps(net)  # where it is, and not what this version calls there
    other = twin(trainer)
    assert vars(other.net).keys() == vars(nn.Sequential(nn.Linear(4, 2))).keys()
    for _ in range(3):
        assert trainer.step(x, t) == other.step(x, t)
    np.testing.assert_array_equal(net.parameters, other.net.parameters)


class Bent(nn.Sigmoid):
    __slots__ = ("q",)

    def __init__(self):
        self.x, self.q = 3, 4


class Slotted(nn.SGD):
    __slots__ = ("q",)


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))])
def test_a_layer_and_an_optimizer_of_your_own_are_copied_as_a_whole(twin):
    layer, optimizer = Bent(), Slotted(lr=0.1)
    optimizer.q = 3
    trainer = nn.Trainer(nn.Sequential(nn.Linear(4, 2), layer, seed=0), nn.Quadratic(), optimizer)
    other = twin(trainer)
    assert (other.net.layers[1].x, other.net.layers[1].q, other.optimizer.q) == (3, 4, 3)


def test_the_error_in_a_property_is_told():
    class Mine(nn.Sequential):
        @property
        def mean(self):
            return self.layers[0].wieght.mean()

    with pytest.raises(AttributeError, match="'Linear' object has no attribute 'wieght'"):
        _ = Mine(nn.Linear(2, 2)).mean


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("fit", ": train a network by nn.Trainer(net, cost, optimizer).fit(...)"),
        ("state_dict", ": the parameters are net.parameters, and net.save(path) saves the network"),
        ("nothing", ""),
    ],
)
def test_a_name_that_other_libraries_have_is_told_what_to_use(name, hint):
    with pytest.raises(AttributeError) as raised:
        getattr(small(), name)
    assert str(raised.value) == f"'Sequential' object has no attribute {name!r}{hint}"


def test_a_refused_network_leaves_its_layers_free():
    layer = nn.Linear(2, 2)
    weight = layer.weight
    for options in ({"seed": -1}, {"dtype": "int8"}, {"device": "cuda"}):
        with pytest.raises(ValueError, match="must be"):
            nn.Sequential(layer, **options)
        assert layer.weight is weight
    assert nn.Sequential(layer).layers == (layer,)


def test_no_layer_of_a_network_is_taken_by_another():
    for layer in small().layers:
        with pytest.raises(ValueError, match=r"layer 0, .* is in a network already"):
            nn.Sequential(layer)


@pytest.mark.skipif(REAL_GPU, reason="the stand-in has as little memory as it is told")
def test_a_network_that_the_gpu_has_no_memory_for_leaves_its_layers_free():
    layer = nn.Linear(20, 20)
    strict.transfers.limit = 1000
    try:
        with pytest.raises(nn.DeviceError, match="too little memory"):
            nn.Sequential(layer, device="gpu")
    finally:
        strict.transfers.clear()
    assert nn.Sequential(layer, seed=0).layers == (layer,)


def test_layers_that_compare_equal_are_still_two():
    @dataclasses.dataclass
    class Same(nn.Sigmoid):
        slope: float = 1.0

    assert len(nn.Sequential(Same(), nn.Linear(2, 2), Same()).layers) == 3


@pytest.mark.parametrize("device", DEVICES)
def test_each_layer_has_parameters_of_its_own(device):
    class Careless(nn.Layer):
        def __init__(self, inputs):
            self.inputs = inputs
            self.parameters["factor"] = [1.0] * inputs

    net = nn.Sequential(nn.Linear(2, 3), Careless(3), nn.Sigmoid(), device=device)
    assert net.parameters.size == 9 + 3
    assert not net.layers[2].parameters


@pytest.mark.parametrize("device", DEVICES)
def test_the_decay_mask_marks_the_weights(device):
    mask = small(device=device).decay_mask
    np.testing.assert_array_equal(host(mask), [1] * 12 + [0] * 3 + [1] * 6 + [0] * 2)
    assert (backend.device_of(mask), mask.dtype) == (device, np.float32)


class Holding(nn.Layer):
    """Passes numbers on, and has parameters of given names and shapes."""

    def __init__(self, shapes):
        self.parameters = {name: np.ones(shape) for name, shape in shapes.items()}

    def forward(self, x, out=None):
        return np.multiply(x, 1, out=out)

    def backward(self, grad, out=None):
        for array in self.gradients.values():
            array[...] = 0
        return np.multiply(grad, 1, out=out)


NAMES = st.sampled_from(["weight", "bias", "factor", "weights", "weight2", "w", "scale", "Weight"])
SHAPES = st.sampled_from([(), (1,), (3,), (2, 3), (3, 1), (2, 2, 2)])


@pytest.mark.parametrize("device", DEVICES)
@given(shapes=st.lists(st.dictionaries(NAMES, SHAPES, min_size=1), min_size=1, max_size=3))
def test_whatever_a_layer_has_decay_acts_on_what_is_named_weight(shapes, device):
    layers = [*map(Holding, shapes), nn.Linear(2, 3), nn.Linear(3, 2, bias=False)]
    net = nn.Sequential(*layers, seed=0, dtype="float64", device=device)
    net.parameters = 1
    for layer in net.layers:
        layer.forward(place(np.zeros((4, layer.inputs or 2)), device))
    trainer = nn.Trainer(net, nn.Quadratic(), nn.SGD(1.0, weight_decay=0.25))
    trainer.step(np.zeros((4, 2)), host(net(np.zeros((4, 2)))))  # no error, so the decay alone is at work
    for layer in net.layers:
        for name, array in layer.parameters.items():
            assert (host(array) == (0.75 if name == "weight" else 1)).all(), name


def test_the_arrays_of_a_step_are_kept_for_two_sizes_of_batches_and_no_more():
    net = small()
    pair = nn.CrossEntropy().pair(net.layers)

    def outputs(n):
        return [id(y) for y in backpropagated(net, pair, RNG.random((n, 4), np.float32), np.eye(2)[[0] * n])]

    whole, short = outputs(5), outputs(3)
    for _ in range(3):  # epochs of whole batches and a short one
        assert (outputs(5), outputs(5), outputs(3)) == (whole, whole, short)
    first, *_, other = (
        backpropagated(net, pair, RNG.random((n, 4), np.float32), np.eye(2)[[0] * n])[1] for n in (5, 3, 4, 5)
    )
    assert other is not first  # a third size has taken their place
    tracemalloc.start()
    for n in range(1, 100):
        outputs(n)
        if n == 50:
            before = tracemalloc.get_traced_memory()[0]
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert after - before < 100 * 4 * (4 + 4 * (3 + 3 + 2 + 2) + 2)  # the arrays for two batches of 100


@pytest.mark.parametrize(("last", "middle", "no", "yes"), [(nn.Sigmoid, 0.5, 0.0, 1.0), (nn.Tanh, 0.0, -1.0, 1.0)])
@pytest.mark.parametrize("device", DEVICES)
def test_an_output_at_the_very_middle_is_a_no(last, middle, no, yes, device):
    net = nn.Sequential(nn.Linear(2, 1), last(), device=device)
    net.parameters = 0
    x = np.ones((3, 2))
    assert net(x).ravel().tolist() == [middle] * 3
    if last is nn.Sigmoid:
        assert net.predict(x).tolist() == [0, 0, 0]
    assert net.accuracy(x, [no, no, yes]) == pytest.approx(2 / 3)
    history = nn.Trainer(net, nn.Quadratic(), nn.SGD(1e-30)).fit((x, [no, no, yes]), 1, 3, (x, [no, yes, yes]))
    assert history.train_accuracy == pytest.approx([2 / 3])
    assert history.test_accuracy == pytest.approx([1 / 3])


@pytest.mark.parametrize("device", DEVICES)
def test_repr_is_a_table(device):
    assert repr(nn.Sequential(nn.Linear(1000, 5), nn.Sigmoid(), device=device)).splitlines() == [
        "Sequential(",
        "  0  Linear(1000, 5)  1000 -> 5  5,005 parameters",
        "  1  Sigmoid()           5 -> 5",
        ")  5,005 parameters, float32" + ", on the GPU" * (device == "gpu"),
    ]
    assert "\n  0  Tanh()  ? -> ?\n" in repr(nn.Sequential(nn.Tanh()))


def test_html_has_shapes_and_counts_and_is_escaped():
    class Odd(nn.Layer):
        def __repr__(self):
            return "<Odd>"

    assert nn.Sequential(nn.Linear(784, 10), Odd())._repr_html_() == (
        "<table><tr><th></th><th>layer</th><th>shapes</th><th>parameters</th></tr>"
        "<tr><td>0</td><td>Linear(784, 10)</td><td>(n, 784) → (n, 10)</td><td>7,850</td></tr>"
        "<tr><td>1</td><td>&lt;Odd&gt;</td><td>(n, 10) → (n, 10)</td><td></td></tr>"
        "</table><p>Sequential: 7,850 parameters, float32</p>"
    )


def test_widths_are_found_through_layers_that_leave_them_open():
    net = nn.Sequential(nn.Sigmoid(), nn.Linear(3, 2), nn.Tanh())
    assert (net.inputs, net.outputs) == (3, 2)
    assert nn.Sequential(nn.Sigmoid()).inputs is None


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.full((2, 4), np.nan), "inputs must be finite, but feature 0 of sample 0 is nan"),
        (np.where(np.arange(40000).reshape(10000, 4) == 39999, np.inf, 0), "feature 3 of sample 9999 is inf"),
        (np.full((2, 4), 1e300), "inputs must be finite, but feature 0 of sample 0 is 1e"),
    ],
)
@pytest.mark.parametrize("device", DEVICES)
def test_inputs_that_are_not_finite_are_refused(x, message, device):
    net, x = small(device=device), place(x, device)
    for use in (net, net.predict):
        with pytest.raises(ValueError, match=message):
            use(x)


@pytest.mark.parametrize("device", DEVICES)
def test_a_layer_alone_has_its_gradients(device):
    net = nn.Sequential(nn.Linear(3, 2), seed=0, device=device)
    nn.gradcheck(net, nn.Quadratic(), np.eye(3), np.ones((3, 2)), raise_above=1e-7)


@pytest.mark.parametrize("device", DEVICES)
def test_a_complex_network_takes_complex_inputs(device):
    net = nn.Sequential(nn.Linear(1, 1), dtype="complex128", device=device)
    net.parameters = 1
    assert net([[1j]]) == 1 + 1j
    with pytest.raises(ValueError, match="inputs must be finite, but feature 0 of sample 1 is"):
        net([[1j], [complex(0, np.inf)]])


class Three(nn.Layer):
    inputs = 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: nn.Sequential(),
            r"^Sequential needs at least one layer, Sequential\(Linear\(784, 10\), Softmax\(\)\) say$",
        ),
        (
            lambda: nn.Sequential(nn.Linear(2, 3), nn.Softmax),
            r"layer 1 must be a numnet Layer, got .*: write Softmax\(\.\.\.\)",
        ),
        (
            lambda: nn.Sequential([nn.Linear(2, 3)]),
            r"layer 0 must be a numnet Layer, got \[Linear\(2, 3\)\]: give the layers one by one",
        ),
        (
            lambda: nn.Sequential(nn.Linear(784, 128), nn.Sigmoid(), nn.Linear(100, 10)),
            r"layer 0, Linear\(784, 128\), gives 128 features, but layer 2, Linear\(100, 10\), takes 100",
        ),
        (lambda: nn.Sequential(nn.Linear(1, 1), dtype="float16"), "dtype must be one of float32, float64, complex128"),
        (lambda: nn.Sequential(nn.Linear(1, 1), dtype="floaty"), "dtype must be one of .* got 'floaty'"),
        (lambda: small().astype("int64"), "dtype must be one of"),
        (lambda: nn.Sequential(*[nn.Linear(1, 1)] * 2), "layer 1, .* is in a network already"),
        (lambda: nn.Sequential(*small().layers), "layer 0, .* is in a network already"),
        (lambda: small()(np.zeros((3, 5))), r"batches of shape \(n, ...\) with 4 features a sample, got \(3, 5\)$"),
        (lambda: small()(np.zeros(4)), r"got \(4,\): for a single sample give np\.reshape\(x, \(1, -1\)\)"),
        (lambda: small()(np.zeros(7)), r"got \(7,\)$"),
        (
            lambda: nn.Sequential(nn.Linear(1, 1))(np.zeros(7)),
            r"got \(7,\): for samples of one feature give np\.reshape\(x, \(-1, 1\)\)",
        ),
        (lambda: small(seed="a"), "seed must be a whole number of at least 0, or None, got 'a'"),
        (lambda: small(dtype=">f4"), "dtype must be one of"),
        (lambda: small(dtype=None), "dtype must be one of"),
        (
            lambda: nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4), nn.Tanh(), nn.Linear(5, 1)),
            r"layer 1, Linear\(3, 4\), gives 4 features, but layer 3, Linear\(5, 1\), takes 5",
        ),
        (
            lambda: nn.Sequential(nn.Sigmoid(), Three(), nn.Linear(4, 1)),
            r"layer 1, Three\(3\), gives 3 features, but layer 2, Linear\(4, 1\), takes 4",
        ),
        (lambda: nn.Sequential(nn.Sigmoid())(np.zeros(3)), r"with any number of features a sample, got \(3,\)$"),
        (
            lambda: small().predict(np.zeros((2, 2))),
            r"got \(2, 2\): for a single sample give np\.reshape\(x, \(1, -1\)\)",
        ),
        (lambda: small()(np.zeros((2, 4), complex)), "inputs must be real numbers, got dtype complex128"),
        (lambda: small()([["a"] * 4]), "inputs must be real numbers, got dtype <U1"),
    ],
)
def test_wrong_use(make, message):
    with pytest.raises(ValueError, match=message):
        make()


class Doubling(nn.Layer):
    """y = 2 x, in the place of x."""

    def forward(self, x, out=None):
        x *= 2
        return x

    def backward(self, grad, out=None):
        return np.multiply(grad, 2, out=out)


class Passing(nn.Layer):
    """y = x, and no new array."""

    def forward(self, x, out=None):
        return x

    def backward(self, grad, out=None):
        return grad


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_layer_of_ones_own_cannot_reach_the_callers_arrays(dtype):
    x = RNG.normal(size=(5, 4)).astype(dtype)
    x.flags.writeable = False
    net = nn.Sequential(Doubling(), nn.Linear(4, 2), nn.Softmax(), seed=0)
    first, second = net(x), net(x)
    np.testing.assert_array_equal(first, second)
    nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.1)).fit((x, np.arange(5) % 2), 2, 2, test=(x, np.arange(5) % 2))
    y = nn.Sequential(Passing())(x)
    assert not np.shares_memory(y, x)
    assert y.flags.writeable


class Plain(nn.Layer):
    """y = x^3, as somebody writes it who has not read of `out`."""

    def forward(self, x):
        self.x = x
        return x**3

    def backward(self, grad):
        return grad * 3 * self.x**2


class Cube(nn.Layer):
    """The same with `out`."""

    def forward(self, x, out=None):
        self.x = x
        return np.power(x, 3, out=out)

    def backward(self, grad, out=None):
        return np.multiply(grad, 3 * self.x**2, out=out)


class Train(Plain):
    """A second parameter that is no `out`."""

    def forward(self, x, train=False):
        assert train is False
        return super().forward(x)


class Named(Plain):
    """`out` by its name alone."""

    def backward(self, grad, *, out=None):
        assert out is None
        return super().backward(grad)


class Several(Plain):
    def forward(self, *arrays):
        (x,) = arrays
        return super().forward(x)


class NoLayer:
    def forward(self, x):
        self.x = x
        return x**3

    def backward(self, grad):
        return grad * 3 * self.x**2


class Mixed(NoLayer, nn.Layer):
    """Both methods from a class that is no layer."""


def timed(method):
    @functools.wraps(method)
    def wrapper(*arguments, **options):
        return method(*arguments, **options)

    return wrapper


class Decorated(nn.Layer):
    @timed
    def forward(self, x):
        self.x = x
        return x**3

    @timed
    def backward(self, grad):
        return grad * 3 * self.x**2


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("kind", [Plain, Train, Named, Several, Mixed, Decorated])
def test_a_layer_without_out_trains_as_one_with_out(kind, first, last):
    def trained(kind):
        layers = [kind()] * first + [nn.Linear(4, 3), kind(), nn.Linear(3, 2)] + [kind()] * last
        net = nn.Sequential(*layers, seed=0, dtype="float64")
        nn.gradcheck(net, nn.Quadratic(), x, t, raise_above=1e-7)
        nn.Trainer(net, nn.Quadratic(), nn.SGD(0.1), seed=0).fit((x, t), 3, 4, progress=False)
        return net

    x, t = np.random.default_rng(0).uniform(-1, 1, (10, 4)), np.random.default_rng(1).random((10, 2))
    net, other = trained(kind), trained(Cube)
    np.testing.assert_allclose(net.parameters, other.parameters, rtol=1e-12)
    np.testing.assert_allclose(net(x), other(x), rtol=1e-12)


def test_a_method_that_takes_out_stays_what_it_was():
    class Static(nn.Layer):
        @staticmethod
        def forward(x, out=None):
            return np.tanh(x, out=out)

    out = np.full((1, 2), np.nan)
    for kind in (nn.Linear, nn.Sigmoid, nn.Tanh, nn.ReLU, nn.Softmax, Cube):
        for name in ("forward", "backward"):
            assert vars(kind)[name].__qualname__ == f"{kind.__name__}.{name}"
    assert Static().forward(np.zeros((1, 2)), out) is out


class Wrong(nn.Layer):
    """Returns a row for all samples, a number for each, or nothing."""

    def __init__(self, result):
        self.result = result

    def forward(self, x, out=None):
        return {"row": x[:1], "numbers": x.sum(axis=1, keepdims=True), "nothing": None}[self.result]

    def backward(self, grad, out=None):
        return grad


@pytest.mark.parametrize("result", ["row", "numbers", "nothing"])
def test_a_layer_that_returns_another_shape_is_refused_in_training(result):
    net = nn.Sequential(nn.Linear(3, 4), Wrong(result), seed=0)
    trainer, x = nn.Trainer(net, nn.Quadratic(), nn.SGD(0.1)), RNG.normal(size=(8, 3))
    before = net.parameters.copy()
    for train in (
        lambda: trainer.step(x, np.ones((8, 4))),
        lambda: trainer.fit((x, np.ones((8, 4))), 1, 8),
        lambda: trainer.fit((x, np.arange(8) % 4), 1, 8),
        lambda: trainer.evaluate((x, np.ones((8, 4)))),
    ):
        message = (
            r"the forward of .* must return an array of shape \(8, 4\), got|the last layer's output must be an array"
        )
        with pytest.raises(ValueError, match=message):
            train()
    np.testing.assert_array_equal(net.parameters, before)


def test_a_hidden_layer_that_returns_another_shape_is_named_before_the_next_layer_has_it():
    net = nn.Sequential(nn.Linear(3, 4), Wrong("numbers"), nn.Tanh(), nn.Linear(4, 2), seed=0)
    with pytest.raises(
        ValueError, match=r"^the forward of Wrong\(\) must return an array of shape \(8, 4\), got one of"
    ):
        nn.Trainer(net, nn.Quadratic(), nn.SGD(0.1)).step(np.ones((8, 3)), np.ones((8, 2)))


def test_precision_and_device_are_not_assigned():
    net = small()
    for name in ("dtype", "device"):
        with pytest.raises(AttributeError):
            setattr(net, name, "gpu")


class Keeping(nn.Layer):
    """y = x, always in the same array."""

    def forward(self, x, out=None):
        self.kept[...] = x
        return self.kept

    def backward(self, grad, out=None):
        return grad


def test_a_layer_of_ones_own_cannot_change_an_earlier_result():
    net = nn.Sequential(Keeping(), seed=0)
    net.layers[0].kept = np.empty((2, 3), np.float32)
    first = net(np.ones((2, 3)))
    net(np.zeros((2, 3)))
    np.testing.assert_array_equal(first, np.ones((2, 3)))


@pytest.mark.parametrize("device", DEVICES)
def test_a_network_that_is_initialized_stays_where_it_is(device):
    net = nn.Sequential(nn.Linear(2, 3), nn.Softmax(), seed=0, device=device)
    start = host(net.parameters).copy()
    net.parameters = np.zeros(start.size)
    net.initialize(0)
    assert net.device == backend.device_of(net.parameters) == device
    np.testing.assert_array_equal(host(net.parameters), start)


class Drawing(nn.Layer):
    """A layer that draws its parameter as NumPy's array."""

    def __init__(self, inputs):
        self.inputs, self.parameters = inputs, {"factor": np.ones(inputs)}

    def initialize(self, rng):
        self.parameters["factor"][...] = rng.normal(size=self.inputs)


@pytest.mark.parametrize("device", DEVICES)
def test_a_layer_of_ones_own_may_draw_what_it_starts_with_wherever_the_network_is(device):
    net, there = (nn.Sequential(nn.Linear(2, 3), Drawing(3), seed=0, device=where) for where in ("cpu", device))
    np.testing.assert_array_equal(host(there.parameters), net.parameters)
    there.parameters = 0
    there.initialize(0)
    np.testing.assert_array_equal(host(there.parameters), net.parameters)


def test_a_network_moves_to_the_gpu_if_there_is_one_and_its_gradients_do():
    net = small()
    net.gradients = np.arange(23)
    assert net.to("auto") is net
    assert net.device == backend.device_of(net.parameters) == backend.device_of(net.gradients) == "gpu"
    np.testing.assert_array_equal(host(net.gradients), np.arange(23))
    assert_tied(net)


@pytest.mark.parametrize("device", DEVICES)
def test_copies_share_no_memory_with_the_network_or_between_their_vectors(device):
    net = small(dtype="float64", device=device)
    other = net.astype("float64")
    for one, vectors in ((net, (other.parameters, other.gradients)), (other, (net.parameters, net.gradients))):
        one.parameters, one.gradients = 1, 2
        for vector in vectors:
            vector[...] = 3
        assert (host(one.parameters) == 1).all()
        assert (host(one.gradients) == 2).all()


class Tagged(np.ndarray):
    """An array of a library that derives its own from NumPy's."""


class Tagging(nn.Layer):
    def forward(self, x, out=None):
        return np.array(x).view(Tagged)


def test_outputs_are_numpys_whatever_a_layer_of_ones_own_returns():
    net = nn.Sequential(nn.Linear(2, 2), Tagging(), seed=0)
    assert type(net.infer(np.ones((3, 2)))[1]) is type(net(np.ones((3, 2)))) is np.ndarray
    assert type(net.scaled(np.ones((3, 2), np.float32).view(Tagged))) is np.ndarray


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "float64"])
@pytest.mark.parametrize("device", DEVICES)
def test_scaled_rows_are_written_where_they_are_wanted(dtype, device):
    net, x = nn.Sequential(nn.Linear(2, 2), device=device), place(np.array([[0, 1], [255, 51]], dtype), device)
    out = place(np.full((2, 2), np.nan, np.float32), device)
    assert net.scaled(x, out) is out
    np.testing.assert_allclose(host(out), host(x) / (255 if dtype == "uint8" else 1), rtol=1e-7)
    np.testing.assert_array_equal(host(net.scaled(x)), host(out))


@pytest.mark.parametrize(
    ("layers", "x", "expected"),
    [
        ([nn.Linear(1, 3)], [[1.0]], [0]),  # one input is no single output
        ([nn.Linear(3, 1), nn.Sigmoid()], [[1.0, 1.0, 1.0]], [0]),
        ([nn.Linear(3, 1)], [[1.0, 1.0, 1.0]], None),
        ([nn.ReLU()], [[1.0]], None),  # only the batch says how many
        ([nn.ReLU()], [[1.0, 2.0]], [1]),
    ],
)
def test_a_class_is_named_if_the_outputs_have_one(layers, x, expected):
    net = nn.Sequential(*copy.deepcopy(layers), seed=0)
    net.parameters = 0
    if expected is not None:
        assert net.predict(x).tolist() == expected
        assert net.accuracy(x, expected) == 1
        assert type(net.accuracy(x, expected)) is float
        return
    for use in (lambda: net.predict(x), lambda: net.accuracy(x, [1.0])):
        with pytest.raises(ValueError, match=r"the single output of the last layer, .*, is a number"):
            use()


@pytest.mark.parametrize("device", DEVICES)
@given(n=st.integers(1, 30), wide=st.integers(1, 12), wrong=st.integers(0, 29))
def test_wide_rows_go_forward_a_few_at_a_time(device, n, wide, wrong):
    """The widest layer counts, here a hidden one."""
    net = nn.Sequential(nn.Linear(2, 12), nn.Tanh(), nn.Linear(12, 3), nn.Softmax(), seed=0, device=device)
    x = np.random.default_rng(n).normal(size=(n, 2))
    y, seen, infer = net(x), [], nn.Sequential.infer
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "CHUNK", 12)
        patch.setattr(checks, "_WIDE", wide)
        patch.setattr(
            nn.Sequential, "infer", lambda self, rows, start=0: seen.append(len(rows)) or infer(self, rows, start)
        )
        np.testing.assert_allclose(net(x), y, rtol=1e-5)
        assert max(seen) == min(n, wide)
        assert min(seen) > 0
        np.testing.assert_array_equal(net.predict(x), y.argmax(axis=1))
        assert net.accuracy(x, y.argmax(axis=1)) == 1
        x[wrong % n, 1] = np.nan
        with pytest.raises(ValueError, match=f"feature 1 of sample {wrong % n} is nan"):
            net.predict(x)


def test_a_table_with_a_column_of_images_is_no_dataset():
    pd = pytest.importorskip("pandas", reason="pandas is not installed: pip install pandas")
    x, t = pd.DataFrame({"images": [1.0, 2.0, 3.0], "words": [2.0, 3.0, 1.0]}), [0, 1, 0]
    net = nn.Sequential(nn.Linear(2, 2), nn.Softmax(), seed=0)
    assert net.accuracy(x, t) == net.accuracy(x.to_numpy(), t)
    trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr=0.1), seed=0)
    assert trainer.evaluate((x, t)) == trainer.evaluate((x.to_numpy(), t))
    with pytest.raises(TypeError, match="accuracy takes inputs and targets as two arguments"):
        net.accuracy(images=nn.datasets.digits()[0], targets=t)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 't'"):
        nn.gradcheck(net, x, t)
