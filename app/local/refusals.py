"""What a database that was reached refuses, or leaves unanswered, in words for the person who sits in front of it."""

from collections.abc import Generator
from contextlib import contextmanager

from psycopg.errors import InsufficientPrivilege
from sqlalchemy.exc import OperationalError, ProgrammingError

from app.kit.database import first_line
from app.local.errors import LocalError
from app.local.reach import database_at


@contextmanager
def worded(url: str) -> Generator[None]:
    """Turn what the operator of this database can mend into a LocalError; all else goes on as it is."""
    try:
        yield
    except OperationalError as error:
        raise LocalError(
            f"the database at {database_at(url)} (TOCSIN_DATABASE_URL) does not go along: {first_line(error)}"
        ) from error
    except ProgrammingError as error:
        if not isinstance(error.orig, InsufficientPrivilege):
            raise
        raise LocalError(
            f"the user of TOCSIN_DATABASE_URL may not do this in the database at {database_at(url)}: "
            f"{first_line(error)}; name the user that runs `tocsin migrate`, or grant this one as much"
        ) from error
