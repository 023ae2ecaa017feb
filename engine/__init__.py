"""Everything that needs neither HTTP nor an index. The files of this folder serve all rooms: errors, settings,
progress, atomic files, checkpoints, deadlines, compiled loops, and the generated storefront of the demo.
"""
