"""Transfer syntaxes of pixel data: which decoder reads them, and which of them lose information."""

from __future__ import annotations

from typing import Any

from pydicom import Dataset
from pydicom.pixels import get_decoder  # type: ignore[attr-defined]
from pydicom.pixels.decoders.base import Decoder, JPEGExtended12BitDecoder

from segqa_dicom.dicom.opening import OpenedObject, text

DECODING_PLUGINS = {
    "1.2.840.10008.1.2.4.80": "pyjpegls",
    "1.2.840.10008.1.2.4.81": "pyjpegls",
    "1.2.840.10008.1.2.4.90": "pylibjpeg",
    "1.2.840.10008.1.2.4.91": "pylibjpeg",
    "1.2.840.10008.1.2.4.201": "pylibjpeg",
    "1.2.840.10008.1.2.4.202": "pylibjpeg",
    "1.2.840.10008.1.2.4.203": "pylibjpeg",
    "1.2.840.10008.1.2.4.50": "gdcm",
    "1.2.840.10008.1.2.4.51": "segqa",
    "1.2.840.10008.1.2.4.57": "gdcm",
    "1.2.840.10008.1.2.4.70": "gdcm",
    "1.2.840.10008.1.2.5": "pydicom",
}
"""Which decoder reads which transfer syntax: named, so that the numbers do not depend on what else is installed."""

JPEGExtended12BitDecoder.add_plugin("segqa", ("segqa_dicom.dicom.jpeg12", "_decode_frame"))

_ALWAYS_LOSSY = {
    "1.2.840.10008.1.2.4.50": "JPEG",
    "1.2.840.10008.1.2.4.51": "JPEG",
    "1.2.840.10008.1.2.4.81": "JPEG-LS near-lossless",
}
"""JPEG 2000 and HTJ2K have no place here: their "lossy" transfer syntaxes may also hold reversible streams."""


def lossy_method(dataset: Dataset, transfer_syntax: str) -> str:
    """By which method an image lost information; empty if it did not.

    By Lossy Image Compression (0028,2110), which stays with an image that was decompressed later, or by an encoding
    that cannot be lossless.
    """
    if text(dataset, "LossyImageCompression") == "01":
        return text(dataset, "LossyImageCompressionMethod") or "method not stated"
    return _ALWAYS_LOSSY.get(transfer_syntax, "")


def frame_decoder(opened: OpenedObject) -> tuple[Decoder, dict[str, Any]]:
    """The decoder of pydicom for the frames of an object that was opened, and the options to call it with."""
    syntax = opened.pixel_syntax
    options: dict[str, Any] = {"raw": True}
    if str(syntax) in DECODING_PLUGINS:
        options["decoding_plugin"] = DECODING_PLUGINS[str(syntax)]
    return get_decoder(syntax), options
