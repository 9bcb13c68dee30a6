"""The site: is what its pages say so, does their code run, and does what was built load nothing from elsewhere?"""

import ast
import doctest
import html.parser
import inspect
import io
import os
import re
import shutil
import subprocess
import sys
import textwrap
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from urllib.parse import unquote, urljoin, urlparse

import numpy as np
import pytest
from sklearn import metrics, neural_network

import numnet as nn
from numnet.data import Samples
from numnet.datasets import Dataset, idx

from .test_derivations import definition, excerpts, selected

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def text(page):
    return (DOCS / page).read_text(encoding="utf-8")


def blocks(page, language="python"):
    return re.findall(rf"^```{language}\n(.*?)^```$", text(page), re.DOTALL | re.MULTILINE)


def rows(page, *header):
    """Return the rows of the table with this header, as lists of cells."""
    head = r"\| " + r" \| ".join(map(re.escape, header)) + r" \|\n\|[-:|]+\n"
    (table,) = re.findall(rf"^{head}((?:\|.*\n)+)", text(page), re.MULTILINE)
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in table.splitlines()]


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")


# The pages whose code runs. In some, it begins anew at each heading of this level.
RUN = {
    **dict.fromkeys(["index.md", "quickstart.md", "pictures.md", "interrupted.md", "tables.md"], None),
    **dict.fromkeys(["reading.md", "design.md", "idx.md"], None),
    **{"coming-from.md": "###", "other-tools.md": "##"},
}
PYTHON, MNIST = "```python\n", "```{code-block} python\n:class: mnist\n"
OUTPUT = "\n```{code-block} text\n:class: output\n\n"
WIDTH = 88  # of what fits on the page


def parts(page):
    """Return the parts of a page, each with code that needs nothing of the other parts."""
    level = RUN[page.removeprefix("zh/")]
    return re.split(rf"^(?={level} )", text(page), flags=re.MULTILINE) if level else [text(page)]


def shown(fence):
    """Return what finds a block of code and the output that is shown below it, if there is one."""
    return re.compile(rf"^{fence}(.*?)^```\n(?:{OUTPUT}(.*?)^```\n)?", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", ["CHANGELOG.md", "tests/survivors.md"])
def test_links_of_pages_that_the_site_includes_lead_to_files_in_the_checkout(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)", (ROOT / page).read_text(encoding="utf-8")):
        assert ((ROOT / page).parent / target).exists(), target


def printed(code, names):
    """Return what a block prints, with its DataWarnings."""
    out = io.StringIO()
    with warnings.catch_warnings(), redirect_stdout(out):
        warnings.simplefilter("always", nn.DataWarning)
        warnings.showwarning = lambda message, kind, *_: print(textwrap.fill(f"{kind.__name__}: {message}", WIDTH))
        exec(code, names)
    return out.getvalue()


def without_seconds(output):
    """Return an output without the last column of a history."""
    return re.sub(r"^( +\d+( +\d\.\d{4}){4}) +\d+\.\d\d$", r"\1", output, flags=re.MULTILINE)


def run(page, number=0, fence=PYTHON):
    """Run the code of a part of a page. Compare what it prints with what the page shows, or write it into the page."""
    names, outputs = {}, []
    for code, _ in shown(fence).findall(parts(page)[number]):
        for package in re.findall(r"^import (torch|onnxruntime)$", code, re.MULTILINE):
            pytest.importorskip(package, reason=f"{package} is not installed: pip install {package}")
        outputs.append(printed(code, names))
    assert outputs
    chinese = f"zh/{page}" if (DOCS / "zh" / page).exists() and page != "index.md" else page
    for where in {page, chinese}:
        part = parts(where)[number]
        wrong = [
            f"{code}prints\n{output}"
            for (code, old), output in zip(shown(fence).findall(part), outputs, strict=True)
            if without_seconds(output) != without_seconds(old)
        ]
        if wrong and os.environ.get("NUMNET_WRITE_TABLES"):
            below = iter(f"{OUTPUT}{output}```\n" if output else "" for output in outputs)
            new = shown(fence).sub(lambda match, below=below: f"{fence}{match[1]}```\n{next(below)}", part)
            (DOCS / where).write_text(text(where).replace(part, new), encoding="utf-8")
            continue
        assert not wrong, f"docs/{where} is out of date; NUMNET_WRITE_TABLES=1 pytest writes it"
    return names, outputs


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("page", ["index.md", "pictures.md", "interrupted.md", "reading.md", "design.md", "idx.md"])
def test_pages_show_what_their_code_prints(page):
    run(page)


@pytest.mark.usefixtures("workplace")
def test_the_quick_start():
    run("quickstart.md")
    assert Path("report.png").stat().st_size > 10_000
    assert "<canvas" in Path("draw.html").read_text(encoding="utf-8")


def test_the_quick_start_on_mnist(mnist, monkeypatch):
    monkeypatch.setattr(nn.datasets, "mnist", lambda: mnist)
    run("quickstart.md", fence=MNIST)


BLOCK = re.compile(r"^( *)```(?:python|pycon|text|sh|c|{code-block}.*)\n((?:.*\n)*?)\1```$", re.MULTILINE)
INDENTED = re.compile(r"^ {4}(.*)$", re.MULTILINE)
PAGES = sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))


@pytest.mark.parametrize("page", [*PAGES, "../CONTRIBUTING.md"])
def test_code_and_outputs_fit_the_page(page):
    lines = "".join(block for _, block in BLOCK.findall(text(page))).splitlines()
    lines += INDENTED.findall(re.sub(r"^ *```.*?^ *```$", "", text(page), flags=re.DOTALL | re.MULTILINE))
    assert [line for line in lines if len(line) > WIDTH] == []


@pytest.mark.parametrize("page", PAGES)
def test_the_lines_of_numnet_fit_the_page(page):
    for file, options in excerpts(DOCS / page):
        if page != "programs.md":  # which shows whole programs, and is wider
            lines = selected(file, options).splitlines()
            assert [line for line in lines if len(line) > WIDTH + 2] == []  # 90 still fit


@pytest.mark.usefixtures("workplace")
def test_the_page_on_tables():
    names, outputs = run("tables.md")
    raw = outputs[1]
    assert "DataWarning: train: the inputs range from" in raw
    assert 0.3 < float(raw.split()[-1]) < 0.4
    assert np.mean(names["ours"]) > 0.97
    known = Dataset(np.array([[5.0, 0.0], [5.0, 2.0]]), np.array([0, 1]), classes=("no", "yes"))
    _, new = names["standardized"](known, Dataset(np.array([[6.0, 3.0]]), np.array([1]), classes=known.classes))
    assert new.images.tolist() == [[1.0, 2.0]]
    assert new.classes == known.classes
    wanted, found = (names[name].argmax(axis=1) for name in ("wanted", "found"))
    report = metrics.precision_recall_fscore_support(wanted, found)
    np.testing.assert_allclose([names["precision"], names["recall"], names["f1"]], report[:3])
    without_weights, with_weights = map(int, re.findall(r"missed (\d+)", outputs[6]))
    assert with_weights < without_weights
    weighted, *same = re.findall(r"rows: (.*)", outputs[7])
    assert same == [weighted, weighted]
    x, t, net, test = (names[name] for name in ("x", "t", "net", "test"))
    assert names["r2"](net) == pytest.approx(metrics.r2_score(t[test], names["mean"] + names["std"] * net(x[test])))


def test_the_lines_that_make_the_page_to_draw_on(workplace, monkeypatch):
    monkeypatch.setattr(nn.datasets, "mnist", nn.datasets.digits)
    (lines,) = blocks("draw.md")
    assert 0.95 < float(printed(lines, {})) < 0.98
    assert "<canvas" in Path("draw.html").read_text(encoding="utf-8")


PRINTED = re.compile(
    r"(^python examples/mnist_softmax.py\n```\n\n```{code-block} text\n:class: output\n\n)(.*?)(?=^```$)", re.M | re.S
)


def without_rounding(output):
    """Return what a run prints without its seconds, bars and fractions; and the fractions, with their signs of percent.

    Another BLAS rounds otherwise.
    """
    output = re.sub(r" +\d+\.\d{3}(?=  )|\d+\.\d(?= s in all)", "", output)
    form = re.sub(r"(?<=%) [█▏▎▍▌▋▊▉]+$", "", output, flags=re.MULTILINE)
    return re.sub(r" *\d+\.\d+", "", form), re.findall(r"(\d+\.\d+)(%?)", output)


@pytest.mark.usefixtures("mnist")
def test_the_page_on_programs_shows_what_mnist_softmax_prints(monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8")
    command = [sys.executable, ROOT / "examples" / "mnist_softmax.py"]
    output = subprocess.run(command, capture_output=True, check=True, encoding="utf-8", cwd=ROOT).stdout
    page = text("programs.md")
    if os.environ.get("NUMNET_WRITE_TABLES"):
        page = PRINTED.sub(lambda match: match[1] + output, page)
        (DOCS / "programs.md").write_text(page, encoding="utf-8")
    (shown,) = (match[2] for match in PRINTED.finditer(page))
    (form, numbers), (expected, found) = without_rounding(shown), without_rounding(output)
    assert form == expected, "docs/programs.md is out of date; NUMNET_WRITE_TABLES=1 pytest writes it"
    for (number, percent), (other, _) in zip(numbers, found, strict=True):
        assert float(number) == pytest.approx(float(other), abs=0.5 if percent else 0.005)
    assert "a whole bar is 10 % of the test" in page
    assert shown.count("10%|") == 1


def numbers(page):
    """Return the numbers of the parts that have code, with their headings."""
    return [pytest.param(i, id=part.splitlines()[0]) for i, part in enumerate(parts(page)) if PYTHON in part]


@pytest.mark.slow
@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("number", numbers("coming-from.md"))
def test_carrying_a_network_over(number):
    run("coming-from.md", number)


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("number", numbers("other-tools.md"))
def test_other_tools(number):
    run("other-tools.md", number)


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler: cc")
def test_the_program_in_c_reads_digits(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (section,) = re.findall(r"^## C$(.*?)(?=^## |\Z)", text("other-tools.md"), re.DOTALL | re.MULTILINE)
    (python,), (program,) = (re.findall(rf"```{name}\n(.*?)```", section, re.DOTALL) for name in ("python", "c"))
    (command,) = re.findall(r"^    (cc .*)$", section, re.MULTILINE)
    names = {}
    exec(python, names)
    Path("main.c").write_text(program)
    subprocess.run([*command.split(), "-Wall", "-Wextra", "-Werror"], check=True)
    net, images = names["net"], names["test"].images[:20]
    for image, label in zip(images, net.predict(images), strict=True):
        given = " ".join(str(pixel / 255) for pixel in image.ravel())
        assert subprocess.run("./digits", input=given, capture_output=True, text=True).stdout == f"{label}\n"


def test_the_dropout_drops_in_training_only():
    names = {}
    (block,) = (block for block in blocks("coming-from.md") if "class Dropout" in block)
    exec(block, names)
    layer, x = names["Dropout"](0.25), np.full((1000, 10), 3.0)
    np.testing.assert_array_equal(layer.forward(x), x)
    np.testing.assert_array_equal(layer.backward(x), x)
    layer.training = True
    y = layer.forward(x)
    assert set(np.unique(y)) == {0.0, 4.0}
    assert np.mean(y == 0) == pytest.approx(0.25, abs=0.02)
    np.testing.assert_array_equal(layer.backward(x), y)
    assert (layer.forward(x) != y).any()


def test_the_idx_page_shows_the_bytes_that_it_reads():
    (dump,) = re.findall(r":class: hexdump\n\n(.*?)```", text("idx.md"), re.DOTALL)
    data = b""
    for line in dump.splitlines():
        offset, rest = line.split(maxsplit=1)
        assert int(offset, 16) == len(data)
        codes, characters = rest.rstrip("|").split("|")
        data += bytes.fromhex(codes)
        assert characters == re.sub(rb"[^ -~]", b".", data[int(offset, 16) :]).decode()
    array = nn.datasets.read_idx(io.BytesIO(data))
    assert array.dtype == np.uint8
    (_, output), *_ = shown(PYTHON).findall(text("idx.md"))
    assert f"{array}\n" == output
    (written,) = re.findall(r'fromhex\("""(.*?)"""\)', text("idx.md"), re.DOTALL)
    assert bytes.fromhex(written) == data
    explained = [(int(offset), codes) for offset, codes, _ in rows("idx.md", "offset", "bytes", "meaning")]
    for offset, codes in explained:
        code = bytes.fromhex(codes.replace("`", ""))
        assert data[offset : offset + len(code)] == code
    assert b"".join(bytes.fromhex(codes.replace("`", "")) for _, codes in explained) == data


def test_the_idx_page_has_all_types_mirrors_and_hashes():
    types = {int(code.strip("`"), 16): np.dtype(name) for code, _, name in rows("idx.md", "code", "element", "NumPy")}
    assert types == {code: np.dtype(kind) for code, kind in idx._TYPES.items()}
    published = nn.datasets._MNIST
    assert tuple(re.findall(r"^- <(.*?)>", text("idx.md"), re.MULTILINE)) == published.mirrors
    hashes = {
        name.strip("`"): sha.strip("`") for name, _, sha in rows("idx.md", "file", "bytes", "SHA-256 of the .gz file")
    }
    contents = {name.strip("`"): sha.strip("`") for name, _, sha in rows("idx.md", "contents", "bytes", "SHA-256")}
    assert hashes | contents == {name: sha for forms in published.files for name, sha in forms.items()}


def test_mnist_begins_as_the_idx_page_says(mnist):
    images, labels = io.BytesIO(), io.BytesIO()
    nn.datasets.write_idx(images, mnist[0].images)
    nn.datasets.write_idx(labels, mnist[0].labels)
    begins = re.findall(r"`((?:[0-9a-f]{2} ){7,}[0-9a-f]{2})`", text("idx.md"))
    assert images.getvalue().startswith(bytes.fromhex(begins[0]))
    assert labels.getvalue().startswith(bytes.fromhex(begins[1]))


def test_the_design_page_has_the_sizes_that_there_are():
    net = nn.Sequential(nn.Linear(784, 128), nn.Sigmoid(), nn.Linear(128, 10), nn.Softmax(), seed=0)
    trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(0.5))
    images, labels = np.zeros((60000, 28, 28), np.uint8), np.zeros(60000, np.uint8)
    data = Samples(net, trainer.pair, (images, labels), "train")
    block = next(data.blocks(np.random.default_rng(0), 64))
    x, t, chosen = data.take(block)
    shapes = {cells[0]: cells[1] for cells in rows("design.md", "array", "shape", "owner", "until")}
    assert shapes["a block's x, t, labels"] == f"{x.shape}, {t.shape}, {chosen.shape}"
    assert shapes["`net.parameters`, `net.gradients`"] == f"{net.parameters.shape} each"
    picture = text("_static/training-step.svg")
    assert f"x {len(block)} x 784, t {len(block)} x 10" in picture
    assert f"a block of {len(block) // 64} batches" in picture
    assert f"{net.parameters.size:,}" in picture


FILES = [re.findall(r"`(\S+)`", cells[0]) for cells in rows("design.md", "file", "what it is")]
CORE = [name for (name,) in FILES[:9]]  # the files that a batch passes through, those that others use first


def test_the_design_page_and_the_picture_have_every_file():
    files = {file.name for file in (ROOT / "numnet").glob("[!_]*.py")} | {"datasets/"}
    assert {name for names in FILES for name in names} == files
    drawn = re.findall(r'<text [^>]*class="name">(\S+)</text>', text("_static/files.svg"))
    assert sorted(drawn) == sorted(files)
    assert drawn[0] == "training.py"
    assert set(drawn[: len(CORE)]) == set(CORE)


def used(file):
    """Return the names of the files of the core that a file imports."""
    for node in ast.walk(ast.parse((ROOT / "numnet" / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            names = [node.module] if node.module else [alias.name for alias in node.names]
            yield from (f"{name}.py" for name in names if f"{name}.py" in CORE)


def test_each_file_uses_only_files_above_it_in_the_table():
    for i, file in enumerate(CORE):
        assert set(used(file)) <= set(CORE[:i]), file


def test_reading_the_code_shows_the_functions_in_the_order_in_which_they_run():
    stops = {}
    for file, options in excerpts(DOCS / "reading.md"):
        assert selected(file, options)
        node = definition(file, options["pyobject"])
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        stops[str(file.resolve()), first] = options["pyobject"]
    met, beside = {}, []

    def meet(frame, event, argument):
        code = frame.f_code
        if code.co_name in ("data_warnings", "evaluate"):  # which look at the data before and after an epoch
            {"call": beside.append, "return": beside.remove}.get(event, id)(code)
        elif event == "call" and not beside and (name := stops.get((code.co_filename, code.co_firstlineno))):
            met.setdefault(name)

    names = {}
    (training,) = blocks("reading.md")
    before = sys.getprofile()
    sys.setprofile(meet)
    try:
        exec(training, names)
    finally:
        sys.setprofile(before)
    *shown, encloses = stops.values()
    assert encloses == "Run.whole"
    assert [name for name in met if name != encloses] == shown
    assert encloses in met


def public_names():
    """Return every name that a user has, with the object."""
    from numnet import plotting

    found = {f"numnet.{name}": getattr(nn, name) for name in nn.__all__ if not inspect.ismodule(getattr(nn, name))}
    found |= {f"numnet.datasets.{name}": getattr(nn.datasets, name) for name in nn.datasets.__all__}
    found |= {f"numnet.starts.{name}": getattr(nn.starts, name) for name in nn.starts.__all__}
    found |= {
        f"numnet.plotting.{name}": function
        for name, function in inspect.getmembers(plotting, inspect.isfunction)
        if function.__module__ == plotting.__name__ and not name.startswith("_")
    }
    found |= {f"numnet.sklearn.{name}": getattr(nn.sklearn, name) for name in nn.sklearn.__all__}
    return found | {
        f"numnet.backend.{name}": getattr(nn.backend, name) for name in ("choose", "to", "matmul", "offload", "record")
    }


def listed(directive):
    """Return the names that the pages of the API reference give to a directive."""
    names = set()
    for page in (DOCS / "api").glob("*.md"):
        module = ""
        for line in page.read_text(encoding="utf-8").splitlines():
            if line.startswith(".. currentmodule:: "):
                module = line.split()[-1]
            elif match := re.match(rf"{directive}(\w+)", line):
                names.add(f"{module}.{match[1]}")
    return names


def test_the_api_reference_has_every_public_name():
    assert listed(r"\.\. auto(?:class|function|exception):: ") == set(public_names())
    assert listed("   (?!:)") == set(public_names())  # in the tables of its first page


@pytest.mark.parametrize("name", sorted(public_names()))
def test_every_public_name_has_an_example_and_what_it_takes(name):
    item = public_names()[name]
    doc = inspect.getdoc(item)
    assert ">>> " in doc, "an example is missing"
    if inspect.isfunction(item):
        parameters = re.search(r"^Parameters\n-+\n(.*?)(?:\n\n[A-Z]\w+\n---|\Z)", doc, re.DOTALL | re.MULTILINE)
        described = re.findall(r"^(\w.*?) :", parameters[1], re.MULTILINE) if parameters else []
        assert ", ".join(described).split(", ") == (list(inspect.signature(item).parameters) or [""])


def test_examples_in_docstrings_fit_the_page():
    parser, long = doctest.DocTestParser(), []
    for name, item in public_names().items():
        methods = [method for _, method in inspect.getmembers(item)] if inspect.isclass(item) else []
        for doc, width in [(item, 86), *((method, 82) for method in methods)]:
            for example in parser.get_examples(inspect.getdoc(doc) or ""):
                lines = [f">>> {line}" for line in example.source.splitlines()] + example.want.splitlines()
                long += [(name, line) for line in lines if len(line) > width]
    assert long == []


def test_code_in_the_gallery_fits_the_page():
    for script in sorted((ROOT / "examples").glob("plot_*.py")):
        texts = r'\Ar?"""(.*\n)*?"""|^# %%\n(#.*\n)*'
        code = re.sub(texts, "", script.read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert [line for line in code.splitlines() if len(line) > WIDTH] == [], script


def test_what_the_page_says_of_pytorch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    n, k = 6, 4
    z, t = rng.normal(size=(n, k)), rng.random((n, k))
    y = 1 / (1 + np.exp(-z))
    tensor = torch.tensor
    mean = torch.nn.MSELoss()(tensor(y), tensor(t)).item()
    assert nn.Quadratic()(y, t) == pytest.approx(mean * k / 2)
    assert nn.CrossEntropy()(y, t) == pytest.approx(k * torch.nn.BCELoss()(tensor(y), tensor(t)).item())
    logits = torch.nn.BCEWithLogitsLoss()(tensor(z), tensor(t)).item()
    assert nn.CrossEntropy()(y, t) == pytest.approx(k * logits)
    twice = torch.nn.CrossEntropyLoss()(tensor(np.eye(10)), tensor(np.arange(10))).item()  # of right probabilities
    assert round(twice, 3) == 1.461
    assert round(np.exp(-twice), 3) == 0.232
    layer = torch.nn.Linear(3, 2)
    assert tuple(layer.weight.shape) == (2, 3)
    theirs = torch.optim.SGD(layer.parameters(), lr=1.0, weight_decay=0.1)
    before = [p.detach().clone() for p in layer.parameters()]
    for p in layer.parameters():
        p.grad = torch.zeros_like(p)
    theirs.step()
    for p, start in zip(layer.parameters(), before, strict=True):
        torch.testing.assert_close(p.detach(), 0.9 * start)  # biases too
    torch.manual_seed(0)
    init, shares = torch.nn.init, [0.05, 0.25, 0.75, 0.95]
    for theirs, ours in (init.xavier_uniform_, nn.starts.glorot), (init.kaiming_normal_, nn.starts.he):
        drawn = [theirs(torch.empty(300, 400)).numpy(), ours(np.random.default_rng(0), (400, 300))]
        np.testing.assert_allclose(*(np.quantile(weights, shares) for weights in drawn), rtol=0.02)
    limit = torch.nn.Linear(400, 300).weight.abs().max().item()
    assert 0.99 / 20 < limit <= np.float32(1 / 20)  # which is a little more than 1 / 20


@pytest.mark.parametrize(("call", "seen"), rows("coming-from.md", "you write", "you see"))
def test_calls_as_for_another_library(call, seen):
    x, t = np.eye(3), np.arange(3)
    net = nn.Sequential(nn.Linear(3, 3), nn.Softmax(), seed=0)
    trainer = nn.Trainer(net, nn.CrossEntropy(), nn.SGD(lr=0.1))
    with pytest.raises((TypeError, ValueError)) as error:
        eval(call.strip("`"), {"trainer": trainer, "x": x, "t": t})
    assert f"{error.type.__name__}: {error.value}".startswith(seen.split("`")[1])


def velocities(kind, lrs, gradients, momentum=0.9):
    """Return where a weight is after each step, by the second row of the page's table on momentum, or its first."""
    w = v = 0.0
    for lr, g in zip(lrs, gradients, strict=True):
        if kind == "numnet":
            v = momentum * v + g
            w = w - lr * v
        else:
            v = momentum * v - lr * g
            w = w + v
        yield w


def test_both_velocities_are_the_same_until_the_learning_rate_changes():
    gradients = np.random.default_rng(0).normal(size=20)
    same, changed = [0.1] * 20, [0.1] * 10 + [0.01] * 10
    np.testing.assert_allclose(*(list(velocities(kind, same, gradients)) for kind in ("numnet", "keras")))
    ours, theirs = (list(velocities(kind, changed, gradients)) for kind in ("numnet", "keras"))
    np.testing.assert_allclose(ours[:10], theirs[:10])
    assert abs(ours[11] - theirs[11]) > 1e-3


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")  # of few iterations, as meant
@pytest.mark.parametrize(("kind", "outputs"), [("classes", 3), ("yes or no", 1), ("numbers", 3)])
@pytest.mark.parametrize("nesterov", [False, True])
def test_what_the_page_says_of_scikit_learn(kind, outputs, nesterov):
    rng = np.random.default_rng(0)
    n = 40
    x = rng.normal(size=(n, 5))
    t = rng.normal(size=(n, 3)) if kind == "numbers" else rng.permutation(np.arange(n) % max(outputs, 2))
    model = {"numbers": neural_network.MLPRegressor}.get(kind, neural_network.MLPClassifier)(
        hidden_layer_sizes=(4,),
        activation="logistic",
        solver="sgd",
        alpha=0.2,
        batch_size=n,
        learning_rate_init=0.1,
        momentum=0.9,
        nesterovs_momentum=nesterov,
        shuffle=False,
        random_state=0,
    )
    model.partial_fit(x, t) if kind == "numbers" else model.partial_fit(x, t, classes=np.unique(t))
    ends = {"classes": [nn.Softmax()], "yes or no": [nn.Sigmoid()], "numbers": []}[kind]
    layers = [nn.Linear(5, 4), nn.Sigmoid(), nn.Linear(4, outputs), *ends]
    net = nn.Sequential(*layers, dtype="float64")
    for ours, weight, bias in zip(layers[:3:2], model.coefs_, model.intercepts_, strict=True):
        ours.weight, ours.bias = weight, bias
    model._optimizer.velocities = [np.zeros_like(v) for v in model._optimizer.velocities]
    cost = nn.Quadratic() if kind == "numbers" else nn.CrossEntropy()
    sgd = nn.SGD(0.1, momentum=0.9, nesterov=nesterov, weight_decay=0.2 / n)  # alpha / n
    trainer = nn.Trainer(net, cost, sgd)
    for _ in range(5):
        before = net.layers[0].weight.copy(), net.layers[2].weight.copy()
        ours = trainer.step(x, t)
        model.partial_fit(x, t)
        penalty = 0.2 / (2 * n) * sum(np.sum(weight**2) for weight in before)
        assert model.loss_ == pytest.approx((ours / 3 if kind == "numbers" else ours) + penalty)
    for layer, weight, bias in zip(layers[:3:2], model.coefs_, model.intercepts_, strict=True):
        np.testing.assert_allclose(layer.weight, weight, rtol=1e-9)
        np.testing.assert_allclose(layer.bias, bias, rtol=1e-9)


def test_what_the_page_says_of_scikit_learns_defaults():
    model = neural_network.MLPClassifier()
    assert (model.solver, model.momentum, model.nesterovs_momentum) == ("adam", 0.9, True)
    assert model.alpha / 200 == pytest.approx(5e-7)
    x, t = np.zeros((10, 300)), np.arange(10) % 5
    for activation, factor in ("relu", 6), ("logistic", 2):
        model = neural_network.MLPClassifier((200,), activation=activation, learning_rate_init=1e-12, random_state=0)
        model.partial_fit(x, t, classes=np.unique(t))
        limit = np.sqrt(factor / (300 + 200))
        for values in model.coefs_[0], model.intercepts_[0]:
            assert 0.95 * limit < np.abs(values).max() <= limit * (1 + 1e-6)


# What was built, by sphinx-build -W docs build/html

SITE = ROOT / "build" / "html"


class Page(html.parser.HTMLParser):
    """The links, anchors and loaded resources of a page."""

    def __init__(self, file):
        super().__init__()
        self.links, self.loaded, self.anchors = set(), set(), set()
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors |= {attributes[name] for name in ("id", "name") if name in attributes}
        if tag == "a":
            self.links |= {attributes["href"]} if "href" in attributes else set()
            return
        self.loaded |= {attributes[name] for name in ("src", "href", "data", "poster") if attributes.get(name)}
        for source in filter(None, attributes.get("srcset", "").split(",")):
            self.loaded.add(source.split()[0])


@pytest.fixture(scope="module")
def pages():
    if not (SITE / "index.html").exists():
        pytest.skip("the site has not been built: sphinx-build -W docs build/html")
    return {file.relative_to(SITE).as_posix(): Page(file) for file in SITE.rglob("*.html")}


def test_no_page_loads_anything_from_elsewhere(pages):
    for name, page in pages.items():
        for address in page.loaded:
            assert not urlparse(address).netloc, f"{name} loads {address}"
            assert urlparse(address).scheme in ("", "data"), f"{name} loads {address}"
    for file in [*SITE.rglob("*.css"), *SITE.rglob("*.svg")]:
        for address in re.findall(r"url\(([^)]*)\)|@import ([^;]*)", file.read_text(encoding="utf-8")):
            assert "//" not in "".join(address).replace("http://www.w3.org/", ""), f"{file} loads {address}"
    for file in SITE.rglob("*.js"):
        if file.name != "searchindex.js":  # only text
            found = re.findall(
                r"(?:fetch|import|importScripts|src ?=)\W{1,3}https?://", file.read_text(encoding="utf-8")
            )
            assert not found, f"{file}: {found}"


def test_every_link_within_the_site_leads_somewhere(pages):
    for name, page in pages.items():
        for link in page.links | page.loaded:
            parts = urlparse(urljoin(name, link))
            if parts.scheme or parts.netloc:
                continue
            target, anchor = unquote(parts.path) or name, unquote(parts.fragment)
            assert (SITE / target).is_file(), f"{name} links to {link}"
            assert not anchor or target not in pages or anchor in pages[target].anchors, f"{name} links to {link}"


def test_each_id_is_there_once(pages):
    for name in pages:
        ids = re.findall(r'<[a-z][^>]* id="([^"]+)"', (SITE / name).read_text(encoding="utf-8"))
        assert len(ids) == len(set(ids)), f"{name}: {sorted(id for id in set(ids) if ids.count(id) > 1)}"


def test_no_page_leads_on_to_one_in_another_language(pages):
    found = 0
    for name in pages:
        for link in re.findall(r'class="(?:next|prev)-page" href="([^"]+)"', (SITE / name).read_text(encoding="utf-8")):
            found += 1
            assert urljoin(name, link).startswith("zh/") == name.startswith("zh/"), f"{name} leads to {link}"
    assert found > 100


def test_the_navigation_of_chinese_pages_is_in_chinese(pages):
    english = r">\s*(?:Next|Previous|Home|On this page|Back to top)\s*<|Copyright|\"Search\"|Link to this"
    for name in pages:
        found = re.search(english, (SITE / name).read_text(encoding="utf-8"))
        assert bool(found) != name.startswith("zh/") or name == "_static/draw.html", name


@pytest.mark.parametrize("chinese", [False, True])
def test_search_lists_the_pages_of_ones_own_language_first(pages, browser, chinese):
    page = "zh/index.html" if chinese else "index.html"
    browser.get((SITE / page).as_uri())
    browser.find_element("class name", "sidebar-search").send_keys("softmax\n")
    done = "const [done] = arguments, wait = () => /\\d/.test(document.querySelector('.search-summary')?.innerText)"
    browser.execute_async_script(f"{done} ? done() : setTimeout(wait, 20); wait()")
    links = browser.find_elements("css selector", "ul.search li > a")
    found = [(SITE / "zh").as_uri() in link.get_attribute("href") for link in links]
    assert len(set(found)) == 2
    assert found == sorted(found, reverse=chinese)
    assert (browser.find_element("tag name", "h1").text == "搜索") == chinese


def test_formulas_are_mathml(pages):
    for name in pages:
        page = (SITE / name).read_text(encoding="utf-8")
        for formula in re.findall(r"<math.*?</math>", page, re.DOTALL):
            assert "\\" not in formula, f"{name}: {formula}"
    linear = (SITE / "derivations" / "linear.html").read_text(encoding="utf-8")
    assert linear.count("<math") > 10


def test_what_was_built_is_what_is_here(pages):
    """A site of yesterday proves nothing."""
    folders = [DOCS, *(DOCS / name for name in ("api", "derivations", "development"))]
    sources = [page for folder in folders for page in folder.glob("*.md")]
    for source in sources:
        built = SITE / source.relative_to(DOCS).with_suffix(".html")
        assert built.stat().st_mtime > source.stat().st_mtime, f"{source} has changed: build the site again"
