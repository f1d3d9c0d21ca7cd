"""Rules: a case and its measures in, outcomes and findings out."""
