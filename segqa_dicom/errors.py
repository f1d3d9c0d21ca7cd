"""The error tree.

::

    SegQaError
    +-- InputError            the sender must fix the object
    |   +-- UnreadableObject  not DICOM, damaged, or not decodable
    |   +-- LimitExceeded     larger than a limit that is set; refused before anything is allocated
    |   +-- Inconsistent      readable, but its parts or its references contradict each other
    +-- PeerError             another program did not do its part
    |   +-- PeerUnavailable   not reachable, too slow or overloaded; trying again later may help
    |   +-- PeerRefused       it does not do what it was asked for; somebody must change something
    +-- ConfigurationError    the operator must fix the call, a setting or the rule set

A message names the object and says what to do; it holds no pixel value and no patient data.
"""

from __future__ import annotations


class SegQaError(Exception):
    """Any error that segqa raises on purpose."""


class InputError(SegQaError):
    """The object that came in cannot be used; whoever made it must fix it."""


class UnreadableObject(InputError):
    """Not DICOM, damaged, or encoded in a way that no installed decoder reads."""


class LimitExceeded(InputError):
    """Larger than a limit that is set; nothing was allocated for it."""


class Inconsistent(InputError):
    """Readable, but its parts or its references contradict each other."""


class PeerError(SegQaError):
    """Another program (archive, database, broker) did not do its part; the object is not to blame."""


class PeerUnavailable(PeerError):
    """Not reachable, too slow or overloaded; trying again later may help."""


class PeerRefused(PeerError):
    """The peer does not do what it was asked for; trying again does not help."""


class ConfigurationError(SegQaError):
    """The call, a setting or the rule set is wrong."""
