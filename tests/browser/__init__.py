"""The page of the example in a real browser: `make browser`."""
