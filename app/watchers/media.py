"""The two kinds of documents that are watched: what to ask for, how to read it, and what there is to tell of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from app.kit import limits
from app.kit.foreign_json import read
from app.watchers.rules import Judged, Memory, judge, judge_feed
from app.watchers.syndication import read_feed
from tocsin.schemas.watchers import FeedItem, JsonAppeared, JsonChanged, JsonCrossed
from tocsin.schemas.wire import Wire

__all__ = ["MEDIA", "Fetched", "Medium"]


@dataclass(frozen=True, slots=True)
class Fetched:
    """Which document it was, and when: what every payload says."""

    url: str
    at: datetime
    sha256: str


class Medium(Protocol):
    """One kind of document."""

    kind: str
    accept: str
    bytes_max: int

    def read(self, body: bytes, content_type: str | None, url: str) -> Any:
        """What the bytes mean. Raises Unreadable."""
        ...

    def judge(self, document: Any, spec: Mapping[str, Any], memory: Memory | None) -> Judged:
        """What it has to tell to one filter."""
        ...

    def payloads(
        self, document: Any, spec: Mapping[str, Any], fetched: Fetched, judged: Judged
    ) -> Sequence[Mapping[str, Any]]:
        """The events that this comes to, as they are told."""
        ...


class JsonMedium:
    """A JSON document."""

    kind = "http.json"
    accept = "application/json"
    bytes_max = limits.document_bytes_max

    def read(self, body: bytes, content_type: str | None, url: str) -> Any:
        return read(body)

    def judge(self, document: Any, spec: Mapping[str, Any], memory: Memory | None) -> Judged:
        return judge(document, spec, memory)

    def payloads(
        self, document: Any, spec: Mapping[str, Any], fetched: Fetched, judged: Judged
    ) -> Sequence[Mapping[str, Any]]:
        jmespath = spec.get("jmespath")
        common = {
            "url": fetched.url,
            "pointer": spec["pointer"] if jmespath is None else None,
            "jmespath": jmespath,
            "fetched_at": fetched.at,
            "body_sha256": fetched.sha256,
        }
        return [
            _SHAPES[told["rule"]].model_validate(common | dict(told)).model_dump(mode="json") for told in judged.told
        ]


_SHAPES: Mapping[str, type[Wire]] = {"changed": JsonChanged, "threshold": JsonCrossed, "appeared": JsonAppeared}


class FeedMedium:
    """A feed."""

    kind = "http.feed"
    accept = "application/atom+xml, application/rss+xml, application/feed+json, application/xml;q=0.9, */*;q=0.5"
    bytes_max = limits.feed_bytes_max

    def read(self, body: bytes, content_type: str | None, url: str) -> Any:
        return read_feed(body, content_type, url)

    def judge(self, document: Any, spec: Mapping[str, Any], memory: Memory | None) -> Judged:
        return judge_feed(document, spec, memory)

    def payloads(
        self, document: Any, spec: Mapping[str, Any], fetched: Fetched, judged: Judged
    ) -> Sequence[Mapping[str, Any]]:
        common = {
            "feed_url": fetched.url,
            "feed_title": document.title,
            "fetched_at": fetched.at,
            "body_sha256": fetched.sha256,
        }
        return [FeedItem.model_validate(common | dict(told)).model_dump(mode="json") for told in judged.told]


MEDIA: Sequence[Medium] = (JsonMedium(), FeedMedium())
