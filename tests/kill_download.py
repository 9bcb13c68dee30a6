"""Kill downloads at random moments: is there ever a bad file under the final name, does the next run always complete?

python -m tests.kill_download [--kills 100] [--seed 0]
"""

import argparse
import hashlib
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler
from itertools import count
from pathlib import Path

from .datasets.conftest import Server

NAME = "data.bin"
BODY = random.Random(0).randbytes(2_000_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
PACE = 1 << 16  # bytes
PAUSE = 0.01  # seconds
DOWNLOAD = f"""
import sys
from pathlib import Path
import filelock, requests, tqdm
from numnet.datasets.download import fetch
print(flush=True)
fetch({NAME!r}, [sys.argv[1]], {SHA256!r}, Path(sys.argv[2]), 10, False, "")
"""


def slowly(request: BaseHTTPRequestHandler) -> None:
    """Send the file, or what is asked for of it, with a pause after each piece."""
    start = int((request.headers.get("Range") or "bytes=0-")[6:-1])
    request.send_response(206 if start else 200)
    request.send_header("Content-Length", str(len(BODY) - start))
    request.send_header("Content-Range", f"bytes {start}-{len(BODY) - 1}/{len(BODY)}")
    request.end_headers()
    for place in range(start, len(BODY), PACE):
        request.wfile.write(BODY[place : place + PACE])
        time.sleep(PAUSE)


def begin(server: Server, folder: Path) -> subprocess.Popen[bytes]:
    """Start a download; return when its modules are loaded."""
    command = [sys.executable, "-c", DOWNLOAD, server.mirror("slow"), str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout
    with process.stdout as ready:
        ready.readline()
    return process


def found(folder: Path) -> str:
    """Check what a kill left in the folder, and say how far the download had come."""
    names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    assert names <= {NAME, f"{NAME}.part", f"{NAME}.lock"}, names
    if NAME in names:
        assert (folder / NAME).read_bytes() == BODY
        return "whole"
    if f"{NAME}.part" in names:
        part = (folder / f"{NAME}.part").read_bytes()
        assert BODY.startswith(part), f"a part of {len(part)} bytes is not the file's beginning"
        return "whole part" if part == BODY else "part" if part else "empty part"
    return "lock" if names else "nothing"


def complete(server: Server, folder: Path) -> float:
    """Run a download to its end, and check that nothing but the file is there; return the seconds that it took."""
    process = begin(server, folder)
    start = time.monotonic()
    assert process.wait(60) == 0
    took = time.monotonic() - start
    assert (folder / NAME).read_bytes() == BODY
    assert [path.name for path in folder.iterdir()] == [NAME]
    return took


def run(kills: int, work: Path, seed: int) -> Counter[str]:
    """Kill so many downloads, each with a run after it; return how often each state was found."""
    rng = random.Random(seed)
    states: Counter[str] = Counter()
    with Server() as server:
        server.answers[f"/slow/{NAME}"] = slowly
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        longest = complete(server, work / "unharmed")
        for number in count():
            folder = work / str(number)
            process = begin(server, folder)
            time.sleep(rng.uniform(0, longest))
            process.kill()
            if process.wait() == -signal.SIGKILL:  # else it had ended already
                states[found(folder)] += 1
                complete(server, folder)
            if states.total() == kills:
                break
        resumed = sum(asked is not None for asked in server.ranges)
        server.shutdown()
    assert resumed == states["part"], (resumed, states)
    return states


def main() -> None:
    """Print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        states = run(options.kills, Path(work), options.seed)
    print(f"{options.kills} kills of a download of {len(BODY)} bytes; found on disk after them:")
    for state, times in states.most_common():
        print(f"{times:5}  {state}")
    print("no bad file under the final name, and each next run completed with the right bytes")


if __name__ == "__main__":
    main()
