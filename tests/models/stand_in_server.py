"""Stands in for `vllm serve`: the same protocol on the same arguments, with words that are canned.

python stand_in_server.py FOLDER PORT KEY NAME DEVICES
"""

from __future__ import annotations

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FOLDER, PORT, KEY, NAME, DEVICES = sys.argv[1:6]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers.get("Authorization") != f"Bearer {KEY}" or body["model"] != NAME:
            self.send_response(401)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        sentences = body["messages"][-1]["content"].split("Sentences:\n")[1].splitlines()
        number, text = sentences[0].split(": ", 1)
        line = {"speaker": "dan", "text": f"Well, {text[0].lower()}{text[1:]}", "sources": [number]}
        event = {"choices": [{"delta": {"content": json.dumps({"lines": [line]})}}]}
        answer = f"data: {json.dumps(event)}\n\ndata: [DONE]\n\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


if not (Path(FOLDER) / "config.json").is_file():
    print("loading\nno config.json in the checkpoint")
    sys.exit(3)
Path(FOLDER, "seen.json").write_text(
    json.dumps(
        {"pid": os.getpid(), "devices": DEVICES, "visible": os.environ.get("CUDA_VISIBLE_DEVICES", "")}
    )
)
ThreadingHTTPServer(("127.0.0.1", int(PORT)), Handler).serve_forever(0.02)
