"""The texts of numnet's errors and warnings, collected from its source."""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import numnet

FOLDER = Path(numnet.__file__).parent


class _Source:
    """The source of numnet, with what the names and the calls in a message can stand for."""

    def __init__(self) -> None:
        self.nodes: list[tuple[ast.AST, str]] = []  # each with its place
        self.inside: dict[ast.AST, list[ast.AST]] = {}  # the functions, and the file, that a node is in
        self.assigned: dict[ast.AST, dict[str, list[ast.AST]]] = {}  # by name, in a function or a file
        self.functions: dict[str, list[ast.FunctionDef]] = {}
        self.calls: dict[str, list[ast.Call]] = {}
        for path in sorted(FOLDER.rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            self.assigned[tree] = {}
            self._look(tree, [tree], path.relative_to(FOLDER.parent))

    def _look(self, node: ast.AST, inside: list[ast.AST], path: Path) -> None:
        self.inside[node] = inside
        self.nodes.append((node, f"{path}:{getattr(node, 'lineno', 0)}"))
        match node:
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
                for target, value in zip(targets, values, strict=False):
                    self._assign(target, value, inside[0])
            case (
                ast.Assign(targets=[target], value=value)
                | ast.AnnAssign(target=target, value=value)
                | ast.NamedExpr(target=target, value=value)
                | ast.For(target=target, iter=value)
                | ast.comprehension(target=target, iter=value)
            ):
                self._assign(target, value, inside[0])
            case ast.Call(func=function):
                self.calls.setdefault(_name(function), []).append(node)
            case ast.FunctionDef(name=name):
                self.functions.setdefault(name, []).append(node)
                self.assigned[node] = {}
                inside = [node, *inside]
        for child in ast.iter_child_nodes(node):
            self._look(child, inside, path)

    def _assign(self, target: ast.AST, value: ast.AST | None, where: ast.AST) -> None:
        for inner in ast.walk(target):
            if isinstance(inner, ast.Name) and value is not None:
                self.assigned[where].setdefault(inner.id, []).append(value)

    def texts(self, node: ast.AST, seen: set[ast.AST]) -> Iterator[str]:
        """Yield the texts that an expression can give, with an ellipsis for each part that is filled in."""
        if node in seen:
            return
        seen.add(node)
        parts: list[ast.AST] = []
        match node:
            case ast.Constant(value=str(text)):
                yield re.sub(r"\{\w*\}", "…", text)  # for str.format
            case ast.JoinedStr(values=values):
                yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in values)
                parts = [part.value for part in values if isinstance(part, ast.FormattedValue)]
            case ast.IfExp(body=body, orelse=orelse):
                parts = [body, orelse]
            case ast.BinOp(left=left, right=right):
                parts = [left, right]
            case ast.BoolOp(values=values) | ast.Tuple(elts=values) | ast.List(elts=values) | ast.Dict(values=values):
                parts = list(values)
            case ast.GeneratorExp(elt=text, generators=[generator]) | ast.ListComp(elt=text, generators=[generator]):
                parts = [text, generator.iter]
            case ast.NamedExpr(value=value) | ast.Subscript(value=value) | ast.Attribute(value=value):
                parts = [value]
            case ast.Name():
                parts = self._values(node)
            case ast.Call(func=function, args=arguments):
                parts = [function] if isinstance(function, ast.Attribute) else []
                parts += arguments if _name(function) in ("next", "format") else []
                for found in self.functions.get(_name(function), []):
                    parts += [inner.value for inner in ast.walk(found) if isinstance(inner, ast.Return) and inner.value]
        for part in parts:
            yield from self.texts(part, seen)

    def _values(self, name: ast.Name) -> list[ast.AST]:
        """Return what is assigned to a name or, if it is a parameter, what is given for it."""
        for inside in self.inside[name]:
            found = list(self.assigned[inside].get(name.id, []))
            if isinstance(inside, ast.FunctionDef):
                parameters = [parameter.arg for parameter in (*inside.args.args, *inside.args.kwonlyargs)]
                if name.id in parameters:
                    place = parameters.index(name.id) - (parameters[0] == "self")
                    for call in self.calls.get(inside.name, []):
                        found += [keyword.value for keyword in call.keywords if keyword.arg == name.id]
                        found += call.args[place : place + 1]
            if found:
                return found
        files = [where for where in self.assigned if isinstance(where, ast.Module)]  # a constant of another file
        return [value for where in files if name.id.isupper() for value in self.assigned[where].get(name.id, [])]


def _name(function: ast.AST) -> str:
    return ast.unparse(function).rpartition(".")[2]


@functools.cache
def messages() -> dict[str, str]:
    """Return the texts, of two words at least, that errors and warnings are made of; each with its place."""
    source, found = _Source(), dict[str, str]()
    for node, place in source.nodes:
        raised = node.exc if isinstance(node, ast.Raise) else None
        told = node if isinstance(node, ast.Call) and _name(node.func) == "warn" else raised
        for argument in told.args if isinstance(told, ast.Call) else []:
            for text in source.texts(argument, set()):
                if re.search(r"[a-z…][^ ]* [a-z…]", text):
                    found.setdefault(text, place)
    return found
