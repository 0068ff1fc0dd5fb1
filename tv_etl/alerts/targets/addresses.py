"""Which addresses a target may have: none of a link or of a cloud's metadata; public ones, unless others are allowed.

Pure, and nothing but the standard library: a process of its own that guards its connections imports it.
"""

import ipaddress

OF_THE_LINK = "refused: the address is one of the link, or of a cloud's metadata"
NOT_PUBLIC = "refused: the address is not public (allow_private permits it)"

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# Of local use, though some versions of Python count them as global.
_LOCAL = [ipaddress.ip_network(each) for each in ("fec0::/10", "64:ff9b:1::/48", "192.0.0.0/24", "192.88.99.0/24")]
# Where clouds answer a machine with its own credentials, beside the addresses of the link.
_METADATA = [ipaddress.ip_address(each) for each in ("fd00:ec2::254", "100.100.100.200", "192.0.0.192")]


def refusal(addresses: list[str], allow_private: bool) -> str:
    """Why these addresses of one host are not called; empty if they may be."""
    if any(is_of_the_link(address) for address in addresses):
        return OF_THE_LINK
    return "" if allow_private or all(is_public(address) for address in addresses) else NOT_PUBLIC


def is_public(text: str) -> bool:
    address = _address(text)
    if any(address in network for network in _LOCAL):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def is_literal(host: str) -> bool:
    try:
        _address(host)
    except ValueError:
        return False
    return True


def is_of_the_link(text: str) -> bool:
    address = _address(text)
    return address.is_link_local or any(address == each for each in _METADATA)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address, or the one of version 4 that is embedded in it."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        embedded = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            embedded = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if embedded is not None:
            return embedded
    return address
