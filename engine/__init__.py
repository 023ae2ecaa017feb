"""Everything that does not need HTTP or an index. The files of this folder are used by all rooms: errors, settings,
progress, atomic files, checkpoints, compiled loops, and the generated storefront of the demo.
"""
