# `make demo` and `make test` set up everything they need in .venv; nothing outside this folder is changed, but for
# Debian packages that are missing when make runs as root.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CONFIG ?= wecom.json
URL ?= http://127.0.0.1:9886/wecom/bot
SECONDS ?= 600
TARGETS ?= envelope cipher callback media cutting

.PHONY: demo test gateway simulator doctor lint format coverage reference dashboards previews proof-dashboards proof-kill proof-drain proof-replicas proof-hostile proof-series proof-slow proof-overload bench fuzz mutants clean

demo: $(READY)  ## Play a conversation between a simulated WeCom and a real gateway.
	@exec $(BIN)/python -m maven_channel_wecom demo

test: $(READY)  ## Run every test and every check.
	@.ci/servers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -n auto

gateway: $(READY)  ## Run the gateway: make gateway CONFIG=wecom.json
	@exec $(BIN)/python -m maven_channel_wecom gateway --config "$(CONFIG)"

simulator: $(READY)  ## Play WeCom against a running gateway; token and key from WECOM_TOKEN and WECOM_ENCODING_AES_KEY.
	@exec $(BIN)/python -m maven_channel_wecom simulator --callback-url "$(URL)"

doctor: $(READY)  ## Say what is wrong with a configuration: make doctor CONFIG=wecom.json PUBLIC_URL=https://…/wecom/bot
	@exec $(BIN)/python -m maven_channel_wecom doctor --config "$(CONFIG)" $(if $(PUBLIC_URL),--url "$(PUBLIC_URL)")

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m tests.house.structure

format: $(READY)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

coverage: $(READY)  ## Run the tests with branch coverage.
	@$(BIN)/python -m pytest --cov --cov-report=term-missing:skip-covered

reference: $(READY)  ## Write the keys of the configuration into README.md and plugin.toml, from their declarations.
	@$(BIN)/python -m reference

dashboards: $(READY)  ## Write the dashboards and rules anew: make dashboards RUNBOOK=https://…/runbook.md
	@$(BIN)/python -W ignore::DeprecationWarning -m dashboards $(if $(RUNBOOK),--runbook "$(RUNBOOK)")

previews: $(READY)  ## Draw the pictures of the dashboards in docs/.
	@.ci/servers
	@.ci/browser
	@$(BIN)/python -W ignore::DeprecationWarning -m tests.dashboards.previews --into docs

proof-dashboards: $(READY)  ## Everything that can go wrong, under a real Prometheus: every alert fires and clears.
	@.ci/servers
	@$(BIN)/python -W ignore::DeprecationWarning -m tests.dashboards.scenario

proof-kill: $(READY)  ## Kill a gateway 200 times while people write to it.
	@$(BIN)/python -m tests.soak.kill --kills 200

proof-drain: $(READY)  ## Stop a gateway 100 times while people write to it.
	@$(BIN)/python -m tests.soak.drain --stops 100

proof-replicas: $(READY)  ## Three replicas on one Redis, and everything that can break.
	@.ci/servers
	@$(BIN)/python -m tests.soak.replicas

proof-hostile: $(READY)  ## Send a gateway a million mutated requests while people write to it.
	@$(BIN)/python -m tests.soak.hostile --requests 1000000

proof-series: $(READY)  ## Have a hundred thousand people write to a gateway, and count the series they leave.
	@$(BIN)/python -m tests.soak.series --people 100000

proof-slow: $(READY)  ## Hold two thousand slow connections for a minute, and see what good callers notice.
	@$(BIN)/python -m tests.soak.slow --connections 2000 --seconds 60

proof-overload: $(READY)  ## Send ten times what a gateway sustains for a minute.
	@$(BIN)/python -m tests.soak.overload --seconds 60

.PHONY: soak-stranger path

soak-stranger: $(READY)  ## Have a stranger compress, hold back, replay and flood, and see what good callers notice.
	@$(BIN)/python -m tests.soak.stranger --seconds 20

path: $(READY)  ## List the files that one message enters, on its way in and on the way of its answer out.
	@$(BIN)/python -m tests.house.main_path

bench: $(READY)  ## Measure everything, and put it on docs/performance.md. Needs two cores with nothing else to do.
	@.ci/servers
	@$(BIN)/python -m tests.benchmarks --json docs/performance.json --page docs/performance.md

bench-%: $(READY)  ## Measure one part and print it: make bench-callbacks, -calm, -delivery, -media, -codec, -state
	@.ci/servers
	@$(BIN)/python -m tests.benchmarks $*

fuzz: $(READY)  ## Fuzz what strangers can reach, guided by coverage: make fuzz SECONDS=600, for each target.
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group fuzz
	@for target in $(TARGETS); do $(BIN)/python -m tests.fuzz.run $$target --seconds $(SECONDS) || exit 1; done

mutants: $(READY)  ## Change protocol and policy in every small way, and see whether a test notices: docs/mutants.md
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group mutants
	@rm -rf mutants
	@$(BIN)/mutmut run
	@$(BIN)/mutmut results

clean:
	rm -rf $(VENV) mutants .coverage .fuzz .hostile .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

$(READY): pyproject.toml .ci/environment
	@.ci/environment $(VENV)
	@touch $@
