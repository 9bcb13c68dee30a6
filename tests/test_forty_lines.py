"""The network in 40 lines of NumPy: is it numnet's network, and does its page show what it is and what it prints?"""

import itertools
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

import numnet as nn

from .test_derivations import excerpts, selected

ROOT = Path(__file__).parents[1]
PROGRAM = ROOT / "examples" / "forty_lines.py"
PAGES = [ROOT / "docs" / "forty-lines.md", ROOT / "docs" / "zh" / "forty-lines.md"]


def run(monkeypatch, *folder):
    """Run the program; return its names, x and w and b among them."""
    monkeypatch.setattr(sys, "argv", [str(PROGRAM), *map(str, folder)])
    return runpy.run_path(str(PROGRAM))


def test_it_has_40_lines_and_needs_numpy_alone():
    lines = PROGRAM.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 40
    found = [line for line in lines if re.match("import|from", line)]
    assert found == ["import gzip", "import sys", "from pathlib import Path", "import numpy as np"]


@pytest.mark.parametrize("page", PAGES)
def test_the_page_shows_what_it_prints(page, monkeypatch, capsys):
    run(monkeypatch)
    (shown,) = re.findall(r"^```{code-block} text\n:class: output\n\n(.*?)^```$", page.read_text("utf-8"), re.S | re.M)
    assert capsys.readouterr().out == shown


def test_it_trains_the_network_that_numnet_trains(monkeypatch):
    names = run(monkeypatch)
    net = nn.Sequential(nn.Linear(64, 10), nn.Softmax(), seed=0, dtype="float64")
    trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr=0.5), seed=0)
    test = names["test_x"], names["test_labels"]
    history = trainer.fit((names["x"], names["labels"]), epochs=10, batch_size=64, test=test)
    np.testing.assert_allclose(net.layers[0].weight, names["w"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(net.layers[0].bias, names["b"], rtol=0, atol=1e-12)
    assert history[-1].train_cost == pytest.approx(names["cost"], abs=1e-12)
    assert history[-1].test_accuracy == names["right"].mean()


def test_its_digits_are_those_of_numnet(monkeypatch):
    names = run(monkeypatch)
    for data, (x, labels) in zip(nn.datasets.digits(), (("x", "labels"), ("test_x", "test_labels")), strict=True):
        np.testing.assert_array_equal(np.rint(names[x] * 255), data.images.reshape(len(data), -1))
        np.testing.assert_array_equal(names[labels], data.labels)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_on_mnist_the_lines_of_the_page_train_the_same_network(page, mnist, tmp_path, monkeypatch):
    for data, kind in zip(mnist, ("train", "t10k"), strict=True):
        nn.datasets.write_idx(tmp_path / f"{kind}-images-idx3-ubyte.gz", data.images)
        nn.datasets.write_idx(tmp_path / f"{kind}-labels-idx1-ubyte.gz", data.labels)
    names, ours = run(monkeypatch, tmp_path), {}
    monkeypatch.setattr(nn.datasets, "mnist", lambda: mnist)
    (lines,) = re.findall(r"^:class: mnist\n(.*?)^```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    exec(lines, ours)
    np.testing.assert_allclose(ours["net"].layers[0].weight, names["w"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(ours["net"].layers[0].bias, names["b"], rtol=0, atol=1e-12)
    assert f"{ours['trainer'].history[-1].test_accuracy:.4f}" in page.read_text("utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_each_line_is_on_the_page_beside_lines_of_numnet(page):
    (whole, options), *parts = excerpts(page)
    assert (whole.resolve(), set(options)) == (PROGRAM, {"language", "caption"})
    shown = [selected(file, options) for file, options in parts if file.resolve() == PROGRAM]
    program = PROGRAM.read_text(encoding="utf-8")
    start = program.index("def read")
    assert re.sub(r"\s+", " ", " ".join(shown)).strip() == re.sub(r"\s+", " ", program[start:]).strip()
    files = [file.resolve() == PROGRAM for file, _ in parts]
    assert files[0]
    assert not files[-1]
    assert (True, True) not in itertools.pairwise(files)
    for file, options in parts:
        assert selected(file, options)
