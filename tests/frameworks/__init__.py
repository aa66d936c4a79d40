"""Who asks, in every framework that has users of its own; and the code of docs/clients.md."""
