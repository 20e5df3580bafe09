"""What operators see of a delivery: its trace from the request to the attempt, a line, and how things stand."""

import json
from collections.abc import AsyncIterator, Iterator

import pytest
from aiohttp import web
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import REGISTRY
from sqlalchemy import text

from app.kit import telemetry, tracing
from app.kit.due import drain
from app.services import Services
from tests.logged import Lines, written
from tests.receivers import Post, Receiver, receiving
from tests.world import TestAgent

__all__ = ["written"]

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as listening:
        yield listening


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    """What an operator's SDK records."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider)
    yield exporter
    tracing.use(None)


async def work(services: Services) -> None:
    await drain(services.deliveries.verify_next)
    await drain(services.deliveries.deliver_next)


async def active(services: Services, agent: TestAgent, receiver: Receiver) -> dict:
    created = await agent.post("/v1/endpoints", {"url": f"{receiver.url}?token=geheim"})
    await work(services)
    return created.json()


def unwell(post: Post) -> web.Response:
    return web.Response(status=500)


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


async def test_a_trace_goes_from_the_request_to_the_attempt(services, agent, receiver, exporter) -> None:
    endpoint = await active(services, agent, receiver)
    exporter.clear()

    await agent.post(f"/v1/endpoints/{endpoint['id']}/test", traceparent=TRACEPARENT)
    await work(services)

    request, attempt = exporter.get_finished_spans()
    assert (request.name, attempt.name) == ("POST /v1/endpoints/{id}/test", "deliver")
    assert f"{request.context.trace_id:032x}" == f"{attempt.context.trace_id:032x}" == TRACE
    assert attempt.parent.span_id == request.context.span_id
    assert attempt.attributes["tocsin.endpoint"] == endpoint["id"]
    assert attempt.attributes["http.response.status_code"] == 204
    assert "geheim" not in attempt.to_json()
    [ring] = receiver.rings
    assert ring.headers["traceparent"][:52] == f"00-{TRACE}-{attempt.context.span_id:016x}"


async def test_every_attempt_is_a_span_of_its_own(services, agent, receiver, clock, exporter) -> None:
    endpoint = await active(services, agent, receiver)
    exporter.clear()
    receiver.answers = unwell
    await agent.post(f"/v1/endpoints/{endpoint['id']}/test")
    await work(services)
    clock.advance(seconds=6)

    await work(services)

    request, *attempts = exporter.get_finished_spans()
    assert [attempt.attributes["tocsin.attempt"] for attempt in attempts] == [1, 2]
    assert {attempt.parent.span_id for attempt in attempts} == {request.context.span_id}
    sent = [ring.headers["traceparent"][36:52] for ring in receiver.rings]
    assert sent == [f"{attempt.context.span_id:016x}" for attempt in attempts]


async def test_without_an_sdk_the_callers_context_is_sent_along(services, agent, receiver) -> None:
    endpoint = await active(services, agent, receiver)

    await agent.post(f"/v1/endpoints/{endpoint['id']}/test", traceparent=TRACEPARENT)
    await work(services)

    assert receiver.rings[0].headers["traceparent"] == TRACEPARENT


async def test_where_nobody_asks_for_a_trace_none_is_sent(services, agent, receiver) -> None:
    endpoint = await active(services, agent, receiver)

    await agent.post(f"/v1/endpoints/{endpoint['id']}/test")
    await work(services)

    assert "traceparent" not in receiver.rings[0].headers


async def test_an_attempt_is_one_line_that_names_all_but_secrets(services, agent, receiver, written: Lines) -> None:
    endpoint = await active(services, agent, receiver)
    telemetry.configure("json", "info")
    receiver.answers = unwell

    sent = await agent.post(f"/v1/endpoints/{endpoint['id']}/test", traceparent=TRACEPARENT)
    await work(services)

    lines = written()
    [line] = [line for line in map(json.loads, lines) if line["event"] == "attempt"]
    assert {name: line[name] for name in ("delivery", "endpoint", "agent", "number", "status", "outcome", "trace")} == {
        "delivery": sent.json()["id"],
        "endpoint": endpoint["id"],
        "agent": agent.id,
        "number": 1,
        "status": 500,
        "outcome": "retried",
        "trace": TRACE,
    }
    assert line["next_attempt_at"] > line["timestamp"]
    assert line["wait_ms"] >= 0
    for secret in (endpoint["secret"], "geheim", receiver.url):
        assert secret not in "".join(lines)


async def test_attempts_are_counted_and_then_nothing_is_in_flight(services, agent, receiver) -> None:
    endpoint = await active(services, agent, receiver)
    before = value("tocsin_attempts_total", outcome="delivered", cause="2xx") or 0.0

    await agent.post(f"/v1/endpoints/{endpoint['id']}/test")
    await work(services)

    assert value("tocsin_attempts_total", outcome="delivered", cause="2xx") == before + 1
    assert value("tocsin_deliveries_in_flight") == 0


async def test_how_things_stand_is_seen_of_the_whole_relay(services, agent, receiver, clock) -> None:
    endpoint = await active(services, agent, receiver)
    await agent.post("/v1/endpoints", {"url": receiver.url})
    await agent.post(f"/v1/endpoints/{endpoint['id']}/test")
    async with services.database.transaction() as db:
        await db.execute(text("insert into lanes (endpoint_id, breaker) values (:id, 'open')"), {"id": endpoint["id"]})
    clock.advance(seconds=90)

    await services.deliveries.look()

    assert value("tocsin_deliveries_oldest_due_seconds") == 90
    assert value("tocsin_deliveries_due") == 1
    assert value("tocsin_endpoints", state="active") == 1
    assert value("tocsin_endpoints", state="pending") == 1
    assert value("tocsin_breakers", state="open") == 1
    assert value("tocsin_looked_timestamp_seconds") == clock.wall().timestamp()
