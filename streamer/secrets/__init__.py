"""Credentials that live in a secret store and may change while a process runs."""
