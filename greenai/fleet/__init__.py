"""Thousands of runs, and runs that lie elsewhere: an index, a query, copies at URLs."""
