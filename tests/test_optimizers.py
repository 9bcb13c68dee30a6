import copy
import itertools
import json
import pickle
import re
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import numnet as nn

from .devices import DEVICES, host


def started(optimizer, device, weight, bias):
    """Return a network of one weight and one bias with an optimizer ready for it."""
    net = nn.Sequential(nn.Linear(1, 1), dtype="float64", device=device)
    net.parameters = [weight, bias]
    optimizer.start(net)
    return net


def step(optimizer, net, gradients, lr=0.1):
    net.gradients = gradients
    optimizer.update(net.parameters, net.gradients, lr)
    return host(net.parameters).tolist()


@pytest.mark.parametrize("device", DEVICES)
def test_plain_by_hand(device):
    sgd = nn.SGD(0.1)
    net = started(sgd, device, 1.0, 2.0)
    assert step(sgd, net, [0.5, -1.0]) == pytest.approx([1 - 0.05, 2 + 0.1])
    assert host(net.gradients).tolist() == [0.5, -1.0]


@pytest.mark.parametrize("device", DEVICES)
def test_momentum_by_hand(device):
    sgd = nn.SGD(0.1, momentum=0.9)
    net = started(sgd, device, 1.0, 2.0)
    step(sgd, net, [1.0, 2.0])  # v = (1, 2)
    # v = 0.9 (1, 2) + (1, 0) = (1.9, 1.8)
    assert step(sgd, net, [1.0, 0.0]) == pytest.approx([1 - 0.1 - 0.19, 2 - 0.2 - 0.18])


@pytest.mark.parametrize("device", DEVICES)
def test_nesterov_by_hand(device):
    sgd = nn.SGD(0.1, momentum=0.5, nesterov=True)
    net = started(sgd, device, 1.0, 0.0)
    # v = 1, step 1 + 0.5 1 = 1.5; then v = 0.5 + 3 = 3.5, step 3 + 1.75 = 4.75
    assert step(sgd, net, [1.0, 0.0])[0] == pytest.approx(1 - 0.15)
    assert step(sgd, net, [3.0, 0.0])[0] == pytest.approx(1 - 0.15 - 0.475)


@pytest.mark.parametrize("device", DEVICES)
def test_weight_decay_by_hand_leaves_biases(device):
    sgd = nn.SGD(0.1, weight_decay=0.5)
    net = started(sgd, device, 2.0, 2.0)
    assert step(sgd, net, [1.0, 1.0]) == pytest.approx([2 - 0.1 * (1 + 0.5 * 2), 2 - 0.1])


@pytest.mark.parametrize("device", DEVICES)
def test_all_together_by_hand(device):
    sgd = nn.SGD(0.1, momentum=0.5, nesterov=True, weight_decay=0.5, clip_norm=5.0)
    net = started(sgd, device, 2.0, 0.0)
    # (6, 8) has the norm 10 and becomes (3, 4); g = (3 + 0.5 2, 4) = v; the step is 1.5 v
    assert step(sgd, net, [6.0, 8.0]) == pytest.approx([2 - 0.6, -0.6])


@pytest.mark.parametrize("device", DEVICES)
@given(g=st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=2), limit=st.floats(1e-3, 1e4))
def test_clipping_keeps_the_direction_and_bounds_the_norm(g, limit, device):
    sgd = nn.SGD(0.1, clip_norm=limit)
    net = started(sgd, device, 0.0, 0.0)
    step(sgd, net, g, lr=1.0)
    norm = np.hypot(*g)
    expected = np.array(g) * (limit / norm if norm > limit else 1)
    np.testing.assert_allclose(-host(net.parameters), expected, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("device", DEVICES)
def test_settings_can_be_changed_between_steps(device):
    sgd = nn.SGD(0.1)
    net = started(sgd, device, 1.0, 0.0)
    sgd.momentum, sgd.weight_decay = 0.5, 0.1
    step(sgd, net, [1.0, 0.0])  # v = 1 + 0.1, w = 0.89
    assert step(sgd, net, [0.0, 0.0])[0] == pytest.approx(0.89 - 0.1 * (0.55 + 0.089))
    before, sgd.momentum, sgd.weight_decay, sgd.clip_norm = host(net.parameters).tolist(), 0, 0, 0
    assert step(sgd, net, [1.0, 1.0]) == before  # nothing is left of a gradient that is clipped to 0


@pytest.mark.parametrize("device", DEVICES)
def test_clipping_a_gradient_whose_square_overflows(device):
    net = nn.Sequential(nn.Linear(1, 1), device=device)
    sgd = nn.SGD(1.0, clip_norm=1.0)
    net.parameters = 0
    sgd.start(net)
    with np.errstate(over="ignore"):
        assert step(sgd, net, [3e19, 4e19], lr=1.0) == pytest.approx([-0.6, -0.8])


OPTIONS = [
    {},
    {"momentum": 0.9},
    {"momentum": 0.9, "nesterov": True},
    {"weight_decay": 0.1},
    {"clip_norm": 1.0},
    {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1, "clip_norm": 1.0},
]


def of_many(optimizer, n=100_000, device="cpu"):
    """Return a network of many parameters that has gradients, with an optimizer that has taken a step."""
    net = nn.Sequential(nn.Linear(n, 1), seed=0, device=device)
    net.gradients = np.linspace(-1, 1, n + 1)
    optimizer.start(net)
    optimizer.update(net.parameters, net.gradients, 0.1)
    return net


@pytest.mark.parametrize("options", OPTIONS)
def test_a_step_takes_no_memory_that_grows_with_the_network(options):
    sgd = nn.SGD(0.1, **options)
    net = of_many(sgd)
    tracemalloc.start()
    sgd.update(net.parameters, net.gradients, 0.1)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < net.parameters.size  # for each number less than a byte


@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))])
@pytest.mark.parametrize("options", OPTIONS)
def test_a_copy_takes_the_steps_of_the_original_without_its_scratch_memory(options, twin):
    sgd = nn.SGD(0.1, **options)
    net = of_many(sgd)
    assert len(pickle.dumps(sgd)) < 2.5 * net.parameters.nbytes  # the velocity, and which parameters are weights
    velocity, vectors = sgd.velocity.copy(), []
    for optimizer in (sgd, twin(sgd)):
        optimizer.velocity = velocity.copy()
        parameters, gradients = net.parameters.copy(), net.gradients.copy()
        for _ in range(2):
            optimizer.update(parameters, gradients, 0.1)
        vectors.append((parameters, gradients, optimizer.velocity))
    np.testing.assert_array_equal(*vectors)


@pytest.mark.parametrize("options", OPTIONS)
def test_an_optimizer_can_start_anew_with_a_network_of_another_size(options):
    used, new = nn.SGD(0.1, **options), nn.SGD(0.1, **options)
    of_many(used, 3)
    np.testing.assert_array_equal(of_many(used, 5).parameters, of_many(new, 5).parameters)


def test_a_copy_of_an_optimizer_of_ones_own_has_what_is_in_its_slots():
    class Slotted(nn.SGD):
        __slots__ = ("kept",)

    sgd = Slotted(0.1, momentum=0.5)
    sgd.kept = 7
    for twin in (copy.copy(sgd), copy.deepcopy(sgd)):
        assert (twin.kept, twin.lr, twin.momentum) == (7, 0.1, 0.5)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("first", DEVICES)
@pytest.mark.parametrize("second", DEVICES)
def test_an_optimizer_that_moves_with_its_network_goes_on_as_before(first, second, options):
    stays, moves = nn.SGD(0.1, **options), nn.SGD(0.1, **options)
    nets = of_many(stays, 5, first), of_many(moves, 5, first)
    moves.to(nets[1].to(second).device)
    for _ in range(2):
        for sgd, net in zip((stays, moves), nets, strict=True):
            sgd.update(net.parameters, net.gradients, 0.1)
    np.testing.assert_allclose(host(nets[1].parameters), host(nets[0].parameters), rtol=1e-6)


def test_a_schedule_is_a_function_of_the_epoch():
    sgd = nn.SGD(lr=lambda epoch: 1 / epoch)
    assert [sgd.learning_rate(epoch) for epoch in (1, 2, 4)] == [1, 0.5, 0.25]
    assert nn.SGD(0.3).learning_rate(7) == 0.3
    assert nn.SGD(lambda epoch: 0).learning_rate(1) == 0  # a pause
    assert sgd.options()["lr"] is None
    assert repr(sgd) == f"SGD(lr={sgd.lr!r})"


@pytest.mark.parametrize("lr", [float("nan"), float("inf"), -1.0, "fast", None])
def test_a_schedule_that_gives_no_learning_rate(lr):
    message = f"SGD: the scheduled lr of epoch 3 must be finite and at least 0, got {lr!r}$"
    with pytest.raises(ValueError, match=message):
        nn.SGD(lr=lambda epoch: lr).learning_rate(3)
    sgd = nn.SGD(lr=0.1)
    sgd.lr = lr  # as a callback can
    with pytest.raises(ValueError, match=f"SGD: lr must be finite and at least 0, got {lr!r}$"):
        sgd.learning_rate(3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *[
            ({"lr": lr}, "SGD: lr must be a finite number above 0")
            for lr in (0, -0.5, np.nan, np.inf, "0.5", None, True, 10**400)
        ],
        *[({"momentum": m}, "SGD: momentum must be from 0 to below 1") for m in (-0.1, 1, np.nan, "0.9", False)],
        *[
            ({"weight_decay": w}, "SGD: weight_decay must be finite and at least 0")
            for w in (-1e-4, np.inf, None, True)
        ],
        *[
            ({"clip_norm": c}, "SGD: clip_norm must be a finite number above 0, or None")
            for c in (0, -1, np.nan, np.inf, "5", True)
        ],
        ({"nesterov": "no"}, "SGD: nesterov must be True or False"),
        ({"nesterov": True, "momentum": 0.0}, "SGD: momentum must be above 0 with nesterov=True"),
    ],
)
def test_options_out_of_range(options, message):
    *_, value = options.values()
    with pytest.raises(ValueError, match=f"{message}.* got {re.escape(repr(value))}$"):
        nn.SGD(**{"lr": 0.5, **options})


def test_repr_shows_what_is_set():
    assert repr(nn.SGD(0.5)) == "SGD(lr=0.5)"
    assert repr(nn.SGD(np.float32(1))) == "SGD(lr=1.0)"
    assert repr(nn.SGD(1, weight_decay=1, clip_norm=1)) == "SGD(lr=1.0, weight_decay=1.0, clip_norm=1.0)"
    text = "SGD(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01, clip_norm=2.0)"
    assert repr(nn.SGD(0.1, 0.9, True, 0.01, 2)) == text


class Plateau(nn.SGD):
    """The learning rate is asked for each epoch, and a callback may change what it is."""

    factor = 1.0

    def start(self, net):
        self.velocity = np.zeros_like(net.parameters)

    def learning_rate(self, epoch):
        return 0.5 * self.factor

    def update(self, parameters, gradients, lr):
        self.asked = [*getattr(self, "asked", []), lr]
        parameters -= lr * gradients


def test_an_optimizer_of_ones_own_is_asked_for_the_rate_of_each_epoch():
    net = nn.Sequential(nn.Linear(3, 2), nn.Softmax(), seed=0)
    trainer = nn.Trainer(net, nn.CrossEntropy(), Plateau(0.5))

    def halve(trainer):
        trainer.optimizer.factor /= 2

    trainer.fit((np.eye(3), [0, 1, 1]), 3, 3, callbacks=[halve])
    assert trainer.optimizer.asked == [0.5, 0.25, 0.125]


def bits(**options):
    """Return the parameters after two steps of an SGD whose options were changed to these."""
    net, optimizer = nn.Sequential(nn.Linear(9, 9), seed=0), nn.SGD(0.1, 0.9, True, 0.01, 0.3)
    vars(optimizer).update(options)
    optimizer.start(net)
    for _ in range(2):
        net.gradients = np.linspace(-1, 1, 90)
        optimizer.update(net.parameters, net.gradients, optimizer.learning_rate(1))
    return net.parameters.tobytes()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *itertools.product(
            ["lr", "momentum", "weight_decay", "clip_norm"], [np.float64, np.float32, np.float16, Fraction]
        )
    ],
)
def test_an_option_of_another_kind_of_number_gives_the_bits_of_a_float(name, kind):
    value = kind(0.37)
    assert bits(**{name: value}) == bits(**{name: float(value)}) != bits()
    given = {"lr": 0.1, "momentum": 0.9, name: value}
    assert repr(nn.SGD(**given)) == repr(nn.SGD(**{**given, name: float(value)}))


@pytest.mark.parametrize("nesterov", [True, False])
def test_true_and_false_of_numpy_are_those_of_python(nesterov):
    optimizer = nn.SGD(0.1, 0.9, nesterov=np.bool_(nesterov))
    assert type(optimizer.nesterov) is bool
    assert repr(optimizer) == repr(nn.SGD(0.1, 0.9, nesterov=nesterov))
    optimizer.nesterov = np.bool_(nesterov)
    assert json.loads(json.dumps(optimizer.options())) == nn.SGD(0.1, 0.9, nesterov=nesterov).options()


def test_options_of_numpys_types_are_written_as_numbers():
    optimizer = nn.SGD(0.5, momentum=0.9)
    optimizer.lr, optimizer.momentum, optimizer.weight_decay = np.float32(0.25), np.float64(0.5), np.int64(0)
    optimizer.clip_norm = np.float32(2)
    written = json.loads(json.dumps(optimizer.options()))
    assert written == {"lr": 0.25, "momentum": 0.5, "nesterov": False, "weight_decay": 0.0, "clip_norm": 2.0}
    assert repr(nn.SGD(**written)) == "SGD(lr=0.25, momentum=0.5, clip_norm=2.0)"
