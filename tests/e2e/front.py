"""A real nginx before replicas, configured by the file that ships, with only its addresses changed."""

import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.gateway import CHECKOUT, GatewayProcess
from tests.ports import free_port

CONFIGURATION = CHECKOUT / "deploy/nginx/nginx.conf"


@contextmanager
def nginx(folder: Path, replicas: Sequence[int]) -> Iterator[GatewayProcess]:
    """nginx on a free port of the loopback, before the replicas on these ports."""
    port, log = free_port(), folder / "nginx.log"
    file = folder / "nginx.conf"
    file.write_text(placed(CONFIGURATION.read_text(), folder, port, replicas))
    with log.open("ab") as written:
        words = [program(), "-p", str(folder), "-c", str(file), "-e", "stderr", "-g", "daemon off;"]
        process = subprocess.Popen(words, stdout=written, stderr=written)
    front = GatewayProcess(process, port, log)
    try:
        front.wait_until_it_answers(time.monotonic() + 20)
        yield front
    finally:
        front.stop()


def placed(text: str, folder: Path, port: int, replicas: Sequence[int]) -> str:
    """The configuration with these addresses in the place of the shipped ones, and its files in ``folder``."""
    servers = iter(replicas)
    text = re.sub(r"server gateway-\d:8080", lambda _: f"server 127.0.0.1:{next(servers)}", text)
    assert next(servers, None) is None
    return text.replace("listen 8080", f"listen 127.0.0.1:{port}").replace("/tmp/nginx", str(folder / "nginx"))


def program() -> str:
    own = CHECKOUT / ".tools/nginx"
    found = str(own) if own.exists() else shutil.which("nginx")
    if found is None:
        raise FileNotFoundError("no nginx in .tools or on PATH; `make test-tools` fetches one")
    return found
