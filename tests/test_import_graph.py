"""The import graph: cli -> head | worker | sim | rl -> adapters (store, wire, launch, models, media) -> core.

Each rule is a function from a package folder to its offenders, so that every rule is also tested on a
small tree that breaks it. Imports inside functions and under TYPE_CHECKING count like any other.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "hpcwise"
Rule = Callable[[Path], list[str]]

ADAPTERS = ("store", "wire", "launch", "models", "media")
#: part -> the other parts that it may import. The package's own __init__ and __main__ are the part "".
MAY_IMPORT: dict[str, set[str]] = {
    "core": set(),
    **{adapter: {"core"} for adapter in ADAPTERS},
    "head": {"core", "store", "wire", "launch", "media"},
    "worker": {"core", "store", "wire", "models"},
    "sim": {"core"},
    "rl": {"core", "sim"},
    # StreamWise's evaluation made again, over the simulator; and a real Slurm on one machine, used by nobody.
    "evaluation": {"core", "sim"},
    "testbed": {"core"},
    "cli": {"core", *ADAPTERS, "head", "worker", "sim", "rl", "evaluation", "testbed"},
    "": {"cli"},
}
#: What core may import besides itself.
CORE_LIBRARIES = {"numpy", "msgspec"}
#: Parts of the standard library that read a clock, the machine or chance, or that do I/O.
IMPURE = {
    "_thread", "asyncio", "concurrent", "ctypes", "fcntl", "fileinput", "ftplib", "getpass", "glob", "http",
    "importlib", "io", "logging", "mmap", "multiprocessing", "os", "pathlib", "platform", "pty", "queue",
    "random", "resource", "sched", "secrets", "select", "selectors", "shelve", "shutil", "signal", "site",
    "socket", "socketserver", "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading", "time",
    "urllib", "uuid", "webbrowser", "zoneinfo",
}  # fmt: skip
#: Built-ins that do I/O, run text, or give another answer in another process.
IMPURE_CALLS = {"open", "print", "input", "exec", "eval", "hash", "id", "breakpoint", "__import__"}
#: Methods that read the clock.
CLOCK_METHODS = {"now", "utcnow", "today"}
#: The head plans and talks; it must start on a login node where none of these is installed.
NOT_IN_HEAD = {"torch", "diffusers", "transformers", "onnxruntime", "onnx", "skia", "tokenizers"}
MOST_LINES = 400


def modules(package: Path) -> dict[str, tuple[Path, ast.Module]]:
    """Dotted name -> file and syntax tree of every module under the package folder."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = [package.name, *path.relative_to(package).with_suffix("").parts]
        if parts[-1] == "__init__":
            parts.pop()
        found[".".join(parts)] = (path, ast.parse(path.read_text(encoding="utf-8"), filename=str(path)))
    return found


def imports(name: str, path: Path, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted target of each import; `from a import b` gives both a and a.b."""
    base = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            above = base[: len(base) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            yield node.lineno, source
            for alias in node.names:
                yield node.lineno, f"{source}.{alias.name}"


def part(dotted: str) -> str:
    """`hpcwise.core.engine` -> `core`; `hpcwise` and `hpcwise.__main__` -> ``."""
    pieces = dotted.split(".")
    return pieces[1] if len(pieces) > 1 and pieces[1] != "__main__" else ""


def where(package: Path, path: Path, line: int) -> str:
    return f"{path.relative_to(package.parent)}:{line}"


def parts_import_only_what_lies_below_them(package: Path) -> list[str]:
    known = modules(package)
    offenders = []
    for name, (path, tree) in known.items():
        own = part(name)
        if own not in MAY_IMPORT:
            offenders.append(f"{where(package, path, 1)}: {own!r} is no part of the design")
            continue
        for line, target in imports(name, path, tree):
            if target.split(".")[0] != package.name or (target not in known and target.count(".") > 1):
                continue  # another library, or a name inside a module that is listed itself
            other = part(target)
            if other in MAY_IMPORT and other not in {"", own} | MAY_IMPORT[own]:
                offenders.append(f"{where(package, path, line)}: {own or 'package'} imports {other}")
    return sorted(set(offenders))


def core_imports_pure_libraries_only(package: Path) -> list[str]:
    offenders = []
    for name, (path, tree) in modules(package).items():
        if part(name) != "core":
            continue
        for line, target in imports(name, path, tree):
            top = target.split(".")[0]
            pure = top in (sys.stdlib_module_names - IMPURE) | CORE_LIBRARIES | {package.name, "__future__"}
            if not pure or target.startswith("numpy.random"):
                offenders.append(f"{where(package, path, line)}: core imports {target}")
    return sorted(set(offenders))


def core_reads_no_clock_chance_or_file(package: Path) -> list[str]:
    offenders = []
    for name, (path, tree) in modules(package).items():
        for node in ast.walk(tree) if part(name) == "core" else ():
            what = ""
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                what = f"calls {node.func.id}()" if node.func.id in IMPURE_CALLS else ""
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                owner, attribute = node.value.id, node.attr
                if owner in {"datetime", "date"} and attribute in CLOCK_METHODS:
                    what = f"reads {owner}.{attribute}"
                elif owner in {"np", "numpy"} and attribute == "random":
                    what = f"uses {owner}.random"
            if what:
                offenders.append(f"{where(package, path, getattr(node, 'lineno', 1))}: core {what}")
    return sorted(offenders)


def core_does_nothing_when_imported(package: Path) -> list[str]:
    harmless = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)
    offenders = []
    for name, (path, tree) in modules(package).items():
        if part(name) != "core":
            continue
        for node in tree.body:
            docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            for_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            constant = not isinstance(node, ast.Assign) or all(isinstance(t, ast.Name) for t in node.targets)
            if not (docstring or for_types or (isinstance(node, harmless) and constant)):
                offenders.append(f"{where(package, path, node.lineno)}: {ast.unparse(node).splitlines()[0]}")
    return offenders


def no_module_acts_when_imported_or_rebinds_globals(package: Path) -> list[str]:
    offenders: list[str] = []
    for path, tree in modules(package).values():
        offenders.extend(
            f"{where(package, path, node.lineno)}: runs {ast.unparse(node.value.func)}"
            for node in tree.body
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
        )
        offenders.extend(
            f"{where(package, path, node.lineno)}: global {', '.join(node.names)}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Global)
        )
    return offenders


def head_reaches_neither_models_nor_their_libraries(package: Path) -> list[str]:
    """Also through what it imports: a head that pulls in torch by way of an adapter pulls in torch."""
    known = modules(package)
    waiting = sorted(name for name in known if part(name) == "head")
    reached, offenders = set(waiting), []
    while waiting:
        name = waiting.pop()
        path, tree = known[name]
        # In head itself any import counts; further down those that are made when the module loads.
        nodes = list(ast.walk(tree)) if part(name) == "head" else tree.body
        made = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
        for line, target in imports(name, path, ast.Module(body=[*made], type_ignores=[])):
            own = target.split(".")[0] == package.name
            if target.split(".")[0] in NOT_IN_HEAD or (own and part(target) == "models"):
                offenders.append(f"{where(package, path, line)}: head reaches {target}")
            elif target in known and target not in reached:
                reached.add(target)
                waiting.append(target)
    return sorted(set(offenders))


def no_file_is_longer_than_a_reader_holds(package: Path) -> list[str]:
    offenders = []
    for path in sorted(package.rglob("*.py")):
        count = len(path.read_text(encoding="utf-8").splitlines())
        if count > MOST_LINES:
            offenders.append(f"{where(package, path, count)}: more than {MOST_LINES} lines")
    return offenders


#: rule, a file of the package that breaks it, its text, and what the rule says about it.
BROKEN: list[tuple[Rule, str, str, str]] = [
    (parts_import_only_what_lies_below_them,
     "core/plan.py", "from hpcwise.store import paths\n", "core/plan.py:1: core imports store"),
    (parts_import_only_what_lies_below_them,
     "store/disk.py", "from ..wire import frames\n", "store/disk.py:1: store imports wire"),
    (parts_import_only_what_lies_below_them,
     "models/voice.py", "def f():\n    import hpcwise.media\n", "models/voice.py:2: models imports media"),
    (parts_import_only_what_lies_below_them,
     "head/loop.py", "from hpcwise import models\n", "head/loop.py:1: head imports models"),
    (parts_import_only_what_lies_below_them,
     "sim/run.py", "from hpcwise.launch import slurm\n", "sim/run.py:1: sim imports launch"),
    (parts_import_only_what_lies_below_them,
     "rl/train.py", "import hpcwise.store\n", "rl/train.py:1: rl imports store"),
    (parts_import_only_what_lies_below_them,
     "worker/loop.py", "from hpcwise.cli import main\n", "worker/loop.py:1: worker imports cli"),
    (parts_import_only_what_lies_below_them,
     "extras/toy.py", "", "extras/toy.py:1: 'extras' is no part of the design"),
    (core_imports_pure_libraries_only,
     "core/plan.py", "import time\n", "core/plan.py:1: core imports time"),
    (core_imports_pure_libraries_only,
     "core/plan.py", "import yaml\n", "core/plan.py:1: core imports yaml"),
    (core_imports_pure_libraries_only,
     "core/plan.py", "import os.path\n", "core/plan.py:1: core imports os.path"),
    (core_reads_no_clock_chance_or_file,
     "core/plan.py", "def f(p):\n    return open(p)\n", "core/plan.py:2: core calls open()"),
    (core_reads_no_clock_chance_or_file,
     "core/plan.py", "from datetime import datetime\nN = datetime.now()\n",
     "core/plan.py:2: core reads datetime.now"),
    (core_reads_no_clock_chance_or_file,
     "core/plan.py", "import numpy as np\n\ndef f():\n    return np.random\n",
     "core/plan.py:4: core uses np.random"),
    (core_does_nothing_when_imported,
     "core/plan.py", "for i in range(3):\n    pass\n", "core/plan.py:1: for i in range(3):"),
    (core_does_nothing_when_imported,
     "core/plan.py", "TABLE = object()\nTABLE.x = 1\n", "core/plan.py:2: TABLE.x = 1"),
    (no_module_acts_when_imported_or_rebinds_globals,
     "wire/sockets.py", "import signal\nsignal.alarm(1)\n", "wire/sockets.py:2: runs signal.alarm"),
    (no_module_acts_when_imported_or_rebinds_globals,
     "wire/sockets.py", "N = 0\n\ndef f():\n    global N\n    N += 1\n", "wire/sockets.py:4: global N"),
    (head_reaches_neither_models_nor_their_libraries,
     "head/loop.py", "def f():\n    import torch\n", "head/loop.py:2: head reaches torch"),
    (no_file_is_longer_than_a_reader_holds,
     "core/plan.py", "A = 1\n" * 401, "core/plan.py:401: more than 400 lines"),
]  # fmt: skip
RULES = sorted({rule for rule, *_ in BROKEN}, key=lambda rule: rule.__name__)


def tree(tmp_path: Path, files: dict[str, str]) -> Path:
    """A package folder `hpcwise` with an empty module in every part, and these files."""
    package = tmp_path / "hpcwise"
    for name in [name for name in MAY_IMPORT if name]:
        (package / name).mkdir(parents=True)
        (package / name / "__init__.py").write_text("")
    for name, text in files.items():
        (package / name).parent.mkdir(exist_ok=True)
        (package / name).write_text(text)
    return package


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_package_keeps_the_rule(rule: Rule) -> None:
    assert rule(PACKAGE) == []


@pytest.mark.parametrize(("rule", "file", "text", "offence"), BROKEN)
def test_a_tree_that_breaks_the_rule_is_named(
    tmp_path: Path, rule: Rule, file: str, text: str, offence: str
) -> None:
    assert rule(tree(tmp_path, {file: text})) == [f"hpcwise/{offence}"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_tree_that_follows_the_design_has_no_offenders(tmp_path: Path, rule: Rule) -> None:
    package = tree(tmp_path, {
        "__main__.py": "from hpcwise.cli import main\n",
        "core/engine.py": '"""Doc."""\nfrom datetime import datetime\n\nimport msgspec, numpy\n\nLIMIT = 3\n',
        "store/disk.py": "import os\nfrom ..core.engine import LIMIT\n",
        "models/voice.py": "import torch\nfrom hpcwise.core import engine\n",
        "head/loop.py": "import asyncio\nfrom hpcwise.store import disk\nfrom hpcwise.wire import frames\n",
        "worker/loop.py": "from hpcwise.models import voice\n",
        "rl/train.py": "from hpcwise.sim import run\n",
        "cli/main.py": "from hpcwise import head, models, worker\n",
    })  # fmt: skip
    assert rule(package) == []


def test_the_head_may_not_reach_torch_through_an_adapter(tmp_path: Path) -> None:
    package = tree(tmp_path, {
        "head/loop.py": "from hpcwise.media.stitch import join\n",
        "media/stitch.py": "import numpy\nimport torch\n\ndef join():\n    pass\n",
    })  # fmt: skip
    offenders = head_reaches_neither_models_nor_their_libraries(package)
    assert offenders == ["hpcwise/media/stitch.py:2: head reaches torch"]
