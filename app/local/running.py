"""Where the relay that runs in a home can be reached: written by `tocsin up`, read by the commands beside it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from app.local import lock


@dataclass(frozen=True)
class Running:
    database_url: str
    valkey_url: str
    api_url: str

    @classmethod
    def read(cls, home: Path) -> Self | None:
        """None when no relay runs there, or it is not ours to know."""
        # A relay that was killed leaves its record behind.
        if not lock.holder_runs(home):
            return None
        try:
            return cls(**json.loads((home / "running.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, home: Path) -> None:
        record = home / "running.json"
        # It holds passwords: private before there is anything to read.
        record.touch(mode=0o600)
        record.chmod(0o600)
        record.write_text(json.dumps(asdict(self)))


def forget(home: Path) -> None:
    """No relay runs here any more."""
    (home / "running.json").unlink(missing_ok=True)
