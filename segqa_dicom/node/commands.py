"""Command sets of C-STORE as bytes (PS3.7, sections 6.3 and 9.3.1): pydicom takes longer for them than for headers."""

from __future__ import annotations

from io import BytesIO

from pynetdicom.dimse_primitives import C_STORE

from segqa_dicom.node.budget import ProtocolError

STORE_REQUEST, _STORE_RESPONSE = 0x0001, 0x8001
NO_DATA_SET = 0x0101

_GROUP_LENGTH, _SOP_CLASS_UID, _FIELD, _MESSAGE_ID, _RESPONDED_TO = 0x0000, 0x0002, 0x0100, 0x0110, 0x0120
_PRIORITY, _DATA_SET_TYPE, _STATUS, _SOP_INSTANCE_UID = 0x0700, 0x0800, 0x0900, 0x1000


class Command:
    """A command set that was received; raises `ProtocolError` if it is none."""

    def __init__(self, data: bytes) -> None:
        self._values: dict[int, bytes] = {}
        at = 0
        while at < len(data):
            length = int.from_bytes(data[at + 4 : at + 8], "little")
            end = at + 8 + length
            if data[at : at + 2] != b"\0\0" or end > len(data):
                raise ProtocolError("a command set that cannot be read")
            self._values[int.from_bytes(data[at + 2 : at + 4], "little")] = data[at + 8 : end]
            at = end

    @property
    def field(self) -> int:
        """Which request or response it is."""
        return self._number(_FIELD)

    @property
    def has_data_set(self) -> bool:
        """Whether a data set follows."""
        return self._number(_DATA_SET_TYPE) != NO_DATA_SET

    def store_request(self, context_id: int) -> C_STORE:
        """As pynetdicom has it, with an empty data set."""
        request = C_STORE()
        try:
            request.MessageID = self._number(_MESSAGE_ID)
            request.AffectedSOPClassUID = self._text(_SOP_CLASS_UID)
            request.AffectedSOPInstanceUID = self._text(_SOP_INSTANCE_UID)
            request.Priority = self._number(_PRIORITY) if _PRIORITY in self._values else 0
        except (TypeError, ValueError) as error:  # of the setters
            raise ProtocolError("a C-STORE request with values that cannot be") from error
        request.DataSet = BytesIO()
        request._context_id = context_id  # noqa: SLF001 - where pynetdicom looks for it
        if not request.is_valid_request:
            raise ProtocolError("a C-STORE request that lacks something")
        return request

    def _number(self, element: int) -> int:
        value = self._values.get(element, b"")
        if len(value) != 2:
            raise ProtocolError("a command set with a number missing")
        return int.from_bytes(value, "little")

    def _text(self, element: int) -> str:
        return self._values.get(element, b"").decode("ascii").strip(" \0")


def store_response(answer: C_STORE) -> bytes:
    """The command set that answers a C-STORE request."""
    parts = (
        (_SOP_CLASS_UID, str(answer.AffectedSOPClassUID or "").encode("ascii")),
        (_FIELD, _short(_STORE_RESPONSE)),
        (_RESPONDED_TO, _short(answer.MessageIDBeingRespondedTo or 0)),
        (_DATA_SET_TYPE, _short(NO_DATA_SET)),
        (_STATUS, _short(answer.Status or 0)),
        (_SOP_INSTANCE_UID, str(answer.AffectedSOPInstanceUID or "").encode("ascii")),
    )
    body = b"".join(_element(element, value) for element, value in parts)
    return _element(_GROUP_LENGTH, len(body).to_bytes(4, "little")) + body


def _short(number: int) -> bytes:
    return number.to_bytes(2, "little")


def _element(element: int, value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    return b"\0\0" + _short(element) + len(value).to_bytes(4, "little") + value
