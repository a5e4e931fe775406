# `make run` and `make test` are all that most people need; `make help` lists the rest.

PORT ?= 8000
ARGS ?=
BIN := .venv/bin
SHELL := /bin/sh
# Without its bytecode kept, each of our processes would compile Django and all the rest anew: seconds of every start.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run test test-long lint format e2e chaos chaos-quick requirements base test-needs dev

help:  ## List the targets.
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' Makefile | expand -t 14

run: base  ## Start everything at http://127.0.0.1:PORT (PORT=8000).
	@exec $(BIN)/python manage.py supervise --port $(PORT)

# Tests wait now and then, for PostgreSQL most of all, so there are more workers than processors.
PYTEST = $(BIN)/python -m pytest -n "$$($(BIN)/python -c 'import os; print(2 * os.cpu_count())')" --dist worksteal

test: test-needs  ## Run the test suite (ARGS="-k title" and so on go to pytest).
	@$(PYTEST) $(ARGS)

test-long: test-needs  ## Try as often as promised what `make test` tries a few times: properties, schemas, races.
	@HYPOTHESIS_PROFILE=$${HYPOTHESIS_PROFILE:-full} $(PYTEST) -m long $(ARGS)

lint: dev  ## Check style, types, layers, migrations, deployment settings and templates.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy apps config
	@PATH="$(CURDIR)/$(BIN):$$PATH" lint-imports
	@FLIGHTDECK_READ_DOTENV=false $(BIN)/python manage.py makemigrations --check --dry-run
	@FLIGHTDECK_READ_DOTENV=false DJANGO_SETTINGS_MODULE=config.settings.production \
	  SECRET_KEY="$$($(BIN)/python -c 'import secrets; print(secrets.token_urlsafe(60))')" \
	  ALLOWED_HOSTS=flightdeck.example.org DATABASE_URL=postgres://nobody@127.0.0.1/nothing \
	  REDIS_URL=redis://127.0.0.1/0 LOG_LEVEL=WARNING \
	  $(BIN)/python manage.py check --deploy --fail-level WARNING
	@$(BIN)/djlint templates --check --lint --quiet
	@$(BIN)/python deploy/vendor.py --check

format: dev  ## Put code and templates in shape.
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@$(BIN)/djlint templates --reformat --quiet

e2e: dev  ## Test the running product: `make run`, a browser, JavaScript, the AI SDK (needs Chromium and Node.js).
	@node --test tests/js/*.mjs
	@for folder in tests/aisdk tests/browser; do \
	  (cd $$folder && { [ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --silent --no-audit --no-fund; }) \
	    || exit 1; \
	done
	@$(BIN)/python -m pytest tests/product tests/browser tests/aisdk $(ARGS)

requirements: dev  ## Compile requirements/*.in anew, keeping what still fits.
	@cd requirements && for name in installer base test dev production; do \
	  case $$name in installer|base) constraint= ;; dev) constraint="--constraints test.txt" ;; *) constraint="--constraints base.txt" ;; esac; \
	  ../$(BIN)/uv pip compile $$name.in --output-file $$name.txt $$constraint --quiet \
	    --universal --python-version 3.11 --generate-hashes --no-header --no-annotate || exit 1; \
	done

base:
	@deploy/install base

test-needs:
	@deploy/install test

dev:
	@deploy/install dev

.PHONY: bench bench-quick

bench: dev  ## Measure everything that bench/README.md lists, and print one table (45 minutes).
	@$(BIN)/python -m bench all

bench-quick: dev  ## Measure the quick rows with small loads (two minutes).
	@$(BIN)/python -m bench quick

chaos-quick: dev  ## Kill workers for two minutes, on SQLite and on a PostgreSQL of its own.
	@$(BIN)/python -m pytest tests/chaos $(ARGS)

chaos: dev  ## Kill, freeze and restart everything for half an hour, and write docs/chaos.md.
	@$(BIN)/python -m tests.chaos full --report docs/chaos.md
	@$(BIN)/python -m tests.chaos.graphs
