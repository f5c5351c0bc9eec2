"""Ways to take a defence out of a function, named by what the code calls things and not by its lines."""

import ast
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Edit = Callable[[ast.AST], ast.AST | None]  # a node to what stands in its place; None: to nothing


@dataclass(frozen=True)
class Mutation:
    defence: str  # that is gone
    where: str  # "flows/sessions.py:move_on", "models.py:Invitation.find", or a module alone
    edit: Edit
    tests: str  # files of the quick suite, without "test_" and ".py"; or the very test that notices, "file::test"

    @property
    def paths(self) -> list[str]:
        parts = [name.partition("::") for name in self.tests.split()]
        return [f"tests/{'' if '/' in file else 'test_'}{file}.py{colons}{test}" for file, colons, test in parts]


def mutate(mutation: Mutation, root: Path) -> None:
    """Take the defence out of the source below `root`. AssertionError unless there is one place where it is."""
    path, _, name = mutation.where.partition(":")
    tree = ast.parse((root / path).read_text())
    scope = _function(tree, name) if name else tree
    editor = _Editor(mutation.edit)
    editor.generic_visit(scope)
    assert editor.places == 1, f"{mutation.defence}: {editor.places} places in {mutation.where}"
    (root / path).write_text(ast.unparse(ast.fix_missing_locations(tree)))


def never(*words: str) -> Edit:
    """The condition that mentions these is never true."""
    return _condition(words, False)


def always(*words: str) -> Edit:
    """The condition that mentions these is always true."""
    return _condition(words, True)


def without(*words: str) -> Edit:
    """The statement that mentions these is not there."""

    def edit(node: ast.AST) -> ast.AST | None:
        simple = isinstance(node, ast.Expr | ast.Assign | ast.AugAssign | ast.Raise)
        return ast.Pass() if simple and _mentions(node, words) else node

    return edit


def unasked(*words: str) -> Edit:
    """Of conditions joined by `&` or by `where(...)`, the one that mentions these is not there."""

    def edit(node: ast.AST) -> ast.AST | None:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd) and _mentions(node.right, words):
            return node.left
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd) and _mentions(node.left, words):
            return node.right
        if isinstance(node, ast.Call) and _name(node.func) in ("where", "get_or_none"):
            kept = [arg for arg in node.args if not _mentions(arg, words) or _has_and(arg)]
            if kept and len(kept) < len(node.args):
                return ast.Call(node.func, kept, node.keywords)
        return node

    return edit


def undecorated(decorator: str) -> Edit:
    """The function does without this decorator."""

    def edit(node: ast.AST) -> ast.AST | None:
        return None if getattr(node, "is_decorator", False) and _mentions(node, (decorator,)) else node

    return edit


def instead(old: str, new: str) -> Edit:
    """Where the expression `old` stands, `new` does."""
    wanted, other = ast.dump(ast.parse(old, mode="eval").body), ast.parse(new, mode="eval").body

    def edit(node: ast.AST) -> ast.AST | None:
        return other if isinstance(node, ast.expr) and ast.dump(node) == wanted else node

    return edit


def unsaid(*words: str) -> Edit:
    """Of conditions joined by `and` or `or`, the one that mentions these is not there."""

    def edit(node: ast.AST) -> ast.AST | None:
        if isinstance(node, ast.BoolOp):
            kept = [value for value in node.values if not _mentions(value, words)]
            if 0 < len(kept) < len(node.values):
                return ast.BoolOp(node.op, kept) if len(kept) > 1 else kept[0]
        return node

    return edit


def dropped(name: str) -> Edit:
    """The entry of a dictionary, or the argument of a call, that has this name is not there."""

    def edit(node: ast.AST) -> ast.AST | None:
        if isinstance(node, ast.Call) and any(keyword.arg == name for keyword in node.keywords):
            return ast.Call(node.func, node.args, [each for each in node.keywords if each.arg != name])
        if isinstance(node, ast.Dict) and any(_mentions(key, (name,)) for key in node.keys if key):
            kept = [(k, v) for k, v in zip(node.keys, node.values, strict=True) if not (k and _mentions(k, (name,)))]
            return ast.Dict(*map(list, zip(*kept, strict=True)))
        return node

    return edit


def added(beside: str, argument: str) -> Edit:
    """The call that has an argument of the name `beside` has another one as well."""
    more = ast.parse(f"call({argument})", mode="eval").body.keywords  # type: ignore[attr-defined]

    def edit(node: ast.AST) -> ast.AST | None:
        if isinstance(node, ast.Call) and any(keyword.arg == beside for keyword in node.keywords):
            return ast.Call(node.func, node.args, [*node.keywords, *more])
        return node

    return edit


def handled(error: str, by: str) -> Edit:
    """The handler of this error does nothing but this statement."""

    def edit(node: ast.AST) -> ast.AST | None:
        if isinstance(node, ast.ExceptHandler) and node.type and _mentions(node.type, (error,)):
            return ast.ExceptHandler(node.type, node.name, ast.parse(f"def f():\n    {by}").body[0].body)  # type: ignore[attr-defined]
        return node

    return edit


def _condition(words: tuple[str, ...], value: bool) -> Edit:
    def edit(node: ast.AST) -> ast.AST | None:
        if isinstance(node, ast.If | ast.IfExp) and _mentions(node.test, words):
            node.test, node.edited = ast.Constant(value), True  # type: ignore[union-attr]
        return node

    return edit


class _Editor(ast.NodeTransformer):
    """Edits every node of a function that the edit has something else for, and counts the places."""

    def __init__(self, edit: Edit) -> None:
        self._edit, self.places = edit, 0

    def generic_visit(self, node: ast.AST) -> ast.AST:
        for decorator in getattr(node, "decorator_list", []):
            decorator.is_decorator = True
        return super().generic_visit(node)

    def visit(self, node: ast.AST) -> ast.AST | None:
        edited = self._edit(node)
        if edited is not node or getattr(node, "edited", False):
            self.places += 1
            return edited
        return self.generic_visit(node)


def _function(tree: ast.Module, name: str) -> ast.AST:
    place: ast.AST = tree
    for part in name.split("."):
        found = [node for node in ast.walk(place) if getattr(node, "name", "") == part]
        assert len(found) == 1, f"{len(found)} places {name}"
        place = found[0]
    return place


def _mentions(node: ast.AST, words: tuple[str, ...]) -> bool:
    """Whether all of these are names, attributes or texts in the expression."""
    inside = set()
    for part in ast.walk(node):
        inside.add(_name(part))
        if isinstance(part, ast.keyword | ast.arg):
            inside.add(part.arg)
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            inside.add(part.value)
    return set(words) <= inside


def _name(node: ast.AST) -> str | None:
    return getattr(node, "id", None) or getattr(node, "attr", None)


def _has_and(node: ast.AST) -> bool:
    return any(isinstance(part, ast.BitAnd) for part in ast.walk(node))
