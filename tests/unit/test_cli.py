"""What the command line makes of its options, and how it shows refusals."""

from pathlib import Path

import pytest

from tocsin import cli, problems
from tocsin.auth import URL_DEFAULT, NoKey, NoRelay, find_key, find_url
from tocsin.cli import show
from tocsin.keys import PrivateKey

KEY = PrivateKey.from_seed(bytes(32))


def test_a_key_is_found_where_it_was_named(tmp_path: Path) -> None:
    KEY.save(tmp_path / "mine")
    KEY.save(tmp_path / "tocsin" / "key")
    assert find_key(str(tmp_path / "mine"), {}).seed == KEY.seed
    assert find_key(None, {"TOCSIN_KEY": str(tmp_path / "mine")}).seed == KEY.seed
    assert find_key(None, {"TOCSIN_KEY": KEY.text}).seed == KEY.seed
    assert find_key(None, {"XDG_CONFIG_HOME": str(tmp_path)}).seed == KEY.seed


@pytest.mark.parametrize("content", [None, "", "nonsense", "ä"])
def test_a_key_that_is_not_there_says_how_to_make_one(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "key").write_text(content, encoding="utf-8")
    with pytest.raises(NoKey, match="tocsin keygen"):
        find_key(str(tmp_path / "key"), {})


def test_a_relay_is_found_where_it_was_named() -> None:
    assert find_url("https://relay.example/", {"TOCSIN_URL": "x"}) == "https://relay.example"
    assert find_url(None, {"TOCSIN_URL": "https://relay.example"}) == "https://relay.example"
    assert find_url(None, {}) == URL_DEFAULT


@pytest.mark.parametrize(
    "url",
    ["relay.example", "localhost:8585", "ftp://relay.example", "http://", "http://relay:x", "http://relay:99999", "x"],
)
def test_a_relay_that_is_no_url_is_told_apart(url: str) -> None:
    with pytest.raises(NoRelay, match="TOCSIN_URL"):
        find_url(url, {})


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["tocsin", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_keygen_makes_a_key_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert run(monkeypatch, "keygen") == 0
    assert PrivateKey.load(tmp_path / "tocsin" / "key").public.keyid in capfd.readouterr().out
    assert run(monkeypatch, "keygen") == 1
    assert "already" in capfd.readouterr().err


def test_an_id_that_a_shell_left_empty_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--key", KEY.text, "schedule", "show", "") == 1
    assert capfd.readouterr().err == "✗ '' is no id\n"


def test_a_missing_key_and_a_silent_relay_are_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--key", str(tmp_path / "none"), "me") == 1
    assert "tocsin keygen" in capfd.readouterr().err
    assert run(monkeypatch, "--key", KEY.text, "--url", "http://127.0.0.1:1", "call", "GET", "/") == 1
    told = capfd.readouterr().err
    assert len(told.splitlines()) == 1
    assert "Errno" not in told
    assert run(monkeypatch, "--key", KEY.text, "--url", "relay.example", "me") == 1
    assert len(capfd.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("words", [["FROB", "/v1/agents/me"], ["GET", "http://relay.example/v1/agents/me"]])
def test_a_call_that_no_relay_can_answer_is_not_sent(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    assert run(monkeypatch, "--key", KEY.text, "--url", "http://127.0.0.1:1", "call", *words) == 2


def test_the_version_is_told(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--version") == 0
    assert capfd.readouterr().out.count(".") == 2


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["schedule"],
        ["schedule", "add"],
        ["schedule", "change"],
        ["schedule", "backfill"],
        ["schedule", "backfills"],
        ["subscribe"],
        ["listen"],
        ["call"],
    ],
)
def test_every_command_helps(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], command: list[str]
) -> None:
    assert run(monkeypatch, *command, "--help") == 0
    assert "Usage" in capfd.readouterr().out


def test_a_refusal_says_where_and_what_to_do(capfd: pytest.CaptureFixture[str]) -> None:
    show.refusal(problems.BadRecurrence.at("/spec/cron", "has [six] fields", version=3))
    told = capfd.readouterr().err
    assert "Bad recurrence (422)" in told
    assert "/spec/cron: has [six] fields" in told
    assert "`tocsin schedule preview` shows what one means" in told
    assert "POST" not in told
    assert "version 3" in told


@pytest.mark.parametrize(
    "problem",
    [
        problems.InvalidBody.at("/name", "it is too long"),
        problems.InvalidQuery(errors=[{"parameter": "name", "detail": "it is too long"}]),
    ],
)
def test_errors_that_are_listed_are_not_called_by_a_name_that_they_do_not_have_here(
    capfd: pytest.CaptureFixture[str], problem: problems.Problem
) -> None:
    show.refusal(problem)
    told = capfd.readouterr().err
    assert "name: it is too long" in told
    assert "`errors`" not in told


def test_a_refusal_names_commands_where_the_relay_names_requests(capfd: pytest.CaptureFixture[str]) -> None:
    show.refusal(problems.EndpointNotActive("the endpoint is disabled; POST …/enable first"))
    told = capfd.readouterr().err
    assert "the endpoint is disabled; `tocsin endpoints enable` first" in told
    assert "challenge" not in told


def test_why_an_endpoint_is_disabled_names_a_command_too(capfd: pytest.CaptureFixture[str]) -> None:
    show.members({"state_reason": "every attempt has failed for 5 days; POST …/enable", "url": "POST …/enable"})
    reason, url = capfd.readouterr().out.splitlines()
    assert reason.endswith("for 5 days; `tocsin endpoints enable`")
    assert url.endswith("POST …/enable")


def test_a_refused_signature_shows_what_the_relay_verified(capfd: pytest.CaptureFixture[str]) -> None:
    show.refusal(
        problems.InvalidSignature("It differs.", component="@path", signature_base='"@method": GET\n"@path": /')
    )
    assert '| "@path": /' in capfd.readouterr().err
