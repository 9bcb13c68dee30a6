"""
Learning rates: too small, right, too large
===========================================

A learning rate that is too small wastes epochs. A learning rate that is too large makes the network jump about. Here is
a network with a hidden layer, at four learning rates.
"""

import textwrap
import warnings

import matplotlib.pyplot as plt

import numnet as nn

warnings.simplefilter("ignore", nn.DataWarning)  # of the rates that are too large

train, test = nn.datasets.digits()


def run(lr):
    """Train a network with a hidden layer at a learning rate."""
    layers = nn.Linear(64, 32), nn.Sigmoid(), nn.Linear(32, 10), nn.Softmax()
    net = nn.Sequential(*layers, seed=0)
    trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr), seed=0)
    return trainer.fit(train, epochs=20, batch_size=64, test=test)


histories = {f"lr {lr:g}": run(lr) for lr in (0.01, 0.1, 1.0, 10.0)}
ax = nn.plotting.learning_curves(histories)
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)

# %%
# Between too small and too large, a range of learning rates works: here, from about 0.3 to 3. Try powers of ten first,
# and then numbers between the powers.
lrs = [0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0]
accuracies = [100 * run(lr).test_accuracy[-1] for lr in lrs]
figure, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
ax.semilogx(lrs, accuracies, "o-", color="#0072B2")
ax.set(xlabel="learning rate", ylabel="test accuracy after 20 epochs, %", ylim=(0, 100))
ax.set_xticks(lrs, [f"{lr:g}" for lr in lrs])
ax.minorticks_off()
ax.spines[["top", "right"]].set_visible(False)
ax.grid(axis="y", color="0.9")

# %%
# A softmax with cross-entropy has bounded gradients, (y - t) / n. So if the learning rate is too large, the accuracy
# only gets worse. A linear output with the quadratic cost has gradients without a bound: each step overshoots by more
# than the step before. numnet notices that the cost grows without end, and undoes the epoch.
net = nn.Sequential(nn.Linear(64, 10), seed=0)
trainer = nn.Trainer(net, nn.Quadratic(), nn.SGD(lr=1.0), seed=0)
try:
    trainer.fit(train, epochs=10, batch_size=64)
except nn.DivergenceError as error:
    print(textwrap.fill(str(error), 86))

plt.show()
