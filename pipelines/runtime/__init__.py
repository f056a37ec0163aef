"""Runs a job: flags, launcher, plan, progress and summary."""
