"""The SDK's examples do what they say: in its docstrings and in its README."""

import doctest
import importlib
import pkgutil
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import tocsin
from tocsin.webhooks import new_secret, sign

MODULES = ["tocsin", *(module.name for module in pkgutil.walk_packages(tocsin.__path__, "tocsin."))]
README = Path(__file__).parents[2] / "sdk" / "README.md"
PROGRAMS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("name", MODULES)
def test_docstrings_are_true(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_the_readmes_receiver_verifies_answers_and_refuses() -> None:
    names: dict[str, Any] = {}
    exec(compile(PROGRAMS[0], str(README), "exec"), names)
    names["SECRET"] = secret = new_secret()
    body = b'{"type":"endpoint.verification","data":{"challenge":"abc"}}'
    headers = sign("ep_1_msg_1", datetime.now(UTC), body, secrets=[secret])
    assert names["receive"](body, headers) == (200, {"challenge": "abc"})
    assert names["receive"](body + b" ", headers)[0] == 400


def test_the_readmes_programs_compile() -> None:
    assert len(PROGRAMS) == 4
    for program in PROGRAMS:
        compile(program, str(README), "exec")
