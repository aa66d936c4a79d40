from django.urls import path
from mysite.answers import words
from mysite.asgi import application as django

from resumable_streams.consumers import StreamConsumer, with_websockets

application = with_websockets(django, [path("ws/", StreamConsumer.as_asgi(produce=words))])
