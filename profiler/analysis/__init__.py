"""Measurements: arrays in, values out."""
