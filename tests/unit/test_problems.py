"""Problems travel as documents and come back as the class that was raised."""

import pytest

from tocsin import problems
from tocsin.problems import InvalidBody, NotFound, Problem, Unauthorized, problem_from


@pytest.mark.parametrize("kind", problems.ALL.values())
def test_every_problem_survives_the_wire(kind: type[Problem]) -> None:
    sent = kind("Because.", found=3)
    received = problem_from(kind.status, sent.document(instance="req_1"), sent.headers)
    assert type(received) is kind
    assert received == sent
    assert received.headers == sent.headers
    assert received.instance == "req_1"


@pytest.mark.parametrize("kind", problems.ALL.values())
def test_every_problem_says_what_to_do_next(kind: type[Problem]) -> None:
    assert kind.__dict__["__doc__"]
    assert kind().detail == kind.advice()


def test_the_drawn_tree_names_every_problem() -> None:
    assert problems.__doc__
    assert [kind.__name__ for kind in problems.ALL.values() if kind.__name__ not in problems.__doc__] == []


def test_a_document_has_the_members_of_rfc_9457() -> None:
    assert NotFound("No such schedule.").document("req_1") == {
        "type": "/problems/not-found",
        "title": "Not found",
        "status": 404,
        "detail": "No such schedule.",
        "instance": "req_1",
    }


def test_a_refused_field_is_pointed_at() -> None:
    problem = InvalidBody.at("/url", "is not a URL")
    assert problem.errors == [{"pointer": "/url", "detail": "is not a URL"}]
    assert str(problem) == "Invalid body: /url: is not a URL"


def test_an_unknown_type_becomes_the_nearest_by_status() -> None:
    problem = problem_from(409, {"type": "https://relay.example/problems/lock-held", "detail": "held", "token": 7})
    assert type(problem) is problems.Conflict
    assert problem.extras == {"token": 7}


@pytest.mark.parametrize(("status", "document"), [(418, None), (599, {"type": 5, "detail": None})])
def test_an_answer_that_is_no_document_still_becomes_a_problem(status: int, document: dict[str, object] | None) -> None:
    problem = problem_from(status, document)
    assert type(problem) is Problem
    assert problem.status == status


def test_a_refused_signature_carries_a_challenge() -> None:
    assert Unauthorized().headers["WWW-Authenticate"] == "Signature"


@pytest.mark.parametrize(("value", "seconds"), [("7", 7.0), ("-7", None), ("soon", None), ("9" * 40, None)])
def test_retry_after_is_read_strictly(value: str, seconds: float | None) -> None:
    assert problem_from(503, headers={"retry-after": value}).retry_after_seconds == seconds


def test_several_errors_are_told_apart_and_counted() -> None:
    errors = [{"pointer": f"/{name}", "detail": "no"} for name in "abcde"]
    assert InvalidBody(errors=errors[:2]).detail == "/a: no; /b: no"
    assert InvalidBody(errors=errors).detail == "/a: no; /b: no; /c: no; and 2 more"
