"""`python -m hand_imitation` is `hand-imitation`."""

from hand_imitation.cli import main

main()
