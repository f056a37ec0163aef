"""GPUs, as TensorFlow finds them: one for each process, memory taken as it is needed, batches and precision to suit."""

import fcntl
import os
import tempfile
from typing import IO, NamedTuple

_held: list[IO[bytes]] = []
"""Locks of this process, held until it ends."""

CPU_BATCH_SIZE, GPU_BATCH_SIZE = 32, 128
"""Images of a batch for a bundle; a GPU takes the larger one in the time in which it is fed."""

TENSOR_CORES = (7, 0)
"""Compute capability from which float16 is fast; bfloat16 from (8, 0)."""


class Device(NamedTuple):
    """What a process computes on.

    Attributes:
        kind: "GPU" or "CPU".
        name: for people.
        precision: the fastest that the device computes well.
        batch_size: images a call of the bundle takes by default.
    """

    kind: str
    name: str
    precision: str
    batch_size: int


def use_gpus(count: int | None = None) -> list[str]:
    """Takes one GPU for this process, if there are several, and lets memory grow on it.

    To be called before TensorFlow computes anything; where it has, nothing changes.

    Args:
        count: of this machine's GPUs that its processes may share; 0 for none, None for all.

    Returns:
        Names of the GPUs that this process uses.
    """
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")[:count]
    try:
        if len(gpus) > 1:
            gpus = [gpus[claim(len(gpus))]]
        tf.config.set_visible_devices(gpus, "GPU")
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)
    except RuntimeError:
        # TensorFlow has begun: devices stay as they are.
        gpus = tf.config.get_visible_devices("GPU")
    return [gpu.name for gpu in gpus]


def claim(count: int) -> int:
    """The number of a GPU that no other process of this machine has; the last one if all have been taken.

    Args:
        count: of GPUs.
    """
    for number in range(count):
        path = os.path.join(tempfile.gettempdir(), f"beamscribe-gpu-{os.getuid()}-{number}.lock")
        file = open(path, "wb")  # noqa: SIM115 - held until the process ends
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            continue
        _held.append(file)
        return number
    return count - 1


def device(count: int | None = None) -> Device:
    """What this process computes on.

    Args:
        count: as `use_gpus` takes it.
    """
    import tensorflow as tf

    if not use_gpus(count):
        return Device("CPU", "CPU", "float32", CPU_BATCH_SIZE)
    details = tf.config.experimental.get_device_details(tf.config.get_visible_devices("GPU")[0])
    capability = details.get("compute_capability") or (0, 0)
    precision = "bfloat16" if capability >= (8, 0) else "float16" if capability >= TENSOR_CORES else "float32"
    return Device("GPU", details.get("device_name", "GPU"), precision, GPU_BATCH_SIZE)
