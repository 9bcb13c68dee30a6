"""Kill a training with SIGKILL at random moments, resume it, and compare the final weights with an uninterrupted run's.

python -m tests.kill_training 200
"""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

EPOCHS, BATCH_SIZE = 30, 8


def train(path):
    """Train from the beginning, or from where the file stands, and print what the weights come to."""
    import numnet as nn

    train, test = nn.datasets.digits()
    if os.path.exists(path):
        trainer = nn.Trainer.resume(path)
        print("ready", flush=True)
        trainer.fit(train, test=test, checkpoint=path, checkpoint_every="20 batches")
    else:
        net = nn.Sequential(nn.Linear(64, 16), nn.Sigmoid(), nn.Linear(16, 10), nn.Softmax(), seed=0)
        trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.5, momentum=0.5), seed=0)
        print("ready", flush=True)
        trainer.fit(train, EPOCHS, BATCH_SIZE, test, checkpoint=path, checkpoint_every="20 batches")
    parts = trainer.net.parameters, trainer.optimizer.velocity, np.array(trainer.history.train_cost)
    print(hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest(), flush=True)


def start(path):
    """Start the training in a process of its own; return it when it begins."""
    folder = Path(__file__).parent.parent
    command = [sys.executable, "-m", "tests.kill_training", "--train", str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder)
    assert process.stdout.readline() == "ready\n"
    return process


def uninterrupted(path):
    """Return what the weights come to, and the seconds that it takes."""
    process, started = start(path), time.perf_counter()
    output, _ = process.communicate()
    return output.strip(), time.perf_counter() - started


def trial(path, seconds):
    """Kill a run after some seconds, and let it end; return whether it was killed, and what its weights came to."""
    process = start(path)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    digest, _ = uninterrupted(path)
    return process.returncode == -signal.SIGKILL, digest


def main(count):
    """Do so many trials and print how they ended."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        wanted, seconds = uninterrupted(Path(folder, "whole.npz"))
        print(f"uninterrupted: {seconds:.2f} s, {wanted[:16]}")
        rng, killed, same, files = np.random.default_rng(), 0, 0, 0
        trials = 0
        while killed < count:
            path = Path(folder, f"run{trials}.npz")
            was_killed, digest = trial(path, rng.uniform(0, seconds))
            trials += 1
            killed += was_killed
            same += was_killed and digest == wanted
            files += sum(name.endswith(".tmp") for name in os.listdir(folder))
            for file in Path(folder).iterdir():
                file.unlink()
        print(f"{killed} kills: {same} of {killed} final weights bit-identical; {files} temporary files left by them")
    return same != killed


if __name__ == "__main__":
    sys.exit(train(sys.argv[2]) if sys.argv[1] == "--train" else main(int(sys.argv[1])))
