"""A database that has no room left is not one that is away: somebody has to make room."""

from psycopg import errors
from sqlalchemy.exc import OperationalError

from app.kit import problems
from tocsin.problems import DatabaseFull, DatabaseUnavailable


def refusal(error: Exception) -> problems.Problem:
    return problems.of(OperationalError("insert …", {}, error))


def test_a_full_disk_is_told_as_such_with_a_time_to_come_back() -> None:
    problem = refusal(errors.DiskFull())
    assert type(problem) is DatabaseFull
    assert (problem.status, problem.retry_after_seconds) == (503, 10)


def test_any_other_trouble_of_the_server_is_its_absence() -> None:
    assert type(refusal(errors.AdminShutdown())) is DatabaseUnavailable
