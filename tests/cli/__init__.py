"""The command line, in this process, on a real Redis and a real gateway."""
