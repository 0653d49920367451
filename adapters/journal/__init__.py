"""The journal as a log: facts become lines, through loguru, as text or JSON."""
