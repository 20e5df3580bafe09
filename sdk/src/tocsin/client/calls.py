"""Calls as values, and the descriptors that let one description serve the blocking and the async client alike."""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, overload
from urllib.parse import quote

from pydantic import BaseModel, ValidationError

from tocsin.schemas.wire import InvalidArgument, Page

if TYPE_CHECKING:
    from tocsin.client import AsyncClient, Client

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
P = ParamSpec("P")
C = TypeVar("C", covariant=True)


@dataclass(frozen=True)
class Call(Generic[T]):
    """One operation with its arguments, and how to read its answer."""

    method: str
    path: str
    answer: Callable[[bytes], T]
    body: bytes = b""
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    wait_seconds: float = 0.0
    """How long the relay may take on purpose, beyond the usual timeout."""

    @property
    def writes(self) -> bool:
        return self.method not in {"GET", "HEAD"}

    def with_headers(self, **headers: str) -> "Call[T]":
        """The same call with further header fields; underscores in names stand for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return replace(self, headers={**self.headers, **named})


def get(path: str, answer: type[M], wait_seconds: float = 0.0, **query: Any) -> Call[M]:
    """A read; of the query, what is None is left out."""
    return Call("GET", path, _reader(answer), query=_query(query), wait_seconds=wait_seconds)


def post(path: str, answer: type[M], body: BaseModel | None = None) -> Call[M]:
    return Call("POST", path, _reader(answer), _json(body))


def put(path: str, answer: type[M], body: BaseModel) -> Call[M]:
    return Call("PUT", path, _reader(answer), _json(body))


def patch(path: str, answer: type[M], changes: BaseModel) -> Call[M]:
    """A change of what is set, to null too."""
    return Call("PATCH", path, _reader(answer), _set(changes))


def post_set(path: str, answer: type[M], body: BaseModel) -> Call[M]:
    """A write that says what is set, null too: where that is another thing than silence."""
    return Call("POST", path, _reader(answer), _set(body))


def delete(path: str) -> Call[None]:
    return Call("DELETE", path, lambda body: None)


def cancel(path: str, answer: type[M]) -> Call[M]:
    """A deletion of what stays to be looked at."""
    return Call("DELETE", path, _reader(answer))


class NoId(ValueError):
    """Nothing can have this id: it would lead to another path."""


def segment(text: str) -> str:
    """Text as one segment of a path, whatever is in it."""
    if text in {"", ".", ".."}:
        raise NoId(f"{text!r} is no id")
    return quote(text, safe="")


def _reader(answer: type[M]) -> Callable[[bytes], M]:
    # A newer relay may say more than this client knows.
    return lambda body: answer.model_validate_json(body, extra="ignore")


def _json(body: BaseModel | None) -> bytes:
    return b"" if body is None else body.model_dump_json(exclude_none=True).encode()


def _set(body: BaseModel) -> bytes:
    return body.model_dump_json(exclude_unset=True).encode()


def _query(query: Mapping[str, Any]) -> dict[str, str]:
    return {name: _text(value) for name, value in query.items() if value is not None}


def _text(value: Any) -> str:
    # With all its digits: cut to milliseconds, the beginning of a range would let in what lies before it.
    return value.isoformat() if isinstance(value, datetime) else str(value)


def once(call: Call[T], key: str | None) -> Call[T]:
    """The same call under an idempotency key of the caller's, if there is one: sent again, it does not happen again."""
    return call if key is None else call.with_headers(Idempotency_Key=key)


def matching(call: Call[T], version: int | None) -> Call[T]:
    """The same call, carried out only while its subject has this version; whatever it has, if that is None."""
    return call if version is None else call.with_headers(If_Match=f'"{version}"')


def creating(call: Call[T]) -> Call[T]:
    """The same call, carried out only if its subject does not exist."""
    return call.with_headers(If_None_Match="*")


class Area(Generic[C]):
    """The operations of one area, bound to a client."""

    def __init__(self, client: C) -> None:
        self.client = client


class operation(Generic[P, T]):
    """A method that builds a call: on a `Client` it returns the answer, on an `AsyncClient` a coroutine of it."""

    def __init__(self, build: Callable[Concatenate[Any, P], Call[T]]) -> None:
        self.build = build
        update_wrapper(self, build)  # pyright: ignore[reportArgumentType]

    @overload
    def __get__(self, area: "Area[Client]", owner: Any = None) -> Callable[P, T]: ...
    @overload
    def __get__(self, area: "Area[AsyncClient]", owner: Any = None) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, area: Any, owner: Any = None) -> Any:
        def send(*args: P.args, **kwargs: P.kwargs) -> Any:
            try:
                call = self.build(area, *args, **kwargs)
            except ValidationError as error:
                # What the models say names models of ours, and repeats what was given.
                raise InvalidArgument.of(error) from None
            return area.client.send(call)

        return self if area is None else update_wrapper(send, self.build)


class listing(Generic[P, T]):
    """A method that builds the call of a list's first page: iterating it fetches the further ones as needed."""

    def __init__(self, build: Callable[Concatenate[Any, P], Call[Page[T]]]) -> None:
        self.build = build
        update_wrapper(self, build)  # pyright: ignore[reportArgumentType]

    @overload
    def __get__(self, area: "Area[Client]", owner: Any = None) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, area: "Area[AsyncClient]", owner: Any = None) -> Callable[P, AsyncIterator[T]]: ...
    def __get__(self, area: Any, owner: Any = None) -> Any:
        def items(*args: P.args, **kwargs: P.kwargs) -> Any:
            return area.client.items(self.build(area, *args, **kwargs))

        return self if area is None else update_wrapper(items, self.build)


def after(call: Call[Page[T]], cursor: str) -> Call[Page[T]]:
    """The call of the page that a cursor stands for."""
    return replace(call, query={**call.query, "cursor": cursor})
