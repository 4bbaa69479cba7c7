"""What the agent does with published versions."""

from __future__ import annotations

import pytest
from tidemill_contracts.errors import Corrupt, NotFound, Unavailable
from tidemill_contracts.events import ModelRefused, ModelServing
from tidemill_contracts.golden import PATH, Golden, GoldenInput, GoldenOutput
from tidemill_contracts.layout import manifest_name, version_prefix
from tidemill_contracts.manifest import Labels, dump_document
from tidemill_serving import wire

GOLDEN = Golden(
    inputs={"x": GoldenInput(dtype="float32", shape=(2,), values=(1.0, 2.0))},
    outputs={"y": GoldenOutput(shape=(2,), values=(2.5, 3.0))},
)


def with_golden() -> dict[str, bytes]:
    return {"saved_model.pb": b"graph", PATH: dump_document(GOLDEN)}


def answering(*values):
    """A Predict that answers y with these values."""

    def answer(_request):
        response = wire.PredictResponse()
        tensor = response.outputs.add(key="y").value
        tensor.dtype = 1
        tensor.tensor_shape.dim.add(size=len(values))
        tensor.float_val.extend(values)
        return response

    return answer


def test_a_candidate_becomes_stable_and_that_is_announced(house):
    house.publish(1)

    house.steps()

    assert house.labels == Labels(stable=1)
    assert house.server.labelled("digits", "stable") == 1
    assert [(type(event), event.version) for event in house.events] == [(ModelServing, 1)]


def test_what_was_stable_becomes_previous_and_stays_loaded(house):
    house.publish(1)
    house.steps()

    house.publish(2)
    house.steps()

    assert house.labels == Labels(stable=2, previous=1)
    assert house.server.labelled("digits", "previous") == 1
    assert house.events[-1].replaced_version == 1


def test_a_version_without_manifest_does_not_exist(house):
    house.publish(1)
    house.store.delete(manifest_name("digits", 1))

    with pytest.raises(NotFound):
        house.steps()

    assert not house.path(1).exists()
    assert house.labels.candidate == 1


@pytest.mark.parametrize("damage", [b"grapg", b"grap", b"graphs", None])
def test_a_damaged_file_refuses_the_version(house, damage):
    house.publish(1)
    house.steps()
    house.publish(2)
    name = version_prefix("digits", 2) + "saved_model.pb"
    if damage is None:
        house.store.delete(name)
    else:
        house.store.put(name, damage)

    house.steps()

    assert house.labels == Labels(stable=1)
    assert isinstance(house.events[-1], ModelRefused)
    assert name in house.events[-1].reason
    assert not house.path(2).exists()


def test_a_manifest_of_another_version_refuses_the_version(house):
    house.publish(1)
    house.publish(2)
    house.store.put(manifest_name("digits", 2), house.store.get(manifest_name("digits", 1)))

    house.steps()

    assert house.labels.candidate is None
    assert "speaks of digits version 1" in house.events[-1].reason


@pytest.mark.parametrize(
    ("field", "lie"), [("size_bytes", 6), ("sha256", "0" * 64), ("path", "no_such_file")]
)
def test_a_manifest_that_lies_refuses_the_version(house, field, lie):
    house.publish(1)
    house.steps()
    manifest = house.publish(2)
    files = list(manifest.files)
    files[0] = files[0].model_copy(update={field: lie})
    lying = manifest.model_copy(update={"files": tuple(files)})
    house.store.put(manifest_name("digits", 2), dump_document(lying))

    house.steps()

    assert house.labels == Labels(stable=1)
    assert isinstance(house.events[-1], ModelRefused)
    assert not house.path(2).exists()


def test_a_store_that_is_full_changes_nothing_until_there_is_room(house, monkeypatch):
    house.publish(1)
    house.steps()
    house.publish(2)

    def full(name, data, **conditions):
        raise Unavailable("no space left in the store")

    monkeypatch.setattr(house.store, "put", full)
    with pytest.raises(Unavailable):
        house.steps()
    assert house.server.labelled("digits", "stable") == 1
    monkeypatch.undo()
    house.steps()

    assert house.server.labelled("digits", "stable") == 2


@pytest.mark.parametrize("path", ["manifest.json", "a//b", "a/"])
def test_a_path_that_cannot_be_laid_refuses_the_version(house, path):
    house.publish(1)
    raw = house.store.get(manifest_name("digits", 1)).decode()
    house.store.put(manifest_name("digits", 1), raw.replace("saved_model.pb", path).encode())

    house.steps()

    assert isinstance(house.events[-1], ModelRefused)


def test_a_path_out_of_the_folder_refuses_the_version(house, tmp_path):
    house.publish(1)
    raw = house.store.get(manifest_name("digits", 1)).decode()
    house.store.put(manifest_name("digits", 1), raw.replace("saved_model.pb", "../../../escaped").encode())

    house.steps()

    assert isinstance(house.events[-1], ModelRefused)
    assert not list(tmp_path.rglob("escaped"))


def test_a_version_that_cannot_be_loaded_is_refused_with_the_reason(house):
    house.publish(1)
    house.steps()
    house.server.broken.add(house.path(2))
    house.publish(2)

    house.steps()

    assert house.labels == Labels(stable=1)
    assert house.events[-1] == ModelRefused(
        model="digits",
        version=2,
        reason="it could not be loaded: it is broken",
        event_id=house.events[-1].event_id,
        event_time=house.events[-1].event_time,
    )
    assert house.server.labelled("digits", "stable") == 1


def test_a_version_that_loads_for_ever_is_refused_at_the_limit(house):
    house.server.slow.add(house.path(1))
    house.publish(1)
    house.steps()

    house.now_s = 61.0
    house.steps()

    assert "not available after 60 s" in house.events[-1].reason


def test_golden_predictions_that_are_reproduced_let_the_version_through(house):
    house.server.answer = answering(2.5, 3.00001)
    house.publish(1, with_golden())

    house.steps()

    assert house.labels.stable == 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (answering(2.5, 3.1), "output y[1] is 3.1 instead of 3"),
        (answering(2.5), "output y has shape [1] instead of [2]"),
        (answering(2.5, float("nan")), "output y[1] is nan instead of 3"),
        (lambda request: wire.PredictResponse(), "output y is missing"),
    ],
)
def test_golden_predictions_that_differ_refuse_the_version(house, answer, said):
    house.server.answer = answer
    house.publish(1, with_golden())

    house.steps()

    assert house.labels == Labels()
    assert said in house.events[-1].reason


def test_a_refusal_leaves_a_newer_candidate_alone(house):
    house.server.broken.add(house.path(2))
    house.publish(3, label=False)
    house.publish(2)
    publish = house.bus.publish

    def newer_meanwhile(topic, messages):
        house.label(candidate=3)
        house.bus.publish = publish
        return publish(topic, messages)

    house.bus.publish = newer_meanwhile
    house.rollout.step()

    assert house.labels.candidate == 3


def test_an_agent_that_stops_before_the_announcement_makes_it_after_its_restart(house):
    house.publish(1)
    house.bus.failing = True
    with pytest.raises(Unavailable):
        house.steps()

    house.bus.failing = False
    house.agent()
    house.steps()

    assert [(type(event), event.version) for event in house.events] == [(ModelServing, 1)]


def test_a_restarted_agent_announces_nothing_twice(house):
    house.publish(1)
    house.steps()

    house.agent()
    house.steps()

    assert len(house.events) == 1


def test_a_restarted_server_is_told_everything_again(house):
    house.publish(1)
    house.steps()
    house.publish(2)
    house.steps()

    house.server.restart()
    house.steps()
    house.steps()

    assert house.server.labelled("digits", "stable") == 2
    assert house.server.labelled("digits", "previous") == 1


def test_a_rollback_by_label_is_in_force_after_two_steps(house):
    for version in (1, 2):
        house.publish(version)
        house.steps()

    house.label(stable=1, previous=2)
    house.steps(2)

    assert house.server.labelled("digits", "stable") == 1
    assert house.events[-1].version == 1


def test_the_last_good_version_serves_on_while_its_successor_cannot_be_fetched(house):
    house.publish(1)
    house.steps()
    house.publish(2, label=False)
    house.store.put(version_prefix("digits", 2) + "saved_model.pb", b"other")
    house.label(stable=2, previous=None)

    with pytest.raises(Corrupt):
        house.rollout.step()

    assert house.server.labelled("digits", "stable") == 1


def test_a_stable_version_that_failed_is_tried_again_for_ever(house):
    house.publish(1)
    house.steps()
    house.server.broken.add(house.path(1))
    for _ in range(3):
        with pytest.raises(Unavailable):
            house.rollout.step()

    house.server.broken.clear()
    house.steps()

    assert house.server.labelled("digits", "stable") == 1


def test_old_versions_leave_the_disk_and_labelled_or_new_ones_stay(house):
    for version in range(1, 6):
        house.publish(version)
        house.steps()
    house.steps()

    assert house.folder.versions("digits") == {4, 5}


def test_what_an_earlier_agent_left_half_done_is_swept(house):
    (house.root / ".staging" / "digits-1-half").mkdir()

    house.agent()

    assert list((house.root / ".staging").iterdir()) == []


def test_a_store_that_is_down_changes_nothing(house):
    house.publish(1)
    house.steps()
    house.store.failing = True

    with pytest.raises(Unavailable):
        house.rollout.step()

    assert house.server.labelled("digits", "stable") == 1
