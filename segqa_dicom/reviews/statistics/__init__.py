"""Agreement of readers and performance of rules."""
