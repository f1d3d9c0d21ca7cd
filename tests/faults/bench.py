"""An archive folder, a ledger, and processes of the service on them, started and stopped one by one."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from segqa_dicom.checks.ruleset import ruleset_from_toml
from segqa_dicom.config import ServiceSettings
from segqa_dicom.ledger import Case, CaseState, Ledger
from segqa_dicom.service import Setup
from segqa_dicom.service.coordinator import Coordinator
from tests.findings.making import our_documents
from tests.servers.process import Process, wait_until
from tests.servers.service import QUICK

PROJECT = Path(__file__).resolve().parents[2]
ON_ITS_WAY = {CaseState.READY, CaseState.RUNNING, CaseState.STORING, CaseState.STORED}


class Held(Process):
    """A worker that stops at a point until it is let go."""

    folder: Path

    def wait_until_reached(self, timeout_s: float = 90) -> None:
        wait_until((self.folder / "reached").exists, timeout_s, f"the worker is held: {self.output()[-1000:]}")

    def let_go(self) -> None:
        (self.folder / "go").touch()


class Bench:
    """Ends what it started. Settings are those of quick tests: leases of 6 s, sweeps every 2 s.

    ledger : SQLAlchemy URL; None = SQLite in `folder`
    """

    def __init__(self, folder: Path, *, ledger: str | None = None, settings: Mapping[str, str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.archive, self.data = folder / "archive", folder / "data"
        self.ledger_url = ledger or f"sqlite:///{self.data / 'ledger.sqlite3'}"
        self.environment = {
            **QUICK,
            "SEGQA_ARCHIVE": str(self.archive),
            "SEGQA_LEDGER": self.ledger_url,
            "SEGQA_DATA": str(self.data),
            **(settings or {}),
        }
        self._stack, self._count = ExitStack(), 0

    def __enter__(self) -> Bench:
        setup = self.setup()
        setup.make_folders()
        with self.ledger() as ledger:
            ledger.migrate()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def setup(self, *, ruleset: Path | None = None) -> Setup:
        quick = {name.removeprefix("SEGQA_").lower(): value for name, value in QUICK.items()}
        settings = ServiceSettings.model_validate(quick)
        return Setup(str(self.archive), self.ledger_url, self.data, settings, ruleset_file=ruleset)

    def ledger(self) -> Ledger:
        return Ledger(self.ledger_url)

    # What runs

    def start(self, role: str, *arguments: str | Path) -> Process:
        """Start a process of `tests.faults.actors`."""
        process = Process(self._command(role, *arguments), self._log(role), environment=self.environment, cwd=PROJECT)
        self._stack.enter_context(process)
        return process

    def start_command(self, *arguments: str) -> Process:
        """Start a command of ``segqa`` on the same archive and ledger."""
        command = [sys.executable, "-m", "segqa_dicom", *arguments]
        process = Process(command, self._log(arguments[0]), environment=self.environment, cwd=PROJECT)
        self._stack.enter_context(process)
        return process

    def start_held(self, point: str, *arguments: str | Path, role: str = "worker") -> Held:
        """Start a worker that is held at a point of its first case."""
        log = self._log("held")
        folder = log.with_suffix("")
        folder.mkdir()
        command = self._command(role, *arguments, "--folder", folder, *(["--hold", point] if point else []))
        process = Held(command, log, environment=self.environment, cwd=PROJECT)
        process.folder = folder
        self._stack.enter_context(process)
        return process

    def _command(self, role: str, *arguments: str | Path) -> list[str | Path]:
        return [sys.executable, "-m", "tests.faults.actors", role, *arguments]

    def _log(self, role: str) -> Path:
        self._count += 1
        return self.folder / f"{self._count}-{role}.log"

    def receive(self, *cases: Path) -> None:
        """Put objects into the inbox, as the node does."""
        inbox = self.setup().open_inbox()
        for case in cases:
            for path in sorted(case.rglob("*.dcm")):
                copy = inbox.parts / path.name
                shutil.copyfile(path, copy)
                inbox.accept(copy)

    def open_cases(self, *cases: Path) -> list[Case]:
        """Have cases taken in and opened; nobody works on them yet."""
        self.receive(*cases)
        coordinator = Coordinator(self.setup())
        while coordinator.run_once():
            pass
        coordinator.schedule_all()
        coordinator.close()
        opened = self.cases()
        assert len(opened) == len(cases), opened
        return opened

    # What it did

    def cases(self) -> list[Case]:
        with self.ledger() as ledger:
            return ledger.cases(limit=1000)

    def wait_for_cases(self, count: int, timeout_s: float = 90) -> list[Case]:
        """Wait until so many cases are confirmed and none is on its way."""

        def are_confirmed() -> bool:
            states = [case.state for case in self.cases()]
            if states.count(CaseState.CONFIRMED) == count and not ON_ITS_WAY & set(states):
                return True
            raise AssertionError([(case.state, case.attempt, case.reason) for case in self.cases()])

        wait_until(are_confirmed, timeout_s, f"{count} cases are confirmed")
        return self.cases()

    def wait_for_state(self, state: CaseState, timeout_s: float = 90) -> Case:
        """Wait until a case is in a state."""
        wait_until(lambda: [case for case in self.cases() if case.state is state], timeout_s, f"a case is {state}")
        return next(case for case in self.cases() if case.state is state)

    def documents(self) -> list[Dataset]:
        """All SR objects of the archive's folder, whatever its index says; sorted by UID."""
        found = []
        for path in self.archive.rglob("*"):
            try:
                dataset = dcmread(path, stop_before_pixels=True) if path.is_file() else Dataset()
            except InvalidDicomError:
                continue
            if dataset.get("Modality") == "SR":
                found.append(dataset)
        return sorted(found, key=lambda one: str(one.SOPInstanceUID))


def reviewed(case: Path, rules: Path | None = None) -> list[str]:
    """SOP Instance UIDs of what ``segqa review`` writes for a case, sorted."""
    ruleset = ruleset_from_toml(rules.read_text(), rules) if rules else None
    return sorted(one.sop_instance_uid for one in our_documents(case, ruleset))
