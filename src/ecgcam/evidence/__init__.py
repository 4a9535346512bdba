"""Is the map true? Faithfulness, localisation, sanity: of a score, a signal and a map.

`ecgcam.pipeline` never imports this room.
"""
