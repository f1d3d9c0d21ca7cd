"""Configuration of the viewer: its path, the DICOMweb data source, and no confirmation prompts."""

from __future__ import annotations

import json

from segqa_dicom.viewer.links import VIEWER

_CONFIGURATION = {
    "extensions": [],
    "modes": [],
    "customizationService": {},
    "showStudyList": True,
    "maxNumberOfWebWorkers": 3,
    "showWarningMessageForCrossOrigin": False,
    "showCPUFallbackMessage": False,
    "strictZSpacingForVolumeViewport": True,
    "groupEnabledModesFirst": True,
    "showErrorDetails": "production",
    # Stated in docs/howto/viewing.md instead of over the images at each visit.
    "investigationalUseDialog": {"option": "never"},
    # SR and SEG open without a question; a link to a document shows its marks at once.
    "disableConfirmationPrompts": True,
    "defaultDataSourceName": "archive",
}
_SOURCE = {
    "friendlyName": "segqa archive",
    "name": "archive",
    "qidoSupportsIncludeField": True,
    "supportsReject": False,
    "supportsFuzzyMatching": False,
    "supportsWildcard": True,
    # Objects come in by C-STORE or STOW-RS; what the viewer itself saves is still stored.
    "dicomUploadEnabled": False,
    "imageRendering": "wadors",
    "thumbnailRendering": "wadors",
    "enableStudyLazyLoad": True,
    "omitQuotationForMultipartRequest": True,
    "bulkDataURI": {"enabled": True},
}
_NAMESPACE = "@ohif/extension-default.dataSourcesModule.dicomweb"
_TOURS_SEEN = json.dumps(["basicViewerTour"])


def app_config(*, root: str = "", dicom_web: str = "/dicom-web") -> str:
    """The script ``app-config.js``.

    root : prefix of the service's paths without a trailing slash; may be empty
    dicom_web : path of DICOMweb below `root`, on the same host
    """
    archive = f"{root}{dicom_web}"
    configuration = {**_CONFIGURATION, "routerBasename": f"{root}{VIEWER}"}
    return (
        f"const archive = window.location.origin + {json.dumps(archive)};\n"
        f"window.config = {json.dumps(configuration, indent=2)};\n"
        "window.config.dataSources = [{\n"
        f"  namespace: {json.dumps(_NAMESPACE)},\n"
        "  sourceName: 'archive',\n"
        "  configuration: { wadoUriRoot: archive, qidoRoot: archive, wadoRoot: archive,\n"
        f"    ...{json.dumps(_SOURCE)} }},\n"
        "}];\n"
        "// The tour of the first visit would lie over the images.\n"
        f"try {{ localStorage.setItem('shownTours', {json.dumps(_TOURS_SEEN)}); }} catch {{ /* no storage */ }}\n"
    )
