"""What the data files of this folder say, as a page of the documentation."""

from __future__ import annotations

from collections.abc import Iterable

from segqa_dicom.anatomy.codes import code_defects, equivalences, other_meanings
from segqa_dicom.anatomy.data import load
from segqa_dicom.anatomy.labels import label_map, label_map_names
from segqa_dicom.anatomy.structure import Range, Volume
from segqa_dicom.anatomy.table import Row, all_structures, base_name, rows, structure_named

_SIDES = {True: "left, right", "region": "left, right (in the region modifier)", "left": "left", None: ""}


def _table(head: str, body: Iterable[Iterable[object]]) -> str:
    lines = [f"| {head} |", "|" + "---|" * (head.count("|") + 1)]
    return "\n".join([*lines, *("| " + " | ".join(str(cell) for cell in line) + " |" for line in body)]) + "\n"


def _mark(provisional: object) -> str:
    return " *(provisional)*" if provisional else ""


def _code(row: Row, part: str) -> str:
    return f"{row[part][0]} {row[part][1]}" if part in row else ""


def _codes(row: Row) -> str:
    extra = [
        f"{name}: {_code(row, part)}" for part, name in (("modifier", "modifier"), ("region", "in")) if part in row
    ]
    return "; ".join([_code(row, "type"), *extra]) if "type" in row else "none"


def _remarks(row: Row) -> str:
    known = structure_named(base_name(row))
    said = {
        "one segment may have both sides": row.get("both", False),
        "holes are normal": known.holes_are_normal,
        "may leave the body": known.may_leave_body,
        "scans usually cut it": known.may_be_cut,
        "parts: warning at most": known.parts_warn_only,
    }
    return ", ".join(text for text, holds in said.items() if holds)


def _structures() -> str:
    body = []
    for row in rows():
        known = structure_named(base_name(row))
        side = _SIDES[row.get("sides")] or row.get("side", "")
        place = f"{known.chain} {known.level or ''}".strip() if known.chain else ""
        parts = row.get("components", 1) or "any"
        inside = ", ".join([*row.get("part_of", ()), *(f"overlaps {name}" for name in row.get("overlaps", ()))])
        body.append((f"`{row['name']}`", side, _codes(row), known.group, parts, place, inside, _remarks(row)))
    return _table("name | sides | SNOMED CT type | group | parts | chain, level | part of | remarks", body)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _limits(known: Range | None) -> str:
    return "" if known is None else f"{_number(known.low)} … {_number(known.high)}"


def _volume(name: str, one: Volume) -> tuple[object, ...]:
    published = f"{_number(one.low_ml)} … {_number(one.high_ml)}" if one.low_ml is not None else ""
    spread = f" ± {one.sd_ml:g}" if one.sd_ml is not None else ""
    what = ", ".join(filter(None, (one.definition, one.kind)))
    note = f"; {one.note}" if one.note else ""
    typical = f"{_number(one.typical_ml)}{spread}"
    source = f"{one.source}{f', n = {one.n}' if one.n else ''}{note}{_mark(one.provisional)}"
    return name, one.sex or "both", what, typical, published, source


def _volumes() -> str:
    # Left and right have most values in common: one line for what both have.
    lines: dict[tuple[str, Volume], int] = {}
    for one in all_structures():
        if one.side is not None or not one.both_sides:
            for volume in one.volumes:
                lines[one.base, volume] = lines.get((one.base, volume), 0) + 1
    named = {(one.base, volume): one.canonical for one in all_structures() for volume in one.volumes if one.side}
    body = [
        _volume(f"`{base if count > 1 else named.get((base, volume), base)}`", volume)
        for (base, volume), count in lines.items()
    ]
    return _table("structure | sex | what | mean or median, mL | published limits, mL | source", body)


def _hu() -> str:
    body = []
    for row in load("ranges")["hu"]:
        names = ", ".join(f"`{name}`" for name in row["of"])
        window = Range(row.get("low"), row.get("high"), "", provisional=False) if {"low", "high"} & set(row) else None
        native = Range(row["native"][0], row["native"][1], "", provisional=False) if "native" in row else None
        source = f"{row['source']}{_mark(row.get('provisional'))}"
        body.append((names, _limits(window), _limits(native), source))
    return _table("structures | window of the median, HU | normal without contrast agent, HU | source", body)


def _tolerances() -> str:
    body = []
    for scheme, table in load("ranges")["tolerance_mm"].items():
        unchecked = table.get("provisional", ())
        values = [
            f"{name} {mm:g}{_mark(name in unchecked)}"
            for name, mm in table.items()
            if name not in ("source", "default", "provisional")
        ]
        body.append((f"`{scheme}`", f"{table['default']:g}", ", ".join(values), table["source"]))
    return _table("scheme | default, mm | others, mm | source", body)


def _relations() -> str:
    data = load("relations")
    body = [
        (", ".join(row["of"]), f"at most {row['max_mm']:g} mm to {', '.join(row['to'])}", row["source"])
        for row in data["neighbour"]
    ]
    body += [
        (", ".join(row["of"]), f"{row['is']} {row.get('than', 'of the midline')}", row["source"])
        for row in data["position"]
    ]
    body += [
        (", ".join(row["one"]), f"shares no voxels with {', '.join(row['other'])}", row["reason"])
        for row in data["exclusive"]
    ]
    body += [(whole, f"is made of {', '.join(parts)}", "anatomy") for whole, parts in data["made_of"].items()]
    return _table("structures | relation | source", body)


def _corrections() -> str:
    same = [
        (row.type, " with modifier ".join(filter(None, (row.becomes, row.modifier))), row.reason)
        for row in equivalences()
    ]
    texts = [(row.code, row.current, ", ".join(row.also), row.reason) for row in other_meanings()]
    wrong = [
        (row.label, f"`{row.coded}`".replace("|", "\\|"), f"`{row.canonical}`", ", ".join(row.tables), row.reason)
        for row in code_defects()
    ]
    return (
        _table("code | stands for | why", same)
        + "\nOne code, several texts:\n\n"
        + _table("code | now | also | why", texts)
        + "\nLabels whose codes say something else, or too little:\n\n"
        + _table("label | coded as | structure | tables | why", wrong)
    )


def _maps() -> str:
    body = []
    for name in label_map_names():
        one = label_map(name)
        body.append(
            (f"`{name}`", one.title, len(one.labels), "; ".join(filter(None, (one.source, one.mark, one.note))))
        )
    return _table("map | of | labels | source", body)


def markdown() -> str:
    """The page, from its first paragraph on."""
    coded = sum("type" in row for row in rows())
    sided = sum(one.side is not None or not one.both_sides for one in all_structures())
    return (
        f"{len(rows())} structures, left and right counted once ({sided} if not), {coded} of them with codes. A "
        "structure that is not here gets the generic rules. `{side}` stands where the side goes; elsewhere it is added "
        "at the end (`kidney_left`). Values marked *provisional* are digitised, derived from few cases, read from "
        "memory or contradicted by another study; none is for clinical use.\n\n"
        f"{_structures()}\n## Volumes\n\nLimits for a rule are the widest of the published central 95 % and of mean "
        "± 2 SD; means alone, quartiles and smallest and largest cases are no limits.\n\n"
        f"{_volumes()}\n## HU\n\n{_hu()}\n## Surface Dice tolerances\n\n{_tolerances()}\n## Relations\n\n"
        f"All thresholds are *provisional*.\n\n{_relations()}\n## Codes of other tables\n\n{_corrections()}\n"
        f"## Label maps\n\nLabel numbers and names of models and datasets to the names above.\n\n{_maps()}"
    )
