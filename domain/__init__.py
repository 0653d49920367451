"""The rules of Sluice and the orchestration of a completion. Standard library only; the outside world is ``ports``."""
