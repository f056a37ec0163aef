"""The bundle that comes with Beamscribe."""
