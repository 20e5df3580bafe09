"""What is pinned is what the distributions ask for, and names no index."""

import re
import tomllib
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PINNED = ("bootstrap", "runtime", "dev")
PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(\[[^]]*\])?==(?P<version>[^ \\;]+)")


@cache
def pins(name: str) -> dict[str, Version]:
    """Package and version, for every line of this file that pins one."""
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    found = [PIN.match(line) for line in lines]
    return {canonicalize_name(pin["name"]): Version(pin["version"]) for pin in found if pin}


def project(path: str) -> dict[str, object]:
    return tomllib.loads((ROOT / path).read_text())["project"]


def asked(path: str, extra: str | None = None) -> list[Requirement]:
    found = project(path)
    lines = found["dependencies"] if extra is None else found["optional-dependencies"][extra]  # type: ignore[index]
    return [Requirement(line) for line in lines if not line.startswith("tocsin==")]  # type: ignore[union-attr]


def asked_in(name: str) -> list[Requirement]:
    lines = (ROOT / "requirements" / f"{name}.in").read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize(
    ("requirements", "pinned"),
    [
        (asked("pyproject.toml"), "runtime"),
        (asked("sdk/pyproject.toml"), "runtime"),
        (asked("sdk/pyproject.toml", "proofs"), "runtime"),
        (asked("pyproject.toml", "payments"), "dev"),
        (asked_in("dev"), "dev"),
        (asked_in("bootstrap"), "bootstrap"),
    ],
    ids=["relay", "sdk", "proofs", "payments", "dev", "bootstrap"],
)
def test_every_requirement_is_pinned_within_its_bounds(requirements: list[Requirement], pinned: str) -> None:
    missed = [
        str(requirement)
        for requirement in requirements
        if (version := pins(pinned).get(canonicalize_name(requirement.name))) is None
        or not requirement.specifier.contains(version, prereleases=True)
    ]
    assert missed == [], "run: make requirements"


def test_development_has_the_versions_that_run() -> None:
    differing = {name for name, version in pins("runtime").items() if pins("dev").get(name) != version}
    assert differing == set(), "run: make requirements"


@pytest.mark.parametrize("name", PINNED)
def test_every_pin_has_hashes_and_no_address(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    entries = re.sub(r"\\\n\s*", "", text).strip().splitlines()
    assert [entry for entry in entries if not entry.startswith("#") and "--hash=sha256:" not in entry] == []
    assert "://" not in text
    assert "--index-url" not in text


def test_the_npm_lock_has_integrity_and_no_address() -> None:
    text = (ROOT / "tests" / "package-lock.json").read_text()
    assert "resolved" not in text
    assert "://" not in text
    assert text.count('"integrity"') == text.count('"node_modules/')


def test_the_relay_asks_for_the_sdk_of_its_own_version() -> None:
    sdk = project("sdk/pyproject.toml")["version"]
    assert project("pyproject.toml")["version"] == sdk
    assert f"tocsin=={sdk}" in project("pyproject.toml")["dependencies"]  # type: ignore[operator]
