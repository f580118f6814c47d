"""Whose request it is, where proxies stand in between.

Anybody can send `X-Forwarded-For`. So it counts only if the peer that sent it is trusted, and of its hops only those that
trusted peers wrote: from the right up to the first address that is not a trusted proxy.
"""

from __future__ import annotations

import ipaddress
from typing import Iterable, Iterator, List, Optional, Union

Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]
Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]

#: The most hops that are looked at.
MAX_HOPS = 32


class Proxies:
    """The proxies whose word about a client counts: addresses, ranges, and `unix` for peers on a socket in the file system."""

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        """Raises `ValueError` for what is neither an address nor a range nor `unix`."""
        entries = list(trusted)
        self._trusts_sockets = "unix" in entries
        self._networks = [_network(entry) for entry in entries if entry != "unix"]

    def trusts(self, peer: str) -> bool:
        """Whether the word of a peer counts; `unix` is one on a socket in the file system."""
        if peer == "unix":
            return self._trusts_sockets
        address = parse(peer)
        return address is not None and self._has(address)

    def client(self, peer: str, forwarded_for: Iterable[str]) -> Optional[str]:
        """The client's address, IPv4 never in its mapped form.

        `peer` is the address at the other end of the connection, or `unix`; `forwarded_for` has the lines of
        `X-Forwarded-For` in their order. None where nobody can say whose request it is.
        """
        itself = parse(peer)
        last = itself
        if self.trusts(peer):
            for count, text in enumerate(_from_the_right(forwarded_for)):
                hop = parse_hop(text)
                # What stands left of one that cannot be read is worth nothing.
                if hop is None or count == MAX_HOPS:
                    break
                last = hop
                if not self._has(hop):
                    break
        return None if last is None else str(last)

    def _has(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self._networks)


def parse(text: str) -> Optional[Address]:
    """An address, without its zone, IPv4 never in its mapped form."""
    bare, percent, zone = text.partition("%")
    if percent and not zone or not bare.isascii():
        return None
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return None if percent else address
    return address.ipv4_mapped or address


def parse_hop(text: str) -> Optional[Address]:
    """An address that may have a port: `192.0.2.1:443`, `[2001:db8::1]:443`."""
    text = text.strip(" \t")
    if text.startswith("["):
        bare, bracket, rest = text[1:].partition("]")
        address = parse(bare) if bracket and ":" in bare else None
        return address if not rest or _is_port(rest) else None
    bare, colon, _ = text.partition(":")
    if colon and text.count(":") == 1:
        return parse(bare) if _is_port(text[len(bare) :]) else None
    return parse(text)


def _is_port(text: str) -> bool:
    digits = text[1:]
    return text[:1] == ":" and digits.isascii() and digits.isdigit() and len(digits) <= 5 and int(digits) <= 65_535


def _network(entry: str) -> Network:
    address, slash, bits = entry.partition("/")
    try:
        # `strip` so that white space is no part of a range, which the module would forgive.
        if slash and not (bits.isascii() and bits.isdigit()) or entry != entry.strip():
            raise ValueError
        network = ipaddress.ip_network(entry, strict=False)
        mapped = network.network_address.ipv4_mapped if network.version == 6 else None
        if ipaddress.ip_address(address).version == 6 and ipaddress.IPv6Address(address).ipv4_mapped is not None:
            if mapped is None or network.prefixlen < 96:
                raise ValueError
            return ipaddress.ip_network((mapped, network.prefixlen - 96))
        return network
    except ValueError:
        raise ValueError(
            f"trusted proxies: {entry!r} is neither an address nor a range such as 10.0.0.0/8, nor `unix`"
        ) from None


def _from_the_right(lines: Iterable[str]) -> Iterator[str]:
    for line in reversed(list(lines)):
        parts: List[str] = line.split(",")
        yield from reversed(parts)
