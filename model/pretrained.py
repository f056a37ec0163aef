"""The bundle that comes with Beamscribe, so that a newcomer captions without training and without a network."""

import os

VARIABLE = "BEAMSCRIBE_MODEL"
"""Environment variable that names the bundle to use where none is given."""

NAME = "everyday-efficientnet-lite2"
EMBEDDED = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "pretrained", NAME)
"""Where it is, in a checkout as in an installation."""


class NoBundleError(ValueError):
    """No bundle was given and there is none to fall back on; the message says how to get one."""


def default_bundle() -> str:
    """The bundle to use where none is given: `$BEAMSCRIBE_MODEL`, else the embedded one.

    Raises:
        NoBundleError: if there is neither.
    """
    if named := os.environ.get(VARIABLE):
        return named
    if os.path.exists(os.path.join(EMBEDDED, "config.json")):
        return EMBEDDED
    raise NoBundleError(
        f"none is given, ${VARIABLE} is not set, and this installation has no pretrained/{NAME}: clone Beamscribe's "
        f"repository and set {VARIABLE}=CLONE/pretrained/{NAME}, or make a bundle with beamscribe train"
    )
