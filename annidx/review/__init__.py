"""Decisions, plans, and acting on them without losing a picture; a library that prints nothing."""
