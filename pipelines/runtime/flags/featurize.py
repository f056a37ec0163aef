"""Flags of `beamscribe featurize`."""

from beamscribe.flag_parser import FlagParser, chance, not_negative, positive
from beamscribe.model.backbone.choice import AUTO, BFLOAT16, ENGINES, FLOAT32
from beamscribe.model.backbone.spec import IMAGENET, backbone_name
from beamscribe.model.views import WHOLE
from beamscribe.pipelines.runtime.flags.jobs import BATCH_SIZE, BEAM_EPILOG, add_job_flags, add_reading_flags


def parser() -> FlagParser:
    """The command's flags."""
    flags = FlagParser(
        words="--images",
        prog="beamscribe featurize",
        description="COCO captions and photographs to TFRecords of precomputed backbone features.",
        epilog=BEAM_EPILOG,
    )
    flags.add_argument("--annotations", help="COCO caption JSON (2014 or 2017); test files too")
    flags.add_argument("--images", help="folder of the images that the annotations name")
    flags.add_argument(
        "--captions",
        nargs="+",
        metavar="OUTPUT",
        help="instead of --annotations: outputs of beamscribe caption, by any captioner, or Parquet with the columns "
        "image_uri and caption; what they say of the images there is what a captioner is taught",
    )
    flags.add_argument(
        "--alternatives",
        type=positive,
        default=5,
        metavar="CAPTIONS",
        help="of each row of --captions the caption and its alternatives, so many at most [5]",
    )
    flags.add_argument(
        "--min-confidence",
        type=chance,
        default=0.0,
        metavar="CHANCE",
        help="leave out rows of --captions with less confidence; rows without one stay [0]",
    )
    flags.add_argument("--output", required=True, help="folder or URI for features/, failures/ and _beamscribe/")
    flags.add_argument(
        "--backbone",
        type=backbone_name,
        default="inception_v3",
        metavar="NAME",
        help="inception_v3, efficientnet_lite2 or efficientnet_lite2_levels (need no network), or any name of "
        "keras.applications [inception_v3]",
    )
    flags.add_argument(
        "--backbone-weights",
        default=IMAGENET,
        metavar="imagenet|FILE|random",
        help="imagenet: Keras downloads them, efficientnet_lite2 takes those of the embedded bundle; FILE: weights "
        "without top, of keras.applications or an .npz of efficientnet_lite2; random: for tests",
    )
    flags.add_argument(
        "--view",
        type=not_negative,
        default=WHOLE,
        metavar="NUMBER",
        help="of each photograph, to train on several: 0 the whole, 1 its mirror image, 2, 3, … random parts [0]",
    )
    flags.add_argument("--engine", choices=(*ENGINES, AUTO), default=AUTO, help="what runs the CNN")
    flags.add_argument(
        "--precision",
        choices=(FLOAT32, BFLOAT16, AUTO),
        default=AUTO,
        help="of the CNN; bfloat16 is faster and gives slightly other features; auto is float32, or what an output "
        "was begun with",
    )
    add_reading_flags(flags)
    add_job_flags(flags, BATCH_SIZE)
    return flags
