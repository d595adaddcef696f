"""Chaos: faults and load against the real program, and an oracle that shares no code with it. See README.md."""
