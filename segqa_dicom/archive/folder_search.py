"""Queries of QIDO-RS (PS3.18, section 10.6) to the index of a folder archive.

A query with an unsupported matching key is refused: ignoring the key would return everything.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword

from segqa_dicom.archive.folder_keys import (
    ALL_KEYS,
    KEYS,
    REQUEST_KEYS,
    REQUEST_SEQUENCE,
    JsonAttribute,
    Key,
    Level,
    json_attribute,
    tidy,
)
from segqa_dicom.archive.folder_matching import add_functions, folded
from segqa_dicom.dicom.value_representations import WILDCARD_VRS
from segqa_dicom.errors import InputError

LEVELS = (Level.STUDY, Level.SERIES, Level.INSTANCE)
_STUDY_JOIN, _SERIES_JOIN = "JOIN study ON study.id = series.study", "JOIN series ON series.id = instance.series"
_JOINS = {Level.STUDY: "", Level.SERIES: _STUDY_JOIN, Level.INSTANCE: f"{_SERIES_JOIN} {_STUDY_JOIN}"}
_ORDER = {
    Level.STUDY: "StudyDate DESC, StudyTime DESC, StudyInstanceUID",
    Level.SERIES: "series.study, CAST(SeriesNumber AS INTEGER), series.id",
    Level.INSTANCE: "instance.series, CAST(InstanceNumber AS INTEGER), instance.id",
}
_SERIES_OF_STUDY = "FROM series WHERE series.study = study.id"
_INSTANCES_OF_STUDY = f"FROM instance {_SERIES_JOIN} WHERE series.study = study.id"
_COMPUTED: dict[str, tuple[Level, str]] = {
    "ModalitiesInStudy": (Level.STUDY, f"SELECT group_concat(DISTINCT Modality) {_SERIES_OF_STUDY}"),
    "SOPClassesInStudy": (Level.STUDY, f"SELECT group_concat(DISTINCT SOPClassUID) {_INSTANCES_OF_STUDY}"),
    "NumberOfStudyRelatedSeries": (Level.STUDY, f"SELECT COUNT(*) {_SERIES_OF_STUDY}"),
    "NumberOfStudyRelatedInstances": (Level.STUDY, f"SELECT COUNT(*) {_INSTANCES_OF_STUDY}"),
    "NumberOfSeriesRelatedInstances": (Level.SERIES, "SELECT COUNT(*) FROM instance WHERE instance.series = series.id"),
}
"""Attributes computed by the archive, with their SQL."""
_IN_STUDY = {
    "ModalitiesInStudy": ("Modality", _SERIES_OF_STUDY),
    "SOPClassesInStudy": ("SOPClassUID", _INSTANCES_OF_STUDY),
}
"""Computed attributes that can be matched, with the source of their values."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ALWAYS = {
    Level.STUDY: _words(
        "StudyInstanceUID StudyDate StudyTime AccessionNumber ReferringPhysicianName TimezoneOffsetFromUTC PatientName "
        "PatientID PatientBirthDate PatientSex StudyID ModalitiesInStudy NumberOfStudyRelatedSeries "
        "NumberOfStudyRelatedInstances"
    ),
    Level.SERIES: _words(
        "SeriesInstanceUID Modality SeriesNumber SeriesDescription PerformedProcedureStepStartDate "
        "PerformedProcedureStepStartTime NumberOfSeriesRelatedInstances RequestAttributesSequence"
    ),
    Level.INSTANCE: _words("SOPInstanceUID SOPClassUID InstanceNumber Rows Columns BitsAllocated NumberOfFrames"),
}
"""Attributes of every result (PS3.18, tables 10.6.3-3 to 10.6.3-5)."""
_ONLY_WITH_VALUE = _words(
    "TimezoneOffsetFromUTC SeriesDescription PerformedProcedureStepStartDate PerformedProcedureStepStartTime Rows "
    "Columns BitsAllocated NumberOfFrames RequestAttributesSequence"
)
"""Of these, the attributes that are omitted without a value."""

_TIME = re.compile(r"[0-9]{2}(?:[0-9]{2}(?:[0-9]{2}(?:\.[0-9]{1,6})?)?)?\Z")
_RANGE_FORMS = {"DA": re.compile(r"[0-9]{8}\Z"), "TM": _TIME, "DT": re.compile(r"[0-9]{4,14}(?:\.[0-9]{1,6})?\Z")}
_LOWEST = {"DA": "00000000", "TM": "000000.000000", "DT": "00000101000000.000000"}
_HIGHEST = {"DA": "99999999", "TM": "999999.999999", "DT": "99999999999999.999999"}
_WITHOUT_COMMAS = frozenset(("UI", "CS", "IS", "US"))
"""VRs whose values have no comma, so that commas separate the values of a list."""


class UnsupportedQuestion(InputError):
    """Raised for an unsupported or invalid query."""


@dataclass(frozen=True, slots=True)
class Question:
    """A query.

    level : of the results
    matches : matching keys, all of which must match: keyword, or path of keywords with dots, and value. Backslashes
        separate the values of a list, as do commas where they cannot be part of a value (UIDs, codes, numbers); wild
        cards and ranges are those of PS3.4, section C.2.2.2. An empty value matches everything and returns the
        attribute.
    study_instance_uid, series_instance_uid : scope; empty = all
    include : keywords of additional attributes to return; "all" = all of the index
    limit : maximum number of results; None = no limit
    is_fuzzy : a name matches if each word of the value begins a word of the name
    among : SOP Instance UIDs to which a query for instances is restricted; None = all
    """

    level: Level
    matches: Sequence[tuple[str, str]] = ()
    study_instance_uid: str = ""
    series_instance_uid: str = ""
    include: Collection[str] = ()
    limit: int | None = None
    offset: int = 0
    is_fuzzy: bool = False
    among: Collection[str] | None = None

    @property
    def levels(self) -> tuple[Level, ...]:
        """The level of the results, and those above it."""
        return LEVELS[: LEVELS.index(self.level) + 1]


@dataclass(slots=True)
class _Condition:
    sql: str
    values: list[object] = field(default_factory=list)


def answer(connection: sqlite3.Connection, question: Question) -> list[dict[str, JsonAttribute]]:
    """The results of a query, each a DICOM JSON object with ascending tags.

    Studies are sorted by date, newest first, series and instances by number. Raises `UnsupportedQuestion`.
    """
    conditions = [
        _condition(question, keyword, value) for keyword, value in _without_moments(_all_matches(question)) if value
    ]
    conditions += _moments(question)
    if question.among is not None:
        # One parameter, because a list of thousands would have more than SQLite allows.
        values = json.dumps(list(question.among))
        conditions.append(_Condition("SOPInstanceUID IN (SELECT value FROM json_each(?))", [values]))
    where = " AND ".join(condition.sql for condition in conditions) or "1"
    table, joins, order = str(question.level), _JOINS[question.level], _ORDER[question.level]
    wanted = _wanted(question)
    columns = {key.keyword: key.keyword for level in question.levels for key in KEYS[level] if key.keyword in wanted}
    columns |= {name: f"({_COMPUTED[name][1]})" for name in sorted(wanted & _COMPUTED.keys())}
    series = "0" if question.level is Level.STUDY else "series.id"
    # The inner query selects one page of rows, so that attributes are computed for these only.
    sql = (
        f"SELECT {series}, {', '.join(columns.values())}"  # noqa: S608 - our own words; values are parameters
        f" FROM (SELECT {table}.id AS found FROM {table} {joins} WHERE {where} ORDER BY {order} LIMIT ? OFFSET ?)"
        f" JOIN {table} ON {table}.id = found {joins} ORDER BY {order}"
    )
    add_functions(connection)
    parameters = [value for condition in conditions for value in condition.values]
    page = [-1 if question.limit is None else question.limit, question.offset]
    rows = connection.execute(sql, [*parameters, *page]).fetchall()
    asked = _asked(question)
    return [_json(connection, dict(zip(columns, row[1:], strict=True)), row[0], wanted, asked) for row in rows]


def unknown_to_index(question: Question) -> list[str]:
    """Requested attributes that the index does not have at the level of the query."""
    known = {key.keyword for level in question.levels for key in KEYS[level]} | _COMPUTED.keys() | {"all"}
    known |= {REQUEST_SEQUENCE} if question.level is not Level.STUDY else set()
    return sorted({name for name in question.include if name.split(".")[0] not in known})


def known_attribute(name: str) -> str:
    """The keyword, or path of keywords, for an attribute given by keyword or tag (eight hexadecimal digits).

    Raises `UnsupportedQuestion` for one that is not in the data dictionary.
    """
    return ".".join(_keyword(part) for part in name.split("."))


def _keyword(name: str) -> str:
    if re.fullmatch(r"[0-9A-Fa-f]{8}", name):
        if keyword := keyword_for_tag(int(name, 16)):
            return keyword
    elif tag_for_keyword(name) is not None:
        return name
    harmless = re.fullmatch(r"[0-9A-Za-z]{1,64}", name)
    raise UnsupportedQuestion(f"{name if harmless else 'a name in the question'} is no attribute of DICOM")


# Results


def _wanted(question: Question) -> frozenset[str]:
    wanted: set[str] = set()
    if question.level is not Level.STUDY:
        wanted |= {"StudyInstanceUID", "SeriesInstanceUID"}
    for level in question.levels:
        if not _is_shared(level, question):
            wanted |= _ALWAYS[level]
        if "all" in question.include:
            wanted |= {key.keyword for key in KEYS[level]}
            wanted |= {keyword for keyword, (of, _) in _COMPUTED.items() if of is level}
    if "all" in question.include and question.level is not Level.STUDY:
        wanted.add(REQUEST_SEQUENCE)
    return frozenset(wanted | _asked(question))


def _asked(question: Question) -> frozenset[str]:
    names = [*question.include, *(keyword for keyword, _ in question.matches)]
    return frozenset(name.split(".")[0] for name in names) - {"all"}


def _is_shared(level: Level, question: Question) -> bool:
    """Whether all results share the attributes of a level, because the query names the study or series."""
    if level is question.level:
        return False
    return bool(question.study_instance_uid if level is Level.STUDY else question.series_instance_uid)


def _json(
    connection: sqlite3.Connection, values: dict[str, Any], series: int, wanted: frozenset[str], asked: frozenset[str]
) -> dict[str, JsonAttribute]:
    found: dict[str, JsonAttribute] = {}
    for keyword, value in values.items():
        text = "" if value is None else str(value)
        if not text and keyword in _ONLY_WITH_VALUE and keyword not in asked:
            continue
        if keyword in _COMPUTED:
            found[_tag(keyword)] = json_attribute(dictionary_VR(keyword), text.replace(",", "\\"))
        else:
            key = ALL_KEYS[keyword]
            found[key.json_tag] = json_attribute(key.vr, text, is_multiple=key.is_multiple)
    if series and REQUEST_SEQUENCE in wanted and (requests := _requests(connection, series)):
        found[_tag(REQUEST_SEQUENCE)] = {"vr": "SQ", "Value": requests}
    return dict(sorted(found.items()))


def _requests(connection: sqlite3.Connection, series: int) -> list[dict[str, JsonAttribute]]:
    sql = f"SELECT {', '.join(REQUEST_KEYS)} FROM request WHERE series = ?"  # noqa: S608 - our own words
    return [
        {ALL_KEYS[name].json_tag: json_attribute(ALL_KEYS[name].vr, value) for name, value in zip(REQUEST_KEYS, row)}  # noqa: B905
        for row in connection.execute(sql, (series,))
    ]


def _tag(keyword: str) -> str:
    return f"{tag_for_keyword(keyword):08X}"


# Conditions


def _all_matches(question: Question) -> list[tuple[str, str]]:
    where = [
        ("StudyInstanceUID", question.study_instance_uid),
        ("SeriesInstanceUID", question.series_instance_uid),
    ]
    return [*where, *question.matches]


def _condition(question: Question, keyword: str, value: str) -> _Condition:
    if keyword in _IN_STUDY:
        column, rows = _IN_STUDY[keyword]
        inner = _matching(ALL_KEYS[column], column, value, question)
        return _Condition(f"EXISTS (SELECT 1 {rows} AND {inner.sql})", inner.values)
    for name in REQUEST_KEYS:
        if keyword == f"{REQUEST_SEQUENCE}.{name}" and question.level is not Level.STUDY:
            inner = _matching(ALL_KEYS[name], name, value, question)
            return _Condition(
                f"EXISTS (SELECT 1 FROM request WHERE request.series = series.id AND {inner.sql})",  # noqa: S608
                inner.values,
            )
    key = next((key for level in question.levels for key in KEYS[level] if key.keyword == keyword), None)
    if key is None:
        raise UnsupportedQuestion(f"{keyword} cannot be asked for at the level of {question.level}")
    return _matching(key, keyword, value, question)


def _matching(key: Key, column: str, value: str, question: Question) -> _Condition:
    """A condition on a column by the VR of its attribute."""
    if key.vr in _RANGE_FORMS:
        return _range(key, column, value)
    separators = r"[\\,]" if key.vr in _WITHOUT_COMMAS else r"\\"
    values = [part for part in (tidy(key, part) for part in re.split(separators, value)) if part]
    if not values:
        raise UnsupportedQuestion(f"value of {key.keyword} is not valid")
    if key.vr == "PN":
        return _any(_name(column, part, is_fuzzy=question.is_fuzzy) for part in values)
    if key.is_multiple:
        return _any(_one_of_several(column, part) for part in values)
    plain = [part for part in values if not _is_pattern(key, part)]
    found = [_Condition(f"{column} GLOB ?", [_glob(part)]) for part in values if _is_pattern(key, part)]
    if plain:
        found.append(_Condition(f"{column} IN ({', '.join('?' * len(plain))})", list(plain)))
    return _any(found)


def _any(conditions: Any) -> _Condition:
    all_of_them = list(conditions)
    sql = " OR ".join(condition.sql for condition in all_of_them)
    return _Condition(f"({sql})", [value for condition in all_of_them for value in condition.values])


def _is_pattern(key: Key, value: str) -> bool:
    return key.vr in WILDCARD_VRS and ("*" in value or "?" in value)


def _glob(value: str) -> str:
    """A wild card pattern as one of SQLite, in which brackets are special, too."""
    return value.replace("[", "[[]")


def _one_of_several(column: str, value: str) -> _Condition:
    return _Condition(f"one_matches({column}, ?)", [value])


def _name(column: str, value: str, *, is_fuzzy: bool) -> _Condition:
    """Match of a person name or one of its component groups, ignoring case and accents."""
    if is_fuzzy:
        return _Condition(f"fuzzy_name({column}, ?)", [folded(value)])
    return _Condition(f"name_matches({column}, ?)", [folded(value)])


def _range(key: Key, column: str, value: str) -> _Condition:
    """Match of a date or time, or range match (PS3.4, section C.2.2.2.5); a shortened value stands for all of it."""
    value = value.strip()
    first, dash, last = value.partition("-")
    low, high = first.strip().replace(":", ""), (last if dash else first).strip().replace(":", "")
    form = _RANGE_FORMS[key.vr]
    if not (low or high) or not all(form.match(end) for end in (low, high) if end):
        raise UnsupportedQuestion(f"value of {key.keyword} is no {_NAMES[key.vr]}, and no range of them")
    lowest, highest = _LOWEST[key.vr], _HIGHEST[key.vr]
    padded = f"substr({column} || substr('{lowest}', length({column}) + 1), 1, {len(lowest)})"
    sql = f"({column} != '' AND {padded if key.vr != 'DA' else column} BETWEEN ? AND ?)"
    return _Condition(sql, [low + lowest[len(low) :], high + highest[len(high) :]])


_DATE_TIMES = (
    ("StudyDate", "StudyTime"),
    ("SeriesDate", "SeriesTime"),
    ("PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime"),
    ("ContentDate", "ContentTime"),
    ("AcquisitionDate", "AcquisitionTime"),
    ("InstanceCreationDate", "InstanceCreationTime"),
)
"""Dates and times for combined matching."""


def _paired(matches: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Dates and times that are both given as ranges of the same form, which are matched as one range."""
    given = {keyword: [bool(end.strip()) for end in value.split("-")] for keyword, value in matches if "-" in value}
    return [(date, time) for date, time in _DATE_TIMES if date in given and given[date] == given.get(time)]


def _without_moments(matches: list[tuple[str, str]]) -> list[tuple[str, str]]:
    paired = {keyword for pair in _paired(matches) for keyword in pair}
    return [one for one in matches if one[0] not in paired]


def _moments(question: Question) -> list[_Condition]:
    """Combined date and time matching (PS3.4, section C.2.2.2.5.4), which PS3.18 asks of QIDO-RS."""
    matches = _all_matches(question)
    given, found = dict(matches), []
    for date, time in _paired(matches):
        apart = [_condition(question, date, given[date]), _condition(question, time, given[time])]  # checks both
        padded = f"substr({time} || substr('{_LOWEST['TM']}', length({time}) + 1), 1, {len(_LOWEST['TM'])})"
        low, high = (str(apart[0].values[end]) + str(apart[1].values[end]) for end in (0, 1))
        sql = f"({date} != '' AND {time} != '' AND {date} || {padded} BETWEEN ? AND ?)"
        found.append(_Condition(sql, [low, high]))
    return found


_NAMES = {"DA": "date (YYYYMMDD)", "TM": "time (HHMMSS.FFFFFF)", "DT": "date and time"}
