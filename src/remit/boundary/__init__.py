"""Scope x host -> plan -> walls: what holds an agent, and the processes that live inside it."""
