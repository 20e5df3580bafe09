"""Conditional requests (RFC 9110 §13): a write that goes ahead only against the version that its caller has in mind."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from tocsin.problems import InvalidPrecondition, PreconditionFailed

__all__ = ["UNCONDITIONAL", "Preconditions", "etag", "read"]

_TAG: Final = r'(W/)?("[!#-~\x80-\xff]*")'
# A list may have empty members, which count for nothing (§5.6.1).
_LIST: Final = re.compile(rf"[ \t,]*{_TAG}(?:[ \t]*,[ \t,]*{_TAG})*[ \t,]*")
_MEMBER: Final = re.compile(_TAG)

Tags = frozenset[str] | Literal["*"]


@dataclass(frozen=True)
class Preconditions:
    """What has to be true of the present version. Where the request said nothing, everything will do."""

    match: Tags | None = None
    """Of If-Match; compared strongly, so that a weak tag matches nothing."""
    none_match: Tags | None = None
    """Of If-None-Match; compared weakly."""

    def check(self, version: int | None) -> None:
        """Raise PreconditionFailed unless they hold for this version; None: there is nothing yet."""
        if self.match is not None and not _is_named(version, self.match):
            raise _failed(version, "If-Match names another version")
        if self.none_match is not None and _is_named(version, self.none_match):
            raise _failed(version, "If-None-Match excludes it")


UNCONDITIONAL: Final = Preconditions()


def read(headers: Mapping[str, str]) -> Preconditions:
    """What these header fields (by lower-case name) ask for. Raises InvalidPrecondition."""
    return Preconditions(match=_tags(headers, "if-match", strong=True), none_match=_tags(headers, "if-none-match"))


def etag(version: int) -> str:
    """The entity tag of a version, strong."""
    return f'"{version}"'


def _tags(headers: Mapping[str, str], name: str, *, strong: bool = False) -> Tags | None:
    value = headers.get(name)
    if value is None or value == "*":
        return None if value is None else "*"
    if not _LIST.fullmatch(value):
        field = name.title()
        raise InvalidPrecondition(f'{field} is one or more entity tags in double quotes, such as {field}: "3", or *')
    return frozenset(tag for weak, tag in _MEMBER.findall(value) if not (strong and weak))


def _is_named(version: int | None, tags: Tags) -> bool:
    return version is not None and (tags == "*" or etag(version) in tags)


def _failed(version: int | None, reason: str) -> PreconditionFailed:
    if version is None:
        return PreconditionFailed("There is nothing at this path yet.")
    return PreconditionFailed(f"The version is {version}; {reason}.", version=version)
