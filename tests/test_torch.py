"""PyTorch: trajectories from an equal start over equal batches, and networks that come from it and go to it."""

import contextlib
import copy
import importlib.metadata
import itertools
import re
import subprocess
import sys

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import numnet as nn

from .devices import DEVICES, host
from .networks import cases, draw_targets, meaningful

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")

torch.set_num_threads(1)  # these networks are too small for more
STEPS = 200
ACTIVATIONS = {
    nn.Sigmoid: torch.nn.Sigmoid,
    nn.Tanh: torch.nn.Tanh,
    nn.ReLU: torch.nn.ReLU,
    nn.Softmax: lambda: torch.nn.Softmax(dim=1),
}


def twin(net, closed_form):
    """Return the PyTorch network of the same layers and parameters; without the last where its cost wants logits."""
    layers = []
    for layer in net.layers[: -1 if closed_form else None]:
        if isinstance(layer, nn.Linear):
            bias, dtype = layer.bias is not None, getattr(torch, net.dtype.name)
            linear = torch.nn.Linear(layer.inputs, layer.outputs, bias=bias, dtype=dtype)
            with torch.no_grad():
                linear.weight.copy_(torch.tensor(layer.weight.T.copy()))
                if bias:
                    linear.bias.copy_(torch.tensor(layer.bias.copy()))
            layers.append(linear)
        else:
            layers.append(ACTIVATIONS[type(layer)]())
    return torch.nn.Sequential(*layers)


def torch_cost(last, cost):
    """Return the cost as a function of PyTorch's outputs (logits for cross-entropy) and rows of targets."""
    if cost is nn.Quadratic:
        return lambda y, t: ((y - t) ** 2).sum() / (2 * len(y))
    if last is nn.Softmax:
        return torch.nn.functional.cross_entropy
    return lambda z, t: torch.nn.functional.binary_cross_entropy_with_logits(z, t, reduction="sum") / len(z)


def flat(model):
    """Return PyTorch's parameters in numnet's order and layout."""
    return np.concatenate([p.detach().numpy().T.ravel() for p in model.parameters()])


@st.composite
def runs(draw):
    widths = draw(st.lists(st.integers(1, 8), min_size=2, max_size=4))
    last = draw(st.sampled_from(meaningful([nn.Softmax, nn.Sigmoid], widths[-1])))
    cost = draw(st.sampled_from([nn.CrossEntropy, nn.Quadratic]))
    layers = []
    for inputs, outputs in itertools.pairwise(widths):
        activation = draw(st.sampled_from(meaningful(ACTIVATIONS, outputs)))
        layers += [nn.Linear(inputs, outputs, draw(st.booleans())), activation()]
    layers[-1] = last()
    momentum = draw(st.sampled_from([0.0, 0.5, 0.9]))
    options = {
        "lr": draw(st.sampled_from([0.01, 0.1])),
        "momentum": momentum,
        "nesterov": momentum > 0 and draw(st.booleans()),
        "weight_decay": draw(st.sampled_from([0.0, 0.01])),
    }
    return layers, last, cost, options, draw(st.integers(0, 2**32 - 1))


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-4)])
@settings(max_examples=settings().max_examples // 4)
@given(run=runs())
def test_trajectory(dtype, tolerance, run, largest):
    layers, last, cost, options, seed = run
    rng = np.random.default_rng(seed)
    net = nn.Sequential(*layers, seed=seed, dtype=dtype)
    closed_form = cost is nn.CrossEntropy
    model, their_cost = twin(net, closed_form), torch_cost(last, cost)
    weights = [p for name, p in model.named_parameters() if name.endswith("weight")]
    biases = [p for name, p in model.named_parameters() if name.endswith("bias")]
    groups = [{"params": weights}, {"params": biases, "weight_decay": 0.0}]
    theirs = torch.optim.SGD(groups, **options)
    trainer = nn.Trainer(net, cost(), nn.SGD(**options))
    for _ in range(STEPS):
        x = rng.normal(size=(rng.integers(1, 9), net.inputs)).astype(dtype)
        t = rng.random((len(x), net.outputs)).astype(dtype)
        t /= t.sum(axis=1, keepdims=True)
        theirs.zero_grad()
        expected = their_cost(model(torch.tensor(x)), torch.tensor(t))
        expected.backward()
        theirs.step()
        assert trainer.step(x, t) == pytest.approx(expected.item(), rel=10 * tolerance, abs=tolerance)
    deviation = np.abs(net.parameters - flat(model)).max()
    largest(f"parameters after {STEPS} steps against PyTorch, {dtype}, absolute", deviation)
    assert deviation <= tolerance


def test_clipping_by_norm_is_pytorchs():
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3), nn.Softmax(), seed=0, dtype="float64")
    model = twin(net, closed_form=True)
    theirs = torch.optim.SGD(model.parameters(), lr=0.5)
    trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.5, clip_norm=0.1))
    for _ in range(STEPS):
        x, labels = rng.normal(size=(8, 5)), rng.integers(3, size=8)
        theirs.zero_grad()
        torch.nn.functional.cross_entropy(model(torch.tensor(x)), torch.tensor(labels)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        theirs.step()
        trainer.step(x, labels)
    # PyTorch divides by the norm plus 1e-6, we by the norm: 1e-5 of each step of at most 0.05.
    np.testing.assert_allclose(net.parameters, flat(model), atol=1e-4)


# Networks from PyTorch and to PyTorch

TOLERANCE = {"float32": 1e-6, "float64": 1e-14}  # of the largest output of a layer, or of 1: terms may cancel


@st.composite
def modules(draw):
    """Draw a module that from_torch takes, with what is passed over, and some of its layers in further Sequentials."""
    dtype, widths = draw(st.sampled_from(list(TOLERANCE))), draw(st.lists(st.integers(1, 8), min_size=2, max_size=5))
    torch.manual_seed(draw(st.integers(0, 2**32 - 1)))
    others = [torch.nn.Flatten, lambda: torch.nn.Dropout(0.5)]
    shared = torch.nn.ReLU()  # as many modules use one for all places
    kinds = [torch.nn.Sigmoid, torch.nn.Tanh, torch.nn.ReLU, lambda: shared]
    softmaxes = [lambda: torch.nn.Softmax(dim=1), lambda: torch.nn.Softmax(-1)]
    layers = [torch.nn.Flatten()]
    for inputs, outputs in itertools.pairwise(widths):
        linear = torch.nn.Linear(inputs, outputs, bias=draw(st.booleans()), dtype=getattr(torch, dtype))
        after = draw(st.lists(st.sampled_from(kinds + others + softmaxes * (outputs > 1)), max_size=2))
        layers += [linear, *(make() for make in after)]
    for _ in range(draw(st.integers(0, 3))):
        start, stop = sorted([draw(st.integers(0, len(layers))), draw(st.integers(0, len(layers)))])
        layers[start:stop] = [torch.nn.Sequential(*layers[start:stop])]
    return torch.nn.Sequential(*layers), dtype, widths


def outputs_of(module, x):
    """Return the outputs of a module as an array, and the largest number that one of its layers gives, at least 1."""
    with torch.no_grad():
        outputs = list(itertools.accumulate([torch.tensor(x), *module], lambda x, part: part(x)))[1:]
        return outputs[-1].numpy(), max(1.0, *(y.abs().max().item() for y in outputs))


@given(drawn=modules(), seed=st.integers(0, 2**32 - 1))
def test_a_network_from_pytorch_computes_what_the_module_computes(drawn, seed, largest):
    module, dtype, widths = drawn
    x = np.random.default_rng(seed).normal(size=(20, 1, widths[0])).astype(dtype)
    before = [p.detach().clone() for p in module.parameters()]
    net = nn.from_torch(module)
    assert (net.dtype, net.inputs, net.outputs, net.device) == (dtype, widths[0], widths[-1], "cpu")
    expected, size = outputs_of(module.eval(), x)
    found = net(x)
    assert found.dtype == expected.dtype
    deviation = np.abs(found - expected).max() / size
    largest(f"outputs of networks from PyTorch, {dtype}, of the largest output of a layer", deviation)
    assert deviation <= TOLERANCE[dtype]
    np.testing.assert_array_equal(net.parameters, flat(module))
    assert net.trained
    net.parameters += 1  # of a copy
    assert all(torch.equal(p, old) for p, old in zip(module.parameters(), before, strict=True))


@pytest.mark.parametrize("device", DEVICES)
@given(case=cases(scales=(1.0,)), dtype=st.sampled_from(list(TOLERANCE)))
def test_a_module_from_numnet_computes_what_the_network_computes(case, dtype, device, largest):
    net, x = case.net.astype(dtype).to(device), case.x.astype(dtype)
    module = nn.to_torch(net)
    expected, size = outputs_of(module, x)
    deviation = np.abs(host(net(x)) - expected).max() / size
    largest(f"outputs of modules from numnet, {dtype}, of the largest output of a layer", deviation)
    assert deviation <= TOLERANCE[dtype]
    parameters = host(net.parameters)
    np.testing.assert_array_equal(flat(module), parameters)
    assert [type(part).__name__ for part in module] == [type(layer).__name__ for layer in net.layers]
    assert all(p.requires_grad and p.is_leaf and p.is_contiguous() for p in module.parameters())
    with torch.no_grad():
        for p in module.parameters():
            p.add_(1)  # to a copy
    np.testing.assert_array_equal(host(net.parameters), parameters)


@given(drawn=modules(), case=cases(), dtype=st.sampled_from(list(TOLERANCE)))
def test_there_and_back_no_bit_changes(drawn, case, dtype):
    net = case.net.astype(dtype)
    again = nn.from_torch(nn.to_torch(net))
    assert again.parameters.tobytes() == net.parameters.tobytes()
    assert repr(again) == repr(net)
    module = drawn[0]
    again = nn.to_torch(nn.from_torch(module))
    assert flat(again).tobytes() == flat(module).tobytes()
    assert [p.shape for p in again.parameters()] == [p.shape for p in module.parameters()]


def autograd(module, cost, x, t):
    """Return PyTorch's cost and gradient, in numnet's order and layout."""
    value = cost(module(torch.tensor(x)), torch.tensor(t))
    gradients = torch.autograd.grad(value, list(module.parameters()), materialize_grads=True)
    return value.item(), np.concatenate([g.numpy().T.ravel() for g in gradients])


@given(case=cases(scales=(0.1, 1.0)))
def test_autograd_finds_the_gradient_of_cost_and_gradient(case, largest):
    """An oracle for all layers and costs together: nothing in PyTorch was derived by us."""
    net, t = case.net, nn.checks.targets(case.t, case.net.outputs, np.float64)
    module, last = nn.to_torch(net), type(net.layers[-1])
    if isinstance(case.cost, nn.CrossEntropy):
        module = module[:-1]
    expected, gradient = autograd(module, torch_cost(last, type(case.cost)), case.x, t)
    cost, found = nn.cost_and_gradient(net, case.cost, case.x, case.t)
    assert cost == pytest.approx(expected, rel=1e-12, abs=1e-14)
    deviation = np.abs(found - gradient).max() / max(1, np.abs(gradient).max())
    largest("cost_and_gradient against PyTorch's autograd", deviation)
    assert deviation <= 1e-12


@given(data=st.data(), drawn=modules(), seed=st.integers(0, 2**32 - 1))
def test_a_module_that_gives_logits_trains_on_as_a_network(data, drawn, seed):
    """CrossEntropyLoss of logits is CrossEntropy after softmax=True, with the same gradient."""
    module, _, widths = drawn
    module = torch.nn.Sequential(module, torch.nn.Linear(widths[-1], 3)).double().eval()
    rng = np.random.default_rng(seed)
    x, t = rng.normal(size=(5, widths[0])), draw_targets(data.draw, rng, 5, 3, distribution=True)
    expected, gradient = autograd(module, torch.nn.CrossEntropyLoss(), x, t)
    net = nn.from_torch(module, softmax=True)
    np.testing.assert_allclose(net(x), module(torch.tensor(x)).softmax(1).detach(), rtol=1e-12)
    sgd = nn.SGD(lr=0.5)
    before = net.parameters.copy()
    assert nn.Trainer(net, nn.CrossEntropy(), sgd).step(x, t) == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(net.parameters, before - 0.5 * gradient, rtol=0, atol=1e-12)


def test_pytorchs_generator_stays_as_it_is():
    before = torch.random.get_rng_state()
    nn.from_torch(nn.to_torch(nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3, bias=False))))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_numnet_does_not_import_pytorch():
    code = """
import sys, numnet as nn
try:
    nn.from_torch([])
except ValueError as error:
    print(error, "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"from_torch: module must be a torch\.nn\.Sequential, got list: .* False\n", done.stdout)


def test_what_is_no_module_is_refused_before_pytorch_is_imported(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch")
    refused("from_torch: module must be a torch.nn.Sequential, got list: give torch.nn.Sequential(...)", [])
    assert "torch" not in sys.modules


ACTIVATIONS_BY_NAME = {kind.__name__: make for kind, make in ACTIVATIONS.items()}


class Double(torch.nn.Sigmoid):
    def forward(self, x):
        return 2 * super().forward(x)


class Called(torch.nn.Tanh):
    def __call__(self, x):
        return -super().__call__(x)


class Backwards(torch.nn.Sequential):
    def forward(self, x):
        for layer in reversed(self):
            x = layer(x)
        return x


class Named(torch.nn.Sequential):
    def __init__(self):
        super().__init__(torch.nn.Linear(3, 4), type("Own", (torch.nn.Tanh,), {})())


def test_a_subclass_with_the_same_forward_is_what_it_is():
    assert [type(layer) for layer in nn.from_torch(Named()).layers] == [nn.Linear, nn.Tanh]
    normed = torch.nn.Sequential(torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(3, 4)))
    np.testing.assert_array_equal(nn.from_torch(normed).layers[0].weight, normed[0].weight.detach().T)


def replaced():
    layer = torch.nn.ReLU()
    layer.forward = torch.abs
    return layer


IN_PYTORCH = {  # a layer that is refused, and the message
    "another layer": (torch.nn.GELU, "GELU, is no layer that numnet has: use Linear, Sigmoid, Tanh, ReLU, Softmax"),
    "a convolution": (lambda: torch.nn.Conv2d(1, 1, 1), "Conv2d, is no layer that numnet has: use Linear"),
    "a forward of its own": (Double, "Double, has a forward of its own, which numnet does not know: use Linear"),
    "a replaced forward": (replaced, "ReLU, has a forward of its own, which numnet does not know: use Linear"),
    "a call of its own": (Called, "Called, has a forward of its own, which numnet does not know: use Linear"),
    "another order": (Backwards, "Backwards, has a forward of its own, which numnet does not know: use Linear"),
    "the softmax of another axis": (lambda: torch.nn.Softmax(0), "Softmax, is taken along dim=0, and not over the out"),
    "the softmax of no axis": (torch.nn.Softmax, "Softmax, is taken along dim=None, and not over the outputs: use"),
    "a flattened batch": (lambda: torch.nn.Flatten(0), "Flatten, must flatten all but the samples, got Flatten(start_"),
    "half flattened": (lambda: torch.nn.Flatten(1, 2), "Flatten, must flatten all but the samples, got Flatten(start_"),
}


def refused(message, *arguments, **options):
    with pytest.raises(ValueError, match=re.escape(message)) as raised:
        nn.from_torch(*arguments, **options)
    return str(raised.value)


@pytest.mark.parametrize("what", IN_PYTORCH)
def test_what_is_refused_of_pytorch(what):
    make, message = IN_PYTORCH[what]
    refused(f"from_torch: module[1], {message}", torch.nn.Sequential(torch.nn.Linear(4, 4), make()))
    nested = torch.nn.Sequential(torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Sequential(make())))
    refused(f"from_torch: module[0][1][0], {message}", nested)


def test_the_whole_module_is_refused_too():
    module = Backwards(torch.nn.Linear(4, 4))
    refused("from_torch: module, Backwards, has a forward of its own", module)
    refused("Sequential needs at least one layer", torch.nn.Sequential(torch.nn.Flatten()))
    refused("layer 1, Softmax(), has one output", torch.nn.Sequential(torch.nn.Linear(4, 1), torch.nn.Softmax(1)))
    message = refused("are of complex64, but", torch.nn.Sequential(torch.nn.Linear(4, 1, dtype=torch.complex64)))
    assert message.endswith("float64")  # .float() would leave complex numbers complex


def followed(message, name, module):
    """Return what the code in a message gives, from the name on."""
    (code,) = re.findall(rf"(?:give|use) ({name}.*)", message)
    return eval(code, {"torch": torch, "module": module, "copy": copy})


def test_the_remedies_for_modules_help():
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = torch.nn.Linear(4, 5), torch.nn.Linear(5, 3)

        def forward(self, x):
            return self.last(torch.relu(self.first(x)))

    net, x = Net(), np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    message = refused("got Net: give torch.nn.Sequential(...) of its layers, in the order in which its forward", net)
    assert "torch.nn.Sequential(...)" in message
    chain = torch.nn.Sequential(net.first, torch.nn.ReLU(), net.last)
    np.testing.assert_allclose(nn.from_torch(chain)(x), net(torch.tensor(x)).detach(), rtol=1e-5, atol=1e-6)

    state, module = chain.state_dict(), copy.deepcopy(chain)
    (code,) = re.findall(r"after (.*)", refused("got OrderedDict: give the module, after ", state))
    eval(code.replace("...", "state"), {"module": module, "state": state})
    np.testing.assert_array_equal(nn.from_torch(module).parameters, flat(chain))

    for axis in 0, None:
        wrong = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Softmax(axis))
        wrong[1] = followed(refused("Softmax, is taken along", wrong), "torch", wrong)
        assert nn.from_torch(wrong)(x).sum(axis=1) == pytest.approx(1)
    wrong = torch.nn.Sequential(torch.nn.Flatten(2), torch.nn.Linear(4, 3))
    wrong[0] = followed(refused("Flatten, must flatten", wrong), "torch", wrong)
    assert nn.from_torch(wrong).inputs == 4


def test_each_layer_that_is_named_comes_from_pytorch():
    known = refused("which numnet does not know", torch.nn.Sequential(Double())).partition("use ")[2].split(", ")
    assert known == ["Linear", *ACTIVATIONS_BY_NAME]
    for make in ACTIVATIONS_BY_NAME.values():
        assert len(nn.from_torch(torch.nn.Sequential(torch.nn.Linear(4, 3), make())).layers) == 2


def test_the_remedies_for_the_softmax_help():
    module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.LogSoftmax(dim=1))
    x = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    (option,) = re.findall(r"leave it out, and give (.*)", refused("LogSoftmax, is no layer that numnet", module))
    net = nn.from_torch(module[:-1], **eval(f"dict({option})"))
    np.testing.assert_allclose(net(x), module(torch.tensor(x)).exp().detach(), rtol=1e-5)
    for softmax in ("no", 1):
        refused(f"from_torch: softmax must be True or False, got {softmax!r}", module[:-1], softmax)
    module[1] = torch.nn.Softmax(dim=1)
    refused(
        "the module ends in a Softmax, and the softmax must be taken only once: leave out softmax=True", module, True
    )
    np.testing.assert_allclose(nn.from_torch(module)(x), module(torch.tensor(x)).detach(), rtol=1e-5)


@pytest.mark.parametrize("dtypes", [["float16"], ["bfloat16"], ["float32", "float64"], ["float32", "float16"]])
def test_the_remedy_for_another_dtype_helps(dtypes):
    module = torch.nn.Sequential(*(torch.nn.Linear(3, 3, dtype=getattr(torch, dtype)) for dtype in dtypes))
    message = refused(f"the parameters are of {' and '.join(sorted(dtypes))}, but a network has one dtype", module)
    whole = followed(message, "copy", module)
    assert module[-1].weight.dtype == getattr(torch, dtypes[-1])
    np.testing.assert_array_equal(nn.from_torch(whole).parameters, flat(whole))


@pytest.mark.parametrize("dtype", ["float16", "float64", "complex64"])
@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("which", ["weight", "bias"])
def test_one_parameter_of_another_dtype_is_enough(layer, which, dtype):
    module = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
    setattr(module[layer], which, torch.nn.Parameter(getattr(module[layer], which).to(getattr(torch, dtype))))
    message = refused(f"are of {' and '.join(sorted(['float32', dtype]))}, but a network has one dtype", module)
    assert ("give copy.deepcopy(module).float()" in message) is (dtype != "complex64")


@pytest.mark.parametrize("ending", ["", "S", "LS", "LRS", "RLS", "SL", "LSL", "SLR", "SRL", "LSR", "SSL", "LSS"])
@pytest.mark.parametrize("softmax", [True, False, np.True_, np.False_])
def test_a_softmax_is_added_unless_the_module_ends_in_one(ending, softmax):
    kinds = {"L": lambda: torch.nn.Linear(3, 3), "R": torch.nn.ReLU, "S": lambda: torch.nn.Softmax(dim=1)}
    module = torch.nn.Sequential(torch.nn.Flatten(), *(kinds[letter]() for letter in ending))
    if softmax and ending.endswith("S"):
        refused("the softmax must be taken only once: leave out softmax=True", module, softmax)
    elif ending or softmax:
        net = nn.from_torch(module, softmax)
        assert "".join(type(layer).__name__[0] for layer in net.layers) == ending + "S" * bool(softmax)
        assert net.dtype == "float32"
    else:
        refused("Sequential needs at least one layer", module)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_bias_of_one_number_is_a_bias_whatever_the_number_is(value):
    module = torch.nn.Sequential(torch.nn.Linear(3, 1))
    torch.nn.init.constant_(module[0].bias, value)
    assert nn.from_torch(module).layers[0].bias.tolist() == [value]


def test_the_remedies_for_what_is_not_there_yet_help():
    lazy = torch.nn.Sequential(torch.nn.LazyLinear(3))
    refused("module[0], LazyLinear, has no parameters yet: call the module with a batch first", lazy)
    lazy(torch.ones(2, 5))
    assert nn.from_torch(lazy).inputs == 5
    refused("the weight of module[0]", torch.nn.Sequential(torch.nn.Linear(4, 3, device="meta")))
    module = torch.nn.Sequential(torch.nn.Linear(4, 3))
    for hooked in (module, module[0]):
        for register in (hooked.register_forward_hook, hooked.register_forward_pre_hook):
            handle = register(lambda *_: None)
            refused("has a hook, which can change what it computes: remove the hook first", module)
            handle.remove()
            assert nn.from_torch(module).inputs == 4


class Twice(nn.Sigmoid):
    def forward(self, x, out=None):
        return np.multiply(super().forward(x, out), 2, out=out)


class Inverted(nn.Sequential):
    def scaled(self, x, out=None):
        return 1 - super().scaled(x, out)


class Last(nn.Tanh):
    """A Tanh with another name."""


def test_what_is_refused_of_numnet_and_the_remedies_help():
    def told(net, message):
        with pytest.raises(ValueError, match=re.escape(message)) as raised:
            nn.to_torch(net)
        return str(raised.value)

    told(nn.Linear(4, 2), "to_torch: net must be a Sequential, got Linear(4, 2)")
    message = told(
        nn.Sequential(nn.Linear(4, 2), Twice()),
        "to_torch: layer 1, Twice(), has a forward or parameters of its own, which",
    )
    for name in re.search(r"use (.*)", message)[1].split(", ")[1:]:
        assert type(nn.to_torch(nn.Sequential(nn.Linear(4, 2), getattr(nn, name)()))[1]).__name__ == name
    assert isinstance(nn.to_torch(nn.Sequential(nn.Linear(4, 2), Last()))[1], torch.nn.Tanh)
    net = nn.Sequential(nn.Linear(4, 2), dtype="complex128")
    (code,) = re.findall(r"give (net.*)", told(net, "but the network is complex128: give net.astype"))
    with contextlib.suppress(np.exceptions.ComplexWarning):
        assert nn.to_torch(eval(code, {"net": net}))[0].weight.dtype == torch.float64
    net = Inverted(nn.Linear(4, 2), seed=0)
    told(net, "to_torch: Inverted has a scaled of its own, which would be lost: give a numnet.Sequential of new")
    plain = nn.Sequential(nn.Linear(4, 2))
    plain.parameters = net.parameters
    np.testing.assert_array_equal(flat(nn.to_torch(plain)), net.parameters)


def test_without_pytorch_the_error_says_what_brings_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(
        ImportError, match=r"to_torch needs PyTorch, which cannot be imported .*pip install 'numnet"
    ) as told:
        nn.to_torch(nn.Sequential(nn.Linear(4, 2)))
    assert re.search(r"numnet\[(\w+)\]", str(told.value))[1] in importlib.metadata.metadata("numnet").get_all(
        "Provides-Extra"
    )
