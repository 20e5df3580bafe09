"""Why a recurrence was refused: which field, where in it, and what would be accepted."""

# The tree:
#
#   ValueError
#     InvalidRecurrence
#       BadShape          not a mapping, no kind, two kinds, an unknown or mistyped field
#       BadCron           the cron text does not read
#         NeverMatches    it reads, but no date can ever match it
#       BadZone           not a name in the IANA time zone database
#       BadInterval       "every" is not a usable duration
#       BadInstant        "at" or "anchor" is not an RFC 3339 time


class InvalidRecurrence(ValueError):
    """A recurrence that cannot be accepted.

    `pointer` is a JSON pointer into the spec, `position` the offset of the offending character in that field (None when
    the field as a whole is at fault), `detail` says what is wrong and `hint` what would be accepted.
    """

    def __init__(self, detail: str, *, pointer: str, hint: str, position: int | None = None) -> None:
        self.detail = detail
        self.pointer = pointer
        self.hint = hint
        self.position = position
        super().__init__(str(self))

    def __str__(self) -> str:
        where = "" if self.position is None else f" (character {self.position + 1})"
        return f"{self.detail}{where}: {self.hint}"


class BadShape(InvalidRecurrence):
    """The spec is not one of the accepted shapes."""


class BadCron(InvalidRecurrence):
    """The cron text does not read."""


class NeverMatches(BadCron):
    """The cron text reads, but no date can ever match it."""


class BadZone(InvalidRecurrence):
    """Not a name in the IANA time zone database."""


class BadInterval(InvalidRecurrence):
    """Not a usable interval."""


class BadInstant(InvalidRecurrence):
    """Not a usable RFC 3339 time."""
