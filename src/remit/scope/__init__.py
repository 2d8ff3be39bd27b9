"""The scope language: a YAML text, a strict model, variables and presets, and the plan in plain English."""
