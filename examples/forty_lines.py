"""Softmax regression in 40 lines of NumPy: python forty_lines.py [folder of MNIST]."""

import gzip
import sys
from pathlib import Path

import numpy as np


def read(path: Path) -> np.ndarray:
    """Read an IDX file: 4 bytes (the last is the number of axes), shape, elements."""
    data = gzip.decompress(path.read_bytes())
    shape = np.frombuffer(data, ">u4", count=data[3], offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)


digits = Path(__file__).parents[1] / "numnet" / "datasets" / "data"
folder = Path(sys.argv[1]) if len(sys.argv) > 1 else digits
arrays = [read(path) for path in sorted(folder.glob("*.gz"))]
if len(arrays) == 2:  # the digits, of which every fifth is for the test
    test, train = np.arange(1797) % 5 == 0, np.arange(1797) % 5 > 0
    arrays = [a[part] for part in (test, train) for a in arrays]
test_images, test_labels, images, labels = arrays
x, test_x = (a.reshape(len(a), -1) / images.max() for a in (images, test_images))
t, rng = np.eye(10)[labels], np.random.default_rng(0)
limit = x.shape[1] ** -0.5
w, b = rng.uniform(-limit, limit, (x.shape[1], 10)), rng.uniform(-limit, limit, 10)
rng = np.random.default_rng(0)
for epoch in range(1, 11):
    cost = 0.0
    for batch in np.split(rng.permutation(len(x)), range(64, len(x), 64)):
        z = x[batch] @ w + b
        y = np.exp(z - z.max(axis=1, keepdims=True))
        y /= y.sum(axis=1, keepdims=True)
        cost -= np.sum(t[batch] * np.log(y)) / len(x)
        dz = (y - t[batch]) / len(batch)
        w -= 0.5 * x[batch].T @ dz
        b -= 0.5 * dz.sum(axis=0)
    right = (test_x @ w + b).argmax(axis=1) == test_labels
    print(f"epoch {epoch:2}  cost {cost:.4f}  test accuracy {right.mean():.4f}")
