"""Where a provider may be that a tenant brought: on the public internet, at a port that serves HTTP.

An address is refused by a list of our own. ``ipaddress`` alone takes the metadata services of Oracle (192.0.0.192) and
Azure (168.63.129.16), and what leads to IPv4 from IPv6, for public ones in some or all of its versions.
"""

import re
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network
from urllib.parse import urlsplit

#: https://www.iana.org/assignments/iana-ipv4-special-registry, multicast, and Azure's metadata.
_FORBIDDEN_4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
            "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16",
            "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
            "168.63.129.16/32",
        ),
    )
)  # fmt: skip
#: All that is given out is in here; https://www.iana.org/assignments/ipv6-address-space
_GIVEN_OUT_6 = IPv6Network("2000::/3")
#: https://www.iana.org/assignments/iana-ipv6-special-registry: protocols, documentation, 6to4, which holds an IPv4 one.
_FORBIDDEN_6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")))

_PRINTABLE = re.compile(r"[\x21-\x5b\x5d-\x7e]{1,2048}")
_LABEL = r"(?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"(?=.{{1,253}}$)(?:[a-z0-9]{_LABEL}\.)+[a-z]{_LABEL}", re.IGNORECASE)
#: Names that lead into somebody's own network.
_INWARD = ("localhost", "local", "internal", "intranet", "lan", "home", "corp", "private", "arpa")


def is_public(address: str) -> bool:
    """Whether an IP address, in its usual form, is one that anybody's provider may have."""
    try:
        if ":" not in address:
            four = IPv4Address(address)
            return not any(four in network for network in _FORBIDDEN_4)
        six = IPv6Address(address)
    except AddressValueError:
        return False
    return six.scope_id is None and six in _GIVEN_OUT_6 and not any(six in network for network in _FORBIDDEN_6)


def flaw_of_base_url(url: str) -> str | None:
    """What is wrong with a tenant's base URL; None where nothing can be seen to be. Looks nothing up."""
    if not _PRINTABLE.fullmatch(url):
        return "must be printable ASCII, without spaces and backslashes"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "must be a URL"
    if parts.scheme not in ("http", "https"):
        return "must begin with https:// or http://"
    if "@" in parts.netloc or "?" in url or "#" in url:
        return "must have neither a user, nor a query, nor a fragment"
    if not (port in (None, 80, 443) or 8000 <= port < 9000):
        return "must have port 80, 443 or one from 8000 to 8999"
    return None if _may_be_asked(host) else "must have a public host"


def _may_be_asked(host: str) -> bool:
    # A name whose last label is a number is an address to whoever looks it up: 127.1, 0x7f000001, 2130706433.
    if not _NAME.fullmatch(host):
        return is_public(host)
    return host.rpartition(".")[2].lower() not in _INWARD
