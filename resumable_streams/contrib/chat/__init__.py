"""Chats that keep their answers: an optional app, `resumable_streams.contrib.chat`.

    class Assistant(ChatView):
        async def answer(self, conversation, messages):
            yield "Hello."

    urlpatterns = [path("api/", include(Assistant.urls("chat")))]

models       conversations and messages
parts        UI messages of clients: checked, bounded, storable
building     from the chunks of an answer to the parts of a message
replaying    from the parts of a message back to chunks
questions    the body of a POST
places       the conversations of an owner
turns        a question and its answer, begun in one transaction
working      answers by workers
answers      the source of a stream that is an answer
logs         streams as this app looks at them, for itself
drafts       answers that are written in this process
saving       from the log of an answer to its row
settling     all answers whose end nobody has told
moving       a visitor who logs in
former       streams of answers that are gone
deleting     conversations, with their messages and streams
views        `ChatView`
"""
