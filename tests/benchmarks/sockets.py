"""The site that the benchmark of WebSockets asks: the same chunks, kept or not."""

import json
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.urls import path

from .loads import paced

__all__ = ["END"]

END = '{"type":"end","channel":1,"status":"done","offset":0,"error":null}'
"""The last message of a stream, but for its offset."""


class Bare(AsyncWebsocketConsumer):
    """A consumer as one writes it who does not think of disconnects."""

    async def receive(self, text_data: str = "", bytes_data: bytes | None = None) -> None:
        async for chunk in paced(**json.loads(text_data)["data"]):
            await self.send(bytes_data=chunk)
        await self.send(text_data=END)


def _application() -> Any:
    from django.core.asgi import get_asgi_application

    django = get_asgi_application()
    from resumable_streams.consumers import StreamConsumer

    ours = StreamConsumer.as_asgi(produce=lambda data: paced(**data))
    routes = [path("bare/", Bare.as_asgi()), path("ours/", ours)]
    return ProtocolTypeRouter({"http": django, "websocket": URLRouter(routes)})


def __getattr__(name: str) -> Any:
    if name == "application":
        return _application()
    raise AttributeError(name)
