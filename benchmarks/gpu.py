"""Train networks on a GPU with numnet and with PyTorch, turn by turn; or find from which size on a GPU pays.

numnet trains once without and once with the recorded step (`numnet.backend.record`).

python benchmarks/gpu.py --json gpu.json
python benchmarks/gpu.py --tf32
python benchmarks/gpu.py --crossover

Times are a GPU's own, from one event to another, for a whole epoch of 60,000 pictures: drawing the order, gathering,
training, and the mean cost at the end. `--rehearse` runs every line that a machine without a GPU can run.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # it need not be installed

NETWORKS = {"A": (784, 10), "B": (784, 128, 10), "C": (784, 512, 512, 10), "D": (784, 4096, 4096, 10)}
BATCHES = (64, 512, 8192)
NUMNET = {"numnet": "numnet", "recorded": "numnet, recorded"}
PEERS = {"eager": "PyTorch eager", "compile": "PyTorch torch.compile", "graph": "PyTorch CUDA graph"}
LR = {64: 0.1, 512: 0.2, 8192: 0.5}
COST_NOISE = {False: 1e-3, True: 1e-2}  # of the first epoch's mean cost, relative; without TF32, and with it


def main() -> int:
    """Run what was asked for and return the exit status."""
    options = parse_arguments()
    os.environ["CUPY_TF32"] = "1" if options.tf32 else "0"  # CuPy reads it when it is imported
    import numnet as nn

    try:
        device = "cpu" if options.rehearse else nn.backend.choose("gpu")
    except nn.DeviceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    describe(device, options)
    report: dict[str, Any] = {"device": DEVICE, "tf32": options.tf32, "epochs": {}, "products": {}, "crossover": {}}
    wrong = False
    if options.crossover:
        report["crossover"] = crossover(options)
    else:
        data = pictures(6_000 if options.rehearse else 60_000)
        for name in options.networks:
            for batch_size in options.batches:
                result = compare(name, batch_size, data, device, options)
                report["epochs"][f"{name} {batch_size}"] = result
                wrong |= not result["agree"]
                if options.json:
                    options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        if not options.rehearse:
            print_goals(report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return int(wrong)


def parse_arguments() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--networks", default="ABCD", help="which of A 784-10, B 784-128-10, C 784-512-512-10, D 4096")
    parser.add_argument("--batches", type=lambda text: [int(n) for n in text.split(",")], default=list(BATCHES))
    parser.add_argument("--rounds", type=int, default=3, help="turns of each program (3)")
    parser.add_argument("--epochs", type=int, default=5, help="timed epochs in each turn, after two more (5)")
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(PEERS), help=f"of {', '.join(PEERS)}")
    parser.add_argument("--tf32", action="store_true", help="let both use TF32 in products of float32")
    parser.add_argument("--crossover", action="store_true", help="compare with this machine's CPU instead")
    parser.add_argument("--json", type=Path, metavar="FILE", help="save all figures")
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, one small epoch each: does it work?")
    options = parser.parse_args()
    if options.rehearse:
        options.rounds, options.epochs, options.only = 1, 1, [name for name in options.only if name == "eager"]
        options.networks, options.batches = "AB", [64, 512]
    return options


DEVICE: dict[str, Any] = {}


def describe(device: str, options: argparse.Namespace) -> None:
    """Note and print what is measured on."""
    DEVICE.update(
        date=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), numpy=np.__version__, name="CPU, a rehearsal"
    )
    if device == "gpu":
        import cupy

        runtime = cupy.cuda.runtime
        DEVICE.update(
            name=runtime.getDeviceProperties(0)["name"].decode(),
            cupy=cupy.__version__,
            cuda=runtime.runtimeGetVersion(),
            driver=runtime.driverGetVersion(),
        )
    try:
        import torch

        DEVICE["torch"] = torch.__version__
        torch.backends.cuda.matmul.allow_tf32 = options.tf32
    except ImportError:
        options.only = []
        print("PyTorch is not installed: numnet alone")
    print(", ".join(f"{key} {value}" for key, value in DEVICE.items()), f"TF32 {'on' if options.tf32 else 'off'}")


def pictures(n: int) -> tuple[Any, Any]:
    """Return pictures in ten classes, each a noisy copy of its class's own: MNIST's shapes, wherever this runs."""
    rng = np.random.default_rng(0)
    labels = rng.integers(10, size=n)
    noise = rng.integers(-120, 120, (n, 784), dtype=np.int16)
    return np.clip(rng.integers(0, 256, (10, 784))[labels] // 4 + 60 + noise, 0, 255).astype(np.uint8), labels


def compare(name: str, batch_size: int, data: Any, device: str, options: argparse.Namespace) -> dict[str, Any]:
    """Time one network with one batch size; return medians, ratios and accuracies."""
    sizes = NETWORKS[name]
    programs: dict[str, Callable[[int], list[float]]] = {}
    accuracies: dict[str, Callable[[], float]] = {}
    costs: dict[str, float] = {}
    for way in NUMNET:
        record = way == "recorded"
        programs[way], accuracies[way], costs[way] = numnet_program(sizes, batch_size, data, device, record)
    for peer in options.only:
        programs[peer], accuracies[peer], costs[peer] = torch_program(peer, sizes, batch_size, data, device)
    times: dict[str, list[float]] = {program: [] for program in programs}
    for _ in range(options.rounds):
        for program, epochs in programs.items():
            times[program] += epochs(options.epochs)
    medians = {program: statistics.median(values) for program, values in times.items()}
    right = {program: accuracy() for program, accuracy in accuracies.items()}
    agree = all(abs(cost / costs["numnet"] - 1) <= COST_NOISE[options.tf32] for cost in costs.values())
    flops = 6 * len(data[1]) * sum(a * b for a, b in pairwise(sizes)) - 2 * len(data[1]) * sizes[0] * sizes[1]
    result = {
        "seconds": times,
        "medians": medians,
        "accuracies": right,
        "first costs": costs,
        "agree": agree,
        "flops": flops,
    }
    wrong = "" if agree else f"   WRONG: first costs differ, {costs}"
    print(f"\n{name} {'-'.join(map(str, sizes))}, batches of {batch_size}{wrong}")
    for program, median in medians.items():
        ratio = median / medians["numnet"]
        label = {**NUMNET, **PEERS}[program]
        print(f"  {label:24} {median * 1e3:10.2f} ms an epoch   {ratio:6.2f} times   accuracy {right[program]:.4f}")
    if name == "D" and batch_size >= 4096 and device == "gpu":
        rate, peak = flops / medians["numnet"], product_rate(batch_size)
        result["share of product rate"] = rate / peak
        print(
            f"  products at {rate / 1e12:.1f} of {peak / 1e12:.1f} TFLOP/s that products alone reach: {rate / peak:.1%}"
        )
    sys.stdout.flush()
    return result


def network(sizes: tuple[int, ...], device: str) -> Any:
    """Return numnet's network; the others start from its weights."""
    import numnet as nn

    layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.Sigmoid())]
    return nn.Sequential(*layers[:-1], nn.Softmax(), seed=0, device=device)


def numnet_program(
    sizes: tuple[int, ...], batch_size: int, data: Any, device: str, record: bool = False
) -> tuple[Any, Any, float]:
    """Return functions that give the seconds of some epochs and the accuracy, and the first epoch's cost."""
    import numnet as nn

    record = record and device == "gpu"  # on the CPU nothing is recorded, and a rehearsal trains the same way twice
    net = network(sizes, device)
    trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(LR.get(batch_size, 0.1)), seed=0)

    def fit(count: int, *callbacks: Callable[[Any], object]) -> Any:
        nn.backend.record(record)
        try:
            return trainer.fit(data, count, batch_size, callbacks=callbacks, progress=False)
        finally:
            nn.backend.record(False)

    def epochs(count: int) -> list[float]:
        marks = Marks(device)
        fit(count + 2, lambda _: marks.add())
        return marks.seconds()[-count:]  # the first compiles and the second records

    cost = fit(1).train_cost[0]
    return epochs, lambda: net.accuracy(data[0][:10_000], data[1][:10_000]), cost


class Marks:
    """Moments, on the GPU's clock where there is one."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._moments: list[Any] = []
        self.add()

    def add(self) -> None:
        """Note this moment."""
        if self._device == "gpu":
            import cupy

            self._moments.append(cupy.cuda.Event())
            self._moments[-1].record()
        else:
            self._moments.append(time.perf_counter())

    def seconds(self) -> list[float]:
        """Return the times from each moment to the next."""
        if self._device == "cpu":
            return [b - a for a, b in pairwise(self._moments)]
        import cupy

        self._moments[-1].synchronize()
        return [cupy.cuda.get_elapsed_time(a, b) / 1e3 for a, b in pairwise(self._moments)]


def torch_program(peer: str, sizes: tuple[int, ...], batch_size: int, data: Any, device: str) -> tuple[Any, Any, float]:
    """As `numnet_program`, in PyTorch: bytes on the device, batches by index, SGD in one call for all parameters."""
    import torch

    place = torch.device("cuda" if device == "gpu" else "cpu")
    layers: list[Any] = []
    for linear in network(sizes, "cpu").layers[::2]:
        layers += [torch.nn.Linear(linear.inputs, linear.outputs), torch.nn.Sigmoid()]
        layers[-2].weight.data = torch.tensor(linear.weight.T.copy())
        layers[-2].bias.data = torch.tensor(linear.bias)
    net = torch.nn.Sequential(*layers[:-1]).to(place)
    optimizer = torch.optim.SGD(net.parameters(), lr=LR.get(batch_size, 0.1), foreach=True)
    cost = torch.nn.CrossEntropyLoss()
    images, labels = torch.from_numpy(data[0]).to(place), torch.from_numpy(data[1]).to(place)
    n = len(labels)
    total = torch.zeros((), device=place)

    def step(rows: Any) -> None:
        x = images[rows].float() * (1 / 255)
        value = cost(net(x), labels[rows])
        optimizer.zero_grad(set_to_none=peer != "graph")
        value.backward()
        optimizer.step()
        total.add_(value.detach() * len(rows))

    torch.compiler.reset()  # or the networks before this one count towards its limit of compilations
    run = torch.compile(step) if peer == "compile" else step
    whole = run
    if peer == "graph" and n >= batch_size:
        held = torch.arange(batch_size, device=place)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        start_values = [parameter.detach().clone() for parameter in net.parameters()]
        with torch.cuda.stream(side):
            for _ in range(3):
                step(held)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step(held)
        with torch.no_grad():  # the steps above were for warming up
            for parameter, value in zip(net.parameters(), start_values, strict=True):
                parameter.copy_(value)

        def whole(rows: Any) -> None:
            held.copy_(rows)
            graph.replay()

    def epoch(order: Any = None) -> float:
        total.zero_()
        order = torch.randperm(n, device=place) if order is None else order
        for start in range(0, n, batch_size):
            rows = order[start : start + batch_size]
            (whole if len(rows) == batch_size else run)(rows)
        return float(total) / n

    def epochs(count: int) -> list[float]:
        moments = []
        for i in range(count + 3):
            if i >= 2:
                if device == "gpu":
                    moments.append(torch.cuda.Event(enable_timing=True))
                    moments[-1].record()
                else:
                    moments.append(time.perf_counter())
            if i < count + 2:
                epoch()
        if device == "cpu":
            return [b - a for a, b in pairwise(moments)]
        torch.cuda.synchronize()
        return [a.elapsed_time(b) / 1e3 for a, b in pairwise(moments)]

    def accuracy() -> float:
        with torch.no_grad():
            return float((net(images[:10_000].float() * (1 / 255)).argmax(1) == labels[:10_000]).float().mean())

    return epochs, accuracy, epoch(torch.from_numpy(np.random.default_rng(0).permutation(n)).to(place))


def product_rate(n: int, width: int = 4096, count: int = 50) -> float:
    """Return the flops in a second of nothing but large products."""
    import cupy

    a, b, out = (cupy.random.random(shape, cupy.float32) for shape in ((n, width), (width, width), (n, width)))
    times = []
    for _ in range(5):
        marks = Marks("gpu")
        for _ in range(count):
            cupy.matmul(a, b, out=out)
        marks.add()
        times += marks.seconds()
    return 2 * n * width * width * count / statistics.median(times[1:])


def crossover(options: argparse.Namespace) -> dict[str, Any]:
    """Print from which size on a product of host arrays, and a whole training, is faster on the GPU."""
    import numnet as nn

    gpu = "cpu" if options.rehearse else "gpu"
    found: dict[str, Any] = {"products": {}, "training": {}}
    print("\nn x n products of float32 arrays on the host: CPU, and there and back")
    for n in (64, 128) if options.rehearse else (64, 128, 256, 384, 512, 768, 1024, 1536, 2048, 4096):
        a = np.ones((n, n), np.float32)

        def there_and_back(a: Any = a) -> None:
            nn.backend.to(nn.backend.matmul(nn.backend.to(a, gpu), nn.backend.to(a, gpu)), "cpu")

        seconds = turns({"cpu": lambda a=a: np.matmul(a, a), "gpu": there_and_back})
        found["products"][n**3] = seconds
        print(f"  {n:5}   {n**3:.1e} multiplications   {seconds['cpu'] * 1e6:12.0f} us {seconds['gpu'] * 1e6:12.0f} us")
    print("\nan epoch of 784-n-10 in batches of 64: CPU, GPU, GPU recorded")
    data = pictures(6_000)
    for width in (8, 16) if options.rehearse else (16, 32, 64, 128, 256, 512, 1024):
        programs = {
            name: numnet_program((784, width, 10), 64, data, device, record=name == "recorded")[0]
            for name, device in (("cpu", "cpu"), ("gpu", gpu), ("recorded", gpu))
        }
        times: dict[str, list[float]] = {name: [] for name in programs}
        for _ in range(3):
            for name, epochs in programs.items():
                times[name] += epochs(3)
        medians = {name: statistics.median(values) for name, values in times.items()}
        found["training"][width] = medians
        print(f"  {width:5}  ", *(f"{seconds * 1e3:10.2f} ms" for seconds in medians.values()), flush=True)
    return found


def turns(functions: dict[str, Callable[[], Any]], count: int = 9) -> dict[str, float]:
    """Return the median seconds of each function, called by turns."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(count + 2):
        for name, function in functions.items():
            started = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - started)
    return {name: statistics.median(values[2:]) for name, values in times.items()}


def print_goals(report: dict[str, Any]) -> None:
    """Print what was aimed at beside what was reached."""
    print("\ngoals")
    for key, result in report["epochs"].items():
        name, batch_size = key.split()
        medians = result["medians"]
        for way, label in NUMNET.items() if batch_size == "64" and name in "ABC" else ():
            if name == "A":
                print(f"  A, 64: at most 20 ms an epoch, {label}: {medians[way] * 1e3:.1f} ms")
            for peer, wanted in (("eager", 5.0), ("graph", 1.0)):
                if peer in medians:
                    reached = medians[peer] / medians[way]
                    missed = "" if reached >= wanted else "MISSED"
                    print(f"  {name}, 64: {wanted:g} times {PEERS[peer]}, {label}: {reached:.2f} {missed}")
        share = result.get("share of product rate")
        if share is not None:
            print(f"  {name}, {batch_size}: 85 % of the product rate: {share:.1%} {'' if share >= 0.85 else 'MISSED'}")


if __name__ == "__main__":
    sys.exit(main())
