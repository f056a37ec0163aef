"""The cores of a machine, shared among the worker processes on it and the batches in a model at once."""

import gc
import os
import sys

SIDE_BY_SIDE = 2
"""Batches in the model at once: one is decoded into words while the other is in the CNN. Two are enough to keep all
cores busy, and a third waits ready."""


SWITCH_SECONDS = 0.0005
"""How long a thread of Python may go on while others wait. With Python's 5 ms those that decode and read wait so often
that a job which only decodes is a sixth slower, beside other work on the cores; alone it makes no difference."""

COLLECT_AFTER = 20_000
"""Objects that are made before Python looks for cycles among them. With its 700, and with Beam's modules among what is
looked through, a job which only decodes took a twentieth more of the cores, and a manifest a third longer to list."""


def prepare_interpreter() -> None:
    """Has Python spend the cores of this process, a command's or a job's worker, on its work."""
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.set_threshold(COLLECT_AFTER)


def share_cores(processes: int | None) -> None:
    """Caps TensorFlow's threads in this process and those that it starts, unless the environment says otherwise.

    A batch that has a core for itself waits for no other: on two cores two batches side by side are captioned a tenth
    faster with int8 than when each is spread over both. To be called before TensorFlow is imported, in the launcher and
    on every worker: TensorFlow looks at the environment once.

    Args:
        processes: of the job on each machine; 0 for one a core, None for this one alone.
    """
    cores = os.cpu_count() or 1
    if processes is not None:
        cores = max(1, cores // (processes or cores))
        for name in ("OMP_NUM_THREADS", "TF_NUM_INTEROP_THREADS"):
            os.environ.setdefault(name, str(cores))
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(max(1, cores // SIDE_BY_SIDE)))
