"""Reading, writing, listing and checking of videos."""
