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

#: Seconds in which a page has to come to rest, on a machine that has other things to do.
_PATIENCE = 60.0


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


def seen(address: str, folder: Path) -> tuple[str, list[str]]:
    """The document of this page once it has come to rest, and what its console was told."""
    own = folder / "profile"
    # Time passes at once for the page while it waits for nothing but its own timers.
    command = [_program(), "--headless=new", *_CONTAINED, *_APART, f"--user-data-dir={own}", "--enable-logging=stderr"]
    command += ["--virtual-time-budget=20000", "--dump-dom", address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def _program() -> str:
    found = shutil.which("chromium", path=f"{_TOOLS}:{os.environ['PATH']}")
    assert found is not None, "no Chromium; `make test-tools` fetches one"
    return found
