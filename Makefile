# All that a newcomer must know: `make demo` shows it, `make test` proves it. Both do their own set-up.

MAKEFLAGS += --no-print-directory
PY := .venv/bin/python
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin
SOURCES := core/src plugins/overlayfs/src plugins/bridge_net/src plugins/cgroups_v2/src plugins/macvlan_net/src plugins/tenants/src
VM_TESTS := tests/conformance/test_resource.py $(wildcard tests/integration/test_cgroups*.py) tests/vm

.PHONY: help setup demo test test-api-fuzz test-images-fuzz test-large test-vm test-vm-quick test-vm-all check bench clean

help:
	@echo 'make demo    start a daemon, run a real container, leave nothing behind'
	@echo 'make test    every test (as root: the ones on the real kernel too)'
	@echo 'make test-api-fuzz  10,000 requests made up from the OpenAPI document, good and bad ones'
	@echo 'make test-images-fuzz  ten minutes of damaged layers, archives, documents and answers of registries'
	@echo 'make test-large  an image of 70,000 files and 1.3 GB; 500 lives of containers, the daemon killed in a third; 100 kills of pulls and loads'
	@echo 'make test-vm  what needs cgroup v2 alone: on this host, or else in a guest kernel (built once, some ten minutes)'
	@echo 'make check   formatting, lint, types, which way imports point'
	@echo 'make bench   sampan, Docker and Podman side by side'
	@echo 'make setup   only the set-up: leaves .venv/bin/sampan and .venv/bin/sampand'

setup:
	@tools/setup run

demo:
	@tools/setup run
	@$(PY) -m tools.demo

test:
	@tools/setup test
	$(PY) -m pytest $(ARGS)

test-api-fuzz:
	@tools/setup test
	$(PY) -m pytest tests/api/daemon/test_fuzz.py --fuzz-cases 10000 $(ARGS)

test-images-fuzz:
	@tools/setup test
	$(PY) -m pytest tests/unit/images/test_fuzz.py --fuzz-seconds 90 $(ARGS)

test-large:
	@tools/setup test
	$(PY) -m pytest tests/integration/test_image_crash.py tests/compat/test_large_image.py tests/compat/test_network_leaks.py --large $(ARGS)

# A guest kernel without virtualisation starts programs some fifty times slower than the host. A test that pytest can't
# end, as its kernel does not let it, is silent for longer than any other.
test-vm:
	@tools/setup vm
	$(PY) -m tools.guest --timeout 2400 --silence 480 $(GUEST) -- $(PY) -m pytest -p no:cacheprovider $(VM_TESTS) $(ARGS)

# For every change: an emulated machine takes half an hour for what a kernel of User Mode Linux does in six minutes,
# and the first time in ten more, as it is built then.
test-vm-quick:
	@tools/setup uml
	$(PY) -m tools.guest --no-emulation --timeout 1200 --silence 480 -- $(PY) -m pytest -p no:cacheprovider --within 720 $(VM_TESTS)

test-vm-all:
	@tools/setup vm
	$(PY) -m tools.guest --timeout 36000 --silence 3600 $(GUEST) -- $(PY) -m pytest -p no:cacheprovider --timeout 3000 tests/vm tests/integration tests/conformance $(ARGS)

check:
	@tools/setup check
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy $(SOURCES) tests tools bench
	.venv/bin/lint-imports

bench:
	@tools/setup bench
	$(PY) -m bench $(ARGS)

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache bench/results
