"""Ampscope: measure, capture and model a real guitar amp or pedal."""

__version__ = "0.1.0"
