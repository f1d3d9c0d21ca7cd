"""Worklist, drafts, signing, adjudication and repeats."""
