"""Who is let in, and what is refused: host names, tokens, other users, foreign pages, paths, sizes."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from hpcwise.cli.main import run
from hpcwise.cli.run import Run
from hpcwise.cli.serving.guard import Doors, owner_in
from hpcwise.cli.serving.jobs import MAX_UPLOAD_BYTES, TooLarge, receive, safe_name, scratch
from hpcwise.core.errors import UsageError
from tests.serve.serving import Served

_WEAK = "{} holds no token of 20 or more letters and digits; `openssl rand -hex 32` makes one"
_OURS = {"X_Hpcwise": "1"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("doors")
    (folder / "results" / "film-1" / "live").mkdir(parents=True)
    (folder / "results" / "film-1" / "film.mp4").write_bytes(bytes(range(256)))
    (folder / "results" / "film-1" / "live" / "index.m3u8").write_text("#EXTM3U\n")
    (folder / "results" / "film-1" / "film.srt").symlink_to(folder / "secret.srt")
    (folder / "secret.srt").write_text("secret")
    with Served(folder / "results") as served:
        yield served


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("guarded") / "results", "--token") as served:
        yield served


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7"])
def test_beyond_this_machine_a_token_is_needed(
    host: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["serve", "--host", host, "--run-dir", str(tmp_path / "results")]) == 2
    assert capsys.readouterr().err == (
        f"hpcwise: --host: {host} can be reached from other machines; add --token, or leave --host out\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("mode", "text", "said"),
    [
        (0o644, "0123456789abcdef0123456789", "others can read or own {}; chmod 600 it"),
        (0o600, "short", _WEAK),
        (0o600, "a" * 19 + "\x07" + "b" * 19, _WEAK),
        (None, "", "{}: No such file or directory; name a file that holds the token"),
    ],
)  # fmt: skip
def test_a_weak_or_readable_token_is_refused_in_one_line(
    mode: int | None, text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    if mode is not None:
        Path("token").write_text(text)
        Path("token").chmod(mode)
    assert run(["serve", "--token", "token"]) == 2
    assert capsys.readouterr().err == f"hpcwise: --token: {said.format('token')}\n"


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "192.0.2.1", "localhost@evil", ""]
)
def test_a_foreign_host_name_is_refused(site: Served, host: str) -> None:
    for path in ("/", "/api/site", "/films/film-1/film.mp4", "/page/style.css"):
        assert site.ask(path, Host=host)[0] == 421


def test_the_machine_is_known_by_its_loopback_names_at_any_port(site: Served) -> None:
    hosts = ("localhost:9", "127.0.0.1", "[::1]:80", "LOCALHOST.", f"127.0.0.1:{site.port}")
    assert [site.ask("/api/site", Host=host)[0] for host in hosts] == [200] * 5


def test_every_answer_says_what_the_page_may_load(site: Served) -> None:
    for path in ("/", "/api/site", "/nothing", "/films/film-1/film.mp4"):
        _, headers, _ = site.ask(path)
        policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'" and policy["script-src"] == "'self'"
        assert policy["frame-ancestors"] == "'none'" and "unsafe" not in str(policy)
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers


@pytest.mark.parametrize("headers", [
    {}, {"X_Hpcwise": "0"}, {**_OURS, "Origin": "http://evil.example"}, {**_OURS, "Origin": "null"},
])  # fmt: skip
def test_what_changes_something_must_come_from_our_page(site: Served, headers: dict[str, str]) -> None:
    for path in ("/api/requests?file=a.md", "/api/head", "/api/requests/x/cancel", "/login"):
        assert site.ask(path, "POST", b"# text", **headers)[0] == 403


@pytest.mark.parametrize("path", [
    "/films/film-1/../../../secret.srt", "/films/film-1/..%2f..%2fsecret.srt", "/films/..%2f/film.mp4",
    "/films/film-1/live/..%2ffilm.mp4", "/films/.hpcwise/keys/client.key", "/films/film-1/live/..",
    "/films/.hpcwise/head.json", "/films/film-1/film.srt", "/films/film-1/film.mp4%00.png",
    "/page/..%2fapp.py", "/page/app.py", "/page/%2e%2e/app.py", "/thumbs/..%2f..%2fkeys/0.jpg",
    "/thumbs/zz/0.jpg", "/thumbs/0123456789abcdef/0.jpg", "/films//etc/passwd", "//etc/passwd",
    "/films/film-1/film.mp4/", "/pictures/film-1/0.jpg", "/pictures/..%2f..%2fworkers/0.jpg",
    "/films/film-1/live/seg-..%2f..-00000.m4s", "/films/film-1/live/index-320x200.m3u8",
])  # fmt: skip
def test_no_path_leads_out_of_the_films(site: Served, path: str) -> None:
    status, _, body = site.ask(path)
    assert status == 404 and b"secret" not in body


def test_a_film_is_served_in_parts_and_a_playlist_is_never_kept(site: Served) -> None:
    status, headers, body = site.ask("/films/film-1/film.mp4", Range="bytes=2-4")
    assert (status, headers["content-range"], body) == (206, "bytes 2-4/256", b"\2\3\4")
    _, headers, _ = site.ask("/films/film-1/film.mp4?save")
    assert headers["content-disposition"] == 'attachment; filename="film-1.mp4"'
    _, headers, body = site.ask("/films/film-1/live/index.m3u8")
    assert (headers["cache-control"], body) == ("no-store", b"#EXTM3U\n")
    assert headers["content-type"] == "application/vnd.apple.mpegurl"


def test_events_tell_a_program_the_state_at_once(site: Served) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=90)
    connection.request("GET", "/api/events?film=film-1")
    answer = connection.getresponse()
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    lines = [answer.readline() for _ in range(5)]
    connection.close()
    assert lines[:3] + lines[4:] == [b"retry: 1000\n", b"\n", b"event: overview\n", b"\n"]
    told = json.loads(lines[3].removeprefix(b"data: "))
    assert told == {"head": "none", "note": "", "ours": False, "rows": [], "pending": []}


def test_a_document_that_is_too_large_is_refused_before_it_is_read(site: Served) -> None:
    length = str(MAX_UPLOAD_BYTES + 1)
    answer = site.json("/api/requests?file=big.md&live=1", "POST", b"", Content_Length=length, **_OURS)
    assert answer == (413, {"error": "file: is larger than 64 MiB; name its path on this machine"})


def test_a_document_of_unknown_size_is_counted_and_leaves_nothing(tmp_path: Path) -> None:
    taken = []

    async def blocks() -> AsyncIterator[bytes]:
        for number in range(100):
            taken.append(number)
            yield b"x" * 1000

    here = Run.at(str(tmp_path))
    with pytest.raises(TooLarge, match="is larger than"), scratch(here) as folder:
        asyncio.run(receive(blocks(), folder / "big.md", 2500))
    assert taken == [0, 1, 2]
    assert list((tmp_path / ".hpcwise/uploads").iterdir()) == []


@pytest.mark.parametrize(("query", "said"), [
    ("file=a.exe", "file: only "),
    ("file=", "file: only "),
    ("file=job.yaml", "file: only "),
    ("file=a.md&colour=red", "colour: there is no such field"),
    ("file=a.md&fps=many", "fps: 'many' is no whole number"),
    ("file=a.md&fps=0&live=1", "fps: 0 is not usable; choose 1 to 60"),
    ("file=a.md&live=1&batch=1", "live and batch: choose one of them"),
    ("file=a.md&by=25:00&zone=UTC", "by: '25:00' is not usable; "),
    ("path=/nowhere/a.pdf", "/nowhere/a.pdf: there is no such file; check the path"),
    ("path=/etc/passwd", "/etc/passwd: is neither a job spec nor a document by its name; give "),
])  # fmt: skip
def test_a_wrong_job_is_answered_with_what_would_be_right(site: Served, query: str, said: str) -> None:
    status, answer = site.json(f"/api/requests?{query}", "POST", b"# Kites\n\nThey fly.\n", **_OURS)
    assert status == 400 and answer["error"].startswith(said), answer
    assert not (site.results / ".hpcwise" / "inbox").is_dir() or not any(
        (site.results / ".hpcwise" / "inbox").iterdir()
    )


@pytest.mark.parametrize(("given", "kept"), [
    ("../../etc/paper.pdf", "paper.pdf"),
    ("C:\\papers\\paper.PDF", "paper.pdf"),
    ("a\0b\n<script>.md", "a_b__script_.md"),
    (".md", "document.md"),
    ("...hidden.txt", "hidden.txt"),
    ("é" * 300 + ".pdf", "_" * 80 + ".pdf"),
])  # fmt: skip
def test_the_name_of_an_upload_is_made_harmless(given: str, kept: str) -> None:
    assert safe_name(given) == kept


def test_with_a_token_nothing_but_the_way_in_is_served(guarded: Served) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", guarded.token)
    status, _, body = guarded.ask("/")
    assert status == 200 and b'id="login"' in body
    for path in (
        "/api/site",
        "/api/events",
        "/films/a/film.mp4",
        "/thumbs/0123456789/0.jpg",
        "/pictures/a/0.jpg",
    ):
        assert guarded.ask(path)[0] == 401
        assert guarded.ask(path, Authorization="Bearer " + guarded.token[:-1] + "~")[0] == 401
    assert guarded.ask("/api/requests?file=a.md", "POST", b"# a", **_OURS)[0] == 401
    assert guarded.ask("/api/site", Authorization=f"Bearer {guarded.token}")[0] == 200


def test_the_token_is_exchanged_for_a_cookie_that_does_not_hold_it(guarded: Served) -> None:
    assert guarded.json("/login", "POST", b"wrong", **_OURS)[0] == 401
    status, headers, _ = guarded.ask("/login", "POST", guarded.token.encode(), **_OURS)
    cookie = headers["set-cookie"]
    assert status == 200 and "httponly" in cookie.lower() and "samesite=strict" in cookie.lower()
    assert guarded.token not in cookie
    pair = cookie.split(";")[0]
    assert guarded.ask("/api/site", Cookie=pair)[0] == 200
    assert guarded.ask("/api/site", Cookie=pair[:-1] + "~")[0] == 401
    _, _, body = guarded.ask("/", Cookie=pair)
    assert b'id="film"' in body


def test_a_token_file_is_used_and_not_printed(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("0123456789abcdef0123456789\n")
    path.chmod(stat.S_IRUSR | stat.S_IWUSR)
    with Served(tmp_path / "results", "--token", str(path)) as served:
        assert "0123456789abcdef" not in served.said + served.errors()
        assert served.ask("/api/site", Authorization="Bearer 0123456789abcdef0123456789")[0] == 200
    assert served.code == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_without_a_token_another_user_of_this_machine_is_refused(site: Served) -> None:
    program = (
        f"import os, socket; os.setuid(65534); c = socket.socket(); c.connect(('127.0.0.1', {site.port})); "
        "c.sendall(b'GET /api/site HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n'); "
        "print(c.recv(99).split()[1].decode())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "403\n"


def test_the_owner_of_a_connection_is_read_from_the_kernels_table() -> None:
    lines = [
        "  0: 0100007F:A0B1 0100007F:223D 01 00000000:00000000 00:00000000 00000000  1000        0 1 1",
        "  1: 0100007F:223D 0100007F:A0B1 01 00000000:00000000 00:00000000 00000000  2000        0 1 1",
        "  2: 0100007F:A0B2 0100007F:223D 06 00000000:00000000 00:00000000 00000000     0        0 1 1",
    ]
    six = "0000000000000000FFFF00000100007F"
    mapped = [f"  0: {six}:A0B3 {six}:223D 01 00000000:00000000 00:00000000 00000000  3000        0 1 1"]
    server = ("127.0.0.1", 0x223D)
    assert owner_in(lines, ("127.0.0.1", 0xA0B1), server) == 1000
    assert owner_in(lines, ("127.0.0.1", 0xA0B2), server) is None  # closed: nobody's any more
    assert owner_in(lines, ("127.0.0.2", 0xA0B1), server) is None
    assert owner_in(mapped, ("127.0.0.1", 0xA0B3), server) == 3000
    assert owner_in(mapped, ("nonsense", 0xA0B3), server) is None


@pytest.mark.parametrize(("host", "ok"), [
    ("node7:8765", True), ("proxy.example", True), ("10.1.2.3:80", True), ("[2001:db8::1]:80", True),
    ("evil.example", False), ("node7.evil.example", False), ("node7:port", False), ("a b", False),
])  # fmt: skip
def test_on_all_addresses_any_address_and_the_given_names_are_ours(host: str, ok: bool) -> None:
    doors = Doors(names=("localhost", "node7", "proxy.example"), token="t" * 20, any_address=True)
    assert doors.host_ok(host) is ok


def test_a_name_with_an_unknown_type_is_named_with_the_fix() -> None:
    with pytest.raises(UsageError, match=r"only \.pdf, .* are taken; save the document as one"):
        safe_name("film.mp4")
