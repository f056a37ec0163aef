"""Flags of captioners that are told what to write: a service behind an endpoint, and KerasHub's models."""

import argparse

from beamscribe.flag_parser import positive

PRESETS = ("caption", "alt-text", "detailed")
MAX_SIDE, MAX_TOKENS, CONCURRENCY = 768, 300, 16
REQUEST_TIMEOUT = 120.0
API_KEY_VARIABLE = "OPENAI_API_KEY"


def positive_number(text: str) -> float:
    """A number above zero, for argparse."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number above zero")
    return number


def temperature(text: str) -> float:
    """A number from 0 to 2, for argparse."""
    number = float(text)
    if not 0 <= number <= 2:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to 2")
    return number


def add_endpoint_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags; all are None by default, so that those which mean nothing for a captioner can be refused."""
    group = parser.add_argument_group("a captioner behind an endpoint, see docs/captioners.md")
    group.add_argument(
        "--endpoint",
        metavar="URL",
        help="of an OpenAI-compatible API that takes images, such as http://localhost:8000/v1; --model names the model",
    )
    group.add_argument(
        "--api-key-variable", metavar="NAME", help=f"environment variable that holds the key [{API_KEY_VARIABLE}]"
    )
    group.add_argument(
        "--max-side", type=positive, metavar="PIXELS", help=f"of the JPEG that is sent, at most [{MAX_SIDE}]"
    )
    group.add_argument(
        "--prompt",
        metavar="TEXT|@FILE",
        help=f"what to ask: {', '.join(PRESETS)}, a text, or a file; {{id}}, {{uri}}, {{file_name}} and kept columns "
        "are filled in [caption]",
    )
    group.add_argument("--system", metavar="TEXT|@FILE", help="system message")
    group.add_argument("--temperature", type=temperature, metavar="NUMBER", help="of sampling [0]")
    group.add_argument("--max-tokens", type=positive, metavar="TOKENS", help=f"of an answer at most [{MAX_TOKENS}]")
    group.add_argument("--samples", type=positive, metavar="NUMBER", help="answers for each image, alternatives [1]")
    group.add_argument(
        "--json-schema", metavar="FILE", help="JSON Schema of the answer, which fills the column structured"
    )
    group.add_argument("--language", metavar="TAG", help="language to ask for and to check, such as ko")
    group.add_argument(
        "--requests-per-minute", type=positive_number, metavar="NUMBER", help="of all workers together at most"
    )
    group.add_argument(
        "--concurrency", type=positive, metavar="REQUESTS", help=f"of all workers together at a time [{CONCURRENCY}]"
    )
    group.add_argument("--price-in", type=positive_number, metavar="PRICE", help="of a million tokens of requests")
    group.add_argument("--price-out", type=positive_number, metavar="PRICE", help="of a million tokens of answers")
    group.add_argument(
        "--max-cost", type=positive_number, metavar="COST", help="stop with exit code 3 before the output costs more"
    )
    group.add_argument(
        "--request-timeout", type=positive_number, metavar="SECONDS", help=f"for an answer [{REQUEST_TIMEOUT:g}]"
    )
    group.add_argument(
        "--canaries",
        type=positive,
        metavar="IMAGES",
        help="ask for so many images a second time along the run, and warn when the answers drift",
    )
