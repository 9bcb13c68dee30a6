"""
Where a network is wrong, and how sure
======================================

Accuracy is only one number. Two pictures say more: which digit is taken for which other digit, and the mistakes of
which the network is most certain.
"""

import matplotlib.pyplot as plt
import numpy as np

import numnet as nn

# sphinx_gallery_thumbnail_number = 2

train, test = nn.datasets.digits()
net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0)
trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr=0.5), seed=0)
trainer.fit(train, epochs=10, batch_size=64)
nn.plotting.mistakes(net, test)

# %%
nn.plotting.confusion_matrix(net, test)

# %%
# Does a probability of 70 % mean that the network is right seven times in ten? Here are all test images, in groups by
# the probability of the predicted class. This network is right more often than its probabilities say.
certainty = net(test.images).max(axis=1)
right = net.predict(test.images) == test.labels
edges = np.array([0.2, 0.5, 0.7, 0.8, 0.9, 1.0])
group = np.digitize(certainty, edges[1:-1])
shares = [right[group == i].mean() for i in range(len(edges) - 1)]
means = [certainty[group == i].mean() for i in range(len(edges) - 1)]

figure, ax = plt.subplots(figsize=(5.5, 5), layout="constrained")
ax.plot([0, 1], [0, 1], ":", color="0.5", label="as often as it says")
ax.plot(means, shares, "o-", color="#0072B2", label="test images, with their number")
for i, (x, y) in enumerate(zip(means, shares, strict=True)):
    above = {"xytext": (0, 8), "textcoords": "offset points", "ha": "center"}
    ax.annotate(f"{np.sum(group == i)}", (x, y), fontsize=9, **above)
ax.set(xlabel="probability of the predicted class", ylabel="share that was right")
ax.set(xlim=(0, 1.05), ylim=(0, 1.08))
ax.spines[["top", "right"]].set_visible(False)
ax.legend(frameon=False, loc="lower right")

plt.show()
