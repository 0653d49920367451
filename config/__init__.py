"""Configuration: what the operator sets, and how the parts are put together. Nothing here is published as a wheel."""
