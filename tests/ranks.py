"""What the tests of parallel training run on each rank: ``mpiexec -n 2 python -m tests.ranks <what> <JSON>``.

The quick tests run the same on ranks that are threads of one process.
"""

import copy
import json
import os
import re
import shutil
import signal
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
from mpi4py import MPI

import numnet as nn
from numnet import checkpoint, checks, parallel

from . import devices  # noqa: F401


def last(comm):
    return comm.rank == comm.size - 1


def data(seed, samples, features, outputs):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((samples, features))
    return (x, rng.integers(0, outputs, samples))


def trainer(case, comm):
    """Return a trainer, with the parameters from one seed on rank 0 and from others elsewhere."""
    layers, (features, *hidden, outputs) = [], case["sizes"]
    for a, b in zip([features, *hidden], [*hidden, outputs], strict=True):
        layers += [nn.Linear(a, b), nn.Tanh()]
    seed = 0 if comm is None else comm.rank
    layers[-1:] = [] if case.get("numbers") else [nn.Softmax()]
    cost = nn.Quadratic() if case.get("numbers") or case.get("quadratic") else nn.CrossEntropy()
    net = nn.Sequential(*layers, seed=seed, dtype=case["dtype"])
    options = {} if comm is None else {name: case[name] for name in ("sharded", "average_every") if name in case}
    optimizer = nn.SGD(case["lr"], **case.get("optimizer", {}))
    return nn.Trainer(net, cost, optimizer, seed=seed, comm=comm, **options)


def part(train, cuts, comm):
    """Return the part of the data that is this rank's own, of one sample and a share of the others."""
    spare = len(train[0]) - comm.size
    ends = [0, *(rank + int(cut * spare) for rank, cut in zip(range(1, comm.size), cuts, strict=False)), len(train[0])]
    return tuple(array[ends[comm.rank] : ends[comm.rank + 1]] for array in train)


def told(run, comm):
    """Return what rank 0 knows of a run, and whether all ranks know the same."""
    net, history = run.net, [list(epoch) for epoch in run.history]  # nan for what is not there
    every = comm.allgather(
        (net.parameters.tobytes(), run.optimizer.velocity.tobytes(), str(history), str(run.rng.bit_generator.state))
    )
    return {"parameters": net.parameters.tolist(), "history": history, "alike": len(set(every)) == 1}


def fitted(case, comm):
    run = trainer(case, comm)
    train = data(1, case["samples"], case["sizes"][0], case["sizes"][-1])
    test = data(2, case["tests"], case["sizes"][0], case["sizes"][-1]) if case["tests"] else None
    if case.get("numbers"):
        train, test = ((x, x @ np.ones((x.shape[1], case["sizes"][-1])) / 9) for x, _ in (train, test or train))
    options = {"sample_weight": np.arange(len(train[0])) % 5 + 0.3} if case.get("weights") else {}
    if comm is not None and case.get("sharded"):
        train = part(train, case["cuts"], comm)
        options = {name: part((weight,), case["cuts"], comm)[0] for name, weight in options.items()}
    run.fit(train, case["epochs"], case["batch"], test, progress=False, **options)
    return run


def compare(cases, comm):
    """Train each case on all ranks and on one process; return the differences."""
    found = []
    for case in cases:
        here, alone = told(fitted(case, comm), comm), fitted(case, None)
        there = np.array([list(epoch) for epoch in alone.history])
        differences = np.delete(np.array(here["history"]) - there, 4, axis=1)  # without the seconds
        found.append(
            {
                "parameters": float(np.abs(here["parameters"] - alone.net.parameters).max()),
                "history": float(np.nanmax(np.abs(differences))),
                "nan": bool((np.isnan(here["history"]) == np.isnan(there)).all()),
                "alike": here["alike"],
            }
        )
    return found


def digits(batches, comm):
    """Train a network with a hidden layer on digits with each batch size, on all ranks and on one process."""
    train, test = nn.datasets.digits()
    found = []
    for batch in batches:
        runs = [trainer({"sizes": [64, 20, 10], "dtype": "float64", "lr": 0.1}, one) for one in (comm, None)]
        for run in runs:
            run.fit(train, 5, batch, test, progress=False)
        parameters = float(np.abs(runs[0].net.parameters - runs[1].net.parameters).max())
        accuracies = [run.history.test_accuracy for run in runs]
        found.append({"parameters": parameters, "accuracies": accuracies, "alike": told(runs[0], comm)["alike"]})
    return found


def local(case, comm):
    """Average the parameters now and then, here and by hand."""
    n, ranks, every, lr = case["batch"], comm.size, case["average_every"], case["lr"]
    run, (x, t) = fitted(case, comm), data(1, case["samples"], *case["sizes"])
    start = trainer(case, None).net.layers[0]
    weights = [[start.weight.copy(), start.bias.copy()] for _ in range(ranks)]
    velocities = [[np.zeros_like(array) for array in arrays] for arrays in weights]
    momentum = case.get("optimizer", {}).get("momentum", 0)
    order, targets = np.random.default_rng(0), np.eye(case["sizes"][-1])[t]
    batches = -(-len(x) // n)
    for _ in range(case["epochs"]):
        rows = order.permutation(len(x))
        for step in range(1, batches + 1):
            batch = rows[(step - 1) * n : step * n]
            for rank, (w, b) in enumerate(weights):
                own = batch[rank * len(batch) // ranks : (rank + 1) * len(batch) // ranks]
                if len(own):
                    e = np.exp(x[own] @ w + b)
                    error = (e / e.sum(axis=1, keepdims=True) - targets[own]) / len(own)
                    gradients = x[own].T @ error, error.sum(axis=0)
                    for array, velocity, gradient in zip((w, b), velocities[rank], gradients, strict=True):
                        velocity[...] = momentum * velocity + gradient
                        array -= lr * velocity
            if step % every == 0 or step == batches:
                for arrays in (*zip(*weights, strict=True), *zip(*velocities, strict=True)):
                    mean = sum(arrays) / ranks
                    for array in arrays:
                        array[...] = mean
    layer = run.net.layers[0]
    difference = max(np.abs(layer.weight - weights[0][0]).max(), np.abs(layer.bias - weights[0][1]).max())
    return {"difference": float(difference), "alike": told(run, comm)["alike"]}


def interrupted(_, comm):
    """Train to the end, and keep copies of the checkpoints that are written in the middle of epochs."""
    write = checkpoint.save_run

    def copied(run, path, overwrite):
        write(run, path, overwrite)
        if run.progress.done:
            shutil.copy(path, f"{len(run.history)}-{run.progress.done}.npz")

    checkpoint.save_run = copied
    run = trainer({"sizes": [6, 8, 3], "dtype": "float64", "lr": 0.01, "optimizer": {"momentum": 0.5}}, comm)
    options = {"checkpoint": "run.npz", "checkpoint_every": "1 batches", "progress": False}
    run.fit(data(1, 500, 6, 3), 3, 2, data(2, 100, 6, 3), **options)
    os.remove("run.npz") if comm.rank == 0 else None
    return told(run, comm)


def resumed(paths, comm):
    """Do what is left of the run in each file."""
    found = []
    for path in paths:
        here = path if comm.rank == 0 else "only rank 0 reads the file"
        run = nn.Trainer.resume(here, comm=comm if comm.size > 1 else None)
        begun = [len(run.history), run.progress.done]
        run.fit(data(1, 500, 6, 3), test=data(2, 100, 6, 3), progress=False)
        found.append({**told(run, comm), "begun": begun})
    return found


def steps(case, comm):
    """Train with `step` on all ranks and on one process; return the differences."""
    here, alone = trainer(case, comm), trainer(case, None)
    here.optimizer.lr = alone.optimizer.lr = lambda epoch: case["lr"] / epoch
    x, t = data(1, case["samples"], case["sizes"][0], case["sizes"][-1])
    weight = np.arange(len(x)) % 5 + 0.5
    costs = [[run.step(x, t), run.step(x[:1], t[:1], lr=0.01)] for run in (here, alone)]
    for run, found in zip((here, alone), costs, strict=True):
        assert run.net.trained
        found.append(run.step(x, t, sample_weight=weight))
        found.append(run.step(x, np.eye(case["sizes"][-1])[t]))
        before = run.net.parameters.copy()
        run.step(x, t, lr=0)
        assert (run.net.parameters == before).all()
    parameters = np.abs(here.net.parameters - alone.net.parameters).max()
    return {
        "parameters": float(parameters),
        "cost": float(np.abs(np.subtract(*costs)).max()),
        "alike": told(here, comm)["alike"],
    }


def write_what_is_left(run, comm):
    left = {"epochs": len(run.history), "parameters": run.net.parameters.tolist()}
    Path(f"left-{comm.rank}.json").write_text(json.dumps(left))


# Faults. Each is on the last rank, if not said otherwise.


class Raising(nn.Tanh):
    """A layer that fails in the middle of a block, or if the failure of another rank has made its inputs nan."""

    fails, calls = False, 0

    def forward(self, x, out=None):
        self.calls += 1
        if np.isnan(x).any():
            raise RuntimeError("a layer was given nan")
        if self.fails and self.calls == 30:
            raise RuntimeError("a layer failed")
        return super().forward(x, out)


class UnsendableError(Exception):
    """An error that cannot be sent."""

    def __init__(self, a, b):
        super().__init__(a)
        self.lock = threading.Lock()


def callback(raised, comm):
    def call(run):
        if last(comm) and len(run.history) == 2:
            raise raised

    return call


def fault(name, comm):
    """Train with a fault; say at the end what is left."""
    on = {"net": {"sizes": [6, 9, 3]}, "optimizer": {"lr": 0.2}}.get(name, {}) if last(comm) else {}
    case = {"sizes": [6, 8, 3], "dtype": "float32", "lr": 0.1, **on}
    if name == "before the trainer" and last(comm):
        case["lr"] = -1.0
    if name == "cost" and last(comm):
        nn.Trainer(nn.Sequential(nn.Linear(1, 1)), None, nn.SGD(0.1), comm=comm)
    if name == "average_every":
        case["average_every"] = 2 if last(comm) else 3
    if name == "batches and average_every":
        case["average_every"] = 2
    run = trainer(case, comm)
    if name.startswith("layer"):
        net = nn.Sequential(nn.Linear(6, 8), Raising(), nn.Linear(8, 3), nn.Softmax(), seed=0)
        every = 4 if "average_every" in name else None
        sgd = nn.SGD(0.1, 0.5 if "momentum" in name else 0.0)
        run = nn.Trainer(net, nn.CrossEntropy(), sgd, seed=0, comm=comm, average_every=every)
        net.layers[1].fails = last(comm)
    x, t = data(1, 500, 6, 3)
    train, test, options = (x, t), data(2, 100, 6, 3), {"epochs": 3, "batch_size": 7}
    if last(comm):
        train = {
            "data": (x + 1, t),
            "samples": (x[1:], t[1:]),
            "labels": (x, np.where(t == 2, 17, t)),
            "nothing": None,
        }.get(name, train)
        test = {"test data": (test[0][:50], test[1][:50]), "test labels": (test[0], test[1] - 5)}.get(name, test)
        options.update(
            {"epochs": {"epochs": 4}, "batch size": {"batch_size": 8}, "argument": {"momentum": 1}}.get(name, {})
        )
        if name == "weights":
            options["sample_weight"] = np.arange(len(x)) + 1
        if name == "epochs and batch size":
            del options["epochs"]
    raised = {
        "callback": RuntimeError("a callback failed"),
        "Ctrl-C in a callback": KeyboardInterrupt(),
        "exit": SystemExit(3),
        "stop": StopIteration(),
        "an error that cannot be sent": UnsendableError("cannot be sent", 1),
    }
    if name in raised:
        options["callbacks"] = [callback(raised[name], comm)]
    if name == "learning rate":
        options["callbacks"] = [lambda run: setattr(run.optimizer, "lr", 0.2 if last(comm) else 0.1)]
    if name == "parameters":
        options["callbacks"] = [lambda run: run.net.parameters.__setitem__(0, comm.rank)]
    if name == "changed data":
        options["callbacks"] = [lambda run: x.__setitem__(slice(None), np.nan if last(comm) else 0.0)]
    if name == "divergence":
        options["callbacks"] = [lambda run: setattr(run.optimizer, "lr", 1e38)]
    if name == "checkpoint":
        options["checkpoint"] = "nowhere/run.npz"
    if name == "read-only":
        options.update(
            checkpoint="run.npz",
            callbacks=[lambda run: len(run.history) == 2 and comm.rank == 0 and os.chmod("run.npz", 0)],
        )
    if name == "batches and average_every":
        options.update(checkpoint="run.npz", checkpoint_every="5 batches")
    try:
        run.fit(train, test=test, progress=False, **options)
    finally:
        write_what_is_left(run, comm)


class Scaled(nn.Layer):
    """A layer whose argument its name does not show."""

    def __init__(self, factor):
        self.factor = factor

    def forward(self, x, out=None):
        return np.multiply(x, self.factor, out=out)

    def backward(self, grad, out=None):
        return np.multiply(grad, self.factor, out=out)

    def __repr__(self):
        return "Scaled()"


class Halved(nn.Quadratic):
    """A cost with an argument."""

    def __init__(self, factor):
        self.factor = factor


def different(what, comm):
    """Train or take a step with something that is different on the last rank."""
    other = what if last(comm) else None
    layers = nn.Linear(6, 3), Scaled(2.0 if other == "layer" else 1.0)
    net = nn.Sequential(*layers, seed=0, dtype="float64" if other == "dtype" else "float32")
    cost = Halved(2.0 if other == "cost" else 1.0)
    optimizer = nn.SGD(0.1, 0.75 if other == "momentum" else 0.5)
    sharded = other == "sharded" or what == "weights of a part"
    every = 2 if other == "average_every" else None
    run = nn.Trainer(net, cost, optimizer, seed=0, comm=comm, sharded=sharded, average_every=every)
    x, t = data(1, 40, 6, 3)
    if what.startswith("step"):
        x[35] += other == "step, inputs"  # a step looks at some of the samples
        t[35] += other == "step, targets"
        weight = np.ones(40) * (3.0 if other == "step, weights" else 2.0)
        samples = slice(39 if other == "step, samples" else 40)
        run.step(x[samples], t[samples] % 3, 0.2 if other == "step, rate" else 0.1, sample_weight=weight[samples])
        return

    def change(run):
        if other in ("parameters", "parameters at the end"):
            run.net.parameters[-1] += 1
        if other == "velocity":
            run.optimizer.velocity[-1] += 1
        if other == "generator":
            run.rng.random()
        if other == "nesterov":
            run.optimizer.nesterov = True
        if other == "rate":
            run.optimizer.lr = 0.2

    if what == "rows":
        t = np.eye(3)[t]
    if what == "numbers":
        t = x[:, :3] / 9
    if other in ("inputs", "labels", "rows", "numbers"):
        x[20], t[20] = (x[20] + 1, t[20]) if other == "inputs" else (x[20], (t[20] + 1) % 3)
    weight = np.ones(40) if other == "weights of a part" else None
    if what == "weights":
        weight = np.ones(40) + (np.arange(40) == 20) * (other == "weights")
    try:
        run.fit((x, t), 1 if what.endswith("end") else 4, 5, callbacks=[change], sample_weight=weight, progress=False)
    finally:
        Path(f"epochs-{comm.rank}").write_text(str(len(run.history)))


def long(every, comm):
    """Train until a signal comes; a file for each rank says that the training begins, and another what is left."""
    run = trainer(
        {"sizes": [6, 8, 3], "dtype": "float32", "lr": 0.1, **({"average_every": every} if every else {})}, comm
    )
    Path(f"begins-{comm.rank}").write_text(str(os.getpid()))
    try:
        run.fit(data(1, 500, 6, 3), 1_000_000, 7, data(2, 100, 6, 3), progress=False, checkpoint="run.npz")
    finally:
        write_what_is_left(run, comm)


def untold(what, comm):
    """Fail with what MPI cannot carry to the other ranks."""

    class Local(nn.Tanh):
        """A layer that no other process can find."""

    class WordlessError(Exception):
        def __str__(self):
            raise AttributeError("no text")

    def fail(run):
        if last(comm):
            raise WordlessError

    net = nn.Sequential(nn.Linear(6, 8), Local(), nn.Linear(8, 3), nn.Softmax(), seed=0)
    run = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.1), comm=comm)
    wordless = what == "an error without a text"
    run.fit(data(1, 60, 6, 3), 1, 7, callbacks=[fail] if wordless else [], checkpoint="run.npz", progress=False)
    nn.Trainer.resume("run.npz", comm=comm)


def remedies(_, comm):
    """Do what is refused, then what the message says; return the messages of rank 0."""
    said = []
    train = data(1, 60, 6, 3)
    case = {"sizes": [6, 8, 3], "dtype": "float32", "lr": 0.1}

    def refused(call):
        try:
            call()
        except (ValueError, RuntimeError, nn.RankError) as error:
            said.append(str(error))
        else:
            raise AssertionError("not refused")

    refused(lambda: trainer({**case, "lr": 0.2 if last(comm) else 0.1}, comm))
    run = trainer(case, comm)  # all ranks the same
    refused(lambda: run.step(*train) if last(comm) else run.fit(train, 1, 9, progress=False))
    run.step(*train)  # alike on all ranks
    run.fit(train, 1, 9, progress=False)
    run.net.to("gpu")  # the stand-in of strict.py
    refused(lambda: run.fit(train, 1, 9, progress=False))
    refused(lambda: nn.Trainer(run.net, nn.CrossEntropy(), nn.SGD(0.1), comm=comm))
    run.net.to("cpu")
    run.fit(train, 1, 9, progress=False)
    nn.Trainer(run.net, nn.CrossEntropy(), nn.SGD(0.1), comm=comm)
    parts = run.net, nn.CrossEntropy(), nn.SGD(0.1)
    for options in ({"average_every": 2}, {"sharded": True}):
        refused(lambda options=options: nn.Trainer(*parts, **options))
        nn.Trainer(*parts, **options, comm=comm)
    mean = trainer({**case, "average_every": 2}, comm)
    options = {"progress": False, "checkpoint": "run.npz"}
    refused(lambda: mean.fit(train, 1, 9, checkpoint_every="5 batches", **options))
    mean.fit(train, 1, 9, checkpoint_every=1, **options)
    refused(lambda: trainer(case, comm).fit(train, 1, 9, **options))
    code = re.search(r"Go on with Trainer\.(resume\('.*', comm=comm\))", said[-1])[1]
    assert len(eval(f"nn.Trainer.{code}", {"nn": nn, "comm": comm}).history) == 1
    mine = tuple(array[comm.rank :: comm.size] for array in train)
    refused(lambda: trainer(case, comm).fit(mine, 1, 9, progress=False))
    trainer({**case, "sharded": True}, comm).fit(mine, 1, 9, progress=False)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        run.fit(train, 2, 1, progress=False)
    assert len(warned) == (comm.rank == 0)
    said += [str(warning.message) for warning in warned]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run.fit(train, 1, comm.size, progress=False)
    return said


def programs_own(raises, comm):
    """Train with a handler of Ctrl-C of the program's own, and press Ctrl-C twice in the middle of a block."""
    heard = []

    def handler(*_):
        heard.append(len(run.history))
        if raises:
            raise ValueError("stop now")

    class Pressed(nn.Tanh):
        def forward(self, x, out=None):
            if last(comm) and self.training and not heard and len(run.history) == 1:
                for _ in range(2):
                    os.kill(os.getpid(), signal.SIGINT)
            return super().forward(x, out)

    net = nn.Sequential(nn.Linear(6, 8), Pressed(), nn.Linear(8, 3), nn.Softmax(), seed=0)
    run = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.1), seed=0, comm=comm)
    signal.signal(signal.SIGINT, handler)
    try:
        run.fit(data(1, 500, 6, 3), 3, 7, progress=False)
    finally:
        assert signal.getsignal(signal.SIGINT) is handler
        assert len(heard) == last(comm)  # once for both
        write_what_is_left(run, comm)


def pressed(times, comm):
    """Train, and press Ctrl-C so many times on rank 0 in the middle of a block."""
    count = []

    class Pressed(nn.Tanh):
        def forward(self, x, out=None):
            while comm.rank == 0 and self.training and len(run.history) == 1 and len(count) < times:
                count.append(None)
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.001)
            return super().forward(x, out)

    net = nn.Sequential(nn.Linear(6, 8), Pressed(), nn.Linear(8, 3), nn.Softmax(), seed=0)
    run = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.1), seed=0, comm=comm)
    try:
        run.fit(data(1, 60, 6, 3), 3, 7, progress=False)
    finally:
        write_what_is_left(run, comm)


def pressed_while_another_fails(_, comm):
    """Fail on the last rank in a callback, and press Ctrl-C on rank 0 when it hears of that."""
    run = trainer({"sizes": [6, 8, 3], "dtype": "float64", "lr": 0.1}, comm)
    allgather = comm.allgather

    def and_press(value):
        told = allgather(value)
        if comm.rank == 0 and told[-1][0] == "an error":
            os.kill(os.getpid(), signal.SIGINT)
        return told

    comm.allgather = and_press
    run.fit(data(1, 60, 6, 3), 3, 7, callbacks=[callback(RuntimeError("failed"), comm)], progress=False)


def pressed_and_failed(_, comm):
    """Fail on rank 0 in a block in which Ctrl-C was pressed."""

    class Failing(nn.Tanh):
        def forward(self, x, out=None):
            if comm.rank == 0 and self.training:
                os.kill(os.getpid(), signal.SIGINT)
                raise RuntimeError("a layer failed")
            return super().forward(x, out)

    net = nn.Sequential(nn.Linear(6, 8), Failing(), nn.Linear(8, 3), nn.Softmax(), seed=0)
    nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.1), seed=0, comm=comm).fit(data(1, 60, 6, 3), 3, 7, progress=False)


def pressed_before_a_step(_, comm):
    """Train, and press Ctrl-C on rank 0 in a callback that then takes a step."""

    def press(run):
        if comm.rank == 0:
            os.kill(os.getpid(), signal.SIGINT)
        run.step(*data(1, 60, 6, 3))

    run = trainer({"sizes": [6, 8, 3], "dtype": "float64", "lr": 0.1}, comm)
    try:
        run.fit(data(1, 60, 6, 3), 3, 7, callbacks=[press], progress=False)
    finally:
        write_what_is_left(run, comm)


def on_gpu(what, comm):
    """Do something with a network that is moved to the stand-in for a GPU."""
    net = nn.Sequential(nn.Linear(6, 3), nn.Softmax(), seed=0)
    if what == "new":
        net.to("gpu")
    run = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.1), seed=0, comm=comm)
    if what == "new":
        return
    net.to("gpu")
    getattr(run, what)(data(1, 20, 6, 3), 1, 4) if what == "fit" else run.step(*data(1, 20, 6, 3))


def at_different_places(_, comm):
    """Take a step on the last rank, and train on the others."""
    run = trainer({"sizes": [6, 8, 3], "dtype": "float32", "lr": 0.1}, comm)
    run.step(*data(1, 20, 6, 3)) if last(comm) else run.fit(data(1, 20, 6, 3), 1, 4, progress=False)


def block(_, comm):
    """Fail twice on the last rank, in blocks in which the ranks tell each other nothing; return the errors."""
    ranks, errors = parallel.Ranks(comm), []
    for number in (1, 2):
        try:
            with ranks.together(np.empty(3)):
                if last(comm):
                    raise RuntimeError(f"block {number} failed")
        except (RuntimeError, nn.RankError) as error:
            errors.append(str(error))
    return errors


def agreed(sharded, comm):
    """Train for an epoch and a step; return the places of the program at which the ranks agreed."""
    run, places = trainer({"sizes": [6, 8, 3], "dtype": "float64", "lr": 0.1, "sharded": sharded}, comm), []
    agree = run.ranks.agree
    run.ranks.agree = lambda place, *numbers, **error: (places.append(place), agree(place, *numbers, **error))[1]
    run.fit(data(1, 20, 6, 3), 1, 9, data(2, 20, 6, 3), callbacks=[id], progress=False)
    run.step(*data(1, 20, 6, 3))
    return places


def without_notes(_, comm):
    """Fail with an error that takes no notes, as those of Python 3.10, and that is false, as what has no parts."""

    class FailedError(RuntimeError):
        @property
        def add_note(self):
            raise AttributeError

        def __len__(self):
            return 0

    with parallel.Ranks(comm).together(np.empty(0)):
        if last(comm):
            raise FailedError("failed")


def failing_update(_, comm):
    """Take a step in which the update fails on the last rank."""
    run = trainer({"sizes": [6, 3], "dtype": "float32", "lr": 0.1}, comm)

    def update(*_):
        raise RuntimeError("an update failed")

    if last(comm):
        run.optimizer.update = update
    run.step(*data(1, 20, 6, 3))


def wrong_calls(calls, comm):
    """Return what is said of wrong arguments of fit, by a trainer on ranks and by one without."""
    runs, said = [trainer({"sizes": [6, 3], "dtype": "float32", "lr": 0.1}, one) for one in (comm, None)], []
    for args, options in calls:
        for run in runs:
            try:
                run.fit(data(1, 20, 6, 3), *args, **options)
            except (TypeError, ValueError) as error:
                said.append(str(error))
    return said


def by_position(_, comm):
    """Give fit all arguments by their position."""
    run = trainer({"sizes": [6, 3], "dtype": "float32", "lr": 0.1}, comm)
    run.fit(data(1, 20, 6, 3), 1, 4, data(2, 20, 6, 3), (), True, f"{comm.rank}.npz", 1, "raise", False, None)
    return len(run.history)


def resumed_with(rates, comm):
    """Write a checkpoint, and go on with the learning rate of each rank; return the rate of epoch 2."""
    case, train = {"sizes": [6, 3], "dtype": "float32", "lr": 0.1}, data(1, 20, 6, 3)
    options = {"checkpoint": "~/run.npz", "progress": False}
    trainer(case, comm).fit(train, 1, 4, **options)
    run = nn.Trainer.resume("~/run.npz", lr=rates[comm.rank], comm=comm)
    run.fit(train, 1, 4, **options)
    return run.optimizer.learning_rate(2)


def behind_the_file(_, comm):
    """Resume, go back by two epochs as if the run were behind its file, and train; return the epochs."""
    case, train = {"sizes": [6, 3], "dtype": "float32", "lr": 0.1}, data(1, 20, 6, 3)
    options = {"checkpoint": "~/run.npz", "progress": False}
    trainer(case, comm).fit(train, 4, 4, **options)
    run = nn.Trainer.resume("~/run.npz", comm=comm)
    run.history.pop()
    run.history.pop()
    run.fit(train, 1, 4, **options)
    return len(run.history)


def resumed_as(options, comm):
    """Write a checkpoint, and go on with other options; return them, and what the threads of BLAS are judged by."""
    case, judged = {"sizes": [600, 900], "dtype": "float32", "lr": 0.1}, []  # of a size at which threads count
    trainer(case, comm).fit(data(1, 20, 600, 900), 1, 4, checkpoint="run.npz", progress=False)
    if comm.rank == 0:
        checks.same_threads = lambda path, then, now: judged.append((path, then, now))
    run = nn.Trainer.resume("run.npz", comm=comm, **options)
    return {name: getattr(run, name) for name in options}, judged


def with_a_function(_, comm):
    """Train with a layer that no file can hold."""

    class Applied(Scaled):
        def __init__(self, function):
            self.factor, self.function = function(1.0), function

    net = nn.Sequential(nn.Linear(6, 3), Applied(lambda x: 2 * x), seed=0)
    run = nn.Trainer(net, nn.Quadratic(), nn.SGD(0.1), seed=0, comm=comm)
    run.fit(data(1, 20, 6, 3), 1, 4, progress=False)


def failing_step(_, comm):
    """Take a step with a class on the last rank that there is not."""
    x, t = data(1, 20, 6, 3)
    trainer({"sizes": [6, 3], "dtype": "float32", "lr": 0.1}, comm).step(x, t + 17 * last(comm))


def diverging_step(_, comm):
    """Take steps that are much too large."""
    run = trainer({"sizes": [6, 3], "dtype": "float32", "lr": 1e38, "numbers": True}, comm)
    x, _ = data(1, 20, 6, 3)
    for _ in range(3):
        run.step(x, x[:, :3])


def wrong_rate(_, comm):
    """Take a step up the gradient."""
    trainer({"sizes": [6, 3], "dtype": "float32", "lr": 0.1}, comm).step(*data(1, 20, 6, 3), lr=-1.0)


def missing_file(_, comm):
    """Resume from a file that is not there."""
    nn.Trainer.resume("nowhere.npz", comm=comm)


def small_batches(batch_size, comm):
    """Train with batches of this size."""
    run = trainer({"sizes": [6, 3], "dtype": "float32", "lr": 0.1}, comm)
    run.fit(data(1, 20, 6, 3), 2, batch_size, progress=False)


def shown(progress, comm):
    """Train with a bar, if somebody can see one."""
    trainer({"sizes": [6, 8, 3], "dtype": "float32", "lr": 0.1}, comm).fit(data(1, 20, 6, 3), 1, 4, progress=progress)


def averaged(every, comm):
    """Make a trainer of this `average_every`."""
    trainer({"sizes": [6, 8, 3], "dtype": "float32", "lr": 0.1, "average_every": every}, comm)


def pressed_at_the_end(_, comm):
    """Train, press Ctrl-C on rank 0 when the ranks have agreed for the last time, and take a step."""
    run = trainer({"sizes": [6, 8, 3], "dtype": "float64", "lr": 0.1}, comm)
    allgather = comm.allgather

    def and_press(value):
        told = allgather(value)
        if comm.rank == 0 and value[0] == "the end":
            os.kill(os.getpid(), signal.SIGINT)
        return told

    comm.allgather, ended = and_press, None
    try:
        run.fit(data(1, 60, 6, 3), 3, 7, progress=False)
    except KeyboardInterrupt as interrupt:
        ended = repr(interrupt)
    comm.allgather = allgather
    run.step(*data(1, 60, 6, 3))
    write_what_is_left(run, comm)
    return ended


def parts_of_one_class_each(sharded, comm):
    """Train where each rank has samples of one class, in its own range; return the warnings of all."""
    x, t = data(1, 600, 6, 2)
    rows = np.flatnonzero(t == comm.rank % 2)
    case = {"sizes": [6, 8, 2], "dtype": "float32", "lr": 0.1, "sharded": sharded}
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        trainer(case, comm).fit((x[rows] * (1 + 100 * comm.rank), t[rows]), 2, 16, (x, t), progress=False)
    return [text for texts in comm.allgather([str(warning.message) for warning in warned]) for text in texts]


def copied(_, comm):
    """Train on a part of the ranks, copy the trainer, and resume; return what is left to compare."""
    run = trainer({"sizes": [6, 8, 3], "dtype": "float64", "lr": 0.1}, comm.Split(0))
    train = data(1, 60, 6, 3)
    run.fit(train, 1, 9, progress=False, checkpoint="run.npz")
    again = [
        copy.deepcopy(run),
        *(nn.Trainer.resume("run.npz", device=device, comm=comm) for device in ("auto", "cpu")),
    ]
    for one in [run, *again]:
        one.fit(train, 1, 9, progress=False)
        one.step(*train)
    try:
        nn.Trainer.resume("run.npz", device="gpu", comm=comm)
    except (nn.DeviceError, nn.RankError) as error:
        return {"runs": [told(one, comm)["parameters"] for one in [run, *again]], "gpu": str(error)}


if __name__ == "__main__":
    result = globals()[sys.argv[1]](json.loads(sys.argv[2]), MPI.COMM_WORLD)
    if MPI.COMM_WORLD.rank == 0:
        print(json.dumps(result))
