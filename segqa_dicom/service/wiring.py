"""Components of the service, built from its settings in one place: for web process, coordinator and command line."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from segqa_dicom import log
from segqa_dicom.archive import Archive, Instance
from segqa_dicom.assessment.vocabulary import Vocabulary
from segqa_dicom.checks.ruleset import RuleSet
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.errors import PeerError
from segqa_dicom.findings import FILE_NAME, FindingsIndex
from segqa_dicom.inbox import Inbox
from segqa_dicom.ledger import Ledger
from segqa_dicom.service.setup import Setup

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from segqa_dicom.pictures import OpenCases
    from segqa_dicom.reviews.exchange.annotations import AnnotationBook
    from segqa_dicom.reviews.workflow.signed_reviews import ReviewMemory
    from segqa_dicom.reviews.workflow.workflow import ReviewWorkflow
    from segqa_dicom.service.arrivals import Arrivals


class Components:
    """Archive, ledger, index and what works on them; each is made when it is first asked for.

    clock : seconds since 1970
    """

    def __init__(self, setup: Setup, *, clock: Callable[[], float] = time.time) -> None:
        self.setup, self.clock = setup, clock

    @cached_property
    def archive(self) -> Archive:
        """The archive."""
        return self.setup.open_archive()

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger."""
        return self.setup.open_ledger()

    @cached_property
    def inbox(self) -> Inbox:
        """The inbox of this host."""
        return self.setup.open_inbox()

    @cached_property
    def index(self) -> FindingsIndex:
        """The index of findings."""
        return FindingsIndex(self.setup.data / FILE_NAME)

    @cached_property
    def ruleset(self) -> RuleSet:
        """The rule set."""
        return self.setup.ruleset()

    @property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary of readers."""
        return self.ruleset.vocabulary

    @property
    def limits(self) -> Limits:
        """Limits of what is read."""
        return self.setup.review.limits()

    @cached_property
    def arrivals(self) -> Arrivals:
        """Notes what has arrived in the ledger."""
        from segqa_dicom.service.arrivals import Arrivals

        return Arrivals(
            self.archive,
            self.ledger,
            self.limits,
            debounce_s=self.setup.settings.debounce_s,
            work_folder=self.setup.work_folder,
        )

    @cached_property
    def signed_reviews(self) -> ReviewMemory:
        """Signed reviews of readers."""
        from segqa_dicom.reviews.workflow.signed_reviews import ReviewMemory

        return ReviewMemory(
            self.ledger, self.archive, self.index, self.vocabulary, folder=self.setup.work_folder, limits=self.limits
        )

    @cached_property
    def cases(self) -> OpenCases:
        """Open cases, for pictures and for documents of readers."""
        from segqa_dicom.pictures import OpenCases

        return OpenCases(
            self.archive,
            folder=self.setup.data / "pictures",
            limits=self.limits,
            max_bytes=self.setup.settings.picture_memory_bytes,
        )

    def workflow(self, *, with_pictures: bool) -> ReviewWorkflow:
        """The review workflow; without pictures nobody can sign."""
        from segqa_dicom.reviews.workflow.workflow import ReviewWorkflow

        return ReviewWorkflow(
            ledger=self.ledger,
            archive=self.archive,
            index=self.index,
            cases=self.cases if with_pictures else None,
            vocabulary=self.vocabulary,
            settings=self.setup.settings,
            clock=self.clock,
            folder=self.setup.work_folder,
            limits=self.limits,
        )

    @cached_property
    def annotations(self) -> AnnotationBook:
        """Annotations of other programs."""
        from segqa_dicom.reviews.exchange.annotations import AnnotationBook

        return AnnotationBook(
            ledger=self.ledger,
            archive=self.archive,
            index=self.index,
            cases=self.cases,
            vocabulary=self.vocabulary,
            folder=self.setup.work_folder,
            clock=self.clock,
        )

    def application(self) -> Starlette:
        """The web application: DICOMweb, pages of readers, health, metrics."""
        from segqa_dicom.web import Readers, create_app

        setup = self.setup
        workflow = self.workflow(with_pictures=True)
        return create_app(
            archive=self.archive,
            ledger=self.ledger,
            inbox=self.inbox,
            settings=setup.review,
            service=setup.settings,
            archive_url="" if setup.is_folder else setup.archive,
            on_stored=self._note,
            findings_index=self.index,
            readers=Readers(workflow, self.cases, self.ruleset, setup.rules or "", self.annotations.of_segment),
        )

    def _note(self, instances: Sequence[Instance]) -> None:
        try:
            self.arrivals.note(instances, now=self.clock())
        except PeerError as error:  # they are in the archive, where the next walk finds them
            log.event("arrivals not noted", error=type(error).__name__)
