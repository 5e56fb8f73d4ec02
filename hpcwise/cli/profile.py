"""`hpcwise profile`: measure a model on this machine's workers and fit its profile."""

from __future__ import annotations

import datetime
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from hpcwise.cli.completion import planned_models
from hpcwise.cli.output import console, print_json, table
from hpcwise.cli.profilegpu import Beside
from hpcwise.cli.profilejobs import Plan, plan_for
from hpcwise.cli.run import Run, json_option
from hpcwise.core.catalogue import LinearProfile, ModelInfo
from hpcwise.core.errors import HpcwiseError, UsageError
from hpcwise.core.measure import VIDEO_TERMS, Judgement, Measurement, check_measurement, judge
from hpcwise.core.profiles import profile_s

#: Where a site keeps the profiles that it measured; they replace those on the cards.
SITE = "site"
_HEAD = (
    "Profiles measured at this site by `hpcwise profile MODEL --write`. They replace those on the cards;",
    "remove an entry to have the card's again.",
)


class Profiled(msgspec.Struct, frozen=True, kw_only=True):
    """What a measuring run gave, by hardware. beside: the artifact's times on `beside_hardware`, for results
    of scripts/bench/gpu."""

    model: str
    measurements: tuple[Measurement, ...]
    profiles: dict[str, LinearProfile]
    verdicts: dict[str, Judgement]
    written: str = ""
    beside: tuple[Beside, ...] = ()
    beside_hardware: str = ""


@click.command("profile")
@click.argument("model", shell_complete=planned_models)
@click.option("--rounds", type=click.IntRange(1, 20), default=2, show_default=True, help="Runs of each size.")
@click.option("--write", is_flag=True, help="Use the profile from now on (configs/profiles/site.yaml).")
@click.option(
    "--run-dir", "folder", default="results/profiles", show_default=True, metavar="FOLDER",
    help="Where the measuring jobs run.",
)  # fmt: skip
@click.option(
    "--from", "source", type=click.Path(path_type=Path), metavar="FILE",
    help="Fit a result of scripts/bench/gpu; run nothing.",
)  # fmt: skip
@click.option("--hardware", default="", metavar="NAME", help="What --from was measured on (by its device).")
@json_option
def profile_command(
    model: str, rounds: int, write: bool, folder: str, source: Path | None, hardware: str, as_json: bool
) -> int:
    """Measure MODEL: jobs of several sizes through a real head with one worker, and fit its profile.

    Prints what was measured and what the profile says of it. Close other programs first: what disturbs a
    run is measured too. Of equal sizes the fastest run counts.

    With --from the measurements are those of a GPU benchmark's result, which are also compared with the
    StreamWise artifact's.
    """
    from hpcwise.head.settings import find_configs, find_models_dir, read_models
    from hpcwise.models.registry import Registry

    _need_sklearn()
    configs = find_configs()
    if source is not None:
        result = of_gpu(source, model, hardware, write=write)
        return _end(result, configs, write=write, as_json=as_json)
    if hardware:
        raise UsageError("--hardware: says what --from was measured on; leave it out without it")
    card = Registry.read(configs / "models", find_models_dir()).card(model)
    info = read_models(configs / "models")[model]
    run = Run.at(folder)
    run.create()
    inputs = run.inputs / "profile"
    plan = plan_for(model, card.family, inputs, int(time.time()), rounds)
    inputs.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, text in plan.documents.items():
        (inputs / name).write_text(text, "utf-8")
    if not as_json:
        click.echo(f"{model}: {len(plan.samples)} runs on one worker …", err=True)
    measured = measure(run, model, plan)
    result = fitted(info, measured, plan.terms, datetime.date.today().isoformat())
    return _end(result, configs, write=write, as_json=as_json)


def of_gpu(source: Path, model: str, hardware: str, *, write: bool) -> Profiled:
    """The profile of a result of scripts/bench/gpu, and the artifact beside it. write: it is to be used.
    Raises UsageError."""
    from hpcwise.cli import profilegpu
    from hpcwise.cli.measurements import read_all
    from hpcwise.head.planning import read_planning
    from hpcwise.head.settings import ProfileFile, find_configs, read_file

    configs = find_configs()
    catalogue = read_planning(configs, "fitted")
    made = profilegpu.read_gpu(source)
    if hardware and hardware not in catalogue.hardware:
        raise UsageError(f"--hardware: {hardware!r} is none of {', '.join(catalogue.hardware)}")
    hardware = hardware or profilegpu.hardware_of(made.device, catalogue.hardware)
    measured = profilegpu.measurements_of(made, model, hardware)
    if write:
        profilegpu.check_size(made, catalogue.models[profilegpu.WHOLE])
    published = read_file(configs / "profiles" / "fitted.yaml", ProfileFile).profiles[model]
    result = fitted(catalogue.models[model], measured, VIDEO_TERMS, made.measured_on)
    power_w = made.figures.get("power_w", 0.0) if profilegpu.MODELS[model][0] else 0.0
    own = profilegpu.refined(result.profiles[hardware], published.get(hardware), measured, power_w)
    result = msgspec.structs.replace(result, profiles={hardware: own})
    other = hardware if hardware in published else profilegpu.ELSE_HARDWARE
    artifact = [m for m in read_all(configs / "profiles" / "measured") if m.hardware == other]
    rows = profilegpu.beside(made, model, artifact, published[other])
    return msgspec.structs.replace(result, beside=tuple(rows), beside_hardware=other)


def _end(result: Profiled, configs: Path, *, write: bool, as_json: bool) -> int:
    if write:
        path = configs / "profiles" / f"{SITE}.yaml"
        write_site(path, result.model, result.profiles)
        result = msgspec.structs.replace(result, written=str(path))
    if as_json:
        print_json(result)
    else:
        _print(result)
    return 0


def _need_sklearn() -> None:
    from importlib.util import find_spec

    if find_spec("sklearn") is None:
        raise UsageError("fitting needs scikit-learn; install hpcwise[plan]")


def measure(run: Run, model: str, plan: Plan) -> list[Measurement]:
    """Run the plan through a head of its own and read what each task took. Raises HpcwiseError."""
    from hpcwise.cli import submission
    from hpcwise.cli.follow import views
    from hpcwise.cli.localhead import LocalHead, connect_ok
    from hpcwise.cli.specfile import Loaded
    from hpcwise.core.spec import JobSpec

    if connect_ok(run):
        raise UsageError(f"--run-dir: a head runs for {run.results}; measure in a folder of its own")
    loaded = Loaded(JobSpec(workflow="graph", name=f"profile-{model}", graph=plan.tasks), "profile")
    request_id = submission.request_id_of(loaded, submission.known_states(run), run, again=True)
    head = LocalHead(run, 1, with_us=True)
    try:
        submission.submit(run, loaded, request_id)
        head.start()
        while (answer := submission.answer_to(run, request_id)) is None:
            head.look_after()
            time.sleep(0.02)
        if not answer.accepted:
            raise UsageError(f"{request_id}: refused: {answer.error}")
        last = deque(views(run, request_id, head.look_after), maxlen=1).pop()
    finally:
        head.stop()
    if last.row.state != "done":
        raise HpcwiseError(f"{request_id}: {last.row.state}: {last.row.reason}; see hpcwise logs")
    return _read(run, request_id, model, plan)


def _read(run: Run, request_id: str, model: str, plan: Plan) -> list[Measurement]:
    """What the journal says of each sample: the worker's own seconds, features by the artifacts' facts."""
    from hpcwise.cli.offline import engine_of

    state = engine_of(run).state
    best: dict[str, Measurement] = {}
    for sample in plan.samples:
        task = state.tasks[f"{request_id}/{sample.task}"]
        worker = state.workers.get(task.last_worker)
        hardware = worker.info.hardware if worker else "cpu"
        inputs: dict[str, Mapping[str, Any]] = {}
        for edge in task.spec.inputs:
            inputs[edge.name] = state.artifacts[state.tasks[edge.source].key].facts
        features = sample.features(state.artifacts[task.key].facts, inputs)
        m = Measurement(model=model, hardware=hardware, features=features, seconds=task.seconds)
        check_measurement(m, f"{request_id}: task {sample.task}")
        size = hardware + sample.task.rpartition("-")[0]
        before = best.get(size)
        if before is None or m.seconds < before.seconds:
            best[size] = m
        best[size] = msgspec.structs.replace(best[size], runs=before.runs + 1 if before else 1)
    return list(best.values())


def fitted(
    info: ModelInfo, measured: Sequence[Measurement], terms: Sequence[str], measured_on: str
) -> Profiled:
    """Profiles of what was measured. So few sizes are all fitted and judged: nothing is held out."""
    from hpcwise.cli.profilefit import fit_all

    profiles, verdicts = {}, {}
    for hardware in sorted({m.hardware for m in measured}):
        mine = [m for m in measured if m.hardware == hardware]
        profile = fit_all(
            mine, terms, source="hpcwise profile", version=info.version, measured_on=measured_on
        )
        profiles[hardware] = profile
        verdicts[hardware] = judge(profile, mine)
    return Profiled(model=info.name, measurements=tuple(measured), profiles=profiles, verdicts=verdicts)


def write_site(path: Path, model: str, profiles: Mapping[str, LinearProfile]) -> None:
    """Put the profiles of one model into the site's file; those of other models stay."""
    from hpcwise.cli.profilefile import write_profiles
    from hpcwise.head.settings import ProfileFile, read_file

    there = read_file(path, ProfileFile).profiles if path.is_file() else {}
    write_profiles(path, {**there, model: {**there.get(model, {}), **profiles}}, _HEAD)


def _print(result: Profiled) -> None:
    out = console()
    for hardware, profile in result.profiles.items():
        rows = []
        for m in result.measurements:
            if m.hardware == hardware:
                size = ", ".join(f"{name} {value:.4g}" for name, value in m.features.items()) or "any"
                says = profile_s(profile, m.features)
                error = f"{says / m.seconds - 1:+.1%}"
                rows.append((size, f"{m.seconds:.3f}", f"{says:.3f}", error, str(m.runs)))
        columns = ("SIZE", "MEASURED S", "PROFILE S", "ERROR", "RUNS")
        out.print(table(columns, rows, right=("MEASURED S", "PROFILE S", "ERROR", "RUNS")))
        terms = [f"{profile.base_s:g} s"] + [f"{each:g} s x {term}" for term, each in profile.per.items()]
        v = result.verdicts[hardware]
        out.print(f"{result.model} on {hardware}: {' + '.join(terms)}", markup=False)
        out.print(f"R2 {v.r2:.4f}, mean error {v.mape:.1%}, worst {v.worst:.1%}", markup=False)
    if result.beside:
        _print_beside(result)
    out.print(f"written to {result.written}" if result.written else "not written; --write uses it")


def _print_beside(result: Profiled) -> None:
    """The points of a GPU benchmark and the artifact's times for them."""
    rows = []
    for row in result.beside:
        theirs = f"{row.artifact_s:.3f}" if row.artifact_s else "-"
        ratio = row.seconds / (row.artifact_s or row.profile_s) if row.artifact_s or row.profile_s else 0.0
        size = f"{row.width}x{row.height}", str(row.frames), str(row.steps)
        rows.append((*size, f"{row.seconds:.3f}", theirs, f"{row.profile_s:.3f}", f"{ratio:.2f}"))
    artifact = f"ARTIFACT ({result.beside_hardware}) S"
    columns = ("SIZE", "FRAMES", "STEPS", "HERE S", artifact, "ITS PROFILE S", "RATIO")
    console().print(table(columns, rows, right=columns[1:]))
