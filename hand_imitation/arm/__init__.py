"""The robot arm: its description, joint table, safety filter and simulation."""
