# pyright: reportUntypedFunctionDecorator=false
"""CQL2 filters (OGC 21-065r2, text and JSON) -> SQL conditions over the fields of a contract, and nothing else."""

import datetime as dt
from collections.abc import Mapping
from typing import Any, NoReturn, cast

import sqlalchemy as sa
from lark.exceptions import LarkError, UnexpectedInput
from pygeofilter import ast, values
from pygeofilter.ast import AstType
from pygeofilter.backends.evaluator import handle
from pygeofilter.backends.sqlalchemy.evaluate import SQLAlchemyFilterEvaluator
from pygeofilter.parsers.cql2_json import parse as parse_json
from pygeofilter.parsers.cql2_text import parse as parse_text
from pygeoif import shape
from pygeoif.types import GeoInterface
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from twin.errors import InvalidRequest, LimitExceeded

__all__ = ["filter_condition"]

_LONGEST_FILTER = 8_192


def filter_condition(text: str, columns: Mapping[str, sa.ColumnElement[Any]], srid: int) -> sa.ColumnElement[bool]:
    """The SQL condition of a CQL2 filter. `columns` are the names it may use; geometries are CRS84.

    JSON is told from text by its opening brace. Raises InvalidRequest for wrong syntax, an unknown name, an unknown
    function or values that do not fit, LimitExceeded for a filter that is too long.
    """
    if len(text) > _LONGEST_FILTER:
        raise LimitExceeded(f"the filter has {len(text):,} characters.", remedy=f"Use at most {_LONGEST_FILTER:,}.")
    try:
        tree = (parse_json if text.lstrip().startswith("{") else parse_text)(text)
        condition = _Evaluator(columns, srid).evaluate(cast("AstType", tree))
    except InvalidRequest:
        raise
    except UnexpectedInput as error:
        raise InvalidRequest(
            f"the filter is not CQL2: unexpected text in column {error.column}.",
            where=text[max(0, error.column - 20) : error.column + 20],
            remedy="See https://docs.ogc.org/is/21-065r2/21-065r2.html.",
        ) from error
    except (LarkError, RecursionError, SQLAlchemyError, ArgumentError, TypeError, ValueError, KeyError) as error:
        raise InvalidRequest(
            f"the filter cannot be read: {str(error).splitlines()[0] if str(error) else error!r}."
        ) from error
    except (AttributeError, NotImplementedError, AssertionError) as error:
        raise InvalidRequest("the filter uses an operator that is not supported here.") from error
    if not isinstance(condition, sa.ColumnElement):
        raise InvalidRequest("the filter is a value, not a condition.", remedy="Write for example: beds > 100.")
    return condition


class _Evaluator(SQLAlchemyFilterEvaluator):
    """pygeofilter's evaluator, closed: known names only, no functions, geometries in the city's SRID."""

    def __init__(self, columns: Mapping[str, sa.ColumnElement[Any]], srid: int) -> None:
        super().__init__(dict(columns), undefined_as_null=False)
        self._srid = srid

    @handle(ast.Attribute)
    def attribute(self, node: ast.Attribute) -> sa.ColumnElement[Any]:
        """A field; InvalidRequest for any other name."""
        column = self.field_mapping.get(node.name)
        if column is None:
            known = ", ".join(self.field_mapping)
            raise InvalidRequest(
                f"the filter names {node.name!r}, which is not a property.", remedy=f"There are: {known}."
            )
        return column

    @handle(ast.Function)
    def function(self, node: ast.Function, *_: object) -> NoReturn:
        """No function is offered."""
        raise InvalidRequest(f"the filter calls {node.name!r}; functions are not supported.")

    @handle(ast.SpatialDistancePredicate, subclasses=True)
    def spatial_distance(self, node: ast.SpatialDistancePredicate, lhs: object, rhs: object) -> NoReturn:  # noqa: ARG002
        """Distances in degrees would mislead."""
        raise InvalidRequest("distance predicates are not supported.", remedy="Use S_INTERSECTS with an area.")

    @handle(values.Geometry)
    def geometry(self, node: values.Geometry) -> sa.Function[Any]:
        """A geometry literal, taken from CRS84 to the city's SRID."""
        wkt = shape(cast("GeoInterface", node.__geo_interface__)).wkt
        return sa.func.ST_SetSRID(sa.func.ST_GeomFromText(wkt), self._srid)

    @handle(values.Envelope)
    def envelope(self, node: values.Envelope) -> sa.Function[Any]:
        """A box literal, taken from CRS84 to the city's SRID."""
        west, east = sorted((float(node.x1), float(node.x2)))
        south, north = sorted((float(node.y1), float(node.y2)))
        return sa.func.ST_MakeEnvelope(west, south, east, north, self._srid)

    @handle(*values.LITERALS)
    def literal(self, node: object) -> object:
        """Numbers, texts and times; a day without a zone counts from its first moment in UTC."""
        if isinstance(node, dt.datetime) and node.tzinfo is None:
            return node.replace(tzinfo=dt.UTC)
        return node
