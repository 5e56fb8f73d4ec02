"""The two sides of scripts/bench/worker: a call through a worker, and the same call by diffusers alone."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import msgspec
import numpy as np

from hpcwise.core import messages as m
from hpcwise.core.calls import InputRef, RunTask
from hpcwise.head.settings import find_configs
from hpcwise.store.artifacts import Store
from hpcwise.store.keys import ensure_keys
from hpcwise.store.paths import RunPaths
from hpcwise.wire import messages as w
from hpcwise.wire.messages import Down, decode_up, encode
from hpcwise.wire.sockets import CurveKeys, ServerSocket
from hpcwise.wire.start import HeadAddress, WorkerConfig

CHECKPOINT: Final = "tiny-wan2.1-i2v"
_MODEL: Final = "tiny-wan-dit"
_PROMPT: Final = "A host speaks."
_WIDTH, _HEIGHT, _FRAMES = 96, 64, 17
_GUIDANCE: Final = 5.0
_PATIENCE_S: Final = 300.0
#: How often the bench looks whether the worker is still there.
_POLL_MS: Final = 1000


class Player:
    """A process that can take either part, one after the other: diffusers alone, or a worker.

    Two processes that do the same differ by up to a tenth, for as long as they live, by where their memory
    happens to lie. So each takes both parts, with the same pipeline at the same place.
    """

    def __init__(self, models: Path, steps: int) -> None:
        self.models, self.steps = models, steps
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_CBWR": "COMPATIBLE"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "scripts.bench.workerload", str(models / CHECKPOINT), str(steps)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=environment, cwd=Path(__file__).resolve().parents[2],
        )  # fmt: skip

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def tell(self, order: object) -> None:
        """A seed, for a call by diffusers alone; a worker's configuration, to be that worker."""
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(order).decode() + "\n")
        self._process.stdin.flush()

    def answer(self) -> float:
        """Seconds of the call; of a worker, that it has left."""
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        if not said:
            raise OSError("plain diffusers did not answer")
        return float(said)

    def plain_s(self, seed: int) -> float:
        """What the process measured around the pipeline's call."""
        self.tell(seed)
        return self.answer()

    def __enter__(self) -> Player:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()


class Worked:
    """A player as a worker, and just enough of a head to send it one call after the other."""

    def __init__(self, run_dir: Path, player: Player) -> None:
        self._paths, self._player = RunPaths(run_dir), player
        self._paths.create()
        keys = ensure_keys(self._paths)
        pairs = keys.server.public, keys.server.secret, keys.client.public
        self._server = ServerSocket(CurveKeys(*(key.encode() for key in pairs)))
        address = HeadAddress(
            epoch=1,
            addresses=self._server.addresses,
            server_public=keys.server.public,
            pid=os.getpid(),
            host="",
        )
        self._paths.head_json.write_bytes(address.encode())
        self._number = 0
        self._finished: dict[str, m.TaskFinished] = {}
        self._joined = self._left = False
        self._picture = _key("picture")
        self._put_picture()
        config = WorkerConfig(
            run_dir=str(run_dir), worker_id="w", kind="cpu", hardware="cpu", configs_dir=str(find_configs()),
            models_dir=str(player.models), models=(_MODEL,),
        )  # fmt: skip
        player.tell(config)

    def call_s(self, seed: int) -> float:
        """From sending the task to hearing that its artifact is in the store."""
        self._until(lambda: self._joined, "join")
        name = f"call-{seed}"
        params = {
            "prompt": _PROMPT, "steps": self._player.steps, "render_width": _WIDTH, "render_height": _HEIGHT,
            "frames": _FRAMES, "fps": 16,
        }  # fmt: skip
        picture = InputRef(name="image", kind="finish", key=self._picture, n_chunks=1, done=True)
        task = RunTask(
            task_id=name, attempt=1, stage="sketch", model=_MODEL, key=_key(name), params=params, seed=seed,
            inputs=(picture,),
        )  # fmt: skip
        start_s = time.perf_counter()
        self._say(w.Run(task))
        self._until(lambda: name in self._finished, f"make {name}")
        return time.perf_counter() - start_s

    def _until(self, done: Callable[[], bool], what: str) -> None:
        end_s = time.perf_counter() + _PATIENCE_S
        while not done():
            self._listen()
            if not self._player.alive or time.perf_counter() > end_s:
                raise OSError(f"the worker did not {what}: {self._paths.worker_log('w')}")

    def _listen(self) -> None:
        # Sleeps until a frame comes, as a head does: one that spins takes half a core from the worker.
        self._server.raw.poll(_POLL_MS)
        for peer, frame in self._server.receive(50):
            for note in decode_up(frame).messages:
                match note:
                    case w.Probe() | w.Heartbeat():
                        self._server.send(peer, encode(Down(1, 0, 0, (w.Here(),))))
                    case w.Hello():
                        self._joined = True
                        self._say(w.Welcome(1))
                    case w.Goodbye():
                        self._left = True
                    case w.Events():
                        self._say(w.Ack(note.first_seq + len(note.events)))
                        for event in note.events:
                            if isinstance(event, m.TaskFinished):
                                self._finished[event.task_id] = event
                            elif isinstance(event, m.TaskFailed | m.ModelLoadFailed):
                                raise OSError(event.reason)

    def _say(self, note: w.FromHead) -> None:
        self._number += 1
        self._server.send(b"w", encode(Down(1, 1, self._number, (note,))))

    def _put_picture(self) -> None:
        store = Store(self._paths)
        scratch = store.begin(self._picture, 0)
        _picture().save(scratch / "picture.png")
        store.commit(self._picture, 0, scratch, {})
        store.finish(self._picture, 1, {})

    def __enter__(self) -> Worked:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._say(w.Stop("the bench is done with it"))
                self._until(lambda: self._left, "leave")
                self._player.answer()
        finally:
            self._server.close()


def checkpoint_s(folder: Path, rounds: int = 9) -> float:
    """Median seconds that the hand-over of a big model's loop state takes."""
    import torch

    from hpcwise.models.base import LoopState
    from hpcwise.models.diffusion.sampler import loop_state
    from hpcwise.store.checkpoints import CheckpointStore
    from hpcwise.worker.saving import Saver

    paths = RunPaths(folder)
    paths.create()
    # 640x400 and 81 frames behind a VAE of 8x8x4, 16 channels; UniPC of order 2 holds as much three times.
    latents = torch.randn(1, 16, 21, 50, 80)

    class Sampler:
        def __init__(self) -> None:
            self.model_outputs = [torch.randn_like(latents), torch.randn_like(latents)]
            self.last_sample = torch.randn_like(latents)
            self.timesteps = torch.arange(10)

    sampler, generator = Sampler(), torch.Generator()
    taken = 0

    def state() -> LoopState:
        nonlocal taken
        taken += 1
        return loop_state(sampler, latents, generator)

    # So many losses that one is due as often as may be: after a hundred times what the last one took.
    saver = Saver(CheckpointStore(paths), _key("loop"), 1e12, lambda: False, lambda _: None)
    took: list[float] = []
    while taken < rounds:
        time.sleep(0.001)
        start_s = time.perf_counter()
        saver.offer(0, taken + 1, 0.5, state)
        held_s = time.perf_counter() - start_s
        if taken > len(took):
            took.append(held_s)
    saver.close(finished=True)
    return sorted(took)[len(took) // 2]


def step_s() -> float:
    """Seconds of one denoising step of Wan at the paper's point on one H200, by planning's profile."""
    from hpcwise.core.profiles import Profiles
    from hpcwise.head.planning import read_planning

    profiles = Profiles(read_planning(find_configs(), "fitted"), {})
    features = {"steps": 1.0, "frames": 81.0, "frame_mpx": 0.256}
    one = profiles.expected_s("wan-2.1-dit", "h200", features, 1)
    two = profiles.expected_s("wan-2.1-dit", "h200", {**features, "steps": 2.0}, 1)
    return two - one


def _key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _picture() -> Any:
    from PIL import Image

    draw = np.random.RandomState(0).randint(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(draw).resize((_WIDTH, _HEIGHT))


def _play(folder: str, steps: int) -> None:
    """The process of a Player."""
    import diffusers
    import torch

    from hpcwise.worker.main import run_worker

    torch.set_num_threads(1)
    pipe = diffusers.DiffusionPipeline.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    own = pipe.scheduler
    # The worker's adapter is handed this one: what is loaded twice lies at two places.
    type(pipe).from_pretrained = classmethod(lambda _cls, *_arguments, **_named: pipe)
    for line in sys.stdin:
        start_s = time.perf_counter()
        if line.startswith("{"):
            run_worker(line.encode())
        else:
            pipe.scheduler = own
            pipe(
                image=_picture(), prompt=_PROMPT, width=_WIDTH, height=_HEIGHT, num_frames=_FRAMES,
                num_inference_steps=steps, guidance_scale=_GUIDANCE, output_type="latent",
                generator=torch.Generator().manual_seed(int(line)),
            )  # fmt: skip
        print(time.perf_counter() - start_s, flush=True)


if __name__ == "__main__":
    _play(sys.argv[1], int(sys.argv[2]))
