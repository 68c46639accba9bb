"""Somebody else's world: plants, faults, slaves, a broker and a platform, for the demo and the tests."""
