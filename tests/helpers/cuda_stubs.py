"""Stand-ins for the CUDA libraries, so that a GPU build of MXNet can be loaded on a machine without them.

Every symbol that libmxnet.so wants from a missing library becomes a function that answers 0 (success), with the symbol
version that it is wanted in; the device count stays 0, so MXNet never calls the others for work.
"""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from pathlib import Path


def output_of(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def missing_libraries(library: Path) -> list[str]:
    return re.findall(r"^\s*(\S+) => not found", output_of("ldd", str(library)), re.MULTILINE)


def wanted_symbols(library: Path) -> tuple[dict[str, set[str]], set[str]]:
    """Undefined symbols of a library: by the version that they are wanted in, and those without a version."""
    versioned: dict[str, set[str]] = defaultdict(set)
    plain: set[str] = set()
    for line in output_of("nm", "-D", "--undefined-only", "--with-symbol-versions", str(library)).splitlines():
        name, _, version = line.split()[-1].partition("@")
        if version:
            versioned[version.lstrip("@")].add(name)
        else:
            plain.add(name)
    return versioned, plain


def version_files(library: Path) -> dict[str, str]:
    """Which needed library defines each symbol version, from the dynamic section."""
    files: dict[str, str] = {}
    current = ""
    for line in output_of("readelf", "-V", str(library)).splitlines():
        if match := re.search(r"File: (\S+)", line):
            current = match[1]
        elif match := re.search(r"Name: (\S+)\s+Flags", line):
            files[match[1]] = current
    return files


def build_stubs(library: Path, folder: Path) -> Path:
    """Compile a stub of every library that ``library`` needs and does not find; gives their folder."""
    versioned, plain = wanted_symbols(library)
    files = version_files(library)
    cuda = re.compile(r"^(cu|nccl|nvrtc|nvml|nvToolsExt)")
    folder.mkdir(exist_ok=True)
    for soname in missing_libraries(library):
        versions = {version: names for version, names in versioned.items() if files.get(version) == soname}
        names = {name for group in versions.values() for name in group}
        if not names:  # this library has no symbol versions: any of the symbols without one may be its
            names = {name for name in plain if cuda.match(name)}
        source = folder / f"{soname}.c"
        source.write_text("".join(
            f"int {name}(int *count) {{ *count = 0; return 0; }}\n" if name == "cudaGetDeviceCount"
            else f"int {name}(void) {{ return 0; }}\n" for name in sorted(names)))
        script = folder / f"{soname}.map"
        script.write_text("".join(f"{version} {{ global: {'; '.join(sorted(group))}; }};\n"
                                  for version, group in versions.items()))
        subprocess.run(["gcc", "-shared", "-fPIC", "-w", "-fno-builtin", f"-Wl,-soname,{soname}",
                        *([f"-Wl,--version-script={script}"] if versions else []), str(source), "-o",
                        str(folder / soname)], check=True)
    return folder
