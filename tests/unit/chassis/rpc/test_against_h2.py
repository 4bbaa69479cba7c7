"""Both sides of a connection against the h2 library, which knows nothing of ours."""

from __future__ import annotations

from typing import Any

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    DataReceived,
    RequestReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.settings import SettingCodes
from tidemill_chassis.rpc import frames
from tidemill_chassis.rpc.calling_side import Asked, CallingConnection, NotLookedAt
from tidemill_chassis.rpc.codes import CallFailed, Code

from tests.unit.chassis.rpc.wire import PATH, REQUEST, answered, message, serving

LARGE = bytes(range(256)) * 2_000
OK = [("grpc-status", "0")]


def fields(event: Any) -> dict[str, str]:
    """Of a request or answer."""
    return dict(event.headers)


def room(side: H2Connection, stream: int, size: int) -> int:
    """How much of so many bytes it may send now."""
    return max(0, min(size, side.local_flow_control_window(stream), side.max_outbound_frame_size))


class Client:
    """h2's, before a side of ours that answers."""

    def __init__(self, window: int = 65_535) -> None:
        self.ours = serving(greeted=False)
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.h2.local_settings = type(self.h2.local_settings)(
            client=True,
            initial_values={SettingCodes.INITIAL_WINDOW_SIZE: window},
        )
        self.h2.initiate_connection()
        self.data: dict[int, bytes] = {}
        self.ended: dict[int, dict[str, str]] = {}
        self.reset: set[int] = set()
        self.frame_bytes_max = 0
        self._rest: dict[int, bytes] = {}
        theirs = type(self.ours)([PATH], message_bytes_max=2**30, streams_max=100)
        self.h2.receive_data(theirs.take_output())  # its greeting

    def ask(self, stream: int, content: bytes) -> None:
        self.h2.send_headers(stream, REQUEST)
        self._rest[stream] = message(content)

    def run(self) -> None:
        """Until neither has anything to say."""
        moving = True
        while moving:
            moving = False
            for stream, rest in list(self._rest.items()):
                size = min(
                    len(rest), self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size
                )
                if size > 0 or not rest:
                    self.h2.send_data(stream, rest[:size], end_stream=size == len(rest))
                    self._rest[stream] = rest[size:]
                    moving = True
                if size == len(rest):
                    del self._rest[stream]
            if said := self.h2.data_to_send():
                self.ours.receive(said)
                moving = True
            answered(self.ours)
            if heard := self.ours.take_output():
                moving = True
                for event in self.h2.receive_data(heard):
                    self._on(event)

    def _on(self, event: Any) -> None:
        match event:
            case DataReceived():
                self.data[event.stream_id] = self.data.get(event.stream_id, b"") + event.data
                self.frame_bytes_max = max(self.frame_bytes_max, len(event.data))
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case TrailersReceived():
                self.ended[event.stream_id] = fields(event)
            case StreamReset():
                self.reset.add(event.stream_id)


@pytest.mark.parametrize("window", [3, 5, 100, 65_535, 2**20])
def test_messages_go_both_ways_through_windows_of_any_size(window):
    client = Client(window)
    contents = {1: b"", 3: b"tide", 5: LARGE[: 900 * min(window, 1000)], 7: b"x" * window}

    for stream, content in contents.items():
        client.ask(stream, content)
    client.run()

    assert client.data == {stream: message(content * 2) for stream, content in contents.items()}
    assert all(trailers == dict(OK) for trailers in client.ended.values())
    assert not client.reset
    assert not client.ours.streams
    assert client.frame_bytes_max <= 16_384


def test_frames_are_as_long_as_the_other_side_takes_them():
    client = Client(2**20)
    client.h2.update_settings({SettingCodes.MAX_FRAME_SIZE: 100_000})
    client.run()  # h2 looks at its own limit once a read

    client.ask(1, LARGE[:60_000])
    client.run()

    assert client.data[1] == message(LARGE[:60_000] * 2)
    assert client.frame_bytes_max > 65_535 // 2


def test_a_window_that_shrinks_below_what_was_sent_is_waited_out():
    client = Client(1000)
    client.ask(1, LARGE[:20_000])
    client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 10})

    client.run()

    assert client.data[1] == message(LARGE[:20_000] * 2)


class Server:
    """h2's, behind a side of ours that asks."""

    def __init__(self, window: int = 65_535, streams: int = 100) -> None:
        self.ours = CallingConnection("tides", message_bytes_max=2**30)
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.h2.local_settings = type(self.h2.local_settings)(
            client=False,
            initial_values={
                SettingCodes.INITIAL_WINDOW_SIZE: window,
                SettingCodes.MAX_CONCURRENT_STREAMS: streams,
            },
        )
        self.h2.initiate_connection()
        self.requests: dict[int, dict[str, str]] = {}
        self.data: dict[int, bytes] = {}
        self.results: dict[int, bytes | CallFailed] = {}
        self._rest: dict[int, bytes] = {}

    def ask(self, content: bytes, **more: Any) -> Asked:
        return self.ours.ask(PATH, content, more.get("timeout_s", 1.0), more.get("metadata", ()), self._done)

    def _done(self, asked: Asked) -> None:
        assert asked.number not in self.results
        self.results[asked.number] = asked.error or asked.message or b""

    def run(self) -> None:
        moving = True
        while moving:
            moving = False
            if said := self.ours.take_output():
                moving = True
                for event in self.h2.receive_data(said):
                    self._on(event)
            for stream, rest in list(self._rest.items()):
                size = min(
                    len(rest), self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size
                )
                self.h2.send_data(stream, rest[:size])
                self._rest[stream] = rest[size:]
                if size == len(rest):
                    del self._rest[stream]
                    self.h2.send_headers(stream, OK, end_stream=True)
            if heard := self.h2.data_to_send():
                moving = True
                self.ours.receive(heard)

    def _on(self, event: Any) -> None:
        match event:
            case RequestReceived():
                self.requests[event.stream_id] = fields(event)
                self.data[event.stream_id] = b""
            case DataReceived():
                self.data[event.stream_id] += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case StreamEnded():
                self.on_whole(event.stream_id)
            case ResponseReceived() | StreamReset():
                pass

    def on_whole(self, stream: int) -> None:
        """Its message twice."""
        self.h2.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
        self._rest[stream] = message(self.data[stream][5:] * 2)


@pytest.mark.parametrize("window", [3, 5, 100, 65_535, 2**20])
def test_calls_go_and_come_through_windows_of_any_size(window):
    server = Server(window)
    server.run()  # it tells its window
    contents = [b"", b"tide", LARGE[: 900 * min(window, 1000)], b"x" * window]

    asked = [server.ask(content) for content in contents]
    server.run()

    assert [server.results[each.number] for each in asked] == [content * 2 for content in contents]
    assert not server.ours.streams


def test_a_call_says_what_grpc_asks_for():
    server = Server()

    server.ask(b"tide", timeout_s=1.5, metadata=(("tide", "high"), ("raw-bin", b"\0\1")))
    server.run()

    assert server.requests[1] == {
        ":method": "POST",
        ":scheme": "http",
        ":path": PATH,
        ":authority": "tides",
        "te": "trailers",
        "content-type": "application/grpc",
        "user-agent": "tidemill",
        "grpc-accept-encoding": "identity,gzip,deflate",
        "grpc-timeout": "1500m",
        "tide": "high",
        "raw-bin": "AAE",
    }


@pytest.mark.parametrize(
    ("headers", "code", "text"),
    [
        ([(":status", "200"), ("grpc-status", "5"), ("grpc-message", "no %C3%A4")], Code.NOT_FOUND, "no ä"),
        ([(":status", "200"), ("grpc-status", "99")], Code.UNKNOWN, ""),
        ([(":status", "200"), ("grpc-status", "x")], Code.UNKNOWN, "without a status"),
        ([(":status", "200"), ("grpc-status", "0")], Code.INTERNAL, "no message"),
        ([(":status", "200")], Code.UNKNOWN, "without a status"),
        ([(":status", "503")], Code.UNAVAILABLE, "503"),
        ([(":status", "404")], Code.UNIMPLEMENTED, "404"),
        ([(":status", "418")], Code.UNKNOWN, "418"),
    ],
)
def test_an_answer_without_a_message_is_its_status(headers, code, text, monkeypatch):
    server = Server()
    monkeypatch.setattr(
        server, "on_whole", lambda stream: server.h2.send_headers(stream, headers, end_stream=True)
    )

    server.ask(b"tide")
    server.run()

    failed = server.results[1]
    assert isinstance(failed, CallFailed)
    assert (failed.code, text in failed.text) == (code, True)


@pytest.mark.parametrize(
    ("error_code", "code"),
    [(0, Code.INTERNAL), (7, Code.UNAVAILABLE), (8, Code.CANCELLED), (11, Code.RESOURCE_EXHAUSTED), (12, 7)],
)
def test_a_reset_is_a_status(error_code, code, monkeypatch):
    server = Server()
    monkeypatch.setattr(server, "on_whole", lambda stream: server.h2.reset_stream(stream, error_code))

    server.ask(b"tide")
    server.run()

    failed = server.results[1]
    assert isinstance(failed, CallFailed)
    assert failed.code == code
    assert isinstance(failed, NotLookedAt) == (error_code == 7)


def test_a_farewell_gives_back_what_was_not_looked_at():
    server = Server()
    for _ in range(3):
        server.ask(b"tide")

    server.ours.receive(frames.settings({}) + frames.goaway(3, 0))

    assert list(server.results) == [5]
    assert isinstance(server.results[5], NotLookedAt)
    assert server.ours.is_spent


def test_who_is_answered_before_he_has_said_all_stops():
    server = Server(window=100)
    server.run()
    server.ask(b"x" * 1000)

    server.ours.receive(
        frames.headers(1, b"\x88" + frames.field("grpc-status", "8"), end=True)
        + frames.window_update(1, 1000)
    )

    failed = server.results[1]
    assert isinstance(failed, CallFailed)
    assert failed.code == Code.RESOURCE_EXHAUSTED
    assert server.ours.take_output().endswith(frames.reset(1, 8))


def test_metadata_that_are_too_long_hold_no_place():
    server = Server()

    with pytest.raises(CallFailed) as failed:
        server.ask(b"", metadata=(("large", "x" * 20_000),))
    server.ask(b"tide")
    server.run()

    assert failed.value.code == Code.RESOURCE_EXHAUSTED
    assert server.results == {1: b"tidetide"}


def test_no_more_calls_have_room_than_the_other_side_allows():
    server = Server(streams=1)
    server.run()

    room_before = server.ours.has_room
    asked = server.ask(b"tide")
    room_beside = server.ours.has_room
    server.ours.cancel(asked, CallFailed(Code.CANCELLED, "gone"))

    assert (room_before, room_beside, server.ours.has_room) == (True, False, True)
    assert isinstance(server.results[1], CallFailed)
