"""Many explanations taken together: means over recordings, their intervals, pairs of methods. No torch."""
