"""Reading: CT and SEG files of every kind, made here, against brute-force references."""
