# make demo and make test do all their own set-up: .venv, pinned packages, and for make test the system's packages.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := mqproof-runs/demo
CONFORMANCE := mqproof-runs/conformance
NAMESPACE := .make/namespace/mqproof
PARTS := dissectors harness suites loadtests
PIP := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install -q
PYTEST := $(BIN)/python -m pytest
WORKERS ?= auto
# The subset waits for processes half of the time.
CHECK_WORKERS ?= $(shell $(PYTHON) -c 'import os; print(min(8, 2 * os.cpu_count()))')
FUZZ_SECONDS ?= 1800

# Wherever this is forbidden, each process and each worker would compile what it imports anew.
check test: export PYTHONDONTWRITEBYTECODE =

.PHONY: help demo test check lint bench fuzz docs conformance-amqp conformance-mqtt system-packages clean

help:
	@echo "make demo   judge the embedded brokers, account for every byte, put load on them, make the report"
	@echo "make test   everything that has to hold, real brokers included"
	@echo "make check  the part of it that belongs before every commit"
	@echo "make bench  how fast it is"
	@echo "make docs   the documentation as pages that open from a file, in site/"
	@echo "make conformance-amqp  repeat the runs of docs/conformance/amqp-0-9-1.md"
	@echo "make conformance-mqtt  repeat those of docs/conformance/mqtt.md"
	@echo "make fuzz   hostile octets for the analyzer, FUZZ_SECONDS=1800 of them"
	@echo "make clean  remove what was made here"

demo: $(VENV)/.installed-all
	@rm -rf $(DEMO)
	$(BIN)/mqproof test embedded --record --out $(DEMO)
	$(BIN)/mqproof analyze $(DEMO)/captures/*.pcapng
	$(BIN)/mqproof load welcome-email embedded --users 5 --duration 5 --out $(DEMO)
	$(BIN)/mqproof scorecard $(DEMO)
	$(BIN)/mqproof report $(DEMO) || test $$? -eq 3  # npm cannot be reached: it has said so

test: system-packages $(VENV)/.installed-dev lint
	MQPROOF_TESTS_NO_SKIPS=1 $(PYTEST) -q -n $(WORKERS) --maxschedchunk 8 --ignore=tests/benchmarks

check: $(VENV)/.installed-dev lint
	$(PYTEST) -q -n $(CHECK_WORKERS) --ignore=tests/benchmarks -m "not real_broker and not wheel and not whole_run and not slow and not further_case"

bench: $(VENV)/.installed-dev
	$(BIN)/python tests/benchmarks/bench_analyze.py
	$(BIN)/python tests/benchmarks/bench_load.py 5
	$(BIN)/python tests/benchmarks/bench_report.py

docs: $(VENV)/.installed-dev
	$(BIN)/python -m mqproof.harness.cli.reference docs/reference
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "open site/index.html; for its search, which browsers refuse to pages from a file: $(BIN)/python -m http.server -b 127.0.0.1 -d site"

fuzz: $(VENV)/.installed-dev
	$(BIN)/python tests/fuzz/run.py --seconds $(FUZZ_SECONDS)

lint: $(VENV)/.installed-dev $(NAMESPACE)
	$(BIN)/ruff check .
	MYPYPATH=$(dir $(NAMESPACE)) $(BIN)/mypy $(PARTS:%=-p mqproof.%)

docs/overhead.md: $(VENV)/.installed-dev $(wildcard captures/*overhead*.pcapng)
	$(BIN)/python captures/overhead.py page

# The measurements of docs/conformance/amqp-0-9-1.md, on a quiet machine, and the page; ten minutes.
conformance-amqp: $(VENV)/.installed-dev
	@rm -rf $(CONFORMANCE)-amqp
	-$(BIN)/mqproof stability rabbitmq --suite amqp --runs 10 --out $(CONFORMANCE)-amqp/1-rabbitmq
	-$(BIN)/mqproof stability embedded --suite amqp --runs 10 --out $(CONFORMANCE)-amqp/2-embedded
	-$(BIN)/mqproof test rabbitmq-amqp --suite recovery --out $(CONFORMANCE)-amqp/3-rabbitmq-recovery
	-$(BIN)/mqproof test embedded-amqp --suite recovery --out $(CONFORMANCE)-amqp/4-embedded-recovery
	$(BIN)/mqproof conformance $(CONFORMANCE)-amqp/* --spec amqp-0-9-1 -o docs/conformance/amqp-0-9-1.md

# The same of docs/conformance/mqtt.md; a quarter of an hour.
conformance-mqtt: $(VENV)/.installed-dev
	@rm -rf $(CONFORMANCE)-mqtt
	-$(BIN)/mqproof stability mosquitto --suite mqtt --runs 10 --out $(CONFORMANCE)-mqtt/1-mosquitto
	-$(BIN)/mqproof stability embedded --suite mqtt --runs 10 --out $(CONFORMANCE)-mqtt/2-embedded
	-$(BIN)/mqproof test rabbitmq --suite mqtt --out $(CONFORMANCE)-mqtt/3-rabbitmq
	-$(BIN)/mqproof test amqtt --suite mqtt --out $(CONFORMANCE)-mqtt/4-amqtt
	-$(BIN)/mqproof test mosquitto --suite recovery --out $(CONFORMANCE)-mqtt/5-mosquitto-recovery
	-$(BIN)/mqproof test embedded-mqtt --suite recovery --out $(CONFORMANCE)-mqtt/6-embedded-recovery
	-$(BIN)/mqproof test rabbitmq-mqtt --suite recovery --out $(CONFORMANCE)-mqtt/7-rabbitmq-recovery
	$(BIN)/mqproof conformance $(CONFORMANCE)-mqtt/* --spec mqtt-3.1.1 --spec mqtt-5.0 -o docs/conformance/mqtt.md

system-packages:
	@.ci/system-packages

# mypy finds mqproof.harness and the others through a folder of links: the folders stand at the top under bare names.
$(NAMESPACE):
	@mkdir -p $@
	@for part in $(PARTS); do ln -sfn ../../../$$part $@/$$part; done

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "mqproof needs Python 3.11 or newer: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "Python cannot make a virtual environment: on Debian, apt-get install python3-venv" >&2; exit 1; }

$(VENV)/.installed-all: $(BIN)/python pyproject.toml constraints.txt
	@echo "installing mqproof and what it needs into $(VENV)"
	@$(PIP) -e ".[all]"
	@touch $@

$(VENV)/.installed-dev: $(BIN)/python pyproject.toml constraints.txt
	@echo "installing mqproof and what its tests need into $(VENV)"
	@$(PIP) -e ".[dev]"
	@touch $@ $(VENV)/.installed-all

clean:
	rm -rf $(VENV) .make build dist site mqproof.egg-info mqproof-runs .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find $(PARTS) tests -name __pycache__ -type d -prune -exec rm -rf {} +
