"""keep_best: the network has the parameters of the best epoch, and the run goes on as if nothing had been kept."""

import copy
import itertools
import math
import operator
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import numnet as nn

from .devices import DEVICES, host
from .networks import Fuse

RNG = np.random.default_rng(0)
X, T = RNG.normal(size=(9, 3)), RNG.integers(2, size=9)
COLUMNS = ["test_accuracy", "test_cost", "train_accuracy", "train_cost"]


@pytest.fixture(autouse=True)
def unburnt():
    yield
    Fuse.left = math.inf


def trainer_of(device="cpu"):
    net = nn.Sequential(nn.Linear(3, 2), Fuse(), nn.Softmax(), seed=0, device=device)
    return nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.1, momentum=0.5), seed=0)


def state(trainer):
    """Return all with which a run goes on, in bits."""
    vectors = (host(vector).tobytes() for vector in (trainer.net.parameters, trainer.optimizer.velocity))
    return *vectors, str(trainer.rng.bit_generator.state), len(trainer.history)


class Scripted:
    """A callback that writes given values into a column of the history, and notes the parameters after each epoch."""

    def __init__(self, column, values):
        self.column, self.values, self.parameters = column, values, []

    def __call__(self, trainer):
        epoch = len(trainer.history)
        trainer.history[-1] = trainer.history[-1]._replace(**{self.column: self.values[epoch - 1]})
        del self.parameters[epoch - 1 :]
        self.parameters.append(host(trainer.net.parameters).copy())


def expected(column, values, patience=None):
    """Return the best of the epochs that are trained, from 1, and how many these are."""
    better, best = operator.gt if column.endswith("accuracy") else operator.lt, None
    for epoch, value in enumerate(values, 1):
        if best is None or better(value, values[best - 1]):
            best = epoch
        elif patience is not None and epoch - best >= patience:
            return best, epoch
    return best, len(values)


values_of_epochs = st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.5000001, 0.75, 1.0, math.inf]), min_size=1, max_size=8)
patiences = st.none() | st.integers(1, 4)


@pytest.mark.parametrize("device", DEVICES)
@given(column=st.sampled_from(COLUMNS), values=values_of_epochs, patience=patiences)
def test_the_network_has_the_parameters_of_the_best_epoch_and_training_goes_on(column, values, patience, device):
    trainer, whole = trainer_of(device), trainer_of(device)
    script = Scripted(column, values)
    best, epochs = expected(column, values, patience)
    history = trainer.fit((X, T), len(values), 4, (X, T), callbacks=[script, nn.keep_best(column, patience)])
    assert (trainer.best.epoch, len(history)) == (best, epochs)
    np.testing.assert_array_equal(host(trainer.net.parameters), script.parameters[best - 1])
    whole.fit((X, T), epochs, 4, (X, T))
    np.testing.assert_array_equal(script.parameters[-1], host(whole.net.parameters))
    for run in (trainer, whole):
        run.fit((X, T), 2, 4)
    assert state(trainer) == state(whole)


@pytest.mark.parametrize("how", ["an error of a callback", "an error of a callback before", "Ctrl-C"])
@pytest.mark.parametrize("device", DEVICES)
@given(values=values_of_epochs, data=st.data())
def test_the_best_is_there_also_if_the_run_is_interrupted(how, values, data, device):
    trainer, whole = trainer_of(device), trainer_of(device)
    script, at = Scripted("test_cost", values), data.draw(st.integers(1, len(values)))

    def fail(trainer):
        if len(trainer.history) == at:
            raise RuntimeError("the callback's own")

    keep = nn.keep_best("test_cost")
    callbacks = {"Ctrl-C": [script, keep], "an error of a callback": [script, keep, fail]}.get(
        how, [script, fail, keep]
    )
    if how == "Ctrl-C":
        Fuse.left = 3 * (at - 1) + data.draw(st.integers(1, 3))
    with pytest.raises(KeyboardInterrupt if how == "Ctrl-C" else RuntimeError):
        trainer.fit((X, T), len(values), 4, (X, T), callbacks=callbacks)
    Fuse.left = math.inf
    epochs = at - (how == "Ctrl-C")
    assert len(trainer.history) == epochs
    best, _ = expected("test_cost", values[:epochs])
    assert (trainer.best and trainer.best.epoch) == best
    if best:
        np.testing.assert_array_equal(host(trainer.net.parameters), script.parameters[best - 1])
    trainer.fit((X, T), test=(X, T), callbacks=[script, keep])
    best, _ = expected("test_cost", values)
    assert (trainer.best and trainer.best.epoch) == best
    whole.fit((X, T), len(values), 4, (X, T))
    for run in (trainer, whole):
        run.fit((X, T), 1, 4)
    assert state(trainer) == state(whole)


@given(values=values_of_epochs, patience=patiences, cut=st.integers(2, 20), every=st.sampled_from([1, "1 batch"]))
def test_a_run_that_is_resumed_has_the_same_best_and_as_much_patience(values, patience, cut, every, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run.npz"
    whole, script = trainer_of(), Scripted("test_accuracy", values)

    def options():
        return {"test": (X, T), "callbacks": [Scripted("test_accuracy", values), nn.keep_best(patience=patience)]}

    whole.fit((X, T), len(values), 4, (X, T), callbacks=[script, nn.keep_best(patience=patience)])
    Fuse.left = cut
    try:
        trainer_of().fit((X, T), len(values), 4, **options(), checkpoint=path, checkpoint_every=every)
    except KeyboardInterrupt:
        pass
    finally:
        Fuse.left = math.inf
    if not path.exists():
        return
    again = nn.Trainer.resume(path)
    again.fit((X, T), **options())
    assert again.history.test_accuracy == whole.history.test_accuracy
    assert again.best.epoch == whole.best.epoch == expected("test_accuracy", values, patience)[0]
    assert state(again) == state(whole)
    for run in (again, whole):
        run.fit((X, T), 1, 4)
    assert state(again) == state(whole)


ELSEWHERE = """
import sys
import numpy as np
import numnet as nn
train, test = nn.datasets.digits()
stop = int(sys.argv[2])
if sys.argv[1] == "resume":
    trainer = nn.Trainer.resume(sys.argv[3])
    options = {}
else:
    net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0)
    trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.5, momentum=0.9), seed=0)
    options = {"epochs": 200, "batch_size": 64}
def halt(trainer):
    if len(trainer.history) == stop:
        raise SystemExit
callbacks = [nn.keep_best("test_cost", patience=4), halt]
trainer.fit(train, **options, test=test, callbacks=callbacks, checkpoint=sys.argv[3], progress=False)
print(len(trainer.history), trainer.best.epoch, trainer.net.parameters.tobytes().hex())
"""


def test_the_best_and_the_patience_go_on_in_another_process(tmp_path):
    def run(*arguments):
        command = [sys.executable, "-c", ELSEWHERE, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    whole = run("start", 0, tmp_path / "whole.npz")
    epochs, best = map(int, whole.split()[:2])
    assert best == epochs - 4 > 1
    assert run("start", epochs - 2, tmp_path / "run.npz") == ""
    assert run("resume", 0, tmp_path / "run.npz") == whole


@pytest.mark.parametrize(
    "change",
    [
        lambda trainer: setattr(trainer.net, "parameters", np.arange(8) / 10),
        lambda trainer: setattr(trainer.net.layers[0], "bias", 1),
        lambda trainer: trainer.net.layers[0].weight.__setitem__((0, 0), 0.5),
        lambda trainer: trainer.net.initialize(seed=5),
        lambda trainer: trainer.step(X, T),
    ],
)
@pytest.mark.parametrize("device", DEVICES)
def test_parameters_that_somebody_has_changed_meanwhile_are_not_overwritten(change, device):
    trainer, other = (trainer_of(device) for _ in range(2))
    trainer.fit((X, T), 3, 4, callbacks=[Scripted("train_cost", [3, 1, 2]), nn.keep_best("train_cost")])
    other.fit((X, T), 3, 4, callbacks=[Scripted("train_cost", [3, 1, 2])])
    other.net.parameters = trainer.net.parameters
    for run in (trainer, other):
        change(run)
    np.testing.assert_array_equal(host(trainer.net.parameters), host(other.net.parameters))
    assert (host(trainer.net.parameters) != host(trainer.best.parameters)).any()
    for run in (trainer, other):
        run.fit((X, T), 2, 4)
    assert state(trainer) == state(other)


@pytest.mark.parametrize("moves", list(itertools.permutations(["cpu", "gpu"])))
def test_a_network_that_is_moved_goes_on_too(moves):
    trainer, whole = trainer_of(), trainer_of()
    for run, callbacks in ((trainer, [Scripted("train_cost", [3, 1, 2]), nn.keep_best("train_cost")]), (whole, [])):
        run.fit((X, T), 3, 4, callbacks=callbacks)
        run.net.to(moves[0])
        run.fit((X, T), 1, 4)
        run.net.to(moves[1])
        run.fit((X, T), 1, 4)
    assert state(trainer) == state(whole)


def test_a_second_call_looks_at_the_epochs_of_the_first_too():
    trainer, script = trainer_of(), Scripted("test_cost", [3, 1, 2, 2, 2, 0.5])
    for _ in range(2):
        trainer.fit((X, T), 2, 4, (X, T), callbacks=[script, nn.keep_best("test_cost")])
        assert trainer.best.epoch == 2
        np.testing.assert_array_equal(trainer.net.parameters, script.parameters[1])
    trainer.fit((X, T), 2, 4, (X, T), callbacks=[script, nn.keep_best("test_cost")])
    assert trainer.best.epoch == 6
    np.testing.assert_array_equal(trainer.net.parameters, script.parameters[5])


@pytest.mark.parametrize("same", [True, False])
def test_several_callbacks_that_keep_the_best_are_as_good_as_one(same):
    one, several = trainer_of(), trainer_of()
    keep = nn.keep_best("test_cost")
    callbacks = [keep, keep] if same else [keep, nn.keep_best("test_cost", patience=9)]
    for run, keeping in ((one, [nn.keep_best("test_cost")]), (several, callbacks)):
        run.fit((X, T), 3, 4, (X, T), callbacks=[Scripted("test_cost", [3, 1, 2]), *keeping])
    assert state(several) == state(one)
    for run in (one, several):
        run.fit((X, T), 2, 4)
    assert state(several) == state(one)


def test_what_is_best_stays_as_it_is_while_training_goes_on():
    trainer, script = trainer_of(), Scripted("test_cost", [1, 2])
    trainer.fit((X, T), 2, 4, (X, T), callbacks=[script, nn.keep_best("test_cost")])
    trainer.fit((X, T), 3, 4)
    np.testing.assert_array_equal(trainer.best.parameters, script.parameters[0])
    twin = copy.deepcopy(trainer)
    twin.net.parameters = 0
    twin.best.parameters[:] = 0
    np.testing.assert_array_equal(trainer.best.parameters, script.parameters[0])


def test_without_it_nothing_is_kept(tmp_path):
    trainer = trainer_of()
    trainer.fit((X, T), 2, 4, (X, T), checkpoint=tmp_path / "run.npz")
    assert trainer.best is trainer.last is None
    assert nn.Trainer.resume(tmp_path / "run.npz").best is None


def test_the_best_is_shown_in_a_few_words():
    trainer = trainer_of()
    trainer.fit((X, T), 1, 4, callbacks=[nn.keep_best("train_cost")])
    assert repr(trainer.best) == "Best(epoch=1, parameters of 8 numbers)"


@pytest.mark.parametrize(
    ("column", "test", "t"),
    [
        ("test_accuracy", None, T),
        ("test_cost", None, T),
        ("test_accuracy", (X, X[:, :2] ** 2), X[:, :2] ** 2),
        ("train_accuracy", None, X[:, :2] ** 2),
    ],
)
def test_a_column_that_is_nan_is_refused(column, test, t):
    net = nn.Sequential(nn.Linear(3, 2), seed=0)
    trainer = nn.Trainer(net, nn.Quadratic(), nn.SGD(0.01), seed=0)
    with pytest.raises(ValueError, match=f"^keep_best: the history has no {column}: "):
        trainer.fit((X, t), 3, 4, test, callbacks=[nn.keep_best(column)])
    assert len(trainer.history) == 1
    assert trainer.best is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("accuracy",), "^keep_best: by must be one of test_accuracy, test_cost, train_accuracy, train_cost, got 'acc"),
        (("seconds",), "got 'seconds'"),
        ((None,), "got None"),
        (("test_cost", 0), "^keep_best: patience must be a whole number of at least 1, got 0"),
        (("test_cost", 2.5), "got 2.5"),
        (("test_cost", True), "got True"),
    ],
)
def test_wrong_use(arguments, message):
    with pytest.raises(ValueError, match=message):
        nn.keep_best(*arguments)


def test_counts_of_numpy_are_patience_too():
    assert type(nn.keep_best(patience=np.int64(3)).patience) is int


def test_a_best_epoch_of_another_column_that_has_no_number_here_is_no_best():
    trainer = trainer_of()
    trainer.fit((X, T), 2, 4, callbacks=[nn.keep_best("train_cost")])
    trainer.fit((X, T), 6, 4, (X, T), callbacks=[nn.keep_best("test_cost", patience=2)])
    costs = trainer.history.test_cost
    assert trainer.best.epoch == 1 + int(np.nanargmin(costs)) > 2
    assert trainer.evaluate((X, T))[0] == pytest.approx(np.nanmin(costs), rel=1e-6)  # fit has one thread of BLAS


def failing(at):
    def fail(trainer):
        if len(trainer.history) == at:
            raise RuntimeError("the callback's own")

    return fail


def test_an_error_of_another_callback_is_raised_also_if_the_column_has_no_number():
    with pytest.raises(RuntimeError, match="the callback's own"):
        trainer_of().fit((X, T), 3, 4, callbacks=[failing(1), nn.keep_best("test_cost")])


def test_the_last_epoch_may_be_the_best_though_the_first_had_no_test():
    trainer, script = trainer_of(), Scripted("test_cost", [math.nan, math.nan, 3, 1])
    trainer.fit((X, T), 2, 4, callbacks=[script])
    with pytest.raises(RuntimeError, match="the callback's own"):
        trainer.fit((X, T), 2, 4, (X, T), callbacks=[script, failing(4), nn.keep_best("test_cost")])
    assert trainer.best.epoch == 4
    np.testing.assert_array_equal(trainer.net.parameters, script.parameters[3])


def test_of_two_that_keep_the_best_none_takes_the_parameters_of_one_epoch_for_those_of_another():
    trainer, script = trainer_of(), Scripted("train_cost", [1, 2])
    callbacks = [script, Scripted("test_cost", [1, 0.5]), failing(2)]
    with pytest.raises(RuntimeError, match="the callback's own"):
        trainer.fit((X, T), 2, 4, (X, T), [*callbacks, nn.keep_best("train_cost"), nn.keep_best("test_cost")])
    np.testing.assert_array_equal(trainer.best.parameters, script.parameters[trainer.best.epoch - 1])


def test_another_callback_may_have_a_method_that_is_called_finish():
    class Recorder(list):
        def __call__(self, trainer):
            self.append(trainer.history[-1])

        def finish(self):
            raise AssertionError("this is no business of fit")

    recorder = Recorder()
    trainer_of().fit((X, T), 2, 4, callbacks=[recorder])
    assert len(recorder) == 2


def test_parameters_that_somebody_assigns_are_not_those_of_the_last_epoch():
    trainer = trainer_of()

    def fail(trainer):
        if len(trainer.history) == 3:
            raise RuntimeError("the callback's own")

    with pytest.raises(RuntimeError, match="the callback's own"):
        trainer.fit((X, T), 3, 4, callbacks=[fail])
    own = np.arange(trainer.net.parameters.size) / 10
    trainer.net.parameters = own
    trainer.fit((X, T), callbacks=[nn.keep_best("train_cost")])  # nothing is left to do
    assert trainer.best is None
    np.testing.assert_array_equal(trainer.net.parameters, own.astype(trainer.net.dtype))
