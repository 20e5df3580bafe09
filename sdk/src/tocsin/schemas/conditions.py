"""What else has to hold of an event, whatever is watched."""

from typing import Annotated

from pydantic import Field

__all__ = ["Where"]

where_chars_max = 500

Where = Annotated[
    str,
    Field(
        min_length=1,
        max_length=where_chars_max,
        description=(
            "A condition over the fields of the payload, in a subset of CEL: `decoded.value > 1000000 && "
            "decoded.to == '0x…'`. Only events that meet it are told."
        ),
    ),
]
