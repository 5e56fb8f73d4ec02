"""Headless Chromium by the DevTools protocol, through its pipe: no port, no library."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


class Navigated(Exception):
    """The page went elsewhere while something was asked of it."""


class Browser:
    """One tab; a context manager. Raises LookupError where no Chromium is installed."""

    def __init__(self, folder: Path, *, dark: bool = False) -> None:
        found = next(filter(None, map(shutil.which, _BROWSERS)), None)
        if found is None:
            raise LookupError("no Chromium on PATH")
        # The browser reads commands from descriptor 3 and writes answers to 4, each ended by a zero byte.
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        profile = folder / "profile"
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec 3<&{theirs_in} 4>&{theirs_out}; exec "$@"', "bash", found,
             "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--disable-background-networking", "--autoplay-policy=no-user-gesture-required", "--mute-audio",
             "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(theirs_in, theirs_out), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        self._numbers = itertools.count(1)
        self._rest = b""
        self._session = ""
        #: What the page logged as an error, and requests that the server refused.
        self.complaints: list[str] = []
        [page] = [t for t in self.send("Target.getTargets")["targetInfos"] if t["type"] == "page"]
        attached = self.send("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "DOM"):
            self.send(f"{domain}.enable")
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.send("Emulation.setEmulatedMedia", features=scheme)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """One command and its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read(20.0)
            if answer.get("id") == number:
                if "navigated" in answer.get("error", {}).get("message", ""):
                    raise Navigated(method)
                assert "error" not in answer, (method, answer["error"])
                result: dict[str, Any] = answer["result"]
                return result
            self._event(answer)

    def _event(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description", details["text"]))
        elif event.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")

    def _read(self, within_s: float) -> dict[str, Any]:
        end_s = time.monotonic() + within_s
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._in], [], [], max(0.0, end_s - time.monotonic()))
            assert ready, "the browser does not answer"
            block = os.read(self._in, 1 << 20)
            assert block, "the browser has ended"
            self._rest += block
        frame, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(frame)
        return message

    def open(self, url: str) -> None:
        self.send("Page.navigate", url=url)

    def js(self, expression: str) -> Any:
        """The value of an expression in the page; promises are waited for."""
        result = self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, userGesture=True
        )
        assert "exceptionDetails" not in result, (expression, result["exceptionDetails"])
        return result["result"].get("value")

    def until(self, expression: str, within_s: float = 20.0) -> Any:
        """The first true value of an expression that the page looks at again with each frame it paints."""
        wait = (
            "new Promise((done) => { const end = performance.now() + %d; const look = () => { let value;"
            " try { value = (%s); } catch (error) { value = null; }"
            " if (value || performance.now() > end) done(value || null); else setTimeout(look, 50); };"
            " look(); })"
        )
        end_s = time.monotonic() + within_s
        while time.monotonic() < end_s:
            with contextlib.suppress(Navigated):  # to a page where it may come true
                if found := self.js(wait % (1000 * min(5.0, max(0.1, end_s - time.monotonic())), expression)):
                    return found
        raise AssertionError(f"did not happen within {within_s:g} s: {expression}")

    def choose_file(self, selector: str, path: Path) -> None:
        """Put a file into a file field, as a person does."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def key(self, key: str, code: str = "", text: str = "") -> None:
        """One key pressed and released."""
        more = {"text": text} if text else {}
        self.send("Input.dispatchKeyEvent", type="keyDown", key=key, code=code or key, **more)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key, code=code or key)

    def size(self, width: int, height: int) -> None:
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                  mobile=width < 600)  # fmt: skip

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """A screenshot, of the whole page or of what is in view."""
        shot = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(shot["data"]))
