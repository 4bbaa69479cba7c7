"""Readers that turn files into samples, one file format each."""
