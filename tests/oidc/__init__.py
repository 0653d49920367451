"""A real auth server on loopback: oidc-provider, which is certified, as a process of its own."""

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import httpx

_TOOLS = Path(__file__).parents[2] / ".tools"
_SERVER = Path(__file__).parent / "node" / "server.mjs"

#: How the gateway is known to it.
GATEWAY = ("the gateway", "100% secret: of the gateway")
_ROBOT = ("robot", "secret of the robot")
#: What the tokens are of: JSON Web Tokens by what they are signed with, or names that only the server can read.
Form: TypeAlias = Literal["rs256", "es256", "opaque"]


@dataclass(frozen=True, slots=True)
class AuthServer:
    """The running server. Its tokens are for user ``robot`` in group ``staff`` of tenant ``acme``."""

    address: str

    def token(
        self, form: Form, *, audience: str = "sluice", seconds: int = 600, scopes: Sequence[str] = ("sluice:chat",)
    ) -> str:
        """A new access token, which is good for so long."""
        resource = f"https://{audience}.example/{form}/{seconds}"
        form_body = {"grant_type": "client_credentials", "resource": resource, "scope": " ".join(scopes)}
        issued: str = self._post("/token", form_body).json()["access_token"]
        return issued

    def revoke(self, token: str) -> None:
        self._post("/token/revocation", {"token": token})

    def rotate(self) -> None:
        """Sign with new keys; the old ones are published still."""
        self._post("/rotate", {})

    def retire(self) -> None:
        """Publish only the keys that are signed with."""
        self._post("/retire", {})

    def asked(self, path: str) -> int:
        """How often it was asked for ``path``."""
        counts: dict[str, Any] = httpx.get(f"{self.address}/asked", trust_env=False).json()
        return int(counts.get(path, 0))

    def _post(self, path: str, form: dict[str, str]) -> httpx.Response:
        answer = httpx.post(f"{self.address}{path}", data=form, auth=_ROBOT, trust_env=False, timeout=20)
        return answer.raise_for_status()


@contextmanager
def auth_server(folder: Path) -> Iterator[AuthServer]:
    """A server that is gone when the block ends. ``folder`` is for its program."""
    # Node looks for packages where the program lies.
    (folder / "node_modules").symlink_to(_TOOLS / "node-oidc" / "node_modules")
    program = shutil.copy(_SERVER, folder)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [_TOOLS / "node", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address, (folder / "log").read_text()
        yield AuthServer(address)
    finally:
        process.kill()
        process.communicate()


def claims_of(token: str) -> dict[str, Any]:
    """What a signed token says, unverified."""
    from adapters.auth.compact import decode

    claims: dict[str, Any] = json.loads(decode(token.split(".")[1]))
    return claims
