"""Servos that are not there: a bus of them, to try and to test the driver without hardware."""
