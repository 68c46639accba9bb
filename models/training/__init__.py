"""Scripts that made what stands in `models/weights`. Nothing of the daemon imports them."""
