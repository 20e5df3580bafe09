"""Time zones from the pinned `tzdata` package, so that two machines never disagree about a slot."""

from difflib import get_close_matches
from functools import lru_cache
from importlib.resources import files
from typing import Final
from zoneinfo import ZoneInfo

import tzdata

from tocsin.recurrence.errors import BadZone

zone_database_version: Final = tzdata.IANA_VERSION
"""The release of the IANA database that every answer is computed with, such as "2026a"."""

_name_chars_max: Final = 64
_FIXED: Final = frozenset({"UTC", "UCT", "Universal", "Zulu", "GMT", "GMT0", "GMT+0", "GMT-0", "Greenwich"})


def load_zone(name: str, *, pointer: str = "/timezone") -> ZoneInfo:
    """The zone of that exact name. Raises BadZone; never touches a file that the database does not list."""
    if len(name) > _name_chars_max:
        raise BadZone(
            f"a zone name has at most {_name_chars_max} characters, this one has {len(name)}",
            pointer=pointer,
            hint='give an IANA name such as "Europe/Berlin"',
        )
    if name not in zone_names():
        raise BadZone(f"{name!r} is not an IANA time zone", pointer=pointer, hint=_suggestion(name))
    return _load(name)


def is_fixed(zone: ZoneInfo) -> bool:
    """Whether the zone is a constant offset by its very name, which no release of the database will change."""
    return zone.key.startswith("Etc/") or zone.key in _FIXED


@lru_cache(maxsize=1)
def zone_names() -> frozenset[str]:
    """Every name that `load_zone` knows."""
    # "Factory" is the database's own placeholder for "nobody has set a zone".
    return frozenset((files("tzdata") / "zones").read_text("utf-8").split()) - {"Factory"}


@lru_cache(maxsize=1024)
def _load(name: str) -> ZoneInfo:
    # ZoneInfo(name) would prefer the machine's own database; its answers are not ours to promise.
    with (files("tzdata.zoneinfo").joinpath(*name.split("/"))).open("rb") as data:
        return ZoneInfo.from_file(data, key=name)


def _suggestion(name: str) -> str:
    by_folded_name = {known.casefold(): known for known in zone_names()}
    close = get_close_matches(name.casefold(), by_folded_name, n=1, cutoff=0.75)
    if close:
        return f"did you mean {by_folded_name[close[0]]!r}?"
    return 'give an IANA name such as "Europe/Berlin" or "UTC"'
