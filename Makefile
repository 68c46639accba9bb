# make demo, make test: each sets everything up by itself in .venv
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check -q

# Hundreds of processes begin in a run of the tests: each would compile the agent anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install dev decoders demo test lint types contracts unit scoreboard scoreboard-quick soak bench bench-tamper bench-anomaly bench-fleet bench-jt808 bench-slope bench-vision deb lock schema screens clean

help:
	@echo "make demo    two minutes: simulated site, agent, broker, platform, verdict"
	@echo "make test    the one gate: lint, types, contracts, tests, the small scoreboard"
	@echo "make scoreboard        breaks the agent in every way we know, and counts; up to an hour"
	@echo "make scoreboard-quick  the same in small, about five minutes"
	@echo "make soak    an hour at 1,000 channels with faults on: what grows (MINUTES=60)"
	@echo "make bench   measured against floors in the same run; results in build/bench"
	@echo "make bench-tamper  how many lies of sensors are found, and how often one is called a liar that is none"
	@echo "make bench-anomaly  what the anomaly detector finds on real series, and how often it is wrong"
	@echo "make bench-fleet  what a gateway and its broker cost at 10, 100, 1000, and how a region comes back"
	@echo "make bench-jt808  what a JT/T 808 terminal costs, and how long an alarm waits beside a blind area that is told"
	@echo "make bench-slope  when slopes are said to fail, and how often they do not"
	@echo "make bench-vision  how well the time to collision is told, on real frames and drawn scenes; what nets find"
	@echo "make install only the virtual environment"
	@echo "make deb     Debian packages in dist/, for this machine; ARCH=arm64, PYTHON_VERSION=3.13, REVISION=2, COMPRESS=zstd"
	@echo "make screens  pictures of the local page for the README, from a running agent"
	@echo "make schema  the JSON schema of the site file, after a setting was added"
	@echo "make lock    renew the lock files (needs uv)"

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "no venv module: install python3-venv, or name another: make PYTHON=..."; exit 1; }

$(VENV)/.installed: $(VENV)/bin/python requirements.lock pyproject.toml
	@echo "installing into $(VENV) (hash-locked) ..."
	@$(PIP) install --require-hashes --only-binary :all: -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.installed requirements-dev.lock
	@$(PIP) install --no-compile --require-hashes --only-binary :all: -r requirements-dev.lock
	@touch $@

install: $(VENV)/.installed
dev: $(VENV)/.dev

demo: install
	@$(BIN)/vedette demo

# What has one thread runs beside something else. In the gate the scoreboard's times are figures: a busy machine fails no
# test, a lost alarm does.
test:
	@$(MAKE) --no-print-directory -j2 dev decoders
	@$(MAKE) --no-print-directory lint contracts
	@$(MAKE) --no-print-directory -j2 types unit
	@$(BIN)/python -m tests.rigs.scoreboard --quick --lenient --lanes 6

lint: dev
	@$(BIN)/ruff format --check . && $(BIN)/ruff check .

types: dev
	@$(BIN)/mypy

contracts: dev
	@$(BIN)/lint-imports

unit: dev decoders build/.collected
	@$(BIN)/python -m pytest -n 6 --dist loadscope -rs

# What pytest makes of the files of tests is made once, not by each worker at the same time.
build/.collected: build/decoders/.python $(VENV)/.dev
	@$(BIN)/python -m pytest --collect-only >/dev/null; touch $@

# Other people's decoders, with what they need for themselves; a machine without npm tests without the one.
SPB := tests/tools/sparkplug
AXE := tests/tools/axe
decoders: build/decoders/.python build/decoders/.node build/decoders/.axe

build/decoders/.python: $(SPB)/requirements.lock
	@$(PYTHON) -m venv build/decoders/python
	@build/decoders/python/bin/python -m pip --disable-pip-version-check -q install --no-compile --no-deps --require-hashes --only-binary :all: -r $<
	@touch $@

build/decoders/.node: $(SPB)/package-lock.json
	@mkdir -p build/decoders/node
	@cp $(SPB)/package.json $(SPB)/package-lock.json build/decoders/node
	@npm ci --prefix build/decoders/node --ignore-scripts --no-audit --no-fund --silent && touch $@ || \
	echo "no npm, or nothing to be had from it: one decoder of Sparkplug is not tested against"

build/decoders/.axe: $(AXE)/package-lock.json
	@mkdir -p build/decoders/axe
	@cp $(AXE)/package.json $(AXE)/package-lock.json build/decoders/axe
	@npm ci --prefix build/decoders/axe --ignore-scripts --no-audit --no-fund --silent && touch $@ || \
	echo "no npm, or nothing to be had from it: whether people can use the page is not checked by axe"

scoreboard: dev
	@$(BIN)/python -m tests.rigs.scoreboard

scoreboard-quick: dev
	@$(BIN)/python -m tests.rigs.scoreboard --quick

bench: dev
	@$(BIN)/python -m tests.bench

bench-tamper: dev
	@$(BIN)/python -m tests.bench.tamper

bench-vision: dev
	@$(BIN)/python -m tests.bench.vision

bench-anomaly: dev
	@$(BIN)/python -m tests.bench.anomaly

bench-fleet: dev
	@$(BIN)/vedette simulate fleet --gateways 1000 --seconds 30 --rate 0.1 --alarms 0.2 --processes 2 --outage 60

bench-jt808: dev
	@$(BIN)/python -m tests.bench.jt808

soak: dev
	@$(BIN)/python -m tests.bench.soak --minutes $(or $(MINUTES),60)

bench-slope: dev
	@$(BIN)/python -m tests.bench.slope

# Two packages from one tree, with everything that they need; the same commit gives the same bytes.
deb: install
	@$(BIN)/python -m package.build $(if $(ARCH),--arch $(ARCH)) $(if $(PYTHON_VERSION),--python $(PYTHON_VERSION)) \
	  $(if $(REVISION),--revision $(REVISION)) $(if $(COMPRESS),--compress $(COMPRESS))

screens: dev
	@$(BIN)/python -m tests.tools.screens docs

schema: dev
	@$(BIN)/vedette schema > configs/site.schema.json.new && mv configs/site.schema.json.new configs/site.schema.json

lock:
	uv pip compile --universal --generate-hashes --no-header --no-annotate --python-version 3.11 pyproject.toml --extra build --extra sftp --extra vehicle --extra video --extra web -o requirements.lock
	uv pip compile --universal --generate-hashes --no-header --no-annotate --python-version 3.11 pyproject.toml --extra dev -o requirements-dev.lock
	uv pip compile --universal --generate-hashes --no-header --no-annotate --python-version 3.11 --no-deps $(SPB)/requirements.in -o $(SPB)/requirements.lock

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
