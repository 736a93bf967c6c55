"""An exported model against what it was made from."""
