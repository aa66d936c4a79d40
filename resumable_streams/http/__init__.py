"""HTTP: from a request to a body on a connection.

dispatch     an async view below sync mixins and middleware
resuming     from the position in a request to a reader at that position
response     status and headers
body         the bytes, and the ways they end
transports   the connection of each kind of server, and how to break it
daphne       the same on daphne
"""

from .response import ResumableStreamResponse, error_response, missing_response

__all__ = ["ResumableStreamResponse", "error_response", "missing_response"]
