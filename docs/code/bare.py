from django.urls import include, path
from mysite.answers import words

from resumable_streams.views import AcquireView


class Answer(AcquireView):
    format = "sse"

    def produce(self, request):
        return words(request.POST["question"])


urlpatterns = [path("ask/", Answer.as_view()), path("streams/", include("resumable_streams.urls"))]
