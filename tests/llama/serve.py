"""llama.cpp's own HTTP server, from the xllamacpp wheel, on loopback."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import xllamacpp

CONTEXT_PER_SLOT = 4096
MAX_TOKENS = 256


@dataclass(frozen=True, slots=True)
class Server:
    """A running server; it listens for as long as this object lives."""

    native: xllamacpp.Server

    @property
    def port(self) -> int:
        address: str = self.native.listening_address
        port = urlsplit(address).port
        assert port is not None
        return port


def listen(model: Path, port: int, *, alias: str, slots: int) -> Server:
    """Load ``model`` and listen; ``slots`` requests run at once, others wait. Returns once it answers."""
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(model)
    parameters.model_alias = {alias}
    parameters.hostnames = ["127.0.0.1"]  # a list: there is no ``hostname``
    parameters.port = port
    parameters.n_parallel = slots
    parameters.n_ctx = CONTEXT_PER_SLOT * slots
    parameters.n_predict = MAX_TOKENS
    parameters.cpuparams.n_threads = 1
    parameters.use_jinja = True
    parameters.endpoint_metrics = True
    parameters.warmup = False
    return Server(xllamacpp.Server(parameters))
