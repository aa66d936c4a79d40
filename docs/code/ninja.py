from django.urls import path
from mysite.answers import Bearer, words
from ninja import Form, NinjaAPI

from resumable_streams.contrib.ninja import stream_response, stream_router

api = NinjaAPI(auth=Bearer())
api.add_router("/streams/", stream_router())


@api.post("/ask/")
async def answer(request, question: Form[str]):
    return await stream_response(request, words(question), format="sse")


urlpatterns = [path("", api.urls)]
