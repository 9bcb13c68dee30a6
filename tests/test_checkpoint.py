import json
import os
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings

import numnet as nn

from .devices import DEVICES, host
from .networks import cases


class Power(nn.Layer):
    """y = x^p."""

    def __init__(self, exponent):
        self.exponent = exponent

    def forward(self, x, out=None):
        return np.power(x, self.exponent, out=out)


class Forgetful(nn.Layer):
    def __init__(self, exponent):
        pass


@pytest.fixture
def saved(tmp_path):
    net = nn.Sequential(nn.Linear(3, 2), nn.Softmax(), seed=0)
    net.save(tmp_path / "net.npz")
    return net, tmp_path / "net.npz"


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=50)
@given(case=cases())
def test_what_is_saved_is_what_is_loaded(case, tmp_path_factory, device):
    path = tmp_path_factory.mktemp("nets") / "net.npz"
    case.net.to(device)
    for net in (case.net, case.net.astype("float32")):
        net.save(path)
        again = nn.load(path, device=device)
        assert repr(again) == repr(net)
        assert again.dtype == net.dtype
        np.testing.assert_array_equal(host(again.parameters), host(net.parameters))
        np.testing.assert_array_equal(again(case.x), net(case.x))


def test_the_name_is_kept_as_given_and_nothing_else_is_left(saved, tmp_path):
    saved[0].save(tmp_path / "weights")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.npz", "weights"]


def test_only_files_are_replaced(saved, tmp_path):
    net, path = saved
    (tmp_path / "link").symlink_to(path)
    os.mkfifo(tmp_path / "pipe")
    net.parameters = 0
    net.save(tmp_path / "link")
    assert not nn.load(path).parameters.any()
    assert (tmp_path / "link").is_symlink()
    for name in ("pipe", "."):
        with pytest.raises(OSError, match="cannot be written: it exists, and is a folder or a device"):
            net.save(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*missing"):
        net.save(tmp_path / "missing" / "net.npz")


def test_a_layer_of_ones_own_is_found_by_its_name(tmp_path):
    nn.Sequential(nn.Linear(2, 2), Power(3)).save(tmp_path / "net.npz")
    assert nn.load(tmp_path / "net.npz").layers[1].exponent == 3


def test_a_layer_of_ones_own_is_not_taken_for_numnets_of_the_same_name(saved):
    _net, path = saved

    class Softmax(nn.Layer):
        pass

    assert type(nn.load(path).layers[1]) is nn.Softmax
    nn.Sequential(nn.Linear(2, 2), Softmax()).save(path)
    assert type(nn.load(path).layers[1]) is Softmax


def test_two_layers_of_one_name_are_not_guessed_between(tmp_path):
    class Act(nn.Layer):
        pass

    first = Act
    nn.Sequential(first()).save(tmp_path / "net.npz")

    def elsewhere():
        class Act(nn.Layer):
            pass

        return Act

    second = elsewhere()
    with pytest.raises(nn.CheckpointError, match="several classes are named 'Act' here"):
        nn.load(tmp_path / "net.npz")
    assert first is not second


def test_a_flipped_byte_is_refused_or_changes_nothing(saved):
    net, path = saved
    whole = path.read_bytes()
    for i in range(len(whole)):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 0x21]) + whole[i + 1 :])
        try:
            again = nn.load(path)
        except nn.CheckpointError:
            continue
        np.testing.assert_array_equal(again.parameters, net.parameters)


def test_a_layer_whose_arguments_are_not_kept_cannot_be_saved(tmp_path):
    class Keywords(nn.Layer):
        def __init__(self, **kwargs):
            self.exponent = kwargs.get("exponent")

    for layer in (Forgetful(2), Power(np.ones(2)), Keywords(exponent=2)):
        with pytest.raises(nn.CheckpointError, match=r"cannot be saved: each argument of its __init__ must be kept"):
            nn.Sequential(layer).save(tmp_path / "net.npz")
    assert not list(tmp_path.iterdir())


def test_a_failed_write_keeps_the_previous_file(saved, monkeypatch):
    net, path = saved
    before = path.read_bytes()
    net.parameters = 0

    def fail(*_, **__):
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        net.save(path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["net.npz"]


def test_truncated_anywhere_it_is_refused(saved):
    _, path = saved
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(nn.CheckpointError, match="is nothing that numnet has saved, or is damaged"):
            nn.load(path)


def rewrite(path, change_header=lambda header: None, **arrays):
    with np.load(path) as file:
        content = dict(file)
    header = json.loads(str(content["header"]))
    change_header(header)
    np.savez(path, **{**content, "header": np.array(json.dumps(header)), **arrays})


@pytest.mark.parametrize(
    ("change", "arrays", "message"),
    [
        (lambda h: h.update(version=99), {}, "has format 'numnet network', version 99; this numnet reads"),
        (lambda h: h.update(format="other"), {}, "has format 'other'"),
        (lambda h: h.pop("layers"), {}, "is damaged"),
        (lambda h: h.update(layers=[["numnet.Linear", {"inputs": 3}]]), {}, "is damaged"),
        (
            lambda h: h.update(layers=[["Unknown", {}]]),
            {},
            "a layer 'Unknown' that is not defined here: define or import",
        ),
        (
            lambda h: h.update(layers=[["numnet.Linear", {"inputs": 3, "outputs": 3}]]),
            {},
            "holds 8 parameters, but its layers need 12",
        ),
        (lambda h: h.update(layers=[["numnet.Linear", {"inputs": 10**7, "outputs": 10**7}]]), {}, "is damaged"),
        (lambda h: h.update(dtype="float64"), {}, "holds 8 parameters of float32, but its layers need 8 of float64"),
        (lambda h: None, {"parameters": np.zeros((2, 4), np.float32)}, "holds 8 parameters"),
        (lambda h: None, {"parameters": np.array([{}], object)}, "is damaged"),
    ],
)
def test_altered_it_is_refused(saved, change, arrays, message):
    _, path = saved
    rewrite(path, change, **arrays)
    with pytest.raises(nn.CheckpointError, match=message):
        nn.load(path)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "text").write_text("hello")
    np.save(tmp_path / "array.npy", np.ones(3))
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as file:
        file.writestr("a", "b")
    for name in ("text", "array.npy", "other.zip"):
        with pytest.raises(nn.CheckpointError, match="is nothing that numnet has saved"):
            nn.load(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        nn.load(tmp_path / "missing.npz")
