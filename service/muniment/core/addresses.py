"""Whose an address on the network is: what is counted together, and what stays on this machine."""

from __future__ import annotations

import ipaddress
from typing import Final

#: The name for whatever cannot be told apart by its address.
ELSEWHERE: Final = "elsewhere"

_LOCAL_NAMES: Final = frozenset({"localhost", "ip6-localhost"})
_HOUSEHOLD_BITS: Final = 64


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
