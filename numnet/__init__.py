"""numnet: neural networks on NumPy, every gradient derived by hand.

Examples
--------
>>> import numnet as nn
>>> train, test = nn.datasets.digits()
>>> net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0)
>>> trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr=0.5), seed=0)
>>> history = trainer.fit(train, epochs=10, batch_size=64, test=test)
>>> history.test_accuracy[-1] > 0.93
True
"""

import importlib
from typing import TYPE_CHECKING, Any

from . import backend, checks, datasets, starts
from .best import keep_best
from .checkpoint import load
from .checks import CheckpointError, DataWarning, DeviceError, DivergenceError
from .costs import Cost, CrossEntropy, Quadratic
from .export import export_html
from .export_c import export_c
from .export_onnx import export_onnx
from .gradcheck import Comparison, GradientError, GradientReport, gradcheck
from .history import Epoch, History
from .layers import Layer, Linear, ReLU, Sigmoid, Softmax, Tanh
from .network import Sequential
from .objective import cost_and_gradient
from .optimizers import SGD
from .parallel import RankError
from .pytorch import from_torch, to_torch
from .training import Trainer

if TYPE_CHECKING:
    from . import plotting
    from . import sklearn as sklearn

__version__ = "0.2.0"

__all__ = [
    "SGD",
    "CheckpointError",
    "Comparison",
    "Cost",
    "CrossEntropy",
    "DataWarning",
    "DeviceError",
    "DivergenceError",
    "Epoch",
    "GradientError",
    "GradientReport",
    "History",
    "Layer",
    "Linear",
    "Quadratic",
    "RankError",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "Trainer",
    "backend",
    "cost_and_gradient",
    "datasets",
    "export_c",
    "export_html",
    "export_onnx",
    "from_torch",
    "gradcheck",
    "keep_best",
    "load",
    "plotting",
    "starts",
    "to_torch",
]


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    # On first use: matplotlib takes longer to import than all the rest. `sklearn` is not in __all__, since scikit-learn
    # may be missing.
    if name in ("plotting", "sklearn"):
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{checks.called_here(name)}")
