"""`python -m benchmarks.loop BUNDLE GLOB`: the straightforward loop, as a tutorial has it.

One image at a time, `model.predict`, and greedy decoding that computes all words so far for each new one.
"""

import glob
import json
import sys
import time

import keras
import numpy as np
from PIL import Image

from beamscribe.model.backbone.network import build_backbone
from beamscribe.model.bundle import open_bundle
from beamscribe.model.captioning import DecodingOptions, load_captioner
from beamscribe.model.tokenizer import END, START, Tokenizer

IMAGES, WARM_UP = 16, 2


def main() -> None:
    begun = time.monotonic()
    bundle = open_bundle(sys.argv[1])
    backbone = build_backbone(bundle.backbone, bundle.backbone_weights)
    captioner = load_captioner(bundle)
    tokenizer = Tokenizer(bundle.vocabulary())
    cells, channels = bundle.backbone.grid[0] * bundle.backbone.grid[1], bundle.backbone.grid[2]
    for number, path in enumerate(sorted(glob.glob(sys.argv[2]))[: WARM_UP + IMAGES]):
        if number == WARM_UP:
            startup, cores, started = time.monotonic() - begun, time.process_time(), time.monotonic()
        pixels = np.asarray(Image.open(path).convert("RGB").resize(bundle.backbone.input_size[::-1]), np.float32)
        seen = backbone.predict(keras.applications.inception_v3.preprocess_input(pixels[None]), verbose=0)
        features = seen.reshape(1, cells, channels)
        tokens = [START]
        while tokens[-1] != END and len(tokens) <= DecodingOptions().max_length:
            logits = captioner.predict((features, np.array([tokens], np.int32)), verbose=0)
            tokens.append(int(logits[0, -1, START + 1 :].argmax()) + START + 1)
        tokenizer.detokenize(np.array([tokens[1:]], np.int32))
    seconds, cores = time.monotonic() - started, time.process_time() - cores
    print(json.dumps([IMAGES / seconds, 1000 * cores / IMAGES, startup]))


if __name__ == "__main__":
    main()
