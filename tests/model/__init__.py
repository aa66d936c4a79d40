"""A model of streams so simple that it is right, and a machine that holds the package to it."""
