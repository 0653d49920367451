"""The outside world behind the domain's ports: one package for each technology."""
