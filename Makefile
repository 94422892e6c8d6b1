# make demo: from nothing to a picture.  make studio: a page to play with it.  make serve: a server that draws the demo's
# scenes.  make test: lint and every test.  Choose an interpreter with PYTHON=….
.PHONY: install demo studio serve test lint format clean

BIN := .venv/bin
INSTALLED := .venv/.installed
DEMO := workspaces/demo
EXPORTED := $(DEMO)/.exported

# A name on the path is not enough: version managers leave shims that only fail, and Debian parts venv from Python.
PYTHON = $(shell for name in python3.11 python3.10 python3.9; do \
	if $$name -c 'import ensurepip, venv' >/dev/null 2>&1; then echo $$name; break; fi; done)

install: $(INSTALLED)

$(INSTALLED): setup.cfg pyproject.toml constraints.txt
	@python="$(PYTHON)"; if [ -z "$$python" ]; then \
		echo "rgan_tf needs Python 3.11, 3.10 or 3.9 with its venv module, and none of them runs here:" \
			"install one, or name it with make PYTHON=/path/to/python." >&2; exit 1; \
	fi; \
	echo "Making .venv with $$($$python --version)."; \
	$$python -m venv --clear .venv
	@echo "Installing rgan_tf and what it needs (a download of about 1 GB; some minutes)."
	@# --use-pep517: the pip of Python 3.9 and 3.10 would else fail at seqeval, which tf-models-official asks for.
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --use-pep517 --constraint constraints.txt \
		--editable '.[test]'
	@touch $@
	@echo "Installed."

demo: $(INSTALLED)
	$(BIN)/python -m rgan_tf.train --config_file=configs/demo.yaml --workspace=$(DEMO)
	$(BIN)/python -m rgan_tf.generate --workspace=$(DEMO) --scene=configs/scenes/synthetic.json --output=$(DEMO)/demo.png
	@echo "The picture is $(DEMO)/demo.png"

studio: $(DEMO)/retrievegan/checkpoint
	$(BIN)/python -m export.studio --workspace=$(DEMO)

serve: $(EXPORTED)
	$(BIN)/python -m export.serve --model_dir=$(DEMO)/export

# The next version of the model, after each training.
$(EXPORTED): $(DEMO)/retrievegan/checkpoint
	$(BIN)/python -m export.saved_model --workspace=$(DEMO) --output=$(DEMO)/export
	@touch $@

$(DEMO)/retrievegan/checkpoint: | $(INSTALLED)
	$(BIN)/python -m rgan_tf.train --config_file=configs/demo.yaml --workspace=$(DEMO)

test: lint
	$(BIN)/python -m pytest -q

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Workspaces hold results and stay.
clean:
	rm -rf .venv build dist ./*.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
