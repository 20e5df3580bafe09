"""What two requests of one idempotency key do to each other, statement by statement."""

from datetime import timedelta

import pytest

from app.kit.database import Database
from app.kit.idempotency import KeptAnswers
from app.kit.operations import Incoming
from app.kit.sealing import Keyring, SecretKey
from tests.world import EPOCH
from tocsin.problems import IdempotencyConflict, IdempotencyKeyReused


def _request(body: bytes = b"{}") -> Incoming:
    return Incoming("POST", "relay.test", "/v1/messages", "", {"idempotency-key": '"k"'}, body, {}, {}, "req_1")


@pytest.fixture
def answers() -> KeptAnswers:
    return KeptAnswers(Keyring(SecretKey.new()))


async def test_what_was_kept_is_given_again_with_its_headers(database: Database, answers: KeptAnswers) -> None:
    async with database.transaction() as db:
        assert await answers.begin(db, "agt_1", _request()) is None
        await answers.keep(db, "agt_1", _request(), (201, b'{"id":1}', {"etag": '"1"'}), EPOCH)

    async with database.transaction() as db:
        given = await answers.begin(db, "agt_1", _request())

    assert given == (201, b'{"id":1}', {"etag": '"1"', "idempotent-replayed": "true"})


async def test_a_key_that_another_request_has_in_hand_is_refused_at_once(
    database: Database, answers: KeptAnswers
) -> None:
    async with database.transaction() as one, database.transaction() as other:
        await answers.begin(one, "agt_1", _request())
        with pytest.raises(IdempotencyConflict):
            await answers.begin(other, "agt_1", _request())


async def test_who_missed_an_answer_that_was_kept_in_the_same_moment_keeps_none_over_it(
    database: Database, answers: KeptAnswers
) -> None:
    async with database.transaction() as db:
        await answers.keep(db, "agt_1", _request(), (201, b"first", {}), EPOCH)

    with pytest.raises(IdempotencyConflict):
        async with database.transaction() as db:
            await answers.keep(db, "agt_1", _request(), (201, b"second", {}), EPOCH + timedelta(seconds=1))

    async with database.transaction() as db:
        given = await answers.find(db, "agt_1", _request())
    assert given is not None
    assert given[1] == b"first"


async def test_another_request_by_the_same_key_is_refused(database: Database, answers: KeptAnswers) -> None:
    async with database.transaction() as db:
        await answers.keep(db, "agt_1", _request(), (201, b"first", {}), EPOCH)
        with pytest.raises(IdempotencyKeyReused):
            await answers.begin(db, "agt_1", _request(b'{"other":1}'))
