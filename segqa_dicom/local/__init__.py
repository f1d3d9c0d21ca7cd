"""Reviews of folders in child processes, with the time of each step."""
