"""A model that takes the time its profile says and writes artifacts of true size.

For tests, chaos and planning at scale: queueing, streaming, storage, cancellation and recovery are real,
only the pictures are not. Its bytes follow from seed, parameters and input facts, so that an undisturbed
run and one that was killed at random can be compared hash by hash.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np

from hpcwise.core.errors import BadOutput, Stopped, UsageError
from hpcwise.models.base import Call, Devices, Input, LoopState, ModelSpec, OnStep, Output

_BLOCK: Final = 1 << 20


class EmulatedParams(msgspec.Struct, frozen=True, kw_only=True):
    """What to emulate; other fields of the recipe are taken into the digest and otherwise ignored.

    seconds, steps: of the whole task, spread evenly over its chunks. nbytes: of the whole artifact; with 0
    it has facts only. memory_gb: touched while it runs. facts: in every chunk; chunk_facts: by chunk.
    checkpoints: steps inside a chunk survive the process.
    fail: what happens before chunk `fail_at_chunk` unless the attempt resumes there: an error, the
    process ending, or no further step for ever.
    """

    seconds: float = 0.0
    steps: int = 0
    chunks: int = 1
    nbytes: int = 0
    memory_gb: float = 0.0
    facts: dict[str, Any] = {}
    chunk_facts: tuple[dict[str, Any], ...] = ()
    checkpoints: bool = False
    fail: Literal["", "error", "bad_output", "exit", "hang"] = ""
    fail_at_chunk: int = 0


class EmulatedAdapter:
    """Adapter of family `emulated`. Options: load_s (seconds to load), memory_gb (held while loaded), scales
    (a gang of n is n times as fast), speeds (how fast each kind of device is, by name; 1 where not named).
    """

    def load(self, spec: ModelSpec, devices: Devices) -> None:
        """Take `load_s` seconds and hold `memory_gb`; nothing to be missing."""
        time.sleep(float(spec.options.get("load_s", 0.0)))
        self._held = _touched(float(spec.options.get("memory_gb", 0.0)))
        #: Devices of the replica: a gang of n is n times as fast where `scales` is set.
        gang = devices.world if spec.options.get("scales") else 1
        self._speed = gang * float(dict(spec.options.get("speeds", {})).get(devices.kind, 1.0))

    def run(self, call: Call, on_step: OnStep, should_stop: Callable[[], bool]) -> Iterator[Output]:
        """Yield `chunks` outputs, each with `digest` among its facts and data.bin when nbytes > 0."""
        params = msgspec.convert(call.params, EmulatedParams)
        if params.chunks < 1 or params.seconds < 0 or params.nbytes < 0:
            raise UsageError("emulated: chunks must be at least 1, seconds and nbytes at least 0")
        recipe = hashlib.sha256(msgspec.json.encode([call.stage, call.seed, call.params], order="sorted"))
        held = _touched(params.memory_gb)
        inputs = dict(call.inputs)
        steps = max(params.steps, params.chunks) if params.seconds > 0 else params.steps
        done = steps * call.first_chunk // params.chunks
        for chunk in range(params.chunks):
            digest = recipe.copy()
            digest.update(b"%d" % chunk)
            # Inputs are drawn for skipped chunks too: chunk k is the same whatever came before it.
            for name, taken in _draw(inputs, last=chunk == params.chunks - 1):
                digest.update(msgspec.json.encode([name, taken.facts], order="sorted"))
            if chunk < call.first_chunk:
                continue
            if params.fail and chunk == params.fail_at_chunk and (chunk != call.first_chunk or chunk == 0):
                _fail(params.fail, should_stop)
            target = steps * (chunk + 1) // params.chunks
            keep = call.checkpoints if params.checkpoints else None
            saved = keep.latest(chunk) if keep is not None else None
            if saved is not None:
                done = saved[0]
            while done < target:
                if keep is not None:
                    keep.offer(chunk, done, done / steps, _nothing)
                on_step(done, steps, "emulating")
                time.sleep(params.seconds / steps / self._speed)
                done += 1
            if steps:
                on_step(done, steps, "emulated")
            facts = {**params.facts, "digest": digest.hexdigest()[:16]}
            if chunk < len(params.chunk_facts):
                facts.update(params.chunk_facts[chunk])
            size = params.nbytes * (chunk + 1) // params.chunks - params.nbytes * chunk // params.chunks
            files = {"data.bin": _write(call.work, digest.digest(), size)} if size else {}
            yield Output(files=files, facts=facts)
        del held


def _nothing() -> LoopState:
    return LoopState({})


def _draw(inputs: Mapping[str, Iterator[Input]], *, last: bool) -> Iterator[tuple[str, Input]]:
    """One chunk of each input; all that remain for the last output."""
    for name in sorted(inputs):
        for taken in inputs[name]:
            yield name, taken
            if not last:
                break


def _fail(how: str, should_stop: Callable[[], bool]) -> None:
    match how:
        case "error":
            raise RuntimeError("emulated failure")
        case "bad_output":
            raise BadOutput("emulated black frames")
        case "exit":
            os._exit(3)
        case "hang":
            # Makes no step, and does not ask whether it should stop: only Kill ends it.
            while True:
                time.sleep(3600)
        case _:
            if should_stop():
                raise Stopped("stopped")


def _touched(memory_gb: float) -> bytearray:
    """Memory that is really there: a page that nobody wrote to takes none."""
    held = bytearray(int(memory_gb * 1e9))
    held[::4096] = b"\1" * len(held[::4096])
    return held


def _write(work: Path, digest: bytes, nbytes: int) -> Path:
    random = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))
    path = work / "data.bin"
    with path.open("wb") as file:
        left = nbytes
        while left:
            block = min(left, _BLOCK)
            file.write(random.bytes(block))
            left -= block
    return path
