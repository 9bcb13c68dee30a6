"""The derivations on the pages of docs/derivations, checked by SymPy, and numnet's code with them.

Each displayed formula there has a label, and here a world under the same label: what its names mean, by their
definitions alone. `formulas.holds` reads the formula's LaTeX and checks each line of it in that world, so that what is
checked is the text that people read. A translation, docs/LANGUAGE/derivations, has the same formulas under labels that
end in the language.
"""

import ast
import doctest
import math
import re
import runpy
import textwrap
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import sympy
import sympy.stats
from sympy import exp, log

import numnet as nn

from .formulas import World, holds, value_of

DOCS = Path(__file__).parents[1] / "docs"
SOURCES = sorted([*DOCS.glob("**/derivations/*.md"), *DOCS.glob("**/cheat-sheet.md")])
PAGES = {page.relative_to(DOCS).as_posix(): page for page in SOURCES}
TRANSLATIONS = [page for page in PAGES if page.startswith("zh/")]


# The worlds. Costs that stand for "any cost" are such as nobody would cancel by accident.


def logistic(z):
    return 1 / (1 + exp(-z))


def shares(z):
    """Return the softmax of a family, as a function of the index."""
    return lambda j: exp(z[j]) / sum(exp(z[k]) for k in z)


def plain():
    return World()


def functions():
    """Two functions u and v of x, and E of u."""
    world = World()
    x = world.free("x", low=0.1)
    u = world.define("u", sympy.sin(x) + x**2 / 3)
    world.define("v", 2 + sympy.cos(3 * x))
    world.define("E", u**3 + exp(u))
    return world


def any_layer():
    """Three inputs and two outputs, each of all inputs."""
    world = World(i=3, j=2)
    x = world.free("x", "i")
    y = world.define("y", lambda j: sympy.sin(x[1] + j * x[2]) * x[3] + j * x[1] ** 2, "j")
    world.define("E", y[1] ** 2 * exp(y[2]) + y[2])
    return world


def polynomial(terms=8):
    """E a polynomial of w with any coefficients, of a higher order than any that is claimed."""
    world = World()
    w, _ = world.free("w"), world.free("h")
    c = world.free("c", range(terms))
    cost = world.call("E", lambda at=w: sum(c[k] * at**k for k in range(terms)))
    world.call("D", lambda step: (cost(w + step) - cost(w - step)) / (2 * step))
    world.names["i"] = sympy.I
    return world


def one_step():
    """A cubic E of w, and its slope g."""
    world = polynomial(terms=4)
    world.free(r"\eta")
    world.define("g", sympy.diff(world.names["E"](), world.names["w"]))
    return world


def with_cost(world, name, cost, *axes):
    """Add E, and g, its derivative by what is named."""
    by = world.names[name]
    world.define("g", (lambda *at: world.derivative(cost, by[at])) if axes else world.derivative(cost, by), *axes)
    world.define("E", cost)
    return world


def linear():
    """Two samples, three inputs, two outputs."""
    world = World(i=2, r=2, k=3, j=2, l=2)
    x, w, b = world.free("x", "i", "k"), world.free("w", "k", "j"), world.free("b", "j")
    z = world.define("z", lambda i, j: sum(x[i, k] * w[k, j] for k in (1, 2, 3)) + b[j], "i", "j")
    cost = sympy.sin(z[1, 1] * z[2, 2]) + z[1, 2] ** 2 * z[2, 1] + exp(z[1, 1] / 3)
    return with_cost(world, "z", cost, "i", "j")


def linear_example():
    world = World(i=2, j=2)
    x, w = world.given("x", [[1, 2], [3, 4]]), world.given("w", [[2, -1], [0, 1]])
    b, t = world.given("b", [[1, 0]]), world.given("t", [[1, 1], [5, 3]])
    z = world.define("z", lambda i, j: x[i, 1] * w[1, j] + x[i, 2] * w[2, j] + b[j], "i", "j")
    return with_cost(world, "z", sum((z[at] - t[at]) ** 2 for at in z) / 4, "i", "j")


def numbers():
    """The network of numbers.md: two inputs, two sigmoid units, two sigmoid outputs, the quadratic cost; one sample."""
    world = World(i=2, j=2)
    x, w = world.given("x", [[1, 2]]), world.given("w", [[2, 1], [-1, -sympy.Rational(1, 2)]])
    b, t = world.given("b", [[0, log(3)]]), world.given("t", [[0, 1]])
    weight, bias = world.given("W", [[3, 0], [-2, 4]]), world.given("B", [[0, -3]])
    world.names[r"\eta"] = sympy.Rational(1, 2)
    z = world.define("z", lambda j: x[1] * w[1, j] + x[2] * w[2, j] + b[j], "j")
    h = world.define("h", lambda j: logistic(z[j]), "j")
    outputs = world.define("Z", lambda j: h[1] * weight[1, j] + h[2] * weight[2, j] + bias[j], "j")
    y = world.define("y", lambda j: logistic(outputs[j]), "j")
    world.define("E", ((y[1] - t[1]) ** 2 + (y[2] - t[2]) ** 2) / 2)
    world.call("f", logistic)
    return world


def activation(function):
    """One z, y as a function of it, and any cost."""
    world = World()
    y = world.define("y", function(world.free("z")))
    world.call("f", logistic)
    return with_cost(world, "y", sympy.sin(y) + y**3)


def sigmoid():
    return activation(logistic)


def sigmoid_by_u():
    world = World()
    u = world.define("u", 1 + exp(-world.free("z")))
    world.define("y", 1 / u)
    return world


def tanh():
    return activation(lambda z: (exp(z) - exp(-z)) / (exp(z) + exp(-z)))


def relu():
    return activation(lambda z: sympy.Max(z, 0))


def softmax():
    """Three classes."""
    world = World(i=3, j=3, k=3)
    z, _ = world.free("z", "i"), world.free("c")
    y = world.define("y", shares(z), "j")
    world.define("S", sum(exp(z[k]) for k in z))
    world.call("f", logistic)
    return with_cost(world, "y", sympy.sin(y[1] + 2 * y[2]) * y[3] + y[1] ** 2, "j")


def softmax_example():
    world = World(i=3)
    y = world.define("y", shares(world.given("z", [[0, log(2), log(5)]])), "i")
    return with_cost(world, "y", -log(y[1]), "i")


def batch(ending, cost):
    """Two samples and three outputs: z, y of z, targets t, and their mean cost E."""
    world = World(i=2, j=3)
    world.names.update(n=sympy.Integer(2), K=sympy.Integer(3))
    z, parts = world.free("z", "i", "j"), world.free("part", "i", "j", low=0.05, high=0.95)
    if ending == "softmax":
        world.define("y", lambda i, j: exp(z[i, j]) / sum(exp(z[i, k]) for k in (1, 2, 3)), "i", "j")
        world.define("t", lambda i, j: parts[i, j] / sum(parts[i, k] for k in (1, 2, 3)), "i", "j")
    else:
        world.define("y", lambda i, j: {"sigmoid": logistic, "tanh": sympy.tanh}[ending](z[i, j]), "i", "j")
        world.define("t", lambda i, j: parts[i, j], "i", "j")
    y, t = world.names["y"], world.names["t"]
    one = {
        "quadratic": lambda y, t: (y - t) ** 2 / 2,
        "cross-entropy": (
            (lambda y, t: -t * log(y)) if ending == "softmax" else (lambda y, t: -(t * log(y) + (1 - t) * log(1 - y)))
        ),
    }[cost]
    world.define("E", sum(one(y[at], t[at]) for at in y) / 2)
    return world


def sigmoid_quadratic():
    return batch("sigmoid", "quadratic")


def sigmoid_batch():
    return batch("sigmoid", "cross-entropy")


def softmax_batch():
    return batch("softmax", "cross-entropy")


def sheet(ending, cost):
    """A batch as the cheat sheet has it, with the gradient g by y, and the largest z of each sample."""
    world = batch(ending, cost)
    world.ranges["k"] = world.ranges["j"]
    z, y = world.names["z"], world.names["y"]
    world.define("m", lambda i: sympy.Max(*(z[i, j] for j in (1, 2, 3))), "i")
    world.define("g", lambda i, j: world.derivative(world.names["E"], y[i, j]), "i", "j")
    return world


def bell_curve():
    world = World()
    y, t = world.free("y"), world.free("t")
    world.define("p", sympy.stats.density(sympy.stats.Normal("measured", y, 1))(t))
    return world


def neuron_that_should_answer_0():
    """One sigmoid neuron with x = 1 and t = 0 under the quadratic cost."""
    world = World()
    y = world.define("y", logistic(world.free("w")))
    world.define("E", y**2 / 2)
    return world


def probability():
    world = World()
    world.free("y", low=0.01, high=0.99)
    return world


def surprise():
    """What the network held probable, in two cases: yes with the weight t, and no with the rest."""
    world = World()
    t, y = (world.free(name, low=0.01, high=0.99) for name in "ty")
    world.define("E", -log(y) * t - log(1 - y) * (1 - t))
    return world


def two_distributions():
    world = World(j=3)
    for name in "ty":
        world.free(name, "j", low=0.01, high=0.99)
    return world


def one_output():
    """A sigmoid output with cross-entropy; the batch has another sample, whose cost is u."""
    world = World()
    world.names["n"] = sympy.Integer(2)
    z, t, u = world.free("z"), world.free("t", low=0.01, high=0.99), world.free("u")
    y = world.define("y", logistic(z))
    world.define("E", (-(t * log(y) + (1 - t) * log(1 - y)) + u) / 2)
    return world


def one_row(sum_of_targets=1):
    """A sample of three classes with softmax and cross-entropy; the batch has another sample, whose cost is u."""
    world = World(i=3, j=3, k=3)
    world.names["n"] = sympy.Integer(2)
    z, u, parts = world.free("z", "i"), world.free("u"), world.free("part", "i", low=0.05, high=0.95)
    s = world.define("s", sum(parts[i] for i in parts) if sum_of_targets is None else sum_of_targets)
    t = world.define("t", lambda i: s * parts[i] / sum(parts[k] for k in parts), "i")
    y = world.define("y", shares(z), "j")
    world.define("m", sympy.Max(*z.values()))
    world.define("E", (-sum(t[j] * log(y[j]) for j in t) + u) / 2)
    return world


def one_row_with_any_targets():
    return one_row(sum_of_targets=None)


def neuron():
    """One sigmoid neuron, one sample, cross-entropy."""
    world = World()
    x, w, b, t = world.free("x"), world.free("w"), world.free("b"), world.free("t", low=0.01, high=0.99)
    y = world.define("y", logistic(world.define("z", x * w + b)))
    world.define("E", -(t * log(y) + (1 - t) * log(1 - y)))
    world.call("f", logistic)
    return world


def softmax_twice():
    """The softmax p of the softmax y of z, with cross-entropy, in a batch of two."""
    world = World(i=3, j=3, k=3)
    world.names.update(n=sympy.Integer(2), K=sympy.Integer(3))
    z, u = world.free("z", "i", low=-5, high=5), world.free("u")
    t = world.define("t", shares(world.free("part", "i")), "j")
    p = world.define("p", shares(world.define("y", shares(z), "j")), "j")
    return with_cost(world, "y", (-sum(t[j] * log(p[j]) for j in p) + u) / 2, "j")


def bowl():
    """Steps down E = a/2 w^2."""
    world = World(s=range(1, 5))
    eta, a, start = world.free(r"\eta"), world.free("a"), world.free("start")
    world.define("w", lambda s: world.names["w"][s - 1] * (1 - eta * a) if s else start, range(5))
    return world


def mean():
    world = World(i=3)
    world.names["n"] = sympy.Integer(3)
    w, _ = world.free("w"), world.free(r"\eta")
    costs = world.define("C", lambda i: sympy.sin(i * w) + i * w**2, "i")
    world.define("E", sum(costs.values()) / 3)
    return world


def descent(kind):
    """Four steps of SGD, with any gradient in each."""
    world = World(s=range(1, 5), r=range(1, 5))
    eta, mu, decay, start = (world.free(name, low=0.1, high=0.9) for name in (r"\eta", r"\mu", r"\lambda", "start"))
    g, names, every = world.free("g", world.ranges["s"]), world.names, range(5)
    if kind == "with decay":
        world.define("w", lambda s: names["w"][s - 1] - eta * (g[s] + decay * names["w"][s - 1]) if s else start, every)
        return world
    m = mu if kind != "plain" else 0
    world.define("v", lambda s: m * names["v"][s - 1] + g[s] if s else 0, every)
    world.define("u", lambda s: m * names["u"][s - 1] - eta * g[s] if s else 0, every)
    if kind == "nesterov":  # w is ahead of the ball W by what the ball is about to move
        ball = world.define("W", lambda s: names["W"][s - 1] + names["u"][s] if s else start, every)
        world.define("w", lambda s: ball[s] + mu * names["u"][s], every)
    else:
        world.define("w", lambda s: names["w"][s - 1] - eta * names["v"][s] if s else start, every)
    return world


def plain_descent():
    return descent("plain")


def momentum():
    return descent("momentum")


def nesterov():
    return descent("nesterov")


def decaying():
    return descent("with decay")


def series():
    world = World(s=range(1, 5), r=range(1, 5))
    for name in ("g", r"\mu"):
        world.free(name, low=0.1, high=0.9)
    return world


def penalty():
    world = World(k=3, l=3)
    w, _ = world.free("w", "k"), world.free(r"\lambda")
    world.define("E", sympy.sin(w[1] * w[2]) * w[3])
    return world


def clipping():
    world = World(k=3)
    g, c = world.free("g", "k"), world.free("c", low=0.1, high=5)
    world.define("longest", sympy.Min(1, c / sympy.sqrt(sum(part**2 for part in g.values()))))
    world.define(r"\hat g", lambda k: g[k] * world.names["longest"], "k")
    return world


WORLDS = {
    # index.md
    "known-derivatives": functions,
    "sum-product-quotient": functions,
    "chain-rule": functions,
    "backward": any_layer,
    "taylor": polynomial,
    "central-differences": polynomial,
    "complex-step": polynomial,
    # linear.md
    "linear": linear,
    "linear-slopes": linear,
    "linear-others": linear,
    "linear-weight": linear,
    "linear-bias": linear,
    "linear-input": linear,
    "linear-matrix-form": linear,
    "linear-example": linear_example,
    "linear-example-cost": linear_example,
    "linear-example-gradients": linear_example,
    # sigmoid.md
    "sigmoid": sigmoid,
    "sigmoid-symmetry": sigmoid,
    "sigmoid-inverse": sigmoid,
    "sigmoid-parts": sigmoid_by_u,
    "sigmoid-derivative": sigmoid_by_u,
    "sigmoid-backward": sigmoid,
    "sigmoid-greatest-slope": sigmoid,
    "sigmoid-tail": sigmoid,
    # numbers.md
    "numbers-start": numbers,
    "numbers-hidden": numbers,
    "numbers-units": numbers,
    "numbers-outputs": numbers,
    "numbers-cost": numbers,
    "numbers-cost-slope": numbers,
    "numbers-second-sigmoid": numbers,
    "numbers-second-linear": numbers,
    "numbers-first-sigmoid": numbers,
    "numbers-first-linear": numbers,
    "numbers-step": numbers,
    # tanh-and-relu.md
    "tanh": tanh,
    "tanh-and-sigmoid": tanh,
    "tanh-from-sigmoid": tanh,
    "tanh-parts": tanh,
    "tanh-derivative": tanh,
    "tanh-backward": tanh,
    "relu": relu,
    "relu-derivative": relu,
    "relu-backward": relu,
    # softmax.md
    "softmax": softmax,
    "softmax-of-two": softmax,
    "softmax-shift": softmax,
    "softmax-logarithm": softmax,
    "softmax-log-sum": softmax,
    "softmax-log-derivative": softmax,
    "softmax-derivative": softmax,
    "softmax-backward": softmax,
    "softmax-gradient-sum": softmax,
    "softmax-example": softmax_example,
    # quadratic.md
    "quadratic": sigmoid_quadratic,
    "quadratic-bell-curve": bell_curve,
    "quadratic-derivative": sigmoid_quadratic,
    "quadratic-mean-over-outputs": sigmoid_quadratic,
    "quadratic-sigmoid": sigmoid_quadratic,
    "quadratic-slowest-when-most-wrong": neuron_that_should_answer_0,
    # cross-entropy.md
    "surprise": surprise,
    "cross-entropy-sigmoid": sigmoid_batch,
    "cross-entropy-softmax": softmax_batch,
    "cross-entropy-of-ignorance": plain,
    "cross-entropy-softmax-derivative": softmax_batch,
    "cross-entropy-sigmoid-derivative": one_output,
    "cross-entropy-and-entropy": two_distributions,
    # closed-forms.md
    "sigmoid-with-cross-entropy": one_output,
    "softmax-with-cross-entropy": one_row,
    "weight-needs-its-target": neuron,
    "sigmoid-without-target": neuron,
    "softmax-without-target": one_row,
    "targets-that-sum-to-s": one_row_with_any_targets,
    "not-a-gradient": one_row_with_any_targets,
    "sigmoid-logarithms": one_output,
    "sigmoid-cost-from-z": one_output,
    "softplus-turned-round": one_output,
    "sigmoid-cost-without-overflow": one_output,
    "softmax-logarithms": one_row,
    "softmax-cost-from-z": one_row,
    "softmax-twice": softmax_twice,
    "softmax-twice-ceiling": softmax_twice,
    "softmax-twice-of-ten": plain,
    # sgd.md
    "sgd-step": plain_descent,
    "sgd-descends": one_step,
    "sgd-in-a-bowl": bowl,
    "gradient-of-a-mean": mean,
    "sum-or-mean": mean,
    "momentum": momentum,
    "momentum-sum": momentum,
    "momentum-series": series,
    "momentum-with-the-rate-inside": momentum,
    "momentum-both-forms": momentum,
    "nesterov-looking-ahead": nesterov,
    "nesterov-without-the-ball": nesterov,
    "nesterov": nesterov,
    "weight-decay": penalty,
    "weight-decay-step": decaying,
    "clipping": clipping,
}

TABLES = {  # the worlds of tables whose heads are formulas: the first column is given, the others follow from it
    "sigmoid.md": sigmoid,
    "tanh-and-relu.md": tanh,
    "quadratic.md": probability,
    "cross-entropy.md": probability,
}

CHEAT_SHEET = {  # the worlds of the rows of cheat-sheet.md, by the names of the code in their first cells
    ("Linear",): linear,
    ("ReLU",): relu,
    ("Sigmoid",): sigmoid,
    ("Softmax",): lambda: sheet("softmax", "quadratic"),
    ("Tanh",): tanh,
    ("Quadratic",): sigmoid_quadratic,
    ("Quadratic", "Sigmoid"): sigmoid_quadratic,
    ("Quadratic", "Softmax"): lambda: sheet("softmax", "quadratic"),
    ("CrossEntropy", "Sigmoid"): lambda: sheet("sigmoid", "cross-entropy"),
    ("CrossEntropy", "Softmax"): lambda: sheet("softmax", "cross-entropy"),
    ("lr",): plain_descent,
    ("momentum",): momentum,
    ("nesterov",): nesterov,
    ("weight_decay",): decaying,
    ("clip_norm",): clipping,
    (): plain,
}


# The formulas on the pages.


def prose(page):
    """Return a page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", PAGES[page].read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def formulas_of(page):
    """Return the LaTeX of each displayed formula of a page by its label, without the language that it ends in."""
    found = re.findall(r"^\$\$$(.*?)^\$\$(?: \(([\w-]+)\))?$", prose(page), re.MULTILINE | re.DOTALL)
    assert len(found) * 2 == prose(page).count("$$"), f"{page}: write each displayed formula as $$, LaTeX, $$ (label)"
    language = "" if page not in TRANSLATIONS else f"-{page.partition('/')[0]}"
    assert all(label.endswith(language) and label for _, label in found), f"{page}: a formula has no label"
    labels = [label.removesuffix(language) for _, label in found]
    assert len(labels) == len(set(labels)), f"{page}: a label is there twice"
    return {label: latex for (latex, _), label in zip(found, labels, strict=True)}


FORMULAS = {(page, label): latex for page in PAGES for label, latex in formulas_of(page).items()}


def test_each_formula_has_a_check_and_each_check_a_formula():
    assert sorted(label for page, label in FORMULAS if page not in TRANSLATIONS) == sorted(WORLDS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "label"), [pytest.param(*key, marks=[pytest.mark.slow] * (key[0] in TRANSLATIONS)) for key in FORMULAS]
)
def test_every_line_of_the_formula_is_true(page, label):
    holds(FORMULAS[page, label], WORLDS[label]())


@pytest.mark.slow
@pytest.mark.parametrize(("page", "label"), [key for key in FORMULAS if key[0] not in TRANSLATIONS])
def test_a_wrong_sign_or_number_in_the_formula_is_noticed(page, label):
    latex, world = FORMULAS[page, label], WORLDS[label]()
    for slip in slips(latex):
        try:
            holds(slip, world)
        except (ValueError, ArithmeticError, TypeError):
            continue
        pytest.fail(f"the check of {label} would not notice:\n{slip}")


def slips(latex):
    """Return the formula with each sign turned round, and with each number one larger: one at a time."""
    wanted = r"[+-]" if r"\le" in re.findall(r"\\\w+", latex) else r"[+-]|\d+"  # a bound may be true with more room
    for match in re.finditer(wanted, latex):
        slip = {"+": "-", "-": "+"}.get(match[0]) or str(int(match[0]) + 1)
        yield latex[: match.start()] + slip + latex[match.end() :]


def test_a_translation_has_the_same_formulas():
    for page in TRANSLATIONS:
        assert formulas_of(page) == formulas_of(page.removeprefix("zh/")), page


def tables(page):
    """Return (heads, rows) for each table of a page whose first head is a formula."""
    for table in re.findall(r"(?:^\|.*\|\n)+", prose(page), re.MULTILINE):
        head, _, *rows = ([cell.strip() for cell in line.strip("|\n").split("|")] for line in table.splitlines())
        if head[0].startswith("$"):
            yield [cell.strip("$") for cell in head], rows


@pytest.mark.parametrize("page", PAGES)
def test_the_numbers_in_tables_are_right_to_their_last_digit(page):
    name = Path(page).name
    assert bool(list(tables(page))) == (name in TABLES)
    for head, rows in tables(page):
        world = TABLES[name]()
        for row in rows:
            for formula, cell in zip(head[1:], row[1:], strict=True):
                value = value_of(formula, world, {world.names[head[0]]: row[0]})
                assert f"{value:.{len(cell.partition('.')[2])}f}" == cell, f"{formula} at {head[0]} = {row[0]}"


def rows_of_the_sheet(page):
    """Return (names of code in the first cell, cells) for each row of a cheat sheet."""
    for row in re.findall(r"^\| ?(.*?) ?\|$", PAGES[page].read_text(encoding="utf-8"), re.MULTILINE):
        first, *cells = (cell.strip() for cell in row.split("|"))
        yield tuple(sorted(re.findall(r"`(\w+)`", first.replace("`SGD`", "")))), cells


SHEETS = [page for page in PAGES if page.endswith("cheat-sheet.md")]
ON_SHEETS = [
    pytest.param(names, latex, id=f"{page}: {latex}", marks=[pytest.mark.slow] * (page in TRANSLATIONS))
    for page in SHEETS
    for names, cells in rows_of_the_sheet(page)
    for latex in re.findall(r"\$([^$]+)\$", " ".join(cells))
    if re.search(r"=|\\approx", latex)
]


@pytest.mark.parametrize(("names", "latex"), ON_SHEETS)
def test_every_formula_of_the_cheat_sheet_is_true_and_a_slip_in_it_is_noticed(names, latex):
    holds(latex, CHEAT_SHEET[names]())
    for slip in slips(latex):
        with pytest.raises((ValueError, ArithmeticError, TypeError)):
            holds(slip, CHEAT_SHEET[names]())


@pytest.mark.parametrize("page", SHEETS)
def test_the_cheat_sheet_has_every_layer_cost_and_option_and_the_ranges_and_shapes(page):
    rows = list(rows_of_the_sheet(page))
    assert {names for names, _ in rows} == set(CHEAT_SHEET)
    public = [item for item in map(nn.__dict__.get, nn.__all__) if isinstance(item, type)]
    layers = {item.__name__: item for item in public if issubclass(item, nn.Layer) and item is not nn.Layer}
    costs = {item.__name__ for item in public if issubclass(item, nn.Cost) and item is not nn.Cost}
    assert {*layers, *costs, *nn.SGD(1).options()} == {name for names in CHEAT_SHEET for name in names}
    ranges = {names[0]: cells[2] for names, cells in rows if len(cells) == 4 and names and cells[2]}
    assert set(ranges) == set(layers)
    for name, cell in ranges.items():
        low, high = cell.replace(r"\infty", "inf").strip("$[]()").split(",")
        assert (float(low), float(high)) == (layers[name].range or (-math.inf, math.inf))

    (shapes,) = (cells for _, cells in rows if any("(outputs,)" in cell or "(输出数,)" in cell for cell in cells))
    layer, x = nn.Sequential(nn.Linear(3, 2), seed=0).layers[0], np.ones((4, 3), np.float32)
    z = layer.forward(x)
    gradients = layer.backward(z), layer.gradients["weight"], layer.gradients["bias"], z
    sizes = {"n": 4, "inputs": 3, "outputs": 2, "输入数": 3, "输出数": 2}
    for cell, array, gradient in zip(shapes, (x, layer.weight, layer.bias, z), gradients, strict=True):
        shape = tuple(sizes[word] for word in re.findall(r"\w+", cell))
        assert shape == array.shape == gradient.shape


def test_the_picture_of_the_cheat_sheet_is_of_this_page():
    program = runpy.run_path(str(DOCS / "cheat_sheet.py"))
    with PIL.Image.open(DOCS / "cheat_sheet.png") as picture:
        made_from = picture.text["Keywords"]
    assert made_from == program["digest"](), "the picture is out of date: python docs/cheat_sheet.py draws it"
    figure = program["draw"]()
    right = max(text.get_window_extent(figure.canvas.get_renderer()).x1 for text in figure.texts)
    assert right <= figure.bbox.x1, "a row is wider than the picture"
    shown = " ".join(text.get_text() for text in figure.texts)
    for name in {name for names in CHEAT_SHEET for name in names}:
        assert name in shown


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_do_what_the_page_shows(page):
    text = PAGES[page].read_text(encoding="utf-8")
    source = "\n".join(re.findall(r"^```pycon$(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    example = doctest.DocTestParser().get_doctest(source, {}, page, page, 0)
    assert example.examples
    results = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example)
    assert results.failed == 0


# The code that stands beside the formulas.

CODE = {  # what must still stand in each excerpt
    ("network.py", "Sequential.backpropagate"): ["error = pair.error(z, y, t", "error = layer.backward(error, out)"],
    ("gradcheck.py", "_central"): ["(high - low) / (2 * h)", "(high2 - low2) / (4 * h)", "(4 * once - twice) / 3"],
    ("gradcheck.py", "gradcheck"): ["_COMPLEX_STEP * 1j", "np.imag(steps) / _COMPLEX_STEP"],
    ("layers.py", "Linear.forward"): ['product(x, self.parameters["weight"]', 'np.add(z, self.parameters["bias"]'],
    ("layers.py", "Linear.backward_parameters"): ["product(self.x.T, grad", "np.add.reduce(grad, axis=0"],
    ("layers.py", "Linear.backward"): ['product(grad, self.parameters["weight"].T'],
    ("layers.py", "Sigmoid.forward"): ["np.multiply(x, -1.0", "np.exp(y", "np.add(y, 1", "np.divide(1, y"],
    ("layers.py", "Sigmoid.backward"): ["np.subtract(1, self.y", "np.multiply(slope, self.y", "(slope, grad"],
    ("layers.py", "Tanh.forward"): ["np.tanh(x"],
    ("layers.py", "Tanh.backward"): ["np.multiply(self.y, self.y", "np.subtract(1, slope", "np.multiply(slope, grad"],
    ("layers.py", "ReLU.forward"): ["np.maximum(x, 0"],
    ("layers.py", "ReLU.backward"): ["np.sign(self.y", "np.multiply(slope, grad"],
    ("layers.py", "Softmax.forward"): ["np.subtract(x, largest", "np.exp(y", "np.divide(y, np.add.reduce(y, axis=1"],
    ("layers.py", "Softmax.backward"): [
        "np.multiply(grad, self.y",
        "np.subtract(grad, total",
        "np.multiply(dx, self.y",
    ],
    ("costs.py", "Quadratic.value"): ["np.subtract(y, t", "difference * difference / (2 * len(y))"],
    ("costs.py", "Quadratic.gradient"): ["np.subtract(y, t", "np.multiply(difference, 1 / len(y)"],
    ("costs.py", "SigmoidQuadratic.error"): ["self.cost.gradient(y, t", "np.subtract(1, y", "(error, y", "(error, dy"],
    ("costs.py", "_Independent.value"): ["-(_sum_t_log_y(t, y) + _sum_t_log_y(1 - t, 1 - y)) / len(y)"],
    ("costs.py", "_Distribution.value"): ["-_sum_t_log_y(t, y) / len(y)"],
    ("costs.py", "_Distribution.gradient"): ["_quotient(t, y", "-1 / len(y)"],
    ("costs.py", "_Independent.gradient"): ["np.subtract(_quotient(1 - t, 1 - y), _quotient(t, y)", "1 / len(y)"],
    ("costs.py", "SoftmaxCrossEntropy.error"): ["np.subtract(y, t", "np.multiply(error, 1 / len(y)"],
    ("costs.py", "SigmoidCrossEntropy.error"): ["np.subtract(y, t", "np.multiply(error, 1 / len(y)"],
    ("costs.py", "SigmoidCrossEntropy._terms"): ["np.maximum(z, 0) - z * t", "np.log1p(np.exp(below))"],
    ("costs.py", "SoftmaxCrossEntropy.values"): [
        "z - z.max(axis=1",
        "t * shifted",
        "np.log(np.exp(shifted).sum(axis=1))",
    ],
    ("optimizers.py", "SGD.update", "direction = self.velocity"): ["np.subtract(parameters, np.multiply(direction, lr"],
    ("optimizers.py", "SGD.update"): [
        "float(self.clip_norm) / norm",
        "self.weight_decay",
        "float(self.momentum), out=self.velocity",
    ],
}


def excerpts(page):
    """Return (file, options) for each literalinclude of a page."""
    text = page.read_text(encoding="utf-8")
    for path, options in re.findall(r"^```\{literalinclude\} (\S+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield page.parent / path, dict(re.findall(r"^:([\w-]+): ?(.*)$", options, re.MULTILINE))


def definition(file, name):
    """Return the syntax tree of a function or class, by its name in the file."""
    node = ast.parse(file.read_text(encoding="utf-8"))
    for part in name.split("."):
        node = next(child for child in node.body if getattr(child, "name", None) == part)
    return node


def selected(file, options):
    """Return what Sphinx will show, without Sphinx: the lines of the object or the file, or some of them."""
    lines = file.read_text(encoding="utf-8").splitlines()
    if "pyobject" in options:
        node = definition(file, options["pyobject"])
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        lines = lines[first - 1 : node.end_lineno]

    def line_with(option):
        return next(i for i, line in enumerate(lines) if options[option] in line)

    if "start-at" in options:
        lines = lines[line_with("start-at") :]
    if "start-after" in options:
        lines = lines[line_with("start-after") + 1 :]
    if "end-at" in options:
        lines = lines[: line_with("end-at") + 1]
    return textwrap.dedent("\n".join(lines))


def subject(file, options):
    """Return the key of an excerpt in CODE."""
    return (file.name, options["pyobject"], *([options["start-after"]] if "start-after" in options else []))


@pytest.mark.parametrize("page", PAGES)
def test_the_excerpts_show_the_code_that_the_formula_is_about(page):
    for file, options in excerpts(PAGES[page]):
        assert set(options) <= {"language", "caption", "pyobject", "start-at", "start-after", "end-at", "dedent"}
        text = selected(file, options)
        for wanted in CODE[subject(file, options)]:
            assert wanted in text, f"{page}: {options} shows\n{text}"


def test_each_line_of_code_that_is_asked_for_is_on_a_page():
    originals = [page for page in PAGES if page not in TRANSLATIONS]
    shown = {subject(file, options) for page in originals for file, options in excerpts(PAGES[page])}
    assert shown == set(CODE)


# numnet's own results, against SymPy's at random points.

SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 5))]


class Numbers:
    """Numbers for the free symbols of a world, and arrays of whatever follows from them."""

    def __init__(self, world, seed):
        rng = np.random.default_rng(seed)
        self.world = world
        self.values = {symbol: rng.uniform(float(low), float(high)) for symbol, (low, high) in world.drawn.items()}

    def array(self, value):
        """Return the numbers of a family by its name, or of a dictionary of expressions: rows are samples."""
        family = self.world.names[value] if isinstance(value, str) else value
        parts = [self.world.written_out(part) for part in family.values()]
        numbers = np.array(sympy.lambdify(list(self.values), parts)(*self.values.values()), dtype=float)
        return numbers.reshape(max(family)) if len(max(family)) == 2 else numbers[None]

    def number(self, value):
        return self.array({(1,): value}).item()

    def gradient(self, name):
        """Return dE/d(each of a family), by SymPy."""
        cost = self.world.names["E"]
        return self.array({at: self.world.derivative(cost, by) for at, by in self.world.names[name].items()})


def close(actual, desired):
    np.testing.assert_allclose(actual, desired, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("seed", SEEDS)
def test_linear_layer(seed):
    numbers = Numbers(linear(), seed)
    net = nn.Sequential(nn.Linear(3, 2), dtype="float64")
    layer = net.layers[0]
    layer.weight, layer.bias = numbers.array("w"), numbers.array("b")[0]
    close(layer.forward(numbers.array("x")), numbers.array("z"))
    close(layer.backward(numbers.array("g")), numbers.gradient("x"))
    close(layer.gradients["weight"], numbers.gradient("w"))
    close(layer.gradients["bias"], numbers.gradient("b")[0])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("world", "layer"), [(sigmoid, nn.Sigmoid()), (tanh, nn.Tanh()), (relu, nn.ReLU())], ids=["sigmoid", "tanh", "relu"]
)
def test_activation(world, layer, seed):
    numbers = Numbers(world(), seed)
    z, y, g = (np.array([[numbers.number(numbers.world.names[name])]]) for name in "zyg")
    close(layer.forward(z), [[y.item()]])
    derivative = numbers.world.derivative(numbers.world.names["E"], numbers.world.names["z"])
    close(layer.backward(g), [[numbers.number(derivative)]])


@pytest.mark.parametrize("seed", SEEDS)
def test_softmax_layer(seed):
    numbers = Numbers(softmax(), seed)
    layer = nn.Softmax()
    close(layer.forward(numbers.array("z")), numbers.array("y"))
    close(layer.backward(numbers.array("g")), numbers.gradient("z"))


COSTS = {"quadratic": nn.Quadratic, "cross-entropy": nn.CrossEntropy}
ENDINGS = {"sigmoid": nn.Sigmoid, "softmax": nn.Softmax, "tanh": nn.Tanh}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("ending", "cost"),
    [(ending, cost) for ending in ENDINGS for cost in COSTS if (ending, cost) != ("tanh", "cross-entropy")],
)
def test_cost_and_closed_form(ending, cost, seed):
    numbers = Numbers(batch(ending, cost), seed)
    z, y, t = (numbers.array(name) for name in "zyt")
    value = numbers.number(numbers.world.names["E"])
    close(COSTS[cost]()(y, t), value)
    pair = COSTS[cost]().pair([ENDINGS[ending]()])
    bare = pair.cost if cost == "cross-entropy" else COSTS[cost]()
    close(bare.gradient(y, t), numbers.gradient("y"))
    outputs = pair.layer.forward(z)
    close(outputs, y)
    close(pair.error(z, outputs, t), numbers.gradient("z"))
    close(pair.value(z, outputs, t), value)


@pytest.mark.parametrize("seed", SEEDS)
def test_cross_entropy_from_z_where_y_is_too_small(seed):
    numbers = Numbers(one_row(), seed)
    z, t = numbers.array("z") * 1000, numbers.array("t")
    exact = sum(part * (sympy.Float(max(z[0]), 50) - sympy.Float(at, 50)) for part, at in zip(t[0], z[0], strict=True))
    pair = nn.CrossEntropy().pair([nn.Softmax()])
    close(pair.value(z, pair.layer.forward(z), t), float(exact))


@pytest.mark.parametrize("seed", SEEDS)
def test_softmax_twice(seed):
    numbers = Numbers(softmax_twice(), seed)
    first, second = nn.Softmax(), nn.Softmax()
    p = second.forward(first.forward(numbers.array("z")))
    close(p, numbers.array("p"))
    close(first.backward((p - numbers.array("t")) / 2), numbers.gradient("z"))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("options", [(), ("momentum",), ("momentum", "weight_decay", "clip_norm")], ids="-".join)
def test_sgd_against_the_unrolled_recurrence(options, nesterov, seed):
    """Four steps of a weight and a bias, with any gradients, written out as one expression each."""
    if nesterov and "momentum" not in options:
        nesterov = False
    world = World()
    lr, mu, decay, clip = (
        world.free(name, low=low, high=high) if name == "lr" or name in options else sympy.Integer(0)
        for name, low, high in [("lr", 0.1, 1), ("momentum", 0.1, 0.9), ("weight_decay", 0.1, 0.5), ("clip_norm", 1, 3)]
    )
    start, slopes = world.free("start", range(2)), world.free("g", range(4), range(2))
    ends = []
    for p in range(2):
        w, ball, u = start[p], start[p], sympy.Integer(0)
        for s in range(4):
            g = slopes[s, p]
            if clip:
                g *= sympy.Min(1, clip / sympy.sqrt(slopes[s, 0] ** 2 + slopes[s, 1] ** 2))
            g += decay * w if p == 0 else 0
            u = mu * u - lr * g
            ball += u
            w = ball + mu * u if nesterov else ball
        ends.append(w)

    numbers = Numbers(world, seed)
    sgd = nn.SGD(
        lr=numbers.number(lr), nesterov=nesterov, **{name: numbers.number(world.names[name]) for name in options}
    )
    net = nn.Sequential(nn.Linear(1, 1), dtype="float64")
    net.parameters = numbers.array("start")[0]
    sgd.start(net)
    for s in range(4):
        sgd.update(net.parameters, np.array([numbers.number(slopes[s, p]) for p in range(2)]), sgd.lr)
    close(net.parameters, [numbers.number(end) for end in ends])
