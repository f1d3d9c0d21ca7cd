"""OPTIONS of the root: what is offered, as WADL in XML or JSON (PS3.18, section 8.9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET  # writing only

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from segqa_dicom.sr.outline import HTML, PLAIN
from segqa_dicom.web.dicomweb.frame_images import JPEG, PNG
from segqa_dicom.web.dicomweb.media import DICOM, DICOM_JSON, JSON, MULTIPART, OCTETS, accepted
from segqa_dicom.web.problems import Problem
from segqa_dicom.web.state import root_of, state_of

WADL = "application/vnd.sun.wadl+xml"
_NAMESPACE = "http://wadl.dev.java.net/2009/02"

_SEARCH = ("limit", "offset", "fuzzymatching", "includefield", "{attributeID}")
_RENDERING = ("window", "viewport", "quality")
_OBJECTS = (f'{MULTIPART}; type="{DICOM}"',)
_OBJECT = (*_OBJECTS, DICOM)
_METADATA = (DICOM_JSON, JSON)
_STOWED = (*_OBJECTS, DICOM, f'{MULTIPART}; type="{DICOM_JSON}"')


@dataclass(frozen=True, slots=True)
class Method:
    """What can be done with a resource.

    takes, gives : media types of the bodies
    """

    name: str
    identifier: str
    query: Sequence[str] = ()
    takes: Sequence[str] = ()
    gives: Sequence[str] = ()


_STUDY, _SERIES = "studies/{study}", "studies/{study}/series/{series}"
_INSTANCE = f"{_SERIES}/instances/{{instance}}"


def _get(identifier: str, gives: Sequence[str], query: Sequence[str] = ()) -> Method:
    return Method("GET", identifier, query, (), gives)


def offered(*, can_delete: bool) -> dict[str, list[Method]]:
    """Methods by the path of their resource, below the root."""
    pictures, octets = (JPEG, PNG), (f'{MULTIPART}; type="{OCTETS}"', OCTETS)
    store = Method("POST", "StoreInstances", (), _STOWED, _METADATA)
    found = {
        "studies": [_get("SearchForStudies", _METADATA, _SEARCH), store],
        "series": [_get("SearchForSeries", _METADATA, _SEARCH)],
        "instances": [_get("SearchForInstances", _METADATA, _SEARCH)],
        f"{_STUDY}/series": [_get("SearchForStudySeries", _METADATA, _SEARCH)],
        f"{_STUDY}/instances": [_get("SearchForStudyInstances", _METADATA, _SEARCH)],
        f"{_SERIES}/instances": [_get("SearchForStudySeriesInstances", _METADATA, _SEARCH)],
        _STUDY: [_get("RetrieveStudy", _OBJECTS), store],
        _SERIES: [_get("RetrieveSeries", _OBJECTS)],
        _INSTANCE: [_get("RetrieveInstance", _OBJECT)],
        f"{_STUDY}/metadata": [_get("RetrieveStudyMetadata", _METADATA)],
        f"{_SERIES}/metadata": [_get("RetrieveSeriesMetadata", _METADATA)],
        f"{_INSTANCE}/metadata": [_get("RetrieveInstanceMetadata", _METADATA)],
        f"{_INSTANCE}/frames/{{frames}}": [_get("RetrieveFrames", octets)],
        f"{_INSTANCE}/bulkdata/{{bulkdata}}": [_get("RetrieveBulkData", octets)],
        f"{_INSTANCE}/rendered": [_get("RetrieveRenderedInstance", (*pictures, HTML, PLAIN), _RENDERING)],
        f"{_INSTANCE}/frames/{{frames}}/rendered": [_get("RetrieveRenderedFrames", pictures, _RENDERING)],
    }
    for path, name in ((_STUDY, "Study"), (_SERIES, "Series"), (_INSTANCE, "Instance")):
        found[f"{path}/thumbnail"] = [_get(f"Retrieve{name}Thumbnail", pictures, _RENDERING)]
        if can_delete:
            found[path] = [*found[path], Method("DELETE", f"Delete{name}")]
    found[f"{_INSTANCE}/frames/{{frames}}/thumbnail"] = [_get("RetrieveFrameThumbnail", pictures, _RENDERING)]
    return found


async def capabilities(request: Request) -> Response:
    """OPTIONS of the root."""
    state = state_of(request)
    state.folder_archive  # noqa: B018 - raises if the archive is not a folder
    resources = offered(can_delete=bool(state.service.operator_token.get_secret_value()))
    headers = {"Allow": "OPTIONS"}
    for one in accepted(request):
        if one.covers(WADL):
            return Response(_xml(resources, root_of(request)), media_type=WADL, headers=headers)
        if one.covers(JSON) or one.covers(DICOM_JSON):
            return JSONResponse(_json(resources, root_of(request)), headers=headers)
    raise Problem(406, f"capabilities are {WADL} or {JSON}")


def _xml(resources: dict[str, list[Method]], root: str) -> bytes:
    application = ET.Element("application", xmlns=_NAMESPACE)
    base = ET.SubElement(application, "resources", base=f"{root}/")
    for path, methods in resources.items():
        resource = ET.SubElement(base, "resource", path=path)
        for method in methods:
            element = ET.SubElement(resource, "method", name=method.name, id=method.identifier)
            asked = ET.SubElement(element, "request")
            for name in method.query:
                ET.SubElement(asked, "param", name=name, style="query")
            for media_type in method.takes:
                ET.SubElement(asked, "representation", mediaType=media_type)
            answer = ET.SubElement(element, "response")
            for media_type in method.gives:
                ET.SubElement(answer, "representation", mediaType=media_type)
    found: bytes = ET.tostring(application, encoding="utf-8", xml_declaration=True)
    return found


def _json(resources: dict[str, list[Method]], root: str) -> dict[str, Any]:
    """The same tree; attributes begin with @."""
    return {
        "application": {
            "resources": {
                "@base": f"{root}/",
                "resource": [
                    {"@path": path, "method": [_json_method(method) for method in methods]}
                    for path, methods in resources.items()
                ],
            }
        }
    }


def _json_method(method: Method) -> dict[str, Any]:
    return {
        "@name": method.name,
        "@id": method.identifier,
        "request": {
            "param": [{"@name": name, "@style": "query"} for name in method.query],
            "representation": [{"@mediaType": media_type} for media_type in method.takes],
        },
        "response": {"representation": [{"@mediaType": media_type} for media_type in method.gives]},
    }
