"""Adapters of agent frameworks: thin, imported by name, each an extra; remit itself never imports their frameworks."""
