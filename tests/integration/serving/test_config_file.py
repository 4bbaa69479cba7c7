"""A configuration file that is read while it is being written."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from tidemill_chassis.lifecycle import Stop
from tidemill_serving.engine.model_config import Configs, read_file
from tidemill_serving.engine.polling import poll_config
from tidemill_serving.engine.status import StatusError

ENTRY = 'config { name: "%s" base_path: "/models/%s" model_platform: "tensorflow" }'
WHOLE = "model_config_list {\n" + "\n".join(ENTRY % (name, name) for name in ("first", "second")) + "\n}\n"


def test_no_beginning_of_a_file_is_taken_for_a_smaller_configuration(tmp_path: Path) -> None:
    path = tmp_path / "models.config"
    read: set[tuple[str, ...] | None] = set()
    for length in range(len(WHOLE) + 1):
        path.write_text(WHOLE[:length])
        try:
            configs = read_file(str(path))
        except StatusError:
            continue
        read.add(None if configs is None else tuple(config.name for config in configs))

    assert read == {None, ("first", "second")}


class Reloads:
    """Stands where the engine's core does; remembers what it was asked to serve."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.changed = threading.Event()

    def reload(self, configs: Configs) -> None:
        self.asked.append(tuple(config.name for config in configs))
        self.changed.set()


@pytest.mark.parametrize("emptied", ["", "# nothing but a comment\n"])
def test_a_file_that_was_just_emptied_unloads_nothing(tmp_path: Path, emptied: str) -> None:
    """A writer empties the file before filling it; TensorFlow Serving ignores an empty one too."""
    path = tmp_path / "models.config"
    path.write_text(emptied)
    reloads, stop = Reloads(), Stop()
    looks = threading.Thread(target=poll_config, args=(reloads, str(path), 1, stop))
    looks.start()
    threading.Event().wait(1.5)  # one look at the empty file: there is nothing to wait for

    assert reloads.asked == []
    path.write_text(WHOLE)
    assert reloads.changed.wait(30)
    stop.set()
    looks.join(30)
    assert reloads.asked == [("first", "second")]
