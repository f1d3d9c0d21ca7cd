"""Large BINARY SEG objects in seconds: highdicom makes the header and one frame, the other frames follow its pattern.

highdicom alone needs a minute and several gigabytes for the largest inputs, and its label volumes end where the
phantoms' do, at 255 structures. What comes out is the same object: one frame per segment and slice where it has voxels,
segment after segment.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmwrite
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as PydicomCode

from segqa_dicom.dicom.uids import stable_uid
from segqa_dicom.model import Code
from segqa_dicom.phantoms import PhantomStructure

_SEGMENT_MARK, _DIMENSION_MARK = 0xABCD, 0x7ABCDEF1
"""Stand where the number of the segment goes in the pattern of a frame."""


def write_binary_seg(
    labels: NDArray[Any], structures: Sequence[PhantomStructure], ct: Sequence[Dataset], path: Path, *, model: str
) -> int:
    """Write a label volume (slice, row, column) on a CT; label n + 1 is the structure at index n.

    Structures without a voxel are left out and segments numbered anew. The number of frames comes back.
    """
    _, rows, columns = labels.shape
    if rows * columns % 8:
        raise ValueError(f"frames of {rows} x {columns} pixels do not fill bytes")
    occurs = _occurrence(labels, len(structures))
    present = [int(value) for value in np.flatnonzero(occurs.any(axis=1))]
    frames = [(value, int(k)) for value in present for k in np.flatnonzero(occurs[value])]
    header = _header(labels, structures, present, ct, path.name, model)
    patterns = _patterns(header.PerFrameFunctionalGroupsSequence[0], ct)
    number_of = {value: number for number, value in enumerate(present, start=1)}
    groups = b"".join(_numbered(patterns[k], number_of[value]) for value, k in frames)
    frame_bytes = rows * columns // 8
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(_encoded_header(header, len(frames)))
        file.write(struct.pack("<HH2sHI", 0x5200, 0x9230, b"SQ", 0, len(groups)) + groups)
        file.write(struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, len(frames) * frame_bytes))
        begin = file.tell()
        order = sorted(range(len(frames)), key=lambda at: frames[at][1])  # slice by slice: each is in the cache then
        for at in order:
            value, k = frames[at]
            file.seek(begin + at * frame_bytes)
            file.write(np.packbits(labels[k] == value, bitorder="little").data)
    return len(frames)


def _occurrence(labels: NDArray[Any], count: int) -> NDArray[np.bool_]:
    """(label, slice): whether a label occurs in a slice; never for the background."""
    occurs = np.zeros((count + 1, labels.shape[0]), bool)
    for k, plane in enumerate(labels):
        occurs[:, k] = np.bincount(plane.reshape(-1), minlength=count + 1) > 0
    occurs[0] = False
    return occurs


def _header(
    labels: NDArray[Any],
    structures: Sequence[PhantomStructure],
    present: Sequence[int],
    ct: Sequence[Dataset],
    name: str,
    model: str,
) -> Dataset:
    """The object with one voxel per segment, all in one slice."""
    algorithm = hd.AlgorithmIdentificationSequence(model, codes.DCM.ArtificialIntelligence, "1.0")
    sparse = np.zeros(labels.shape, np.uint16 if len(present) > 255 else np.uint8)
    sparse[0].reshape(-1)[: len(present)] = np.arange(1, len(present) + 1)
    identity = ("benchmark", str(ct[0].SeriesInstanceUID), model, name)
    return hd.seg.Segmentation(
        source_images=ct,
        pixel_array=sparse,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[
            _description(number, structures[value - 1], algorithm, name)
            for number, value in enumerate(present, start=1)
        ],
        series_instance_uid=stable_uid(*identity, "series"),
        series_number=100,
        sop_instance_uid=stable_uid(*identity),
        instance_number=1,
        manufacturer="SEGQA project",
        manufacturer_model_name="benchmark",
        software_versions="1",
        device_serial_number="1",
        series_description=model,
        content_label="SEGMENTATION",
    )


def _description(
    number: int, structure: PhantomStructure, algorithm: hd.AlgorithmIdentificationSequence, name: str
) -> hd.seg.SegmentDescription:
    description = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=structure.label[:64],
        segmented_property_category=_coded(structure.codes.category),
        segmented_property_type=_coded(structure.codes.type),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        tracking_uid=stable_uid("benchmark", name, number),
        tracking_id=structure.label[:64],
    )
    if structure.codes.modifier is not None:
        modifier = hd.sr.CodedConcept.from_code(_coded(structure.codes.modifier))
        item = description.SegmentedPropertyTypeCodeSequence[0]
        item.SegmentedPropertyTypeModifierCodeSequence = [modifier]
    return description


def _coded(code: Code | None) -> PydicomCode:
    if code is None:
        raise ValueError("structures of benchmarks have category and type")
    return PydicomCode(code.value, code.scheme, code.meaning)


def _patterns(first: Dataset, ct: Sequence[Dataset]) -> list[bytes]:
    """Per slice, its functional groups as an encoded item with marks where the number of the segment goes."""
    patterns = []
    for k, image in enumerate(ct):
        item = deepcopy(first)
        item.FrameContentSequence[0].DimensionIndexValues = [_DIMENSION_MARK, k + 1]
        item.PlanePositionSequence[0].ImagePositionPatient = image.ImagePositionPatient
        item.SegmentIdentificationSequence[0].ReferencedSegmentNumber = _SEGMENT_MARK
        source = item.DerivationImageSequence[0].SourceImageSequence[0]
        source.ReferencedSOPInstanceUID = image.SOPInstanceUID
        buffer = DicomBytesIO()
        buffer.is_little_endian, buffer.is_implicit_VR = True, False
        write_dataset(buffer, item)
        encoded = buffer.getvalue()
        patterns.append(struct.pack("<HHI", 0xFFFE, 0xE000, len(encoded)) + encoded)
    return patterns


def _numbered(pattern: bytes, number: int) -> bytes:
    marked = pattern.replace(struct.pack("<I", _DIMENSION_MARK), struct.pack("<I", number), 1)
    before, mark, after = marked.rpartition(b"US\x02\x00" + struct.pack("<H", _SEGMENT_MARK))
    return before + mark[:4] + struct.pack("<H", number) + after


def _encoded_header(header: Dataset, frame_count: int) -> bytes:
    """The file up to the functional groups of the frames, which only pixels follow."""
    del header.PerFrameFunctionalGroupsSequence
    del header.PixelData
    header.NumberOfFrames = frame_count
    buffer = io.BytesIO()
    dcmwrite(buffer, Dataset(header) if type(header) is Dataset else header, enforce_file_format=True)
    return buffer.getvalue()
