import itertools
import json
import math
import os
import re
import signal
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import numnet as nn
from numnet import checkpoint, npz
from numnet.run import Best, Progress

from .devices import DEVICES, host
from .networks import cases


class Power(nn.Layer):
    """y = x^p."""

    def __init__(self, exponent):
        self.exponent = exponent

    def forward(self, x, out=None):
        return np.power(x, self.exponent, out=out)


class Forgetful(nn.Layer):
    def __init__(self, exponent):
        pass


@pytest.fixture
def saved(tmp_path):
    net = nn.Sequential(nn.Linear(3, 2), nn.Softmax(), seed=0)
    net.save(tmp_path / "net.npz")
    return net, tmp_path / "net.npz"


@pytest.mark.parametrize("device", DEVICES)
@given(case=cases())
def test_what_is_saved_is_what_is_loaded(case, tmp_path_factory, device):
    path = tmp_path_factory.mktemp("nets") / "net.npz"
    case.net.to(device)
    for net in (case.net, case.net.astype("float32")):
        net.save(path)
        again = nn.load(path, device=device)
        assert repr(again) == repr(net)
        assert again.dtype == net.dtype
        np.testing.assert_array_equal(host(again.parameters), host(net.parameters))
        np.testing.assert_array_equal(again(case.x), net(case.x))


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_a_network_without_parameters_is_saved_too(tmp_path, dtype):
    net = nn.Sequential(nn.Sigmoid(), dtype=dtype)
    net.save(tmp_path / "net.npz")
    assert repr(nn.load(tmp_path / "net.npz")) == repr(net)


def test_a_part_may_grow_beyond_what_a_small_zip_can_hold(saved):
    """Of every part, the sizes are written with 64 bits, as np.savez does."""
    content = saved[1].read_bytes()
    for start in (at.start() for at in re.finditer(b"PK\x03\x04", content)):
        name = int.from_bytes(content[start + 26 : start + 28], "little")
        assert content[start + 30 + name : start + 34 + name] == b"\x01\x00\x10\x00"


def test_the_name_is_kept_as_given_and_nothing_else_is_left(saved, tmp_path):
    saved[0].save(tmp_path / "weights")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.npz", "weights"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no FIFOs")
def test_only_files_are_replaced(saved, tmp_path):
    net, path = saved
    (tmp_path / "link").symlink_to(path)
    os.mkfifo(tmp_path / "pipe")
    net.parameters = 0
    net.save(tmp_path / "link")
    assert not nn.load(path).parameters.any()
    assert (tmp_path / "link").is_symlink()
    for name, what in ("pipe", "a FIFO"), (".", "a folder"):
        with pytest.raises(OSError, match=f"cannot be written: it is {what}. Name a file"):
            net.save(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*missing"):
        net.save(tmp_path / "missing" / "net.npz")


def test_a_layer_of_ones_own_is_found_by_its_name(tmp_path):
    nn.Sequential(nn.Linear(2, 2), Power(3)).save(tmp_path / "net.npz")
    assert nn.load(tmp_path / "net.npz").layers[1].exponent == 3


def test_arguments_of_a_layer_of_ones_own_may_have_the_names_of_those_of_linear(tmp_path):
    class ShiftByStart(nn.Layer):
        def __init__(self, start, bias):
            self.start, self.bias = start, bias

    nn.Sequential(nn.Linear(2, 2), ShiftByStart(7, None)).save(tmp_path / "net.npz")
    again = nn.load(tmp_path / "net.npz").layers[1]
    assert (type(again), again.start, again.bias) == (ShiftByStart, 7, None)


def test_a_layer_of_ones_own_is_not_taken_for_numnets_of_the_same_name(saved):
    _net, path = saved

    class Softmax(nn.Layer):
        pass

    assert type(nn.load(path).layers[1]) is nn.Softmax
    nn.Sequential(nn.Linear(2, 2), Softmax()).save(path)
    assert type(nn.load(path).layers[1]) is Softmax


def test_two_layers_of_one_name_are_not_guessed_between(tmp_path):
    class Act(nn.Layer):
        pass

    first = Act
    nn.Sequential(first()).save(tmp_path / "net.npz")

    def elsewhere():
        class Act(nn.Layer):
            pass

        return Act

    second = elsewhere()
    with pytest.raises(nn.CheckpointError, match="several classes are named 'Act' here"):
        nn.load(tmp_path / "net.npz")
    assert first is not second


def test_two_layers_of_one_name_in_two_modules_are_not_guessed_between(tmp_path):
    one, other = (type("Gate", (nn.Layer,), {"__module__": module}) for module in ("one", "other"))
    nn.Sequential(one()).save(tmp_path / "net.npz")
    with pytest.raises(nn.CheckpointError, match="several classes are named 'Gate' here"):
        nn.load(tmp_path / "net.npz")
    assert one is not other


CELL = """
class {name}(nn.{base}):
    def __init__(self, size):
        self.size = {size}
        self.made_by = {number}
    def forward(self, x, out=None):
        return np.multiply(x, 1, out=out)
    def backward(self, grad, out=None):
        return np.multiply(grad, 1, out=out)
    def value(self, y, t, out=None):
        return nn.Quadratic().value(y, t)
    def gradient(self, y, t, out=None):
        return nn.Quadratic().gradient(y, t, out)
"""


@pytest.mark.parametrize("base", ["Layer", "Cost", "Tanh", "Quadratic"])
@pytest.mark.parametrize("runs", [1, 2, 5])
def test_of_a_cell_that_was_run_again_the_last_class_is_meant(base, runs, tmp_path):
    """Old classes stay in memory as long as anything uses them, here a network."""
    kept, names = [], {"nn": nn, "np": np, "__name__": "a notebook"}
    name = f"OfACell{base}{runs}"
    for number in range(runs):
        exec(CELL.format(name=name, base=base, size="size", number=number), names)
        kept.append(names[name](3))
    own_layer = base in ("Layer", "Tanh")
    layers = [nn.Linear(1, 2), *([kept[0]] if own_layer else [])]
    trainer = nn.Trainer(nn.Sequential(*layers), nn.Quadratic() if own_layer else kept[0], nn.SGD(0.1))
    trainer.fit(DATA, 1, 3, checkpoint=tmp_path / "run.npz")
    again = nn.Trainer.resume(tmp_path / "run.npz")
    found = again.net.layers[1] if own_layer else again.cost
    assert (type(found), found.made_by, found.size) == (names[name], runs - 1, 3)
    if own_layer:
        assert type(nn.load(tmp_path / "run.npz").layers[1]) is names[name]


def test_of_a_class_that_was_derived_from_its_older_self_the_newer_is_meant(tmp_path):
    older = type("Renewed", (nn.Tanh,), {"__module__": "a notebook"})
    newer = type("Renewed", (older,), {"__module__": "a notebook"})
    nn.Sequential(nn.Linear(1, 1), newer()).save(tmp_path / "net.npz")
    assert type(nn.load(tmp_path / "net.npz").layers[1]) is newer


@pytest.mark.parametrize("every", [11, pytest.param(1, marks=pytest.mark.slow)])
def test_a_flipped_byte_is_refused_or_changes_nothing(every, saved):
    net, path = saved
    whole = path.read_bytes()
    for i in range(0, len(whole), every):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 0x21]) + whole[i + 1 :])
        try:
            again = nn.load(path)
        except nn.CheckpointError:
            continue
        np.testing.assert_array_equal(again.parameters, net.parameters)


def test_a_layer_whose_arguments_are_not_kept_cannot_be_saved(tmp_path):
    class Keywords(nn.Layer):
        def __init__(self, **kwargs):
            self.exponent = kwargs.get("exponent")

    for layer in (Forgetful(2), Power(np.ones(2)), Power(np.nan), Keywords(exponent=2)):
        with pytest.raises(nn.CheckpointError, match=r"cannot be saved: each argument of its __init__ must be kept"):
            nn.Sequential(layer).save(tmp_path / "net.npz")
    assert not list(tmp_path.iterdir())


def test_a_failed_write_keeps_the_previous_file(saved, monkeypatch):
    net, path = saved
    before = path.read_bytes()
    net.parameters = 0

    def fail(*_, **__):
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        net.save(path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["net.npz"]


@pytest.mark.parametrize("every", [11, pytest.param(1, marks=pytest.mark.slow)])
def test_truncated_anywhere_it_is_refused(every, saved):
    _, path = saved
    whole = path.read_bytes()
    for size in range(0, len(whole), every):
        path.write_bytes(whole[:size])
        with pytest.raises(nn.CheckpointError, match="is nothing that numnet has saved, or is damaged"):
            nn.load(path)


def rewrite(path, change_header=lambda header: None, **arrays):
    with np.load(path) as file:
        content = dict(file)
    header = json.loads(str(content["header"]))
    change_header(header)
    np.savez(path, **{**content, "header": np.array(json.dumps(header)), **arrays})


@pytest.mark.parametrize(
    ("change", "arrays", "message"),
    [
        (
            lambda h: h.update(version=99),
            {},
            "net.npz has format 'numnet network', version 99; this numnet reads 'numnet network', version 1, "
            "'numnet run', version 1, 'numnet run', version 2, "
            "'numnet run', version 3: update numnet, or save the network again with this one$",
        ),
        (lambda h: h.update(format="other"), {}, "has format 'other'"),
        (lambda h: h.pop("layers"), {}, "net.npz is nothing that numnet has saved, or is damaged"),
        (lambda h: h.pop("format"), {}, r"is nothing .* damaged \('format'\): save it again, or take an older copy$"),
        (lambda h: h.update(layers=[["numnet.Linear", {"inputs": 3}]]), {}, "is damaged"),
        (
            lambda h: h.update(layers=[["Unknown", {}]]),
            {},
            "a layer 'Unknown' that is not defined here: define or import its class, then load$",
        ),
        (
            lambda h: h.update(layers=[["numnet.Linear", {"inputs": 3, "outputs": 3}]]),
            {},
            "net.npz holds 8 parameters, but its layers need 9 or more",
        ),
        (lambda h: h.update(layers=[["numnet.Linear", {"inputs": 10**7, "outputs": 10**7}]]), {}, "is damaged"),
        (lambda h: h.update(dtype="float64"), {}, "holds 8 parameters of float32, but its layers need 8 of float64"),
        (lambda h: None, {"parameters": np.zeros((2, 4), np.float32)}, "holds 8 parameters"),
        (
            lambda h: h["layers"].append(["numnet.Linear", {"inputs": 2, "outputs": 2}]),
            {},
            "holds 8 parameters, but its layers need 10 or more",
        ),
        *(
            (
                lambda h, sizes=sizes: h["layers"][0][1].update(zip(("inputs", "outputs"), sizes, strict=True)),
                {},
                rf"a layer has the sizes {re.escape(repr(sizes))}",
            )
            for size in (0, -2, 3.0, True, "3", None, [3])
            for sizes in ([size, 2], [3, size])
        ),
        (lambda h: None, {"more": np.zeros(1)}, "its parts are not best.npy, header.npy, parameters.npy, velocity.npy"),
        (lambda h: None, {"parameters": np.array([{}], object)}, "is damaged"),
        (lambda h: None, {"parameters": np.zeros(8, "<i4")}, r"parameters.npy' claims \(8,\) of int32 in 32 bytes"),
        (lambda h: None, {"parameters": np.zeros((4, 2), "<f4", "F")}, r"claims \(4, 2\) of float32 in 32 bytes"),
    ],
)
def test_altered_it_is_refused(saved, change, arrays, message):
    _, path = saved
    rewrite(path, change, **arrays)
    with pytest.raises(nn.CheckpointError, match=message):
        nn.load(path)


@pytest.mark.parametrize(
    ("change", "arrays", "message"),
    [
        (lambda h: None, {"velocity": np.zeros(3, "f4")}, "holds 3 velocities of float32, but its layers need 8 of"),
        (lambda h: None, {"parameters": np.zeros(9, "f4")}, "holds 9 parameters of float32, but its layers need 8 of"),
        (lambda h: h.pop("layers"), {}, "is nothing that numnet has saved, or is damaged"),
        (lambda h: h.update(best=1), {"best": np.zeros(3, "f4")}, "holds 3 best parameters of float32, but its layers"),
        *(
            (
                lambda h, best=best: h.update(best=best),
                {"best": np.zeros(8, "f4")},
                f".*its best epoch cannot be {best!r}",
            )
            for best in (0, 2, "1")
        ),
        *(
            (lambda h, number=number: h.update(threads=number), {}, f".*its number of threads cannot be {number!r}")
            for number in (0, -1, 2.0, True, "2")
        ),
        *(
            (lambda h, name=name, value=value: h["generator"]["state"].update({name: value}), {}, ".*none of PCG64's")
            for name, value in (("state", 3.0), ("state", True), ("inc", 3.0), ("inc", True), ("inc", 0), ("inc", 6))
        ),
        (lambda h: h["layers"].append(["numnet.Softmax", {}]), {}, r"is nothing .* damaged \(.*probabilities twice"),
    ],
)
def test_an_altered_run_is_refused(tmp_path, change, arrays, message):
    net = nn.Sequential(nn.Linear(3, 2), nn.Softmax())
    trainer, path = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.5)), tmp_path / "run.npz"
    trainer.fit((np.eye(2, 3), [0, 1]), 1, 2, checkpoint=path)
    rewrite(path, change, **arrays)
    with pytest.raises(nn.CheckpointError, match=f"run.npz {message}"):
        checkpoint.load_run(path, "cpu", None)


def test_of_another_version_of_a_run_those_that_are_read_are_named(tmp_path):
    a_trainer().fit(([[1.0]], [[1.0]]), 1, 1, checkpoint=tmp_path / "run.npz")
    rewrite(tmp_path / "run.npz", lambda header: header.update(version=4))
    known = ", ".join(f"'numnet run', version {number}" for number in (1, 2, 3))
    with pytest.raises(nn.CheckpointError, match=f"version 4; this numnet reads {known}: update numnet, or save"):
        nn.Trainer.resume(tmp_path / "run.npz")


@pytest.mark.parametrize("best", [np.zeros(1, "f4"), np.zeros(8), np.zeros((8, 1), "f4")])
def test_best_parameters_that_do_not_fit_are_not_loaded(best, tmp_path):
    net, path = nn.Sequential(nn.Linear(3, 2), nn.Softmax()), tmp_path / "run.npz"
    trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.5))
    trainer.fit((np.eye(2, 3), [0, 1]), 1, 2, callbacks=[nn.keep_best("train_cost")], checkpoint=path)
    rewrite(path, best=best)
    for read in (nn.load, nn.Trainer.resume):
        with pytest.raises(nn.CheckpointError, match=r"run.npz holds \d best parameters of .*the file is damaged"):
            read(path)


@pytest.mark.parametrize("number", [None, 1, 2, 64])
def test_the_threads_of_a_run_are_read(tmp_path, number):
    a_trainer().fit(([[1.0]], [[1.0]]), 1, 1, checkpoint=tmp_path / "run.npz")
    rewrite(tmp_path / "run.npz", lambda header: header.update(threads=number))
    assert checkpoint.load_run(tmp_path / "run.npz", "cpu", None)[-1] == number


def test_a_network_from_a_file_counts_as_trained(saved):
    _, path = saved
    assert nn.load(path).trained


# The places of a run in files: version 2 has sums, and version 1 has lists with one number for each block.
PLACES = {
    1: {"last": 1, "batch_size": 2, "samples": 7, "sizes": [4, 3], "costs": [0.5, 0.25], "rights": [2, 1]},
    2: {"last": 1, "batch_size": 2, "samples": 7, "done": 4, "cost": 2.0, "right": 2, "seconds": 0.5},
}


def place_read(version, epochs=0, **changes):
    name = "left" if version == 1 else "progress"
    return checkpoint._progress({"version": version, name: {**PLACES[version], **changes}}, epochs)


def test_places_in_a_run_are_read():
    assert place_read(1, seconds=0.5) == Progress(1, 2, 7, done=7, cost=0.5 * 4 + 0.25 * 3, right=3.0, seconds=0.5)
    assert place_read(2) == Progress(1, 2, 7, done=4, cost=2.0, right=2.0, seconds=0.5)
    assert place_read(1, sizes=[1, 6]).done == 7
    assert math.isnan(place_read(1, rights=[2, None]).right)
    assert math.isnan(place_read(2, right=None).right)
    assert place_read(1, epochs=1, sizes=[], costs=[], rights=[]) == Progress(1, 2, 7)
    assert place_read(2, epochs=1, done=0).last == 1


@pytest.mark.parametrize(
    ("version", "change"),
    [
        *((version, {name: value}) for version in (1, 2) for name, value in (("last", 0), ("batch_size", -1))),
        *((version, {name: value}) for version in (1, 2) for name, value in (("samples", 7.0), ("samples", True))),
        *((version, {name: True}) for version in (1, 2) for name in ("last", "batch_size")),
        *((1, {"sizes": sizes}) for sizes in ([4, 4], [7, 0], [9, -2], [4.0, 3.0], [True, 6])),
        (1, {"costs": []}),
        (1, {"rights": [1] * 3}),
        *((2, {"done": done}) for done in (8, -1, 4.0, None, "4")),
        *((2, {"weighted": weighted}) for weighted in (2, "True", [])),
    ],
)
def test_a_place_in_a_run_that_cannot_be_is_refused(version, change):
    with pytest.raises((ValueError, TypeError), match=r"its place in the run|unsupported operand|concatenate"):
        place_read(version, **change)


@pytest.mark.parametrize("version", PLACES)
def test_a_place_in_an_epoch_after_the_last_is_refused(version):
    with pytest.raises(ValueError, match=r"its place in the run cannot be: \d of 7 samples"):
        place_read(version, epochs=1)


@pytest.mark.parametrize(
    ("version", "samples", "done"), [(3, 2_000_000, 128), (1, 2_000_000, 0), (1, 1 << 20, 128), (1, (1 << 20) + 1, 128)]
)
def test_only_an_order_that_is_not_drawn_any_more_is_refused(version, samples, done, tmp_path):
    def of_version_1(header):
        place = {name: header["progress"][name] for name in ("last", "batch_size", "samples", "seconds")}
        blocks = {name: [number] * bool(done) for name, number in (("sizes", done), ("costs", 0.5), ("rights", 1))}
        header.update(version=1, left={**place, **blocks})

    trainer, path = a_trainer(), tmp_path / "run.npz"
    trainer.progress = Progress(last=3, batch_size=64, samples=samples, done=done)
    checkpoint.save_run(trainer, path)
    if version == 1:
        rewrite(path, of_version_1)
    if version == 1 and done and samples > 1 << 20:
        with pytest.raises(nn.CheckpointError, match=f"in the middle of an epoch over {samples} samples, in an order"):
            nn.Trainer.resume(path)
    else:
        assert nn.Trainer.resume(path).progress.done == done


def a_trainer():
    return nn.Trainer(nn.Sequential(nn.Linear(1, 1)), nn.Quadratic(), nn.SGD(0.5))


@pytest.mark.parametrize(
    ("every", "expected"),  # of 5 epochs, each of 3 batches and then 4: the epochs, with a + where it is at their end
    [
        (1, "1+ 2+ 3+ 4+ 5+"),
        ("2 epochs", "2+ 4+ 5+"),
        ("1 epoch", "1+ 2+ 3+ 4+ 5+"),
        ("1 batch", "1 1 2 2 3 3 4 4 5 5 5+"),
        ("4 batches", "1 2 3 4 5 5+"),
        ("7 batches", "1 2 3 4 5 5+"),
        ("8 batches", "2 3 5 5+"),
    ],
)
def test_a_saver_writes_as_often_as_asked_and_at_the_end(every, expected, tmp_path, monkeypatch):
    written, trainer = [], a_trainer()
    trainer.progress = Progress(last=5, batch_size=1, samples=7)
    saver = checkpoint.Saver(trainer, tmp_path / "run.npz", every, "raise", False)
    for epoch in range(1, 6):
        monkeypatch.setattr(checkpoint, "save_run", lambda *_, now=f"{epoch}": written.append(now))
        saver.after_block(trainer, 3)
        saver.after_block(trainer, 4)
        monkeypatch.setattr(checkpoint, "save_run", lambda *_, now=f"{epoch}+": written.append(now))
        trainer.history.append(nn.Epoch(epoch, 0.5, 0.5, 0.5, 0.5))
        saver.after_epoch(trainer)
    assert " ".join(written) == expected


@pytest.mark.parametrize("what", ["parameters", "velocity", None])
def test_a_saver_writes_nothing_that_has_begun_to_diverge(what, tmp_path):
    trainer, path = a_trainer(), tmp_path / "run.npz"
    if what == "parameters":
        trainer.net.parameters = np.inf
    if what == "velocity":
        trainer.optimizer.velocity[...] = np.inf
    checkpoint.Saver(trainer, path, "1 batch", "raise", False).after_block(trainer, 1)
    assert path.exists() == (what is None)


@given(what=st.sampled_from(["parameters", "velocity"]), value=st.sampled_from([math.inf, -math.inf, math.nan]))
def test_a_saver_looks_at_every_number(what, value, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run.npz"
    for place in range(8):
        trainer = nn.Trainer(nn.Sequential(nn.Linear(3, 2), seed=0), nn.Quadratic(), nn.SGD(0.5))
        (trainer.net.parameters if what == "parameters" else trainer.optimizer.velocity)[place] = value
        checkpoint.Saver(trainer, path, "1 batch", "raise", False).after_block(trainer, 1)
        assert not path.exists()


def test_a_run_with_a_generator_of_ones_own_cannot_be_saved(tmp_path):
    trainer = a_trainer()
    trainer.rng = object()
    with pytest.raises(nn.CheckpointError, match="a run can be saved if its generator is a PCG64, but it is None"):
        checkpoint.Saver(trainer, tmp_path / "run.npz", 1, "raise", False)


UNUSABLE = {
    "lr": [-1.0, math.nan, math.inf, True, "fast", np.array(0.1)],
    "momentum": [-0.5, 1.0, math.nan, "much", None],
    "nesterov": [1, "yes"],
    "weight_decay": [-1.0, math.inf, None],
    "clip_norm": [0.0, -1.0, math.nan],
}


@pytest.mark.parametrize(("option", "value"), [(name, value) for name in UNUSABLE for value in UNUSABLE[name]])
def test_a_run_with_options_that_no_optimizer_can_have_is_not_written(option, value, tmp_path):
    trainer, path = a_trainer(), tmp_path / "run.npz"
    checkpoint.save_run(trainer, path)
    before = path.read_bytes()
    setattr(trainer.optimizer, option, value)
    with pytest.raises(nn.CheckpointError, match=r"a run with such an optimizer could not be resumed \(SGD: "):
        checkpoint.save_run(trainer, path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("lr", [0.5, np.float32(0.5), np.float64(0.5), 1, np.int64(1), 0, np.float32(0)])
def test_options_may_be_numbers_of_numpy(lr, tmp_path):
    trainer, path = a_trainer(), tmp_path / "run.npz"
    trainer.progress = Progress(last=1, batch_size=1, samples=1)
    trainer.optimizer.lr, trainer.optimizer.momentum = lr, np.float32(0.25)
    checkpoint.save_run(trainer, path)
    again = nn.Trainer.resume(path).optimizer
    assert (again.lr, again.momentum) == (float(lr), 0.25)


def test_a_saver_that_cannot_write_raises_or_warns(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(checkpoint, "save_run", fail)
    trainer, path = a_trainer(), tmp_path / "run.npz"
    with pytest.raises(OSError, match="no space left"):
        checkpoint.Saver(trainer, path, 1, "raise", False).after_epoch(trainer)
    message = r"run.npz could not be written \(no space left\): training goes on, and what was there before still is$"
    with pytest.warns(RuntimeWarning, match=message):
        checkpoint.Saver(trainer, path, 1, "warn", False).after_epoch(trainer)


@pytest.mark.parametrize("every", [1, 2, "2 batches", "4 batches", "5 batches", "100 batches"])
@pytest.mark.parametrize("fails", ["never", "always", "every other time"])
def test_a_saver_tries_as_often_if_it_fails(every, fails, tmp_path, monkeypatch):
    """After a failure the saver waits as long as after a success: a full disk is not asked after each block."""
    tried, told, trainer = [], itertools.count(), a_trainer()
    trainer.progress = Progress(last=5, batch_size=1, samples=7)
    saver = checkpoint.Saver(trainer, tmp_path / "run.npz", every, "warn", False)

    def save(run, path, overwrite):
        tried.append(place)
        if fails == "always" or (fails == "every other time" and next(told) % 2):
            raise OSError("no space left")

    expected, waiting = [], 0
    monkeypatch.setattr(checkpoint, "save_run", save)
    unit = int(str(every).partition(" ")[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for epoch in range(1, 6):
            for place, batches in ((f"{epoch}a", 3), (f"{epoch}b", 1)):
                saver.after_block(trainer, batches)
                waiting += batches
                if "batch" in str(every) and waiting >= unit:
                    expected.append(place)
                    waiting = 0
            trainer.history.append(nn.Epoch(epoch, 0.5, 0.5, 0.5, 0.5))
            place = f"{epoch}+"
            saver.after_epoch(trainer)
            if epoch == 5 or ("batch" not in str(every) and epoch % unit == 0):
                expected.append(place)
                waiting = 0
    assert tried == expected


def test_what_others_have_written_meanwhile_is_theirs_also_if_the_disk_was_full(tmp_path, monkeypatch):
    path, longer = tmp_path / "run.npz", tmp_path / "longer.npz"
    trainer = finished(path, 1)
    finished(longer, 5, seed=1)

    def full(*_):
        path.write_bytes(longer.read_bytes())
        raise OSError("no space left")

    monkeypatch.setattr(checkpoint, "save_run", full)
    with pytest.warns(RuntimeWarning, match="could not be written") as caught:
        trainer.fit(DATA, 1, 3, checkpoint=path, checkpoint_failure="warn")
    assert caught[0].filename == __file__
    monkeypatch.undo()
    with pytest.raises(nn.CheckpointError, match="holds a run of 5 epochs"):
        trainer.fit(DATA, 1, 3, checkpoint=path)
    assert path.read_bytes() == longer.read_bytes()


def test_ctrl_c_does_not_make_the_file_of_others_the_runs_own(tmp_path, monkeypatch):
    path, longer = tmp_path / "run.npz", tmp_path / "longer.npz"
    trainer = finished(path, 1)
    finished(longer, 5, seed=1)

    def pressed(*_):
        raise KeyboardInterrupt

    def put(_):  # and then Ctrl-C, when the run looks at what is there
        path.write_bytes(longer.read_bytes())
        monkeypatch.setattr(checkpoint, "read", pressed)

    with pytest.raises(KeyboardInterrupt):
        trainer.fit(DATA, 1, 3, checkpoint=path, callbacks=[put])
    monkeypatch.undo()
    with pytest.raises(nn.CheckpointError, match="holds a run of 5 epochs"):
        trainer.fit(DATA, 1, 3, checkpoint=path)
    assert path.read_bytes() == longer.read_bytes()


numbers = st.floats(allow_nan=True, allow_infinity=True)
numbers |= numbers.map(np.float64)  # as of a callback that computes with NumPy


@given(epochs=st.lists(st.tuples(*[numbers] * 5), max_size=3), cost=numbers, right=numbers, seconds=numbers)
@example(
    epochs=[(math.nan, math.inf, -math.inf, 0.0, np.float64("nan"))], cost=np.float64("inf"), right=0.0, seconds=0.5
)
def test_every_number_of_a_run_is_written_and_read_back(epochs, cost, right, seconds, tmp_path_factory):
    trainer, path = a_trainer(), tmp_path_factory.mktemp("runs") / "run.npz"
    trainer.history[:] = [nn.Epoch(i, *values) for i, values in enumerate(epochs, 1)]
    trainer.progress = Progress(9, 5, 20, 10, cost, right, seconds)
    checkpoint.save_run(trainer, path)
    with np.load(path) as file:
        header = json.loads(str(file["header"]), parse_constant=pytest.fail)  # JSON knows neither nan nor inf
    for written, number in zip(itertools.chain(*header["history"]), itertools.chain(*trainer.history), strict=True):
        assert written == (number if math.isfinite(number) else None if math.isnan(number) else str(float(number)))
    again = nn.Trainer.resume(path)
    np.testing.assert_equal([tuple(epoch) for epoch in again.history], [tuple(epoch) for epoch in trainer.history])
    np.testing.assert_equal(vars(again.progress), vars(trainer.progress))


# Layers without a bias


class NeverBiased(nn.Linear):
    """A layer of one's own that has never a bias."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs, bias=False)


def test_a_network_without_any_bias_has_no_more_parameters_than_its_file(tmp_path):
    net = nn.Sequential(nn.Linear(4, 3, bias=False), nn.Linear(3, 2, bias=False), seed=0)
    net.save(tmp_path / "net.npz")
    np.testing.assert_array_equal(nn.load(tmp_path / "net.npz").parameters, net.parameters)


def test_a_network_of_layers_without_a_bias_is_saved(tmp_path):
    layers = (
        nn.Linear(4, 3, bias=False, start=nn.starts.he),
        nn.Tanh(),
        NeverBiased(3, 2),
        nn.Linear(2, 2),
        nn.Softmax(),
    )
    net = nn.Sequential(*layers, seed=0)
    net.save(tmp_path / "net.npz")
    again = nn.load(tmp_path / "net.npz")
    assert repr(again) == repr(net)
    np.testing.assert_array_equal(again.parameters, net.parameters)
    assert again.layers[0].bias is again.layers[0].start is None


def test_a_layer_derived_from_linear_is_saved_with_its_bias_and_without(tmp_path):
    class DerivedLinear(nn.Linear):
        pass

    net = nn.Sequential(DerivedLinear(3, 2, start=nn.starts.he), DerivedLinear(2, 2, bias=False), seed=0)
    net.save(tmp_path / "net.npz")
    again = nn.load(tmp_path / "net.npz")
    assert repr(again) == repr(net)
    assert type(again.layers[0]) is DerivedLinear
    np.testing.assert_array_equal(again.parameters, net.parameters)


def test_a_layer_with_a_bias_is_written_as_before(tmp_path):
    """numnet 0.1.0 can read the file, whose layers have no word of a bias or a start."""
    net = nn.Sequential(nn.Linear(3, 2, start=nn.starts.he), nn.Linear(2, 2, bias=False), seed=0)
    net.save(tmp_path / "net.npz")
    header = str(np.load(tmp_path / "net.npz")["header"])
    assert header == (
        '{"format": "numnet network", "version": 1, "dtype": "float32", "layers": '
        '[["numnet.Linear", {"inputs": 3, "outputs": 2}], '
        '["numnet.Linear", {"inputs": 2, "outputs": 2, "bias": false}]]}'
    )


# A longer run in the place


def finished(path, epochs, seed=0, net=None, **options):
    net = net or nn.Sequential(nn.Linear(1, 2), nn.Tanh(), seed=seed)
    trainer = nn.Trainer(net, nn.Quadratic(), nn.SGD(0.1), seed=seed)
    trainer.fit(DATA, epochs, 3, checkpoint=path, **options)
    return trainer


DATA = np.linspace(-1, 1, 9)[:, None], np.linspace(-1, 1, 18).reshape(9, 2)


@pytest.mark.parametrize("ranks", [False, True])
def test_a_longer_run_is_gone_on_with_on_ranks_if_this_run_has_ranks(ranks, tmp_path):
    path = tmp_path / "run.npz"
    finished(path, 3)
    trainer = nn.Trainer(nn.Sequential(nn.Linear(1, 2), nn.Tanh()), nn.Quadratic(), nn.SGD(0.1))
    if ranks:
        trainer.ranks = 2
    call = f"Trainer.resume({str(path)!r}{', comm=comm' if ranks else ''}), name another file"
    with pytest.raises(nn.CheckpointError, match=re.escape(call)):
        trainer.fit(DATA, 5, 3, checkpoint=path)


def test_a_longer_run_of_the_same_network_is_not_replaced(tmp_path):
    path = tmp_path / "run.npz"
    finished(path, 3)
    before = path.read_bytes()
    net = nn.Sequential(nn.Linear(1, 2), nn.Tanh(), seed=1)
    trainer = nn.Trainer(net, nn.Quadratic(), nn.SGD(0.5), seed=1)
    start = net.parameters.copy()
    with pytest.raises(nn.CheckpointError) as raised:
        trainer.fit(DATA, 5, 3, checkpoint=path)
    assert str(raised.value) == (
        f"fit: checkpoint {str(path)!r} holds a run of 3 epochs of a network like this one. This run has 0 epochs and "
        f"would replace the file. Go on with Trainer.resume({str(path)!r}), name another file, or give overwrite=True"
    )
    np.testing.assert_array_equal(net.parameters, start)
    assert len(trainer.history) == trainer.progress.last == 0
    assert path.read_bytes() == before
    trainer.fit(DATA, 1, 3, checkpoint=path, overwrite=True)
    assert len(nn.Trainer.resume(path).history) == 1
    trainer.fit(DATA, 1, 3, checkpoint=path)  # now it is its own
    assert len(nn.Trainer.resume(path).history) == 2


def test_a_run_that_others_have_made_longer_meanwhile_is_not_replaced(tmp_path):
    path = tmp_path / "run.npz"
    first = finished(path, 2)
    second = nn.Trainer.resume(path)
    second.fit(DATA, 3, 3, checkpoint=path)
    with pytest.raises(nn.CheckpointError, match="holds a run of 5 epochs"):
        first.fit(DATA, 1, 3, checkpoint=path)
    assert len(nn.Trainer.resume(path).history) == 5


def test_a_run_in_the_middle_of_an_epoch_is_longer_than_one_that_is_not(tmp_path):
    path, trainer = tmp_path / "run.npz", a_trainer()
    trainer.progress = Progress(last=5, batch_size=1, samples=7, done=3)
    checkpoint.save_run(trainer, path)
    with pytest.raises(nn.CheckpointError, match="holds a run of 0 epochs and 3 samples of"):
        checkpoint.Saver(a_trainer(), path, 1, "raise", False)
    equal = a_trainer()
    equal.progress = Progress(last=5, batch_size=1, samples=7, done=3)
    checkpoint.Saver(equal, path, 1, "raise", False)


@pytest.mark.parametrize("way", ["as given", "relative", "a link", "a hard link", "a tilde"])
def test_the_file_that_a_run_was_resumed_from_may_be_replaced(way, tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    finished(path, 3)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    again = {"relative": "run.npz", "a link": tmp_path / "link.npz", "a hard link": tmp_path / "hard.npz"}.get(
        way, path
    )
    if way == "a link":
        again.symlink_to(path)
    if way == "a hard link":
        again.hardlink_to(path)
    trainer = nn.Trainer.resume({"a link": again, "a tilde": "~/run.npz"}.get(way, path))
    trainer.net.parameters = 0
    trainer.history.pop()  # as if the run were behind its file
    trainer.fit(DATA, 1, 3, checkpoint=path if way == "a link" else again)
    assert len(nn.Trainer.resume(again).history) == 3


def test_a_run_goes_on_with_the_file_that_it_has_written(tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    trainer = finished(path, 1)
    fuse = itertools.count()

    def fail(*_, forward=nn.Tanh.forward):
        if next(fuse) == 8:  # in the third epoch, of three batches, whose first two are in the file
            raise KeyboardInterrupt
        return forward(*_)

    monkeypatch.setattr("numnet.data.BLOCK_BATCHES", 1)
    monkeypatch.setattr(nn.Tanh, "forward", fail)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(DATA, 3, 3, checkpoint=path, checkpoint_every="1 batch")
    monkeypatch.undo()
    assert nn.Trainer.resume(path).progress.done == 6
    assert (len(trainer.history), trainer.progress.done) == (3, 0)
    trainer.fit(DATA, checkpoint=path)
    assert len(nn.Trainer.resume(path).history) == 4


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Sequential(nn.Linear(1, 2), seed=0),
        lambda: nn.Sequential(nn.Linear(1, 2, bias=False), nn.Tanh(), seed=0),
        lambda: nn.Sequential(nn.Linear(1, 2), nn.Tanh(), dtype="float64"),
    ],
)
def test_a_longer_run_of_another_network_is_not_replaced(make, tmp_path):
    path, trainer = tmp_path / "run.npz", finished(tmp_path / "other.npz", 2)
    finished(path, 3, net=make())
    before = path.read_bytes()
    with pytest.raises(
        nn.CheckpointError, match=r"holds a run of 3 epochs of another network\. This run has 2 epochs and"
    ):
        trainer.fit(DATA, 1, 3, checkpoint=path)
    assert path.read_bytes() == before
    assert len(trainer.history) == 2
    trainer.fit(DATA, 1, 3, checkpoint=path, overwrite=True)
    assert len(nn.Trainer.resume(path).history) == 3


def test_a_longer_run_with_another_cost_is_not_replaced(tmp_path):
    path, net = tmp_path / "run.npz", nn.Sequential(nn.Linear(1, 2), nn.Softmax(), seed=0)
    data = DATA[0], np.arange(9) % 2
    nn.Trainer(net, nn.Quadratic(), nn.SGD(0.1)).fit(data, 2, 3, checkpoint=path)
    with pytest.raises(nn.CheckpointError, match="holds a run of 2 epochs of a network like this one"):
        nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.1)).fit(data, 1, 3, checkpoint=path)


def test_a_run_of_a_layer_that_is_not_defined_here_is_not_replaced(tmp_path):
    path = tmp_path / "run.npz"
    finished(path, 3)
    rewrite(path, lambda header: header["layers"].append(["Unknown", {}]))
    with pytest.raises(nn.CheckpointError, match="holds a run of 3 epochs of another network"):
        finished(path, 1)


@pytest.mark.parametrize("epochs", [0, 2])
def test_a_run_that_is_no_longer_is_replaced(epochs, tmp_path):
    path = tmp_path / "run.npz"
    trainer = finished(tmp_path / "other.npz", 2)
    if epochs:
        finished(path, 2, net=nn.Sequential(nn.Linear(1, 2), seed=0))
    else:
        path.write_bytes(b"")
    trainer.fit(DATA, 1, 3, checkpoint=path)
    assert len(nn.Trainer.resume(path).history) == 3


@pytest.mark.parametrize(
    "change",
    [
        lambda h: h.update(history=7),
        lambda h: h.update(history=[[1, 0.5]] * 9, progress=7),
        lambda h: h.update(history=[[1, 0.5]] * 9, progress={"done": "x"}),
        lambda h: h.update(history=[[1, 0.5]] * 9, progress={**PLACES[2], "done": "x"}),
        lambda h: h.update(history=[[1, 0.5]] * 9, progress=None),
        lambda h: h.update(version=99),
        lambda h: h.pop("progress"),
        lambda h: h.pop("layers"),
    ],
)
def test_a_run_that_cannot_be_judged_is_replaced_only_if_asked(change, tmp_path):
    path = tmp_path / "run.npz"
    finished(path, 3)
    rewrite(path, change)
    before = path.read_bytes()
    message = (
        "run.npz (is nothing that numnet|has format 'numnet run', version 99).*To replace the file all the same, give"
    )
    with pytest.raises(FileExistsError, match=f"{message} overwrite=True$"):
        finished(path, 1)
    assert path.read_bytes() == before
    finished(path, 1, overwrite=True)
    assert len(nn.Trainer.resume(path).history) == 1


def test_a_network_that_a_callback_puts_there_is_not_replaced(tmp_path):
    path = tmp_path / "run.npz"
    trainer = nn.Trainer(nn.Sequential(nn.Linear(1, 2), seed=0), nn.Quadratic(), nn.SGD(0.1), seed=0)
    with pytest.raises(FileExistsError, match=r"run.npz is there already, and is no numnet run, .* name another file"):
        trainer.fit(DATA, 2, 3, checkpoint=path, callbacks=[lambda trainer: trainer.net.save(path)])
    assert nn.load(path).parameters.tobytes() == trainer.net.parameters.tobytes()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no FIFOs")
def test_a_fifo_that_a_callback_puts_there_is_refused_and_not_waited_for(tmp_path):
    def waits(*_):
        raise AssertionError("the run waits for somebody to write to the FIFO")

    path, before = tmp_path / "run.npz", signal.signal(signal.SIGALRM, waits)
    trainer = nn.Trainer(nn.Sequential(nn.Linear(1, 2), seed=0), nn.Quadratic(), nn.SGD(0.1), seed=0)
    signal.alarm(10)
    try:
        with pytest.raises(OSError, match=r"run.npz cannot be written: it is a FIFO\. Name a file"):
            trainer.fit(DATA, 2, 3, checkpoint=path, callbacks=[lambda trainer: os.mkfifo(path)])
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert len(trainer.history) == 1


@pytest.mark.parametrize("failure", ["raise", "warn"])
def test_a_file_that_somebody_puts_there_meanwhile_is_not_replaced(failure, tmp_path):
    """Of two runs with one checkpoint, the run that is behind does not destroy the other."""
    path, other = tmp_path / "run.npz", tmp_path / "other.npz"
    finished(other, 5)
    trainer = nn.Trainer(nn.Sequential(nn.Linear(1, 2), nn.Tanh(), seed=0), nn.Quadratic(), nn.SGD(0.1), seed=0)

    def put(trainer):
        if len(trainer.history) == 2:
            path.write_bytes(other.read_bytes())

    options = {"callbacks": [put], "checkpoint": path, "checkpoint_failure": failure}
    if failure == "raise":
        with pytest.raises(
            nn.CheckpointError, match=r"holds a run of 5 epochs of a network like this one\. This run has 2 epochs"
        ):
            trainer.fit(DATA, 4, 3, **options)
    else:
        with pytest.warns(RuntimeWarning, match="run.npz could not be written .*holds a run of 5 epochs"):
            trainer.fit(DATA, 4, 3, **options)
    assert path.read_bytes() == other.read_bytes()


def test_a_longer_run_of_an_older_version_is_not_replaced(tmp_path):
    path = tmp_path / "run.npz"
    finished(path, 3)

    def of_version_1(header):
        place = header.pop("progress")
        place = {name: place[name] for name in ("last", "batch_size", "samples", "seconds")}
        header.update(version=1, left={**place, "sizes": [], "costs": [], "rights": []})
        header.pop("best")

    rewrite(path, of_version_1)
    assert len(nn.Trainer.resume(path).history) == 3
    with pytest.raises(nn.CheckpointError, match="holds a run of 3 epochs of"):
        finished(path, 1)


# The best epoch


@pytest.mark.parametrize("number", [2, 2.0])
def test_the_best_epoch_is_in_the_file(number, tmp_path):
    trainer, path = a_trainer(), tmp_path / "run.npz"
    trainer.history[:] = [nn.Epoch(epoch, 0.5, 0.5, 0.5, 0.5) for epoch in (1, 2, 3)]
    trainer.progress, trainer.best = Progress(3, 1, 7), Best(number, np.array([3, 4], np.float32))
    checkpoint.save_run(trainer, path)
    again = nn.Trainer.resume(path)
    assert (again.best.epoch, type(again.best.epoch)) == (2, int)
    np.testing.assert_array_equal(again.best.parameters, [3, 4])
    np.testing.assert_array_equal(again.net.parameters, trainer.net.parameters)


def test_parts_may_have_the_longer_header_of_npy(saved):
    net, path = saved
    with np.load(path) as file:
        content = dict(file)
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in content.items():
            with archive.open(f"{name}.npy", "w") as part:
                np.lib.format.write_array(part, array, version=(2, 0))
    np.testing.assert_array_equal(nn.load(path).parameters, net.parameters)


def test_parts_may_come_in_any_order(saved):
    net, path = saved
    with np.load(path) as file:
        parts = dict(file)
    np.savez(path, **dict(reversed(parts.items())))
    np.testing.assert_array_equal(nn.load(path).parameters, net.parameters)
    net.save(path)  # which is refused over what is no network


@pytest.mark.parametrize("shape", [(-1,), (7,), (9,), (2, 2), (), (0,), (8, -1)])
def test_a_part_that_claims_another_size_than_it_has_is_refused(shape, saved):
    _, path = saved
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    part, old, claim = parts["parameters.npy"], b"(8,), }   ", f"{shape}, }}".encode().ljust(10)
    assert old in part
    parts["parameters.npy"] = part.replace(old, claim)
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    with pytest.raises(nn.CheckpointError, match=re.escape(f"'parameters.npy' claims {shape} of float32 in 32 bytes")):
        nn.load(path)


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_parts_that_are_there_again_and_again_are_refused(saved):
    _, path = saved
    with zipfile.ZipFile(path, "a") as archive:
        for name in archive.namelist() * 2:
            archive.writestr(name, archive.read(name))
    with pytest.raises(
        nn.CheckpointError, match=r"\(its parts are not best\.npy, header\.npy, parameters\.npy, velocity"
    ):
        nn.load(path)


def test_what_a_file_is_blamed_for_is_told_in_short(saved):
    _, path = saved
    rewrite(path, lambda header: header.update(dtype="x " * 1000))
    with pytest.raises(
        nn.CheckpointError, match=r"damaged \([^()]{250,300} x \.\.\.\): save it again, or take an older copy$"
    ):
        nn.load(path)


def test_a_packed_file_is_refused(saved):
    _, path = saved
    with np.load(path) as file:
        content = dict(file)
    np.savez_compressed(path, **content)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    for packed in [*parts, "all"]:
        with zipfile.ZipFile(path, "w") as archive:
            for name, part in parts.items():
                archive.writestr(name, part, zipfile.ZIP_DEFLATED if packed in (name, "all") else zipfile.ZIP_STORED)
        with pytest.raises(nn.CheckpointError, match=r"\(its parts are packed, or claim to be longer than the file\)"):
            nn.load(path)


def test_a_part_that_claims_to_be_packed_is_refused_also_if_that_has_not_made_it_shorter(saved):
    _, path = saved
    content = path.read_bytes()
    for entry in (at.start() for at in re.finditer(b"PK\x01\x02", content)):
        path.write_bytes(content[: entry + 10] + b"\x08" + content[entry + 11 :])  # deflated
        with pytest.raises(nn.CheckpointError, match=r"\(its parts are packed, or claim to be longer than the file\)"):
            nn.load(path)


def test_to_see_what_a_file_is_only_its_header_is_read(tmp_path):
    nn.Sequential(nn.Linear(1000, 300)).save(tmp_path / "net.npz")
    tracemalloc.start()
    try:
        with open(tmp_path / "net.npz", "rb") as file:
            assert npz.NETWORK.holds(file)
            assert not npz.RUN.holds(file)
        assert tracemalloc.get_traced_memory()[1] < 1 << 19
    finally:
        tracemalloc.stop()


def test_other_files_are_refused(tmp_path):
    (tmp_path / "text").write_text("hello")
    np.save(tmp_path / "array.npy", np.ones(3))
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as file:
        file.writestr("a", "b")
    for name in ("text", "array.npy", "other.zip"):
        with pytest.raises(nn.CheckpointError, match=f"{name} is nothing that numnet has saved"):
            nn.load(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        nn.load(tmp_path / "missing.npz")


def test_a_network_that_is_loaded_from_a_run_with_keep_best_is_the_best(tmp_path):
    train, test = nn.datasets.digits()
    net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0)
    trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr=5.0), seed=0)
    path = tmp_path / "run.npz"
    trainer.fit(train, 8, 64, test, callbacks=[nn.keep_best("test_cost")], checkpoint=path)
    assert trainer.best.epoch < 8
    np.testing.assert_array_equal(nn.load(path).parameters, net.parameters)
    np.testing.assert_array_equal(nn.Trainer.resume(path).net.parameters, trainer.last)
