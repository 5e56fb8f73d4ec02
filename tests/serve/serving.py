"""`hpcwise serve` as a process, and plain HTTP to it."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]


class Served:
    """A server on a free port; a context manager that ends it as Ctrl-C does."""

    def __init__(self, results: Path, *arguments: str, port: int = 0) -> None:
        self.results = results
        self._errors = results.parent / "serve.err"
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hpcwise", "serve", "--port", str(port),
                 "--run-dir", str(results), *arguments],
                cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True,
            )  # fmt: skip
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline()
        match = re.search(r"http://[^ ]+:(\d+)/(?:#token=(\S+))?", self.said)
        assert match is not None, (self.said, self._errors.read_text())
        self.port, self.token = int(match[1]), match[2] or ""
        self.url = match[0]

    def __enter__(self) -> Served:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.code = self.process.wait(110)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def errors(self) -> str:
        return self._errors.read_text()

    def ask(
        self, path: str, method: str = "GET", body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body. Header names are written with underscores."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=90)
        try:
            connection.putrequest(method, path, skip_host="Host" in headers)
            if body is not None and "Content_Length" not in headers:
                connection.putheader("Content-Length", str(len(body)))
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def json(self, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Any:
        status, _, data = self.ask(path, method, body, **headers)
        return status, json.loads(data)
