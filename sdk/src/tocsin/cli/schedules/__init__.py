"""When you are rung."""

import typer

from tocsin.cli.schedules import backfills, changes, views

__all__ = ["schedules"]

schedules = typer.Typer(no_args_is_help=True, help="When you are rung.")

_COMMANDS = {
    "Make": {"add": changes.add, "change": changes.change, "rm": changes.remove},
    "Look": {
        "ls": views.list_schedules,
        "show": views.show_schedule,
        "upcoming": views.upcoming,
        "fires": views.list_fires,
        "preview": views.preview,
    },
    "Step in": {
        "pause": changes.pause,
        "resume": changes.resume,
        "trigger": changes.trigger,
        "skip-next": changes.skip_next,
        "complete": changes.complete,
        "backfill": backfills.backfill,
    },
}

for panel, commands in _COMMANDS.items():
    for name, command in commands.items():
        schedules.command(name, rich_help_panel=panel)(command)
schedules.add_typer(backfills.backfills, name="backfills", rich_help_panel="Step in")
