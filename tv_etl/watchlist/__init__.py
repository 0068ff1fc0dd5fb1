"""What people write down: groups, schedules, rules."""
