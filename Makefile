# make train   train, evaluate and show a language agent (the README tells what to expect)
# make test    the test suite           make test-all   with every torch.compile case
# make bench   the benchmark suite      make lint       layout, rules and types
# make gpu-check  CUDA and Triton kernels, as far as that goes without a GPU      make gpu-link  against a CUDA torch
# make gpu-test   the same on a GPU, where there is one, and timings
# make install what they all start from: .venv with pinned dependencies and this checkout, editable, native core built
# Needs only make, Python >= 3.10 with its headers and venv module, and a C++17 compiler. Nothing is written outside .venv
# and build folders of this checkout. PYTHON=... picks another interpreter for .venv; ARGS=... goes on to the command.

PYTHON ?= python3
# --no-compile: Python compiles what it imports; compiling all of torch and its company up front takes half a minute.
PIP := .venv/bin/python -m pip --disable-pip-version-check install --no-compile -c constraints.txt
SOURCES := $(shell find csrc -name '*.cpp' -o -name '*.h' -o -name '*.cu')

.PHONY: install train test test-all bench lint gpu-check gpu-link gpu-test

# The core is rebuilt here because a change of csrc leaves the environment as it is; unchanged objects are kept.
install: .venv/.installed
	@.venv/bin/python setup.py -q build_ext --inplace

.venv/.installed: constraints.txt pyproject.toml setup.py $(wildcard _build/*.py)
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("pyagent needs Python >= 3.10; make PYTHON=... names one")'
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	$(PIP) setuptools pybind11 torch
	$(PIP) --no-build-isolation -e '.[train,examples,textworld,dev]'
	@touch $@

train: install
	.venv/bin/pyagent train $(ARGS)

test: install
	.venv/bin/python -m pytest $(ARGS)

test-all: install
	.venv/bin/python -m pytest -m 'not rung and not gpu' $(ARGS)

bench: install
	.venv/bin/pyagent bench $(ARGS)

# Rungs 1 to 4 of docs/gpu.md; the last line counts what passed in each.
gpu-check: install
	.venv/bin/python -m pytest tests/gpu -m rung $(ARGS)

# Rung 5. Downloads gigabytes.
gpu-link:
	PYTHON=$(PYTHON) tests/gpu/check_link.sh

# Needs nvcc, a GPU and a Python with numpy and pytest; the torch ops are tested too where .venv is installed.
gpu-test:
	$(or $(wildcard .venv/bin/python),$(PYTHON)) -m tests.gpu.on_gpu

lint: install
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/pyright
	.venv/bin/clang-format --dry-run -Werror $(SOURCES)
