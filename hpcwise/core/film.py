"""The film of a request as the engine sees it: what can be published, what must be made again, its plan."""

from __future__ import annotations

import msgspec

from hpcwise.core import messages as m
from hpcwise.core.planner import remakes
from hpcwise.core.scheduler import Emit
from hpcwise.core.screenplay import Scene, Screenplay
from hpcwise.core.spec import Music
from hpcwise.core.state import ENDED, LIVE_REQUEST, FilmSegment, RequestRecord, TaskRecord
from hpcwise.core.units import RequestId
from hpcwise.core.world import World


class FilmPlan(msgspec.Struct, frozen=True, kw_only=True):
    """All that stitching needs. segments: in film order. last_shot: the film's last, -1 while nobody knows.
    screenplay: what is said, of a film that is whole; document_key: of what it rests on ("" for none)."""

    request_id: RequestId
    width: int
    height: int
    fps: int | float
    title: str
    segments: tuple[FilmSegment, ...]
    poster_segment: int
    outputs: tuple[str, ...]
    subtitles: tuple[str, ...]
    document_key: str = ""
    screenplay: Screenplay | None = None
    last_shot: int = -1
    music: Music | None = None
    renditions: tuple[tuple[int, int], ...] = ()


def advance_film(world: World, emit: Emit, request_id: RequestId) -> None:
    """Publish what is next, stitch when all is there, make degraded shots again, end the request."""
    request = world.state.requests[request_id]
    if request.state not in LIVE_REQUEST:
        return
    broken = _broken_task(world, request)
    if broken is not None:
        n = broken.failures  # none where its model did not load
        times = f" failed {n} times" if n > 1 else " failed" if n else ""
        reason = f"{broken.spec.task_id}{times}: {broken.why}"
        emit(m.RequestEnded(request_id, "failed", reason))
        return
    if request.job.workflow == "graph":
        if request.open_tasks == 0 and request.last:
            emit(m.RequestEnded(request_id, "done"))
        return
    if "hls" in request.job.outputs:
        _publish(world, emit, request)
    if not request.last or not _all_filmed(world, request):
        return
    wanted = 1 + int(request.remade)
    if request.film_asked < wanted and (not request.remade or _all_remade(world, request)):
        emit(m.MakeFilm(request_id, wanted))
    elif request.film_version >= wanted:
        degraded = [] if request.remade else degraded_shots(world, request)
        if degraded and _affordable(world, request, degraded):
            emit(remakes(request, world.state.tasks, degraded))
        else:
            emit(m.RequestEnded(request_id, "done"))


def degraded_shots(world: World, request: RequestRecord) -> list[int]:
    """Shots that were lowered for time; those that failed in their best alternative are left as they are."""
    tasks = world.state.tasks
    return [
        s.index for s in request.shots if tasks[s.task_id].alternative > 0 and not tasks[s.task_id].broken
    ]


def film_task(world: World, request: RequestRecord, index: int) -> TaskRecord:
    """The best version of a shot: its remake when that is finished, else what was published."""
    shot = request.shots[index]
    remake = world.state.tasks.get(f"{shot.task_id}/remake")
    if remake is not None and remake.state == "finished":
        return remake
    return world.state.tasks[shot.task_id]


def film_plan(world: World, request_id: RequestId, live: bool) -> FilmPlan:
    """The plan of the live playlist (what was published) or of film.mp4 (the best of each shot)."""
    request = world.state.requests[request_id]
    segments: list[FilmSegment] = []
    if live:
        segments.extend(request.segments)
    else:
        for shot_record in request.shots:
            task = film_task(world, request, shot_record.index)
            n_chunks = world.state.artifacts[task.key].n_chunks
            segments.extend(segment_of(world, shot_record.index, task, k) for k in range(n_chunks))
    document = world.state.tasks.get(f"{request_id}/document")
    read = world.state.artifacts.get(document.key) if document else None
    facts = read.facts if read is not None else {}
    poster = next((i for i, s in enumerate(segments) if s.shot == 1), 0)
    job = request.job
    title = job.name or str(facts.get("title", "")) or request_id
    return FilmPlan(
        request_id=request_id,
        width=job.width,
        height=job.height,
        fps=job.fps,
        title=title,
        segments=tuple(segments),
        poster_segment=poster,
        outputs=job.outputs,
        subtitles=job.subtitles,
        document_key=document.key if document and read else "",
        screenplay=None if live else _told(world, request_id, title),
        last_shot=len(request.shots) - 1 if request.last else -1,
        music=job.music,
        renditions=job.renditions,
    )


def _told(world: World, request_id: RequestId, title: str) -> Screenplay | None:
    """The screenplay as the shots were made of it: a second attempt of its stage may have other words in its
    files, and the files may be gone."""
    task = world.state.tasks.get(f"{request_id}/screenplay")
    artifact = world.state.artifacts.get(task.key) if task else None
    scenes = [facts for facts in artifact.chunk_facts if "scene" in facts] if artifact else []
    if not scenes:
        return None
    return Screenplay(
        title=title,
        scenes=tuple(msgspec.convert(facts["scene"], Scene) for facts in scenes),
        written_by=next((str(facts["written_by"]) for facts in scenes if facts.get("written_by")), ""),
        notes=tuple(str(note) for facts in scenes for note in facts.get("notes", ())),
    )


def segment_of(world: World, shot: int, task: TaskRecord, chunk: int) -> FilmSegment:
    """Chunk `chunk` of a film task whose artifact is there, as a segment of the film."""
    facts = world.state.artifacts[task.key].chunk_facts
    speech = speech_of(world, task)
    # A task that makes a part of a shot knows which frames these really are once speech has been heard.
    before = int(facts[0].get("first_frame", task.spec.params.get("first_frame", 0)))
    return FilmSegment(
        shot=shot,
        key=task.key,
        chunk=chunk,
        frames=int(facts[chunk].get("frames", 0)),
        first_frame=before + sum(int(f.get("frames", 0)) for f in facts[:chunk]),
        speech_key=speech.key if speech else "",
        task_id=task.spec.task_id,
    )


def speech_of(world: World, task: TaskRecord) -> TaskRecord | None:
    """The speech that a film task shows, which it or one of those before it takes as input `speech`."""
    seen, queue = {task.spec.task_id}, [task]
    for at in queue:
        for edge in at.spec.inputs:
            source = world.state.tasks[edge.source]
            if edge.name == "speech":
                return source
            if edge.source not in seen:
                seen.add(edge.source)
                queue.append(source)
    return None


def _publish(world: World, emit: Emit, request: RequestRecord) -> None:
    while request.next_shot < len(request.shots):
        shot = request.shots[request.next_shot]
        task = world.state.tasks[shot.task_id]
        if request.next_chunk >= task.chunks:
            return
        emit(
            m.Publish(
                request_id=request.request_id,
                index=len(request.segments),
                task_id=shot.task_id,
                key=task.key,
                chunk=request.next_chunk,
                shot=shot.index,
            )
        )


def _all_filmed(world: World, request: RequestRecord) -> bool:
    if "hls" in request.job.outputs and (request.next_shot < len(request.shots) or request.publishing):
        return False
    document = world.state.tasks.get(f"{request.request_id}/document")
    if document is not None and document.state != "finished":
        return False  # its text goes beside the film
    # A segment that was published may have been found torn since: its task is made again.
    return all(world.state.tasks[s.task_id].state == "finished" for s in request.shots)


def _all_remade(world: World, request: RequestRecord) -> bool:
    made = (world.state.tasks.get(f"{s.task_id}/remake") for s in request.shots)
    return all(t is None or t.state in ENDED for t in made)


def _affordable(world: World, request: RequestRecord, shots: list[int]) -> bool:
    budget = request.job.budget_usd
    if budget is None:
        return True
    prices = []
    for index in shots:
        task = world.state.tasks[request.shots[index].task_id]
        best = task.spec.alternatives[0]
        rates = [
            world.profiles.cost_usd(c.hardware, c.n_devices, world.typical_s(best, task.scale))
            for c in world.fleet.hosting(best.model)
        ]
        prices.append(min(rates, default=0.0))
    return request.cost_usd + sum(prices) <= budget


def _broken_task(world: World, request: RequestRecord) -> TaskRecord | None:
    for task_id in request.quarantined:
        task = world.state.tasks[task_id]
        if not task.spec.remake_of:
            return task
    return None


def title_of(world: World, request: RequestRecord) -> str:
    """The document's own title, until it is known the job's name."""
    task = world.state.tasks.get(f"{request.request_id}/document")
    artifact = world.state.artifacts.get(task.key) if task else None
    return str(artifact.facts.get("title", "")) if artifact else request.job.name


def licences_of(world: World, request: RequestRecord) -> dict[str, str]:
    """Model -> licence, of every model that finished something of the request."""
    known, tasks = world.config.catalogue.models, world.state.tasks
    finished = (tasks[i] for i in request.tasks if tasks[i].state == "finished")
    used = sorted({t.spec.alternatives[t.alternative].model for t in finished})
    return {name: known[name].licence for name in used if name in known and known[name].licence}
