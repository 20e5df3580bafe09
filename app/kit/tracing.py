"""Traces, by OpenTelemetry: from the request that says something to the attempts that tell it.

Without its SDK nothing is recorded, and a `traceparent` that came in goes out with every attempt as it was. An operator
who wants traces installs the SDK and an exporter and names it in TOCSIN_TELEMETRY_TRACES; all else is said in the
standard variables OTEL_*.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanContext, SpanKind, Status, StatusCode, Tracer, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

__all__ = ["Leg", "begin", "configure", "current", "leg", "record", "request", "trace_id", "use"]

_name = "tocsin"
_propagator = TraceContextTextMapPropagator()
_tracer: Tracer | None = None  # None: nobody records


def configure(exporter: str) -> None:
    """Record, and export by the exporter that a package registers under this name. Call once a process.

    Where to, how much and under which name is in the variables OTEL_*, which SDK and exporter read by themselves.
    """
    found = list(entry_points(group="opentelemetry_traces_exporter", name=exporter))
    if not found:
        raise RuntimeError(
            f"no exporter of traces is installed under the name of {exporter}. "
            "TOCSIN_TELEMETRY_TRACES=otlp_proto_http needs opentelemetry-sdk and opentelemetry-exporter-otlp-proto-http"
        )
    # Here, as the relay does without: the SDK is what an operator installs who wants traces.
    from opentelemetry.sdk.trace import TracerProvider as Recorder
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = Recorder()
    provider.add_span_processor(BatchSpanProcessor(found[0].load()()))
    use(provider)


def use(provider: TracerProvider | None) -> None:
    """Record by this provider from now on; None: not any more."""
    global _tracer
    _tracer = None if provider is None else provider.get_tracer(_name)


@contextmanager
def request(method: str, route: str, headers: Mapping[str, str]) -> Generator[Span]:
    """Around a request that came in: the trace that its `traceparent` names goes on here, or a new one begins."""
    parent = _context(headers["traceparent"]) if "traceparent" in headers else None
    if _tracer is None:
        if parent is None:
            yield trace.INVALID_SPAN
            return
        with trace.use_span(trace.get_current_span(parent)) as span:
            yield span
        return
    attributes = {"http.request.method": method, "http.route": route}
    with _tracer.start_as_current_span(f"{method} {route}", parent, SpanKind.SERVER, attributes) as span:
        yield span


def record(span: Span, status: int) -> None:
    """Say how the request around this span was answered."""
    span.set_attribute("http.response.status_code", status)
    if status >= 500:
        span.set_status(Status(StatusCode.ERROR))


def current() -> str | None:
    """The `traceparent` of what is going on; None when nobody asked for a trace."""
    context = trace.get_current_span().get_span_context()
    return _written(context) if context.is_valid else None


def begin(name: str, attributes: Mapping[str, AttributeValue]) -> str | None:
    """The `traceparent` of a trace that begins here, with what no request caused; None when nobody records."""
    if _tracer is None:
        return None
    span = _tracer.start_span(name, Context(), SpanKind.PRODUCER, attributes)
    span.end()
    return _written(span.get_span_context())


@dataclass(frozen=True, slots=True)
class Leg:
    """A request that we make, as part of a trace. `traceparent` is sent along."""

    traceparent: str
    _span: Span | None = None

    def ended(self, status: int | None, error: str | None) -> None:
        """It has been answered with this status, or failed with an error of this category."""
        if self._span is None:
            return
        if status is not None:
            self._span.set_attribute("http.response.status_code", status)
        if error is not None:
            self._span.set_attribute("error.type", error)
        if status is None or status >= 300:
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


def leg(traceparent: str, name: str, attributes: Mapping[str, AttributeValue]) -> Leg:
    """A request that we make for the one that `traceparent` names, which may have been answered long ago."""
    if _tracer is None or not _is_sampled(traceparent):
        return Leg(traceparent)
    span = _tracer.start_span(name, _context(traceparent), SpanKind.CLIENT, attributes)
    return Leg(_written(span.get_span_context()), span)


def trace_id(traceparent: str) -> str:
    """The trace that this names: what a log line shows of it."""
    return traceparent[3:35]


def _context(traceparent: str) -> Context:
    return _propagator.extract({"traceparent": traceparent}, Context())


def _is_sampled(traceparent: str) -> bool:
    return trace.get_current_span(_context(traceparent)).get_span_context().trace_flags.sampled


def _written(context: SpanContext) -> str:
    flags = context.trace_flags
    return f"00-{trace.format_trace_id(context.trace_id)}-{trace.format_span_id(context.span_id)}-{flags:02x}"
