"""The messages of a WebSocket, and the streams on it. Nothing here knows a server or Channels."""
