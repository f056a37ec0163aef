"""Where training runs: on one device, or mirrored on all of this machine's."""

import contextlib

import tensorflow as tf

from beamscribe.training.flags.train import SINGLE


def scope(strategy: str) -> contextlib.AbstractContextManager[object]:
    """Variables made inside are on one device, or on all GPUs (without one on all logical CPU devices).

    A batch is shared among the devices, so the batch size of a recipe stays what it is.
    """
    if strategy == SINGLE:
        return contextlib.nullcontext()
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices]).scope()
