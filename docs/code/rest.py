from django.urls import include, path
from mysite.answers import words

from resumable_streams.contrib.rest_framework import AcquireAPIView, stream_urls


class Answer(AcquireAPIView):
    format = "sse"

    def produce(self, request):
        return words(request.data["question"])


urlpatterns = [path("ask/", Answer.as_view()), path("streams/", include(stream_urls()))]
