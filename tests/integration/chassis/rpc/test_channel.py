"""The channel of an event loop, before gRPC's own server."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

import grpc
import pytest
from tidemill_chassis.rpc import frames
from tidemill_chassis.rpc.channel import Channel
from tidemill_chassis.rpc.codes import CallFailed, Code

from tests.integration.chassis.rpc.sockets import LARGE, PATIENCE_S, eventually
from tests.unit.chassis.rpc.wire import frame, message

TEXT = "Häuser\nunter 100 % Wasser \U0001f30a"


class Answers(grpc.GenericRpcHandler):
    """What gRPC's server does with each method."""

    def __init__(self) -> None:
        self.freed = threading.Event()
        self.held = threading.Semaphore(0)
        self.gone = threading.Event()
        self.told: list[tuple[str, str | bytes]] = []

    def service(self, details: Any) -> Any:
        name = details.method.rpartition("/")[2].lower()
        made = getattr(self, name, None)
        return None if made is None else grpc.unary_unary_rpc_method_handler(made)

    def double(self, content: bytes, context: Any) -> bytes:
        self.told = list(context.invocation_metadata())
        return content * 2

    def large(self, content: bytes, context: Any) -> bytes:
        return bytes(int(content))

    def hold(self, content: bytes, context: Any) -> bytes:
        if not context.add_callback(self.gone.set):
            self.gone.set()
        self.held.release()
        self.freed.wait(PATIENCE_S)
        return b"held"

    def fail(self, content: bytes, context: Any) -> bytes:
        context.set_trailing_metadata((("tide", "low"), ("raw-bin", b"\0\xff")))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, TEXT)
        raise AssertionError


class Served:
    """gRPC's server on a Unix socket; it can be stopped, and started again there."""

    def __init__(self, path: str, answers: Answers) -> None:
        self.target = f"unix:{path}"
        self.answers = answers
        self._server: Any = None

    def start(self, *options: tuple[str, int]) -> None:
        limits = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), *options]
        self._server = grpc.server(ThreadPoolExecutor(4), [self.answers], options=limits)
        self._server.add_insecure_port(self.target)
        self._server.start()

    def stop(self, grace_s: float = 0.0) -> threading.Event:
        stopped: threading.Event = self._server.stop(grace_s)
        return stopped


@pytest.fixture
def served(tmp_path) -> Iterator[Served]:
    made = Served(str(tmp_path / "grpc.sock"), Answers())
    made.start()
    yield made
    made.answers.freed.set()
    made.stop().wait()


def run(target: str, talk: Callable[[Channel], Coroutine[Any, Any, Any]]) -> Any:
    """What the talk over a channel gives."""

    async def whole() -> Any:
        channel = Channel(target, message_bytes_max=LARGE)
        try:
            return await asyncio.wait_for(talk(channel), PATIENCE_S)
        finally:
            await channel.close()

    return asyncio.run(whole())


def ask(channel: Channel, name: str, content: bytes = b"", **more: Any) -> Coroutine[Any, Any, bytes]:
    return channel.call(f"/t.T/{name}", content, more.pop("timeout_s", PATIENCE_S), **more)


async def until(is_so: Callable[[], object]) -> None:
    await asyncio.to_thread(eventually, is_so)


def test_every_caller_gets_his_own_answer(served):
    async def talk(channel: Channel) -> list[bytes]:
        return await asyncio.gather(*[ask(channel, "Double", b"%d " % number) for number in range(200)])

    assert run(served.target, talk) == [b"%d " % number * 2 for number in range(200)]


def test_large_messages_go_both_ways(served):
    content = bytes(range(256)) * (15 * 2**20 // 256)

    async def talk(channel: Channel) -> list[bytes]:
        return list(await asyncio.gather(ask(channel, "Double", content), ask(channel, "Large", b"20000000")))

    doubled, large = run(served.target, talk)
    assert doubled == content * 2
    assert large == bytes(20_000_000)


def test_metadata_come_as_they_were_sent(served):
    sent = (("tide", "high, low"), ("raw-bin", bytes(range(256))))

    run(served.target, lambda channel: ask(channel, "Double", b"", metadata=sent))

    assert set(sent) <= {(each.key, each.value) for each in served.answers.told}


def failure(target: str, talk: Callable[[Channel], Coroutine[Any, Any, Any]]) -> CallFailed:
    with pytest.raises(CallFailed) as failed:
        run(target, talk)
    return failed.value


def test_an_error_comes_with_its_text_and_metadata(served):
    failed = failure(served.target, lambda channel: ask(channel, "Fail"))

    assert (failed.code, failed.text) == (Code.FAILED_PRECONDITION, TEXT)
    assert set(failed.metadata) == {("tide", "low"), ("raw-bin", b"\0\xff")}


def test_a_method_that_there_is_not_is_told(served):
    assert failure(served.target, lambda channel: ask(channel, "None")).code == Code.UNIMPLEMENTED


def test_an_answer_over_the_limit_is_refused(served):
    async def talk(channel: Channel) -> bytes:
        with pytest.raises(CallFailed) as failed:
            await ask(channel, "Large", str(LARGE + 1).encode())
        assert failed.value.code == Code.RESOURCE_EXHAUSTED
        return await ask(channel, "Double", b"tide")

    assert run(served.target, talk) == b"tidetide"


def test_a_deadline_ends_the_call_on_both_sides(served):
    timeouts_s = iter((0.1, 1.0, 10.0))
    begun = False
    while not begun:  # a slow machine may be too late for a short one
        timeout_s = next(timeouts_s)
        failed = failure(served.target, partial(ask, name="Hold", timeout_s=timeout_s))
        assert failed.code == Code.DEADLINE_EXCEEDED
        begun = served.answers.held.acquire(timeout=timeout_s)

    assert served.answers.gone.wait(PATIENCE_S)


def test_a_caller_who_goes_ends_the_call_at_the_server(served):
    async def talk(channel: Channel) -> bytes:
        task = asyncio.create_task(ask(channel, "Hold"))
        await until(lambda: served.answers.held.acquire(blocking=False))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(served.answers.gone.is_set)
        return await ask(channel, "Double", b"tide")

    assert run(served.target, talk) == b"tidetide"


def test_a_server_that_comes_back_is_found_again(served):
    async def answered(channel: Channel) -> bool:
        try:
            return await ask(channel, "Double", b"tide") == b"tidetide"
        except CallFailed as error:
            if error.code != Code.UNAVAILABLE:
                raise
            return False

    async def talk(channel: Channel) -> float:
        assert await answered(channel)
        await asyncio.to_thread(served.stop().wait)
        while await answered(channel):
            await asyncio.sleep(0.01)
        served.start()
        back_s = time.monotonic()
        while not await answered(channel):
            await asyncio.sleep(0.01)
        return time.monotonic() - back_s

    assert run(served.target, talk) < 10


def test_calls_under_way_are_answered_by_a_server_that_says_goodbye(served):
    async def talk(channel: Channel) -> list[bytes]:
        held = [asyncio.create_task(ask(channel, "Hold")) for _ in range(4)]
        for _ in held:
            await until(lambda: served.answers.held.acquire(blocking=False))
        stopped = served.stop(PATIENCE_S)
        await until(lambda: channel._link is None)
        served.answers.freed.set()
        answers = await asyncio.gather(*held)
        await asyncio.to_thread(stopped.wait)
        return answers

    assert run(served.target, talk) == [b"held"] * 4


def test_where_one_call_may_be_open_all_have_their_turn(tmp_path):
    server = Served(str(tmp_path / "one.sock"), Answers())
    server.start(("grpc.max_concurrent_streams", 1))

    async def talk(channel: Channel) -> list[bytes]:
        await ask(channel, "Double")  # by then the limit is known
        return await asyncio.gather(*[ask(channel, "Double", b"%d " % number) for number in range(50)])

    try:
        assert run(server.target, talk) == [b"%d " % number * 2 for number in range(50)]
    finally:
        server.stop().wait()


def test_who_gives_up_waiting_for_room_does_not_keep_it(tmp_path):
    server = Served(str(tmp_path / "one.sock"), Answers())
    server.start(("grpc.max_concurrent_streams", 1))

    async def talk(channel: Channel) -> bytes:
        await ask(channel, "Double")
        held = asyncio.create_task(ask(channel, "Hold"))
        await until(lambda: server.answers.held.acquire(blocking=False))
        waiting = [asyncio.create_task(ask(channel, "Double", b"tide")) for _ in range(3)]
        await asyncio.sleep(0)
        held.add_done_callback(lambda _: asyncio.get_running_loop().call_soon(waiting[0].cancel))
        waiting[1].cancel()
        server.answers.freed.set()
        assert await held == b"held"
        return await waiting[2]

    try:
        assert run(server.target, talk) == b"tidetide"
    finally:
        server.stop().wait()


def test_where_nobody_listens_calls_fail_at_once(tmp_path):
    target = f"unix:{tmp_path}/none.sock"

    async def talk(channel: Channel) -> list[Any]:
        return await asyncio.gather(*[ask(channel, "Double") for _ in range(3)], return_exceptions=True)

    failed = run(target, talk)
    assert [each.code for each in failed] == [Code.UNAVAILABLE] * 3
    assert "none.sock" in failed[0].text


def test_a_closed_channel_ends_its_calls(served):
    async def talk(channel: Channel) -> list[Any]:
        held = asyncio.create_task(ask(channel, "Hold"))
        await until(lambda: served.answers.held.acquire(blocking=False))
        await channel.close()
        late = asyncio.create_task(ask(channel, "Double"))
        return list(await asyncio.gather(held, late, return_exceptions=True))

    assert [each.code for each in run(served.target, talk)] == [Code.CANCELLED] * 2


def test_a_channel_that_is_closed_while_it_connects_ends_its_calls(tmp_path, monkeypatch):
    async def never(*_: object) -> object:
        return await asyncio.get_running_loop().create_future()

    async def talk(channel: Channel) -> list[Any]:
        monkeypatch.setattr(channel, "_connect", never)
        asked = asyncio.create_task(ask(channel, "Double"))
        await asyncio.sleep(0)
        await channel.close()
        return list(await asyncio.gather(asked, return_exceptions=True))

    (failed,) = run("nowhere:1", talk)
    assert failed.code == Code.CANCELLED


def hear(sock: socket.socket, awaited: bytes) -> None:
    """Until it was said, or nothing more is."""
    heard = b""
    while awaited not in heard and (more := sock.recv(65536)):
        heard += more


class Scripted:
    """A server of turns: once a connection has said the first of one, it is told the second."""

    def __init__(self, *turns: tuple[bytes, bytes]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.target = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._connections: list[socket.socket] = []
        self._turns = turns
        self._closing = False
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            if self._closing:
                sock.close()
                return
            self._connections.append(sock)
            sock.settimeout(PATIENCE_S)
            with suppress(OSError):
                for awaited, told in self._turns:
                    hear(sock, awaited)
                    sock.sendall(told)

    def close(self) -> None:
        self._closing = True
        socket.create_connection(self._listener.getsockname()).close()
        self._thread.join(PATIENCE_S)
        for each in (*self._connections, self._listener):
            each.close()


@pytest.fixture
def scripted() -> Iterator[Callable[..., Scripted]]:
    made: list[Scripted] = []

    def make(*turns: tuple[bytes, bytes]) -> Scripted:
        made.append(Scripted(*turns))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize(
    "said",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", frames.ping(bytes(8), ack=True), bytes(9), b"\x7f" * 99],
)
def test_a_server_that_speaks_something_else_is_unavailable(scripted, said):
    server = scripted((frames.PREFACE, said))

    failed = failure(server.target, lambda channel: ask(channel, "Double"))

    assert failed.code == Code.UNAVAILABLE
    assert "broke a rule" in failed.text


def test_a_call_that_is_refused_is_asked_again_but_not_for_ever(scripted):
    ask_it = b"/t.T/Double"
    first = (ask_it, frames.settings({}) + frames.reset(1, 7))
    server = scripted(first, (ask_it, frames.reset(3, 7)), (ask_it, frames.reset(5, 7)))

    failed = failure(server.target, lambda channel: ask(channel, "Double"))

    assert failed.code == Code.UNAVAILABLE
    assert "reset" in failed.text


def test_a_call_that_was_refused_once_is_answered(scripted):
    ok = frames.headers(3, frames.field("grpc-status", "0"), end=True)
    answer = frames.headers(3, b"\x88", end=False) + frame(frames.DATA, 0, 3, message(b"tide")) + ok
    ask_it = b"/t.T/Double"
    server = scripted((ask_it, frames.settings({}) + frames.reset(1, 7)), (ask_it, answer))

    assert run(server.target, lambda channel: ask(channel, "Double")) == b"tide"


def test_an_answer_in_many_small_frames_comes_whole(scripted):
    whole = message(b"tide" * 100)
    data = b"".join(frame(frames.DATA, 0, 1, whole[at : at + 1]) for at in range(len(whole)))
    ok = frames.headers(1, frames.field("grpc-status", "0"), end=True)
    answer = frames.settings({}) + frames.headers(1, b"\x88", end=False) + data + ok
    server = scripted((b"/t.T/Double", answer))

    assert run(server.target, lambda channel: ask(channel, "Double")) == b"tide" * 100


def test_what_waits_for_a_server_that_takes_nothing_is_bounded(scripted, monkeypatch):
    monkeypatch.setattr("tidemill_chassis.rpc.channel.UNSENT_BYTES_MAX", 10_000_000)
    window = frames.settings({frames.INITIAL_WINDOW_SIZE: 2**30}) + frames.window_update(0, 2**30)
    server = scripted((b"/t.T/None", window))

    async def talk(channel: Channel) -> list[Any]:
        first = asyncio.create_task(ask(channel, "None"))
        await until(lambda: channel._link and channel._link.connection._send_window > 2**29)
        first.cancel()
        calls = [asyncio.create_task(ask(channel, "Double", bytes(10**7), timeout_s=0.5)) for _ in range(9)]
        return list(await asyncio.gather(*calls, return_exceptions=True))

    codes = [each.code for each in run(server.target, talk)]
    assert set(codes) == {Code.DEADLINE_EXCEEDED, Code.UNAVAILABLE}
