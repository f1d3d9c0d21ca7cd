"""Our DICOM node: it takes CT, SEG and SR objects by C-STORE, puts them into the inbox, and commits to storing them."""

from segqa_dicom.node.node import Node, run_node
from segqa_dicom.node.peers import AllowList, Peer
from segqa_dicom.node.waiting import IsHeld, WaitingInstances

__all__ = ["AllowList", "IsHeld", "Node", "Peer", "WaitingInstances", "run_node"]
