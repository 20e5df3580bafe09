"""Reading feeds: RSS 0.9x, 1.0 and 2.0, Atom and JSON Feed, as one list of items. Feeds come from strangers.

XML is read as it streams past: no tree is built, no entity is expanded but the five of XML, a document type is refused,
and nothing outside of the document is ever asked for.
"""

from __future__ import annotations

import codecs
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from html import unescape
from html.entities import html5
from typing import cast
from urllib.parse import urljoin
from xml.etree.ElementTree import ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from app.kit import limits
from app.kit.foreign_json import Json, Unreadable, read

__all__ = ["Feed", "Item", "read_feed"]


@dataclass(frozen=True, slots=True)
class Item:
    """One item, by what makes it the same. What it says is read when it is told: most items are seen and not told."""

    id: str
    said: Mapping[str, str] = field(repr=False)
    base: str = ""

    @property
    def fingerprint(self) -> str:
        """Of all that it says: another one means that it was rewritten."""
        return _sha256(repr(sorted(self.said.items())))

    @property
    def url(self) -> str | None:
        return _link(self.said.get("link"), self.base) or (_link(self.id, self.base) if _is_web(self.id) else None)

    @property
    def title(self) -> str | None:
        return _text(self.said.get("title"), limits.feed_title_chars_max)

    @property
    def published(self) -> datetime | None:
        return _moment(self.said.get("published"))

    @property
    def updated(self) -> datetime | None:
        return _moment(self.said.get("updated"))

    @property
    def summary(self) -> str | None:
        """The beginning of what it says."""
        return _text(self.said.get("summary") or self.said.get("content"), limits.feed_summary_chars_max)


@dataclass(frozen=True, slots=True)
class Feed:
    """A feed as it was read: its items in the order of the document, each id once."""

    title: str | None
    items: Sequence[Item]


def read_feed(body: bytes, content_type: str | None, url: str) -> Feed:
    """The feed in these bytes, which came from this URL. Raises Unreadable."""
    raw = _of_json(read(body)) if _looks_like_json(body) else _of_xml(body, content_type)
    items: dict[str, Item] = {}
    for said in raw.items[: limits.feed_items_max]:
        item = Item(_identity(said, url), said, url)
        items.setdefault(item.id, item)
    return Feed(_text(raw.title, limits.feed_title_chars_max), list(items.values()))


def _identity(said: Mapping[str, str], url: str) -> str:
    """What makes an item the same: its own id; else its link; else its title and date, or all that it says."""
    own = _clean(said.get("id", ""))
    if own:
        return own if len(own) <= limits.feed_title_chars_max else f"sha256:{_sha256(own)}"
    dated = [said.get("title", ""), said.get("published", "")]
    return _link(said.get("link"), url) or f"sha256:{_sha256(repr(dated if any(dated) else sorted(said.items())))}"


@dataclass(slots=True)
class _Raw:
    """What a feed says, before it is judged: texts by name, the first of each."""

    title: str | None = None
    items: list[dict[str, str]] = field(default_factory=list[dict[str, str]])


# XML

_ATOM = frozenset({"http://www.w3.org/2005/Atom", "http://purl.org/atom/ns#"})
# Elements by what they mean to us. Of other vocabularies, those that feeds use for the same.
_MEANING: Mapping[str, str] = {
    **{"guid": "id", "id": "id", "link": "link", "title": "title"},
    **{"pubDate": "published", "published": "published", "issued": "published", "date": "published"},
    **{"updated": "updated", "modified": "updated"},
    **{"description": "summary", "summary": "summary", "content": "content", "encoded": "content"},
}
_OURS = _ATOM | {
    *("", "http://purl.org/rss/1.0/", "http://my.netscape.com/rdf/simple/0.9/", "http://purl.org/dc/elements/1.1/"),
    *("http://purl.org/dc/terms/", "http://purl.org/rss/1.0/modules/content/", "http://backend.userland.com/rss2"),
}
_ROOTS = frozenset({"rss", "RDF", "feed"})
_RDF_ABOUT = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}about"


class _Bounded(Exception):
    """There is more than we read."""


class _Reader:
    """The target of a parser: hears of elements one by one, and keeps what an item is made of."""

    def __init__(self) -> None:
        self.raw = _Raw()
        self.root: str | None = None
        self._path: list[str] = []
        self._elements = 0
        self._item: dict[str, str] | None = None
        self._item_depth = 0
        self._name: str | None = None  # of what is being heard
        self._name_depth = 0
        self._heard: list[str] = []

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        space, local = _split(tag)
        self._path.append(local)
        self._elements += 1
        if self._elements > limits.feed_elements_max or len(self._path) > limits.feed_depth_max:
            raise _Bounded
        if self.root is None:
            self.root = local
        if self._name is not None:  # markup inside of a text, as Atom's xhtml
            self._heard.append(" ")
        elif self._item is None and local in ("item", "entry"):
            self._item, self._item_depth = {}, len(self._path)
            if about := attributes.get(_RDF_ABOUT):
                self._item["id"] = about
        elif space in _OURS and (meaning := _MEANING.get(local)) and self._is_wanted(meaning):
            self._begin(meaning, space, attributes)

    def end(self, tag: str) -> None:
        if self._name is not None and len(self._path) == self._name_depth:
            self._keep(self._name, "".join(self._heard))
            self._name = None
        elif self._item is not None and len(self._path) == self._item_depth:
            if len(self.raw.items) < limits.feed_items_max:
                self.raw.items.append(self._item)
            self._item = None
        self._path.pop()

    def data(self, data: str) -> None:
        if self._name is not None:
            self._heard.append(data)

    def close(self) -> _Raw:
        return self.raw

    def _is_wanted(self, meaning: str) -> bool:
        """Members of an item, and the title of the feed: that of its image or its author is another."""
        if self._item is not None:
            return len(self._path) == self._item_depth + 1
        return meaning == "title" and self._path[1:-1] in (["channel"], []) and len(self._path) > 1

    def _begin(self, meaning: str, space: str, attributes: Mapping[str, str]) -> None:
        if meaning == "link" and space in _ATOM:
            if attributes.get("rel", "alternate") == "alternate":
                self._keep("link", attributes.get("href", ""))
            return
        self._name, self._name_depth, self._heard = meaning, len(self._path), []

    def _keep(self, name: str, text: str) -> None:
        if not text.strip():
            return
        if self._item is not None:
            self._item.setdefault(name, text.strip())
        elif self.raw.title is None:
            self.raw.title = text


def _of_xml(body: bytes, content_type: str | None) -> _Raw:
    reader = _Reader()
    text = _decoded(body, content_type)
    if _has_long_namespace(text):
        raise Unreadable(f"the feed has a namespace of more than {limits.feed_namespace_chars_max} characters")
    try:
        parser = DefusedXMLParser(target=reader, forbid_dtd=True, encoding="utf-8")
        parser.feed(text.encode("utf-8", "replace"))
        parser.close()
    except _Bounded:
        raise Unreadable("the feed is nested too deep, or has too many elements") from None
    except DefusedXmlException:
        raise Unreadable("the feed declares a document type or an entity, which are not read") from None
    except ParseError as error:
        raise Unreadable(f"the document is no XML and no JSON: {error}"[:200]) from error
    if reader.root not in _ROOTS:
        raise Unreadable(f"the document is no feed: it begins with <{str(reader.root)[:40]}>")
    return reader.raw


_DECLARED = re.compile(rb"""^\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
_CHARSET = re.compile(r"""charset\s*=\s*["']?([A-Za-z0-9._-]{1,40})""", re.IGNORECASE)
_DECLARATION = re.compile(r"^\s*<\?xml[^>]{0,400}\?>")
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def _decoded(body: bytes, content_type: str | None) -> str:
    """The document. What says its encoding, in order: its first bytes, the answer's header, the document."""
    name = next((name for bom, name in _BOMS if body.startswith(bom)), None)
    if name is None and (said := _CHARSET.search(content_type or "")):
        name = said[1]
    if name is None and (declared := _DECLARED.match(body)):
        name = declared[1].decode()
    try:
        codec = codecs.lookup(name or "utf-8").name
    except LookupError:
        codec = ""
    if not _TEXT_CODEC.fullmatch(codec):
        raise Unreadable(f"the feed says that it is in the encoding {(name or '')[:40]}, which is not known here")
    text = _DECLARATION.sub("", body.decode(codec, "replace").removeprefix("\ufeff"), count=1)
    return _ENTITY.sub(_numbered, _FORBIDDEN.sub("", text)).lstrip()


# Python calls more than these encodings, and some of them take their time.
_TEXT_CODEC = re.compile(
    r"ascii|utf-(8|16|32)(-sig|-[bl]e)?|iso8859-\d+|cp\d+|koi8-[rut]|shift_jis\w*|euc_\w+|iso2022_\w+|gb\w+|big5\w*"
)
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")  # in XML, though feeds have them
_ENTITY = re.compile(r"&([A-Za-z][A-Za-z0-9]{1,31});")
_OF_XML = frozenset({"amp", "lt", "gt", "quot", "apos"})


def _numbered(entity: re.Match[str]) -> str:
    """`&nbsp;` and its like, which are HTML's and which feeds use all the same, as XML has them."""
    text = html5.get(f"{entity[1]};")
    return entity[0] if text is None or entity[1] in _OF_XML else "".join(f"&#{ord(each)};" for each in text)


# Where a long value in quotes begins, or what looks like one. Where one begins, one of its kind before it has ended, so
# each is read once, and none hides another.
_LONG = re.compile(r"""=[ \t\r\n]*+(?="[^"]{MAX}|'[^']{MAX})""".replace("MAX", str(limits.feed_namespace_chars_max)))
_DELIMITER = re.compile(r"""[ \t\r\n"'<>/=]""")


def _has_long_namespace(text: str) -> bool:
    """Whether a namespace is so long that a parser would take minutes: it writes it before each name that is in it."""
    return any(_may_name_a_namespace(text, long.start()) for long in _LONG.finditer(text))


def _may_name_a_namespace(text: str, end: int) -> bool:
    """Whether what stands before this place is `xmlns`, or farther back than anybody would look."""
    before = text[max(0, end - limits.feed_namespace_chars_max) : end].rstrip(" \t\r\n")
    name = _DELIMITER.split(before)[-1]
    return not before or name == before or name.startswith("xmlns")


def _split(tag: str) -> tuple[str, str]:
    space, _, local = tag.rpartition("}")
    return space.removeprefix("{"), local


# JSON Feed


def _looks_like_json(body: bytes) -> bool:
    return body.removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"{"


def _of_json(document: Json) -> _Raw:
    feed = _members(document)
    items = feed.get("items")
    if "jsonfeed.org/version/" not in str(feed.get("version", ""))[:100] or not isinstance(items, list):
        raise Unreadable("the document is JSON, but no JSON Feed: it has no version of one, or no items")
    return _Raw(_scalar(feed.get("title")), [_json_item(_members(each)) for each in cast(list[Json], items)])


def _json_item(item: Mapping[str, Json]) -> dict[str, str]:
    names = {
        "id": ("id",),
        "link": ("url", "external_url"),
        "title": ("title",),
        "published": ("date_published",),
        "updated": ("date_modified",),
        "summary": ("summary", "content_text"),
        "content": ("content_html",),
    }
    found = {
        name: next((text for key in keys if (text := _scalar(item.get(key)))), None) for name, keys in names.items()
    }
    return {name: text for name, text in found.items() if text}


def _members(value: Json) -> Mapping[str, Json]:
    return cast(dict[str, Json], value) if isinstance(value, dict) else {}


def _scalar(value: Json) -> str | None:
    """Text; also a number, which JSON Feed allows for ids."""
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


# Texts


# What does not end goes on to the end, as in browsers; and it is looked for once.
_SILENT = re.compile(r"<(script|style)\b[^<>]*>.*?(?:</\1\s*>|\Z)|<!--.*?(?:-->|\Z)", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"</?[A-Za-z!?][^<>]*>")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def _text(said: str | None, chars_max: int) -> str | None:
    """The beginning of what HTML or plain text says, on one line. Not to be shown as HTML: it is none."""
    if said is None:
        return None
    # Markup is seldom more than most of it.
    bare = unescape(_TAG.sub(" ", _SILENT.sub(" ", said[: 6 * chars_max])))
    text = " ".join(_clean(bare).split())
    return (text if len(text) <= chars_max else text[: chars_max - 1] + "…") or None


def _clean(text: str) -> str:
    """Without what no database stores."""
    return _CONTROL.sub("", text).strip()


def _is_web(text: str) -> bool:
    return text.startswith(("http://", "https://"))


def _link(said: str | None, base: str) -> str | None:
    """An absolute link to the web, or none."""
    try:
        url = urljoin(base, _clean(said or ""))
    except ValueError:
        return None
    is_link = bool(said and said.strip()) and _is_web(url) and len(url) <= 2048
    return url if is_link else None


def _moment(said: str | None) -> datetime | None:
    """A date as RSS writes it (RFC 822) or as the others do (RFC 3339); in UTC where it names no zone."""
    said = (said or "").strip()[:100]
    for parse in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            moment = parse(said)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError, TypeError, IndexError):
            continue
    return None


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
