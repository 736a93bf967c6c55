"""A take: played, recorded, aligned, and kept in a folder."""
