"""For all tests: a busy machine is no failure."""

from hypothesis import settings

settings.register_profile("gate", deadline=None)
settings.load_profile("gate")
