"""What is logged, for tests that read it."""

import logging
from collections.abc import Callable, Iterator, Sequence

import pytest

from app.kit.telemetry import logs

Lines = Callable[[], Sequence[str]]


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Lines]:
    """Reads the lines that have gone to standard error. Logging is as it was afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    for name in ("_handler", "_format", "_attempts"):
        monkeypatch.setattr(logs, name, getattr(logs, name))
    yield lambda: capsys.readouterr().err.splitlines()
    root.handlers[:] = handlers
    root.setLevel(level)
