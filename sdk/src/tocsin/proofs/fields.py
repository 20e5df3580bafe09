"""Members of what JSON-RPC answers, as the bytes that are hashed. What has not the right form is refused."""

from binascii import unhexlify
from collections.abc import Mapping, Sequence
from typing import Any, cast

from tocsin.proofs.errors import Malformed

__all__ = ["as_bytes", "as_list", "as_object", "octets", "present", "quantity"]

quantity_bytes_max = 32


def present(fields: Mapping[str, Any], name: str) -> bool:
    """Whether there is such a member; nodes write null for what a block or transaction does not have."""
    return fields.get(name) is not None


def octets(fields: Mapping[str, Any], name: str, part: str, size: int | None = None) -> bytes:
    """A member that is bytes: as many as `size` says, or any number."""
    return as_bytes(fields.get(name), part, name, size)


def quantity(fields: Mapping[str, Any], name: str, part: str, bytes_max: int = quantity_bytes_max) -> bytes:
    """A member that is a number, as its bytes: most significant first, none leading in vain."""
    value = fields.get(name)
    if isinstance(value, str) and value.startswith("0x") and len(value) > 2:
        padded = value[2:] if len(value) % 2 == 0 else f"0{value[2:]}"
        try:
            # Some nodes pad numbers further. What is hashed is never padded.
            found = unhexlify(padded).lstrip(b"\0")
        except ValueError:
            raise Malformed(part, f"{name} is no hexadecimal") from None
        if len(found) <= bytes_max:
            return found
    raise Malformed(part, f"{name} is no number of at most {bytes_max} bytes")


def as_bytes(value: object, part: str, name: str, size: int | None = None) -> bytes:
    """The bytes that this text stands for."""
    if isinstance(value, str) and value.startswith("0x"):
        try:
            found = unhexlify(value[2:])
        except ValueError:
            raise Malformed(part, f"{name} is no hexadecimal") from None
        if size is None or len(found) == size:
            return found
    raise Malformed(part, f"{name} is not {'' if size is None else f'{size} bytes of '}hexadecimal after 0x")


def as_object(value: object, part: str) -> Mapping[str, Any]:
    """A JSON object."""
    if not isinstance(value, dict):
        raise Malformed(part, "it is no object")
    return cast(Mapping[str, Any], value)


def as_list(value: object, part: str) -> Sequence[Any]:
    """A JSON array."""
    if not isinstance(value, list):
        raise Malformed(part, "it is no list")
    return cast(Sequence[Any], value)
