"""Makes the input of `benchmarks.scaling` in a process of its own: its memory must not count."""

import sys
from pathlib import Path

from benchmarks.scaling import make

if __name__ == "__main__":
    make(Path(sys.argv[1]), int(sys.argv[2]), (int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])))
