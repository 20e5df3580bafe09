"""What the commands beside a relay believe of it."""

import os
from pathlib import Path

import pytest

from app.local.running import Running

HERE = Running("postgresql://here", "redis://here", "http://here")


def test_a_relay_that_runs_is_found(tmp_path: Path) -> None:
    HERE.write(tmp_path)
    (tmp_path / "lock").write_text(str(os.getpid()))
    assert Running.read(tmp_path) == HERE


@pytest.mark.parametrize("holder", [None, "", "nonsense", str(2**22 + 1)])  # beyond the largest id of a process
def test_a_relay_that_was_killed_runs_no_more(tmp_path: Path, holder: str | None) -> None:
    HERE.write(tmp_path)
    if holder is not None:
        (tmp_path / "lock").write_text(holder)
    assert Running.read(tmp_path) is None
