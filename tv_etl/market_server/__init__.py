"""The other end of the wire: a server that speaks TradingView's chart protocol over a synthetic market.

Run it with `python -m tv_etl.market_server`, or embed it with `server.MarketServer` and `server.serve_in_thread`.
Clients of TradingView run on it with only their address changed.
"""
