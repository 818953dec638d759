"""One shape for every error: problem details as in RFC 9457, with a stable ``code``.

Which error becomes which status stands in ``ANSWERS`` and nowhere else.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast

from anyio import sleep
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from k2_api.guard.headers import safe_headers
from k2_api.guard.refusals import Refusal
from k2_market.errors import (
    K2Error,
    LakeUnavailable,
    NotAcceptable,
    TooLarge,
    UnknownName,
    UsageError,
)

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_S = 5

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """Status, code and title of an error; ``retry`` says whether asking again may help."""

    status: int
    code: str
    title: str
    retry: bool = False


# The first class that fits decides.
ANSWERS: tuple[tuple[type[K2Error], Answer], ...] = (
    (UnknownName, Answer(404, "unknown_name", "Unknown name")),
    (NotAcceptable, Answer(406, "not_acceptable", "Not acceptable")),
    (TooLarge, Answer(413, "too_large", "Too large")),
    (UsageError, Answer(422, "invalid_parameter", "Invalid parameter")),
    (LakeUnavailable, Answer(503, "lake_unavailable", "The tables cannot be read now", retry=True)),
    (K2Error, Answer(500, "internal_error", "Internal error")),
)


class Problem(BaseModel):
    """What went wrong and what to do about it (RFC 9457)."""

    type: str = Field(description="A URI that names the kind of problem: urn:k2:problem:<code>.")
    title: str = Field(description="The kind of problem in words; always the same for a code.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What was found, and what to do.")
    code: str = Field(description="A stable name of the kind of problem, for programs.")
    instance: str = Field(description="The path that was asked for.")


def install(app: FastAPI) -> None:
    """Give every error of ``app`` this shape, unknown routes and crashes included."""
    app.add_exception_handler(K2Error, _k2_error)
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _crash)


async def refused(path: str, refusal: Refusal) -> JSONResponse:
    """The answer to a request at ``path`` that is turned away, when it is to be sent."""
    await sleep(refusal.sent_after_s)
    response = _problem(path, refusal.status, refusal.code, refusal.title, str(refusal))
    response.headers.update(refusal.headers)
    return response


async def _refused(request: Request, error: Exception) -> JSONResponse:
    return await refused(request.url.path, cast("Refusal", error))


def problem_of(path: str, error: K2Error) -> Problem:
    """What became of a question at ``path`` that met this error."""
    if isinstance(error, Refusal):
        return _told(path, error.status, error.code, error.title, str(error))
    answer = _answer(error)
    code, title = answer.code, answer.title
    if isinstance(error, UnknownName):
        code, title = f"unknown_{error.kind}", f"Unknown {error.kind}"
    detail = _CRASHED if answer.status == HTTPStatus.INTERNAL_SERVER_ERROR else str(error)
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.warning("%s: %s", code, _PLACE.sub("…/", str(error)))
        detail = without_places(detail)
    return _told(path, answer.status, code, title, detail)


def _answer(error: K2Error) -> Answer:
    return next(a for kind, a in ANSWERS if isinstance(error, kind))


async def _k2_error(request: Request, raised: Exception) -> JSONResponse:
    error = cast("K2Error", raised)
    response = _sent(problem_of(request.url.path, error))
    if _answer(error).retry:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


# A path of two folders or more, or an address: it tells a stranger how the server is built.
_PLACE = re.compile(r"(\w+:)?/+([^/\s]+/+)+|\w+://")
_OUT_OF_REACH = (
    "a part of the tables is missing, damaged or out of reach. Ask again in a moment; if it stays "
    "so, `k2 doctor` on the server names it."
)


def without_places(detail: str) -> str:
    """The sentence, or another one where it names places of the server."""
    return _OUT_OF_REACH if _PLACE.search(detail) else detail


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    found = [
        f"{'.'.join(map(str, e['loc'][1:]))}: {e['msg']} (was {str(e.get('input'))[:80]!r})"
        for e in cast("RequestValidationError", error).errors()
    ]
    return _problem(
        request.url.path, 422, "invalid_parameter", "Invalid parameter", "; ".join(found)
    )


async def _http_error(request: Request, raised: Exception) -> JSONResponse:
    error = cast("HTTPException", raised)
    if error.status_code == HTTPStatus.BAD_REQUEST:
        # FastAPI tells a body that is no JSON from one that is no text at all: we do not.
        detail = "the body cannot be read. Send JSON in UTF-8."
        return _problem(request.url.path, 422, "invalid_parameter", "Invalid parameter", detail)
    phrase = HTTPStatus(error.status_code).phrase
    details = {
        404: f"there is nothing at {request.url.path}. /docs lists what there is.",
        405: f"{request.method} is not possible here. The API is read with GET.",
    }
    detail = details.get(error.status_code, str(error.detail))
    code = phrase.lower().replace(" ", "_")
    response = _problem(request.url.path, error.status_code, code, phrase, detail)
    response.headers.update(error.headers or {})
    return response


_CRASHED = "the request failed through no fault of its own; the server's log says why."


async def _crash(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001
    path = request.url.path
    response = _problem(path, 500, "internal_error", "Internal error", _CRASHED)
    # It is sent from outside of all middleware, which gives every other answer these.
    response.raw_headers += [h for h in safe_headers(path) if h[0] != b"cache-control"]
    return response


def _problem(path: str, status: int, code: str, title: str, detail: str) -> JSONResponse:
    return _sent(_told(path, status, code, title, detail))


def _told(path: str, status: int, code: str, title: str, detail: str) -> Problem:
    kind = f"urn:k2:problem:{code}"
    return Problem(type=kind, title=title, status=status, detail=detail, code=code, instance=path)


def _sent(problem: Problem) -> JSONResponse:
    headers = {"Cache-Control": "no-store"}
    return JSONResponse(problem.model_dump(), problem.status, headers, media_type=CONTENT_TYPE)
