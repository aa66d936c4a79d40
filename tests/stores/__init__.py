"""Every store, held to the one contract; and what only one of them has."""
