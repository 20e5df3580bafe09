"""`tocsin up` opens this machine's loopback to agents only where nobody else is served."""

import pytest

from app.cli import loopback_networks, private_networks
from app.settings import ApiSettings


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_a_relay_for_this_machine_may_call_this_machine(host: str) -> None:
    assert private_networks(host, ApiSettings()) == loopback_networks


@pytest.mark.parametrize(
    ("host", "api"),
    [
        ("0.0.0.0", ApiSettings()),
        ("::", ApiSettings()),
        ("192.168.1.7", ApiSettings()),
        ("relay.example", ApiSettings()),
        ("127.0.0.1", ApiSettings(public_url="https://relay.example")),  # behind a proxy
        ("127.0.0.1", ApiSettings(authorities=("relay.example",))),
    ],
)
def test_a_relay_that_serves_others_calls_nothing_private(host: str, api: ApiSettings) -> None:
    assert private_networks(host, api) == ""
