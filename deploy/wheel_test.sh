#!/usr/bin/env bash
# The wheel in an empty environment, used from an empty folder: wheel_test.sh PYTHON [FOLDER_OF_IMAGES]
#
# Without a folder it captions photographs that it draws.
set -euo pipefail
python=$1
wheel=$(ls "$(dirname "$0")"/../dist/*.whl)
wheel=$(realpath "$wheel")
images=${2:+$(realpath "$2")}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet ${CONSTRAINTS:+--constraint "$(realpath "$CONSTRAINTS")"} "$wheel"
mkdir "$folder/empty"
cd "$folder/empty"
if [[ -z $images ]]; then
    images=photographs
    "$folder/venv/bin/python" - <<'PY'
import os
import numpy as np
from PIL import Image
os.mkdir("photographs")
rng = np.random.default_rng(0)
for number in range(10):
    small = Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8))
    small.resize((640, 480)).save(f"photographs/{number}.jpg")
PY
fi
export PATH=$folder/venv/bin:$PATH
unset PYTHONPATH BEAMSCRIBE_MODEL
beamscribe --version
beamscribe caption --images "$images" --limit 10 --output captions
beamscribe speak --captions captions --output speech
beamscribe report captions --speech speech --output report.html
for output in captions speech; do beamscribe verify "$output"; done
test "$(find speech/audio -name '*.mp3' | wc -l)" = 10
test -s report.html
echo "wheel on $("$python" --version): 10 captions, 10 audio files, a report of $(stat -c %s report.html) bytes"
