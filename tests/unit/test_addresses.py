"""The rule that keeps our requests out of private networks, address by address."""

# ruff: noqa: RUF001  (look-alike digits are the point)

import re
from ipaddress import ip_network

import pytest

from app.kit.addresses import NOT_PUBLIC_V4, NOT_PUBLIC_V6, is_public, networks, within
from app.settings import OutboundSettings
from tests.hostile import BAD_ADDRESSES, PUBLIC_EDGES

REFUSED = """
0.0.0.0 10.254.0.0 100.64.0.1 100.100.100.200 127.0.0.1 127.255.255.255 168.63.129.16 169.254.169.254 172.16.10.65
192.0.2.255 192.88.99.1 192.168.10.65 198.18.0.0 198.51.100.7 203.0.113.9 224.0.0.1 239.255.255.255 240.0.0.1
255.255.255.255 169.254.170.2 192.0.0.8 192.0.0.170 192.31.196.1 192.52.193.1 192.175.48.1
:: ::1 ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:7f00:1 ::127.0.0.1 ::8.8.8.8 ::ffff:0:8.8.8.8
64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b::10.0.0.1 64:ff9b:1::1 64:ff9b:1::808:808
100::1 100:0:0:1::1 2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:2::1 2001:10::1 2001:20::1 2001:db8::1
2002:7f00:1::1 2002:808:808::1 2620:4f:8000::1 3fff::1 3fff:fff:ffff::1 5f00::1
fc00::1 fd00:ec2::254 fe80::1 fec0::1 ff02::1 ff0e::1 4000::1
2606:4700::5efe:10.0.0.1 2606:4700::200:5efe:127.0.0.1
"""

ALLOWED = """
1.1.1.1 8.8.8.8 100.63.255.254 100.128.0.0 9.255.255.255 11.0.0.0 126.255.255.255 128.0.0.0 169.253.255.255 169.255.0.0
172.15.255.255 172.32.0.0 192.0.1.0 192.0.3.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 223.255.255.255
2606:4700:4700::1111 2001:4860:4860::8888 2001:200::1 2001:db7:ffff::1 2003::1 3ffe::1 2620:4f:8001::1
::ffff:8.8.8.8 64:ff9b::808:808 2606:4700::5efe:8.8.8.8
"""

GARBAGE = [
    *("", " ", "localhost", "example.com", "2130706433", "017700000001", "0x7f000001", "0x7f.1", "127.1", "0", "1.1.1"),
    *("1.1.1.1.1", "1.1.1.1/32", " 1.1.1.1", "1.1.1.1\n", "01.1.1.1", "1.1.1.256", "①②⑦.0.0.1", "１.1.1.1", "[::1]"),
    *("fe80::1%eth0", "2606:4700::1%1", "::1::", "12345::", "::ffff:1.1.1.1.1", "\x00", "1.1.1.1\x00", "x" * 10_000),
]


@pytest.mark.parametrize("address", REFUSED.split())
def test_an_address_of_a_special_block_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ALLOWED.split())
def test_an_address_that_others_can_reach_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", GARBAGE)
def test_what_is_not_an_address_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", [None, 2130706433, 0, 1.5, b"1.1.1.1", [], {}, object()])
def test_what_is_not_even_text_is_not_public(address: object) -> None:
    assert not is_public(address)  # type: ignore[arg-type]  # garbage on purpose


@pytest.mark.parametrize("network", [*NOT_PUBLIC_V4, *NOT_PUBLIC_V6], ids=str)
def test_both_ends_of_every_refused_block_are_refused(network) -> None:
    assert not is_public(str(network[0]))
    assert not is_public(str(network[-1]))


def test_an_operator_list_of_networks_covers_mapped_addresses_too() -> None:
    allowed = networks(["127.0.0.0/8", " ::1 ", ""])

    assert allowed == (ip_network("127.0.0.0/8"), ip_network("::1/128"))
    assert within("127.0.0.1", allowed)
    assert within("::ffff:127.0.0.1", allowed)
    assert within("::1", allowed)
    assert not within("10.0.0.1", allowed)
    assert not within("localhost", allowed)


@pytest.mark.parametrize("entry", ["not-a-network", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/-1", "::/129", "10/8", "*"])
def test_an_entry_that_is_no_network_is_named(entry: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(entry))):
        networks(["127.0.0.0/8", entry])
    with pytest.raises(ValueError, match=re.escape(repr(entry))):
        OutboundSettings(allow=(entry,))


@pytest.mark.parametrize("address", BAD_ADDRESSES)
def test_an_address_of_a_registry_of_special_ones_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC_EDGES)
def test_an_address_at_the_edge_of_a_special_block_is_public(address: str) -> None:
    assert is_public(address)
