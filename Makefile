# Start with `make demo` and `make test`. Both do their own set-up.

MAKEFLAGS += --no-print-directory
PY := .venv/bin/python
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin
SOURCES := core/src plugins/overlayfs/src plugins/bridge_net/src plugins/cgroups_v2/src plugins/macvlan_net/src plugins/tenants/src
VM_TESTS := tests/conformance/test_resource.py $(wildcard tests/integration/test_cgroups*.py) tests/vm

.PHONY: help setup demo test test-api-fuzz test-images-fuzz test-large test-vm test-vm-quick test-vm-all check bench clean

help:
	@echo 'make demo    start a daemon, run a real container, leave nothing behind'
	@echo 'make test    all tests (as root: also those on the real kernel)'
	@echo 'make test-api-fuzz  10,000 valid and invalid requests generated from the OpenAPI document'
	@echo 'make test-images-fuzz  ten minutes of damaged layers, archives, documents and registry answers'
	@echo 'make test-large  an image of 70,000 files and 1.3 GB; 500 container lifecycles, the daemon killed in a third of them; 100 killed pulls and loads'
	@echo 'make test-vm  tests that need cgroup v2 only: on this host, or in a guest kernel (built once, in some ten minutes)'
	@echo 'make test-vm-quick  those of them that are run for every change'
	@echo 'make test-vm-all  all tests of the real kernel in the guest kernel: some hours; ARGS="-k gate" selects'
	@echo 'make check   formatting, lint, types, direction of imports'
	@echo 'make bench   sampan, Docker and Podman side by side'
	@echo 'make setup   only the set-up: installs .venv/bin/sampan and .venv/bin/sampand'

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

# Without virtualisation, a guest kernel starts programs some fifty times slower than the host. The limit on silence
# catches a test that hangs in the kernel, where pytest can't end it.
test-vm:
	@tools/setup vm
	$(PY) -m tools.guest --timeout 7200 --silence 1200 $(GUEST) -- $(PY) -m pytest -p no:cacheprovider $(VM_TESTS) $(ARGS)

# For every change: an emulated machine takes half an hour for what User Mode Linux does in six minutes (and in ten
# more the first time, when it is built).
test-vm-quick:
	@tools/setup uml
	$(PY) -m tools.guest --no-emulation --timeout 1200 --silence 480 -- $(PY) -m pytest -p no:cacheprovider -m 'not slow' --within 800 $(VM_TESTS)

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
