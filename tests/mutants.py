"""The mistakes that tests/mutate.py makes: for a file of numnet, each small slip of a maintainer."""

import ast
import copy
import itertools
import re
import textwrap
import warnings
from collections import Counter
from collections.abc import Collection, Iterator
from typing import NamedTuple

COMPARISONS = {
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq},
    **{ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In},
}
OPERATORS = {
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div},
    **{ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr},
    **{ast.LShift: ast.RShift, ast.RShift: ast.LShift},
}
# Words of names that a slip takes for one another. The first group is numnet's, the second is the libraries'.
WORDS = [
    *("train test", "epoch batch", "epochs batches", "weight bias", "weights biases", "first last", "rows columns"),
    *("x t", "y t", "z y", "inputs outputs", "parameters gradients", "cost accuracy", "before after"),
    *("min max", "minimum maximum", "argmin argmax", "sum mean", "any all", "zeros ones", "int float", "floor ceil"),
    *("stat lstat", "startswith endswith", "width height", "start stop", "size ndim", "left right", "log log1p"),
]
WHOLE_NAMES = {"st_mtime_ns": "st_mtime", "st_ino": "st_size", "tiny": "smallest_subnormal", "resolve": "absolute"}
SWAPS = [(a, b) for pair in WORDS for a, b in (pair.split(), pair.split()[::-1])]
LIBRARY = set(" ".join(WORDS[-15:]).split())
BOUNDS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
# Calls that give what they are given, in another form.
CONVERSIONS = {
    *("copy", "float", "int", "str", "bool", "list", "tuple", "set", "sorted", "abs", "lower", "upper", "strip"),
    *(
        "resolve",
        "absolute",
        "expanduser",
        "fspath",
        "realpath",
        "ravel",
        "item",
        "conj",
        "to",
        "place",
        "scaled",
        "fence",
        "flush",
        "escape",
        "repr",
    ),
}
# Names of what may have more than one dimension.
ARRAYS = {"x", "t", "y", "z", "array", "rows", "values", "value", "labels", "images", "targets", "part", "given"}
COMMUTATIVE = ("min", "max", "multiply", "add", "minimum", "maximum", "array_equal", "shares_memory", "isinstance")


class Mutant(NamedTuple):
    """A change of a file: the text from `start` to `stop` becomes `new`; `lines` are those whose tests may notice."""

    key: str  # where and what, for people and for a run that goes on; also for one after a change of other functions
    path: str
    function: str
    line: int
    lines: Collection[int]
    start: int
    stop: int
    new: str

    def of(self, source: bytes) -> bytes:
        """Return the source with the mistake in it."""
        return source[: self.start] + self.new.encode() + source[self.stop :]


def mutants(path: str, source: str) -> Iterator[Mutant]:
    """Yield every mutant of a file, in the order of its lines."""
    tree, seen, found = ast.parse(source), Counter(), set()
    starts = [0]  # of each line, in bytes, which ast counts as well
    for line in source.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    nodes = sorted(_linked(tree), key=lambda node: (getattr(node, "lineno", 0), getattr(node, "col_offset", 0)))
    names = {word for node in nodes for word in (getattr(node, "id", ""), getattr(node, "attr", ""))}
    for node in nodes:
        for old, new in _changes(node, names):
            try:
                target, text = _text(old, new)
                before = ast.unparse(_undecorated(target))
            except ValueError:  # a text in a text that this version of Python cannot write
                continue
            start = starts[target.lineno - 1] + target.col_offset
            stop = starts[target.end_lineno - 1] + target.end_col_offset
            mutated = source.encode()[:start] + text.encode() + source.encode()[stop:]
            if mutated in found or text == before:
                continue
            found.add(mutated)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", SyntaxWarning)
                    compile(mutated, path, "exec")
            except SyntaxError:
                continue
            function, lines = _place(node)
            key = f"{path}:{function}: {_shortened(before, text)}"
            seen[key] += 1
            yield Mutant(f"{key} #{seen[key]}", path, function, target.lineno, lines, start, stop, text)


def _linked(tree: ast.AST) -> list[ast.AST]:
    """Return the nodes that are changed, each with its parent: no docstrings and nothing that is for types alone."""
    tree.parent, nodes, todo, text = None, [], [tree], ast.unparse(tree)
    while todo:
        node = todo.pop()
        nodes.append(node)
        for name, value in ast.iter_fields(node):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST) and name not in ("annotation", "returns", "ctx"):
                    child.parent = node
                    if not _unused(child, text):
                        todo.append(child)
    return nodes


def _unused(node: ast.AST, text: str) -> bool:
    """Return whether a statement changes nothing at run time."""
    match node:
        case ast.Expr(value=ast.Constant()):
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")) | ast.AnnAssign(annotation=ast.Name(id="TypeAlias")):
            return True
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            kind = isinstance(value, ast.Subscript) and ast.unparse(value.value) in ("Literal", "Callable")
            return name in ("__all__", "__slots__") or (kind and f"get_args({name})" not in text)
    return False


def _place(node: ast.AST) -> tuple[str, Collection[int]]:
    """Return the function or class around a node, and lines: the tests that reach one of these may notice a change."""
    names, statement, part = [], None, node
    while part:
        if isinstance(part, (ast.FunctionDef, ast.ClassDef)):
            names.insert(0, part.name)
        if statement is None and isinstance(part, ast.stmt):
            statement = part
        part = part.parent
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):  # a default, a decorator or a base
        lines = range(statement.body[0].lineno, statement.end_lineno + 1)
    elif isinstance(statement.parent, ast.Module):
        lines = _uses(statement) or range(1, 1_000_000)
    elif isinstance(statement.parent, ast.ClassDef):
        lines = range(statement.parent.lineno, statement.parent.end_lineno + 1)
    else:
        body = getattr(statement, "body", None)
        lines = range(statement.lineno, max(body[0].lineno, statement.lineno + 1) if body else statement.end_lineno + 1)
    return ".".join(names) or "(module)", lines


def _uses(statement: ast.stmt) -> set[int]:
    """Return the lines that use what a statement of a module makes, if its name is private and so no other file's."""
    made = {name.id for name in getattr(statement, "targets", []) if isinstance(name, ast.Name) and name.id[0] == "_"}
    lines = set()
    for part in statement.parent.body:
        for node in ast.walk(part):
            loaded = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in made
            if loaded and hasattr(node, "parent"):  # not in an annotation
                while node is not part and not isinstance(node, ast.stmt):
                    lines.add(getattr(node, "lineno", 0))
                    node = node.parent
                lines |= {node.lineno} if node is not part else set()
    return lines


def _text(old: ast.AST, new: ast.AST | str) -> tuple[ast.AST, str]:
    """Return the node to replace and the text that replaces it: in a formatted text, the whole text."""
    node = outer = old
    while node.parent and not isinstance(node, ast.stmt):
        node = node.parent
        outer = node if isinstance(node, ast.JoinedStr) else outer
    if outer is not old:
        new = ast.parse(new, mode="eval").body if isinstance(new, str) else new
        try:
            return outer, ast.unparse(_Replace(old, new).visit(outer))
        finally:
            _Replace(new, old).visit(outer)
    if isinstance(new, str):
        return old, textwrap.indent(new, " " * old.col_offset).lstrip() if isinstance(old, ast.stmt) else new
    atom = isinstance(new, (ast.Name, ast.Attribute, ast.Call, ast.Constant, ast.Subscript, ast.Slice, ast.JoinedStr))
    return old, ast.unparse(new) if atom or isinstance(new, ast.Tuple) else f"({ast.unparse(new)})"


class _Replace(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self.new if node is self.old else self.generic_visit(node)


def _shortened(before: str, after: str) -> str:
    """Return what differs, with some characters around, and without docstrings."""
    before, after = (re.sub(r'"""[\s\S]*?"""', "", text) for text in (before, after))
    alike = lambda a, b: next((i for i, (c, d) in enumerate(zip(a, b)) if c != d), min(len(a), len(b)))  # noqa: B905, E731
    first = alike(before, after)
    last = alike(before[first:][::-1], after[first:][::-1])
    parts = (text[max(0, first - 25) : len(text) - max(0, last - 12)] for text in (before, after))
    return "  ->  ".join(textwrap.shorten(part, 100, placeholder=" ...") for part in parts)


def _changed(node: ast.AST, **fields: object) -> ast.AST:
    new = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


def _undecorated(node: ast.AST) -> ast.AST:
    return _changed(node, decorator_list=[]) if isinstance(node, ast.FunctionDef) else node


def _other(text: str) -> str:
    return text.swapcase() if text != text.swapcase() else f"{text}XX"


def _without(items: list, i: int) -> list:
    return items[:i] + items[i + 1 :]


def _swapped(name: str, names: set[str]) -> Iterator[str]:
    """Yield other names that the file or a library knows, with one word of the name taken for another."""
    if name in WHOLE_NAMES:
        yield WHOLE_NAMES[name]
    parts = name.split("_")
    for i, part in enumerate(parts):
        for a, b in SWAPS:
            other = "_".join([*parts[:i], b, *parts[i + 1 :]])
            if part == a and (other in names or (name in LIBRARY and other in LIBRARY)):
                yield other


def _changes(node: ast.AST, names: set[str]) -> Iterator[tuple[ast.AST, ast.AST | str]]:
    """Yield what a slip could put in place of a node or of a part of it."""
    match node:
        case ast.stmt() | ast.ExceptHandler():
            yield from _statement(node)
        case ast.Compare(left=left, ops=ops, comparators=others):
            for i, op in enumerate(ops):
                if len(ops) > 1 or type(op) in BOUNDS or not _is_condition(node):
                    yield node, _changed(node, ops=[*ops[:i], COMPARISONS[type(op)](), *ops[i + 1 :]])
            match ops[0], others[0]:
                case ast.Is(), ast.Constant(value=None):  # falsy for None
                    yield node, f"(not {ast.unparse(left)})"
                case ast.IsNot(), ast.Constant(value=None):
                    yield node, left
                case ast.Is() | ast.IsNot(), _ if isinstance(left, ast.Call) and ast.unparse(left.func) == "type":
                    yield node, f"isinstance({ast.unparse(left.args[0])}, {ast.unparse(others[0])})"
                case ast.Is(), _:  # a name, or equality, for identity
                    yield node, _changed(node, ops=[ast.Eq()])
                case ast.Eq(), ast.Constant(value=str(value)):  # "not a bias" for "a weight"
                    for other in _swapped(value, {"weight", "bias", "train", "test"}):
                        yield node, f"({ast.unparse(left)} != {other!r})"
        case ast.BoolOp(values=values):
            for i in range(len(values)):  # a check of one form of two
                yield node, _changed(node, values=_without(values, i)) if len(values) > 2 else values[1 - i]
        case ast.UnaryOp(operand=operand, op=ast.Not() | ast.USub() | ast.Invert()):
            if not _is_condition(node):
                yield node, operand
        case ast.BinOp(op=op) if type(op) in OPERATORS:
            yield node, _changed(node, op=OPERATORS[type(op)]())
        case ast.Constant(value=bool(value)):
            yield node, repr(not value)
        case ast.Constant(value=int(value) | float(value)):
            if not isinstance(node.parent, ast.Subscript):
                yield node, repr(value + 1 if isinstance(value, int) else value * 2 or 1.0)
            if isinstance(node.parent, ast.keyword) and node.parent.arg == "axis":  # the wrong axis
                yield node, repr(1 - value)
        case ast.Constant(value=str(value)) if value and not isinstance(node.parent, ast.JoinedStr):
            if isinstance(node.parent, ast.Compare) and isinstance(node.parent.ops[0], (ast.In, ast.NotIn)):
                for i in range(len(value)):  # letters, or the left side
                    yield node, repr(_without(value, i))
            else:
                yield node, repr(_other(value))
        case ast.Constant(value=bytes(value)):
            yield node, repr(b"XX" + value)
        case ast.JoinedStr(values=parts) if not isinstance(node.parent, ast.FormattedValue):
            texts = [ast.Constant(_other(part.value)) if isinstance(part, ast.Constant) else part for part in parts]
            yield node, _changed(node, values=texts)
        case ast.Subscript(slice=ast.Constant(value=0)):  # the last for the first
            yield node, _changed(node, slice=ast.Constant(-1))
        case ast.Subscript(slice=ast.UnaryOp(operand=ast.Constant(value=1))):
            yield node, _changed(node, slice=ast.Constant(0))
        case ast.Slice():
            for part in ("lower", "upper", "step"):
                if getattr(node, part):
                    yield node, _changed(node, **{part: None})
        case ast.IfExp(body=body, orelse=orelse):
            yield node, body
            yield node, orelse
        case ast.comprehension(iter=over, ifs=ifs):
            yield from _iterations(over)
            for test in ifs:
                yield test, f"(({ast.unparse(test)}) or True)"
        case ast.Tuple(elts=parts, ctx=ast.Load()) | ast.Set(elts=parts) | ast.List(elts=parts, ctx=ast.Load()):
            types = isinstance(node.parent, (ast.Call, ast.ExceptHandler)) and isinstance(node, ast.Tuple)
            alike = {type(part) for part in parts} in ({ast.Constant}, {ast.Attribute})
            if len(parts) > 1 and (alike or types) and not isinstance(node.parent, (ast.Assign, ast.Subscript)):
                for i in range(len(parts)):
                    yield node, _changed(node, elts=_without(parts, i))
        case ast.Call():
            yield from _call(node)
        case ast.Name(id=name, ctx=ast.Load()):
            if not (isinstance(node.parent, ast.Call) and ast.unparse(node.parent.func) == "len"):  # alike for x and t
                known = names if name in LIBRARY else _known(node)
                yield from ((node, other) for other in _swapped(name, names) if other in known)
        case ast.Attribute(attr=name, ctx=ast.Load()):
            yield from ((node, _changed(node, attr=other)) for other in _swapped(name, names))


def _call(node: ast.Call) -> Iterator[tuple[ast.AST, ast.AST | str]]:
    """Yield what could be called instead, or given, or taken without a call."""
    args, called = node.args, ast.unparse(node.func)
    for i, keyword in enumerate(node.keywords):  # the default for what was given
        if keyword.arg != "strict":  # an assertion, not a choice
            yield node, _changed(node, keywords=_without(node.keywords, i))
    plain = not any(isinstance(part, (ast.Starred, ast.GeneratorExp)) for part in args)
    name, names = called.split(".")[-1], all(isinstance(part, (ast.Name, ast.Attribute)) for part in args[:2])
    if len(args) > 1 and plain and names and name not in COMMUTATIVE:
        yield node, _changed(node, args=[args[1], args[0], *args[2:]])
    if called == "isinstance" and isinstance(args[1], ast.Name):
        yield node, f"(type({ast.unparse(args[0])}) is {args[1].id})"
    if called == "len" and ast.unparse(args[0]).split(".")[-1] in ARRAYS:
        yield node, f"np.size({ast.unparse(args[0])})"
    if re.search(r"(perf_counter|monotonic|time)$", called) and not args:  # whole seconds
        yield node, f"int({called}())"
    if not isinstance(node.parent, (ast.Raise, ast.Expr, ast.withitem)) and not node.keywords:
        if len(args) == 1 and plain and (name in CONVERSIONS or called.startswith(("np.", "math.", "checks."))):
            yield node, args[0]
        elif not args and isinstance(node.func, ast.Attribute) and name in CONVERSIONS:
            yield node, node.func.value


def _statement(node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST | str]]:
    """Yield what could be in place of a statement or of parts of it."""
    body = getattr(node, "body", [])
    for i, (statement, after) in enumerate(itertools.pairwise(body)):
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):  # in the wrong order
            yield node, ast.unparse(_changed(_undecorated(node), body=[*body[:i], after, statement, *body[i + 2 :]]))
    match node:
        case ast.If(test=test) | ast.While(test=test):
            yield test, f"(({ast.unparse(test)}) and False)"
            if isinstance(node, ast.If):
                yield test, f"(({ast.unparse(test)}) or True)"
                parts = list(ast.walk(_function(node)))
                gives = any(isinstance(part, (ast.Return, ast.Yield)) and part.value for part in parts)
                ends = isinstance(body[-1], (ast.Return, ast.Raise, ast.Continue, ast.Break))
                if not gives and not ends and node is not _function(node).body[-1]:  # an early return
                    yield body[-1], f"{ast.unparse(body[-1])}\nreturn"
        case ast.FunctionDef(decorator_list=decorators):
            for decorator in decorators:
                if isinstance(decorator, ast.Call):
                    yield decorator, "lambda function: function"
        case ast.For(iter=over):
            yield from _iterations(over)
            for i, statement in enumerate(body if len(body) > 1 else []):  # once an epoch instead of once a block
                if isinstance(statement, (ast.Expr, ast.If, ast.Assign, ast.AugAssign)):
                    yield node, f"{ast.unparse(_changed(node, body=_without(body, i)))}\n{ast.unparse(statement)}"
        case ast.With(items=[ast.withitem(optional_vars=None)]):
            yield node, ast.unparse(ast.If(ast.Constant(True), body, []))
        case ast.Try(finalbody=[_, *_] as last):  # only after success
            rest = ast.If(ast.Constant(True), [*body, *last], [])
            yield node, ast.unparse(_changed(node, body=[*body, *last], finalbody=[]) if node.handlers else rest)
        case ast.ExceptHandler():
            yield body[0], "raise"
        case ast.Expr(value=ast.Call()) | ast.Raise() | ast.Delete():  # a forgotten statement
            if not (isinstance(node, ast.Raise) and isinstance(node.parent, ast.If) and len(node.parent.body) == 1):
                yield node, "pass"
        case ast.AugAssign(target=target, op=op, value=value):
            yield node, "pass"
            yield node, f"{ast.unparse(target)} = {ast.unparse(value)}"
            if type(op) in OPERATORS:
                yield node, ast.unparse(_changed(node, op=OPERATORS[type(op)]()))
        case ast.Assign(targets=[target]) | ast.AnnAssign(target=target, value=ast.expr()):  # a stale state
            if isinstance(target, (ast.Attribute, ast.Subscript)) or _assigned_before(target, node):
                yield node, "pass"
        case ast.Break() | ast.Continue():
            yield node, "continue" if isinstance(node, ast.Break) else "break"


def _function(node: ast.AST) -> ast.AST:
    """Return the function around a node, or else the class or the module."""
    while not isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Module)):
        node = node.parent
    return node


def _assigned_before(target: ast.AST, statement: ast.stmt) -> bool:
    """Return whether the function gives all names of an assignment a value at an earlier place, too."""
    function, earlier = _function(statement), set()
    for part in ast.walk(function):
        if isinstance(part, ast.arg):
            earlier.add(part.arg)
        elif isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store) and part.lineno < statement.lineno:
            earlier.add(part.id)
    here = {part.id for part in ast.walk(target) if isinstance(part, ast.Name)}
    return isinstance(function, ast.FunctionDef) and here <= earlier


def _is_condition(node: ast.AST) -> bool:
    """Return whether a node only decides between two ways, each of which is taken always by another mutant."""
    parent = node.parent
    return isinstance(parent, ast.BoolOp) or getattr(parent, "test", None) is node or node in getattr(parent, "ifs", [])


def _known(node: ast.AST) -> set[str]:
    """Return the names that are known where a node is."""
    known = set()
    while node:
        if isinstance(node, (ast.FunctionDef, ast.Module, ast.GeneratorExp, ast.ListComp, ast.Lambda)):
            for part in ast.walk(node) if not isinstance(node, ast.Module) else ast.iter_child_nodes(node):
                if isinstance(part, ast.arg):
                    known.add(part.arg)
                elif isinstance(part, (ast.FunctionDef, ast.ClassDef)):
                    known.add(part.name)
                elif isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                    known.add(part.id)
        node = node.parent
    return known


def _iterations(over: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Yield all but the last of what is gone over."""
    yield over, f"list({ast.unparse(over)})[:-1]"
