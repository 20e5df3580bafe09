"""What travels in the wheels."""

from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.packages import ROOT, build_wheels


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return build_wheels(tmp_path_factory.mktemp("wheels"))


def test_the_relay_brings_its_migrations(wheels: list[Path]) -> None:
    _sdk, relay = wheels
    inside = set(ZipFile(relay).namelist())
    history = {str(path.relative_to(ROOT)) for path in (ROOT / "migrations" / "versions").glob("[0-9]*.py")}
    assert history
    assert history | {"migrations/env.py"} <= inside


def test_the_relay_brings_no_tests_and_the_sdk_nothing_of_the_relay(wheels: list[Path]) -> None:
    sdk, relay = ({name.partition("/")[0] for name in ZipFile(wheel).namelist()} for wheel in wheels)
    assert {name for name in relay if not name.endswith(".dist-info")} == {"app", "workers", "migrations"}
    assert {name for name in sdk if not name.endswith(".dist-info")} == {"tocsin"}


def test_the_sdk_says_that_it_is_typed(wheels: list[Path]) -> None:
    sdk, _relay = wheels
    assert "tocsin/py.typed" in ZipFile(sdk).namelist()
