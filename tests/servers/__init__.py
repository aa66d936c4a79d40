"""Debian's nginx and real clients from npm: `make servers`."""
