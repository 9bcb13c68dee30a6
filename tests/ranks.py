"""What the tests of parallel training run on each rank: ``mpiexec -n 2 python -m tests.ranks <what> <JSON>``."""

import copy
import json
import os
import re
import shutil
import signal
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
from mpi4py import MPI

import numnet as nn
from numnet import checkpoint

from . import devices  # noqa: F401

COMM = MPI.COMM_WORLD
LAST = COMM.rank == COMM.size - 1


def data(seed, samples, features, outputs):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((samples, features))
    return (x, rng.integers(0, outputs, samples))


def trainer(case, comm):
    """Return a trainer, with the parameters from one seed on rank 0 and from others elsewhere."""
    layers, (features, *hidden, outputs) = [], case["sizes"]
    for a, b in zip([features, *hidden], [*hidden, outputs], strict=True):
        layers += [nn.Linear(a, b), nn.Tanh()]
    net = nn.Sequential(*layers[:-1], nn.Softmax(), seed=0 if comm is None else COMM.rank, dtype=case["dtype"])
    options = {} if comm is None else {name: case[name] for name in ("sharded", "average_every") if name in case}
    optimizer = nn.SGD(case["lr"], **case.get("optimizer", {}))
    return nn.Trainer(net, nn.CrossEntropy(), optimizer, 0 if comm is None else COMM.rank, comm=comm, **options)


def part(train, cuts):
    """Return the part of the data that is this rank's own, of one sample and a share of the others."""
    spare = len(train[0]) - COMM.size
    ends = [0, *(rank + int(cut * spare) for rank, cut in zip(range(1, COMM.size), cuts, strict=False)), len(train[0])]
    return tuple(array[ends[COMM.rank] : ends[COMM.rank + 1]] for array in train)


def told(run):
    """Return what rank 0 knows of a run, and whether all ranks know the same."""
    net, history = run.net, [list(epoch) for epoch in run.history]  # nan for what is not there
    every = COMM.allgather(
        (net.parameters.tobytes(), run.optimizer.velocity.tobytes(), str(history), str(run.rng.bit_generator.state))
    )
    return {"parameters": net.parameters.tolist(), "history": history, "alike": len(set(every)) == 1}


def fitted(case, comm):
    run = trainer(case, comm)
    train = data(1, case["samples"], case["sizes"][0], case["sizes"][-1])
    test = data(2, case["tests"], case["sizes"][0], case["sizes"][-1]) if case["tests"] else None
    options = {"sample_weight": np.arange(len(train[0])) % 5 + 0.5} if case.get("weights") else {}
    if comm is not None and case.get("sharded"):
        train = part(train, case["cuts"])
        options = {name: part((weight,), case["cuts"])[0] for name, weight in options.items()}
    run.fit(train, case["epochs"], case["batch"], test, progress=False, **options)
    return run


def compare(cases):
    """Train each case on all ranks and on one process; return the differences."""
    found = []
    for case in cases:
        here, alone = told(fitted(case, COMM)), fitted(case, None)
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


def digits(batches):
    """Train a network with a hidden layer on digits with each batch size, on all ranks and on one process."""
    train, test = nn.datasets.digits()
    found = []
    for batch in batches:
        runs = [trainer({"sizes": [64, 20, 10], "dtype": "float64", "lr": 0.1}, comm) for comm in (COMM, None)]
        for run in runs:
            run.fit(train, 5, batch, test, progress=False)
        parameters = float(np.abs(runs[0].net.parameters - runs[1].net.parameters).max())
        accuracies = [run.history.test_accuracy for run in runs]
        found.append({"parameters": parameters, "accuracies": accuracies, "alike": told(runs[0])["alike"]})
    return found


def local(case):
    """Average the parameters now and then, here and by hand."""
    n, ranks, every, lr = case["batch"], COMM.size, case["average_every"], case["lr"]
    run, (x, t) = fitted(case, COMM), data(1, case["samples"], *case["sizes"])
    start = trainer(case, None).net.layers[0]
    weights = [[start.weight.copy(), start.bias.copy()] for _ in range(ranks)]
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
                    w -= lr * x[own].T @ error
                    b -= lr * error.sum(axis=0)
            if step % every == 0 or step == batches:
                for arrays in zip(*weights, strict=True):
                    mean = sum(arrays) / ranks
                    for array in arrays:
                        array[...] = mean
    layer = run.net.layers[0]
    difference = max(np.abs(layer.weight - weights[0][0]).max(), np.abs(layer.bias - weights[0][1]).max())
    return {"difference": float(difference), "alike": told(run)["alike"]}


def interrupted(_):
    """Train to the end, and keep copies of the checkpoints that are written in the middle of epochs."""
    write = checkpoint.save_run

    def copied(run, path, overwrite):
        write(run, path, overwrite)
        if run.progress.done:
            shutil.copy(path, f"{len(run.history)}-{run.progress.done}.npz")

    checkpoint.save_run = copied
    run = trainer({"sizes": [6, 8, 3], "dtype": "float64", "lr": 0.01, "optimizer": {"momentum": 0.5}}, COMM)
    options = {"checkpoint": "run.npz", "checkpoint_every": "1 batches", "progress": False}
    run.fit(data(1, 500, 6, 3), 3, 2, data(2, 100, 6, 3), **options)
    os.remove("run.npz") if COMM.rank == 0 else None
    return told(run)


def resumed(paths):
    """Do what is left of the run in each file."""
    found = []
    for path in paths:
        run = nn.Trainer.resume(path, comm=COMM if COMM.size > 1 else None)
        begun = [len(run.history), run.progress.done]
        run.fit(data(1, 500, 6, 3), test=data(2, 100, 6, 3), progress=False)
        found.append({**told(run), "begun": begun})
    return found


def steps(case):
    """Train with `step` on all ranks and on one process; return the differences."""
    here, alone = trainer(case, COMM), trainer(case, None)
    x, t = data(1, case["samples"], case["sizes"][0], case["sizes"][-1])
    weight = np.arange(len(x)) % 5 + 0.5
    costs = [[run.step(x, t), run.step(x[:1], t[:1], lr=0.01)] for run in (here, alone)]
    for run, found in zip((here, alone), costs, strict=True):
        found.append(run.step(x, t, sample_weight=weight))
    parameters = np.abs(here.net.parameters - alone.net.parameters).max()
    return {
        "parameters": float(parameters),
        "cost": float(np.abs(np.subtract(*costs)).max()),
        "alike": told(here)["alike"],
    }


def write_what_is_left(run):
    left = {"epochs": len(run.history), "parameters": run.net.parameters.tolist()}
    Path(f"left-{COMM.rank}.json").write_text(json.dumps(left))


# Faults. Each is on the last rank, if not said otherwise.


class Raising(nn.Tanh):
    """A layer that fails in the middle of a block."""

    calls = 0

    def forward(self, x, out=None):
        Raising.calls += 1
        if LAST and Raising.calls == 30:
            raise RuntimeError("a layer failed")
        return super().forward(x, out)


class UnsendableError(Exception):
    """An error that cannot be sent."""

    def __init__(self, a, b):
        super().__init__(a)
        self.lock = threading.Lock()


def callback(raised):
    def call(run):
        if LAST and len(run.history) == 2:
            raise raised

    return call


def fault(name):
    """Train with a fault; say at the end what is left."""
    on = {"net": {"sizes": [6, 9, 3]}, "optimizer": {"lr": 0.2}}.get(name, {}) if LAST else {}
    case = {"sizes": [6, 8, 3], "dtype": "float32", "lr": 0.1, **on}
    if name == "before the trainer" and LAST:
        case["lr"] = -1.0
    if name == "cost" and LAST:
        nn.Trainer(nn.Sequential(nn.Linear(1, 1)), None, nn.SGD(0.1), comm=COMM)
    if name == "average_every":
        case["average_every"] = 2 if LAST else 3
    if name == "batches and average_every":
        case["average_every"] = 2
    run = trainer(case, COMM)
    if name == "layer":
        net = nn.Sequential(nn.Linear(6, 8), Raising(), nn.Linear(8, 3), nn.Softmax(), seed=0)
        run = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.1), seed=0, comm=COMM)
    x, t = data(1, 500, 6, 3)
    train, test, options = (x, t), data(2, 100, 6, 3), {"epochs": 3, "batch_size": 7}
    if LAST:
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
        options["callbacks"] = [callback(raised[name])]
    if name == "learning rate":
        options["callbacks"] = [lambda run: setattr(run.optimizer, "lr", 0.2 if LAST else 0.1)]
    if name == "parameters":
        options["callbacks"] = [lambda run: run.net.parameters.__setitem__(0, COMM.rank)]
    if name == "changed data":
        options["callbacks"] = [lambda run: x.__setitem__(slice(None), np.nan if LAST else 0.0)]
    if name == "divergence":
        options["callbacks"] = [lambda run: setattr(run.optimizer, "lr", 1e38)]
    if name == "checkpoint":
        options["checkpoint"] = "nowhere/run.npz"
    if name == "read-only":
        options.update(
            checkpoint="run.npz",
            callbacks=[lambda run: len(run.history) == 2 and COMM.rank == 0 and os.chmod("run.npz", 0)],
        )
    if name == "batches and average_every":
        options.update(checkpoint="run.npz", checkpoint_every="5 batches")
    try:
        run.fit(train, test=test, progress=False, **options)
    finally:
        write_what_is_left(run)


def long(every):
    """Train until a signal comes; a file for each rank says that the training begins, and another what is left."""
    run = trainer(
        {"sizes": [6, 8, 3], "dtype": "float32", "lr": 0.1, **({"average_every": every} if every else {})}, COMM
    )
    Path(f"begins-{COMM.rank}").write_text(str(os.getpid()))
    try:
        run.fit(data(1, 500, 6, 3), 1_000_000, 7, data(2, 100, 6, 3), progress=False, checkpoint="run.npz")
    finally:
        write_what_is_left(run)


def untold(what):
    """Fail with what MPI cannot carry to the other ranks."""

    class Local(nn.Tanh):
        """A layer that no other process can find."""

    class WordlessError(Exception):
        def __str__(self):
            raise AttributeError("no text")

    def fail(run):
        if LAST:
            raise WordlessError

    net = nn.Sequential(nn.Linear(6, 8), Local(), nn.Linear(8, 3), nn.Softmax(), seed=0)
    run = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.1), comm=COMM)
    wordless = what == "an error without a text"
    run.fit(data(1, 60, 6, 3), 1, 7, callbacks=[fail] if wordless else [], checkpoint="run.npz", progress=False)
    nn.Trainer.resume("run.npz", comm=COMM)


def remedies(_):
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

    refused(lambda: trainer({**case, "lr": 0.2 if LAST else 0.1}, COMM))
    run = trainer(case, COMM)  # all ranks the same
    refused(lambda: run.step(*train) if LAST else run.fit(train, 1, 9, progress=False))
    run.step(*train)  # alike on all ranks
    run.fit(train, 1, 9, progress=False)
    run.net.to("gpu")  # the stand-in of strict.py
    refused(lambda: run.fit(train, 1, 9, progress=False))
    refused(lambda: nn.Trainer(run.net, nn.CrossEntropy(), nn.SGD(0.1), comm=COMM))
    run.net.to("cpu")
    run.fit(train, 1, 9, progress=False)
    nn.Trainer(run.net, nn.CrossEntropy(), nn.SGD(0.1), comm=COMM)
    parts = run.net, nn.CrossEntropy(), nn.SGD(0.1)
    for options in ({"average_every": 2}, {"sharded": True}):
        refused(lambda options=options: nn.Trainer(*parts, **options))
        nn.Trainer(*parts, **options, comm=MPI.COMM_WORLD)
    mean = trainer({**case, "average_every": 2}, COMM)
    options = {"progress": False, "checkpoint": "run.npz"}
    refused(lambda: mean.fit(train, 1, 9, checkpoint_every="5 batches", **options))
    mean.fit(train, 1, 9, checkpoint_every=1, **options)
    refused(lambda: trainer(case, COMM).fit(train, 1, 9, **options))
    code = re.search(r"Go on with Trainer\.(resume\('.*', comm=comm\))", said[-1])[1]
    assert len(eval(f"nn.Trainer.{code}", {"nn": nn, "comm": COMM}).history) == 1
    mine = tuple(array[COMM.rank :: COMM.size] for array in train)
    refused(lambda: trainer(case, COMM).fit(mine, 1, 9, progress=False))
    trainer({**case, "sharded": True}, COMM).fit(mine, 1, 9, progress=False)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        run.fit(train, 2, 1, progress=False)
    assert len(warned) == (COMM.rank == 0)
    said += [str(warning.message) for warning in warned]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run.fit(train, 1, COMM.size, progress=False)
    return said


def programs_own(raises):
    """Train with a handler of Ctrl-C of the program's own, and press Ctrl-C twice in the middle of a block."""
    heard = []

    def handler(*_):
        heard.append(len(run.history))
        if raises:
            raise ValueError("stop now")

    class Pressed(nn.Tanh):
        def forward(self, x, out=None):
            if LAST and self.training and not heard and len(run.history) == 1:
                for _ in range(2):
                    os.kill(os.getpid(), signal.SIGINT)
            return super().forward(x, out)

    net = nn.Sequential(nn.Linear(6, 8), Pressed(), nn.Linear(8, 3), nn.Softmax(), seed=0)
    run = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.1), seed=0, comm=COMM)
    signal.signal(signal.SIGINT, handler)
    try:
        run.fit(data(1, 500, 6, 3), 3, 7, progress=False)
    finally:
        assert signal.getsignal(signal.SIGINT) is handler
        assert bool(heard) == LAST
        write_what_is_left(run)


def parts_of_one_class_each(_):
    """Train where each rank has samples of one class, in its own range; return the warnings of all."""
    x, t = data(1, 600, 6, 2)
    rows = np.flatnonzero(t == COMM.rank % 2)
    case = {"sizes": [6, 8, 2], "dtype": "float32", "lr": 0.1, "sharded": True}
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        trainer(case, COMM).fit((x[rows] * (1 + 100 * COMM.rank), t[rows]), 2, 16, (x, t), progress=False)
    return [text for texts in COMM.allgather([str(warning.message) for warning in warned]) for text in texts]


def copied(_):
    """Train on a part of the ranks, copy the trainer, and resume; return what is left to compare."""
    run = trainer({"sizes": [6, 8, 3], "dtype": "float64", "lr": 0.1}, COMM.Split(0))
    train = data(1, 60, 6, 3)
    run.fit(train, 1, 9, progress=False, checkpoint="run.npz")
    again = [
        copy.deepcopy(run),
        *(nn.Trainer.resume("run.npz", device=device, comm=COMM) for device in ("auto", "cpu")),
    ]
    for one in [run, *again]:
        one.fit(train, 1, 9, progress=False)
        one.step(*train)
    try:
        nn.Trainer.resume("run.npz", device="gpu", comm=COMM)
    except (nn.DeviceError, nn.RankError) as error:
        return {"runs": [told(one)["parameters"] for one in [run, *again]], "gpu": str(error)}


if __name__ == "__main__":
    result = globals()[sys.argv[1]](json.loads(sys.argv[2]))
    if COMM.rank == 0:
        print(json.dumps(result))
