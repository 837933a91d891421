# make serve   the server, with the example functions, at the best isolation that this machine allows
# make test    every test
# make lint    every check
#
# All three work as root and as an ordinary user, and need Python >= 3.11 alone. PYTHON=... chooses another one.

VENV := .venv
STATE := .state

# The first Python that is new enough and can make a virtual environment; else the first that is new enough. The system's
# own comes first: distributions build it optimised, which those built by hand (pyenv) seldom are. With such a one a call
# costs 1.4 times as much processor time.
SUITS := import sys; sys.exit(sys.version_info < (3, 11))
CAN_VENV := import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))
CANDIDATES := /usr/bin/python3 python3.14 python3.13 python3.12 python3.11 python3
PYTHON ?= $(shell for check in '$(CAN_VENV)' '$(SUITS)'; do for python in $(CANDIDATES); do \
	$$python -c "$$check" 2>/dev/null && { echo $$python; exit; }; done; done)

.DELETE_ON_ERROR:
.PHONY: serve test lint format clean

serve: $(VENV)/.installed
	$(VENV)/bin/hotfork serve --isolation auto --examples --state-dir $(STATE) $(ARGS)

test: $(VENV)/.installed-dev
	$(VENV)/bin/python -m pytest $(ARGS)

lint: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/deptry .
	$(VENV)/bin/codespell

format: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean:
	rm -rf $(VENV) $(STATE)

# Installed again when pyproject.toml has changed, and only then. pip reads [dependency-groups] from 25.1 on.
$(VENV)/.installed: pyproject.toml | $(VENV)/bin/pip
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/bin/pip
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable . --group dev
	touch $@ $(VENV)/.installed

$(VENV)/bin/pip:
	@test -n "$(PYTHON)" || { echo "hotfork needs Python >= 3.11 on PATH, or PYTHON=/path/to/python3; \
	on Debian or Ubuntu: apt install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) -c '$(SUITS)' || { echo "$(PYTHON) is not Python >= 3.11: choose another with PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c '$(CAN_VENV)' 2>/dev/null || { echo "$(PYTHON) cannot make a virtual environment, it lacks \
	ensurepip; on Debian or Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
