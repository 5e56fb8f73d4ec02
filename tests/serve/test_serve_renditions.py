"""A live film in two sizes in a browser: a person, or the player, changes between them while it plays.

Screenshots are kept as `looks/*.png`.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.films import TEXT
from tests.serve.browser import Browser
from tests.serve.serving import Served

pytestmark = pytest.mark.timeout(300)

_JOB = """input: kites.md
duration: 20s
resolution: 320x200
renditions: [160x100]
fps: 12
slo: live
"""
_VIDEO = "document.querySelector('#video')"
_MENU = "[...document.querySelector('#quality').options].map((option) => option.textContent)"


def _choose(browser: Browser, place: int) -> None:
    browser.js(
        f"(() => {{ const menu = document.querySelector('#quality'); menu.selectedIndex = {place};"
        " menu.dispatchEvent(new Event('change')); })()"
    )


def test_a_live_film_plays_on_while_its_rendition_changes(tmp_path: Path) -> None:
    (tmp_path / "kites.md").write_text(TEXT)
    (tmp_path / "job.yaml").write_text(_JOB)
    with Served(tmp_path / "results") as served, Browser(tmp_path) as browser:
        browser.size(1440, 900)
        browser.open(served.url)
        browser.until("document.querySelector('#file')?.accept.includes('.md')")
        job = json.dumps(str(tmp_path / "job.yaml"))
        browser.js(
            f"(() => {{ const path = document.querySelector('#path'); path.value = {job};"
            " path.dispatchEvent(new Event('input')); document.querySelector('#go').click(); })()"
        )
        browser.until(f"!{_VIDEO}.paused && {_VIDEO}.currentTime > 0.2", 40)
        request = browser.js("location.hash").removeprefix("#film=")
        browser.until(f"{_VIDEO}.videoWidth === 320 && {_MENU}[0] === 'auto (320×200)'")
        assert browser.js(_MENU) == ["auto (320×200)", "320×200", "160×100"]
        assert not browser.js("document.querySelector('#quality-box').hidden")
        assert browser.js("document.querySelector('#quality').labels[0].textContent").startswith("Picture")
        browser.picture(tmp_path / "looks" / "large.png")

        _choose(browser, 2)
        browser.until(f"{_VIDEO}.videoWidth === 160", 30)
        small_s = browser.js(f"{_VIDEO}.currentTime")
        browser.picture(tmp_path / "looks" / "small.png")
        _choose(browser, 1)
        browser.until(f"{_VIDEO}.videoWidth === 320", 30)
        assert browser.js(f"{_VIDEO}.currentTime") > small_s

        browser.until("document.querySelector('#film-line').textContent.startsWith('ready')", 60)
        browser.js(f"{_VIDEO}.playbackRate = 4")
        browser.until(f"{_VIDEO}.ended", 60)
        played = json.loads(browser.js("JSON.stringify(hpcwisePlayer)"))
        duration_s, at_s = browser.js(f"[{_VIDEO}.duration, {_VIDEO}.currentTime]")
        receipt = served.json(f"/api/requests/{request}/receipt")[1]
        # hls.js says so where a segment takes the place of one in another size: the buffer does not grow.
        expected = {"bufferAppendNoProgress", "bufferStalledError"}
        assert set(played["errors"]) <= expected
        assert at_s == pytest.approx(duration_s, abs=0.1)
        assert duration_s == pytest.approx(receipt["play"]["duration_s"], abs=0.1)
        assert browser.complaints == []

        own, small = (served.ask(f"/films/{request}/live/index{mark}.m3u8")[2] for mark in ("", "-160x100"))
        renamed = small.replace(b"seg-160x100-", b"seg-").replace(b"init-160x100.", b"init.")
        assert renamed == own and own.endswith(b"#EXT-X-ENDLIST\n")
        names = {path.name for path in (tmp_path / "results" / request / "live").iterdir()}
        names.discard("SHA256SUMS")  # the receipt's, of no player
        assert {name for name in names if served.ask(f"/films/{request}/live/{name}")[0] != 200} == set()
        assert served.ask(f"/films/{request}/live/seg-160x100-00000.mp4")[0] == 404
    assert served.code == 0, served.errors()
