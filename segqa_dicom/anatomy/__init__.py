"""What each structure is: codes, names, sides, order, allowed parts, tolerances."""
