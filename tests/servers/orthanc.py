"""A real Orthanc with its DICOMweb plugin, on free ports of this machine."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.servers.process import Process, free_port, listens, program, wait_until

PLUGIN_FOLDERS = (Path("/usr/share/orthanc/plugins"), Path("/usr/lib/orthanc"))
PLUGIN_NAME = "libOrthancDicomWeb.so"
USER, PASSWORD = "segqa", "a password"


def dicomweb_plugin() -> Path:
    """The DICOMweb plugin. Missing in CI is a failure, elsewhere a skip."""
    for folder in PLUGIN_FOLDERS:
        if (folder / PLUGIN_NAME).exists():
            return folder / PLUGIN_NAME
    message = "Orthanc's DICOMweb plugin is not installed; tests/run.sh installs it"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


class Orthanc:
    """An Orthanc whose storage, index and log lie below `folder`; what it holds outlives `stop`, `kill` and `start`.

    folder : is made if it does not exist
    authentication : ask for `USER` and `PASSWORD`
    http_port : 0 = a free one
    modalities : other nodes it may send to: name -> (AE title, host, port)
    settings : more of Orthanc's configuration; overrides what is set here
    """

    ae_title = "ORTHANC"

    def __init__(
        self,
        folder: Path,
        *,
        authentication: bool = False,
        http_port: int = 0,
        modalities: Mapping[str, tuple[str, str, int]] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = folder
        self.http_port, self.dicom_port = http_port or free_port(), free_port()
        self.auth = (USER, PASSWORD) if authentication else None
        folder.mkdir(parents=True, exist_ok=True)
        self._configuration = folder / "orthanc.json"
        self._configuration.write_text(json.dumps(self._settings(modalities or {}, settings or {}), indent=1))
        self._process = Process(
            [program("Orthanc", "/usr/sbin/Orthanc"), self._configuration],
            folder / "orthanc.log",
            environment={"TCP_NODELAY": "1"},  # else each C-STORE waits for a delayed acknowledgement
            cwd=folder,
        )

    def _settings(
        self, modalities: Mapping[str, tuple[str, str, int]], settings: Mapping[str, Any]
    ) -> dict[str, object]:
        return {
            "Name": "segqa tests",
            "StorageDirectory": str(self.folder / "storage"),
            "IndexDirectory": str(self.folder / "index"),
            "TemporaryDirectory": str(self._made(self.folder / "temporary")),
            "Plugins": [str(dicomweb_plugin())],
            "HttpPort": self.http_port,
            "HttpBindAddresses": ["127.0.0.1"],  # newer versions; the distribution's binds to all addresses,
            "RemoteAccessAllowed": False,  # and then this turns away who is not on this machine
            "DicomPort": self.dicom_port,
            "DicomAet": self.ae_title,
            "DicomAlwaysAllowStore": True,
            "DicomAlwaysAllowEcho": True,
            "DicomAlwaysAllowFind": True,
            "DicomAlwaysAllowGet": True,
            "DicomAlwaysAllowMove": True,
            "DicomModalities": {name: list(node) for name, node in modalities.items()},
            "UnknownSopClassAccepted": True,
            "OverwriteInstances": False,
            "StableAge": 1,
            "SyncStorageArea": True,
            "AuthenticationEnabled": self.auth is not None,
            "RegisteredUsers": {USER: PASSWORD},
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
            "DefaultEncoding": "Utf8",
            **settings,
        }

    @staticmethod
    def _made(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def url(self) -> str:
        """Root of its REST API, without a slash at the end."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def dicomweb_url(self) -> str:
        """Root of DICOMweb, without a slash at the end."""
        return f"{self.url}/dicom-web"

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._process.start()
        wait_until(self._answers, 60, f"Orthanc answers ({self.folder / 'orthanc.log'})")

    def _answers(self) -> bool:
        assert self._process.is_running, self._process.output()[-2000:]
        answers = requests.get(f"{self.url}/system", auth=self.auth, timeout=5).ok
        return answers and listens(self.dicom_port)  # its HTTP server starts first

    def stop(self) -> None:
        """End it in good order (SIGTERM)."""
        self._process.stop(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()

    def restart(self) -> None:
        """Stop and start; ports and storage stay."""
        self.stop()
        self.start()

    def get(self, path: str) -> Any:
        """JSON of its REST API, e.g. ``get("/changes")``."""
        answer = requests.get(f"{self.url}{path}", auth=self.auth, timeout=60)
        answer.raise_for_status()
        return answer.json()

    def delete(self, path: str) -> None:
        """Delete by its REST API, e.g. ``delete("/instances/...")``."""
        requests.delete(f"{self.url}{path}", auth=self.auth, timeout=60).raise_for_status()

    def upload(self, content: bytes) -> str:
        """Store a DICOM file by its REST API; returns Orthanc's own name of the instance."""
        answer = requests.post(f"{self.url}/instances", data=content, auth=self.auth, timeout=120)
        answer.raise_for_status()
        return str(answer.json()["ID"])

    def count(self) -> int:
        """Number of instances it holds."""
        return int(self.get("/statistics")["CountInstances"])

    def log(self) -> str:
        return self._process.output()

    def __enter__(self) -> Orthanc:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()  # ending in good order takes it four seconds
