"""Tracking Identifiers of Cornerstone, the library under OHIF: ``Cornerstone3DTools@^0.1.0:ArrowAnnotate:label``."""

from __future__ import annotations

from dataclasses import dataclass

_APPLICATIONS = frozenset(("cornerstone3dtools", "cornerstonetools"))


@dataclass(frozen=True, slots=True)
class CornerstoneIdentifier:
    """The parts of an identifier.

    tool : name of the annotation tool
    label : what follows the tool; may be empty
    """

    tool: str
    label: str


def parsed_identifier(tracking_identifier: str) -> CornerstoneIdentifier | None:
    """The parts of a Tracking Identifier of Cornerstone; None for any other."""
    application, _, rest = tracking_identifier.partition(":")
    name, _, version = application.partition("@")
    tool, _, label = rest.partition(":")
    if name.casefold() not in _APPLICATIONS or not version.startswith("^") or not tool.isidentifier():
        return None
    return CornerstoneIdentifier(tool, label.strip())
