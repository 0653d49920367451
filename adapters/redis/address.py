"""Redis URLs: where the server is, and what kind of one."""

import re
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import unquote


class Kind(Enum):
    SERVER = ""
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


#: What may follow the hosts of each kind.
_PATHS = {
    Kind.SERVER: re.compile(r"/?|/(?P<db>[0-9]{1,4})"),
    Kind.SENTINEL: re.compile(r"/(?P<service>[A-Za-z0-9._-]+)(?:/(?P<db>[0-9]{1,4}))?/?"),
    Kind.CLUSTER: re.compile(r"/?"),
}
_ENDINGS = {
    Kind.SERVER: "after the host comes /db at most",
    Kind.SENTINEL: "after the hosts comes /service or /service/db",
    Kind.CLUSTER: "after the hosts comes nothing",
}
_PORTS = {Kind.SERVER: 6379, Kind.SENTINEL: 26379, Kind.CLUSTER: 6379}
_SCHEME = re.compile(r"redis(?P<tls>s?)(?:\+(?P<kind>sentinel|cluster))?")
_NODE = re.compile(r"(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>[0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed URL. ``nodes`` are the servers to ask first; ``service`` is the name that Sentinel knows ours by."""

    kind: Kind
    nodes: tuple[tuple[str, int], ...]
    tls: bool = False
    db: int = 0
    service: str = ""
    username: str | None = None
    password: str | None = field(default=None, repr=False)


def parse_url(url: str) -> Address:
    """The address that a URL names.

    ``redis://[user:password@]host[:port][/db]``; ``redis+sentinel://`` with several hosts, comma-separated, and
    ``/service[/db]``; ``redis+cluster://`` with several hosts. ``rediss`` in place of ``redis`` is TLS. User and
    password are the servers'; sentinels are asked without.

    Raises:
        ValueError: it is none of these. The message does not repeat the URL, which may hold a password.
    """
    scheme, _, rest = url.partition("://")
    credentials, _, place = rest.rpartition("@")
    hosts, slash, path = place.partition("/")
    match = _SCHEME.fullmatch(scheme)
    if match is None:
        raise ValueError("a Redis URL begins with redis://, rediss://, redis+sentinel:// or redis+cluster://")
    kind = Kind(match["kind"] or "")
    tail = _PATHS[kind].fullmatch(slash + path)
    if tail is None:
        raise ValueError(f"a {scheme}:// URL must not end like this one: {_ENDINGS[kind]}")
    nodes = tuple(_node(node, _PORTS[kind]) for node in hosts.split(","))
    if kind is Kind.SERVER and len(nodes) > 1:
        raise ValueError(f"a {scheme}:// URL names one host")
    found = tail.groupdict()
    username, password = _credentials(credentials)
    return Address(
        kind, nodes, bool(match["tls"]), int(found.get("db") or 0), found.get("service") or "", username, password
    )


def _node(text: str, default_port: int) -> tuple[str, int]:
    match = _NODE.fullmatch(text)
    if match is None or not 0 < int(match["port"] or default_port) < 65_536:
        raise ValueError("a Redis URL names hosts as host or host:port, IPv6 addresses in brackets")
    return match["address"] or match["name"], int(match["port"] or default_port)


def _credentials(text: str) -> tuple[str | None, str | None]:
    """User and password of ``user:password`` or ``:password``, percent-encoded."""
    username, colon, password = text.partition(":")
    if text and not (colon and password):
        raise ValueError("a Redis URL gives user and password as user:password@, or a password as :password@")
    return unquote(username) or None, unquote(password) or None
