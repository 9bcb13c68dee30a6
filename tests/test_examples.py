"""The examples as processes, with what they print, write and return."""

import fcntl
import os
import pty
import re
import runpy
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

import numnet as nn

EXAMPLES = Path(__file__).parent.parent / "examples"

# y of one sigmoid neuron after 0, 50, 100, 150, 200 and 300 steps, worked out in float64 from the closed forms
# dE/dw = (y - t) y (1 - y) x and (y - t) x; M. Nielsen, Neural Networks and Deep Learning, ch. 3, has 0.82 -> 0.09 and
# 0.98 -> 0.20 for the first two.
NEURONS = """
0.8176  0.3870  0.2110  0.1527  0.1237  0.0940
0.9820  0.9759  0.9641  0.9334  0.7887  0.2028
0.8176  0.0792  0.0371  0.0241  0.0178  0.0116
0.9820  0.0985  0.0411  0.0257  0.0186  0.0120
0.8176  0.7516  0.6789  0.6053  0.5355  0.4177
0.9820  0.9710  0.9539  0.9282  0.8912  0.7796
"""


def environment(tmp_path):
    """Return an environment in which no MNIST is found and every connection is refused."""
    refused = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
    away = {name: value for name, value in os.environ.items() if name not in ("NUMNET_DATA", "NO_PROXY", "no_proxy")}
    other = {"MPLBACKEND": "Agg", "PYTHONWARNINGS": "error::UserWarning"}  # a numnet.DataWarning is such a one
    return {**away, **refused, "XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path), **other}


def run(tmp_path, *arguments):
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(
        command, cwd=EXAMPLES.parent, env=environment(tmp_path), capture_output=True, text=True, timeout=100
    )


def test_auto_falls_back_to_digits_with_one_notice(tmp_path):
    started = time.monotonic()
    done = run(tmp_path, "examples/mnist_softmax.py")
    assert time.monotonic() - started < 30  # ten seconds where nothing else runs
    assert done.returncode == 0
    assert done.stderr.count("notice: ") == 1
    assert "every mirror failed" in done.stderr
    assert "batches:      23 an epoch" in done.stdout
    assert re.search(r"^test accuracy 0\.9[3-9]\d\d after 10 epochs", done.stdout, re.MULTILINE)


def test_mnist_that_cannot_be_had_is_one_message(tmp_path):
    done = run(tmp_path, "examples/mnist_softmax.py", "--dataset", "mnist")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: train-images-idx3-ubyte.gz could not be downloaded; every mirror failed:")
    assert "Traceback" not in done.stderr


def test_a_folder_that_is_named_and_has_no_mnist_is_an_error(tmp_path):
    done = run(tmp_path, "examples/mnist_softmax.py", "--data-dir", tmp_path / "mnits")
    assert done.returncode == 1
    assert done.stderr.startswith("error: train-images-idx3-ubyte.gz could not be downloaded")


def test_in_a_file_there_are_no_control_characters_and_80_columns(tmp_path):
    done = run(tmp_path, "examples/mnist_softmax.py", "--dataset", "digits", "--epochs", "3")
    assert done.stderr == ""
    lines = done.stdout.split("\n")
    assert all(line.isprintable() and len(line) <= 80 for line in lines)
    assert sum("█" in line for line in lines) >= 4  # three epochs, and the digit


def test_it_says_the_same_where_there_are_no_blocks(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    done = run(tmp_path, "examples/mnist_softmax.py", "--dataset", "digits", "--epochs", "3")
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert "##" in done.stdout


def on_terminal(tmp_path, **extra):
    """Return what the example writes to a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    command = [sys.executable, "examples/mnist_softmax.py", "--dataset", "digits", "--epochs", "3"]
    variables = {**environment(tmp_path), "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8", **extra}
    for name in {"NO_COLOR", "COLUMNS"} - set(extra):
        variables.pop(name, None)
    with subprocess.Popen(command, cwd=EXAMPLES.parent, env=variables, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        written = b""
        while part := read(ours):
            written += part
        os.close(ours)
    assert process.returncode == 0, written
    return written.decode()


def test_what_is_shown_of_the_worst_mistake_and_of_what_is_wrong(tmp_path):
    written = on_terminal(tmp_path)
    label, predicted = map(int, re.search(r"The most confident mistake: a (\d), taken for a (\d)", written).groups())
    assert label != predicted
    rows = dict(re.findall(r"(\x1b\[38;5;\d+m)(\d)  +[\d.]+%", written))
    assert rows == {"\x1b[38;5;208m": str(predicted), "\x1b[38;5;39m": str(label)}
    shares = {int(k): float(p) for k, p in re.findall(r"(\d)  +([\d.]+)% ?", written.partition("mistake")[2])}
    assert sorted(shares) == list(range(10))
    assert max(shares, key=shares.get) == predicted
    assert sum(shares.values()) == pytest.approx(100, abs=0.51)
    epochs = re.findall(r"([\d.]+)% \x1b\[38;5;208m(█*)([▏▎▍▌▋▊▉]?)\x1b", written.partition("mistake")[0])
    wrong, lengths = zip(
        *((float(p), len(full) + " ▏▎▍▌▋▊▉".index(part or " ") / 8) for p, full, part in epochs), strict=True
    )
    assert lengths == pytest.approx([12 * min(p / wrong[0], 1) for p in wrong], abs=0.07)


def read(terminal):
    """Return what a terminal has got; nothing where the program at its other end has ended."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""


@pytest.mark.parametrize(
    ("extra", "colours"), [({}, True), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_on_a_terminal_there_are_a_bar_and_colours(tmp_path, extra, colours):
    written = on_terminal(tmp_path, **extra)
    assert ("\x1b[1mtest accuracy" in written) == colours
    assert ("\x1b[38;5;208m█" in written) == colours
    assert ("\x1b[" in re.sub(r"\x1b\[A", "", written)) == colours
    assert "100%|" in written
    plain = re.sub(r"\x1b\[[\d;]*[mA]", "", written)
    shown = [line.split("\r")[-1] for line in plain.replace("\r\n", "\n").split("\n")]  # what stays of each line
    assert max(map(len, shown)) <= 80
    assert [line.split()[0] for line in shown if re.match(r" {4}\d  ", line)] == ["1", "2", "3"]


def test_options_plot_save_and_export(tmp_path):
    options = [
        "--hidden",
        "16,8",
        "--epochs",
        "2",
        "--batch-size",
        "100",
        "--lr",
        "1",
        "--cost",
        "quadratic",
        "--seed",
        "3",
    ]
    files = ["--plot", tmp_path / "run.png", "--save", tmp_path / "net.npz", "--export-html", tmp_path / "draw.html"]
    done = run(tmp_path, "examples/mnist_softmax.py", "--dataset", "digits", *options, *files)
    assert done.returncode == 0, done.stderr
    assert "Linear(16, 8)" in done.stdout
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")
    accuracy = float(re.search(r"test accuracy (\S+) after 2 epochs", done.stdout)[1])
    _, test = nn.datasets.digits()
    net = nn.load(tmp_path / "net.npz")
    assert net.accuracy(test.images, test.labels) == pytest.approx(accuracy, abs=1e-4)
    nn.export_html(net, tmp_path / "again.html")
    assert (tmp_path / "draw.html").read_bytes() == (tmp_path / "again.html").read_bytes()


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--lr", "-1"], 1, "error: SGD: lr must be a finite number above 0"),
        (["--epochs", "0"], 2, "argument --epochs: must be a whole number of at least 1, got '0'"),
        (["--batch-size", "-5"], 2, "argument --batch-size: must be a whole number of at least 1, got '-5'"),
        (["--seed", "-1"], 1, "error: seed must be a whole number of at least 0, or None, got -1"),
        (["--plot", "run"], 2, "--plot needs a name that ends in .png, .pdf or .svg, got run"),
        (["--plot", "x.png", "--save", "x.png"], 2, "--plot and --save both name x.png"),
        (["--save", "x", "--export-html", "x"], 2, "--export-html and another option both name x"),
        (["--export-html", "missing/draw.html"], 2, "missing/draw.html cannot be written: there is no folder"),
        (["--save", "examples"], 2, "examples cannot be written: it is a folder. Name a file in it"),
        (
            ["--lr", "1e39"],
            1,
            "error: the training cost became nan in epoch 1, in one of the batches 1 to 23: training has diverged",
        ),
        (["--hidden", "0"], 1, "error: Linear: outputs must be a whole number"),
        (["--hidden", "a,b"], 2, "sizes must look like 128 or 128,64, got 'a,b'"),
        (["--cost", "absolute"], 2, "invalid choice: 'absolute'"),
        (["--plot", "missing/run.png"], 2, "missing/run.png cannot be written: there is no folder"),
    ],
)
def test_wrong_options(options, status, message, tmp_path):
    done = run(tmp_path, "examples/mnist_softmax.py", "--dataset", "digits", *options)
    assert done.returncode == status
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("option", "kind"),
    [("--plot", "figure of Matplotlib"), ("--save", "numnet network"), ("--export-html", "numnet page")],
)
def test_files_of_other_kinds_are_kept(option, kind, tmp_path):
    path = tmp_path / "notes.svg"
    path.write_text("written for weeks")
    done = run(tmp_path, "examples/mnist_softmax.py", "--dataset", "digits", option, path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(f"error: {path} is there already, and is no {kind}, or is damaged: name another file\n")
    assert path.read_text() == "written for weeks"


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_a_figure_is_known_again(ending, tmp_path):
    example = runpy.run_path(str(EXAMPLES / "mnist_softmax.py"))
    path = tmp_path / f"run.{ending}"
    for data in ([0, 1], [1, 0]):
        figure, axes = plt.subplots()
        axes.plot(data)
        example["save_figure"](figure, path, dpi=50)
        plt.close(figure)
        with open(path, "rb") as file:
            assert example["is_figure"](file)


def test_interrupted_it_reports_saves_and_returns_130(tmp_path):
    options = ["--dataset", "digits", "--epochs", "100000", "--save", str(tmp_path / "net.npz")]
    command = [sys.executable, "-u", "examples/mnist_softmax.py", *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=EXAMPLES.parent, env=environment(tmp_path), **pipes) as process:
        try:
            while not process.stdout.readline().startswith("    3 "):
                assert process.poll() is None
            process.send_signal(signal.SIGINT)
            rest, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert errors == ""
    epochs = int(re.search(r"^test accuracy 0\.\d+ after (\d+) epochs", rest, re.MULTILINE)[1])
    assert epochs >= 3
    assert np.isfinite(nn.load(tmp_path / "net.npz").parameters).all()


@pytest.mark.parametrize(("epochs", "seeds"), [(1, 1), pytest.param(3, 2, marks=pytest.mark.slow)])
def test_quadratic_vs_cross_entropy(epochs, seeds, tmp_path, largest):
    options = ["--dataset", "digits", "--epochs", epochs, "--seeds", seeds, "--plot", tmp_path / "costs.png"]
    done = run(tmp_path, "examples/quadratic_vs_cross_entropy.py", *options)
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^(?:quadratic|cross-entropy) .*?, +[\d.]+ +((?:0\.\d{4} *){6})$", done.stdout, re.MULTILINE)
    outputs = np.array([row.split() for row in rows], float)
    expected = np.array([row.split() for row in NEURONS.split("\n")[1:-1]], float)
    largest("one sigmoid neuron against its table", np.abs(outputs - expected).max())
    np.testing.assert_allclose(outputs, expected, atol=1.01e-4)
    assert done.stdout.count("Found, ") == 6
    assert (tmp_path / "costs.png").read_bytes().startswith(b"\x89PNG")
