"""Resumable byte streams for Django: produced once, stored, resumed by their owner."""

__version__ = "0.1.0"
