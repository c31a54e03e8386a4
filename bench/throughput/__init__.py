"""How fast, how lean and how fresh streamer is beside the limits of its libraries and beside other ways to the same lake."""
