"""HTTP: from a request to a body, and what a connection needs on the way.

dispatch     a view that is async, below mixins and middleware that are not
resuming     from the position that a request names to a reader that stands there
response     status and headers
body         the bytes, and what ends them
transports   what the servers are like, and how a connection is broken
"""

from .response import ResumableStreamResponse, error_response, missing_response

__all__ = ["ResumableStreamResponse", "error_response", "missing_response"]
