"""docs/architecture.md as a test: imports go down only, also between rooms; only what runs a model starts MXNet."""

import ast
import graphlib
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.helpers import ROOT

PACKAGE = ROOT / "bertpass"

# The longest matching prefix decides. bertpass/__init__.py is the face of the engines (bertpass.load imports them on
# use), so below them nothing may be taken from it but its version.
LEVELS = {
    "bertpass.errors": 0, "bertpass.machine": 0, "bertpass.progress": 0, "bertpass.mx": 0, "bertpass.options": 0,
    "bertpass.extras": 0, "bertpass.settings": 0, "bertpass.placement": 0, "bertpass.known_keys": 0,
    "bertpass.words": 0, "bertpass.file_kinds": 0, "bertpass.base": 0,
    "bertpass._core": 1, "bertpass._native": 1, "bertpass.text": 2, "bertpass.model": 3, "bertpass.passes": 4,
    "bertpass.engines": 5, "bertpass": 5, "bertpass.jobs": 6, "bertpass.bench": 6,
    "bertpass.serving": 7,
    "bertpass.__main__": 8, "bertpass.commands": 8,
    "deploy": 8, "finetune": 8, "scripts": 8, "benchmarks": 8,
}
STARTS_MXNET = ("mxnet", "gluonnlp")
# The rooms of each level, which are its folders, and the modules at its root, lowest first: each may import those
# before it and, inside a room, one another without a circle. The face of a level, its __init__.py, is the lowest where
# it is not named.
ROOMS = {level: rooms.split() for level, rooms in {
    "bertpass.text": "files example metrics tokens squad data",
    "bertpass.model": "families position_keys config positions sentence heads parameters record given files "
                      "low_precision onnx layouts hub nets export checkpoint __init__",
    "bertpass.passes": "library check select report mkldnn quantize optimize __init__",
    "bertpass.engines": "rows base given results vectors checking precision native late_rows model cuda tvm frameworks "
                        "__init__ encoders",
    "bertpass.jobs": "machines tasks low_precision deployment published training demo",
    "bertpass.bench": "drawing ceiling models workloads quiet environments variants worker process timing cpu peers "
                      "instances gpu finetuning pages traffic reproduce",
    "bertpass.serving": "logs keys tls options signals failures names received paths instances queueing observing "
                        "state tasks faces http on_ray server",
    "bertpass.commands": "run table here start make bench files production measure keys_page flags_page main",
}.items()}
# Two packages of one level: the second may import the first.
JOBS, BENCH = "bertpass.jobs", "bertpass.bench"
# Strings that are no imports: each names a program that runs in a process of its own.
STARTED = {
    ("bertpass.bench.finetuning.run", "bertpass.commands.bench.control"): "the control is a command line",
    ("bertpass.bench.traffic.servers", "bertpass.commands.main"): "the server under load is started as a person does",
}
MOST = 12  # modules in a folder


def sources() -> dict[str, Path]:
    """Module name -> file, of the package and of the scripts around it."""
    files = [*PACKAGE.rglob("*.py"), ROOT / "deploy.py", *(ROOT / "finetune").glob("*.py"),
             *(ROOT / "scripts").glob("*.py"), *(ROOT / "benchmarks").glob("*.py")]
    return {".".join(f.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): f for f in files}


MODULES = sources()


def named(text: str) -> set[str]:
    """Modules that a string names: it is the name of one, or a program that imports from one."""
    name = re.fullmatch(r"(bertpass(?:\.\w+)+)\.?", text)
    found = {name.group(1)} if name else set(re.findall(r"\bfrom (bertpass(?:\.\w+)+) import\b", text))
    return {module for module in found if module in MODULES or module in LEVELS}


def strings(tree: ast.AST) -> set[str]:
    """All strings but docstrings; of an f-string its parts."""
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return {node.value for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs}


@cache
def imports(name: str) -> frozenset[str]:
    """Every module that a module imports, also inside functions, or names in a string.

    ``from package import module`` gives the module.
    """
    tree, found = ast.parse(MODULES[name].read_text(encoding="utf-8")), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}, line {node.lineno}: write imports in full"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in MODULES or full in LEVELS or full == "bertpass.__version__" else node.module)
    found |= {module for text in strings(tree) for module in named(text) if (name, module) not in STARTED}
    return frozenset(found)


def level(module: str) -> int:
    parts = module.split(".")
    return next(LEVELS[".".join(parts[:n])] for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in LEVELS)


def test_every_folder_has_a_level():
    folders = {f"bertpass.{p.name}" for p in PACKAGE.iterdir() if (p / "__init__.py").is_file()}
    files = {f"bertpass.{p.stem}" for p in PACKAGE.glob("*.py") if p.stem != "__init__"}
    assert (folders | files) - set(LEVELS) == set()
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for folder in folders:
        assert f"`{folder.replace('.', '/')}/`" in text, f"docs/architecture.md does not name {folder}"


def room(module: str, level: str) -> str:
    """The room of a module of a level, or its own name where it stands at the root."""
    return module.removeprefix(level).split(".")[1] if module != level else "__init__"


def test_every_room_has_a_place_and_is_described():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for level, rooms in ROOMS.items():
        assert {room(m, level) for m in MODULES if m.startswith(f"{level}.")} == set(rooms) - {"__init__"}
        for name in rooms:
            if (PACKAGE.parent / level.replace(".", "/") / name).is_dir():
                assert f"`{name}/`" in text, f"docs/architecture.md does not name {level}.{name}"


def test_a_folder_can_be_seen_at_once():
    folders = {file.parent for file in MODULES.values() if file.is_relative_to(PACKAGE)}
    modules = {str(folder): [f for f in folder.glob("*.py") if f.stem != "__init__"] for folder in folders}
    assert {folder: len(files) for folder, files in modules.items() if len(files) > MOST} == {}
    for folder in folders:
        assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))), folder


@pytest.mark.parametrize("level", ROOMS)
def test_imports_between_rooms_go_down(level):
    rooms = ROOMS[level]
    height = {"__init__": -1, **{name: at for at, name in enumerate(rooms)}}
    for name in sorted(m for m in MODULES if m == level or m.startswith(f"{level}.")):
        for imported in imports(name):
            if imported == level or imported.startswith(f"{level}."):
                here, there = room(name, level), room(imported, level)
                assert height[there] <= height[here], f"{name} imports {imported}: {there} is above {here}"


def test_no_module_imports_itself_by_way_of_others():
    within = {name: imports(name) & set(MODULES) - {name} for name in MODULES}
    graphlib.TopologicalSorter(within).prepare()  # CycleError names the circle
    assert not [name for name in MODULES if name.startswith(JOBS) and any(i.startswith(BENCH) for i in imports(name))]


def test_a_face_has_no_name_of_one_of_its_modules():
    """Importing the module later would put it in the place of the function; one that comes from it is safe."""
    twice = set()
    for name, file in MODULES.items():
        if file.stem == "__init__":
            for node in ast.parse(file.read_text(encoding="utf-8")).body:
                bound = {alias.asname or alias.name for alias in node.names} if isinstance(node, ast.ImportFrom) else \
                    {node.name} if isinstance(node, (ast.FunctionDef, ast.ClassDef)) else set()
                twice |= {f"{name}.{one}" for one in bound if f"{name}.{one}" in MODULES
                          and getattr(node, "module", "") not in (name, f"{name}.{one}")}
    assert twice == set()


def test_strings_name_modules_that_there_are():
    """A name that was left behind where a module moved would be found when it is used, or in a test never."""
    gone = set()
    for file in [*MODULES.values(), *(ROOT / "tests").rglob("*.py")]:
        for text in strings(ast.parse(file.read_text(encoding="utf-8"))):
            if not re.fullmatch(r"bertpass\.\w+(\.\w+)+", text) or text in MODULES:
                continue
            parts = text.split(".")
            module = next(".".join(parts[:n]) for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in MODULES)
            if module in ("bertpass", *(m for m in MODULES if MODULES[m].stem == "__init__")):
                gone.add((file.name, text))
    assert gone == set()


def test_the_exceptions_are_needed():
    for name, module in STARTED:
        assert module in {m for text in strings(ast.parse(MODULES[name].read_text(encoding="utf-8")))
                          for m in named(text)}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_go_down(name):
    for imported in imports(name):
        if imported.split(".")[0] in ("bertpass", "deploy", "finetune", "scripts", "benchmarks") and \
                imported != "bertpass.__version__":
            assert level(imported) <= level(name), f"{name} (level {level(name)}) imports {imported}"
        if name != "bertpass.mx":
            assert imported.split(".")[0] not in STARTS_MXNET, f"{name} imports {imported}: only bertpass/mx.py may"


# Of the CPU engine, lowest first, and of the graph passes, which swap encoders for it; a file includes its own folder
# and those before it in the first of these lists that names it.
NATIVE = [["kernels", "schema", "ops", "layer", "encoder", "model", "capi"],
          ["kernels", "schema", "ops", "training", "layer", "encoder", "graph", "passes", "mxnet_abi"]]
# Of the CUDA engine, in csrc/cuda; of the CPU engine it includes the checks of inputs.
CUDA = ["twin", "device", "kernels", "gemm", "layer", "encoder", "capi"]


@pytest.mark.parametrize("folder", sorted({folder for tower in NATIVE for folder in tower}))
def test_includes_go_down(folder):
    tower = next(t for t in NATIVE if folder in t)
    allowed = [*tower[:tower.index(folder) + 1], *(["faces"] if folder == "mxnet_abi" else [])]  # a GPU's forward
    files = [f for f in (PACKAGE / "csrc" / folder).iterdir() if f.suffix in (".cc", ".h")]
    assert files
    for file in files:
        for included in re.findall(r'^#include "([^"]+)"', file.read_text(encoding="utf-8"), re.M):
            assert included.split("/")[0] in allowed, f"{folder}/{file.name} includes {included}"


@pytest.mark.parametrize("folder", CUDA)
def test_cuda_includes_go_down(folder):
    allowed = {f"cuda/{name}" for name in CUDA[:CUDA.index(folder) + 1]} | {"encoder/inputs.h", "schema"}
    if folder == "twin":  # stands in for what lies below the kernels, cuBLASLt among it
        allowed |= {"cuda/device", "cuda/gemm"}
    files = list((PACKAGE / "csrc" / "cuda" / folder).iterdir())
    assert files
    for file in files:
        for included in re.findall(r'^#include "([^"]+)"', file.read_text(encoding="utf-8"), re.M):
            assert included in allowed or included.rpartition("/")[0] in allowed, f"{file.name} includes {included}"


def test_the_faces_stand_on_the_c_interfaces():
    """What they include of ours beside bertpass/include is how a model file is read."""
    files = [f for f in (PACKAGE / "csrc" / "faces").rglob("*") if f.suffix in (".cc", ".h")]
    assert files
    for file in files:
        for included in re.findall(r'^#include "([^"]+)"', file.read_text(encoding="utf-8"), re.M):
            assert included.startswith("faces/") or included in ("capi/mapped_file.h", "capi/safetensors.h"), file.name


def test_every_native_folder_has_a_level():
    folders = {f.name for f in (PACKAGE / "csrc").iterdir()}
    assert folders == {"python", "cuda", "faces", *(folder for tower in NATIVE for folder in tower)}
    assert {f.name for f in (PACKAGE / "csrc" / "cuda").iterdir()} == set(CUDA)


def test_the_test_sees_imports_inside_functions():
    assert "bertpass.engines" in imports("bertpass")
    assert {"mxnet", "gluonnlp"} <= imports("bertpass.mx")


LIGHT = ["bertpass", "bertpass._core", "bertpass._native", *sorted(m for m in MODULES if m.startswith("bertpass.text"))]
COMMANDS = ["deploy.py", "finetune/finetune_classifier.py", "finetune/finetune_squad.py", "bertpass/__main__.py",
            "scripts/fetch_demo_data.py", "scripts/gpu_check.py", "scripts/export.py", "scripts/embedding.py"]


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_light_modules_do_not_start_mxnet():
    run(f"import sys, {', '.join(LIGHT)}\n"
        f"assert not set({STARTS_MXNET!r}) & set(sys.modules), 'MXNet was started'")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_does_not_start_mxnet(command):
    out = run("import runpy, sys\n"
              f"sys.argv = {[command, '--help']!r}\n"
              "try:\n"
              f"    runpy.run_path({command!r}, run_name='__main__')\n"
              "except SystemExit as end:\n"
              "    assert not end.code, end.code\n"
              f"assert not set({STARTS_MXNET!r}) & set(sys.modules), 'MXNet was started'")
    assert "usage:" in out and "--help" in out


def test_files_can_be_read_in_one_sitting():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git clone: git ls-files finds no files; run the tests in a clone")
    long = {}
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.suffix in (".py", ".cc", ".h", ".pyi", ".sh") and path.is_file():
            lines = len(path.read_text(encoding="utf-8").splitlines())
            if lines > 500:
                long[name] = lines
    assert long == {}
