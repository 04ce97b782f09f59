"""A chat server on loopback that behaves as each prompt's word tells it, and remembers who asked what."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, dict[str, str], bytes]
"""Status, headers and body."""


@dataclass
class Chat:
    """What the server knows.

    Attributes:
        url: of the server, for ``base_url``.
        behaviours: a word in a prompt to what its requests get: a function of (this chat, the request's JSON,
            how often this prompt was asked before). A prompt without such a word is answered well.
        asked: (prompt, JSON of the request, time) of every request.
        authorizations: what stood in that header.
        delay: seconds before every answer.
    """

    url: str = ""
    behaviours: dict[str, Callable[[Chat, dict[str, Any], int], Answer]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, Any], float]] = field(default_factory=list)
    authorizations: set[str | None] = field(default_factory=set)
    delay: float = 0.0
    released: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def counts(self) -> Counter[str]:
        """How often each prompt was asked."""
        return Counter(prompt for prompt, _, _ in self.asked)

    def answer(self, request: dict[str, Any], authorization: str | None) -> Answer:
        prompt = prompt_of(request)
        with self.lock:
            before = self.counts[prompt]
            self.asked.append((prompt, request, time.monotonic()))
            self.authorizations.add(authorization)
        time.sleep(self.delay)
        for word, behave in self.behaviours.items():
            if word in prompt.split():
                return behave(self, request, before)
        return well(f"a bright {prompt}")


def prompt_of(request: dict[str, Any]) -> str:
    """The sentence in an instruction of the paper's template, or of one with the sentence on a line."""
    instruction = request["messages"][0]["content"]
    found = re.search(r"ewrite the sentence (.*) without changing the meaning of the original", instruction)
    found = found or re.search(r"^Sentence: (.*)$", instruction, re.MULTILINE)
    return found[1]


def well(text: str | None, read: int = 30, written: int = 10, **message: Any) -> Answer:
    """A chat completion."""
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": text, **message},
    }
    usage = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
    return said({"id": "1", "object": "chat.completion", "choices": [choice], "usage": usage})


def said(body: Any, status: int = 200, **headers: str) -> Answer:
    """Any JSON."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, {"Content-Type": "application/json", **named}, json.dumps(body).encode()


def failed(status: int, message: str = "no", **headers: str) -> Answer:
    """An error as OpenAI words it."""
    return said({"error": {"message": message, "type": "test", "code": None}}, status, **headers)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status, headers, body = self.server.chat.answer(request, self.headers["Authorization"])
        try:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", headers.get("Content-Length") or str(len(body)))
            self.end_headers()
            if "X-Drip" in headers:  # a byte now and then
                for byte in body:
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
                    if self.server.chat.released.wait(float(headers["X-Drip"])):
                        return
            self.wfile.write(body)
        except OSError:
            pass  # the client gave up

    def log_message(self, *_: Any) -> None:
        """Quiet."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    chat: Chat

    def handle_error(self, *_: Any) -> None:
        """Quiet too: clients that leave are a part of the test."""


@contextmanager
def serving(**behaviours: Callable[[Chat, dict[str, Any], int], Answer]) -> Iterator[Chat]:
    """A server with these behaviours by word, on a port of its own."""
    server = _Server(("127.0.0.1", 0), _Handler)
    chat = server.chat = Chat(f"http://127.0.0.1:{server.server_port}/v1", dict(behaviours))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield chat
    finally:
        chat.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
