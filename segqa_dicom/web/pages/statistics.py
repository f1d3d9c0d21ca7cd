"""/agreement and /rules: how far readers agree, and which rules are worth it."""

from __future__ import annotations
