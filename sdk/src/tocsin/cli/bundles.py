"""Options that several commands share, declared once: as the fields of a dataclass.

@dataclass(frozen=True)
class Page:
    limit: Annotated[int, typer.Option(help="How many at most.")] = 20

@app.command()
@unbundled
def ls(page: Page) -> None: ...      # tocsin ls --limit 20
"""

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import wraps
from inspect import Parameter, signature
from typing import Any, get_type_hints

__all__ = ["unbundled"]


def unbundled(command: Callable[..., None]) -> Callable[..., None]:
    """The command as typer reads it: with an option for each field of each parameter that is a dataclass."""
    hints = get_type_hints(command, include_extras=True)
    bundles = {name: hints[name] for name in signature(command).parameters if is_dataclass(hints[name])}

    @wraps(command)
    def typed(**given: Any) -> None:
        for name, bundle in bundles.items():
            given[name] = bundle(**{field.name: given.pop(field.name) for field in fields(bundle)})
        command(**given)

    parameters: list[Parameter] = []
    for parameter in signature(command).parameters.values():
        bundle = bundles.get(parameter.name)
        parameters += [_single(parameter, hints)] if bundle is None else _options(bundle)
    typed.__signature__ = signature(command).replace(parameters=parameters)  # type: ignore[attr-defined]
    return typed


def _single(parameter: Parameter, hints: dict[str, Any]) -> Parameter:
    return parameter.replace(kind=Parameter.KEYWORD_ONLY, annotation=hints[parameter.name])


def _options(bundle: Any) -> list[Parameter]:
    hints = get_type_hints(bundle, include_extras=True)
    return [
        Parameter(field.name, Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name])
        for field in fields(bundle)
    ]
