# `make sim` and `make test` need Python 3.10 to 3.12 with pip, and set up the rest in .venv.
# Use another interpreter with `make sim PYTHON=python3.11`.

VENV ?= .venv
PYTHON ?=
SYNTHETIC ?=
TEST_EXTRAS := $(if $(SYNTHETIC),all+test+synthetic+train,all+test)

.PHONY: help sim test clean

help:  ## List what make can do
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/'

sim: $(VENV)/.done-all  ## Imitate the hand of the sample clip: video, bag and figures in out/sim
	$(VENV)/bin/hand-imitation sim --source sample --headless --out out/sim

test: $(VENV)/.done-$(TEST_EXTRAS)  ## Run ruff, mypy and the tests (SYNTHETIC=1 adds those of synthetic people and learning)
	$(VENV)/bin/ruff check
	$(VENV)/bin/mypy
	$(VENV)/bin/python -m pytest -n 2 --dist loadfile --max-worker-restart 4

clean:  ## Remove .venv and everything built
	rm -rf $(VENV) out build install log *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.done-%: setup.py scripts/setup.sh
	PYTHON='$(PYTHON)' scripts/setup.sh $(VENV) $(subst +, ,$*)
	touch $@
