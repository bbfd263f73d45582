"""Errors -> HTTP: one table from the tree of `twin/errors.py` to status codes, and problem documents (RFC 9457)."""

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from api.answers import PROBLEM, json_response
from twin.errors import (
    Conflict,
    DatabaseUnavailable,
    InvalidRequest,
    LimitExceeded,
    NotAllowed,
    NotFound,
    SetupError,
    Terminal,
    Transient,
    TwinError,
)

__all__ = ["RESPONSES", "STATUS", "Unidentified", "install", "problem", "refused"]


class Unidentified(NotAllowed):
    """The credentials of a request are not good: nobody knows who asks."""


STATUS: dict[type[TwinError], HTTPStatus] = {
    InvalidRequest: HTTPStatus.BAD_REQUEST,
    LimitExceeded: HTTPStatus.BAD_REQUEST,
    Unidentified: HTTPStatus.UNAUTHORIZED,
    NotAllowed: HTTPStatus.FORBIDDEN,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    DatabaseUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    SetupError: HTTPStatus.SERVICE_UNAVAILABLE,
    Transient: HTTPStatus.SERVICE_UNAVAILABLE,
    Terminal: HTTPStatus.INTERNAL_SERVER_ERROR,
}
"""The status of each error; one that is not listed has its parent's."""

_CODES = {
    HTTPStatus.NOT_FOUND: NotFound.code,
    HTTPStatus.METHOD_NOT_ALLOWED: InvalidRequest.code,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: LimitExceeded.code,
}
_RETRY_AFTER_S = "2"
_NOT_SET_UP = "the twin is not set up completely; its log says what is missing and which command makes it."
_log = logging.getLogger("twin.api")


def _described(status: HTTPStatus) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": status.phrase, "content": {PROBLEM: {"schema": schema}}}


RESPONSES: dict[int | str, dict[str, Any]] = {
    status.value: _described(status)
    for status in (
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.METHOD_NOT_ALLOWED,
        HTTPStatus.CONFLICT,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.REQUEST_URI_TOO_LONG,
        HTTPStatus.MISDIRECTED_REQUEST,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.SERVICE_UNAVAILABLE,
    )
}
"""The problems that any route may answer with, as OpenAPI describes them."""


def install(app: FastAPI) -> None:
    """Make every error of the application a problem document."""
    app.add_exception_handler(TwinError, _of_twin)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(Exception, _of_bug)


def status_of(error: TwinError) -> HTTPStatus:
    """The HTTP status of an error: that of its nearest listed ancestor."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), HTTPStatus.INTERNAL_SERVER_ERROR)


def problem(
    status: HTTPStatus, code: str, detail: str, *, where: str = "", headers: dict[str, str] | None = None
) -> Response:
    """A problem document. `code` is stable and listed in the README; `detail` is for people, `where` names the part."""
    body = {"type": "about:blank", "title": status.phrase, "status": status.value, "code": code, "detail": detail}
    if where:
        body["where"] = where
    return json_response(body, status=status, media_type=PROBLEM, headers=headers)


def _of_twin(request: Request, error: Exception) -> Response:
    if not isinstance(error, TwinError) or status_of(error) == HTTPStatus.INTERNAL_SERVER_ERROR:
        return _of_bug(request, error)
    return refused(request, error)


def refused(request: HTTPConnection, error: TwinError) -> Response:
    """The problem document of an error that is not a mistake of ours."""
    status = status_of(error)
    headers: dict[str, str] = {}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        _log.warning("%s: %s", request.url.path, error)
        headers["Retry-After"] = _RETRY_AFTER_S
    elif status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer error="invalid_token"'
    # What a machine lacks is its operator's to know: the words may name datasets that the asker may not hear of.
    detail = _NOT_SET_UP if isinstance(error, SetupError) else f"{error.what} {error.remedy}".strip()
    return problem(status, error.code, detail, where=error.where, headers=headers)


def _of_validation(_request: Request, error: Exception) -> Response:
    faults = error.errors() if isinstance(error, RequestValidationError) else []
    detail = "; ".join(f"{fault['loc'][-1]}: {fault['msg']}" for fault in faults)
    where = str(faults[0]["loc"][-1]) if faults else ""
    return problem(HTTPStatus.BAD_REQUEST, InvalidRequest.code, detail or "the request cannot be read.", where=where)


def _of_http(_request: Request, error: Exception) -> Response:
    status = HTTPStatus(error.status_code) if isinstance(error, HTTPException) else HTTPStatus.INTERNAL_SERVER_ERROR
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    what = "there is nothing at this address." if status == HTTPStatus.NOT_FOUND else f"{status.phrase.lower()}."
    return problem(status, _CODES.get(status, InvalidRequest.code), what, headers=headers)


def _of_bug(request: Request, error: Exception) -> Response:
    """A mistake of ours: the log has it whole, the answer tells nothing of it."""
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, TwinError.code, "the twin made a mistake; its log says which.")
