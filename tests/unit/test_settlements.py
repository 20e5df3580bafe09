"""How the answers of facilitator and chain are judged."""

from typing import Any

import pytest

from app.payments.settlements import (
    MOVES,
    NONCE_USED,
    Answered,
    Refused,
    Settled,
    Sighting,
    Silent,
    State,
    Unknown,
    Unsent,
    Verdict,
    judge,
    judge_sighting,
)

NETWORK = "eip155:84532"
HASH = "0x" + "ab" * 32


def said(status: int = 200, **members: Any) -> Answered:
    return Answered(status, members)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (said(success=True, transaction=HASH, network=NETWORK), Settled(HASH)),
        (said(success=True, transaction=HASH.upper().replace("X", "x"), network=NETWORK), Settled(HASH)),
        # A success that cannot be one
        (said(success=True, transaction=HASH, network="eip155:1"), Unknown("not_credible", HASH)),
        (said(success=True, transaction="", network=NETWORK), Unknown("not_credible")),
        (said(success=True, network=NETWORK), Unknown("not_credible")),
        (said(success="true", transaction=HASH, network=NETWORK), Unknown("no_reason", HASH)),
        (said(502, success=True, transaction=HASH, network=NETWORK), Unknown("not_credible", HASH)),
        # Definitive refusals, whatever the status they come with
        (said(success=False, errorReason="insufficient_funds", transaction=""), Refused("insufficient_funds")),
        (said(400, success=False, errorReason="insufficient_funds"), Refused("insufficient_funds")),
        (said(success=False, errorReason=NONCE_USED), Refused(NONCE_USED)),
        # A refusal that names a transaction may have moved money, and a server error may be anybody's
        (said(success=False, errorReason="insufficient_funds", transaction=HASH), Unknown("insufficient_funds", HASH)),
        (said(500, success=False, errorReason="insufficient_funds"), Unknown("insufficient_funds")),
        # On its way, failed on the way, or something that we have not heard of
        (said(success=False, errorReason="settlement_pending", transaction=HASH), Unknown("settlement_pending", HASH)),
        (said(success=False, errorReason="transaction_failed", transaction=""), Unknown("transaction_failed")),
        (said(success=False, errorReason="unexpected_settle_error"), Unknown("unexpected_settle_error")),
        (said(success=False, errorReason="out_of_cheese"), Unknown("out_of_cheese")),
        (said(success=False, errorReason="Traceback (most recent call last)"), Unknown("no_reason")),
        (said(success=False), Unknown("no_reason")),
        (said(), Unknown("no_reason")),
        (Answered(200, None), Unknown("no_document")),
        (Silent(sent=True), Unknown("no_answer")),
        (Silent(sent=False), Unsent()),
    ],
)
def test_a_first_settlement(answer: Answered | Silent, verdict: Verdict) -> None:
    assert judge(answer, network=NETWORK, first=True) == verdict


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (said(success=True, transaction=HASH, network=NETWORK), Settled(HASH)),
        # What was broadcast before may still be mined, or may have used the nonce
        (said(success=False, errorReason="insufficient_funds"), Unknown("insufficient_funds")),
        (said(success=False, errorReason=NONCE_USED), Unknown(NONCE_USED)),
        (Silent(sent=False), Unknown("no_answer")),
    ],
)
def test_a_settlement_that_was_tried_before(answer: Answered | Silent, verdict: Verdict) -> None:
    assert judge(answer, network=NETWORK, first=False) == verdict


EXPIRED = "invalid_exact_evm_payload_authorization_valid_before"


@pytest.mark.parametrize(
    ("sighting", "verdict"),
    [
        (Sighting(spent=True, transaction=HASH, block_time=10), Settled(HASH)),
        (Sighting(spent=True, transaction=HASH, block_time=99), Settled(HASH)),  # in time, and seen late
        (Sighting(spent=True, transaction=None, block_time=10), Refused(NONCE_USED)),  # cancelled, or an old payment
        (Sighting(spent=False, transaction=None, block_time=49), None),  # may still come
        (Sighting(spent=False, transaction=None, block_time=50), Refused(EXPIRED)),  # no later block can hold it
    ],
)
def test_what_the_chain_shows(sighting: Sighting, verdict: Settled | Refused | None) -> None:
    assert judge_sighting(sighting, valid_before=50) == verdict


def test_only_an_answer_ends_a_payment_for_good() -> None:
    assert set(MOVES) == set(State)
    assert [state for state, next_states in MOVES.items() if not next_states] == [State.DONE]


def test_what_is_unknown_or_paid_is_never_forgotten() -> None:
    """From where money may have moved, only knowledge leads on."""
    assert State.RESERVED not in MOVES[State.UNKNOWN]
    assert MOVES[State.SETTLED] == {State.DONE}
