"""A web page for one model: drop a clip, see the answer and the maps, teach a new class."""
