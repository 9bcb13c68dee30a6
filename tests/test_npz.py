"""What is in numnet's files: parts of an npz file, of which each is as long as it says."""

import copy
import io
import json
import warnings
import zipfile

import numpy as np
import pytest

import numnet as nn
from numnet import npz

HEADER = np.array(json.dumps({"format": "numnet network", "version": 1}))
VALUES = np.arange(6.0)


def packed(compression=zipfile.ZIP_STORED, **parts):
    """Return an npz file of some parts, arrays or bytes, open for reading."""
    with zipfile.ZipFile(file := io.BytesIO(), "w", compression) as archive:
        for name, part in parts.items():
            data = io.BytesIO()
            np.save(data, part, allow_pickle=True) if isinstance(part, np.ndarray) else data.write(part)
            archive.writestr(f"{name}.npy", data.getvalue())
    return file


def written(path, file):
    path.write_bytes(file.getvalue())
    return path


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128", ">f4"])
@pytest.mark.parametrize("shape", [(6,), (2, 3), (1, 6, 1)])
def test_numbers_are_read_as_they_were_written(dtype, shape, tmp_path):
    values = VALUES.astype(dtype).reshape(shape)
    npz.write(tmp_path / "x", npz.NETWORK, False, {"of": "mine"}, parameters=values)
    header, arrays = npz.read(tmp_path / "x", ("numnet network",))
    assert header == {"format": "numnet network", "version": 1, "of": "mine"}
    assert arrays.keys() == {"parameters"}
    np.testing.assert_array_equal(arrays["parameters"], values)
    assert arrays["parameters"].dtype == dtype


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"more": VALUES}, "its parts are not best.npy, header.npy, parameters.npy, velocity.npy"),
        ({"parameters": VALUES, "more": VALUES}, "its parts are not best.npy"),
        ({"parameters": np.asfortranarray(VALUES.reshape(2, 3))}, "'parameters.npy' claims (2, 3) of float64 in 48"),
        ({"parameters": np.arange(6)}, "'parameters.npy' claims (6,) of int64 in 48 bytes"),
        ({"parameters": np.array([{}])}, "'parameters.npy' claims (1,) of object in"),
        ({"parameters": b"no array"}, "the magic string is not correct"),
        ({"parameters": VALUES, "compression": zipfile.ZIP_DEFLATED}, "its parts are packed"),
    ],
)
def test_other_parts_are_refused(parts, told, tmp_path):
    path = written(tmp_path / "x", packed(header=HEADER, **parts))
    with pytest.raises(nn.CheckpointError) as raised:
        npz.read(path, ("numnet network",))
    assert told in str(raised.value)


def test_the_header_alone_tells_the_kind_of_a_file(tmp_path):
    for path, kind, other in (
        (written(tmp_path / "x", packed(header=HEADER, parameters=b"damaged")), npz.NETWORK, npz.RUN),
        (written(tmp_path / "y", packed(parameters=VALUES)), None, npz.NETWORK),
        (written(tmp_path / "z", io.BytesIO(b"no archive")), None, npz.RUN),
    ):
        with open(path, "rb") as file:
            assert kind is None or kind.holds(file)
            assert not other.holds(file)


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_header_from_a_machine_of_another_byte_order_is_read(order, tmp_path):
    header = HEADER.astype(f"{order}U{HEADER.dtype.itemsize // 4}")
    path = written(tmp_path / "x", packed(header=header, parameters=VALUES.astype(f"{order}f8")))
    found, arrays = npz.read(path, ("numnet network",))
    assert found == {"format": "numnet network", "version": 1}
    np.testing.assert_array_equal(arrays["parameters"], VALUES)
    with open(path, "rb") as file:
        assert npz.NETWORK.holds(file)


def test_more_parts_than_there_are_names_are_refused(tmp_path):
    with zipfile.ZipFile(file := packed(header=HEADER, parameters=VALUES), "a") as archive:
        again = archive.read("parameters.npy")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a name that is there twice
            for _ in range(3):
                archive.writestr("parameters.npy", again)
    with pytest.raises(nn.CheckpointError, match="its parts are not best"):
        npz.read(written(tmp_path / "x", file), ("numnet network",))


def test_parts_that_share_their_bytes_are_refused_before_they_are_read(tmp_path):
    with zipfile.ZipFile(file := packed(header=HEADER, parameters=np.arange(1000.0)), "a") as archive:
        twin = copy.copy(archive.getinfo("parameters.npy"))
        twin.filename = "velocity.npy"
        archive.filelist.append(twin)
        archive._didModify = True
    with pytest.raises(nn.CheckpointError, match="are packed, or claim to be longer than the file"):
        npz.read(written(tmp_path / "x", file), ("numnet network",))


def test_packed_parts_are_refused_also_in_a_file_that_is_longer_than_they_are(tmp_path):
    with zipfile.ZipFile(file := packed(zipfile.ZIP_DEFLATED, header=HEADER, parameters=VALUES), "a") as archive:
        archive.comment = bytes(5000)
    with pytest.raises(nn.CheckpointError, match="its parts are packed, or claim"):
        npz.read(written(tmp_path / "x", file), ("numnet network",))


def test_what_is_too_large_for_the_memory_is_told_as_such(tmp_path):
    with pytest.raises(MemoryError), npz.blamed(tmp_path / "x"):
        raise MemoryError


def test_a_file_of_the_other_kind_is_refused(tmp_path):
    path = written(tmp_path / "x", packed(header=HEADER, parameters=VALUES))
    with pytest.raises(nn.CheckpointError, match="x holds a network, not a run: load it with"):
        npz.read(path, ("numnet run",))


class Shifted(nn.Layer):
    """A layer of one's own, with arguments that are called as those of Linear."""

    def __init__(self, start, bias):
        self.start, self.bias = start, bias


def test_a_class_of_ones_own_is_not_taken_for_numnets():
    assert npz.class_name(nn.Softmax) == "numnet.Softmax"
    assert npz.class_name(nn.CrossEntropy) == "numnet.CrossEntropy"
    assert npz.class_name(Shifted) == "Shifted"
    assert npz.constructor_arguments(Shifted(1, None)) == {"start": 1, "bias": None}
    assert npz.constructor_arguments(nn.Linear(2, 3)) == {"inputs": 2, "outputs": 3}
    assert npz.constructor_arguments(nn.Linear(2, 3, bias=False)) == {"inputs": 2, "outputs": 3, "bias": False}
