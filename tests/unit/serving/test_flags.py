"""The command line is tensorflow_model_server's."""

from __future__ import annotations

import pytest
from tidemill_serving.engine.flags import FlagError, parse


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        (["--port=9000"], "port", 9000),
        (["--port", "9000"], "port", 9000),
        (["--model_name=digits"], "model_name", "digits"),
        (["--enable_model_warmup=false"], "enable_model_warmup", False),
        (["--enable_model_warmup", "false"], "enable_model_warmup", False),
        (
            ["--allow_version_labels_for_unavailable_models"],
            "allow_version_labels_for_unavailable_models",
            True,
        ),
        (["--version", "--port=1"], "version", True),
        (["--load_retry_interval_micros=60000000000"], "load_retry_interval_micros", 60_000_000_000),
    ],
)
def test_a_flag_takes_its_value(arguments, name, value):
    assert getattr(parse(arguments), name) == value


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--unheard_of=1"], "unknown argument: --unheard_of=1"),
        (["stray"], "unknown argument: stray"),
        (["--port=many"], "Couldn't interpret value many for flag port."),
        (["--port=99999999999"], "Couldn't interpret value 99999999999 for flag port."),
        (["--version=perhaps"], "Couldn't interpret value perhaps for flag version."),
        (["--model_name"], "--model_name needs a value"),
    ],
)
def test_a_wrong_flag_is_named(arguments, said):
    with pytest.raises(FlagError, match=said):
        parse(arguments)
