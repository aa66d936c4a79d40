"""What providers send: the events of each API, for the same answers.

An answer is text, reasoning, the call of a tool and usage, in any order.
"""

import json
from typing import Any, Protocol

__all__ = ["WIRES", "Chat", "Messages", "Responses", "Wire"]

ERROR = "The engine is overloaded."


class Wire(Protocol):
    """The events of one API; each method returns those of one part of an answer."""

    path: str

    def start(self) -> bytes: ...
    def reasoning(self, *pieces: str) -> bytes: ...
    def text(self, *pieces: str) -> bytes: ...
    def call(self, call_id: str, name: str, *pieces: str) -> bytes: ...
    def end(self, reason: str = "stop") -> bytes: ...
    def error(self) -> bytes: ...


def _data(event: Any) -> bytes:
    return b"data: %b\n\n" % json.dumps(event).encode()


class Chat:
    """Chat completions of OpenAI; the reasoning is DeepSeek's."""

    path = "/v1/chat/completions"

    def __init__(self) -> None:
        self._calls = -1

    def start(self) -> bytes:
        return self.delta({"role": "assistant", "content": ""})

    def reasoning(self, *pieces: str) -> bytes:
        return b"".join(self.delta({"reasoning_content": piece}) for piece in pieces)

    def text(self, *pieces: str) -> bytes:
        return b"".join(self.delta({"content": piece}) for piece in pieces)

    def call(self, call_id: str, name: str, *pieces: str) -> bytes:
        begin: dict[str, Any] = {
            "id": call_id,
            "type": "function",
            "function": {"name": name, "arguments": ""},
        }
        deltas = [begin, *({"function": {"arguments": piece}} for piece in pieces)]
        self._calls += 1
        return b"".join(
            self.delta({"tool_calls": [{"index": self._calls, **one}]}) for one in deltas
        )

    def end(self, reason: str = "stop") -> bytes:
        reason = {"tools": "tool_calls"}.get(reason, reason)
        usage = {
            "prompt_tokens": 100,
            "completion_tokens": 20,
            "total_tokens": 120,
            "prompt_tokens_details": {"cached_tokens": 64},
            "completion_tokens_details": {"reasoning_tokens": 5},
        }
        last = _data({**CHUNK, "choices": [], "usage": usage})
        return self.delta({}, reason) + last + b"data: [DONE]\n\n"

    def error(self) -> bytes:
        return _data({"error": {"message": ERROR, "type": "server_error", "code": "overloaded"}})

    def delta(self, delta: dict[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return _data({**CHUNK, "choices": [choice], "usage": None})


CHUNK = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}


class Responses:
    """Responses of OpenAI."""

    path = "/v1/responses"

    def __init__(self) -> None:
        self._number = -1
        self._output: list[dict[str, Any]] = []

    def start(self) -> bytes:
        return self.event("response.created", response=self._response("in_progress"))

    def reasoning(self, *pieces: str) -> bytes:
        summary = [{"type": "summary_text", "text": "".join(pieces)}]
        item = {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "gAAA"}
        at = {"item_id": "rs_1", "output_index": len(self._output), "summary_index": 0}
        part = {"type": "summary_text", "text": ""}
        inside = self.event("response.reasoning_summary_part.added", **at, part=part)
        for piece in pieces:
            inside += self.event("response.reasoning_summary_text.delta", **at, delta=piece)
        return self.item(item, inside, {"summary": summary})

    def text(self, *pieces: str) -> bytes:
        item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress"}
        at = {"item_id": "msg_1", "output_index": len(self._output), "content_index": 0}
        part = {"type": "output_text", "annotations": [], "text": ""}
        inside = self.event("response.content_part.added", **at, part=part)
        for piece in pieces:
            inside += self.event("response.output_text.delta", **at, delta=piece, logprobs=[])
        whole = {**part, "text": "".join(pieces)}
        return self.item({**item, "content": []}, inside, {"content": [whole]})

    def call(self, call_id: str, name: str, *pieces: str) -> bytes:
        item = {"id": "fc_1", "type": "function_call", "call_id": call_id, "name": name}
        at = {"item_id": "fc_1", "output_index": len(self._output)}
        inside = b""
        for piece in pieces:
            inside += self.event("response.function_call_arguments.delta", **at, delta=piece)
        return self.item({**item, "arguments": ""}, inside, {"arguments": "".join(pieces)})

    def end(self, reason: str = "stop") -> bytes:
        response = self._response("completed")
        response["usage"] = {
            "input_tokens": 100,
            "input_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 0},
            "output_tokens": 20,
            "output_tokens_details": {"reasoning_tokens": 5},
            "total_tokens": 120,
        }
        if reason == "length":
            response |= {"incomplete_details": {"reason": "max_output_tokens"}}
            return self.event("response.incomplete", response=response)
        return self.event("response.completed", response=response)

    def error(self) -> bytes:
        failure = {"code": "server_error", "message": ERROR}
        return self.event(
            "response.failed", response={**self._response("failed"), "error": failure}
        )

    def item(self, item: dict[str, Any], inside: bytes, ended: dict[str, Any]) -> bytes:
        at = len(self._output)
        begin = self.event("response.output_item.added", output_index=at, item=item)
        self._output.append({**item, **ended, "status": "completed"})
        end = self.event("response.output_item.done", output_index=at, item=self._output[-1])
        return begin + inside + end

    def event(self, kind: str, **fields: Any) -> bytes:
        self._number += 1
        data = _data({"type": kind, "sequence_number": self._number, **fields})
        return f"event: {kind}\n".encode() + data

    def _response(self, status: str) -> dict[str, Any]:
        return {
            "id": "resp_1",
            "object": "response",
            "created_at": 1,
            "status": status,
            "model": "m",
            "output": list(self._output),
            "error": None,
            "incomplete_details": None,
            "usage": None,
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
        }


class Messages:
    """Messages of Anthropic."""

    path = "/v1/messages"

    def __init__(self) -> None:
        self._index = -1

    def start(self) -> bytes:
        usage = {
            "input_tokens": 36,
            "cache_read_input_tokens": 64,
            "cache_creation_input_tokens": 0,
            "output_tokens": 1,
        }
        message = {"id": "msg_1", "type": "message", "role": "assistant", "content": []}
        more = {"model": "m", "stop_reason": None, "stop_sequence": None, "usage": usage}
        return self._event("message_start", message={**message, **more}) + self._event("ping")

    def reasoning(self, *pieces: str) -> bytes:
        block = {"type": "thinking", "thinking": "", "signature": ""}
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces]
        return self.block(block, *deltas, {"type": "signature_delta", "signature": "EqQB"})

    def text(self, *pieces: str) -> bytes:
        deltas = [{"type": "text_delta", "text": piece} for piece in pieces]
        return self.block({"type": "text", "text": ""}, *deltas)

    def call(self, call_id: str, name: str, *pieces: str) -> bytes:
        block = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
        return self.block(block, *deltas)

    def end(self, reason: str = "stop") -> bytes:
        named = {"stop": "end_turn", "tools": "tool_use", "length": "max_tokens"}
        delta = {"stop_reason": named[reason], "stop_sequence": None}
        usage = {"output_tokens": 20}
        return self._event("message_delta", delta=delta, usage=usage) + self._event("message_stop")

    def error(self) -> bytes:
        return self._event("error", error={"type": "overloaded_error", "message": ERROR})

    def block(self, block: dict[str, Any], *deltas: dict[str, Any]) -> bytes:
        self._index += 1
        index = self._index
        begin = self._event("content_block_start", index=index, content_block=block)
        for delta in deltas:
            begin += self._event("content_block_delta", index=index, delta=delta)
        return begin + self._event("content_block_stop", index=index)

    def _event(self, kind: str, **fields: Any) -> bytes:
        return f"event: {kind}\n".encode() + _data({"type": kind, **fields})


WIRES: dict[str, type[Wire]] = {"chat": Chat, "responses": Responses, "messages": Messages}
