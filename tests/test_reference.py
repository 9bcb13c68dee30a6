"""The whole job against curves that PyTorch 2.13.0 produced on MNIST: equal start, equal batches, equal accuracies."""

import numpy as np
import pytest

import numnet as nn

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")

# Test accuracy after each epoch, mean over the seeds 0, 1 and 2: PyTorch 2.13.0 on a CPU, float32, nn.Linear(784, 10)
# after torch.manual_seed(seed), each epoch in the order of torch.randperm, batch 64, SGD with lr 0.5.
CURVES = {
    "cross-entropy": [0.91177, 0.91963, 0.91983, 0.92027, 0.91103, 0.92047, 0.9228, 0.92037, 0.9227, 0.9229],
    "quadratic": [0.91177, 0.9198, 0.92193, 0.92317, 0.92403, 0.92567, 0.9269, 0.92703, 0.92817, 0.92763],
    "mean over classes": [0.88913, 0.9022, 0.9083, 0.91163, 0.91457, 0.9158, 0.9173, 0.91827, 0.91923, 0.92],
    "softmax twice": [0.90563, 0.9142, 0.91707, 0.9198, 0.92137, 0.92217, 0.92273, 0.92383, 0.9245, 0.92413],
}


class SoftmaxTwice(nn.Cost):
    """What a cost that expects logits makes of softmax outputs: E = -1/n sum t ln softmax(y)."""

    def value(self, y, t, out=None):
        return nn.CrossEntropy().value(nn.Softmax().forward(y), t)

    def gradient(self, y, t, out=None):
        return np.multiply(nn.Softmax().forward(y) - t, 1 / len(y), out=out)


VARIANTS = {  # the mean over 10 classes of (y - t)^2 is 1/5 of 1/2 sum (y - t)^2, and so is its learning rate
    "cross-entropy": (nn.CrossEntropy(), 0.5),
    "quadratic": (nn.Quadratic(), 0.5),
    "mean over classes": (nn.Quadratic(), 0.1),
    "softmax twice": (SoftmaxTwice(), 0.5),
}


class TorchOrder:
    """PyTorch's global generator as the trainer's: it has drawn the start and now draws the order of each epoch."""

    bit_generator = np.random.PCG64(0)  # for the state, which a run keeps in case of errors

    def permutation(self, n):
        return torch.randperm(n).numpy()


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_curve(variant, mnist, largest):
    train, test = mnist
    cost, lr = VARIANTS[variant]
    curves = []
    for seed in range(3):
        torch.manual_seed(seed)
        start = torch.nn.Linear(784, 10)
        net = nn.Sequential(nn.Linear(784, 10), nn.Softmax())
        net.layers[0].weight = start.weight.detach().numpy().T
        net.layers[0].bias = start.bias.detach().numpy()
        trainer = nn.Trainer(net, cost, nn.SGD(lr))
        trainer.rng = TorchOrder()
        curves.append(trainer.fit(train, epochs=10, batch_size=64, test=test).test_accuracy)
    deviation = np.abs(np.mean(curves, axis=0) - CURVES[variant])
    largest(f"test accuracy against PyTorch's on MNIST, {variant}, mean of 3 seeds", deviation.max())
    assert deviation[2:].max() <= 0.005
