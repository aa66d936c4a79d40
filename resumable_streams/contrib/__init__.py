"""What connects the streams with other systems: each module is an extra, and optional."""
