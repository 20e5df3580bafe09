"""What an operator may write about a chain, and what becomes of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from app.settings import ChainSettings, Settings
from app.watchers.opening import rules_of

NETWORK = "eip155:8453"


def chain(value: Any, monkeypatch: pytest.MonkeyPatch) -> ChainSettings:
    """The chain of a relay whose environment says this of it."""
    monkeypatch.setenv("TOCSIN_CHAINS", json.dumps({NETWORK: value}))
    return Settings().chains[NETWORK]


@pytest.mark.parametrize(
    ("value", "urls"),
    [
        ("https://a.example/k", ["https://a.example/k"]),
        (["https://a.example", "https://b.example"], ["https://a.example", "https://b.example"]),
        ({"rpc_url": "https://a.example", "poll_seconds": 1}, ["https://a.example"]),
        ({"rpc_url": ["https://a.example", {"url": "https://b.example"}]}, ["https://a.example", "https://b.example"]),
        ({"rpc_url": {"url": "https://a.example", "ws_url": "wss://a.example"}}, ["https://a.example"]),
    ],
)
def test_a_chain_has_one_provider_or_several(value: Any, urls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert [each.url for each in chain(value, monkeypatch).rpc_url] == urls


def test_a_provider_is_called_by_its_label_or_its_host_and_never_by_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    urls = ["https://user:pass@a.example:8545/v2/key?key=key", {"url": "https://a.example", "label": "spare"}]
    assert chain(urls, monkeypatch).names == ("a.example", "spare")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([], "rpc_url"),
        (["https://a.example/1", "https://a.example/2"], "give them a label each"),
        ({"rpc_url": "https://a.example", "agreement": True}, "agreement needs two providers"),
        ({"rpc_url": {"url": "https://a.example", "ws_url": "https://a.example"}}, "ws_url"),
        ({"rpc_url": "https://a.example", "finality": "soon"}, "finality"),
        ({"rpc_url": "https://a.example", "colour": "red"}, "colour"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(
    value: Any, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValidationError, match=reason) as refused:
        chain(value, monkeypatch)
    assert "a.example" not in str(refused.value)


@pytest.mark.parametrize(
    ("network", "value", "depth", "ring"),
    [
        ("eip155:1", {}, 65, 256),
        ("eip155:42161", {}, 240, 480),  # what may still be taken back is remembered, with a margin
        ("eip155:8453", {}, 30, 256),
        ("eip155:8453", {"finality_depth": 1_000}, 1_000, 2_000),
        ("eip155:8453", {"finality_depth": 1_000, "ring_blocks": 600}, 1_000, 600),
    ],
)
def test_what_is_left_open_is_filled_in_by_the_chain(network: str, value: Any, depth: int, ring: int) -> None:
    rules = rules_of(network, ChainSettings.model_validate({"rpc_url": "https://a.example", **value}))
    assert (rules.final_depth, rules.ring_blocks_max) == (depth, ring)
