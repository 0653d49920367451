"""The Dockerfile's steps make a service that runs as nobody in particular, on a file system that it cannot write."""

import os
import re
import subprocess

import pytest

from tests.gateway import CHECKOUT

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_the_image_serves_as_its_user_from_files_that_nobody_can_write() -> None:
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("SLUICE_", "OPENAI_"))}

    rehearsed = subprocess.run(
        [CHECKOUT / "scripts/rehearse-dockerfile"],
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    said = rehearsed.stdout
    assert rehearsed.returncode == 0, said + rehearsed.stderr
    assert re.search(r"^answered .*Hello", said, re.MULTILINE), said
    assert "stopped by SIGTERM" in said
    # It takes root to be somebody else, and the right to mount, which root does not have in most containers.
    if os.getuid() == 0:
        assert "as user 10001" in said
    if may_mount():
        assert "\nread-only\n" in said


def may_mount() -> bool:
    return subprocess.run(["unshare", "--mount", "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0
