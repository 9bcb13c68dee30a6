"""Whole lives of networks, runs and files, in any order, beside the plain model of model.py."""

import contextlib
import copy
import itertools
import linecache
import math
import os
import pickle
import resource
import shutil
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

import numnet as nn
import numnet.data
from numnet import threads

from . import model
from .devices import host

PACKAGE = os.path.dirname(nn.__file__)
SIZES = (1, 7, 40, 150)
ENDINGS = {  # outputs, the last layer or none, the cost
    "classes": (3, [("softmax",)], nn.CrossEntropy),
    "shares": (2, [("softmax",)], nn.CrossEntropy),
    "yes or no": (1, [("sigmoid",)], nn.CrossEntropy),
    "numbers": (2, [], nn.Quadratic),
}
HIDDEN = [
    [],
    [("scale", 3)],
    [("linear", 3, 4), ("tanh",), ("scale", 4)],
    [("scale", 3), ("linear", 3, 4), ("sigmoid",)],
    [("linear", 3, 4), ("relu",), ("scale", 4)],
]
COLUMNS = {"train_cost": 1, "train_accuracy": 2, "test_accuracy": 3, "test_cost": 5}
# What numnet does not do yet, and what is accepted until it does.
NOT_YET = {
    "best",  # keep_best takes parameters that somebody has changed for those after the last epoch
    "options",  # a learning rate of 0, or a number of NumPy's, set on the optimizer, comes back otherwise or not at all
    "own file",  # after Ctrl-C while a checkpoint's folder is synced, the run does not know its own file
    "training",  # after Ctrl-C at the end of an epoch, layers say that they are in training
    "trained",  # after Ctrl-C at the end of the first epoch, the network says that it is trained
}
SEEN = Counter()  # what has happened, over all lives


def data_of(ending, n, rng):
    outputs = ENDINGS[ending][0]
    x = rng.integers(256, size=(n, 3)).astype(np.uint8) if n == 40 else np.asfortranarray(rng.normal(size=(n, 3)))
    if ending == "numbers":
        t = rng.normal(size=(n, 2))
    elif ending == "shares":
        t = rng.dirichlet([1, 1], size=n)
    else:
        t = rng.integers(max(2, outputs), size=n)
    data = model.Data(x, t, outputs)
    data.name = ending, n
    return data


DATA = {ending: [data_of(ending, n, np.random.default_rng(n)) for n in SIZES] for ending in ENDINGS}
ARRAYS = [array for data in itertools.chain(*DATA.values()) for array in (data.x, data.t)]
CONTENTS = [array.tobytes() for array in ARRAYS]


class Burnt(Exception):
    """What a layer, a callback or a schedule of one's own raises."""


def falling(epoch):
    return 0.2 / epoch


def failing(epoch):
    if epoch > 3:
        raise Burnt
    return 0.1


class Stretch(nn.Layer):
    """One factor for each feature. A test can let the layer burn through at one of the batches to come."""

    fuse = None  # how many batches from now, and the error
    pause = 0.0  # seconds that the next batch takes

    def __init__(self, inputs):
        self.inputs = inputs
        self.parameters = {"factor": np.ones(inputs)}

    def forward(self, x, out=None):
        assert self.training == (out is not None), "a layer is in training if the network gives `out`"
        self.x = x
        y = np.multiply(x, self.parameters["factor"], out=out)
        if self.training and Stretch.fuse:
            time.sleep(Stretch.pause)
            Stretch.pause = 0.0
            Stretch.fuse[0] -= 1
            if Stretch.fuse[0] == 0 and Stretch.fuse[1] is nn.DivergenceError:
                y = np.multiply(x, math.nan, out=out)
            elif Stretch.fuse[0] == 0:
                raise Stretch.fuse[1]
        return y

    def backward(self, grad, out=None):
        np.sum(grad * self.x, axis=0, out=self.gradients["factor"])
        return np.multiply(grad, self.parameters["factor"], out=out)


KINDS = {"linear": nn.Linear, "scale": Stretch, "tanh": nn.Tanh, "relu": nn.ReLU}
KINDS.update({"sigmoid": nn.Sigmoid, "softmax": nn.Softmax})


class Net:
    """A network and the plain one, and which data suit them."""

    def __init__(self, real, plain, ending):
        self.real, self.plain, self.data, self.net = real, plain, DATA[ending], self
        self.ending = ending

    def __repr__(self):
        return f"<network of {self.real.parameters.size} parameters>"


class Trainer:
    """A trainer, the plain run, and the pair of networks."""

    def __init__(self, real, plain, net):
        self.real, self.plain, self.net, self.data = real, plain, net, net.data

    def __repr__(self):
        return f"<trainer of {self.net!r}>"


class Ended(Exception):
    """The training must have ended here, with the error in `args`."""


def bits(vector, dtype="float64"):
    return np.asarray(vector if type(vector) is np.ndarray else host(vector), dtype).tobytes()


def close(real, plain, dtype):
    tolerance = 1e-9 if dtype == "float64" else 2e-4
    real, plain = np.asarray(host(real), float), np.asarray(plain, float)
    np.testing.assert_allclose(real, plain, rtol=tolerance, atol=tolerance * max(1, abs(plain).max(initial=0)))


def stamp(plain):
    """Return what the bits of the coming epochs depend on, except the learning rate and the data."""
    options = {name: value for name, value in plain.options.items() if name != "lr"}
    numbers = plain.cost, plain.right, plain.done
    return bits(plain.net.parameters), bits(plain.velocity), str(plain.rng.bit_generator.state), str((options, numbers))


def epoch_of(best):
    """Return the number of the best epoch, or None."""
    return best and best[0]


def optional(strategy):
    return st.none() | strategy


def leaves_with(frame):
    """Return whether a frame is at a `with`: a tracer also stops there at the block's end, but Python does not.

    (Python looks for a signal only when `__exit__` has begun, which is a fault of Python's: bugs.python.org/issue29988.)
    """
    return linecache.getline(frame.f_code.co_filename, frame.f_lineno).lstrip().startswith("with ")


@contextlib.contextmanager
def interrupted(at, where="", layers=()):
    """Raise KeyboardInterrupt at the n-th line of numnet, or of one file of numnet."""
    count, path = itertools.count(), os.path.join(PACKAGE, where)

    def trace(frame, event, _):
        if not frame.f_code.co_filename.startswith(path):
            return None
        if event == "line" and not threads.lock.locked() and not leaves_with(frame) and next(count) == at:
            sys.settrace(None)
            raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)
        if "training" in NOT_YET:
            for layer in layers:
                layer.training = False


@contextlib.contextmanager
def reading(trainer, x):
    """Read a trainer in another thread all the while."""
    end, errors = threading.Event(), []

    def read():
        try:
            while not end.is_set():
                columns = trainer.history.to_dict()
                assert columns["epoch"] == list(range(1, len(columns["epoch"]) + 1))
                assert repr((trainer, trainer.history))
                assert len(trainer.net(x)) == len(x)
        except BaseException as error:
            errors.append(error)

    thread, before = threading.Thread(target=read), sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
        sys.setswitchinterval(before)
    if errors:
        raise AssertionError("a reader was disturbed") from errors[0]


class Fitting:
    """One call of fit, which the plain run follows epoch by epoch."""

    def __init__(self, life, run, train, test, checkpoint, trip):
        self.life, self.run, self.plain = life, run, run.plain
        self.train, self.test, self.trip, self.spoilt = train, test, trip and list(trip), None
        self.trained, self.due, self.expected, self.saver = 0, False, None, None
        if checkpoint:
            self.saver = model.Saver(life.files, checkpoint["name"], checkpoint["every"])
            self.saver.raises = checkpoint["failure"] == "raise"

    def settle(self):
        """Write the checkpoint after the last epoch, if one is due."""
        due, self.due = self.due, False
        if due and self.saver:
            self.saver.after_epoch(self.plain)

    def blocks(self, lr):
        """Train a plain copy for what is left of the epoch; yield the copy after each block, and after the epoch.

        Raise Ended where the training must have ended.
        """
        plain, epoch, net = self.plain, len(self.plain.history), self.plain.net
        data = self.train.name, self.test and self.test.name
        context = lr, *data, plain.batch_size, net.device, model.BLOCK, str(net.layers)
        begin = (stamp(plain), *context)
        if plain.done:
            begin, then = plain.begun or (None, None)
            begin = begin if begin and then == stamp(plain) and begin[1:] == context else None
        if self.spoilt:
            order = copy.deepcopy(plain.rng).permutation(len(self.train.x))
        for work, batches in plain.epoch(self.train, self.test, lr):
            work.begun, whole = (begin, None), len(work.history) > epoch
            if self.spoilt and (whole if self.spoilt[0] is self.test else self.spoilt[1] in order[: work.done]):
                raise Ended(ValueError)
            if self.trip and not whole:
                self.trip[0] -= batches
                if self.trip[0] <= 0:
                    raise Ended(self.trip[1])
            if not math.isfinite(work.cost) or (whole and not np.isfinite(work.net.parameters).all()):
                raise Ended(nn.DivergenceError)
            if self.saver and not whole and np.isfinite([*work.net.parameters, *work.velocity]).all():
                self.saver.after_block(work, batches)
                plain.file = work.file
            yield work

    def __call__(self, _):
        """Follow, as a callback."""
        trace = sys.gettrace()
        sys.settrace(None)
        self.advance()
        sys.settrace(trace)

    def advance(self):
        """Let the plain run do an epoch that the real one has done, and compare."""
        real, plain, net = self.run.real, self.plain, self.plain.net
        assert len(real.history) == len(plain.history) + 1
        try:
            self.settle()
            plain.go_on()
            for work in self.blocks(plain.rate(len(real.history))):
                pass
        except (model.Full, Ended) as error:
            raise AssertionError(f"the training should have ended with {error!r}") from error
        vars(net).update({name: vars(work.net)[name] for name in ("parameters", "gradients", "trained")})
        (begin, _), vars(work)["begun"] = work.begun, None
        vars(plain).update(vars(work), net=net)
        self.trained, self.due = self.trained + 1, True
        self.follow(real.net.parameters if real.last is None else real.last)
        if begin:
            epoch = bits(net.parameters), bits(plain.velocity), str(plain.history[-1][:4] + plain.history[-1][5:])
            SEEN["an epoch from the same state as before"] += begin in self.life.epochs
            assert self.life.epochs.setdefault(begin, epoch) == epoch, "the same state must lead to the same bits"

    def follow(self, parameters):
        """Compare the plain run after an epoch with the real one, and take over the real one's bits."""
        real, plain = self.run.real, self.plain
        take_over(self.run, parameters)
        (*row, seconds, test_cost), (*wanted, least, wanted_test_cost) = real.history[-1], plain.history[-1]
        np.testing.assert_equal([row[0], *row[2:]], [wanted[0], *wanted[2:]])
        close([row[1], test_cost], [wanted[1], wanted_test_cost], plain.net.dtype)
        assert seconds >= least > 0 or seconds > least
        plain.history[-1] = tuple(real.history[-1])

    def end(self, error):
        """Compare what ended the call with what must have."""
        plain, expected = self.plain, self.expected
        while len(plain.history) < len(self.run.real.history):
            self.advance()
        try:
            self.settle()
            if expected is None and len(plain.history) < plain.last:
                plain.go_on()
                plain.net.gradients = None
                for _ in self.blocks(plain.rate(len(plain.history) + 1)):
                    pass
                raise AssertionError("nothing could end the training here") from error
        except model.Full:
            expected = OSError
        except Ended as ended:
            expected = ended.args[0]
        except Burnt:
            expected = Burnt
        if error is not None and (expected is None or not isinstance(error, expected)):
            raise AssertionError(f"expected {expected}") from error
        assert (error is None) == (expected is None), expected

    def end_anywhere(self, before, keep):
        """Find out where Ctrl-C ended the call, which must be a place where a run can be."""
        real, plain = self.run.real, self.plain
        if len(plain.history) < len(real.history):
            self.advance()
        now = real.progress.last, real.progress.batch_size, real.progress.samples
        if not self.trained and now == before:
            plain.last, plain.batch_size, plain.samples = before
        plain.net.gradients = None
        ahead = copy.deepcopy(plain)
        ahead.go_on()
        last = ahead.net.parameters.copy()
        if self.saver:
            files, name, owned = self.life.files, self.saver.name, plain.file
            states, held = [files.get(name)], self.life.held(name)
            place = (len(held.history), held.progress.done) if isinstance(held, nn.Trainer) else None
            self.settle()
            states.append(files.get(name))
            if len(plain.history) < plain.last:
                self.plain = ahead
                with contextlib.suppress(Ended):
                    for _ in self.blocks(ahead.rate(len(plain.history) + 1)):
                        states.append(files.get(name))
            possible = [file for file in states if (file and file.place) == place]
            assert possible, (place, [file and file.place for file in states])
            files[name] = possible[0]
            plain.file = owned if possible[0] is states[0] else possible[0]
            if keep and place and plain.file is not owned and epoch_of(held.best) != epoch_of(plain.file.content.best):
                plain.file.content.keep(
                    COLUMNS[keep[0]]
                )  # Ctrl-C came when the best was known, and before its callback ended
            if possible[0] is None:
                del files[name]
            if "own file" in NOT_YET and real.file != nn.checks.file_state(self.life.folder / name):
                plain.file = owned
        if "trained" in NOT_YET:
            plain.net.trained = real.net.trained
        plain.after = last if self.trained else plain.after
        if keep and plain.history:
            best, plain.net.parameters = plain.best, last
            plain.keep(COLUMNS[keep[0]])
            plain.best = plain.best if epoch_of(plain.best) == epoch_of(real.best) else best
        if plain.best and bits(real.net.parameters) != bits(last):
            plain.net.parameters, plain.shelved = plain.best[1].copy(), last
        else:
            plain.net.parameters, plain.shelved = last, None if real.last is None else last


def take_over(run, parameters=None):
    """Compare a plain run that has gone on with the real one, and take over the real one's bits."""
    real, plain, net = run.real, run.plain, run.plain.net
    parameters = real.net.parameters if parameters is None else parameters
    for vector, wanted in ((parameters, net.parameters), (real.optimizer.velocity, plain.velocity)):
        close(vector, wanted, net.dtype)
    net.parameters = np.array(host(parameters), float)
    if net.gradients is not None:
        close(real.net.gradients, net.gradients, net.dtype)
        net.gradients = np.array(host(real.net.gradients), float)
    plain.velocity = np.array(host(real.optimizer.velocity), float)


def same_run(real, plain):
    """Compare a trainer with the plain run, to the last bit."""
    dtype, progress = plain.net.dtype, real.progress
    assert bits(real.optimizer.velocity, dtype) == bits(plain.velocity, dtype)
    assert real.rng.bit_generator.state == plain.rng.bit_generator.state
    assert str(list(map(tuple, real.history))) == str(plain.history)
    assert all(str(value) == str(getattr(plain, name)) for name, value in vars(progress).items()), (progress, plain)
    assert epoch_of(real.best) == epoch_of(plain.best)
    assert real.best is None or bits(real.best.parameters, dtype) == bits(plain.best[1], dtype)
    assert {name: getattr(real.optimizer, name) for name in plain.options} == plain.options


def same_net(real, plain):
    """Compare a network with the plain one, to the last bit."""
    assert (str(real.dtype), real.device, real.trained) == (plain.dtype, plain.device, plain.trained)
    assert bits(real.parameters, plain.dtype) == bits(plain.parameters, plain.dtype)
    assert plain.gradients is None or bits(real.gradients, plain.dtype) == bits(plain.gradients, plain.dtype)
    for vector, name in ((real.parameters, "parameters"), (real.gradients, "gradients")):
        arrays = [array for layer in real.layers for array in getattr(layer, name).values()]
        assert all(np.shares_memory(array, vector) for array in arrays)
        assert b"".join(bits(array, plain.dtype) for array in arrays) == bits(vector, plain.dtype)
    assert not any(layer.training for layer in real.layers)


NAMES = st.sampled_from(["a/file", "b/file"])
DEVICE = st.sampled_from(["cpu", "gpu"])
COPIES = [copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))]
OPTIONS = {
    "lr": st.sampled_from([0.05, 0.2, falling, 0.1, failing]),
    "momentum": st.sampled_from([0.0, 0.5, 0.9]),
    "nesterov": st.booleans(),
    "weight_decay": st.sampled_from([0.0, 0.01]),
    "clip_norm": st.sampled_from([None, 0.3]),
}
NEW_OPTIONS = {
    **OPTIONS,
    "lr": OPTIONS["lr"]
    | st.sampled_from([np.float64(0.03), *([] if "options" in NOT_YET else [0.0, np.float32(0.02)])]),
}
PLANS = st.fixed_dictionaries(
    {
        "train": st.sampled_from([2, 1, 3, 0]),
        "test": st.sampled_from([1, None, 2, 3]),
        "epochs": st.integers(1, 3),
        "batch_size": st.sampled_from([3, 1, 2, 7, 64, 200]),
        "keep": optional(
            st.tuples(st.sampled_from(["train_cost", "test_cost", *COLUMNS]), optional(st.integers(1, 2)))
        ),
        "late": st.booleans(),
    }
)
CHECKPOINTS = st.fixed_dictionaries(
    {
        "name": NAMES,
        "every": st.sampled_from([1, 2, "1 batch", "7 batches", "70 batches"]),
        "failure": st.sampled_from(["raise", "warn"]),
        "overwrite": st.booleans(),
    }
)
PLACES = ["", "run.py", "training.py", "checkpoint.py", "atomic.py", "npz.py", "best.py", "data.py", "threads.py"]
ACTIONS = ["lr", "schedule", "momentum", "assign", "step", "there and back", "look", "save", "other trainer"]
ACTIONS += ["fit", "fit elsewhere"]


class Life(RuleBasedStateMachine):
    """Everything that a program can do, in any order."""

    nets, runs = Bundle("nets"), Bundle("runs")

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None))  # quick
        for name in ("a", "b"):
            (self.folder / name).mkdir()
        self.files, self.alive, self.epochs = {}, [], {}
        self.usual = [library.num_threads for library in threads.BLAS.lib_controllers]
        self.set_threads(2)
        self.errors = np.geterr()

    def teardown(self):
        model.BLOCK = numnet.data.BLOCK_BATCHES = 64
        np.seterr(**self.errors)
        for library, count in zip(threads.BLAS.lib_controllers, self.usual, strict=True):
            library.set_num_threads(count)
        shutil.rmtree(self.folder)

    def born(self, *things):
        self.alive += things
        return things[-1]

    @initialize(
        target=runs,
        block=st.sampled_from([5, 64]),
        hidden=st.sampled_from(HIDDEN),
        ending=st.sampled_from(sorted(ENDINGS)),
        options=st.fixed_dictionaries(OPTIONS),
        errors=st.sampled_from([None, "raise", "ignore"]),
    )
    def begin(self, block, hidden, ending, options, errors):
        model.BLOCK = numnet.data.BLOCK_BATCHES = block
        np.seterr(all=errors)
        self.expected_errors = np.geterr()
        self.sgds = []
        return self.new_trainer(self.new_network(hidden, ending, 0, "float64", "cpu"), options, 0)

    def few(self):
        """Return whether there is room for another network or trainer: of many, each would have a short life."""
        return len(self.alive) < 6

    @precondition(few)
    @rule(
        target=nets,
        hidden=st.sampled_from(HIDDEN),
        ending=st.sampled_from(sorted(ENDINGS)),
        seed=st.integers(0, 9),
        dtype=st.sampled_from(["float64", "float64", "float32"]),
        device=DEVICE,
    )
    def new_network(self, hidden, ending, seed, dtype, device):
        outputs, last, _ = ENDINGS[ending]
        width = next((size[-1] for _, *size in reversed(hidden) if size), 3)
        layers = [*hidden, ("linear", width, outputs), *last]
        real = nn.Sequential(*(KINDS[kind](*size) for kind, *size in layers), seed=seed, dtype=dtype, device=device)
        SEEN["new network"] += 1
        return self.born(Net(real, model.Network(layers, seed, dtype, device), ending))

    @precondition(few)
    @rule(target=runs, pair=nets | runs, options=st.fixed_dictionaries(OPTIONS), seed=st.integers(0, 9))
    def new_trainer(self, pair, options, seed):
        """Make a trainer, maybe a second one of a network."""
        net = pair.net
        options = {**options, "nesterov": options["nesterov"] and options["momentum"] > 0}
        self.sgds.append((nn.SGD(**options), options))
        return self.trainer(net, self.sgds[-1][0], options, seed)

    @precondition(few)
    @rule(target=runs, pair=nets | runs, other=runs, which=st.integers(0, 9), seed=st.integers(0, 9))
    def trainer_with_an_optimizer_of_before(self, pair, other, which, seed):
        """Give a trainer an SGD that others use, or the copy that another trainer works with: it starts with 0."""
        SEEN["an optimizer used again"] += 1
        sgd, options = [(other.real.optimizer, other.plain.options), *self.sgds][which % (len(self.sgds) + 1)]
        return self.trainer(pair.net, sgd, options, seed)

    def trainer(self, net, sgd, options, seed):
        real = nn.Trainer(net.real, ENDINGS[net.ending][2](), sgd, seed=seed)
        SEEN["new trainer"] += 1
        return self.born(Trainer(real, model.Run(net.plain, dict(options), np.random.default_rng(seed)), net))

    # Training

    def refusal(self, run, train, plan, checkpoint):
        """Return the error that fit must raise before it changes anything, if there is one."""
        plain, n = run.plain, len(train.x)
        last = plain.last if plan["epochs"] is None else len(plain.history) + plan["epochs"]
        if (plan["epochs"] is None and not plain.last) or (plan["epochs"] is not None and plain.done):
            return ValueError
        if plain.done and plain.samples != n:
            return ValueError
        held = self.files.get(checkpoint["name"]) if checkpoint else None
        if held and held.place and held is not plain.file and not checkpoint["overwrite"]:
            alike = (held.content.net.layers, held.content.net.dtype) == (plain.net.layers, plain.net.dtype)
            if alike and held.place > (len(plain.history), plain.done):
                return nn.CheckpointError
        if plain.options["lr"] is failing and last > max(3, len(plain.history)):
            return Burnt
        return None

    def train(self, run, plan, checkpoint=None, actions={}, trip=None, at=None, where="", reader=False):
        """Call fit, with what is to happen meanwhile; let the plain run follow, and compare. Return the error."""
        real, plain = run.real, run.plain
        train, test = run.data[plan["train"]], None if plan["test"] is None else run.data[plan["test"]]
        if "spoil" in actions.values():
            train, test = copy.deepcopy(train), copy.deepcopy(test)
            train.name = None
        call = Fitting(self, run, train, test, checkpoint, trip)
        call.actions, call.broken = dict(actions), None
        keep = plan["keep"]
        callbacks, arguments = [], {"test": test and (test.x, test.t), "progress": False}
        if keep or checkpoint or actions or plan["epochs"] != 1:
            acting = lambda _: self.act(call)  # noqa: E731
            keeping = [lambda _: self.before_keep(call, keep), nn.keep_best(*keep)] if keep else []
            keeping += [lambda _: self.after_keep(call, keep)] if keep else []
            callbacks = [call, *([*keeping, acting] if plan["late"] else [acting, *keeping])]
        if checkpoint:
            arguments |= {
                "checkpoint": self.folder / checkpoint["name"],
                "checkpoint_every": checkpoint["every"],
                "checkpoint_failure": checkpoint["failure"],
                "overwrite": checkpoint["overwrite"],
            }
        if plan["epochs"] is not None:
            arguments |= {"epochs": plan["epochs"], "batch_size": plan["batch_size"]}
        refusal, error = self.refusal(run, train, plan, checkpoint), None
        before = plain.last, plain.batch_size, plain.samples
        if not refusal:
            if plan["epochs"] is not None:
                plain.last, plain.batch_size = len(plain.history) + plan["epochs"], plan["batch_size"]
            plain.samples = len(train.x)
        Stretch.fuse, Stretch.pause = (list(trip), 0.003) if trip else (None, 0.0)
        with warnings.catch_warnings(record=True) as told, contextlib.ExitStack() as meanwhile:
            warnings.simplefilter("always")
            if reader:
                meanwhile.enter_context(reading(real, train.x))
            if at is not None:
                meanwhile.enter_context(interrupted(at, where, real.net.layers))
            try:
                history = real.fit((train.x, train.t), callbacks=callbacks, **arguments)
                assert history is real.history
            except AssertionError:
                raise
            except (Exception, KeyboardInterrupt) as raised:
                error = raised if at is None else raised.with_traceback(None)  # nothing of the call stays alive
            finally:
                Stretch.fuse = None
                self.mend(call)
        if refusal:
            if at is None or type(error) is not KeyboardInterrupt:
                assert isinstance(error, refusal), (error, refusal)
            return "refused"
        if at is not None and type(error) is KeyboardInterrupt:
            call.end_anywhere(before, keep)
        else:
            call.end(error)
            plain.after = plain.net.parameters.copy() if call.trained else plain.after
            if keep:
                same = plain.after is not None and (plain.after == plain.net.parameters).all()
                if plain.shelved is None and plain.history and (same or "best" in NOT_YET):
                    plain.keep(COLUMNS[keep[0]])
                plain.show_best()
        if checkpoint:
            self.check_file(checkpoint["name"])
            failed = [str(w.message) for w in told if "could not be written" in str(w.message)]
            assert len(failed) == call.saver.failed
        assert {w.category for w in told} <= {nn.DataWarning, RuntimeWarning}
        return error

    def before_keep(self, call, keep):
        if math.isnan(call.plain.history[-1][COLUMNS[keep[0]]]):
            call.expected = ValueError

    def after_keep(self, call, keep):
        call.plain.keep(COLUMNS[keep[0]])
        if keep[1] is not None and len(call.plain.history) - call.plain.best[0] >= keep[1]:
            SEEN["patience has an end"] += 1
            call.plain.last = len(call.plain.history)

    def act(self, call):
        """Do, in a callback, what is planned for this epoch."""
        action, run = call.actions.get(call.trained), call.run
        real, plain = run.real, run.plain
        if action is None:
            return
        SEEN[f"in a callback: {action}"] += 1
        if action == "stop":
            plain.last = len(plain.history)
            raise StopIteration
        if action in ("fail", "Ctrl-C"):
            call.expected = Burnt if action == "fail" else KeyboardInterrupt
            raise call.expected
        if action in ("away", "there and back"):
            there = {"cpu": "gpu", "gpu": "cpu"}
            self.move(run, there[plain.net.device])
            if action == "away":
                call.expected = nn.DeviceError
            else:
                self.move(run, there[plain.net.device])
        elif action in ("lr", "schedule", "momentum"):
            name = "lr" if action == "schedule" else action
            self.set_option(run, name, {"lr": 0.07, "schedule": falling, "momentum": 0.7}[action])
        elif action == "assign":
            self.assign(run, "parameters", 5)
        elif action == "step":
            self.step(run, 1, 0.1)
        elif action == "fit":
            self.fit_refused(real)
        elif action == "fit elsewhere":
            with ThreadPoolExecutor(1) as pool:
                pool.submit(self.fit_refused, real).result()
        elif action == "look":
            self.look(run, 2)
        elif action == "save":
            self.save(run, "b/file" if call.saver is None or call.saver.name == "a/file" else "a/file")
        elif action == "other trainer":
            for other in self.alive:
                if isinstance(other, Trainer) and other.net is run.net and other is not run and not other.plain.done:
                    plan = {"train": 1, "test": None, "epochs": 1, "batch_size": 3, "keep": None, "late": False}
                    self.train(other, plan)
                    SEEN["a second trainer within the first"] += 1
                    break
        elif action == "spoil":
            spoilt, where, sample = self.spoil
            data = {"train": call.train, "test": call.test}[spoilt]
            if where == "inputs" and data.x.dtype == np.uint8:
                return
            array = data.x if where == "inputs" else data.t
            sample %= len(array)
            array[sample] = 99 if array.dtype.kind == "i" else math.nan
            kept = where == "inputs" or run.net.ending == "classes"  # as they are given; the rest is converted once
            if plain.net.device == "cpu" and (kept or (data.t.ndim == 2 and plain.net.dtype == "float64")):
                call.spoilt = data, sample
        elif action in ("folder gone", "folder in its place", "disk full"):
            self.ruin(call, action)
        elif action == "mended":
            self.mend(call)
            call.saver.broken = False
        else:
            raise AssertionError(action)

    def fit_refused(self, trainer):
        with pytest.raises(RuntimeError, match="this trainer is in a call of fit already"):
            trainer.fit(None, epochs=1, batch_size=1, checkpoint=self.folder / "b/file")

    def ruin(self, call, how):
        """Let all checkpoints of a call fail from now on."""
        path, call.broken, call.saver.broken = self.folder / call.saver.name, how, True
        if how == "folder gone":
            os.rename(path.parent, f"{path.parent}.gone")
        elif how == "folder in its place":
            if path.exists():
                os.rename(path, f"{path}.aside")
            path.mkdir()
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, (50, -1))

    def mend(self, call):
        if call.broken is None:
            return
        path, how, call.broken = self.folder / call.saver.name, call.broken, None
        if how == "folder gone":
            os.rename(f"{path.parent}.gone", path.parent)
        elif how == "folder in its place":
            path.rmdir()
            if os.path.exists(f"{path}.aside"):
                os.rename(f"{path}.aside", path)
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))

    @rule(run=runs, plan=PLANS, checkpoint=optional(CHECKPOINTS), reader=st.sampled_from([False] * 7 + [True]))
    def fit(self, run, plan, checkpoint, reader):
        error = self.train(run, plan, checkpoint, reader=reader)
        SEEN[f"fit: {error if error == 'refused' else type(error).__name__}"] += 1
        SEEN["read meanwhile"] += reader and error is None

    @rule(run=runs, plan=PLANS, checkpoint=optional(CHECKPOINTS))
    def finish(self, run, plan, checkpoint):
        """Do what is left of a run."""
        middle = run.plain.done
        error = self.train(run, {**plan, "epochs": None}, checkpoint)
        SEEN[f"finish: {error if error == 'refused' else type(error).__name__}"] += 1
        SEEN["finish from the middle of an epoch"] += bool(middle and error is None)

    @rule(
        run=runs,
        plan=PLANS,
        checkpoint=optional(CHECKPOINTS),
        actions=st.dictionaries(st.integers(1, 3), st.sampled_from(ACTIONS), min_size=1),
    )
    def fit_with_callbacks(self, run, plan, checkpoint, actions):
        self.train(run, plan, checkpoint, actions)

    @rule(
        run=runs,
        plan=PLANS,
        checkpoint=optional(CHECKPOINTS),
        at=st.integers(1, 2),
        how=st.sampled_from(["stop", "fail", "Ctrl-C", "away"]),
    )
    def fit_ended_by_a_callback(self, run, plan, checkpoint, at, how):
        error = self.train(run, {**plan, "epochs": 3}, checkpoint, {at: how})
        SEEN[f"a callback ends: {type(error).__name__}"] += error != "refused"

    @rule(
        run=runs,
        plan=PLANS,
        checkpoint=optional(CHECKPOINTS),
        at=st.integers(1, 90),
        how=st.sampled_from([KeyboardInterrupt, Burnt, nn.DivergenceError]),
        finish=st.booleans(),
    )
    def fit_with_a_layer_that_burns_through(self, run, plan, checkpoint, at, how, finish):
        if any(kind == "scale" for kind, *_ in run.net.plain.layers):
            plan = {**plan, "keep": plan["keep"] and (plan["keep"][0], None), "epochs": None if finish else 3}
            error = self.train(run, plan, checkpoint, trip=(at, how))
            SEEN[f"a layer ends: {type(error).__name__}"] += error != "refused"

    @precondition(few)
    @rule(
        target=runs,
        run=runs,
        plan=PLANS,
        checkpoint=CHECKPOINTS,
        at=st.integers(6, 90),
        device=DEVICE,
        lr=optional(st.sampled_from([0.1, falling])),
        here=st.booleans(),
    )
    def fit_cut_off_and_resumed(self, run, plan, checkpoint, at, device, lr, here):
        """Let a layer burn through in the middle of an epoch; finish from the checkpoint, and here."""
        if all(kind != "scale" for kind, *_ in run.net.plain.layers) or plan["batch_size"] > 7:
            return multiple()
        plan = {**plan, "train": 2, "keep": plan["keep"] and (plan["keep"][0], None), "epochs": None}
        checkpoint = {**checkpoint, "every": "1 batch", "overwrite": True}
        self.train(run, {**plan, "epochs": 3}, checkpoint, trip=(at, KeyboardInterrupt))
        again = self.resume(checkpoint["name"], device, lr)
        for one in [again] * isinstance(again, Trainer) + [run] * here:
            middle = one.plain.done
            error = self.train(one, plan, checkpoint)
            SEEN["finish from the middle of an epoch"] += bool(middle and error is None)
        return again

    @rule(
        run=runs,
        plan=PLANS,
        checkpoint=optional(CHECKPOINTS),
        where=st.sampled_from(PLACES),
        at=st.integers(0, 30) | st.integers(0, 250),
        finish=st.booleans(),
    )
    def fit_with_ctrl_c_anywhere(self, run, plan, checkpoint, where, at, finish):
        at = at if where else 10 * at
        plan = {**plan, "keep": plan["keep"] and (plan["keep"][0], None), "epochs": None if finish else 2}
        if plan["keep"] and run.net.ending == "numbers":
            plan["keep"] = ("train_cost", None)
        if plan["keep"] and plan["test"] is None:
            plan["test"] = 1
        error = self.train(run, plan, checkpoint, at=at, where=where)
        SEEN[f"Ctrl-C anywhere: {error if error == 'refused' else type(error).__name__}"] += 1

    @rule(run=runs, plan=PLANS, checkpoint=optional(CHECKPOINTS), after=st.booleans())
    def fit_that_diverges(self, run, plan, checkpoint, after):
        """Take steps of a size at which every parameter overflows, at once or after an epoch."""
        lr, plain = run.plain.options["lr"], run.plain
        batches = -(-len(run.data[plan["train"]].x) // plan["batch_size"])
        if run.net.ending == "numbers" and batches > 1 and not plain.done and lr is not failing:
            clip = plain.options["clip_norm"]
            self.set_option(run, "clip_norm", None)
            first = len(plain.history) + 1
            self.set_option(run, "lr", lambda epoch: 1e200 if epoch > first or not after else 0.1)
            plan = {**plan, "epochs": 2, "keep": None}
            error = self.train(run, plan, checkpoint)
            assert error == "refused" or type(error) is nn.DivergenceError
            SEEN[f"diverges: {type(error).__name__}"] += 1
            self.set_option(run, "lr", lr)
            self.set_option(run, "clip_norm", clip)

    @rule(
        run=runs,
        plan=PLANS,
        checkpoint=CHECKPOINTS,
        how=st.sampled_from(["folder gone", "folder in its place", "disk full"]),
        again=st.booleans(),
    )
    def fit_with_a_checkpoint_that_fails(self, run, plan, checkpoint, how, again):
        plan = {**plan, "epochs": 3}
        error = self.train(run, plan, checkpoint, {1: how, **({2: "mended"} if again else {})})
        SEEN[f"{how}: {error if error == 'refused' else type(error).__name__}"] += 1

    @rule(
        run=runs,
        plan=PLANS,
        checkpoint=optional(CHECKPOINTS),
        spoil=st.tuples(
            st.sampled_from(["train", "test"]), st.sampled_from(["inputs", "targets"]), st.integers(0, 149)
        ),
    )
    def fit_with_data_that_change(self, run, plan, checkpoint, spoil):
        self.spoil = spoil
        plan = {**plan, "epochs": 3, "test": plan["test"] or 1}
        error = self.train(run, plan, checkpoint, {1: "spoil"})
        SEEN[f"data that change: {error if error == 'refused' else type(error).__name__}"] += 1

    @rule(run=runs, data=st.sampled_from([0, 1, 2]), lr=optional(st.sampled_from([0.0, 0.1])))
    def step(self, run, data, lr):
        real, plain, data = run.real, run.plain, run.data[data]
        try:
            rate = plain.rate(len(plain.history) + 1) if lr is None else lr
        except Burnt:
            with pytest.raises(Burnt):
                real.step(data.x, data.t)
            return
        cost = real.step(data.x, data.t, **({} if lr is None else {"lr": lr}))
        total, _ = plain.update(data.inputs, data.rows, rate)
        plain.net.trained = True
        close(cost, total / len(data.x), plain.net.dtype)
        take_over(run)
        SEEN["step"] += 1

    @rule(run=runs)
    def step_refused(self, run):
        data = run.data[1]
        for x, t in ((data.x[:, :2], data.t), (data.x, data.t[:-1]), (data.x * math.nan, data.t)):
            with pytest.raises(ValueError, match="^step"):
                run.real.step(x, t)
        SEEN["step refused"] += 1

    # Looking

    @rule(pair=nets | runs, which=st.integers(0, 3))
    def look(self, pair, which):
        net, plain, data = pair.net.real, pair.net.plain, pair.data[which]
        y = plain.forward(data.inputs)[-1]
        close(net(data.x), y, plain.dtype)
        if pair.net.ending != "numbers":
            sure = np.abs(np.sort(y)[:, -1] - np.sort(y)[:, -2]) > 1e-3 if y.shape[1] > 1 else abs(y[:, 0] - 0.5) > 1e-3
            np.testing.assert_array_equal(net.predict(data.x)[sure], model.classes_of(y)[sure])
            right = (model.classes_of(y) == data.labels)[sure].sum()
            assert right <= round(net.accuracy(data.x, data.t) * len(y)) <= right + (~sure).sum()
        if isinstance(pair, Trainer):
            cost, accuracy = pair.real.evaluate((data.x, data.t))
            close(cost, plain.evaluate(data)[0], plain.dtype)
            np.testing.assert_equal(
                accuracy, math.nan if pair.net.ending == "numbers" else net.accuracy(data.x, data.t)
            )
            assert repr(pair.real)
        assert repr(net)
        SEEN["look"] += 1

    # Changing

    @rule(pair=nets | runs, device=DEVICE)
    def move(self, pair, device):
        assert pair.net.real.to(device) is pair.net.real
        SEEN["move"] += pair.net.plain.device != device
        pair.net.plain.device = device

    @rule(pair=nets | runs, how=st.sampled_from(["parameters", "weight", "in place"]), seed=st.integers(0, 9))
    def assign(self, pair, how, seed):
        net, plain = pair.net.real, pair.net.plain
        values = np.random.default_rng(seed).normal(size=plain.parameters.size).astype(plain.dtype)
        if how == "parameters":
            net.parameters = values
            plain.parameters = values.astype(float)
        elif how == "in place":
            net.parameters[1:2] = 0.5
            plain.parameters[1:2] = 0.5
        else:
            i = next(i for i, (kind, *_) in enumerate(plain.layers) if kind == "linear")
            weight = plain.parts(plain.parameters)[i][0]
            weight[...] = values[: weight.size].reshape(weight.shape)
            net.layers[i].weight = weight
        SEEN["assign"] += 1

    @rule(count=st.integers(1, 3))
    def set_threads(self, count):
        """Give BLAS another number of threads, on which the bits of small networks do not depend."""
        self.threads = count
        for library in threads.BLAS.lib_controllers:
            library.set_num_threads(count)

    @rule(pair=nets | runs, seed=st.integers(0, 9))
    def initialize_again(self, pair, seed):
        pair.net.real.initialize(seed)
        pair.net.plain.initialize(seed)
        SEEN["initialize"] += 1

    @rule(run=runs, option=st.one_of(*(st.tuples(st.just(name), values) for name, values in NEW_OPTIONS.items())))
    def set_options(self, run, option):
        name, value = option
        options = {**run.plain.options, name: value}
        if options["momentum"] or not options["nesterov"]:
            self.set_option(run, name, value)
            SEEN["set an option"] += 1

    def set_option(self, run, name, value):
        setattr(run.real.optimizer, name, value)
        run.plain.options[name] = value

    # Copies

    @precondition(few)
    @rule(target=runs, run=runs, how=st.sampled_from(COPIES))
    def copy_of_a_trainer(self, run, how):
        real, plain = how(run.real), copy.deepcopy(run.plain)
        SEEN["copy of a trainer"] += 1
        return self.born(Trainer(real, plain, Net(real.net, plain.net, run.net.ending)))

    @precondition(few)
    @rule(target=nets, pair=nets | runs, how=st.sampled_from(COPIES))
    def copy_of_a_network(self, pair, how):
        SEEN["copy of a network"] += 1
        return self.born(Net(how(pair.net.real), copy.deepcopy(pair.net.plain), pair.net.ending))

    @precondition(few)
    @rule(target=nets, pair=nets | runs, dtype=st.sampled_from(["float64", "float32"]))
    def astype(self, pair, dtype):
        plain = copy.deepcopy(pair.net.plain)
        plain.dtype, plain.gradients = dtype, None
        plain.parameters = plain.parameters.astype(dtype).astype(float)
        SEEN["astype"] += 1
        return self.born(Net(pair.net.real.astype(dtype), plain, pair.net.ending))

    @rule(gone=consumes(runs) | consumes(nets))
    def forget(self, gone):
        self.alive.remove(gone)

    # Files

    @rule(pair=nets | runs, name=NAMES)
    def save(self, pair, name):
        pair.net.real.save(self.folder / name)
        self.files[name] = model.File(pair.net.plain)
        self.check_file(name)
        SEEN["save"] += 1

    @rule(name=NAMES)
    def remove(self, name):
        if self.files.pop(name, None):
            (self.folder / name).unlink()
            SEEN["remove"] += 1

    @precondition(few)
    @rule(target=nets, name=NAMES, device=DEVICE)
    def load(self, name, device):
        file = self.files.get(name)
        if file is None:
            with pytest.raises(FileNotFoundError):
                nn.load(self.folder / name)
            return multiple()
        real, plain = nn.load(self.folder / name, device), copy.deepcopy(file.content)
        if file.place:
            SEEN["load the best"] += plain.best is not None
            plain.net.parameters = plain.net.parameters if plain.best is None else plain.best[1]
            plain = plain.net
        plain.device = device
        SEEN["load"] += 1
        return self.born(Net(real, plain, ending_of(plain)))

    @precondition(few)
    @rule(target=runs, name=NAMES, device=DEVICE, lr=optional(st.sampled_from([0.1, falling])))
    def resume(self, name, device, lr):
        file = self.files.get(name)
        if file is None or not file.place or (lr is None and callable(file.content.options["lr"])):
            with pytest.raises(FileNotFoundError if file is None else nn.CheckpointError):
                nn.Trainer.resume(self.folder / name, lr, device)
            SEEN["resume refused"] += 1
            return multiple()
        real, plain = nn.Trainer.resume(self.folder / name, lr, device), copy.deepcopy(file.content)
        plain.net.device, plain.file = device, file
        plain.options["lr"] = plain.options["lr"] if lr is None else lr
        SEEN["resume in the middle of an epoch" if plain.done else "resume"] += 1
        return self.born(Trainer(real, plain, Net(real.net, plain.net, ending_of(plain.net))))

    @rule(
        run=runs,
        name=NAMES,
        what=st.sampled_from(["save", "load", "resume", "evaluate", "predict", "step"]),
        where=st.sampled_from(PLACES),
        at=st.integers(0, 40) | st.integers(0, 400),
    )
    def ctrl_c_elsewhere(self, run, name, what, where, at):
        """Interrupt what is no fit: a file is whole or not there, and a step may have changed any parameter."""
        path, data, real, net = self.folder / name, run.data[1], run.real, run.net
        calls = {
            "save": lambda: real.net.save(path),
            "load": lambda: nn.load(path),
            "resume": lambda: nn.Trainer.resume(path, 0.1),
            "evaluate": lambda: real.evaluate((data.x, data.t)),
            "predict": lambda: real.net(data.x),
            "step": lambda: real.step(data.x, data.t, lr=0.1),
        }
        before = path.exists() and path.read_bytes()
        try:
            with interrupted(at, where, net.real.layers):
                calls[what]()
            return
        except (FileNotFoundError, nn.CheckpointError):
            return
        except KeyboardInterrupt:
            SEEN[f"Ctrl-C in {what}"] += 1
        finally:
            if what == "save" and (path.exists() and path.read_bytes()) != before:
                self.files[name] = model.File(net.plain)
            if what == "step":
                net.plain.parameters = np.array(host(real.net.parameters), float)
                run.plain.velocity = np.array(host(real.optimizer.velocity), float)
                net.plain.gradients, net.plain.trained = None, real.net.trained
        self.check_file(name)

    def held(self, name):
        """Return what a file holds: a network, a run, or None."""
        path = self.folder / name
        if not path.exists():
            return None
        try:
            return nn.Trainer.resume(path, lr=0.1)
        except nn.CheckpointError as error:
            assert "holds a network" in str(error)
            return nn.load(path)

    def check_file(self, name):
        """Compare what a file holds with what it must hold."""
        file, held = self.files.get(name), self.held(name)
        assert (file is None) == (held is None)
        if file is None:
            return
        assert (file.place is not None) == isinstance(held, nn.Trainer)
        content, net, real = file.content, file.net, held.net if file.place else held
        if file.place:
            options = content.options
            content.options = {**options, "lr": 0.1}
            if not file.known and content.done:
                take_over(Trainer(held, content, Net(real, net, ending_of(net))))
                close(held.progress.cost, content.cost, net.dtype)
                assert held.progress.seconds > content.seconds
                content.cost, content.seconds = held.progress.cost, held.progress.seconds
                content.begun = content.begun[0], stamp(content)
            same_run(held, content)
            content.options = options
        same_net(real, net)
        file.known = True

    # What must always be so

    @invariant()
    def all_is_as_it_must_be(self):
        SEEN["steps"] += 1
        for thing in self.alive:
            if isinstance(thing, Trainer):
                same_run(thing.real, thing.plain)
            same_net(thing.net.real, thing.net.plain)
        for sgd, options in getattr(self, "sgds", ()):
            assert {name: getattr(sgd, name) for name in options} == options
            assert not hasattr(sgd, "velocity")
        files = {str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if not path.is_dir()}
        assert files == set(self.files)
        assert [library.num_threads for library in threads.BLAS.lib_controllers] == [self.threads] * len(self.usual)
        assert np.geterr() == getattr(self, "expected_errors", self.errors)
        assert [array.tobytes() for array in ARRAYS] == CONTENTS


def ending_of(net):
    """Return which data suit a plain network."""
    last, outputs = net.layers[-1][0], [size[-1] for _, *size in net.layers if size][-1]
    return {"softmax": {2: "shares", 3: "classes"}.get(outputs), "sigmoid": "yes or no"}.get(last, "numbers")


def test_a_life():
    SEEN.clear()
    run_state_machine_as_test(
        Life,
        settings=settings(
            stateful_step_count=50, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
        ),
    )
    print(SEEN)
