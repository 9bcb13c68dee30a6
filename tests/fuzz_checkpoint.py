"""Fuzz nn.load and Trainer.resume: a file is refused by a CheckpointError, or gives what can be used and saved again.

Run by hand, with atheris in the environment and, if wanted, a folder for the inputs that reach new code:

    pip install atheris
    python -m tests.fuzz_checkpoint [-runs=200000] [folder ...]

The options are libFuzzer's. An input is the content of a file. The first inputs are files of networks and runs, in all
versions. `mutated` changes them in the zip, in the JSON header and in the arrays, and writes the checksums anew. The
first exception that is not CheckpointError, network or run that cannot be used or is not the same after it was saved
and loaded again, or use of much more memory than the file has bytes ends the program, and writes the input to a file;
``python -m tests.fuzz_checkpoint that-file`` repeats it.
"""

import functools
import importlib
import io
import json
import math
import random
import sys
import tempfile
import tracemalloc
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import numnet as nn
from numnet import checkpoint, npz, training

from .fuzz_idx import in_memory

# What is read


def check(content: bytes, folder: Path, go_on: bool = True) -> str:
    """Read a file with this content in both ways; return what it is: a run, a network, or refused."""
    path = folder / "input.npz"
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net, trainer = read(nn.load, path), read(nn.Trainer.resume, path)
        if net is not None:
            check_network(net, folder)
        if trainer is not None:
            check_run(trainer, folder)
            if go_on:
                finish(trainer)
    return "run" if trainer is not None else "network" if net is not None else "refused"


def read(function: Callable[..., Any], path: Path) -> Any:
    """Return what a function reads; None if it refuses the file."""
    try:
        return function(path)
    except nn.CheckpointError as error:
        if "give it again" not in str(error):  # the learning rate
            return None
    return read(functools.partial(function, lr=0.5), path)


def check_network(net: nn.Sequential, folder: Path) -> None:
    """Check that a network can be called, and is the same after it is saved and loaded."""
    width = net.inputs or 2
    y = net(np.linspace(-1, 1, 3 * width).reshape(3, width))
    assert y.shape == (3, net.outputs or width)
    first, second = folder / "first.npz", folder / "second.npz"
    net.save(first, overwrite=True)
    again = nn.load(first)
    again.save(second, overwrite=True)
    assert repr(again) == repr(net)
    assert again.parameters.tobytes() == net.parameters.tobytes()
    assert first.read_bytes() == second.read_bytes()


def check_run(trainer: nn.Trainer, folder: Path) -> None:
    """Check that a run is the same after it is saved and resumed."""
    first, second = folder / "first.npz", folder / "second.npz"
    checkpoint.save_run(trainer, first, overwrite=True)
    again = nn.Trainer.resume(first)
    checkpoint.save_run(again, second, overwrite=True)
    assert state(again) == state(trainer)
    assert first.read_bytes() == second.read_bytes()


def state(trainer: nn.Trainer) -> list[Any]:
    """Return all that a run consists of, in a form that can be compared: nan is equal to nan."""
    best = trainer.best and (trainer.best.epoch, trainer.best.parameters.tobytes())
    arrays = [array.tobytes() for array in (trainer.net.parameters, trainer.optimizer.velocity)]
    named = trainer.net, trainer.cost, trainer.optimizer, list(trainer.history), trainer.progress
    return [best, arrays, trainer.rng.bit_generator.state, *map(repr, named)]


def finish(trainer: nn.Trainer) -> None:
    """Let a run of a few small epochs go on to its end. It may diverge, or be told that its settings do not fit."""
    place, width, before = trainer.progress, trainer.net.inputs or 2, len(trainer.history)
    if place.samples > 64 or place.last - before > 3:
        return
    rng = np.random.default_rng(0)
    t = rng.random((place.samples, trainer.net.outputs or width))
    try:
        trainer.fit((rng.random((place.samples, width)), t / t.sum(axis=1, keepdims=True)))
    except ValueError:
        return
    assert len(trainer.history) == max(before, place.last)


def check_memory(content: bytes, folder: Path) -> int:
    """Return the peak of the memory taken."""
    tracemalloc.start()
    try:
        check(content, folder, go_on=False)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    bound = (1 << 18) + 16 * len(content)
    assert peak < bound, f"{peak} bytes of memory for a file of {len(content)}"
    return peak


# Files to begin with


def seeds() -> list[bytes]:
    """Return small files of networks and runs, in all versions that are read."""
    with tempfile.TemporaryDirectory() as folder:
        files = [*networks(Path(folder)), *runs(Path(folder))]
    for run in files[-3:]:
        parts = unzipped(run)
        header = header_of(parts)
        files += [zipped({**parts, "header.npy": as_header(older)}) for older in (version_2(header), version_1(header))]
    return files


def networks(folder: Path) -> list[bytes]:
    """Return files of networks."""
    chains = [
        ([nn.Linear(3, 2), nn.Softmax()], "float32"),
        ([nn.Linear(2, 3, bias=False), nn.Tanh(), nn.Linear(3, 1), nn.Sigmoid()], "float64"),
        ([nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)], "complex128"),
        ([nn.Sigmoid()], "float32"),
    ]
    path, files = folder / "net.npz", []
    for layers, dtype in chains:
        nn.Sequential(*layers, seed=0, dtype=dtype).save(path)
        files.append(path.read_bytes())
    return files


def runs(folder: Path) -> list[bytes]:
    """Return files of runs: one with a best epoch, one in the middle of an epoch, and one with a schedule."""
    x = np.random.default_rng(0).random((6, 3))
    path, files = folder / "run.npz", []
    for lr, options in (
        (0.5, {}),
        (0.1, {"momentum": 0.5, "nesterov": True}),
        (lambda epoch: 1 / epoch, {"clip_norm": 1}),
    ):
        net = nn.Sequential(nn.Linear(3, 2), nn.Softmax(), seed=0)
        trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr, **options), seed=0)
        data = x, np.arange(6) % 2
        best = [nn.keep_best("test_cost")] if not options else []
        trainer.fit(data, 2, 2, test=data, checkpoint=path, overwrite=True, callbacks=best, progress=False)
        if "momentum" in options:
            trainer.progress.last, trainer.progress.done, trainer.progress.cost = 3, 4, 2.0
            checkpoint.save_run(trainer, path)
        files.append(path.read_bytes())
    return files


def version_2(header: dict[str, Any]) -> dict[str, Any]:
    """Return the header of a run as version 2 has it, which knows no best epoch."""
    return {**{name: value for name, value in header.items() if name != "best"}, "version": 2}


def version_1(header: dict[str, Any]) -> dict[str, Any]:
    """Return the header of a run as version 1 has it: with lists that have a number for each block."""
    place = {name: header["progress"][name] for name in ("last", "batch_size", "samples", "seconds")}
    done = header["progress"]["done"]
    lists = {"sizes": [done], "costs": [0.5], "rights": [1]} if done else {"sizes": [], "costs": [], "rights": []}
    rest = {name: value for name, value in version_2(header).items() if name != "progress"}
    return {**rest, "version": 1, "left": {**place, **lists}}


# Changes


VALUES: list[Any] = [
    *(
        0,
        1,
        2,
        3,
        4,
        7,
        -1,
        -2,
        64,
        10**4,
        10**9,
        2**31,
        2**32,
        2**53 + 1,
        2**63,
        2**64,
        2**127,
        2**128,
        10**400,
        -(10**30),
    ),
    *(0.0, -0.0, 0.5, 1.5, 3.0, -1.0, 5e-324, 1e-40, 1e38, 1e39, 1e308, math.inf, -math.inf, math.nan),
    *(True, False, None, "", "a", "1", "nan", "inf", "x" * 300, "\0", "\ud800", "ü"),
    *([], [0], [1, 2], [[]], {}, {"a": 1}, {"": None}),
    *("float32", "float64", "complex128", "float16", "int8", "O", "PCG64", "MT19937", "numnet network", "numnet run"),
    *("numnet.Linear", "numnet.Sigmoid", "numnet.Softmax", "numnet.ReLU", "numnet.Tanh", "numnet.Layer", "Linear"),
    *("numnet.CrossEntropy", "numnet.Quadratic", "numnet.Cost"),
    *(["numnet.Linear", {"inputs": 2, "outputs": 2}], ["numnet.Softmax", {}], [1, 0.5, 0.5, 0.5, 0.5, 0.5]),
]
KEYS = [
    "format",
    "version",
    "dtype",
    "layers",
    "inputs",
    "outputs",
    "bias",
    "start",
    "cost",
    "optimizer",
    "lr",
    "momentum",
]
KEYS += [
    "history",
    "generator",
    "state",
    "inc",
    "progress",
    "left",
    "best",
    "done",
    "sizes",
    "last",
    "nesterov",
    "x",
    "",
]
DTYPES = ["<f4", ">f4", "<f8", "<c8", "<c16", "<f2", "|O", "|V8", "<U1", "|S4", "<i4", "<M8", "|b1", "<f16", ""]
NAMES = ["header.npy", "parameters.npy", "velocity.npy", "best.npy", "more.npy", "../x.npy", "header", "", "a" * 99]


def mutated(content: bytes, rng: random.Random, flip: Callable[[bytes], bytes]) -> bytes:
    """Return a file with a few changes, in the zip, the header, or an array. `flip` changes bytes."""
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        try:
            parts = unzipped(content)
            change = rng.choice([change_header] * 5 + [change_array] * 3 + [change_zip, change_bytes])
            content = change(content, parts, rng, flip)
        except Exception:  # what has been changed before is no such file any more
            return flip(content)
    return content


Parts = dict[str, bytes]
Flip = Callable[[bytes], bytes]


def change_bytes(content: bytes, _parts: Parts, _rng: random.Random, flip: Flip) -> bytes:
    """Change the file anywhere."""
    return flip(content)


def change_zip(content: bytes, parts: Parts, rng: random.Random, flip: Flip) -> bytes:
    """Change the zip: its parts, how they are packed, or what it says of them."""
    names = list(parts)
    name = rng.choice(names)
    kind = rng.randrange(7)
    if kind == 0:
        return zipped({other: parts[other] for other in names if other != name})
    if kind == 1:
        return zipped({rng.choice(NAMES) if other == name else other: data for other, data in parts.items()})
    if kind == 2:
        return zipped({**parts, rng.choice(NAMES): parts[name]})
    if kind == 3:
        return zipped(parts, rng.choice([zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]))
    if kind == 4:
        return zipped(dict(rng.sample(list(parts.items()), len(parts))))
    if kind == 5:
        return rng.randbytes(rng.randrange(9)) + content + rng.randbytes(rng.randrange(9))
    places = [i for i in range(len(content) - 1) if content[i : i + 2] == b"PK"]
    place = rng.choice(places) + rng.randrange(46)  # in the record of a part, or of the whole
    return content[:place] + flip(content[place : place + 4]) + content[place + 4 :]


def change_array(_content: bytes, parts: Parts, rng: random.Random, flip: Flip) -> bytes:
    """Change a part: its type, shape, order or elements, or its bytes."""
    name = rng.choice(list(parts))
    data = parts[name]
    kind = rng.randrange(5)
    if kind == 0:
        return zipped({**parts, name: flip(data)})
    start = 10 + int.from_bytes(data[8:10], "little")
    facts = eval(data[10:start], {})  # we have written it: {'descr': '<f4', 'fortran_order': False, 'shape': (8,), }
    if kind == 1:
        facts["descr"] = rng.choice([*DTYPES, [("a", "<f4")], ("<f4", (2,)), None, 4])
    elif kind == 2:
        facts["shape"] = tuple(
            rng.choice([0, 1, 2, 4, 8, -1, 2**31, 2**62, 2**64]) for _ in range(rng.choice([0, 1, 1, 2, 40]))
        )
    elif kind == 3:
        facts["fortran_order"] = rng.choice([True, False, None, 1])
    elements = bytearray(data[start:])
    if kind == 4 and elements:
        size = int(facts["descr"][2:]) if facts["descr"][1:2] in "fc" else 4
        place = rng.randrange(0, len(elements), size)
        number = rng.choice([0.0, -0.0, 1.0, math.nan, math.inf, -math.inf, 1e38, 1e-45, 1e-38])
        elements[place : place + size] = (
            np.array(number, facts["descr"]).tobytes()
            if "U" not in facts["descr"]
            else flip(elements[place : place + 4])
        )
    text = repr(facts).encode().ljust(max(len(repr(facts)) + 1, start - 10), b" ")
    changed = data[:8] + len(text).to_bytes(2, "little") + text + elements
    return zipped({**parts, name: changed})


def change_header(_content: bytes, parts: Parts, rng: random.Random, flip: Flip) -> bytes:
    """Change the header: a value, a key, the order or the length of a list. Or its text."""
    header = header_of(parts)
    if rng.randrange(20) == 0:
        text = flip(json.dumps(header).encode()).decode("latin-1")
        return zipped({**parts, "header.npy": as_text(text)})
    places: list[tuple[Any, Any]] = []
    walk(header, places)
    holder, key = rng.choice(places)
    kind = rng.randrange(8)
    if kind < 4:
        holder[key] = changed_value(holder[key], rng)
    elif kind == 4:
        del holder[key]
    elif kind == 5:
        other, place = rng.choice(places)
        holder[key] = other[place]
    elif isinstance(holder, list):
        holder.insert(rng.randrange(len(holder) + 1), rng.choice([*VALUES, holder[key]]))
        if kind == 7:
            holder *= rng.choice([1, 2, 50])
    else:
        value = holder.pop(key) if kind == 6 else rng.choice(VALUES)
        holder[rng.choice(KEYS)] = value
    return zipped({**parts, "header.npy": as_header(header)})


def changed_value(value: Any, rng: random.Random) -> Any:
    """Return another value, which for a number may be near it."""
    if isinstance(value, (int, float)) and rng.randrange(3) == 0:
        return rng.choice([value + 1, value - 1, -value, value * 2, str(value), [value], float(value)])
    return rng.choice(VALUES)


def walk(node: Any, places: list[tuple[Any, Any]]) -> None:
    """Collect where each value of some JSON is: its dictionary or list, and its key or index."""
    for key in node if isinstance(node, dict) else range(len(node)):
        places.append((node, key))
        if isinstance(node[key], (dict, list)):
            walk(node[key], places)


def unzipped(content: bytes) -> Parts:
    """Return the parts of a file."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(parts: Parts, packing: int = zipfile.ZIP_STORED) -> bytes:
    """Return a file with these parts."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", packing) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two parts may have one name
        for name, data in parts.items():
            archive.writestr(zipfile.ZipInfo(name or "-"), data, packing)
    return file.getvalue()


def header_of(parts: Parts) -> Any:
    """Return the header of a file."""
    return json.loads(str(np.load(io.BytesIO(parts["header.npy"]))))


def as_header(header: Any) -> bytes:
    """Return a header as a part of a file."""
    return as_text(json.dumps(header))


def as_text(text: str) -> bytes:
    """Return a text as a part of a file."""
    part = io.BytesIO()
    np.save(part, np.array(text))
    return part.getvalue()


def fuzz(folder: Path) -> None:
    """Try inputs in a folder for the files."""
    import resource

    import atheris

    with atheris.instrument_imports(include=["numnet.checkpoint", "numnet.npz"]):
        importlib.reload(npz)
        importlib.reload(checkpoint)
    nn.load, training.load_run = checkpoint.load, checkpoint.load_run  # those that the fuzzer follows
    corpus = folder / "corpus"
    corpus.mkdir()
    whole = seeds()
    for i, seed in enumerate(whole):
        (corpus / f"seed{i}").write_bytes(seed)
    counts: Counter[str] = Counter()
    peaks = [0]

    def one(data: bytes) -> None:
        counts["inputs"] += 1
        counts[check(data, folder, go_on=counts["inputs"] % 8 == 0)] += 1
        if counts["inputs"] % 64 == 0:
            peaks[0] = max(peaks[0], check_memory(data, folder))
        if counts["inputs"] % 10_000 == 0:
            resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            print(dict(counts), f"peaks: {peaks[0] >> 10} KiB traced, {resident} KiB resident", flush=True)

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        rng = random.Random(seed)  # half of the time from a whole file: most files that reach new code are refused
        start = rng.choice([data, rng.choice(whole)])
        content = mutated(start, rng, lambda part: atheris.Mutate(part, len(part) + 8))
        return content if len(content) <= most else data

    # A claim that is believed is a MemoryError.
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 29), resource.getrlimit(resource.RLIMIT_AS)[1]))
    repeated = any(Path(argument).is_file() for argument in sys.argv[1:])
    arguments = [sys.argv[0], "-max_len=16384", *sys.argv[1:], *([] if repeated else [str(corpus)])]
    atheris.Setup(arguments, one, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    in_memory(fuzz)
