# make run, make test, make lint: each sets up what it needs first.
PYTHON ?= python3
PORT ?= 5000
BIN := .venv/bin

.PHONY: install run test lint lock

install: .venv/ready

.venv/ready: requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.12")'
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

run: export FLASK_APP = app.py
run: export FLASK_DEMO = 1
run: export FLASK_SITE_URL = http://127.0.0.1:$(PORT)
run: export FLASK_DATABASE_URL = sqlite:///$(CURDIR)/instance/demo.db
run: install
	@mkdir -p instance
	@$(BIN)/flask db upgrade
	@$(BIN)/flask recovery-codes enable
	@$(BIN)/flask demo seed
	@exec $(BIN)/gunicorn --workers 2 --threads 4 --bind 127.0.0.1:$(PORT) --log-level warning 'app:create_app()'

test: lint
	@$(BIN)/pytest -q -n 2 --dist worksteal

lint: install
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

# Only when pyproject.toml's dependencies change; needs uv.
lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --extra postgres -o requirements.txt pyproject.toml
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --extra postgres --extra dev -o requirements-dev.txt pyproject.toml
