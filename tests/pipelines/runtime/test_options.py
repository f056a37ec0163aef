import pytest
from apache_beam.options import pipeline_options

from beamscribe import command_line
from beamscribe.errors import RefusedError
from beamscribe.flag_parser import SURELY_MEANT, FlagParser
from beamscribe.pipelines.runtime.flags.jobs import add_job_flags, job_flags
from beamscribe.pipelines.runtime.flags.speak import parser as speak_parser
from beamscribe.pipelines.runtime.options import parse


def parser(batch_size=32):
    flags = FlagParser(prog="beamscribe fake", description="A job.")
    flags.add_argument("--images", nargs="+")
    add_job_flags(flags, batch_size)
    return flags


def standard(options):
    return options.view_as(pipeline_options.StandardOptions)


def test_defaults():
    args, beam = parse(parser(), [])
    flags = job_flags(args)
    assert flags.shard_size == 256
    assert flags.limit is None
    assert flags.retry_failed is False
    assert flags.on_change == "refuse"
    assert flags.storage_options == {}
    assert args.batch_size == 32
    assert standard(beam).runner == "FnApiRunner"


def test_our_flags():
    argv = [
        "--images",
        "a",
        "b",
        "--shard-size=7",
        "--batch-size",
        "3",
        "--limit",
        "5",
        "--retry-failed",
        "--on-change=keep",
    ]
    argv += ["--storage-options", '{"anon": true}']
    args, _ = parse(parser(), argv)
    flags = job_flags(args)
    assert args.images == ["a", "b"]
    assert args.batch_size == 3
    assert (flags.shard_size, flags.limit, flags.retry_failed, flags.on_change) == (7, 5, True, "keep")
    assert flags.storage_options == {"anon": True}


def test_beam_flags_between_ours():
    argv = ["--runner", "DataflowRunner", "--limit", "5", "--project=p", "--direct_num_workers", "2", "--region", "r"]
    args, beam = parse(parser(), [*argv, "--experiments=a", "--experiments=b"])
    assert args.limit == 5
    assert standard(beam).runner == "DataflowRunner"
    assert beam.view_as(pipeline_options.GoogleCloudOptions).project == "p"
    assert beam.view_as(pipeline_options.GoogleCloudOptions).region == "r"
    assert beam.view_as(pipeline_options.DirectOptions).direct_num_workers == 2
    assert beam.view_as(pipeline_options.DebugOptions).experiments == ["a", "b"]


@pytest.mark.parametrize(
    ("argv", "runner"),
    [
        ("", "FnApiRunner"),
        ("--runner=DirectRunner", "FnApiRunner"),
        ("--runner DirectRunner --direct_running_mode=multi_processing", "FnApiRunner"),
        ("--runner=FnApiRunner", "FnApiRunner"),
        ("--runner=FlinkRunner", "FlinkRunner"),
    ],
)
def test_the_local_runner_is_the_one_that_obeys_the_direct_flags(argv, runner):
    assert standard(parse(parser(), argv.split())[1]).runner == runner


@pytest.mark.parametrize("name", ["directrunner", "direct"])
def test_the_direct_runner_by_its_other_names(name):
    assert standard(parse(parser(), [f"--runner={name}"])[1]).runner == "FnApiRunner"


@pytest.mark.parametrize("argv", [[], ["--save_main_session"], ["--runner=DataflowRunner"]])
def test_no_main_session_is_pickled(argv):
    _, beam = parse(parser(), argv)
    assert beam.view_as(pipeline_options.SetupOptions).save_main_session is False


@pytest.mark.parametrize(
    ("flag", "nearest"),
    [
        ("--shardsize=3", "--shard-size"),
        ("--shard_size=3", "--shard-size"),
        ("--retry-fail", "--retry-failed"),
        ("--direct_num_worker=2", "--direct_num_workers"),
        ("--imagse", "--images"),
    ],
)
def test_an_unknown_flag_is_refused_with_the_nearest(flag, nearest):
    with pytest.raises(RefusedError, match=rf"unknown argument {flag.split('=')[0]}: did you mean {nearest}\?"):
        parse(parser(), [flag])


def test_a_flag_like_no_other_points_to_the_help():
    with pytest.raises(RefusedError, match="unknown argument --zzyzx; see beamscribe fake --help"):
        parse(parser(), ["--zzyzx"])


@pytest.mark.parametrize("argv", ["stray", "--limit 5 stray", "--retry-failed stray"])
def test_a_stray_word_is_refused(argv):
    with pytest.raises(RefusedError, match="unknown argument stray"):
        parse(parser(), argv.split())


@pytest.mark.parametrize("flag", ["--retry", "--lim=3", "--runne=FnApiRunner", "--direct_running=in_memory"])
def test_abbreviations_are_refused(flag):
    with pytest.raises(RefusedError, match="unknown argument"):
        parse(parser(), [flag])


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--shard-size=0"], "0 is not above zero"),
        (["--limit=-3"], "-3 is not above zero"),
        (["--batch-size=two"], "--batch-size"),
        (["--on-change=ask"], "--on-change"),
        (["--storage-options=anon"], "not JSON"),
        (["--storage-options=[1]"], "not a JSON object"),
        (["--images"], "--images"),
        (["--direct_num_workers=two"], "Beam option: .*direct_num_workers"),
        (["--direct_running_mode=sideways"], "Beam option: .*direct_running_mode"),
    ],
)
def test_wrong_values_are_refused_in_one_line(argv, says, capsys):
    with pytest.raises(RefusedError, match=says) as caught:
        parse(parser(), argv)
    assert "\n" not in str(caught.value)
    assert capsys.readouterr() == ("", "")


def test_a_job_without_a_model_has_no_batches():
    args, _ = parse(parser(batch_size=None), [])
    assert not hasattr(args, "batch_size")
    assert job_flags(args).shard_size == 256
    with pytest.raises(RefusedError, match="--batch-size"):
        parse(parser(batch_size=None), ["--batch-size=3"])
    with pytest.raises(RefusedError, match="--batch-size"):
        parse(speak_parser(), ["--captions=c", "--output=o", "--batch-size=3"])


@pytest.mark.parametrize("command", command_line.JOBS)
def test_no_flag_of_beam_is_taken_for_a_misspelt_one_of_ours(command):
    args = command_line.parser_of(command)
    known = {name for action in args._actions for name in action.option_strings}
    classes = {str(found): found for found in pipeline_options.PipelineOptions.__subclasses__()}.values()
    beams = pipeline_options._BeamArgumentParser(allow_abbrev=False, add_help=False)
    for options_class in classes:
        options_class._add_argparse_args(beams)
    flags = {name for action in beams._actions for name in action.option_strings} - known
    assert "--direct_num_workers" in flags
    assert {flag: args.nearest(flag, SURELY_MEANT) for flag in flags if args.nearest(flag, SURELY_MEANT)} == {}
