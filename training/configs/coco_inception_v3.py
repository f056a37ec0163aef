"""A recipe for COCO 2014 or 2017 on InceptionV3 features: the published Transformer baseline, adapted.

Command: beamscribe train --config training/configs/coco_inception_v3.py --features features/train \
           --validation features/val --output bundle
Cost: never run by this project; some days on two cores, some hours on one GPU. Features of the 118,287 training
images take 25 GB unpacked in the work folder.
Score: not measured. Published for comparable CNN features and a Transformer of this size: CIDEr 0.93 to 1.15 with
cross-entropy, 1.30 after self-critical training (Cornia et al. 2020, arXiv:1912.08226, whose sizes, dropout and
self-critical rate these are; the schedule is ours).
"""

from beamscribe.training.config import TrainingConfig

CONFIG = TrainingConfig(
    epochs=15,
    batch_size=50,
    learning_rate=2e-4,
    warmup=0.1,
    vocabulary_size=10_000,
    width=512,
    heads=8,
    feed_forward=2048,
    encoder_blocks=3,
    decoder_blocks=3,
    dropout=0.1,
    self_critical_epochs=10,
    self_critical_learning_rate=5e-6,
)
