"""Streams over WebSockets: the protocol, with Channels' communicator, and real servers."""
