"""The one import of MXNet: threads, the CUDA libraries of the nvidia packages, a missing MXNet. All in subprocesses."""

import os
import subprocess
import sys

import pytest

from tests.helpers import ROOT


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("OMP_")}
    path = os.pathsep.join(filter(None, (environment.pop("PYTHONPATH", ""), str(ROOT))))
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False,
                          env={**clean, "PYTHONPATH": path, **environment})


def test_threads_follow_the_affinity():
    one = min(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, {{{one}}}); import bertpass.mx; print(os.environ['OMP_NUM_THREADS'])"
    assert python(code).stdout.strip() == "1"


def test_a_persons_thread_count_stays():
    done = python("import os, bertpass.mx; print(os.environ['OMP_NUM_THREADS'])", OMP_NUM_THREADS="3")
    assert done.stdout.strip() == "3", done.stderr


@pytest.mark.parametrize("name", ["mxnet", "gluonnlp"])
def test_missing_package_is_a_sentence(name):
    code = (f"import sys; sys.modules['{name}'] = None\n"
            "from bertpass.errors import MissingDependencyError\n"
            "try:\n    import bertpass.mx\n"
            "except MissingDependencyError as error:\n    print(error)\n")
    done = python(code)
    words = {"mxnet": "'mxnet==1.9.1'", "gluonnlp": "'.[mxnet]'"}[name]  # MXNet is installed, so all of it again
    assert "pip install" in done.stdout and words in done.stdout, done.stdout
    assert "Traceback" not in done.stderr, done.stderr


def test_cuda_libraries_of_packages_are_loaded_globally(tmp_path):
    """As the nvidia-*-cu11 packages lay them out; the second library needs the first and is found without a path."""
    built = {}
    for package, source, needs in (("cuda_runtime", "int bertpass_test_a() { return 20; }", []),
                                   ("cublas", "int bertpass_test_a(); int bertpass_test_b() "
                                    "{ return bertpass_test_a() + 22; }", ["cuda_runtime"])):
        folder = tmp_path / "nvidia" / package / "lib"
        folder.mkdir(parents=True)
        out = folder / f"lib{package}_test.so.11"
        command = ["g++", "-x", "c", "-shared", "-fPIC", "-o", str(out), "-", "-x", "none"]
        command += [str(built[n]) for n in needs] + [f"-Wl,-soname,{out.name}"]
        subprocess.run(command, input=source, text=True, check=True)
        built[package] = out
    code = ("import ctypes, bertpass.mx\nbertpass.mx.preload_cuda()\n"
            "print(ctypes.CDLL(None).bertpass_test_b())")
    done = python(code, PYTHONPATH=str(tmp_path))
    assert done.stdout.strip() == "42", done.stderr
    without = python(code.replace("bertpass.mx.preload_cuda()", "pass"), PYTHONPATH=str(tmp_path))
    assert without.returncode != 0 and "undefined symbol" in without.stderr


def test_cpu_build_refuses_a_gpu_before_any_work():
    done = python("import bertpass.mx as m\nfrom bertpass.errors import DeviceError\n"
                  "print(m.version(), m.context(None))\n"
                  "try:\n    m.context(0)\nexcept DeviceError as error:\n    print(error)")
    assert "cpu(0)" in done.stdout and "--gpu 0" in done.stdout, done.stderr
