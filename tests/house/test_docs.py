"""What docs/ says about code is what the code says."""

import re
from pathlib import Path

import pytest

from app.kit.openapi import refusals
from app.kit.operations import Operation, shape
from app.operations import FEATURES
from docs.generate import BLOCKS, CONCEPTS, HERE, PROTOCOL, pages
from tocsin.schemas.webhooks import WEBHOOKS

TABLE = [operation for table in FEATURES.values() for operation in table]


@pytest.mark.parametrize("path", sorted(pages()), ids=lambda path: path.name)
def test_generated_pages_are_current(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == pages()[path], f"{path.name} is out of date: make docs"


def test_every_generated_block_stands_in_a_page() -> None:
    folders = (PROTOCOL, CONCEPTS)
    written = "".join(path.read_text(encoding="utf-8") for folder in folders for path in folder.glob("*.md"))
    assert set(re.findall(r"<!-- generated: ([a-z-]+) -->", written)) == set(BLOCKS)


@pytest.mark.parametrize("operation", TABLE, ids=lambda operation: operation.name)
def test_every_problem_of_an_operation_is_documented(operation: Operation) -> None:
    page = (PROTOCOL / "problems.md").read_text(encoding="utf-8")
    missing = [kind.slug for kind in refusals(operation, shape(operation)) if f"\n### {kind.slug}\n" not in page]
    assert missing == []


@pytest.mark.parametrize("type_", sorted(WEBHOOKS))
def test_every_type_of_ring_is_documented(type_: str) -> None:
    assert f"\n| `{type_}` |" in (PROTOCOL / "webhooks.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", [*sorted(HERE.rglob("*.md")), *sorted(HERE.parent.glob("*.md"))], ids=lambda p: p.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", sorted((HERE / "decisions").glob("[0-9]*.md")), ids=lambda page: page.stem)
def test_decisions_begin_with_their_quotable_line(page: Path) -> None:
    number = int(page.name[:4])
    head = rf"# {number}\. [^\n]+\n\n\*[^*]+\*\n\nStatus: accepted, \d{{4}}-\d\d-\d\d\n"
    assert re.match(head, page.read_text(encoding="utf-8"))
    assert f"]({page.name})" in (HERE / "decisions" / "README.md").read_text(encoding="utf-8")
