"""A film by (tiny) diffusion models: what is being denoised is seen on the page, in a terminal, by programs.

Screenshots are kept as `looks/*.png`, what the terminal got as `looks/watch.ansi`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.cli.test_watch import WORK, shot, view
from tests.e2e.films import TEXT
from tests.serve.browser import Browser
from tests.serve.serving import REPOSITORY, Served

_JOB = """workflow: streamwise-podcast
input: kites.md
duration: 20s
resolution: 320x208
fps: 12
quality: [high]
slo: {live: {ttff: 60s}}
models:
  screenplay: extractive-screenplay
  image: tiny-flux
  detect: tiny-yolos
  sketch: tiny-wan-dit
  decode: tiny-wan-vae
  sync: tiny-fantasytalking
  upscale: tiny-esrgan
"""
#: Notes every picture that the first shot shows, with the words beside it.
_NOTE = """(() => {
  window.seen = [];
  const note = () => {
    const card = document.querySelector('#shots li'), img = card?.querySelector('img');
    if (!img || img.hidden || !img.complete || window.seen.at(-1)?.source === img.src) return;
    window.seen.push({ source: img.src, width: img.naturalWidth, alt: img.alt,
                       words: card.textContent.replace(/\\s+/g, ' ') });
  };
  new MutationObserver(note).observe(document.body, { subtree: true, childList: true, attributes: true });
  document.addEventListener('load', note, true);
})()"""


#: Stands in place of the server's events: what is told is `tell(kind, data)`.
_TOLD = """window.EventSource = class extends EventTarget {
  constructor() {
    super();
    window.tell = (kind, data) => this.dispatchEvent(new MessageEvent(kind, { data }));
  }
  close() {}
};"""


def _watch(run_dir: Path, request: str, *options: str, stdout: int) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    environment.pop("NO_COLOR", None)
    return subprocess.Popen(
        [sys.executable, "-m", "hpcwise", "watch", request, "--run-dir", str(run_dir), *options],
        cwd=REPOSITORY, env=environment, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.STDOUT,
    )  # fmt: skip


class _Read(threading.Thread):
    """Reads a terminal as fast as it is written to, until its other side is closed."""

    def __init__(self, terminal: int) -> None:
        super().__init__(daemon=True)
        self._terminal = terminal
        self.found = b""
        self.start()

    def run(self) -> None:
        with contextlib.suppress(OSError):  # Linux says EIO at the end
            while block := os.read(self._terminal, 1 << 16):
                self.found += block
        os.close(self._terminal)


@pytest.mark.timeout(300)
def test_steps_of_a_denoising_loop_are_seen_while_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hpcwise.models.diffusion import tiny

    models = tmp_path / "models"
    for name in ("tiny-flux", "tiny-yolos", "tiny-wan2.1-i2v", "tiny-fantasytalking", "tiny-esrgan"):
        tiny.build(name, models / name)
    monkeypatch.setenv("HPCWISE_MODELS_DIR", str(models))
    (tmp_path / "kites.md").write_text(TEXT)
    (tmp_path / "job.yaml").write_text(_JOB)
    looks, results = tmp_path / "looks", tmp_path / "results"
    with Served(results, "--token", "--workers", "1") as served, Browser(tmp_path) as browser:
        ours = f"Bearer {served.token}"
        browser.size(1440, 1300)
        browser.open(served.url)
        browser.until("document.querySelector('#file')?.accept.includes('.md')")
        browser.js(_NOTE)
        job = json.dumps(str(tmp_path / "job.yaml"))
        browser.js(
            f"(() => {{ const path = document.querySelector('#path'); path.value = {job};"
            " path.dispatchEvent(new Event('input')); document.querySelector('#go').click(); })()"
        )
        browser.until("location.hash.startsWith('#film=')")
        request = browser.js("location.hash").removeprefix("#film=")
        browser.until("document.querySelectorAll('#shots li').length", 60)

        ours_end, theirs_end = pty.openpty()
        fcntl.ioctl(theirs_end, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        terminal = _watch(results, request, stdout=theirs_end)
        os.close(theirs_end)
        screen = _Read(ours_end)
        listening = _watch(results, request, "--json", stdout=subprocess.PIPE)

        browser.until("window.seen.length", 90)
        browser.picture(looks / "step.png")
        browser.size(360, 1100)
        browser.picture(looks / "step-phone.png")
        browser.size(1440, 1300)
        picture = browser.until("window.seen.at(-1)")["source"].removeprefix(served.url.split("/#")[0])
        plain = picture.split("?")[0]
        assert served.ask(plain)[0] == served.ask(plain, Authorization="Bearer " + "x" * 32)[0] == 401
        # What the page was given is not what other names lead to.
        for path in (
            f"/pictures/{request}/99.jpg",
            "/pictures/other-film/0.jpg",
            "/pictures/..%2f..%2f/0.jpg",
        ):
            assert served.ask(path, Authorization=ours)[0] == 404

        # The first shot: pictures of steps, then its thumbnail.
        browser.until("window.seen.at(-1)?.source.includes('/thumbs/')", 120)
        browser.picture(looks / "thumbnail.png")
        seen: list[dict[str, Any]] = browser.js("window.seen")
        browser.js("document.querySelector('#cancel').click()")
        browser.until("document.querySelector('#sure').open")
        browser.js("document.querySelector('#sure [value=yes]').click()")
        out, _ = listening.communicate(timeout=120)
        assert (terminal.wait(120), listening.returncode) == (1, 1)
        screen.join(60)
        drawn = screen.found.decode()
        assert [c for c in browser.complaints if "404" not in c] == []
    looks.joinpath("watch.ansi").write_text(drawn)

    steps = seen[:-1]
    sources = [one["source"] for one in steps]
    # How many there are depends on how fast the machine is; that newer ones are shown, says the next test.
    assert len(set(sources)) == len(sources) >= 1, seen
    for one in steps:
        assert re.search(rf"/pictures/{request}/0\.jpg\?[0-9a-f]{{16}}$", one["source"])
        assert (one["alt"], one["width"] > 0) == ("Preview of what is being drawn. ", True)
    assert any(re.search(r"(drawing|lip sync).* step \d+ of \d+", one["words"]) for one in steps), steps
    assert (seen[-1]["alt"], "step" in seen[-1]["words"]) == ("", False)

    events = [json.loads(line) for line in out.splitlines()]
    assert [e["state"] for e in events if e["event"] == "state"][-1] == "cancelled"
    pictured = [e for e in events if e.get("preview")]
    assert {e["event"] for e in pictured} == {"work"} and {e["stage"] for e in pictured} <= {"sketch", "sync"}
    for event in pictured:
        assert 0 <= event.get("step", 0) <= event["steps"]
        assert event["preview"] == str(results / ".hpcwise" / "workers" / event["worker"] / "preview.jpg")
    assert [e["shot"] for e in events if e["event"] == "shot"][:1] == [0]

    assert re.search(r"\x1b\[38;2;\d+;\d+;\d+;48;2;\d+;\d+;\d+m▀", drawn)
    assert re.search(r"shot 0  step \d+/\d+", drawn)
    assert f"{request}: cancelled" in drawn


def test_a_shot_says_its_step_and_what_a_checkpoint_keeps_also_to_a_screen_reader(tmp_path: Path) -> None:
    at_work = msgspec.structs.replace(WORK, step=7, steps=20, saved=0.5)
    shots = (
        shot(0, work=at_work, width=640, height=400, film_s=3.5, deadline_s=30.0),
        shot(1, work=msgspec.structs.replace(WORK, stage="speech", steps=0), width=640, height=400),
        shot(2, state="finished", work=at_work, width=640, height=400),
    )
    told = msgspec.json.encode(view(*shots, age_s=10.0)).decode()
    card = "[...document.querySelectorAll('#shots li')]"
    with Served(tmp_path / "results") as served, Browser(tmp_path) as browser:
        browser.send("Page.addScriptToEvaluateOnNewDocument", source=_TOLD)
        browser.size(1000, 1200)
        browser.open(f"{served.url}#film=film")
        browser.until("typeof tell === 'function'")
        browser.js(f"tell('film', {json.dumps(told)})")
        steps = browser.js(
            f"{card}.map((c) => c.querySelector('.steps')).map((s) => s.hidden ? '' : s.textContent)"
        )
        assert steps == ["step 7 of 20, 50 % saved", "", ""]
        states = browser.js(f"{card}.map((c) => c.querySelector('.state').textContent)")
        assert states == ["drawing", "speaking", "ready"]
        bars = f"{card}.map((c) => [...c.querySelectorAll('.bar span')].map((s) => s.style.transform))"
        assert browser.js(bars)[0] == ["scaleX(0.35)", "scaleX(0.5)"]
        names = [
            node["name"]["value"]
            for node in browser.send("Accessibility.getFullAXTree")["nodes"]
            if not node["ignored"] and node["role"]["value"] == "button" and "Shot" in node["name"]["value"]
        ]
        said = names[0].replace(" ,", ",")
        assert said == "Shot 1, quality high, drawing, slack due in 20 s, step 7 of 20, 50 % saved 3.5 s · w1"
        browser.picture(tmp_path / "looks" / "saved.png")
        browser.size(360, 780)
        assert browser.js("document.documentElement.scrollWidth") == 360
        sources = []
        for tag in ("aa", "bb"):
            tags = json.dumps(json.dumps({"request_id": "film", "tags": {"0": tag}}))
            browser.js(f"tell('pictures', {tags})")
            sources.append(browser.js(f"{card}[0].querySelector('img').getAttribute('src')"))
        assert sources == ["/pictures/film/0.jpg?aa", "/pictures/film/0.jpg?bb"]
