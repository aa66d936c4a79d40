"""HTTP: from a request to a body on a connection.

dispatch     an async view below sync mixins and middleware
resuming     from the position in a request to a reader at that position
response     status and headers
body         the bytes, and the ways they end
transports   what the servers are like, and how a connection is broken
"""

from .response import ResumableStreamResponse, error_response, missing_response

__all__ = ["ResumableStreamResponse", "error_response", "missing_response"]
