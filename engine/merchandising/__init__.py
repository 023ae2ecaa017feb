"""What merchandisers decide about shelves: placements, pages, rules and segments, from their stored documents."""
