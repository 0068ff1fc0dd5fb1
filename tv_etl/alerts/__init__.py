"""Alert rules, the fold that judges them, the outbox and the delivery of alerts; knows no Dagster."""
