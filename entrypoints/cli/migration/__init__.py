"""Configurations of other gateways, translated: what has a counterpart here, and a list of what has none."""
