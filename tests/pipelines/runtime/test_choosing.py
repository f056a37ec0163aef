"""Engine and precision: resolved once, recorded, kept on resume."""

import argparse
import datetime

import pytest

from beamscribe.errors import RefusedError
from beamscribe.model.backbone import choice as choices
from beamscribe.model.backbone.choice import Choice
from beamscribe.model.bundle import Bundle
from beamscribe.pipelines.runtime.captioner_choice import _fingerprint
from beamscribe.pipelines.runtime.choosing import choose_for
from beamscribe.pipelines.runtime.flags.caption import parser
from beamscribe.schemas.manifest import Manifest
from beamscribe.storage.output_reader import MANIFEST
from beamscribe.storage.storage import Storage

BEGUN = Choice("openvino", "bfloat16")


def asked(*flags: str):
    return parser().parse_strictly(["--images", "x", "--output", "y", *flags])


@pytest.fixture
def begun(output: Storage, untrained_bundle: Bundle) -> Storage:
    """An output that was begun with OpenVINO in bfloat16, a beam of three."""
    fingerprint = _fingerprint(asked(), untrained_bundle, BEGUN)
    started = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC).isoformat()
    manifest = Manifest("caption", fingerprint, [fingerprint.digest], {}, 1, 0, {}, 1, 1, started)
    output.write(MANIFEST, manifest.to_json().encode())
    return output


def chosen(args: argparse.Namespace, bundle: Bundle, output: Storage) -> Choice:
    return choose_for(
        output, args.engine, args.precision, bundle.is_quantized, lambda choice: _fingerprint(args, bundle, choice)
    )


@pytest.mark.slow
def test_auto_keeps_what_an_output_was_begun_with(begun: Storage, untrained_bundle: Bundle) -> None:
    assert chosen(asked(), untrained_bundle, begun) == BEGUN
    assert chosen(asked("--precision", "bfloat16"), untrained_bundle, begun) == BEGUN


def test_other_settings_are_a_new_choice(begun: Storage, untrained_bundle: Bundle) -> None:
    assert chosen(asked("--beam-size", "5"), untrained_bundle, begun) == Choice()
    assert chosen(asked("--precision", "float32"), untrained_bundle, begun) == Choice()
    assert chosen(asked("--engine", "tensorflow"), untrained_bundle, begun) == Choice()


def test_a_new_output_takes_what_is_proven(output: Storage, untrained_bundle: Bundle) -> None:
    assert chosen(asked(), untrained_bundle, output) == Choice("tensorflow", "float32")


def test_what_is_not_there_is_refused(
    output: Storage, untrained_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RefusedError, match="beamscribe quantize"):
        chosen(asked("--precision", "int8"), untrained_bundle, output)
    monkeypatch.setattr(choices, "has_openvino", lambda: False)
    with pytest.raises(RefusedError, match="pip install"):
        chosen(asked("--engine", "openvino"), untrained_bundle, output)


def test_every_choice_has_a_fingerprint_of_its_own_and_the_first_is_the_old_one(untrained_bundle: Bundle) -> None:
    made = [
        _fingerprint(asked(), untrained_bundle, Choice(engine, precision))
        for engine in choices.ENGINES
        for precision in choices.PRECISIONS
    ]
    assert len({fingerprint.digest for fingerprint in made}) == 6
    old = {"engine": "tensorflow", "precision": "float32"}
    assert {name: made[0].fields[name] for name in old} == old
    assert "quantized_backbone" not in made[0].fields
