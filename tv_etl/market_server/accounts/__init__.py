"""Who signs in, with which token and plan, and who is let in."""
