"""What can be checked of the GPU's code without a GPU: it compiles for every architecture, spills nothing, has the
machine instructions that it was written for, and cuBLASLt's numbers and functions are those of the real header."""

import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import build_cuda
import pytest

from tests.helpers.built import built, sources

KERNELS = [path for path in build_cuda.sources(twin=False) if path.suffix == ".cu"]
PACKAGES = Path(sysconfig.get_paths()["purelib"]) / "nvidia" / "cu13"


@pytest.fixture(scope="session")
def nvcc():
    try:
        found = build_cuda.find_nvcc()
        return found, build_cuda.toolkit_of(found)
    except build_cuda.BuildError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def machine_code(nvcc):
    """Architecture -> a cubin of each kernel file, and what ptxas said; compiled where the sources are others."""
    version = build_cuda.run([str(nvcc[0]), "--version"])

    def of(architecture):
        flags = [*build_cuda.FLAGS, "-O3", f"-arch=sm_{architecture}", "-Xptxas", "-v", "-cubin"]

        def compiled(folder):
            for source in KERNELS:
                said = build_cuda.run([str(nvcc[0]), *flags, str(source), "-o", str(folder / f"{source.stem}.cubin")])
                (folder / f"{source.stem}.txt").write_text(said, encoding="utf-8")

        folder = built(f"sm_{architecture}", sources(), [version, *flags], compiled)
        return {source.stem: (folder / f"{source.stem}.cubin", (folder / f"{source.stem}.txt").read_text("utf-8"))
                for source in KERNELS}
    return of


@pytest.mark.slow
@pytest.mark.parametrize("architecture", build_cuda.ARCHITECTURES)
def test_every_kernel_compiles_and_spills_nothing(machine_code, architecture):
    for name, (cubin, said) in machine_code(architecture).items():
        assert cubin.stat().st_size > 0
        frames = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", said)
        assert frames and set(frames) == {("0", "0", "0")}, f"{name}, sm_{architecture}: {frames}"
        assert "warning" not in said


@pytest.mark.parametrize(("architecture", "wanted"), [
    ("90a", {"HMMA.16816.F32", "HMMA.16816.F32.BF16", "LDSM.16.M88.4", "LDSM.16.MT88.4", "LDGSTS.E.BYPASS.128",
             "STG.E.128"}),
    ("80", {"HMMA.16816.F32", "HMMA.16816.F32.BF16", "LDGSTS.E.BYPASS.128", "STG.E.128"}),
    ("75", {"HMMA.1688.F32", "LDSM.16.M88.4", "STG.E.128"})])
def test_attention_runs_on_tensor_cores(machine_code, architecture, wanted):
    """mma.sync everywhere (HMMA); there are no wgmma kernels (HGMMA): matrix products are cuBLASLt's."""
    tool = shutil.which("cuobjdump") or PACKAGES / "bin" / "cuobjdump"
    if not Path(tool).is_file():
        pytest.skip("there is no cuobjdump; install it with: pip install 'nvidia-cuda-cuobjdump>=13' "
                    "'nvidia-cuda-nvdisasm>=13'")
    code = subprocess.run([str(tool), "--dump-sass", str(machine_code(architecture)["attention"][0])], check=True,
                          capture_output=True, text=True).stdout
    found = set(re.findall(r"\b[A-Z][A-Z0-9]*(?:\.[A-Z0-9]+)*", code))
    assert all(any(word == one or word.startswith(f"{one}.") for word in found) for one in wanted), sorted(found)
    assert not {"LDL", "STL"} & {word.split(".")[0] for word in found}, "local memory"


def test_cublaslt_is_declared_as_in_its_header(nvcc, tmp_path):
    folders = [nvcc[1] / "include", PACKAGES / "include"]
    header = next((folder for folder in folders if (folder / "cublasLt.h").is_file()), None)
    if header is None:
        pytest.skip("there is no cublasLt.h; install it with: pip install 'nvidia-cublas>=13' (420 MB)")
    build_cuda.run(["g++", *build_cuda.FLAGS, *(f"-isystem{folder}" for folder in folders), "-fsyntax-only",
                    str(Path(__file__).with_name("cublaslt_values.cc"))])


def test_the_host_code_compiles_against_the_real_runtime(nvcc, tmp_path):
    for source in build_cuda.sources(twin=False):
        if source.name in ("capi.cc", "gemm.cc", "context.cc"):  # each includes most of the others' headers
            said = build_cuda.compile_gpu(source, tmp_path / f"{source.stem}.o", ["90a"], *nvcc)
            assert "warning" not in said


def test_without_nvcc_the_build_says_what_to_install(monkeypatch, capsys, tmp_path):
    def nowhere():
        raise build_cuda.BuildError("there is no nvcc;")

    monkeypatch.setattr(build_cuda, "find_nvcc", nowhere)
    assert build_cuda.main(["--output", str(tmp_path / "lib.so")]) == 6
    assert "error: there is no nvcc;" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_architectures_are_checked(capsys):
    with pytest.raises(SystemExit):
        build_cuda.main(["--arch", "70"])
    assert "compute capabilities are as in 75 or 90a" in capsys.readouterr().err
    assert build_cuda.code_flags(["75", "90a"]) == [
        "-gencode=arch=compute_75,code=sm_75", "-gencode=arch=compute_90a,code=sm_90a",
        "-gencode=arch=compute_90,code=compute_90"]
