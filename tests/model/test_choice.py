import pytest

from beamscribe.model.backbone import choice
from beamscribe.model.backbone.choice import Choice, ChoiceError, choose


@pytest.fixture(params=[True, False], ids=["with openvino", "without"])
def installed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(choice, "has_openvino", lambda: request.param)
    return request.param


@pytest.mark.parametrize("quantized", [False, True])
def test_auto_takes_only_what_leaves_captions_as_they_are(installed: bool, quantized: bool) -> None:
    assert choose("auto", "auto", quantized) == Choice("tensorflow", "float32")
    assert choose("tensorflow", "bfloat16", quantized) == choose("auto", "bfloat16", quantized)


def test_int8_brings_its_engine(installed: bool) -> None:
    if installed:
        assert choose("auto", "int8", True) == choose("openvino", "int8", True) == Choice("openvino", "int8")
        assert choose("openvino", "auto", False) == Choice("openvino", "float32")
    else:
        for engine, precision in (("auto", "int8"), ("openvino", "auto"), ("openvino", "bfloat16")):
            with pytest.raises(ChoiceError, match=r"pip install 'beamscribe\[openvino\]'"):
                choose(engine, precision, True)


def test_what_cannot_be_is_refused(installed: bool) -> None:
    with pytest.raises(ChoiceError, match="openvino alone"):
        choose("tensorflow", "int8", True)
    with pytest.raises(ChoiceError, match="beamscribe quantize"):
        choose("auto", "int8", False)


def test_the_processor_is_asked(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu_info = tmp_path / "cpuinfo"
    monkeypatch.setattr(choice, "_CPU_INFO", str(cpu_info))
    assert choice.processor_flags() == frozenset()
    cpu_info.write_text("processor\t: 0\nmodel name\t: X\nflags\t\t: fpu avx512f avx512_bf16\n\nprocessor\t: 1\n")
    assert choice.processor_flags() == {"fpu", "avx512f", "avx512_bf16"}
    assert choice.has_bfloat16()
    cpu_info.write_text("flags\t\t: fpu avx2\n")
    assert not choice.has_bfloat16()
