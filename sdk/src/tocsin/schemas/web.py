"""What can be watched on the web: a JSON document, a feed of items, and an inbox that others post to."""

import re
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from tocsin.schemas.conditions import Where
from tocsin.schemas.wire import Wire

__all__ = [
    "SECRET_SHOWN_AS",
    "Appeared",
    "Changed",
    "HttpFeed",
    "HttpJson",
    "Inbox",
    "Rule",
    "Scheme",
    "Threshold",
    "Verification",
]

interval_min = timedelta(seconds=5)
interval_max = timedelta(days=1)

_DECIMAL = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?")


def _is_pointer(value: str) -> str:
    if not re.fullmatch(r"(/([^~/]|~[01])*)*", value):
        raise ValueError("a JSON pointer (RFC 6901) is empty, or begins with a slash and escapes ~ as ~0 and / as ~1")
    return value


def _plain(value: str | int | float) -> str:
    """The number as its digits, without exponent and without zeros that say nothing: one spelling for one number."""
    text = value if isinstance(value, str) else format(Decimal(repr(value)), "f")
    if not _DECIMAL.fullmatch(text):
        raise ValueError('a number is digits, such as 3000 or "0.0125", with at most 40 on each side of the point')
    number = format(Decimal(text), "f")
    plain = number.rstrip("0").rstrip(".") if "." in number else number
    return "0" if plain in {"", "-0", "-"} else plain


Number = Annotated[str | int | float, AfterValidator(_plain)]
"""A number, which is compared digit by digit; write it as text where it has more than 15 digits."""

JmesPath = Annotated[str, Field(min_length=1, max_length=500)]
Url = Annotated[str, Field(min_length=1, max_length=2048)]


class Changed(Wire):
    """Told when the value is another than when it was last looked at."""

    kind: Literal["changed"] = "changed"


class Threshold(Wire):
    """Told when a number comes to be above `above`, and when it comes to be below `below`.

    Between the two, and on either of them, it is where it was. One that is left out is the same as the other.
    """

    kind: Literal["threshold"]
    above: Number | None = Field(default=None, description="Told once the number is greater than this.")
    below: Number | None = Field(default=None, description="Told once the number is less than this.")

    @model_validator(mode="after")
    def _has_a_bound(self) -> "Threshold":
        if self.above is None and self.below is None:
            raise ValueError("name `above`, `below` or both")
        if self.above is not None and self.below is not None and Decimal(self.below) > Decimal(self.above):
            raise ValueError("`below` is greater than `above`: a number between the two would be both")
        return self


class Appeared(Wire):
    """Told of each item of a list that was not there before."""

    kind: Literal["appeared"]
    key: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        default=None,
        description="JMESPath expression for what makes an item the same, such as `id`; absent: the whole item.",
    )


Rule = Annotated[Changed | Threshold | Appeared, Field(discriminator="kind")]
"""What of a value is told."""


class HttpJson(Wire):
    """A value in a JSON document: told when it changes, crosses a number, or gains an item."""

    kind: Literal["http.json"]
    url: Url = Field(description="https URL that answers GET with JSON.")
    interval: timedelta = Field(
        default=timedelta(minutes=1), ge=interval_min, le=interval_max, description="How often to look: PT5S to P1D."
    )
    pointer: Annotated[str, Field(max_length=500), AfterValidator(_is_pointer)] = Field(
        default="", description="JSON pointer (RFC 6901) to the value; empty for the whole document."
    )
    jmespath: JmesPath | None = Field(
        default=None, description="JMESPath expression for the value, in place of a pointer."
    )
    rule: Rule = Field(default=Changed(), description="What of it is told; absent: every change.")
    where: Where | None = None

    @model_validator(mode="after")
    def _selects_once(self) -> "HttpJson":
        if self.pointer and self.jmespath is not None:
            raise ValueError("select by `pointer` or by `jmespath`, not by both")
        return self


class HttpFeed(Wire):
    """New items of an RSS, Atom or JSON feed."""

    kind: Literal["http.feed"]
    url: Url = Field(description="https URL of the feed.")
    interval: timedelta = Field(
        default=timedelta(minutes=15), ge=interval_min, le=interval_max, description="How often to look: PT5S to P1D."
    )
    updates: bool = Field(default=False, description="Whether to tell also of items that are rewritten.")
    where: Where | None = None


SECRET_SHOWN_AS = "***"
"""What stands for an inbox's secret where it is shown."""

Scheme = Literal["standard-webhooks", "stripe", "github", "hmac-sha256", "none"]


class Verification(Wire):
    """How what is posted to an inbox is told from what anybody could post."""

    scheme: Scheme
    secret: Annotated[str, Field(min_length=1, max_length=500)] | None = Field(
        default=None, description="What the sender signs with. Needed unless the scheme is none; not shown again."
    )
    header: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,63}$")] | None = Field(
        default=None, description="For hmac-sha256: the header that holds the signature; X-Signature if absent."
    )
    encoding: Literal["hex", "base64"] | None = Field(
        default=None, description="For hmac-sha256: how the signature is written; hex if absent."
    )
    prefix: Annotated[str, Field(pattern=r"^[!-~]{1,20}$")] | None = Field(
        default=None, description="For hmac-sha256: what stands before the signature, such as sha256=."
    )

    @model_validator(mode="after")
    def _says_what_the_scheme_leaves_open(self) -> "Verification":
        said = (self.header, self.encoding, self.prefix)
        if self.scheme != "hmac-sha256" and said != (None, None, None):
            raise ValueError("`header`, `encoding` and `prefix` are for the scheme hmac-sha256")
        return self


class Inbox(Wire):
    """A URL of your own that takes webhooks of other services, verifies them, and tells you of each."""

    kind: Literal["inbox"]
    verify: Verification
    url: str | None = Field(
        default=None, description="Where others post to. The relay makes it: leave it out. Whoever knows it can post."
    )
    where: Where | None = None
