# Two commands on a fresh machine: `git clone …` and `make demo`. Only Python and make are needed.

PYTHON ?= python3
PORT   ?= 8000
DJANGO ?=
ARGS   ?=
COVER  ?=
JOBS   ?= 4

VENV := .venv
BIN  := $(VENV)/bin
PIP  := $(BIN)/python -m pip --disable-pip-version-check -q
MANAGE := $(BIN)/python manage.py
SERVE  := manage.py runserver --noreload 127.0.0.1:$(PORT)
# With a store that is shared, two processes; uvicorn restarts one that is killed.
SERVE2 := -m uvicorn --port $(PORT) --log-level warning example_project.asgi:application

# Interpreters that pyenv keeps are found even where its shims are not set up.
PYENVS   := $(wildcard $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions/*/bin/python3.1[1-9])
DISCOVER := $(if $(PYENVS),--discover $(PYENVS))

.DEFAULT_GOAL := help
.PHONY: help venv demo test quick postgres chats records servers needs-servers e2e screenshots lint format deploys faults attack soak model bench curves matrix clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.pip:
	@test -x $(BIN)/python || echo "Creating $(VENV) with $$($(PYTHON) --version)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) install --upgrade "pip>=25.1" # the first that knows --group
	@touch $@

# One stamp a set of requirements; DJANGO=6.0 pins that series, an empty DJANGO takes the newest.
$(VENV)/.demo: pyproject.toml | $(VENV)/.pip
	@echo "Installing the demo"
	@$(PIP) install -e ".[redis,progress]" --group demo $(if $(DJANGO),"Django~=$(DJANGO).0")
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/.pip
	@echo "Installing the development tools"
	@$(PIP) install -e ".[redis,progress]" --group dev $(if $(DJANGO),"Django~=$(DJANGO).0")
	@touch $@ $(VENV)/.demo

venv: $(VENV)/.dev ## Create .venv with everything that development needs

demo: $(VENV)/.demo ## Serve the example on 127.0.0.1:$PORT (REDIS=1: with a private server; REDIS_URL=…: with yours)
ifeq ($(DEMO_MODEL),openai)
	@$(PIP) install -e ".[openai]"
endif
	@$(MANAGE) migrate --noinput -v 0
	@echo "Open http://127.0.0.1:$(PORT)/ (Ctrl-C stops the server)"
ifeq ($(REDIS),1)
	@WEB_CONCURRENCY=2 exec $(BIN)/python -m example_project.private_redis -- $(SERVE2)
else ifneq ($(REDIS_URL),)
	@WEB_CONCURRENCY=2 exec $(BIN)/python $(SERVE2)
else
	@exec $(BIN)/python $(SERVE)
endif

test: $(VENV)/.dev ## Run the whole suite, benchmarks excepted (ARGS="-k name", COVER=1: coverage)
	@$(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile --no-loadscope-reorder $(if $(COVER),--cov) $(ARGS)

quick: $(VENV)/.dev ## Run the tests that start no process and take a moment each (ARGS narrows)
	@$(BIN)/python -m pytest -q -n $(JOBS) -m "not benchmark and not nightly and not lengthy" $(ARGS)

postgres: $(VENV)/.dev ## Run what uses the database again, on PostgreSQL with a pool of 4
	@DATABASE=postgresql $(BIN)/python -m pytest -q -n 2 --dist loadfile -m "django_db and not benchmark and not nightly" $(or $(ARGS),tests/django_edges tests/behaviour tests/chat tests/contrib tests/setups)

chats: $(VENV)/.dev ## Measure lists and histories of chats with a million messages in PostgreSQL
	@DATABASE=postgresql $(BIN)/python -m pytest -q -s -m benchmark --timeout 600 tests/chat/test_size.py $(ARGS)

records: $(VENV)/.dev ## Measure the admin's list of records with a million rows in PostgreSQL
	@DATABASE=postgresql $(BIN)/python -m pytest -q -s -m benchmark --timeout 600 tests/django_edges/test_record_list_size.py $(ARGS)

NPM := tests/npm/node_modules

$(NPM): tests/npm/package.json tests/npm/package-lock.json
	@echo "Installing the clients from npm"
	@npm ci --prefix tests/npm --no-audit --no-fund --loglevel=error
	@touch $@

FRONTEND := example_project/frontend/node_modules

$(FRONTEND): example_project/frontend/package.json example_project/frontend/package-lock.json
	@echo "Installing the pages in React"
	@npm ci --prefix example_project/frontend --no-audit --no-fund --loglevel=error
	@touch $@

servers: $(VENV)/.dev needs-servers $(NPM) ## Try streams behind nginx and Caddy, clients from npm, and the alert rules (needs nginx, caddy, node, npm, promtool)
	@$(BIN)/python -m pytest -q -n 2 --dist load tests/servers $(ARGS)

needs-servers:
	@for tool in nginx caddy node npm promtool; do \
		PATH="$$PATH:/usr/sbin:/usr/local/sbin" command -v $$tool >/dev/null || missing="$$missing $$tool"; \
	done; test -z "$$missing" || { echo "Missing:$$missing. On Debian: apt-get install nginx-light caddy nodejs npm prometheus" >&2; exit 1; }

e2e: $(VENV)/.dev $(NPM) $(FRONTEND) ## Try the pages of the example and of the docs in Chromium (yours: CHROMIUM, or the first on PATH; needs npm)
	@$(PIP) install --group browser
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile tests/browser $(ARGS)

screenshots: $(VENV)/.dev ## Take the pictures of docs/images again (needs Chromium)
	@$(PIP) install --group browser --group screenshots
	@$(BIN)/python -m tests.browser.screenshots

lint: $(VENV)/.dev ## Check style, types, layers, migrations and Django's system checks
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(MANAGE) makemigrations --check --dry-run
	@$(MANAGE) check

format: $(VENV)/.dev ## Sort imports, mend what can be mended, format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

deploys: $(VENV)/.dev ## Replace every kind of server under load; writes the table of docs/servers.md
	@WRITE_SERVERS_TABLE=1 $(BIN)/python -m pytest -q -m "not benchmark" $(ARGS) \
		tests/acceptance/test_drain.py tests/acceptance/test_wsgi.py \
		tests/acceptance/test_deploy.py tests/acceptance/test_stalled.py

faults: $(VENV)/.dev ## Inject every fault under load; writes the table of docs/reliability.md (ROWS=killed: only these)
	@FAULTS=full $(if $(ARGS),,WRITE_FAULTS_TABLE=$(if $(ROWS),rows,all)) $(BIN)/python -m pytest -q -m "not benchmark" -p no:randomly tests/acceptance/faults tests/acceptance/test_incident.py $(if $(ROWS),-k "$(ROWS)") $(ARGS)

ATTACKS := tests/setups tests/pure/test_isolation.py tests/stores/test_rights.py

attack: $(VENV)/.dev ## Attack views, verbs and stores at length; writes the table of docs/security.md
	@ATTACK=full $(if $(ARGS),,WRITE_ATTACK_TABLE=1) $(BIN)/python -m pytest -q -n 2 --dist loadfile \
		-p no:randomly --timeout 300 tests/adversary $(or $(ARGS),$(ATTACKS))

soak: $(VENV)/.dev ## Live through ten minutes of trouble, then look for leaks (ARGS="--minutes 60")
	@$(BIN)/python -m tests.soak $(ARGS)

model: $(VENV)/.dev ## Check both stores against the model, 10,000 steps each
	@HYPOTHESIS_PROFILE=nightly $(BIN)/python -m pytest -q -s tests/model $(ARGS)

bench: $(VENV)/.dev ## Measure against redis-py and assistant-stream (ARGS="latency --json figures.json")
	@$(BIN)/python -m tests.benchmarks $(ARGS)

curves: $(VENV)/.dev ## Measure cost curves, and draw them in docs/curves (ARGS="streams --scale 0.1")
	@$(BIN)/python -m tests.benchmarks curves $(ARGS)

matrix: $(VENV)/.dev ## Run the suite on each pair of Python and Django whose interpreter is there
	@$(BIN)/tox run -q $(ARGS) $(DISCOVER)

clean: ## Remove what the other targets made
	@rm -rf $(VENV) .tox .coverage .coverage.* htmlcov build dist demo.sqlite3*
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
