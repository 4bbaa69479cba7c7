"""The server of threads over real sockets, asked by gRPC's own client."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import grpc
import pytest
from tidemill_chassis.rpc import frames
from tidemill_chassis.rpc.threads_server import UNSENT_BYTES_MAX

from tests.integration.chassis.rpc.sockets import (
    PATIENCE_S,
    Tides,
    eventually,
    grpc_channel,
    hear_all,
    method,
    open_channel,
    threads_serving,
)
from tests.unit.chassis.rpc.wire import GREETING, block, frames_of, message


@pytest.fixture
def tides() -> Tides:
    return Tides()


@pytest.fixture
def served(tmp_path, tides) -> Iterator[tuple]:
    with threads_serving(tmp_path, tides) as both:
        yield both


@pytest.fixture
def channel(served) -> Iterator[grpc.Channel]:
    with grpc_channel(served[1]) as made:
        yield made


def raw(path: str, said: bytes = b"") -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(PATIENCE_S)
    sock.connect(path)
    sock.sendall(said)
    return sock


def asked(stream: int, name: str, content: bytes = b"") -> bytes:
    fields = ((":method", "POST"), (":scheme", "http"), (":path", f"/t.T/{name}"))
    head = frames.headers(stream, block(("content-type", "application/grpc"), fields=fields), end=False)
    data = message(content)
    return head + frames.head(len(data), frames.DATA, frames.END_STREAM, stream) + data


def test_calls_that_are_held_up_do_not_hold_up_the_others(channel, tides):
    held = [method(channel, "Hold").future(b"", timeout=PATIENCE_S) for _ in range(2)]
    for _ in held:
        assert tides.held.acquire(timeout=PATIENCE_S)

    assert method(channel, "Double")(b"tide", timeout=PATIENCE_S) == b"tidetide"

    tides.freed.set()
    assert [each.result() for each in held] == [b"held"] * 2


def test_there_are_never_more_calls_at_work_than_there_may_be(channel, tides, served):
    held = [method(channel, "Hold").future(b"", timeout=PATIENCE_S) for _ in range(9)]
    for _ in range(4):
        assert tides.held.acquire(timeout=PATIENCE_S)

    assert not tides.held.acquire(timeout=0.1)
    tides.freed.set()

    assert [each.result() for each in held] == [b"held"] * 9
    assert tides.at_work_max == 4


def test_threads_that_came_for_held_up_calls_leave(channel, tides, served):
    server, _ = served
    held = [method(channel, "Hold").future(b"", timeout=PATIENCE_S) for _ in range(4)]
    for _ in held:
        assert tides.held.acquire(timeout=PATIENCE_S)
    most = server._places.threads

    tides.freed.set()

    assert [each.result() for each in held] == [b"held"] * 4
    assert most == 5
    eventually(lambda: server._places.threads == 3, "the extra threads' end")


@pytest.mark.parametrize("channels", [1, 4])
def test_every_caller_gets_his_own_answer(served, channels):
    wrong: list[object] = []
    opened = [open_channel(served[1]) for _ in range(channels)]
    doubles = [method(each, "Double") for each in opened]

    def caller(number: int) -> None:
        for turn in range(60):
            content = f"{number} {turn} ".encode() * (1 + turn * 50 % 700)
            try:
                if doubles[number % channels](content, timeout=PATIENCE_S) != content * 2:
                    wrong.append((number, turn))
            except grpc.RpcError as error:
                wrong.append(error)

    callers = [threading.Thread(target=caller, args=(number,)) for number in range(8)]
    for each in callers:
        each.start()
    for each in callers:
        each.join()
    for channel in opened:
        channel.close()

    assert not wrong


def test_a_message_of_20_mb_goes_both_ways(channel):
    content = bytes(range(256)) * (20 * 2**20 // 256)

    answer = method(channel, "Large")(str(len(content)).encode(), timeout=PATIENCE_S)

    assert len(answer) == len(content)
    assert method(channel, "Double")(content[: 15 * 2**20], timeout=PATIENCE_S) == content[: 15 * 2**20] * 2


@pytest.mark.parametrize("packed", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_requests_may_be_packed(channel, packed):
    content = b"ebb and flood " * 1000

    assert method(channel, "Double")(content, timeout=PATIENCE_S, compression=packed) == content * 2


def test_metadata_come_as_they_were_sent(channel):
    sent = (("tide", "high, low"), ("raw-bin", bytes(range(256))), ("raw-bin", b""))

    told = method(channel, "Told")(b"", timeout=PATIENCE_S, metadata=sent).decode()

    assert repr(("tide", "high, low")) in told
    assert repr(("raw-bin", bytes(range(256)))) in told
    assert repr(("raw-bin", b"")) in told


def test_an_error_comes_with_its_text_and_metadata(channel):
    text = "Häuser\nunter 100 % Wasser \U0001f30a"

    with pytest.raises(grpc.RpcError) as failed:
        method(channel, "Fail")(text.encode(), timeout=PATIENCE_S)

    assert failed.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert failed.value.details() == text
    assert dict(failed.value.trailing_metadata()) == {"tide": "low", "raw-bin": b"\0\xff"}


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("Break", grpc.StatusCode.UNKNOWN),
        ("Nothing", grpc.StatusCode.UNKNOWN),
        ("None", grpc.StatusCode.UNIMPLEMENTED),
    ],
)
def test_what_goes_wrong_is_told_and_the_next_call_answered(channel, name, code):
    for _ in range(6):  # more than there are threads
        with pytest.raises(grpc.RpcError) as failed:
            method(channel, name)(b"", timeout=PATIENCE_S)
        assert failed.value.code() == code

    assert method(channel, "Double")(b"tide", timeout=PATIENCE_S) == b"tidetide"


def test_a_call_whose_caller_has_gone_is_known_to_be_no_more_waited_for(channel, tides):
    held = method(channel, "Hold").future(b"", timeout=PATIENCE_S)
    assert tides.held.acquire(timeout=PATIENCE_S)
    (call,) = tides.seen
    assert call.active

    held.cancel()

    eventually(lambda: not call.active, "the cancellation")


def test_a_deadline_ends_a_call_that_is_held_up(channel, tides):
    timeouts_s = iter((0.05, 1.0, 10.0))
    while not tides.seen:  # a slow machine may be too late for a short one
        with pytest.raises(grpc.RpcError) as failed:
            method(channel, "Hold")(b"", timeout=next(timeouts_s))
        assert failed.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED

    call = tides.seen[0]
    assert call.deadline_s is not None
    eventually(lambda: not call.active, "the deadline")


def test_a_request_over_the_limit_is_refused(tmp_path, tides):
    with threads_serving(tmp_path, tides, message_bytes_max=1000) as (_, path), grpc_channel(path) as channel:
        with pytest.raises(grpc.RpcError) as failed:
            method(channel, "Double")(bytes(100_000), timeout=PATIENCE_S)
        assert method(channel, "Double")(bytes(1000), timeout=PATIENCE_S) == bytes(2000)

    assert failed.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_metadata_over_the_limit_end_their_call_and_no_other(channel, tides):
    held = method(channel, "Hold").future(b"", timeout=PATIENCE_S)
    assert tides.held.acquire(timeout=PATIENCE_S)

    with pytest.raises(grpc.RpcError) as failed:
        method(channel, "Double")(b"", timeout=PATIENCE_S, metadata=(("large", "x" * 20_000),))
    tides.freed.set()

    assert failed.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert held.result() == b"held"


def test_who_never_reads_is_not_read_from_and_holds_up_nobody(served, channel):
    deaf = raw(served[1], GREETING)
    deaf.setblocking(False)
    said, number, blocked_since_s = 0, 1, None
    until_s = time.monotonic() + PATIENCE_S
    while blocked_since_s is None or time.monotonic() - blocked_since_s < 0.2:
        assert time.monotonic() < until_s, "all was read"
        try:
            said += deaf.send(b"".join(asked(number + 2 * each, "None") for each in range(500)))
            number += 1000
            blocked_since_s = None
        except BlockingIOError:
            blocked_since_s = blocked_since_s or time.monotonic()
            time.sleep(0.01)

    assert said < 64 * UNSENT_BYTES_MAX
    assert method(channel, "Double")(b"tide", timeout=PATIENCE_S) == b"tidetide"
    deaf.close()


def test_who_never_reads_a_large_answer_holds_up_nobody(served, channel):
    greeting = frames.PREFACE + frames.settings({frames.INITIAL_WINDOW_SIZE: 2**30})
    deaf = raw(served[1], greeting + frames.window_update(0, 2**30) + asked(1, "Large", b"10000000"))
    small = raw(served[1], GREETING + asked(1, "Large", b"10000000"))

    assert method(channel, "Double")(b"tide", timeout=PATIENCE_S) == b"tidetide"
    deaf.close()
    small.close()


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\nHost: t\r\n\r\n", bytes(100), GREETING + bytes(9)])
def test_who_speaks_something_else_is_left(served, channel, said):
    stranger = raw(served[1], said)

    hear_all(stranger)

    assert method(channel, "Double")(b"tide", timeout=PATIENCE_S) == b"tidetide"


def test_who_says_nothing_is_left_after_a_while(tmp_path, tides, monkeypatch):
    monkeypatch.setattr("tidemill_chassis.rpc.threads_server.SWEEP_S", 0.02)
    monkeypatch.setattr("tidemill_chassis.rpc.threads_server.GREETING_S_MAX", 0.05)
    with threads_serving(tmp_path, tides) as (_, path):
        heard = [hear_all(raw(path, said)) for said in (b"", frames.PREFACE[:5], frames.PREFACE)]

    assert all(frames_of(each)[0].kind == frames.SETTINGS for each in heard)


def test_who_opens_no_window_is_left_after_a_while(tmp_path, tides, monkeypatch):
    monkeypatch.setattr("tidemill_chassis.rpc.threads_server.SWEEP_S", 0.02)
    monkeypatch.setattr("tidemill_chassis.rpc.threads_server.STALLED_S_MAX", 0.05)
    with threads_serving(tmp_path, tides) as (_, path):
        heard = frames_of(hear_all(raw(path, GREETING + asked(1, "Large", b"100000"))))

    assert sum(len(each.payload) for each in heard if each.kind == frames.DATA) == 65_535


def test_the_place_of_who_has_left_is_taken_by_the_next(tmp_path, tides, monkeypatch):
    monkeypatch.setattr("tidemill_chassis.rpc.threads_server.CONNECTIONS_MAX", 2)
    monkeypatch.setattr("tidemill_chassis.rpc.threads_server.SWEEP_S", 0.02)
    with threads_serving(tmp_path, tides) as (server, path):
        first = [raw(path, GREETING) for _ in range(2)]
        eventually(lambda: len(server._peers) == 2, "the first two")
        waiting = raw(path, GREETING + asked(1, "Double", b"tide"))
        first[0].close()

        heard = b""
        while b"tidetide" not in heard:
            heard += waiting.recv(1000)
        assert len(server._peers) <= 2


def test_a_thread_that_cannot_be_started_is_done_without(tmp_path, tides, monkeypatch):
    with threads_serving(tmp_path, tides, at_once=1, most=8) as (_, path), grpc_channel(path) as channel:

        def none_left(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        assert method(channel, "Double")(b"tide", timeout=PATIENCE_S) == b"tidetide"
        held = [method(channel, "Hold").future(b"", timeout=PATIENCE_S) for _ in range(5)]
        monkeypatch.setattr(threading.Thread, "start", none_left)
        assert tides.held.acquire(timeout=PATIENCE_S)
        tides.freed.set()
        monkeypatch.undo()

        assert [each.result() for each in held] == [b"held"] * 5
        assert method(channel, "Double")(b"tide", timeout=PATIENCE_S) == b"tidetide"


def ended(server, drain_s: float = PATIENCE_S) -> threading.Thread:
    """A thread in which the server drains, once it has said goodbye."""
    thread = threading.Thread(target=server.close, args=(drain_s,))
    thread.start()
    return thread


def test_calls_under_way_are_answered_before_the_end(served, channel, tides):
    server, _ = served
    held = [method(channel, "Hold").future(b"", timeout=PATIENCE_S) for _ in range(9)]
    assert tides.held.acquire(timeout=PATIENCE_S)
    eventually(lambda: server._places.calls == 9, "all nine")

    end = ended(server)
    eventually(lambda: all(each.connection.closing for each in server._peers.values()), "the farewell")
    assert end.is_alive()
    tides.freed.set()
    end.join()

    assert [each.result() for each in held] == [b"held"] * 9


def test_a_request_that_has_begun_is_taken_and_answered_before_the_end(served):
    server, path = served
    whole = asked(1, "Double", b"tide")
    caller = raw(path, GREETING + whole[:-3])
    eventually(lambda: any(each.connection.streams for each in server._peers.values()), "the request")

    end = ended(server)
    eventually(lambda: all(each.connection.closing for each in server._peers.values()), "the farewell")
    caller.sendall(whole[-3:] + asked(3, "Double", b"late"))
    heard = frames_of(hear_all(caller))
    end.join()

    assert [each.payload[5:] for each in heard if each.kind == frames.DATA] == [b"tidetide"]
    assert (frames.RST_STREAM, 0, 3, b"\0\0\0\7") in heard


def test_an_answer_that_waits_for_a_window_goes_out_before_the_end(served):
    server, path = served
    caller = raw(path, GREETING + asked(1, "Large", b"100000"))
    eventually(lambda: any(each.connection._stuck for each in server._peers.values()), "the stop")

    end = ended(server)
    caller.sendall(frames.window_update(0, 100_000) + frames.window_update(1, 100_000))
    heard = frames_of(hear_all(caller))
    end.join()

    assert sum(len(each.payload) for each in heard if each.kind == frames.DATA) == 100_005


def test_the_end_does_not_wait_longer_than_it_may(served, channel, tides):
    held = method(channel, "Hold").future(b"", timeout=PATIENCE_S)
    assert tides.held.acquire(timeout=PATIENCE_S)

    ended(served[0], 0.05).join(PATIENCE_S)

    assert not tides.freed.is_set()
    assert held.code() == grpc.StatusCode.UNAVAILABLE


def test_its_threads_leave_at_the_end(served, channel):
    method(channel, "Double")(b"", timeout=PATIENCE_S)
    served[0].close(0.0)

    eventually(lambda: not any(each.name.startswith("rpc-") for each in threading.enumerate()), "their end")
