"""Flags of `beamscribe train`."""

from beamscribe.flag_parser import FlagParser, add_storage_options, positive
from beamscribe.model.backbone.choice import AUTO, BFLOAT16, FLOAT32
from beamscribe.model.decoder_names import DECODERS

SINGLE, MIRRORED = "single", "mirrored"
STRATEGIES = (SINGLE, MIRRORED)
PRECISIONS = (FLOAT32, BFLOAT16, AUTO)


def share(text: str) -> float:
    """A positive number, for argparse."""
    value = float(text)
    if not 0 < value < 1000:
        raise ValueError(text)
    return value


def parser() -> FlagParser:
    """The command's flags."""
    flags = FlagParser(words="--features", prog="beamscribe train", description="Features to a captioner, as a bundle.")
    flags.add_argument("--features", nargs="+", required=True, metavar="OUTPUT", help="outputs of beamscribe featurize")
    flags.add_argument(
        "--validation",
        nargs="+",
        metavar="OUTPUT",
        help="the same, to stop by; without it a share of --features is held out [5 %%]",
    )
    flags.add_argument(
        "--weights",
        nargs="+",
        type=share,
        metavar="SHARE",
        help="for each of --features, how often an epoch shows its images: 3 is three times, 0.5 every other epoch [1]",
    )
    flags.add_argument(
        "--texts",
        nargs="+",
        metavar="FILE",
        help="sentences without images, one a line, plain or .gz, that the recipe may read first and add to images",
    )
    flags.add_argument("--output", required=True, metavar="BUNDLE", help="local folder for the bundle")
    flags.add_argument("--work", metavar="DIR", help="folder for checkpoints, logs and unpacked features [OUTPUT.work]")
    flags.add_argument("--config", metavar="FILE", help="recipe, see training/configs/; the flags below replace fields")
    flags.add_argument(
        "--start-from", metavar="BUNDLE", help="a bundle of the same sizes whose weights training begins with"
    )
    flags.add_argument(
        "--decoder", choices=DECODERS, help="which captioner; the first three are the source's [transformer]"
    )
    flags.add_argument("--epochs", type=positive, help="passes over the images")
    flags.add_argument("--batch-size", type=positive, help="images a step, each with all its captions")
    flags.add_argument("--learning-rate", type=float, help="peak of the schedule")
    flags.add_argument("--vocabulary-size", type=positive, help="subword tokens at most")
    flags.add_argument("--patience", type=positive, help="epochs without better validation captions before stopping")
    flags.add_argument(
        "--members",
        type=positive,
        metavar="CAPTIONERS",
        help="that write together, each trained alone with a seed of its own; better captions, slower [1]",
    )
    flags.add_argument(
        "--strategy", choices=STRATEGIES, default=SINGLE, help="mirrored: on all GPUs of this machine [single]"
    )
    flags.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="of products of matrices on CPUs; auto is bfloat16 where the processor has it [auto]",
    )
    flags.add_argument("--seed", type=int, help="of weights, dropout and the order of the images")
    flags.add_argument(
        "--fine-tune-from",
        metavar="LAYER",
        help="afterwards, train on through the backbone from this layer on; reads the images again",
    )
    flags.add_argument("--images-root", metavar="DIR", help="where these images are now, if they have moved")
    flags.add_argument(
        "--on-change",
        choices=("refuse", "keep", "replace"),
        default="refuse",
        help="what to do when --output holds a bundle of another recipe or of other images: keep it, or replace it; "
        "more --epochs go on with it",
    )
    add_storage_options(flags)
    return flags
