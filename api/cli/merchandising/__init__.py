"""Commands for the people who run the shop: placements, pages, rules and segments, as YAML files."""
