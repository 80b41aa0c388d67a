"""What the device says of itself: reports, alarms, answers, logs, crashes."""
