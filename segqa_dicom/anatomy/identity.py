"""Who is who: identity keys, sides, and the pairing of segments of two segmentations, by code and never by name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from segqa_dicom.anatomy.structure import Side
from segqa_dicom.anatomy.table import equivalent_types
from segqa_dicom.model import Code, CodedStructure
from segqa_dicom.model.codes import LEFT, RIGHT

_SIDES = {LEFT: Side.LEFT, RIGHT: Side.RIGHT}
_LEFT_KEY, _RIGHT_KEY = f"{LEFT}.SCT", f"{RIGHT}.SCT"


def structure_key(codes: CodedStructure) -> str:
    """Identity of a structure: ``type|modifier|region|region modifier`` as ``VALUE.SCHEME``, empty parts empty.

    Codes that tables use for the same thing (`structures.toml`, ``equivalent``) give the same key.
    """
    type_key, modifier, region, region_modifier = codes.key.split("|")
    if type_key in equivalent_types():
        type_key, default = equivalent_types()[type_key]
        modifier = modifier or default
    return "|".join((type_key, modifier, region, region_modifier))


def side_of(codes: CodedStructure) -> Side | None:
    """Left or right as coded: by the type modifier, else by the region modifier; None if neither says so."""
    for code in (codes.modifier, codes.region_modifier):
        if code is not None and code.scheme == "SCT" and code.value in _SIDES:
            return _SIDES[code.value]
    return None


def opposite_key(key: str) -> str | None:
    """The identity key of the same structure on the other side; None if the key has no side."""
    swapped = [{_LEFT_KEY: _RIGHT_KEY, _RIGHT_KEY: _LEFT_KEY}.get(part, part) for part in key.split("|")]
    other = "|".join(swapped)
    return other if other != key else None


def opposite_name(name: str) -> str | None:
    """The canonical name of the same structure on the other side; None if the name has no side."""
    for side, other in ((Side.LEFT, Side.RIGHT), (Side.RIGHT, Side.LEFT)):
        if name.endswith(f"_{side}"):
            return f"{name.removesuffix(side)}{other}"
    return None


_LEFT_WORD = re.compile(r"(?<![a-z])(left|l|lt|links?)(?![a-z])")
_RIGHT_WORD = re.compile(r"(?<![a-z])(right|r|rt|rechts?)(?![a-z])")


def side_in_words(label: str) -> Side | None:
    """The side that a label names (``kidney_left``, ``Left kidney``); None if it names none, or both."""
    words = label.lower().replace("_", " ")
    left = bool(_LEFT_WORD.search(words)) and not re.search(r"l\d", words)
    right = bool(_RIGHT_WORD.search(words))
    if left == right:
        return None
    return Side.LEFT if left else Side.RIGHT


def _same_name(label: str) -> str:
    return re.sub(r"[^a-z0-9]+", " ", label.lower()).strip()


def match(evaluated: Sequence[tuple[str, str]], reference: Sequence[tuple[str, str]]) -> list[tuple[str, int, int]]:
    """Pairs (identity key, index in `evaluated`, index in `reference`) of segments given as (identity key, label).

    A key that is unique on both sides pairs whatever the labels are. Where several segments carry one key, equal labels
    tell them apart; what is left over has no counterpart. Segments without any code (empty key parts) never pair.
    """
    counts = [Counter(key for key, _ in side) for side in (evaluated, reference)]
    by_key = {key: index for index, (key, _) in enumerate(reference)}
    by_label = {(key, _same_name(label)): index for index, (key, label) in reversed(list(enumerate(reference)))}
    pairs: list[tuple[str, int, int]] = []
    taken: set[int] = set()
    for index, (key, label) in enumerate(evaluated):
        if not key.strip("|"):
            continue
        unique = counts[0][key] == 1 and counts[1][key] == 1
        other = by_key.get(key) if unique else by_label.get((key, _same_name(label)))
        if other is not None and other not in taken:
            taken.add(other)
            pairs.append((key, index, other))
    return pairs


def is_side(code: Code | None) -> bool:
    """Whether a code is the modifier "Left" or "Right"."""
    return code is not None and code.scheme == "SCT" and code.value in _SIDES
