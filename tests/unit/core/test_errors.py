from __future__ import annotations

import pytest
from pydantic import BaseModel, Field, ValidationError, field_validator

from workbench.core.errors import (
    Conflict,
    FieldProblem,
    Forbidden,
    Invalid,
    NotFound,
    Problem,
    RemoteError,
    TooLarge,
    Unauthenticated,
    Unavailable,
    WorkbenchError,
    invalid_input,
)

SECRET = "hunter2"


class ThingNotFound(NotFound):
    """There is no such thing here."""

    code = "thing.not_found"


class Layers(BaseModel):
    rank: int = Field(ge=1)


class Body(BaseModel, extra="forbid"):
    learning_rate: float
    layers: list[Layers] = []
    name: str = "x"

    @field_validator("name")
    @classmethod
    def plain(cls, value: str) -> str:
        if value == SECRET:
            raise ValueError("use another name.")
        return value


def refused(**given: object) -> Invalid:
    with pytest.raises(ValidationError) as caught:
        Body.model_validate(given)
    return invalid_input(caught.value, "the body")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (WorkbenchError, 500),
        (Invalid, 422),
        (Unauthenticated, 401),
        (Forbidden, 403),
        (NotFound, 404),
        (Conflict, 409),
        (TooLarge, 413),
        (Unavailable, 503),
    ],
)
def test_each_base_has_its_status(error: type[WorkbenchError], status: int) -> None:
    assert error().problem().status == status


def test_the_docstring_is_the_default_sentence() -> None:
    assert str(ThingNotFound()) == ThingNotFound().detail == "There is no such thing here."


def test_a_problem_document_has_what_rfc_9457_and_jupyterlab_read() -> None:
    problem = ThingNotFound("There is no thing 7.").problem()
    assert problem == Problem(
        type="urn:workbench:problem:thing.not_found",
        title="There is no such thing here.",
        status=404,
        code="thing.not_found",
        detail="There is no thing 7.",
        message="There is no thing 7.",
    )


def test_an_invalid_input_names_the_field_by_a_json_pointer() -> None:
    error = refused(learning_rate=1, layers=[{"rank": 4}, {"rank": 0}])
    assert error.problems == [
        FieldProblem(pointer="/layers/1/rank", message="Input should be greater than or equal to 1")
    ]
    assert error.detail == "layers.1.rank: Input should be greater than or equal to 1."


def test_an_invalid_input_says_how_many_more_fields_are_wrong() -> None:
    error = refused(layers=[{"rank": 0}], more=1)
    assert len(error.problems) == 3
    assert error.detail == "learning_rate: Field required (and 2 more)."


def test_an_invalid_input_never_repeats_the_input() -> None:
    error = refused(learning_rate=SECRET, layers=[{"rank": SECRET}], name=SECRET, more=SECRET)
    assert len(error.problems) == 4
    assert SECRET not in error.problem().model_dump_json()


def test_our_own_validators_speak_in_their_own_words() -> None:
    assert refused(learning_rate=1, name=SECRET).detail == "name: use another name."


def test_a_problem_with_the_whole_body_names_the_place() -> None:
    with pytest.raises(ValidationError) as caught:
        Body.model_validate([])
    assert invalid_input(caught.value, "the body").detail.startswith("the body: ")


def test_a_remote_error_is_the_problem_that_the_server_sent() -> None:
    sent = refused(learning_rate="abc").problem()
    error = RemoteError(sent)
    assert error.problem() is sent
    assert (str(error), error.problems) == (sent.detail, sent.errors)
