"""The review of a case as data, and its JSON, HTML and text renderings."""
