# Two commands matter: `make reproduce` and `make test`. Both need only python3 (3.11 or 3.12) and make.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: help reproduce test lint format setup lock

help: ## show this list
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

reproduce: setup ## install what is locked and run Table 1 on Shapes (outputs/reproduce)
	$(VENV)/bin/pos reproduce

test: setup ## install what is locked and run the tests but the slow ones
	$(RUN) -m pytest -q -m "not slow" --numprocesses auto --dist worksteal

lint: setup ## style, and the one-way imports between packages
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(VENV)/bin/lint-imports
	$(VENV)/bin/pyright

format: setup ## rewrite the code in the project's style
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

setup: $(VENV)/installed ## only the environment in .venv

lock: setup ## pin again after a change in setup.cfg (keeps the pins that still hold)
	$(VENV)/bin/uv pip compile setup.cfg --all-extras --universal --python-version 3.11 --no-annotate \
		--custom-compile-command "make lock" --output-file requirements.lock

# The stamp is newer than the lock once everything is in: a second call costs nothing, a killed one goes on.
$(VENV)/installed: requirements.lock setup.cfg setup.py pyproject.toml | $(VENV)/bin/python
	$(RUN) -m pip install --progress-bar on --requirement requirements.lock
	$(RUN) -m pip install -qq --no-deps --editable .
	@touch $@

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; \
		sys.exit(None if (3, 11) <= v < (3, 13) else f"POS needs Python 3.11 or 3.12, and $(PYTHON) is {v[0]}.{v[1]}: \
	run make again with PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "python -m venv failed: on Debian and Ubuntu, install the package python3-venv"; exit 1; }
