"""While traffic is shared with a candidate, a person decides when it becomes stable."""

from __future__ import annotations

import pytest
from tidemill_contracts.errors import Corrupt
from tidemill_contracts.events import ModelRefused, ModelServing
from tidemill_contracts.golden import PATH, Golden, GoldenInput, GoldenOutput
from tidemill_contracts.label_changes import changes, promote
from tidemill_contracts.layout import rollout_name
from tidemill_contracts.manifest import Labels, dump_document
from tidemill_contracts.rollout import OFF, Rollout, read_rollout, write_rollout
from tidemill_serving import wire

GOLDEN = Golden(
    inputs={"x": GoldenInput(dtype="float32", shape=(1,), values=(1.0,))},
    outputs={"y": GoldenOutput(shape=(1,), values=(2.5,))},
)


@pytest.fixture
def share(house):
    """Shares the model's traffic with its candidate, as the gateway's route does."""

    def set_rollout(rollout):
        generation = read_rollout(house.store, "digits")[1]
        write_rollout(house.store, "digits", rollout, over_generation=generation)

    return set_rollout


@pytest.fixture
def served(house):
    """Version 1 is stable."""
    house.publish(1)
    house.steps()
    return house


@pytest.mark.parametrize("rollout", [Rollout(candidate_percent=10), Rollout(shadow_percent=1)])
def test_a_proven_candidate_stays_candidate_while_traffic_is_shared(served, share, rollout):
    share(rollout)
    served.publish(2)

    served.steps(10)

    assert served.labels == Labels(stable=1, candidate=2)
    assert served.server.labelled("digits", "candidate") == 2
    assert [type(event) for event in served.events] == [ModelServing]


def test_it_is_promoted_once_the_sharing_is_switched_off(served, share):
    share(Rollout(candidate_percent=10))
    served.publish(2)
    served.steps(3)

    share(OFF)
    served.steps()

    assert served.labels == Labels(stable=2, previous=1)
    assert served.server.labelled("digits", "stable") == 2


def test_a_person_may_promote_it_while_the_traffic_is_shared(served, share):
    share(Rollout(candidate_percent=10))
    served.publish(2)
    served.steps(3)

    promote(served.store, "digits", 2, by="ada")
    served.steps()

    assert served.server.labelled("digits", "stable") == 2
    assert [change.by for change in changes(served.store, "digits")] == ["serving-agent", "ada"]


def test_a_bad_candidate_is_refused_though_traffic_is_shared(served, share):
    share(Rollout(shadow_percent=5))
    served.server.broken.add(served.path(2))
    served.publish(2)

    served.steps()

    assert served.labels == Labels(stable=1)
    assert isinstance(served.events[-1], ModelRefused)


def test_a_newer_candidate_takes_the_place_of_a_held_one(served, share):
    share(Rollout(candidate_percent=10))
    served.publish(2)
    served.steps(3)

    served.publish(3)
    served.steps(3)

    assert served.server.labelled("digits", "candidate") == 3


def test_the_first_version_of_all_is_not_held_back(house, share):
    share(Rollout(candidate_percent=10))
    house.publish(1)

    house.steps()

    assert house.labels == Labels(stable=1)


def test_a_held_candidate_is_asked_its_golden_predictions_once(served, share):
    asked = []

    def answer(request):
        asked.append(request)
        return _golden_answer()

    served.server.answer = answer
    share(Rollout(candidate_percent=10))
    served.publish(2, {"saved_model.pb": b"graph", PATH: dump_document(GOLDEN)})

    served.steps(1)
    served.steps(1)
    served.steps(1)

    assert len(asked) == 1
    assert served.labels.candidate == 2


def test_a_rollout_that_cannot_be_read_holds_the_candidate_and_says_so(served):
    served.store.put(rollout_name("digits"), b"not a rollout")
    served.publish(2)

    with pytest.raises(Corrupt, match=r"rollout\.json"):
        served.steps()

    assert served.labels == Labels(stable=1, candidate=2)
    assert served.server.labelled("digits", "stable") == 1


def _golden_answer():
    response = wire.PredictResponse()
    tensor = response.outputs.add(key="y").value
    tensor.dtype = 1
    tensor.tensor_shape.dim.add(size=1)
    tensor.float_val.append(2.5)
    return response
