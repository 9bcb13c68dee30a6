"""The situations on docs/faults.md, each caused as it comes about; what the page says to do is done, and helps."""

import ast
import gc
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import numnet as nn
from numnet import datasets

from .datasets.conftest import server  # noqa: F401
from .faults import PAGE, situations
from .tables import ROOT

DIGITS, TEST = nn.datasets.digits()
FIRST = "train-images-idx3-ubyte.gz"


def test_every_situation_has_a_test_and_says_what_to_do():
    code = ast.walk(ast.parse((ROOT / "tests" / "test_faults.py").read_text(encoding="utf-8")))
    calls = [node for node in code if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "situation"]
    assert [call.args[0].value for call in calls] == list(situations())
    text = PAGE.read_text(encoding="utf-8")
    assert text.count("\n**Left on disk:** ") == text.count("\n**What to do:** ") == len(situations())


def refused(kind, function, *arguments, **options):
    """Return the error that a call raises."""
    with pytest.raises(kind) as raised:
        function(*arguments, **options)
    return raised.value


def a_trainer(lr=0.5):
    net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0)
    return nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr), seed=0)


def on_a_small_disk(folder, size, code, *arguments):
    """Run code with a folder on a file system of its own; return what its error says, and the files that are left."""
    mount = f"mount -t tmpfs -o size={size} none {shlex.quote(str(folder))}"
    if sys.platform != "linux" or subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("mounting a small file system needs Linux and the right to")
    program = f"""
import os, sys, numnet as nn
folder = sys.argv[1]
try:{textwrap.indent(code, "    ")}
except Exception as error:
    print(f"{{type(error).__name__}}: {{error}}")
print(*sorted(os.listdir(folder)))
"""
    command = shlex.join([sys.executable, "-c", program, str(folder), *arguments])
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", f"{mount} && {command}"], capture_output=True, text=True, cwd=ROOT
    )
    assert done.stderr == ""
    error, _, left = done.stdout.removesuffix("\n").rpartition("\n")
    return error, left.split()


# Getting the data


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The user's cache folder, empty; no proxy comes between."""
    monkeypatch.delenv("NUMNET_DATA", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "cache"


@pytest.fixture
def mirror(server, monkeypatch):  # noqa: F811
    """A mirror of MNIST on this machine."""
    monkeypatch.setattr(datasets, "_MNIST", datasets._MNIST._replace(mirrors=(server.mirror("mnist"),)))
    return server


def test_no_network(cache, situation, monkeypatch):
    def no_such_name(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_name)
    situation("There is no network, or no mirror has the file", refused(datasets.DownloadError, datasets.mnist))
    assert not cache.exists()


def test_a_download_that_breaks_off(cache, mirror, situation):
    body = bytes(range(256)) * 99

    def half(request):
        request.send_response(200)
        request.send_header("Content-Length", str(2 * len(body)))
        request.end_headers()
        request.wfile.write(body)

    mirror.answers[f"/mnist/{FIRST}"] = half
    situation("The download breaks off", refused(datasets.DownloadError, datasets.mnist))
    (left,) = (path for path in cache.rglob("*") if path.is_file())
    assert left.name == f"{FIRST}.part"
    assert left.read_bytes() == body
    refused(datasets.DownloadError, datasets.mnist)
    assert mirror.ranges == [None, f"bytes={len(body)}-"]


NO_ROOM = """
nn.datasets._MNIST = nn.datasets._MNIST._replace(mirrors=(sys.argv[2],))
nn.datasets.mnist(folder, progress=False)
"""


def test_a_disk_that_is_full(mirror, situation, tmp_path):
    mirror.answers[f"/mnist/{FIRST}"] = bytes(200_000)
    error, left = on_a_small_disk(tmp_path, "64k", NO_ROOM, mirror.mirror("mnist"))
    situation("The disk is full while the data are downloaded", error)
    assert left == []


def test_a_folder_that_is_not_there(tmp_path, situation, monkeypatch):
    monkeypatch.setenv("NUMNET_DATA", str(tmp_path / "mnits"))
    situation("The folder for the data is not there", refused(datasets.DownloadError, datasets.mnist))
    assert list(tmp_path.iterdir()) == []


def test_own_files_under_mnists_names(tmp_path, situation):
    for part in "train", "t10k":
        datasets.write_idx(tmp_path / f"{part}-images-idx3-ubyte", DIGITS.images[:90])
        datasets.write_idx(tmp_path / f"{part}-labels-idx1-ubyte", DIGITS.labels[:90])
    error = refused(datasets.DownloadError, datasets.mnist, tmp_path)
    situation("Your own files have the names of MNIST's files", error)
    train, _ = eval(str(error).split("read the folder with ")[1].rstrip("."), {"nn": nn})
    np.testing.assert_array_equal(train.images, DIGITS.images[:90])


# Your own files


def test_a_damaged_idx_file(tmp_path, situation):
    path = tmp_path / "labels-idx1-ubyte"
    datasets.write_idx(path, DIGITS.labels.astype(np.uint8))
    path.write_bytes(path.read_bytes()[:1000])
    situation("An IDX file is damaged", refused(datasets.IdxError, datasets.read_idx, path))


def test_a_file_in_another_format(tmp_path, situation):
    path = tmp_path / "images-idx3-ubyte"
    with path.open("wb") as file:
        np.savez(file, images=DIGITS.images)
    error = refused(datasets.IdxError, datasets.read_idx, path)
    situation("A file is in another format", error)
    (call,) = re.findall(r"np\.load\(path\)(?= reads)", str(error))
    np.testing.assert_array_equal(eval(call, {"np": np, "path": path})["images"], DIGITS.images)


# Training


def test_a_masked_array(situation):
    first = np.arange(len(DIGITS)) < 30
    x = np.ma.masked_array(DIGITS.images / 255, mask=(DIGITS.images == 16) & first[:, None, None])
    error = refused(ValueError, a_trainer().fit, (x, DIGITS.labels), 1, 64)
    situation("The data are a masked array", error)
    kept = eval(str(error).rpartition(" the index ")[2], {"np": np, "inputs": x})
    a_trainer().fit((x[kept], DIGITS.labels[kept]), 1, 64)
    a_trainer().fit((x.filled(0), DIGITS.labels), 1, 64)


def test_ctrl_c(tmp_path, situation):
    def press(trainer):
        if len(trainer.history) == 2:
            signal.raise_signal(signal.SIGINT)

    trainer, whole = a_trainer(), a_trainer()
    error = refused(KeyboardInterrupt, trainer.fit, DIGITS, 3, 64, checkpoint=tmp_path / "run.npz", callbacks=[press])
    situation("You press Ctrl-C", error)
    trainer.fit(DIGITS)
    whole.fit(DIGITS, 3, 64)
    again = nn.Trainer.resume(tmp_path / "run.npz")
    again.fit(DIGITS)
    for one in trainer, again:
        assert one.net.parameters.tobytes() == whole.net.parameters.tobytes()


def test_a_training_that_diverges(situation):
    trainer = nn.Trainer(nn.Sequential(nn.Linear(64, 10), seed=0), nn.Quadratic(), nn.SGD(lr=1), seed=0)
    situation("The training diverges", refused(nn.DivergenceError, trainer.fit, DIGITS, 5, 64))
    trainer.optimizer.lr = 0.05
    assert trainer.fit(DIGITS, test=TEST).test_accuracy[-1] > 0.8


def test_two_trainings_at_once(situation):
    errors = []
    trainer, alone = a_trainer(), a_trainer()

    def again(trainer):
        errors.append(refused(RuntimeError, trainer.fit, DIGITS, 1, 64))

    trainer.fit(DIGITS, 2, 64, callbacks=[again])
    situation("A second training begins before the first one has ended", errors[0])
    alone.fit(DIGITS, 2, 64)
    assert trainer.net.parameters.tobytes() == alone.net.parameters.tobytes()


def test_data_that_change(situation, tmp_path):
    path = tmp_path / "images-idx3-ubyte"
    datasets.write_idx(path, DIGITS.images)

    def write(trainer):
        datasets.write_idx(tmp_path / "new", DIGITS.images[::-1])
        os.replace(tmp_path / "new", path)

    trainer = a_trainer()
    x = datasets.read_idx(path, mmap_mode="r")
    error = refused(ValueError, trainer.fit, (x, DIGITS.labels), 3, 64, callbacks=[write])
    situation("The data change while they are in use", error)
    assert len(trainer.history) == 1
    a_trainer().fit((datasets.read_idx(path, mmap_mode="r"), DIGITS.labels), 1, 64)


# Checkpoints and saved networks


def test_a_place_that_is_none(tmp_path, situation):
    path = tmp_path / "runs" / "run.npz"
    error = refused(OSError, a_trainer().fit, DIGITS, 1, 64, checkpoint=path)
    situation("A checkpoint cannot be where you want it", error)
    path.parent.mkdir()
    a_trainer().fit(DIGITS, 1, 64, checkpoint=path)


def test_another_file_in_the_place(tmp_path, situation):
    path = tmp_path / "labels.npy"
    np.save(path, DIGITS.labels)
    before = path.read_bytes()
    situation("Another file is in the place", refused(OSError, a_trainer().fit, DIGITS, 1, 64, checkpoint=path))
    assert path.read_bytes() == before
    mapped = np.load(path, mmap_mode="r")
    refused(OSError, a_trainer().fit, (DIGITS.images, mapped), 1, 64, checkpoint=path, overwrite=True)
    assert path.read_bytes() == before
    del mapped
    gc.collect()  # the error has it, too
    a_trainer().fit(DIGITS, 1, 64, checkpoint=path, overwrite=True)


NO_ROOM_LATER = """
def fill(trainer):
    if len(trainer.history) == 2:
        with open(folder + "/filler", "wb", buffering=0) as file:
            while file.write(bytes(1 << 12)) == 1 << 12:
                pass

train, _ = nn.datasets.digits()
trainer = nn.Trainer(nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0), nn.CrossEntropy(), nn.SGD(0.5), seed=0)
try:
    trainer.fit(train, 3, 64, checkpoint=folder + "/run.npz", callbacks=[fill], progress=False)
finally:
    assert len(nn.Trainer.resume(folder + "/run.npz").history) == 1
    os.unlink(folder + "/filler")
    trainer.fit(train, checkpoint=folder + "/run.npz")
    assert len(nn.Trainer.resume(folder + "/run.npz").history) == 3
"""


def test_a_disk_that_is_full_when_a_checkpoint_is_due(tmp_path, situation):
    error, left = on_a_small_disk(tmp_path, "64k", NO_ROOM_LATER)
    situation("The disk is full when a checkpoint is due", error)
    assert left == ["run.npz"]


KILLED = """
import os, signal, sys, numnet as nn
train, _ = nn.datasets.digits()
trainer = nn.Trainer(nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0), nn.CrossEntropy(), nn.SGD(0.5), seed=0)
kill = lambda trainer: len(trainer.history) == 2 and os.kill(os.getpid(), signal.SIGKILL)
trainer.fit(train, 3, 64, checkpoint=sys.argv[1], callbacks=[kill], progress=False)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_program_that_is_killed(tmp_path, situation):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path / "run.npz"], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == -signal.SIGKILL
    situation("The program is killed", done.stdout + done.stderr)
    assert os.listdir(tmp_path) == ["run.npz"]
    again, whole = nn.Trainer.resume(tmp_path / "run.npz"), a_trainer()
    again.fit(DIGITS)
    whole.fit(DIGITS, 3, 64)
    assert again.net.parameters.tobytes() == whole.net.parameters.tobytes()


def test_a_checkpoint_of_a_longer_run(tmp_path, situation):
    path = tmp_path / "run.npz"
    a_trainer().fit(DIGITS, 2, 64, checkpoint=path)
    error = refused(nn.CheckpointError, a_trainer().fit, DIGITS, 3, 64, checkpoint=path)
    situation("The checkpoint holds a longer run", error)
    assert len(nn.Trainer.resume(path).history) == 2
    a_trainer().fit(DIGITS, 1, 64, checkpoint=tmp_path / "other.npz")
    a_trainer().fit(DIGITS, 1, 64, checkpoint=path, overwrite=True)
    assert len(nn.Trainer.resume(path).history) == 1


def test_a_damaged_checkpoint(tmp_path, situation):
    path = tmp_path / "run.npz"
    a_trainer().fit(DIGITS, 1, 64, checkpoint=path)
    path.write_bytes(path.read_bytes()[:1000])
    situation("A checkpoint is damaged", refused(nn.CheckpointError, nn.Trainer.resume, path))


def with_a_swish():
    class Swish(nn.Layer):
        def forward(self, x, out=None):
            return np.divide(x, 1 + np.exp(-x), out=out)

    return nn.Sequential(nn.Linear(2, 2), Swish(), seed=0)


def test_a_file_with_a_layer_of_ones_own(tmp_path, situation):
    with_a_swish().save(tmp_path / "net.npz")
    gc.collect()
    situation("A file has a layer of your own", refused(nn.CheckpointError, nn.load, tmp_path / "net.npz"))
    net = with_a_swish()
    assert nn.load(tmp_path / "net.npz").parameters.tobytes() == net.parameters.tobytes()
