"""Problems on their way out: one place renders them as RFC 9457 documents."""

import json
from collections.abc import Sequence
from typing import Any

from psycopg import errors as postgres_errors
from pydantic import ValidationError
from pydantic_core import from_json
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app.kit import telemetry
from tocsin.problems import DatabaseFull, DatabaseUnavailable, InternalError, MethodNotAllowed, NotFound, Problem

log = telemetry.logger(__name__)

# A body may be wrong in as many places as it has members; a person reads the first few.
_ERRORS_MAX = 20

# Whoever makes room is a person, or a job that runs now and then.
_full = postgres_errors.DiskFull
_away = (OperationalError, InterfaceError, PoolTimeoutError, postgres_errors.OperationalError, ConnectionError)


def response(problem: Problem, request_id: str) -> Response:
    """The document of a problem, with the request's id as its instance."""
    document = problem.document(instance=request_id)
    return Response(json.dumps(document), problem.status, dict(problem.headers), "application/problem+json")


def pointers(error: ValidationError, body: bytes) -> list[dict[str, str]]:
    """Where a body was not met: a JSON pointer (RFC 6901) and what would be accepted, for each place."""
    document = _document(body)
    return [
        {"pointer": pointer(_within(document, place, missing=missing)), "detail": detail}
        for place, detail, missing in _places(error)
    ]


def pointer(location: Sequence[int | str]) -> str:
    """The steps to a place as a JSON pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)


def parameters(error: ValidationError) -> list[dict[str, str]]:
    """Where a query was not met: the parameter and what would be accepted, for each."""
    return [{"parameter": str(place[0]) if place else "", "detail": detail} for place, detail, _ in _places(error)]


def _places(error: ValidationError) -> list[tuple[tuple[int | str, ...], str, bool]]:
    """Place and reason of each error, and whether something is missing there."""
    shown = error.errors(include_url=False, include_input=False, include_context=False)[:_ERRORS_MAX]
    return [(e["loc"], e["msg"].removeprefix("Value error, "), e["type"] == "missing") for e in shown]


def _document(body: bytes) -> Any:
    try:
        return from_json(body)
    except ValueError:
        return None


def _within(document: Any, place: Sequence[int | str], *, missing: bool) -> Sequence[int | str]:
    """The steps of a place that are steps through the document; others name the model's choice between shapes."""
    steps: list[int | str] = []
    for step in place:
        try:
            document = document[step]
        except (KeyError, IndexError, TypeError):
            continue
        steps.append(step)
    return [*steps, place[-1]] if missing else steps


def of(error: Exception) -> Problem:
    """The refusal that an exception stands for: itself, a database that is full or away, or a defect of ours."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, DBAPIError) and isinstance(error.orig, _full):
        return DatabaseFull(headers={"Retry-After": "10"})
    if isinstance(error, _away):
        return DatabaseUnavailable(headers={"Retry-After": "2"})
    return InternalError()


def answer(error: Exception, request: Request) -> Response:
    """The answer to a request that ended so. Of a defect, the caller learns the id, and the log the rest."""
    problem, request_id = of(error), request.state.request_id
    if isinstance(problem, InternalError):
        log.error("a request failed", request_id=request_id, path=_path(request), exc_info=error)
    elif isinstance(problem, DatabaseFull):
        log.error("the database is full", request_id=request_id)
    elif isinstance(problem, DatabaseUnavailable):
        log.warning("the database is away", request_id=request_id, error=type(error).__name__)
    return response(problem, request_id)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """What Starlette itself refuses: no such path, no such method on it."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        return answer(MethodNotAllowed(headers={"Allow": (error.headers or {}).get("Allow", "")}), request)
    return answer(NotFound("Nothing answers at this path; GET /openapi.json lists what does."), request)


async def on_error(request: Request, error: Exception) -> Response:
    """What escaped everything else."""
    return answer(error, request)


handlers: dict[Any, Any] = {HTTPException: on_http_exception, Exception: on_error}


def _path(request: Request) -> str:
    """The path, without what is secret in it: whoever knows the token of an inbox can post to it."""
    token = request.path_params.get("token")
    return request.url.path.replace(str(token), "{token}") if token else request.url.path
