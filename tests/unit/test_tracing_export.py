"""Traces leave as the operator's OTEL_* variables say, which the SDK reads by itself."""

import json
import os
import subprocess
import sys

import pytest

from app.kit import tracing

PROGRAM = """
from app.kit import tracing
from app.settings import Settings, export_traces

export_traces(Settings().telemetry, "tocsin-api")
with tracing.request("POST", "/v1/messages", {}):
    pass
"""


def traced(**variables: str) -> str:
    """What such a process writes."""
    environment = {**os.environ, **variables}
    ran = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    return ran.stdout


def test_a_process_that_is_to_export_its_traces_does() -> None:
    span = json.loads(traced(TOCSIN_TELEMETRY_TRACES="console"))

    assert span["name"] == "POST /v1/messages"
    assert span["resource"]["attributes"]["service.name"] == "tocsin-api"


def test_what_the_operator_says_of_it_comes_first() -> None:
    span = json.loads(traced(TOCSIN_TELEMETRY_TRACES="console", OTEL_SERVICE_NAME="relay"))

    assert span["resource"]["attributes"]["service.name"] == "relay"


def test_a_process_that_is_not_to_export_anything_does_not() -> None:
    assert traced() == ""


def test_an_exporter_that_is_not_installed_is_missed_at_once() -> None:
    with pytest.raises(RuntimeError, match="opentelemetry-exporter-otlp-proto-http"):
        tracing.configure("otlp_proto_http")
