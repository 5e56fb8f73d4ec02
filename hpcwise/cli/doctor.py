"""`hpcwise doctor`: what this machine lacks for a film, and the fix for each."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import click
import msgspec

from hpcwise.cli.output import console, print_json
from hpcwise.cli.run import Run, json_option, run_dir_option
from hpcwise.cli.values import format_bytes, printable
from hpcwise.core.errors import HpcwiseError

_LIBRARIES: Final = (
    ("av", "av", "makes video and sound"),
    ("skia", "skia-python", "draws"),
    ("onnxruntime", "onnxruntime", "speaks"),
    ("pypdfium2", "pypdfium2", "reads PDFs"),
    ("tokenizers", "tokenizers", "writes screenplays"),
    ("hibari", "hibari-tts", "speaks"),
    ("PIL", "pillow", "crops figures"),
    ("h5py", "h5py", "stores"),
    ("zmq", "pyzmq", "carries messages"),
    ("submitit", "submitit", "starts workers"),
    ("matplotlib", "matplotlib", "draws timelines"),
)
_SPACE_BYTES: Final = 2e9
_INSTALL: Final = "run scripts/quickstart, or pip install 'hpcwise[film]'"


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One finding. ok None: neither good nor bad, only said. fix: empty where nothing is wrong."""

    name: str
    ok: bool | None
    detail: str
    fix: str = ""


@click.command("doctor")
@run_dir_option
@json_option
def doctor_command(run: Run, as_json: bool) -> int:
    """Look at this machine, the run directory and the models.

    Exit code 2 where something that is needed is missing.
    """
    checks = list(examine(run))
    good = all(check.ok is not False for check in checks)
    if as_json:
        print_json({"ok": good, "checks": checks})
        return 0 if good else 2
    from rich.text import Text

    out = console()
    for check in checks:
        mark = Text("  · " if check.ok is None else "  ✓ " if check.ok else "  ✗ ")
        mark.stylize("dim" if check.ok is None else "green" if check.ok else "bold red")
        line = mark + Text(f"{check.name:14} ", style="bold") + Text(printable(check.detail, 200))
        out.print(line)
        if check.fix:
            out.print(Text(f"      → {printable(check.fix, 200)}", style="yellow"))
    wrong = sum(check.ok is False for check in checks)
    out.print(f"\n{'all that a film needs is here' if good else f'{wrong} things to fix'}", style="bold")
    return 0 if good else 2


def examine(run: Run) -> Iterator[Check]:
    """All checks, cheapest first; none of them changes anything that stays."""
    checks: tuple[tuple[str, Callable[[], Iterator[Check]]], ...] = (
        ("python", _python),
        ("libraries", _libraries),
        ("codecs", _codecs),
        ("fonts", _fonts),
        ("configs", _configs),
        ("models", _models),
        ("run directory", lambda: _run_dir(run)),
        ("time zones", _zones),
        ("sockets", _sockets),
        ("machine", _machine),
        ("GPUs", _gpus),
        ("Slurm", _slurm),
        ("head", lambda: _head(run)),
    )
    for name, check in checks:
        try:
            yield from check()
        except HpcwiseError as error:
            said, _, fix = str(error).partition("; ")
            yield Check(name=name, ok=False, detail=said, fix=fix)
        except Exception as error:
            # A library that is broken may raise anything while it is imported: that is the finding.
            yield Check(name=name, ok=False, detail=f"{type(error).__name__}: {error}", fix=_INSTALL)


def _python() -> Iterator[Check]:
    good = sys.version_info >= (3, 11)
    yield Check(
        name="python",
        ok=good,
        detail=f"{sys.version.split()[0]} at {sys.executable}",
        fix="" if good else "use Python 3.11 or later",
    )


def _libraries() -> Iterator[Check]:
    versions = []
    for module, package, what in _LIBRARIES:
        try:
            importlib.import_module(module)
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(package)
        except ImportError as error:
            yield Check(name=package, ok=False, detail=f"{what}; {error}", fix=_INSTALL)
    yield Check(name="libraries", ok=bool(versions), detail=", ".join(versions))


def _codecs() -> Iterator[Check]:
    import av

    lacking = []
    for name in ("libx264", "aac", "h264"):
        try:
            av.codec.Codec(name, "r" if name == "h264" else "w")
        except Exception:
            lacking.append(name)
    detail = f"FFmpeg of PyAV {av.__version__} lacks {', '.join(lacking)}" if lacking else "libx264, aac"
    yield Check(
        name="codecs",
        ok=not lacking,
        detail=detail,
        fix="pip install av (its wheel has them)" if lacking else "",
    )


def _fonts() -> Iterator[Check]:
    from hpcwise.models import drawn

    fonts = sorted((Path(drawn.__file__).parent / "fonts").glob("*.otf"))
    detail = ", ".join(path.stem for path in fonts) or "none"
    yield Check(name="fonts", ok=len(fonts) >= 4, detail=detail, fix="" if len(fonts) >= 4 else _INSTALL)


def _configs() -> Iterator[Check]:
    from hpcwise.head.settings import find_configs, find_models_dir, read_settings

    settings = read_settings(find_configs(), find_models_dir())
    fleet = ", ".join(f"{item.max_workers} {item.kind}" for item in settings.engine.fleet)
    detail = f"{settings.configs_dir}: {len(settings.engine.catalogue.models)} models, workers: {fleet}"
    yield Check(name="configs", ok=True, detail=detail)


def _models() -> Iterator[Check]:
    from hpcwise.cli.models import registry, state_of
    from hpcwise.core.planner import STAGE_MODELS

    cards = registry()
    for stage, names in STAGE_MODELS.items():
        states = [state_of(cards, cards.card(name), hashes=False) for name in names]
        ready = [state.name for state in states if state.state == "ready"]
        best = states[0]
        if best.state == "ready":
            yield Check(name=stage, ok=True, detail=best.name)
        elif best.state == "missing files":
            then = f"; {ready[0]} would do meanwhile" if ready else ""
            yield Check(
                name=stage,
                ok=None,
                detail=f"{best.name} is got when it is first used{then}",
                fix=f"hpcwise models fetch {best.name} gets it now",
            )
        else:
            yield Check(name=stage, ok=bool(ready), detail=best.problem or best.state, fix=_INSTALL)
    for card in cards.cards.values():
        # A checkpoint that nobody put there is no fault; one that is not whole would end a film.
        if card.folder and cards.folder(card).is_dir():
            state = state_of(cards, card, hashes=False)
            if state.state == "missing files":
                yield Check(name=card.name, ok=False, detail=state.problem, fix="put the file there")
    free = shutil.disk_usage(_existing(cards.models_dir)).free
    yield _space("model files", cards.models_dir, free)


def _run_dir(run: Run) -> Iterator[Check]:
    if run.paths.root.exists():
        run.paths.check_usable()
    base = run.paths.root if run.paths.root.exists() else _existing(run.results)
    with tempfile.TemporaryDirectory(prefix=".hpcwise-doctor-", dir=base) as folder:
        one, other = Path(folder, "a"), Path(folder, "b")
        one.write_bytes(b"x")
        try:
            os.link(one, other)
            links = "hard links work"
        except OSError:
            links = "no hard links: epochs are claimed by exclusive creation"
    state = "" if run.paths.root.exists() else ", made when it is first used"
    yield Check(name="run directory", ok=True, detail=f"{run.results}: usable{state}; {links}")
    yield _space("disk", run.results, shutil.disk_usage(base).free)


def _space(name: str, where: Path, free: int) -> Check:
    good = free >= _SPACE_BYTES
    fix = "" if good else f"free {format_bytes(_SPACE_BYTES - free)}, or choose another place"
    return Check(name=name, ok=good, detail=f"{format_bytes(free)} free at {where}", fix=fix)


def _zones() -> Iterator[Check]:
    from zoneinfo import available_timezones

    from hpcwise.cli.values import local_zone

    count = len(available_timezones())
    fix = "" if count > 100 else "pip install tzdata"
    yield Check(
        name="time zones", ok=count > 100, detail=f"{count} known; here it is {local_zone()[1]}", fix=fix
    )


def _sockets() -> Iterator[Check]:
    import zmq

    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(1)
        with socket.create_connection(listening.getsockname(), timeout=2):
            pass
    curve = bool(zmq.has("curve"))
    detail = f"loopback works; libzmq {zmq.zmq_version()} {'with' if curve else 'without'} CURVE"
    yield Check(
        name="sockets",
        ok=curve,
        detail=detail,
        fix="" if curve else "pip install pyzmq (its wheel has CURVE)",
    )


def _machine() -> Iterator[Check]:
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    good = memory >= 2e9
    fix = "" if good else "a film needs 2 GB; use fewer workers or another machine"
    yield Check(name="machine", ok=good, detail=f"{cores} cores, {format_bytes(memory)} of memory", fix=fix)


def _gpus() -> Iterator[Check]:
    """By NVML, where there is a driver: whether their memory is sound."""
    from hpcwise.core.errors import Unhealthy
    from hpcwise.worker.health import Health
    from hpcwise.worker.nvml import described, gpus

    seen = gpus({})
    if not seen.found and not seen.trouble:
        yield Check(name="GPUs", ok=None, detail="none that NVML shows; models run on the cores")
        return
    try:
        Health(seen, Path(), lambda: None, durable=False).look_at_cards()
    except Unhealthy as error:
        fix = "drain this node and reset the GPU (nvidia-smi -r), or have it replaced"
        yield Check(name="GPUs", ok=False, detail=str(error), fix=fix)
        return
    yield Check(name="GPUs", ok=True, detail=", ".join(described(gpu) for gpu in seen.found))


def _slurm() -> Iterator[Check]:
    found = shutil.which("sbatch")
    detail = f"sbatch at {found}" if found else "none here; workers run on this machine"
    yield Check(name="Slurm", ok=None, detail=detail)


def _head(run: Run) -> Iterator[Check]:
    from hpcwise.cli.client import head_address

    address = head_address(run)
    detail = (
        "none runs" if address is None else f"epoch {address.epoch}, process {address.pid} on {address.host}"
    )
    yield Check(name="head", ok=None, detail=detail)


def _existing(path: Path) -> Path:
    """The nearest folder above `path` that exists."""
    while not path.exists():
        path = path.parent
    return path
