"""How many places one endpoint may use, when all share those of a worker: the rule.

A dynamic threshold (Choudhury and Hahne): an endpoint may fly as many as a multiple of the places that are free. So
nobody has places of its own that lie idle, and nobody can take the last: the more are taken, the less each may add.
The multiple falls with the time that an endpoint keeps a place. One that answers in milliseconds may use nearly all,
as it gives them back at once; one that takes five seconds, or never answers, gets by with a few.
"""

from math import inf

__all__ = ["ahead", "may_fly", "may_wait", "share"]

# An endpoint that nothing is known of: until the first of these lands.
unknown_places = 8
# Places times seconds: what is slower than a tenth of a second is given less than the quickest.
place_seconds = 0.8
multiple_max = 8.0
# What takes longer is slow, and a part of the places is never for the slow, however many of them there are.
slow_seconds = 1.0
kept_from_slow = 0.25

# What waits for a place waits a second or so: were it left in the database, another process might have one.
ahead_seconds = 1.0
ahead_max = 2048


def multiple(pace: float) -> float:
    """Of the free places, how many times their number an endpoint may use that keeps each for `pace` seconds."""
    return min(multiple_max, place_seconds / max(pace, 0.001))


def may_fly(flying: int, free: int, places: int, pace: float | None) -> bool:
    """Whether an endpoint with so many in flight may send one more, while so many of all places are free."""
    if free <= 0:
        return False
    if pace is None:
        return flying < unknown_places
    if pace > slow_seconds:
        free -= int(places * kept_from_slow)
        if free <= 0:
            return False
    return flying < max(1.0, multiple(pace) * free)


def share(places: int, pace: float | None) -> int:
    """How many of all places an endpoint may use that is alone."""
    if pace is None:
        return min(places, unknown_places)
    rest = places - int(places * kept_from_slow) if pace > slow_seconds else places
    return max(1, int(rest * multiple(pace) / (1 + multiple(pace))))


def ahead(places: int, flight_seconds: float) -> int:
    """How many may wait for one of these places: those that will have it soon, when a flight takes that long."""
    return min(max(places, int(places * ahead_seconds / max(flight_seconds, 0.001))), ahead_max)


def may_wait(places: int, pace: float | None) -> float:
    """How many of one endpoint may wait in a worker: those that will have a place soon. No bound where its pace is not
    known yet: what turns out to be too many is put back."""
    if pace is None:
        return inf
    own = share(places, pace)
    return min(max(1, int(own * ahead_seconds / max(pace, 0.001))), ahead_max)
