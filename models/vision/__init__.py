"""From pixels to numbers: what happens inside the process that reads cameras."""
