"""Detectors: from columns to columns. Empty until the first one arrives."""
