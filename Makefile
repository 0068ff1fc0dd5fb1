# make demo and make test need only Python >= 3.10, make and a package index.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo demo-ui test test-all check fuzz browser peers bench constraints clean

demo: .venv/installed
	$(BIN)/tv-etl demo

# The same in Dagster's web interface, until Ctrl-C.
demo-ui: .venv/installed
	$(BIN)/tv-etl demo --ui

# The fast set, on every core: what a change needs to be trusted.
test: .venv/installed
	$(BIN)/pytest -m "not slow" -n auto --dist worksteal

# And the slow kinds, one after the other: kills want no neighbours.
test-all: test
	$(BIN)/pytest -m slow

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive tv_etl

# Not in the dev extra: atheris has wheels for some platforms only.
FUZZ_SECONDS := 60

fuzz: .venv/installed
	@$(BIN)/python -c "import atheris" 2>/dev/null || \
	if command -v uv >/dev/null 2>&1; then uv pip install --quiet --python $(BIN)/python atheris; \
	else $(BIN)/python -m pip install --quiet atheris; fi
	$(BIN)/python -m tv_etl_tests.fuzz.fuzz_protocol -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=1024 -timeout=5 \
	  -print_final_stats=1 -verbosity=0 -artifact_prefix=.venv/

# What a person sees in Dagster's interface, in this machine's Chromium. TV_ETL_SCREENSHOTS=folder keeps pictures of it.
browser: .venv/browser
	$(BIN)/pytest -rs tv_etl_tests/orchestration/test_browser.py

.venv/browser .venv/bench: .venv/%: .venv/installed
	@if command -v uv >/dev/null 2>&1; then \
	  uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[$*]'; \
	else $(BIN)/python -m pip install --quiet -c constraints.txt -e '.[$*]'; fi
	@touch $@

# Other people's clients on the market server; each has an environment of its own.
PEERS := .venv-peers/tvkit .venv-peers/tradingview-sdk .venv-peers/tradingview-datafeed

peers: .venv/installed $(PEERS:=/installed) .venv-peers/mathieuc/installed
	$(BIN)/python -m peers

# What the same bars cost other clients and ours, and how ours grows; writes docs/performance.md.
bench: .venv/bench $(filter %tvkit,$(PEERS))/installed .venv-peers/mathieuc/installed
	$(BIN)/python -m benchmarks --write

$(PEERS:=/installed): .venv-peers/%/installed: peers/constraints.txt
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || \
	  { echo "$* needs Python >= 3.11: make peers PYTHON=python3.11" >&2; exit 1; }
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --allow-existing --python $(PYTHON) $(@D) && \
	  uv pip install --quiet --python $(@D)/bin/python -c peers/constraints.txt $*; \
	else \
	  $(PYTHON) -m venv $(@D) && \
	  $(@D)/bin/python -m pip install --quiet -c peers/constraints.txt $*; \
	fi
	@touch $@

.venv-peers/mathieuc/installed: peers/package.json
	@if command -v npm >/dev/null 2>&1; then \
	  mkdir -p $(@D) && cp $< $(@D) && \
	  npm install --prefix $(@D) --no-package-lock --no-audit --no-fund --loglevel=error && touch $@; \
	else echo "@mathieuc/tradingview is skipped: there is no npm"; fi

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
	rm -rf .venv .venv-peers demo
