"""`/places/resolve`: where a code, a stake, an address text or a coordinate of a named datum is."""

from decimal import Decimal
from typing import Annotated, Any

import numpy as np
import orjson
import shapely
from fastapi import APIRouter, Body, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from api.answers import GEOJSON, json_response, link
from api.auditing import ViewRoute, open_entry
from api.context import Context, caller_of, context_of, readable, strict_parameters, view_of
from layers.lookup import code_rows, listing, located, placed_code
from layers.places.candidates import Candidate
from layers.places.gazetteer import Gazetteer
from twin.access import Caller
from twin.datum import parse_datum, to_city
from twin.errors import DatumError, InvalidRequest
from twin.geometry import METRES_PER_DEGREE, inside
from twin.identifiers import Identifier, recognise, suspects
from twin.view import View

__all__ = ["candidates_of", "router"]

router = APIRouter(route_class=ViewRoute, tags=["Places"], dependencies=[Depends(strict_parameters)])

_MOST_PLACES = 1_000
_LONGEST = 300
_LEAST_M = 5.0
_HEADERS = {"Cache-Control": "no-store", "Vary": "Authorization"}

Coordinate = Annotated[Decimal, Field(max_digits=20, allow_inf_nan=False)]


class Question(BaseModel):
    """What is looked for: a text or a code `q`, or a coordinate with its datum; `area` narrows a text down."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    q: str | None = Field(default=None, min_length=1, max_length=_LONGEST, description="a code, a stake or an address")
    area: str = Field(default="", max_length=12, pattern=r"^\d*$", description="code of the area it is known to lie in")
    lon: Coordinate | None = None
    lat: Coordinate | None = None
    datum: str | None = Field(default=None, max_length=30, description="datum of lon and lat: wgs84, gcj02, bd09 ...")


class Questions(BaseModel):
    """Many questions at once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    places: list[Question] = Field(max_length=_MOST_PLACES)


@router.get("/places/resolve", response_class=Response)
async def resolve_one(
    request: Request,
    caller: Annotated[Caller, Depends(caller_of)],
    view: Annotated[View, Depends(view_of)],
    q: Annotated[str | None, Query(max_length=_LONGEST, description="a code, a stake or an address")] = None,
    area: Annotated[str, Query(max_length=12, pattern=r"^\d*$", description="code of the area it lies in")] = "",
    lon: Annotated[Coordinate | None, Query()] = None,
    lat: Annotated[Coordinate | None, Query()] = None,
    datum: Annotated[
        str | None, Query(max_length=30, description="datum of lon and lat: wgs84, gcj02, bd09 ...")
    ] = None,
) -> Response:
    """Where something is: all places that it may mean, best first, with accuracy and what speaks against each."""
    question = Question.model_construct(q=q, area=area, lon=lon, lat=lat, datum=datum)
    (answer,) = await _answers(request, caller, view, [question])
    answer["links"] = [link(str(request.url), "self", GEOJSON)]
    return json_response(answer, media_type=GEOJSON, headers=_HEADERS)


@router.post("/places/resolve", response_class=Response)
async def resolve_many(
    request: Request,
    caller: Annotated[Caller, Depends(caller_of)],
    view: Annotated[View, Depends(view_of)],
    asked: Annotated[Questions | Question, Body()],
) -> Response:
    """As GET, for one question or up to 1,000: `{"places": [...]}` is answered by `{"results": [...]}`."""
    if isinstance(asked, Question):
        (answer,) = await _answers(request, caller, view, [asked])
        return json_response(answer, media_type=GEOJSON, headers=_HEADERS)
    return json_response({"results": await _answers(request, caller, view, asked.places)}, headers=_HEADERS)


async def _answers(request: Request, caller: Caller, view: View, questions: list[Question]) -> list[dict[str, Any]]:
    context = context_of(request)
    for at, question in enumerate(questions):
        _require_one(question, f"places/{at}" if len(questions) > 1 else "q")
    gazetteer = await context.gazetteers.of(view)
    answers: list[dict[str, Any]] = []
    for question in questions:
        if question.q is None:
            found, notes = _coordinate(question, context, gazetteer)
        else:
            found, notes = await _of_text(request, caller, view, gazetteer, question.q, question.area)
        answers.append(_collection(found, notes, gazetteer))
    return answers


async def candidates_of(request: Request, caller: Caller, view: View, text: str) -> tuple[list[Candidate], list[str]]:
    """The places that a text or a code may mean, best first, or why it means none."""
    gazetteer = await context_of(request).gazetteers.of(view)
    return await _of_text(request, caller, view, gazetteer, text, "")


async def _of_text(
    request: Request, caller: Caller, view: View, gazetteer: Gazetteer, text: str, area: str
) -> tuple[list[Candidate], list[str]]:
    codes = recognise(text)
    found = await _codes(request, caller, view, codes, gazetteer) if codes else []
    found = found or gazetteer.resolve(text, area)
    return found, _notes(text, codes, gazetteer) if not found else []


def _require_one(question: Question, where: str) -> None:
    """A question is a text or a coordinate, and a coordinate has a datum."""
    coordinate = (question.lon, question.lat)
    if (question.q is None) == (coordinate == (None, None)):
        raise InvalidRequest(
            "ask for a text or for a coordinate.", where=where, remedy="Send q, or lon, lat and datum."
        )
    if question.q is not None and question.datum is not None:
        raise InvalidRequest("a text has no datum.", where=where, remedy="Leave datum out.")
    if question.q is None and (None in coordinate or question.datum is None):
        raise InvalidRequest(
            "a coordinate is lon, lat and datum.",
            where=where,
            remedy="Say all three; without its datum it may be half a kilometre off.",
        )


def _coordinate(question: Question, context: Context, gazetteer: Gazetteer) -> tuple[list[Candidate], list[str]]:
    """The place of a coordinate, as exact as it has digits."""
    given = [value for value in (question.lon, question.lat) if value is not None]
    x, y = (np.array([float(value)]) for value in given)
    try:
        lon, lat = to_city(x, y, parse_datum(question.datum or ""), context.city)
    except DatumError as error:
        raise InvalidRequest(error.what, where="datum", remedy=error.remedy) from error
    if not inside(lon, lat, context.city.bounds)[0]:
        if inside(y, x, context.city.bounds)[0]:
            return [], ["lon and lat are swapped: swapped they would fit"]
        return [], [f"the coordinate is not in {context.city.title.zh}"]
    is_in_degrees = float(abs(given[1])) <= 90
    digits = -min(int(value.as_tuple().exponent) for value in given)
    step_m = (METRES_PER_DEGREE if is_in_degrees else 1.0) * 10.0**-digits
    code = gazetteer.code_at(float(lon[0]), float(lat[0]))
    one = Candidate(float(lon[0]), float(lat[0]), max(_LEAST_M, step_m / 2), "coordinate", 1.0, code)
    return [one], []


async def _codes(
    request: Request, caller: Caller, view: View, codes: list[Identifier], gazetteer: Gazetteer
) -> list[Candidate]:
    """The places of codes, in the datasets that the caller may read."""
    context = context_of(request)
    found: list[Candidate] = []
    for code in codes:
        found += placed_code(code, gazetteer, context.city)
        for contract in listing(readable(context, view.audience), code):
            open_entry(request, contract, caller)
            async with context.database.reading(view.audience) as connection:
                rows = (await connection.execute(code_rows(contract, view, context.city, code))).all()
            found += [located(contract, row, gazetteer) for row in rows]
    return found


def _notes(text: str, codes: list[Identifier], gazetteer: Gazetteer) -> list[str]:
    """Why a text has no place, as far as that can be said."""
    notes = [f"{code.kind} {code.text} is well formed, but not known here" for code in codes]
    if not codes:
        for fault in suspects(text):
            fits = f"; it may be {' or '.join(fault.fits)}" if fault.fits else ""
            notes.append(f"{fault.kind}: {fault.what.en}{fits}")
        elsewhere = gazetteer.read(text).elsewhere
        if elsewhere is not None:
            notes.append(f"it names {elsewhere}, which is not here")
    return notes or ["it names no place that is known here"]


def _collection(found: list[Candidate], notes: list[str], gazetteer: Gazetteer) -> dict[str, Any]:
    features = [_feature(one, gazetteer) for one in found]
    told = {"notes": notes} if notes else {}
    return {"type": "FeatureCollection", "numberReturned": len(features), **told, "features": features}


def _feature(one: Candidate, gazetteer: Gazetteer) -> dict[str, Any]:
    shape = shapely.Point(one.lon, one.lat) if one.shape is None else one.shape
    record = {"collection": one.record[0], "record": one.record[1]} if one.record is not None else {}
    return {
        "type": "Feature",
        "geometry": orjson.Fragment(shapely.to_geojson(shapely.set_precision(shape, 1e-7, mode="pointwise"))),
        "properties": {
            "method": one.method,
            "accuracy_m": round(one.accuracy_m, 1),
            "confidence": round(one.confidence, 3),
            "reason": one.reason or None,
            "district_code": gazetteer.district_of(one.area) or None,
            "area_code": one.area or None,
            "lon": round(one.lon, 7),
            "lat": round(one.lat, 7),
            **record,
        },
    }
