"""Rules of the catalogue that are not there, and why."""

from __future__ import annotations

LEFT_OUT = {
    "H3": (
        "Trabecular bone of L1 by age: the published values are of a region in the vertebral body without contrast "
        "agent. A segment of the whole vertebra holds cortical bone and processes too, and the phase is not known."
    ),
    "H4": "Contrast phase: needs an estimate of the phase; the windows of H1 hold with and without contrast agent.",
    "V4": "Outlier among the volumes of a cohort: needs the results of many patients by model, structure and sex.",
    "V5": "Repeat series: needs the other series of the study; a case is one CT series.",
    "X1": "Dice below what is usual for a structure and a pair of models: needs a cohort.",
    "X2": "Models that define a structure otherwise: shows in a cohort only, in one case it looks like an error.",
}
"""Rule id -> reason."""
