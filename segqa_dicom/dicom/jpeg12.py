"""Decoder plugin for JPEG Extended with 12 bits: GDCM supports it, but pydicom's plugin for GDCM does not."""

from __future__ import annotations

import gdcm
from pydicom.pixels.decoders.base import DecodeRunner
from pydicom.uid import JPEGExtended12Bit

from segqa_dicom.errors import UnreadableObject

DECODER_DEPENDENCIES = {JPEGExtended12Bit: ("gdcm>=3.0.10",)}
"""Required of plugins by pydicom."""


def is_available(uid: str) -> bool:
    """Whether this plugin decodes a transfer syntax."""
    return uid in DECODER_DEPENDENCIES


def _decode_frame(src: bytes, runner: DecodeRunner) -> bytes:
    bits = runner.bits_stored
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(src)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((runner.columns, runner.rows, 1))
    image.SetDataElement(element)
    kind = gdcm.PhotometricInterpretation.GetPIType(runner.photometric_interpretation)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(JPEGExtended12Bit))))
    # With bits allocated = bits stored GDCM takes the 12 bit codec at once; with 16 it tries, and prints, others first.
    image.SetPixelFormat(gdcm.PixelFormat(1, bits, bits, bits - 1, runner.pixel_representation))
    decoded = image.GetBuffer()
    if decoded is None:
        raise UnreadableObject("damaged JPEG stream")
    frame: bytes = decoded.encode("utf-8", "surrogateescape")
    return frame
