"""Which step an event is charged to, how sure that is, and who did it: pure functions of the evidence."""
