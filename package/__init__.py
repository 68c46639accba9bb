"""How a gateway gets the agent: Debian packages with all that they need, and what is told of their parts.

Not part of the program: nothing here is installed.
"""
