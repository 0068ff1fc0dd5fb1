"""Alert rules, the fold that judges them, their store and the delivery of alerts; knows no Dagster."""
