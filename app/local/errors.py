"""What goes wrong on one's own machine, in words for the person who sits in front of it."""


class LocalError(Exception):
    """Something that a person has to change. The message is one line that says what."""
