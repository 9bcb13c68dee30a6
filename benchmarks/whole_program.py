"""Compare whole programs: examples/mnist_softmax.py and its PyTorch counterpart, from the .gz files to the last test.

python benchmarks/whole_program.py --data-dir DIR --json whole.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import describe, print_machine, start_without_overrides

HERE = Path(__file__).parent
PROGRAMS = {
    "numnet": [HERE.parent / "examples" / "mnist_softmax.py", "--dataset", "mnist", "--data-dir"],
    "PyTorch, DataLoader and PIL": [HERE / "dataloader_program.py", "--data-dir"],
}


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--data-dir", type=Path, required=True, metavar="DIR", help="folder with MNIST's four .gz files"
    )
    parser.add_argument(
        "--rounds", type=int, default=5, help="runs of each, in turn, after one that is not counted (5)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="save all figures")
    options = parser.parse_args()
    start_without_overrides()
    machine = describe(["torch"])
    print_machine(machine)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in PROGRAMS}
    for _ in range(options.rounds + 1):
        for name, command in PROGRAMS.items():
            runs[name].append(run([sys.executable, *map(str, command), str(options.data_dir)]))
    for name, measured in runs.items():
        del measured[0]
        seconds, peak = ([r[key] for r in measured] for key in ("seconds", "peak MB"))
        print(
            f"{name:30} {statistics.median(seconds):7.2f} s ({min(seconds):.2f} to {max(seconds):.2f}), "
            f"peak {max(peak):.0f} MB, test accuracy {measured[-1]['accuracy']}"
        )
    ours, theirs = runs.values()
    ratio = statistics.median(b["seconds"] / a["seconds"] for a, b in zip(ours, theirs, strict=True))
    print(f"ratio {ratio:.1f}, wanted at least 50; peak {max(r['peak MB'] for r in ours):.0f} MB, wanted at most 150")
    if options.json:
        report = {"machine": machine, "runs": runs, "median ratio": ratio}
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def run(command: list[str]) -> dict[str, Any]:
    """Run a program and return its time, its peak memory and the last accuracy that it printed."""
    with tempfile.TemporaryFile("w+") as output:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=output)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        if status:
            raise SystemExit(f"{' '.join(command)} failed")
        output.seek(0)
        words = output.read().replace(",", " ").split()
    last = len(words) - 1 - words[::-1].index("accuracy")
    return {"seconds": seconds, "peak MB": usage.ru_maxrss / 1024, "accuracy": words[last + 1]}


if __name__ == "__main__":
    main()
