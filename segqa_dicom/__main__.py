"""``python -m segqa_dicom`` is the ``segqa`` command."""

from segqa_dicom.cli.main import main

if __name__ == "__main__":
    main()
