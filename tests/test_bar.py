"""The bar of a training: what it shows, where it is seen, and how it ends. Its length is tested in test_resume.py."""

import io
import re
import sys
import types
import warnings

import numpy as np
import pytest

import numnet as nn
from numnet.bar import visible

X, T = np.random.default_rng(0).normal(size=(9, 3)), np.arange(9) % 2


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("t", "test", "shown"),
    [
        (T, True, "epoch=2, cost={e.train_cost:.4f}, test={e.test_accuracy:.4f}"),
        (T, False, "epoch=2, cost={e.train_cost:.4f}"),
        (X[:, :2] ** 2, True, "epoch=2, cost={e.train_cost:.4f}, test cost={e.test_cost:.4f}"),
    ],
    ids=["classes", "no test", "numbers"],
)
def test_a_bar_ends_full_with_the_numbers_of_the_last_epoch_on_a_line_of_its_own(t, test, shown, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    net = nn.Sequential(nn.Linear(3, 2), *([nn.Softmax()] if t is T else []), seed=0)
    trainer = nn.Trainer(net, nn.CrossEntropy() if t is T else nn.Quadratic(), nn.SGD(0.1), seed=0)
    history = trainer.fit((X, t), 2, 4, (X, t) if test else None)
    *_, last = sys.stderr.getvalue().split("\r")
    assert last.startswith("100%|")
    assert re.search(r"\| 6/6 \[\d\d:\d\d<00:00, epoch=2", last)  # and nothing else, since 80 columns are few
    assert last.endswith(f", {shown.format(e=history[-1])}]\n")
    assert history[0].train_cost != history[1].train_cost


def test_in_a_notebook_without_ipywidgets_the_bar_is_one_of_characters_and_nothing_is_warned_of(monkeypatch):
    import IPython
    import tqdm.notebook

    for name in ("tqdm.auto", "tqdm.autonotebook"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(IPython, "get_ipython", lambda: types.SimpleNamespace(config={"IPKernelApp": {}}))
    monkeypatch.setitem(sys.modules, "ipykernel.zmqshell", types.ModuleType("zmqshell"))  # for tqdm
    monkeypatch.setattr(tqdm.notebook, "IProgress", None)
    monkeypatch.setattr(sys, "stderr", Terminal())
    trainer = nn.Trainer(nn.Sequential(nn.Linear(3, 2), nn.Softmax()), nn.CrossEntropy(), nn.SGD(0.1))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        filters = list(warnings.filters)
        trainer.fit((X, T), 2, 4)
        assert warnings.filters == filters
    assert seen == []
    assert "100%|" in sys.stderr.getvalue()


@pytest.mark.parametrize("stream", [None, io.StringIO(), Terminal()])
def test_a_bar_is_seen_on_a_terminal(stream, monkeypatch):
    monkeypatch.setattr(sys, "stderr", stream)
    assert visible() == isinstance(stream, Terminal)


@pytest.mark.parametrize("kernel", [True, False])
def test_a_bar_is_seen_in_a_notebook(kernel, monkeypatch):
    import IPython
    from IPython.core.interactiveshell import InteractiveShell

    monkeypatch.delenv("VIRTUAL_ENV", raising=False)  # of which IPython warns if Python is of another
    shell = InteractiveShell()
    if kernel:
        shell.kernel = object()
    monkeypatch.setattr(IPython, "get_ipython", lambda: shell)
    assert visible() == kernel
