# `make quickstart` and `make test` need Python 3.11 or newer with pip, and make everything else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
QUICK := runs/quickstart

.PHONY: help install quickstart test test-peer test-cluster test-versions torture package lint docs results clean

help:
	@echo "make quickstart  compare four attention mechanisms on real text (minutes; it first prints how many here)"
	@echo "make test        run the tests"
	@echo "make test-peer   run the transformers project's own model tests on every mechanism"
	@echo "make test-cluster  comparisons on a Slurm and a Ray, one training under torchrun, all with deaths; needs slurm-wlm, munge, root"
	@echo "make test-versions  run the tests with the lowest and the newest versions that are allowed, and record it"
	@echo "make torture     kill all verbs at random instants, 100 times, and compare with undisturbed runs (30 minutes)"
	@echo "make package     build wheel and sdist into dist/, try them in a fresh environment, and all mechanisms as ONNX"
	@echo "make lint        check style and types"
	@echo "make docs        build the documentation as a site, in build/site"
	@echo "make results     render report.html and the pictures beside every record in docs/results that holds its runs"
	@echo "make clean       remove the virtual environment and the quickstart's runs"

install: $(VENV)/installed

# The constraints hold the versions the tests run with; torch==2.13.0 is satisfied by the CPU build.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	@touch $@

quickstart: install
	@echo "quickstart: 4 mechanisms x 3 seeds on public-domain English; some steps are timed, then the time is printed"
	@test -e $(QUICK)/data/data.json || \
	  $(BIN)/leanformer prepare shipped:novels --out $(QUICK)/data --algorithm characters --quiet
	$(BIN)/leanformer compare configs/quickstart.toml --data $(QUICK)/data --out $(QUICK)/comparison \
	  --attention dot_product,symmetric,pairwise,shared --seeds 3 --autoresume

test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not peer and not slow and not cluster" -n 2

test-peer: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m peer tests/peer

test-cluster: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test,slurm,ray]"
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m cluster -rs tests/cluster

torture: install
	$(BIN)/python -m tests.torture --kills 100 --minutes 30

package: install
	$(BIN)/python -m hatchling build -d dist
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow -n 2 tests

test-versions: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	$(BIN)/python tests/versions.py

lint: install
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

docs: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# report.html is not kept in the repository: the site shows report.md, and this renders the rest where the runs are.
results: install
	@for record in $$(git ls-files 'docs/results/*comparison.json'); do \
	  folder=$$(dirname $$record); test ! -d $$folder/runs || $(BIN)/leanformer report $$folder || exit 1; done

clean:
	rm -rf $(VENV) $(QUICK) build/site
