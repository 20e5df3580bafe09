"""What the SDK exports is sorted, and is there."""

import importlib
import pkgutil

import pytest

import tocsin

MODULES = ["tocsin", *(module.name for module in pkgutil.walk_packages(tocsin.__path__, "tocsin."))]


@pytest.mark.parametrize("name", MODULES)
def test_exports_are_sorted_and_true(name: str) -> None:
    module = importlib.import_module(name)
    exported: list[str] = getattr(module, "__all__", [])
    assert exported == sorted(exported, key=_as_imports_are_sorted)
    assert [entry for entry in exported if not hasattr(module, entry)] == []
    assert len(exported) == len(set(exported))


def _as_imports_are_sorted(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name
