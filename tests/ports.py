"""Ports for the servers that tests start, and start again at the same address."""

import random
import socket
from errno import EADDRINUSE

#: Below those that Linux gives to outgoing connections: one of them could take the port of a server that is down for a
#: moment, or find itself connected to itself. https://docs.kernel.org/networking/ip-sysctl.html (ip_local_port_range)
_PORTS = range(12_000, 32_000)
#: Not a generator that can be seeded: processes that run tests at the same time must not draw the same ports.
_dice = random.SystemRandom()


def free_port() -> int:
    """A port of the loopback that nobody has at this moment, nor is likely to take in the next."""
    while not _is_free(port := _dice.choice(_PORTS)):
        pass
    return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno != EADDRINUSE:
                raise
            return False
    return True
