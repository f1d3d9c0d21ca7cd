"""Numbers: arrays and `Geometry` in, frozen results out."""
