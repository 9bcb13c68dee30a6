"""Send SIGINT to one rank or to all, or SIGKILL to one, at random moments, and see all ranks end and the file stand.

python -m tests.kill_ranks 100 50
python -m tests.kill_ranks --table      # of faults, for docs/parallel.md
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numnet as nn

RANKS = 2


def trial(folder, number, average_every, all_ranks=False):
    """Send a signal to one rank or, as a terminal does, to all; return what came of it, and after how many seconds."""
    command = [
        "mpiexec",
        "-n",
        str(RANKS),
        sys.executable,
        "-m",
        "mpi4py",
        "-m",
        "tests.ranks",
        "long",
        str(average_every),
    ]
    variables = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "OPENBLAS_NUM_THREADS": "1"}
    with subprocess.Popen(
        command,
        cwd=folder,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        begins = [Path(folder, f"begins-{rank}") for rank in range(RANKS)]
        while not all(path.exists() and path.read_text() for path in begins):
            time.sleep(0.01)
        time.sleep(random.uniform(0, 1.5))
        rank = random.randrange(RANKS)
        for path in begins if all_ranks else [begins[rank]]:
            os.kill(int(path.read_text()), number)
        sent = time.monotonic()
        try:
            _, text = process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return "hangs", 30.0
        seconds = time.monotonic() - sent
    left = [json.loads(path.read_text()) for path in Path(folder).glob("left-*.json")]
    saved = len(nn.Trainer.resume(Path(folder, "run.npz")).history) if Path(folder, "run.npz").exists() else 0
    if number == signal.SIGKILL:
        return ("ended" if process.returncode and "Traceback" not in text else text), seconds
    named = len(re.findall(rf"This was on rank {'.' if all_ranks else rank} of {RANKS}\.", text))
    if text.count("Traceback") != 1 or "KeyboardInterrupt" not in text:
        return text, seconds
    if named != 1:
        return "before or after fit", seconds  # so mpi4py has ended the ranks
    alike = len(left) == RANKS and all(one == left[0] for one in left) and left[0]["epochs"] == saved
    return ("ended" if alike else f"left {[one['epochs'] for one in left]}, saved {saved}"), seconds


def main(interrupts, kills):
    """Do so many trials and print how they ended."""
    status = 0
    for number, count in ((signal.SIGINT, interrupts), (signal.SIGKILL, kills)):
        ends, longest = Counter(), 0.0
        for i in range(count):
            with tempfile.TemporaryDirectory() as folder:
                end, seconds = trial(folder, number, 5 * (i % 2), all_ranks=number == signal.SIGINT and i % 4 > 1)
            ends[end], longest = ends[end] + 1, max(longest, seconds)
        print(f"{count} {number.name}: {dict(ends)}, the longest took {longest:.2f} s", flush=True)
        status |= ends.keys() - {"ended", "before or after fit"} != set() or longest > 5
    return status


def table():
    """Print a row for each fault: the message, the seconds until all ranks have ended, and the epochs that stand."""
    from .test_parallel import FAULTS, command, left, run

    print("| On the last of three ranks | What is said | Seconds | Epochs that stand |\n|---|---|---:|---:|")
    for fault in FAULTS:
        with tempfile.TemporaryDirectory() as folder:
            done, ended = run(command(3, "fault", fault), folder), time.time()
            files = list(Path(folder).glob("left-*.json"))
            seconds = f"{ended - min(path.stat().st_mtime for path in files):.2f}" if files else ""
            epochs = left(Path(folder))
        rank = "".join(re.findall(r"This was on (rank \d)", done.stderr))
        said = re.findall(
            r"^(?:numnet\.checks\.)?(\w+(?:Error|Interrupt)\b.*(?:\n\)?  .*)*)", done.stderr, re.MULTILINE
        )
        text = " ".join(said[-1].split())[:150] if said else ""
        print(f"| {fault} | {rank}: {text} | {seconds} | {epochs[0] if epochs else ''} |")


if __name__ == "__main__":
    sys.exit(table() if sys.argv[1:] == ["--table"] else main(*map(int, sys.argv[1:])))
