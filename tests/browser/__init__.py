"""The pages of the example and of the README in a real browser: `make browser`."""
