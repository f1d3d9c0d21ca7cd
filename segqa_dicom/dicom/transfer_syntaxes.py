"""Transfer syntaxes of pixel data: decoder, media type, and whether information is lost."""

from __future__ import annotations

from typing import Any, NamedTuple

from pydicom import Dataset
from pydicom.pixels import get_decoder  # type: ignore[attr-defined]
from pydicom.pixels.decoders.base import Decoder, JPEGExtended12BitDecoder

from segqa_dicom.dicom.opening import OpenedObject, text

DEFLATED_IMAGE_FRAME = "1.2.840.10008.1.2.8.1"
"""Deflated Image Frame Compression: each frame is one raw deflate stream (PS3.5, section A.4.14)."""


class Compression(NamedTuple):
    """A compressed transfer syntax.

    plugin : decoder of pydicom; named, so that pixel values do not depend on the packages that are installed
    media_type : of one frame (PS3.18, table 8.7.3-5)
    lossy_method : empty if frames may be reversible, as those of all transfer syntaxes of JPEG 2000 and HTJ2K may
    """

    plugin: str
    media_type: str
    lossy_method: str = ""


COMPRESSIONS = {
    "1.2.840.10008.1.2.4.80": Compression("pyjpegls", "image/jls"),
    "1.2.840.10008.1.2.4.81": Compression("pyjpegls", "image/jls", "JPEG-LS near-lossless"),
    "1.2.840.10008.1.2.4.90": Compression("pylibjpeg", "image/jp2"),
    "1.2.840.10008.1.2.4.91": Compression("pylibjpeg", "image/jp2"),
    "1.2.840.10008.1.2.4.201": Compression("pylibjpeg", "image/jphc"),
    "1.2.840.10008.1.2.4.202": Compression("pylibjpeg", "image/jphc"),
    "1.2.840.10008.1.2.4.203": Compression("pylibjpeg", "image/jphc"),
    "1.2.840.10008.1.2.4.50": Compression("gdcm", "image/jpeg", "JPEG"),
    "1.2.840.10008.1.2.4.51": Compression("segqa", "image/jpeg", "JPEG"),
    "1.2.840.10008.1.2.4.57": Compression("gdcm", "image/jpeg"),
    "1.2.840.10008.1.2.4.70": Compression("gdcm", "image/jpeg"),
    "1.2.840.10008.1.2.5": Compression("pydicom", "image/dicom-rle"),
}
"""Compressed transfer syntaxes that are decoded, by UID (PS3.5, annex A)."""

JPEGExtended12BitDecoder.add_plugin("segqa", ("segqa_dicom.dicom.jpeg12", "_decode_frame"))


def lossy_method(dataset: Dataset, transfer_syntax: str) -> str:
    """Method of lossy compression; empty for an image without loss.

    By Lossy Image Compression (0028,2110), which stays with an image that was decompressed later, or by a transfer
    syntax that is always lossy.
    """
    if text(dataset, "LossyImageCompression") == "01":
        return text(dataset, "LossyImageCompressionMethod") or "method not stated"
    known = COMPRESSIONS.get(transfer_syntax)
    return known.lossy_method if known else ""


def frame_decoder(opened: OpenedObject) -> tuple[Decoder, dict[str, Any]]:
    """The pydicom decoder for the frames of an object, and the options of its calls."""
    syntax = opened.pixel_syntax
    options: dict[str, Any] = {"raw": True}
    if (known := COMPRESSIONS.get(str(syntax))) is not None:
        options["decoding_plugin"] = known.plugin
    return get_decoder(syntax), options
