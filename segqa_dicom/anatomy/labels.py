"""Label maps of models and datasets (``label_maps/*.toml``): label number or name -> structure of the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from segqa_dicom.anatomy.data import file_names, load
from segqa_dicom.anatomy.structure import Structure
from segqa_dicom.anatomy.table import structure_named
from segqa_dicom.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Label:
    """One label.

    number : None if the source has names only
    name, also : its name there, and others that are in use
    canonical : its name in the table of structures
    """

    number: int | None
    name: str
    canonical: str
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LabelMap:
    """The labels of a model or a dataset, in the order of its source.

    mark : "from memory" if nobody has checked it against the model or dataset itself, else ""
    note : what to know about it
    """

    name: str
    title: str
    source: str
    mark: str
    note: str
    labels: tuple[Label, ...]

    def names(self) -> dict[int, str]:
        """Label number -> canonical name; empty for a map without numbers."""
        return {one.number: one.canonical for one in self.labels if one.number is not None}

    def structure(self, label: int | str) -> Structure:
        """The structure of a label, by its number or its name in the model; `ConfigurationError` if there is none."""
        for one in self.labels:
            if label in (one.number, one.name, one.canonical, *one.also):
                return structure_named(one.canonical)
        raise ConfigurationError(f"label map {self.name!r} has no label {label!r}")


@cache
def _maps() -> Mapping[str, tuple[str, dict[str, Any]]]:
    """Name of a map -> source of its file, and what stands there."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for file in file_names("label_maps"):
        data = load(f"label_maps/{file}")
        found |= {name: (data.get("source", ""), table) for name, table in data.items() if isinstance(table, dict)}
    return found


def label_map_names() -> tuple[str, ...]:
    """All label maps: ``total``, ``total_v1``, ``moose_ribs``, ``cads_551``, ``vista3d``, ``btcv`` and so on."""
    return tuple(_maps())


@cache
def label_map(name: str) -> LabelMap:
    """The label map with a name of `label_map_names`; raises `ConfigurationError` if there is none."""
    if name not in _maps():
        raise ConfigurationError(f"unknown label map {name!r}; there are {', '.join(sorted(_maps()))}")
    source, table = _maps()[name]
    labels = [Label(None, one, one) for one in table.get("names", ())]
    for number, entry in table.get("labels", {}).items():
        own, canonical, *also = (entry, entry) if isinstance(entry, str) else entry
        labels.append(Label(int(number), own, canonical, tuple(also)))
    return LabelMap(
        name=name,
        title=table["title"],
        source=table.get("source", source),
        mark=table.get("mark", ""),
        note=table.get("note", ""),
        labels=tuple(labels),
    )
