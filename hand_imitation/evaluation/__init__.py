"""Scoring: how well the arm imitated."""
