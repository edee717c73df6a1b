"""Servo hardware: protocols, buses, the driver of an arm, and how an arm is described."""
