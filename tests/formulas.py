r"""Reads the formulas of docs/derivations as mathematics: LaTeX in, SymPy out, no formula written twice.

A `World` says what the names in a formula stand for: free symbols, and others defined by them, as y = f(z) by z.
`holds` reads a formula, works out both sides of every relation in it, and compares them at random points to 30 digits.
Any ``\frac{\partial A}{\partial B}`` becomes ``sympy.diff`` of A, written out in terms of B by the definitions.

The grammar is the little that the pages use: sums, products, powers, ``\frac``, ``\partial``, ``\sum``, ``\ln`` and its
like, subscripts that are indices, ``[i = j]`` for 1 where that holds, else 0, ``pmatrix``, and x^T for a transpose.
Everything else is a FormulaError.
"""

from __future__ import annotations

import itertools
import random
import re

import sympy

DIGITS = 40
CLOSE = sympy.Float(10) ** -30
RELATIONS = {"=", r"\le", r"\approx"}
COMPARISONS = {"=": "__eq__", r"\ne": "__ne__", ">": "__gt__"}
FUNCTIONS = {
    r"\ln": sympy.log,
    r"\exp": sympy.exp,
    r"\sinh": sympy.sinh,
    r"\cosh": sympy.cosh,
    r"\tanh": sympy.tanh,
    r"\sqrt": sympy.sqrt,
    r"\max": sympy.Max,
    r"\min": sympy.Min,
    r"\operatorname{Im}": lambda value: sympy.im(sympy.expand(value)),
}
FENCES = {  # opening: closing, and what it does
    "(": (")", lambda value: value),
    "{": ("}", lambda value: value),
    r"\lvert": (r"\rvert", sympy.Abs),
    r"\lVert": (r"\rVert", lambda value: sympy.sqrt(sum(part**2 for part in _plain(value)))),
}
ORDER = sympy.Symbol("O")  # O(h^2) is read as this times h^2
TOKEN = re.compile(
    r"\\operatorname\{Im\}|\\hat [a-z]|\\(?:begin|end)\{\w+\}|\\\\|\\[a-zA-Z]+|\d+(?:\.\d+)?|[a-zA-Z]|\S"
)
LAYOUT = re.compile(r"\\left(?![a-z])|\\right(?![a-z])|\\cdot|\\q?quad|\\[,;!]|\\(?:begin|end)\{aligned\}")


class FormulaError(ValueError):
    """A formula cannot be read, or does not hold."""


class Family(dict):
    """Symbols by their indices; z[1] is short for z[1,]."""

    def __getitem__(self, index):
        return super().__getitem__(index if isinstance(index, tuple) else (index,))


class World:
    """What the names in a formula stand for: free symbols, and others that are defined by them.

    `ranges` says how far each index letter runs, from 1 unless it is a `range`.
    """

    def __init__(self, **ranges):
        self.ranges = {name: range(1, r + 1) if isinstance(r, int) else r for name, r in ranges.items()}
        self.names = {"e": sympy.E, r"\pi": sympy.pi}
        self.definitions = {}
        self.drawn = {}
        self._family, self._points = {}, {}

    def free(self, name, *axes, low=-2.0, high=2.0):
        """Add a symbol, or one for each value of the indices, drawn at random for a comparison."""
        return self._add(name, axes, lambda *index: None, low, high)

    def define(self, name, definition, *axes):
        """Add a name for an expression, or for one for each value of the indices; a later may use an earlier one."""
        return self._add(name, axes, definition if axes else lambda: definition)

    def given(self, name, matrix):
        """Add symbols that have fixed values: a matrix, or for one row a vector."""
        matrix = sympy.Matrix(matrix)
        self.names[name] = Family()
        for i, j in itertools.product(range(matrix.rows), range(matrix.cols)):
            index = (j + 1,) if matrix.rows == 1 else (i + 1, j + 1)
            self._symbol(name, index, None, matrix[i, j], matrix[i, j])
        return self.names[name]

    def call(self, name, function):
        """Add a function; written without arguments it is called with none."""
        self.names[name] = function
        return function

    def _add(self, name, axes, definition, low=0.0, high=0.0):
        self.names[name] = Family()
        for index in itertools.product(*(self.ranges.get(axis, axis) for axis in axes)):
            self._symbol(name, index, definition(*index), low, high)
        if not axes:
            self.names[name] = self.names[name][()]
        return self.names[name]

    def _symbol(self, name, index, definition, low, high):
        sign = {"positive": True} if low > 0 else {}
        symbol = sympy.Symbol(f"{name}_{index}" if index else name, real=True, **sign)
        self.names[name][index] = symbol
        self._family[symbol] = name
        if definition is None:
            self.drawn[symbol] = (low, high)
        else:
            self.definitions[symbol] = sympy.sympify(definition)

    def written_out(self, value, stop=None):
        """Return an expression with all definitions put in, but for those of the family named `stop`."""
        definitions = {s: d for s, d in self.definitions.items() if self._family[s] != stop}
        while any(symbol in definitions for symbol in value.free_symbols):
            value = value.xreplace(definitions)
        return value

    def derivative(self, value, symbol):
        """Return the derivative, by all the ways in which the value depends on the symbol."""
        if symbol not in self._family:
            raise FormulaError(f"a derivative must be by a symbol, not by {symbol}")
        family = self._family[symbol]
        value = self.written_out(sympy.sympify(value), family)
        if symbol in self.definitions and not any(self._family.get(s) == family for s in value.free_symbols):
            raise FormulaError(f"{value} is not written by way of {family}")
        return sympy.diff(value, symbol)

    def point(self, seed):
        """Return random values for the free symbols, and with them for the defined ones."""
        if seed in self._points:
            return self._points[seed]
        draw = random.Random(seed).uniform
        values = {
            symbol: sympy.N(low if low == high else draw(low, high), DIGITS + 10)
            for symbol, (low, high) in self.drawn.items()
        }
        for symbol, definition in self.definitions.items():  # in the order of their definition
            values[symbol] = sympy.N(definition.xreplace(values), DIGITS + 10)
        self._points[seed] = values
        return values


def holds(formula, world, points=6):
    """Raise FormulaError unless every relation in the formula is true in the world."""
    statements, letters = _Parser(formula, world).statements()
    if not any(len(sides) > 1 for sides in statements):
        raise FormulaError(f"no relation in {formula}")
    letters = sorted(letters & set(world.ranges))
    for index in itertools.product(*(world.ranges[letter] for letter in letters)):
        at = dict(zip(letters, index, strict=True))
        for sides in statements:
            results = [_whole(side(at)) for _, side, _ in sides]
            for k, (relation, _, source) in enumerate(sides[1:]):
                for seed in range(points):
                    _compare(results[k], relation, results[k + 1], world, seed, f"{source} (where {at})")


def value_of(formula, world, values):
    """Return the value of an expression with the given values of the free symbols."""
    side = _Parser(formula, world).statements()[0][0][0][1]
    values = {symbol: sympy.sympify(value) for symbol, value in values.items()}
    return sympy.N(world.written_out(_whole(side({}))).xreplace(values), DIGITS)


def _compare(left, relation, right, world, seed, source):
    lefts, rights = _plain(left), _plain(right)
    if len(lefts) != len(rights) or _shape(left) != _shape(right):
        raise FormulaError(f"shapes {_shape(left)} and {_shape(right)} differ: {source}")
    for a, b in zip(lefts, rights, strict=True):
        if b.has(ORDER):
            claimed = b.coeff(ORDER)
            _compare_orders(sympy.cancel(world.written_out(a - b + ORDER * claimed)), claimed, source)
            continue
        a, b = (sympy.N(side.xreplace(world.point(seed)), DIGITS) for side in (a, b))
        if not (a.is_number and b.is_number and a.is_finite and b.is_finite):
            raise FormulaError(f"{a} and {b} are not numbers: {source}")
        slack = CLOSE * (1 + abs(a) + abs(b))
        if relation == r"\approx":  # as good as the digits that are written
            slack += sympy.Rational(1, 2) / 10 ** max(len(part) for part in re.findall(r"\.(\d+)", source))
        if not (a <= b + slack if relation == r"\le" else abs(a - b) <= slack):
            raise FormulaError(f"{sympy.N(a, 12)} {relation} {sympy.N(b, 12)} is false: {source}")


def _compare_orders(difference, claimed, source):
    """Check that a difference is of just the order of the O(h^p) that is claimed for it: for polynomials in h."""
    (h,) = claimed.free_symbols
    lowest = min(power for (power,) in sympy.Poly(sympy.expand(difference), h).monoms())
    if claimed != h**lowest:
        raise FormulaError(f"the difference is O({h}^{lowest}): {source}")


class _Parser:
    """Recursive descent; each part becomes a function from the values of the index letters to an expression."""

    def __init__(self, formula, world):
        self.tokens = [token for token in TOKEN.findall(LAYOUT.sub(" ", formula))]
        self.world, self.place, self.letters = world, 0, set()

    def peek(self, ahead=0):
        return self.tokens[self.place + ahead] if self.place + ahead < len(self.tokens) else None

    def take(self, *wanted):
        token = self.peek()
        if wanted and token not in wanted:
            raise FormulaError(f"expected {' or '.join(wanted)}, found {token} after {self.source(0)}")
        self.place += 1
        return token

    def accept(self, *wanted):
        return self.take() if self.peek() in wanted else None

    def source(self, start):
        return " ".join(self.tokens[start : self.place])

    def statements(self):
        """Return the chains of relations, each a list of (relation, side, source), and the index letters."""
        found = []
        while self.peek() is not None:
            self.accept("&")
            sides = [(None, self.sum(), None)]
            while True:
                start = self.place
                if self.peek() == r"\\" and self.peek(1) == "&":
                    self.place += 2
                else:
                    self.accept("&")
                relation = self.accept(*RELATIONS)
                if not relation:
                    self.place = start
                    break
                self.accept("&")
                sides.append((relation, self.sum(), self.source(start)))
            found.append(sides)
            if self.peek() is not None:
                self.take(r"\\")
        return found, self.letters

    def sum(self):
        sign = self.accept("+", "-")
        terms = [(sign, self.product())]
        while True:
            if self.peek() == r"\\" and self.peek(1) == "&" and self.peek(2) in ("+", "-"):  # a sum goes on below
                self.place += 2
            sign = self.accept("+", "-")
            if not sign:
                break
            terms.append((sign, self.product()))

        def total(at):
            values = [_whole(term(at)) if len(terms) > 1 or sign else term(at) for sign, term in terms]
            if len(values) == 1:
                return -_whole(values[0]) if terms[0][0] == "-" else values[0]
            rows = max(v.rows if isinstance(v, sympy.MatrixBase) else 0 for v in values)
            values = [sympy.Matrix(sympy.ones(rows, 1) * v) if rows and v.rows == 1 else v for v in values]
            result = -values[0] if terms[0][0] == "-" else values[0]
            for (sign, _), value in zip(terms[1:], values[1:], strict=True):
                result = result - value if sign == "-" else result + value
            return result

        return total

    def product(self):
        factors = [self.factor()]
        while self.starts_factor():
            factors.append(self.factor())

        def result(at):
            if len(factors) == 1:
                return factors[0](at)
            values = [_whole(factor(at)) for factor in factors]
            answer = values[0]
            for value in values[1:]:
                answer = answer * value
            return answer

        return result

    def starts_factor(self):
        token = self.peek()
        return token is not None and (
            token[0].isalnum()
            or token in FENCES
            or token in FUNCTIONS
            or token in ("[", r"\frac", r"\sum", r"\begin{pmatrix}")
            or (token in self.world.names)
        )

    def factor(self):
        token = self.take()
        if token is None:
            raise FormulaError(f"ends too early: {self.source(0)}")
        if token[0].isdigit():
            number = sympy.Rational(token)
            part = lambda at: number  # noqa: E731
        elif token in FENCES:
            closing, function = FENCES[token]
            inner = self.sum()
            self.take(closing)
            part = lambda at: function(inner(at))  # noqa: E731
        elif token == "[":
            part = self.iverson()
        elif token == r"\frac":
            part = self.fraction()
        elif token == r"\sum":
            return self.series()
        elif token == r"\begin{pmatrix}":
            part = self.matrix()
        elif token in FUNCTIONS:
            return self.function(FUNCTIONS[token])
        elif token == "O":
            inner = self.factor()
            return lambda at: ORDER * inner(at)
        elif token in self.world.names and callable(self.world.names[token]):
            arguments = self.arguments() if self.peek() == "(" else []
            function = self.world.names[token]
            part = lambda at: function(*(argument(at) for argument in arguments))  # noqa: E731
        else:
            part = self.name(token)
        return self.power(part)

    def power(self, part):
        if not self.accept("^"):
            return part
        if self.peek() == "T":
            self.take()
            return lambda at: _whole(part(at)).T
        exponent = self.factor() if self.peek() == "{" else self.single()
        return lambda at: part(at) ** exponent(at)

    def single(self):
        token = self.take()
        return (lambda at: sympy.Rational(token)) if token[0].isdigit() else self.name(token)

    def name(self, token):
        indices = []
        if self.accept("_"):
            if self.accept("{"):
                while not self.accept("}"):
                    first = self.index()
                    sign = self.accept("+", "-")
                    indices.append(_shifted(first, sign, self.index()) if sign else first)
            else:
                indices.append(self.index())
        if not indices and token in self.world.ranges:
            self.letters.add(token)
            return lambda at: sympy.Integer(at[token])
        if token not in self.world.names:
            raise FormulaError(f"{token} is not defined, in {self.source(0)}")
        named = self.world.names[token]
        if not indices:
            return lambda at: named
        if not isinstance(named, dict):
            raise FormulaError(f"{token} has no index, in {self.source(0)}")

        def part(at):
            index = tuple(index(at) for index in indices)
            if index not in named:
                raise FormulaError(f"{token} has no index {index}")
            return named[index]

        return part

    def index(self):
        token = self.take()
        if token.isdigit():
            return lambda at: int(token)
        if token not in self.world.ranges:
            raise FormulaError(f"{token} is no index, in {self.source(0)}")
        self.letters.add(token)
        return lambda at: at[token]

    def arguments(self):
        self.take("(")
        found = [self.sum()]
        while self.accept(","):
            found.append(self.sum())
        self.take(")")
        return found

    def function(self, function):
        exponent = self.single() if self.accept("^") else None
        arguments = self.arguments() if self.peek() == "(" else [self.factor()]

        def part(at):
            value = function(*(argument(at) for argument in arguments))
            return value ** exponent(at) if exponent else value

        return part

    def iverson(self):
        left = self.sum()
        comparison = self.take(*COMPARISONS)
        right = self.sum()
        self.take("]")

        def part(at):
            a, b = sympy.sympify(left(at)), sympy.sympify(right(at))
            if comparison in ("=", r"\ne"):
                return sympy.Integer((a == b) is (comparison == "="))
            return sympy.Piecewise((1, getattr(a, COMPARISONS[comparison])(b)), (0, True))

        return part

    def fraction(self):
        self.take("{")
        if self.accept(r"\partial"):
            return self.derivative()
        above = self.sum()
        self.take("}")
        self.take("{")
        below = self.sum()
        self.take("}")
        return lambda at: _whole(above(at)) / below(at)

    def derivative(self):
        above = None if self.peek() == "}" else self.product()
        self.take("}")
        self.take("{")
        self.take(r"\partial")
        below = self.name(self.take())
        self.take("}")
        above = above or self.product()  # an operator, on the rest of the product

        def part(at):
            value, by = above(at), below(at)
            if isinstance(by, dict):
                return _whole({index: self.world.derivative(value, symbol) for index, symbol in by.items()})
            return self.world.derivative(value, by)

        return part

    def series(self):
        self.take("_")
        first = None
        if self.accept("{"):
            letter = self.take()
            if self.accept("="):
                first = self.sum()
            self.take("}")
        else:
            letter = self.take()
        last = None
        if self.accept("^"):
            last = self.factor() if self.peek() == "{" else self.single()
        outer = letter in self.letters
        body = self.product()
        if not outer:
            self.letters.discard(letter)

        def part(at):
            values = range(int(first(at)), int(last(at)) + 1) if first else self.world.ranges[letter]
            return sum((body({**at, letter: value}) for value in values), sympy.Integer(0))

        return part

    def matrix(self):
        rows = [[self.sum()]]
        while not self.accept(r"\end{pmatrix}"):
            if self.take("&", r"\\") == "&":
                rows[-1].append(self.sum())
            else:
                rows.append([self.sum()])
        return lambda at: sympy.Matrix([[entry(at) for entry in row] for row in rows])


def _shifted(index, sign, by):
    return lambda at: index(at) + (by(at) if sign == "+" else -by(at))


def _whole(value):
    """Return a family of symbols as a matrix, and anything else as it is."""
    if not isinstance(value, dict):
        return sympy.sympify(value)
    rows = {}
    for index, symbol in value.items():
        rows.setdefault(index[:-1], []).append(symbol)
    return sympy.Matrix(list(rows.values()))


def _plain(value):
    value = _whole(value)
    return list(value) if isinstance(value, sympy.MatrixBase) else [value]


def _shape(value):
    return getattr(_whole(value), "shape", ())
