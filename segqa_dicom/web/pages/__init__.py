"""Pages of readers: worklist, review, signing, agreement; who they are and what they may change."""
