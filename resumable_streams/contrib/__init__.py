"""Connections to other systems: each module is an extra, and optional."""
