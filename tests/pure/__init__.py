"""What needs no server and, mostly, no event loop."""
