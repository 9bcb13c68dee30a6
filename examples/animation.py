"""Draw how a network reads digits of MNIST while they appear: python examples/animation.py docs/reading.gif."""

import sys

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.animation import FuncAnimation, PillowWriter

import numnet as nn

path = sys.argv[1]
BLUE, ORANGE = "#8db3d9", "#e07b39"
train, test = nn.datasets.mnist()
net = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10), nn.Softmax(), seed=0)
nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr=0.1, momentum=0.9), seed=0).fit(train, epochs=5, batch_size=64)

columns = np.arange(28)
frames = []
for image in test.images[[4, 0, 7]]:  # a 4, a 7 and a 9
    frames += [np.where(columns <= last, image, 0) for last in columns] + [image] * 10
y = net(np.array(frames))

plt.rcParams["font.size"] = 13
figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3), dpi=100, layout="constrained")
picture = left.imshow(frames[-1], cmap="gray_r")
left.set(xticks=[], yticks=[])
bars = right.bar(range(10), y[0])
right.set(ylim=(0, 1), xticks=range(10), yticks=[0, 0.5, 1], title="probability of each digit")
right.spines[["top", "right"]].set_visible(False)


def draw(i: int) -> None:
    """Draw a frame."""
    picture.set_data(frames[i])
    for digit, bar in enumerate(bars):
        bar.set(height=y[i, digit], color=ORANGE if digit == y[i].argmax() else BLUE)


FuncAnimation(figure, draw, len(frames)).save(path, PillowWriter(fps=12))
