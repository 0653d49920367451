"""Names of runs, in this process."""

from adapters.memory.lapsing import Lapsing
from domain.ports import Clock, Named


class MemoryRunNames:
    """Names that lapse by this process's clock."""

    def __init__(self, clock: Clock) -> None:
        self._names: Lapsing[str, Named] = Lapsing(clock)

    async def adopt(self, name: str, named: Named, seconds: float, *, instead_of: str | None = None) -> Named:
        present = self._names.get(name)
        if present is None or present.run_id == instead_of:
            self._names.put(name, named, seconds)
            return named
        return present

    async def keep(self, name: str, run_id: str, seconds: float) -> None:
        present = self._names.get(name)
        if present is None or present.run_id != run_id:
            return
        if seconds > 0:
            self._names.put(name, present, seconds)
        else:
            self._names.pop(name)
