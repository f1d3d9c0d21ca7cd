"""Planes, windows, contours and PNG images."""
