"""One model's next step: resume, test, or open and run a round."""

from __future__ import annotations

from tidemill_chassis.logs import get_logger
from tidemill_contracts.errors import Conflict, Corrupt
from tidemill_registry.round_rows import unfinished_round

from tidemill_trainer.champion import Champion, champion_version, load_champion
from tidemill_trainer.chores import ALL, Chore
from tidemill_trainer.monitoring.examination import examine_if_due
from tidemill_trainer.opening import open_due_round
from tidemill_trainer.publishing.forcing import answer_wish_for_closed_round
from tidemill_trainer.rounds import run_round
from tidemill_trainer.workbench import Workbench

UNUSABLE = "champion_unusable"

log = get_logger(__name__)


class ModelTrainer:
    """Does one thing at a time, so that whoever calls can listen to the bus in between.

    chores: what it begins; a round that was begun is finished first, whatever its kind.
    """

    def __init__(self, bench: Workbench, chores: frozenset[Chore] = ALL) -> None:
        self._bench = bench
        self._chores = chores
        self._loaded: tuple[int, Champion | None] | None = None

    @property
    def model(self) -> str:
        return self._bench.spec.name

    def advance(self) -> bool:
        """Do what is due; say whether anything was.

        Raises:
            Interrupted: the process should end.
            Unavailable: something did not answer; what was begun stays open.
        """
        bench = self._bench
        if not bench.lease.hold():
            return False
        try:
            with bench.registry.read() as sql:
                round_ = unfinished_round(sql, self.model)
            if round_ is None:
                if answer_wish_for_closed_round(bench):
                    return True
                champion = self._champion()
                if "tests" in self._chores and examine_if_due(bench, champion) is not None:
                    return True
                round_ = open_due_round(bench, champion, self._chores)
            if round_ is None:
                return False
            run_round(bench, round_)
        except Corrupt as error:
            # Rounds against a champion that cannot be read would only use up samples: wait for a person.
            bench.tell_once(log, UNUSABLE, str(error))
            return False
        except Conflict as error:
            log.warning("overtaken", error=error, model=self.model)
            return False
        bench.forget(UNUSABLE)
        return True

    def release(self) -> None:
        """Leave the model to another trainer."""
        self._bench.lease.release()

    def _champion(self) -> Champion | None:
        version = champion_version(self._bench.store, self.model)
        if version is None:
            return None
        if self._loaded is None or self._loaded[0] != version:
            self._loaded = version, load_champion(self._bench.learner, self._bench.store, version)
        return self._loaded[1]
