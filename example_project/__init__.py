"""A chat whose answers survive reloads, second tabs and network cuts."""
