"""A recipe for a handful of photographs: the captioner memorises them, which shows that everything works.

Command: beamscribe train --config training/configs/handful.py --features OUTPUT --validation OUTPUT --output BUNDLE
Cost: under a minute on two cores for ten photographs. Score: none, it has nothing to generalise from.
"""

from beamscribe.training.config import TrainingConfig

CONFIG = TrainingConfig(
    epochs=40,
    batch_size=8,
    learning_rate=1e-3,
    patience=40,
    width=256,
    feed_forward=512,
    dropout=0.0,
)
