"""The human hand: perception of real hands, angles, and synthetic people."""
