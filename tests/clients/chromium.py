"""A browser without a window, for pages that tell the test what they have seen."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TOOLS = Path(__file__).parents[2] / ".tools"
#: It would otherwise ask its maker for updates, and has nothing to look for but the test's own servers.
_APART = (
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
    "--no-default-browser-check", "--no-proxy-server", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip
#: Root cannot have Chromium's sandbox, and a container's /dev/shm is small. The pages are our own.
_CONTAINED = ("--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu")


@contextmanager
def browsing(address: str, folder: Path) -> Iterator[None]:
    """Chromium on this page, with everything that it keeps in ``folder``, until the end of the block."""
    own = folder / "profile"
    command = [_program(), "--headless=new", *_CONTAINED, *_APART, f"--user-data-dir={own}", address]
    with (folder / "chromium.log").open("ab") as log:
        # A session of its own: Chromium is many processes, and all of them have to go.
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _program() -> str:
    found = shutil.which("chromium", path=f"{_TOOLS}:{os.environ['PATH']}")
    assert found is not None, "no Chromium; `make test-tools` fetches one"
    return found
