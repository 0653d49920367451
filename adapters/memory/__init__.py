"""Stores for one process that keeps everything to itself: for development, for tests and without a Redis.

No method awaits between its first look and its last write, so each is atomic on the one event loop that calls it.
"""
