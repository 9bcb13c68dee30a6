"""
From pixels to probabilities
============================

One picture shows all that a softmax network does with an image: from x to z = x w + b, and from z to y = softmax(z).
The middle shows x times the weights of each class, pixel by pixel. Yellow pixels speak for the class, and dark blue
pixels speak against the class. Pixels without ink are white, because these pixels add nothing. The number z above each
class is the sum over the pixels plus the bias. The softmax turns the ten numbers z into ten probabilities y.
"""

import matplotlib.pyplot as plt
import numpy as np

import numnet as nn

train, test = nn.datasets.digits()
net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0)
trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr=0.5), seed=0)
trainer.fit(train, epochs=10, batch_size=64)

image = test.images[10]  # the network is less sure of this image than of most images
linear = net.layers[0]
# x_k w_kj: the sum over k, plus b_j, is z_j
evidence = (image.ravel() / 255)[:, None] * linear.weight
z = evidence.sum(axis=0) + linear.bias
y = net(image[None])[0]

# %%
plt.rcParams.update({"font.size": 13, "axes.titlesize": 13})
figure = plt.figure(figsize=(9, 3.4), layout="constrained")
grid = figure.add_gridspec(2, 10, width_ratios=[1] * 7 + [0.3, 1.2, 1.2])

ax = figure.add_subplot(grid[:, :2])
ax.imshow(image, cmap="gray_r")
ax.set_title("x")
ax.axis("off")

limit = np.abs(evidence).max()
for j in range(10):
    ax = figure.add_subplot(grid[j // 5, 2 + j % 5])
    inked = np.ma.masked_array(evidence[:, j].reshape(8, 8), image == 0)
    ax.imshow(inked, cmap="cividis", vmin=-limit, vmax=limit)
    ax.set_title(f"{j}: {z[j]:.1f}")
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_color("0.8")

ax = figure.add_subplot(grid[:, 8:])
colors = ["#0072B2" if j == y.argmax() else "0.65" for j in range(10)]
bars = ax.barh(range(10), y, color=colors)
ax.bar_label(bars, [f"{100 * p:.0f} %" if p > 0.01 else "" for p in y], padding=3)
ax.set(yticks=range(10), xticks=[], xlim=(0, 1.1), ylim=(9.6, -0.6))
ax.spines[["top", "right", "bottom"]].set_visible(False)
ax.tick_params(length=0)
ax.set_title("y = softmax(z)")

plt.show()
