"""Traces: what goes on from a request, and what is recorded of it by the SDK that an operator installs."""

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, Sampler
from opentelemetry.trace import SpanContext, SpanKind, StatusCode

from app.kit import tracing

TRACE = "0af7651916cd43dd8448eb211c80319c"
SAMPLED = f"00-{TRACE}-b7ad6b7169203331-01"
UNSAMPLED = f"00-{TRACE}-b7ad6b7169203331-00"


def recording(exporter: InMemorySpanExporter, sampler: Sampler | None = None) -> None:
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider)


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    """Where spans end up once `recording` to it; nobody records afterwards."""
    yield InMemorySpanExporter()
    tracing.use(None)


def context(span: ReadableSpan) -> SpanContext:
    assert span.context is not None
    return span.context


def only(exporter: InMemorySpanExporter) -> ReadableSpan:
    [span] = exporter.get_finished_spans()
    return span


def test_without_an_sdk_a_traceparent_goes_on_as_it_came() -> None:
    with tracing.request("POST", "/v1/messages", {"traceparent": SAMPLED}):
        said = tracing.current()
    leg = tracing.leg(said or "", "deliver", {})
    leg.ended(200, None)

    assert said == leg.traceparent == SAMPLED


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"traceparent": ""},
        {"traceparent": "nonsense"},
        {"traceparent": f"00-{'0' * 32}-b7ad6b7169203331-01"},
        {"traceparent": f"ff-{TRACE}-b7ad6b7169203331-01"},
        {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01\r\nx: y"},
    ],
)
def test_without_an_sdk_and_a_traceparent_there_is_no_trace(headers: dict[str, str]) -> None:
    with tracing.request("POST", "/v1/messages", headers):
        assert tracing.current() is None

    assert tracing.current() is None


def test_a_request_begins_a_trace(exporter: InMemorySpanExporter) -> None:
    recording(exporter)

    with tracing.request("POST", "/v1/messages", {}) as span:
        said = tracing.current()
        tracing.record(span, 201)

    recorded = only(exporter)
    assert said is not None
    assert said.startswith(f"00-{context(recorded).trace_id:032x}-{context(recorded).span_id:016x}-")
    assert int(said[-2:], 16) & 1
    assert (recorded.name, recorded.kind, recorded.parent) == ("POST /v1/messages", SpanKind.SERVER, None)
    assert recorded.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/messages",
        "http.response.status_code": 201,
    }
    assert recorded.status.status_code is StatusCode.UNSET


def test_a_request_goes_on_with_the_trace_of_its_caller(exporter: InMemorySpanExporter) -> None:
    recording(exporter)

    with tracing.request("POST", "/v1/messages", {"traceparent": SAMPLED}):
        pass

    recorded = only(exporter)
    assert recorded.parent is not None
    assert (f"{context(recorded).trace_id:032x}", recorded.parent.span_id) == (TRACE, 0xB7AD6B7169203331)


def test_a_request_that_failed_here_is_an_error(exporter: InMemorySpanExporter) -> None:
    recording(exporter)

    with tracing.request("GET", "/v1/agents/me", {}) as span:
        tracing.record(span, 503)

    assert only(exporter).status.status_code is StatusCode.ERROR


@pytest.mark.parametrize(
    ("status", "error", "attributes", "verdict"),
    [
        (204, None, {"http.response.status_code": 204}, StatusCode.UNSET),
        (302, None, {"http.response.status_code": 302}, StatusCode.ERROR),
        (500, None, {"http.response.status_code": 500}, StatusCode.ERROR),
        (None, "timeout", {"error.type": "timeout"}, StatusCode.ERROR),
    ],
)
def test_an_attempt_is_a_span_of_the_trace_and_its_context_is_sent_along(
    exporter: InMemorySpanExporter,
    status: int | None,
    error: str | None,
    attributes: dict[str, object],
    verdict: StatusCode,
) -> None:
    recording(exporter)

    leg = tracing.leg(SAMPLED, "deliver", {"tocsin.attempt": 2})
    leg.ended(status, error)

    recorded = only(exporter)
    assert leg.traceparent == f"00-{TRACE}-{context(recorded).span_id:016x}-01"
    assert recorded.parent is not None
    assert recorded.parent.span_id == 0xB7AD6B7169203331
    assert (recorded.name, recorded.kind) == ("deliver", SpanKind.CLIENT)
    assert recorded.attributes == {"tocsin.attempt": 2, **attributes}
    assert recorded.status.status_code is verdict


def test_what_its_caller_did_not_sample_is_sent_along_and_not_recorded(exporter: InMemorySpanExporter) -> None:
    recording(exporter)

    leg = tracing.leg(UNSAMPLED, "deliver", {})
    leg.ended(200, None)

    assert leg.traceparent == UNSAMPLED
    assert exporter.get_finished_spans() == ()


def test_what_our_sampler_drops_says_so_to_those_who_come_after(exporter: InMemorySpanExporter) -> None:
    recording(exporter, ParentBased(ALWAYS_OFF))

    with tracing.request("POST", "/v1/messages", {}):
        said = tracing.current()

    assert said is not None
    assert not int(said[-2:], 16) & 1
    assert exporter.get_finished_spans() == ()


def test_the_trace_id_is_what_a_line_shows() -> None:
    assert tracing.trace_id(SAMPLED) == TRACE


def test_what_no_request_caused_begins_a_trace_of_its_own(exporter: InMemorySpanExporter) -> None:
    recording(exporter)

    with tracing.request("POST", "/v1/messages", {"traceparent": SAMPLED}):
        begun = tracing.begin("schedule.fired", {"tocsin.subject": "fir_1"})
    tracing.leg(begun or "", "deliver", {}).ended(200, None)

    fired, _, deliver = exporter.get_finished_spans()
    assert (fired.name, fired.kind, fired.parent) == ("schedule.fired", SpanKind.PRODUCER, None)
    assert fired.attributes == {"tocsin.subject": "fir_1"}
    assert (begun or "").startswith(f"00-{context(fired).trace_id:032x}-{context(fired).span_id:016x}-")
    assert deliver.parent is not None
    assert (deliver.parent.span_id, context(deliver).trace_id) == (context(fired).span_id, context(fired).trace_id)


def test_where_nobody_records_nothing_begins() -> None:
    assert tracing.begin("schedule.fired", {}) is None
