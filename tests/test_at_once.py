"""Two trainings at once of one trainer or one network: refused, and nothing is changed. Looking on is allowed."""

import copy
import os
import pickle
import threading
import time

import numpy as np
import pytest

import numnet as nn

RNG = np.random.default_rng(0)
X, T = RNG.normal(size=(60, 3)), RNG.integers(2, size=60)


class Gate(nn.Layer):
    """Passes numbers on; in training, waits at each batch until it is opened, and says that somebody waits."""

    def __init__(self):
        self.arrived, self.opened = threading.Event(), threading.Event()
        self.opened.set()

    def forward(self, x, out=None):
        if self.training:
            self.arrived.set()
            assert self.opened.wait(10)
        return np.multiply(x, 1, out=out)

    def backward(self, grad, out=None):
        return np.multiply(grad, 1, out=out)


def made(gate=None):
    layers = [nn.Linear(3, 4), *([gate] if gate else []), nn.Tanh(), nn.Linear(4, 2), nn.Softmax()]
    return trainer_of(nn.Sequential(*layers, seed=0))


def trainer_of(net):
    return nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.5, momentum=0.5), seed=0)


def outcome(trainer):
    columns = trainer.history.to_dict()
    del columns["seconds"]
    return trainer.net.parameters.tobytes(), trainer.optimizer.velocity.tobytes(), columns, trainer.rng.random()


@pytest.fixture
def in_training():
    """Yield a trainer that waits in the middle of its first epoch, in another thread."""
    gate = Gate()
    trainer = made(gate)
    gate.opened.clear()
    failed = []

    def train():
        try:
            trainer.fit((X, T), 3, 8, (X, T))
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=train)
    thread.start()
    assert gate.arrived.wait(10)
    yield trainer
    gate.opened.set()
    thread.join(10)
    assert not thread.is_alive()
    assert not failed
    whole = made(Gate())
    whole.fit((X, T), 3, 8, (X, T))
    assert outcome(trainer) == outcome(whole)


def test_a_second_fit_in_another_thread_is_refused(in_training, tmp_path):
    for arguments in (((X, T), 3, 8), ((X, T),), ((X[:5], T[:5]), 1, 2), (None, -1, "nonsense")):
        with pytest.raises(RuntimeError, match="fit: this trainer is in a call of fit already"):
            in_training.fit(*arguments, checkpoint=tmp_path / "run.npz")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("way", ["step", "fit", "fit of another", "step of another"])
def test_a_network_in_training_is_not_trained_by_another_call(in_training, way):
    trainer = trainer_of(in_training.net) if "another" in way else in_training
    with pytest.raises(RuntimeError, match=r"in training at this moment|in a call of fit already"):
        trainer.step(X, T) if "step" in way else trainer.fit((X, T), 1, 8)
    assert len(in_training.history) == 0


def test_looking_on_is_allowed(in_training):
    net, before = in_training.net, in_training.net.parameters.copy()
    assert in_training.history == []
    assert in_training.history.test_cost == []
    assert net(X).shape == (60, 2)
    assert 0 <= net.accuracy(X, T) <= 1
    assert in_training.evaluate((X, T))[0] > 0
    assert "Trainer" in repr(in_training)
    made().fit((X, T), 1, 8)  # and so is another training
    assert net.parameters.tobytes() == before.tobytes()


def test_a_copy_of_a_network_in_training_can_be_trained():
    trainer, costs = made(), []

    def train_a_copy(_):
        for twin in (copy.deepcopy(trainer.net), pickle.loads(pickle.dumps(trainer.net))):
            costs.append(trainer_of(twin).fit((X, T), 1, 8).train_cost[0])

    trainer.fit((X, T), 1, 8, callbacks=[train_a_copy])
    assert costs[0] == costs[1] > 0


def test_a_fit_in_a_callback_is_refused():
    trainer, plain = made(), made()

    def again(trainer):
        with pytest.raises(RuntimeError, match="fit: this trainer is in a call of fit already"):
            trainer.fit((X, T), 1, 8)

    trainer.fit((X, T), 3, 8, callbacks=[again])
    plain.fit((X, T), 3, 8)
    assert outcome(trainer) == outcome(plain)
    trainer.fit((X, T), 1, 8)
    assert len(trainer.history) == 4


def test_a_fit_in_a_layer_is_refused():
    class Eager(Gate):
        def forward(self, x, out=None):
            if self.training:
                trainer_of(net).step(X, T)
            return x

    net = nn.Sequential(nn.Linear(3, 4), Eager(), nn.Linear(4, 2), nn.Softmax(), seed=0)
    before = net.parameters.copy()
    for train in (lambda: trainer_of(net).fit((X, T), 1, 8), lambda: trainer_of(net).step(X, T)):
        with pytest.raises(RuntimeError, match="the network is in training at this moment"):
            train()
        assert net.parameters.tobytes() == before.tobytes()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_whatever_ends_a_call_the_next_is_allowed(error):
    trainer = made()

    def fail(_):
        raise error("the callback's own")

    for _ in range(2):
        with pytest.raises(error, match="the callback's own"):
            trainer.fit((X, T), 1, 8, callbacks=[fail])
        with pytest.raises(ValueError, match="batch_size must be"):
            trainer.fit((X, T), 1, 0)
    assert trainer.step(X, T) > 0


def test_many_threads_and_one_of_them_trains():
    gate = Gate()
    trainer, refused, done = made(gate), [], []
    gate.opened.clear()

    def train():
        try:
            trainer.fit((X, T), 1, 8)
            done.append(1)
        except RuntimeError as error:
            refused.append(error)

    threads = [threading.Thread(target=train) for _ in range(8)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 10
    while len(refused) < 7 and time.monotonic() < deadline:
        time.sleep(0.001)
    gate.opened.set()
    for thread in threads:
        thread.join(10)
    assert (len(refused), len(done), len(trainer.history)) == (7, 1, 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_process_that_is_forked_meanwhile_can_train(in_training):
    child = os.fork()
    if not child:  # the thread that trains is not in the child
        in_training.net.layers[1].opened.set()
        os._exit(0 if in_training.step(X, T) > 0 else 1)
    assert os.waitpid(child, 0)[1] == 0
