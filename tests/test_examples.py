"""The examples as processes, with what they print, write and return."""

import itertools
import os
import re
import runpy
import shutil
import signal
import struct
import subprocess
import sys
import time
import types
from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

import numnet as nn

REASON = "the examples are tried in terminals and under limits of Unix"
fcntl, pty, resource, termios = (
    pytest.importorskip(name, reason=REASON) for name in ("fcntl", "pty", "resource", "termios")
)

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
    names = "NUMNET_DATA", "NO_PROXY", "no_proxy", "PYTHONUNBUFFERED"
    away = {name: value for name, value in os.environ.items() if name not in names}
    other = {"MPLBACKEND": "Agg", "PYTHONWARNINGS": "error::UserWarning"}  # a numnet.DataWarning is such a one
    return {**away, **refused, "XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path), **other}


def run(tmp_path, *arguments, prefix=(), **options):
    command = [*prefix, sys.executable, *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "timeout": 100}
    return subprocess.run(command, cwd=EXAMPLES.parent, env=environment(tmp_path), **{**pipes, **options})


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
    assert f"\nThere is no folder {tmp_path / 'mnits'}.\n" in done.stderr


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
    shown = re.findall(r"([\d.]+)%(?: (█*[▏▎▍▌▋▊▉]?))?$", plain(written).partition("100%|\n")[2], re.MULTILINE)
    assert [length(bar) for _, bar in shown] == pytest.approx([24 * float(p) / 100 for p, _ in shown], abs=0.08)
    assert len(shown) == 10


def plain(written):
    """Return what was written to a terminal, without colours."""
    return re.sub(r"\x1b\[[\d;]*[mA]", "", written).replace("\r\n", "\n")


def length(bar):
    """Return how many characters long a bar is."""
    return bar.count("█") + " ▏▎▍▌▋▊▉".index(bar.lstrip("█") or " ") / 8


def lines_of_epochs(accuracies, capsys):
    """Return what is printed after epochs that end with these accuracies."""
    example, history = runpy.run_path(str(EXAMPLES / "mnist_softmax.py")), nn.History()
    for epoch, accuracy in enumerate(accuracies, 1):
        history.append(nn.Epoch(epoch, 0.5, 0.9, accuracy, 12.3456))
        example["print_epoch"](types.SimpleNamespace(history=history))
    return capsys.readouterr().out.splitlines()


ACCURACIES = [
    [0.9169, 0.9071],
    [0.96, 0.96, 0.9],
    [0.98, 0.7, 0.099, 0.9, 0.999],
    [0.993, 0.985],
    [0.0, 1.0],
    [1.0, 1.0],
]


@pytest.mark.parametrize("accuracies", ACCURACIES)
def test_bars_of_epochs_are_as_long_as_the_scale_above_says(accuracies, capsys):
    rest = iter(accuracies)
    for line in lines_of_epochs(accuracies, capsys):
        assert len(line) <= 80
        if line.endswith("|"):
            labels = re.fullmatch(r".*\|0%( *)([\d.]+)%\|( *([\d.]+)%\|)", line)
            start, half, end = labels.start(1) - 3, labels.start(3) - 1, labels.end(3) - 1
            assert end - half == half - start
            whole, full = end - start, float(labels[4])
            assert float(labels[2]) == full / 2
        elif "%" in line:
            percent, bar = re.search(r"([\d.]+)% ?(\S*)$", line).groups()
            assert float(percent) == pytest.approx(100 * (1 - next(rest)), abs=0.006)
            assert float(percent) <= full
            assert length(bar) == pytest.approx(whole * float(percent) / full, abs=0.08)
            assert not bar or line.index(bar) == start + 1
    assert list(rest) == []


def test_an_error_that_is_a_point_larger_has_a_longer_bar(capsys):
    bars = [line.rpartition(" ")[2] for line in lines_of_epochs([0.9169, 0.9071], capsys)[2:]]
    assert length(bars[1]) > length(bars[0]) + 2


def read(terminal):
    """Return what a terminal has got; nothing where the program at its other end has ended."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("extra", "colours"), [({}, True), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_on_a_terminal_there_are_a_bar_and_colours(tmp_path, extra, colours):
    written = on_terminal(tmp_path, **extra)
    assert ("\x1b[1mtest accuracy" in written) == colours
    assert ("\x1b[38;5;208m█" in written) == colours
    assert ("\x1b[" in re.sub(r"\x1b\[A", "", written)) == colours
    assert "100%|" in written
    shown = [line.split("\r")[-1] for line in plain(written).split("\n")]  # what stays of each line
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
        (["--lr", "nan"], 1, "error: SGD: lr must be a finite number above 0, or a function of the epoch, got nan"),
        (["--lr", "1e400"], 1, "error: SGD: lr must be a finite number above 0, or a function of the epoch, got inf"),
        (["--lr", "-1"], 1, "error: SGD: lr must be a finite number above 0"),
        (["--epochs", "0"], 2, "argument --epochs: must be a whole number from 1 to 1000000000, got '0'"),
        (["--epochs", "9" * 5000], 2, "argument --epochs: "),
        (["--batch-size", "-5"], 2, "argument --batch-size: must be a whole number from 1 to 1000000000, got '-5'"),
        (["--batch-size", "9" * 30], 2, "argument --batch-size: must be a whole number from 1 to 1000000000, got '9"),
        (["--plot", "run"], 2, "--plot needs a name that ends in .png, .pdf or .svg, got 'run'"),
        (["--seed", "-1"], 1, "error: seed must be a whole number of at least 0, or None, got -1"),
        (
            ["--lr", "1e39"],
            1,
            "error: the training cost became nan in epoch 1, in one of the batches 1 to 23: training has diverged",
        ),
        (["--hidden", "0"], 2, "argument --hidden: must be a whole number from 1 to 1000000000, got '0'"),
        (["--hidden", "a,b"], 2, "argument --hidden: must be a whole number from 1 to 1000000000, got 'a'"),
        (["--hidden", "8,"], 2, "argument --hidden: must be a whole number from 1 to 1000000000, got ''"),
        (["--hidden", "9" * 30], 2, "argument --hidden: must be a whole number from 1 to 1000000000, got '9"),
        (["--cost", "absolute"], 2, "invalid choice: 'absolute'"),
    ],
)
@pytest.mark.slow
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
    path = f"{tmp_path}/run.{ending}"
    for data in ([0, 1], [1, 0]):
        figure, axes = plt.subplots()
        axes.plot(data)
        example["save_figure"](figure, path, dpi=50)
        plt.close(figure)
        with open(path, "rb") as file:
            assert example["is_figure"](file)


@pytest.mark.parametrize("program", ["mnist_softmax", "quadratic_vs_cross_entropy"])
@pytest.mark.parametrize("device", ["cpu", "gpu", "auto"])
def test_every_device_can_be_named(program, device, monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))  # one program imports the other
    example = runpy.run_path(str(EXAMPLES / f"{program}.py"))
    monkeypatch.setattr(sys, "argv", [program, "--device", device])
    assert example["parse_arguments"]().device == device


def test_lbfgs(tmp_path):
    done = run(tmp_path, "examples/lbfgs.py", "--iterations", "20")
    assert (done.returncode, done.stderr) == (0, "")
    lines = re.findall(r"^(\w+) +cost (\S+)  training accuracy (\S+)  test accuracy (\S+)$", done.stdout, re.MULTILINE)
    (before, *then), (after, *now) = ([word, *map(float, numbers)] for word, *numbers in lines)
    assert (before, after) == ("before", "after")
    assert then[0] > 2 > 0.1 > now[0]
    assert then[1] < 0.2 < 0.97 < now[1]
    assert then[2] < 0.2 < 0.93 < now[2]
    assert "\nSciPy says: STOP: " in done.stdout
    assert re.search(r"^20 iterations, 2\d gradients of 1437 samples", done.stdout, re.MULTILINE)


def test_lbfgs_without_mnist(tmp_path):
    done = run(tmp_path, "examples/lbfgs.py", "--dataset", "mnist")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: train-images-idx3-ubyte.gz could not be downloaded")


# Places that cannot be written in. They are noticed before the training.


PLACES = {
    "": "a file without a name cannot be written: the path is ''. Name a file",
    "folder": "/folder cannot be written: it is a folder. Name a file in it",
    "new/": "/new/' cannot be written: it is the name of a folder. Name a file in it",
    "missing/net.npz": "/missing/net.npz cannot be written: there is no folder {}/missing. Make the folder first",
    "file/net.npz": "/file/net.npz cannot be written: {}/file is a file, and no folder. Name another file",
    "pipe": "/pipe cannot be written: it is a FIFO. Name a file",
    "/dev/full": "/dev/full cannot be written: it is a device. Name a file",
    "n" * 300: "[Errno 36] File name too long: '{}/" + "n" * 300 + "'",
    "read-only": "/read-only cannot be replaced: it is read-only. Name another file, or make it writable",
    "closed/net.npz": "[Errno 13] Permission denied: '{}/closed/net.npz'",
    "~/missing/net.npz": "/missing/net.npz cannot be written: there is no folder {}/missing. Make the folder first",
}


@pytest.fixture
def no_rights():
    """What to put before a command such that the rights of files hold for root as for everyone."""
    prefix = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []
    if prefix and (not shutil.which("setpriv") or subprocess.run([*prefix, "true"], capture_output=True).returncode):
        pytest.skip("root has every right, and cannot do without")
    return prefix


@pytest.mark.slow
def test_places_that_cannot_be_written_in(tmp_path, no_rights):
    (tmp_path / "folder").mkdir()
    (tmp_path / "closed").mkdir(mode=0o555)
    (tmp_path / "file").touch()
    (tmp_path / "read-only").touch(mode=0o444)
    os.mkfifo(tmp_path / "pipe")
    for (name, message), option in zip(PLACES.items(), itertools.cycle(["--save", "--export-html"])):
        given = name if name.startswith(("/", "~")) or not name else f"{tmp_path}/{name}"
        done = run(tmp_path, "examples/mnist_softmax.py", "--dataset", "digits", option, given, prefix=no_rights)
        assert done.returncode == 2, done
        assert done.stdout == ""
        assert done.stderr.endswith(f"{message.format(tmp_path)}\n"), done.stderr
        assert done.stderr.count("error: ") == 1
    assert sorted(os.listdir(tmp_path)) == ["closed", "file", "folder", "pipe", "read-only"]


@pytest.mark.slow
@pytest.mark.parametrize("program", ["mnist_softmax", "quadratic_vs_cross_entropy"])
@pytest.mark.parametrize("name", ["missing/run.png", "folder.png"])
def test_figures_that_cannot_be_written(program, name, tmp_path):
    for folder in "folder.png", "folder-d.png":  # the last of the figures that one program makes of this name
        (tmp_path / folder).mkdir()
    done = run(tmp_path, f"examples/{program}.py", "--dataset", "digits", "--plot", tmp_path / name)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.search(r"error: .*\.png cannot be written: [^:\n]+\n$", done.stderr)
    assert done.stderr.count("error: ") == 1


@pytest.mark.slow
@pytest.mark.parametrize("program", ["mnist_softmax", "quadratic_vs_cross_entropy"])
def test_a_device_is_one_that_networks_take(program, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    options = "--dataset", "digits", "--epochs", "1", "--device"
    done = run(tmp_path, f"examples/{program}.py", *options, "tpu")
    assert (done.returncode, done.stdout) == (2, "")
    assert "{cpu,gpu,auto}" in done.stderr
    done = run(tmp_path, f"examples/{program}.py", *options, "gpu")  # there is none, and numnet says what is missing
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_two_files_in_one_place(tmp_path):
    (tmp_path / "link").symlink_to("net.npz")
    done = run(
        tmp_path, "examples/mnist_softmax.py", "--save", tmp_path / "net.npz", "--export-html", tmp_path / "link"
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(f"error: several options name the file {tmp_path}/net.npz\n")


def test_a_name_that_the_output_cannot_show(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    options = [
        "--epochs",
        "1",
        "--save",
        tmp_path / "\u7f51.npz",
        "--export-html",
        os.fsencode(tmp_path) + b"/\xff.html",
    ]
    command = [sys.executable, "examples/mnist_softmax.py", "--dataset", "digits", *options]
    done = subprocess.run(command, cwd=EXAMPLES.parent, env=environment(tmp_path), capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"network saved to" in done.stdout
    assert len(os.listdir(tmp_path)) == 2


def test_a_disk_that_is_full_at_the_end(tmp_path):
    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))

    options = ["--dataset", "digits", "--epochs", "1", "--save", tmp_path / "net.npz"]
    done = run(tmp_path, "examples/mnist_softmax.py", *options, preexec_fn=small_files)
    assert done.returncode == 1
    assert re.search(r"^test accuracy 0\.\d+ after 1 epochs", done.stdout, re.MULTILINE)
    assert re.fullmatch(r"error: .*File too large.*\n", done.stderr)


def test_a_network_that_does_not_fit_into_the_memory(tmp_path):
    def small_memory():
        resource.setrlimit(resource.RLIMIT_AS, (1 << 33, 1 << 33))

    options = ["--dataset", "digits", "--hidden", "1000000000"]
    done = run(tmp_path, "examples/mnist_softmax.py", *options, preexec_fn=small_memory)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"error: Unable to allocate .* for an array with shape \(64, 1000000000\).*\n", done.stderr)


# Data


@pytest.mark.slow
@pytest.mark.parametrize("program", ["mnist_softmax", "quadratic_vs_cross_entropy", "literature/nielsen"])
def test_a_data_dir_that_is_a_file(program, tmp_path):
    (tmp_path / "file").touch()
    done = run(tmp_path, f"examples/{program}.py", "--data-dir", tmp_path / "file")
    assert done.returncode == 1
    message = f"{tmp_path}/file is no folder: give data_dir the folder that has the files, such as {tmp_path}"
    assert done.stderr == f"error: {message}\n"


@pytest.mark.slow
@pytest.mark.parametrize("program", ["mnist_softmax", "quadratic_vs_cross_entropy", "literature/nielsen"])
@pytest.mark.parametrize("below", ["", "/data"])
def test_a_data_dir_that_cannot_be_read(program, below, tmp_path, no_rights):
    (tmp_path / "closed").mkdir(mode=0)
    closed = f"{tmp_path}/closed{below}"
    done = run(tmp_path, f"examples/{program}.py", "--data-dir", closed, prefix=no_rights)
    assert done.returncode == 1
    assert done.stderr == f"error: [Errno 13] Permission denied: {closed!r}\n"


def test_an_empty_data_dir_is_none(tmp_path):
    done = run(tmp_path, "examples/mnist_softmax.py", "--data-dir", "", "--epochs", "1")
    assert done.returncode == 0
    assert done.stderr.startswith("notice: training on the 1,797 digits")


# Standard output and standard error


PROGRAMS = {
    "mnist_softmax": ["--dataset", "digits", "--epochs", "2"],
    "quadratic_vs_cross_entropy": ["--dataset", "digits", "--epochs", "1", "--seeds", "1"],
    "lbfgs": ["--iterations", "2"],
    "mnist_parallel": ["--dataset", "digits", "--epochs", "2"],
    "sklearn_tools": [],
    **{
        f"literature/{name}": ["--quick", "--seeds", "1"]
        for name in ("cs231n", "nielsen", "raschka", "rashid", "ufldl")
    },
}
NEEDED = {"mnist_parallel": "mpi4py", "sklearn_tools": "sklearn", "lbfgs": "scipy", "literature/ufldl": "scipy"}


def programs(*quick):
    """Run a test with every program, with these also if the slow tests are left out."""
    cases = []
    for name in PROGRAMS:
        package = NEEDED.get(name, "numnet")
        missing = f"{package} is not installed: pip install {package}{' mpich' if package == 'mpi4py' else ''}"
        there = find_spec(package) and (package != "mpi4py" or shutil.which("mpiexec"))
        marks = [pytest.mark.skipif(not there, reason=missing), *[pytest.mark.slow] * (name not in quick)]
        cases.append(pytest.param(name, marks=marks))
    return pytest.mark.parametrize("program", cases)


def test_every_program_is_among_these():
    files = [*EXAMPLES.glob("*.py"), *EXAMPLES.glob("literature/*.py")]
    with_main = [file for file in files if '__name__ == "__main__"' in file.read_text(encoding="utf-8")]
    assert {file.relative_to(EXAMPLES).with_suffix("").as_posix() for file in with_main} == set(PROGRAMS)


def redirected(tmp_path, how, program, *options):
    """Run a program with what a shell does to its streams; return its exit status and what it wrote."""
    command = [sys.executable, f"examples/{program}.py", *PROGRAMS[program], *map(str, options)]
    script = f'"$@" {how}'
    pipes = {"capture_output": True, "text": True, "timeout": 100}
    done = subprocess.run(["sh", "-c", script, "sh", *command], cwd=EXAMPLES.parent, env=environment(tmp_path), **pipes)
    return done.returncode, done.stdout, done.stderr


@programs("mnist_softmax")
def test_a_closed_output_changes_nothing_else(program, tmp_path):
    assert redirected(tmp_path, ">&-", program) == (0, "", "")
    if program == "sklearn_tools":
        pytest.skip("joblib starts no processes without a standard error")
    status, output, _ = redirected(tmp_path, "2>&-", program)
    assert status == 0
    assert output
    assert redirected(tmp_path, "<&- >&- 2>&-", program) == (0, "", "")


def test_with_a_closed_output_files_are_written(tmp_path):
    files = ["--save", tmp_path / "net.npz", "--plot", tmp_path / "run.png", "--export-html", tmp_path / "draw.html"]
    assert redirected(tmp_path, ">&-", "mnist_softmax", *files) == (0, "", "")
    assert {"draw.html", "net.npz", "run.png"} <= set(os.listdir(tmp_path))
    assert len(nn.load(tmp_path / "net.npz").layers) == 2


def closed_pipe():
    """Return the end for writing of a pipe that nobody reads."""
    ours, theirs = os.pipe()
    os.close(ours)
    return theirs


@programs("mnist_softmax", "lbfgs")
@pytest.mark.parametrize("unbuffered", [[], ["-u"]])
def test_an_output_that_nobody_reads_ends_the_program_quietly(program, unbuffered, tmp_path):
    pipe = closed_pipe()
    done = run(tmp_path, *unbuffered, f"examples/{program}.py", *PROGRAMS[program], stdout=pipe)
    os.close(pipe)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


@programs("mnist_softmax")
def test_the_first_line_alone(program, tmp_path):
    script = f'("$@"; echo $? >{tmp_path}/status) | head -1'
    command = ["sh", "-c", script, "sh", sys.executable, f"examples/{program}.py", *PROGRAMS[program]]
    if program == "mnist_softmax":
        command += ["--epochs", "1000000"]
    done = subprocess.run(command, cwd=EXAMPLES.parent, env=environment(tmp_path), capture_output=True, text=True)
    assert (done.stdout.count("\n"), done.stderr) == (1, "")
    status = int((tmp_path / "status").read_text())
    ends = [] if program == "mnist_softmax" else [0]  # all may be written before `head` has read
    assert status in [*ends, 128 + signal.SIGPIPE]


@programs("mnist_softmax", "literature/rashid")
def test_a_help_that_nobody_reads(program, tmp_path):
    if program == "sklearn_tools":
        pytest.skip("sklearn_tools has no options")
    pipe = closed_pipe()
    done = run(tmp_path, f"examples/{program}.py", "--help", stdout=pipe)
    os.close(pipe)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


@pytest.mark.parametrize("both", [False, True])
def test_with_an_output_that_nobody_reads_an_error_is_still_an_error(both, tmp_path):
    pipe = closed_pipe()
    streams = {"stdout": pipe, "stderr": pipe if both else subprocess.PIPE}
    done = run(tmp_path, "examples/mnist_softmax.py", "--dataset", "digits", "--lr", "nan", **streams)
    os.close(pipe)
    assert done.returncode == 1
    assert both or done.stderr.startswith("error: SGD: lr must be ")


def test_an_error_in_saving_is_not_lost_if_nobody_reads(tmp_path):
    code = """
import os, runpy, sys
sys.path.insert(0, "examples")
import mnist_softmax
def save(*_):
    os.close(reading)
    raise OSError("the disk is on fire")
reading, writing = os.pipe()
os.dup2(writing, 1)
mnist_softmax.save = save
sys.argv[1:] = ["--dataset", "digits", "--epochs", "1"]
sys.exit(mnist_softmax.run(mnist_softmax.main))
"""
    done = run(tmp_path, "-u", "-c", code)
    assert (done.returncode, done.stderr) == (1, "error: the disk is on fire\n")


def test_a_pipe_other_than_the_output_is_an_error(tmp_path):
    code = """
import sys
sys.path.insert(0, "examples")
import mnist_softmax
def program():
    print("begun")
    raise BrokenPipeError("to somewhere else")
sys.exit(mnist_softmax.run(program))
"""
    done = run(tmp_path, "-c", code)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (1, "begun", "error: to somewhere else\n")


@programs()
def test_an_output_on_a_full_disk_ends_the_program(program, tmp_path):
    assert redirected(tmp_path, ">/dev/full", program) == (1, "", "error: [Errno 28] No space left on device\n")


@programs("mnist_softmax")
def test_80_columns_are_enough(program, tmp_path):
    done = run(tmp_path, f"examples/{program}.py", *PROGRAMS[program])
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if len(line) > 80] == []


# Ctrl-C


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


# Runs a program, with a Ctrl-C so many seconds after `main` has begun. All modules are there by then.
INTERRUPTED = """
import runpy, signal, sys
import numnet, threadpoolctl, tqdm

def begin(frame, event, _):
    if frame.f_code.co_name == "main":
        sys.setprofile(None)
        signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
        signal.setitimer(signal.ITIMER_REAL, float(seconds))

seconds, *sys.argv = sys.argv[1:]
sys.path[0] = sys.argv[0].rpartition("/")[0]
sys.setprofile(begin)
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    signal.setitimer(signal.ITIMER_REAL, 0)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "options"),
    [
        ("mnist_softmax", ["--save", "net.npz"]),
        ("mnist_softmax", ["--epochs", "100000"]),
        ("quadratic_vs_cross_entropy", ["--epochs", "100000"]),
        ("literature/rashid", ["--seeds", "100000"]),
    ],
)
def test_interrupted_at_any_moment_there_is_no_traceback(program, options, tmp_path):
    options = [str(tmp_path / option) if option.endswith(".npz") else option for option in options]
    for seconds in np.random.default_rng().uniform(0.001, 0.3, 6):
        done = run(tmp_path, "-c", INTERRUPTED, seconds, f"examples/{program}.py", *PROGRAMS[program], *options)
        assert done.returncode in (130, 0 if "--save" in options else 130), (seconds, done)
        assert done.stderr in ("", "interrupted\n"), (seconds, done)
        assert done.returncode == 130 or not done.stderr
        if (tmp_path / "net.npz").exists():
            nn.load(tmp_path / "net.npz")


@pytest.mark.slow
@pytest.mark.parametrize(("epochs", "seeds"), [(1, 1), (3, 2)])
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
    assert sorted(path.name for path in tmp_path.glob("*.png")) == [f"costs-{letter}.png" for letter in "abcd"]
    for path in tmp_path.glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_sklearn_tools(tmp_path):
    pytest.importorskip("sklearn", minversion="1.4", reason="scikit-learn is not installed, or older than 1.4")
    done = run(tmp_path, "examples/sklearn_tools.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert "the same with two processes: True" in done.stdout
    for tool, least in (("Pipeline: test", 0.93), ("BaggingClassifier: test", 0.93)):
        assert float(re.search(rf"^{tool} accuracy ([\d.]+)", done.stdout, re.MULTILINE)[1]) > least
    assert float(re.search(r"^cross_val_score: .*mean ([\d.]+)$", done.stdout, re.MULTILINE)[1]) > 0.92
    after, before = map(float, re.search(r"log loss ([\d.]+) .* and ([\d.]+) without", done.stdout).groups())
    assert after < before
    pixels = np.array([line.split() for line in re.findall(r"^  +(\d.*)$", done.stdout, re.MULTILINE)], float)
    assert pixels.shape == (8, 8)
    assert pixels[:, [0, 7]].max() < 0.5 < pixels.max()  # the digits leave the outer columns nearly empty


@pytest.mark.slow
@pytest.mark.usefixtures("mnist")
def test_the_moving_picture_of_the_readme(tmp_path, monkeypatch):
    from PIL import Image

    monkeypatch.setattr(sys, "argv", ["animation.py", str(tmp_path / "new.gif")])
    monkeypatch.setenv("MPLBACKEND", "Agg")
    with plt.rc_context():  # the program sets a size of letters
        runpy.run_path("examples/animation.py")
    for gif in (tmp_path / "new.gif", "docs/reading.gif"):
        with Image.open(gif) as picture:
            assert picture.size == (720, 300)
            assert picture.n_frames > 40
