"""The pure heart: frames and ticks in, alarms, orders and new memory out.

No clock, socket, file or log lives here, and nothing is imported but numpy and msgspec. A recorded
day replays through it to the same alarms, byte for byte.
"""
