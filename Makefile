# Each target makes .venv when it is missing, half made, or older than what it is made from.
KEY := $(shell cat pyproject.toml setup.py constraints.txt | cksum | cut -d' ' -f1)
BASE := .venv/.complete-base-$(KEY)
DEV := .venv/.complete-dev-$(KEY)
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

.PHONY: run test lint bench interop fuzz
# What holds a space wants quotes of its own, as for fewer demonstrations:
#     make run ARGS="task=tabletop/reach 'demonstrations={expert: 10, mixed: 5}'"
run: $(BASE)            ## collect, train, evaluate and report on tabletop/pick_place; ARGS="task=... seed=..."
	.venv/bin/robopolicy quickstart $(ARGS)

test: $(DEV)            ## all tests, two workers with one thread each
	$(ONE_THREAD) .venv/bin/python -m pytest -q -n 2 $(ARGS)

lint: $(DEV)            ## style, types and import contracts
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/pyright
	.venv/bin/lint-imports

bench: $(DEV)           ## the README's speeds, on an idle machine; ends with lerobot beside us, as interop needs it
	for name in sampler simulation training evaluation peers; do \
	    $(ONE_THREAD) .venv/bin/python -m benchmarks.$$name || exit 1; done

interop: $(DEV)         ## both directions against a real lerobot 0.4.4, in an environment of its own (8 GB)
	.venv/bin/python tests/interop/run.py

fuzz: $(DEV)            ## the property tests, with 100 times as many examples
	$(ONE_THREAD) .venv/bin/python -m pytest -q -n 2 -m hypothesis --times 100 --timeout 3600 $(ARGS)

$(BASE):
	@.ci/venv base $@

$(DEV):
	@.ci/venv dev $@
