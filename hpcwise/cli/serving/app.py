"""The page's server: routes and nothing else. What they answer comes from feed, jobs and films."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import Final

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route

from hpcwise import __version__
from hpcwise.cli import submission
from hpcwise.cli.run import Run
from hpcwise.cli.serving import films, jobs
from hpcwise.cli.serving.feed import Feed, Viewer
from hpcwise.cli.serving.guard import Doors
from hpcwise.cli.serving.playlists import playlist
from hpcwise.cli.specfile import DOCUMENT_SUFFIXES
from hpcwise.core.errors import HpcwiseError, UsageError
from hpcwise.core.explain import Explanation
from hpcwise.core.report import Receipt, RequestRow, RequestView
from hpcwise.models import drawn
from hpcwise.store.inbox import Inbox
from hpcwise.store.paths import check_token
from hpcwise.wire import messages as w

log = logging.getLogger(__name__)
Handler = Callable[[Request], Awaitable[Response]]

_PAGE: Final = Path(__file__).parent / "page"
#: What the page is made of, and its type. The fonts are those of the films.
_STATIC: Final = {
    "style.css": (_PAGE, "text/css; charset=utf-8"),
    "page.mjs": (_PAGE, "text/javascript; charset=utf-8"),
    "login.mjs": (_PAGE, "text/javascript; charset=utf-8"),
    "hls.min.js": (_PAGE, "text/javascript; charset=utf-8"),
    "icon.svg": (_PAGE, "image/svg+xml"),
    "Inter-Regular.otf": (Path(drawn.__file__).parent / "fonts", "font/otf"),
    "Inter-SemiBold.otf": (Path(drawn.__file__).parent / "fonts", "font/otf"),
}
#: Proxies and browsers close what is silent for long; seconds between two signs of life.
_ALIVE_S: Final = 10.0
_NO_STORE: Final = {"Cache-Control": "no-store"}


def make_app(run: Run, doors: Doors, feed: Feed) -> Starlette:
    """The application without its guard; it starts and ends the feed."""
    timelines = films.Timelines(run)
    uploads = asyncio.Semaphore(2)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        feed.start()
        try:
            yield
        finally:
            await asyncio.to_thread(feed.close)

    async def index(request: Request) -> Response:
        known = not doors.token or doors.known(request.headers)
        page = (_PAGE / ("index.html" if known else "login.html")).read_bytes()
        return Response(page, media_type="text/html; charset=utf-8", headers=_NO_STORE)

    async def static(request: Request) -> Response:
        entry = _STATIC.get(request.path_params["name"])
        if entry is None:
            return _nothing()
        folder, kind = entry
        return FileResponse(
            folder / request.path_params["name"], media_type=kind, headers={"Cache-Control": "no-cache"}
        )

    async def login(request: Request) -> Response:
        given = (await _small_body(request)).decode("utf-8", "replace").strip()
        if not doors.token or not doors.token_ok(given):
            await asyncio.sleep(0.5)
            return _complaint("that is not the token of this server", 401)
        response = _json({"ok": True})
        name, value = doors.cookie
        response.set_cookie(name, value, httponly=True, samesite="strict", max_age=30 * 86400)
        return response

    async def site(_request: Request) -> Response:
        return _json(
            {"version": __version__, "suffixes": DOCUMENT_SUFFIXES, "most_bytes": jobs.MAX_UPLOAD_BYTES,
             "results": str(run.results), "folder": str(Path.cwd())}
        )  # fmt: skip

    async def events(request: Request) -> Response:
        film = request.query_params.get("film", "")
        viewer = Viewer(check_token(film, "film") if film else "")
        feed.join(viewer)

        async def stream() -> AsyncIterator[bytes]:
            try:
                yield b"retry: 1000\n\n"
                while not viewer.over:
                    news = await viewer.news(_ALIVE_S)
                    yield (
                        b"".join(
                            b"event: %s\ndata: %s\n\n" % (kind.encode(), data) for kind, data in news.items()
                        )
                        or b": still here\n\n"
                    )
            finally:
                feed.leave(viewer)

        headers = {**_NO_STORE, "X-Accel-Buffering": "no"}
        return StreamingResponse(stream(), media_type="text/event-stream", headers=headers)

    async def submit(request: Request) -> Response:
        form = dict(request.query_params)
        # What can be refused is refused before a byte of the document is read.
        jobs.options_of(form)
        rows = await feed.ask(w.AskList, tuple[RequestRow, ...])
        states = {row.request_id: row.state for row in rows}

        def known() -> dict[str, str]:
            waits = Inbox(run.paths).pending() if run.paths.inbox.is_dir() else []
            return {**{entry.token: "submitted" for entry in waits}, **states}

        if form.get("path"):
            handed = await run_in_threadpool(jobs.hand_in, run, Path(form["path"]).expanduser(), form, known)
        else:
            name = jobs.safe_name(form.get("file", ""))
            length = request.headers.get("content-length", "")
            if length.isdigit() and int(length) > jobs.MAX_UPLOAD_BYTES:
                raise jobs.TooLarge(
                    f"file: is larger than {jobs.MAX_UPLOAD_BYTES >> 20} MiB; name its path on this machine"
                )
            async with uploads:
                with jobs.scratch(run) as folder:
                    await jobs.receive(request.stream(), folder / name)
                    handed = await run_in_threadpool(jobs.hand_in, run, folder / name, form, known)
        if handed.state in ("submitted", "growing", "running"):
            await feed.need_head()
        if handed.state == "submitted":
            await _taken(run, handed.request_id)
        return _json(handed, 201 if handed.new else 200)

    async def start_head(_request: Request) -> Response:
        await feed.need_head()
        return _json({"ok": True})

    async def cancel(request: Request) -> Response:
        name = _request_id(request)
        path = run.paths.submission(name)
        try:
            await feed.ask(lambda ident: w.CancelRequest(ident, name), RequestView)
        except UsageError:
            if not path.is_file():
                raise
            path.unlink(missing_ok=True)  # no head has taken it
        return _json({"request_id": name})

    async def explain(request: Request) -> Response:
        name = _request_id(request)
        text = request.query_params.get("shot", "")
        if text and not (text.isascii() and text.isdigit() and len(text) < 7):
            raise UsageError(f"shot: {text[:20]!r} is no number")
        shot = int(text) if text else None
        return _json(await feed.ask(lambda ident: w.AskExplain(ident, name, shot), Explanation))

    async def receipt(request: Request) -> Response:
        name = _request_id(request)
        path = films.film_file(run, name, "receipt.json")
        found = await feed.ask(lambda ident: w.AskReceipt(ident, name), Receipt) if path is None else None
        data = msgspec.json.format(msgspec.json.encode(found)) if path is None else path.read_bytes()
        headers = {**_NO_STORE, "Content-Disposition": f'attachment; filename="{name}-receipt.json"'}
        return Response(data, media_type="application/json", headers=headers)

    async def timeline(request: Request) -> Response:
        data = await run_in_threadpool(timelines.of, _request_id(request))
        return Response(data, media_type="application/json", headers=_NO_STORE)

    async def live(request: Request) -> Response:
        path = films.live_file(run, request.path_params["request"], request.path_params["name"])
        if path is None:
            return _nothing()
        if path.suffix == ".m3u8":
            data = await playlist(path, request.query_params.get("_HLS_msn", ""), lambda: feed.ending)
            return Response(data, media_type=films.TYPES[path.suffix], headers=_NO_STORE)
        return Response(path.read_bytes(), media_type=films.TYPES[path.suffix], headers=_NO_STORE)

    async def film(request: Request) -> Response:
        name = request.path_params["name"]
        path = films.film_file(run, request.path_params["request"], name)
        if path is None:
            return _nothing()
        saved = f"{request.path_params['request']}{path.suffix}" if "save" in request.query_params else None
        return FileResponse(
            path, media_type=films.TYPES[path.suffix], filename=saved, headers={"Cache-Control": "no-cache"}
        )

    async def thumb(request: Request) -> Response:
        path = films.thumbnail(run, request.path_params["key"], request.path_params["chunk"])
        if path is None:
            return _nothing()
        # The key is a hash of all that the picture follows from: it never changes.
        headers = {"Cache-Control": "private, max-age=31536000, immutable"}
        return Response(path.read_bytes(), media_type="image/jpeg", headers=headers)

    async def picture(request: Request) -> Response:
        found = feed.picture(request.path_params["request"], request.path_params["shot"])
        if found is None:
            return _nothing()
        headers = {"Cache-Control": "private, no-cache", "ETag": f'"{found.tag}"'}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(found.jpeg, media_type="image/jpeg", headers=headers)

    app = Starlette(
        lifespan=lifespan,
        routes=[
            Route("/", index),
            Route("/page/{name}", static),
            Route("/login", _plain(login), methods=["POST"]),
            Route("/api/site", _plain(site)),
            Route("/api/events", _plain(events)),
            Route("/api/requests", _plain(submit), methods=["POST"]),
            Route("/api/head", _plain(start_head), methods=["POST"]),
            Route("/api/requests/{request}/cancel", _plain(cancel), methods=["POST"]),
            Route("/api/requests/{request}/explain", _plain(explain)),
            Route("/api/requests/{request}/receipt", _plain(receipt)),
            Route("/api/requests/{request}/timeline", _plain(timeline)),
            Route("/films/{request}/live/{name}", _plain(live)),
            Route("/films/{request}/{name}", _plain(film)),
            Route("/thumbs/{key}/{chunk:int}.jpg", _plain(thumb)),
            Route("/pictures/{request}/{shot:int}.jpg", _plain(picture)),
        ],
    )
    app.router.redirect_slashes = False
    return app


def _plain(handler: Handler) -> Handler:
    """Errors in plain words: `{"error": …}` with a fitting status."""

    @wraps(handler)
    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except jobs.TooLarge as error:
            return _complaint(str(error), 413)
        except UsageError as error:
            return _complaint(str(error), 400)
        except HpcwiseError as error:
            return _complaint(str(error), 503)
        except ClientDisconnect:
            return _complaint("the upload broke off", 400)
        except OSError as error:
            log.warning("%s: %s", request.url.path, error)
            return _complaint(error.strerror or "the disk cannot be read", 503)

    return answer


async def _taken(run: Run, request_id: str) -> None:
    """Wait a moment for the head's word; raises UsageError where it refuses. Without one the job waits."""
    for _ in range(100):
        answer = await run_in_threadpool(submission.answer_to, run, request_id)
        if answer is not None and not answer.accepted:
            raise UsageError(f"{request_id}: refused: {answer.error}")
        if answer is not None:
            return
        await asyncio.sleep(0.05)


def _request_id(request: Request) -> str:
    return check_token(request.path_params["request"], "request")


async def _small_body(request: Request, most_bytes: int = 4096) -> bytes:
    body = b""
    async for block in request.stream():
        body += block
        if len(body) > most_bytes:
            raise jobs.TooLarge("this is longer than any token")
    return body


def _json(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json", headers=_NO_STORE)


def _complaint(text: str, status: int) -> Response:
    shown = "\n".join("".join(c if c.isprintable() else "?" for c in line) for line in text.splitlines())
    return _json({"error": shown}, status)


def _nothing() -> Response:
    return _complaint("there is no such thing here", 404)
