"""Feeds of every format are read as one list of items, whatever a stranger's feed holds."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from app.kit import limits
from app.kit.foreign_json import Unreadable
from app.watchers.rules import judge_feed
from app.watchers.syndication import Feed, read_feed

URL = "https://news.example/blog/feed.xml"

RSS = b"""<?xml version="1.0" encoding="UTF-8"?>
<rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/" xmlns:media="http://search.yahoo.com/mrss/">
 <channel><title>News &amp; views</title><link>https://news.example/</link>
  <image><title>A logo</title></image>
  <item><guid isPermaLink="false">tag:2</guid><link>/second</link><title>Second</title>
   <media:title>Not this</media:title><pubDate>Sun, 22 Nov 2026 10:00:00 +0100</pubDate>
   <description>&lt;p&gt;Some &lt;b&gt;bold&lt;/b&gt; &amp;amp; plain&lt;script&gt;x()&lt;/script&gt;</description>
  </item>
  <item><link>https://news.example/first</link><title><![CDATA[First]]></title>
   <content:encoded>Whole</content:encoded></item>
 </channel></rss>"""

RDF = b"""<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/"
  xmlns:dc="http://purl.org/dc/elements/1.1/"><channel rdf:about="x"><title>Old</title></channel>
  <item rdf:about="https://news.example/1"><title>One</title><link>https://news.example/1</link>
  <dc:date>2026-11-22T09:00:00Z</dc:date></item></rdf:RDF>"""

ATOM = b"""<feed xmlns="http://www.w3.org/2005/Atom"><title type="html">At&lt;i&gt;om&lt;/i&gt;</title><id>feed</id>
  <entry><id>urn:1</id><title type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml">An <b>entry</b></div></title>
   <link rel="enclosure" href="https://news.example/a.mp3"/><link href="/entries/1"/>
   <author><name>Somebody</name><title>Dr</title></author>
   <published>2026-11-22T09:00:00+01:00</published><updated>2026-11-22T09:30:00Z</updated><summary>Short</summary>
  </entry></feed>"""

JSON = b"""{"version": "https://jsonfeed.org/version/1.1", "title": "Json", "items": [
  {"id": 7, "url": "https://news.example/7", "content_html": "<p>Hi</p>", "date_published": "2026-11-22T09:00:00Z"},
  {"id": "8", "title": "Eight"}, 9]}"""


def read(body: bytes, content_type: str | None = None) -> Feed:
    return read_feed(body, content_type, URL)


def test_rss_is_read() -> None:
    feed = read(RSS)
    second, first = feed.items
    assert feed.title == "News & views"
    assert (second.id, second.url, second.title) == ("tag:2", "https://news.example/second", "Second")
    assert second.published == datetime(2026, 11, 22, 9, tzinfo=UTC)
    assert second.summary == "Some bold & plain"
    assert (first.id, first.title, first.summary) == ("https://news.example/first", "First", "Whole")


def test_rdf_is_read() -> None:
    [one] = read(RDF).items
    assert (one.id, one.title, one.published) == (
        "https://news.example/1",
        "One",
        datetime(2026, 11, 22, 9, tzinfo=UTC),
    )


def test_atom_is_read() -> None:
    feed = read(ATOM)
    [entry] = feed.items
    assert feed.title == "At om"
    assert (entry.id, entry.url, entry.title) == ("urn:1", "https://news.example/entries/1", "An entry")
    assert entry.published == datetime(2026, 11, 22, 8, tzinfo=UTC)
    assert entry.updated == datetime(2026, 11, 22, 9, 30, tzinfo=UTC)


def test_a_json_feed_is_read() -> None:
    feed = read(JSON)
    assert [(item.id, item.title, item.summary) for item in feed.items[:2]] == [("7", None, "Hi"), ("8", "Eight", None)]


def rss(*items: str, encoding: str = "utf-8") -> bytes:
    declared = f'<?xml version="1.0" encoding="{encoding}"?>'
    return f"{declared}<rss><channel><title>T</title>{''.join(items)}</channel></rss>".encode(encoding)


def test_an_item_without_id_and_link_is_known_by_title_and_date() -> None:
    dated = "<item><title>A</title><pubDate>Sun, 22 Nov 2026 09:00:00 GMT</pubDate><description>%s</description></item>"
    [before], [after] = read(rss(dated % "x")).items, read(rss(dated % "rewritten")).items
    assert before.id == after.id
    assert before.id.startswith("sha256:")
    assert before.fingerprint != after.fingerprint


def test_an_id_counts_once() -> None:
    assert len(read(rss("<item><guid>1</guid></item>" * 3)).items) == 1


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (rss("<item><title>Zürich</title></item>", encoding="iso-8859-1"), None),
        (rss("<item><title>Zürich</title></item>", encoding="utf-16"), None),
        (rss("<item><title>Zürich</title></item>", encoding="windows-1252"), "text/xml"),
        (
            "<rss><channel><item><title>Zürich</title></item></channel></rss>".encode("latin-1"),
            "text/xml; charset=latin1",
        ),
        ("\ufeff<rss><channel><item><title>Zürich</title></item></channel></rss>".encode(), "text/xml; charset=latin1"),
        (rss("<item><title>Z&uuml;rich</title></item>"), None),  # HTML's entity, which XML does not know
        (rss("<item><title>Z\x08ürich</title></item>"), None),  # what XML forbids
    ],
)
def test_encodings_are_understood(body: bytes, content_type: str | None) -> None:
    assert read(body, content_type).items[0].title == "Zürich"


BOMB = b"""<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]><rss><channel><title>&c;</title></channel></rss>"""
OUTSIDE = b"""<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><rss><channel><title>&x;</title></channel></rss>"""


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "no XML"),
        (b"<html><body>Maintenance</body></html>", "no feed"),
        (b"<!DOCTYPE html><html></html>", "document type"),
        (BOMB, "document type"),
        (OUTSIDE, "document type"),
        (b"<rss><channel><item>", "no XML"),
        (b"<a>" * 100, "too deep"),
        (b"<rss>" + b"<item></item>" * (limits.feed_elements_max + 1), "too many"),
        (b'{"items": []}', "no JSON Feed"),
        (b"{", "no JSON"),
        (rss("<item/>", encoding="utf-8").replace(b"utf-8", b"punycode"), "encoding"),
        (rss("<item/>", encoding="utf-8").replace(b"utf-8", b"nonsense"), "encoding"),
        # A parser writes a namespace before each name that is in it: long ones took minutes.
        (b'<rss xmlns="' + b"a" * 100_000 + b'">' + b"<x/>" * 10_000 + b"</rss>", "a namespace of more than"),
        (b"<rss xmlns:a \n=\t'" + b'"a' * 50_000 + b"'>" + b'<x a:b=""/>' * 10_000 + b"</rss>", "a namespace of"),
        (b"<!-- =\" --><rss xmlns='" + b"a" * 2_000 + b"'></rss>", "a namespace of more than"),
        (b'<rss id="' + b"a" * 2_000 + b'" xmlns="' + b"a" * 2_000 + b'"></rss>', "a namespace of more than"),
    ],
)
def test_what_is_no_feed_is_unreadable(body: bytes, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        read(body)


@pytest.mark.parametrize(
    "text",
    ['<enclosure url="https://news.example/%s"/>', "<description><![CDATA[a = '%s']]></description>"],
)
def test_what_is_long_and_no_namespace_is_read(text: str) -> None:
    [item] = read(rss(f"<item><guid>1</guid>{text % ('a' * 3_000)}</item>")).items
    assert item.id == "1"


@pytest.mark.parametrize("silent", ["<script>x()", "<style x", "<!-- x", "<script>x()</script", "<script>" * 700])
def test_what_is_silent_and_never_ends_is_silent_to_the_end(silent: str) -> None:
    [item] = read(rss(f"<item><guid>1</guid><description><![CDATA[said {silent}]]></description></item>")).items
    assert item.summary in ("said", "said <style x")


@pytest.mark.parametrize("link", ["javascript:alert(1)", "http://[", "data:text/html,x", "//[x", "ht tp://a"])
def test_a_link_leads_to_the_web_or_nowhere(link: str) -> None:
    [item] = read(rss(f"<item><guid>1</guid><link>{link}</link></item>")).items
    assert item.url is None or item.url.startswith("https://news.example/")


@pytest.mark.parametrize("date", ["yesterday", "", "Sun, 99 Nov 2026 09:00:00 GMT", "9999-12-31T23:59:59-23:00", "0"])
def test_a_date_that_is_none_is_left_out(date: str) -> None:
    [item] = read(rss(f"<item><guid>1</guid><pubDate>{date}</pubDate></item>")).items
    assert item.published is None


def test_what_is_said_is_bounded() -> None:
    [item] = read(
        rss(f"<item><guid>1</guid><title>{'a' * 9_999}</title><description>{'b ' * 9_999}</description></item>")
    ).items
    assert len(item.title or "") == limits.feed_title_chars_max
    assert len(item.summary or "") == limits.feed_summary_chars_max


def told(updates: bool, *bodies: bytes) -> list[list[tuple[str, str]]]:
    memory, looks = None, []
    for body in bodies:
        judged = judge_feed(read(body), {"kind": "http.feed", "updates": updates}, memory)
        memory = judged.memory
        looks.append([(each["change"], each["id"]) for each in judged.told])
    return looks


def entry(number: int, text: str = "", hour: int | None = None) -> str:
    date = "" if hour is None else f"<pubDate>Sun, 22 Nov 2026 {hour:02}:00:00 GMT</pubDate>"
    return f"<item><guid>{number}</guid><description>{text}</description>{date}</item>"


def test_new_items_are_told_oldest_first_and_once() -> None:
    looks = told(False, rss(entry(1)), rss(entry(3), entry(2), entry(1)), rss(entry(3), entry(2), entry(1)))
    assert looks == [[], [("new", "2"), ("new", "3")], []]


def test_dates_say_which_is_the_oldest_where_all_have_one() -> None:
    looks = told(False, rss(entry(1, hour=1)), rss(entry(2, hour=5), entry(3, hour=3), entry(4, hour=4)))
    assert looks[1] == [("new", "3"), ("new", "4"), ("new", "2")]


def test_a_rewritten_item_is_told_to_whom_wants_it() -> None:
    bodies = rss(entry(1, "a")), rss(entry(1, "b")), rss(entry(1, "b")), rss(entry(2), entry(1, "c"))
    assert told(True, *bodies) == [[], [("updated", "1")], [], [("new", "2"), ("updated", "1")]]
    assert told(False, *bodies) == [[], [], [], [("new", "2")]]


def test_a_flood_is_told_look_by_look() -> None:
    flood = rss(*(entry(number) for number in range(120, 0, -1)))
    looks = told(False, rss(), flood, flood, flood, flood)
    assert [len(each) for each in looks] == [0, limits.feed_told_max, limits.feed_told_max, 20, 0]
    assert [id for look in looks for _, id in look] == [str(number) for number in range(1, 121)]


def test_a_flood_of_rewrites_is_told_look_by_look() -> None:
    before = rss(*(entry(number, "a") for number in range(70)))
    after = rss(*(entry(number, "b") for number in range(70)))
    assert [len(each) for each in told(True, before, after, after, after)] == [0, limits.feed_told_max, 20, 0]
