"""Prices are dollars as text outside and whole micro-dollars inside."""

import pytest

from app.payments.prices import BadPrice, micro_usd, price, price_list, require_sold, usd


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("$0.000001", 1),  # the finest there is
        ("$0.001", 1_000),
        ("$0.10", 100_000),
        ("$1", 1_000_000),
        ("$12.5", 12_500_000),
        ("$0.0010000000", 1_000),  # zeros beyond the sixth digit say nothing
        ("$1000000", 1_000_000_000_000),  # the most there is
    ],
)
def test_a_price_is_read_exactly(text: str, amount: int) -> None:
    assert micro_usd(text) == amount


@pytest.mark.parametrize(
    "text",
    [
        "0.01",  # no currency
        "$",
        "$.5",
        "$1.",
        "$01",
        "$-1",
        "$1e-3",
        "$ 1",
        "$1,000",
        "$0",  # free is what is not listed
        "$0.000000",
        "$0.0000001",  # finer than a micro-dollar
        "$0.0010001",
        "$1000000.000001",
        "$9999999",
        "\N{FULLWIDTH DOLLAR SIGN}1",
        "$\N{ARABIC-INDIC DIGIT ONE}",
        "$1\n",
    ],
)
def test_what_is_no_price_is_refused(text: str) -> None:
    with pytest.raises(BadPrice):
        micro_usd(text)


def test_prices_and_amounts_are_written_in_their_own_ways() -> None:
    assert (price(1_000), usd(1_000)) == ("$0.001", "0.001000")
    assert (price(2_000_000), usd(2_000_000)) == ("$2", "2.000000")


def test_only_what_is_sold_can_have_a_price() -> None:
    listed = price_list({"POST /v1/schedules": "$0.001"})
    require_sold(listed, {"POST /v1/schedules", "POST /v1/endpoints"})
    with pytest.raises(BadPrice, match="'POST /v1/schedules' cannot have a price; these can: POST /v1/endpoints"):
        require_sold(listed, {"POST /v1/endpoints"})
