"""MNIST for PyTorch's DataLoader: torchvision's, or where it has no build, the same work for each image without it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image

try:
    from torchvision.transforms import ToTensor

    to_tensor = ToTensor()
    HAS_TORCHVISION = True
except ImportError:
    HAS_TORCHVISION = False

    def to_tensor(picture: Image.Image) -> Any:
        """Return what torchvision's ToTensor makes of a grey picture: float32, (1, height, width), 0 to 1."""
        pixels = torch.from_numpy(np.array(picture, np.uint8, copy=True))
        pixels = pixels.view(picture.size[1], picture.size[0], 1)
        return pixels.permute(2, 0, 1).contiguous().to(torch.float32).div(255)


class MnistImages(torch.utils.data.Dataset[Any]):
    """Images and labels, each image a PIL picture and then a tensor when it is asked for, as with torchvision."""

    def __init__(self, images: Any, labels: Any) -> None:
        self.images = torch.from_numpy(images)
        self.labels = torch.from_numpy(labels.astype(np.int64))

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def __getitem__(self, index: int) -> Any:
        """Return one image and its label."""
        picture = Image.fromarray(self.images[index].numpy())
        return to_tensor(picture), int(self.labels[index])
