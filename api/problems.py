"""Errors -> HTTP: one table from the tree of `twin/errors.py` to status codes, and problem documents (RFC 9457)."""

import logging
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from api.answers import json_response
from twin.errors import (
    DatabaseUnavailable,
    InvalidRequest,
    LimitExceeded,
    NotAllowed,
    NotFound,
    Terminal,
    Transient,
    TwinError,
)

__all__ = ["STATUS", "install"]

STATUS: dict[type[TwinError], HTTPStatus] = {
    DatabaseUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    InvalidRequest: HTTPStatus.BAD_REQUEST,
    LimitExceeded: HTTPStatus.BAD_REQUEST,
    NotAllowed: HTTPStatus.FORBIDDEN,
    NotFound: HTTPStatus.NOT_FOUND,
    Transient: HTTPStatus.SERVICE_UNAVAILABLE,
    Terminal: HTTPStatus.INTERNAL_SERVER_ERROR,
}
"""The status of each error; one that is not listed has its parent's."""

_RETRY_AFTER_S = "2"
_log = logging.getLogger("twin.api")


def install(app: FastAPI) -> None:
    """Make every error of the application a problem document."""
    app.add_exception_handler(TwinError, _of_twin)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(Exception, _of_bug)


def status_of(error: TwinError) -> HTTPStatus:
    """The HTTP status of an error: that of its nearest listed ancestor."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), HTTPStatus.INTERNAL_SERVER_ERROR)


def problem(status: HTTPStatus, code: str, detail: str, headers: dict[str, str] | None = None) -> Response:
    """A problem document. `code` is stable and listed in the README; `detail` is for people."""
    body = {"type": "about:blank", "title": status.phrase, "status": status.value, "code": code, "detail": detail}
    return json_response(body, status=status, media_type="application/problem+json", headers=headers)


def _of_twin(request: Request, error: Exception) -> Response:
    if not isinstance(error, TwinError):
        return _of_bug(request, error)
    status = status_of(error)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("%s %s: %s", request.method, request.url.path, error)
    headers = {"Retry-After": _RETRY_AFTER_S} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    if isinstance(error, NotAllowed) and "authorization" in request.headers:
        status, headers = HTTPStatus.UNAUTHORIZED, {"WWW-Authenticate": 'Bearer error="invalid_token"'}
    return problem(status, error.code, str(error), headers)


def _of_validation(_request: Request, error: Exception) -> Response:
    faults = error.errors() if isinstance(error, RequestValidationError) else []
    detail = "; ".join(f"{fault['loc'][-1]}: {fault['msg']}" for fault in faults)
    return problem(HTTPStatus.BAD_REQUEST, InvalidRequest.code, detail or "the request cannot be read.")


def _of_http(_request: Request, error: Exception) -> Response:
    status = HTTPStatus(error.status_code) if isinstance(error, HTTPException) else HTTPStatus.INTERNAL_SERVER_ERROR
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    code = NotFound.code if status == HTTPStatus.NOT_FOUND else InvalidRequest.code
    what = "there is nothing at this address." if status == HTTPStatus.NOT_FOUND else f"{status.phrase.lower()}."
    return problem(status, code, what, headers)


def _of_bug(request: Request, error: Exception) -> Response:
    """A mistake of ours: the log has it whole, the answer tells nothing of it."""
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "error", "the twin made a mistake; its log says which.")
