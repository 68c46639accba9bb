"""Vedette's agent: the core that judges, and the shell that keeps it fed, heard and alive."""

__version__ = "0.1.0"
