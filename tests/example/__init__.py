"""The example project: its models of language, and the project as a whole."""
