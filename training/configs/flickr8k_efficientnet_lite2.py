"""The recipe of the embedded bundle, `pretrained/flickr8k-efficientnet-lite2`.

Commands, in the folder that holds Flickr8k's photographs and its training captions as COCO JSON:
  beamscribe featurize --annotations captions_train.json --images images --output features/train \
    --backbone efficientnet_lite2 --backbone-weights efficientnet_lite2.npz
  the same with --mirror and --output features/train-mirror
  beamscribe train --config training/configs/flickr8k_efficientnet_lite2.py \
    --features features/train features/train-mirror --output bundle
Command: see above; the validation images are held out of the training images, so that Flickr8k's own stay unseen.
Cost: COST
Score: SCORE
"""

from training.config import TrainingConfig

CONFIG = TrainingConfig(
    epochs=8,
    batch_size=32,
    learning_rate=5e-4,
    label_smoothing=0.1,
    vocabulary_size=3000,
    width=512,
    heads=8,
    feed_forward=1024,
    encoder_blocks=1,
    decoder_blocks=2,
    dropout=0.3,
    visual_dropout=0.1,
    self_critical_epochs=5,
    self_critical_learning_rate=8e-5,
    notice="this model was trained on Flickr8k, whose terms allow research and educational use only",
)
