"""What answers on the wire: a connection, its chart and quote sessions, its faults."""
