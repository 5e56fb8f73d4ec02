"""A browser plays the film while it is published: headless Chromium and hls.js over HTTP.

hls.js 1.7.4, light build, lies in `hls_js/` (Apache-2.0). Without a Chromium the test is skipped; what a
demuxer can see of the same stream is tested in test_hls.
"""

from __future__ import annotations

import http.server
import json
import os
import queue
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hpcwise.media.hls import finish_live, publish_segment
from hpcwise.media.timeline import Timeline

from .making import make_timeline

_HLS_JS = Path(__file__).parent / "hls_js" / "hls.light.min.js"
#: A browser that starts beside other tests takes its time; the limit only ends what hangs.
PATIENCE_S = 100.0
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")

_PAGE = """<!doctype html><video id="v" muted></video><script src="/hls.js"></script><script>
const video = document.getElementById('v'), errors = [], holes = [];
function report(event) {
  const ranges = [...Array(video.buffered.length).keys()].map(
    i => [video.buffered.start(i), video.buffered.end(i)]);
  const quality = video.getVideoPlaybackQuality();
  fetch('/report', {method: 'POST', body: JSON.stringify({event, errors, ranges,
    time: video.currentTime, duration: video.duration,
    frames: quality.totalVideoFrames, dropped: quality.droppedVideoFrames,
    sound_bytes: video.webkitAudioDecodedByteCount})});
}
const hls = new Hls();
hls.on(Hls.Events.ERROR, (_, data) => { errors.push(data.details + ' ' + (data.reason || ''));
  if (data.fatal) report('fatal'); });
for (const name of ['playing', 'timeupdate', 'seeking', 'ended'])
  video.addEventListener(name, () => report(name));
hls.on(Hls.Events.MANIFEST_PARSED, () => video.play());
hls.loadSource('/live/PLAYLIST');
hls.attachMedia(video);
</script>"""


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serves the published files and the page; puts what the page reports into a queue."""

    def __init__(self, *args: Any, reports: queue.Queue[dict[str, Any]], page: str, **kwargs: Any) -> None:
        self._reports, self._page = reports, page
        super().__init__(*args, **kwargs)

    def do_GET(self) -> None:
        if self.path not in ("/", "/hls.js"):
            return super().do_GET()
        body = self._page.encode() if self.path == "/" else _HLS_JS.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", "text/html" if self.path == "/" else "text/javascript")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        return None

    def do_POST(self) -> None:
        self._reports.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_args: Any) -> None:
        """Nothing: the test's output stays clean."""


@contextmanager
def _watching(folder: Path, profile: Path, playlist: str) -> Iterator[queue.Queue[dict[str, Any]]]:
    """A browser that plays `folder`/live/`playlist`; yields the reports of its page."""
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        pytest.skip("no Chromium on PATH")
    reports: queue.Queue[dict[str, Any]] = queue.Queue()
    page = _PAGE.replace("PLAYLIST", playlist)
    handler = partial(_Handler, directory=str(folder), reports=reports, page=page)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        process = subprocess.Popen(
            [
                browser,
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--disable-background-networking",
                "--autoplay-policy=no-user-gesture-required",
                f"--user-data-dir={profile}",
                f"http://127.0.0.1:{server.server_port}/",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield reports
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            server.shutdown()


def _play_while_publishing(
    tmp_path: Path, timeline: Timeline, *, playlist: str = "index.m3u8", complete: bool
) -> dict[str, Any]:
    """Publish just ahead of the viewer; returns the last report of the page."""
    out = tmp_path / "out"
    published = 0

    def publish() -> None:
        nonlocal published
        last = published + 1 == len(timeline.segments)
        known = msgspec.structs.replace(
            timeline, segments=timeline.segments[: published + 1], complete=complete and last
        )
        publish_segment(out, known, published)
        published += 1

    publish()
    publish()
    with _watching(out, tmp_path / "profile", playlist) as reports:
        while True:
            report = reports.get(timeout=PATIENCE_S)
            assert report["event"] not in ("fatal", "seeking") or report["time"] == 0, report
            if report["event"] == "ended":
                return report
            # Two segments ahead of the viewer: a head that keeps up, no more.
            while published < len(timeline.segments) and timeline.start_s(published) < report["time"] + 2:
                publish()
                if published == len(timeline.segments):
                    finish_live(out, msgspec.structs.replace(timeline, complete=complete))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("complete", [False, True])
def test_a_browser_plays_the_growing_film_to_its_end(tmp_path: Path, complete: bool) -> None:
    timeline = make_timeline(tmp_path, [[24, 20], [24], [24, 24, 13]], longest_segment_s=1.0)
    report = _play_while_publishing(tmp_path, timeline, complete=complete)
    # A machine that is busy elsewhere may starve the player, which then stalls a moment: no fault of ours.
    assert [error for error in report["errors"] if "Stalled" not in error] == []
    # So may frames be dropped that come late; each was decoded.
    assert report["frames"] == timeline.frames
    assert report["time"] == pytest.approx(timeline.duration_s, abs=0.05)
    assert len(report["ranges"]) == 1, "a hole between two segments"
    assert report["ranges"][0] == pytest.approx([0.0, timeline.duration_s], abs=0.05)
    assert report["sound_bytes"] > 0
