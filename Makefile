# make run, make test, make lint, make bench: each sets up what it needs first.
PYTHON ?= python3
PORT ?= 5000
INSTANCE ?= $(CURDIR)/instance
BIN := .venv/bin
APP ?= app

.PHONY: install run seed example test sweep lint bench figures pictures lock

install: .venv/ready

.venv/ready: requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.12")'
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

# The demo has no settings but these, whatever stands in .env.
run seed example: export FLASK_SKIP_DOTENV = 1
run seed example: export FLASK_APP = $(APP)
run seed example: export FLASK_DEMO = 1
run seed example: export FLASK_SITE_URL = http://localhost:$(PORT)
run seed example: export FLASK_DATABASE_URL = sqlite:///$(INSTANCE)/demo.db

# At both addresses that a browser may take localhost for; not every machine has the second.
HAS_IPV6 := import socket; socket.create_server(("::1", 0), family=socket.AF_INET6)
BIND = --bind 127.0.0.1:$(PORT) $$($(BIN)/python -c '$(HAS_IPV6)' 2>/dev/null && echo "--bind [::1]:$(PORT)")

# The demo; with APP=team your own pages behind it, which are loaded again when you change them.
run: export FLASK_DEBUG = $(if $(filter app,$(APP)),,1)
run: install seed
	@exec $(BIN)/gunicorn $(BIND) $(if $(filter app,$(APP)),,--reload) "$(APP):create_app()"

# The notice board of examples/ behind the demo's sign-in; Ines tidies it up.
example: APP = examples.board
example: seed
	@$(BIN)/flask users groups ines@example.com editors
	@exec $(BIN)/gunicorn $(BIND) "$(APP):create_app()"

# The demo's people as new, recovery codes on.
seed: install
	@mkdir -p -m 700 $(INSTANCE)
	@$(BIN)/flask db upgrade
	@$(BIN)/flask recovery-codes enable
	@$(BIN)/flask demo seed

# Every behaviour once, in about three minutes.
test: lint
	@$(BIN)/pytest -q -n 3 --dist worksteal

# The long rest: all of tests/sweep, and of the other tests what `make test` leaves out, on PostgreSQL too.
sweep: install
	@$(BIN)/pytest -q --sweep -n 3 --dist worksteal -m "not alone"
	@$(BIN)/pytest -q --sweep -m alone

lint: install
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

# What the site takes, beside what is promised and beside its peers; fails where a promise is not kept. Under six
# minutes, on Linux.
bench: install
	@$(MAKE) --silent --no-print-directory .venv/peers/ready || echo "The peers can't be installed here: their rows are left out." >&2
	@$(BIN)/python -m benchmarks

# docs/benchmarks.md and its picture, from the last run.
figures: .venv/peers/ready
	@.venv/peers/bin/python -m benchmarks.report

# Flask-Security, and what draws, in an environment of their own: the product needs neither.
.venv/peers/ready: benchmarks/requirements.txt
	@$(PYTHON) -m venv .venv/peers
	@.venv/peers/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

# The README's, from the demo itself; needs Chromium.
pictures: install
	@$(BIN)/python -m docs.pictures

# Only when the dependencies of pyproject.toml or of the benchmarks change; needs uv.
lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --extra postgres -o requirements.txt pyproject.toml
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --extra postgres --extra dev -o requirements-dev.txt pyproject.toml
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate -o benchmarks/requirements.txt benchmarks/requirements.in
