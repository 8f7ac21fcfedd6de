# What a person can do here. Every target sets up what it needs; `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHONPATH :=
# Of other projects; scripts/own_environment says why.
unexport SPARK_HOME PYSPARK_PYTHON PYSPARK_DRIVER_PYTHON PYSPARK_DRIVER_PYTHON_OPTS PYTHONHOME PYTHONSAFEPATH
ZIP := dist/pyspark_vision.zip
# The newest of each version that setup.py allows.
SPARKS := 3.5.9 4.0.5 4.1.4 4.2.0 4.3.0
SPARK ?= 3.5.9
# One half does not keep two cores busy: it waits for processes to start. What each prints comes when
# it is done.
TESTS = echo "== tests: tests/unit beside tests/services and tests/faults; what they print comes when each is done" && $(MAKE) -j2 --output-sync --no-print-directory \
	test-unit test-services MARKS='$(MARKS)'
MARKS = not slow

.PHONY: help demo up test test-all test-unit test-services test-faults test-spark test-spark-all services jars lint zip docs notebook bench bench-quick bench-latency bench-start bench-dashboard bench-memory test-environments clean

help: ## list the targets
	@grep -hE '^[a-z0-9.-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

demo: .venv/run.stamp zip ## detect drawn objects in a stream of frames, and make a page to look at
	@scripts/demo

up: .venv/up.stamp ## watch boxes on moving pictures in the browser until Ctrl-C; UP=--drawn: not the webcam's
	@pyspark-vision up $(UP)

test: .venv/spark-classes.jsa zip jars ## run the tests, without those that take minutes (sets up what it needs)
	@$(TESTS)

test-all: MARKS = slow or not slow
test-all: .venv/spark-classes.jsa zip jars ## run those too: jobs on YARN, 20,000 objects, signals of each kind (10 minutes more)
	@$(TESTS)

test-unit:
	@python -m pytest -m '$(MARKS)' --durations=25 tests/unit

test-services:
	@python -m pytest -m '$(MARKS)' --durations=25 tests/services tests/faults

test-faults: .venv/spark-classes.jsa jars ## break everything a job stands on, at moments of SEED=…, and look for each row
	@python -m pytest -m 'slow or not slow' tests/faults --faults full

test-environments: .venv/develop.stamp zip ## run the demo and a job each way under other locales, users, folders, variables (20 minutes)
	@python scripts/try_environments

# Before 4.1 Spark leaves its sockets to the garbage collector, and 3.5 asks distutils for versions;
# pytest here takes warnings for errors.
test-spark: export PATH := $(CURDIR)/.venv-spark-$(SPARK)/bin:$(PATH)
test-spark: .venv-spark-$(SPARK)/develop.stamp zip ## run the tests that hold on each Spark, on PySpark SPARK=3.5.9
	@python -c 'import pyspark; print("== tests on PySpark", pyspark.__version__)'
	@scripts/fetch_jars kafka kafka-broker >/dev/null
	@python -m pytest -p no:cacheprovider -m every_spark $$(grep -rl every_spark tests --include='test_*.py') \
	  -W ignore::ResourceWarning -W "ignore:distutils Version:DeprecationWarning"

test-spark-all: ## run them on the newest of each version that setup.py allows
	@for version in $(SPARKS); do $(MAKE) --no-print-directory test-spark SPARK=$$version || exit; done

services: .venv/develop.stamp jars ## run Kafka, S3, HDFS and Google's services on this machine until Ctrl-C; SERVICES="--kafka-port 0": any port
	@scripts/services $(SERVICES)

jars: .venv/develop.stamp ## fetch the jars of conf/ivy.xml, once per machine
	@scripts/fetch_jars >/dev/null

lint: .venv/develop.stamp ## ruff, mypy --strict, and the direction of imports
	@echo "== ruff, mypy, import-linter"
	@ruff check .
	@ruff format --check .
	@mypy
	@lint-imports --no-logo --no-cache

docs: .venv/develop.stamp ## build the site of docs/ and the docstrings: build/site/index.html
	@echo "== site: build/site/index.html (with search: python -m http.server -d build/site)"
	@NO_MKDOCS_2_WARNING=1 mkdocs build --quiet --strict

notebook: .venv/develop.stamp ## run docs/tour.ipynb and keep what it shows in it
	@python scripts/run_notebook.py

zip: ## build dist/pyspark_vision.zip: same commit, same bytes
	@python3 scripts/build_zip.py $(ZIP)

bench: export PATH := $(CURDIR)/.venv-bench/bin:$(PATH)
bench: .venv-bench/develop.stamp ## compare with loops, raw engines, Ray Data, Daft and plain Spark (an hour)
	@scripts/fetch_jars s3-server >/dev/null
	@python -m benchmarks.bench $(BENCH)

bench-quick: .venv/develop.stamp ## images/s of classify_image against a plain two-process loop
	@python -m benchmarks.quick

bench-latency: .venv/develop.stamp ## age of a stream's results beside an empty stream's (an hour and a half)
	@scripts/fetch_jars kafka kafka-broker >/dev/null
	@python -m benchmarks.latency $(LATENCY)

bench-start: .venv/develop.stamp zip ## how long a job of ten pictures takes to its first row, beside Spark's own stream (minutes)
	@python -m benchmarks.start $(START)

bench-dashboard: .venv/develop.stamp ## how long the dashboard takes for ten million results (a minute)
	@python -m benchmarks.dashboard $(DASHBOARD)
bench-memory: .venv/develop.stamp ## what loading a model takes, for each engine and format (ten minutes, 4 GB)
	@python -m benchmarks.memory $(MEMORY)

clean: ## remove what was built, not the environment
	rm -rf build dist

# The demo needs Spark and LiteRT (300 MB), and who tries a stream next its metrics; the tests also TensorFlow.
.venv/run.stamp: conf/constraints.txt setup.py
	@scripts/make_venv run spark,litert,simd,metrics

.venv/up.stamp: conf/constraints.txt setup.py
	@scripts/make_venv up spark,litert,simd,metrics,clients

.venv/develop.stamp: conf/constraints.txt setup.py
	@scripts/make_venv develop spark,connect,litert,tensorflow,simd,clients,test,docs

.venv/spark-classes.jsa: .venv/develop.stamp
	@scripts/archive_classes $@

.venv-spark-$(SPARK)/develop.stamp: conf/constraints.txt setup.py
	@scripts/make_venv develop spark,litert,test .venv-spark-$(SPARK) <(echo pyspark==$(SPARK))

.venv-bench/develop.stamp: conf/constraints.txt benchmarks/constraints.txt setup.py
	@scripts/make_venv develop spark,litert,tensorflow,openvino,simd,s3,bench .venv-bench benchmarks/constraints.txt
