"""Targets, as this replica knows them: how they are, taking one out, putting it back, hurrying it."""

from dataclasses import asdict, dataclass

from sanic import HTTPResponse

from domain.administration.access import Access
from domain.administration.targets import TargetAdministration
from domain.chat import JsonObject
from domain.completions.targets import TargetView
from entrypoints.http.admin.routes import Ask, Route


@dataclass(frozen=True, slots=True)
class TargetsOf:
    """Handlers of ``/targets``."""

    targets: TargetAdministration

    def routes(self) -> tuple[Route, ...]:
        one = "/targets/{target_id}"
        return (
            Route("GET", "/targets", Access.READ, self.list, "The targets that this replica has asked."),
            Route("GET", one, Access.READ, self.show, "One target."),
            Route("POST", f"{one}/drain", Access.CHANGE, self.drain, "Ask a target only where there is no other."),
            Route("POST", f"{one}/undrain", Access.CHANGE, self.undrain, "Ask a target as any other again."),
            Route("POST", f"{one}/probe", Access.CHANGE, self.probe, "Let the next request find out how it is."),
        )

    async def list(self, ask: Ask) -> HTTPResponse:
        given = ask.query("provider", "state")
        found = self.targets.find(given.get("provider"), given.get("state"))
        return ask.answer({"data": [_shown(view) for view in found]})

    async def show(self, ask: Ask) -> HTTPResponse:
        return ask.answer(_shown(self.targets.targets.get(ask.parts["target_id"])))

    async def drain(self, ask: Ask) -> HTTPResponse:
        return ask.answer(_shown(self.targets.drain(ask.operator, ask.parts["target_id"])))

    async def undrain(self, ask: Ask) -> HTTPResponse:
        return ask.answer(_shown(self.targets.undrain(ask.operator, ask.parts["target_id"])))

    async def probe(self, ask: Ask) -> HTTPResponse:
        return ask.answer(_shown(self.targets.probe(ask.operator, ask.parts["target_id"])))


def _shown(view: TargetView) -> JsonObject:
    # JSON has no infinity: for how long a drained one rests, nobody knows.
    return {**asdict(view), "rests": None if view.state == "drained" else view.rests}
