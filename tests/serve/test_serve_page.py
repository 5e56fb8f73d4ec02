"""The page in a browser: a document is handed in, its film watched while it is made, to its end.

Screenshots are kept in pytest's folder for the run (`--basetemp` chooses it), as `looks/*.png`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from hpcwise.cli.main import run
from tests.e2e.films import TEXT
from tests.serve.browser import Browser
from tests.serve.serving import Served

pytestmark = pytest.mark.timeout(300)

_VIDEO = "document.querySelector('#video')"
_SHOWN = f"[...{_VIDEO}.textTracks].filter((t) => t.mode === 'showing')"
_CUES = f"{_SHOWN}.flatMap((t) => [...(t.activeCues || [])])"
_STARTS = f"[...Array({_VIDEO}.buffered.length).keys()].map((i) => {_VIDEO}.buffered.start(i))"


#: Notes all that the cards of the shots have ever said, by the class of the words.
_NOTE = """(() => {
  window.said = {};
  new MutationObserver(() => {
    for (const part of ['number', 'tier', 'state', 'slack', 'more'])
      for (const node of document.querySelectorAll(`#shots .${part}`))
        (window.said[part] ??= {})[node.textContent] = true;
  }).observe(document.body, { subtree: true, childList: true, characterData: true });
})()"""
#: What a person with a keyboard wants to reach. Of a group of radio buttons Tab reaches one.
_USED = "a[href], button, select, summary, video, input, [tabindex='0']"
_CONTROLS = (
    f"[...document.querySelectorAll(`{_USED}`)]"
    """
  .filter((node) => node.checkVisibility({ visibilityProperty: true }) && !node.disabled
    && !node.closest('dialog') && (node.type !== 'radio' || node.checked))"""
)
#: Roles of what can be used; Chromium's own names.
_ROLES = {
    "button",
    "link",
    "textbox",
    "combobox",
    "radio",
    "checkbox",
    "slider",
    "progressbar",
    "DisclosureTriangle",
}


def _tab_through(browser: Browser) -> list[str]:
    """Controls that Tab does not reach, from the top of the page on."""
    browser.js(
        "(() => { window.reached = new Set(); document.activeElement.blur(); scrollTo(0, 0);"
        " document.addEventListener('focusin', (event) => window.reached.add(event.target)); })()"
    )
    for _ in range(browser.js(f"{_CONTROLS}.length") + 20):  # a player has controls of its own
        for kind in ("rawKeyDown", "keyUp"):
            browser.send("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
    left: list[str] = browser.js(
        f"{_CONTROLS}.filter((node) => !window.reached.has(node)).map((node) => node.outerHTML.slice(0, 120))"
    )
    return left


def _nameless(browser: Browser) -> tuple[list[str], set[str]]:
    """What a screen reader could not name, and the roles of all that it finds."""
    nodes = browser.send("Accessibility.getFullAXTree")["nodes"]
    seen = [(n["role"]["value"], n.get("name", {}).get("value", "")) for n in nodes if not n["ignored"]]
    return [role for role, name in seen if role in _ROLES and not name.strip()], {role for role, _ in seen}


def _set(browser: Browser, selector: str, value: str) -> None:
    browser.js(
        f"(() => {{ const field = document.querySelector({selector!r}); field.value = {value!r};"
        " for (const kind of ['input', 'change']) field.dispatchEvent(new Event(kind)); })()"
    )


def _hand_in(browser: Browser, document: Path) -> None:
    browser.until("document.querySelector('#file').accept.includes('.md')")
    browser.choose_file("#file", document)
    _set(browser, "#duration", "")
    _set(browser, "#duration-text", "20s")
    _set(browser, "#size", "0")
    _set(browser, "#fps", "12")
    browser.js("document.querySelector('#go').click()")
    browser.until("location.hash.startsWith('#film=')")


def _cues(vtt: bytes) -> set[str]:
    return {block for block in vtt.decode().split("\n\n") if "-->" in block}


def _late(timeline: dict[str, Any]) -> int:
    """Segments that were published less than a second before playback from the first on came to them."""
    segments = timeline["requests"][0]["segments"]
    begin_s = segments[0]["at_s"]
    return sum(begin_s + segment["film_s"] - segment["at_s"] < 1.0 for segment in segments[1:])


def test_a_document_becomes_a_film_that_plays_while_it_is_made(tmp_path: Path) -> None:
    document, looks = tmp_path / "kites & <ships>.md", tmp_path / "looks"
    document.write_text(TEXT)
    with Served(tmp_path / "results") as served, Browser(tmp_path) as browser:
        browser.size(1440, 900)
        browser.open(served.url)
        browser.until("document.querySelector('#head-text').textContent === 'idle'")
        browser.picture(looks / "start.png")
        browser.js(_NOTE)

        # No head runs: the page starts one, and the first shot plays before the last is made.
        _hand_in(browser, document)
        browser.until(f"!{_VIDEO}.paused && {_VIDEO}.currentTime > 0.2", 40)
        request = browser.js("location.hash").removeprefix("#film=")
        playlist = served.ask(f"/films/{request}/live/index.m3u8")[2]
        assert b"#EXT-X-PLAYLIST-TYPE:EVENT" in playlist and b"#EXT-X-ENDLIST" not in playlist
        assert not browser.js("document.querySelector('#live-badge').hidden")
        assert browser.js("document.querySelector('#film-title').textContent") == "Kites that pull ships"
        browser.picture(looks / "live.png")
        browser.size(360, 780)
        assert browser.js("document.documentElement.scrollWidth") == 360
        browser.picture(looks / "live-phone.png")
        browser.size(1440, 900)

        browser.js("document.querySelector('#captions').click()")
        assert "kites" in browser.until(f"({_CUES})[0]?.text", 15).lower()
        assert browser.js("document.querySelector('#captions').getAttribute('aria-pressed')") == "true"

        # At its own pace while it is made; how it ends can be seen sooner.
        browser.until("document.querySelector('#film-line').textContent.startsWith('ready')", 60)
        assert browser.js(f"{_VIDEO}.playbackRate") == 1
        browser.js(f"{_VIDEO}.playbackRate = 2")
        browser.until(f"{_VIDEO}.ended", 60)
        # The player asked for segments before they were there, and was answered when they were.
        assert browser.js(
            "performance.getEntriesByType('resource').some((e) => e.name.includes('_HLS_msn='))"
        )
        played = json.loads(browser.js("JSON.stringify(hpcwisePlayer)"))
        duration_s, at_s = browser.js(f"[{_VIDEO}.duration, {_VIDEO}.currentTime]")
        ranges = browser.js(_STARTS)
        browser.until("document.querySelector('#download').hidden === false")
        receipt = served.json(f"/api/requests/{request}/receipt")[1]
        # The player stands still only where a segment came less than a second before it was needed.
        late = _late(served.json(f"/api/requests/{request}/timeline")[1])
        assert len(played["stalls"]) <= late, (late, played)
        assert [error for error in played["errors"] if "Stalled" not in error] == []
        assert at_s == pytest.approx(duration_s, abs=0.1) and ranges == [0.0]
        assert duration_s == pytest.approx(receipt["play"]["duration_s"], abs=0.1)
        assert browser.js("document.querySelector('#live-badge').hidden")

        # A cue across a seam stands in two segments, in both as it stands in the finished film.
        live = set()
        for name in re.findall(rb"subs-\d+\.vtt", served.ask(f"/films/{request}/live/subs.m3u8")[2]):
            live |= _cues(served.ask(f"/films/{request}/live/{name.decode()}")[2])
        assert live == _cues(served.ask(f"/films/{request}/film.vtt")[2]) != set()
        known = f"{_SHOWN}.flatMap((t) => [...t.cues]).map((c) => c.startTime)"
        browser.until(f"{known}.length >= {len(live)}")
        kept = browser.js(known)
        assert len(kept) == len(set(kept)) == len(live)

        browser.js(f"{_VIDEO}.currentTime = 2; {_VIDEO}.play()")
        browser.until(f"!{_VIDEO}.seeking && {_VIDEO}.currentTime > 2.3 && !{_VIDEO}.paused")
        assert browser.js(f"{_VIDEO}.currentTime") < 6

        shots = len(receipt["shots"])
        assert browser.js("document.querySelectorAll('#shots li').length") == shots
        said = browser.js("Object.fromEntries(Object.entries(said).map(([k, v]) => [k, Object.keys(v)]))")
        assert said["number"] == [str(i + 1) for i in range(shots)]
        assert set(said["tier"]) <= {"high", "medium", "low", "static"} and said["tier"]
        assert {"being made", "ready"} <= set(said["state"])
        assert any("e1-cpu-" in words for words in said["more"])
        # What was due in some seconds was then early, or late, by some.
        assert any(words.startswith("due in") or words.endswith("late") for words in said["slack"])
        assert any(re.fullmatch(r"[+−]\d+\.\d s", words) for words in said["slack"])
        facts = browser.js("Object.fromEntries([...document.querySelectorAll('#facts div')]"
                           ".map((fact) => [...fact.children].map((word) => word.textContent)))")  # fmt: skip
        assert re.fullmatch(r"\$0\.\d+", facts["Cost"]) and receipt["cost_usd"] > 0
        assert facts["Workers"] == str(len({shot["worker"] for shot in receipt["shots"] if shot["worker"]}))

        # What the buttons lead to.
        folder = tmp_path / "results" / request
        for button, name in (("download", "film.mp4"), ("receipt", "receipt.json")):
            href = browser.js(f"document.querySelector('#{button}').getAttribute('href')")
            status, headers, body = served.ask(href)
            assert status == 200 and headers["content-disposition"].startswith("attachment; ")
            assert body == (folder / name).read_bytes()

        loaded = "[...document.querySelectorAll('#shots img')].filter((i) => i.naturalWidth).length"
        assert browser.until(f"({loaded}) === {shots}")
        assert browser.until("document.querySelectorAll('#timeline rect.f-animate').length") >= shots
        browser.picture(looks / "ended.png", whole=True)
        browser.size(360, 780)
        browser.picture(looks / "ended-phone.png", whole=True)

        # With the keyboard alone, and by ear: everything is reached and has a name.
        nameless, roles = _nameless(browser)
        assert nameless == [] and {"banner", "main", "heading", "Video", "list", "progressbar"} <= roles
        assert (
            browser.js("[...document.querySelectorAll('h1')].filter((h) => h.checkVisibility()).length") == 1
        )
        assert _tab_through(browser) == []
        # The first shot's reasons, and back.
        browser.js("document.querySelector('#shots button').focus()")
        browser.key("Enter", text="\r")
        assert browser.until("document.querySelector('#why-list').textContent.includes('animate')")
        assert browser.js("document.activeElement.id") == "why-title"
        browser.js("document.querySelector('#why-close').click()")

        # The shots that were lowered to be in time have been made again: that film is offered.
        if any(shot["remade"] for shot in receipt["shots"]):
            browser.js("document.querySelector('#better-go').click()")
            browser.until(f"{_VIDEO}.currentSrc.includes('/film.mp4') && !{_VIDEO}.paused")
            assert browser.until("document.querySelector('#better').hidden")

        # Who comes later gets the finished film, with subtitles of its own.
        browser.open("about:blank")
        browser.size(1440, 900)
        browser.open(f"{served.url}#film={request}")
        browser.until(f"{_VIDEO}.currentSrc.includes('/film.mp4') && {_VIDEO}.readyState >= 3")
        browser.js("document.querySelector('#captions').click()")
        assert browser.until(f"{_VIDEO}.textTracks[0]?.cues?.length") > 1
        assert browser.complaints == []
    assert served.code == 0, served.errors()
    names = {path.name for path in (tmp_path / "results" / request).iterdir()}
    assert {"film.mp4", "film.vtt", "poster.png", "receipt.json", "live"} <= names
    assert list((tmp_path / "results/.hpcwise/uploads").iterdir()) == []


def test_mistakes_are_said_in_plain_words_and_a_film_can_be_cancelled(tmp_path: Path) -> None:
    document, broken = tmp_path / "kites.md", tmp_path / "paper.pdf"
    document.write_text(TEXT)
    broken.write_bytes(b"not a PDF at all")
    error = "document.querySelector('#new-error').textContent"
    with Served(tmp_path / "results") as served, Browser(tmp_path, dark=True) as browser:
        browser.size(900, 900)
        browser.open(served.url)
        browser.until("document.querySelector('#file').accept.includes('.md')")
        browser.js("document.querySelector('#go').click()")
        assert browser.until(error) == "Choose a document first, or name one on this machine."
        browser.choose_file("#file", broken)
        browser.until(f"{error} === ''")
        browser.js("document.querySelector('#go').click()")
        assert browser.until(error) == "paper.pdf: it is named .pdf but is no PDF; export it again as PDF"
        browser.picture(tmp_path / "looks" / "mistake-dark.png")
        _set(browser, "#path", str(document))
        _set(browser, "#duration", "")
        _set(browser, "#duration-text", "soon")
        browser.js("document.querySelector('#go').click()")
        assert browser.until(f"{error}.includes('soon') && {error}") == (
            "duration: 'soon' is not usable; write 90s, 10m or 1h30m"
        )
        _set(browser, "#duration-text", "5m")
        browser.js("document.querySelector('#go').click()")
        browser.until("location.hash.startsWith('#film=')")
        browser.until("document.querySelector('#cancel').hidden === false", 30)
        browser.js("document.querySelector('#cancel').click()")
        browser.until("document.querySelector('#sure').open")
        browser.picture(tmp_path / "looks" / "cancel-dark.png")
        browser.js("document.querySelector('#sure [value=yes]').click()")
        browser.until("document.querySelector('#film-line').textContent.startsWith('cancelled')", 30)
        assert [c for c in browser.complaints if "400" not in c] == []


def test_the_page_finds_its_server_again(tmp_path: Path) -> None:
    said = "document.querySelector('#head-text').textContent"
    with Browser(tmp_path) as browser:
        with Served(tmp_path / "results") as first:
            browser.open(first.url)
            browser.until(f"{said} === 'idle'")
        # Ctrl-C ended it in order although the page still listened.
        assert (first.code, first.errors()) == (0, "Ctrl-C ends the server\n")
        browser.until(f"{said} === 'reconnecting …'")
        with Served(tmp_path / "results", port=first.port):
            browser.until(f"{said} === 'idle'")


def test_what_waits_without_a_head_is_shown_and_the_page_starts_one(tmp_path: Path) -> None:
    document, results = tmp_path / "kites.md", tmp_path / "results"
    document.write_text(TEXT)
    assert run(["submit", str(document), "--duration", "5m", "--run-dir", str(results)]) == 0
    said = "document.querySelector('#head-text').textContent"
    with Served(results) as served, Browser(tmp_path) as browser:
        browser.size(1000, 700)
        browser.open(served.url)
        browser.until(f"{said} === 'no head runs'")
        assert browser.js("document.querySelector('#list .now').textContent") == "waiting"
        browser.js("document.querySelector('#head-start').click()")
        browser.until(f"{said} === 'at work'")
        browser.js("document.querySelector('#list a').click()")
        request = browser.js("location.hash").removeprefix("#film=")
        assert browser.until("document.querySelectorAll('#shots li').length", 40)
        assert browser.js("document.querySelector('#head-start').hidden")
        browser.picture(tmp_path / "looks" / "shots-being-made.png", whole=True)
    # The head that the page started has ended with it, and its journal still answers.
    assert served.code == 0 and not (results / ".hpcwise" / "head.json").exists()
    with Served(results) as served:
        status, view = served.json(f"/api/requests/{request}/explain")
        assert status == 200 and view["state"] in ("growing", "running")
