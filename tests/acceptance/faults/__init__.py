"""Faults that are really there, under load, and a checker that compares bytes."""
