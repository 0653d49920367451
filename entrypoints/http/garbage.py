"""Python's collector of cycles, told what a server is. See docs/adr/0061-a-collector-that-lets-the-server-be.md."""

import gc
from typing import Final

#: Objects more than were freed, after which the youngest are looked through; so many of these rounds for the next
#: generation, and so many of those for all. Python's own 700 come and go with two requests under way.
THRESHOLDS: Final = (10_000, 20, 50)


def settle() -> None:
    """Count what exists by now as there for good, and look through the rest seldom.

    To be called once, when a process has all that it serves with. What it has then, modules, routes and vocabularies,
    is never looked through again, and a cycle among it never freed.
    """
    # Not collected before: that takes 50 ms of a start, and finds next to nothing.
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
