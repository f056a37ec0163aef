# `make demo` and `make test` do all their own set-up on a machine with Python 3.11 and make.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
BEAMSCRIBE := $(BIN)/beamscribe
DEMO := demo-output

.PHONY: demo test flink-test spark-test prism-test lint clean

.venv/installed: setup.py pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --constraint constraints.txt --editable '.[dev,demo]'
	touch $@

# Captions and speaks the photographs of two wheels, or of a folder: make demo IMAGES=folder
IMAGES := $(DEMO)/photographs
SHOWN = $(DEMO)/of-$(notdir $(abspath $(IMAGES)))

demo: .venv/installed
	$(BIN)/python docs/demo/photographs.py $(DEMO)/photographs
	$(BEAMSCRIBE) caption --images $(IMAGES) --output $(SHOWN)/captions
	$(BEAMSCRIBE) speak --captions $(SHOWN)/captions --output $(SHOWN)/speech
	$(BEAMSCRIBE) verify $(SHOWN)/captions
	$(BEAMSCRIBE) verify $(SHOWN)/speech
	$(BEAMSCRIBE) report $(SHOWN)/captions --speech $(SHOWN)/speech --output $(SHOWN)/report.html
	$(BIN)/python docs/demo/show.py $(SHOWN)

lint: .venv/installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

# Fast tests first, so that what is broken is known in some minutes.
test: lint
	.venv/bin/pytest -m 'not slow' -n auto --dist loadfile
	.venv/bin/pytest -m slow -n auto --dist loadfile

# Beam's job servers and what they need, from Maven Central; Java 17 and mvn must be there.
deploy/%/jars: deploy/%/pom.xml
	mvn --quiet --batch-mode --file $< dependency:copy-dependencies -DoutputDirectory=$(abspath $@)
	touch $@

# Beam's own runner, from the Go module proxy; Go must be there.
deploy/prism/prism:
	GOBIN=$(abspath $(@D)) go install github.com/apache/beam/sdks/v2/go/cmd/prism@v2.77.0

# The engine starts on free ports, runs, and is stopped; without its parts the tests would be skipped.
flink-test: deploy/flink/jars
spark-test: deploy/spark/jars
prism-test: deploy/prism/prism
flink-test spark-test prism-test: %-test: .venv/installed
	BEAMSCRIBE_ENGINE=$* .venv/bin/pytest tests/engines -k $*

clean:
	rm -rf .venv $(DEMO)
