"""The error tree. An error's docstring is its default sentence; one base class maps to one HTTP status.

WorkbenchError
├── Invalid              422   the request can be read but not accepted
├── Unauthenticated      401
├── Forbidden            403
├── NotFound             404
├── Conflict             409   the state has moved on
├── TooLarge             413
├── TooMany              429   ask less often
└── Unavailable          503   try again later
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError


class FieldProblem(BaseModel):
    """One field that was refused."""

    model_config = ConfigDict(frozen=True)

    #: JSON pointer into the body or query, such as `/learning_rate`.
    pointer: str
    message: str


class Problem(BaseModel):
    """An RFC 9457 problem document. `message` repeats the detail, because JupyterLab reads that member."""

    model_config = ConfigDict(frozen=True)

    type: str
    title: str
    status: int
    code: str
    detail: str
    message: str
    errors: list[FieldProblem] = []


class OpenAIError(BaseModel):
    """What an error of OpenAI's API says."""

    message: str
    type: str
    #: The field that was refused.
    param: str | None
    code: str


class OpenAIProblem(BaseModel):
    """An error as clients of OpenAI's API expect it."""

    error: OpenAIError

    @classmethod
    def of(cls, problem: Problem) -> OpenAIProblem:
        """Say a problem in OpenAI's words."""
        field = problem.errors[0].pointer.strip("/").replace("/", ".") if problem.errors else None
        kind = "server_error" if problem.status >= 500 else "invalid_request_error"
        return cls(error=OpenAIError(message=problem.detail, type=kind, param=field, code=problem.code))


class WorkbenchError(Exception):
    """Something went wrong inside the workbench."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    #: Seconds after which to try again, for 429 and 503.
    retry_after: int = 2

    def __init__(self, detail: str | None = None, *, problems: Sequence[FieldProblem] = ()) -> None:
        self.detail = detail or (type(self).__doc__ or "").strip()
        self.problems = list(problems)
        super().__init__(self.detail)

    def problem(self) -> Problem:
        """Describe this error for the wire."""
        return Problem(
            type=f"urn:workbench:problem:{self.code}",
            title=(type(self).__doc__ or "").strip().splitlines()[0],
            status=self.status,
            code=self.code,
            detail=self.detail,
            message=self.detail,
            errors=self.problems,
        )


class Invalid(WorkbenchError):
    """The request was not accepted."""

    status = 422
    code = "invalid"


class Unauthenticated(WorkbenchError):
    """No valid credentials came with the request."""

    status = 401
    code = "unauthenticated"


class Forbidden(WorkbenchError):
    """You may not do this."""

    status = 403
    code = "forbidden"


class NotFound(WorkbenchError):
    """There is no such thing."""

    status = 404
    code = "not_found"


class Conflict(WorkbenchError):
    """The request does not fit the present state."""

    status = 409
    code = "conflict"


class TooLarge(WorkbenchError):
    """The request is larger than this server takes."""

    status = 413
    code = "too_large"


class TooMany(WorkbenchError):
    """You ask too often."""

    status = 429
    code = "too_many"


class Unavailable(WorkbenchError):
    """The service is busy or a part of it is away; try again shortly."""

    status = 503
    code = "unavailable"


class RemoteError(WorkbenchError):
    """The server refused the request."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail, problems=problem.errors)
        self.remote = problem

    def problem(self) -> Problem:
        """Return the problem as the server sent it."""
        return self.remote


def invalid_input(error: ValidationError, place: str) -> Invalid:
    """Turn pydantic's findings into one sentence that names the fields; the input itself is never repeated."""
    problems = [_field_problem(entry) for entry in error.errors(include_url=False, include_input=False)]
    first = problems[0]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    name = first.pointer.strip("/").replace("/", ".") or place
    return Invalid(f"{name}: {first.message}{more}.", problems=problems)


def _field_problem(entry: Any) -> FieldProblem:
    pointer = "".join(f"/{part}" for part in entry["loc"])
    message = str(entry["msg"]).removeprefix("Value error, ").rstrip(".")
    return FieldProblem(pointer=pointer, message=message)
