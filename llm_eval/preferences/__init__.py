"""What judges prefer: win rates, with and without the length of the answers; ratings; the position of the answers."""
