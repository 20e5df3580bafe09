"""What every shape on the wire has in common."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import BaseModel, Field, ValidationError

from tocsin.keys import PrivateKey
from tocsin.problems import InvalidKey
from tocsin.schemas.agents import NewAgent
from tocsin.schemas.deliveries import DeliveryQuery
from tocsin.schemas.endpoints import NewEndpoint
from tocsin.schemas.evm import EvmBlock, EvmContractCreated
from tocsin.schemas.messages import NewMessage
from tocsin.schemas.wire import Json, ListQuery, Page, Timestamp, Wire


class Visit(Wire):
    at: Timestamp
    note: str = ""
    data: dict[str, Json] = Field(default_factory=dict)


class Start(Wire):
    from_: Json = Field(alias="from")


class Journey(Visit):
    within: Start | None = None


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("2026-11-22T09:00:00Z", "2026-11-22T09:00:00.000Z"),
        ("2026-11-22T09:00:00.1239Z", "2026-11-22T09:00:00.123Z"),  # cut, not rounded
        ("2026-11-22T10:00:00+02:00", "2026-11-22T08:00:00.000Z"),
        ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
    ],
)
def test_a_time_is_written_in_utc_with_milliseconds(text: str, written: str) -> None:
    assert Visit.model_validate_json(f'{{"at": "{text}"}}').model_dump(mode="json")["at"] == written


@pytest.mark.parametrize(
    "value",
    [
        "5",  # seconds or milliseconds? nobody knows
        '"5"',
        '"2026-11-22"',
        '"2026-11-22T09:00:00"',  # no offset
        '"2026-11-22 09:00:00Z"',
        '"2026-13-22T09:00:00Z"',
        '"0001-01-01T00:00:00+14:00"',  # before the first year
        '"9999-12-31T23:59:59-14:00"',
        "null",
        '"soon"',
    ],
)
def test_anything_else_is_no_time(value: str) -> None:
    with pytest.raises(ValidationError):
        Visit.model_validate_json(f'{{"at": {value}}}')


def test_a_time_from_our_own_code_may_have_any_zone() -> None:
    at = datetime(2026, 11, 22, 9, tzinfo=timezone(timedelta(hours=2)))
    assert Visit(at=at).at == datetime(2026, 11, 22, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    "body",
    [
        '{"at": "2026-11-22T09:00:00Z", "more": 1}',
        '{"at": "2026-11-22T09:00:00Z", "note": 1}',
        '{"at": "2026-11-22T09:00:00Z", "note": "a\\u0000b"}',
        '{"at": "2026-11-22T09:00:00Z", "data": {"deep": [{"er": "\\u0000"}]}}',
        '{"at": "2026-11-22T09:00:00Z", "data": {"\\u0000": 1}}',
        '{"at": "2026-11-22T09:00:00Z", "note": "\\ud800"}',  # half a surrogate pair
        '{"at": "2026-11-22T09:00:00Z", "data": [1, {"deep": 1e400}]}',  # would be written as null
        '{"at": "2026-11-22T09:00:00Z", "data": {"low": -Infinity}}',
        '{"at": "2026-11-22T09:00:00Z", "data": {"not": [NaN]}}',
    ],
)
def test_unknown_members_wrong_types_and_what_cannot_be_kept_are_refused(body: str) -> None:
    with pytest.raises(ValidationError):
        Visit.model_validate_json(body)


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ('{"at": "2026-11-22T09:00:00Z", "note": "a\\u0000b"}', ("note",)),
        ('{"at": "2026-11-22T09:00:00Z", "data": {"deep": [0, {"er": "\\u0000"}]}}', ("data", "deep", 1, "er")),
        ('{"at": "2026-11-22T09:00:00Z", "data": {"\\u0000": 1}}', ("data", "\0")),
        ('{"at": "2026-11-22T09:00:00Z", "data": {"low": [1e400]}}', ("data", "low", 0)),
        ('{"at": "2026-11-22T09:00:00Z", "within": {"from": {"a": "\\u0000"}}}', ("within", "from", "a")),
    ],
)
def test_what_cannot_be_kept_is_pointed_at(body: str, place: tuple[int | str, ...]) -> None:
    with pytest.raises(ValidationError) as refused:
        Journey.model_validate_json(body)
    assert [error["loc"] for error in refused.value.errors()] == [place]


def test_query_parameters_are_read_from_text() -> None:
    assert ListQuery.model_validate({"limit": "7"}).limit == 7
    for limit in ("0", "101", "x", ""):
        with pytest.raises(ValidationError):
            ListQuery.model_validate({"limit": limit})


def test_a_client_may_read_past_what_a_newer_relay_adds() -> None:
    page = Page[Visit].model_validate_json(
        '{"items": [{"at": "2026-11-22T09:00:00Z", "new": 1}], "next": null, "total": 1}', extra="ignore"
    )
    assert len(page.items) == 1


def test_a_private_jwk_is_refused_at_the_door() -> None:
    key = PrivateKey.generate()
    with pytest.raises(ValidationError, match="private part"):
        NewAgent.model_validate({"public_key": key.public.jwk | {"d": key.text}})


def test_a_bad_key_is_pointed_at() -> None:
    with pytest.raises(InvalidKey) as refused:
        NewAgent(public_key="A" * 43).key()
    assert refused.value.errors[0]["pointer"] == "/public_key"


@pytest.mark.parametrize(
    ("shape", "document", "said"),
    [
        (NewMessage, {"type": "order paid", "data": 1}, "such as order.paid"),
        (NewMessage, {"type": "a", "data": 1, "to": ["shop"]}, "agt_…"),
        (NewEndpoint, {"url": "https://a.example", "types": ["order*"]}, "order.*"),
        (NewEndpoint, {"url": "https://a.example", "senders": ["shop"]}, "`tocsin me`"),
        (NewEndpoint, {"url": "https://a.example", "secret": "hunter2"}, "24 to 64 random bytes"),
        (DeliveryQuery, {"state": "lost"}, "delivered, failed or cancelled"),
        (EvmBlock, {"kind": "evm.block", "chain": "base"}, "such as eip155:8453"),
        (EvmBlock, {"kind": "evm.block", "chain": "eip155:1", "finality": "soon"}, "confirmations:n"),
        (
            EvmContractCreated,
            {"kind": "evm.contract_created", "chain": "eip155:1", "creator": "0x12"},
            "40 hexadecimal",
        ),
    ],
)
def test_a_text_of_another_form_is_refused_in_words(
    shape: type[BaseModel], document: dict[str, Json], said: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        shape.model_validate(document)

    assert said in refused.value.errors()[0]["msg"]
    assert "pattern" not in str(refused.value)
