"""The journal read from its beginning, and from its end."""

import pytest

from tests.world import TestAgent


async def _pages(agent: TestAgent, query: str) -> list[int]:
    """The numbers of all events, from page to page."""
    seqs: list[int] = []
    page = (await agent.get(f"/v1/events?limit=2&{query}")).json()
    seqs += [event["seq"] for event in page["items"]]
    while page["next"]:
        page = (await agent.get(f"/v1/events?limit=2&{query}&cursor={page['next']}")).json()
        seqs += [event["seq"] for event in page["items"]]
    return seqs


async def test_it_is_read_from_either_end_page_by_page(agent: TestAgent) -> None:
    for number in range(4):
        answer = await agent.post("/v1/endpoints", {"url": f"http://127.0.0.1:20009/{number}"})
        assert answer.status_code == 201, answer.text
    forwards = await _pages(agent, "order=oldest")
    assert len(forwards) == 5
    assert forwards == sorted(forwards) == await _pages(agent, "")
    assert await _pages(agent, "order=newest") == forwards[::-1]
    assert await _pages(agent, f"order=newest&after_seq={forwards[1]}") == forwards[:1:-1]
    assert await _pages(agent, "order=newest&kind=endpoint.created") == forwards[:0:-1]


@pytest.mark.parametrize("order", ["", "asc", "Newest"])
async def test_an_order_that_there_is_not_is_refused(agent: TestAgent, order: str) -> None:
    answer = await agent.get(f"/v1/events?order={order}")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["parameter"] == "order"
