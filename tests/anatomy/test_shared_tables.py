"""Every row of the tables of codes and labels that lie beside the project is in our table, or a known defect."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from segqa_dicom.anatomy import (
    all_structures,
    code_defects,
    equivalences,
    label_map,
    label_map_names,
    side_in_words,
    structure_named,
    structure_of,
)
from segqa_dicom.errors import ConfigurationError
from segqa_dicom.model import Code, CodedStructure
from segqa_dicom.reading.codes import unlisted
from tests.shared import shared

pytestmark = pytest.mark.shared

TABLES = {
    "totalsegmentator_snomed_mapping.csv": "TotalSegmentator",
    "idc_cloudsegmentator_totalseg_v1_snomed.csv": "NLST",
    "idc_segcomp_totalsegmentator_v2_0.csv": "IDC TotalSegmentator 2.0",
    "idc_segcomp_totalsegmentator_v2_6.csv": "IDC TotalSegmentator 2.6",
    "idc_segcomp_auto3dseg.csv": "IDC Auto3DSeg",
    "idc_segcomp_multitalent.csv": "IDC MultiTalent",
    "idc_segcomp_moose.csv": "IDC MOOSE",
    "idc_segcomp_omas.csv": "IDC OMAS",
    "idc_segcomp_omas_with_colors.csv": "IDC OMAS",
    "idc_segcomp_consensus_structure_codes.csv": "IDC consensus",
    "moose_snomed_mapping.csv": "MOOSE",
}
PARTS = {
    "type": r"(SegmentedPropertyTypeCodeSequence|Type)[._]",
    "modifier": r"(SegmentedPropertyTypeModifierCodeSequence|TypeModifier)[._]",
    "region": r"(AnatomicRegionSequence|AnatomicRegion)[._]",
    "region_modifier": r"(AnatomicRegionModifierSequence|AnatomicRegionModifier)[._]",
}


@dataclass(frozen=True)
class Row:
    label: str
    codes: CodedStructure


def table(name: str) -> list[list[str]]:
    return list(csv.reader(shared("tables", "label_maps", name).read_text(encoding="utf-8").splitlines()))


def coded_rows(name: str) -> Iterator[Row]:
    """Columns by place: each part has scheme, value, meaning, though headers of one sheet say otherwise."""
    path: Path = shared("tables", "label_maps", name)
    with path.open(encoding="utf-8", newline="") as file:
        header, *body = csv.reader(file)
    columns = {part: [at for at, head in enumerate(header) if re.match(form, head)][:3] for part, form in PARTS.items()}
    names = [header.index(head) for head in ("label_name", "omas_structure", "Structure") if head in header]
    for line in body:
        label = next((line[at] for at in names if line[at]), "")
        cells = {part: [line[at].strip() for at in places] for part, places in columns.items()}
        codes = {part: Code(cell[1], cell[0], cell[2]) for part, cell in cells.items() if cell[1]}
        if label != "background":
            yield Row(label, CodedStructure(**codes))


def canonical_name(label: str) -> str | None:
    try:
        return structure_named(label).canonical
    except ConfigurationError:
        return None


@pytest.mark.parametrize("name", TABLES)
def test_every_row_of_a_table_of_codes_resolves_or_is_a_known_defect(name: str) -> None:
    known = {(one.label, one.coded): one for one in code_defects() if TABLES[name] in one.tables}
    rows = list(coded_rows(name))
    assert len(rows) > 100
    for row in rows:
        if (row.label, row.codes.key) in known:
            assert known[row.label, row.codes.key].reason
            continue
        found = structure_of(row.codes)
        assert found is not None, (row.label, row.codes.key)
        assert canonical_name(row.label) in (None, found.canonical), (row.label, found.canonical)
        if found.paired:
            assert side_in_words(row.label.replace("OAR_", "")) in (None, found.side), row.label


def test_no_code_is_invented() -> None:
    """Every code stands in one of the tables or in a context group of DICOM."""
    listed = {code.value for name in TABLES for row in coded_rows(name) for code in parts_of(row.codes)}
    ours = [one.codes for one in all_structures() if one.codes is not None]
    ours += [CodedStructure(type=Code(row.type.split(".")[0], "SCT")) for row in equivalences()]
    for codes in ours:
        foreign = {code.value for code in unlisted(codes)} - listed
        assert foreign == set(), codes.key


def parts_of(codes: CodedStructure) -> list[Code]:
    found = (codes.type, codes.modifier, codes.region, codes.region_modifier)
    return [code for code in found if code is not None]


def test_every_known_defect_is_still_in_a_table() -> None:
    there = {(TABLES[name], row.label, row.codes.key) for name in TABLES for row in coded_rows(name)}
    for one in code_defects():
        for source in one.tables:
            assert (source, one.label, one.coded) in there, (source, one.label)


def test_defects_are_corrected() -> None:
    for one in code_defects():
        right = structure_named(one.canonical)
        assert right.key != one.coded or one.label == "glands", one.label  # there, the category is what is wrong


def test_every_key_of_the_union_resolves() -> None:
    values = {"Left": "7771000", "Right": "24028007"}
    for one in all_structures():
        for code in (one.codes.region, one.codes.modifier) if one.codes else ():
            if code is not None:
                values[code.meaning] = code.value
    header, *body = table("harmonised_union_by_code.csv")
    assert header[:5] == ["type_code", "meaning", "modifier", "region", "region_modifier"]
    defects = {one.coded for one in code_defects()}
    for line in body:
        codes = [Code(values.get(text, text), "SCT") if text else None for text in (line[0], *line[2:5])]
        found = CodedStructure(None, *codes)
        assert structure_of(found) is not None or found.key in defects, line[:5]


def test_every_label_of_totalsegmentator_is_in_its_map() -> None:
    expected: dict[str, dict[int, str]] = {}
    for task, number, label in table("totalsegmentator_class_map_all_tasks.csv")[1:]:
        expected.setdefault(task, {})[int(number)] = label
    own = [name for name in label_map_names() if name in expected]
    assert {"total", "total_v1", "ventricle_parts", "tissue_4_types"} <= set(own)
    for name in own:
        assert {one.number: one.name for one in label_map(name).labels} == expected[name]


def test_label_maps_have_the_labels_of_their_sources() -> None:
    models = [row[:3] for row in table("moose_snomed_mapping.csv")[1:]]
    for model, label, number in models:
        assert {int(number): label}.items() <= names_of(f"moose_{model}").items()
    for model, number, label in table("cads_labelmap_551_559.csv")[1:]:
        if number != "0":
            assert names_of(f"cads_{model}")[int(number)] == label
    for line in table("idc_segcomp_auto3dseg.csv")[1:]:
        assert names_of("auto3dseg")[int(line[0])] == line[1]
    vista = {int(number): label for label, number in table("vista3d_label_dict.csv")[1:]}
    assert names_of("vista3d") == vista
    listed = {row[0] for row in table("idc_segcomp_multitalent.csv")[1:]}
    assert {one.name for one in label_map("multitalent").labels} == listed


def names_of(name: str) -> dict[int, str]:
    return {one.number: one.name for one in label_map(name).labels if one.number is not None}


def test_label_orders_of_datasets_agree_with_vista() -> None:
    names = {
        "FLARE22": "flare22", "AMOS22": "amos", "BTCV-Abdomen": "btcv", "VerSe": "verse",
        "TotalSegmentatorV2(sorted order used by VISTA)": "totalsegmentator_v2_vista",
    }  # fmt: skip
    vista = label_map("vista3d")
    rows = table("vista3d_dataset_label_mappings.csv")[1:]
    assert {row[0] for row in rows} == set(names)
    for dataset, number, label in rows:
        assert label_map(names[dataset]).structure(int(number)) == vista.structure(int(label))


def test_names_in_the_code_of_cads_resolve() -> None:
    maps = [label_map(f"cads_{number}") for number in range(551, 560)]
    data = json.loads(shared("tables", "label_maps", "cads_bodyparts_labelmaps.json").read_text())
    for known in ("labelmap_all_structure", "labelmap_all_structure_renamed"):
        for label in data[known].values():
            names = [name for one in maps for part in one.labels for name in (part.name, part.canonical, *part.also)]
            assert label in names, label


def test_every_structure_of_the_overview_resolves() -> None:
    text = shared("tables", "label_maps", "idc_segcomp_structures_overview_all_models.csv").read_text()
    names = {line.split(";")[0] for line in text.splitlines()[1:]}
    maps = [label_map(name) for name in label_map_names()]
    known = {name for one in maps for part in one.labels for name in (part.name, part.canonical, *part.also)}
    assert {name for name in names - known if canonical_name(name) is None} == set()
