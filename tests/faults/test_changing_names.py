"""Names that are somewhere else at the next look-up."""

from functools import partial
from pathlib import Path

import pytest

from tests.faults.ear import Ear, hearing
from tests.faults.misled import Names, become_misled
from tests.faults.reconciliation import Case
from tests.faults.relay import Relay

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("faults")]

# So few that no breaker opens.
messages = 4
ALLOWED, FORBIDDEN = "127.0.0.1", "127.0.0.2"


@pytest.mark.case("DNS that changes between look-ups")
async def test_nothing_is_sent_to_a_forbidden_address_and_what_was_meant_for_it_is_sent_later(
    relay: Relay, case: Case, ear: Ear, tmp_path: Path
) -> None:
    names = Names(tmp_path)
    names.become({"moves.test": [ALLOWED], "mixes.test": [ALLOWED]})
    relay.worker(partial(become_misled, names=tmp_path))
    async with relay.services() as services, hearing(Ear(host=FORBIDDEN, port=ear.port)) as forbidden:
        endpoint_ids = [
            await relay.endpoint(services, f"http://{host}:{ear.port}/hook") for host in ("moves.test", "mixes.test")
        ]
        for endpoint_id in endpoint_ids:
            case.accepted |= await relay.publish(services, endpoint_id, messages)
        await relay.until_settled()

        # The connections of a moment ago are open still, to where the names were then.
        names.become({"moves.test": [FORBIDDEN], "mixes.test": [ALLOWED, FORBIDDEN]})
        for endpoint_id in endpoint_ids:
            case.accepted |= await relay.publish(services, endpoint_id, messages)
        await relay.until_count("last_error = 'no_public_address'", 2 * messages)
        heard = len(ear.heard)
        names.become({"moves.test": [ALLOWED], "mixes.test": [ALLOWED]})
        await relay.until_settled()

    assert heard == 2 * messages, "only what was sent while the names were where they may be"
    assert not forbidden.heard
    assert not forbidden.challenges
    row = await case.reconcile(ear.heard)
    assert row["delivered"] == row["received"] == 4 * messages
    attempts = relay.ask("select count(*) from attempts")[0][0]
    assert len(names.looked_up()) == attempts + ear.challenges, "one look-up for each request"
