# make demo and make test need only Python >= 3.10, make and a package index.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check constraints clean

demo: .venv/installed
	$(BIN)/tv-etl demo

test: .venv/installed
	$(BIN)/pytest

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/installed: pyproject.toml constraints.txt
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --allow-existing --python $(PYTHON) .venv && \
	  uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[ui,dev]'; \
	else \
	  $(PYTHON) -m venv .venv && \
	  $(BIN)/python -m pip install --quiet -c constraints.txt -e '.[ui,dev]'; \
	fi
	@touch $@

constraints:
	uv pip compile --universal --python-version 3.10 --all-extras --upgrade --no-header --no-annotate \
	  --no-emit-index-url --quiet pyproject.toml -o constraints.txt

clean:
	rm -rf .venv demo
