"""What a person wants to know about a session, from its evidence and nothing else."""
