"""Who may read what the service counts: nobody, whoever reaches an address of its own, or callers from some networks.

The numbers name nobody, and yet say how much is asked for and refused, and when. So nobody
reads them who was not let in on purpose.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

from muniment.core.problems import Fault, Invalid

#: The word for nobody.
OFF: Final = "off"

_HIGHEST_PORT: Final = 65_535


@dataclass(frozen=True, slots=True)
class Watchers:
    """Those who may read: at ``address``, or from one of the ``networks`` at the service's own address."""

    address: tuple[str, int] | None = None
    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @property
    def any(self) -> bool:
        """Whether somebody may."""
        return self.address is not None or bool(self.networks)

    def may_ask_from(self, host: str) -> bool:
        """Whether a caller from there may read at the service's own address."""
        try:
            caller = ip_address(host)
        except ValueError:
            return False
        return any(caller in network for network in self.networks)


def parse_watchers(text: str) -> Watchers:
    """What a setting means: ``off``, ``127.0.0.1:9420``, or ``10.0.0.0/8, 192.168.1.7``."""
    if text == OFF:
        return Watchers()
    try:
        return Watchers(networks=tuple(ip_network(part.strip()) for part in text.split(",")))
    except ValueError:
        return Watchers(address=_address(text))


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    try:
        ip_address(host)
        well = colon and port.isascii() and port.isdigit() and 0 < int(port) <= _HIGHEST_PORT
    except ValueError:
        well = False
    if not well:
        message = "It is off, an address with a port such as 127.0.0.1:9420, or networks such as 10.0.0.0/8."
        raise Invalid(message, [Fault("metrics", message)])
    return host, int(port)
