# Targets install what they need in .venv. Nothing outside this folder changes, except that make as root also
# installs missing Debian packages.

VENV := .venv
LOWEST := .venv-lowest
BIN := $(VENV)/bin
# What the commands need, and with what tests and tools need besides.
RUN := $(VENV)/.run
READY := $(VENV)/.ready
CONFIG ?= wecom.json
URL ?= http://127.0.0.1:9886/wecom/bot
SECONDS ?= 600
QUICK := $(addprefix tests/,contract $(addprefix house/test_,documentation.py makefile.py structure.py workflows.py) \
	policy protocol telemetry test_config.py test_documents.py test_errors.py \
	test_fairness.py test_house.py test_reference.py test_sentences.py test_settings.py)
# The variables of secrets.env, which `init` writes beside the configuration.
SECRETS = file="$$(dirname "$(CONFIG)")/secrets.env"; [ ! -r "$$file" ] || { set -a; . "$$file"; set +a; };
# For every processor that has wheels, as the image may be built for others too.
LOCK := $(BIN)/uv pip compile --no-config --quiet --upgrade --universal --python-version 3.13 --generate-hashes \
	--no-annotate --custom-compile-command "make lock"
TARGETS ?= envelope cipher callback media cutting
# One more than there are cores, because many tests wait for a process or a clock.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)

.PHONY: chat init help playground quick package lock
.PHONY: demo test gateway simulator doctor lint format coverage reference dashboards previews proof-dashboards proof-kill proof-drain proof-replicas proof-streams proof-hostile proof-series proof-slow proof-overload bench fuzz mutants clean

help:  ## List the targets.
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / {printf "%-18s %s\n", $$1, $$2}' Makefile

chat: $(RUN)  ## Write to a bot on this machine: make chat [CONFIG=wecom.json]
	@$(SECRETS) exec $(BIN)/python -m maven_channel_wecom chat $(if $(filter command line,$(origin CONFIG)),--config "$(CONFIG)")

demo: $(RUN)  ## Show a conversation between a simulated WeCom and a real gateway.
	@exec $(BIN)/python -m maven_channel_wecom demo

test: $(READY)  ## Run all tests, linters and type checks, as continuous integration does.
	@.ci/servers
	@.ci/browser
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -n $(WORKERS)

quick: $(READY)  ## Run linters, type checks and the tests that need no server: under 30 s on two idle cores.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q -n auto $(QUICK)

playground: $(RUN)  ## Chat with a bot in the browser: make playground, or CONFIG=wecom.json with its agent.
	@$(SECRETS) exec $(BIN)/python -m maven_channel_wecom playground $(if $(filter command line,$(origin CONFIG)),--config "$(CONFIG)")

init: $(RUN)  ## Write wecom.json and secrets.env, with what to enter in WeCom: make init [ARGS="--progress stream --start"]
	@exec $(BIN)/python -m maven_channel_wecom init \
		$(if $(PUBLIC_URL),--url "$(PUBLIC_URL)") $(ARGS)
	@$(if $(filter --start --help -h,$(ARGS)),,echo "In this folder, step 4 is: make gateway")

gateway: $(RUN)  ## Run the gateway: make gateway CONFIG=wecom.json
	@$(SECRETS) exec $(BIN)/python -m maven_channel_wecom gateway --config "$(CONFIG)"

simulator: $(RUN)  ## Simulate WeCom for a running gateway; reads WECOM_TOKEN and WECOM_ENCODING_AES_KEY.
	@$(SECRETS) exec $(BIN)/python -m maven_channel_wecom simulator --callback-url "$(URL)"

doctor: $(RUN)  ## Find problems in a configuration: make doctor CONFIG=wecom.json PUBLIC_URL=https://…/wecom/bot
	@$(SECRETS) exec $(BIN)/python -m maven_channel_wecom doctor --config "$(CONFIG)" $(if $(PUBLIC_URL),--url "$(PUBLIC_URL)")

lint: $(READY)  ## Run linters, type checks and import contracts.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m tests.house.structure

format: $(READY)  ## Format the code, and fix what the linter can fix.
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

coverage: $(READY)  ## Run the tests with branch coverage.
	@.ci/servers
	@.ci/browser
	@$(BIN)/python -m pytest --cov --cov-report=term-missing:skip-covered

demo-picture: $(READY)  ## Run the demo and draw its output: docs/demo.svg, which README.md links.
	@$(BIN)/python -m demo_picture

reference: $(READY)  ## Regenerate the configuration reference in README.md and plugin.toml.
	@$(BIN)/python -m reference

dashboards: $(READY)  ## Regenerate the dashboards and rules in dashboards/ after a change of the code there.
	@$(BIN)/python -W ignore::DeprecationWarning -m dashboards

previews: $(READY)  ## Redraw the previews of the dashboards in docs/.
	@.ci/servers
	@.ci/browser
	@$(BIN)/python -W ignore::DeprecationWarning -m tests.dashboards.previews --into docs

playground-pictures: $(READY)  ## Take the pictures of the playground in docs/.
	@.ci/browser
	@$(BIN)/python -m tests.playground.pictures --into docs

proof-dashboards: $(READY)  ## Cause every kind of fault while a real Prometheus watches: every alert must fire and clear.
	@.ci/servers
	@$(BIN)/python -W ignore::DeprecationWarning -m tests.dashboards.scenario

proof-kill: $(READY)  ## Kill a gateway 200 times under load and check that no message is lost.
	@$(BIN)/python -m tests.soak.kill --kills 200

proof-drain: $(READY)  ## Stop a gateway 100 times under load.
	@$(BIN)/python -m tests.soak.drain --stops 100

proof-replicas: $(READY)  ## Break three replicas on one Redis in every way.
	@.ci/servers
	@$(BIN)/python -m tests.soak.replicas

proof-streams: $(READY)  ## Stream 1,000 answers through faulty refreshes, and 200 while replicas are killed.
	@.ci/servers
	@$(BIN)/python -m tests.soak.streamed_turns --turns 1000
	@$(BIN)/python -m tests.soak.streamed_replicas --turns 200 --kills 50

proof-hostile: $(READY)  ## Send a gateway a million mutated requests under load.
	@$(BIN)/python -m tests.soak.hostile --requests 1000000

proof-series: $(READY)  ## Send messages from 100,000 users and check that the number of metric series stays constant.
	@$(BIN)/python -m tests.soak.series --people 100000

proof-slow: $(READY)  ## Hold 2,000 slow connections for a minute and measure the effect on genuine callbacks.
	@$(BIN)/python -m tests.soak.slow --connections 2000 --seconds 60

proof-overload: $(READY)  ## Send ten times the sustainable load for a minute.
	@$(BIN)/python -m tests.soak.overload --seconds 60

.PHONY: demo-picture playground-pictures soak-stranger path interop lowest

interop: $(READY)  ## Run the gateway with real reverse proxies and forward proxies: docs/interop.md
	@.ci/interop
	@$(BIN)/python -m pytest -m interop tests/interop

lowest: $(READY)  ## Run the tests with the lowest allowed version of every dependency.
	@.ci/servers
	@.ci/browser
	@$(BIN)/python -m tests.house.lowest >$(VENV)/lowest.txt
	@PIP_CONSTRAINT=$(VENV)/lowest.txt .ci/environment $(LOWEST)
	@$(LOWEST)/bin/python -m pytest -n $(WORKERS)

soak-stranger: $(READY)  ## Attack a gateway with compression, slow bodies, replays and floods; measure genuine callbacks.
	@$(BIN)/python -m tests.soak.stranger --seconds 20

path: $(READY)  ## List the files that run while one message is received and answered.
	@$(BIN)/python -m tests.house.main_path

bench: $(READY)  ## Run all benchmarks and update docs/performance.md. Needs two idle cores.
	@.ci/servers
	@$(BIN)/python -m tests.benchmarks --json docs/performance.json --page docs/performance.md

bench-%: $(READY)  ## Run one benchmark and print its figures: make bench-callbacks, -calm, -delivery, -media, -codec, -state, -streams
	@.ci/servers
	@$(BIN)/python -m tests.benchmarks $*

fuzz: $(READY)  ## Fuzz the code that untrusted input reaches, SECONDS for each target: make fuzz SECONDS=600
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group fuzz
	@for target in $(TARGETS); do $(BIN)/python -m tests.fuzz.run $$target --seconds $(SECONDS) || exit 1; done

mutants: $(READY)  ## Run mutation tests on protocol and policy: docs/mutants.md
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group mutants
	@rm -rf mutants
	@$(BIN)/mutmut run
	@$(BIN)/mutmut results

package: $(READY)  ## Build the wheel and the sdist reproducibly, check them, and write an SBOM: dist/
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group release
	@.ci/package $(BIN)/python dist

lock: $(READY)  ## Renew the versions and hashes of the packages in the image: deploy/*requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group lock
	@$(LOCK) --all-extras --output-file deploy/requirements.txt pyproject.toml
	@$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' \
		| $(LOCK) --output-file deploy/build-requirements.txt -

clean:  ## Remove the environments and everything that was generated.
	rm -rf $(VENV) $(LOWEST) dist mutants .coverage .fuzz .hostile .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

$(RUN): pyproject.toml .ci/environment
	@.ci/environment $(VENV) commands
	@touch $@

$(READY): pyproject.toml .ci/environment
	@.ci/environment $(VENV)
	@touch $(RUN) $@
