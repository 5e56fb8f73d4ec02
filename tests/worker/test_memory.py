"""A model that does not fit is not begun, and one that runs out of memory gets the others'."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
import yaml

from hpcwise.core import messages as m
from hpcwise.core.errors import NoRoom
from hpcwise.worker.nvml import gpus as found_gpus
from hpcwise.worker.room import Room
from tests.worker.conftest import Start
from tests.worker.scripted import ScriptedHead, task
from tests.worker.standin import Gpus

#: Whoever holds the rest.
PID = os.getppid()
K = [hashlib.sha256(b"%d" % i).hexdigest() for i in range(9)]


def cards(folder: Path, **gb: float) -> str:
    """Configurations with emulated models that hold so much while they are loaded."""
    (folder / "models").mkdir(parents=True)
    for name, memory_gb in gb.items():
        card = {
            "name": name, "version": "1", "family": "emulated", "stages": ["emulated"], "licence": "MIT",
            "memory_gb": memory_gb, "load_s": 0.1, "elo": 0, "options": {"memory_gb": memory_gb},
        }  # fmt: skip
        (folder / "models" / f"{name}.yaml").write_text(yaml.safe_dump(card))
    return str(folder)


def test_a_model_that_does_not_fit_is_refused_by_name_and_loaded_when_there_is_room(
    head: ScriptedHead, start: Start, tmp_path: Path
) -> None:
    configs = cards(tmp_path / "configs", first=0.3, second=0.25, small=0.01)
    start("w1", memory_gb=0.5, configs_dir=configs, heartbeat_s=5.0)
    head.until(lambda: head.hellos)
    head.say("w1", m.LoadModel("w1", "first"), m.LoadModel("w1", "second"))
    loaded, refused = head.event(m.ModelLoaded), head.event(m.ModelLoadFailed)
    assert loaded.model == "first" and 0.29 < loaded.memory_gb < 0.4
    assert (refused.model, refused.transient) == ("second", True)
    assert 0.1 < refused.free_gb < 0.21
    assert refused.reason.startswith(
        "NoRoom: second needs 0.25 GB, 0.2 GB of 0.5 GB are free; held by first 0.3"
    )
    # A task of it says the same, and is tried again elsewhere.
    head.run("w1", task("t", K[0], model="second"))
    failed = head.event(m.TaskFailed)
    assert failed.transient and failed.reason.startswith("NoRoom: second needs 0.25 GB")
    head.say("w1", m.UnloadModel("w1", "first"), m.LoadModel("w1", "second"))
    head.until(lambda: [e.model for e in head.events if isinstance(e, m.ModelLoaded)] == ["first", "second"])

    # Memory runs out in a task: the model that it ran has all of it afterwards.
    head.run("w1", task("huge", K[1], model="small", memory_gb=1e6))
    failed = head.event(m.TaskFailed, "huge")
    assert (failed.reason, failed.transient) == ("MemoryError", True)
    assert head.until(lambda: [e for e in head.events if e == m.ModelUnloaded("w1", "second")])
    head.run("w1", task("again", K[1], model="small", attempt=2))
    head.event(m.TaskFinished, "again")


def test_a_gpus_memory_is_what_nvml_says_and_who_holds_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = Gpus(tmp_path / "nvml", monkeypatch, n=2)
    said.say(1, free=10_000_000_000, pid=PID, used=69_500_000_000)
    both = found_gpus({"CUDA_VISIBLE_DEVICES": "0,1"}).found
    room = Room("cuda", 80.0, both)
    assert (room.share, room.free_gb()) == (1.0, 10.0)
    room.check("small", 9.5)
    with pytest.raises(NoRoom) as raised:
        room.check("wan", 40.0)
    name = Path(f"/proc/{PID}/comm").read_text().strip()
    assert str(raised.value) == (
        "NoRoom: wan needs 40 GB, 10.0 GB of 80.0 GB are on GPU 1 free; "
        f"held by process {PID} ({name}) 69.5 GB"
    )
    assert raised.value.free_gb == 10.0
    # What the first model took beyond the process's own context; of a card that is shared nobody can tell.
    used = room.used_gb()
    said.say(1, free=5_000_000_000)
    assert room.measured("small", used) == 4.4
    assert Room("cuda", 40.0, both).share == 0.5 and Room("cuda", 40.0, both).used_gb() is None
    said.say(1, lost=1)
    assert room.free_gb() == 79.0


@pytest.mark.parametrize(
    ("files", "free_gb"),
    [
        # A job's limit above the step's, which has none of its own; cached files can be dropped.
        (
            {
                "self": "0::/job/step\n",
                "job/memory.max": "3000000000\n", "job/memory.current": "2500000000\n",
                "job/memory.stat": "anon 1\ninactive_file 500000000\n",
                "job/step/memory.max": "max\n", "job/step/memory.current": "9\n", "job/step/memory.stat": "",
            },
            1.0,
        ),
        (
            {
                "self": "9:cpu:/x\n8:memory:/job\n",
                "memory/job/memory.limit_in_bytes": "2000000000\n",
                "memory/job/memory.usage_in_bytes": "1900000000\n",
                "memory/job/memory.stat": "total_inactive_file 100000000\n",
            },
            0.2,
        ),
        ({"self": "0::/\n"}, 4.096),
    ],
)  # fmt: skip
def test_a_host_has_what_the_kernel_and_the_limits_of_its_job_leave(
    tmp_path: Path, files: dict[str, str], free_gb: float
) -> None:
    proc, cgroup = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal: 9000000 kB\nMemAvailable: 4000000 kB\n")
    (proc / "self" / "cgroup").write_text(files["self"])
    for name, text in files.items():
        if name != "self":
            (cgroup / name).parent.mkdir(parents=True, exist_ok=True)
            (cgroup / name).write_text(text)
    assert Room("cpu", 8.0, (), proc=proc, cgroup=cgroup).free_gb() == pytest.approx(free_gb)


def test_torch_is_held_to_a_workers_share_of_a_gpu_and_to_nothing_where_it_has_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch = pytest.importorskip("torch")
    from hpcwise.models.base import Devices
    from hpcwise.models.device import device_of

    held: list[tuple[float, str]] = []
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda share, where: held.append((share, str(where)))
    )
    assert str(device_of(Devices("cuda", (1,)))) == "cuda:1" and held == []
    assert str(device_of(Devices("cuda", (1,), share=0.25))) == "cuda:1"
    assert held == [(0.25, "cuda:1")]
    assert str(device_of(Devices("cpu", share=0.25))) == "cpu" and len(held) == 1
