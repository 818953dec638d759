# Each target does its own set-up in .venv, with pip alone, from the lock files.

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input -q
PRODUCT := $(VENV)/.k2-product
DEV := $(VENV)/.k2-dev
SPARK := $(VENV)/.k2-spark
CHART := k2_api/page/static/vendor/lightweight-charts.js
COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --no-annotate --no-strip-extras -q pyproject.toml --group build

.DEFAULT_GOAL := help
.PHONY: help demo spark test test-storage lint bench bench-api bench-scale soak chaos year lock clean

help: ## Show what there is to make
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile | expand -t 14

demo: $(PRODUCT) $(CHART) ## Run the whole platform on this machine, against a simulated exchange
	@exec $(BIN)/k2 demo

spark: $(SPARK) ## Install what the engine Spark needs: pyspark and, by Maven, its jars
	@deploy/spark/fetch.sh $(BIN)/python

test: $(DEV) $(CHART) ## Run the tests
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder \
		--durations 25

test-storage: $(DEV) ## Run the lake's tests on PostgreSQL and an S3-compatible store
	@K2_TEST_STORAGE=postgres,s3 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile \
		--timeout 600 tests/k2_lake

lint: $(DEV) ## Check style, types and who imports whom
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(DEV) ## Measure frames and trades per second of every stage
	@$(BIN)/python -m benchmarks
	@$(BIN)/python -m benchmarks.feed
	@$(BIN)/python -m benchmarks.compaction

bench-api: $(DEV) ## Measure the API under load: candles, trades, exports, freshness, hostility
	@$(BIN)/python -m benchmarks.api

bench-scale: $(DEV) ## Compute days of up to 100 million trades on DuckDB and on Spark (after make spark)
	@$(BIN)/python -m benchmarks.scale

soak: $(DEV) ## Run a live feed for 20 minutes against disconnects and a restart of Kafka
	@$(BIN)/python -m benchmarks.soak

chaos: $(DEV) ## Kill the process over 200 times, at every place of its work, and count every row
	@$(BIN)/python -m benchmarks.chaos

year: $(DEV) ## Live through a year of ticks, compressed in time, with maintenance
	@$(BIN)/python -m benchmarks.year

lock: ## Pin the dependencies again (needs uv)
	@$(COMPILE) -o requirements.lock
	@$(COMPILE) --extra postgres -c requirements.lock -o deploy/requirements.lock
	@$(COMPILE) --extra postgres --group dev -c deploy/requirements.lock -o requirements-dev.lock
	@$(COMPILE) --extra spark -c requirements-dev.lock -o requirements-spark.lock

clean: ## Remove the environment, the caches and the demo's state
	rm -rf $(VENV) .k2 .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -rf build dist *.egg-info $(dir $(CHART))

# The stamps stand inside the environment: whoever removes .venv removes them as well.
$(PRODUCT): requirements.lock pyproject.toml
	@PYTHON="$(PYTHON)" ./deploy/environment.sh $(VENV)
	@echo "installing $$(grep -c == requirements.lock) packages; about a minute the first time"
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-build-isolation --no-deps -e .
	@touch $@

# Not committed, because it is not ours. Without it the page shows a table instead of a chart.
$(CHART): deploy/chart/requirements.txt deploy/chart/fetch.sh | $(PRODUCT)
	@deploy/chart/fetch.sh $(BIN)/python || echo "the page has no chart library; going on without"

$(DEV): $(PRODUCT) requirements-dev.lock
	@echo "installing what the tests need"
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

# pyspark is published as a source archive of 435 MB: two minutes.
$(SPARK): $(PRODUCT) requirements-spark.lock
	@echo "installing pyspark"
	@$(PIP) install --no-build-isolation --require-hashes -r requirements-spark.lock
	@touch $@
