"""How the world starts Sluice: the command line, HTTP, the development provider."""
