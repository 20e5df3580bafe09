"""Laws of the wall clock: what we take a zone to show is what it shows, in every zone and at any time."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from tests.cron_jobs import near_changes
from tocsin.recurrence.civil import plain_midnight, stretches
from tocsin.recurrence.zones import load_zone, zone_names

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
zones = st.sampled_from(sorted(zone_names())).map(load_zone)
moments = st.datetimes(datetime(1900, 1, 3), datetime(2150, 1, 1), timezones=st.just(UTC)) | near_changes


@given(zone=zones, moment=moments)
def test_the_stretches_of_a_date_show_what_the_zone_shows(zone: ZoneInfo, moment: datetime) -> None:
    instant = (moment - EPOCH) // timedelta(seconds=1)
    wall = moment.astimezone(zone)
    tod = wall.hour * 3600 + wall.minute * 60 + wall.second
    around = stretches(zone, wall.date())
    shown = [instant - one.midnight for one in around if one.start <= instant < one.midnight + one.last]
    assert shown == [tod]
    assert all(one.midnight + one.last == following.start for one, following in pairwise(around))


@given(zone=zones, moment=moments, share=st.floats(0, 1, exclude_max=True))
def test_a_plain_day_runs_evenly_from_its_midnight(zone: ZoneInfo, moment: datetime, share: float) -> None:
    day = moment.astimezone(zone).date()
    midnight = plain_midnight(zone, day)
    if midnight is not None:
        tod = int(share * 86_400)
        wall = (EPOCH + timedelta(seconds=midnight + tod)).astimezone(zone)
        assert wall.replace(tzinfo=None) == datetime.combine(day, datetime.min.time()) + timedelta(seconds=tod)
        assert len(stretches(zone, day)) == 1
