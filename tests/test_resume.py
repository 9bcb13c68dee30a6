"""Runs that are cut off: what is left of them, and how they go on."""

import io
import itertools
import json
import math
import os
import re
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import numnet as nn
import numnet.data
import numnet.run
import numnet.training
from numnet import threads

from .devices import DEVICES, alone_and_together, host
from .networks import Fuse

DIGITS = nn.datasets.digits()
RNG = np.random.default_rng(0)
X, T = RNG.normal(size=(50, 3)), RNG.integers(2, size=50)
AS_AFTER = "network, optimizer and history as after {}; the last checkpoint"
OPTIONS = [
    {},
    {"momentum": 0.9},
    {"momentum": 0.9, "nesterov": True, "weight_decay": 1e-3, "clip_norm": 0.5},
    {"lr": lambda epoch: 0.5 / epoch},
]


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(numnet.data, "BLOCK_BATCHES", 2)


@pytest.fixture(autouse=True)
def unburnt():
    yield
    Fuse.left = math.inf


def trainer_of(device="cpu", dtype="float32", **options):
    net = nn.Sequential(
        nn.Linear(3, 4), nn.Tanh(), Fuse(), nn.Linear(4, 2), nn.Softmax(), seed=0, dtype=dtype, device=device
    )
    return nn.Trainer(net, nn.CrossEntropy(), nn.SGD(**{"lr": 0.5, **options}), seed=0)


def outcome(trainer):
    """Return all that a run leaves, but for the seconds."""
    columns = trainer.history.to_dict()
    del columns["seconds"]
    return (
        host(trainer.net.parameters).tobytes(),
        host(trainer.optimizer.velocity).tobytes(),
        columns,
        trainer.rng.random(),
    )


# Resuming


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize(
    "every",
    [*(pytest.param(every, marks=pytest.mark.slow) for every in (1, 2, "1 batches")), "3 batches"],
)
@pytest.mark.parametrize("device", DEVICES)
def test_a_run_cut_off_anywhere_ends_with_the_same_bits(options, every, device, tmp_path, small_blocks):
    path = tmp_path / "run.npz"
    whole = trainer_of(device, **options)
    whole.fit((X, T), 4, 8, (X, T))
    wanted = outcome(whole)
    for cut in range(2, 4 * 7, 3):
        path.unlink(missing_ok=True)
        Fuse.left = cut
        with pytest.raises(KeyboardInterrupt):
            trainer_of(device, **options).fit((X, T), 4, 8, (X, T), checkpoint=path, checkpoint_every=every)
        Fuse.left = math.inf
        if not path.exists():
            continue
        again = nn.Trainer.resume(path, lr=options.get("lr") if callable(options.get("lr")) else None, device=device)
        again.fit((X, T), test=(X, T))
        assert outcome(again) == wanted, cut


@given(
    n=st.integers(1, 40),
    batch_size=st.integers(1, 12),
    epochs=st.integers(1, 4),
    cut=st.integers(1, 60),
    block=st.integers(1, 4),
)
def test_any_run_can_be_cut_off(n, batch_size, epochs, cut, block, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run.npz"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numnet.data, "BLOCK_BATCHES", block)
        whole, data = trainer_of(lr=0.1, momentum=0.5), (X[:n], T[:n])
        whole.fit(data, epochs, batch_size)
        Fuse.left = cut
        trainer = trainer_of(lr=0.1, momentum=0.5)
        try:
            trainer.fit(data, epochs, batch_size, checkpoint=path, checkpoint_every="1 batches")
        except KeyboardInterrupt:
            Fuse.left = math.inf
            here = trainer.fit(data)
            assert here is trainer.history
            assert outcome(trainer)[:3] == outcome(whole)[:3]
        finally:
            Fuse.left = math.inf
        if path.exists():
            again = nn.Trainer.resume(path)
            again.fit(data)
            assert outcome(again)[:3] == outcome(whole)[:3]


@pytest.mark.parametrize(("saved", "resumed"), [("cpu", "gpu"), ("gpu", "cpu")])
def test_a_run_goes_on_on_another_device(saved, resumed, tmp_path):
    whole, cut = (trainer_of(saved, "float64", momentum=0.9) for _ in range(2))
    whole.fit((X, T), 3, 8)
    cut.fit((X, T), 2, 8, checkpoint=tmp_path / "run.npz")
    again = nn.Trainer.resume(tmp_path / "run.npz", device=resumed)
    again.fit((X, T), 1, 8)
    np.testing.assert_allclose(host(again.net.parameters), host(whole.net.parameters), rtol=1e-9)
    assert again.net.device == resumed


class Terminal(io.StringIO):
    def isatty(self):
        return True


@given(
    n=st.integers(1, 40),
    batch_size=st.integers(1, 12),
    epochs=st.integers(1, 3),
    cut=st.integers(1, 60),
    block=st.integers(1, 4),
    resumed=st.booleans(),
)
@example(n=40, batch_size=4, epochs=2, cut=4, block=1, resumed=True)  # resumed in the middle of an epoch
@example(n=1, batch_size=2, epochs=2, cut=2, block=1, resumed=True)  # resumed after all batches of an epoch
def test_a_bar_is_as_long_as_what_is_left(n, batch_size, epochs, cut, block, resumed, tmp_path_factory):
    path, batches = tmp_path_factory.mktemp("runs") / "run.npz", math.ceil(n / batch_size)
    trainer, data = trainer_of(lr=0.1), (X[:n], T[:n])
    Fuse.left = cut
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numnet.data, "BLOCK_BATCHES", block)
        try:
            trainer.fit(data, epochs, batch_size, checkpoint=path, checkpoint_every="1 batch")
        except KeyboardInterrupt:
            pass
        finally:
            Fuse.left = math.inf
        if resumed and path.exists():
            trainer = nn.Trainer.resume(path)
        done = len(trainer.history) * batches + math.ceil(trainer.progress.done / batch_size)
        patch.setattr(sys, "stderr", Terminal())
        trainer.fit(data)
        shown = [tuple(map(int, place)) for place in re.findall(r"(\d+)/(\d+) \[", sys.stderr.getvalue())]
    assert {total for _, total in shown} == {epochs * batches - done}
    assert shown[-1][0] == epochs * batches - done
    assert sorted(shown) == shown


def test_a_finished_run_has_nothing_left_and_can_be_continued(tmp_path):
    trainer = trainer_of()
    trainer.fit((X, T), 2, 8, checkpoint=tmp_path / "run.npz")
    again = nn.Trainer.resume(tmp_path / "run.npz")
    assert len(again.fit((X, T))) == 2
    assert outcome(again)[:3] == outcome(trainer)[:3]
    assert len(again.fit((X, T), 1, 8)) == 3
    assert repr(again.optimizer) == repr(trainer.optimizer)


def test_the_network_of_a_run_can_be_loaded_alone(tmp_path):
    trainer = trainer_of()
    trainer.fit((X, T), 1, 8, checkpoint=tmp_path / "run.npz")
    np.testing.assert_array_equal(nn.load(tmp_path / "run.npz").parameters, trainer.net.parameters)
    trainer.net.save(tmp_path / "net.npz")
    with pytest.raises(nn.CheckpointError, match=r"holds a network, not a run: load it with numnet\.load"):
        nn.Trainer.resume(tmp_path / "net.npz")


class Weighted(nn.Cost):
    """A cost of one's own, with an argument."""

    def __init__(self, weight):
        self.weight = weight

    def value(self, y, t, out=None):
        return self.weight * nn.Quadratic().value(y, t)

    def gradient(self, y, t, out=None):
        return np.multiply(nn.Quadratic().gradient(y, t), self.weight, out=out)


def test_a_cost_of_ones_own_is_found_by_its_name(tmp_path):
    trainer = nn.Trainer(nn.Sequential(nn.Linear(3, 2), seed=0), Weighted(3), nn.SGD(0.01), seed=0)
    trainer.fit((X, np.eye(2)[T]), 1, 8, checkpoint=tmp_path / "run.npz")
    again = nn.Trainer.resume(tmp_path / "run.npz")
    assert type(again.cost) is Weighted
    assert again.cost.weight == 3
    for run in (trainer, again):
        run.fit((X, np.eye(2)[T]), 1, 8)
    assert again.history[-1].train_cost == trainer.history[-1].train_cost
    assert math.isnan(again.history[0].test_accuracy)


def test_wrong_use(tmp_path, small_blocks):
    path = tmp_path / "run.npz"
    trainer = trainer_of(lr=lambda epoch: 0.1)
    with pytest.raises(ValueError, match="epochs and batch_size are needed, since no interrupted run is left"):
        trainer.fit((X, T))
    with pytest.raises(ValueError, match="batch_size is missing: give epochs and batch_size, or leave out both"):
        trainer.fit((X, T), 3)
    for every in (0, -1, True, "1.5", "3 steps", "batches", 1.5, None):
        with pytest.raises(ValueError, match="checkpoint_every must be a number of epochs, at least 1, or as in"):
            trainer.fit((X, T), 1, 8, checkpoint=path, checkpoint_every=every)
    with pytest.raises(ValueError, match="checkpoint_failure must be 'raise' or 'warn', got 'ignore'"):
        trainer.fit((X, T), 1, 8, checkpoint=path, checkpoint_failure="ignore")
    with pytest.raises(
        FileNotFoundError, match=r"none/run.npz cannot be written: there is no folder .*none\. Make the"
    ):
        trainer.fit((X, T), 1, 8, checkpoint=tmp_path / "none" / "run.npz")
    assert len(trainer.history) == 0
    Fuse.left = 12
    with pytest.raises(KeyboardInterrupt):
        trainer.fit((X, T), 2, 8, checkpoint=path, checkpoint_every="1 batches")
    Fuse.left = math.inf
    with pytest.raises(nn.CheckpointError, match=r"learning rate was a function .* Trainer\.resume\(path, lr=\.\.\.\)"):
        nn.Trainer.resume(path)
    again = nn.Trainer.resume(path, lr=0.2)
    before = again.net.parameters.copy()
    with pytest.raises(ValueError, match="in the middle of epoch 2 of 2, with batches of 8: finish it first, by fit"):
        again.fit((X, T), 1, 8)
    with pytest.raises(ValueError, match="interrupted in an epoch over 50 samples, but here are 49"):
        again.fit((X[1:], T[1:]))
    np.testing.assert_array_equal(again.net.parameters, before)
    assert len(again.fit((X, T))) == 2
    with pytest.raises(FileNotFoundError):
        nn.Trainer.resume(tmp_path / "missing.npz")


@pytest.mark.parametrize("every", ["1 batches", 1])
@pytest.mark.parametrize("weighted", [False, True])
def test_forgotten_weights_are_noticed(weighted, every, tmp_path):
    path, weight = tmp_path / "run.npz", np.arange(len(T)) + 1.0
    trainer, right, wrong = trainer_of(), {}, {"sample_weight": weight}
    if weighted:
        right, wrong = wrong, right
    Fuse.left = 12  # in the second epoch
    with pytest.raises(KeyboardInterrupt):
        trainer.fit((X, T), 3, 8, checkpoint=path, checkpoint_every=every, **right)
    Fuse.left = math.inf
    again = nn.Trainer.resume(path)
    before = again.net.parameters.copy()
    with pytest.raises(ValueError, match="train: the run was interrupted in a fit with"):
        again.fit((X, T), **wrong)
    np.testing.assert_array_equal(again.net.parameters, before)
    assert len(again.fit((X, T), **right)) == 3
    whole = trainer_of()
    whole.fit((X, T), 3, 8, **right)
    np.testing.assert_array_equal(again.net.parameters, whole.net.parameters)
    assert len(again.fit((X, T), 1, 8, **wrong)) == 4  # a run of its own
    with np.load(path) as file:
        header = json.loads(str(file["header"]))
    del header["progress"]["weighted"]  # as in older files
    rewritten(path, header__npy=header_part(header))
    assert len(nn.Trainer.resume(path).fit((X, T), **wrong, checkpoint=path)) == 3
    with np.load(path) as file:
        assert json.loads(str(file["header"]))["progress"]["weighted"] == (not weighted)


# Errors and interrupts in the middle


@pytest.mark.parametrize("lines", [41, pytest.param(11, marks=pytest.mark.slow)])
def test_ctrl_c_at_any_line_leaves_what_can_go_on(lines, tmp_path, small_blocks, fault):
    whole = trainer_of(momentum=0.9)
    whole.fit((X, T), 3, 8, (X, T))
    wanted = outcome(whole)
    path = tmp_path / "run.npz"
    modules = (numnet.data, numnet.run, numnet.training, nn.checkpoint, nn.optimizers)
    files = {module.__file__ for module in modules}

    def run(at):
        """Interrupt a run at its n-th line; return whether there was such a line."""
        path.unlink(missing_ok=True)
        trainer, count = trainer_of(momentum=0.9), itertools.count()

        def trace(frame, event, _):
            if frame.f_code.co_filename not in files or frame.f_code.co_name == "restore":
                return None
            # Python looks for no signal between the last line of `with lock` and the lock's release; a tracer would.
            if event == "line" and not threads.lock.locked() and next(count) == at:
                sys.settrace(None)
                raise KeyboardInterrupt
            return trace

        state = outcome(trainer)
        trainer = trainer_of(momentum=0.9)
        sys.settrace(trace)
        try:
            trainer.fit((X, T), 3, 8, (X, T), progress=False, checkpoint=path, checkpoint_every="3 batches")
            return False
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(None)
        epochs = len(trainer.history)
        if not trainer.progress.last:
            assert outcome(trainer) == state
            trainer = trainer_of(momentum=0.9)
            trainer.fit((X, T), 3, 8, (X, T))
        else:
            trainer.fit((X, T), test=(X, T))
        assert len(trainer.history) == 3
        assert outcome(trainer) == wanted, (at, epochs)
        if path.exists():
            again = nn.Trainer.resume(path)
            again.fit((X, T), test=(X, T))
            assert outcome(again) == wanted
        return True

    at = 0
    while run(at):
        at += 1 if at < 60 else lines
    assert at > 500
    fault("Training", "Ctrl-C", "KeyboardInterrupt", AS_AFTER.format("the last whole epoch"))


def test_a_diverging_epoch_leaves_no_trace(fault):
    trainer = nn.Trainer(
        nn.Sequential(nn.Linear(3, 2), seed=0),
        nn.Quadratic(),
        nn.SGD(lambda e: 1e-3 if e < 3 else 1e30, momentum=0.5),
        seed=0,
    )
    after_two = nn.Trainer(nn.Sequential(nn.Linear(3, 2), seed=0), nn.Quadratic(), nn.SGD(1e-3, momentum=0.5), seed=0)
    after_two.fit((X, T), 2, 4)
    with pytest.raises(nn.DivergenceError, match="in epoch 3, in one of the batches 1 to 13: training") as raised:
        trainer.fit((X, T), 5, 4)
    fault("Training", "a learning rate that diverges in epoch 3", raised.value, AS_AFTER.format("epoch 2"))
    assert outcome(trainer) == outcome(after_two)
    trainer.optimizer.lr = 1e-3
    trainer.fit((X, T))
    assert len(trainer.history) == 5


@pytest.mark.parametrize("device", DEVICES)
def test_a_callback_that_raises_loses_nothing(device, tmp_path, fault):
    def fail(trainer):
        if len(trainer.history) == 2:
            raise RuntimeError("the callback's own")

    whole = trainer_of(device)
    whole.fit((X, T), 4, 8)
    trainer = trainer_of(device)
    with pytest.raises(RuntimeError, match="the callback's own") as raised:
        trainer.fit((X, T), 4, 8, callbacks=[fail], checkpoint=tmp_path / "run.npz")
    fault("Training", "a callback that raises after epoch 2", raised.value, AS_AFTER.format("epoch 2"))
    assert len(trainer.history) == 2
    again = nn.Trainer.resume(tmp_path / "run.npz", device=device)
    assert len(again.history) == 2
    for run in (trainer, again):
        run.fit((X, T))
        assert outcome(run)[:3] == outcome(whole)[:3]


def test_nan_that_appears_in_the_data_stops_the_epoch_and_leaves_no_trace(fault):
    x = X.copy()
    trainer, after_one = trainer_of(), trainer_of()
    after_one.fit((X, T), 1, 8)

    def spoil(trainer):
        x[7, 1] = np.nan

    with pytest.raises(ValueError, match=r"train has changed .* feature 1 of sample 7 is nan") as raised:
        trainer.fit((x, T), 3, 8, callbacks=[spoil])
    fault("Training", "nan appears in the data in epoch 2", raised.value, AS_AFTER.format("epoch 1"))
    assert outcome(trainer) == outcome(after_one)


@pytest.mark.parametrize("change", ["made longer", "touched", "replaced"])
def test_a_mapped_file_that_changes_stops_the_training(tmp_path, change, fault):
    path = tmp_path / "x"
    nn.datasets.write_idx(path, X.astype(np.float32))

    def alter(trainer):
        if change == "replaced":
            nn.datasets.write_idx(tmp_path / "other", X.astype(np.float32) + 1)
            os.replace(tmp_path / "other", path)
        elif change == "made longer":
            path.write_bytes(path.read_bytes() + b"more")
        os.utime(path, ns=(1, len(trainer.history)))

    trainer = trainer_of()
    with pytest.raises(ValueError, match=r"train has changed while in use: the file .*x is not as it was") as raised:
        trainer.fit((nn.datasets.read_idx(path, mmap_mode="r")[:, :], T), 3, 8, callbacks=[alter])
    fault("Training", f"a memory-mapped file is {change} in epoch 2", raised.value, AS_AFTER.format("epoch 1"))
    assert len(trainer.history) == 1


def test_a_mapped_file_that_vanishes_is_still_there_to_train_on(tmp_path, fault):
    nn.datasets.write_idx(tmp_path / "x", X.astype(np.float32))
    whole, trainer = trainer_of(), trainer_of()
    whole.fit((X.astype(np.float32), T), 3, 8)
    x = nn.datasets.read_idx(tmp_path / "x", mmap_mode="r")
    trainer.fit((x, T), 3, 8, callbacks=[lambda _: (tmp_path / "x").unlink(missing_ok=True)])
    assert outcome(trainer) == outcome(whole)
    fault("Training", "a memory-mapped file is deleted", "nothing: the system keeps it until the end", "nothing of it")


# A disk that is full


FULL = """
import resource, signal, sys, warnings
import numpy as np
import numnet as nn
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write beyond the limit then fails as on a full disk
path, failure = sys.argv[1:]
x, t = np.random.default_rng(0).normal(size=(50, 300)), np.arange(50) % 2
trainer = nn.Trainer(nn.Sequential(nn.Linear(300, 2), nn.Softmax(), seed=0), nn.CrossEntropy(), nn.SGD(0.1), seed=0)
limit = lambda trainer: resource.setrlimit(resource.RLIMIT_FSIZE, (1000 if len(trainer.history) == 3 else -1, -1))
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    try:
        trainer.fit((x, t), 5, 8, callbacks=[limit], checkpoint=path, checkpoint_failure=failure)
    except OSError as error:
        print("raised", error)
print(len(trainer.history), [str(warning.message) for warning in told])
"""


@pytest.mark.parametrize(("failure", "epochs", "kept"), [("raise", 3, 2), ("warn", 5, 5)])
def test_a_full_disk_while_a_checkpoint_is_written(failure, epochs, kept, tmp_path, fault):
    path = tmp_path / "run.npz"
    command = [sys.executable, "-c", FULL, str(path), failure]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ("raised" in result.stdout) == (failure == "raise"), result
    told = f"could not be written ([Errno 27] File too large: '{path}'): training goes on"
    assert (told in result.stdout) == (failure == "warn")
    assert result.stdout.splitlines()[-1].startswith(f"{epochs} ")
    assert len(nn.Trainer.resume(path).history) == kept
    assert os.listdir(tmp_path) == ["run.npz"]
    name = f"the disk is full when a checkpoint of epoch 3 is due, checkpoint_failure={failure!r}"
    seen = (
        "OSError: File too large"
        if failure == "raise"
        else "RuntimeWarning: the checkpoint … could not be written (…): training goes on"
    )
    fault("Training", name, seen, "the checkpoint of epoch 2" if failure == "raise" else "that of epoch 5, by then")


# What would not do what it seems to


@pytest.mark.parametrize("lr", [3e38, 1e10])  # makes the parameters infinite; or only the cost of the next batch
@pytest.mark.parametrize("device", DEVICES)
def test_what_has_begun_to_diverge_does_not_take_the_place_of_what_has_not(device, lr, tmp_path, monkeypatch):
    monkeypatch.setattr(numnet.data, "BLOCK_BATCHES", 1)
    path = tmp_path / "run.npz"
    net = nn.Sequential(nn.Linear(3, 2), seed=0, device=device)
    trainer = nn.Trainer(net, nn.Quadratic(), nn.SGD(lambda epoch: 1e-3 if epoch < 3 else lr), seed=0)
    with pytest.raises(nn.DivergenceError):
        trainer.fit((X * 10, np.eye(2)[T]), 5, 8, checkpoint=path, checkpoint_every="1 batches")
    again = nn.Trainer.resume(path, lr=1e-3)
    assert np.isfinite(host(again.net.parameters)).all()


def halve(trainer):
    trainer.optimizer.lr *= 0.5


def other_momentum(trainer):
    trainer.optimizer.momentum = 0.1 * len(trainer.history)


def prune(trainer):
    trainer.net.parameters *= 0.9


@pytest.mark.parametrize("callback", [halve, other_momentum, prune])
@pytest.mark.parametrize("device", DEVICES)
def test_what_callbacks_change_is_resumed(callback, device, tmp_path, small_blocks):
    whole = trainer_of(device, momentum=0.5)
    whole.fit((X, T), 5, 8, callbacks=[callback])
    wanted = outcome(whole)
    for cut in (9, 17, 25):
        (tmp_path / "run.npz").unlink(missing_ok=True)
        Fuse.left = cut
        with pytest.raises(KeyboardInterrupt):
            trainer_of(device, momentum=0.5).fit(
                (X, T), 5, 8, callbacks=[callback], checkpoint=tmp_path / "run.npz", checkpoint_every="2 batches"
            )
        Fuse.left = math.inf
        again = nn.Trainer.resume(tmp_path / "run.npz", device=device)
        again.fit((X, T), callbacks=[callback])
        assert outcome(again) == wanted


def test_halving_the_learning_rate_in_a_callback_halves_it():
    rates = []
    trainer = trainer_of(lr=0.4)
    update = trainer.optimizer.update
    trainer.optimizer.update = lambda w, g, lr: (rates.append(lr), update(w, g, lr))
    trainer.fit((X, T), 3, 50, callbacks=[halve])
    assert rates == [0.4, 0.2, 0.1]


def test_ctrl_c_three_times_leaves_what_can_go_on(monkeypatch):
    whole, trainer = (trainer_of(momentum=0.9) for _ in range(2))
    whole.fit((X, T), 3, 8)
    assign, presses = numnet.training.backend.assign, ["second", "third"]

    def impatient(*arguments):
        if Fuse.left == 0 and presses:
            presses.pop()
            raise KeyboardInterrupt
        assign(*arguments)

    monkeypatch.setattr(numnet.training.backend, "assign", impatient)
    Fuse.left = 12
    with pytest.raises(KeyboardInterrupt):
        trainer.fit((X, T), 3, 8)
    assert not presses
    Fuse.left = math.inf
    trainer.fit((X, T))
    assert outcome(trainer) == outcome(whole)


class OwnSgd(nn.SGD):
    """An optimizer of one's own."""


def test_what_could_not_be_resumed_is_refused_before_training(tmp_path):
    path = tmp_path / "run.npz"

    class Unkept(nn.Layer):
        def __init__(self, n):
            pass

    nets = [nn.Sequential(nn.Linear(3, 2), nn.Softmax(), seed=0) for _ in range(2)]
    own = nn.Trainer(nets[0], nn.CrossEntropy(), OwnSgd(0.1))
    other_generator = nn.Trainer(nets[1], nn.CrossEntropy(), nn.SGD(0.1))
    other_generator.rng = np.random.Generator(np.random.Philox(0))
    unkept = nn.Trainer(nn.Sequential(nn.Linear(3, 2), Unkept(2), seed=0), nn.Quadratic(), nn.SGD(0.1))
    for trainer, message in (
        (own, "a run can be saved if its optimizer is a SGD, but it is"),
        (other_generator, "a run can be saved if its generator is a PCG64"),
        (unkept, "cannot be saved: each argument of its __init__ must be kept"),
    ):
        with pytest.raises(nn.CheckpointError, match=message):
            trainer.fit((X, T if trainer is not unkept else np.eye(2)[T]), 1, 8, checkpoint=path)
        assert len(trainer.history) == 0
    with pytest.raises(IsADirectoryError, match=r"cannot be written: it is a folder\. Name a file in it"):
        trainer_of().fit((X, T), 1, 8, checkpoint=tmp_path)
    nn.datasets.write_idx(tmp_path / "x", X)
    before = (tmp_path / "x").read_bytes()
    x = nn.datasets.read_idx(tmp_path / "x", mmap_mode="r")
    with pytest.raises(FileExistsError, match="x cannot be replaced: an array of this program is mapped from the file"):
        trainer_of().fit((x, T), 1, 8, checkpoint=tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == before


def test_a_program_may_change_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    trainer_of().fit((X, T), 3, 8, callbacks=[lambda _: os.chdir(tmp_path / "elsewhere")], checkpoint="run.npz")
    assert len(nn.Trainer.resume(tmp_path / "run.npz").history) == 3
    assert not os.listdir(tmp_path / "elsewhere")


def test_a_run_without_an_end_starts_at_once():
    def enough(trainer):
        if len(trainer.history) == 2:
            raise KeyboardInterrupt

    trainer = trainer_of()
    with pytest.raises(KeyboardInterrupt):
        trainer.fit((X, T), 10**12, 8, callbacks=[enough], progress=False)
    assert len(trainer.history) == 2


@pytest.mark.parametrize("lr", [-1, 0])
@pytest.mark.parametrize("before", [0.5, lambda epoch: 0.5], ids=["number", "function"])
def test_a_wrong_learning_rate_is_not_the_files_fault(lr, before, tmp_path):
    trainer_of(lr=before).fit((X, T), 1, 8, checkpoint=tmp_path / "run.npz")
    with pytest.raises(ValueError, match="SGD: lr must be") as raised:
        nn.Trainer.resume(tmp_path / "run.npz", lr=lr)
    assert type(raised.value) is ValueError


def test_thousands_of_layers_are_soon_together():
    assert len(nn.Sequential(*(nn.Tanh() for _ in range(20_000))).layers) == 20_000


# Files that are not to be trusted


@pytest.fixture
def run_file(tmp_path):
    trainer = trainer_of(momentum=0.9)
    Fuse.left = 12
    with pytest.raises(KeyboardInterrupt):
        trainer.fit((X, T), 3, 8, checkpoint=tmp_path / "run.npz", checkpoint_every="1 batches")
    Fuse.left = math.inf
    return tmp_path / "run.npz"


def parts_of(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def header_part(header):
    import io

    part = io.BytesIO()
    np.lib.format.write_array(part, np.array(json.dumps(header)))
    return part.getvalue()


def header_of(path):
    with np.load(path) as content:
        return json.loads(str(content["header"]))


def rewritten(path, **changes):
    """Write the parts again, some of them changed; what is changed to None is left out."""
    parts = {**parts_of(path), **{name.replace("__", "."): value for name, value in changes.items()}}
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in parts.items():
            if value is not None:
                archive.writestr(name, value)


def of_version_2(header):
    """Return a header as it was before runs had test costs and a best epoch."""
    history = [row[:5] for row in header["history"]]
    return {**{name: value for name, value in header.items() if name != "best"}, "version": 2, "history": history}


def of_version_1(header, **changes):
    """Return a header as version 0.1.0 writes it, with its numbers for each block of batches; here for two blocks."""
    header = of_version_2(header)
    place = header.pop("progress")
    done, cost, right = (place.pop(name) for name in ("done", "cost", "right"))
    sizes = [place["batch_size"], done - place["batch_size"]]
    blocks = {"sizes": sizes, "costs": [cost / done] * 2, "rights": [1, right - 1]}
    return {**header, "version": 1, "left": {**place, **blocks, **changes}}


def npy_of(shape, dtype="<f4", data=b""):
    """Return an array file that claims this shape."""
    text = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + data


class Bomb:
    """What a pickle would do."""

    def __reduce__(self):
        return (Path.write_text, (Path("exploded"), "x"))


def crafted(path, kind):
    """Make the file one that somebody has tampered with."""
    parts, header = parts_of(path), header_of(path)
    if kind == "pickled objects":
        np.savez(path, header=np.array([Bomb()], object), parameters=np.zeros(26, "f4"), velocity=np.zeros(26, "f4"))
    elif kind == "a pickled part":
        np.savez(
            path, header=np.array(json.dumps(header)), parameters=np.array([Bomb()], object), velocity=np.zeros(26)
        )
    elif kind == "a shape of terabytes":
        rewritten(path, parameters__npy=npy_of((1 << 42,), data=bytes(64)))
    elif kind == "a shape whose product overflows":
        rewritten(path, parameters__npy=npy_of((1 << 62, 1 << 62), data=bytes(64)))
    elif kind == "a negative shape":
        rewritten(path, parameters__npy=npy_of((-26,), data=parts["parameters.npy"][-104:]))
    elif kind == "layers of terabytes":
        rewritten(
            path,
            header__npy=header_part({**header, "layers": [["numnet.Linear", {"inputs": 10**7, "outputs": 10**6}]]}),
        )
    elif kind == "a zip bomb":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("header.npy", parts["header.npy"])
            archive.writestr("parameters.npy", npy_of((1 << 26,), data=bytes(1 << 28)))
    elif kind == "parts longer than the file":
        whole = bytearray(path.read_bytes())
        for place in [i for i in range(len(whole)) if whole[i : i + 4] == b"PK\x01\x02"]:
            whole[place + 20 : place + 28] = (1 << 31).to_bytes(4, "little") * 2
        path.write_bytes(whole)
    elif kind == "names with paths":
        rewritten(path, **{"parameters.npy": None, "../../parameters.npy": parts["parameters.npy"]})
    elif kind == "a newer version":
        rewritten(path, header__npy=header_part({**header, "version": 4}))
    elif kind == "another architecture":
        rewritten(path, header__npy=header_part({**header, "layers": header["layers"][:1]}))
    elif kind == "a layer that is no layer":
        rewritten(path, header__npy=header_part({**header, "layers": [["os.system", {"command": "touch exploded"}]]}))
    elif kind == "a cost that is no cost":
        rewritten(path, header__npy=header_part({**header, "cost": ["Path", {}]}))
    elif kind == "a generator that is none":
        rewritten(path, header__npy=header_part({**header, "generator": {"bit_generator": "PCG64", "state": "x"}}))
    elif kind == "another generator":
        state = np.random.MT19937(0).state
        state["state"]["key"] = [0] * 624
        rewritten(path, header__npy=header_part({**header, "generator": state}))
    elif kind == "an optimizer that is none":
        rewritten(path, header__npy=header_part({**header, "optimizer": {**header["optimizer"], "momentum": 7}}))
    elif kind == "a place beyond the end":
        rewritten(path, header__npy=header_part({**header, "progress": {**header["progress"], "done": 60}}))
    elif kind == "a place with lists of unequal length":
        rewritten(path, header__npy=header_part(of_version_1(header, costs=[])))
    elif kind == "a history of words":
        rewritten(path, header__npy=header_part({**header, "history": [["one", "two", "three", "four", "five"]]}))
    elif kind == "a header that is nested too deeply":
        text = "[" * 100_000
        rewritten(path, header__npy=npy_of((), f"<U{len(text)}", text.encode("utf-32-le")))
    elif kind in LAYERS:
        rewritten(path, header__npy=header_part({**header, "layers": LAYERS[kind]}))
    elif kind == "a generator that stands still":
        rewritten(path, header__npy=header_part({**header, "generator": still()}))
    elif kind == "parts that are not ours":
        rewritten(path, more__npy=npy_of((1,), data=bytes(4)))
    elif kind == "a history out of order":
        rewritten(path, header__npy=header_part({**header, "history": [[7, 1.0, 1.0, 1.0, 1.0]]}))
    elif kind == "a place after the end":
        after = {"last": len(header["history"]), "done": 8}
        rewritten(path, header__npy=header_part({**header, "progress": {**header["progress"], **after}}))
    elif kind == "a layer with a long name":
        rewritten(path, header__npy=header_part({**header, "layers": [["x" * 10**6, {}]]}))
    elif kind == "no velocity":
        rewritten(path, velocity__npy=None)
    elif kind == "a velocity of another length":
        rewritten(path, velocity__npy=npy_of((2,), data=bytes(8)))
    elif kind in BEST:
        best, data = BEST[kind]
        header = {**header, "history": [[1, 1.0, 1.0, 1.0, 1.0, 1.0]], "best": best}
        rewritten(path, header__npy=header_part(header), best__npy=data)


def linear(inputs, outputs, name="numnet.Linear"):
    return [name, {"inputs": inputs, "outputs": outputs}]


class Dense(nn.Linear):
    """A user's own."""


LAYERS = {
    "layers of a size below 0": [linear(12000, 12000), linear(-12010, 12000)],
    "layers of a size that is nan": [linear(12000, 12000), linear(math.nan, 2)],
    "layers of a size that is a word": [linear("a", 2 * 10**9)],
    "layers of a size that is a list": [linear([0], 3 * 10**8)],
    "layers of the user's own, of terabytes": [linear(10**7, 10**6, "Dense")],
    "layers of terabytes, and a bias that takes them back": [
        linear(10**7, 10**6),
        ["numnet.Linear", {"inputs": 1, "outputs": 10**6, "bias": -(10**7) - 1}],
    ],
    "a bias that is a number": [["numnet.Linear", {"inputs": 3, "outputs": 4, "bias": 7}]],
    "a start that is a word": [["numnet.Linear", {"inputs": 3, "outputs": 4, "start": "os.system"}]],
}


FITTING = npy_of((26,), data=bytes(104))
BEST = {  # the number of the best epoch of one, and its parameters
    "a best epoch of number 0": (0, FITTING),
    "a best epoch below 0": (-1, FITTING),
    "a best epoch after the last": (2, FITTING),
    "a best epoch that is a word": ("1", FITTING),
    "a best epoch that is a list": ([1], FITTING),
    "a best epoch between two": (1.5, FITTING),
    "no best parameters": (1, None),
    "best parameters of another length": (1, npy_of((2,), data=bytes(8))),
    "best parameters of another type": (1, npy_of((26,), "<f8", bytes(208))),
    "best parameters of terabytes": (1, npy_of((1 << 42,), data=bytes(64))),
    "best parameters that are pickled": (1, npy_of((1,), "|O", b"cos\nsystem\n(S'touch exploded'\ntR.")),
}


def still():
    """Return a state of PCG64 that comes back with each step: with a number to add that is even, there is one."""
    state, multiplier = (2**64 - 1) << 64, 0x2360ED051FC65DA44385DF649FCCF645
    whole = {"state": state, "inc": (state - state * multiplier) % 2**128}
    return {"bit_generator": "PCG64", "state": whole, "has_uint32": 0, "uinteger": 0}


CRAFTED = {
    **dict.fromkeys(LAYERS, "a layer has the sizes"),
    "layers of the user's own, of terabytes": "its layers need 10000000000000 or more",
    "layers of terabytes, and a bias that takes them back": "its layers need 10000001000000 or more",
    "a bias that is a number": "bias must be True or False, got 7",
    "a start that is a word": "start must be a function",
    "a generator that stands still": "its generator's state is none of PCG64's",
    "parts that are not ours": r"its parts are not best\.npy, header\.npy, parameters\.npy, velocity\.npy",
    "a history out of order": "does not count the epochs from 1",
    "a place after the end": "place in the run cannot be",
    "a layer with a long name": r"a layer 'xxx+\.\.\.x+' that is not defined here",
    "pickled objects": "claims",
    "a pickled part": "claims",
    "a shape of terabytes": r"claims \(4398046511104,\) of float32 in 64 bytes",
    "a shape whose product overflows": "claims",
    "a negative shape": "claims|damaged",
    "layers of terabytes": "its layers need 10000000000000 or more",
    "a zip bomb": "packed, or claim to be longer than the file",
    "parts longer than the file": "packed, or claim to be longer than the file|damaged",
    "names with paths": "damaged",
    "a newer version": "has format 'numnet run', version 4; this numnet reads .*, version 3: update numnet",
    "another architecture": "but its layers need",
    "a layer that is no layer": "a layer 'os.system' that is not defined here",
    "a cost that is no cost": "a cost 'Path' that is not defined here",
    "a generator that is none": "damaged",
    "another generator": "damaged",
    "an optimizer that is none": "momentum must be from 0 to below 1, got 7",
    "a place beyond the end": "place in the run cannot be",
    "a place with lists of unequal length": "lists of unequal length",
    "a history of words": "damaged",
    "a header that is nested too deeply": "damaged",
    "no velocity": "damaged",
    "a velocity of another length": "holds 2 velocities of float32, but its layers need 26",
    **dict.fromkeys(BEST, "its best epoch cannot be"),
    "no best parameters": "damaged",
    "best parameters of another length": "holds 2 best parameters of float32, but its layers need 26",
    "best parameters of another type": "holds 26 best parameters of float64, but its layers need 26 of float32",
    "best parameters of terabytes": r"claims \(4398046511104,\) of float32 in 64 bytes",
    "best parameters that are pickled": "claims",
}


@pytest.mark.parametrize("kind", CRAFTED)
def test_a_crafted_checkpoint_is_an_error_and_nothing_more(kind, run_file, monkeypatch, fault):
    crafted(run_file, kind)
    monkeypatch.chdir(run_file.parent)
    tracemalloc.start()
    try:
        with pytest.raises(nn.CheckpointError, match=CRAFTED[kind]) as raised:
            nn.Trainer.resume(run_file)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10 * run_file.stat().st_size + (1 << 20)
    assert os.listdir(run_file.parent) == ["run.npz"]
    told = str(raised.value)
    if CRAFTED[kind] in ("claims", "damaged") or "|" in CRAFTED[kind]:  # in words that are not ours, or not the same
        told = re.sub(r"damaged \(.*\): save", "damaged (…): save", told)
    fault("Checkpoints", kind, f"CheckpointError: {told}", "the file, as it was")


def test_a_file_of_version_1_is_resumed(run_file):
    again = nn.Trainer.resume(run_file)
    rewritten(run_file, header__npy=header_part(of_version_1(header_of(run_file))))
    old = nn.Trainer.resume(run_file)
    assert old.progress.done == again.progress.done > 0
    for run in (old, again):
        run.fit((X, T))
    assert outcome(old)[:2] == outcome(again)[:2]
    assert old.history.train_accuracy == again.history.train_accuracy
    assert old.history.train_cost == pytest.approx(again.history.train_cost, rel=1e-12)
    nn.load(run_file)


def test_a_file_of_version_2_is_resumed(tmp_path):
    path, trainer = tmp_path / "run.npz", trainer_of(momentum=0.9)
    trainer.fit((X, T), 2, 8, (X, T), checkpoint=path)
    rewritten(path, header__npy=header_part(of_version_2(header_of(path))))
    old = nn.Trainer.resume(path)
    assert old.best is None
    np.testing.assert_equal(old.history.test_cost, [math.nan, math.nan])  # of which nothing was known then
    for run, file in ((old, path), (trainer, tmp_path / "other.npz")):
        run.fit((X, T), 1, 8, (X, T), checkpoint=file)
    assert outcome(old)[:2] == outcome(trainer)[:2]
    np.testing.assert_equal(old.history[2][:4], trainer.history[2][:4])
    assert old.history.test_cost[2] == trainer.history.test_cost[2]
    assert header_of(path)["version"] == 3
    nn.load(path)


# What numnet 0.1.0 wrote in the middle of the second of three epochs, and what the run then ended with.
X_OF_OLD, T_OF_OLD = np.arange(20).reshape(10, 2) % 7 / 4, np.arange(10) % 3 % 2
HEADER_OF_OLD = {
    "format": "numnet run",
    "version": 1,
    "dtype": "float32",
    "layers": [
        ["numnet.Linear", {"inputs": 2, "outputs": 2}],
        ["numnet.Sigmoid", {}],
        ["numnet.Linear", {"inputs": 2, "outputs": 2}],
        ["numnet.Softmax", {}],
    ],
    "cost": ["numnet.CrossEntropy", {}],
    "optimizer": {"lr": 0.5, "momentum": 0.5, "nesterov": False, "weight_decay": 0.0, "clip_norm": None},
    "history": [[1, 0.694800078868866, 0.5, 0.7, 0.003924774000552134]],
    "generator": {
        "bit_generator": "PCG64",
        "state": {"state": 9405893610231781608176235507540826829, "inc": 87136372517582989555478159403783844777},
        "has_uint32": 0,
        "uinteger": 3920255353,
    },
    "left": {
        "last": 3,
        "batch_size": 2,
        "samples": 10,
        "sizes": [4, 4],
        "costs": [0.2176675647497177, 1.0415951013565063],
        "rights": [4.0, 2.0],
        "seconds": 0.0010586689995761844,
    },
}
PARAMETERS_OF_OLD = """
-0.78600669 -0.66344333 -0.52641690 -0.40831435 -0.27815601 -0.16710262
-0.04639581 0.17139578 0.25137281 0.37362719 1.13596046 -0.01096059
"""
VELOCITY_OF_OLD = """
0.0013751531 0.00071894465 0.0015294653 0.0051117623 0.0011101938 0.0151069574
0.192371517 -0.192371517 0.208221793 -0.208221793 0.446052372 -0.446052402
"""
ENDED_WITH = """
-0.81661355 -0.69866163 -0.55594170 -0.44864041 -0.29779539 -0.20639499
-0.18600780 0.31100780 0.11349929 0.51150072 1.06032467 0.06467525
"""


def test_a_run_of_numnet_0_1_0_is_finished(tmp_path):
    vectors = {"parameters": PARAMETERS_OF_OLD, "velocity": VELOCITY_OF_OLD}
    arrays = {name: np.array(text.split(), np.float32) for name, text in vectors.items()}
    np.savez(tmp_path / "run.npz", header=np.array(json.dumps(HEADER_OF_OLD)), **arrays)
    np.testing.assert_array_equal(nn.load(tmp_path / "run.npz").parameters, arrays["parameters"])
    trainer = nn.Trainer.resume(tmp_path / "run.npz")
    trainer.fit((X_OF_OLD, T_OF_OLD), test=(X_OF_OLD, T_OF_OLD), checkpoint=tmp_path / "new.npz")
    np.testing.assert_allclose(trainer.net.parameters, np.array(ENDED_WITH.split(), float), atol=1e-5)
    assert trainer.history.train_cost == pytest.approx([0.694800078868866, 0.6683878719806671, 0.6941393256187439])
    assert trainer.history.train_accuracy == [0.5, 0.7, 0.6]
    assert trainer.history.test_accuracy == [0.7, 0.7, 0.7]
    assert trainer.history[1].seconds > 0.00105
    assert header_of(tmp_path / "new.npz")["version"] == 3
    assert math.isnan(trainer.history.test_cost[0])  # of which numnet 0.1.0 knew nothing
    assert trainer.history.test_cost[-1] == pytest.approx(nn.CrossEntropy()(trainer.net(X_OF_OLD), T_OF_OLD), rel=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        {"sizes": [8, 60]},
        {"sizes": [60, -4]},
        {"sizes": [8.0, 8.0]},
        {"sizes": ["8", "8"]},
        {"sizes": 8},
        {"costs": ["a", "b"]},
        {"costs": [0.5]},
        {"rights": []},
        {"last": 0},
        {"batch_size": 0},
        {"samples": 15},
        {"more": 1},
    ],
)
def test_a_crafted_file_of_version_1_is_refused(change, run_file):
    rewritten(run_file, header__npy=header_part(of_version_1(header_of(run_file), **change)))
    with pytest.raises(nn.CheckpointError, match=r"is nothing that numnet has saved, or is damaged"):
        nn.Trainer.resume(run_file)


@pytest.mark.parametrize(("version", "name"), [(1, "progress"), (2, "left")])
def test_a_version_with_the_place_of_the_other_is_refused(version, name, run_file):
    header = {**header_of(run_file), **of_version_1(header_of(run_file)), "version": version}
    del header["left" if version == 1 else "progress"]
    rewritten(run_file, header__npy=header_part(header))
    with pytest.raises(nn.CheckpointError, match="damaged"):
        nn.Trainer.resume(run_file)
    assert name in header


@pytest.mark.parametrize(("cuts", "flips"), [(61, 31), pytest.param(7, 3, marks=pytest.mark.slow)])
def test_a_run_truncated_or_flipped_anywhere_is_refused_or_whole(cuts, flips, run_file):
    whole, wanted = run_file.read_bytes(), outcome(nn.Trainer.resume(run_file))
    for size in range(0, len(whole), cuts):
        run_file.write_bytes(whole[:size])
        with pytest.raises(nn.CheckpointError):
            nn.Trainer.resume(run_file)
    for i in range(0, len(whole), flips):
        run_file.write_bytes(whole[:i] + bytes([whole[i] ^ 0x21]) + whole[i + 1 :])
        try:
            again = nn.Trainer.resume(run_file)
        except nn.CheckpointError:
            continue
        assert outcome(again) == wanted


# Many at once


def test_two_trainers_in_two_threads_end_as_each_alone():
    def run(i):
        net = nn.Sequential(nn.Linear(64, 20), nn.Sigmoid(), nn.Linear(20, 10), nn.Softmax(), seed=i)
        trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.5, momentum=0.5), seed=i)
        trainer.fit(DIGITS[0], 10, 16, DIGITS[1], progress=False)
        return outcome(trainer)

    alone, together = alone_and_together(run)
    for one, other in zip(alone, together, strict=True):
        # Only one thread of Python can set the number of BLAS's threads, and the test cost has large products.
        costs = [outcome[2].pop("test_cost") for outcome in (one, other)]
        assert costs[0] == pytest.approx(costs[1], rel=1e-6)
    assert together == alone


# Killed


@pytest.mark.parametrize("trials", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_killed_run_ends_with_the_same_bits(trials, tmp_path, fault):
    from .kill_training import trial, uninterrupted

    wanted, seconds = uninterrupted(tmp_path / "whole.npz")
    rng = np.random.default_rng()
    for i in range(trials):
        killed, digest = trial(tmp_path / f"run{i}.npz", rng.uniform(0, seconds))
        assert killed in (True, False)
        assert digest == wanted
    seen = "nothing: `Trainer.resume` and `fit` do the rest, to the same bits"
    fault("Training", "the process is killed", seen, "the last checkpoint")


def test_without_a_wish_a_checkpoint_is_written_after_each_epoch(tmp_path):
    kept = []
    path = tmp_path / "run.npz"
    trainer_of().fit(
        (X, T), 3, 8, callbacks=[lambda _: kept.append(path.exists() and path.read_bytes())], checkpoint=path
    )
    assert kept[0] is False
    assert kept[1] is not False
    assert kept[1] != kept[2] != path.read_bytes()


@pytest.mark.parametrize("kind", [np.float32, np.float64, float])
def test_options_that_a_callback_sets_are_those_of_a_resumed_run(kind, tmp_path):
    def change(trainer):
        trainer.optimizer.lr, trainer.optimizer.momentum = kind(0.1), kind(0.3)

    whole, path = trainer_of(dtype="float64", momentum=0.9, nesterov=True), tmp_path / "run.npz"
    whole.fit((X, T), 4, 8, callbacks=[change])
    cut = trainer_of(dtype="float64", momentum=0.9, nesterov=True)
    with pytest.raises(KeyboardInterrupt):
        cut.fit((X, T), 4, 8, callbacks=[change, lambda t: stop_after(t, 2)], checkpoint=path)
    again = nn.Trainer.resume(path)
    again.fit((X, T), callbacks=[change])
    assert outcome(again) == outcome(whole)


def stop_after(trainer, epoch):
    if len(trainer.history) == epoch:
        raise KeyboardInterrupt


def test_a_pause_of_the_momentum_can_be_resumed(tmp_path):
    def pause(trainer):
        trainer.optimizer.momentum = 0.0

    whole, path = trainer_of(momentum=0.9, nesterov=True), tmp_path / "run.npz"
    whole.fit((X, T), 4, 8, callbacks=[pause])
    cut = trainer_of(momentum=0.9, nesterov=True)
    with pytest.raises(KeyboardInterrupt):
        cut.fit((X, T), 4, 8, callbacks=[pause, lambda t: stop_after(t, 2)], checkpoint=path)
    again = nn.Trainer.resume(path)
    assert again.optimizer.nesterov
    again.fit((X, T))
    assert outcome(again) == outcome(whole)


def test_ctrl_c_when_a_checkpoint_has_been_replaced_leaves_a_file_that_is_the_runs_own(
    tmp_path, small_blocks, monkeypatch
):
    trainer, path = trainer_of(), tmp_path / "run.npz"
    sync, presses = numnet.atomic._sync_folder, []

    def impatient(folder):
        sync(folder)
        presses.append(folder)
        if len(presses) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(numnet.atomic, "_sync_folder", impatient)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit((X, T), 2, 8, checkpoint=path, checkpoint_every="2 batches")
    assert nn.Trainer.resume(path).progress.done > trainer.progress.done  # the epoch was undone here
    trainer.fit((X, T), checkpoint=path)
    assert len(nn.Trainer.resume(path).history) == 2
