"""The names that a signed request may be addressed to."""

from app.settings import ApiSettings


def test_an_ipv6_address_is_named_in_brackets() -> None:
    api = ApiSettings(host="::1", port=8585)

    assert api.origin == "http://[::1]:8585"
    assert "[::1]:8585" in api.accepted_authorities


def test_the_public_url_is_a_name_and_so_is_this_machine() -> None:
    api = ApiSettings(public_url="https://Relay.example/")

    assert {"relay.example", "localhost:8585", "127.0.0.1:8585"} <= api.accepted_authorities


def test_names_that_were_listed_are_all_there_are() -> None:
    assert ApiSettings(authorities=("a.example",)).accepted_authorities == {"a.example"}
