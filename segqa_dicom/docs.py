"""Pages of the documentation that are made from the code: ``python -m segqa_dicom.docs DIR`` writes them.

A test compares them with what stands in ``docs/reference``, so that the pages cannot fall behind.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from pydantic import SecretStr
from pydantic_settings import BaseSettings

from segqa_dicom.assessment.vocabulary import SECTIONS
from segqa_dicom.checks import all_rules, default_ruleset
from segqa_dicom.checks.not_implemented import LEFT_OUT
from segqa_dicom.config import ServiceSettings, Settings

_MADE = "<!-- made by `python -m segqa_dicom.docs docs/reference`; do not edit -->\n\n"


def rules_page() -> str:
    """``rules.md``: every rule with its parameters and sources."""
    ruleset = default_ruleset()
    rows = []
    for rule in all_rules():
        parameters = ", ".join(f"`{name}` = {value:g}" for name, value in ruleset.rules[rule.id].items())
        provisional = " *(provisional)*" if rule.id in ruleset.provisional else ""
        doc = " ".join((rule.function.__doc__ or "").split()).replace("|", "\\|")  # else it ends the cell
        rows.append(
            f"| {rule.id} | **{rule.title}**: {doc} | {rule.scope.value} | {rule.severity.value} | {rule.gate} | "
            f"{parameters}{provisional} | {rule.source} |"
        )
    return (
        f"# Rules\n\n{_MADE}Rule set version {ruleset.version}. `severity` is the highest that a rule can give."
        " Thresholds marked *provisional* have not been calibrated on cohort data. Change values with `--ruleset FILE`"
        " (TOML; only the changed values):\n\n```toml\n[rules.T2]\nmax_volume_ml = 0.2\n\n"
        "[rules.K6]\nenabled = false\n```\n\n"
        "| id | rule | about | severity | gate | parameters | source |\n|---|---|---|---|---|---|---|\n"
        + "\n".join(rows)
        + "\n\n## Not implemented\n\nRules of the catalogue that are not implemented.\n\n| id | why |\n|---|---|\n"
        + "\n".join(f"| {name} | {reason} |" for name, reason in LEFT_OUT.items())
        + "\n"
    )


def codes_page() -> str:
    """``codes.md``: the private codes of the documents."""
    from segqa_dicom.sr.codes import markdown_table

    return (
        f"# Codes of coding scheme 99SEGQA\n\n{_MADE}Used where no standard code exists. Check codes are made from rule"
        ' ids: (CHK-T1, 99SEGQA, "Check: Number of separate parts"); see [rules.md](rules.md).\n\n' + markdown_table()
    )


def vocabulary_page() -> str:
    """``vocabulary.md``: ratings, finding types and other terms of readers, with codes and keys."""
    vocabulary = default_ruleset().vocabulary
    titles = {
        "ratings": "Overall rating",
        "findings": "Finding types",
        "severities": "Severity of a finding, from the least to the worst",
        "actions": "Proposed action",
        "confidences": "Confidence of the reader",
    }
    page = (
        f"# Vocabulary of readers\n\n{_MADE}Version {vocabulary.version}; codes of the scheme 99SEGQA. It is part of"
        " the rule set and has a hash of its own: other words change no number and no document of the machine. A file"
        " for `--ruleset` may change names and keys, switch words off, and add finding types:\n\n```toml\n"
        '[vocabulary.findings.contrast]\ncode = "QF-CONTRAST"\nname = "Contrast medium taken for bone"\nkey = "g"\n'
        'severity = "major"\n\n[vocabulary.findings.variant]\nenabled = false\n```\n'
    )
    for section in SECTIONS:
        rows = [
            f"| `{term.id}` | {term.name} | `{term.code}` | {f'`{term.key}`' if term.key else ''} | {term.severity} |"
            f" {'' if term.is_error else 'no fault of the segmentation'} |\n"
            for term in vocabulary.section(section).values()
        ]
        page += f"\n## {titles[section]}\n\n| id | name | code | key | first severity | |\n|---|---|---|---|---|---|\n"
        page += "".join(rows)
    return page


def settings_page() -> str:
    """``settings.md``: environment variables."""
    return (
        f"# Settings\n\n{_MADE}Environment variables; everything else is an option of the command line. For the service"
        " each may also be a file of that name in small letters (`segqa_archive_password`) in the folder that"
        " `SEGQA_SECRETS_DIR` names (default `/run/secrets`).\n\n"
        f"## Reviewing\n\n{_table_of(Settings)}\n## The service\n\n{_table_of(ServiceSettings)}"
    )


def _table_of(settings: type[BaseSettings]) -> str:
    rows = []
    for name, field in settings.model_fields.items():
        default = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
        shown = "" if default == "" else default
        rows.append(f"| `SEGQA_{name.upper()}` | {shown} | {field.description} |\n")
    return "| variable | default | meaning |\n|---|---|---|\n" + "".join(rows)


def structures_page() -> str:
    """``structures.md``: properties of each structure, and the label maps."""
    from segqa_dicom.anatomy.page import markdown

    return f"# Structures\n\n{_MADE}{markdown()}"


PAGES: dict[str, Callable[[], str]] = {
    "rules.md": rules_page,
    "structures.md": structures_page,
    "codes.md": codes_page,
    "settings.md": settings_page,
    "vocabulary.md": vocabulary_page,
}
"""File name -> function that makes it."""


def main() -> None:
    """Write all pages to the folder given on the command line."""
    for name, page in PAGES.items():
        (Path(sys.argv[1]) / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
