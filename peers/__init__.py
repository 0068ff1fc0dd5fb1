"""Other people's clients, run on the market server with only their address changed."""
