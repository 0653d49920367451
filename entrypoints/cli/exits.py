"""How commands end. Beyond 2, as in https://man.openbsd.org/sysexits."""

from enum import IntEnum


class Exit(IntEnum):
    """Exit statuses, for scripts to tell what to do next."""

    DONE = 0
    FINDINGS = 1
    """What was asked about is not as it should be; the command itself went well."""
    USAGE = 2
    """The command line is wrong."""
    REFUSED = 65
    """What was asked for is refused: asking again will not help."""
    UNAVAILABLE = 69
    """An address cannot be listened on."""
    TRY_AGAIN = 75
    """A store or a gateway does not answer."""
    MISCONFIGURED = 78
    """Settings, or a file that they name, are wrong."""
