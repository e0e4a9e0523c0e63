"""Conditions of degradation rules: a part of CEL over how a service does, checked when saved.

Grammar and positions are cel-python's. Of the language there are metrics, numbers, states of a
breaker, `!`, `&&`, `||`, comparisons, `in` a list, `? :`, and + - * / of numbers with a point; the
rest has no bound on its cost, or nothing to work on. One walk over the tree checks the types and
makes the functions that decide, a hundred times faster than the library's own: see ADR 0046.
"""

import dataclasses
import functools
import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from celpy.celparser import CELParser
    from lark import Token, Tree

    _Node = Tree[Token]

LONGEST = 500
BREAKER_STATES = ("closed", "half-open", "open")
METRICS: dict[str, str] = {
    "errorRate": "double",
    "p50": "double",
    "p95": "double",
    "p99": "double",
    "rate": "double",
    "concurrency": "double",
    "breaker": "string",
    "nodeLoad": "double",
}
"""What a condition may name, with its type."""

Metrics = Mapping[str, float | str]
_Function = Callable[[Metrics], Any]

_ALLOWED = (
    f"Conditions are made of {', '.join(METRICS)}, numbers, {' '.join(BREAKER_STATES)} in "
    "quotation marks, ! && || == != < <= > >= + - * / in [,] ?: and parentheses."
)
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "relation_lt": operator.lt,
    "relation_le": operator.le,
    "relation_gt": operator.gt,
    "relation_ge": operator.ge,
    "relation_eq": operator.eq,
    "relation_ne": operator.ne,
}
_NUMBERS = ("int", "double")
_NUMBER = re.compile(r"-?([0-9]+)?(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_TEXT = re.compile(r"""(["'])([^"'\\\n]*)\1""")


class ConditionError(Exception):
    """A condition is not sound; the message says where, and what would be right."""

    def __init__(self, line: int, column: int, problem: str) -> None:
        super().__init__(f"Line {line}, column {column}: {problem}")


@dataclasses.dataclass(frozen=True)
class Condition:
    """A sound condition, and which metrics it names, in the order in which it does."""

    text: str
    names: tuple[str, ...]
    _holds: _Function = dataclasses.field(repr=False)

    def holds(self, metrics: Metrics) -> bool:
        """Tell whether it holds for *metrics*, which has a value for each of `METRICS`."""
        return bool(self._holds(metrics))


@dataclasses.dataclass(frozen=True)
class _Part:
    type: str
    value: _Function
    node: "_Node"


@functools.lru_cache(maxsize=10_000)
def parse(text: str) -> Condition:
    """Return the condition that *text* is.

    Raises:
        ConditionError: it is too long, is not CEL, names what is no metric, or types do not fit.
    """
    # Half a second on its first use: only for those who have conditions.
    from celpy.celparser import CELParseError  # noqa: PLC0415

    if len(text) > LONGEST:
        raise ConditionError(1, LONGEST + 1, f"A condition has at most {LONGEST} characters.")
    try:
        tree = _parser().parse(text)
        whole = _part(tree)
        names = [str(node.children[0]) for node in tree.find_data("ident")]
    except CELParseError as error:
        line, column = error.line or 1, error.column or 1
        raise ConditionError(line, column, f"Here it stops being CEL. {_ALLOWED}") from error
    except RecursionError:
        raise ConditionError(1, 1, "It is nested too deeply: use fewer parentheses.") from None
    if whole.type != "bool":
        raise ConditionError(1, 1, f"Must be true or false; this is a {whole.type}.")
    known = tuple(name for name in METRICS if name in names)
    return Condition(text, known, whole.value)


@functools.cache
def _parser() -> "CELParser":
    from celpy.celparser import CELParser  # noqa: PLC0415

    return CELParser()


def _part(node: "_Node") -> _Part:
    while len(node.children) == 1 and not _is_leaf(node):
        node = cast("_Node", node.children[0])
    maker = _MAKERS.get(str(node.data))
    if maker is None:
        raise _error(node, _ALLOWED)
    return maker(node)


def _is_leaf(node: "_Node") -> bool:
    return node.data == "list_lit" or not hasattr(node.children[0], "children")


def _error(node: "_Node", problem: str) -> ConditionError:
    line, column = getattr(node.meta, "line", 1), getattr(node.meta, "column", 1)
    return ConditionError(line, column, problem)


def _trees(node: "_Node") -> "list[_Node]":
    return [cast("_Node", child) for child in node.children if hasattr(child, "children")]


def _must_be(part: _Part, *types: str) -> _Part:
    if part.type not in types:
        wanted = " or ".join(types)
        raise _error(part.node, f"Must be {wanted}; this is {part.type}.")
    return part


def _metric(node: "_Node") -> _Part:
    name = str(node.children[0])
    if name not in METRICS:
        raise _error(node, f"There is no metric {name}; there are {', '.join(METRICS)}.")
    return _Part(METRICS[name], operator.itemgetter(name), node)


def _literal(node: "_Node") -> _Part:
    text = str(node.children[0])
    if text in ("true", "false"):
        truth = text == "true"
        return _Part("bool", lambda _: truth, node)
    number = _NUMBER.fullmatch(text)
    if number:
        value = float(text)
        if not math.isfinite(value):
            raise _error(node, "This number is too large.")
        return _Part("double" if number[2] or number[3] else "int", lambda _: value, node)
    quoted = _TEXT.fullmatch(text)
    if not quoted:
        raise _error(node, _ALLOWED)
    state = quoted[2]
    if state not in BREAKER_STATES:
        raise _error(node, f"A breaker is never {state!r}; it is {', '.join(BREAKER_STATES)}.")
    return _Part("string", lambda _: state, node)


def _logical(combine: Callable[[_Function, _Function], _Function]) -> "Callable[[_Node], _Part]":
    def make(node: "_Node") -> _Part:
        left, right = (_must_be(_part(child), "bool") for child in _trees(node))
        return _Part("bool", combine(left.value, right.value), node)

    return make


def _or(left: _Function, right: _Function) -> _Function:
    return lambda metrics: left(metrics) or right(metrics)


def _and(left: _Function, right: _Function) -> _Function:
    return lambda metrics: left(metrics) and right(metrics)


def _choice(node: "_Node") -> _Part:
    test, yes, no = (_part(child) for child in _trees(node))
    _must_be(test, "bool")
    _must_be(no, yes.type)
    return _Part(
        yes.type, lambda metrics: (yes if test.value(metrics) else no).value(metrics), node
    )


def _unary(node: "_Node") -> _Part:
    sign, operand = _trees(node)
    if sign.data == "unary_not":
        truth = _must_be(_part(operand), "bool")
        return _Part("bool", lambda metrics: not truth.value(metrics), node)
    number = _must_be(_part(operand), *_NUMBERS)
    return _Part(number.type, lambda metrics: -number.value(metrics), node)


def _comparison(node: "_Node") -> _Part:
    partial, right_node = _trees(node)
    left, right = _part(_trees(partial)[0]), _part(right_node)
    if partial.data == "relation_in":
        _must_be(right, f"list of {left.type}")
        return _Part("bool", lambda metrics: left.value(metrics) in right.value(metrics), node)
    compare = _COMPARISONS[str(partial.data)]
    if left.type not in (*_NUMBERS, "string", "bool"):
        raise _error(left.node, "A list stands only after `in`.")
    _must_be(right, *(_NUMBERS if left.type in _NUMBERS else (left.type,)))
    if left.type not in _NUMBERS and compare not in (operator.eq, operator.ne):
        raise _error(node, "Only numbers are less or more than others.")
    return _Part("bool", lambda metrics: compare(left.value(metrics), right.value(metrics)), node)


def _arithmetic(node: "_Node") -> _Part:
    partial, right_node = _trees(node)
    compute = _COMPUTATIONS.get(str(partial.data))
    if compute is None:
        raise _error(node, _ALLOWED)
    left, right = _part(_trees(partial)[0]), _part(right_node)
    for each in (left, right):
        if each.type == "int":
            raise _error(each.node, "Numbers to reckon with need a point: write 2.0, not 2.")
        _must_be(each, "double")
    return _Part("double", lambda metrics: compute(left.value(metrics), right.value(metrics)), node)


def _divide(left: float, right: float) -> float:
    if right:
        return left / right
    # As IEEE 754, and so CEL, has it.
    if not left or math.isnan(left):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


_COMPUTATIONS: dict[str, Callable[[float, float], float]] = {
    "addition_add": operator.add,
    "addition_sub": operator.sub,
    "multiplication_mul": operator.mul,
    "multiplication_div": _divide,
}


def _list(node: "_Node") -> _Part:
    items = [_part(child) for child in _trees(_trees(node)[0])] if _trees(node) else []
    if not items:
        raise _error(node, "The list is empty.")
    for item in items:
        _must_be(item, items[0].type)
    values = tuple(item.value for item in items)
    return _Part(
        f"list of {items[0].type}", lambda metrics: [value(metrics) for value in values], node
    )


_MAKERS: "dict[str, Callable[[_Node], _Part]]" = {
    "ident": _metric,
    "literal": _literal,
    "expr": _choice,
    "conditionalor": _logical(_or),
    "conditionaland": _logical(_and),
    "relation": _comparison,
    "addition": _arithmetic,
    "multiplication": _arithmetic,
    "unary": _unary,
    "list_lit": _list,
}
