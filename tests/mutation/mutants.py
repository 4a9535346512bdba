"""Small wrong changes to Python source, one at a time, and a sample of them that stays the same while other lines change."""

from __future__ import annotations

import ast
import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.MatMult: ast.Mult,
}
_SWAPPED = {
    names[side]: names[1 - side]
    for names in [
        ("min", "max"), ("minimum", "maximum"), ("argmin", "argmax"), ("amin", "amax"), ("floor", "ceil"), ("any", "all"),
        ("sin", "cos"), ("zeros", "ones"), ("zeros_like", "ones_like"), ("mean", "sum"), ("append", "extend"),
        ("startswith", "endswith"),
    ]
    for side in (0, 1)
}  # fmt: skip
_WORDS_ONLY = ("log", "logger", "warnings")  # what is called on these is said, not computed


@dataclass(frozen=True)
class Mutant:
    """A change of the bytes `start` to `end` of a file; `first` to `last` are the lines of the statement it lies in."""

    path: str
    function: str
    line: int
    operator: str
    before: str
    after: str
    start: int
    end: int
    first: int
    last: int
    key: str = ""

    def applied(self, source: bytes) -> bytes:
        """Return the source with the change."""
        return source[: self.start] + self.after.encode() + source[self.end :]


def mutants_of(source: bytes, path: str) -> list[Mutant]:
    """Return every mutant of a file that Python still compiles, in their order of place."""
    offsets = [0]
    for line in source.splitlines(keepends=True):
        offsets.append(offsets[-1] + len(line))
    found = []
    for function, statement, node, operator, after in _changes(ast.parse(source)):
        start = offsets[node.lineno - 1] + node.col_offset
        end = offsets[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
        # Parentheses do no harm where an expression stands in a larger one.
        text = f"({after})" if isinstance(node, ast.expr) and not isinstance(node, ast.Slice) else after
        mutant = Mutant(
            path=path, function=function, line=node.lineno, operator=operator, before=source[start:end].decode(), after=text,
            start=start, end=end, first=statement.lineno, last=_last_line(statement),
        )  # fmt: skip
        try:
            compile(mutant.applied(source), path, "exec")
        except SyntaxError:
            continue
        found.append(mutant)
    return sorted(found, key=lambda mutant: (mutant.start, mutant.end, mutant.operator, mutant.after))


def sample(files: dict[str, bytes], count: int, seed: int) -> list[Mutant]:
    """Return `count` mutants, one a line, each line as likely as any other.

    A line's rank is a hash of seed, file, function and text: lines that stay as they are keep theirs while others come and go.
    """
    ranked: list[tuple[str, Mutant]] = []
    for path, source in sorted(files.items()):
        lines = source.decode().splitlines()
        of_line: dict[int, list[Mutant]] = {}
        for mutant in mutants_of(source, path):
            of_line.setdefault(mutant.line, []).append(mutant)
        met: Counter[tuple[str, str]] = Counter()
        for number, here in sorted(of_line.items()):
            place = (here[0].function, lines[number - 1].strip())
            met[place] += 1
            rank = _hash(seed, path, *place, met[place])
            keyed = {
                _hash(rank, mutant.operator, mutant.before, mutant.after, nth): mutant
                for nth, mutant in enumerate(here)
            }
            key = min(keyed)
            ranked.append((rank, Mutant(**{**vars(keyed[key]), "key": key[:16]})))
    ranked.sort(key=lambda pair: pair[0])
    return [mutant for _, mutant in ranked[:count]]


def read_rooms(root: Path, rooms: list[str]) -> dict[str, bytes]:
    """Return the Python files of folders, by their path from the root."""
    return {
        str(path.relative_to(root)): path.read_bytes() for room in rooms for path in sorted((root / room).rglob("*.py"))
    }


def _hash(*parts: object) -> str:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()


def _last_line(statement: ast.stmt) -> int:
    """Return the last line of a statement's own text: the head alone, where it has a body."""
    body = getattr(statement, "body", None)
    return (body[0].lineno - 1 if body else statement.end_lineno) or statement.lineno


def _changes(tree: ast.Module) -> Iterator[tuple[str, ast.stmt, ast.AST, str, str]]:
    """Yield (function, statement, node to replace, operator, its new text)."""
    yield from _in_body(tree.body, "")


def _in_body(body: list[ast.stmt], function: str) -> Iterator[tuple[str, ast.stmt, ast.AST, str, str]]:
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            inner = f"{function}.{statement.name}" if function else statement.name
            if isinstance(statement, ast.FunctionDef):
                for default in [*statement.args.defaults, *(d for d in statement.args.kw_defaults if d)]:
                    yield from ((inner, statement, *change) for change in _in_expression(default))
            yield from _in_body(statement.body, inner)
            continue
        if isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING":
            continue
        if function:
            yield from ((function, statement, statement, *change) for change in _instead_of_whole(statement))
        if not isinstance(statement, ast.Raise | ast.Assert | ast.Import | ast.ImportFrom) and not _said(statement):
            for part in _own_expressions(statement):
                yield from ((function, statement, *change) for change in _in_expression(part))
        for name in ("body", "orelse", "finalbody"):
            yield from _in_body(getattr(statement, name, []), function)
        for handler in getattr(statement, "handlers", []):
            yield from _in_body(handler.body, function)
        for case in getattr(statement, "cases", []):
            yield from _in_body(case.body, function)


def _instead_of_whole(statement: ast.stmt) -> Iterator[tuple[str, str]]:
    """Yield the operator and the text that stands where a whole statement was."""
    match statement:
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield "return None", "return None"
        case ast.AugAssign(target=target, op=operator, value=value):
            yield "arithmetic", ast.unparse(ast.AugAssign(target, _ARITHMETIC[type(operator)](), value))
            yield "statement removed", "pass"
        case ast.Raise() | ast.Continue() | ast.Break() | ast.Delete():
            yield "statement removed", "pass"
        case ast.Expr(value=ast.Call()) if not _said(statement):
            yield "statement removed", "pass"
        case ast.Assign(targets=[ast.Subscript() | ast.Attribute()]):
            yield "statement removed", "pass"


def _said(statement: ast.stmt) -> bool:
    match statement:
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name)))):
            return name in _WORDS_ONLY
        case ast.Expr(value=ast.Constant()):  # a docstring
            return True
    return False


def _own_expressions(statement: ast.stmt) -> Iterator[ast.expr]:
    """Yield a statement's expressions without those of its body, and without annotations."""
    for name, value in ast.iter_fields(statement):
        if name in ("annotation", "type_params"):
            continue
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, ast.expr):
                yield part
            elif isinstance(part, ast.withitem):
                yield part.context_expr
            elif isinstance(part, ast.match_case) and part.guard:
                yield part.guard


def _in_expression(node: ast.expr) -> Iterator[tuple[ast.AST, str, str]]:
    """Yield (node, operator, new text) for an expression and its parts; texts for people are left alone."""
    if isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Call) and _name(node.func) in ("cast", "TypeVar", "ParamSpec")
    ):
        return
    yield from ((node, operator, after) for operator, after in _instead(node))
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            yield from _in_expression(child)
        elif isinstance(child, ast.keyword):
            yield from _in_expression(child.value)
        elif isinstance(child, ast.comprehension):
            for part in (child.iter, *child.ifs):
                yield from _in_expression(part)


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _instead(node: ast.expr) -> Iterator[tuple[str, str]]:
    match node:
        case ast.Compare(left=left, ops=[operator], comparators=[right]):
            for other in _COMPARISONS[type(operator)]:
                yield "comparison", ast.unparse(ast.Compare(left, [other()], [right]))
        case ast.Compare(left=left, ops=[first, *others], comparators=right):
            yield "comparison", ast.unparse(ast.Compare(left, [_COMPARISONS[type(first)][0](), *others], right))
        case ast.BoolOp(op=operator, values=values):
            yield "and, or", ast.unparse(ast.BoolOp(ast.Or() if isinstance(operator, ast.And) else ast.And(), values))
        case ast.BinOp(left=left, op=operator, right=right):
            if not any(isinstance(side, ast.JoinedStr) for side in (left, right)):
                yield "arithmetic", ast.unparse(ast.BinOp(left, _ARITHMETIC[type(operator)](), right))
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert(), operand=operand):
            yield "sign or not removed", ast.unparse(operand)
        case ast.Constant(value=bool(value)):
            yield "constant", str(not value)
        case ast.Constant(value=int(value)):
            yield "constant", str(value + 1)
        case ast.Constant(value=float(value)):
            yield "constant", repr(value * 2 if value else 1.0)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            yield "condition turned round", ast.unparse(ast.IfExp(ast.UnaryOp(ast.Not(), test), body, orelse))
        case ast.Slice(lower=lower, upper=upper, step=step) if lower or upper:
            yield "slice", ast.unparse(ast.Slice(None, upper, step) if lower else ast.Slice(None, None, step))
        case ast.Call(func=function, args=args, keywords=keywords) if _name(function) in _SWAPPED:
            other = _SWAPPED[_name(function)]
            swapped = ast.Name(other) if isinstance(function, ast.Name) else ast.Attribute(function.value, other)  # type: ignore[attr-defined]
            yield "function swapped", ast.unparse(ast.Call(swapped, args, keywords))
