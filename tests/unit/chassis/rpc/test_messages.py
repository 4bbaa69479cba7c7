"""What gRPC writes into HTTP/2, and reads out of it again."""

from __future__ import annotations

import itertools
import zlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tidemill_chassis.rpc.codes import CallFailed, Code
from tidemill_chassis.rpc.messages import (
    TEXT_BYTES_MAX,
    escaped,
    metadata_of,
    metadata_value,
    one_message,
    timeout_of,
    timeout_text,
    unescaped,
)

from tests.unit.chassis.rpc.wire import message

QUICK = settings(max_examples=60, deadline=None)
WHOLE_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


@QUICK
@given(WHOLE_TEXTS)
@example("100 %\r\n\t\0 ~ äöü 🌊 %41")
def test_a_text_comes_back_from_what_is_printable(text):
    travelling = escaped(text)

    assert travelling.isascii()
    assert travelling == "" or travelling.isprintable()
    assert unescaped(travelling.encode()) == text


@pytest.mark.parametrize("text", ["ä" * 3000, "x" * 10**6, "🌊" * 2000, "x" + "ä" * 683, "%" * 5000])
def test_a_long_text_is_cut_at_a_letter(text):
    travelling = escaped(text)

    back = unescaped(travelling.encode())
    assert len(travelling) <= TEXT_BYTES_MAX + len(escaped("…"))
    assert back.endswith("…")
    assert text.startswith(back[:-1])
    assert len(back) > 100


def test_what_is_no_text_comes_as_far_as_it_is_one():
    assert unescaped(b"%zz %C3 %") == "%zz � %"
    assert unescaped(escaped("a\ud800b").encode()) == "a?b"


@QUICK
@given(st.floats(1e-9, 1e8))
def test_a_timeout_comes_back_hardly_longer_and_never_shorter(seconds):
    back = timeout_of(timeout_text(seconds).encode())

    assert back is not None
    assert seconds - 1e-6 <= back or back == 99_999_999
    assert back <= seconds * 1.02 + 0.001


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(b"1H", 3600), (b"2M", 120), (b"3S", 3), (b"4m", 0.004), (b"5u", 5e-6), (b"6n", 6e-9), (b"0n", 0)],
)
def test_each_unit_of_a_timeout_is_known(text, seconds):
    assert timeout_of(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", [b"", b"1", b"S", b"-1S", b"1.5S", b"123456789S", b"1s", b"1S ", "١S".encode()]
)
def test_what_is_no_timeout_is_none(text):
    assert timeout_of(text) is None


@QUICK
@given(st.binary(max_size=200))
def test_binary_metadata_come_back(value):
    assert metadata_of([(b"raw-bin", metadata_value("raw-bin", value))]) == (("raw-bin", value),)


def test_reserved_names_are_no_metadata_and_joined_values_are_parted():
    fields = [
        (b":path", b"/"),
        (b"grpc-timeout", b"1S"),
        (b"te", b"trailers"),
        (b"a-bin", b"YQ,Yg=="),
        (b"b", b"c"),
    ]

    assert metadata_of(fields) == (("a-bin", b"a"), ("a-bin", b"b"), ("b", "c"))


@QUICK
@given(
    st.binary(max_size=200),
    st.lists(st.integers(0, 205), max_size=8),
    st.sampled_from(["", "gzip", "deflate"]),
)
def test_a_message_comes_whole_however_it_is_parted(content, ends, encoding):
    packed = content
    if encoding:
        packer = zlib.compressobj(wbits=31 if encoding == "gzip" else 15)
        packed = packer.compress(content) + packer.flush()
    whole = memoryview(message(packed, 1 if encoding else 0))
    cuts = [0, *sorted(min(end, len(whole)) for end in ends), len(whole)]
    parts = [whole[first:last] for first, last in itertools.pairwise(cuts)]

    assert one_message(parts, encoding, 1000) == content


@pytest.mark.parametrize(
    ("content", "encoding", "code"),
    [
        (b"", "", Code.INTERNAL),
        (b"\0\0\0", "", Code.INTERNAL),
        (message(b"tide")[:-1], "", Code.INTERNAL),
        (message(b"tide") * 2, "", Code.INTERNAL),
        (message(b"tide", 1), "", Code.INTERNAL),
        (message(b"tide", 2), "gzip", Code.INTERNAL),
        (message(b"tide", 1), "gzip", Code.INTERNAL),
        (message(zlib.compress(b"tide")[:-5], 1), "deflate", Code.INTERNAL),
        (message(zlib.compress(bytes(10**6)), 1), "deflate", Code.RESOURCE_EXHAUSTED),
    ],
)
def test_what_is_not_one_message_is_told_so(content, encoding, code):
    with pytest.raises(CallFailed) as failed:
        one_message([memoryview(content)] if content else [], encoding, 1000)

    assert failed.value.code == code
