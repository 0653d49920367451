"""Property tests search as long as they need: nothing here asserts on time."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
