"""Figures of a report, one module a topic: values in, a `Drawing` out.

Those of a measure take one or more pairs of a name and its record, and overlay them: a report has
one, a comparison two.
"""
