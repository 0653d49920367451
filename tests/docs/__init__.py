"""The documentation is true: what it names is there, what is there is named, and its examples work."""
