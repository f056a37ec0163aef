"""Writes the metadata of the flex templates, a file a job, from the flags that the jobs have.

python deploy/dataflow/metadata.py
"""

import argparse
import json
from pathlib import Path
from typing import Any

from beamscribe.command_line import COMMANDS, JOBS, parser_of

TEMPLATES = Path(__file__).parent / "templates"
NOT_THERE = ("--help", "--plan", "--limit", "--report")
"""What a template does not offer: `--plan` only prints, `--sample` stands for both, `--report` is for who waits."""
BUCKET = "^gs://.+$"


def metadata_of(job: str) -> dict[str, Any]:
    """What Dataflow shows and checks of a job's parameters."""
    parameters = [
        parameter_of(action)
        for action in parser_of(job)._actions
        if action.option_strings and action.option_strings[-1] not in NOT_THERE
    ]
    # Required ones first, then as the command's help has them.
    parameters.sort(key=lambda parameter: parameter["isOptional"])
    return {
        "name": f"Beamscribe {job}",
        "description": COMMANDS[job][1],
        "parameters": parameters,
    }


def parameter_of(action: argparse.Action) -> dict[str, Any]:
    """A parameter of a template for a flag of a job."""
    name = action.option_strings[-1].removeprefix("--")
    text = (action.help or "") % {"default": action.default, "prog": "beamscribe"}
    if action.nargs == "+":
        text += "; several are separated by spaces, and quoted where one has a space"
    parameter = {
        "name": name,
        "label": name.replace("-", " ").capitalize(),
        "helpText": text.strip() or name,
        "isOptional": not action.required,
    }
    if action.nargs == 0:
        parameter["regexes"] = ["^(true|false)$"]
    elif name == "output":
        parameter["regexes"] = [BUCKET]
    elif action.choices:
        parameter["regexes"] = [f"^({'|'.join(map(str, action.choices))})$"]
    return parameter


def write() -> None:
    """Writes a file for every job."""
    TEMPLATES.mkdir(exist_ok=True)
    for job in JOBS:
        text = json.dumps(metadata_of(job), indent=2, ensure_ascii=False)
        (TEMPLATES / f"{job}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
