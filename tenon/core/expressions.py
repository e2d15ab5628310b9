"""Row-level expressions over a view's features: arithmetic that gives the same bits everywhere.

    delay_trend: arr_delay_mean_7d / arr_delay_mean_90d
    busy: 1 if count_1d > 20 else 0
    typical: coalesce(arr_delay_p50_30d, arr_delay_p50_all)

Numbers, names of features, `+ - * /`, one comparison (`<`, `<=`, `>`, `>=`, `==`: 1 or 0), `a if c else b`, and the
functions `abs(x)`, `min(a, b)`, `max(a, b)`, `coalesce(a, b)`. Only what IEEE 754 rounds in one way is here: no
logarithm, no power. What is made of a missing value is missing, except for `coalesce`; so is a division by zero and
whatever is not finite.
"""

from __future__ import annotations

import ast
import enum
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tenon.core.errors import did_you_mean


class Op(enum.IntEnum):
    """The steps of a stack machine; the numbers are those of tenon/windows/kernel/program.h."""

    FEATURE = 0
    NUMBER = 1
    ADD = 2
    SUBTRACT = 3
    MULTIPLY = 4
    DIVIDE = 5
    LESS = 6
    LESS_EQUAL = 7
    EQUAL = 8
    SMALLER = 9
    LARGER = 10
    COALESCE = 11
    ABSOLUTE = 12
    CHOOSE = 13


_BINARY: dict[type[ast.operator], Op] = {
    ast.Add: Op.ADD, ast.Sub: Op.SUBTRACT, ast.Mult: Op.MULTIPLY, ast.Div: Op.DIVIDE,
}  # fmt: skip
# The operator, and whether its sides change places.
_COMPARED: dict[type[ast.cmpop], tuple[Op, bool]] = {
    ast.Lt: (Op.LESS, False), ast.LtE: (Op.LESS_EQUAL, False), ast.Gt: (Op.LESS, True), ast.GtE: (Op.LESS_EQUAL, True),
    ast.Eq: (Op.EQUAL, False),
}  # fmt: skip
_CALLED = {"min": (Op.SMALLER, 2), "max": (Op.LARGER, 2), "coalesce": (Op.COALESCE, 2), "abs": (Op.ABSOLUTE, 1)}
_LONGEST, _DEEPEST = 1000, 30


@dataclass(frozen=True, slots=True)
class Step:
    """One step: an operation, with the name of a feature or a number where it pushes one."""

    op: Op
    name: str = ""
    number: float = 0.0


def parse_expression(text: str) -> tuple[Step, ...]:
    """The steps that give the expression's value. Raises `ValueError` saying what is wrong.

    >>> [step.op.name for step in parse_expression("a / (b + 1)")]
    ['FEATURE', 'FEATURE', 'NUMBER', 'ADD', 'DIVIDE']
    """
    if len(text) > _LONGEST:
        raise ValueError(f"an expression has at most {_LONGEST} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(f"{text[:80]!r} is not an expression") from None
    return tuple(_steps(tree.body, 0))


def _steps(node: ast.expr, depth: int) -> list[Step]:
    if depth > _DEEPEST:
        raise ValueError("the expression is nested too deeply")
    deeper = depth + 1
    match node:
        case ast.Name(id=name):
            return [Step(Op.FEATURE, name)]
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            if not math.isfinite(float(number)):
                raise ValueError(f"{number} is not a finite number")
            return [Step(Op.NUMBER, number=float(number))]
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return [Step(Op.NUMBER, number=-float(number))]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return [Step(Op.NUMBER, number=-1.0), *_steps(operand, deeper), Step(Op.MULTIPLY)]
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _BINARY:
            return [*_steps(left, deeper), *_steps(right, deeper), Step(_BINARY[type(operator)])]
        case ast.Compare(left=left, ops=[operator], comparators=[right]) if type(operator) in _COMPARED:
            op, swapped = _COMPARED[type(operator)]
            first, second = (right, left) if swapped else (left, right)
            return [*_steps(first, deeper), *_steps(second, deeper), Step(op)]
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return [*_steps(test, deeper), *_steps(body, deeper), *_steps(orelse, deeper), Step(Op.CHOOSE)]
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            op, count = _called(name)
            if len(arguments) != count or any(isinstance(argument, ast.Starred) for argument in arguments):
                raise ValueError(f"{name} takes {count} argument{'s' if count > 1 else ''}")
            return [*(step for argument in arguments for step in _steps(argument, deeper)), Step(op)]
    raise ValueError(f"{ast.unparse(node)[:80]!r} is not part of this language: use numbers, features, + - * /, "
                     f"one comparison, `a if c else b`, {', '.join(_CALLED)}")  # fmt: skip


def _called(name: str) -> tuple[Op, int]:
    if name not in _CALLED:
        near = did_you_mean(name, _CALLED)
        raise ValueError(f"there is no function {name!r}" + (f"; did you mean {near!r}?" if near else ""))
    return _CALLED[name]


def names_of(steps: Sequence[Step]) -> list[str]:
    """The features that the expression reads."""
    return list(dict.fromkeys(step.name for step in steps if step.op is Op.FEATURE))


def evaluate_expression(steps: Sequence[Step], values: Mapping[str, float]) -> float:
    """The expression's value; NaN is missing.

    >>> steps = parse_expression("coalesce(a, 2) / b")
    >>> evaluate_expression(steps, {"a": math.nan, "b": 4.0}), evaluate_expression(steps, {"a": 1.0, "b": 0.0})
    (0.5, nan)
    """
    stack: list[float] = []
    for step in steps:
        match step.op:
            case Op.FEATURE:
                stack.append(values[step.name])
            case Op.NUMBER:
                stack.append(step.number)
            case Op.ABSOLUTE:
                stack.append(abs(stack.pop()))
            case Op.CHOOSE:
                otherwise, then, when = stack.pop(), stack.pop(), stack.pop()
                stack.append(math.nan if math.isnan(when) else then if when != 0 else otherwise)
            case Op.COALESCE:
                b, a = stack.pop(), stack.pop()
                stack.append(b if math.isnan(a) else a)
            case _:
                b, a = stack.pop(), stack.pop()
                stack.append(_apply(step.op, a, b))
    return stack[0]


def _apply(op: Op, a: float, b: float) -> float:
    if math.isnan(a) or math.isnan(b) or (op is Op.DIVIDE and b == 0):
        return math.nan
    result = {
        Op.ADD: lambda: a + b,
        Op.SUBTRACT: lambda: a - b,
        Op.MULTIPLY: lambda: a * b,
        Op.DIVIDE: lambda: a / b,
        Op.LESS: lambda: float(a < b),
        Op.LESS_EQUAL: lambda: float(a <= b),
        Op.EQUAL: lambda: float(a == b),
        Op.SMALLER: lambda: b if b < a else a,
        Op.LARGER: lambda: b if b > a else a,
    }[op]()
    return result if math.isfinite(result) else math.nan
