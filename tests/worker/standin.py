"""A libnvidia-ml.so.1 whose GPUs say what a test writes: real nvidia-ml-py runs on it, in real processes."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("nvml_stand_in.c")
#: Debian's gfortran, which MPI brings, has a gcc without the plain name.
COMPILERS = ("cc", "gcc", "gcc-14", "gcc-13", "gcc-12", "clang")
#: A GPU of 80 GB that is well.
WELL = {"total": 80_000_000_000, "free": 79_000_000_000, "retired_pending": 0, "ecc": 0,
        "remap_pending": 0, "remap_failed": 0}  # fmt: skip


class Gpus:
    """What the stand-in's devices say; this process finds them, and those that it starts."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, n: int = 1) -> None:
        pytest.importorskip("pynvml")
        compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
        if compiler is None:
            pytest.skip("needs a C compiler")
        folder.mkdir(exist_ok=True)
        library = folder / "libnvidia-ml.so.1"
        named = "-Wl,-soname,libnvidia-ml.so.1"
        subprocess.run([compiler, "-shared", "-fPIC", named, "-o", library, SOURCE], check=True)
        # For this process: a library of that name is there when it is asked for.
        ctypes.CDLL(str(library))
        self._path = folder / "said"
        self._said: dict[tuple[str, int], int] = {("devices", 0): n}
        monkeypatch.setenv("NVML_STAND_IN", str(self._path))
        # The devices compute nothing: torch, which takes seconds to import, would only say so.
        (folder / "torch.py").write_text("raise ImportError('GPUs that are none')\n")
        for variable in ("LD_LIBRARY_PATH", "PYTHONPATH"):
            before = os.environ.get(variable, "")
            monkeypatch.setenv(variable, f"{folder}:{before}".rstrip(":"))
        for device in range(n):
            self.say(device, **WELL)

    def say(self, device: int, **values: int) -> None:
        """From now on; by name (see the C source)."""
        self._said.update({(name, device): value for name, value in values.items()})
        beside = self._path.with_suffix(".new")
        beside.write_text("".join(f"{name} {n} {value}\n" for (name, n), value in self._said.items()))
        beside.replace(self._path)
