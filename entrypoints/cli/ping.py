"""``sluice ping``: whether a gateway is there, and ready."""

import time

import typer

from entrypoints.cli.arguments import AsJson
from entrypoints.cli.calling import HERE, SECONDS, Url
from entrypoints.cli.exits import Exit
from entrypoints.cli.telling import complain, say, say_json


def ping(url: Url = HERE, as_json: AsJson = False) -> None:
    """Ask a gateway whether it is ready; ends with 1 where it is not, with 75 where nobody answers."""
    import httpx

    try:
        with httpx.Client(base_url=url, timeout=SECONDS, trust_env=False) as client:
            began = time.perf_counter()
            client.get("/healthz").raise_for_status()
            took = round((time.perf_counter() - began) * 1000, 1)
            told = client.get("/readyz").json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        complain(f"{url}: no gateway answers ({type(error).__name__})")
        raise typer.Exit(Exit.TRY_AGAIN) from None
    ready = told.get("status") == "ready"
    if as_json:
        say_json({"url": url, "milliseconds": took, **told})
    else:
        say(f"{url}: {told.get('status')}, {took} ms")
        for name, state in told.get("checks", {}).items():
            say(f"  {name}: {state}")
    raise typer.Exit(Exit.DONE if ready else Exit.FINDINGS)
