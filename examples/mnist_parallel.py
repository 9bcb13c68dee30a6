"""Train a network on MNIST with several processes. Each process runs this program.

mpiexec -n 2 python -m mpi4py examples/mnist_parallel.py
mpiexec -n 2 python -m mpi4py examples/mnist_parallel.py --hidden 512 --batch-size 1024 --checkpoint run.npz
"""

from __future__ import annotations

import argparse
import os
import sys

from mnist_softmax import run
from mpi4py import MPI

import numnet as nn

COMM = MPI.COMM_WORLD


def main() -> int:
    """Train, print what rank 0 knows, and return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--dataset", choices=["mnist", "digits"], default="mnist", help="digits need no download")
    parser.add_argument("--hidden", type=int, default=128, help="units of the hidden layer of a new network (128)")
    parser.add_argument("--epochs", type=int, default=10, help="times through the training images, in all (10)")
    parser.add_argument("--batch-size", type=int, default=64, help="samples in a step, of all ranks together (64)")
    parser.add_argument("--lr", type=float, default=0.5, help="learning rate of a new run (0.5)")
    parser.add_argument("--average-every", type=int, metavar="K", help="local SGD: average after K batches")
    parser.add_argument("--checkpoint", metavar="FILE", help="go on with the run in this file, and write the file")
    options = parser.parse_args()

    load = getattr(nn.datasets, options.dataset)
    if COMM.rank == 0:
        load()  # downloads MNIST, once for all
    COMM.Barrier()
    train, test = load()

    ranks = {"comm": COMM, "average_every": options.average_every}
    if COMM.bcast(options.checkpoint is not None and os.path.exists(options.checkpoint)):
        trainer = nn.Trainer.resume(options.checkpoint, **ranks)
    else:
        layers = (
            nn.Linear(train.images[0].size, options.hidden),
            nn.Sigmoid(),
            nn.Linear(options.hidden, 10),
            nn.Softmax(),
        )
        net = nn.Sequential(*layers, seed=0)
        trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(options.lr), seed=0, **ranks)
    done = len(trainer.history)
    if done and COMM.rank == 0:
        print(f"{options.checkpoint} has a run of {done} epochs, with {trainer.optimizer}")
    if done < options.epochs:
        trainer.fit(train, options.epochs - done, options.batch_size, test, checkpoint=options.checkpoint)
    if trainer.history and COMM.rank == 0:
        print(trainer.history)
        plural = "s" if COMM.size > 1 else ""
        print(f"{COMM.size} rank{plural}: test accuracy {trainer.history.test_accuracy[-1]:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
