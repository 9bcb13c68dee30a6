"""numnet.datasets.Dataset: images and their labels, and what people do with them."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numnet.datasets import Dataset


@given(count=st.integers(1, 20), shape=st.lists(st.integers(0, 4), max_size=3), dtype=st.sampled_from("bBhHiIqQ"))
def test_a_dataset_keeps_its_arrays(count: int, shape: list[int], dtype: str) -> None:
    images, labels = np.zeros((count, *shape), dtype=np.uint8), np.arange(count).astype(dtype)
    data = Dataset(images, labels, "some")
    assert data.images is images
    assert data.labels is labels
    assert len(data) == count
    assert repr(data) == f"Dataset('some', {count} images of {' x '.join(map(str, shape)) or 1}, {count} classes)"


def test_a_dataset_without_a_name() -> None:
    assert repr(Dataset(np.zeros((2, 3)), np.array([4, 4]))) == "Dataset(2 images of 3, 1 classes)"


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((3, 2, 2)), np.zeros(2, dtype=int), r"one label; got images \(3, 2, 2\) and labels \(2,\)"),
        (np.zeros(()), np.zeros(1, dtype=int), r"one label; got images \(\) and"),
        (np.zeros((3, 2)), np.zeros((3, 1), dtype=int), r"vector of integers.*shape \(3, 1\) and type int64"),
        (np.zeros((3, 2)), np.zeros(3), r"vector of integers.*type float64"),
        (np.zeros((3, 2)), np.zeros(3, dtype=bool), r"vector of integers.*type bool"),
        (np.zeros((3, 2)), np.array([0, -2, 1]), "from 0 up; got -2"),
        (np.zeros((0, 2)), np.zeros(0, dtype=int), "at least one image"),
        ([[1], [2]], np.zeros(2, dtype=int), "images must be an array, not list"),
        (np.zeros((2, 2)), [0, 1], "labels must be an array, not list"),
    ],
)
def test_what_is_not_a_dataset_is_refused(images: Any, labels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Dataset(images, labels)
