"""Which addresses are public: the rule that keeps our requests out of private networks.

The tables are our own, read from the IANA special-purpose registries (RFC 6890 and its updates) and the multicast and
reserved blocks. The flags of `ipaddress` are not used: they answer differently from one patch release to the next, and
call multicast, 6to4 and NAT64 "global".

IPv6 is judged the other way round: only 2000::/3 has been given out as global unicast, so everything outside of it is
refused but for the two forms below, and inside of it the special blocks are refused.

Forms that carry an IPv4 address are unwrapped, and that address is judged:

* IPv4-mapped (::ffff:0:0/96): the operating system dials the IPv4 address.
* NAT64 with the well-known prefix (64:ff9b::/96): allowed when the IPv4 address inside is public. On an IPv6-only
  network with DNS64 every IPv4 receiver looks like this, and the translator reaches nothing that plain IPv4 would not.
  The local-use prefix (64:ff9b:1::/48) is somebody's private network, and refused.
* ISATAP (an interface identifier of 0:5efe or 200:5efe and the address): refused when the address inside is not
  public.

6to4 (2002::/16) and Teredo (2001::/32) carry IPv4 addresses too. They are refused whole: nobody receives webhooks
there.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

__all__ = ["Address", "Network", "is_loopback", "is_public", "networks", "plain", "within"]

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

NOT_PUBLIC_V4 = tuple(
    IPv4Network(cidr)
    for cidr in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by carriers, and home of some metadata services
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # every machine on Azure reaches its host here; in no registry, as it is Microsoft's own
        "169.254.0.0/16",  # link-local, and home of most metadata services
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112, a sink for queries about private names
        "192.52.193.0/24",  # automatic multicast tunnelling
        "192.88.99.0/24",  # 6to4 relays, withdrawn
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and limited broadcast
    )
)

GLOBAL_UNICAST_V6 = IPv6Network("2000::/3")

NOT_PUBLIC_V6 = tuple(
    IPv6Network(cidr)
    for cidr in (
        "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID and more
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)

THIS_MACHINE = tuple(ip_network(cidr) for cidr in ("0.0.0.0/32", "127.0.0.0/8", "::/127"))
MAPPED = IPv6Network("::ffff:0:0/96")
NAT64 = IPv6Network("64:ff9b::/96")
ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE})


def is_public(address: str) -> bool:
    """Whether `address` is a public unicast address. What cannot be read as one address is not public."""
    return _is_public(str(address))  # garbage of any type becomes text that is no address


def networks(cidrs: Iterable[str]) -> tuple[Network, ...]:
    """Parse an operator's list of networks. Raises ValueError, naming the entry, when one is not a network."""
    return tuple(_network(cidr.strip()) for cidr in cidrs if cidr.strip())


def _network(cidr: str) -> Network:
    try:
        return ip_network(cidr)
    except ValueError as error:
        raise ValueError(f"{cidr!r} is not a network as 10.0.0.0/8 is one: {error}") from None


def within(address: str, allowed: Iterable[Network]) -> bool:
    """Whether `address` lies in one of these networks. IPv4-mapped addresses are judged as the IPv4 they mean."""
    parsed = plain(address)
    # Membership across IP versions is False, not an error.
    return parsed is not None and any(parsed in network for network in allowed)


def plain(address: str) -> Address | None:
    """The address that is dialled for this text: IPv4 where it is mapped into IPv6. None where it is no address."""
    parsed = _parse(address)
    return _last_32_bits(parsed) if isinstance(parsed, IPv6Address) and parsed in MAPPED else parsed


def is_loopback(address: Address) -> bool:
    """Whether this never leaves the machine. The unspecified address does not either, when it is dialled."""
    return any(address in network for network in THIS_MACHINE)


@lru_cache(maxsize=4096)
def _is_public(address: str) -> bool:
    parsed = _parse(address)
    if parsed is None:
        return False
    if isinstance(parsed, IPv4Address):
        return _is_public_v4(parsed)
    return _is_public_v6(parsed)


def _parse(address: str) -> Address | None:
    # A zone ("fe80::1%eth0") chooses an interface of ours, which is nobody else's business.
    if "%" in address:
        return None
    try:
        return ip_address(address)
    except ValueError:
        return None


def _is_public_v4(address: IPv4Address) -> bool:
    return not any(address in network for network in NOT_PUBLIC_V4)


def _is_public_v6(address: IPv6Address) -> bool:
    if address in MAPPED or address in NAT64:
        return _is_public_v4(_last_32_bits(address))
    if address not in GLOBAL_UNICAST_V6 or any(address in network for network in NOT_PUBLIC_V6):
        return False
    if (int(address) >> 32) & 0xFFFF_FFFF in ISATAP:
        return _is_public_v4(_last_32_bits(address))
    return True


def _last_32_bits(address: IPv6Address) -> IPv4Address:
    return IPv4Address(int(address) & 0xFFFF_FFFF)
