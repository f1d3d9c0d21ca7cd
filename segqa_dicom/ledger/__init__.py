"""What must happen and what has happened."""
