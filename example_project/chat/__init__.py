"""The chat of the example."""
