"""Who is there: candidates, links, the view of members that are up, and when one is gone."""
