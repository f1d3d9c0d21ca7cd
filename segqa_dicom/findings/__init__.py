"""What the SRs of the archive say, ours and those of others: an index that can be made anew, and questions to it."""

from segqa_dicom.findings.feed import MODALITIES, Indexed, Reindexed, index_news, reindex
from segqa_dicom.findings.index import FindingsIndex
from segqa_dicom.findings.schema import FILE_NAME
from segqa_dicom.sr.content import Document, Graphic, Group, Item, ReferencedInstance
from segqa_dicom.sr.read import read_document

__all__ = [
    "FILE_NAME",
    "MODALITIES",
    "Document",
    "FindingsIndex",
    "Graphic",
    "Group",
    "Indexed",
    "Item",
    "ReferencedInstance",
    "Reindexed",
    "index_news",
    "read_document",
    "reindex",
]
