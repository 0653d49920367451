"""What a client may take of the server before anything is known of it: bytes, seconds, connections."""

from dataclasses import dataclass, field

from entrypoints.http.head import HeadBounds


@dataclass(frozen=True, slots=True)
class Bounds:
    """Caps and deadlines of connections. Deadlines are absolute: no byte that comes in, however late, puts them off.

    ``connections`` are served; ``spare`` more are let in for as long as it takes to ask how the service is.
    """

    head: HeadBounds = field(default_factory=HeadBounds)
    body_bytes: int = 32 * 1024 * 1024
    anonymous_body_bytes: int = 1024 * 1024
    #: From the first byte of a head, or from the connection's begin, to its end.
    head_seconds: float = 10.0
    #: From the end of the head to the end of the body.
    body_seconds: float = 60.0
    #: Between an answer and the next request.
    idle_seconds: float = 75.0
    #: That a client may take to make room for more of its answer.
    send_seconds: float = 60.0
    #: From the end of the head to the end of the answer.
    response_seconds: float = 1_260.0
    connections: int = 8_192
    spare: int = 64
