"""Answers calls in threads that wait, read, compute and write, each of them all of it.

A call is computed by the thread that read it: no queue, no wakening of another thread between the socket and
the model. For one call of 3 kB that computes nothing, the process took 0.10 ms of CPU with one caller and
0.055 with four, where grpcio's server took 0.44 and 0.30 (docs/adr/0067).

Which call is computed when is for `places`.
"""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import monotonic

from tidemill_chassis.logs import get_logger
from tidemill_chassis.rpc.codes import CallFailed, Code, ConnectionFault, Metadata
from tidemill_chassis.rpc.places import HELD_UP_S, Places
from tidemill_chassis.rpc.serving_side import Call, ServingConnection

log = get_logger(__name__)

CONNECTIONS_MAX = 4_096
"""Open at once; further ones wait in the kernel's queue."""

STREAMS_MAX = 2_048
"""Calls that one connection may have open."""

GREETING_S_MAX = 20.0
"""A connection that has not said by then that it speaks HTTP/2 is closed."""

STALLED_S_MAX = 60.0
"""A connection that takes nothing for so long, while something waits for it, is closed."""

UNSENT_BYTES_MAX = 2**20
"""From a connection that leaves so much untaken, beside what is being sent, nothing more is read."""

READ_BYTES = 256 * 1024
SWEEP_S = 2.0
DRAIN_LOOK_S = 0.01
BACKLOG = 1_024

Handler = Callable[[Call], bytes]
"""Makes a call's answer of its message; raises CallFailed. Anything else that it raises is UNKNOWN."""

Watcher = Callable[[Call], None]
"""Begins an answer of many messages, by `ThreadsServer.push`; it does not wait."""


class _Peer:
    """A connection and its socket. `lock` is held by whoever reads into it or writes to it."""

    __slots__ = ("connection", "lock", "since_s", "sock", "unsent")

    def __init__(self, sock: socket.socket, connection: ServingConnection) -> None:
        self.sock = sock
        self.connection = connection
        self.lock = threading.Lock()
        self.unsent: bytes | memoryview = b""
        """What the socket did not take; what follows it is still the connection's output."""
        self.since_s = monotonic()
        """When it came; then, when the socket last took something, or had to be waited for."""


class ThreadsServer:
    """Serves while it is started; `close` drains.

    handlers: by the method's full name, ``/package.Service/Method``. at_once: calls at work, without those
    that are held up. most: calls at work in all. message_bytes_max: of one request. streams_max: calls that
    one connection may have open.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        watchers: Mapping[str, Watcher],
        *,
        at_once: int,
        most: int,
        message_bytes_max: int,
        streams_max: int = STREAMS_MAX,
    ) -> None:
        self._handlers = dict(handlers)
        self._watchers = dict(watchers)
        self._paths = frozenset(self._handlers) | frozenset(self._watchers)
        self._message_bytes_max = message_bytes_max
        self._streams_max = streams_max
        self._poller = select.epoll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poller.register(self._wake, select.EPOLLIN | select.EPOLLET)  # each write wakes one thread
        self._listeners: dict[int, socket.socket] = {}
        self._peers: dict[int, _Peer] = {}
        self._places = Places(
            at_once=at_once, most=most, start_thread=self._start_thread, wake=self._wake_one
        )
        self._draining = False
        self._closed = threading.Event()

    def listen(self, sock: socket.socket) -> None:
        """Take connections from a bound socket, which is the server's from now on."""
        sock.listen(BACKLOG)
        sock.setblocking(False)
        self._listeners[sock.fileno()] = sock
        self._poller.register(sock.fileno(), select.EPOLLIN | select.EPOLLONESHOT)

    def start(self) -> None:
        """Begin to answer."""
        self._places.open()
        threading.Thread(target=self._sweep, name="rpc-sweep", daemon=True).start()

    def close(self, drain_s: float) -> None:
        """Take no more calls, wait so long for those that were taken, close every connection."""
        self._draining = True
        for fd, sock in list(self._listeners.items()):
            self._poller.unregister(fd)
            sock.close()
        self._listeners.clear()
        for peer in list(self._peers.values()):
            with peer.lock:
                peer.connection.say_goodbye()
                peer.connection.closing = True
                self._write(peer)
        until_s = monotonic() + drain_s
        while self._is_busy() and monotonic() < until_s:
            self._closed.wait(DRAIN_LOOK_S)
        self._closed.set()
        self._wake_one()
        for peer in list(self._peers.values()):
            self._drop(peer)

    def _is_busy(self) -> bool:
        if self._places.calls:
            return True
        return any(peer.unsent or peer.connection.owes for peer in list(self._peers.values()))

    def push(self, call: Call, message: bytes) -> None:
        """One message of a watcher's call."""
        peer = self._peer_of(call)
        if peer is None:
            return
        with peer.lock:
            if not call.begun:
                call.connection.begin(call)
            call.connection.push(call, message)
            self._write(peer)

    # The threads.

    def _start_thread(self, number: int) -> bool:
        thread = threading.Thread(target=self._loop, args=(number,), name=f"rpc-{number}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the machine has no more of them; those that are there go on
            log.error("rpc_thread_not_started", number=number, error=error)
            return False
        return True

    def _wake_one(self) -> None:
        os.eventfd_write(self._wake, 1)

    def _loop(self, number: int) -> None:
        poll, places = self._poller.poll, self._places
        while not self._closed.is_set():
            try:
                events = poll(HELD_UP_S if places.has_waiting else SWEEP_S, 1)
                for fd, event in events:
                    self._on_event(fd, event)
            except Exception as error:  # noqa: BLE001  (a thread that ends would be missed for ever)
                log.error("rpc_thread_failed", error=error)
            if places.has_waiting:
                call = places.begin(number)
                while call is not None:
                    try:
                        self._do(call)
                    except Exception as error:  # noqa: BLE001  (as above; the caller is to know at once)
                        log.error("rpc_answer_failed", error=error)
                        self._drop_caller(call)
                    call = places.next(number)
                if places.is_spare():
                    return
        self._wake_one()  # so the next one ends, too

    def _do(self, call: Call) -> None:
        error: CallFailed | None = None
        message = b""
        try:
            watcher = self._watchers.get(call.path)
            if watcher is not None:
                watcher(call)
                return
            if not call.active:
                return
            message = self._handlers[call.path](call)
            if not isinstance(message, bytes):
                raise TypeError(f"an answer that is no bytes but {type(message).__name__}")
        except CallFailed as failed:
            error = failed
        except Exception as failed:  # noqa: BLE001  (the caller is told, and the thread lives)
            log.error("call_failed", error=failed)
            error = CallFailed(Code.UNKNOWN, f"Exception calling application: {failed}")
        self._answer(call, message, error)

    def _answer(self, call: Call, message: bytes, error: CallFailed | None, metadata: Metadata = ()) -> None:
        peer = self._peer_of(call)
        if peer is None:
            return
        with peer.lock:
            if error is None:
                call.connection.answer(call, message, metadata)
            else:
                call.connection.fail(call, error)
            self._write(peer)

    def _peer_of(self, call: Call) -> _Peer | None:
        peer = call.owner
        return peer if isinstance(peer, _Peer) else None

    # The sockets.

    def _on_event(self, fd: int, event: int) -> None:
        listener = self._listeners.get(fd)
        if listener is not None:
            self._accept(listener)
            return
        peer = self._peers.get(fd)
        if peer is None:
            return
        with peer.lock:
            try:
                if event & select.EPOLLOUT:
                    self._write(peer)
                if event & ~select.EPOLLOUT:
                    self._read(peer)
            except Exception as error:  # noqa: BLE001  (of one connection; nobody would look at it again)
                self._fault(peer, error)
                return
            self._watch(peer)

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            self._listen_on(listener)  # gone again
            return
        except OSError:
            return  # no file descriptor is left: the next sweep listens on
        if len(self._peers) + 1 < CONNECTIONS_MAX:
            self._listen_on(listener)
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection = ServingConnection(
            self._paths, message_bytes_max=self._message_bytes_max, streams_max=self._streams_max
        )
        connection.peer = f"ipv4:{address[0]}:{address[1]}" if isinstance(address, tuple) else "unix:"
        connection.closing = self._draining
        peer = _Peer(sock, connection)
        self._peers[sock.fileno()] = peer
        with peer.lock:
            self._poller.register(sock.fileno(), select.EPOLLONESHOT)
            self._write(peer)
            self._watch(peer)

    def _listen_on(self, listener: socket.socket) -> None:
        with suppress(OSError, ValueError):  # closed meanwhile
            self._poller.modify(listener.fileno(), select.EPOLLIN | select.EPOLLONESHOT)

    def _read(self, peer: _Peer) -> None:
        try:
            data = peer.sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            raise ConnectionResetError("the other side has closed")
        connection = peer.connection
        connection.receive(data)
        calls = connection.take_calls()
        connection.take_cancelled()  # `active` tells whoever asks
        for call in calls:
            if not call.active:
                continue  # it was asked and cancelled in the same breath
            call.owner = peer
            if not self._places.offer(call):
                connection.fail(call, CallFailed(Code.RESOURCE_EXHAUSTED, "too many calls wait here"))
        if connection.has_output:
            self._write(peer)

    def _write(self, peer: _Peer) -> None:
        """With its lock held: as much as the socket takes."""
        waited = bool(peer.unsent)
        unsent = peer.unsent or peer.connection.take_output()
        while unsent:
            try:
                sent = peer.sock.send(unsent)
            except BlockingIOError:
                sent = 0
            except OSError:
                break  # reading will tell
            if sent or not waited:
                peer.since_s = monotonic()
            if sent < len(unsent):
                peer.unsent = memoryview(unsent)[sent:]
                if not waited:
                    self._watch(peer)
                return
            unsent = peer.connection.take_output()  # what came while it waited
        peer.unsent = b""

    def _watch(self, peer: _Peer) -> None:
        """With its lock held."""
        events = select.EPOLLIN | select.EPOLLONESHOT
        if peer.unsent:
            events |= select.EPOLLOUT
            if peer.connection.output_bytes > UNSENT_BYTES_MAX:
                events ^= select.EPOLLIN
        with suppress(OSError, ValueError):  # closed meanwhile
            self._poller.modify(peer.sock.fileno(), events)

    def _fault(self, peer: _Peer, error: Exception) -> None:
        if isinstance(error, ConnectionFault):
            log.info("rpc_connection_refused", peer=peer.connection.peer, reason=str(error))
            self._write(peer)
        elif not isinstance(error, OSError):
            log.error("rpc_connection_failed", peer=peer.connection.peer, error=error)
        self._forget(peer)

    def _drop_caller(self, call: Call) -> None:
        peer = self._peer_of(call)
        if peer is not None:
            self._drop(peer)

    def _drop(self, peer: _Peer) -> None:
        with peer.lock:
            self._forget(peer)

    def _forget(self, peer: _Peer) -> None:
        """With its lock held."""
        peer.connection.abandon()
        fd = peer.sock.fileno()
        if fd >= 0 and self._peers.pop(fd, None) is not None:
            with suppress(OSError, ValueError):  # closed meanwhile
                self._poller.unregister(fd)
            peer.sock.close()

    def _sweep(self) -> None:
        """Close who does not speak, and who does not listen."""
        while not self._closed.wait(SWEEP_S):
            now_s = monotonic()
            if len(self._peers) < CONNECTIONS_MAX:
                for listener in list(self._listeners.values()):
                    self._listen_on(listener)
            for peer in list(self._peers.values()):
                silent = not peer.connection.greeted and now_s - peer.since_s > GREETING_S_MAX
                stalled = peer.unsent and now_s - peer.since_s > STALLED_S_MAX
                if silent or stalled or peer.connection.stuck_s(now_s) > STALLED_S_MAX:
                    self._drop(peer)
