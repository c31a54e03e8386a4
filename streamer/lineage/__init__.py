"""Where what is in the lake came from: what a document says of its sources, and the walk from any object to the roots.

`derivation.py` is what a document carries in its metadata, `recording.py` puts it there. `origins.py` knows what every other
object that streamer writes says of itself, `walk.py` follows it, `graph.py` is what comes out. Nothing here changes an object.
"""
