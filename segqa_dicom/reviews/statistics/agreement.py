"""How far readers agree: with each other, and with themselves.

Only first readings are compared between readers; repeats of a reader are compared with their first reading. "Not
assessable" is no grade: such readings are counted and take no part. Adjudications are no independent readings, so they
do not belong here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from segqa_dicom.reviews.exchange.tables import NOT_ASSESSABLE, Table, TableRow
from segqa_dicom.reviews.statistics.estimates import Bootstrap, Estimate, proportion
from segqa_dicom.reviews.statistics.measures import (
    ACCEPTABLE,
    GRADES,
    Level,
    PairAgreement,
    fleiss_kappa,
    krippendorff_alpha,
    mean_with_interval,
    pair_agreement,
)

MINIMUM = 10
"""Subjects that two readers must share for statistics; with fewer there are counts only."""


@dataclass(frozen=True, slots=True)
class Rating:
    """What one reader said about one thing in one reading.

    reader : login or name, the same for all ratings of a reader
    subject : what was rated; readers who rated the same thing have the same text here
    structure : canonical name, or label of the segment; empty if the whole segmentation was rated
    rating : 5 (use as is) to 1 (unusable); None = not assessable, which is no grade
    reading : 1, and higher for repeats of the same reader
    source : where it is from: a file, or a document
    cluster : what subjects have in common that are not independent of each other (the segmentation, the patient);
        empty = each subject stands by itself
    """

    reader: str
    subject: str
    structure: str
    rating: int | None
    reading: int
    source: str
    cluster: str = ""


@dataclass(frozen=True, slots=True)
class ReaderSummary:
    """One reader: first readings.

    n_rated : with a grade
    mean : None without grades
    acceptable : share of grades of at least `ACCEPTABLE`
    n_shared, bias : subjects that others graded, too; mean of their grade minus the mean grade of the others, None with
        fewer than the minimum of subjects
    """

    reader: str
    n_rated: int
    n_not_assessable: int
    mean: float | None
    acceptable: Estimate
    n_shared: int
    bias: Estimate | None


@dataclass(frozen=True, slots=True)
class Pair:
    """Two readers, or (the same name twice) the first two readings of one.

    n_subjects : graded in both readings
    n_not_assessable : seen in both, not assessable in at least one
    table : grades of the first (rows, 1 first) against those of the second
    statistics : None with fewer than the minimum of subjects
    """

    first: str
    second: str
    n_subjects: int
    n_not_assessable: int
    table: tuple[tuple[int, ...], ...]
    statistics: PairAgreement | None


@dataclass(frozen=True, slots=True)
class Group:
    """All readers on all subjects, or on those of one structure.

    structure : empty = all
    n_subjects : graded by at least one reader; n_several: by at least two; n_complete: by all who are in `readers`
    alpha_ordinal, alpha_nominal, alpha_interval : Krippendorff's, of the subjects graded by at least two
    fleiss : of those graded by all readers, if these are three or more
    None = fewer than the minimum of subjects
    """

    structure: str
    readers: tuple[str, ...]
    n_subjects: int
    n_several: int
    n_complete: int
    pairs: tuple[Pair, ...]
    alpha_ordinal: Estimate | None
    alpha_nominal: Estimate | None
    alpha_interval: Estimate | None
    fleiss: Estimate | None


@dataclass(frozen=True, slots=True)
class AgreementReport:
    """Everything that ratings say about agreement.

    n_replaced : ratings of a reader in one reading of one subject that a later one replaces
    minimum : of subjects for statistics
    """

    n_ratings: int
    n_not_assessable: int
    n_replaced: int
    minimum: int
    bootstrap: Bootstrap
    readers: tuple[ReaderSummary, ...]
    overall: Group
    structures: tuple[Group, ...]
    repeats: tuple[Pair, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person has to know to read the numbers."""
        level = f"{100 * self.bootstrap.level:g} %"
        bootstrap = f"bootstrap with {self.bootstrap.resamples} resamples (seed {self.bootstrap.seed})"
        notes = [f"Intervals: {level}; {bootstrap}, Wilson for proportions of independent subjects."]
        if self.n_not_assessable:
            notes.append(f"{self.n_not_assessable} ratings are 'not assessable': no grade, not compared.")
        if self.n_replaced:
            notes.append(f"{self.n_replaced} ratings were replaced by later ones of the same reader and reading.")
        shown = sum(1 for group in self.structures for pair in group.pairs if pair.statistics)
        if shown > 1:
            notes.append(
                f"{shown} comparisons of single structures are shown: of so many {level} intervals some miss the truth "
                "by chance, and the lowest and highest numbers are the least certain."
            )
        return tuple(notes)


_Subject = tuple[str, str]
_Readings = Mapping[_Subject, Mapping[str, Rating]]
"""Subject and structure -> reader -> first reading."""


def agreement(
    ratings: Iterable[Rating],
    *,
    seed: int,
    resamples: int = 2000,
    level: float = 0.95,
    minimum: int = MINIMUM,
    readers: Collection[str] = (),
    structures: Collection[str] = (),
) -> AgreementReport:
    """Agreement of all pairs of readers and of all together, overall and by structure, and of readers with themselves.

    minimum : of subjects for statistics; with fewer there are counts only
    readers, structures : only these; empty = all
    Without ratings a report full of zeros.
    """
    bootstrap = Bootstrap(seed, resamples, level)
    wanted = [
        one
        for one in ratings
        if (not readers or one.reader in readers) and (not structures or one.structure in structures)
    ]
    by_reading = {(one.subject, one.structure, one.reader, one.reading): one for one in wanted}
    first, repeats = _first_and_repeats(by_reading.values())
    names = sorted({one.reader for one in by_reading.values()})
    found = sorted({structure for _, structure in first if structure})
    return AgreementReport(
        n_ratings=len(by_reading),
        n_not_assessable=sum(one.rating is None for one in by_reading.values()),
        n_replaced=len(wanted) - len(by_reading),
        minimum=minimum,
        bootstrap=bootstrap,
        readers=tuple(_summary(name, first, minimum, bootstrap) for name in names),
        overall=_group("", first, minimum, bootstrap),
        structures=tuple(
            _group(name, {key: one for key, one in first.items() if key[1] == name}, minimum, bootstrap)
            for name in found
        ),
        repeats=tuple(_pair(name, name, repeats[name], minimum, bootstrap) for name in sorted(repeats)),
    )


def as_json(report: AgreementReport) -> dict[str, Any]:
    """The report as JSON values: the fields of the classes of this module, under their names."""
    return {**asdict(report), "notes": list(report.notes)}


def _first_and_repeats(
    ratings: Iterable[Rating],
) -> tuple[dict[_Subject, dict[str, Rating]], dict[str, list[tuple[Rating, Rating]]]]:
    """The first reading of each reader, and by reader the first with the second."""
    readings: dict[tuple[_Subject, str], list[Rating]] = {}
    for one in ratings:
        readings.setdefault(((one.subject, one.structure), one.reader), []).append(one)
    first: dict[_Subject, dict[str, Rating]] = {}
    repeats: dict[str, list[tuple[Rating, Rating]]] = {}
    for (subject, reader), several in readings.items():
        several.sort(key=lambda one: one.reading)
        first.setdefault(subject, {})[reader] = several[0]
        if len(several) > 1:
            repeats.setdefault(reader, []).append((several[0], several[1]))
    return first, repeats


def _summary(reader: str, first: _Readings, minimum: int, bootstrap: Bootstrap) -> ReaderSummary:
    own = [by_reader[reader] for by_reader in first.values() if reader in by_reader]
    graded = [one for one in own if one.rating is not None]
    grades = [one.rating for one in graded if one.rating is not None]
    differences, clusters = [], []
    for by_reader in first.values():
        one = by_reader.get(reader)
        others = [other.rating for name, other in by_reader.items() if name != reader and other.rating is not None]
        if one is not None and one.rating is not None and others:
            differences.append(one.rating - sum(others) / len(others))
            clusters.append(_cluster(one))
    bias = None
    if len(differences) >= minimum:
        bias = mean_with_interval(differences, bootstrap=bootstrap, cluster=clusters)
    return ReaderSummary(
        reader=reader,
        n_rated=len(grades),
        n_not_assessable=len(own) - len(grades),
        mean=sum(grades) / len(grades) if grades else None,
        acceptable=proportion(
            [grade >= ACCEPTABLE for grade in grades], bootstrap=bootstrap, cluster=[_cluster(one) for one in graded]
        ),
        n_shared=len(differences),
        bias=bias,
    )


def _group(structure: str, first: _Readings, minimum: int, bootstrap: Bootstrap) -> Group:
    graded = {
        subject: {name: one.rating for name, one in by_reader.items() if one.rating is not None}
        for subject, by_reader in first.items()
    }
    clusters = {subject: _cluster(next(iter(by_reader.values()))) for subject, by_reader in first.items()}
    names = tuple(sorted({name for by_reader in first.values() for name in by_reader}))
    several = [subject for subject, grades in graded.items() if len(grades) >= 2]
    complete = [subject for subject, grades in graded.items() if len(grades) == len(names) >= 2]
    counts = {subject: _counts(graded[subject].values()) for subject in several}

    def alpha(level: Level) -> Estimate | None:
        if len(several) < minimum:
            return None
        return krippendorff_alpha(
            list(counts.values()), level, bootstrap=bootstrap, cluster=[clusters[subject] for subject in several]
        )

    fleiss = None
    if len(names) >= 3 and len(complete) >= minimum:
        fleiss = fleiss_kappa(
            [counts[subject] for subject in complete],
            bootstrap=bootstrap,
            cluster=[clusters[subject] for subject in complete],
        )
    return Group(
        structure=structure,
        readers=names,
        n_subjects=sum(bool(grades) for grades in graded.values()),
        n_several=len(several),
        n_complete=len(complete),
        pairs=tuple(_pairs(names, first, minimum, bootstrap)),
        alpha_ordinal=alpha(Level.ORDINAL),
        alpha_nominal=alpha(Level.NOMINAL),
        alpha_interval=alpha(Level.INTERVAL),
        fleiss=fleiss,
    )


def _pairs(names: Sequence[str], first: _Readings, minimum: int, bootstrap: Bootstrap) -> Iterable[Pair]:
    """Those who have rated something together."""
    for one, two in combinations(names, 2):
        both = [
            (by_reader[one], by_reader[two]) for by_reader in first.values() if one in by_reader and two in by_reader
        ]
        if both:
            yield _pair(one, two, both, minimum, bootstrap)


def _pair(first: str, second: str, both: Sequence[tuple[Rating, Rating]], minimum: int, bootstrap: Bootstrap) -> Pair:
    graded = [
        (one.rating, two.rating, _cluster(one))
        for one, two in both
        if one.rating is not None and two.rating is not None
    ]
    statistics = None
    if len(graded) >= minimum:
        grades_first, grades_second, clusters = zip(*graded, strict=True)
        statistics = pair_agreement(grades_first, grades_second, bootstrap=bootstrap, cluster=clusters)
    cells = Counter((one, two) for one, two, _ in graded)
    steps = range(1, GRADES + 1)
    return Pair(
        first=first,
        second=second,
        n_subjects=len(graded),
        n_not_assessable=len(both) - len(graded),
        table=tuple(tuple(cells[one, two] for two in steps) for one in steps),
        statistics=statistics,
    )


def _cluster(rating: Rating) -> tuple[str, ...]:
    return (rating.cluster,) if rating.cluster else (rating.subject, rating.structure)


def _counts(grades: Iterable[int]) -> list[int]:
    counted = Counter(grades)
    return [counted[grade] for grade in range(1, GRADES + 1)]


def ratings_of_tables(tables: Sequence[tuple[str, Table]]) -> list[Rating]:
    """The ratings in tables, each with what it is called; subjects are the same whichever table they are in.

    Lines of one reader about the same subject are readings 1, 2, ... in their order. File paths that differ between
    computers are told apart by as many of their last parts as are needed within a table.
    """
    depth = _depth([table.rows for _, table in tables])
    readings: Counter[tuple[str, str]] = Counter()
    ratings = []
    for source, table in tables:
        for row in table.rows:
            subject = _subject(row, depth)
            readings[row.reader, subject] += 1
            ratings.append(
                Rating(
                    reader=row.reader,
                    subject=subject,
                    structure="",
                    rating=None if row.rating == NOT_ASSESSABLE else int(row.rating),
                    reading=readings[row.reader, subject],
                    source=source,
                    cluster=row.patient,
                )
            )
    return ratings


def _subject(row: TableRow, depth: int) -> str:
    if row.ct_series:
        return f"{row.ct_series}/{row.segmentation}"
    return "/".join(_parts(row.image)[-depth:])


def _parts(path: str) -> list[str]:
    return path.replace("\\", "/").split("/")


def _depth(tables: Iterable[Sequence[TableRow]]) -> int:
    """How many of the last parts of its paths tell the images of each table apart."""
    needed = 1
    for rows in tables:
        paths = {tuple(_parts(row.image)) for row in rows if not row.ct_series}
        while len({path[-needed:] for path in paths}) < len(paths):
            needed += 1
    return needed
