"""What trades: listings, their hours, and the bars of each."""
