"""Train a network on MNIST on several processes, each of which runs this program.

mpiexec -n 2 python -m mpi4py examples/mnist_parallel.py
mpiexec -n 2 python -m mpi4py examples/mnist_parallel.py --hidden 512 --batch-size 1024 --checkpoint run.npz
"""

from __future__ import annotations

import argparse
import os

from mpi4py import MPI

import numnet as nn

COMM = MPI.COMM_WORLD


def main() -> None:
    """Train, and print what rank 0 knows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--dataset", choices=["mnist", "digits"], default="mnist", help="digits need no download")
    parser.add_argument("--hidden", type=int, default=128, help="units of the hidden layer (128)")
    parser.add_argument("--epochs", type=int, default=5, help="times through the training images, in all (5)")
    parser.add_argument("--batch-size", type=int, default=64, help="samples in a step, of all ranks together (64)")
    parser.add_argument("--lr", type=float, default=0.2, help="learning rate (0.2)")
    parser.add_argument("--average-every", type=int, metavar="K", help="local SGD: average after K batches")
    parser.add_argument("--checkpoint", metavar="FILE", help="go on from this file if it is there, and write it")
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
        inputs = train.images[0].size
        net = nn.Sequential(
            nn.Linear(inputs, options.hidden), nn.Sigmoid(), nn.Linear(options.hidden, 10), nn.Softmax()
        )
        trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(options.lr), **ranks)
    left = options.epochs - len(trainer.history)
    if trainer.progress.done:
        trainer.fit(train, test=test, checkpoint=options.checkpoint)
    elif left > 0:
        trainer.fit(train, left, options.batch_size, test, checkpoint=options.checkpoint)
    if COMM.rank == 0 and trainer.history:
        print(trainer.history)
        print(f"{COMM.size} ranks: test accuracy {trainer.history.test_accuracy[-1]:.4f}")


if __name__ == "__main__":
    main()
