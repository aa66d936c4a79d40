"""Days of an ordinary life in minutes: `make soak`."""
