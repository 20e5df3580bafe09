"""Laws of prices, fingerprints and judgements."""

from hypothesis import given
from hypothesis import strategies as st

from app.payments.prices import micro_usd, price, usd
from app.payments.settlements import REFUSALS, Answered, Refused, Settled, Tender, Unknown, fingerprint, judge

NETWORK = "eip155:84532"
amounts = st.integers(1, 1_000_000 * 1_000_000)
requests = st.fixed_dictionaries(
    {
        "method": st.sampled_from(["POST", "PUT"]),
        "path": st.text(max_size=5),
        "query": st.text(max_size=5),
        "body": st.binary(max_size=5),
        "account": st.text(max_size=5),
        "tender": st.builds(
            Tender,
            network=st.just(NETWORK),
            asset=st.sampled_from("ab"),
            payer=st.sampled_from("ab"),
            nonce=st.sampled_from("ab"),
            pay_to=st.sampled_from("ab"),
            amount=st.integers(0, 3),
            valid_after=st.integers(0, 3),
            valid_before=st.integers(0, 3),
        ),
    }
)
json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10) | st.sampled_from([*REFUSALS, "0x" + "1" * 64]),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=3,
)
documents = st.dictionaries(st.sampled_from(["success", "transaction", "network", "errorReason", "payer"]), json)


@given(amounts)
def test_a_price_that_is_written_reads_the_same(amount: int) -> None:
    assert micro_usd(price(amount)) == amount
    assert micro_usd("$" + usd(amount)) == amount


@given(requests, requests)
def test_only_equal_requests_have_equal_fingerprints(one: dict[str, object], other: dict[str, object]) -> None:
    assert (fingerprint(**one) == fingerprint(**other)) == (one == other)  # type: ignore[arg-type]


@given(st.integers(100, 599), documents, st.booleans())
def test_no_answer_is_taken_for_more_than_it_says(status: int, document: dict[str, object], first: bool) -> None:
    match judge(Answered(status, document), network=NETWORK, first=first):
        case Settled(transaction):
            assert document["success"] is True
            assert transaction == document["transaction"]
            assert status == 200
        case Refused(code):
            assert first
            assert document["success"] is False
            assert not document.get("transaction")
            assert code == document["errorReason"]
        case verdict:
            assert isinstance(verdict, Unknown)
