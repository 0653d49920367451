"""Targets as operators see them: each that is taken out, put back or hurried is told."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from domain.administration.access import Operator
from domain.completions.targets import Targets, TargetView
from domain.facts import Administered
from domain.ports import Journal


@dataclass(frozen=True, slots=True)
class TargetAdministration:
    """Finds targets, takes one out and puts it back; raises what ``Targets`` does."""

    targets: Targets
    journal: Journal

    def find(self, provider: str | None = None, state: str | None = None) -> Sequence[TargetView]:
        """The targets of this provider and in this state, where either is given; the one asked last comes last."""
        wanted = (provider, state)
        return tuple(
            view
            for view in self.targets.all()
            if all(want in (None, is_) for want, is_ in zip(wanted, (view.provider, view.state), strict=True))
        )

    def drain(self, by: Operator, target_id: str) -> TargetView:
        """Let a target be asked only where there is no other; all replicas that know it do so within 3 seconds."""
        return self._change(by, "target.drain", self.targets.drain, target_id)

    def undrain(self, by: Operator, target_id: str) -> TargetView:
        """Undo ``drain``, everywhere."""
        return self._change(by, "target.undrain", self.targets.undrain, target_id)

    def probe(self, by: Operator, target_id: str) -> TargetView:
        """Let the next request find out whether a target is well."""
        return self._change(by, "target.probe", self.targets.probe, target_id)

    def _change(self, by: Operator, action: str, change: Callable[[str], None], target_id: str) -> TargetView:
        before = self.targets.get(target_id)
        change(target_id)
        after = self.targets.get(target_id)
        if after != before or action == "target.probe":
            self.journal.record(Administered(by.name, action, subject=target_id, request_id=by.request_id))
        return after
