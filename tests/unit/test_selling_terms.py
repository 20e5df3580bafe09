"""Settings that nothing can be sold by are refused at start, by name."""

import pytest
from pydantic import ValidationError

from app.kit.operations import Call, Operation
from app.payments.opening import require_sellable
from app.payments.prices import BadTerms
from app.settings import PaymentsSettings, Settings
from tests.paying import PAY_TO
from tocsin.schemas.wire import Wire


async def make(call: Call[None]) -> Wire:
    raise NotImplementedError


OPERATIONS = (
    Operation("POST", "/v1/things", make),
    Operation("GET", "/v1/things", make),
    Operation("POST", "/v1/open", make, signed=False),
    Operation("POST", "/v1/slow", make, waits=True),
)


def settings(prices: dict[str, str], **payments: str) -> Settings:
    terms = {"pay_to": PAY_TO, "facilitator": "https://facilitator.example", **payments}
    return Settings(prices=prices, payments=PaymentsSettings(**terms))  # type: ignore[arg-type]


def test_what_is_complete_is_sold() -> None:
    assert require_sellable(settings({"POST /v1/things": "$0.001"}), OPERATIONS) == {"POST /v1/things": 1_000}


def test_without_prices_everything_is_free() -> None:
    assert require_sellable(Settings(), OPERATIONS) == {}


@pytest.mark.parametrize("name", ["pay_to", "facilitator"])
def test_prices_need_somebody_to_pay_and_somebody_to_settle(name: str) -> None:
    with pytest.raises(ValidationError, match=f"TOCSIN_PAYMENTS_{name.upper()}"):
        settings({"POST /v1/things": "$0.001"}, **{name: ""})


@pytest.mark.parametrize(
    ("prices", "payments", "complaint"),
    [
        ({"POST /v1/things": "0.001"}, {}, "TOCSIN_PRICES: '0.001' is not a price"),
        ({"POST /v1/nothing": "$1"}, {}, "'POST /v1/nothing' cannot have a price; these can: POST /v1/things"),
        ({"GET /v1/things": "$1"}, {}, "cannot have a price"),
        ({"POST /v1/open": "$1"}, {}, "cannot have a price"),
        ({"POST /v1/slow": "$1"}, {}, "cannot have a price"),
        ({"POST /v1/things": "$1"}, {"pay_to": "0x12"}, "TOCSIN_PAYMENTS_PAY_TO must be an address"),
        ({"POST /v1/things": "$1"}, {"network": "eip155:31337"}, "no dollar token is known on 'eip155:31337'"),
        ({"POST /v1/things": "$1"}, {"network": "solana:mainnet"}, "TOCSIN_PAYMENTS_NETWORK"),
        ({"POST /v1/things": "$1"}, {"network": "eip155:4326"}, "cannot be paid by this relay"),  # 18 decimals
        ({"POST /v1/things": "$1"}, {"facilitator": "facilitator.example"}, "TOCSIN_PAYMENTS_FACILITATOR must be"),
    ],
)
def test_what_cannot_work_is_refused_by_name(prices: dict[str, str], payments: dict[str, str], complaint: str) -> None:
    with pytest.raises(BadTerms, match=complaint):
        require_sellable(settings(prices, **payments), OPERATIONS)
