"""What the options of a schedule mean on the wire."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, cast

import typer

from tocsin.cli.inputs import duration, json_value, moment, span
from tocsin.cli.schedules.options import Terms, When

Spec = dict[str, Any] | list[dict[str, Any]]


def spec_of(when: When, now: datetime) -> Spec:
    """The spec that these options mean. Whether it can ever fire is for others to judge."""
    members = [*_crons(when), *_intervals(when), *_instants(when, now)]
    excluded = _excluded(when)
    _refuse_unheeded(when)
    if when.spec is not None:
        if members or excluded:
            raise typer.BadParameter("--spec says it all; put the rest into it")
        return _spec(when.spec)
    if not members:
        raise typer.BadParameter("say when: --cron, --every, --at, --in or --spec")
    spec = members[0] if len(members) == 1 else {"union": members}
    return {**spec, "exclude": excluded} if excluded else spec


def names_slots(when: When) -> bool:
    """Whether anything was said about when."""
    return when != When()


def members_of(terms: Terms) -> dict[str, Any]:
    """What was said, by its name on the wire."""
    said = {
        "endpoint_id": terms.endpoint,
        "name": terms.name,
        "starts_at": terms.starts_at and moment(terms.starts_at, "--starts-at"),
        "ends_at": terms.ends_at and moment(terms.ends_at, "--ends-at"),
        "max_fires": terms.max_fires,
        "jitter": terms.jitter and duration(terms.jitter),
        "overlap": terms.overlap,
        "buffer_max": terms.buffer_max,
        "completion": terms.completion,
        "completion_timeout": terms.completion_timeout and duration(terms.completion_timeout),
        "misfire": terms.misfire,
        "catch_up_max": terms.catch_up_max,
        "catch_up_window": terms.catch_up_window and duration(terms.catch_up_window),
        "pause_after_give_ups": terms.pause_after,
        "notify_endpoint_id": terms.notify_endpoint,
    }
    payload = {} if terms.payload is None else {"payload": json_value(terms.payload, "--payload")}
    return {name: value for name, value in said.items() if value is not None} | payload


def changes_of(when: When, terms: Terms, removed: Collection[str], now: datetime) -> dict[str, Any]:
    """What is to change, by its name on the wire; what is removed is None."""
    changes = members_of(terms)
    if names_slots(when):
        changes["spec"] = spec_of(when, now)
    for option in removed:
        name = _removable(option)
        if name in changes:
            raise typer.BadParameter(f"--{option} sets what --remove {option} takes away")
        changes[name] = None
    if not changes:
        raise typer.BadParameter("say what to change")
    return changes


def _removable(option: str) -> str:
    name = _REMOVABLE.get(option.removeprefix("--"))
    if name is None:
        raise typer.BadParameter(f"one of {', '.join(_REMOVABLE)}, not {option!r}", param_hint="--remove")
    return name


_REMOVABLE = {
    "payload": "payload",
    "name": "name",
    "starts-at": "starts_at",
    "ends-at": "ends_at",
    "max-fires": "max_fires",
    "jitter": "jitter",
    "buffer-max": "buffer_max",
    "completion-timeout": "completion_timeout",
    "catch-up-max": "catch_up_max",
    "catch-up-window": "catch_up_window",
    "pause-after": "pause_after_give_ups",
    "notify-endpoint": "notify_endpoint_id",
}


def _crons(when: When) -> list[dict[str, Any]]:
    return [_cron(text, when) for text in when.cron or ()]


def _cron(text: str, when: When) -> dict[str, Any]:
    return _without_none({"cron": text, "timezone": when.timezone, "dst": when.dst})


def _intervals(when: When) -> list[dict[str, Any]]:
    return [_without_none({"every": duration(text), "anchor": when.anchor}) for text in when.every or ()]


def _instants(when: When, now: datetime) -> list[dict[str, Any]]:
    later = [(now + span(text, "--in")).isoformat(timespec="milliseconds") for text in when.in_ or ()]
    return [{"at": text} for text in [*(when.at or ()), *later]]


def _spec(text: str) -> Spec:
    value = json_value(text, "--spec")
    specs = cast("list[Any]", value if isinstance(value, list) else [value])
    if not all(isinstance(spec, dict) for spec in specs):
        raise typer.BadParameter('write an object such as {"every": "PT90S"}, or a list of them', param_hint="--spec")
    return cast("Spec", value)


def _excluded(when: When) -> list[dict[str, Any]]:
    """Specs as they were typed, and cron text in the zone of the others."""
    excluded: list[dict[str, Any]] = []
    for text in when.exclude or ():
        if not text.lstrip().startswith(("{", "[")):
            excluded.append(_cron(text, When(timezone=when.timezone)))
            continue
        value = json_value(text, "--exclude")
        excluded += value if isinstance(value, list) else [value]
    return excluded


def _refuse_unheeded(when: When) -> None:
    """Refuse what nothing would heed: dropped in silence, it would mislead."""
    if when.dst is not None and not when.cron:
        raise typer.BadParameter("--dst goes with --cron; anything else fires at instants that no clock leaps over")
    if when.timezone is not None and not (when.cron or when.exclude):
        raise typer.BadParameter("--tz goes with --cron; anything else is the same in every zone")
    if when.anchor is not None and not when.every:
        raise typer.BadParameter("--anchor goes with --every")


def _without_none(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
