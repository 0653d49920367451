"""Commands that ask a gateway over HTTP, as any client would."""

from typing import Annotated, TypeAlias

import typer

Url: TypeAlias = Annotated[str, typer.Option(envvar="GATEWAY_URL", help="Where the gateway is.")]
Token: TypeAlias = Annotated[
    str | None, typer.Option(envvar="GATEWAY_TOKEN", help="A bearer token.", show_default=False)
]
#: Where `sluice serve` listens, unless it is told otherwise.
HERE = "http://127.0.0.1:8080"
#: Seconds for a connection and for an answer that nobody has to wait for.
SECONDS = 5.0
