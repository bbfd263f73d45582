# `make demo` and `make test` need git and make on Debian 12 or newer and install everything else:
# Debian packages as root (otherwise they print the one line to run), Python packages into .venv.
# TWIN_HOME, TWIN_PORT and TWIN_CITY reach the twin through the environment.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
.PHONY: help demo test check bench docs sbom lock down clean

BIN := .venv/bin
INSTALL := $(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt --build-constraints constraints.txt
PINS := pyproject.toml constraints.txt
# Installing bundles the web pages, so their sources count too.
PAGES := hatch_build.py $(wildcard api/web/*.js* api/web/*.html api/web/src/* api/web/src/*/*)
# Stamps: what .venv holds. A second run with the same pins and pages installs nothing.
TWIN := .venv/.twin
DEV := .venv/.dev
BENCH := .venv/.bench

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

demo: $(TWIN) ## make the demonstration city and serve it at http://127.0.0.1:8000 until Ctrl-C
	@exec $(BIN)/twin demo

test: $(DEV) ## run all tests; ARGS="tests/twin -k gate" runs some
	@exec $(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile $(ARGS)

check: $(DEV) ## run the static checks
	@$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/vulture

bench: $(BENCH) ## measure speed, side by side with peers; ARGS="datum grid" measures some
	@exec $(BIN)/python -m tests.bench $(ARGS)

docs: $(DEV) ## refresh the generated tables of README.md
	@$(BIN)/python tests/docs.py

sbom: $(DEV) ## write the bill of materials (CycloneDX) of what is installed to build/sbom.json
	@mkdir -p build
	$(BIN)/python -m cyclonedx_py environment --output-file build/sbom.json $(BIN)/python

lock: ## pin the versions that .venv holds now
	@$(BIN)/uv pip freeze --quiet --python $(BIN)/python --exclude-editable \
	  | grep -vE '^(pip|setuptools|citytwin)\b' | grep == > constraints.new
	mv constraints.new constraints.txt

down: ## stop the server and its database
	@if [ -x $(BIN)/twin ]; then exec $(BIN)/twin down; fi

clean: ## remove what make made here; the state folder (TWIN_HOME) stays
	@rm -rf .venv .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist api/web/dist api/web/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(TWIN): $(PINS) $(PAGES)
	@$(debian_packages)
	need "$$(find_python)" python3 python3-venv
	need "$$(find_postgis)" "$$(offered_postgis)"
	need "$$(PATH=$$PATH:/usr/sbin command -v mosquitto)" mosquitto
	install_needed
	if ! $(BIN)/python -c pass 2>/dev/null; then "$$(find_python)" -m venv --clear .venv; fi
	echo "Installing Python packages into .venv"
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt uv
	$(INSTALL) -e .
	touch $@

$(DEV): $(TWIN)
	@$(debian_packages)
	need "$$(command -v chromium)" chromium
	need "$$(command -v ogr2ogr)" gdal-bin
	need "$$(find /usr/share/fonts -iname '*noto*cjk*' -print -quit 2>/dev/null)" fonts-noto-cjk
	install_needed
	echo "Installing the tools for tests and checks into .venv"
	$(INSTALL) --group dev
	touch $@

$(BENCH): $(DEV)
	@echo "Installing the peers to compare with into .venv"
	$(INSTALL) --group bench
	touch $@

# Shell functions: `need FOUND PACKAGE...` notes packages unless something was found; `install_needed` installs them.
define debian_packages
needed=()
need() {
  if [ -z "$$1" ]; then needed+=("$${@:2}"); fi
}
find_python() {
  for python in python3 /usr/bin/python3 python3.14 python3.13 python3.12 python3.11; do
    if "$$python" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$$python"
      return
    fi
  done
}
find_postgis() {
  for config in /usr/lib/postgresql/*/bin/pg_config "$$(command -v pg_config)"; do
    if [ -x "$$config" ] && [ -x "$$("$$config" --bindir)/initdb" ] \
      && [ -e "$$("$$config" --sharedir)/extension/postgis.control" ] \
      && [ "$$("$$config" --version | grep -oE '[0-9]+' | head -n 1)" -ge 15 ]; then
      echo "$$config"
      return
    fi
  done
}
offered_postgis() {
  apt-cache search --names-only '^postgresql-[0-9]+-postgis-3$$' 2>/dev/null | cut -d ' ' -f 1 | sort -V | tail -n 1 | grep . \
    || echo postgresql-postgis
}
install_needed() {
  if [ $${#needed[@]} = 0 ]; then return; fi
  if ! command -v apt-get >/dev/null; then
    echo "This needs Python 3.11+ with venv and PostgreSQL 15+ with PostGIS 3.3+. Missing, by their names in Debian: $${needed[*]}" >&2
    exit 2
  fi
  if [ "$$(id -u)" != 0 ]; then
    echo "Missing Debian packages, as root run: apt-get update && apt-get install --yes --no-install-recommends $${needed[*]}" >&2
    exit 2
  fi
  echo "Installing Debian packages: $${needed[*]}"
  # The twin runs a database of its own: Debian's packages need not start one too.
  no_cluster=/etc/postgresql-common/createcluster.d/citytwin.conf
  mkdir -p "$${no_cluster%/*}"
  trap 'rm -f "$$no_cluster"' EXIT
  echo 'create_main_cluster = false' > "$$no_cluster"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends "$${needed[@]}" </dev/null >/dev/null
}
endef
