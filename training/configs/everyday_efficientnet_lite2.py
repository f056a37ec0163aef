"""The recipe of the embedded captioner: EfficientNet-Lite2, taught by people and by a larger model.

Command: in a folder with the photographs of COCO and of Flickr8k and their captions as COCO JSON
  for view in 0 1; do
    beamscribe featurize --annotations machine.json --images train2014 --output features/machine-$view \
      --backbone efficientnet_lite2_levels --view $view
    beamscribe featurize --annotations people.json --images val2014 --output features/human-$view \
      --backbone efficientnet_lite2_levels --view $view
    beamscribe featurize --annotations flickr.json --images images --output features/flickr-$view \
      --backbone efficientnet_lite2_levels --view $view
  done
  beamscribe featurize --annotations dev.json --images val2014 --output features/dev \
    --backbone efficientnet_lite2_levels
  beamscribe featurize --annotations flickr-dev.json --images images --output features/dev-flickr \
    --backbone efficientnet_lite2_levels
  beamscribe train --config training/configs/flickr8k_efficientnet_lite2.py --features features/flickr-* \
    --members 1 --output flickr
  beamscribe train --config training/configs/everyday_efficientnet_lite2.py \
    --features features/machine-* features/human-* features/flickr-* --weights 1 1 4 4 1.5 1.5 \
    --texts texts.txt.gz --validation features/dev --start-from flickr --output bundle
  beamscribe calibrate --model bundle --features features/dev features/dev-flickr \
    --learn-from features/machine-0 features/human-0 features/flickr-0
machine: 5,000 photographs with three captions each by a large model; people: 424 with five each by people; flickr:
the 6,000 of Flickr8k's training split; flickr-dev: its validation split; dev: 400 held out, those of the 824 by
people whose ids, as text, have the smallest BLAKE2b digests of 8 bytes. The embedded bundle was made by these
commands but for the schedule, the captioner that it began with and when the share was chosen, see docs/quality.md.
Cost: 2 minutes a view and 6,000 photographs to featurize; 2,500 steps of 32 images, 2.8 core-seconds each without
AVX-512, then 560 self-critical ones of 3.8.
Score: see docs/quality.md.
"""

from beamscribe.training.config import TrainingConfig

CONFIG = TrainingConfig(
    nearest_sentences=5,
    nearest_least=0.2,
    # A third of all views, by their weights: CIDEr of held-out photographs is measured that often.
    epoch_images=8000,
    epochs=10,
    patience=10,
    batch_size=32,
    learning_rate=6e-4,
    label_smoothing=0.1,
    vocabulary_size=4000,
    width=256,
    heads=8,
    feed_forward=1024,
    encoder_blocks=1,
    decoder_blocks=2,
    dropout=0.3,
    visual_dropout=0.3,
    # Of three captions by a machine and five sentences near them the reward is made; it rises within a hundred steps.
    self_critical_epochs=14,
    self_critical_images=1280,
    self_critical_learning_rate=2e-4,
    self_critical_averaging=0.98,
    # All the way CIDEr is higher on COCO, and captions repeat themselves.
    self_critical_share=0.3,
    notice="this model was trained on Flickr8k, whose terms allow research and educational use only",
)
