"""The texts of numnet's errors and warnings, collected from its source."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import numnet

FOLDER = Path(numnet.__file__).parent


class _Source:
    """The source of numnet, with what names and calls in a message stand for."""

    def __init__(self) -> None:
        self.trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.rglob("*.py"))}
        self.functions: dict[str, list[ast.FunctionDef]] = {}
        self.calls: dict[str, list[ast.Call]] = {}
        self.inside: dict[ast.AST, list[ast.AST]] = {}  # the functions, and the file, that a node is in
        for tree in self.trees.values():
            self._look(tree, [tree])

    def _look(self, node: ast.AST, inside: list[ast.AST]) -> None:
        self.inside[node] = inside
        if isinstance(node, ast.FunctionDef):
            self.functions.setdefault(node.name, []).append(node)
            inside = [node, *inside]
        if isinstance(node, ast.Call):
            self.calls.setdefault(_name(node.func), []).append(node)
        for child in ast.iter_child_nodes(node):
            self._look(child, inside)

    def texts(self, node: ast.AST, seen: set[ast.AST]) -> Iterator[str]:
        """Yield the texts that an expression can give, with an ellipsis for each part that is filled in."""
        if node in seen:
            return
        seen.add(node)
        parts: list[ast.AST] = []
        match node:
            case ast.Constant(value=str(text)):
                yield text
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
                parts = self._assigned(node)
            case ast.Call(func=function, args=arguments):
                parts = [function] if isinstance(function, ast.Attribute) else []
                parts += arguments if _name(function) in ("next", "format") else []
                for found in self.functions.get(_name(function), []):
                    parts += [inner.value for inner in ast.walk(found) if isinstance(inner, ast.Return) and inner.value]
        for part in parts:
            yield from self.texts(part, seen)

    def _assigned(self, name: ast.Name) -> list[ast.AST]:
        """Return what is assigned to a name, or given for it if it is a parameter."""
        for inside in self.inside[name]:
            found: list[ast.AST] = []
            for node in ast.walk(inside):
                if self.inside.get(node, [None])[0] is inside or node is inside:
                    match node:
                        case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
                            found += [v for t, v in zip(targets, values, strict=False) if ast.unparse(t) == name.id]
                        case ast.Assign(targets=[target], value=value) | ast.AnnAssign(target=target, value=value):
                            found += [value] if ast.unparse(target) == name.id and value else []
                        case ast.NamedExpr(target=target, value=value):
                            found += [value] if target.id == name.id else []
                        case ast.For(target=target, iter=value) | ast.comprehension(target=target, iter=value):
                            names = [inner.id for inner in ast.walk(target) if isinstance(inner, ast.Name)]
                            found += [value] if name.id in names else []
            if isinstance(inside, ast.FunctionDef):
                parameters = [parameter.arg for parameter in (*inside.args.args, *inside.args.kwonlyargs)]
                if name.id in parameters:
                    place = parameters.index(name.id) - (parameters[0] == "self")
                    for call in self.calls.get(inside.name, []):
                        found += [keyword.value for keyword in call.keywords if keyword.arg == name.id]
                        found += call.args[place : place + 1]
            if found:
                return found
        # a constant of another file
        return [
            node.value
            for tree in self.trees.values()
            for node in tree.body
            if name.id.isupper() and isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name.id
        ]


def _name(function: ast.AST) -> str:
    return ast.unparse(function).rpartition(".")[2]


def messages() -> dict[str, str]:
    """Return the texts, of two words at least, that errors and warnings are made of; each with its place."""
    source, found = _Source(), dict[str, str]()
    for path, tree in source.trees.items():
        for node in ast.walk(tree):
            raised = node.exc if isinstance(node, ast.Raise) else None
            told = node if isinstance(node, ast.Call) and _name(node.func) == "warn" else raised
            for argument in told.args if isinstance(told, ast.Call) else []:
                for text in source.texts(argument, set()):
                    if re.search(r"[a-z…][^ ]* [a-z…]", text):
                        found.setdefault(text, f"{path.relative_to(FOLDER.parent)}:{node.lineno}")
    return found
