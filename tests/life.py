"""For test_life.py: networks and trainers beside their plain ones, and a call of fit that the plain run follows."""

import contextlib
import copy
import itertools
import linecache
import math
import os
import sys
import threading
import time
import warnings
from collections import Counter

import numpy as np
import pytest

import numnet as nn
from numnet import threads

from . import model
from .devices import host

resource = pytest.importorskip("resource")  # of Unix
PACKAGE = os.path.dirname(nn.__file__)
COLUMNS = {"train_cost": 1, "train_accuracy": 2, "test_accuracy": 3, "test_cost": 5}
SEEN = Counter()  # what has happened, over all lives


# Data

ENDINGS = {  # outputs, the last layer or none, the cost
    "classes": (3, [("softmax",)], nn.CrossEntropy),
    "shares": (2, [("softmax",)], nn.CrossEntropy),
    "yes or no": (1, [("sigmoid",)], nn.CrossEntropy),
    "numbers": (2, [], nn.Quadratic),
}


def data_of(ending, n):
    rng, outputs = np.random.default_rng(n), ENDINGS[ending][0]
    x = rng.integers(256, size=(n, 3)).astype(np.uint8) if n == 40 else np.asfortranarray(rng.normal(size=(n, 3)))
    t = {
        "numbers": rng.normal(size=(n, 2)),
        "shares": rng.dirichlet([1, 1], size=n),
        "classes": rng.integers(3, size=n),
        "yes or no": rng.integers(2, size=n),
    }[ending]
    return model.Data(x, t, outputs, f"{n} of {ending}")


DATA = {ending: [data_of(ending, n) for n in (1, 7, 40, 150)] for ending in ENDINGS}
ARRAYS = [array for data in itertools.chain(*DATA.values()) for array in (data.x, data.t)]
CONTENTS = [array.tobytes() for array in ARRAYS]


# What a program has of its own


class Burnt(Exception):  # noqa: N818
    """What a layer, a callback or a schedule raises."""


def falling(epoch):
    return 0.05 / epoch


def failing(epoch):
    if epoch > 3:
        raise Burnt
    return 0.03


class Stretch(nn.Layer):
    """One factor for each feature. A test can let the layer burn through at one of the batches to come."""

    fuse = None  # how many batches from now, and the error
    pause = 0.0  # seconds that the next batch takes
    tested = None  # when the first forward since the last batch began, which takes a millisecond

    def __init__(self, inputs):
        self.inputs = inputs
        self.parameters = {"factor": np.ones(inputs)}

    def forward(self, x, out=None):
        assert self.training == (out is not None), "a network gives `out` in training, and then only"
        self.x = x
        y = np.multiply(x, self.parameters["factor"], out=out)
        if not self.training:
            if Stretch.tested is None:
                Stretch.tested = time.perf_counter()
                time.sleep(0.001)
            return y
        Stretch.tested = None
        if Stretch.fuse:
            time.sleep(Stretch.pause)
            Stretch.pause = 0.0
            Stretch.fuse[0] -= 1
            if Stretch.fuse[0] == 0 and Stretch.fuse[1] is nn.DivergenceError:
                return np.multiply(x, math.nan, out=out)
            if Stretch.fuse[0] == 0:
                raise Stretch.fuse[1]
        return y

    def backward(self, grad, out=None):
        np.sum(grad * self.x, axis=0, out=self.gradients["factor"])
        return np.multiply(grad, self.parameters["factor"], out=out)


LAYERS = {"linear": nn.Linear, "scale": Stretch, "tanh": nn.Tanh, "relu": nn.ReLU}
LAYERS |= {"sigmoid": nn.Sigmoid, "softmax": nn.Softmax}


# Pairs of a real thing and a plain one


class Net:
    """A network and the plain one."""

    def __init__(self, real, plain):
        self.real, self.plain, self.net = real, plain, self
        last, outputs = plain.layers[-1][0], [size[-1] for _, *size in plain.layers if size][-1]
        self.ending = {"softmax": {2: "shares", 3: "classes"}.get(outputs), "sigmoid": "yes or no"}.get(last, "numbers")
        self.data = DATA[self.ending]
        self.burns = any(kind == "scale" for kind, *_ in plain.layers)

    def __repr__(self):
        return f"<a network of {self.real.parameters.size} parameters>"


class Trainer:
    """A trainer and the plain run, with the pair of their networks."""

    def __init__(self, real, plain, net):
        self.real, self.plain, self.net, self.data, self.history = real, plain, net, net.data, real.history

    def __repr__(self):
        return f"<a trainer of {self.net!r}>"

    def take_over(self, parameters=None):
        """Compare a plain run that has gone on with the real one, and take over the real one's bits."""
        real, plain, net = self.real, self.plain, self.plain.net
        parameters = real.net.parameters if parameters is None else parameters
        close(parameters, net.parameters, net.dtype)
        close(real.optimizer.velocity, plain.velocity, net.dtype)
        net.parameters, plain.velocity = (np.array(host(v), float) for v in (parameters, real.optimizer.velocity))
        if net.gradients is not None:
            close(real.net.gradients, net.gradients, net.dtype)
            net.gradients = np.array(host(real.net.gradients), float)


def bits(vector, dtype="float64"):
    return np.asarray(vector if type(vector) is np.ndarray else host(vector), dtype).tobytes()


@np.errstate(all="ignore")
def close(real, plain, dtype):
    tolerance = 1e-9 if dtype == "float64" else 2e-4
    real, plain = np.asarray(host(real), float), np.asarray(plain, float)
    np.testing.assert_allclose(real, plain, rtol=tolerance, atol=tolerance * max(1, abs(plain).max(initial=0)))


def epoch_of(best):
    """Return the number of the best epoch, or None."""
    return best and best[0]


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


def same_run(real, plain):
    """Compare a trainer with the plain run, to the last bit."""
    dtype, progress = plain.net.dtype, vars(real.progress).copy()
    assert not progress.pop("weighted")
    assert bits(real.optimizer.velocity, dtype) == bits(plain.velocity, dtype)
    assert real.rng.bit_generator.state == plain.rng.bit_generator.state
    assert str(list(map(tuple, real.history))) == str(plain.history)  # nan is nan here
    assert all(str(value) == str(getattr(plain, name)) for name, value in progress.items()), (progress, plain)
    assert epoch_of(real.best) == epoch_of(plain.best)
    assert real.best is None or bits(real.best.parameters, dtype) == bits(plain.best[1], dtype)
    assert {name: getattr(real.optimizer, name) for name in plain.options} == plain.options


# What happens meanwhile


@contextlib.contextmanager
def interrupted(at, where=""):
    """Raise KeyboardInterrupt at the n-th line of numnet, or of one file of numnet."""
    count, path = itertools.count(), os.path.join(PACKAGE, where)

    def trace(frame, event, _):
        if not frame.f_code.co_filename.startswith(path):
            return None
        # Python looks for no signal between the last line of `with lock` and the lock's release; a tracer would.
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


def leaves_with(frame):
    """Return whether a frame is at a `with`, where a tracer stops also at the block's end, and Python does not.

    (Python looks for a signal when `__exit__` has begun, which no program can help: bugs.python.org/issue29988.)
    """
    return linecache.getline(frame.f_code.co_filename, frame.f_lineno).lstrip().startswith("with ")


@contextlib.contextmanager
def reading(trainer, x):
    """Read a trainer in another thread all the while."""
    end, errors = threading.Event(), []

    def read():
        try:
            while not end.wait(1e-3):  # or the training hardly gets on
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


class Disk:
    """The place of one file, which can be made such that nobody can write there."""

    def __init__(self, path):
        self.path, self.how = path, None

    def ruin(self, how):
        self.how = how
        if how == "folder gone":
            os.rename(self.path.parent, f"{self.path.parent}.gone")
        elif how == "folder in its place":
            if self.path.exists():
                os.rename(self.path, f"{self.path}.aside")
            self.path.mkdir()
        elif how == "disk full":
            resource.setrlimit(resource.RLIMIT_FSIZE, (50, -1))

    def mend(self):
        how, self.how = self.how, None
        if how == "folder gone":
            os.rename(f"{self.path.parent}.gone", self.path.parent)
        elif how == "folder in its place":
            self.path.rmdir()
            if os.path.exists(f"{self.path}.aside"):
                os.rename(f"{self.path}.aside", self.path)
        elif how == "disk full":
            resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))


# A call of fit


class Ended(Exception):  # noqa: N818
    """The training must have ended here, with the error in `args`."""


def stamp(plain):
    """Return what the bits of the coming epochs depend on, except the learning rate and the data."""
    options = {name: value for name, value in plain.options.items() if name != "lr"}
    numbers = plain.cost, plain.right, plain.done
    return bits(plain.net.parameters), bits(plain.velocity), str(plain.rng.bit_generator.state), str((options, numbers))


class Fitting:
    """One call of fit, which the plain run follows epoch by epoch.

    Parameters
    ----------
    life : Life
        Whose files and epochs these are.
    run : Trainer
    plan : dict
        The arguments of fit. Without `epochs`, do what is left. If `late`, `act` comes after keep_best.
    checkpoint : dict or None
    act : callable
        Called with this object after each epoch.
    trip : tuple or None
        After how many batches a layer burns through, and the error.
    spoils : bool
        Whether the data are copies, which may be changed.
    """

    def __init__(self, life, run, plan, checkpoint, act, trip, spoils):
        self.life, self.run, self.plain, self.act = life, run, run.plain, act
        self.train, self.test = (None if plan[name] is None else run.data[plan[name]] for name in ("train", "test"))
        if spoils:
            self.train, self.test = copy.deepcopy(self.train), copy.deepcopy(self.test)
            self.train.name = None  # what is known of these data is not known of the changed ones
        self.epochs, self.batch_size, self.keep = plan["epochs"], plan["batch_size"], plan["keep"]
        self.saver = model.Saver(life.files, **checkpoint) if checkpoint else None
        self.disk = Disk(life.folder / checkpoint["name"]) if checkpoint else None
        self.trip, self.spoilt, self.expected, self.reader = trip and list(trip), None, None, False
        self.trained, self.due, self.started = 0, False, 0.0
        self.before = self.plain.last, self.plain.batch_size, self.plain.samples
        self.arguments = {"callbacks": self.callbacks(plan["late"]), "progress": False}
        self.arguments |= {"test": (self.test.x, self.test.t)} if self.test else {}
        self.arguments |= {} if self.epochs is None else {"epochs": self.epochs, "batch_size": self.batch_size}
        if checkpoint:
            options = {f"checkpoint_{name}": checkpoint[name] for name in ("every", "failure")}
            self.arguments |= {"checkpoint": self.disk.path, "overwrite": checkpoint["overwrite"], **options}

    def callbacks(self, late):
        if not (self.keep or self.saver or self.act or self.epochs != 1):
            return []
        keeping = [self.before_keep, nn.keep_best(*self.keep), self.after_keep] if self.keep else []
        acting = [lambda _: self.act(self)] if self.act else []
        return [self.follow, *([*keeping, *acting] if late else [*acting, *keeping])]

    def refusal(self):
        """Return the error that fit must raise before it changes anything, if there is one."""
        plain = self.plain
        last = plain.last if self.epochs is None else len(plain.history) + self.epochs
        if not plain.last if self.epochs is None else plain.done:
            return ValueError
        if plain.done and plain.samples != len(self.train.x):
            return ValueError
        if self.saver and (refusal := self.saver.refusal(plain)):
            return refusal
        return Burnt if plain.options["lr"] is failing and last > max(3, len(plain.history)) else None

    def run_it(self, meanwhile=()):
        """Call fit, let the plain run follow, and compare; return the error, or "refused"."""
        real, plain, refusal, error = self.run.real, self.plain, self.refusal(), None
        if not refusal:
            plain.samples = len(self.train.x)
            if self.epochs is not None:
                plain.last, plain.batch_size = len(plain.history) + self.epochs, self.batch_size
        Stretch.fuse, Stretch.pause = (list(self.trip), 0.003) if self.trip else (None, 0.0)
        with warnings.catch_warnings(record=True) as told, contextlib.ExitStack() as stack:
            warnings.simplefilter("always")
            for context in meanwhile:
                stack.enter_context(context)
            self.started, Stretch.tested = time.perf_counter(), None
            try:
                assert real.fit((self.train.x, self.train.t), **self.arguments) is real.history
            except AssertionError:
                raise
            except KeyboardInterrupt as raised:  # without what it holds: a call is over when nobody holds it any more
                error = raised.with_traceback(None)
            except Exception as raised:
                error = raised
            finally:
                Stretch.fuse = None
                if self.disk:
                    self.disk.mend()
        if "before the first step" in str(error):  # what may be refused, and is refused at the first step otherwise
            assert type(error) is nn.DivergenceError
            assert not math.isfinite(plain.net.evaluate(self.train)[0])
            plain.last, plain.batch_size, plain.samples = self.before
            return "refused"
        if refusal:
            assert isinstance(error, (refusal, KeyboardInterrupt)), (error, refusal)
            return "refused"
        anywhere = type(error) is KeyboardInterrupt and not self.trip and self.expected is None
        (self.end_anywhere if anywhere else self.end)(error)
        if self.saver:
            self.life.check_file(self.saver.name)
            assert sum("the checkpoint" in str(warning.message) for warning in told) == self.saver.failed
        assert {warning.category for warning in told} <= {nn.DataWarning, RuntimeWarning}
        return error

    # In callbacks

    def follow(self, _):
        trace = sys.gettrace()
        sys.settrace(None)
        self.advance()
        sys.settrace(trace)
        self.started, Stretch.tested = time.perf_counter(), None

    def before_keep(self, _):
        if math.isnan(self.plain.history[-1][COLUMNS[self.keep[0]]]):
            self.expected = ValueError

    def after_keep(self, _):
        plain, (column, patience) = self.plain, self.keep
        plain.keep(COLUMNS[column])
        if patience is not None and len(plain.history) - plain.best[0] >= patience:
            SEEN["patience has an end"] += 1
            plain.last = len(plain.history)

    # The plain run

    def settle(self):
        """Write the checkpoint after the last epoch, if one is due."""
        due, self.due = self.due, False
        if due and self.saver:
            self.saver.after_epoch(self.plain)

    def blocks(self, lr):
        """Train a plain copy for what is left of the epoch; yield the copy after each block, and after the epoch.

        Raise Ended where the training must have ended, and model.Unwritten where a checkpoint must have ended it.
        """
        plain, epoch, net = self.plain, len(self.plain.history), self.plain.net
        context = lr, self.train.name, self.test and self.test.name, plain.batch_size, net.device, str(net.layers)
        begin = (stamp(plain), *context)
        if (
            plain.done
        ):  # in the middle, what counts is how the epoch began, if all is as it was when the file was written
            begin, then = plain.begun or (None, None)
            begin = begin if begin and then == stamp(plain) and begin[1:] == context else None
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

    def advance(self):
        """Let the plain run do an epoch that the real one has done, compare, and take over the real one's bits."""
        real, plain, net = self.run.real, self.plain, self.plain.net
        assert len(plain.history) < plain.last, "the training should have ended"
        assert len(real.history) == len(plain.history) + 1
        try:
            self.settle()
            plain.go_on()
            *_, work = self.blocks(plain.rate(len(real.history)))
        except (model.Unwritten, Ended) as error:
            raise AssertionError(f"the training should have ended with {error!r}") from error
        vars(net).update({name: vars(work.net)[name] for name in ("parameters", "gradients", "trained")})
        vars(plain).update({**vars(work), "net": net, "begun": None})
        self.trained, self.due = self.trained + 1, True
        self.run.take_over(real.net.parameters if real.last is None else real.last)
        plain.history[-1] = self.compared(real.history[-1], plain.history[-1])
        if begin := work.begun[0]:
            _, *row, _, test_cost = plain.history[-1]
            epoch = bits(net.parameters), bits(plain.velocity), str((*row, test_cost))
            SEEN["an epoch from the same state as before"] += begin in self.life.epochs
            assert self.life.epochs.setdefault(begin, epoch) == epoch, "the same state must lead to the same bits"

    def compared(self, real, plain):
        """Compare an epoch of the history with the plain one; return the real one."""
        (*row, seconds, test_cost), (*wanted, least, wanted_test_cost) = real, plain
        np.testing.assert_equal([row[0], *row[2:]], [wanted[0], *wanted[2:]])
        close([row[1], test_cost], [wanted[1], wanted_test_cost], self.plain.net.dtype)
        assert seconds >= least > 0 or seconds > least
        if self.test and not self.reader and self.run.net.burns:
            assert seconds - least <= Stretch.tested - self.started, "the test takes no seconds of the training"
        return tuple(real)

    def end(self, error):
        """Compare what ended the call with what must have."""
        plain, expected = self.plain, self.expected
        if len(plain.history) < len(self.run.real.history):
            self.advance()
        try:
            self.settle()
            if expected is None and len(plain.history) < plain.last:
                plain.go_on()
                plain.net.gradients = None
                for _ in self.blocks(plain.rate(len(plain.history) + 1)):
                    pass
                raise AssertionError("nothing could end the training here") from error
        except (model.Unwritten, Ended) as ended:
            expected = ended.args[0]
        except Burnt:
            expected = Burnt
        if (error is None) != (expected is None) or (error and not isinstance(error, expected)):
            raise AssertionError(f"{error!r} instead of {expected}") from error
        if self.keep and self.trained:  # another callback may have failed before keep_best saw the last epoch
            plain.keep(COLUMNS[self.keep[0]])
        if self.keep:
            plain.show_best()

    def end_anywhere(self, _):
        """Find out where Ctrl-C ended the call, which must be a place where a run can be."""
        real, plain = self.run.real, self.plain
        if len(plain.history) < len(real.history):
            self.advance()
        now = real.progress.last, real.progress.batch_size, real.progress.samples
        if not self.trained and now == self.before:
            plain.last, plain.batch_size, plain.samples = self.before
        plain.net.gradients = None
        self.plain = ahead = copy.deepcopy(plain)
        ahead.go_on()
        last = ahead.net.parameters.copy()
        if self.saver:
            self.find_file(plain, ahead)
        if self.keep and self.trained:
            best, plain.net.parameters = plain.best, last
            plain.keep(COLUMNS[self.keep[0]])
            plain.best = plain.best if epoch_of(plain.best) == epoch_of(real.best) else best
        if plain.best and bits(real.net.parameters) != bits(last):
            plain.net.parameters, plain.shelved = plain.best[1].copy(), last
        else:
            plain.net.parameters, plain.shelved = last, None if real.last is None else last
        self.life.put_right(real.net)

    def find_file(self, plain, ahead):
        """Find out which of the checkpoints that were due was written last."""
        files, name, owned, column = self.life.files, self.saver.name, plain.file, self.keep and COLUMNS[self.keep[0]]
        states, held = [files.get(name)], self.life.held(name)
        self.settle()
        states.append(files.get(name))
        with contextlib.suppress(Ended):
            for _ in self.blocks(ahead.rate(len(ahead.history) + 1)) if len(ahead.history) < ahead.last else ():
                states.append(files.get(name))
        place = (len(held.history), held.progress.done) if isinstance(held, nn.Trainer) else None
        found = next(file for file in states if (file and file.place) == place)
        files[name] = found
        if found is None:
            del files[name]
        plain.file = owned if found is states[0] else found
        if column and plain.file is not owned and epoch_of(held.best) != epoch_of(found.content.best):
            found.content.keep(column)  # Ctrl-C came after the best was known, and before the callback's end
