"""The notebooks in examples/: each runs in a clean kernel, and is committed with what it shows on MNIST.

They have no other source. After a change, with NUMNET_DATA set, run them and write what comes out into them:
``NUMNET_WRITE_NOTEBOOKS=1 pytest --slow tests/test_notebooks.py``. Their exercises have answers in Markdown, folded by
<details>. The code in an answer is run after the last cell, and what the code prints is written below the code.
"""

import functools
import os
import re
import shlex
from pathlib import Path

import nbformat
import numpy as np
import pytest

import numnet as nn

from .test_docs import SITE
from .test_examples import EXAMPLES, NEURONS, environment

NOTEBOOKS = sorted(path.name for path in EXAMPLES.glob("*.ipynb"))
ANSWER = re.compile(r"^<details>\n<summary>Answer</summary>\n\n(.*?)\n\n</details>$", re.DOTALL | re.MULTILINE)
SHOWN = re.compile(r"^```python\n(.*?)\n```\n\n```text\n(.*?)```$", re.DOTALL | re.MULTILINE)
WIDTH = 86  # of what fits on a page of the site
RUNS = [pytest.param(data, marks=pytest.mark.slow) for data in ("digits", "mnist")]


def read(name):
    return nbformat.read(EXAMPLES / name, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook):
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def answers(notebook):
    """Return what the code in the answers prints, in order."""
    return [shown for cell in notebook.cells for _, shown in SHOWN.findall(cell.source)]


def printed(notebook):
    streams = [output for output in outputs(notebook) if output.output_type == "stream"]
    return "".join(output.text for output in streams if output.name == "stdout")


def numbers(pattern, notebook):
    """Return the numbers in what a notebook printed, one row for each match, one column for each group."""
    found = [match.groups() for match in re.finditer(pattern, printed(notebook), re.MULTILINE)]
    assert found, pattern
    return np.array(found, float)


def execute(name, home, **variables):
    """Run a notebook from top to bottom in a new kernel and return it; an error in a cell is raised."""
    variables = {**environment(home), **variables, "PYTHONPATH": str(Path(nn.__file__).parent.parent)}
    del variables["MPLBACKEND"]  # the kernel's own is what shows figures
    # A second thread only waits where the cores are busy; debugpy would warn that modules are frozen.
    variables |= {"OPENBLAS_NUM_THREADS": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1", "IPYTHONDIR": str(home)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PLATFORM_DIRS", "1")  # without it jupyter_core warns that a default will change
        patch.setenv("JUPYTER_RUNTIME_DIR", str(home))
        from nbclient import NotebookClient

        notebook = read(name)
        last = len(notebook.cells)
        texts = [cell.source for cell in notebook.cells]
        notebook.cells += [nbformat.v4.new_code_cell(code) for text in texts for code, _ in SHOWN.findall(text)]
        resources = {"metadata": {"path": str(home)}}
        options = {"timeout": 300, "record_timing": False, "coalesce_streams": True}
        NotebookClient(notebook, kernel_name="python3", resources=resources, **options).execute(env=variables)
    notebook.metadata.language_info = {"name": "python"}  # and not the version that happened to run it
    ran = iter(notebook.cells[last:])
    del notebook.cells[last:]
    for cell in notebook.cells:
        cell.source = SHOWN.sub(lambda match: answered(match[1], next(ran)), cell.source)
    return notebook


def answered(code, cell):
    """Return a block of code and a block of what the code printed."""
    (output,) = cell.outputs
    assert (output.output_type, output.name) == ("stream", "stdout"), output
    return f"```python\n{code}\n```\n\n```text\n{output.text}```"


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A function that runs a notebook on one of the data sets, once."""

    @functools.cache
    def result(name, data):
        home = tmp_path_factory.mktemp("home")
        if data == "digits":
            return execute(name, home)
        executed = execute(name, home, NUMNET_DATA=os.environ["NUMNET_DATA"])
        if os.environ.get("NUMNET_WRITE_NOTEBOOKS"):
            nbformat.write(executed, EXAMPLES / name)
        return executed

    return result


@pytest.fixture(params=[*RUNS, "committed"])
def data(request):
    """Where a notebook's outputs are from: a run on one of the data sets, or the file, which was run on MNIST."""
    if request.param == "mnist":
        request.getfixturevalue("mnist")
    return request.param


@pytest.fixture
def notebook(data, run):
    """A function from a notebook's name to the notebook."""
    return read if data == "committed" else lambda name: run(name, data)


def test_first_network(notebook, data):
    book = notebook("01-first-network.ipynb")
    assert len(code_cells(book)) == 11
    assert "\n [ 0  0 13 15 10 15  5  0]\n" in printed(book)
    assert "read_idx gives the same: True" in printed(book)
    assert ("00000803 0000ea60 0000001c 0000001c" in printed(book)) == (data != "digits")
    assert numbers(r"^after training: (\S+) %", book) > (91 if data != "digits" else 90)
    assert "the same outputs: True" in printed(book)
    shapes, zero, corner, mistake = answers(book)
    pixels = 784 if data != "digits" else 64
    assert re.findall(r"\((.*)\)", shapes) == [
        f"64, {pixels}",
        f"{pixels}, 10",
        "10,",
        *2 * ["64, 10"],
        f"{pixels}, 10",
    ]
    assert "before: cost 2.303\n" in zero
    assert float(re.search(r"(\S+) % right", zero)[1]) > (89 if data != "digits" else 75)
    assert corner.split("\n")[:2] == [
        "the most ink in the corner: 0",
        "its weights are still those of the start: True",
    ]
    wrong, right, ours = map(float, re.findall(r": +(\S+)$", mistake, re.MULTILINE))
    assert wrong < right == pytest.approx(ours, abs=1.01e-4)


def test_why_cross_entropy(notebook, data):
    book = notebook("02-why-cross-entropy.ipynb")
    expected = np.array([row.split() for row in NEURONS.split("\n")[1:-1]], float)
    found = numbers(r"^(?:quadratic|cross-entropy) +0\.\d+" + 6 * r" +(0\.\d{4})" + "$", book)
    np.testing.assert_allclose(found, np.concatenate([expected[:2], expected]), atol=1.01e-4)
    table = numbers(r"^(0\.\d{4})" + 4 * r" +(\d\.\d{6})" + "$", book)
    np.testing.assert_allclose(table[:, [1, 3]], table[:, [2, 4]], atol=1.01e-6)
    ahead = dict(re.findall(r"^(\w+ start, epoch \d+): (\S+) ahead by", printed(book), re.MULTILINE))
    assert ahead["saturated start, epoch 1"] == "cross-entropy"
    if data != "digits":  # as docs/quadratic-vs-cross-entropy.md has it
        assert ahead["usual start, epoch 5"] == "quadratic"
    assert "ValueError: the network takes probabilities twice, by Softmax() and then Softmax()" in printed(book)
    assert "gradcheck: relative error below 1e-9: True" in printed(book)
    lowest = numbers(r"^lowest cost there can be: (\S+)", book)
    assert lowest == pytest.approx(1.461)
    assert numbers(r"^training cost in the last epoch: (\S+)", book) > lowest
    assert numbers(r"from y = 0.50 to y = (0\.\d+), where t = 1", book).ravel().tolist() == [0.99, 0.01]
    step, steepest, tanh, classes = answers(book)
    assert step == "cross-entropy w = 1.8527\nquadratic     w = 1.9974\n"
    steepest_at = re.findall(r"is (\S+), at y = (\S+)", steepest)
    assert steepest_at == [(f"{4 / 27:.4f}", "0.667"), (f"{4 / 27:.4f}", "0.333")]
    assert "gradcheck: relative error below 1e-9: True" in tanh
    assert re.search(r"dE/dw = (\S+), y - t = \1\n", tanh)
    assert re.findall(r": (\S+),", classes) == ["0.313", "1.461", "5.909"]


@pytest.mark.slow
@pytest.mark.parametrize("data", ["digits", RUNS[1], "committed"], indirect=True)  # the shortest run of them
def test_write_your_own_layer(notebook, data):
    book = notebook("03-write-your-own-layer.ipynb")
    central, complex_step = (
        numbers(rf"^{name}: relative error (\S+) at .*\n +analytic (\S+), numerical (\S+)$", book)
        for name in ("central differences", "complex step")
    )
    right, wrong_sign, trained, mean = central
    assert max(right[0], trained[0]) < 1e-9
    assert max(complex_step[[0, 2], 0]) < 1e-13
    assert min(wrong_sign[0], mean[0]) > 0.01
    assert mean[2] / mean[1] == pytest.approx(5)
    assert "GradientError: gradcheck: relative error 2.3e-01 at layer 0, Linear(3, 4)," in printed(book)
    assert re.search(r"relative error \S+ at layer 1, TrainedSwishMean\(4\), beta\[\d\]", printed(book))
    assert numbers(r"^Swish.* test accuracy (\S+) %", book).min() > (96 if data != "digits" else 94)
    leaky, lost, forgotten, shared = answers(book)
    assert float(re.search(r"relative error (\S+)", leaky)[1]) < 1e-9
    assert "TrainedSwishLost(4), replaces gradients['beta'], which the network" in " ".join(lost.split())
    none, some = (float(error) for error in re.findall(r"relative error (\S+)", forgotten))
    assert none < 1e-9 < 1e-3 < some
    assert shared == "relative error below 1e-9: True\n"


def test_hidden_layers(notebook, data):
    book = notebook("04-hidden-layers.ipynb")
    none, linear, hidden = numbers(r" (\d\d\.\d\d) % of the test images$", book).ravel()
    if data != "digits":
        assert max(none, linear) < 93
        assert hidden > 97.8  # 98.01 to 98.17 with five seeds
    else:
        assert min(none, linear, hidden) > 94
    plain, some, much = numbers(r"^([\d.]+) +([\d.]+) +([\d.]+) % +([\d.]+) +([\d.]+) +([\d.]+) %$", book)
    assert (plain[0], plain[2]) == (0, 100)
    assert numbers(r"^At the end it is (\S+) % above that", book) > 2
    assert some[4] < plain[4] < much[4]
    slow, momentum, fast = numbers(r" training cost (\S+)$", book).ravel()
    assert momentum == pytest.approx(fast, rel=0.2)
    assert fast < 0.5 * slow
    shapes, zero, steps, decay = answers(book)
    pixels = 784 if data != "digits" else 64
    of_two, of_one = (f"{64 * (pixels + 1) + 64 * 65 + 650:,}", f"{128 * (pixels + 1) + 1290:,}")
    assert shapes.endswith(f"(64, 10) (10,)\n{of_two} parameters, with 128 units {of_one}\n")
    assert zero.startswith("layer 0: weights all 0: True\nlayer 2: weights all 0: True\ndifferent answers: 1\n")
    assert re.findall(r": (\d+) steps", steps) == ["4", "22", "230"]
    assert decay == f"{0.9994**1000:.3f}\n"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_as_committed(name):
    book = read(name)
    nbformat.validate(book)
    assert [cell.execution_count for cell in code_cells(book)] == [*range(1, len(code_cells(book)) + 1)]
    assert all(cell.outputs for cell in code_cells(book)[2:])  # the first ones may do nothing but import
    kinds = [output.output_type for output in outputs(book)]
    assert "error" not in kinds
    assert all(output.name == "stdout" for output in outputs(book) if output.output_type == "stream")  # no warnings
    assert book.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    assert not any(cell.metadata for cell in book.cells)
    assert (EXAMPLES / name).stat().st_size < 600_000
    for output in outputs(book):
        output.get("data", {}).pop("image/png", None)
    shown = [text for cell in book.cells for pair in SHOWN.findall(cell.source) for text in pair]
    texts = [printed(book), *shown, *(cell.source for cell in code_cells(book))]
    assert [line for text in texts for line in text.split("\n") if len(line) > WIDTH] == []
    paths = r"/(home|root|tmp|usr|var|work|Users)/|[A-Z]:\\\\|ipython-input|ipykernel_"
    assert not re.search(paths, nbformat.writes(book))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_each_exercise_has_an_answer_that_is_folded_and_run(name):
    book = read(name)
    titles = [cell.source.split("\n")[0] for cell in book.cells if cell.source.startswith("### Exercise")]
    assert [title.split(": ")[0] for title in titles] == [f"### Exercise {n}" for n in range(1, len(titles) + 1)]
    assert 2 <= len(titles) <= 4
    for cell in book.cells:
        found = ANSWER.findall(cell.source)
        assert len(found) == cell.source.count("<details>") == cell.source.count("### Exercise")
        for answer in found:
            assert len(SHOWN.findall(answer)) == answer.count("```python") == 1
            assert all(shown for _, shown in SHOWN.findall(answer))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_first_cell_installs_numnet_from_the_repository(name):
    first = code_cells(read(name))[0].source
    assert first == code_cells(read(NOTEBOOKS[0]))[0].source
    (command,) = re.findall(r"^    %pip install (.*)$", first, re.MULTILINE)
    (folder,) = re.findall(r'^NUMNET = "(.*)"$', first, re.MULTILINE)
    assert shlex.split(command) == ["--quiet", "{NUMNET}"]
    assert "name = numnet" in (EXAMPLES / folder / "setup.cfg").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_links_lead_to_files(name):
    text = "\n".join(cell.source for cell in read(name).cells if cell.cell_type == "markdown")
    targets = [target for target in re.findall(r"\]\(([^)]+)\)", text) if "://" not in target]
    assert targets
    assert [target for target in targets if not (EXAMPLES / target).is_file()] == []


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_page_of_the_site_has_the_file_to_download_and_folds_the_answers(name):
    page = (SITE / "notebooks" / name).with_suffix(".html")
    if not page.exists():
        pytest.skip("the site has not been built: sphinx-build -W docs build/html")
    text = page.read_text(encoding="utf-8")
    (link,) = re.findall(r'href="(\.\./_downloads/[^"]+\.ipynb)"', text)
    assert nbformat.read(page.parent / link, as_version=4).cells[0] == read(name).cells[0]
    assert text.count("<summary>Answer</summary>") == len(answers(read(name)))
    assert set(re.findall(r'href="([^"/]+\.ipynb)"', text)) == set()  # links among them are links to pages


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_committed_text_is_that_of_a_run(name, run, mnist):
    assert outline(run(name, "mnist")) == outline(read(name))


def outline(notebook):
    """Return what the cells print, but for what machines may differ in: numbers, where rounding is worst, who wins."""
    texts = ["".join(output.get("text", "") for output in cell.outputs) for cell in code_cells(notebook)]
    texts += answers(notebook)
    return [re.sub(r" at (?:layer|x).*| \S+ ahead by .*|[\d.e+-]*\d| +", " ", text) for text in texts]
