"""What may be called: URLs whose every address is public or listed by the operator, and is none of our own doors."""

from __future__ import annotations

import socket
from collections import defaultdict
from collections.abc import Iterable, Sequence

from app.kit.addresses import Address, Network, is_loopback, is_public, plain, within
from app.kit.outbound.answers import Fault
from app.kit.outbound.connection import Place
from app.kit.urls import Url

__all__ = ["Guard"]

NOT_PUBLIC = "is not a public address; an operator can allow networks by TOCSIN_OUTBOUND_ALLOW"
OUR_OWN = "is where this relay itself listens, and it does not call itself"
EVERYWHERE = frozenset({"", "*", "0.0.0.0", "::"})


class Guard:
    """The judge of addresses. `own` are the hosts and ports that this relay's own processes listen on, by name or
    address: they are refused even where a listed network covers them."""

    def __init__(self, allow: Iterable[Network], own: Iterable[tuple[str, int]]) -> None:
        self._allow = tuple(allow)
        self._own: defaultdict[int, set[str]] = defaultdict(set)
        for host, port in own:
            self._own[port].add(host.strip("[]").lower())

    def judged(self, url: Url, addresses: Sequence[str], own_addresses: Iterable[str]) -> tuple[Place, ...] | Fault:
        """What to dial for `url`, whose host is at these addresses; or why not. All of them have to pass.

        `own_addresses` are those of `own_names`, which had to be looked up.
        """
        if not addresses or not all(is_public(address) or self._is_listed(address) for address in addresses):
            return _not_called(url, f"{url.host} is at {', '.join(addresses) or 'no address'}", NOT_PUBLIC)
        if self._is_own(url, addresses, own_addresses):
            return _not_called(url, f"{url.authority} is a door of our own", OUR_OWN)
        if url.scheme == "http" and not all(self._is_listed(address) for address in addresses):
            return Fault("https_required")
        name = None if url.scheme == "http" else url.host
        return tuple(Place(address, url.port, name) for address in addresses)

    def own_names(self, url: Url) -> Sequence[str]:
        """Names of ours at this port. Their addresses have to be known to judge `url`."""
        return [host for host in self._own.get(url.port, ()) if host not in EVERYWHERE and not _is_address(host)]

    def _is_listed(self, address: str) -> bool:
        return within(address, self._allow)

    def _is_own(self, url: Url, addresses: Iterable[str], own_addresses: Iterable[str]) -> bool:
        hosts = self._own.get(url.port)
        if hosts is None:
            return False
        known = {plain(address) for address in (*hosts, *own_addresses)} - {None}
        listens_everywhere = bool(hosts & EVERYWHERE)
        on_loopback = listens_everywhere or any(is_loopback(address) for address in known if address is not None)
        targets = [target for address in addresses if (target := plain(address)) is not None]
        return url.host in hosts or any(
            target in known
            or (on_loopback and is_loopback(target))
            or (listens_everywhere and _is_this_machine(target))
            for target in targets
        )


def _not_called(url: Url, detail: str, why: str) -> Fault:
    # Who wrote the address knows it. Where a name leads, and whether to us, is for its owner to find out elsewhere.
    told = f"{url.host} {why}" if _is_address(url.host) or url.host == "localhost" else ""
    return Fault("no_public_address", detail, told=told)


def _is_address(host: str) -> bool:
    return plain(host) is not None


def _is_this_machine(address: Address) -> bool:
    """Whether one of our interfaces has this address: the only ones that can be bound."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        try:
            asking.bind((str(address), 0))
        except OSError:
            return False
    return True
