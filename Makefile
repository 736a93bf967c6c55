# make demo    set up what is missing, profile the simulated amp into captures/demo
# make test    set up what is missing, run the tests; make test ARGS="-k settling -x"
# make lint    style and types
#
# Everything but Debian's own packages goes into .venv. Its stamp files carry a hash of
# what they were made from, so a second run starts at once and an edited pyproject.toml,
# constraints.txt or kernel installs again. The kernels are built without pip's isolation:
# its ever new folders would have everything compiled each time.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check
NAM_WASM := @opendaw/nam-wasm@1.2.0
BUILDERS := scikit-build-core nanobind cmake ninja
# The NAM trainer, a peer to compare with, without its window, training loop and corpora.
TRAINER := neural-amp-modeler tqdm wavio

# The kernels, by whose change they are built again.
NATIVE := $(wildcard profiler/kernels/CMakeLists.txt profiler/kernels/*/CMakeLists.txt) \
  $(wildcard profiler/kernels/native/*)

PINS := $(shell cat pyproject.toml constraints.txt $(NATIVE) | sha256sum | cut -c1-12)
RUNTIME := $(VENV)/runtime-$(PINS)
DEVELOPMENT := $(VENV)/development-$(PINS)
PLAYER := $(VENV)/player-$(notdir $(NAM_WASM))

# apt and pip each want to be alone.
.NOTPARALLEL:
.PHONY: demo test lint debian-runtime debian-tests

demo: $(RUNTIME)
	$(BIN)/ampscope profile tweed --preset quick -o captures/demo -y

test: $(DEVELOPMENT) $(PLAYER) | debian-tests
	$(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(DEVELOPMENT)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(BIN)/pip: | debian-runtime
	python3 -m venv $(VENV)

$(RUNTIME): | $(BIN)/pip
	$(PIP) install --quiet --constraint constraints.txt torch
	$(PIP) install --quiet --constraint constraints.txt $(BUILDERS)
	$(PIP) install --quiet --constraint constraints.txt --no-build-isolation --editable .
	touch $@

$(DEVELOPMENT): $(RUNTIME)
	$(PIP) install --quiet --constraint constraints.txt --no-build-isolation --editable '.[dev]'
	$(PIP) install --quiet --constraint constraints.txt --no-deps $(TRAINER)
	touch $@

# The official player core, as the real client of our exports.
$(PLAYER): | debian-tests
	if command -v npm >/dev/null; then \
	  npm install --prefix $(VENV)/node --no-save --no-audit --no-fund $(NAM_WASM) && touch $@; \
	fi

# Debian's packages, each only where what it brings is missing: a machine may have its
# Node from elsewhere, which Debian's would conflict with.
debian-runtime:
	@set --; \
	python3 -c 'import ensurepip, venv' 2>/dev/null || set -- "$$@" python3-venv; \
	command -v c++ >/dev/null || set -- "$$@" g++ libc6-dev; \
	python3 -c 'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")' \
	  2>/dev/null || set -- "$$@" python3-dev; \
	$(install_packages)

debian-tests:
	@set --; \
	command -v jackd >/dev/null || set -- "$$@" jackd2; \
	/sbin/ldconfig -p | grep -q libportaudio.so.2 || set -- "$$@" libportaudio2; \
	command -v fluidsynth >/dev/null || set -- "$$@" fluidsynth; \
	test -e /usr/share/sounds/sf2/FluidR3_GM.sf2 || set -- "$$@" fluid-soundfont-gm; \
	command -v ngspice >/dev/null || set -- "$$@" ngspice; \
	command -v node >/dev/null || set -- "$$@" nodejs; \
	command -v npm >/dev/null || set -- "$$@" npm; \
	$(install_packages)

define install_packages
	if [ $$# -eq 0 ]; then exit 0; fi; \
	if [ "$$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then \
	  echo "missing: $$* (Debian's names); going on with what can run without" >&2; exit 0; \
	fi; \
	export DEBIAN_FRONTEND=noninteractive; \
	apt-get -q update && apt-get -q -y install --no-install-recommends "$$@"
endef
