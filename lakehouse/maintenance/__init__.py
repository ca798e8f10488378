"""Keeps tables healthy: rows past retention, small files, old snapshots and orphan files go. It begins in ``plan.py``."""
