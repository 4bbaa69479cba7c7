"""Ingest under gunicorn, on a real broker and a real store."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tidemill_chassis.adapters.redis_bus import RedisBus
from tidemill_contracts.envelope import from_message
from tidemill_contracts.events import SamplesReceived

MEMORY_MB_MAX = 150
AWKWARD_S_MAX = 20.0
MEDIAN_WAIT_S_MAX = 1.0
WAIT_S_MAX = 20.0


def post(url: str, body: bytes, content_type: str = "application/json") -> tuple[int, Any, dict[str, str]]:
    """Status, JSON body and headers of the answer."""
    request = urllib.request.Request(url, data=body, headers={"Content-Type": content_type})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  (our own process, over http)
            return answer.status, json.loads(answer.read()), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read()), dict(error.headers)


def samples(*images: bytes, dataset: str = "digits") -> bytes:
    listed = [{"label": "1", "image": base64.b64encode(image).decode()} for image in images]
    return json.dumps({"dataset": dataset, "samples": listed}).encode()


def published(url: str) -> list[SamplesReceived]:
    bus = RedisBus.from_url(url)
    reader = bus.subscribe("samples", "test")
    events: list[SamplesReceived] = []
    while deliveries := reader.pull(100, 0.05):
        events += [from_message(delivery.message, SamplesReceived) for delivery in deliveries]
        reader.acknowledge([delivery.ack_id for delivery in deliveries])
    bus.close()
    return events


def test_what_is_answered_is_on_the_broker(ingest: Any, redis_url: str, digit: bytes) -> None:
    status, answer, _ = post(ingest.url("/v1/samples"), samples(digit, digit))

    (event,) = published(redis_url)
    assert status == 202
    assert [sample.id for sample in event.samples] == answer["ids"]
    assert [sample.content() for sample in event.samples] == [digit, digit]


def test_files_are_taken_by_form(ingest: Any, redis_url: str, digit: bytes) -> None:
    lines = [b"--x", b'Content-Disposition: form-data; name="dataset"', b"", b"digits"]
    lines += [b"--x", b'Content-Disposition: form-data; name="label"', b"", b"2"]
    for name in ("一.png", "../../etc/passwd"):
        disposition = f'Content-Disposition: form-data; name="file"; filename="{name}"'.encode()
        lines += [b"--x", disposition, b"", digit]
    lines += [b"--x--", b""]

    status, answer, _ = post(ingest.url("/v1/files"), b"\r\n".join(lines), "multipart/form-data; boundary=x")

    (event,) = published(redis_url)
    assert (status, answer["accepted"]) == (202, 2)
    assert [sample.label for sample in event.samples] == ["2", "2"]


def test_a_dropped_file_reaches_the_broker(
    ingest: Any, redis_url: str, digit: bytes, eventually: Callable[..., None]
) -> None:
    folder = ingest.store / "inbox" / "digits" / "2"
    folder.mkdir(parents=True)

    (folder / "seven.png").write_bytes(digit)
    (folder / "text.jpg").write_bytes(b"only text")
    done, refused = ingest.store / "inbox-done", ingest.store / "inbox-refused"
    eventually(lambda: (done / "digits/2/seven.png").exists() and (refused / "digits/2/text.jpg").exists())
    eventually(lambda: list(folder.iterdir()) == [])

    (event,) = published(redis_url)
    assert (event.source, event.samples[0].label, event.samples[0].content()) == ("inbox", "2", digit)
    assert "not an image" in (refused / "digits/2/text.jpg.reason.txt").read_text()


def test_a_body_of_100_mb_is_refused_before_it_is_read(ingest: Any) -> None:
    before_mb = memory_mb(ingest)

    with socket.create_connection(("127.0.0.1", ingest.port), timeout=20) as client:
        head = f"POST /v1/samples HTTP/1.1\r\nHost: x\r\nContent-Length: {100 * 2**20}\r\n"
        client.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode())
        answer = b""
        while b"limit of 33554432 bytes" not in answer and (part := client.recv(4096)):
            answer += part

    assert answer.startswith(b"HTTP/1.1 413")
    assert b"limit of 33554432 bytes" in answer
    assert memory_mb(ingest) < before_mb + 20


def test_a_client_that_sends_100_mb_first_still_gets_its_answer(ingest: Any) -> None:
    status, answer, _ = post(ingest.url("/v1/samples"), bytes(100 * 2**20))

    assert status == 413
    assert "send it in parts" in answer["error"]["message"]


def test_a_body_without_a_length_is_bounded_too(ingest: Any) -> None:
    with socket.create_connection(("127.0.0.1", ingest.port), timeout=20) as client:
        head = "POST /v1/samples HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        client.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode())
        sender = threading.Thread(target=send_chunks, args=(client, 40))
        sender.start()
        answer = client.recv(4096)
        sender.join(20)

    assert answer.startswith(b"HTTP/1.1 413")


def send_chunks(client: socket.socket, count: int) -> None:
    try:
        for _ in range(count):
            client.sendall(b"100000\r\n" + bytes(2**20) + b"\r\n")
        client.sendall(b"0\r\n\r\n")
    except OSError:
        return  # refused before all was sent


def test_a_stopped_broker_is_answered_with_503_and_later_with_202(
    make_process: Callable[[str], Any], redis_server: Any, digit: bytes
) -> None:
    ingest = make_process(redis_server.url)
    redis_server.kill()

    status, answer, headers = post(ingest.url("/v1/samples"), samples(digit))
    ready = ingest.answers("/readyz")
    redis_server.start()
    later, _, _ = post(ingest.url("/v1/samples"), samples(digit))

    assert (status, answer["error"]["type"]) == (503, "Unavailable")
    assert int(headers["Retry-After"]) >= 1
    assert not ready
    assert later == 202


def test_every_awkward_image_is_answered_in_time_and_never_with_a_fault(
    ingest: Any, data_folder: Path
) -> None:
    manifest = json.loads((data_folder / "awkward_images" / "manifest.json").read_text())
    allowed = {"convert": {202}, "reject": {422}, "either": {202, 422}}
    wrongly: list[str] = []

    for image in manifest["files"]:
        data = (data_folder / "awkward_images" / image["file"]).read_bytes()
        started_s = time.monotonic()
        status, answer, _ = post(ingest.url("/v1/samples"), samples(data, dataset="photos"))
        took_s = time.monotonic() - started_s
        if status not in allowed[image["expect"]] or took_s > AWKWARD_S_MAX:
            wrongly.append(f"{image['file']}: {status} after {took_s:.1f} s: {answer}")

    assert manifest["files"]
    assert wrongly == []
    assert memory_mb(ingest) < MEMORY_MB_MAX + 100


def test_a_bulky_client_does_not_starve_the_others(ingest: Any, digit: bytes) -> None:
    bulky = samples(*[digit] * 10_000)
    done = threading.Event()
    waits_s: list[float] = []

    def send_bulk() -> None:
        for _ in range(2):
            post(ingest.url("/v1/samples"), bulky)
        done.set()

    senders = [threading.Thread(target=send_bulk) for _ in range(3)]
    for sender in senders:
        sender.start()
    while not done.is_set():
        started_s = time.monotonic()
        status, _, _ = post(ingest.url("/v1/samples"), samples(digit))
        waits_s.append(time.monotonic() - started_s)
        assert status == 202
    for sender in senders:
        sender.join()

    assert sorted(waits_s)[len(waits_s) // 2] < MEDIAN_WAIT_S_MAX
    assert max(waits_s) < WAIT_S_MAX


def test_ingest_is_small_and_stops_when_told(ingest: Any) -> None:
    memory = memory_mb(ingest)

    exit_code = ingest.end()

    assert memory < MEMORY_MB_MAX
    assert exit_code == 0


def memory_mb(ingest: Any) -> float:
    """Resident memory of gunicorn's worker, the larger of the two processes."""
    return max(map(resident_mb, ingest.pids()))


def resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024
