# `make restore VIDEO=talk.mp4` restores a video, `make web` serves the page; `make demo` does the whole job on data
# made here, `make test` runs the suite. All but `make clean` set up .venv first and reuse it afterwards.
PYTHON ?= python3
TASK ?= deblur
VENV ?= .venv
BIN := $(VENV)/bin
COMPILED := gavn/ops/native.c gavn/ops/native_kernel.h

.PHONY: restore web demo test test-fast lint docs clean
.DELETE_ON_ERROR:

restore: $(VENV)/.core
	@test -n "$(VIDEO)" || { echo 'give a video: make restore VIDEO=talk.mp4'; exit 2; }
	$(BIN)/gavn restore "$(VIDEO)"

web: $(VENV)/.web
	$(BIN)/gavn web

demo: $(VENV)/.demo
	$(BIN)/gavn demo --task $(TASK)

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

test-fast: $(VENV)/.test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m fast

docs: $(VENV)/.docs
	$(BIN)/python -m mkdocs build --strict

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/mypy

# One stamp per set of extras, so that changing a requirement, or what is compiled, installs again and nothing else does.
$(VENV)/.core: $(VENV)/.base $(COMPILED)
	$(BIN)/pip install -c constraints.txt -e .
	touch $@

$(VENV)/.web: $(VENV)/.base $(COMPILED)
	$(BIN)/pip install -c constraints.txt -e '.[web]'
	touch $@

$(VENV)/.demo: $(VENV)/.train $(COMPILED)
	$(BIN)/pip install -c constraints.txt -e '.[demo]'
	touch $@

$(VENV)/.test: $(VENV)/.train $(COMPILED)
	$(BIN)/pip install -c constraints.txt -e '.[demo,docs,prepare,evaluate,export,web,test]'
	touch $@

$(VENV)/.docs: $(VENV)/.base $(COMPILED)
	$(BIN)/pip install -c constraints.txt -e '.[docs]'
	touch $@

$(VENV)/.base: setup.py constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(not (3, 10) <= v <= (3, 12) and f"gavn needs Python 3.10 to 3.12, this is {v[0]}.{v[1]}: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -c constraints.txt pip setuptools wheel
	touch $@

$(VENV)/.train: $(VENV)/.base requirements-nodeps.txt
	$(BIN)/pip install --no-build-isolation --no-deps -r requirements-nodeps.txt
	touch $@

clean:
	rm -rf experiments results tb_logger datasets/demo datasets/demo_*
