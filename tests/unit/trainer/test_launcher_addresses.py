"""An address chooses where rounds train, and a wrong one is refused by name; the API is asked over HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from tidemill_contracts.errors import InvalidInput, Unavailable
from tidemill_trainer.launchers.addresses import open_launcher
from tidemill_trainer.launchers.api import Api
from tidemill_trainer.launchers.cluster_launcher import ClusterLauncher
from tidemill_trainer.launchers.clusters import ApiCall
from tidemill_trainer.launchers.launcher import InProcess
from tidemill_trainer.launchers.local_process import LocalProcess

WORK = Path("/gcs/bucket/jobs")


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("here", InProcess),
        ("process://", LocalProcess),
        ("process://?workers=2&memory_bytes=8000000000&cpu_s=3600&wall_s=7200", LocalProcess),
        ("kubernetes://tidemill?image=trainer:1&claim=work&mount=/gcs", ClusterLauncher),
        ("kubeflow://tidemill?image=trainer:1&runtime=tidemill&cpu=4&memory=8Gi", ClusterLauncher),
        ("vertex://project/europe-west1?image=trainer:1&machine_type=n2-standard-4", ClusterLauncher),
    ],
)
def test_the_address_chooses_the_launcher(address: str, kind: type) -> None:
    assert type(open_launcher(address, WORK)) is kind


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("elsewhere://", "valid examples"),
        ("process://?workers=none", "workers is a whole number"),
        ("process://?workers=1000", "at most 64 workers"),
        ("process://?walls=1", "knows no walls"),
        ("kubernetes://tidemill?image=trainer:1&mount=/gcs", "lacks 'claim'"),
        ("kubernetes://tidemill?image=trainer:1&claim=work&mount=/elsewhere", "not on the volume"),
        ("vertex://project?image=trainer:1&machine_type=n2", "vertex://PROJECT/REGION"),
    ],
)
def test_a_wrong_address_is_refused_with_what_is_wrong(address: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        open_launcher(address, WORK)


class Server(BaseHTTPRequestHandler):
    seen: tuple[str, str, str | None, Any]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        type(self).seen = (self.command, self.path, self.headers["authorization"], json.loads(body))
        status = {"/busy": 503, "/wrong": 422}.get(self.path, 201)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(b'{"metadata": {"name": "a"}}')

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def api() -> Iterator[Api]:
    with HTTPServer(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield Api(f"http://127.0.0.1:{server.server_port}", lambda: "token")
        server.shutdown()
        thread.join()


def test_the_api_is_asked_with_a_token_and_its_answers_are_sorted_by_remedy(api: Api) -> None:
    answer = api.send(ApiCall("POST", "/jobs", {"kind": "Job"}))

    assert answer == {"metadata": {"name": "a"}}
    assert Server.seen == ("POST", "/jobs", "Bearer token", {"kind": "Job"})
    with pytest.raises(Unavailable, match="503"):
        api.send(ApiCall("POST", "/busy", {}))
    with pytest.raises(InvalidInput, match="422"):
        api.send(ApiCall("POST", "/wrong", {}))


def test_an_api_that_is_not_there_is_unavailable(free_port: int) -> None:
    with pytest.raises(Unavailable):
        Api(f"http://127.0.0.1:{free_port}", lambda: "token").send(ApiCall("GET", "/jobs"))
