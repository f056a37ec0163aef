# `make demo` and `make test` do all their own set-up on a machine with Python 3.11 and make.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BEAMSCRIBE := .venv/bin/beamscribe
DEMO := demo-output

.PHONY: demo test lint clean

.venv/installed: setup.py pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --constraint constraints.txt --editable '.[dev,demo]'
	touch $@

demo: .venv/installed
	.venv/bin/python docs/demo/photographs.py $(DEMO)/photographs
	$(BEAMSCRIBE) featurize --annotations docs/demo/captions.json --images $(DEMO)/photographs \
	  --backbone-weights random --output $(DEMO)/features
	$(BEAMSCRIBE) train --config training/configs/handful.py \
	  --features $(DEMO)/features --validation $(DEMO)/features --output $(DEMO)/model
	$(BEAMSCRIBE) caption --images $(DEMO)/photographs --model $(DEMO)/model --output $(DEMO)/captions
	$(BEAMSCRIBE) speak --captions $(DEMO)/captions --output $(DEMO)/speech
	$(BEAMSCRIBE) verify $(DEMO)/captions
	$(BEAMSCRIBE) verify $(DEMO)/speech
	.venv/bin/python docs/demo/show.py $(DEMO)

lint: .venv/installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

# Fast tests first, so that what is broken is known in a minute.
test: lint
	.venv/bin/pytest -m 'not slow'
	.venv/bin/pytest -m slow

clean:
	rm -rf .venv $(DEMO)
