"""The usual first program in PyTorch, whole: MNIST through a DataLoader into a softmax network."""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dataloader import MnistImages

EPOCHS, BATCH_SIZE, LR = 10, 64, 0.5


def load(folder: Path, part: str) -> MnistImages:
    """Return the training or the test images."""
    with gzip.open(folder / f"{part}-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28).copy()
    with gzip.open(folder / f"{part}-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    return MnistImages(images, labels)


def train(net: torch.nn.Module, loader: Any, optimizer: torch.optim.Optimizer) -> float:
    """Train for an epoch and return its mean cost."""
    cost, total = torch.nn.CrossEntropyLoss(), 0.0
    for images, labels in loader:
        optimizer.zero_grad()
        loss = cost(net(images), labels)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(labels)
    return total / len(loader.dataset)


@torch.no_grad()
def test(net: torch.nn.Module, loader: Any) -> float:
    """Return the accuracy."""
    correct = sum((net(images).argmax(1) == labels).sum().item() for images, labels in loader)
    return correct / len(loader.dataset)


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data-dir", type=Path, required=True, metavar="DIR", help="folder with MNIST's four .gz files"
    )
    folder = parser.parse_args().data_dir
    torch.manual_seed(0)
    train_loader = torch.utils.data.DataLoader(load(folder, "train"), BATCH_SIZE, shuffle=True)
    test_loader = torch.utils.data.DataLoader(load(folder, "t10k"), BATCH_SIZE)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))  # the cost takes the softmax itself
    optimizer = torch.optim.SGD(net.parameters(), lr=LR)
    for epoch in range(1, EPOCHS + 1):
        cost = train(net, train_loader, optimizer)
        print(f"epoch {epoch}: cost {cost:.4f}, test accuracy {test(net, test_loader):.4f}", flush=True)


if __name__ == "__main__":
    main()
