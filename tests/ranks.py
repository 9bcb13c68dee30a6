"""What the tests of parallel training run on each rank: ``mpiexec -n 2 python -m tests.ranks <what> <JSON>``."""

import contextlib
import json
import os
import signal
import sys
import threading
import time

import numpy as np
from mpi4py import MPI

import numnet as nn

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
    """Return the part of the data that is this rank's own, if each rank ends at a share of the whole."""
    ends = [0, *(int(cut * len(train[0])) for cut in cuts[: COMM.size - 1]), len(train[0])]
    return tuple(array[ends[COMM.rank] : ends[COMM.rank + 1]] for array in train)


def told(run):
    """Return what rank 0 knows of a run, and whether all ranks know the same."""
    net, history = run.net, [list(epoch) for epoch in run.history]
    every = COMM.allgather((net.parameters.tobytes(), run.optimizer.velocity.tobytes(), str(history), str(run.rng.bit_generator.state)))
    return {"parameters": net.parameters.tolist(), "history": history, "alike": len(set(every)) == 1}


def fitted(case, comm):
    run = trainer(case, comm)
    train = data(1, case["samples"], case["sizes"][0], case["sizes"][-1])
    test = data(2, case["tests"], case["sizes"][0], case["sizes"][-1]) if case["tests"] else None
    run.fit(part(train, case["sharded_at"]) if comm is not None and "sharded_at" in case else train,
            case["epochs"], case["batch"], test, progress=False)
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


def resumed(path):
    """Do what is left of a run in a file, on these ranks."""
    run = nn.Trainer.resume(path, comm=COMM)
    begun = [len(run.history), run.progress.done]
    x, t = data(1, 500, 6, 3)
    run.fit((x, t), test=data(2, 100, 6, 3), progress=False)
    return {**told(run), "begun": begun}


def steps(case):
    """Train with `step` on all ranks and on one process; return the differences."""
    here, alone = trainer(case, COMM), trainer(case, None)
    x, t = data(1, case["samples"], case["sizes"][0], case["sizes"][-1])
    costs = [[run.step(x, t), run.step(x[:1], t[:1], lr=0.01)] for run in (here, alone)]
    parameters = np.abs(here.net.parameters - alone.net.parameters).max()
    return {"parameters": float(parameters), "cost": float(np.abs(np.subtract(*costs)).max()), "alike": told(here)["alike"]}


# Faults. Each is on the last rank, if not said otherwise.


class Raising(nn.Tanh):
    """A layer that fails in the middle of a block."""

    calls = 0

    def forward(self, x, out=None):
        Raising.calls += 1
        if LAST and Raising.calls == 30:
            raise RuntimeError("a layer failed")
        return super().forward(x, out)


class Unpicklable(Exception):
    """An error that cannot be sent."""

    def __init__(self, a, b):
        super().__init__(a)
        self.lock = threading.Lock()


def callback(raised):
    def call(run):
        if LAST and len(run.history) == 2:
            raise raised

    return call


def sent(number, after):
    """Send this process a signal in a while."""
    threading.Timer(after, os.kill, (os.getpid(), number)).start()


def fault(name):
    """Train with a fault; say at the end what is left."""
    on = {"net": {"sizes": [6, 9, 3]}, "optimizer": {"lr": 0.2}}.get(name, {}) if LAST else {}
    case = {"sizes": [6, 8, 3], "dtype": "float32", "lr": 0.1, **on}
    if name == "arguments of Trainer" and LAST:
        case["lr"] = -1.0
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
        train = {"data": (x + 1, t), "samples": (x[1:], t[1:]), "labels": (x, np.where(t == 2, 17, t)), "nothing": None}.get(name, train)
        test = {"test data": (test[0][:50], test[1][:50]), "test labels": (test[0], test[1] - 5)}.get(name, test)
        options.update({"epochs": {"epochs": 4}, "batch size": {"batch_size": 8}, "argument": {"momentum": 1}}.get(name, {}))
        if name == "epochs and batch size":
            del options["epochs"]
    raised = {
        "callback": RuntimeError("a callback failed"), "Ctrl-C in a callback": KeyboardInterrupt(), "exit": SystemExit(3),
        "stop": StopIteration(), "an error that cannot be sent": Unpicklable("cannot be sent", 1),
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
    if name == "disk":
        options.update(checkpoint="run.npz", callbacks=[lambda run: len(run.history) == 2 and COMM.rank == 0 and os.chmod("run.npz", 0)])
    if name == "batches and average_every":
        options.update(checkpoint="run.npz", checkpoint_every="5 batches")
    if name in ("Ctrl-C", "killed", "terminated"):
        options.update(epochs=10_000, checkpoint="run.npz", callbacks=[lambda run: print("an epoch", flush=True) if len(run.history) == 3 and COMM.rank == 0 else None])
        if LAST:
            sent({"Ctrl-C": signal.SIGINT, "killed": signal.SIGKILL, "terminated": signal.SIGTERM}[name], 0.5)
    try:
        run.fit(train, test=test, progress=False, **options)
    finally:
        with open(f"left-{COMM.rank}.json", "w") as file:
            json.dump({"epochs": len(run.history), "at": time.time(), "parameters": run.net.parameters.tolist()}, file)


if __name__ == "__main__":
    result = globals()[sys.argv[1]](json.loads(sys.argv[2]))
    if COMM.rank == 0:
        print(json.dumps(result))
