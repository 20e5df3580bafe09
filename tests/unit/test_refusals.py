"""What is understood of the errors that nodes answer with."""

from __future__ import annotations

import pytest

from app.watchers.refusals import Meaning, meaning_of

# As providers send them: HTTP status, code, text.
SEEN: list[tuple[int, int, str, Meaning]] = [
    (429, 429, "Your app has exceeded its compute units per second capacity.", Meaning.LIMITED),
    (200, -32007, "15/second request limit reached - reduce calls per second", Meaning.LIMITED),
    (429, -32005, "project ID request rate exceeded", Meaning.LIMITED),
    (200, -32090, "Too many requests, reason: call rate limit exhausted", Meaning.LIMITED),
    (200, -32000, "request rate limited", Meaning.LIMITED),
    (503, -32000, "server is busy, try again later", Meaning.LIMITED),
    (429, 0, "None", Meaning.LIMITED),
    (200, -32005, "daily request count exceeded, request rate limited", Meaning.EXHAUSTED),
    (403, -32000, "Monthly capacity limit exceeded. Visit your dashboard to upgrade", Meaning.EXHAUSTED),
    (402, 0, "You are out of credits; quota exceeded", Meaning.EXHAUSTED),
    (200, -32005, "query returned more than 10000 results", Meaning.OTHER),
    (200, -32600, "Log response size exceeded. You can make requests with up to a 2K block range", Meaning.OTHER),
    (200, -32601, "the method eth_getBlockReceipts does not exist/is not available", Meaning.UNSUPPORTED),
    (200, -32004, "Unsupported method", Meaning.UNSUPPORTED),
    (200, -32000, "Method eth_getBlockReceipts not supported.", Meaning.UNSUPPORTED),
    (200, -32000, "Method not found", Meaning.UNSUPPORTED),
    (200, -32602, "invalid block tag safe", Meaning.UNSUPPORTED),
    (200, -39001, "Unknown block", Meaning.UNKNOWN),
    (200, -32000, "finalized block not found", Meaning.UNKNOWN),
    (200, -32000, "unknown block", Meaning.UNKNOWN),
    (200, -32000, "header not found", Meaning.UNKNOWN),
    (200, -32000, "execution reverted", Meaning.OTHER),
    (500, -32603, "internal error", Meaning.OTHER),
]


@pytest.mark.parametrize(("status", "code", "text", "meaning"), SEEN)
def test_an_error_is_understood_by_its_status_its_code_and_its_text(
    status: int, code: int, text: str, meaning: Meaning
) -> None:
    assert meaning_of(status, code, text) is meaning
