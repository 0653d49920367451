"""A user of a tenant who asks over HTTP, with everything in order unless a test says otherwise."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from tests.http.frames import Stream, read_stream
from tests.http.replica import Replica
from tests.http.surfaces import GROUP, Surface

JSON = {"Content-Type": "application/json"}
HELLO = [{"role": "user", "content": "Hello, who are you?"}]


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody with a good token. ``tenant`` is where they belong."""

    replica: Replica
    tenant: str
    user: str = "ann"
    group: str = "staff"

    @property
    def token(self) -> str:
        return self.replica.token(self.tenant, user=self.user, group=self.group)

    def headers(self, surface: Surface) -> dict[str, str]:
        named = {"X-Tenant-Id": self.tenant} if surface is GROUP else {}
        return {**named, "Authorization": f"Bearer {self.token}"}

    def body(self, surface: Surface, **fields: Any) -> dict[str, Any]:
        return {"messages": HELLO, **surface.needs, **fields}

    async def post(
        self, surface: Surface, *, headers: Mapping[str, str] | None = None, **fields: Any
    ) -> httpx.Response:
        """Ask for a completion with these fields beside what the surface needs; None leaves a header out."""
        return await self.send(surface, orjson.dumps(self.body(surface, **fields)), headers=headers)

    async def send(
        self, surface: Surface, content: bytes, *, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Post these bytes."""
        given = {**JSON, **self.headers(surface), **(headers or {})}
        return await self.replica.client.post(surface.path(self.tenant), content=content, headers=given)

    async def whole(self, surface: Surface, **fields: Any) -> httpx.Response:
        """The finished completion, on the group surface waited for."""
        return await self.post(surface, headers={"Prefer": "wait=10"} if surface is GROUP else None, **fields)

    async def stream(self, surface: Surface, **fields: Any) -> Stream:
        """The whole stream of a completion."""
        return read_stream(await self.post(surface, stream=True, **fields))

    async def get(
        self, surface: Surface, path: str, *, headers: Mapping[str, str] | None = None, **query: str
    ) -> httpx.Response:
        """Get what is at this path below the surface's root, e.g. ``/v1/models``."""
        return await self.replica.client.get(
            surface.root(self.tenant) + path, params=query, headers={**self.headers(surface), **(headers or {})}
        )

    async def fetch(
        self, surface: Surface, run_id: str, *, headers: Mapping[str, str] | None = None, **query: str
    ) -> httpx.Response:
        return await self.get(surface, f"/v1/chat/completions/{run_id}", headers=headers, **query)

    async def cancel(
        self, surface: Surface, run_id: str, *, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        path = f"{surface.path(self.tenant)}/{run_id}/cancel"
        return await self.replica.client.post(path, headers={**self.headers(surface), **(headers or {})})
