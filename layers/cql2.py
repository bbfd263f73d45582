"""CQL2 text (OGC 21-065r2, annex B) -> the objects of CQL2 JSON.

The grammar is LALR(1): a filter is read in one pass, in time proportional to its length, whatever it nests. It does not
tell a condition from a value; `layers/filters.py` does, by the types of the fields.
"""

import shapely
from lark import Lark, Token, Transformer, v_args
from lark.exceptions import LarkError, UnexpectedEOF, UnexpectedInput, UnexpectedToken, VisitError
from shapely.errors import ShapelyError

from twin.errors import InvalidRequest

__all__ = ["Node", "parse_text"]

Node = object
"""A part of a filter: an object of CQL2 JSON, a constant, or a geometry."""

_CONTEXT = 24

# Longer words first: the lexer takes the first alternative that fits. WKT is one word, so that GEOS reads it.
_GRAMMAR = r"""
?start: either
?either: both | both (_OR both)+ -> or_
?both: negated | negated (_AND negated)+ -> and_
?negated: predicate | _NOT negated -> not_
?predicate: sum
    | sum COMPARISON sum -> compared
    | sum _LIKE sum -> like
    | sum _NOT _LIKE sum -> not_like
    | sum _BETWEEN sum _AND sum -> between
    | sum _NOT _BETWEEN sum _AND sum -> not_between
    | sum _IN "(" values ")" -> in_
    | sum _NOT _IN "(" values ")" -> not_in
    | sum _IS _NULL -> null
    | sum _IS _NOT _NULL -> not_null
?sum: product | sum SIGN product -> arithmetic
?product: signed | product FACTOR signed -> arithmetic
?signed: atom | SIGN signed -> sign
?atom: "(" either ")"
    | NAME "(" values ")" -> call
    | NAME -> property
    | QUOTED -> quoted
    | NUMBER -> number
    | TEXT -> text
    | (PATH_WKT | RINGS_WKT | AREAS_WKT) -> geometry
    | _TRUE -> true
    | _FALSE -> false
values: either ("," either)*

_OR.3: /OR\b/i
_AND.3: /AND\b/i
_NOT.3: /NOT\b/i
_LIKE.3: /LIKE\b/i
_BETWEEN.3: /BETWEEN\b/i
_IN.3: /IN\b/i
_IS.3: /IS\b/i
_NULL.3: /NULL\b/i
_TRUE.3: /TRUE\b/i
_FALSE.3: /FALSE\b/i
PATH_WKT.4: /(?:POINT|LINESTRING|MULTIPOINT)\s*\([^()]+\)/i
RINGS_WKT.4: /(?:POLYGON|MULTILINESTRING|MULTIPOINT)\s*\((?:\s*\([^()]+\)\s*,?)+\)/i
AREAS_WKT.4: /MULTIPOLYGON\s*\((?:\s*\((?:\s*\([^()]+\)\s*,?)+\)\s*,?)+\)/i
COMPARISON: "<>" | "<=" | ">=" | "=" | "<" | ">"
SIGN: "+" | "-"
FACTOR: "*" | "/"
NAME: /[^\W\d]\w*/
QUOTED: /"[^"]+"/
TEXT: /'(?:[^']|'')*'/
NUMBER: /(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?/
%ignore /\s+/
"""


@v_args(inline=True)
class _Objects(Transformer[Token, Node]):
    """Builds the objects of CQL2 JSON while the text is read."""

    def or_(self, *args: Node) -> Node:
        return _op("or", *args)

    def and_(self, *args: Node) -> Node:
        return _op("and", *args)

    def not_(self, arg: Node) -> Node:
        return _op("not", arg)

    def compared(self, left: Node, operator: Token, right: Node) -> Node:
        return _op(str(operator), left, right)

    def arithmetic(self, left: Node, operator: Token, right: Node) -> Node:
        return _op(str(operator), left, right)

    def sign(self, sign: Token, value: Node) -> Node:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return -value if sign == "-" else value
        return _op(str(sign), 0, value)

    def like(self, value: Node, pattern: Node) -> Node:
        return _op("like", value, pattern)

    def not_like(self, value: Node, pattern: Node) -> Node:
        return _op("not", self.like(value, pattern))

    def between(self, value: Node, low: Node, high: Node) -> Node:
        return _op("between", value, low, high)

    def not_between(self, value: Node, low: Node, high: Node) -> Node:
        return _op("not", self.between(value, low, high))

    def in_(self, value: Node, values: list[Node]) -> Node:
        return _op("in", value, values)

    def not_in(self, value: Node, values: list[Node]) -> Node:
        return _op("not", self.in_(value, values))

    def null(self, value: Node) -> Node:
        return _op("isNull", value)

    def not_null(self, value: Node) -> Node:
        return _op("not", self.null(value))

    def values(self, *values: Node) -> list[Node]:
        return list(values)

    def property(self, name: Token) -> Node:
        return {"property": str(name)}

    def quoted(self, name: Token) -> Node:
        return {"property": str(name)[1:-1]}

    def number(self, digits: Token) -> Node:
        return int(digits) if digits.isdecimal() else float(digits)

    def text(self, quoted: Token) -> Node:
        return str(quoted)[1:-1].replace("''", "'")

    def true(self) -> Node:
        return True

    def false(self) -> Node:
        return False

    def geometry(self, wkt: Token) -> Node:
        return shapely.from_wkt(str(wkt))

    def call(self, name: Token, values: list[Node]) -> Node:
        word = name.lower()
        match word, values:
            case "date" | "timestamp", [str(moment)]:
                return {word: moment}
            case "interval", [_, _]:
                return {word: [next(iter(end.values())) if isinstance(end, dict) else end for end in values]}
            case "bbox", _:
                return {word: values}
            case _:
                return _op(word, *values)


def _op(operator: str, *args: Node) -> dict[str, Node]:
    return {"op": operator, "args": list(args)}


_PARSER = Lark(_GRAMMAR, parser="lalr", lexer="contextual", transformer=_Objects(), maybe_placeholders=False)


def parse_text(text: str) -> Node:
    """Read a filter in CQL2 text; geometries become shapely geometries, all else is as in CQL2 JSON.

    Raises InvalidRequest that says where the text goes wrong.
    """
    try:
        return _PARSER.parse(text)
    except UnexpectedInput as error:
        at_end = isinstance(error, UnexpectedEOF) or (isinstance(error, UnexpectedToken) and error.token.type == "$END")
        position = len(text) if at_end or error.pos_in_stream is None else error.pos_in_stream
        found = "it ends too early" if at_end else f"{text[position : position + _CONTEXT]!r} does not belong there"
        raise InvalidRequest(
            f"the filter is not CQL2: {found}.",
            where=f"filter, character {position + 1}",
            remedy="Write for example: beds > 100 AND name LIKE '%hospital%'.",
        ) from error
    except (LarkError, ShapelyError, ValueError) as error:
        cause = error.orig_exc if isinstance(error, VisitError) else error
        raise InvalidRequest(f"the filter cannot be read: {cause}.", where="filter") from error
