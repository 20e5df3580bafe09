"""The file that `tocsin up` keeps its secret key in."""

from pathlib import Path

import pytest

from app.kit.sealing import SecretKey
from app.local import secret_key
from app.local.errors import LocalError


def test_it_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    made, was_made = secret_key.kept_or_made(tmp_path)
    again, was_made_again = secret_key.kept_or_made(tmp_path)

    assert (was_made, was_made_again) == (True, False)
    assert again.id == made.id == secret_key.kept(tmp_path).id  # type: ignore[union-attr]
    assert secret_key.place(tmp_path).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["secret-key"], "nothing half written is left"


def test_where_there_is_none_there_is_none(tmp_path: Path) -> None:
    assert secret_key.kept(tmp_path) is None


@pytest.mark.parametrize("content", ["", "sealkey_", "\xff", SecretKey(bytes(32)).text[:-1]])
def test_one_that_cannot_be_read_is_not_replaced(tmp_path: Path, content: str) -> None:
    secret_key.place(tmp_path).write_text(content, encoding="latin-1")
    with pytest.raises(LocalError, match="backup"):
        secret_key.kept_or_made(tmp_path)
    assert secret_key.place(tmp_path).read_text(encoding="latin-1") == content
