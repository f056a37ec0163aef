"""What the launcher of a flex template runs: the job `$BEAMSCRIBE_JOB` with the template's parameters as flags.

Dataflow passes every parameter as `--name=value`. A flag that takes no value is given as `true` or `false`, and one
that takes several as words, quoted where one has a space.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence

from beamscribe.command_line import main, parser_of


def flags_of(parser: argparse.ArgumentParser, parameters: Sequence[str]) -> list[str]:
    """The flags that parameters of a template stand for.

    Args:
        parser: of the job. What it does not know is Beam's and stays as it is.
        parameters: `--name=value` each.

    Raises:
        ValueError: a flag that takes no value was given neither `true` nor `false`.
    """
    known = {name: action for action in parser._actions for name in action.option_strings}
    flags: list[str] = []
    for parameter in parameters:
        name, separator, value = parameter.partition("=")
        action = known.get(name)
        if action is None or not separator:
            flags.append(parameter)
        elif action.nargs == 0:
            if value.lower() not in ("true", "false"):
                raise ValueError(f"{name} is {value!r}: give true or false")
            flags += [name] if value.lower() == "true" else []
        elif action.nargs == "+":
            flags += [name, *shlex.split(value)]
        else:
            flags.append(parameter)
    return flags


if __name__ == "__main__":
    job = os.environ.get("BEAMSCRIBE_JOB", "caption")
    sys.exit(main([job, *flags_of(parser_of(job), sys.argv[1:])]))
