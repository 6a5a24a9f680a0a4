"""Whose an address on the network is: what is counted together, what stays on this machine, what may be called."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: The name for whatever cannot be told apart by its address.
ELSEWHERE: Final = "elsewhere"

_LOCAL_NAMES: Final = frozenset({"localhost", "ip6-localhost"})
_HOUSEHOLD_BITS: Final = 64

#: IPv4 seen from a network that speaks IPv6 alone (RFC 6052, 2.1).
_TRANSLATED: Final = ipaddress.IPv6Network("64:ff9b::/96")

#: No longer in use, and on no public network where they are: local sites of IPv6, and ways into 6to4 (RFC 3879, 7526).
_FORMER: Final = (ipaddress.IPv6Network("fec0::/10"), ipaddress.IPv4Network("192.88.99.0/24"))


def owner_of(address: str) -> str:
    """Who an address belongs to: everybody on IPv6 has a whole /64 (RFC 6177)."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return ELSEWHERE
    if isinstance(known, ipaddress.IPv4Address):
        return str(known)
    return str(known.ipv4_mapped or ipaddress.IPv6Network((int(known), _HOUSEHOLD_BITS), strict=False))


def on_this_machine(host: str) -> bool:
    """Whether what is sent to a host stays on this machine (RFC 6761, 6.3)."""
    if host in _LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def may_be_called(address: str, listed: Iterable[Network], *, plainly: bool) -> bool:
    """Whether the service itself may connect to an address that somebody else chose.

    What is not on the public internet is called only where the operator has listed it, and so is what is
    called without TLS. An IPv4 address is the same one however IPv6 writes it.
    """
    try:
        known = _plain(ipaddress.ip_address(address.partition("%")[0]))
    except ValueError:
        return False
    if any(known in network for network in listed):
        return True
    if plainly or not known.is_global or any(known in network for network in _FORMER):
        return False
    return not (known.is_multicast or known.is_reserved or _is_tunnel(known))


def _plain(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for, where it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address


def _is_tunnel(address: Address) -> bool:
    """Whether what is sent there may come out at any IPv4 address (RFC 3056, RFC 4380)."""
    return isinstance(address, ipaddress.IPv6Address) and bool(address.sixtofour or address.teredo)
