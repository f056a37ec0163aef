"""`beamscribe train`: features to a captioner, as a bundle."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from beamscribe.errors import CHECK_FAILED, DONE, INTERRUPTED, STOPPED, RefusedError
from beamscribe.model import weights
from beamscribe.model.bundle import Bundle, BundleError, is_unfinished, open_bundle
from beamscribe.model.bundle_folder import unwritable
from beamscribe.model.captioner import Captioner
from beamscribe.model.ensemble import Ensemble, member_name, together
from beamscribe.schemas.counted import counted
from beamscribe.training import cross_entropy, fine_tune, self_critical
from beamscribe.training.batches import feature_lessons
from beamscribe.training.checkpoints import DivergedError
from beamscribe.training.choice import CIDER, is_better
from beamscribe.training.config import TrainingConfig, override, read_config
from beamscribe.training.cross_entropy import evaluator
from beamscribe.training.export import Member, export
from beamscribe.training.flags.train import parser
from beamscribe.training.material import Material, prepare
from beamscribe.training.precision import computing_in, resolved
from beamscribe.training.recipe import changes, goes_on, material_fields
from beamscribe.training.validation import CiderValidation


def run(argv: Sequence[str]) -> int:
    """Parses, trains, writes the bundle and loads it back.

    Returns:
        The exit code.

    Raises:
        RefusedError: if the command cannot do its work.
    """
    args = parser().parse_strictly(argv)
    config = _config(args)
    output = os.path.abspath(os.path.expanduser(args.output))
    work = args.work or f"{output}.work"
    earlier = _earlier_bundle(output)
    for flag, folder in (("--output", output), ("--work", os.path.join(work, "features"))):
        if reason := unwritable(folder):
            raise RefusedError(f"{flag} {folder} cannot be written: {reason}")
    try:
        return _run(args, config, output, work, earlier)
    except DivergedError as error:
        print(f"beamscribe train: no captioner: {error}", file=sys.stderr)
        return CHECK_FAILED
    except OSError as error:
        print(
            f"beamscribe train: stopped: {error}. The same command continues after the last whole epoch.",
            file=sys.stderr,
        )
        return STOPPED
    except KeyboardInterrupt:
        print("\ninterrupted; the same command continues after the last whole epoch", file=sys.stderr)
        return INTERRUPTED


def _run(args: argparse.Namespace, config: TrainingConfig, output: str, work: str, earlier: Bundle | None) -> int:
    if args.weights and len(args.weights) != len(args.features):
        raise RefusedError(
            f"--weights has {len(args.weights)} numbers for {len(args.features)} --features: give one each"
        )
    material = prepare(
        args.features, args.validation, config, work, args.storage_options, args.texts or (), args.weights
    )
    asked = material_fields(material, args.fine_tune_from)
    if earlier is not None and not goes_on(args.output, changes(earlier.config, config, asked), args.on_change):
        print(f"beamscribe train: the bundle in {output} was trained otherwise and stays as it is")
        return DONE
    print(
        f"beamscribe train: {counted(len(material.training.ids), 'image')} with "
        f"{counted(len(material.training_tokens.rows), 'caption')}, "
        f"{counted(len(material.tokenizer.vocabulary), 'token')}; "
        f"validation {counted(len(material.validation.ids), 'image')}"
    )
    tuning = None
    if args.fine_tune_from:
        tuning = fine_tune.prepare(material, args.fine_tune_from, args.images_root, args.storage_options)
    with computing_in(config.precision):
        metrics = _train(material, config, output, work, args.strategy, tuning, asked, args.start_from)
    loss, frequency = metrics["validation_token_loss"], metrics["frequency_loss"]
    print(
        f"beamscribe train: validation loss {loss:.3f} nats a token with the stored weights "
        f"(word frequencies alone: {frequency:.3f})"
    )
    for member in metrics["members"]:
        print(
            f"beamscribe train: seed {member['seed']}: best of {counted(member['epochs'], 'epoch')}: "
            f"{member['best_epoch']}"
        )
    print(f"beamscribe train: CIDEr of its captions of the validation images {metrics['validation_cider']:.3f}")
    print(f"beamscribe train: bundle → {output}")
    # Not a number is not below it either.
    if not loss < frequency:
        print(
            f"beamscribe train: the captioner is no better than word frequencies, {loss:.3f} against {frequency:.3f} "
            "nats a token: train on more photographs, or for more --epochs",
            file=sys.stderr,
        )
        return CHECK_FAILED
    return DONE


def _train(
    material: Material,
    config: TrainingConfig,
    output: str,
    work: str,
    strategy: str,
    tuning: fine_tune.FineTuning | None,
    asked: dict[str, str],
    start: str | None = None,
) -> dict[str, Any]:
    """All members, each in all its phases, and the bundle; gives its metrics."""
    members = []
    for number in range(config.members):
        args = override(config, seed=config.seed + number)
        folder = os.path.join(work, member_name(number)) if number else work
        if config.members > 1:
            print(f"beamscribe train: captioner {number + 1} of {config.members}, seed {args.seed}", flush=True)
        members.append(_train_member(material, args, folder, strategy, tuning, start))
    # A backbone is tuned with one captioner alone, so all members see the same in the end.
    material = members[0].material
    captioner: Captioner | Ensemble = cross_entropy.build_captioner(material, config)
    if config.members > 1:
        captioner = Ensemble(captioner.config, config.members)
        captioner.build()
        weights.assign(captioner, together([member.weights for member in members]))
    else:
        weights.load(captioner, members[0].weights)
    measured = evaluator(feature_lessons(material), config, len(material.tokenizer.vocabulary))(captioner)
    measured["validation_cider"] = CiderValidation(material, captioner, config.batch_size)()
    return export(output, captioner, members, measured, config, asked)


def _train_member(
    material: Material,
    config: TrainingConfig,
    work: str,
    strategy: str,
    tuning: fine_tune.FineTuning | None,
    start: str | None = None,
) -> Member:
    """One captioner in all its phases."""
    first = cross_entropy.fit(material, config, work, strategy, start)
    best, history = first.best_weights(), first.state["history"]
    report: dict[str, Any] = {
        "seed": config.seed,
        "epochs": first.state["epoch"],
        "best_epoch": first.state["best_epoch"],
        "history": history,
    }
    cider = history[first.state["best_epoch"] - 1][CIDER]
    # Made anew: the one that was trained may be spread over several devices.
    captioner = cross_entropy.build_captioner(material, config)
    if tuning is not None:
        tuned = fine_tune.fit(material, config, work, captioner, best, tuning)
        best, material = tuned.captioner, tuned.material
        report |= {"fine_tune_best_epoch": tuned.best_epoch, "fine_tune_history": tuned.history}
        cider = tuned.history[tuned.best_epoch - 1][CIDER]
    if config.self_critical_epochs:
        second = self_critical.fit(material, config, work, captioner, best)
        best_epoch, second_history = second.state["best_epoch"], second.state["history"]
        report |= {"self_critical_best_epoch": None, "self_critical_history": second_history}
        if best_epoch is not None and is_better(second_history[best_epoch - 1][CIDER], cider):
            # WiSE-FT (Wortsman et al. 2022, arXiv:2109.01903): what the phase has overfitted weighs less, what was
            # known before comes back. On Flickr8k's validation split CIDEr is 0.584 before, 0.588 after, 0.608 halfway.
            best = weights.between(best, second.best_weights(), config.self_critical_share)
            report |= {"self_critical_best_epoch": best_epoch}
    return Member(best, material, report)


def _config(args: argparse.Namespace) -> TrainingConfig:
    config = override(
        read_config(args.config),
        decoder=args.decoder,
        epochs=args.epochs,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        vocabulary_size=args.vocabulary_size,
        patience=args.patience,
        members=args.members,
        precision=args.precision,
        seed=args.seed,
    )
    config = override(config, precision=resolved(config.precision))
    if config.self_critical_epochs and config.self_critical_samples < 2:
        raise RefusedError("self_critical_samples must be two or more, which are compared: change the recipe")
    if args.fine_tune_from and config.members > 1:
        raise RefusedError("--fine-tune-from tunes the backbone with one captioner alone: give --members 1")
    if args.images_root and not args.fine_tune_from:
        raise RefusedError("--images-root says where the images for --fine-tune-from are, which is not given")
    if config.width % config.heads:
        raise RefusedError(f"{config.heads} heads do not divide the width {config.width}: change the recipe")
    return config


def _earlier_bundle(output: str) -> Bundle | None:
    """The bundle that is there; None if there is none, or only what a killed run has left of one.

    Raises:
        RefusedError: if something else is there.
    """
    if os.path.exists(output) and not os.path.isdir(output):
        raise RefusedError(f"--output {output} is a file: name a folder")
    if not os.path.isdir(output) or not os.listdir(output) or is_unfinished(output):
        return None
    try:
        return open_bundle(output)
    except BundleError as error:
        raise RefusedError(f"--output {output} holds something else than a bundle: choose another") from error
