"""Words of the vocabulary in documents of readers."""

from __future__ import annotations

from dataclasses import dataclass

from segqa_dicom.assessment.model import ReviewFinding, SegmentReview
from segqa_dicom.assessment.vocabulary import Term, Vocabulary, default_vocabulary
from segqa_dicom.model import Code
from segqa_dicom.sr import codes, reader_text

_NEEDS_WORK = {"R1", "R2", "R3"}

_NOT_ASSESSABLE = "NA"

_ACCEPT = "ACT-ACCEPT"


@dataclass(frozen=True)
class Words:
    """Words of the vocabulary as codes, and what they mean for the outcome."""

    vocabulary: Vocabulary

    def code(self, section: str, word: str) -> Code:
        """The code of a word; of one that was switched off since, that of segqa; else the word itself."""
        term = self._term(section, word)
        return Code(term.code, codes.SCHEME, term.name) if term else Code(word, codes.SCHEME, word)

    def name(self, section: str, word: str) -> str:
        """What people call it."""
        return reader_text.long_string(self.code(section, word).meaning)

    def needs_work(self, said: SegmentReview) -> bool:
        """Whether a reader wants something changed: by the rating, else the action, else the findings."""
        if said.rating:
            return self.code("ratings", said.rating).value in _NEEDS_WORK
        if said.action:
            return self.code("actions", said.action).value != _ACCEPT
        terms = [self._term("findings", one.type) for one in said.findings]
        return any(term is None or term.is_error for term in terms)

    def order(self, said: SegmentReview) -> tuple[bool, int, int]:
        """Worst first: who wants something changed, then by rating; what cannot be assessed comes after what can."""
        ratings = [term.code for term in self.vocabulary.ratings.values() if term.code != _NOT_ASSESSABLE]
        value = self.code("ratings", said.rating).value if said.rating else ""
        rank = len(ratings) - ratings.index(value) if value in ratings else len(ratings) + 1
        return not self.needs_work(said), rank, said.segment_number

    def severity_rank(self, severity: str) -> int:
        """0 is the worst; unknown ones come last."""
        severities = list(self.vocabulary.severities)
        return len(severities) - severities.index(severity) if severity in severities else len(severities) + 1

    def finding(self, found: ReviewFinding) -> str:
        """A finding in words, without its comment: ``Hole, minor``."""
        name = self.name("findings", found.type)
        return f"{name}, {self.name('severities', found.severity).lower()}" if found.severity else name

    def _term(self, section: str, word: str) -> Term | None:
        return self.vocabulary.section(section).get(word) or default_vocabulary().section(section).get(word)
