# All developer commands; `make` without a target lists them. Works with GNU make 3.81, which macOS ships.

.DEFAULT_GOAL := help
.PHONY: help setup run admin test test-slow test-browser bench fuzz test-pooler localstack check fix openapi lock clean
.PHONY: setup-infra package synth preflight deploy check-infra test-infra test-deploy resource-counts localstack-up localstack-deploy localstack-test

# Evaluated on first use and then cached, because `make help` must work on a machine without Python.
INTERPRETER = $(eval INTERPRETER := $$(shell infra/local/find-python "$(PYTHON)"))$(INTERPRETER)
VENV = $(eval VENV := .venv-$$(shell "$(INTERPRETER)" -c 'import sys; print("py%d%d" % sys.version_info[:2])'))$(VENV)
BIN = $(VENV)/bin

help: ## List all targets and variables
	@echo "We-Upload. Start with: make run"
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-25s %s\n", $$1, $$2 }'
	@echo
	@echo "Variables, for example: make run PORT=8001"
	@echo "  PYTHON          Python interpreter, name or path; 3.11 or newer (default: the newest of 3.13, 3.12, 3.11, python3)"
	@echo "  PORT            port of the API on 127.0.0.1 (default: 8000)"
	@echo "  WE_UPLOAD_DATA  data directory of make run (default: .local, which make clean deletes)"
	@echo "  TESTS           tests to run with make test, and pytest options (default: tests clients/python/tests)"
	@echo "  WORKERS         number of processes that run tests in parallel (default: auto)"
	@echo "  SIZE            size of make test-slow: reduced or full (default: reduced)"
	@echo "  BENCH           options of make bench: --docs, --rows 1000000, --only cold, --compare other-checkout"
	@echo "  STAGE           stage that make deploy deploys: small, dev, staging or prod (default: dev)"
	@echo "  CDK             options of the cdk command"
	@echo "  ARGS            operator command of make admin: make admin ARGS=\"sweep --dry-run\""
	@echo "Settings of the API for make run, on its command line or in the environment; see docs/configuration.md:"
	@echo "  ABUSE_EMAIL, ACCESS_TOKEN_EXPIRE_MINUTES, ACCOUNT_DELETION_DAYS, API_URL, API_V1_STR, ARCHIVE_RETENTION_HOURS, AWS_REGION,"
	@echo "  BACKEND_CORS_ORIGINS, BRAND_ACCENT, BRAND_LOGO_FILE, BRAND_NAME, DATABASE_POOL_SIZE, DATABASE_TIMEOUT_SECONDS, DEFAULT_LANGUAGE, IDENTITY_PROVIDERS, INVITATIONS_BY_USERS,"
	@echo "  LOG_LEVEL, OPEN_REGISTRATION, PASSWORD_SIGN_IN, PLACES_FILE, PRESIGNED_URL_EXPIRATION, PREVIEWS_ENABLED, PUBLIC_URL, REFRESH_TOKEN_EXPIRE_DAYS,"
	@echo "  REQUIRE_SECOND_FACTOR, REQUIRE_VERIFIED_EMAIL,"
	@echo "  TRASH_RETENTION_DAYS, USER_DELETION_BYTES, USER_QUOTA_BYTES, USER_QUOTA_FILES, WEBHOOK_ALLOW_LOOPBACK"

setup: ## Create or update the virtual environments
	@test -n "$(INTERPRETER)"
	@"$(INTERPRETER)" -m infra.local.bootstrap

# The names of the variables on make's command line, so that a misspelt setting is refused instead of ignored.
NAMED = $(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name)))
run: setup ## Run PostgreSQL, an S3 emulator, the workers and the API on this machine
	@exec "$(BIN)/python" -m infra.local $(NAMED)

ARGS ?= --help
admin: setup ## Run the operator command on the instance of make run: make admin ARGS="sweep --dry-run"
	@exec "$(BIN)/python" -m infra.local.admin $(ARGS)

TESTS ?= tests clients/python/tests
# These tests need the CDK, a browser or another emulator; run them with make test-infra, test-deploy, test-browser or localstack.
EXCLUDED_TESTS = --ignore=tests/infra --ignore=tests/e2e/deploy --ignore=tests/e2e/localstack --ignore=tests/e2e/browser --ignore=tests/clients \
	--ignore=tests/integration/storage/test_s3_on_localstack.py
WORKERS ?= auto
# Which tests, by their markers.
CHOSEN ?= not slow
# 5 is pytest's exit status when no test is chosen.
.PHONY: test-parallel test-timing
test-parallel: setup
	@$(SIZES) "$(BIN)/python" -m pytest --numprocesses=$(WORKERS) --dist=worksteal -m "not timing and ($(CHOSEN))" $(TESTS) $(EXCLUDED_TESTS) || [ $$? = 5 ]

test-timing: setup
	@$(SIZES) "$(BIN)/python" -m pytest -m "timing and ($(CHOSEN))" $(TESTS) $(EXCLUDED_TESTS) || [ $$? = 5 ]

.PHONY: web test-web
web: setup ## Build the web app into web/dist, if its sources have changed
	@exec "$(BIN)/python" -m infra.local.web_app

test-web: setup ## Check the types of the web app and the TypeScript client, and run their unit tests
	@exec "$(BIN)/python" -m infra.local.web_app --test

test: test-web test-parallel test-timing ## Run the tests with a real PostgreSQL and the strict S3 emulator

SIZE ?= reduced
CUT_POINTS ?= 1
POOLER_RESTARTS ?= 3
FULL_SIZES = LIFECYCLE_ORDERS=10000 LIFECYCLE_STEPS=20000 LIFECYCLE_FAULTS=600 LIFECYCLE_REPLAYS=1000 SCALE=1 GUEST_ROUNDS=20 LIST_ROWS=1000000 LARGE_UPLOAD_GIB=6 \
	LARGE_ARCHIVE_GIB=5 LARGE_ARCHIVE_FILES=2000
test-slow: CHOSEN = slow
test-slow: SIZES = $(if $(filter full,$(SIZE)),$(FULL_SIZES))
test-slow: test-parallel test-timing ## Run the slow tests; with SIZE=full 10,000 event orders, a million rows, files of 6 GiB: an hour
	$(if $(filter full,$(SIZE)),@$(MAKE) test-pooler POOLER_TESTS=tests/integration CUT_POINTS=0 POOLER_RESTARTS=0)

FUZZ_CASES ?= 100000
fuzz: setup ## Send 100,000 requests generated from the OpenAPI document; FUZZ_SEED= repeats a run
	@FUZZ_CASES=$(FUZZ_CASES) "$(BIN)/python" -m pytest -s --show-capture=no -o faulthandler_timeout=0 tests/integration/fuzz

POOLER_TESTS ?= tests/integration/pooler tests/integration/db/test_transactions.py \
	$(addprefix tests/integration/api/test_, files.py idempotency.py uploads_in_parts.py)
test-pooler: setup ## Run tests through PgBouncer in transaction mode, and kill both servers; POOLER_TESTS=tests/integration runs all
	@if infra/local/find-pgbouncer >/dev/null; then \
		CUT_POINTS=$(CUT_POINTS) POOLER_RESTARTS=$(POOLER_RESTARTS) TEST_POOLER=1 "$(BIN)/python" -m pytest $(POOLER_TESTS); \
	else echo "== SKIPPED: PgBouncer is not installed" >&2; fi

.PHONY: mutations
GUARDS ?=
mutations: setup ## Remove each security check and verify that a test fails; GUARDS="some words" selects checks by name
	@"$(BIN)/python" -m tests.mutation $(GUARDS)

test-browser: SIZES = $(if $(filter full,$(SIZE)),BROWSER_FILES=1000 BROWSER_MIB=2048)
test-browser: setup ## Test the web app and the pages of links in headless Chromium (x86-64 Linux)
	@"$(INTERPRETER)" -m infra.toolchain browser
	@$(SIZES) "$(BIN)/python" -m pytest tests/e2e/browser

.PHONY: test-clients
test-clients: setup ## Lint the OpenAPI document, generate clients with three generators, and use them against a running API
	@"$(INTERPRETER)" -m infra.toolchain clients
	@exec "$(BIN)/python" -m pytest tests/clients

.PHONY: screenshots
screenshots: setup ## Take the screenshots of the web app in docs/screenshots
	@"$(INTERPRETER)" -m infra.toolchain browser
	@exec "$(BIN)/python" -m pytest tests/e2e/browser/take_screenshots.py

# For example: make bench BENCH="--docs", "--rows 1000000", "--only cold requests", "--compare ../main", "--reuse --docs"
BENCH ?=
bench: setup ## Compare with a plain app and a bare handler; writes build/bench.json, and docs/performance.md with BENCH=--docs
	@exec "$(BIN)/python" -m tests.benchmarks $(BENCH)

.PHONY: bench-clients
bench-clients: setup ## Compare uploads by we-upload with aws, s5cmd and rclone, as far as they are on PATH
	@exec "$(BIN)/python" -m tests.benchmarks.clients $(BENCH)

.PHONY: bench-browser
bench-browser: setup ## Compare an upload of 1 GiB by the web app with a plain loop of fetch, in headless Chromium
	@"$(INTERPRETER)" -m infra.toolchain browser
	@"$(BIN)/python" -m pytest -s --show-capture=no tests/e2e/browser/measure_uploads.py

LOCALSTACK_PYTHON = $(shell infra/local/find-python python3.13)
localstack: setup ## Run the object store contract tests on LocalStack, in a separate 350 MB environment; needs Python 3.13
	@test -f .venv-localstack/complete || { rm -rf .venv-localstack && "$(LOCALSTACK_PYTHON)" -m venv .venv-localstack \
		&& .venv-localstack/bin/python -m pip install --quiet --no-input --disable-pip-version-check --no-deps --require-hashes \
			-r requirements/localstack.txt && touch .venv-localstack/complete; }
	@"$(BIN)/python" -m pytest tests/integration/storage/test_s3_on_localstack.py

check: setup ## Run the checks of CI: style, types, import rules, plain English, OpenAPI document
	@"$(BIN)/ruff" check .
	@"$(BIN)/ruff" format --check .
	@"$(BIN)/mypy"
	@"$(BIN)/lint-imports" --no-logo
	@"$(BIN)/python" -m tests.checks.plain_english
	@"$(BIN)/python" -m lambda_app.cli openapi | diff -u docs/openapi.json - \
		|| { echo "docs/openapi.json is out of date; update it with: make openapi" >&2; exit 1; }
	@"$(BIN)/python" -m tests.checks.api_compatibility

fix: setup ## Fix and format the code with ruff
	@"$(BIN)/ruff" check --fix .
	@"$(BIN)/ruff" format .

openapi: setup ## Generate docs/openapi.json
	@"$(BIN)/python" -m lambda_app.cli openapi > docs/openapi.json.new
	@mv docs/openapi.json.new docs/openapi.json

AUDIT_BIN = .venv-audit/bin
.PHONY: setup-audit audit sbom
setup-audit: setup
	@test -f .venv-audit/complete || { rm -rf .venv-audit && "$(INTERPRETER)" -m venv .venv-audit \
		&& $(AUDIT_BIN)/python -m pip install --quiet --no-input --disable-pip-version-check --no-deps --require-hashes \
			-r requirements/audit.txt && touch .venv-audit/complete; }

audit: setup-audit ## Check all locked dependencies for known vulnerabilities; requirements/waivers.txt lists the exceptions
	@for lock in lambda previews dev infra emulator; do \
		$(AUDIT_BIN)/pip-audit --strict --disable-pip --no-deps --progress-spinner off -r requirements/$$lock.txt \
			$$(sed -n 's/^\([A-Z][A-Za-z0-9-]*\) .*/--ignore-vuln \1/p' requirements/waivers.txt) || exit 1; \
	done

sbom: setup-audit ## Generate the software bill of materials of the Lambda package: build/sbom.cdx.json (CycloneDX)
	@mkdir -p build
	@$(AUDIT_BIN)/cyclonedx-py requirements requirements/lambda.txt --pyproject pyproject.toml --mc-type application \
		--output-reproducible --validate --output-format JSON --output-file build/sbom.cdx.json
	@echo "build/sbom.cdx.json: $$(grep -c '"purl"' build/sbom.cdx.json) components"

# Deploying: docs/deploy.md

STAGE ?= dev
INFRA_BIN = $(subst .venv-,.venv-infra-,$(VENV))/bin
# Overrides of the stage's configuration in infra/config.py, for example: make deploy STAGE=prod CDK="-c alarm_email=ops@example.com"
CDK ?=
CDK_RUN = JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION=1 node_modules/.bin/cdk --no-notices --app "$(INFRA_BIN)/python -m infra.app"

setup-infra: setup ## Install the CDK and its command line
	@"$(INTERPRETER)" -m infra.toolchain

# A PEM bundle of RDS, for a region whose certificate authorities the locked npm package lacks; see docs/deploy.md.
AUTHORITIES ?=
package: setup-infra ## Build the deployment package for Python 3.13, without Docker
	@"$(INFRA_BIN)/python" -m infra.package $(if $(AUTHORITIES),--authorities "$(AUTHORITIES)")

synth: package ## Write the CloudFormation templates of all stages to cdk.out; needs no AWS account
	@for stage in small dev staging prod; do \
		$(CDK_RUN) synth --quiet --output "cdk.out/$$stage" -c stage=$$stage $(CDK) & started="$$started $$!"; \
	done; for synthesis in $$started; do wait $$synthesis || failed=1; done; test -z "$$failed"

# Versions of each function that a deployment keeps for a rollback, beside the live one.
KEEP ?= 1
preflight: setup-infra ## Check the AWS account of the current credentials before a stage is deployed to it: make preflight STAGE=dev
	@"$(INFRA_BIN)/python" -m infra.preflight --stage $(STAGE) $(CDK)

deploy: package preflight ## Deploy a stage to the AWS account of the current credentials: make deploy STAGE=dev
	@$(CDK_RUN) deploy --all -c stage=$(STAGE) $(CDK)
	@"$(INFRA_BIN)/python" -m infra.release.versions --stage $(STAGE) --keep $(KEEP)

# RESTORE="--to 2026-11-28T04:00:00Z": a point in time. Without it the latest one.
RESTORE ?=
.PHONY: restore
restore: setup-infra ## Restore the database of a stage from its backups: make restore STAGE=prod RESTORE="--to 2026-11-28T04:00:00Z"
	@"$(INFRA_BIN)/python" -m infra.recovery --stage $(STAGE) $(RESTORE)

.PHONY: walk
walk: setup-infra ## Walk through a deployed stage with the current AWS credentials: register or sign in, upload, download, delete
	@"$(INFRA_BIN)/python" -m tests.e2e.deploy.walk_stage --stage $(STAGE)

.PHONY: costs
costs: setup ## Compute the cost tables of docs/deploy.md from infra/costs/prices.toml
	@"$(BIN)/python" -m infra.costs

check-infra: setup-infra ## Check the types of the code that uses the CDK (takes a minute the first time)
	@"$(INFRA_BIN)/mypy" infra/app.py $$(find infra/stacks infra/components tests/infra -name '*.py')

test-infra: setup-infra ## Test the CloudFormation templates: security properties, cdk-nag, cfn-lint
	@exec "$(INFRA_BIN)/python" -m pytest tests/infra

test-deploy: setup-infra ## Deploy to the emulator with the real CDK, test the product end to end, upgrade, destroy
	@exec "$(INFRA_BIN)/python" -m pytest tests/e2e/deploy

resource-counts: setup-infra ## Update the expected number of resources per type, after an intended change
	@"$(INFRA_BIN)/python" -m tests.infra.record_counts

# LocalStack runs Lambda functions on the processor architecture of the host.
LOCAL_MACHINE = $(subst aarch64,arm64,$(shell uname -m))
LOCALSTACK_URL ?= http://127.0.0.1:4566
LOCALSTACK_RUN = AWS_ENDPOINT_URL=$(LOCALSTACK_URL) AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_REGION=us-east-1 \
	AWS_DEFAULT_REGION=us-east-1 HOME="$(CURDIR)/.local/localstack-home" $(CDK_RUN) -c stage=local \
	-c package="$(CURDIR)/build/lambda-$(LOCAL_MACHINE)"
LOCALSTACK_STACKS ?= --all

# Empty: the image of localstack-compose.yml.
export LOCALSTACK_IMAGE LOCALSTACK_AUTH_TOKEN
localstack-up: ## Start LocalStack, PostgreSQL and PgBouncer; needs Docker
	@docker compose --file localstack-compose.yml up --detach --wait

localstack-deploy: setup-infra ## Deploy the local stage to LocalStack
	@"$(INFRA_BIN)/python" -m infra.package --architecture $(LOCAL_MACHINE)
	@mkdir -p .local/localstack-home
	@$(LOCALSTACK_RUN) bootstrap aws://000000000000/us-east-1
	@$(LOCALSTACK_RUN) deploy $(LOCALSTACK_STACKS) --require-approval never

localstack-test: setup-infra ## Test the deployment of make localstack-deploy
	@LOCALSTACK_URL=$(LOCALSTACK_URL) "$(INFRA_BIN)/python" -m pytest tests/e2e/localstack

COMPILE = .venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes $(UPGRADE) --custom-compile-command "make lock"
lock: ## Update the lock files from pyproject.toml; UPGRADE=--upgrade selects the newest versions
	@test -n "$(INTERPRETER)"
	@"$(INTERPRETER)" -m venv .venv-lock
	@.venv-lock/bin/python -m pip install --quiet --no-input --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@$(COMPILE) pyproject.toml --group dev -o requirements/dev.txt
	@$(COMPILE) pyproject.toml -c requirements/dev.txt -o requirements/lambda.txt
	@$(COMPILE) --group pyproject.toml:previews -c requirements/dev.txt -o requirements/previews.txt
	@$(COMPILE) pyproject.toml --group infra -c requirements/dev.txt -o requirements/infra.txt
	@$(COMPILE) requirements/emulator.in -o requirements/emulator.txt
	@$(COMPILE) --no-deps requirements/runtime.in -o requirements/runtime.txt
	@$(COMPILE) requirements/uv.in -o requirements/uv.txt
	@$(COMPILE) requirements/audit.in -o requirements/audit.txt
	@$(COMPILE) requirements/clients.in -o requirements/clients.txt
	@$(subst --universal --python-version 3.11,--python-version 3.13,$(COMPILE)) requirements/localstack.in -o requirements/localstack.txt

clean: ## Delete the virtual environments, local data and caches
	@infra/local/clean
