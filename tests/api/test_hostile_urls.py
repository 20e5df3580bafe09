"""Where an agent names a URL, hostile ones are refused at once: by their form, and by where their host is."""

from collections.abc import Sequence

import pytest

from app.kit.addresses import networks, within
from app.services import Services
from tests.hostile import BAD_ADDRESSES, HOSTILE_URLS, NO_ADDRESSES
from tests.world import TestAgent

# What the relay under test may call, as its agents' receivers are there.
LISTED = networks(["127.0.0.0/8", "::1/128"])
REFUSED = [address for address in (*BAD_ADDRESSES, *NO_ADDRESSES) if not within(address, LISTED)]


class Told:
    """A resolver that answers as it was told last."""

    answer: Sequence[str] = ()

    async def addresses(self, host: str) -> Sequence[str]:
        return self.answer


def asked(path: str, url: str) -> tuple[str, dict[str, object]]:
    return path, {"url": url} if path == "/v1/endpoints" else {"source": {"kind": "http.json", "url": url}}


@pytest.mark.parametrize("path", ["/v1/endpoints", "/v1/subscriptions"])
async def test_a_hostile_url_is_refused_with_a_reason(agent: TestAgent, path: str) -> None:
    answers = [await agent.post(*asked(path, url)) for url in HOSTILE_URLS]

    taken = [url for url, answer in zip(HOSTILE_URLS, answers, strict=True) if answer.status_code != 422]
    assert taken == []


@pytest.mark.parametrize("path", ["/v1/endpoints", "/v1/subscriptions"])
async def test_a_name_at_a_bad_address_is_refused_and_all_of_them_in_the_same_words(
    agent: TestAgent, services: Services, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    told = Told()
    monkeypatch.setattr(services.outbound, "_resolver", told)
    answers = []
    for told.answer in ([], *([address] for address in REFUSED), ["8.8.8.8", "10.0.0.1"]):
        answers.append(await agent.post(*asked(path, "https://hook.example/")))

    assert {answer.status_code for answer in answers} == {422}
    assert {answer.json()["type"] for answer in answers} == {"/problems/forbidden-address"}
    assert len({answer.json()["detail"] for answer in answers}) == 1
