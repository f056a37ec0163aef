"""What a caption job is asked for, as its flags say: images that are listed, or containers that workers go through."""

import argparse

from beamscribe.errors import RefusedError
from beamscribe.pipelines.captioners.source import PaidSource
from beamscribe.pipelines.runtime.chosen_captioner import ChosenCaptioner
from beamscribe.pipelines.runtime.flags.jobs import JobFlags
from beamscribe.pipelines.runtime.keeping import suffixes_beside
from beamscribe.pipelines.sources.columns import Columns
from beamscribe.pipelines.sources.corpus import Corpus
from beamscribe.pipelines.sources.listing import list_images
from beamscribe.pipelines.sources.manifests import ManifestFiles, read_manifests
from beamscribe.pipelines.sources.retake import BELOW, unsure_images
from beamscribe.pipelines.sources.table_containers import table_containers
from beamscribe.storage.output_reader import read_parts
from beamscribe.storage.storage import Storage


def at_once(args: argparse.Namespace, flags: JobFlags) -> str:
    """The flag that needs all images before anything is done; empty: there is none.

    A number of images, the same bytes twice and a price are told only of images that are known.
    """
    found = {
        "--list-members": args.list_members,
        "--limit": flags.limit,
        "--sample": flags.sample,
        "--deduplicate": args.deduplicate,
        "--endpoint": args.endpoint,
    }
    return next((flag for flag, value in found.items() if value), "")


def columns_asked(args: argparse.Namespace) -> Columns:
    """Columns of manifests that flags name."""
    return Columns(args.uri_column, args.id_column)


def tables_of(args: argparse.Namespace, flags: JobFlags, output: Storage, found: ManifestFiles | None) -> Corpus | None:
    """Manifests that workers go through; None where they are listed.

    Args:
        args: as parsed.
        flags: of every job.
        output: of this one; one that is in parts stays so.
        found: the manifests, where not all images are needed at once.

    Raises:
        RefusedError: if the first of them cannot be read.
    """
    # Workers would store the queries of addresses that rows name.
    if found is None or args.keep_columns or args.strip_query or read_parts(output):
        return None
    return table_containers(found, columns_asked(args), flags.storage_options, bool(args.allow_http))


def corpus_of(args: argparse.Namespace, chosen: ChosenCaptioner, flags: JobFlags) -> Corpus:
    """Lists what the flags name.

    Raises:
        RefusedError: if it cannot be read, or names no image.
    """
    if args.images:
        list_members = bool(at_once(args, flags)) or isinstance(chosen.source, PaidSource)
        beside = suffixes_beside(args.keep_columns or ())
        return list_images(
            args.images, flags.storage_options, flags.limit, args.allow_private_addresses, list_members, beside
        )
    if args.retake:
        return unsure_images(
            args.retake, BELOW if args.below is None else args.below, flags.storage_options, flags.limit
        )
    if args.manifest:
        return read_manifests(
            args.manifest, columns_asked(args), flags.storage_options, flags.limit, args.keep_columns or ()
        )
    if chosen.features is None:
        raise RefusedError("--features are for a bundle: other captioners need --images or --manifest")
    return chosen.features(args.features, flags.limit)
