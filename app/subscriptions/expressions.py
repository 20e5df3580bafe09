"""JMESPath with an end: strangers write the expression and the document, and neither may cost more than a bound.

The language is small, but not its results: `[@, @]` doubles a value, and twenty of them in a row make a million of it.
So every node that is visited counts, and so does the size of whatever is made anew. The work stops where the sum is
too large, whatever the expression.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, TypeAlias, cast

from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions
from jmespath.parser import Parser
from jmespath.visitor import Options, TreeInterpreter

__all__ = ["BadExpression", "Expression", "Unfit", "expression"]

depth_max = 40
steps_max = 100_000
characters_a_step = 32
compiled_max = 512  # of up to 100 KB each

Node: TypeAlias = Any


class BadExpression(ValueError):
    """This is no JMESPath expression that we would evaluate. The message says why, for the one who wrote it."""


class Unfit(Exception):
    """The expression has no result with this document. The message says why, without showing the document."""


class Expression:
    """An expression that was read once, and is asked of many documents."""

    def __init__(self, tree: Node) -> None:
        self._tree = tree

    def of(self, document: Any) -> Any:
        """What it selects; None for nothing. Raises Unfit."""
        return self._asked(_Interpreter(), document)

    def of_each(self, values: Sequence[Any]) -> Sequence[Any]:
        """What it selects of each, None for nothing and where it does not fit. Raises Unfit if all take too long."""
        interpreter = _Interpreter()
        return [self._asked_or_none(interpreter, value) for value in values]

    def _asked_or_none(self, interpreter: _Interpreter, value: Any) -> Any:
        try:
            return self._asked(interpreter, value)
        except Unfit:
            if interpreter.steps < 0:
                raise
            return None

    def _asked(self, interpreter: _Interpreter, document: Any) -> Any:
        try:
            return interpreter.visit(self._tree, document)
        except _TooCostly as costly:
            raise Unfit("the expression takes too long with this document") from costly
        except RecursionError as error:
            raise Unfit("the document is nested too deep for the expression") from error
        except JMESPathError as error:
            raise Unfit(f"the expression does not fit the document: {_reason(error)}") from error
        # Whatever a stranger's document makes the library stumble over is no fault of ours, and stops nothing.
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise Unfit("the expression does not fit the document") from error


@lru_cache(compiled_max)
def expression(text: str) -> Expression:
    """Read an expression. Raises BadExpression."""
    try:
        tree: Node = Parser().parse(text).parsed
    except JMESPathError as error:
        raise BadExpression(f"this is no JMESPath expression: {_reason(error)}") from error
    except (RecursionError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise BadExpression("this is no JMESPath expression") from error
    for name in _functions(tree, depth_max):
        if name not in Functions.FUNCTION_TABLE:
            raise BadExpression(f"there is no function {name}()")
    return Expression(tree)


class _TooCostly(Exception):
    """The steps are used up."""


class _Interpreter(TreeInterpreter):
    """Counts the steps of one evaluation."""

    def __init__(self) -> None:
        self.steps = steps_max
        super().__init__(Options(custom_functions=_Functions(self)))

    def spend(self, steps: int) -> None:
        self.steps -= steps
        if self.steps < 0:
            raise _TooCostly

    def spend_on(self, value: Any) -> None:
        """As many steps as the value is large, wherever in it the same thing stands again."""
        level: list[Any] = [value]
        while level:
            self.spend(len(level) + sum(len(each) // characters_a_step for each in level if isinstance(each, str)))
            level = list(chain.from_iterable(_inner(each) for each in level))

    def visit(self, node: Node, *args: Any, **kwargs: Any) -> Any:
        self.spend(1)
        return super().visit(node, *args, **kwargs)

    def visit_multi_select_list(self, node: Node, value: Any) -> Any:
        return self._paid(super().visit_multi_select_list(node, value))

    def visit_multi_select_dict(self, node: Node, value: Any) -> Any:
        return self._paid(super().visit_multi_select_dict(node, value))

    def visit_comparator(self, node: Node, value: Any) -> Any:
        # Two large values are compared member by member, each time anew.
        sides = [self.visit(child, value) for child in node["children"]]
        for side in sides:
            if isinstance(side, list | dict):
                self.spend_on(side)
        return super().visit_comparator(_with(node, sides), value)

    def visit_flatten(self, node: Node, value: Any) -> Any:
        base = self.visit(node["children"][0], value)
        if isinstance(base, list):
            items = cast(list[Any], base)
            self.spend(sum(len(cast(list[Any], each)) if isinstance(each, list) else 1 for each in items))
        return super().visit_flatten(_with(node, [base]), value)

    def _paid(self, made: Any) -> Any:
        self.spend_on(made)
        return made


class _Functions(Functions):
    """The functions of the language; those that look at all of their arguments pay for them."""

    def __init__(self, interpreter: _Interpreter) -> None:
        self._interpreter = interpreter

    def call_function(self, function_name: str, resolved_args: Any) -> Any:
        if function_name == "join" and len(resolved_args) == 2 and isinstance(resolved_args[1], list):
            separator, joined = str(resolved_args[0]), cast(list[Any], resolved_args[1])
            self._interpreter.spend(len(separator) * len(joined) // characters_a_step)
        for given in resolved_args:
            if function_name in _whole:
                self._interpreter.spend_on(given)
            elif isinstance(given, list | dict | str):
                self._interpreter.spend(len(cast(str, given)) // (characters_a_step if isinstance(given, str) else 1))
        made = super().call_function(function_name, resolved_args)
        if isinstance(made, str):
            self._interpreter.spend(len(made) // characters_a_step)
        return made


_whole = frozenset({"to_string", "contains"})


def _with(node: Node, values: Sequence[Any]) -> Any:
    """The node with its children replaced by what they came to."""
    children: list[Node] = [{"type": "literal", "value": value, "children": []} for value in values]
    return cast(Node, {**node, "children": children})


def _functions(node: Any, depth_left: int) -> list[str]:
    """The functions that an expression calls. Raises BadExpression where it is nested too deep."""
    if depth_left == 0:
        raise BadExpression(f"the expression is nested deeper than {depth_max} levels")
    if not isinstance(node, dict):
        return []
    part = cast(dict[str, Any], node)
    if part["type"] == "literal":
        _literal_depth(part["value"])
        return []
    called = [part["value"]] if part["type"] == "function_expression" else []
    return called + [name for child in part["children"] for name in _functions(child, depth_left - 1)]


def _literal_depth(value: Any) -> None:
    level: list[Any] = [value]
    for _ in range(depth_max):
        level = list(chain.from_iterable(_inner(each) for each in level))
        if not level:
            return
    raise BadExpression(f"the expression has a literal that is nested deeper than {depth_max} levels")


def _inner(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(cast(dict[str, Any], value).values())
    return cast(list[Any], value) if isinstance(value, list) else []


def _reason(error: JMESPathError) -> str:
    """The first line of what the library says, which shows types and not values."""
    kind = type(error).__name__
    if kind == "JMESPathTypeError":
        name = cast(Any, error).function_name
        return f"{name}() does not take {cast(Any, error).actual_type}"
    return str(error).partition("\n")[0].partition(", for expression")[0].rstrip(":")[:200]
