"""What answers plain HTTP: the pages of the site, its screener, its symbol search."""
