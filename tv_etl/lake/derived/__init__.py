"""What is made of a lake without asking anybody: panels, and daily bars built of minutes."""
